"""Lines of handwritten numbers, composed from single digits: one writer, one pen, one paper.

A line is ink, float32 (32, width), 0 paper to 1 ink, as `segmentation.page` finds it on a photo,
with all the `clutter` that is left in it. All random numbers come from the generator given.
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
    as_ink,
    coarse,
    extents,
    middle_of_row,
    other_habits,
    pen,
    pixelwise,
    segment,
    thickness,
    tone,
    uniform,
)
from rowscan.training.synthesis.distractors import GLYPH, Glyphs, left_over, mark
from rowscan.training.synthesis.pen_digits import redraw_as_allographs
from rowscan.training.synthesis.pen_letters import word

_FAR = 1e4  # columns
_LENGTHS = ((0, 3), (1, 4), (3, 6), (5, 9), (8, 12))
_LENGTH_WEIGHTS = (1.5, 3.0, 4.0, 2.0, 1.0)

Line = Float32[Tensor, "32 width"]
Piece = Float32[np.ndarray, "32 width"]
Edge = Float64[np.ndarray, "32"]


@dataclass(frozen=True)
class LineBatch:
    """Composed lines, padded with paper on the right to one width."""

    ink: Float32[Tensor, "n 32 width"]
    widths: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]

    def width_buckets(self, parts: int = 4) -> Iterator["LineBatch"]:
        """The same lines, the narrowest first, in parts that hold little but what is written."""
        order = sorted(range(len(self.widths)), key=lambda line: self.widths[line])
        size = math.ceil(len(order) / parts)
        for start in range(0, len(order), size):
            part = order[start : start + size]
            widths = tuple(self.widths[line] for line in part)
            labels = tuple(self.labels[line] for line in part)
            yield LineBatch(self.ink[part, :, : max(widths)], widths, labels)

    def share(self, lines: slice) -> "LineBatch":
        """Some of the lines, no narrower than all of them were."""
        return LineBatch(self.ink[lines], self.widths[lines], self.labels[lines])


@dataclass(frozen=True)
class _Writers:
    """The habits of one writer each: tensors of one value a line.

    Lengths in pixels; `sizes` is how much those of the digits differ, `zeros` how tall a zero is
    beside them, `upright` how much of the slant that a digit came with is taken away, `tucked` how
    often a digit stands close to the ink before it and not to its box, `drawn` how many of the ten
    digits have a shape that MNIST has not, `joins` how often a digit is written on into the next,
    `marks` how often something that is no digit stands between.
    """

    height: Value
    sizes: Value
    upright: Value
    slant: Value
    stretch: Value
    pen: Value
    gap: Value
    gap_spread: Value
    tucked: Value
    slope: Value
    foreign: Value
    drawn: Value
    zeros: Value
    joins: Value
    marks: Value

    @staticmethod
    def draw(n: int, g: Generator) -> "_Writers":
        touching = uniform(n, 0.0, 1.0, g) < 0.25
        return _Writers(
            height=28.0 - 11.0 * uniform(n, 0.0, 1.0, g) ** 1.4,
            sizes=uniform(n, 0.02, 0.13, g),
            upright=torch.where(uniform(n, 0.0, 1.0, g) < 0.75, uniform(n, 0.4, 1.0, g), 0.0),
            slant=(0.08 + 0.26 * torch.randn(n, generator=g)).clamp(-0.6, 0.8),
            stretch=torch.exp(torch.randn(n, generator=g) * 0.15),
            pen=uniform(n, 1.5, 4.2, g),
            gap=torch.where(touching, uniform(n, -3.5, 0.5, g), uniform(n, 0.5, 9.0, g)),
            gap_spread=uniform(n, 0.3, 2.0, g),
            tucked=torch.where(uniform(n, 0.0, 1.0, g) < 0.5, uniform(n, 0.5, 1.0, g), 0.0),
            slope=torch.randn(n, generator=g) * 0.02,
            foreign=uniform(n, 0.0, 1.0, g),
            drawn=torch.where(uniform(n, 0.0, 1.0, g) < 0.4, uniform(n, 0.15, 1.0, g), 0.0),
            zeros=torch.where(uniform(n, 0.0, 1.0, g) < 0.25, uniform(n, 0.45, 0.9, g), 1.0),
            joins=torch.where(uniform(n, 0.0, 1.0, g) < 0.15, uniform(n, 0.3, 1.0, g), 0.0),
            marks=torch.where(uniform(n, 0.0, 1.0, g) < 0.35, uniform(n, 0.1, 0.6, g), 0.0),
        )


def compose(
    n: int,
    images: UInt8[Tensor, "m 28 28"],
    labels: Int64[Tensor, " m"],
    g: Generator,
) -> LineBatch:
    """N lines of about the same length, each by another writer.

    Args:
        n: how many lines, at least one.
        images: digits to compose them from, in MNIST's frame, and
        labels: which they are.
        g: where the random numbers come from.
    """
    group = int(torch.multinomial(torch.tensor(_LENGTH_WEIGHTS), 1, generator=g))
    fewest, most = _LENGTHS[group]
    lengths = torch.randint(fewest, most + 1, (n,), generator=g)
    lengths = torch.where(uniform(n, 0.0, 1.0, g) < 0.04, 0, lengths)
    writers = _Writers.draw(n, g)
    line_of = torch.arange(n).repeat_interleave(lengths)
    chosen = _chosen(labels, line_of, g)
    truth = labels[chosen]
    glyphs = _written(as_ink(images[chosen]), truth, line_of, writers, g)
    lines, texts = [], []
    for line in range(n):
        mine = torch.nonzero(line_of == line).flatten()
        texts.append(tuple(truth[mine].tolist()))
        lines.append(_set(glyphs[mine], line, writers, g))
    widths = tuple(line.shape[1] for line in lines)
    ink = torch.stack([fn.pad(line, (0, max(widths) - line.shape[1])) for line in lines])
    cluttered = torch.maximum(ink, left_over(n, max(widths), glyphs, g))
    papers = _paper(cluttered, g)
    inside = torch.arange(max(widths)) < torch.tensor(widths)[:, None]
    return LineBatch(papers * inside[:, None], widths, tuple(texts))


def _chosen(
    labels: Int64[Tensor, " m"], line_of: Int64[Tensor, " n"], g: Generator
) -> Int64[Tensor, " n"]:
    """Which digits of MNIST the lines are made of.

    As numbers are: digits repeat, and many end in zeros. On half of the lines the same digit is
    always written the same way.
    """
    n, lines = len(line_of), int(line_of.max()) + 1 if len(line_of) else 0
    chosen = torch.randint(0, len(labels), (n,), generator=g)
    place = torch.arange(n)
    first = line_of.diff(prepend=line_of.new_tensor([-1])) != 0
    repeated = (uniform(n, 0.0, 1.0, g) < 0.1) & ~first
    chosen = chosen[torch.where(repeated, 0, place).cummax(0).values] if n else chosen
    zeros = torch.nonzero(labels == 0).flatten()
    if n and len(zeros):
        to_the_end = torch.bincount(line_of, minlength=lines).cumsum(0)[line_of] - place
        many = torch.where(uniform(lines, 0.0, 1.0, g) < 0.18, uniform(lines, 1.0, 5.0, g), 0.0)
        round_number = ~first & (to_the_end <= many[line_of].floor())
        drawn = zeros[torch.randint(0, len(zeros), (n,), generator=g)]
        chosen = torch.where(round_number, drawn, chosen)
    of_one_hand = uniform(lines, 0.0, 1.0, g) < 0.5
    key = 10 * line_of + labels[chosen]
    leader = torch.full((10 * lines,), n).scatter_reduce(0, key, place, "amin")[key]
    return torch.where(of_one_hand[line_of], chosen[leader], chosen)


def _written(
    ink: Float32[Tensor, "n 28 28"],
    truth: Int64[Tensor, " n"],
    line_of: Int64[Tensor, " n"],
    writers: _Writers,
    g: Generator,
) -> Glyphs:
    """Each digit in its writer's hand, size and pen, standing on row 28 or so."""
    n = len(ink)
    if n == 0:
        return torch.zeros(0, LINE_HEIGHT, GLYPH)
    foreign = writers.foreign[line_of]
    ink = other_habits(ink, truth, foreign < 0.35, g)
    ink = _long_flags(ink, (truth == 1) & (foreign < 0.22), g)
    key = 10 * line_of + truth
    drawn = uniform(10 * len(writers.drawn), 0.0, 1.0, g)[key] < writers.drawn[line_of]
    ink = redraw_as_allographs(ink, truth, line_of, drawn, g)
    own = uniform(n, 0.0, 0.45, g)
    warp = Warp.draw(n, own, g)
    stretch, zero, one = writers.stretch[line_of], torch.zeros(n), torch.ones(n)
    hand = torch.stack([1 / stretch, zero, zero, one], 1).view(n, 2, 2)
    raised = torch.stack([one, writers.upright[line_of] * _slant(ink), zero, one], 1).view(n, 2, 2)
    warp = Warp(raised @ warp.matrix @ hand, warp.bend)
    draft = warp.sample(ink, torch.full((n,), 0.75), torch.zeros(n, 2))
    top, bottom, left, right = extents(draft)
    size = torch.exp(torch.randn(n, generator=g) * writers.sizes[line_of])
    size = size * torch.where(truth == 0, writers.zeros[line_of], 1.0)
    size = size * _towered_over(line_of, g)
    # As in MNIST the longer side counts, but a flat digit is no taller for being wide.
    side = torch.maximum(bottom - top + 1, 0.6 * (right - left + 1)).clamp(min=6)
    scale = 0.75 * writers.height[line_of] * size / side
    centre = torch.stack([(left + right) / 2, (top + bottom) / 2], 1) - 13.5
    shift = -centre * (scale / 0.75)[:, None]
    glyphs = warp.sample(ink, scale, shift, size=(LINE_HEIGHT, GLYPH))
    return pen(glyphs, writers.pen[line_of] + torch.randn(n, generator=g) * 0.25)


