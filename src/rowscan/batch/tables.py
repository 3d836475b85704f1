"""Tables: readings as records of text, CSV or JSON Lines, and the file that collects them.

It does not know where pictures come from or how they are read.
"""

import csv
import io
import json
import os
import re
import stat
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from rowscan.errors import OutputError, UsageError, reason_of
from rowscan.reading import Reading


class Format(ABC):
    """How a page becomes records, and which picture a record belongs to.

    Attributes:
        header: the first line of the file; empty if there is none.
        tabular: a page has any number of records, and a record can have line feeds within
            quotation marks; otherwise each page is one line.
    """

    header = ""
    tabular = False

    @abstractmethod
    def records(self, path: str, reading: Reading) -> list[str]:
        """The records of one page, each with a line feed at its end."""

    @abstractmethod
    def path_of(self, record: str) -> str:
        """The path in a record, as `written_path` gives it.

        Raises:
            ValueError: not a record of this format.
        """

    def written_path(self, path: str) -> str:
        """A path as it is written in records; by default unchanged."""
        return path

    @abstractmethod
    def opening(self, path: str) -> str:
        """The beginning of a file whose first picture is this, whatever is read in it."""


class Text(Format):
    """`path: 4071`, one line for each page; lines of writing are joined by " / ".

    Scripts can split a line at the last ": ": the space is there even if no digit follows. Control
    characters in a path are escaped, so a page is always one line.
    """

    _RECORD = re.compile(r"(.+): (?:[0-9?]+(?: / [0-9?]+)*)?\n", re.DOTALL)

    def records(self, path: str, reading: Reading) -> list[str]:
        """One line."""
        return [f"{self.opening(path)}{reading.text}\n"]

    def path_of(self, record: str) -> str:
        """The text before the last ": "."""
        found = self._RECORD.fullmatch(record)
        if not found:
            raise ValueError("expected 'path: digits'")
        return found[1]

    def written_path(self, path: str) -> str:
        """Without control characters."""
        return escaped(path)

    def opening(self, path: str) -> str:
        """The path and a colon."""
        return f"{escaped(path)}: "


class Csv(Format):
    """Comma-separated values, a row for each line of writing, so none for a page without digits."""

    header = "path,page,line,text,confidence,x,y,width,height\n"
    tabular = True

    def records(self, path: str, reading: Reading) -> list[str]:
        """The rows, lines numbered from 1."""
        buffer = io.StringIO()
        # The writer quotes fields with characters of its line terminator: \r must be one of them.
        table = csv.writer(buffer, lineterminator="\r\n")
        rows = []
        for number, line in enumerate(reading.lines, start=1):
            sure = f"{line.confidence:.4f}"
            table.writerow([path, reading.page, number, line.text, sure, *line.box])
            rows.append(buffer.getvalue().removesuffix("\r\n") + "\n")
            buffer.seek(buffer.truncate(0))
        return rows

    def path_of(self, record: str) -> str:
        """The first field."""
        rows = list(csv.reader(io.StringIO(record, newline=""), strict=True))
        if len(rows) != 1 or len(rows[0]) != self.header.count(",") + 1:
            raise ValueError("expected a row of nine fields")
        if not (rows[0][1].isdigit() and rows[0][2].isdigit()):
            raise ValueError("expected numbers of page and line")
        return rows[0][0]

    def opening(self, path: str) -> str:
        """The header."""
        return self.header


class JsonLines(Format):
    """One object for each page, on one line."""

    def records(self, path: str, reading: Reading) -> list[str]:
        """One line of ASCII, so that it can hold names that are not Unicode."""
        return [json.dumps({"path": path, **reading.to_dict()}) + "\n"]

    def path_of(self, record: str) -> str:
        """The value of "path"."""
        values = json.loads(record)
        if not isinstance(values, dict) or not {"path", "page", "lines"} <= values.keys():
            raise ValueError("expected an object with path, page and lines")
        return str(values["path"])

    def opening(self, path: str) -> str:
        """The beginning of the object, up to its path."""
        return json.dumps({"path": path}).removesuffix("}")


FORMATS: dict[str, Format] = {"text": Text(), "csv": Csv(), "jsonl": JsonLines()}
"""The formats by name."""


def escaped(text: str) -> str:
    """The text on one line: control characters become backslash escapes."""
    return re.sub(
        "[\x00-\x1f\x7f-\x9f\u2028\u2029]",
        lambda found: found[0].encode("unicode_escape").decode(),
        text,
    )


