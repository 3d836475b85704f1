"""Inks: what characters are drawn from. Images of digits, pen strokes, and fonts after hands.

`datasets.handwriting` has the files and their licences. What is held out for validation is other
images, other people's strokes and other fonts.
"""

import io
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import numpy as np
from PIL import ImageFont

from rowscan.arrays import Float64, UInt8
from rowscan.datasets.downloads import obtain
from rowscan.datasets.handwriting import FONTS, PEN_DIGITS, STROKE_FONTS
from rowscan.errors import DataError
from rowscan.training.synthesis.pen_signs import Strokes, curve
from rowscan.training.synthesis.shapes import Shape

_SIZE = 48  # rows of a digit in the image of a font's character
_PEN_WRITERS = 7494  # rows of the first 30 people, UCI's training part; 14 others follow
_HELD_OUT = 6  # every sixth font
_LIFT = 0.3  # of the height: pen strokes of 4, 5 and 7 do not go up so far in one

T = TypeVar("T")
StrokeFont = dict[str, tuple[float, Strokes]]
"""Of each character: its advance and its strokes, in heights of a digit."""


class Font:
    """A font after a hand, whose characters are made into images when they are first asked for."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self._content = name, content
        self._shapes: dict[str, Shape | None] = {}
        self._font: ImageFont.FreeTypeFont | None = None
        self._base = 0.0

    def __reduce__(self) -> tuple[type["Font"], tuple[str, bytes]]:
        """As the file, without what was made of it: for other processes."""
        return Font, (self.name, self._content)

    def shape(self, text: str) -> Shape | None:
        """The image of a character or a word; None where the font lacks it."""
        if text not in self._shapes:
            self._shapes[text] = self._render(text)
        return self._shapes[text]

    def _render(self, text: str) -> Shape | None:
        font = self._open()
        missing = font.getmask("\uffff")
        for character in set(text):
            mask = font.getmask(character)
            if mask.size == missing.size and bytes(mask) == bytes(missing):
                return None
        left, top, right, bottom = font.getbbox(text)
        if right <= left or bottom <= top:
            return None
        mask, _ = font.getmask2(text, anchor="la")
        image = np.array(mask, np.uint8).reshape(mask.size[::-1])
        return Shape(image, self._base - _SIZE - top, self._base - top)

    def _open(self) -> ImageFont.FreeTypeFont:
        if self._font is None:
            trial = ImageFont.truetype(io.BytesIO(self._content), 100)
            boxes = [trial.getbbox(digit) for digit in "023578"]
            height = float(np.median([bottom - top for _, top, _, bottom in boxes]))
            self._font = ImageFont.truetype(
                io.BytesIO(self._content), max(8, round(100 * _SIZE / height))
            )
            self._base = float(np.median([self._font.getbbox(digit)[3] for digit in "023578"]))
        return self._font


@dataclass(frozen=True, eq=False)
class Inks:
    """What lines are drawn with. Everything but the images may be missing."""

    images: UInt8[np.ndarray, "n 28 28"]
    labels: UInt8[np.ndarray, " n"]
    pens: UInt8[np.ndarray, "m 8 2"] = field(default_factory=lambda: np.empty((0, 8, 2), np.uint8))
    """Eight places along the pen's way: x to the right and y up, 0 to 100."""
    pen_labels: UInt8[np.ndarray, " m"] = field(default_factory=lambda: np.empty(0, np.uint8))
    stroke_fonts: tuple[StrokeFont, ...] = ()
    fonts: tuple[Font, ...] = ()
    of_digit: tuple[np.ndarray, ...] = field(init=False)
    """Indices of the images of each digit."""
    pens_of_digit: tuple[np.ndarray, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Index the digits."""
        for name, labels in (("of_digit", self.labels), ("pens_of_digit", self.pen_labels)):
            of = tuple(np.flatnonzero(labels == digit) for digit in range(10))
            object.__setattr__(self, name, of)


def with_handwriting(
    images: UInt8[np.ndarray, "n 28 28"],
    labels: UInt8[np.ndarray, " n"],
    *,
    held_out: bool = False,
    offline: bool = False,
) -> Inks:
    """Images of digits with all other sources.

    Args:
        images: digits in MNIST's frame.
        labels: 0 to 9.
        held_out: the people and the fonts that training does not see, instead of the others.
        offline: do not download the sources.

    Raises:
        DataError: a source is missing and cannot be downloaded.
    """
    pens, pen_labels = _pen_digits(offline)
    part = slice(_PEN_WRITERS, None) if held_out else slice(_PEN_WRITERS)
    pens, pen_labels = _clear(pens[part], pen_labels[part])
    fonts = _some(_fonts(offline), held_out=held_out)
    strokes = _some(_stroke_fonts(offline), held_out=held_out)
    return Inks(images, labels, pens, pen_labels, strokes, fonts)


def _some(every: tuple[T, ...], *, held_out: bool) -> tuple[T, ...]:
    """Every sixth, or all the others."""
    return tuple(one for i, one in enumerate(every) if (i % _HELD_OUT == 0) == held_out)


@cache
def _fonts(offline: bool) -> tuple[Font, ...]:
    folder, files = obtain(FONTS, offline=offline)
    del folder
    return tuple(Font(name.split("-latin")[0], files[name]) for name in sorted(files))


@cache
def _pen_digits(
    offline: bool,
) -> tuple[UInt8[np.ndarray, "m 8 2"], UInt8[np.ndarray, " m"]]:
    folder, files = obtain(PEN_DIGITS, offline=offline)
    rows = [row for row in files["penbased.dat"].decode().splitlines() if row[:1].isdigit()]
    table = np.array([[int(value) for value in row.split(",")] for row in rows], np.uint8)
    if table.shape != (10992, 17):
        raise DataError(folder, f"expected 10992 digits of 17 numbers, got {table.shape}")
    return table[:, :16].reshape(-1, 8, 2), table[:, 16]


def _clear(
    pens: UInt8[np.ndarray, "m 8 2"], labels: UInt8[np.ndarray, " m"]
) -> tuple[UInt8[np.ndarray, "k 8 2"], UInt8[np.ndarray, " k"]]:
    """Those that eight places show well enough."""
    kept = [_is_closed(path, int(digit)) for path, digit in zip(pens, labels, strict=True)]
    return pens[kept], labels[kept]


@cache
def _stroke_fonts(offline: bool) -> tuple[StrokeFont, ...]:
    _, files = obtain(STROKE_FONTS, offline=offline)
    return tuple(parse_stroke_font(files[name].decode()) for name in sorted(files))


def parse_stroke_font(svg: str) -> StrokeFont:
    """An SVG font whose glyphs are polylines."""
    found: dict[str, tuple[float, list[Float64[np.ndarray, "_ 2"]]]] = {}
    for element in re.findall(r"<glyph ([^>]*?)/?>", svg):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', element))
        code = attributes.get("unicode", "")
        reference = re.fullmatch(r"&#x([0-9a-fA-F]+);", code)
        character = chr(int(reference[1], 16)) if reference else code
        if len(character) != 1 or not attributes.get("d"):
            continue
        strokes = [_polyline(part) for part in attributes["d"].split("M")[1:]]
        found[character] = float(attributes["horiz-adv-x"]), strokes
    height = np.median([max(s[:, 1].max() for s in found[digit][1]) for digit in "023578"])
    base = np.median([min(s[:, 1].min() for s in found[digit][1]) for digit in "023578"])
    unit = height - base
    return {
        character: (
            advance / unit,
            [(s * (1, -1) + (0, height)) / unit for s in strokes],
        )
        for character, (advance, strokes) in found.items()
    }


def _polyline(part: str) -> Float64[np.ndarray, "_ 2"]:
    """A stroke of an SVG path after its M: straight lines (L), cubic curves (C) as four points."""
    points: list[np.ndarray] = []
    for command, numbers in re.findall(r"([MLCZ]?)([^MLCZ]*)", part):
        values = np.array(re.findall(r"-?[\d.]+(?:e-?\d+)?", numbers), float).reshape(-1, 2)
        if command != "C":
            points += list(values)
            continue
        for a, b, c in values.reshape(-1, 3, 2):
            start = points[-1]
            for t in (0.25, 0.5, 0.75, 1.0):
                s = 1 - t
                points.append(s**3 * start + 3 * s * s * t * a + 3 * s * t * t * b + t**3 * c)
    return np.array(points)


def pen_strokes(places: UInt8[np.ndarray, "8 2"], digit: int, width: float) -> Strokes:
    """A digit of the pen's eight places.

    The source joins the strokes of a digit: where the second one begins is not told. A 4 goes far
    up to it, the bar of a 7 and the base of a 1 begin at the left after the lowest place, and the
    bar of a 5 is at the top.
    """
    path = _path(places)
    low = int(path[:, 1].argmax())
    parts = [path]
    if digit == 4:
        rises = path[:-1, 1] - path[1:, 1]
        rises[:2] = 0
        highest = int(rises.argmax())
        if rises[highest] > _LIFT:
            parts = [path[: highest + 1], path[highest + 1 :]]
    elif digit in (1, 7) and 2 <= low < 7:
        rest = path[low + 1 :]
        parts = [path[: low + 1], rest[int(rest[:, 0].argmin()) :]]
    elif digit == 5 and path[-1, 1] < _LIFT and low < 7:
        end = low + 1 + int(path[low + 1, 1] > 1 - _LIFT)
        parts = [path[:end], path[end:][path[end:, 1] < _LIFT]]
    return [
        curve(*map(tuple, (part * (width, 1)).tolist()), samples=1 if digit == 1 else 6)
        for part in parts
        if len(part) > 1
    ]


def _path(places: UInt8[np.ndarray, "8 2"]) -> Float64[np.ndarray, "8 2"]:
    """The places with y down, 0 to 1."""
    path: np.ndarray = places / 100.0
    path[:, 1] = 1 - path[:, 1]
    return path


def _is_closed(places: UInt8[np.ndarray, "8 2"], digit: int) -> bool:
    """Whether an 8 ends where it began and a 9 closes its ring, so that eight places show it."""
    path = _path(places)
    away = np.hypot(*(path - path[0]).T)
    if digit == 8:
        return bool(away[7] < 0.25)
    ring = away[3:6].min() < 0.15 and path[0, 0] > 0.45 and path[1:5, 0].min() < 0.25
    return digit != 9 or bool(ring and path[7, 1] > 0.75)
