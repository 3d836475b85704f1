"""Hands: how the writer of one line draws each character, from the inks that there are."""

import math
from dataclasses import dataclass, replace
from random import Random

import cv2
import numpy as np

from rowscan.training.synthesis.inks import Inks, StrokeFont, pen_strokes
from rowscan.training.synthesis.pen_digits import BY_DIGIT, draw_allograph
from rowscan.training.synthesis.pen_letters import LETTERS
from rowscan.training.synthesis.pen_signs import Strokes, draw_sign, draw_symbol, line
from rowscan.training.synthesis.shapes import CAP, Glyph, Shape, Style, draw, warp

_SOURCES = {"images": 66.0, "pens": 14.0, "fonts": 8.0, "strokes": 3.0, "allographs": 9.0}
"""What the digits of a line are drawn from, in parts of their sum."""
_BARE = 0.3
"""Share of writers whose 1 is a straight stroke."""
_DESLANT = 0.7  # no writer leans further, in columns a row


@dataclass
class Hand:
    """One writer's style. Lengths are in heights of a digit, the pen's width in rows."""

    inks: Inks
    r: Random
    source: str
    style: Style
    size_jitter: float
    deslant: float
    """Share of an image's own slant that is removed."""
    allographs: float
    """Share of the ten digits that are drawn as allographs."""
    bars: float
    """Low values add regional strokes: a bar to 7, a slash to 0."""
    steady: bool
    """Whether a character always comes from the same image."""
    spread: float
    font: int
    zero_size: float

    def __post_init__(self) -> None:
        """No character is drawn yet."""
        self._chosen: dict[str, int] = {}

    @staticmethod
    def random(inks: Inks, r: Random) -> "Hand":
        """Any writer."""
        has = {"pens": len(inks.pens), "fonts": len(inks.fonts), "strokes": len(inks.stroke_fonts)}
        weights = [share if has.get(name, 1) else 0.0 for name, share in _SOURCES.items()]
        narrow = r.random() < 0.1  # steep and thin, as in registers
        stretch = r.uniform(0.55, 0.85) if narrow else math.exp(r.gauss(0.08, 0.2))
        slant = 0.08 + 0.26 * r.gauss(0, 1) if not narrow else r.uniform(0.1, 0.55)
        pen = r.uniform(0.05, 0.15) if r.random() < 0.92 else r.uniform(0.15, 0.2)
        pen *= 0.8 if narrow else 1.0
        return Hand(
            inks=inks,
            r=r,
            source=r.choices(list(_SOURCES), weights)[0],
            style=Style(CAP * pen, stretch=stretch, slant=max(-0.6, min(0.8, slant))),
            size_jitter=r.uniform(0.02, 0.12) if r.random() < 0.85 else r.uniform(0.12, 0.25),
            deslant=r.uniform(0.4, 1.0) if r.random() < 0.75 else 0.0,
            allographs=r.uniform(0.15, 1.0) if r.random() < 0.4 else 0.0,
            bars=r.random(),
            steady=r.random() < 0.5,
            spread=r.uniform(0.01, 0.045),
            font=r.randrange(1 << 30),
            zero_size=r.uniform(0.5, 0.9) if pen < 0.11 and r.random() < 0.28 else 1.0,
        )

    def character(self, character: str, size: float = 1.0) -> Glyph:
        """A character of the alphabet, but not space or "something else"."""
        r = self.r
        size *= math.exp(r.gauss(0, self.size_jitter))
        if character == "0":
            size *= self.zero_size
        style = Style(
            pen=max(1.0, self.style.pen * (1 + r.gauss(0, 0.07))),
            size=size,
            stretch=self.style.stretch * math.exp(r.gauss(0, 0.07)),
            slant=self.style.slant + r.gauss(0, 0.06),
            turn=r.gauss(0, 0.12 if character == "1" else 0.05),
        )
        return (
            self._digit(int(character), style)
            if character.isdecimal()
            else self._sign(character, style)
        )

    def _digit(self, digit: int, style: Style) -> Glyph:
        source = self.source
        if digit == 1 and self._choice("bare", 1000) < 1000 * _BARE:
            # Many lean a 1 that leans no other digit: it is no slash.
            turn, lean = self.r.gauss(0, 0.04), self.r.uniform(-0.1, 0.65)
            slant = self.r.choices((0.0, style.slant, lean), (3, 4, 3))[0]
            return draw([line(0.0, 0.0, 0.0, 1.0)], replace(style, turn=turn, slant=slant))
        if source == "images" and self._choice(f"allograph{digit}", 1000) < 1000 * self.allographs:
            source = "allographs"
        if source == "fonts":
            font = self.inks.fonts[self.font % len(self.inks.fonts)]
            shape = font.shape(str(digit))
            if shape is not None:
                # A font has its own slant: the writer adds little.
                return warp(shape, replace(style, slant=0.4 * style.slant))
        if source == "strokes":
            strokes = self.inks.stroke_fonts[self.font % len(self.inks.stroke_fonts)][str(digit)][1]
            return draw(self._jittered(strokes), replace(style, slant=0.5 * style.slant))
        if source == "pens":
            of = self.inks.pens_of_digit[digit]
            index = int(of[self._choice(f"pen{digit}", len(of))])
            width = self.r.uniform(0.5, 0.75) if digit != 1 else self.r.uniform(0.15, 0.5)
            strokes = pen_strokes(self.inks.pens[index], digit, width)
            return draw(self._jittered(strokes), replace(style, slant=0.5 * style.slant))
        of = self.inks.of_digit[digit]
        if source == "images" and len(of):
            index = int(of[self._choice(f"image{digit}", len(of))])
            return self._from_image(self.inks.images[index], digit, style)
        shapes = BY_DIGIT[digit]
        shape_ = shapes[self._choice(f"shape{digit}", len(shapes), always=True)]
        width = 0.62 * math.exp(self.r.gauss(0, 0.1))
        return draw(draw_allograph(shape_, self.r, width=width, spread=self.spread), style)

    def _from_image(self, image: np.ndarray, digit: int, style: Style) -> Glyph:
        mask = (image > 96).view(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        tall = max(height, 0.6 * width, 4)  # an image may be empty
        y_mid = y + height / 2
        moments = cv2.moments(mask, True)
        own = moments["mu11"] / max(1.0, moments["mu02"])  # columns to the left per row upwards
        lean = max(-_DESLANT, min(_DESLANT, own)) * self.deslant
        cut = image[max(0, y - 1) : y + height + 1, max(0, x - 1) : x + width + 1]
        if self.bars < 0.3:
            cut = _with_bar(cut, digit, self.r)
        middle = y_mid - max(0, y - 1)
        # A small image in a frame of a digit stands on the line or hangs a little above it.
        base = middle + tall / 2
        return warp(Shape(cut, base - tall, base), replace(style, slant=style.slant + lean))

    def _sign(self, character: str, style: Style) -> Glyph:
        if self.inks.fonts and self.r.random() < (0.85 if self.source == "fonts" else 0.2):
            font = self.inks.fonts[self._font_of(character)]
            shape = font.shape(character)
            if shape is not None:
                return warp(shape, replace(style, slant=0.4 * style.slant))
        pen = style.pen * (self.r.uniform(1.0, 1.5) if character in ".:," else 1.0)
        # A slash leans at least as far as the digits beside it; brackets lean less.
        lean = {"/": max(0.0, style.slant), "(": 0.4 * style.slant, ")": 0.4 * style.slant}
        return draw(
            self._jittered(draw_sign(character, self.r)),
            replace(style, pen=pen, slant=lean.get(character, style.slant)),
        )

    def _font_of(self, character: str) -> int:
        fonts = len(self.inks.fonts)
        if self.source == "fonts":
            return self.font % fonts
        return self._choice(f"font{character}", fonts, always=True)

    def word(self, text: str) -> Glyph:
        """A word in letters of a font or a pen; a symbol where there is no text."""
        r = self.r
        style = replace(self.style, size=r.uniform(0.75, 1.15), turn=r.gauss(0, 0.02))
        if not text:
            return draw(draw_symbol(r), style)
        kind = r.random()
        shape = self._in_font(text) if self.inks.fonts and kind < 0.55 else None
        if shape is not None:
            return warp(shape, replace(style, slant=0.4 * style.slant))
        single = r.choice(self.inks.stroke_fonts) if self.inks.stroke_fonts and kind < 0.8 else {}
        strokes = self._lettered(text, single)
        return draw(strokes or draw_symbol(r), style)

    def _in_font(self, text: str) -> Shape | None:
        """A word in the writer's font or in another; None if it is long or lacks a letter."""
        fonts = self.inks.fonts
        own = self.r.random() < 0.5
        font = fonts[self.font % len(fonts)] if own else self.r.choice(fonts)
        return font.shape(text) if len(text) < 12 else None

    def _lettered(self, text: str, single: StrokeFont) -> Strokes:
        """A word in single strokes, of a font or of a plain hand."""
        strokes: Strokes = []
        x, space = 0.0, self.r.uniform(0.08, 0.3)
        for letter in text:
            if letter in single:
                advance, parts = single[letter]
            elif letter in LETTERS:
                parts = draw_allograph(LETTERS[letter], self.r, width=1.0, spread=self.spread / 2)
                advance = max(float(part[:, 0].max()) for part in parts) + space
            else:
                advance, parts = 0.4, []
            strokes += [part + np.array((x, 0.0)) for part in parts]
            x += advance
        return strokes

    def _jittered(self, strokes: Strokes) -> Strokes:
        """Smoothly moved about: each stroke by its own small affine map."""
        r, s = self.r, 0.8 * self.spread
        moved = []
        for stroke in strokes:
            a, b, c, d = (r.gauss(0, s) for _ in range(4))
            middle = stroke.mean(0)
            turn = np.array([[1 + a, b], [c, 1 + d]])
            moved.append((stroke - middle) @ turn + middle + (r.gauss(0, s / 2), r.gauss(0, s / 2)))
        return moved

    def _choice(self, what: str, count: int, *, always: bool = False) -> int:
        """An index below `count`, the same for the whole line if the hand is steady."""
        if not (self.steady or always) and not what.startswith("allograph"):
            return self.r.randrange(count)
        if what not in self._chosen:
            self._chosen[what] = self.r.randrange(count)
        return self._chosen[what]


def _with_bar(cut: np.ndarray, digit: int, r: Random) -> np.ndarray:
    """The image of a 7 with a bar, of a 0 with a slash, of a 1 with a flag or a base."""
    rows, columns = cut.shape
    if digit == 7:
        y, half = rows * r.uniform(0.42, 0.62), r.uniform(2.5, 5.5)
        row = cut[min(rows - 1, int(y))].astype(float)
        x = float(row @ np.arange(columns) / max(1.0, row.sum()))
        rise = half * r.uniform(-0.3, 0.15)
        strokes = [line(x - half, y - rise, x + half, y + rise)]
    elif digit == 0 and r.random() < 0.6:
        a, b = r.uniform(-0.1, 0.5), r.uniform(-0.05, 0.2)
        strokes = [line(columns * (1 - a), rows * b, columns * a, rows * (1 - b))]
    elif digit == 1:
        top = cut[: max(1, rows // 6)].sum(0).astype(float)
        x = float(top @ np.arange(columns) / max(1.0, top.sum()))
        length, angle = rows * r.uniform(0.15, 0.9), r.uniform(0.3, 1.2)
        strokes = [line(x, 1.5, x - length * math.sin(angle), 1.5 + length * math.cos(angle))]
        if r.random() < 0.3:
            middle = columns / 2
            strokes.append(
                line(middle - r.uniform(2, 6), rows - 1.5, middle + r.uniform(2, 6), rows - 1.5)
            )
    else:
        return cut
    pad = 10
    wider = np.pad(cut, ((0, 0), (pad, pad)))
    paths = [np.rint((stroke + np.array((pad, 0))) * 8).astype(np.int32) for stroke in strokes]
    pen = r.choice((2, 2, 3))
    cv2.polylines(wider, paths, False, 255, pen, cv2.LINE_AA, 3)
    return wider
