"""Tables: readings as records of text, CSV or JSON Lines, and the file that gathers them.

It neither reads pictures nor knows where they come from.
"""

import csv
import io
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from rowscan.errors import OutputError, UsageError
from rowscan.reading import Reading


@runtime_checkable
class Format(Protocol):
    """How a page becomes records, and what a record says of its picture.

    Attributes:
        header: the first line of a table; empty where there is none.
        tabular: a page may have several records or none, and a record several lines: within
            quotation marks.
    """

    header: str
    tabular: bool

    def records(self, path: str, reading: Reading) -> list[str]:
        """The records of one page, each ending in a line feed."""
        ...

    def path_of(self, record: str) -> str:
        """The path in a record, as `written_path` gives it.

        Raises:
            ValueError: this is no record.
        """
        ...

    def written_path(self, path: str) -> str:
        """How a path stands in records."""
        ...

    def opening(self, path: str) -> str:
        """How a table begins that begins with this picture, whatever is read in it."""
        ...


class Text:
    """`path: 4071`, a line a page; lines of writing are joined by " / ".

    A script may split each line at the last ": ": the space is there even if no digit follows.
    Control characters in a path are escaped, so that a line stays a line.
    """

    header = ""
    tabular = False
    _RECORD = re.compile(r"(.+): (?:[0-9?]+(?: / [0-9?]+)*)?\n", re.DOTALL)

    def records(self, path: str, reading: Reading) -> list[str]:
        """One line."""
        return [f"{self.opening(path)}{reading.text}\n"]

    def path_of(self, record: str) -> str:
        """What stands before the last ": "."""
        found = self._RECORD.fullmatch(record)
        if not found:
            raise ValueError("not of the form 'path: digits'")
        return found[1]

    def written_path(self, path: str) -> str:
        """Without control characters."""
        return escaped(path)

    def opening(self, path: str) -> str:
        """The path and a colon."""
        return f"{escaped(path)}: "


class Csv:
    """Comma-separated values, a row a line of writing: none for a page without digits."""

    header = "path,page,line,text,confidence,x,y,width,height\n"
    tabular = True

    def records(self, path: str, reading: Reading) -> list[str]:
        """Rows, numbered from 1."""
        buffer = io.StringIO()
        # What stands in the line's end is quoted, and a carriage return must be, too.
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
            raise ValueError("not a row of nine fields")
        if not (rows[0][1].isdigit() and rows[0][2].isdigit()):
            raise ValueError("page and line are not numbers")
        return rows[0][0]

    def written_path(self, path: str) -> str:
        """Unchanged, for fields are quoted."""
        return path

    def opening(self, path: str) -> str:
        """The header."""
        return self.header


class JsonLines:
    """An object a page, on a line of its own."""

    header = ""
    tabular = False

    def records(self, path: str, reading: Reading) -> list[str]:
        """One line, in ASCII: so it also holds a name that is no Unicode."""
        return [json.dumps({"path": path, **reading.to_dict()}) + "\n"]

    def path_of(self, record: str) -> str:
        """The value of "path"."""
        values = json.loads(record)
        if not isinstance(values, dict) or not {"path", "page", "lines"} <= values.keys():
            raise ValueError("not an object with path, page and lines")
        return str(values["path"])

    def written_path(self, path: str) -> str:
        """Unchanged, for JSON escapes."""
        return path

    def opening(self, path: str) -> str:
        """The object's first value."""
        return json.dumps({"path": path}).removesuffix("}")


FORMATS: dict[str, Format] = {"text": Text(), "csv": Csv(), "jsonl": JsonLines()}
"""The formats by their names."""


def escaped(text: str) -> str:
    """The text with control characters as backslash escapes, so that it stays on its line."""
    return re.sub(
        "[\x00-\x1f\x7f-\x9f\u2028\u2029]",
        lambda found: found[0].encode("unicode_escape").decode(),
        text,
    )


