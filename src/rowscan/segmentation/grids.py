"""Grids: the cells of tables and grids on a page, from what the page model calls other marks.

A cell is paper that rules enclose. Cells that lie beside each other or below each other make a
grid; which lines of writing are in which cell is decided by where they are.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import Bool, Float64, Int64
from rowscan.segmentation.bands import PageAnswer

_CELL = 0.8  # heights of digits: a smaller region is the inside of a digit or a frame's corner
_FILLED = 0.5  # of its box: a region that fills less is no cell
_APART = 0.6  # heights of digits: neighbours are parted by a rule, not by more
_COMMON = 0.4  # of the usual number of cells that begin a row or column together
_FACING = 0.6  # of the shorter side: how far the sides of neighbours face each other


@dataclass(frozen=True, eq=False)
class Grid:
    """A grid or table of at least two rows and two columns.

    Attributes:
        tops: where each row begins, and the end of the last one, in pixels.
        lefts: where each column begins, and the end of the last one.
    """

    tops: Float64[np.ndarray, " rows1"]
    lefts: Float64[np.ndarray, " columns1"]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.tops) - 1, len(self.lefts) - 1

    def place(self, x: float | int, y: float | int) -> tuple[int, int] | None:
        """Row and column, from 0, of a place in pixels; None outside the grid."""
        row = int(np.searchsorted(self.tops, y, "right")) - 1
        column = int(np.searchsorted(self.lefts, x, "right")) - 1
        rows, columns = self.shape
        return (row, column) if 0 <= row < rows and 0 <= column < columns else None


def find_grids(answer: PageAnswer, height: float) -> list[Grid]:
    """The grids of a page, from top to bottom.

    Args:
        answer: the page model's.
        height: of the digits of the page, in pixels.
    """
    cells = _cells(answer.probabilities[..., 0] < 0.5, height)
    grids = []
    for group in _groups(cells, _APART * height):
        tops = _edges(cells[group, 1], cells[group, 3])
        lefts = _edges(cells[group, 0], cells[group, 2])
        if len(tops) > 2 and len(lefts) > 2:
            grids.append(Grid(tops, lefts))
    return sorted(grids, key=lambda grid: float(grid.tops[0]))


def _cells(dark: Bool[np.ndarray, "height width"], height: float) -> Int64[np.ndarray, "cells 4"]:
    """Left, top, right and bottom of enclosed paper."""
    barrier = cv2.dilate(dark.astype(np.uint8), np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(1 - barrier, connectivity=4)
    x, y, width, high, area = stats[1:].astype(np.int64).T
    within = (x > 0) & (y > 0) & (x + width < dark.shape[1]) & (y + high < dark.shape[0])
    large = np.minimum(width, high) > _CELL * height
    kept = within & large & (area > _FILLED * width * high)
    cells: np.ndarray = np.stack([x, y, x + width, y + high], 1)[kept]
    return cells


def _groups(cells: Int64[np.ndarray, "cells 4"], apart: float) -> list[Int64[np.ndarray, " some"]]:
    """Indices of cells that are neighbours of each other, directly or by way of others."""
    left, top, right, bottom = (cells[:, side].astype(float) for side in range(4))

    def facing(first: np.ndarray, last: np.ndarray) -> np.ndarray:
        shared = np.minimum(last[:, None], last) - np.maximum(first[:, None], first)
        shorter = np.minimum((last - first)[:, None], last - first)
        facing: np.ndarray = shared > _FACING * shorter
        return facing

    def close(first: np.ndarray, last: np.ndarray) -> np.ndarray:
        close: np.ndarray = np.abs(first[:, None] - last) < apart
        both: np.ndarray = close | close.T
        return both

    linked = (facing(top, bottom) & close(left, right)) | (facing(left, right) & close(top, bottom))
    groups, todo = [], set(range(len(cells)))
    while todo:
        group, frontier = set[int](), {todo.pop()}
        while frontier:
            group |= frontier
            near = set(np.flatnonzero(linked[sorted(frontier)].any(0)).tolist())
            frontier = near - group
        todo -= group
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
