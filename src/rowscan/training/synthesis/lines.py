"""Synthetic text lines: handwritten numbers composed of single digits, one writer per line.

A line is ink, float32 (32, width), 0 for paper to 1 for ink, as `segmentation.page` finds it in a
photo, with distractors. All random numbers come from the given generator.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as fn

from rowscan.arrays import Bool, Float32, Float64, Int64, UInt8
from rowscan.scans import LINE_HEIGHT
from rowscan.training.synthesis.augmentation import (
    Value,
    Warp,
    add_regional_strokes,
    as_ink,
    bounding_boxes,
    draw_segments,
    jitter_contrast,
    pixelwise,
    reduce_resolution,
    row_centroid,
    set_stroke_width,
    stroke_width,
    uniform,
)
from rowscan.training.synthesis.distractors import GLYPH_WIDTH, Glyphs, draw_mark, draw_residue
from rowscan.training.synthesis.pen_digits import redraw_as_allographs
from rowscan.training.synthesis.pen_letters import draw_word

_FAR = 1e4  # columns
_LENGTHS = ((0, 3), (1, 4), (3, 6), (5, 9), (8, 12))
_LENGTH_WEIGHTS = (1.5, 3.0, 4.0, 2.0, 1.0)

LineInk = Float32[Tensor, "32 width"]
Piece = Float32[np.ndarray, "32 width"]
Contour = Float64[np.ndarray, "32"]


@dataclass(frozen=True)
class LineBatch:
    """Text lines, padded with paper on the right to one width."""

    ink: Float32[Tensor, "n 32 width"]
    widths: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]

    def width_buckets(self, count: int = 4) -> Iterator["LineBatch"]:
        """The lines sorted by width, in batches with little padding."""
        order = sorted(range(len(self.widths)), key=lambda line: self.widths[line])
        size = math.ceil(len(order) / count)
        for start in range(0, len(order), size):
            part = order[start : start + size]
            widths = tuple(self.widths[line] for line in part)
            labels = tuple(self.labels[line] for line in part)
            yield LineBatch(self.ink[part, :, : max(widths)], widths, labels)

    def subset(self, lines: slice) -> "LineBatch":
        """Some of the lines, with the padding of the whole batch."""
        return LineBatch(self.ink[lines], self.widths[lines], self.labels[lines])


@dataclass(frozen=True)
class _Writers:
    """Style parameters, one value per line (writer). Lengths are in pixels.

    `size_jitter`: spread of the log size; `deslant`: share of a digit's own slant that is removed;
    `kerning`: probability of spacing by the ink, not by bounding boxes; `regional`: low values add
    regional strokes; `allographs`: share of the ten digits drawn as allographs; `zero_size`: size
    of zeros relative to other digits; `ligatures`, `marks`: probability of one between digits.
    """

    height: Value
    size_jitter: Value
    deslant: Value
    slant: Value
    stretch: Value
    stroke_width: Value
    gap: Value
    gap_jitter: Value
    kerning: Value
    slope: Value
    regional: Value
    allographs: Value
    zero_size: Value
    ligatures: Value
    marks: Value

    @staticmethod
    def random(n: int, g: Generator) -> "_Writers":
        touching = uniform(n, 0.0, 1.0, g) < 0.25
        return _Writers(
            height=28.0 - 11.0 * uniform(n, 0.0, 1.0, g) ** 1.4,
            size_jitter=uniform(n, 0.02, 0.13, g),
            deslant=torch.where(uniform(n, 0.0, 1.0, g) < 0.75, uniform(n, 0.4, 1.0, g), 0.0),
            slant=(0.08 + 0.26 * torch.randn(n, generator=g)).clamp(-0.6, 0.8),
            stretch=torch.exp(torch.randn(n, generator=g) * 0.15),
            stroke_width=uniform(n, 1.5, 4.2, g),
            gap=torch.where(touching, uniform(n, -3.5, 0.5, g), uniform(n, 0.5, 9.0, g)),
            gap_jitter=uniform(n, 0.3, 2.0, g),
            kerning=torch.where(uniform(n, 0.0, 1.0, g) < 0.5, uniform(n, 0.5, 1.0, g), 0.0),
            slope=torch.randn(n, generator=g) * 0.02,
            regional=uniform(n, 0.0, 1.0, g),
            allographs=torch.where(uniform(n, 0.0, 1.0, g) < 0.4, uniform(n, 0.15, 1.0, g), 0.0),
            zero_size=torch.where(uniform(n, 0.0, 1.0, g) < 0.25, uniform(n, 0.45, 0.9, g), 1.0),
            ligatures=torch.where(uniform(n, 0.0, 1.0, g) < 0.15, uniform(n, 0.3, 1.0, g), 0.0),
            marks=torch.where(uniform(n, 0.0, 1.0, g) < 0.35, uniform(n, 0.1, 0.6, g), 0.0),
        )


def compose(
    n: int, images: UInt8[Tensor, "m 28 28"], labels: Int64[Tensor, " m"], g: Generator
) -> LineBatch:
    """`n` random lines of similar length, each by another writer.

    Args:
        n: number of lines, at least 1.
        images: digits to compose them of, in MNIST's frame.
        labels: the classes of `images`, 0 to 9.
        g: source of all random numbers.
    """
    group = int(torch.multinomial(torch.tensor(_LENGTH_WEIGHTS), 1, generator=g))
    fewest, most = _LENGTHS[group]
    lengths = torch.randint(fewest, most + 1, (n,), generator=g)
    lengths = torch.where(uniform(n, 0.0, 1.0, g) < 0.04, 0, lengths)
    writers = _Writers.random(n, g)
    line_of = torch.arange(n).repeat_interleave(lengths)
    chosen = _choose_digits(labels, line_of, g)
    digits = labels[chosen]
    glyphs = _render_glyphs(as_ink(images[chosen]), digits, line_of, writers, g)
    lines, texts = [], []
    for line in range(n):
        index = torch.nonzero(line_of == line).flatten()
        texts.append(tuple(digits[index].tolist()))
        lines.append(_typeset(glyphs[index], line, writers, g))
    widths = tuple(line.shape[1] for line in lines)
    ink = torch.stack([fn.pad(line, (0, max(widths) - line.shape[1])) for line in lines])
    ink = torch.maximum(ink, draw_residue(n, max(widths), glyphs, g))
    ink = _degrade(ink, g)
    inside = torch.arange(max(widths)) < torch.tensor(widths)[:, None]
    return LineBatch(ink * inside[:, None], widths, tuple(texts))


def _choose_digits(
    labels: Int64[Tensor, " m"], line_of: Int64[Tensor, " n"], g: Generator
) -> Int64[Tensor, " n"]:
    """Indices of the images that the lines are composed of.

    As in real numbers, digits repeat and many numbers end in zeros. Half of the lines use one
    image per digit.
    """
    n, lines = len(line_of), int(line_of.max()) + 1 if len(line_of) else 0
    chosen = torch.randint(0, len(labels), (n,), generator=g)
    index = torch.arange(n)
    first = line_of.diff(prepend=line_of.new_tensor([-1])) != 0
    repeated = (uniform(n, 0.0, 1.0, g) < 0.1) & ~first
    chosen = chosen[torch.where(repeated, 0, index).cummax(0).values] if n else chosen
    zeros = torch.nonzero(labels == 0).flatten()
    if n and len(zeros):
        to_the_end = torch.bincount(line_of, minlength=lines).cumsum(0)[line_of] - index
        many = torch.where(uniform(lines, 0.0, 1.0, g) < 0.18, uniform(lines, 1.0, 5.0, g), 0.0)
        trailing = ~first & (to_the_end <= many[line_of].floor())
        drawn = zeros[torch.randint(0, len(zeros), (n,), generator=g)]
        chosen = torch.where(trailing, drawn, chosen)
    consistent = uniform(lines, 0.0, 1.0, g) < 0.5
    key = 10 * line_of + labels[chosen]
    leader = torch.full((10 * lines,), n).scatter_reduce(0, key, index, "amin")[key]
    return torch.where(consistent[line_of], chosen[leader], chosen)


def _render_glyphs(
    ink: Float32[Tensor, "n 28 28"],
    digits: Int64[Tensor, " n"],
    line_of: Int64[Tensor, " n"],
    writers: _Writers,
    g: Generator,
) -> Glyphs:
    """Each digit in its writer's style, size and stroke width, vertically centred."""
    n = len(ink)
    if n == 0:
        return torch.zeros(0, LINE_HEIGHT, GLYPH_WIDTH)
    regional = writers.regional[line_of]
    ink = add_regional_strokes(ink, digits, regional < 0.35, g)
    ink = _add_long_flags(ink, (digits == 1) & (regional < 0.22), g)
    key = 10 * line_of + digits
    redrawn = uniform(10 * len(writers.gap), 0.0, 1.0, g)[key] < writers.allographs[line_of]
    ink = redraw_as_allographs(ink, digits, line_of, redrawn, g)
    warp = Warp.random(n, uniform(n, 0.0, 0.45, g), g)
    stretch, zero, one = writers.stretch[line_of], torch.zeros(n), torch.ones(n)
    narrow = torch.stack([1 / stretch, zero, zero, one], 1).view(n, 2, 2)
    shear = torch.stack([one, writers.deslant[line_of] * _slant(ink), zero, one], 1).view(n, 2, 2)
    warp = Warp(shear @ warp.matrix @ narrow, warp.offsets)
    draft = warp.apply(ink, torch.full((n,), 0.75), torch.zeros(n, 2))
    top, bottom, left, right = bounding_boxes(draft)
    size = torch.exp(torch.randn(n, generator=g) * writers.size_jitter[line_of])
    size = size * torch.where(digits == 0, writers.zero_size[line_of], 1.0)
    size = size * _dominance(line_of, g)
    # The longer side sets the size as in MNIST, but a wide digit may be as tall as the others.
    side = torch.maximum(bottom - top + 1, 0.6 * (right - left + 1)).clamp(min=6)
    scale = 0.75 * writers.height[line_of] * size / side
    centre = torch.stack([(left + right) / 2, (top + bottom) / 2], 1) - 13.5
    shift = -centre * (scale / 0.75)[:, None]
    glyphs = warp.apply(ink, scale, shift, size=(LINE_HEIGHT, GLYPH_WIDTH))
    jitter = torch.randn(n, generator=g) * 0.25
    return set_stroke_width(glyphs, writers.stroke_width[line_of] + jitter)