def _towered_over(line_of: Int64[Tensor, " n"], g: Generator) -> Value:
    """On a line in 16 all but one digit, mostly the first, are smaller."""
    lines = int(line_of.max()) + 1
    first = line_of.diff(prepend=line_of.new_tensor([-1])) != 0
    large = torch.where(first, 2.0, uniform(len(line_of), 0.0, 2.1, g))
    largest = torch.full((lines,), 0.0).scatter_reduce(0, line_of, large, "amax")[line_of]
    size = torch.where(uniform(lines, 0.0, 1.0, g) < 1 / 16, uniform(lines, 0.5, 0.85, g), 1.0)
    return torch.where(large < largest, size[line_of], 1.0)


def _slant(ink: Float32[Tensor, "n 28 28"]) -> Value:
    """How far a digit leans to the left: columns a row down, by its second moments."""
    place = torch.arange(ink.shape[1]) - (ink.shape[1] - 1) / 2
    mass = ink.sum((1, 2)).clamp(min=1e-3)
    x, y = ink.sum(1) @ place / mass, ink.sum(2) @ place / mass
    down = ink.sum(2) @ place.square() / mass - y * y
    both = torch.einsum("nyx,y,x->n", ink, place, place) / mass - x * y
    return (both / down.clamp(min=1)).clamp(-0.7, 0.7)


