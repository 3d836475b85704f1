"""Glyphs: one character as coverage, at any height and with any pen. Where it stands, a page says.

Digits of MNIST are kept as two distance maps, to the skeleton of their strokes and to their
outline: the first draws them with a pen of any width, the second with their own strokes. All others
(digits of other hands, signs, letters) are splines, as in `pen_digits`.
"""

import math
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import NamedTuple

import cv2
import numpy as np

from rowscan.alphabet import SIGNS
from rowscan.arrays import Bool, Float64, Int64, UInt8
from rowscan.training.synthesis.pen_digits import BY_DIGIT, Allograph
from rowscan.training.synthesis.pen_letters import LETTERS
from rowscan.training.synthesis.pen_signs import draw_sign

Number = float | int
"""Of pixels or shares: for type checkers an int is a float, for the tests' checks it is not."""

Coverage = UInt8[np.ndarray, "height width"]
"""How much of each pixel the pen covers, 0 to 255."""

_ZOOM = 2  # pixels of a distance map for one of MNIST
_FRAME = 64  # side of a distance map, in its own pixels
_PER_PIXEL = 32  # levels of a distance for one pixel of MNIST; the sign's zero is 128
_THINNINGS = 6  # strokes of MNIST are up to 6 pixels wide, 12 in a distance map
_SMALLEST_PEN, _LARGEST_PEN = 0.9, 9.0  # pixels


@dataclass(frozen=True)
class Handwriting:
    """How one writer writes with one pen; lengths are shares of the height of a digit."""

    slant: float
    """Columns that the top of a digit leans to the right, a row."""
    aspect: float
    """Width over height, against that of the model digits."""
    pen: float
    """Width of the strokes."""
    own: float
    """0: strokes of the pen's width; 1: the model digit's own, with its changes of pressure."""
    drawn: float
    """Share of digits that are drawn along splines."""
    turn: Number = 4.0
    """Standard deviation of the rotation of a digit, degrees."""
    shapes: dict[str, int] = field(default_factory=dict)
    """Which allograph this writer uses of a character."""


class BitmapGlyph(NamedTuple):
    """A character: its coverage and, in it, left, top, right and bottom of its ink."""

    coverage: Coverage
    box: tuple[int, int, int, int]
    baseline: Number | None = None
    """The row that stands on the baseline; None for a digit, which ends there."""


