"""Line image: one line of writing at a fixed height, cut out of a picture of its ink.

It does not find lines: `page` and `page_lines` do, each in its way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from rowscan.arrays import Float64, Int64, UInt8
from rowscan.errors import TooLargeError
from rowscan.scans import LINE_HEIGHT
from rowscan.segmentation.binarize import resize

Affine = Float64[np.ndarray, "2 3"]
"""Maps (x, y, 1) to another (x, y). Coordinates count from the corner of the first pixel, whose
centre therefore is (0.5, 0.5)."""

DIGIT_HEIGHT = 24
"""Rows that the digits of a line fill: the median height of its components, weighted by area. Above
and below is room for a long 1 or 7; a line that needs more room is reduced."""

MAX_WIDTH = 4096
"""Columns of a line image; a longer line is reduced."""
MAX_LINES = 1000
"""Lines of writing on a page; with more it is refused before any is read. It bounds the time."""

_MARGIN = 4  # columns without ink before and after a line
_MIN_STROKE_WIDTH = 1.8  # pixels of a line image


@dataclass(frozen=True, eq=False)
class LineImage:
    """One line of writing, brought to a fixed height.

    Attributes:
        ink: 0 is paper, 255 is ink; the digits are about 24 rows high.
        box: x, y, width and height in pixels of the original picture.
        to_image: maps columns and rows of `ink` to pixels of that picture.
        plausibility: 0 to 1; whether this is the writing that is meant, by its height beside the
            other lines and by whether the border cuts it. No model has seen it.
    """

    ink: UInt8[np.ndarray, "32 width"]
    box: tuple[int, int, int, int]
    to_image: Affine
    plausibility: float
    columns: Int64[np.ndarray, " width"] | None = None
    """Where wide gaps were closed: of each column of `ink`, which one it was before."""
    cell: tuple[int, int] | None = None
    """Row and column, from 1, in a grid or table."""

    @property
    def is_level(self) -> bool:
        """Whether it runs across the picture rather than up or down."""
        return bool(abs(self.to_image[0, 0]) >= abs(self.to_image[1, 0]))

    def upside_down(self) -> "LineImage":
        """The same line, turned by 180 degrees."""
        width = self.ink.shape[1]
        columns = None
        if self.columns is not None:
            width = int(self.columns[-1]) + 1
            columns = width - 1 - self.columns[::-1]
        turn = np.array([[-1.0, 0, width], [0, -1, LINE_HEIGHT]])
        return replace(
            self,
            ink=np.ascontiguousarray(self.ink[::-1, ::-1]),
            to_image=compose(self.to_image, turn),
            columns=columns,
        )

    def box_of(self, start: float | int, stop: float | int) -> tuple[int, int, int, int]:
        """X, y, width and height, in pixels of the picture, of the ink between two columns."""
        first = min(max(math.floor(start), 0), self.ink.shape[1] - 1)
        part = self.ink[:, first : max(math.ceil(stop), first + 1)]
        rows = np.flatnonzero((part > 127).any(1))
        top, bottom = (rows[0], rows[-1] + 1) if rows.size else (0, LINE_HEIGHT)
        x, y, width, height = self.box
        if self.columns is not None:
            start, stop = np.interp([start, stop], np.arange(len(self.columns)), self.columns)
        corners = np.array([start, top, stop, bottom], float)
        return map_box(self.to_image, corners, (x, y, x + width, y + height))


def cut_line(
    grey: UInt8[np.ndarray, "height width"],
    bounds: tuple[int, int, int, int],
    *,
    digit_height: float,
    stroke_width: float,
    to_image: Affine,
    limits: tuple[int, int, int, int],
    plausibility: float,
) -> LineImage | None:
    """The image of a line at a fixed height; None where it has no ink.

    Thin strokes would fade when the line is reduced, so they are dilated first. Strokes keep their
    grey edges, as MNIST's do: ink is clipped a little above the paper and a little below the usual
    darkness of the strokes, so that lines of different pens are equally dark.

    Args:
        grey: the ink of the line and nothing else, 0 is paper, with some paper around.
        bounds: left, top, right and bottom of the ink in it.
        digit_height: of its digits, in its pixels,
        stroke_width: and of its strokes.
        to_image: maps its pixels to those of the original picture.
        limits: left, top, right and bottom of the original picture.
        plausibility: as in `LineImage`.
    """
    left, top, right, bottom = bounds
    scale = min(
        DIGIT_HEIGHT / digit_height,
        (LINE_HEIGHT - 2) / (bottom - top),
        (MAX_WIDTH - 2 * _MARGIN) / (right - left),
    )
    thicker = max(0, round((_MIN_STROKE_WIDTH / scale - stroke_width) / 2))
    if thicker:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thicker + 1, 2 * thicker + 1))
        grey = cv2.dilate(np.pad(grey, thicker), disc)
    # Resizing averages, and gives whole pixels; the rest of the way interpolates.
    small = resize(grey, min(scale, 1.0))
    zoom_y, zoom_x = np.divide(small.shape, grey.shape)
    width = math.ceil((right - left) * scale) + 2 * _MARGIN
    from_grey = np.array(
        [
            [scale, 0, _MARGIN - left * scale],
            [0, scale, LINE_HEIGHT / 2 - (top + bottom) / 2 * scale],
        ]
    )
    to_grey = np.array([[1 / zoom_x, 0, -thicker], [0, 1 / zoom_y, -thicker]])
    transform = to_centres(compose(from_grey, to_grey))
    levels: np.ndarray = cv2.warpAffine(small, transform, (width, LINE_HEIGHT)).astype(np.float32)
    if levels.max() <= 0:
        return None
    core = float(np.percentile(levels[levels >= 0.4 * levels.max()], 60))
    ink = np.clip((levels - 0.15 * core) / max(0.75 * core, 1), 0, 1)
    return LineImage(
        ink=np.rint(255 * ink).astype(np.uint8),
        box=map_box(to_image, np.array(bounds, float), limits),
        to_image=compose(to_image, cv2.invertAffineTransform(from_grey)),
        plausibility=plausibility,
    )


def deskew(shape: tuple[int, ...], angle: float) -> tuple[Affine, tuple[int, ...]]:
    """The rotation that levels what falls by `angle` degrees, and the shape that it needs."""
    if angle == 0:
        return np.eye(2, 3), shape
    height, width = shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    cos, sin = np.abs(turn[0, :2])
    rows, columns = math.ceil(height * cos + width * sin), math.ceil(height * sin + width * cos)
    turn[:, 2] += (columns - width) / 2, (rows - height) / 2
    return turn, (rows, columns)


def compose(second: Affine, first: Affine) -> Affine:
    """The map that does the first, then the second."""
    both: np.ndarray = second @ np.vstack([first, [0, 0, 1]])
    return both


def to_centres(transform: Affine) -> Affine:
    """The same map for OpenCV, for which the centre of the first pixel is (0, 0)."""
    shifted = transform.copy()
    shifted[:, 2] += transform[:, :2] @ [0.5, 0.5] - 0.5
    return shifted


def map_box(
    transform: Affine, corners: Float64[np.ndarray, " 4"], limits: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """X, y, width and height, whole pixels and at least one, around a box that is mapped."""
    left, top, right, bottom = corners.tolist()
    (a, b, c), (d, e, f) = transform.tolist()
    ends = [(left, top), (right, top), (right, bottom), (left, bottom)]
    x, width = _whole([a * x + b * y + c for x, y in ends], limits[0], limits[2])
    y, height = _whole([d * x + e * y + f for x, y in ends], limits[1], limits[3])
    return x, y, width, height


def _whole(places: list[float], low: int, high: int) -> tuple[int, int]:
    """The first whole pixel and the number of pixels around places, within limits."""
    start = min(max(math.floor(min(places) + 0.01), low), high - 1)
    stop = min(max(math.ceil(max(places) - 0.01), low), high)
    return start, max(stop - start, 1)


def check_count(lines: Sequence[object], most: int) -> None:
    """Check how many lines of writing a page has.

    Raises:
        TooLargeError: it has more.
    """
    if len(lines) > most:
        raise TooLargeError("image", f"more than {most:,} lines of writing; cut it into parts")
