"""Grids: the cells of tables and grids on a page, from what the page model calls other marks.

A cell is paper that rules enclose. Cells that lie beside each other or below each other make a
grid; which lines of writing are in which cell is decided by where they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np

from rowscan.arrays import Bool, Float64, Int32, Int64
from rowscan.reading import Box, Cell
from rowscan.segmentation.bands import PageAnswer

_CELL = 0.8  # heights of digits: a smaller region is the inside of a digit or a frame's corner
_FILLED = 0.5  # of its box: a region that fills less is no cell
_APART = 0.6  # heights of digits: neighbours are parted by a rule, not by more
_COMMON = 0.4  # of the usual number of cells that begin a row or column together
_FACING = 0.6  # of the shorter side: how far the sides of neighbours face each other
_BESIDE = 0.2  # of a row or column: a rule is looked for so far from where it usually is
_OPEN = 0.5  # of the height of a region: where it is lower, it is a gap in a rule

Place = tuple[int, int, int, int]
"""Of a cell in its grid: first row, first column, from 0, and how many of each it spans."""
Corners = Float64[np.ndarray, " 4"]
"""Left, top, right and bottom, in pixels."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A grid or table of at least two rows and two columns.

    Attributes:
        tops: where each row begins, and the end of the last one, in pixels.
        lefts: where each column begins, and the end of the last one.
        spans: the cells that span several rows or columns.
    """

    tops: Float64[np.ndarray, " rows1"]
    lefts: Float64[np.ndarray, " columns1"]
    spans: tuple[Place, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.tops) - 1, len(self.lefts) - 1

    @property
    def places(self) -> list[Place]:
        """All cells, row by row."""
        inside = {slot for span in self.spans for slot in _slots(span)}
        rows, columns = map(range, self.shape)
        single = [(*slot, 1, 1) for slot in product(rows, columns) if slot not in inside]
        return sorted([*single, *self.spans])

    def place(self, x: float | int, y: float | int) -> tuple[int, int] | None:
        """First row and column, from 0, of the cell at a place in pixels; None outside the grid."""
        row = int(np.searchsorted(self.tops, y, "right")) - 1
        column = int(np.searchsorted(self.lefts, x, "right")) - 1
        rows, columns = self.shape
        if not (0 <= row < rows and 0 <= column < columns):
            return None
        around = (span[:2] for span in self.spans if (row, column) in _slots(span))
        return next(around, (row, column))

    def corners(self, place: Place) -> Corners:
        """Where a cell is."""
        row, column, rows, columns = place
        ends = self.lefts[column + columns], self.tops[row + rows]
        return np.array([self.lefts[column], self.tops[row], *ends])


def find_grids(answer: PageAnswer, height: float) -> list[Grid]:
    """The grids of a page, from top to bottom.

    Args:
        answer: the page model's.
        height: of the digits of the page, in pixels.
    """
    regions, numbers, cells = _cells(answer.probabilities[..., 0] < 0.5, height)
    grids = []
    for group in _groups(cells, _APART * height):
        tops = _edges(cells[group, 1], cells[group, 3])
        lefts = _edges(cells[group, 0], cells[group, 2])
        if len(tops) > 2 and len(lefts) > 2:
            spans = _spans(regions, numbers[group], cells[group], tops, lefts)
            grids.append(Grid(tops, lefts, spans))
    return sorted(grids, key=lambda grid: float(grid.tops[0]))


def table_cells(
    grids: Sequence[Grid], angle: float, to_box: Callable[[Corners], Box]
) -> dict[tuple[int, int, int], Cell]:
    """The cells of a page, by the number of their grid and first row and column there, from 0.

    Args:
        grids: of the page.
        angle: the direction of its lines, in degrees: it may lie on its side or upside down.
        to_box: maps pixels to those of the picture.
    """
    quarter = round(angle / 90) % 4
    order = sorted(
        range(len(grids)), key=lambda n: -grids[n].lefts[0] if quarter % 2 else grids[n].tops[0]
    )
    keys, cells, above = list[tuple[int, int, int]](), list[Cell](), 0
    for table, number in enumerate(order, start=1):
        grid = grids[number]
        rows_on_page = grid.shape[quarter % 2]
        for place in grid.places:
            row, column, rows, columns = place
            if quarter % 2:  # lines run down the picture, the next one is left of this one
                row, column, rows, columns = grid.shape[1] - column - columns, row, columns, rows
            keys.append((number, *place[:2]))
            box = to_box(grid.corners(place))
            cells.append(Cell(above + row + 1, column + 1, box, rows, columns, table))
        above += rows_on_page
    return dict(zip(keys, upside_down(cells) if quarter > 1 else cells, strict=True))


def upside_down(cells: Sequence[Cell]) -> list[Cell]:
    """The same cells, of a page that was held upside down."""
    rows = max((cell.row + cell.rows for cell in cells), default=1)
    ends = dict[int, int]()
    for cell in cells:
        ends[cell.table] = max(ends.get(cell.table, 0), cell.column + cell.columns)
    return [
        replace(
            cell,
            row=rows + 1 - cell.row - cell.rows,
            column=ends[cell.table] + 1 - cell.column - cell.columns,
            table=len(ends) + 1 - cell.table,
        )
        for cell in cells
    ]


def _slots(span: Place) -> set[tuple[int, int]]:
    """Rows and columns that a cell covers."""
    row, column, rows, columns = span
    return set(product(range(row, row + rows), range(column, column + columns)))


def _spans(
    regions: Int32[np.ndarray, "height width"],
    numbers: Int64[np.ndarray, " cells"],
    cells: Int64[np.ndarray, "cells 4"],
    tops: Float64[np.ndarray, " rows1"],
    lefts: Float64[np.ndarray, " columns1"],
) -> tuple[Place, ...]:
    """The regions that cover several rows or columns of a grid, and not by a gap in a rule."""
    spans, taken = list[Place](), set[tuple[int, int]]()
    for number, (left, top, right, bottom) in zip(numbers.tolist(), cells.tolist(), strict=True):
        row, rows = _covered(tops, top, bottom)
        column, columns = _covered(lefts, left, right)
        span = (row, column, rows, columns)
        if rows * columns == 1 or rows < 1 or columns < 1 or taken & _slots(span):
            continue
        inside = regions[top:bottom, left:right] == number
        if _is_open(inside, lefts[column : column + columns + 1] - left) and _is_open(
            inside.T, tops[row : row + rows + 1] - top
        ):
            spans.append(span)
            taken |= _slots(span)
    return tuple(sorted(spans))


def _covered(edges: Float64[np.ndarray, " edges"], start: int, stop: int) -> tuple[int, int]:
    """The first of the rows or columns between two places, and their number."""
    first = int(np.abs(edges[:-1] - start).argmin())
    return first, int(np.abs(edges[1:] - stop).argmin()) - first + 1


def _is_open(
    inside: Bool[np.ndarray, "rows columns"], edges: Float64[np.ndarray, " edges"]
) -> bool:
    """Whether nothing parts a region between its columns, which begin and end at these edges.

    Where writing crosses an edge, there is paper above and below it; in a gap of a rule is not.
    """
    reach = max(1, round(_BESIDE * float(np.diff(edges).min())))
    high = (len(inside) - inside[::-1].argmax(0) - inside.argmax(0)) * inside.any(0)
    least = _OPEN * float(np.median(high))
    return all(
        bool((high[max(round(edge) - reach, 0) : round(edge) + reach] > least).all())
        for edge in edges[1:-1].tolist()
    )


def _cells(
    dark: Bool[np.ndarray, "height width"], height: float
) -> tuple[
    Int32[np.ndarray, "height width"], Int64[np.ndarray, " cells"], Int64[np.ndarray, "cells 4"]
]:
    """Regions of paper; those that rules enclose, and their left, top, right and bottom."""
    barrier = cv2.dilate(dark.astype(np.uint8), np.ones((3, 3), np.uint8))
    _, regions, stats, _ = cv2.connectedComponentsWithStats(1 - barrier, connectivity=4)
    x, y, width, high, area = stats[1:].astype(np.int64).T
    within = (x > 0) & (y > 0) & (x + width < dark.shape[1]) & (y + high < dark.shape[0])
    large = np.minimum(width, high) > _CELL * height
    kept = within & large & (area > _FILLED * width * high)
    cells: np.ndarray = np.stack([x, y, x + width, y + high], 1)[kept]
    return regions, 1 + np.flatnonzero(kept), cells


def _groups(cells: Int64[np.ndarray, "cells 4"], apart: float) -> list[Int64[np.ndarray, " some"]]:
    """Indices of cells that are neighbours of each other, directly or by way of others."""
    left, top, right, bottom = cells.T

    def facing(first: np.ndarray, last: np.ndarray, i: int) -> np.ndarray:
        shared = np.minimum(last[i], last) - np.maximum(first[i], first)
        facing: np.ndarray = shared > _FACING * np.minimum(last[i] - first[i], last - first)
        return facing

    def close(first: np.ndarray, last: np.ndarray, i: int) -> np.ndarray:
        close: np.ndarray = (abs(first[i] - last) < apart) | (abs(first - last[i]) < apart)
        return close

    groups, todo = [], np.ones(len(cells), bool)
    while todo.any():
        group, frontier = list[int](), [int(todo.argmax())]
        todo[frontier] = False
        while frontier:  # not by a matrix of all pairs: there can be thousands of cells
            i = frontier.pop()
            group.append(i)
            beside = facing(top, bottom, i) & close(left, right, i)
            above = facing(left, right, i) & close(top, bottom, i)
            near = np.flatnonzero(todo & (beside | above)).tolist()
            todo[near] = False
            frontier += near
        groups.append(np.array(sorted(group)))
    return groups


def _edges(
    starts: Int64[np.ndarray, " cells"], stops: Int64[np.ndarray, " cells"]
) -> Float64[np.ndarray, " edges"]:
    """Where rows or columns begin, and the end of the last.

    A beginning that few cells have in common is that of a part of a cell, cut off by a stroke.
    """
    usual = float(np.median(stops - starts))
    order = np.sort(starts.astype(float))
    firsts = np.flatnonzero(np.diff(order, prepend=-np.inf) > 0.4 * usual)
    parts = np.split(order, firsts[1:])
    fewest = _COMMON * float(np.median([len(part) for part in parts]))
    means = [float(part.mean()) for part in parts if len(part) >= fewest]
    return np.array([*means, float(stops.max())])
