"""Typesetter: a sheet on which one writer's glyphs are set from left to right, as a line.

A digit of size 1 has `CAP` rows. The sheet keeps room above and below for what is taller, and
beside for frames. All random numbers come from the given generator.
"""

import functools
from random import Random

import numpy as np

from rowscan.arrays import UInt8
from rowscan.training.synthesis.distractors import boxes, circle, frame_remains, polylines, strike
from rowscan.training.synthesis.hands import Hand
from rowscan.training.synthesis.shapes import CAP, FAR, Contour, Glyph
from rowscan.training.synthesis.texts import Token

_ABOVE, _BELOW = 54, 66  # rows of the sheet above a digit and below the base line
_ROWS = _ABOVE + CAP + _BELOW
_NEAR = 3  # rows within which glyphs touch
_EDGE_ROWS = np.arange(-_NEAR, _ROWS + _NEAR) - float(_ABOVE)


class Typesetter:
    """A sheet on which glyphs are set from left to right."""

    def __init__(self, hand: Hand, r: Random, *, wide: bool) -> None:
        self.hand, self.r = hand, r
        touching = r.random()
        self.gap = r.uniform(-0.13, 0.03) if touching < 0.2 else r.uniform(0.03, 0.45)
        if wide and r.random() < 0.17:
            self.gap = r.uniform(0.5, 2.2)
        self.jitter = 0.05 + 0.12 * max(0.0, self.gap - 0.3)
        self.kerning = r.uniform(0.5, 1.0) if r.random() < 0.5 else 0.0
        self.wander = r.uniform(0.0, 0.05)
        self.ligatures = r.uniform(0.3, 1.0) if r.random() < 0.1 else 0.0
        self._placed: list[tuple[Glyph, int, int]] = []
        self._strikes: list[tuple[int, int, int, int]] = []
        self._lines: list[np.ndarray] = []
        self._edge = np.full(_ROWS + 2 * _NEAR, -FAR)
        """In each row of the sheet, and in some above and below, the last column of ink."""
        self._right, self._space = 0, 0.0
        self._heights: list[int] = []

    def add(self, token: Token) -> None:
        """Set a token."""
        if token.role == "space":
            # Between groups the gap is clearly wider than within them.
            space = self.r.uniform(0.42, 1.1) if self.r.random() < 0.9 else self.r.uniform(1.0, 3.0)
            self._space = max(space, 0.62 - self.gap)
        elif token.role == "word":
            self._set(self.hand.word(token.text), tall=not self._heights)
        elif token.role in ("stacked", "small"):
            if self._space:  # small figures are apart from the whole number by their size
                self._space = self.r.uniform(0.0, 0.6)
            (self._stack if token.role == "stacked" else self._small)(token.text)
        else:
            first = len(self._placed)
            for character in token.text:
                self._set(self.hand.character(character), tall=character.isdecimal())
            if token.role == "struck":
                self._strikes.append(self._box(self._placed[first:]))

    def _small(self, text: str) -> None:
        above, below = text.split("/")
        size = self.r.uniform(0.42, 0.75)
        up, down = self.r.uniform(-0.12, 0.06), self.r.uniform(0.0, 0.2)
        for character in above:
            glyph = self.hand.character(character, size)
            self._set(glyph, down=round(CAP * up) - glyph.top, close=True, tall=False)
        self._set(self.hand.character("/"), close=True, tall=False)
        for character in below:
            glyph = self.hand.character(character, size)
            self._set(glyph, down=round(CAP * (1 + down)) - glyph.bottom, close=True, tall=False)

    def _stack(self, text: str) -> None:
        above, below = text.split("/")
        r, size = self.r, self.r.uniform(0.5, 0.85)
        groups = [[self.hand.character(c, size) for c in part] for part in (above, below)]
        wide = [sum(g.ink.shape[1] + 3 for g in group) for group in groups]
        start = self._right + round(CAP * (self.gap + self._space + 0.1))
        self._space = 0.0
        bar, apart = round(CAP * r.uniform(0.4, 0.6)), round(CAP * r.uniform(0.08, 0.16))
        for group, width, raised in zip(groups, wide, (True, False), strict=True):
            x = start + (max(wide) - width) // 2
            for glyph in group:
                top = bar - apart - len(glyph.ink) if raised else bar + apart
                self._put(glyph, x, top - glyph.top)
                x += glyph.ink.shape[1] + 3
        tilt = r.gauss(0, 0.04) * CAP
        line = [(start - 4, bar + tilt + _ABOVE), (start + max(wide) + 4, bar - tilt + _ABOVE)]
        self._lines.append(np.array(line, float))

    def _set(
        self, glyph: Glyph, *, down: int | None = None, close: bool = False, tall: bool = True
    ) -> None:
        """Set a glyph after the last one, with the line's usual gap or a space between."""
        r = self.r
        if down is None:
            down = round(CAP * r.gauss(0, self.wander))
        if not len(_on_sheet(glyph, down)[0]):
            return
        gap = min(self.gap, 0.05) if close else self.gap
        space = CAP * (gap + self._space + r.gauss(0, self.jitter if not self._space else 0.02))
        x = self._after(glyph, down, space) if self._placed else 0
        joined = self.ligatures and self._placed and not self._space
        if joined and r.random() < self.ligatures:
            y = _ABOVE + CAP * r.uniform(0.1, 0.95)
            start, end = self._right - 0.3 * CAP * 0.6, x + 0.3 * glyph.ink.shape[1]
            self._lines.append(np.array([(start, y), (end, y + r.gauss(0, 0.08) * CAP)]))
        if tall:
            self._heights.append(len(glyph.ink))
        self._put(glyph, x, down)
        self._space = 0.0

    def _after(self, glyph: Glyph, down: int, space: float) -> int:
        """The column of a glyph that stands `space` columns after what is set.

        Kerning measures the distance by the ink, as the least in any row; without it, distance is
        measured by the boxes, in the slant of the line.
        """
        first, _, rows = _on_sheet(glyph, down)
        lean = self.hand.style.slant * _EDGE_ROWS
        by_ink = float((_nearby(self._edge, rows) - first).max())
        by_box = float((self._edge + lean).max() - (first + lean[_NEAR:-_NEAR][rows]).min())
        touch = by_ink if by_ink > -FAR / 2 else by_box
        x = round(self.kerning * touch + (1 - self.kerning) * max(touch, by_box) + space)
        if self._space:  # a gap is seen by its width
            x = max(x, round(touch + 0.8 * CAP * self._space))
        return int(max(x, self._right - round(0.6 * glyph.ink.shape[1])))

    def _put(self, glyph: Glyph, x: int, down: int) -> None:
        _, last, rows = _on_sheet(glyph, down)
        edge = self._edge[_NEAR:-_NEAR][rows]
        np.maximum(edge, last + x, out=edge)
        self._placed.append((glyph, x, glyph.top + down + _ABOVE))
        self._right = max(self._right, x + glyph.ink.shape[1])

    def sheet(self) -> UInt8[np.ndarray, "rows columns"]:
        """All that was set, with room for frames around it."""
        left = min((x for _, x, _ in self._placed), default=0)
        self._offset = 2 * CAP - left
        paper = np.zeros((_ROWS, self._right + self._offset + 2 * CAP), np.uint8)
        for glyph, x, top in self._placed:
            a, b = max(0, top), min(_ROWS, top + len(glyph.ink))
            if a >= b:
                continue
            start = x + self._offset
            target = paper[a:b, start : start + glyph.ink.shape[1]]
            np.maximum(target, glyph.ink[a - top : b - top], out=target)
        for path in self._lines:
            polylines(paper, [path + np.array((self._offset, 0))], 0.9 * self.hand.style.pen)
        for left, top, right, bottom in self._strikes:
            box = (left + self._offset, top, right + self._offset, bottom)
            strike(paper, box, self.hand.style.pen, self.r)
        if 0 < len(self._placed) < 4 and not self._strikes and self.r.random() < 0.04:
            polylines(paper, [circle(self.box(), self.r)], self.hand.style.pen)
        return paper

    def frame(self, kind: str, r: Random) -> list[np.ndarray]:
        """Straight printed strokes around what was written: boxes, or remains of a cell."""
        columns = self.columns()
        if self.gap > 0.25 and len(columns) > 2 and kind == "digits" and r.random() < 0.45:
            return [path + np.array((0, _ABOVE)) for path in boxes(columns, r)]
        framed = r.random() < (0.65 if kind == "empty" else 0.13)
        frame = frame_remains(self.box(), r, both=r.random() < 0.3) if framed else []
        # Without anything across, upright strokes alone are 1s.
        upright = all(abs(float(np.ptp(path[:, 0]))) < CAP / 2 for path in frame)
        return [] if kind == "empty" and upright else frame

    def columns(self) -> list[tuple[int, int]]:
        """First and last column of each glyph on the sheet."""
        return [
            (x + self._offset, x + self._offset + glyph.ink.shape[1])
            for glyph, x, _ in self._placed
        ]

    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of all glyphs on the sheet."""
        left, top, right, bottom = self._box(self._placed)
        return left + self._offset, top, right + self._offset, bottom

    @staticmethod
    def _box(placed: list[tuple[Glyph, int, int]]) -> tuple[int, int, int, int]:
        if not placed:
            return 0, _ABOVE, CAP, _ABOVE + CAP
        return (
            min(x for _, x, _ in placed),
            min(top for _, _, top in placed),
            max(x + glyph.ink.shape[1] for glyph, x, _ in placed),
            max(top + len(glyph.ink) for glyph, _, top in placed),
        )

    def tall(self) -> float:
        """The usual height of what stands on the line, in rows of the sheet."""
        return (
            float(sorted(self._heights)[len(self._heights) // 2]) if self._heights else float(CAP)
        )


def _on_sheet(glyph: Glyph, down: int) -> tuple[Contour, Contour, slice]:
    """A glyph's contours, and the rows of the sheet that they are in."""
    first, last = glyph.contours
    top = glyph.top + down + _ABOVE
    a, b = max(0, -top), max(0, min(len(first), _ROWS - top))
    return first[a:b], last[a:b], slice(top + a, top + max(a, b))


def _nearby(edge: Contour, rows: slice) -> Contour:
    """The last column of ink within `_NEAR` rows of each of these rows of the sheet."""
    windows = (edge[rows.start + i : rows.stop + i] for i in range(2 * _NEAR + 1))
    widest: Contour = functools.reduce(np.maximum, windows)
    return widest