def _dominance(line_of: Int64[Tensor, " n"], g: Generator) -> Value:
    """Relative sizes: on one line in 16 one digit, mostly the first, is larger than the others."""
    lines = int(line_of.max()) + 1
    first = line_of.diff(prepend=line_of.new_tensor([-1])) != 0
    rank = torch.where(first, 2.0, uniform(len(line_of), 0.0, 2.1, g))
    highest = torch.full((lines,), 0.0).scatter_reduce(0, line_of, rank, "amax")[line_of]
    size = torch.where(uniform(lines, 0.0, 1.0, g) < 1 / 16, uniform(lines, 0.5, 0.85, g), 1.0)
    return torch.where(rank < highest, size[line_of], 1.0)


def _slant(ink: Float32[Tensor, "n 28 28"]) -> Value:
    """Slant to the left in columns per row, from second moments."""
    position = torch.arange(ink.shape[1]) - (ink.shape[1] - 1) / 2
    mass = ink.sum((1, 2)).clamp(min=1e-3)
    x, y = ink.sum(1) @ position / mass, ink.sum(2) @ position / mass
    variance = ink.sum(2) @ position.square() / mass - y * y
    covariance = torch.einsum("nyx,y,x->n", ink, position, position) / mass - x * y
    return (covariance / variance.clamp(min=1)).clamp(-0.7, 0.7)


