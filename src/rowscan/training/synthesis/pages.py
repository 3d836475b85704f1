"""Pages composed on the fly, with the exact truth of each pixel: what the page model learns from.

A page is a canvas that a layout fills, turned, cut out and photographed; so is a field, a small
picture with one number. Each is a function of its number alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import Float32, Float64, Int16, UInt8
from rowscan.segmentation.illumination import absorption, darkest_channel
from rowscan.segmentation.page_lines import PAD
from rowscan.training.synthesis import fields, layouts, paper
from rowscan.training.synthesis.canvas import Canvas
from rowscan.training.synthesis.glyphs import DigitMaps, Number
from rowscan.training.synthesis.photo import photograph

PAPER, INK, OTHER = range(3)
"""Classes of a pixel: paper, writing that may be a number, anything else that is dark."""

SHAPES: tuple[tuple[int, int], ...] = (
    (256, 256),
    (192, 336),
    (336, 192),
    (128, 512),
    (96, 672),
    (480, 136),
)
"""Heights and widths of pages, of about the same area; those of a batch are alike."""
_SHARES = np.cumsum((0.36, 0.2, 0.14, 0.14, 0.08, 0.08))

_FIELD_BATCHES = 0.5
"""Share of the batches that are fields; they have a fifth of the pixels of others."""

DIGITS_KEPT = 6000
"""Images of digits that training pages are composed of: their maps fill 50 MB."""

_SOLID = 90  # coverage, of 255: less is the soft edge of a stroke
_VISIBLE = 14  # absorption, of 255: other ink that is paler is paper
_KEPT = 0.5  # a line of which less is left by the cut has no band
_CUT_SHARE, _MOST_CUTS = 0.4, 4
"""Share of pages that hold cuts from a sheet, one below the other, and how many at most."""
HEIGHT_STEPS, LOWEST = 32, 4.0
"""Levels an octave of the height of digits, and the height, in pixels, of level 0."""


@dataclass(frozen=True, eq=False)
class PageBatch:
    """Some pages of one shape, with their truth.

    Attributes:
        pictures: absorption, as `segmentation.light` gives it.
        classes: of each pixel: paper, ink or other.
        bands: of each 2 × 2 pixels: whether they are in the band of a line.
        weights: of each 2 × 2 pixels: how much the band counts there.
        heights: of each 4 × 4 pixels in a band, the height of the digits as `height_code`, else 0.
        angles: and the direction of the line, 256 levels a full turn, clockwise from the right.
    """

    pictures: UInt8[np.ndarray, "n height width 3"]
    classes: UInt8[np.ndarray, "n height width"]
    bands: UInt8[np.ndarray, "n rows2 columns2"]
    weights: UInt8[np.ndarray, "n rows2 columns2"]
    heights: UInt8[np.ndarray, "n rows4 columns4"]
    angles: UInt8[np.ndarray, "n rows4 columns4"]


def height_code(height: Number) -> int:
    """A height in pixels as a level: 32 an octave, from 4 pixels."""
    return int(np.clip(round(HEIGHT_STEPS * math.log2(max(height, 1) / LOWEST)), 1, 255))


@dataclass(frozen=True, eq=False)
class PageComposer:
    """Composes the batch of any number."""

    digits: DigitMaps
    size: int
    """Pages in a batch."""
    seed: tuple[int, ...]

    @staticmethod
    def of(
        images: UInt8[np.ndarray, "n height width"],
        labels: UInt8[np.ndarray, " n"],
        *,
        size: int,
        seed: tuple[int, ...],
        keep: int = DIGITS_KEPT,
    ) -> "PageComposer":
        """A composer of pages with `keep` of these digits."""
        some = np.linspace(0, len(images) - 1, min(len(images), keep)).astype(int)
        return PageComposer(DigitMaps.of(images[some], labels[some]), size, seed)

    def __call__(self, number: int) -> PageBatch:
        """The pages of batch `number`."""
        cv2.setNumThreads(1)
        rng = np.random.default_rng((*self.seed, number))
        composed: Callable[..., tuple[np.ndarray, ...]] = compose
        shapes, shares = SHAPES, _SHARES
        if rng.random() < _FIELD_BATCHES:
            composed, shapes, shares = compose_field, fields.SHAPES, fields.SHARES
        shape = shapes[int(np.searchsorted(shares, rng.random()))]
        pages = [
            composed(np.random.default_rng((*self.seed, number, i)), shape, self.digits)
            for i in range(self.size)
        ]
        return PageBatch(*(np.stack(parts) for parts in zip(*pages, strict=True)))


def compose(
    rng: np.random.Generator,
    shape: tuple[int, int],
    digits: DigitMaps,
    layout: layouts.Layout | None = None,
) -> tuple[np.ndarray, ...]:
    """One page, as the arrays of a `PageBatch` without their first side."""
    turn = _turn(rng)
    layout = layout or _layout(rng)
    canvas = _canvas(rng, _size_before(shape, turn), digits, layout)
    sheet = _turned(rng, canvas, shape, turn)
    framed = _Sheet.blank(shape)
    absorbed = np.zeros((*shape, 3), np.uint8)
    if rng.random() < (_CUT_SHARE if layout is not layouts.amounts else 0.85):
        y = 0
        for _ in range(_MOST_CUTS):
            part = sheet.cut(_cut(rng, sheet.lines, canvas.geometry))
            y = framed.place(part, absorbed, y, rng)
    else:
        framed.place(sheet, absorbed, 0, rng)
    _drop_cut_lines(framed.lines, canvas.lines)
    return absorbed, *_truth(absorbed, framed, canvas.geometry, turn)


def compose_field(
    rng: np.random.Generator, shape: tuple[int, int], digits: DigitMaps
) -> tuple[np.ndarray, ...]:
    """One field with paper around it, as `compose` gives a page."""
    layout = fields.layout(rng, shape)
    high, wide = (
        2 * int((side - 2 * PAD) * share / 2)
        for side, share in zip(shape, rng.uniform(0.7, 1, 2), strict=True)
    )
    turn = float(rng.normal(0, 2.5)) if rng.random() < 0.35 else 0.0
    canvas = Canvas(rng, *_size_before((high, wide), turn), digits)
    layout(canvas)
    sheet = _turned(rng, canvas, (high, wide), turn)
    if sheet.lines.any() and rng.random() < (0.5 if layout is not fields.registers else 0.05):
        sheet = sheet.cut(_around(rng, sheet.lines, canvas.geometry))
    framed = _Sheet.blank(shape)
    absorbed = np.zeros((*shape, 3), np.uint8)
    framed.put(sheet, absorbed, (PAD, PAD), rng)
    _drop_cut_lines(framed.lines, canvas.lines)
    return absorbed, *_truth(absorbed, framed, canvas.geometry, turn)


@dataclass(frozen=True, eq=False)
class _Sheet:
    """The layers of a canvas."""

    picture: Float32[np.ndarray, "height width 3"]
    ink: UInt8[np.ndarray, "height width"]
    other: UInt8[np.ndarray, "height width"]
    lines: Int16[np.ndarray, "rows columns"]

    @staticmethod
    def blank(shape: tuple[int, int]) -> "_Sheet":
        height, width = shape
        return _Sheet(
            np.empty((*shape, 3), np.float32),
            np.zeros(shape, np.uint8),
            np.zeros(shape, np.uint8),
            np.zeros((height // 2, width // 2), np.int16),
        )

    def warped(self, homography: Float64[np.ndarray, "3 3"], shape: tuple[int, int]) -> "_Sheet":
        size = shape[1], shape[0]
        half = np.diag([0.5, 0.5, 1.0])
        return _Sheet(
            cv2.warpPerspective(self.picture, homography, size, borderValue=(1, 1, 1)),
            cv2.warpPerspective(self.ink, homography, size),
            cv2.warpPerspective(self.other, homography, size),
            cv2.warpPerspective(
                self.lines,
                half @ homography @ np.linalg.inv(half),
                (size[0] // 2, size[1] // 2),
                flags=cv2.INTER_NEAREST,
            ),
        )

    def cut(self, box: tuple[int, int, int, int]) -> "_Sheet":
        """What lies between left, top, right and bottom, which are even."""
        left, top, right, bottom = box
        rows, columns = slice(top, bottom), slice(left, right)
        return _Sheet(
            np.ascontiguousarray(self.picture[rows, columns]),
            self.ink[rows, columns],
            self.other[rows, columns],
            self.lines[top // 2 : bottom // 2, left // 2 : right // 2],
        )

    def place(
        self,
        part: "_Sheet",
        absorbed: UInt8[np.ndarray, "height width 3"],
        top: int,
        rng: np.random.Generator,
    ) -> int:
        """Photograph a part and put it below `top`, if it fits; where the next one may begin."""
        height, width = map(int, part.ink.shape)
        below, beside = self.ink.shape[0] - top - height, self.ink.shape[1] - width
        if below < 0 or beside < 0:
            return top
        y = top + 2 * int(rng.integers(0, min(below, 24) // 2 + 1))
        x = 2 * int(rng.integers(0, beside // 2 + 1))
        self.put(part, absorbed, (y, x), rng)
        return y + height + 2 * int(rng.integers(4, 12))

    def put(
        self,
        part: "_Sheet",
        absorbed: UInt8[np.ndarray, "height width 3"],
        corner: tuple[int, int],
        rng: np.random.Generator,
    ) -> None:
        """Photograph a part and put it at a row and a column, which are even."""
        y, x = corner
        height, width = map(int, part.ink.shape)
        rows, columns = slice(y, y + height), slice(x, x + width)
        absorbed[rows, columns] = absorption(photograph(part.picture, rng))
        self.ink[rows, columns], self.other[rows, columns] = part.ink, part.other
        self.lines[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2] = part.lines


def _turned(
    rng: np.random.Generator, canvas: Canvas, shape: tuple[int, int], turn: float
) -> _Sheet:
    """The sheet of such a shape when its canvas is turned by so many degrees."""
    sheet = _Sheet(canvas.picture, canvas.ink, canvas.other, canvas.lines)
    return sheet.warped(_homography(rng, canvas, shape, turn), shape) if turn else sheet


def _turn(rng: np.random.Generator) -> float:
    """Degrees, clockwise: most pages are straight, some turned a little, a few lie on a side."""
    kind = rng.random()
    if kind < 0.55:
        return 0.0
    if kind < 0.78:
        return float(rng.normal(0, 3))
    if kind < 0.9:
        return float(rng.uniform(-35, 35))
    return float(rng.normal(0, 3) + rng.choice((90, 180, 270)))


def _size_before(shape: tuple[int, int], turn: float) -> tuple[int, int]:
    """Height and width, even, of a sheet that covers the page when it is turned."""
    cos, sin = abs(math.cos(math.radians(turn))), abs(math.sin(math.radians(turn)))
    height, width = shape
    sides = height * cos + width * sin, width * cos + height * sin
    return int(sides[0] / 2) * 2, int(sides[1] / 2) * 2


def _layout(rng: np.random.Generator) -> layouts.Layout:
    weights = np.cumsum([weight for _, weight in layouts.LAYOUTS])
    return layouts.LAYOUTS[int(np.searchsorted(weights, rng.random() * weights[-1]))][0]


def _canvas(
    rng: np.random.Generator,
    size: tuple[int, int],
    digits: DigitMaps,
    layout: layouts.Layout,
) -> Canvas:
    canvas = Canvas(rng, *size, digits)
    plain = layout not in (layouts.cells, layouts.boxes, layouts.register, layouts.amounts)
    if rng.random() < (0.3 if plain else 0.06):
        paper.ruled_paper(canvas)
    if plain and rng.random() < 0.12:
        paper.patterned_paper(canvas)
    if rng.random() < 0.06:
        layouts.see_through(canvas)
    layout(canvas)
    paper.remarks(canvas)
    if rng.random() < 0.12:
        paper.surroundings(canvas)
    return canvas


def _homography(
    rng: np.random.Generator, canvas: Canvas, shape: tuple[int, int], turn: float
) -> Float64[np.ndarray, "3 3"]:
    """Turns the sheet about its middle, and tips it a little."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    to_middle = np.array([[1, 0, -canvas.width / 2], [0, 1, -canvas.height / 2], [0, 0, 1]])
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    tip = np.eye(3)
    if rng.random() < 0.5:
        tip[2, :2] = rng.normal(0, 0.12, 2) / max(shape)
    back = np.array([[1, 0, shape[1] / 2], [0, 1, shape[0] / 2], [0, 0, 1.0]])
    result: np.ndarray = back @ tip @ rotation @ to_middle
    return result


