"""Listing: readings as text for a terminal, tables with their rows and columns."""

import sys
import unicodedata
from pathlib import Path
from typing import BinaryIO

from rowscan.batch.formats import escaped
from rowscan.batch.layout import Block, Entry, blocks
from rowscan.batch.results import Results, prepared
from rowscan.errors import OutputError, reason_of
from rowscan.reading import Reading


class Listing(Results):
    """A page after the other: its path, its tables in frames and its lines, an empty line."""

    def __init__(self, path: Path | None) -> None:
        """Open a new file, or standard output for None.

        Raises:
            UsageError: it exists already, or cannot be written.
        """
        self._name = str(path or "standard output")
        self._file: BinaryIO = sys.stdout.buffer if path is None else prepared(path).open("xb")
        self.on_terminal = path is None and sys.stdout.isatty()

    def write(self, path: str, reading: Reading, *, fresh: bool = False) -> None:
        """Add a page."""
        self._put([f"{_title(path, reading.page)}:", *to_lines(reading)])

    def write_failure(self, path: str, page: int, reason: str, *, fresh: bool = False) -> None:
        """Add a page that could not be read."""
        self._put([f"{_title(path, page)}: error"])

    def close(self) -> None:
        """Close the file, unless it is standard output."""
        if self._file is not sys.stdout.buffer:
            self._file.close()

    def _put(self, lines: list[str]) -> None:
        try:
            self._file.write("\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"))
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(self._name, f"cannot be written: {reason_of(error)}") from None


def to_lines(reading: Reading) -> list[str]:
    """The tables and lines of a page, as lines of text; columns are as wide as they need to be."""
    lines = []
    for block in blocks(reading):
        row = "  ".join(entry.text for entry in block.entries)
        lines += _framed(block) if block.is_table else [row]
    return lines


def width(text: str) -> int:
    """Columns of a terminal that a text takes: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _title(path: str, page: int) -> str:
    return f"{escaped(path)}[{page}]" if page > 1 else escaped(path)


def _framed(block: Block) -> list[str]:
    """A table with a frame around it and rules between its columns."""
    widths = _widths(block)
    by_row: list[list[Entry]] = [[] for _ in range(block.shape[0])]
    for entry in block.entries:
        for row in range(entry.row, entry.row + entry.rows):
            by_row[row].append(entry if row == entry.row else Entry("", None, row, *_across(entry)))
    bars = ["─" * (wide + 2) for wide in widths]
    body = [
        "│".join(["", *(_cell(entry, widths) for entry in sorted(row, key=_column)), ""])
        for row in by_row
    ]
    return [f"┌{'┬'.join(bars)}┐", *body, f"└{'┴'.join(bars)}┘"]


def _across(entry: Entry) -> tuple[int, int, int]:
    return entry.column, 1, entry.columns


def _column(entry: Entry) -> int:
    return entry.column


def _widths(block: Block) -> list[int]:
    """Of each column; where one that spans several needs more, the last of them is wider."""
    widths = [1] * block.shape[1]
    for entry in sorted(block.entries, key=lambda entry: entry.columns):
        last = entry.column + entry.columns - 1
        widths[last] += max(0, width(entry.text) - _room(entry, widths))
    return widths


def _room(entry: Entry, widths: list[int]) -> int:
    return sum(widths[entry.column : entry.column + entry.columns]) + 3 * (entry.columns - 1)


def _cell(entry: Entry, widths: list[int]) -> str:
    """To the right, as numbers stand."""
    return f" {' ' * (_room(entry, widths) - width(entry.text))}{entry.text} "