def _add_long_flags(
    ink: Float32[Tensor, "n 28 28"], chosen: Bool[Tensor, " n"], g: Generator
) -> Float32[Tensor, "n 28 28"]:
    """Where chosen: an upstroke half to fully as long as the stem, as in the 1 like a Λ."""
    n = len(ink)
    top, bottom, _, _ = bounding_boxes(ink)
    x = row_centroid(ink, top + 1)
    length = (bottom - top) * uniform(n, 0.5, 1.0, g)
    angle = uniform(n, 0.3, 0.7, g)  # radians from the vertical
    across, down = length * angle.sin(), length * angle.cos()
    flag = draw_segments(x, top + 0.5, x - across, top + 0.5 + down, stroke_width(ink))
    return torch.maximum(ink, flag * pixelwise(chosen.float()))


def _typeset(glyphs: Glyphs, line: int, writers: _Writers, g: Generator) -> LineInk:
    """One line: its digits, with the gaps, marks and words between them."""
    rng = Random(int(torch.randint(2**62, (), generator=g)))  # faster for single numbers
    height, width, gap, gap_jitter, kerning, slope, slant, ligatures, marks = (
        float(values[line])
        for values in (
            writers.height,
            writers.stroke_width,
            writers.gap,
            writers.gap_jitter,
            writers.kerning,
            writers.slope,
            writers.slant,
            writers.ligatures,
            writers.marks,
        )
    )
    pieces: list[Piece] = []
    for glyph in (*glyphs.numpy(), None):
        if rng.random() < (marks if len(glyphs) else 0.5):
            pieces.append(draw_mark(height, width, g).numpy())
        if glyph is not None:
            pieces.append(glyph)
    spaced = set()  # indices of pieces with a space before them
    if rng.random() < (0.06 if len(glyphs) else 0.6):
        at = 0 if rng.random() < 0.5 else len(pieces)
        pieces.insert(at, draw_word(height, width, g))
        spaced = {at, at + 1}
    room = 60 + sum(piece.shape[1] + 40 for piece in pieces)
    paper = np.zeros((LINE_HEIGHT, room), np.float32)
    start, last = rng.gauss(0.0, 1.2), 20.0
    edge = np.full(LINE_HEIGHT, -_FAR)  # per row, the last column with ink so far
    for position, drawn in enumerate(pieces):
        rows, columns = np.nonzero(drawn > 0.3)
        if not len(columns):
            continue
        top, bottom = int(rows.min()), int(rows.max())
        first, wide = int(columns.min()), int(columns.max() - columns.min()) + 1
        smaller = max(0.0, height - (bottom - top + 1)) / 2
        down = start + slope * last + rng.gauss(0.0, 0.7) + smaller * rng.uniform(-0.3, 1.0)
        piece = _shifted(drawn, round(min(LINE_HEIGHT - 1.0 - bottom, max(-top, down))))
        begin, end = _contours(piece)
        space = gap + rng.gauss(0.0, gap_jitter)
        if rng.random() < 0.04:
            space += rng.uniform(6.0, 30.0)
        if position in spaced:
            space += height * rng.uniform(0.1, 0.8)
        if rng.random() < kerning:
            space -= float((last + begin - first - edge).clip(0.0, GLYPH_WIDTH).min())
        x = last + max(space, -0.45 * wide) if position else last
        left = round(x) - first
        hidden = max(-left, 0)
        target = paper[:, left + hidden : left + piece.shape[1]]
        np.maximum(target, piece[:, hidden:], out=target)
        if position and ligatures > 0 and rng.random() < ligatures:
            _draw_ligature(paper, (last - 0.3 * wide, x + 0.3 * wide), height, width, g)
        edge = np.maximum(edge, left + end)
        last = max(last, x + wide)
    ink = _sheared(torch.from_numpy(paper), slant)
    return _cropped(ink, rng.uniform(1.0, 14.0), rng.uniform(1.0, 16.0))