def _long_flags(
    ink: Float32[Tensor, "n 28 28"], chosen: Bool[Tensor, " n"], g: Generator
) -> Float32[Tensor, "n 28 28"]:
    """Where chosen, an upstroke nearly as long as the stem: the 1 that looks like a roof."""
    n = len(ink)
    top, bottom, _, _ = extents(ink)
    x = middle_of_row(ink, top + 1)
    length = (bottom - top) * uniform(n, 0.5, 1.0, g)
    angle = uniform(n, 0.3, 0.7, g)  # radians from the vertical
    across, down = length * angle.sin(), length * angle.cos()
    flag = segment(x, top + 0.5, x - across, top + 0.5 + down, thickness(ink))
    return torch.maximum(ink, flag * pixelwise(chosen.float()))


def _set(glyphs: Glyphs, line: int, writers: _Writers, g: Generator) -> Line:
    """One line: its digits, and between them gaps and marks."""
    own = Random(int(torch.randint(2**62, (), generator=g)))  # quicker for single numbers
    height, width, gap, spread, tucked, slope, slant, joins, marks = (
        float(values[line])
        for values in (
            writers.height,
            writers.pen,
            writers.gap,
            writers.gap_spread,
            writers.tucked,
            writers.slope,
            writers.slant,
            writers.joins,
            writers.marks,
        )
    )
    pieces: list[Piece] = []
    for glyph in (*glyphs.numpy(), None):
        if own.random() < (marks if len(glyphs) else 0.5):
            pieces.append(mark(height, width, g).numpy())
        if glyph is not None:
            pieces.append(glyph)
    apart = set()  # pieces with a space before them
    if own.random() < (0.06 if len(glyphs) else 0.6):
        at = 0 if own.random() < 0.5 else len(pieces)
        pieces.insert(at, word(height, width, g))
        apart = {at, at + 1}
    room = 60 + sum(piece.shape[1] + 40 for piece in pieces)
    paper = np.zeros((LINE_HEIGHT, room), np.float32)
    start, last = own.gauss(0.0, 1.2), 20.0
    edge = np.full(LINE_HEIGHT, -_FAR)  # the last column with ink so far, row by row
    for place, drawn in enumerate(pieces):
        rows, columns = np.nonzero(drawn > 0.3)
        if not len(columns):
            continue
        top, bottom = int(rows.min()), int(rows.max())
        first, wide = int(columns.min()), int(columns.max() - columns.min()) + 1
        smaller = max(0.0, height - (bottom - top + 1)) / 2
        down = start + slope * last + own.gauss(0.0, 0.7) + smaller * own.uniform(-0.3, 1.0)
        piece = _moved(drawn, round(min(LINE_HEIGHT - 1.0 - bottom, max(-top, down))))
        begin, end = _profile(piece)
        space = gap + own.gauss(0.0, spread)
        if own.random() < 0.04:
            space += own.uniform(6.0, 30.0)
        if place in apart:
            space += height * own.uniform(0.1, 0.8)
        if own.random() < tucked:
            space -= float((last + begin - first - edge).clip(0.0, GLYPH).min())
        x = last + max(space, -0.45 * wide) if place else last
        left = round(x) - first
        hidden = max(-left, 0)
        target = paper[:, left + hidden : left + piece.shape[1]]
        np.maximum(target, piece[:, hidden:], out=target)
        if place and joins > 0 and own.random() < joins:
            _join(paper, (last - 0.3 * wide, x + 0.3 * wide), height, width, g)
        edge = np.maximum(edge, left + end)
        last = max(last, x + wide)
    line_of_ink = _leaning(torch.from_numpy(paper), slant)
    return _trimmed(line_of_ink, own.uniform(1.0, 14.0), own.uniform(1.0, 16.0))


