"""Glyphs: characters as ink, drawn from pen strokes or warped from images, before they are set.

Ink is uint8, 0 for paper to 255. A digit of size 1 is `CAP` rows tall: row 0 of a glyph's frame is
the top of a digit, row `CAP` the base line.
"""

import math
from dataclasses import dataclass
from functools import cache, cached_property

import cv2
import numpy as np

from rowscan.arrays import Float64, Int64, UInt8
from rowscan.training.synthesis.pen_signs import Strokes

CAP = 48
"""Height of a digit of size 1, in rows."""
FAR = 10_000
"""Columns: further than any glyph is wide."""
_INK = 96  # of 255: grey that counts as ink
_SHARPER = np.clip(1.7 * (np.arange(256) - 40.0), 0, 255).astype(np.uint8)
"""Levels of an enlarged image, whose edges are soft, to those of a drawn one."""
_SOFT = 1.2  # rows that the soft edges of cv2.polylines add to a stroke
_SHIFT = 3  # bits of a pixel's fraction, in cv2.polylines

GlyphInk = UInt8[np.ndarray, "rows columns"]
Contour = Int64[np.ndarray, " _"]


@dataclass(frozen=True)
class Style:
    """How a glyph is drawn: sizes relative to a plain digit, `pen` in rows."""

    pen: float
    size: float = 1.0
    stretch: float = 1.0
    """Width, relative."""
    slant: float = 0.0
    """Columns to the right per row upwards."""
    turn: float = 0.0
    """Radians."""

    @property
    def matrix(self) -> Float64[np.ndarray, "2 2"]:
        """From positions in heights of a digit, from its base line, to rows and columns."""
        cos, sin, scale = math.cos(self.turn), math.sin(self.turn), CAP * self.size
        across, lean = self.stretch * scale, self.slant * scale
        return np.array(
            [
                [across * cos - lean * sin, -across * sin - lean * cos],
                [scale * sin, scale * cos],
            ]
        )


@dataclass(frozen=True)
class Shape:
    """An image of a character: where its digit-high part begins and ends, in its own rows."""

    image: GlyphInk
    top: float
    base: float


@dataclass(frozen=True)
class Glyph:
    """A character's ink without margins."""

    ink: GlyphInk
    top: int
    """Row of its first row, from the top of a digit."""

    @property
    def bottom(self) -> int:
        """Row after its last one."""
        return self.top + len(self.ink)

    @cached_property
    def contours(self) -> tuple[Contour, Contour]:
        """First and last column of ink in each row; `FAR` and -`FAR` where there is none."""
        ink = self.ink > _INK
        columns = ink.shape[1]
        first, last = ink.argmax(1), columns - 1 - ink[:, ::-1].argmax(1)
        none = (last == columns - 1) & ~ink[:, -1]
        return np.where(none, FAR, first), np.where(none, -FAR, last)


def draw(strokes: Strokes, style: Style) -> Glyph:
    """Strokes in heights of a digit, drawn with a round pen."""
    matrix = style.matrix
    paths = [(stroke - (0, 1)) @ matrix.T for stroke in strokes]
    every = np.concatenate(paths)
    low, high = every.min(0), every.max(0)
    pen = max(1, round(style.pen - _SOFT))
    margin = pen // 2 + 2
    left, top = int(np.floor(low[0])) - margin, int(np.floor(low[1])) - margin
    shape = int(np.ceil(high[1])) + margin - top + 1, int(np.ceil(high[0])) + margin - left + 1
    ink = np.zeros(shape, np.uint8)
    scaled = [np.rint((path - (left, top)) * (1 << _SHIFT)).astype(np.int32) for path in paths]
    cv2.polylines(ink, scaled, False, 255, pen, cv2.LINE_AA, _SHIFT)
    return trimmed(ink, top + CAP)


def warp(shape: Shape, style: Style) -> Glyph:
    """An image, moved to the frame of a digit; its strokes made as wide as the pen."""
    unit = shape.base - shape.top
    matrix = style.matrix / unit
    rows, columns = shape.image.shape
    (a, b), (c, d) = matrix.tolist()
    ends = [(x, y - shape.base) for x in (0, columns) for y in (0, rows)]
    xs, ys = [a * x + b * y for x, y in ends], [c * x + d * y for x, y in ends]
    margin = round(style.pen / 2) + 2
    left, top = math.floor(min(xs)) - margin, math.floor(min(ys)) - margin
    right, bottom = math.ceil(max(xs)) + margin, math.ceil(max(ys)) + margin
    # Pixels have their centres at halves: (x + 0.5) goes to (x' + 0.5).
    half = 0.5 - shape.base
    affine = np.array(
        [
            [a, b, a * 0.5 + b * half - left - 0.5],
            [c, d, c * 0.5 + d * half - top - 0.5],
        ]
    )
    moved = cv2.warpAffine(
        shape.image, affine, (right - left, bottom - top), flags=cv2.INTER_LINEAR
    )
    sharp = cv2.LUT(moved, _SHARPER)
    return trimmed(with_pen(sharp, style.pen), int(top) + CAP)


def with_pen(ink: GlyphInk, pen: float) -> GlyphInk:
    """Strokes dilated or eroded towards a width, but not by more than half of their own."""
    change = pen - stroke_width(ink)
    if change > 0.7:
        return cv2.dilate(ink, disc(round(change) + 1))
    if change < -0.7:
        return cv2.erode(ink, disc(round(min(-change, 0.45 * (pen - change))) + 1))
    return ink


def stroke_width(ink: GlyphInk) -> float:
    """Mean width of the strokes: for a long stroke, area over half the perimeter."""
    binary = ink > 127
    area = np.count_nonzero(binary)
    across = np.count_nonzero(binary[:, 1:] != binary[:, :-1])
    down = np.count_nonzero(binary[1:] != binary[:-1])
    # A stroke at 45 degrees has steps of both kinds: their sum is 4 / pi times its perimeter.
    return 2 * area / max(1.0, (across + down) * np.pi / 4)


@cache
def disc(size: int) -> GlyphInk:
    """A structuring element."""
    element: np.ndarray = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return element


def trimmed(ink: GlyphInk, top: int) -> Glyph:
    """Without empty rows and columns around it."""
    x, y, width, height = cv2.boundingRect((ink > _INK).view(np.uint8))
    if not width:
        return Glyph(np.zeros((1, 1), np.uint8), top)
    return Glyph(ink[y : y + height, x : x + width], top + y)
