"""Tables: the printed lines of a page, and those that repeat, row by row or box by box.

Where such lines lie a whole row away, each row still looks right: only all of them together tell.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import Bool, Float64, Int64, UInt8
from rowscan.reading import Box
from rowscan.segmentation.binarize import Contrast, Mask

PRINT = 40  # of 192: the contrast of what is printed, at the least
_DARK = 60  # of 192: print that lines are found in
_LONG = 1 / 60  # of the page's width: a shorter stroke of print is a letter's
_TOLERANCE = 5  # pixels across: a line is found that is two pixels beside its place
_NEAREST = 12  # pixels at 150 dpi, 2 mm: the least height of a row
_FARTHEST = 0.25  # of the side of the page: the greatest
_ALIKE = 0.5  # of the lines: where fewer fall upon each other, a field that has moved looks wrong
_POINTS = 1000  # of the lines of a table, at most


@dataclass(frozen=True)
class PrintedLines:
    """The printed lines of a page, as masks."""

    across: UInt8[np.ndarray, "height width"]
    down: UInt8[np.ndarray, "height width"]
    other: UInt8[np.ndarray, "height width"]
    """Print that is no line."""

    @staticmethod
    def of(contrast: Contrast) -> "PrintedLines":
        """Runs of print that are long and straight, and the rest."""
        dark = (contrast >= _DARK).astype(np.uint8)
        length = max(9, round(_LONG * contrast.shape[1]))
        across: Mask = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
        down: Mask = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
        near: Mask = cv2.dilate(across | down, np.ones((5, 5), np.uint8))
        return PrintedLines(across, down, dark & (1 - near))


@dataclass(frozen=True, eq=False)
class Table:
    """Lines that hang together, and would look alike a row higher or lower, or a box beside."""

    box: Box
    points: Int64[np.ndarray, "n 2"]
    """Pixels of the lines that lie across the direction in which it repeats: rows and columns."""
    shifts: Int64[np.ndarray, "k 2"]
    """Rows and columns by which it may be moved,"""
    alike: Float64[np.ndarray, " k"]
    """and the share of the points that are on its lines after each."""

    def is_moved(self, near: Bool[np.ndarray, "height width"]) -> bool:
        """Whether its lines are rather found a row or a box away.

        Of a page on which they are in their places the shares of the points that are on lines fall
        by 1 - `alike` with a shift, of one on which they are moved they rise by as much. What hides
        a part makes it neither fall nor rise.

        Args:
            near: as `near_print` gives it, of a page in the frame of the blank.
        """
        here = _share(near, self.points)
        risen = [_share(near, self.points + shift) - here for shift in self.shifts]
        return bool((np.array(risen) > 0.5 * (1 - self.alike)).any())


def near_print(contrast: Contrast) -> Bool[np.ndarray, "height width"]:
    """The pixels of a page that are print, or within the tolerance of it."""
    printed = (contrast >= PRINT).astype(np.uint8)
    near: Mask = cv2.dilate(printed, np.ones((_TOLERANCE, _TOLERANCE), np.uint8))
    return near > 0


def find_tables(lines: PrintedLines, shape: tuple[int, ...]) -> list[Table]:
    """The tables of a blank: once for each direction in which one repeats.

    Args:
        lines: of the blank.
        shape: rows and columns of the page.
    """
    together: Mask = cv2.dilate(lines.across | lines.down, np.ones((3, 3), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(together)
    found = []
    for number in range(1, count):
        x, y, width, height = boxes[number, :4].tolist()
        part = (slice(y, y + height), slice(x, x + width))
        own = labels[part] == number
        for axis, mask in enumerate((lines.across, lines.down)):
            table = _table(mask[part] * own, (x, y, width, height), axis, shape)
            found += [table] if table is not None else []
    return found


def _table(
    mask: UInt8[np.ndarray, "rows columns"], box: Box, axis: int, shape: tuple[int, ...]
) -> Table | None:
    """A table whose rows (axis 0) or columns (1) repeat; None if they do not."""
    points = np.argwhere(mask)
    if not len(points):
        return None
    points = points[:: -(-len(points) // _POINTS)]
    near = cv2.dilate(mask, np.ones((_TOLERANCE, _TOLERANCE), np.uint8)) > 0
    step = np.eye(2, dtype=np.int64)[axis]
    far = min(mask.shape[axis], round(_FARTHEST * shape[axis]))
    alike = np.array([_share(near, points + by * step) for by in range(-far, far + 1)])
    best = [
        by
        for by in range(_NEAREST - far, far - _NEAREST + 1)
        if abs(by) >= _NEAREST
        and alike[by + far] >= _ALIKE
        and alike[by + far] == alike[by + far - _NEAREST : by + far + _NEAREST + 1].max()
    ]
    if not best:
        return None
    shifts = np.array(best)[:, None] * step
    return Table(box, points + np.array((box[1], box[0])), shifts, alike[np.array(best) + far])


def _share(near: Bool[np.ndarray, "height width"], points: Int64[np.ndarray, "n 2"]) -> float:
    """The share of points that are near print; beyond the page there is none."""
    rows, columns = points.T
    inside = (rows >= 0) & (columns >= 0) & (rows < near.shape[0]) & (columns < near.shape[1])
    return float(near[rows[inside], columns[inside]].sum() / len(points))