@dataclass(frozen=True, eq=False)
class DigitMaps:
    """Distance maps of images of digits.

    Attributes:
        skeleton: distance to the skeleton, 32 levels a pixel of MNIST.
        outline: 128 on the outline, more inside, 16 levels a pixel.
        boxes: left, top, right, bottom of the ink, in pixels of a map.
        widths: mean stroke widths, in pixels of MNIST.
        by_digit: indices of the images of each digit.
    """

    skeleton: UInt8[np.ndarray, "n 64 64"]
    outline: UInt8[np.ndarray, "n 64 64"]
    boxes: Int64[np.ndarray, "n 4"]
    widths: Float64[np.ndarray, " n"]
    by_digit: list[Int64[np.ndarray, " some"]]

    @staticmethod
    def of(
        images: UInt8[np.ndarray, "n height width"], labels: UInt8[np.ndarray, " n"]
    ) -> "DigitMaps":
        """The maps of images in MNIST's frame."""
        solid = np.stack([_enlarged(image) for image in images])
        thin = thinned(solid)
        skeleton = np.stack([_distance(~image) for image in thin]) * _PER_PIXEL / _ZOOM
        inside = np.stack([_distance(image) for image in solid])
        outline = (inside - np.stack([_distance(~image) for image in solid])) * _PER_PIXEL / 4
        # Over a stroke of width w, the distance to its skeleton's paper is w / 2.
        widths = np.array(
            [2 * float(d[t].mean()) / _ZOOM for d, t in zip(inside, thin, strict=True)]
        )
        return DigitMaps(
            skeleton=np.minimum(skeleton, 255).astype(np.uint8),
            outline=np.clip(outline + 128, 0, 255).astype(np.uint8),
            boxes=np.array([_box(image) for image in solid]),
            widths=widths,
            by_digit=[np.flatnonzero(labels == digit) for digit in range(10)],
        )

    def draw(
        self, digit: int, height: Number, hand: Handwriting, rng: np.random.Generator
    ) -> BitmapGlyph:
        """A random image of a digit, so high, written by a hand."""
        own = self.by_digit[digit]
        chosen = int(own[rng.integers(len(own))])
        left, top, right, bottom = self.boxes[chosen]
        zoom = height / (bottom - top)
        pen = pen_width(hand, height) * rng.uniform(0.92, 1.08)
        lean, angle = hand.slant + rng.normal(0, 0.05), math.radians(rng.normal(0, hand.turn))
        cos, sin = math.cos(angle), math.sin(angle)
        wide = zoom * hand.aspect * rng.uniform(0.92, 1.08)
        shape = np.array([[wide, -lean * zoom], [0, zoom]]) @ [[cos, -sin], [sin, cos]]
        corners = shape @ np.array([[left, right, right, left], [top, top, bottom, bottom]], float)
        pad = math.ceil(pen) + 2
        first = corners.min(1)
        columns, rows = np.ceil(corners.max(1) - first).astype(int) + 2 * pad
        place = np.column_stack([shape, pad - first])
        size, pixel = (int(columns), int(rows)), zoom * _ZOOM  # pixels of the page for one of MNIST
        far = cv2.warpAffine(self.skeleton[chosen], place, size, borderValue=(255,))
        depth = pen / 2 - far.astype(np.float32) * np.float32(pixel / _PER_PIXEL)
        if hand.own:
            edge = cv2.warpAffine(self.outline[chosen], place, size, borderValue=(0,))
            inside = (edge.astype(np.float32) - 128) * np.float32(4 * pixel / _PER_PIXEL / _ZOOM)
            inside += np.float32((pen - self.widths[chosen] * pixel) / 2)
            depth = (1 - hand.own) * depth + hand.own * inside
        coverage = (np.clip(depth + 0.5, 0, 1) * 255).astype(np.uint8)
        return BitmapGlyph(coverage, _box(coverage > 100))


def pen_width(hand: Handwriting, height: Number) -> float:
    """Width of the strokes of writing so high, in pixels."""
    return float(np.clip(height * hand.pen, _SMALLEST_PEN, _LARGEST_PEN))


def draw_character(
    name: str, height: Number, hand: Handwriting, rng: np.random.Generator
) -> BitmapGlyph:
    """A digit, sign or letter, drawn along splines; `height` is that of a digit or capital."""
    if name in SIGNS:
        strokes = draw_sign(name, Random(int(rng.integers(2**32))))
    else:
        shapes = _shapes(name)
        chosen = hand.shapes.setdefault(name, int(rng.integers(len(shapes))))
        strokes = [_jittered(stroke, rng) for stroke in shapes[chosen]]
    wide = (0.8 if name.isdigit() else 1.0) * hand.aspect * height
    pen = pen_width(hand, height)
    paths = [
        np.column_stack(
            [points[:, 0] * wide - hand.slant * points[:, 1] * height, points[:, 1] * height]
        )
        for points in strokes
    ]
    glyph = draw_strokes(paths, pen)
    if name.isdigit():
        return glyph
    first = min(path[:, 1].min() for path in paths) - math.ceil(pen) - 2
    return glyph._replace(baseline=height - first)


def draw_strokes(strokes: list[Float64[np.ndarray, "_ 2"]], pen: Number) -> BitmapGlyph:
    """Polylines in pixels, drawn with a round pen; they may begin anywhere."""
    points = np.concatenate(strokes)
    pad = math.ceil(pen) + 2
    first = points.min(0) - pad
    columns, rows = np.ceil(points.max(0) - first).astype(int) + pad
    # Twice as large, so that a pen may be half a pixel wider.
    sheet = np.zeros((2 * int(rows), 2 * int(columns)), np.uint8)
    paths = [np.round((stroke - first) * 32).astype(np.int32) for stroke in strokes]
    cv2.polylines(sheet, paths, False, (255,), max(1, round(2 * pen - 2)), cv2.LINE_AA, 4)
    coverage = cv2.resize(sheet, (int(columns), int(rows)), interpolation=cv2.INTER_AREA)
    return BitmapGlyph(np.asarray(coverage), _box(coverage > 100))


