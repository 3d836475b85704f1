"""Formats: readings as records of text, CSV or JSON Lines. They open no file.

A record is what one page, or one line of a page, becomes; it ends with a line feed.
"""

import csv
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import get_args

from rowscan.alphabet import ALPHABET
from rowscan.batch.layout import marks
from rowscan.reading import UNSURE, Reading, Status, unreadable


class Format(ABC):
    """How a page becomes records, and which picture a record belongs to.

    Attributes:
        header: the first line of the file; empty if there is none.
        tabular: a page can have several records, and a record can have line feeds within quotation
            marks; otherwise each page is one line.
        mark: a file begins with it if it has more than ASCII.
    """

    header = ""
    tabular = False
    mark = ""

    @abstractmethod
    def records(self, path: str, reading: Reading) -> list[str]:
        """The records of one page, at least one, each with a line feed at its end."""

    @abstractmethod
    def failure(self, path: str, page: int, reason: str) -> str:
        """The record of a page that could not be read."""

    @abstractmethod
    def path_of(self, record: str) -> str:
        """The path in a record, as `written_path` gives it.

        Raises:
            ValueError: not a record of this format.
        """

    @abstractmethod
    def is_failure(self, record: str) -> bool:
        """Whether a record is that of a page that could not be read."""

    def written_path(self, path: str) -> str:
        """A path as it is written in records; by default unchanged."""
        return path

    @abstractmethod
    def opening(self, path: str) -> str:
        """The beginning of a file whose first picture is this, whatever is read in it."""


class Text(Format):
    """`path: 4071`, one line for each page; lines of writing are joined by " / ".

    From the second page on the path has its number, `path[2]: 4071`; so has the first page of a
    picture whose name ends like that. "?" stands for a line that is
    likely to be a number but is not sure enough to be read; "error" for a page that could not be.
    Scripts can split a line at the last ": ": the space is there even if nothing follows, and none
    follows a colon within a number. Control characters in a path are escaped, so a page is always
    one line.
    """

    _RECORD = re.compile(rf"(.+): (?:[{re.escape(ALPHABET + UNSURE)}]*|error)\n", re.DOTALL)
    _PAGE = re.compile(r"(.+)\[\d+\]", re.DOTALL)

    def records(self, path: str, reading: Reading) -> list[str]:
        """One line."""
        return [f"{self._numbered(path, reading.page)}{_with_marks(reading)}\n"]

    def failure(self, path: str, page: int, reason: str) -> str:
        """One line, without the reason."""
        return f"{self._numbered(path, page)}error\n"

    def path_of(self, record: str) -> str:
        """The text before the last ": ", without the number of a page."""
        found = self._RECORD.fullmatch(record)
        if not found:
            raise ValueError("expected 'path: number'")
        page = self._PAGE.fullmatch(found[1])
        return page[1] if page else found[1]

    def is_failure(self, record: str) -> bool:
        """Whether its text is "error"."""
        return record.endswith(": error\n")

    def written_path(self, path: str) -> str:
        """Without control characters."""
        return escaped(path)

    def opening(self, path: str) -> str:
        """The path and a colon."""
        return self._numbered(path, 1)

    def _numbered(self, path: str, page: int) -> str:
        numbered = page > 1 or self._PAGE.fullmatch(path)
        return f"{escaped(path)}[{page}]: " if numbered else f"{escaped(path)}: "


def _with_marks(reading: Reading) -> str:
    return _without_spaces_after_colons(" / ".join(mark.text for mark in marks(reading)))


def _without_spaces_after_colons(text: str) -> str:
    return re.sub(": +", ":", text)


class Csv(Format):
    """Comma-separated values: a row for each line of writing, or one for a page without any.

    The confidence is that of the line; of a page without lines it is that of the page, that
    nothing is to be read there.
    """

    _COLUMNS = (
        *("path", "page", "status", "line", "text", "confidence"),
        *("x", "y", "width", "height", "row", "column"),
    )
    header = ",".join(_COLUMNS) + "\n"
    tabular = True
    mark = "\ufeff"  # without this byte order mark Excel takes UTF-8 for another encoding

    def records(self, path: str, reading: Reading) -> list[str]:
        """The rows, lines numbered from 1."""
        start = (path, reading.page, reading.status)
        if not reading.lines:
            return [_row(*start, "", "", f"{reading.confidence:.4f}", *[""] * 6)]
        return [
            _row(*start, number, line.text, sure, *line.box, line.row, line.column)
            for number, line in enumerate(reading.lines, start=1)
            for sure in [f"{line.confidence:.4f}"]
        ]

    def failure(self, path: str, page: int, reason: str) -> str:
        """A row without a line."""
        return _row(path, page, "error", *[""] * 9)

    def path_of(self, record: str) -> str:
        """The first field."""
        fields = self._fields(record)
        if not fields[1].isdigit() or fields[2] not in get_args(Status):
            raise ValueError("expected the number and the status of a page")
        return fields[0]

    def is_failure(self, record: str) -> bool:
        """Whether its status is "error"."""
        return self._fields(record)[2] == "error"

    def opening(self, path: str) -> str:
        """The header."""
        return self.header

    def _fields(self, record: str) -> list[str]:
        rows = list(csv.reader(io.StringIO(record, newline=""), strict=True))
        if len(rows) != 1 or len(rows[0]) != len(self._COLUMNS):
            raise ValueError(f"expected a row of {len(self._COLUMNS)} fields")
        return rows[0]


def _row(*fields: object) -> str:
    buffer = io.StringIO()
    # The writer quotes fields with characters of its line terminator: \r must be one of them.
    csv.writer(buffer, lineterminator="\r\n").writerow(fields)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


class JsonLines(Format):
    """One object for each page, on one line."""

    def records(self, path: str, reading: Reading) -> list[str]:
        """One line; of names that are not Unicode the bytes are escaped."""
        return [json_line({"path": path, **reading.to_dict()})]

    def failure(self, path: str, page: int, reason: str) -> str:
        """One line with the reason."""
        return json_line({"path": path, **unreadable(page, reason)})

    def path_of(self, record: str) -> str:
        """The value of "path"."""
        return str(self._values(record)["path"])

    def is_failure(self, record: str) -> bool:
        """Whether its status is "error"."""
        return self._values(record)["status"] == "error"

    def opening(self, path: str) -> str:
        """The beginning of the object, up to its path."""
        return json_line({"path": path}).removesuffix("}\n")

    def _values(self, record: str) -> dict[str, object]:
        values = json.loads(record)
        if not isinstance(values, dict) or not {"path", "page", "status"} <= values.keys():
            raise ValueError("expected an object with path, page and status")
        return values


def json_line(values: Mapping[str, object]) -> str:
    """A line of JSON, readable; what would end a line, or is not Unicode, is escaped."""
    text = re.sub(
        "[\x7f-\x9f\u2028\u2029\ud800-\udfff]",
        lambda found: f"\\u{ord(found[0]):04x}",
        json.dumps(values, ensure_ascii=False),
    )
    return text + "\n"


FORMATS: dict[str, Format] = {"text": Text(), "csv": Csv(), "jsonl": JsonLines()}
"""The formats by name."""


def escaped(text: str) -> str:
    """The text on one line: control characters become backslash escapes."""
    return re.sub(
        "[\x00-\x1f\x7f-\x9f\u2028\u2029]",
        lambda found: found[0].encode("unicode_escape").decode(),
        text,
    )
