"""Tables: the file that collects the records of readings, perhaps of an interrupted run.

It does not know where pictures come from or how they are read.
"""

import csv
import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from rowscan.batch.formats import FORMATS, Format
from rowscan.batch.results import Results
from rowscan.errors import OutputError, UsageError, reason_of
from rowscan.io.atomic import write_atomically
from rowscan.reading import Reading


class Table(Results):
    """Records in a file, perhaps of an interrupted run, or on standard output."""

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
        self.failed = 0
        self._format = style
        self._done: set[str] = set()
        self._last: tuple[str, int] | None = None  # written path, number of its records
        self._name = str(path or "standard output")
        self._path = path
        self._plain = True  # ASCII so far
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
            if not self._regular or not self._resume(file, names):
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

    def begun(self, path: str) -> bool:
        """Whether the file holds a record of this picture from an earlier run."""
        return self._format.written_path(path) in self._done

    def write(self, path: str, reading: Reading, *, fresh: bool = False) -> None:
        """Add the records of a page that an earlier run did not write; with `fresh`, all of them.

        Raises:
            OutputError: the file cannot be written; it ends with the last complete page.
        """
        self._add(path, self._format.records(path, reading), fresh=fresh)

    def write_failure(self, path: str, page: int, reason: str, *, fresh: bool = False) -> None:
        """As `write`, of a page that could not be read."""
        self._add(path, [self._format.failure(path, page, reason)], fresh=fresh)

    def _add(self, path: str, records: list[str], *, fresh: bool) -> None:
        if (
            not fresh
            and self._last is not None
            and self._format.written_path(path) == self._last[0]
        ):
            known = min(self._last[1], len(records))
            self._last = self._last[0], self._last[1] - known
            records = records[known:]
        self._put("".join(records))

    def close(self) -> None:
        """Close the file, unless it is standard output."""
        if self._file is not sys.stdout.buffer:
            self._file.close()

    def _put(self, text: str) -> None:
        rest = memoryview(_encoded(text))
        start = self._file.tell() if self._regular else None
        try:
            if self._plain and self._regular and not text.isascii():
                start = self._mark()
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

    def _mark(self) -> int:
        """Put the format's mark before what is in the file; returns where its end is then."""
        assert self._path is not None
        self._plain = False
        if self._format.mark:
            path = self._path.resolve()
            self._file.seek(0)
            rest = self._file.read()
            assert rest is not None
            write_atomically(path, self._format.mark.encode() + rest)
            self._file.close()
            self._file = path.open("r+b", buffering=0)
        return self._file.seek(0, os.SEEK_END)

    def _resume(self, file: io.FileIO, names: Callable[[], Iterable[str]]) -> bool:
        """Register the complete records and go to their end; whether there are any."""
        end = begin = 0
        partial = b""
        buffered = io.BufferedReader(file)
        mark = self._format.mark.encode()
        if mark and buffered.peek(len(mark)).startswith(mark):
            end = begin = len(buffered.read(len(mark)))
            self._plain = False
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
                    self.failed += self._format.is_failure(_decoded(record))
                except (ValueError, csv.Error) as error:
                    raise self._of_another_kind(f"record {number}: {error}") from None
                count = self._last[1] if self._last and self._last[0] == path else 0
                self._last = path, count + 1
                self._done.add(path)
            end += len(record)
        buffered.detach()
        if partial and end == begin and not self._begins(partial, names):
            raise self._of_another_kind("it has no complete line")
        if partial:
            file.truncate(end)
        file.seek(end)
        return end > begin

    def _begins(self, partial: bytes, names: Callable[[], Iterable[str]]) -> bool:
        """Whether this can be the beginning of what this run would write."""
        if self._format.mark.encode().startswith(partial):
            return True
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