class Table:
    """Records in a file, perhaps of an interrupted run, or on standard output.

    Attributes:
        on_terminal: whether the records go to a terminal.
        resumed: the number of pictures that the file already held.
        written: the number of records added.
    """

    def __init__(
        self, path: Path | None, style: Format, *, names: Callable[[], Iterable[str]] = tuple
    ) -> None:
        """Open or create the file. An incomplete record at its end is removed.

        Args:
            path: the file; missing folders are created. None is standard output.
            style: the format.
            names: the pictures to read. Called only if the file holds nothing but an incomplete
                record, to tell it from a file of another kind.

        Raises:
            UsageError: a file of another kind, which is not changed, or it cannot be written.
        """
        self.written = 0
        self._format = style
        self._done: set[str] = set()
        self._last: tuple[str, int] | None = None  # written path, number of its records
        self._name = str(path or "standard output")
        self._file: BinaryIO | io.FileIO
        self._regular = False
        self.resumed = 0
        self.on_terminal = False
        if path is None:
            self._file = sys.stdout.buffer
            self.on_terminal = sys.stdout.isatty()
            self._put(style.header)
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {reason_of(error)}") from None
        self._file = file
        try:
            self._regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            if not self._regular or self._resume(file, names) == 0:
                self._put(style.header)
        except BaseException:
            self._file.close()
            raise
        self.resumed = len(self._done)

    def has(self, path: str, *, pages: bool = False) -> bool:
        """Whether the file holds all records of this picture, from an earlier run.

        The last picture may be incomplete, if it can have several records.

        Args:
            path: the picture.
            pages: whether it can have several pages.
        """
        written = self._format.written_path(path)
        if written not in self._done:
            return False
        last = self._last is not None and self._last[0] == written
        return not (last and (pages or self._format.tabular))

    def write(self, path: str, reading: Reading, *, fresh: bool = False) -> None:
        """Add the records of a page that an earlier run did not write; with `fresh`, all of them.

        Raises:
            OutputError: the file cannot be written; it ends with the last complete page.
        """
        records = self._format.records(path, reading)
        if (
            not fresh
            and self._last is not None
            and self._format.written_path(path) == self._last[0]
        ):
            known = min(self._last[1], len(records))
            self._last = self._last[0], self._last[1] - known
            records = records[known:]
        self._put("".join(records))
        self.written += len(records)

    def close(self) -> None:
        """Close the file, unless it is standard output."""
        if self._file is not sys.stdout.buffer:
            self._file.close()

    def _put(self, text: str) -> None:
        rest = memoryview(_encoded(text))
        start = self._file.tell() if self._regular else None
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            self._file.flush()
        except BaseException as error:  # including Ctrl-C
            if start is not None:
                self._file.truncate(start)
                self._file.seek(start)
            if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                raise OutputError(self._name, f"cannot be written: {reason_of(error)}") from None
            raise

    def _resume(self, file: io.FileIO, names: Callable[[], Iterable[str]]) -> int:
        """Register the complete records and go to their end; returns its position."""
        end = 0
        partial = b""
        buffered = io.BufferedReader(file)
        for number, record in enumerate(_records(buffered, self._format.tabular), start=1):
            if not record.endswith(b"\n"):
                partial = record
                break
            if number == 1 and self._format.header:
                if _decoded(record) != self._format.header:
                    raise self._of_another_kind("its first line is not the header")
            else:
                try:
                    path = self._format.path_of(_decoded(record))
                except (ValueError, csv.Error) as error:
                    raise self._of_another_kind(f"record {number}: {error}") from None
                count = self._last[1] if self._last and self._last[0] == path else 0
                self._last = path, count + 1
                self._done.add(path)
            end += len(record)
        buffered.detach()
        if partial and end == 0 and not self._begins(partial, names):
            raise self._of_another_kind("it has no complete line")
        if partial:
            file.truncate(end)
        file.seek(end)
        return end

    def _begins(self, partial: bytes, names: Callable[[], Iterable[str]]) -> bool:
        """Whether this can be the beginning of what this run would write."""
        openings = (_encoded(self._format.opening(name)) for name in names())
        return any(
            partial.startswith(opening) or opening.startswith(partial) for opening in openings
        )

    def _of_another_kind(self, reason: str) -> UsageError:
        names = {style: name for name, style in FORMATS.items()}
        return UsageError(
            f"{self._name}: not the {names[self._format]} of an interrupted run ({reason}); "
            "name another file, or remove it"
        )


def _records(file: Iterable[bytes], tabular: bool) -> Iterator[bytes]:
    """The records of a file; in a table, line feeds within quotation marks belong to the record."""
    record = b""
    for line in file:
        record += line
        if not (tabular and record.count(b'"') % 2):
            yield record
            record = b""
    if record:
        yield record.removesuffix(b"\n")  # its closing quotation mark is missing


def _encoded(text: str) -> bytes:
    """UTF-8; bytes of names that are not UTF-8 are kept."""
    return text.encode("utf-8", "surrogateescape")


def _decoded(record: bytes) -> str:
    return record.decode("utf-8", "surrogateescape")