class Table:
    """A table in a file, which goes on where an interrupted run left it, or on standard output.

    Attributes:
        on_terminal: whether it is seen there while it grows.
        taken_up: how many pictures it already held.
        written: how many records were added.
    """

    def __init__(
        self, path: Path | None, layout: Format, *, names: Callable[[], Iterable[str]] = tuple
    ) -> None:
        """Open or make the file. A record that a crash tore is dropped from its end.

        Args:
            path: the file; folders that it lies in are made. None is standard output.
            layout: the format.
            names: the pictures that are to be read. Asked for only if the file holds nothing but
                the beginning of a record: the names tell it from a file of another kind.

        Raises:
            UsageError: a file of another kind, or one that cannot be written. It is left as it is.
        """
        self.written = 0
        self._format = layout
        self._done: set[str] = set()
        self._last: tuple[str, int] | None = None  # written path, number of its records
        self._name = str(path or "standard output")
        self._file: BinaryIO | io.FileIO
        self._regular = False
        self.taken_up = 0
        self.on_terminal = False
        if path is None:
            self._file = sys.stdout.buffer
            self.on_terminal = sys.stdout.isatty()
            self._put(layout.header)
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from None
        self._file = file
        try:
            self._regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            if not self._regular or self._take_up(file, names) == 0:
                self._put(layout.header)
        except BaseException:
            self._file.close()
            raise
        self.taken_up = len(self._done)

    def has(self, path: str, *, pages: bool = False) -> bool:
        """Whether all of this picture is in the file, from an earlier run.

        The last picture of the file may lack records, if a picture can have several.

        Args:
            path: the picture.
            pages: whether it may have several pages.
        """
        written = self._format.written_path(path)
        if written not in self._done:
            return False
        last = self._last is not None and self._last[0] == written
        return not (last and (pages or self._format.tabular))

    def write(self, path: str, reading: Reading, *, anew: bool = False) -> None:
        """Add a page, but for the records that an earlier run wrote, unless it is another page.

        Raises:
            RowscanError: the file cannot be written; it ends with the last whole page.
        """
        records = self._format.records(path, reading)
        if not anew and self._last is not None and self._format.written_path(path) == self._last[0]:
            there = min(self._last[1], len(records))
            self._last = self._last[0], self._last[1] - there
            records = records[there:]
        self._put("".join(records))
        self.written += len(records)

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._file is not sys.stdout.buffer:
            self._file.close()

    def _put(self, text: str) -> None:
        rest = memoryview(_encoded(text))
        start = self._file.tell() if self._regular else None
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            self._file.flush()
        except BaseException as error:  # also Ctrl-C, in the middle of it
            if start is not None:
                self._file.truncate(start)
                self._file.seek(start)
            if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                reason = error.strerror or error
                raise OutputError(self._name, f"cannot be written: {reason}") from None
            raise

    def _take_up(self, file: io.FileIO, names: Callable[[], Iterable[str]]) -> int:
        """Go to where the whole records end, and learn whose they are."""
        end = 0
        torn = b""
        buffered = io.BufferedReader(file)
        for number, record in enumerate(_records(buffered, self._format.tabular), start=1):
            if not record.endswith(b"\n"):
                torn = record
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
        if torn and end == 0 and not self._begins(torn, names):
            raise self._of_another_kind("it has no whole line")
        if torn:
            file.truncate(end)
        file.seek(end)
        return end

    def _begins(self, torn: bytes, names: Callable[[], Iterable[str]]) -> bool:
        """Whether this may be the beginning of what this run would write."""
        openings = (_encoded(self._format.opening(name)) for name in names())
        return any(torn.startswith(opening) or opening.startswith(torn) for opening in openings)

    def _of_another_kind(self, reason: str) -> UsageError:
        names = {layout: name for name, layout in FORMATS.items()}
        return UsageError(
            f"{self._name}: not the {names[self._format]} of an interrupted run ({reason}); "
            "name another file, or remove it"
        )


def _records(file: Iterable[bytes], tabular: bool) -> Iterator[bytes]:
    """Lines, of a table each with those that go on inside its quotation marks."""
    record = b""
    for line in file:
        record += line
        if not (tabular and record.count(b'"') % 2):
            yield record
            record = b""
    if record:
        yield record.removesuffix(b"\n")  # the quotation mark that ends it is missing


def _encoded(text: str) -> bytes:
    """UTF-8; the bytes of a name that is none are left as they are."""
    return text.encode("utf-8", "surrogateescape")


def _decoded(record: bytes) -> str:
    return record.decode("utf-8", "surrogateescape")
