"""Canvas: a sheet of paper that is written, drawn and printed on, with the truth of each pixel.

It knows neither what kind of page it becomes (`layouts`) nor how it is photographed (`photo`).
Coordinates are pixels, x to the right and y down.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rowscan.arrays import Float32, Float64, Int16, UInt8
from rowscan.training.synthesis.glyphs import (
    BitmapGlyph,
    DigitMaps,
    Handwriting,
    Number,
    draw_character,
    draw_strokes,
    smooth,
)
from rowscan.training.synthesis.pen_letters import LETTERS

Layer = Literal["ink", "other"]
"""Writing that may be a number, or anything else that is dark."""

Box = tuple[Number, Number, Number, Number]
"""Left, top, right and bottom."""

Colour = Float32[np.ndarray, " 3"]
"""How much of red, green and blue an ink absorbs, 0 to 1."""

_CORE = 0.5  # thickness of a band, in heights of its digits
_MIN_VISIBLE = 0.45  # a character of which less is on the canvas is not part of a line


@dataclass
class LineStyle:
    """How a line is written: by which hand, in which colour, how regularly."""

    hand: Handwriting
    colour: Colour
    vary: float
    """Largest share by which a digit is higher or lower than the others."""
    hop: float
    """Standard deviation of the place above or below the baseline, in heights."""


class Canvas:
    """A sheet under construction.

    Attributes:
        picture: reflectance, 1 is paper.
        ink: coverage of writing that may be a number.
        other: coverage of everything else.
        lines: the number of the text line whose band a cell of 2 × 2 pixels is in, or 0.
        geometry: for each line, from number 1 on, the height of its digits and its direction in
            degrees, clockwise from the right.
    """

    def __init__(
        self, rng: np.random.Generator, height: int, width: int, digits: DigitMaps
    ) -> None:
        self.rng, self.height, self.width, self.digits = rng, height, width, digits
        self.picture: Float32[np.ndarray, "height width 3"] = np.ones(
            (height, width, 3), np.float32
        )
        self.ink: UInt8[np.ndarray, "height width"] = np.zeros((height, width), np.uint8)
        self.other: UInt8[np.ndarray, "height width"] = np.zeros((height, width), np.uint8)
        self.lines: Int16[np.ndarray, "rows columns"] = np.zeros(
            (height // 2, width // 2), np.int16
        )
        self.geometry: list[tuple[Number, Number]] = [(0.0, 0.0)]

    # Ink of any kind

    def put(
        self,
        coverage: UInt8[np.ndarray, "rows columns"],
        x: Number,
        y: Number,
        colour: Colour,
        layer: Layer,
    ) -> None:
        """Lay coverage onto the sheet, its corner at (x, y); what lies beyond is cut off."""
        left, top = round(x), round(y)
        a, b = max(left, 0), max(top, 0)
        c, d = min(left + coverage.shape[1], self.width), min(top + coverage.shape[0], self.height)
        if c <= a or d <= b:
            return
        part = coverage[b - top : d - top, a - left : c - left]
        # One by one, because OpenCV and NumPy are slow on a last side of three.
        share = part.astype(np.float32) * np.float32(1 / 255)
        for channel in range(3):
            self.picture[b:d, a:c, channel] *= 1 - share * colour[channel]
        target = getattr(self, layer)[b:d, a:c]
        np.maximum(target, part, out=target)

    def strokes(
        self,
        paths: Sequence[Float64[np.ndarray, "_ 2"]],
        pen: Number,
        colour: Colour,
        layer: Layer = "other",
    ) -> None:
        """Draw polylines with a round pen."""
        glyph = draw_strokes([np.asarray(path, float) for path in paths], pen)
        first = np.concatenate(paths).min(0) - math.ceil(pen) - 2
        self.put(glyph.coverage, first[0], first[1], colour, layer)

    def rules(
        self, lines: Sequence[tuple[Number, Number, Number, Number]], width: Number, colour: Colour
    ) -> None:
        """Draw straight lines (x, y, x, y), all with one pen."""
        if not lines:
            return
        ends = np.array(lines)
        left, top = np.floor(ends.reshape(-1, 2).min(0)).astype(int) - 4
        right, bottom = np.ceil(ends.reshape(-1, 2).max(0)).astype(int) + 5
        left, top = max(int(left), 0), max(int(top), 0)
        right, bottom = min(int(right), self.width), min(int(bottom), self.height)
        if right <= left or bottom <= top:
            return
        sheet = np.zeros((bottom - top, right - left), np.uint8)
        thick = max(1, round(width))
        level = round(255 * min(1.0, width))
        for a, b, c, d in np.round((ends - [left, top, left, top]) * 16).astype(int).tolist():
            cv2.line(sheet, (a, b), (c, d), (level,), thick, cv2.LINE_AA, 4)
        self.put(sheet, left, top, colour, "other")

    # Writing

    def write(
        self,
        text: str,
        x: Number,
        baseline: Number,
        height: Number,
        style: LineStyle,
        *,
        gap: Number,
        layer: Layer = "ink",
        slope: Number = 0.0,
    ) -> tuple[list[Box], float]:
        """Write characters from x on.

        Returns:
            The boxes of those that can be seen, and where the writing ends.
        """
        rng, boxes, start = self.rng, list[Box](), x
        for character in text:
            y = baseline + slope * (x - start)
            if character == " ":
                x += 0.45 * height
                continue
            glyph = self._glyph(character, height, style)
            left, top, right, bottom = glyph.box
            up = bottom if glyph.baseline is None else glyph.baseline
            corner_x = x - left
            corner_y = y - up + rng.normal(0, style.hop * height)
            self.put(glyph.coverage, corner_x, corner_y, self._pressed(style), layer)
            box = (corner_x + left, corner_y + top, corner_x + right, corner_y + bottom)
            if self._visible(box) > _MIN_VISIBLE:
                boxes.append(box)
            x += (right - left) + height * gap * rng.uniform(0.65, 1.35)
        return boxes, x

    def _glyph(self, character: str, height: Number, style: LineStyle) -> BitmapGlyph:
        rng, hand = self.rng, style.hand
        if not character.isdigit():
            return draw_character(character, height, hand, rng)
        high = max(height * (1 + rng.uniform(-style.vary, style.vary)), 7.0)
        if rng.random() < hand.drawn:
            return draw_character(character, high, hand, rng)
        return self.digits.draw(int(character), high, hand, rng)

    def _pressed(self, style: LineStyle) -> Colour:
        pressed: Colour = style.colour * np.float32(self.rng.uniform(0.92, 1))
        return pressed

    def _visible(self, box: Box) -> float:
        """Which share of a box is on the canvas."""
        left, top, right, bottom = box
        across = min(right, self.width) - max(left, 0)
        down = min(bottom, self.height) - max(top, 0)
        return max(across, 0) * max(down, 0) / max((right - left) * (bottom - top), 1)

    def mark_line(self, boxes: Sequence[Box], height: Number, slope: Number = 0.0) -> None:
        """Say that these characters are a line: its band is half as thick as they are high."""
        if not boxes:
            return
        centres = [((a + c) / 2, (b + d) / 2) for a, b, c, d in boxes]
        inset = (0.12 + 0.1 * _CORE) * height
        left, right = boxes[0][0] + inset, boxes[-1][2] - inset
        if right - left < 0.3 * height:
            middle = (boxes[0][0] + boxes[-1][2]) / 2
            left, right = middle - 0.15 * height, middle + 0.15 * height
        xs = np.array([left, *(x for x, _ in centres if left < x < right), right])
        ys = np.array([centres[0][1], *(y for x, y in centres if left < x < right), centres[-1][1]])
        # Low signs and high ones do not bend the band: it follows the line fitted to all.
        if len(boxes) > 2:
            ys = 0.35 * ys + 0.65 * np.polyval(np.polyfit(xs, ys, 1), xs)
        thick = max(_CORE * height, 3.0)
        outline = np.concatenate(
            [np.column_stack([xs, ys - thick / 2]), np.column_stack([xs, ys + thick / 2])[::-1]]
        )
        self.geometry.append((height, math.degrees(math.atan(slope))))
        self._fill_band(outline / 2, len(self.geometry) - 1)

    def _fill_band(self, outline: Float64[np.ndarray, "points 2"], number: int) -> None:
        """Number the cells inside, but none that touches another line's."""
        rows, columns = self.lines.shape
        left, top = np.maximum(np.floor(outline.min(0)).astype(int) - 3, 0).tolist()
        right, bottom = np.ceil(outline.max(0)).astype(int) + 4
        right, bottom = min(int(right), columns), min(int(bottom), rows)
        if right <= left or bottom <= top:
            return
        inside = np.zeros((bottom - top, right - left), np.uint8)
        corners = np.round((outline - [left, top]) * 16).astype(np.int32)
        cv2.fillPoly(inside, [corners], (1,), cv2.LINE_8, 4)
        part = self.lines[top:bottom, left:right]
        taken = cv2.dilate((part > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
        part[(inside > 0) & (taken == 0)] = number

    # Print, words and scrawls

    def print_words(
        self, text: str, x: Number, baseline: Number, size: Number, colour: Colour
    ) -> float:
        """Print in one of Matplotlib's fonts; where it ends."""
        font = _font(int(self.rng.integers(len(_fonts()))), max(6, round(size)))
        left, top, right, bottom = font.getbbox(text, anchor="ls")
        image = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
        ImageDraw.Draw(image).text((2 - left, 2 - top), text, 255, font=font, anchor="ls")
        self.put(np.asarray(image), x, baseline + top - 2, colour, "other")
        return x + right - left

    def write_word(
        self, count: int, x: Number, baseline: Number, height: Number, style: LineStyle
    ) -> float:
        """Letters by hand; where they end."""
        rng = self.rng
        capitals = rng.random() < 0.35
        names = [name for name in LETTERS if name.isupper() or not capitals]
        if count == 1:
            names = [name for name in names if name not in _LIKE_DIGITS]
        gap = rng.uniform(-0.05, 0.25)
        word = "".join(names[rng.integers(len(names))] for _ in range(count))
        return self.write(word, x, baseline, height, style, gap=gap, layer="other")[1]

    def scrawl(self, x: Number, y: Number, height: Number, colour: Colour) -> None:
        """Loops like a line of cursive, a tick, a signature."""
        rng = self.rng
        n = int(rng.integers(3, 20))
        side = np.where(np.arange(n) % 2, -1, 1)
        path = np.column_stack(
            [
                x + np.cumsum(rng.uniform(-0.25, 0.75, n)) * height,
                y + side * height / 2 * rng.uniform(0.2, 1.3, n),
            ]
        )
        self.strokes([smooth(path)], rng.uniform(1, 4), colour)


_LIKE_DIGITS = set("oOlIsSzZiqgbDBGZJjrty")
"""Letters that, alone, may be taken for a digit."""


@cache
def _fonts() -> list[str]:
    from matplotlib import get_data_path

    folder = Path(get_data_path(), "fonts", "ttf")
    names = (
        "DejaVuSans",
        "DejaVuSans-Bold",
        "DejaVuSerif",
        "DejaVuSansMono",
        "STIXGeneral",
        "cmr10",
    )
    return [str(folder / f"{name}.ttf") for name in names if (folder / f"{name}.ttf").is_file()]


@cache
def _font(number: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_fonts()[number], size)
