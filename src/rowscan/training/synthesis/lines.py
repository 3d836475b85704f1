"""Synthetic text lines: numbers as people write them, composed of glyphs, one writer per line.

A line is ink, float32 (32, width), 0 for paper to 1 for ink, as `segmentation.page` finds it in a
photo, with distractors. It is set on a sheet where a digit has `CAP` rows, then scaled as the page
scales lines. All random numbers come from the given generator.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np
import torch
from torch import Generator, Tensor

from rowscan.alphabet import ALPHABET
from rowscan.arrays import Float32, UInt8
from rowscan.scans import LINE_HEIGHT
from rowscan.segmentation.page import DIGIT_HEIGHT
from rowscan.training.synthesis.degradation import broad_nib, degrade
from rowscan.training.synthesis.distractors import (
    add_residue,
    boxes,
    circle,
    frame_remains,
    polylines,
    strike,
)
from rowscan.training.synthesis.hands import Hand
from rowscan.training.synthesis.inks import Inks
from rowscan.training.synthesis.shapes import CAP, FAR, Contour, Glyph
from rowscan.training.synthesis.texts import Token, label, random_text

_ABOVE, _BELOW = 54, 66  # rows of the sheet above a digit and below the base line
_TALLEST = LINE_HEIGHT - 2  # rows of a line's ink, as in segmentation
_ROWS = _ABOVE + CAP + _BELOW
_NEAR = 3  # rows within which glyphs touch
_EDGE_ROWS = np.arange(-_NEAR, _ROWS + _NEAR) - float(_ABOVE)


@dataclass(frozen=True)
class LineBatch:
    """Text lines, padded with paper on the right to one width."""

    ink: Float32[Tensor, "n 32 width"]
    widths: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    """Indices in the alphabet."""
    kinds: tuple[str, ...] = ()
    """What each line shows, as `texts.KINDS` calls it; nothing for lines that were not composed."""

    def width_buckets(self, count: int = 4) -> Iterator["LineBatch"]:
        """The lines sorted by width, in batches with little padding."""
        order = sorted(range(len(self.widths)), key=lambda line: self.widths[line])
        size = math.ceil(len(order) / count)
        for start in range(0, len(order), size):
            part = order[start : start + size]
            widths = tuple(self.widths[line] for line in part)
            labels = tuple(self.labels[line] for line in part)
            kinds = tuple(self.kinds[line] for line in part) if self.kinds else ()
            yield LineBatch(self.ink[part, :, : max(widths)], widths, labels, kinds)

    def subset(self, lines: slice) -> "LineBatch":
        """Some of the lines, with the padding of the whole batch."""
        return LineBatch(self.ink[lines], self.widths[lines], self.labels[lines], self.kinds[lines])


def compose(n: int, inks: Inks, g: Generator, *, views: int = 1) -> LineBatch:
    """`n` random lines.

    Args:
        n: number of lines, at least 1.
        inks: what they are drawn with.
        g: source of all random numbers.
        views: lines of the same writing by the same writer, in other frames, sizes and qualities.
            Most of the time goes into drawing, which two views share.
    """
    seeds: list[int] = torch.randint(2**62, (-(-n // views),), generator=g).tolist()
    composed = [line for seed in seeds for line in compose_views(inks, seed, views)][:n]
    widths = tuple(ink.shape[1] for ink, _, _ in composed)
    ink = np.zeros((n, LINE_HEIGHT, max(widths)), np.float32)
    for row, (line, _, _) in zip(ink, composed, strict=True):
        row[:, : line.shape[1]] = line
    labels = tuple(tuple(map(ALPHABET.index, text)) for _, text, _ in composed)
    return LineBatch(torch.from_numpy(ink), widths, labels, tuple(kind for _, _, kind in composed))


def compose_views(
    inks: Inks, seed: int, views: int
) -> Iterator[tuple[Float32[np.ndarray, "32 width"], str, str]]:
    """Views of one random line: the ink of each, its text, and its kind."""
    r, noise = Random(seed), np.random.Generator(np.random.PCG64(seed))
    kind, tokens = random_text(r)
    hand = Hand.random(inks, r)
    setting = _Setting(hand, r, wide=kind == "digits" and len(tokens[0].text) > 2)
    for token in tokens:
        setting.add(token)
    sheet, text = setting.sheet(), label(tokens)
    for _ in range(views):
        frame = _frame(setting, kind, r)
        nib = hand.style.pen < 0.11 * CAP and r.random() < 0.22
        view = broad_nib(sheet, r) if nib else sheet
        tall = setting.tall()
        if frame and kind == "empty":
            tall = float(np.ptp(np.concatenate(frame)[:, 1]))
        ink = _scaled(view, frame, tall, r, noise)
        add_residue(ink, r, noise)
        yield degrade(ink, r, noise), text, kind


def _frame(setting: "_Setting", kind: str, r: Random) -> list[np.ndarray]:
    """Straight printed strokes around what was written."""
    columns = setting.columns()
    if setting.gap > 0.25 and len(columns) > 2 and kind == "digits" and r.random() < 0.45:
        return [path + np.array((0, _ABOVE)) for path in boxes(columns, r)]
    framed = r.random() < (0.65 if kind == "empty" else 0.1)
    return frame_remains(setting.box(), r, both=r.random() < 0.3) if framed else []


class _Setting:
    """A sheet on which glyphs are set from left to right."""

    def __init__(self, hand: Hand, r: Random, *, wide: bool) -> None:
        self.hand, self.r = hand, r
        touching = r.random()
        self.gap = r.uniform(-0.13, 0.03) if touching < 0.25 else r.uniform(0.03, 0.34)
        if wide and r.random() < 0.17:
            self.gap = r.uniform(0.5, 2.2)
        self.jitter = 0.05 + 0.12 * max(0.0, self.gap - 0.3)
        self.kerning = r.uniform(0.5, 1.0) if r.random() < 0.6 else 0.0
        self.slope, self.wander = r.gauss(0, 0.02), r.uniform(0.0, 0.05)
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
            down = round(CAP * (r.gauss(0, self.wander)))
        first, _, rows = _on_sheet(glyph, down)
        if not len(first):
            return
        gap = min(self.gap, 0.05) if close else self.gap
        space = CAP * (gap + self._space + r.gauss(0, self.jitter if not self._space else 0.02))
        x = 0
        if self._placed:
            # By the ink: the least distance in any row. By the boxes, in the slant of the line.
            lean = self.hand.style.slant * _EDGE_ROWS
            ahead = _nearby(self._edge, rows)
            by_ink = float((ahead - first).max())
            by_box = float((self._edge + lean).max() - (first + lean[_NEAR:-_NEAR][rows]).min())
            touch = by_ink if by_ink > -FAR / 2 else by_box
            x = round(self.kerning * touch + (1 - self.kerning) * max(touch, by_box) + space)
            if self._space:  # a gap is seen by its width
                x = max(x, round(touch + 0.8 * CAP * self._space))
            x = max(x, self._right - round(0.6 * glyph.ink.shape[1]))
        joined = self.ligatures and self._placed and not self._space and r.random() < self.ligatures
        if joined:
            y = _ABOVE + CAP * r.uniform(0.1, 0.95)
            start, end = self._right - 0.3 * CAP * 0.6, x + 0.3 * glyph.ink.shape[1]
            self._lines.append(np.array([(start, y), (end, y + r.gauss(0, 0.08) * CAP)]))
        if tall:
            self._heights.append(len(glyph.ink))
        self._put(glyph, x, down)
        self._space = 0.0

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


def _scaled(
    sheet: UInt8[np.ndarray, "rows columns"],
    frame: list[np.ndarray],
    tall: float,
    r: Random,
    noise: np.random.Generator,
) -> Float32[np.ndarray, "32 width"]:
    """The sheet's ink at the height of a line, slightly deformed, with a margin at either side.

    Args:
        sheet: ink.
        frame: straight strokes beside it, which are not deformed.
        tall: rows of a digit.
        r: source of single random numbers.
        noise: source of arrays of them.
    """
    x, y, width, height = cv2.boundingRect((sheet > 96).view(np.uint8))
    every = np.concatenate(
        [*frame, [(x, y), (x + width, y + height)] if width else np.empty((0, 2))]
    )
    if not len(every):
        return np.zeros((LINE_HEIGHT, r.randint(12, 60)), np.float32)
    left, top = every.min(0).tolist()
    right, bottom = every.max(0).tolist()
    scale = DIGIT_HEIGHT / max(tall, 0.3 * CAP) * math.exp(r.gauss(-0.04, 0.09))
    scale = min(scale, _TALLEST / (bottom - top) * math.exp(min(0.0, r.gauss(0.0, 0.04))))
    before, after = (4.0, 4.0) if r.random() < 0.6 else (r.uniform(0, 14), r.uniform(0, 16))
    if r.random() < 0.05:
        before -= r.uniform(0, 3)  # cut at the picture's edge
    columns = max(12, math.ceil((right - left) * scale + before + after))
    # Twice as fine, then averaged: strokes keep soft edges.
    fine = (LINE_HEIGHT * 2, columns * 2)
    unit, middle = 1 / (2 * scale), LINE_HEIGHT + r.gauss(0, 0.8)
    x_at = (np.arange(fine[1], dtype=np.float32) - np.float32(2 * before)) * np.float32(unit)
    y_at = (np.arange(fine[0], dtype=np.float32) - np.float32(middle)) * np.float32(unit)
    # Displacements of at most a pixel, which vary over a third of the height of a line.
    cells = noise.standard_normal((4, max(4, columns // 10), 2), np.float32)
    cells *= np.float32(1.3 * r.uniform(0.2, 1.0) * unit)
    across, down = (cv2.resize(cells[:, :, axis], fine[::-1]) for axis in range(2))
    tilt = np.float32(r.gauss(0, 0.015)) * (x_at - np.float32((right - left) / 2))
    map_x = across + (x_at + np.float32(left))
    map_y = down + (y_at[:, None] + (tilt + np.float32((top + bottom) / 2)))
    moved = cv2.remap(sheet, map_x, map_y, cv2.INTER_LINEAR)
    if frame:
        pen, level = r.uniform(0.8, 3.2), r.choice((255, 255, r.randint(120, 240)))
        origin = (left - 2 * before * unit, (top + bottom) / 2 - middle * unit)
        drawn = np.zeros_like(moved)
        polylines(drawn, [(path - origin) / unit for path in frame], pen, level)
        np.maximum(moved, drawn, out=moved)
    small = cv2.resize(moved, (columns, LINE_HEIGHT), interpolation=cv2.INTER_AREA)
    result: np.ndarray = small.astype(np.float32) / np.float32(255)
    return result