def _contours(piece: Piece) -> tuple[Contour, Contour]:
    """First and last column with ink within two rows of each row; ±1e4 where there is none."""
    ink = piece > 0.3
    column = np.arange(piece.shape[1])
    return (
        _minimum_filter(np.where(ink, column, _FAR).min(1)),
        -_minimum_filter(np.where(ink, -column, _FAR).min(1)),
    )


def _minimum_filter(values: Contour) -> Contour:
    """The minimum over a window of five rows."""
    padded = np.full(len(values) + 4, _FAR)
    padded[2:-2] = values
    least: Contour = np.minimum.reduce([padded[i : len(padded) - 4 + i] for i in range(5)])
    return least


def _sheared(paper: LineInk, slant: float) -> Float32[Tensor, "32 wider"]:
    """The line slanted to the right by `slant` columns per row."""
    room = math.ceil(abs(slant) * LINE_HEIGHT / 2)
    width = paper.shape[1] + 2 * room
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(LINE_HEIGHT) - (LINE_HEIGHT - 1) / 2
    across = (x[None] + slant * y[:, None]) * (2 / paper.shape[1])
    source = torch.stack([across, (y[:, None] * (2 / LINE_HEIGHT)).expand_as(across)], -1)
    return fn.grid_sample(paper[None, None], source[None], align_corners=False)[0, 0]


