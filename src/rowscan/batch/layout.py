"""Layout: a reading as blocks, its tables and the lines between them. It writes nothing.

A line that was left out although it is likely to be a number stands there as "?".
"""

from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from rowscan.reading import UNSURE, Box, Cell, Reading

LIKELY = 0.5
"""A line that was left out has a mark if it is more likely a number than not."""


@dataclass(frozen=True)
class Entry:
    """What stands in a cell, or on a line of its own."""

    text: str
    confidence: float | None = None
    """Of what was read; None where nothing was."""
    row: int = 0
    """From 0, in its block,"""
    column: int = 0
    rows: int = 1
    """and how many rows it spans,"""
    columns: int = 1


@dataclass(frozen=True)
class Block:
    """A table, with an entry for each of its cells; or lines side by side that are in none."""

    entries: tuple[Entry, ...]
    is_table: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows = max(entry.row + entry.rows for entry in self.entries)
        return rows, max(entry.column + entry.columns for entry in self.entries)


class Mark(NamedTuple):
    """A line of writing, or "?" for one that was left out although it is likely to be a number."""

    box: Box
    text: str
    confidence: float
    cell: tuple[int, int] | None
    """Row and column, from 1."""


def marks(reading: Reading) -> list[Mark]:
    """What is written on a page, in reading order."""
    found = [
        Mark(line.box, line.text, line.confidence, _both(line.row, line.column))
        for line in reading.lines
    ]
    for line in reading.rejected:
        if line.confidence >= LIKELY:
            mark = Mark(line.box, UNSURE, line.confidence, _cell_at(reading.cells, line.box))
            below = (i for i, other in enumerate(found) if _precedes(mark.box, other.box))
            found.insert(next(below, len(found)), mark)
    return found


def blocks(reading: Reading) -> list[Block]:
    """The tables and rows of a page, from top to bottom."""
    inside: dict[tuple[int, int], list[Mark]] = {}
    rows: list[list[Mark]] = []
    for mark in marks(reading):
        if mark.cell is not None:
            inside.setdefault(mark.cell, []).append(mark)
        elif rows and _beside(rows[-1][-1].box, mark.box):
            rows[-1].append(mark)
        else:
            rows.append([mark])
    found = [(row[0].box[1] + row[0].box[3] // 2, _row(row)) for row in rows]
    for _, cells in groupby(reading.cells, key=lambda cell: cell.table):
        found.append(_table(list(cells), inside))
    return [block for _, block in sorted(found, key=lambda item: item[0])]


def _row(marks: list[Mark]) -> Block:
    entries = (Entry(m.text, m.confidence, column=i) for i, m in enumerate(marks))
    return Block(tuple(entries), is_table=False)


def _table(cells: list[Cell], inside: dict[tuple[int, int], list[Mark]]) -> tuple[int, Block]:
    """The top of a table, and its block."""
    above = min(cell.row for cell in cells)
    entries = []
    for cell in cells:
        read = inside.get((cell.row, cell.column), [])
        text = " ".join(mark.text for mark in read)
        sure = min((mark.confidence for mark in read), default=None)
        place = cell.row - above, cell.column - 1, cell.rows, cell.columns
        entries.append(Entry(text, sure, *place))
    return min(cell.box[1] for cell in cells), Block(tuple(entries), True)


def _both(row: int | None, column: int | None) -> tuple[int, int] | None:
    return None if row is None or column is None else (row, column)


def _cell_at(cells: tuple[Cell, ...], box: Box) -> tuple[int, int] | None:
    """Row and column of the cell around the middle of a box."""
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    for cell in cells:
        left, top, width, height = cell.box
        if left <= x < left + width and top <= y < top + height:
            return cell.row, cell.column
    return None


def _beside(one: Box, other: Box) -> bool:
    """Whether a line is at the right of another."""
    middle = other[1] + other[3] / 2
    return one[1] <= middle < one[1] + one[3] and other[0] >= one[0] + one[2]


def _precedes(one: Box, other: Box) -> bool:
    """Whether a line comes before another in reading order."""
    (x, y, _, height), (other_x, other_y, _, other_height) = one, other
    if y + height / 2 < other_y or other_y + other_height / 2 < y:
        return y < other_y
    return x < other_x