def _cut(
    rng: np.random.Generator,
    lines: Int16[np.ndarray, "rows columns"],
    geometry: Sequence[tuple[Number, Number]],
) -> tuple[int, int, int, int]:
    """A cut around one line, or any: left, top, right, bottom, even."""
    rows, columns = lines.shape
    if not lines.any() or rng.random() < 0.2:
        high, wide = rng.uniform(0.25, 1, 2)
        top, left = int(rng.uniform(0, 1 - high) * rows), int(rng.uniform(0, 1 - wide) * columns)
        return (
            2 * left,
            2 * top,
            2 * (left + max(int(wide * columns), 16)),
            2 * (top + max(int(high * rows), 12)),
        )
    return _around(rng, lines, geometry)


def _around(
    rng: np.random.Generator,
    lines: Int16[np.ndarray, "rows columns"],
    geometry: Sequence[tuple[Number, Number]],
) -> tuple[int, int, int, int]:
    """A cut around any line: left, top, right, bottom, even."""
    rows, columns = lines.shape
    present = np.unique(lines)[1:]
    chosen = int(present[rng.integers(len(present))])
    ys, xs = np.nonzero(lines == chosen)
    height = geometry[chosen][0] / 2  # in cells
    # A band is half as high as its digits, and as much shorter at each end.
    reach = height * (0.25 + 0.1 + np.where(rng.random(4) < 0.4, 0.0, rng.uniform(0, 0.9, 4)))
    left, top = int(max(xs.min() - reach[0], 0)), int(max(ys.min() - reach[1], 0))
    right, bottom = (
        int(min(xs.max() + reach[2] + 1, columns)),
        int(min(ys.max() + reach[3] + 1, rows)),
    )
    return 2 * left, 2 * top, 2 * max(right, left + 8), 2 * max(bottom, top + 8)


