"""Workbook: readings as XLSX, a sheet for each page, and one in front that lists them."""

import io
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rowscan.batch.formats import escaped
from rowscan.batch.layout import Block, Entry, blocks
from rowscan.batch.results import Results, prepared
from rowscan.errors import requires
from rowscan.io.atomic import write_atomically
from rowscan.reading import SURE, Reading

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet

_COLUMNS = ("path", "page", "status", "numbers", "text", "confidence", "sheet")
_LONGEST_NAME = 31
"""Characters of the name of a sheet, which has none of `[]:*?/\\`."""
_LONGEST_NUMBER = 15
"""Digits: a spreadsheet keeps no more of a number."""
LONGEST_TEXT = 32_767
"""Characters of a cell."""


class Workbook(Results):
    """Readings in a file that appears when it is closed.

    Whole numbers are numbers, so that they can be added up; what would not be shown as it was
    written, such as 007, is text. What is unsure is yellow.
    """

    def __init__(self, path: Path) -> None:
        """Begin a new file.

        Raises:
            MissingExtraError: XlsxWriter is not installed.
            UsageError: the file exists already, or cannot be written.
        """
        with requires("xlsx", "writing XLSX"):
            import xlsxwriter
        self._path = prepared(path)
        self._content = io.BytesIO()
        # A text that begins with = is writing, not a formula.
        options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        self._book = xlsxwriter.Workbook(self._content, options)
        bold = self._book.add_format({"bold": True})
        self._frame = self._book.add_format({"border": 1})
        self._unsure = self._book.add_format({"bg_color": "#FFEB9C"})
        self._unsure_frame = self._book.add_format({"border": 1, "bg_color": "#FFEB9C"})
        self._list = self._book.add_worksheet("Pictures")
        self._list.write_row(0, 0, _COLUMNS, bold)
        self._list.freeze_panes(1, 0)
        self._list.set_column(0, 0, 30)
        self._list.set_column(4, 4, 40)
        self._names = SheetNames("Pictures")
        self._row = 0

    def write(self, path: str, reading: Reading, *, fresh: bool = False) -> None:
        """Add a sheet with the tables and lines of a page."""
        page = f" {reading.page}" if reading.page > 1 else ""
        name = self._names.new(Path(path).stem, page)
        sheet = self._book.add_worksheet(name)
        top = 0
        for block in blocks(reading):
            self._write_block(sheet, block, top)
            top += block.shape[0] + block.is_table  # an empty row below a table
        values = (reading.status, len(reading.lines), reading.text, round(reading.confidence, 4))
        self._write_row(path, reading.page, *values)
        self._list.write_url(
            self._row, len(_COLUMNS) - 1, f"internal:'{_quoted(name)}'!A1", None, name
        )

    def write_failure(self, path: str, page: int, reason: str, *, fresh: bool = False) -> None:
        """Add a row with the reason to the first sheet."""
        self._write_row(path, page, "error", 0, reason, None)

    def close(self) -> None:
        """Write the file."""
        self._list.autofilter(0, 0, self._row, len(_COLUMNS) - 1)
        self._book.close()
        write_atomically(self._path, self._content.getvalue())

    def _write_row(self, *values: object) -> None:
        self._row += 1
        for column, value in enumerate(values):
            if isinstance(value, str):
                self._list.write_string(self._row, column, escaped(value)[:LONGEST_TEXT])
            elif value is not None:
                self._list.write(self._row, column, value)

    def _write_block(self, sheet: "Worksheet", block: Block, top: int) -> None:
        for entry in block.entries:
            row, column = top + entry.row, entry.column
            unsure = entry.confidence is not None and entry.confidence < SURE
            if block.is_table:
                style = self._unsure_frame if unsure else self._frame
            else:
                style = self._unsure if unsure else None
            if entry.rows * entry.columns > 1:
                last = row + entry.rows - 1, column + entry.columns - 1
                sheet.merge_range(row, column, *last, "", style)
            _write_entry(sheet, row, column, entry, style)


class SheetNames:
    """Names of sheets that Excel takes, each another, whatever its case."""

    def __init__(self, first: str) -> None:
        """Begin with the name of the first sheet."""
        self._taken = {first.lower(), "history"}  # the second belongs to Excel

    def new(self, wanted: str, end: str = "") -> str:
        """`wanted` and `end` as far as they go, with a number where they are taken."""
        stem = re.sub(r"[\[\]:*?/\\\x00-\x1f\x7f\ud800-\udfff]", "_", wanted).strip("' ")
        for number in itertools.count(1):
            last = f"{end} ({number})" if number > 1 else end
            name = (stem or "picture")[: _LONGEST_NAME - len(last)] + last
            if name.lower() not in self._taken:
                break
        self._taken.add(name.lower())
        return name


def _write_entry(sheet: "Worksheet", row: int, column: int, entry: Entry, style: object) -> None:
    text = entry.text
    if re.fullmatch(r"0|[1-9]\d*", text, re.ASCII) and len(text) <= _LONGEST_NUMBER:
        sheet.write_number(row, column, int(text), style)
    elif text:
        sheet.write_string(row, column, text[:LONGEST_TEXT], style)
        sheet.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})
    else:
        sheet.write_blank(row, column, None, style)


def _quoted(name: str) -> str:
    return name.replace("'", "''")