def _cropped(paper: LineInk, before: float, after: float) -> Float32[Tensor, "32 kept"]:
    """The columns with ink, with margins of `before` and `after` columns; 12 columns at least."""
    columns = torch.nonzero((paper > 0.3).any(0)).flatten()
    first, last = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (30, 30)
    start, end = round(first - before), round(last + after)
    kept = paper[:, max(0, start) : end]
    return fn.pad(kept, (max(0, -start), max(0, 12 - (end - start))))


def _draw_ligature(
    paper: Piece, span: tuple[float, float], height: float, width: float, g: Generator
) -> None:
    """Draw a stroke between two digits whose pen was not lifted, at a random height, in place."""
    start, end = span
    # Nearly level: a steep stroke would be a 1.
    middle = LINE_HEIGHT / 2 + height * uniform(1, -0.45, 0.45, g)
    ends = middle + height * uniform(2, -0.1, 0.1, g)
    left = max(0, int(start) - 4)
    size = (LINE_HEIGHT, max(8, int(end) + 4 - left))
    x0, x1, y0, y1, widths = (
        torch.tensor([value])
        for value in (start - left, end - left, float(ends[0]), float(ends[1]), 0.8 * width)
    )
    target = paper[:, left : left + size[1]]
    stroke = draw_segments(x0, y0, x1, y1, widths, size=size)[0].numpy()
    np.maximum(target, stroke[:, : target.shape[1]], out=target)


def _shifted(piece: Piece, down: int) -> Piece:
    shifted = np.zeros_like(piece)
    if down > 0:
        shifted[down:] = piece[:-down]
    else:
        shifted[: len(piece) + down] = piece[-down:]
    return shifted


def _degrade(ink: Float32[Tensor, "n 32 width"], g: Generator) -> Float32[Tensor, "n 32 width"]:
    """Dry pens, low resolution, patterns and stains that show through, pale or full ink."""
    n, height, width = ink.shape
    blotch = fn.interpolate(
        torch.randn(n, 1, 9, max(3, width // 4), generator=g), size=(height, width), mode="bicubic"
    )[:, 0]
    dry = pixelwise((uniform(n, 0.0, 1.0, g) < 0.12).float() * uniform(n, 0.2, 0.7, g))
    ink = ink * (1 - dry * (blotch > 0.4))
    ink = reduce_resolution(ink, g, share=0.35)
    pattern = pixelwise((uniform(n, 0.0, 1.0, g) < 0.18).float() * uniform(n, 0.02, 0.3, g))
    fine = torch.randn(n, height, width, generator=g)
    grain = torch.where(pixelwise(uniform(n, 0.0, 1.0, g)) < 0.5, blotch, fine)
    ink = torch.maximum(ink, pattern * grain.clamp(0, 1.5))
    return jitter_contrast(ink, g).clamp(0, 1)