def _profile(piece: Piece) -> tuple[Edge, Edge]:
    """First and last column with ink in or near each row; far outside where there is none."""
    there = piece > 0.3
    place = np.arange(piece.shape[1])
    return (
        _least_near(np.where(there, place, _FAR).min(1)),
        -_least_near(np.where(there, -place, _FAR).min(1)),
    )


def _least_near(values: Edge) -> Edge:
    """At each row the least of the five around it."""
    padded = np.full(len(values) + 4, _FAR)
    padded[2:-2] = values
    least: Edge = np.minimum.reduce([padded[i : len(padded) - 4 + i] for i in range(5)])
    return least


def _leaning(paper: Line, slant: float) -> Float32[Tensor, "32 wider"]:
    """All of a line leaning to the right, by so many columns a row."""
    room = math.ceil(abs(slant) * LINE_HEIGHT / 2)
    width = paper.shape[1] + 2 * room
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(LINE_HEIGHT) - (LINE_HEIGHT - 1) / 2
    across = (x[None] + slant * y[:, None]) * (2 / paper.shape[1])
    places = torch.stack([across, (y[:, None] * (2 / LINE_HEIGHT)).expand_as(across)], -1)
    return fn.grid_sample(paper[None, None], places[None], align_corners=False)[0, 0]


def _trimmed(paper: Line, before: float, after: float) -> Float32[Tensor, "32 kept"]:
    """The columns with ink, and so much paper before and after them."""
    columns = torch.nonzero((paper > 0.3).any(0)).flatten()
    first, last = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (30, 30)
    start, end = round(first - before), round(last + after)
    kept = paper[:, max(0, start) : end]
    return fn.pad(kept, (max(0, -start), max(0, 12 - (end - start))))


def _join(
    paper: Piece, span: tuple[float, float], height: float, width: float, g: Generator
) -> None:
    """A stroke of the pen that was not lifted from one digit to the next, at any height."""
    start, end = span
    # Nearly level: a steep stroke would be a 1.
    middle = LINE_HEIGHT / 2 + height * uniform(1, -0.45, 0.45, g)
    places = middle + height * uniform(2, -0.1, 0.1, g)
    left = max(0, int(start) - 4)
    size = (LINE_HEIGHT, max(8, int(end) + 4 - left))
    x0, x1, y0, y1, pens = (
        torch.tensor([value])
        for value in (start - left, end - left, float(places[0]), float(places[1]), 0.8 * width)
    )
    target = paper[:, left : left + size[1]]
    stroke = segment(x0, y0, x1, y1, pens, size=size)[0].numpy()
    np.maximum(target, stroke[:, : target.shape[1]], out=target)


def _moved(piece: Piece, down: int) -> Piece:
    moved = np.zeros_like(piece)
    if down > 0:
        moved[down:] = piece[:-down]
    else:
        moved[: len(piece) + down] = piece[-down:]
    return moved


def _paper(ink: Float32[Tensor, "n 32 width"], g: Generator) -> Float32[Tensor, "n 32 width"]:
    """Dry pens, few pixels, patterns and stains that show through, pale or full ink."""
    n, height, width = ink.shape
    blotch = fn.interpolate(
        torch.randn(n, 1, 9, max(3, width // 4), generator=g), size=(height, width), mode="bicubic"
    )[:, 0]
    dry = pixelwise((uniform(n, 0.0, 1.0, g) < 0.12).float() * uniform(n, 0.2, 0.7, g))
    ink = ink * (1 - dry * (blotch > 0.4))
    ink = coarse(ink, g, share=0.35)
    pattern = pixelwise((uniform(n, 0.0, 1.0, g) < 0.18).float() * uniform(n, 0.02, 0.3, g))
    fine = torch.randn(n, height, width, generator=g)
    grain = torch.where(pixelwise(uniform(n, 0.0, 1.0, g)) < 0.5, blotch, fine)
    ink = torch.maximum(ink, pattern * grain.clamp(0, 1.5))
    return tone(ink, g).clamp(0, 1)
