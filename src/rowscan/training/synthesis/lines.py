"""Synthetic text lines: numbers as people write them, composed of glyphs, one writer per line.

A line is ink, float32 (32, width), 0 for paper to 1 for ink, as `segmentation.page` finds it in a
photo, with distractors. It is set on a sheet where a digit has `CAP` rows, then scaled as the page
scales lines. All random numbers come from the given generator.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np
import torch
from torch import Generator, Tensor

from rowscan.alphabet import ALPHABET
from rowscan.arrays import Float32, Float64, UInt8
from rowscan.scans import LINE_HEIGHT
from rowscan.segmentation.line_image import DIGIT_HEIGHT
from rowscan.training.synthesis.degradation import broad_nib, degrade
from rowscan.training.synthesis.distractors import add_residue, polylines
from rowscan.training.synthesis.hands import Hand
from rowscan.training.synthesis.inks import Inks
from rowscan.training.synthesis.shapes import CAP
from rowscan.training.synthesis.texts import label, random_text
from rowscan.training.synthesis.typesetting import Typesetter

_TALLEST = LINE_HEIGHT - 2  # rows of a line's ink, as in segmentation


@dataclass(frozen=True)
class LineBatch:
    """Text lines, padded with paper on the right to one width."""

    ink: Float32[Tensor, "n 32 width"]
    widths: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    """Indices in the alphabet."""
    kinds: tuple[str, ...] = ()
    """What each line shows, as `texts.KINDS` calls it; nothing for lines that were not composed."""


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
    setting = Typesetter(hand, r, wide=kind == "digits" and len(tokens[0].text) > 2)
    for token in tokens:
        setting.add(token)
    sheet, text = setting.sheet(), label(tokens)
    for _ in range(views):
        frame = setting.frame(kind, r)
        # A broad nib in narrow boxes leaves nothing that one could read.
        nib = not frame and hand.style.pen < 0.11 * CAP and r.random() < 0.22
        view = broad_nib(sheet, r) if nib else sheet
        tall = setting.tall()
        if frame and kind == "empty":
            tall = float(np.ptp(np.concatenate(frame)[:, 1]))
        ink = _scaled(view, frame, tall, r, noise)
        add_residue(ink, r, noise)
        yield degrade(ink, r, noise), text, kind


@dataclass(frozen=True)
class _Place:
    """Where the ink of a sheet comes to be in a line image.

    `left` and `middle`: of the ink, in columns and rows of the sheet; `scale`: pixels of the line
    in one of the sheet; `before`: columns of the line before the ink; `centre`: row of its middle.
    """

    left: float
    middle: float
    scale: float
    before: float
    centre: float
    columns: int

    def of(self, paths: list[np.ndarray], zoom: int) -> list[np.ndarray]:
        """Strokes of the sheet on a line image `zoom` times as fine."""
        unit = 1 / (zoom * self.scale)
        origin = (self.left - zoom * self.before * unit, self.middle - zoom * self.centre * unit)
        return [(path - origin) / unit for path in paths]


def _placed(corners: Float64[np.ndarray, "n 2"], tall: float, r: Random) -> _Place:
    """As segmentation does it: digits of one height, unless something else is too tall.

    Args:
        corners: of all ink, in columns and rows of the sheet.
        tall: rows of a digit.
        r: source of all random numbers.
    """
    (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    scale = DIGIT_HEIGHT / max(tall, 0.3 * CAP) * math.exp(r.gauss(-0.04, 0.09))
    scale = min(scale, _TALLEST / (bottom - top) * math.exp(min(0.0, r.gauss(0.0, 0.04))))
    before, after = (4.0, 4.0) if r.random() < 0.6 else (r.uniform(0, 14), r.uniform(0, 16))
    if r.random() < 0.05:
        before -= r.uniform(0, 3)  # cut at the picture's edge
    columns = max(12, math.ceil((right - left) * scale + before + after))
    centre = (LINE_HEIGHT + r.gauss(0, 0.8)) / 2
    return _Place(left, (top + bottom) / 2, scale, before, centre, columns)


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
    corners = [(x, y), (x + width, y + height)] if width else np.empty((0, 2))
    every = np.concatenate([*frame, corners]).astype(float)
    if not len(every):
        return np.zeros((LINE_HEIGHT, r.randint(12, 60)), np.float32)
    place = _placed(every, tall, r)
    # Twice as fine, then averaged: strokes keep soft edges.
    moved = _deformed(sheet, place, float(np.ptp(every[:, 0])), r, noise)
    if frame:
        pen, level = r.uniform(0.8, 3.2), r.choice((255, 255, r.randint(120, 240)))
        drawn = np.zeros_like(moved)
        polylines(drawn, place.of(frame, 2), pen, level)
        np.maximum(moved, drawn, out=moved)
    small = cv2.resize(moved, (place.columns, LINE_HEIGHT), interpolation=cv2.INTER_AREA)
    result: np.ndarray = small.astype(np.float32) / np.float32(255)
    return result


def _deformed(
    sheet: UInt8[np.ndarray, "rows columns"],
    place: _Place,
    width: float,
    r: Random,
    noise: np.random.Generator,
) -> UInt8[np.ndarray, "64 twice_the_width"]:
    """The sheet on a line image twice as fine: tilted, and moved about by at most a pixel."""
    fine = (LINE_HEIGHT * 2, place.columns * 2)
    unit = np.float32(1 / (2 * place.scale))
    x_at = (np.arange(fine[1], dtype=np.float32) - np.float32(2 * place.before)) * unit
    y_at = (np.arange(fine[0], dtype=np.float32) - np.float32(2 * place.centre)) * unit
    # Displacements vary over a third of the height of a line.
    cells = noise.standard_normal((4, max(4, place.columns // 10), 2), np.float32)
    cells *= np.float32(1.3 * r.uniform(0.2, 1.0) * float(unit))
    across, down = (cv2.resize(cells[:, :, axis], fine[::-1]) for axis in range(2))
    tilt = np.float32(r.gauss(0, 0.015)) * (x_at - np.float32(width / 2))
    map_x = across + (x_at + np.float32(place.left))
    map_y = down + (y_at[:, None] + (tilt + np.float32(place.middle)))
    moved: np.ndarray = cv2.remap(sheet, map_x, map_y, cv2.INTER_LINEAR)
    return moved