def _drop_cut_lines(
    lines: Int16[np.ndarray, "rows columns"], whole: Int16[np.ndarray, "rows2 columns2"]
) -> None:
    """Clear the bands of lines of which little is left."""
    count = int(whole.max()) + 1
    before = np.bincount(whole.ravel(), minlength=count)
    left = np.bincount(lines.ravel(), minlength=count)
    gone = left < _KEPT * before
    gone[0] = False
    lines[gone[lines]] = 0


def _truth(
    absorbed: UInt8[np.ndarray, "height width 3"],
    sheet: _Sheet,
    geometry: Sequence[tuple[Number, Number]],
    turn: float,
) -> tuple[np.ndarray, ...]:
    dark = darkest_channel(absorbed) > _VISIBLE
    classes = np.where((sheet.other > _SOLID) & dark, np.uint8(OTHER), np.uint8(PAPER))
    classes[sheet.ink > _SOLID] = INK
    lines = sheet.lines
    bands = (lines > 0).astype(np.uint8)
    corners = [lines[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    patches = np.maximum(np.maximum(*corners[:2]), np.maximum(*corners[2:]))
    heights = np.array([height_code(height) for height, _ in geometry], np.uint8)
    heights[0] = 0
    angles = np.array([round((angle + turn) / 360 * 256) % 256 for _, angle in geometry], np.uint8)
    return classes, bands, _weights(lines, classes), heights[patches], angles[patches]


def _weights(
    lines: Int16[np.ndarray, "rows columns"], classes: UInt8[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "rows columns"]:
    """Cells between two lines count most, then the paper between the digits of one."""
    window = np.ones((9, 9), np.uint8)
    highest = cv2.dilate(lines, window)
    lowest = cv2.erode(np.where(lines > 0, lines, np.int16(32767)), window)
    between = (highest > 0) & (lowest < highest) & (lines == 0)
    near = cv2.dilate((classes[1::2, 1::2] == INK).astype(np.uint8), np.ones((7, 7), np.uint8))
    weights = 1 + 4 * between.astype(np.uint8) + (lines > 0) + 2 * ((lines > 0) & (near == 0))
    result: np.ndarray = weights.astype(np.uint8)
    return result