def smooth(
    points: Float64[np.ndarray, "points 2"], steps: int = 8
) -> Float64[np.ndarray, "more 2"]:
    """Points of the Catmull-Rom spline through some points; a repeated point is a corner."""
    if len(points) < 3:
        return points
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    before, start, end, after = ends[:-3], ends[1:-2], ends[2:-1], ends[3:]
    corner = np.abs(end - start).max(1, keepdims=True) < 1e-9
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    curve = np.where(corner, start, curve)
    return np.concatenate([curve.swapaxes(0, 1).reshape(-1, 2), points[-1:]])


def thinned(solid: Bool[np.ndarray, "n height width"]) -> Bool[np.ndarray, "n height width"]:
    """The skeletons of strokes, one pixel wide; images have a border of paper.

    Zhang and Suen, "A fast parallel algorithm for thinning digital patterns", 1984.
    """
    n, height, width = solid.shape
    tall: np.ndarray = solid.reshape(n * height, width).astype(np.uint8)
    weights, tables = _thinning_tables()
    for _ in range(_THINNINGS):
        for table in tables:
            neighbours = cv2.filter2D(tall, cv2.CV_8U, weights, borderType=cv2.BORDER_CONSTANT)
            tall = cv2.bitwise_and(tall, cv2.LUT(neighbours, table))
    result: np.ndarray = tall.reshape(solid.shape) > 0
    return result


@cache
def _thinning_tables() -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Weights of the eight neighbours, and 0 for each sum of them where a pixel is removed."""
    # Clockwise from above, as in the paper: P2 to P9.
    weights = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)
    code = np.arange(256)
    p = [(code >> bit) & 1 for bit in range(8)]
    count = sum(p)
    turns = sum((p[i] == 0) & (p[(i + 1) % 8] == 1) for i in range(8))
    common = (count >= 2) & (count <= 6) & (turns == 1)
    first = common & (p[0] * p[2] * p[4] == 0) & (p[2] * p[4] * p[6] == 0)
    second = common & (p[0] * p[2] * p[6] == 0) & (p[0] * p[4] * p[6] == 0)
    return weights, ((~first).astype(np.uint8), (~second).astype(np.uint8))


@cache
def _shapes(name: str) -> tuple[Allograph, ...]:
    return BY_DIGIT[int(name)] if name.isdigit() else (LETTERS[name],)


def _jittered(
    stroke: tuple[tuple[float, float], ...], rng: np.random.Generator
) -> Float64[np.ndarray, "points 2"]:
    """Points of a stroke as they come out this time; the two of a corner stay together."""
    points = np.array(stroke)
    noise = rng.normal(0, 0.025, points.shape)
    same = np.flatnonzero((points[1:] == points[:-1]).all(1))
    noise[same + 1] = noise[same]
    return smooth(points + noise)


def _enlarged(image: UInt8[np.ndarray, "28 28"]) -> Bool[np.ndarray, "64 64"]:
    side = image.shape[0] * _ZOOM
    large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
    solid = cv2.GaussianBlur(large, (0, 0), 0.6) > 110
    pad = (_FRAME - side) // 2
    framed: np.ndarray = np.pad(solid, pad)
    return framed


def _distance(inside: Bool[np.ndarray, "height width"]) -> np.ndarray:
    """Of each pixel inside, to the nearest one outside."""
    return cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)


def _box(ink: Bool[np.ndarray, "height width"]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is true; the whole if nothing is."""
    columns, rows = np.flatnonzero(ink.any(0)), np.flatnonzero(ink.any(1))
    if not len(rows):
        return 0, 0, ink.shape[1], ink.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
