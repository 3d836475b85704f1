"""Page: from a photo or scan of numbers to lines of ink. Sees no model and opens no file.

`find_lines` takes the steps one after the other: `strokes`, `rules`, `rows`, and cutting out, which
is here. Lengths are pixels of the reduced picture, and most follow from two measures of the writing
itself: how thick the pen is, and how high the digits are.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import Float64, Shaped, UInt8
from rowscan.errors import DataError
from rowscan.scans import LINE_HEIGHT
from rowscan.segmentation.binarize import (
    Contrast,
    Sheet,
    background,
    dark_on_light,
    find_strokes,
    reduce,
    resize,
    stand_out,
    weighted_median,
    with_thin_pen,
    without_blots,
    without_edges,
)
from rowscan.segmentation.ruled_lines import without_rules
from rowscan.segmentation.text_lines import Patches, Row, find_angle, find_patches, find_rows

Affine = Float64[np.ndarray, "2 3"]
"""Takes (x, y, 1) to another (x, y). Coordinates count from the corner of the first pixel, whose
centre therefore is (0.5, 0.5)."""

DIGIT_HEIGHT = 24
"""Rows that the digits of a line fill: the median height of its patches, weighted by their area.
Above and below is room for a long 1 or 7; where it is too little, the whole line is smaller."""

MAX_WIDTH = 4096
"""Columns of a line of ink; a longer line is made smaller."""

_MARGIN = 4  # columns without ink before and after a line
_THINNEST = 1.8  # pixels: strokes of a line of ink are no thinner


@dataclass(frozen=True, eq=False)
class LineImage:
    """One line of writing, brought to a fixed height.

    Attributes:
        ink: 0 is paper, 255 is ink; the digits are about 24 rows high.
        box: x, y, width and height in pixels of the picture that was given.
        to_image: takes columns and rows of `ink` to pixels of that picture.
        plausibility: 0 to 1; how much this looks like the writing that is meant, beside what else
            is in the picture: high enough, not cut by the border. No model has looked at it.
    """

    ink: UInt8[np.ndarray, "32 width"]
    box: tuple[int, int, int, int]
    to_image: Affine
    plausibility: float

    def box_of(self, start: float | int, stop: float | int) -> tuple[int, int, int, int]:
        """X, y, width and height, in pixels of the picture, of the ink between two columns."""
        first = min(max(math.floor(start), 0), self.ink.shape[1] - 1)
        part = self.ink[:, first : max(math.ceil(stop), first + 1)]
        rows = np.flatnonzero((part > 127).any(1))
        top, bottom = (rows[0], rows[-1] + 1) if rows.size else (0, LINE_HEIGHT)
        x, y, width, height = self.box
        corners = np.array([start, top, stop, bottom], float)
        return _box(self.to_image, corners, (x, y, x + width, y + height))


def find_lines(image: Sheet, size: tuple[int, int] | None = None) -> list[LineImage]:
    """The lines of writing in a picture, from top to bottom and from left to right.

    Args:
        image: (height, width) of grey or (height, width, 3) of red, green and blue, upright; the
            ink may be darker or lighter than the paper.
        size: width and height of the picture that this is a reduced copy of: boxes are in its
            pixels.

    Returns:
        A `LineImage` for each; none if there is no writing. Other things may be among them, such as
        words or a blot: `plausibility` says something, a line model can say more.

    Raises:
        DataError: a picture without pixels.
    """
    if image.size == 0:
        raise DataError("image", "it has no pixels")
    sheet = dark_on_light(reduce(image))
    contrast, noise = stand_out(sheet, background(sheet))
    strokes = without_edges(find_strokes(contrast, noise))
    contrast, strokes, pen = with_thin_pen(contrast, strokes)
    strokes, fences = without_rules(without_blots(strokes, pen), pen)
    patches = find_patches(strokes, pen)
    width, height = size or (image.shape[1], image.shape[0])
    scale = np.divide((height, width), contrast.shape)
    to_image = np.array([[scale[1], 0, 0], [0, scale[0], 0]])
    turn, shape = level(contrast.shape, find_angle(patches))
    if shape != contrast.shape:
        contrast = cv2.warpAffine(contrast, _to_centres(turn), shape[::-1])
        strokes, fences = (
            cv2.warpAffine(mask, _to_centres(turn), shape[::-1], flags=cv2.INTER_NEAREST)
            for mask in (strokes, fences)
        )
        patches = find_patches(strokes, pen)
        to_image = _after(to_image, cv2.invertAffineTransform(turn))
    limits = (0, 0, width, height)
    rows = find_rows(patches, fences, pen)
    return [
        cut_out(row, patches, contrast, pen=pen, to_image=to_image, limits=limits) for row in rows
    ]


def level(shape: tuple[int, ...], angle: float) -> tuple[Affine, tuple[int, ...]]:
    """The turn that makes lines level which fall by `angle` degrees, and the shape it takes."""
    if angle == 0:
        return np.eye(2, 3), shape
    height, width = shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    cos, sin = np.abs(turn[0, :2])
    rows, columns = math.ceil(height * cos + width * sin), math.ceil(height * sin + width * cos)
    turn[:, 2] += (columns - width) / 2, (rows - height) / 2
    return turn, (rows, columns)


def cut_out(
    row: Row,
    patches: Patches,
    contrast: Contrast,
    *,
    pen: float,
    to_image: Affine,
    limits: tuple[int, int, int, int],
) -> LineImage:
    """The row as a line of ink: its own patches and nothing else, at a fixed height.

    A hairline would pale when it is made smaller, so it is drawn thicker first. Strokes keep their
    grey edges, as MNIST's do: ink is clipped a little above the paper and a little below the
    strokes' usual blackness. A line of one pen is so as black as a line of another.

    Args:
        row: the patches that belong.
        patches: all patches.
        contrast: what they were found in.
        pen: thickness of the strokes in it.
        to_image: takes places in `contrast` to places in the original picture.
        limits: left, top, right and bottom of the original picture.
    """
    own = row.members
    left, top = int(patches.left[own].min()), int(patches.top[own].min())
    right, bottom = int(patches.right[own].max()), int(patches.bottom[own].max())
    scale = min(
        DIGIT_HEIGHT / weighted_median(patches.height[row.high], patches.area[row.high]),
        (LINE_HEIGHT - 2) / (bottom - top),
        (MAX_WIDTH - 2 * _MARGIN) / (right - left),
    )
    chosen = np.zeros(len(patches.area) + 1, np.uint8)
    chosen[own + 1] = 1
    rim = max(1, round(pen / 3))  # the soft edge of a stroke belongs to it
    thicker = max(0, round((_THINNEST / scale - pen) / 2))
    pad = 2 * rim + thicker
    around = (left - pad, top - pad, right + pad, bottom + pad)
    strokes = cv2.dilate(
        chosen[_crop(patches.labels, around)], np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)
    )
    grey = _crop(contrast, around) * strokes
    if thicker:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thicker + 1, 2 * thicker + 1))
        grey = cv2.dilate(grey, disc)
    # Resizing averages, and gives whole pixels; the rest of the way interpolates.
    small = resize(grey, min(scale, 1.0))
    zoom_y, zoom_x = np.divide(small.shape, grey.shape)
    width = math.ceil((right - left) * scale) + 2 * _MARGIN
    from_sheet = np.array(
        [
            [scale, 0, _MARGIN - left * scale],
            [0, scale, LINE_HEIGHT / 2 - (top + bottom) / 2 * scale],
        ]
    )
    to_sheet = np.array([[1 / zoom_x, 0, left - pad], [0, 1 / zoom_y, top - pad]])
    place = _to_centres(_after(from_sheet, to_sheet))
    levels: np.ndarray = cv2.warpAffine(small, place, (width, LINE_HEIGHT)).astype(np.float32)
    core = float(np.percentile(levels[levels >= 0.4 * levels.max()], 60))
    ink = np.clip((levels - 0.15 * core) / max(0.75 * core, 1), 0, 1)
    return LineImage(
        ink=np.rint(255 * ink).astype(np.uint8),
        box=_box(to_image, np.array([left, top, right, bottom], float), limits),
        to_image=_after(to_image, cv2.invertAffineTransform(from_sheet)),
        plausibility=row.plausibility,
    )


def _after(second: Affine, first: Affine) -> Affine:
    """The map that does the first, then the second."""
    both: np.ndarray = second @ np.vstack([first, [0, 0, 1]])
    return both


def _to_centres(place: Affine) -> Affine:
    """The same map for OpenCV, which gives (0, 0) to the centre of the first pixel."""
    moved = place.copy()
    moved[:, 2] += place[:, :2] @ [0.5, 0.5] - 0.5
    return moved


def _box(
    place: Affine, corners: Float64[np.ndarray, " 4"], limits: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """X, y, width and height, whole pixels and at least one, around a box that is mapped."""
    left, top, right, bottom = corners
    x, y = place @ [[left, right, right, left], [top, top, bottom, bottom], [1, 1, 1, 1]]
    x = np.clip([math.floor(x.min() + 0.01), math.ceil(x.max() - 0.01)], limits[0], limits[2])
    y = np.clip([math.floor(y.min() + 0.01), math.ceil(y.max() - 0.01)], limits[1], limits[3])
    x[0], y[0] = min(x[0], limits[2] - 1), min(y[0], limits[3] - 1)
    return int(x[0]), int(y[0]), max(int(x[1] - x[0]), 1), max(int(y[1] - y[0]), 1)


def _crop(
    picture: Shaped[np.ndarray, "height width"], box: tuple[int, int, int, int]
) -> Shaped[np.ndarray, "rows columns"]:
    """What lies between left, top, right and bottom; 0 beyond the border."""
    left, top, right, bottom = box
    height, width = picture.shape
    part = picture[max(top, 0) : bottom, max(left, 0) : right]
    beyond = [max(-top, 0), max(bottom - height, 0)], [max(-left, 0), max(right - width, 0)]
    return np.pad(part, beyond)
