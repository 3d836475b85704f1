"""Distractors: ink in a line that is not part of the number and must not be read.

Marks by the same pen between digits, and what page segmentation leaves of ruled lines, frames and
neighbouring writing. Words are in `pen_letters`. All random numbers come from the given generator.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional as fn

from rowscan.arrays import Float32
from rowscan.scans import LINE_HEIGHT
from rowscan.training.synthesis.augmentation import draw_segments, pixelwise, uniform

GLYPH_WIDTH = 44
"""Columns of the image that a single digit or mark is drawn in."""

Glyphs = Float32[Tensor, "glyphs 32 44"]


def draw_mark(height: float, width: float, g: Generator) -> Float32[Tensor, "32 44"]:
    """A dot, comma, dash, pair of dashes, cross, word fragment or zigzag, next to such digits."""
    bottom, middle = LINE_HEIGHT / 2 + height / 2, LINE_HEIGHT / 2
    kind = float(torch.rand((), generator=g))
    a, b, c = (float(value) for value in torch.rand(3, generator=g))
    strokes: list[tuple[float, float, float, float]]
    if kind < 0.22:
        strokes = [(20, bottom - 1, 20 + a, bottom - 1)]
        width *= 1 + 0.5 * b
    elif kind < 0.4:
        strokes = [(21, bottom - 2, 19 - 2 * a, bottom + 2 + 2 * b)]
    elif kind < 0.58:
        strokes = [(16 - 5 * a, middle + 4 * c - 2, 24 + 5 * b, middle + 3 * c - 2)]
    elif kind < 0.66:
        strokes = [
            (15, middle - 2 - 2 * a, 26 + 3 * b, middle - 3),
            (15, middle + 3, 26, middle + 3 + c),
        ]
    elif kind < 0.72:
        arm, lean = (0.2 + 0.2 * a) * height, (b - 0.5) * height
        strokes = [
            (20 - arm, middle - lean, 20 + arm, middle + lean),
            (20 + lean, middle - arm, 20 - lean, middle + arm),
        ]
    elif kind < 0.86:
        # The arches of small letters, as in "num": alternating, slanted, of similar height.
        arches = 4 + int(5 * a)
        tall, wide = (0.25 + 0.3 * b) * height, 2.0 + 3.0 * c
        points = uniform(2 * arches, -0.15, 0.15, g).view(arches, 2)
        low = bottom - 1 - 3 * float(points[0, 0])
        xs = [4 + i * wide + wide * float(points[i, 0]) for i in range(arches)]
        ys = [low - (i % 2) * tall + tall * float(points[i, 1]) for i in range(arches)]
        strokes = [(xs[i], ys[i], xs[i + 1], ys[i + 1]) for i in range(arches - 1)]
    else:
        # A zigzag with more turns than any digit.
        points = uniform(18, 0.15, 0.85, g).view(9, 2)
        xs = [10 + 22 * float(x) for x in points[:, 0]]
        ys = [middle + height * (float(y) - 0.5) for y in points[:, 1]]
        strokes = [(xs[i], ys[i], xs[i + 1], ys[i + 1]) for i in range(5 + int(4 * c))]
        width *= 1 + 2 * max(0.0, a - 0.6)
    x0, y0, x1, y1 = torch.tensor(strokes, dtype=torch.float32).unbind(1)
    widths = torch.full((len(strokes),), width)
    drawn = draw_segments(x0, y0, x1, y1, widths, size=(LINE_HEIGHT, GLYPH_WIDTH))
    return drawn.amax(0)


def draw_residue(n: int, width: int, glyphs: Glyphs, g: Generator) -> Float32[Tensor, "n 32 width"]:
    """What page segmentation leaves of ruled lines, frames and neighbouring writing."""
    size = (LINE_HEIGHT, width)
    residue = torch.zeros(n, *size)
    ends, zero = torch.full((n,), float(width)), torch.zeros(n)
    thickness = uniform(n, 0.6, 2.2, g)
    level = pixelwise(uniform(n, 0.3, 1.0, g))
    remains = _remains_mask(n, size, g)
    for share, low, high in ((0.25, 24.0, 31.0), (0.1, 0.0, 6.0), (0.05, 8.0, 24.0)):
        present = pixelwise((uniform(n, 0.0, 1.0, g) < share).float())
        y, rise = uniform(n, low, high, g), torch.randn(n, generator=g) * 0.7
        ruling = draw_segments(zero, y - rise, ends, y + rise, thickness, size=size)
        residue = torch.maximum(residue, present * level * remains * ruling)
    # A vertical frame line runs from top to bottom and stands before the number only: elsewhere it
    # would teach the network to ignore a 1.
    present = pixelwise((uniform(n, 0.0, 1.0, g) < 0.05).float())
    x, lean = uniform(n, 0.0, 1.5, g), torch.randn(n, generator=g) * 0.5
    bar = draw_segments(x - lean, zero - 2, x + lean, zero + LINE_HEIGHT + 2, thickness, size=size)
    residue = torch.maximum(residue, present * level * remains * bar)
    if len(glyphs):
        _add_neighbours(residue, glyphs, g)
    return residue


def _add_neighbours(residue: Float32[Tensor, "n 32 width"], glyphs: Glyphs, g: Generator) -> None:
    """Add the ends of strokes from the text lines above and below, in place."""
    n, _, width = residue.shape
    for line in torch.nonzero(uniform(n, 0.0, 1.0, g) < 0.2).flatten().tolist():
        for _ in range(int(torch.randint(1, 4, (), generator=g))):
            glyph = glyphs[int(torch.randint(0, len(glyphs), (), generator=g))]
            shown = int(torch.randint(2, 7, (), generator=g))
            rows = torch.nonzero((glyph > 0.3).any(1)).flatten()
            if not len(rows):
                continue
            left = int(torch.randint(-20, max(width - 20, -19), (), generator=g))
            a, b = max(left, 0), min(left + GLYPH_WIDTH, width)
            if b <= a:
                continue
            part = glyph[:, a - left : b - left]
            if float(torch.rand((), generator=g)) < 0.5:
                part = part[int(rows[-1]) + 1 - shown : int(rows[-1]) + 1]
                target = residue[line, : len(part), a:b]
            else:
                part = part[int(rows[0]) : int(rows[0]) + shown]
                target = residue[line, LINE_HEIGHT - len(part) :, a:b]
            target.copy_(torch.maximum(target, part))


def _remains_mask(n: int, size: tuple[int, int], g: Generator) -> Float32[Tensor, "n 32 width"]:
    """1 where a ruled line remains, 0 where it was detected and removed: in runs along the line."""
    runs = torch.randn(n, 1, 1, max(4, size[1] // 12), generator=g)
    along = fn.interpolate(runs, size=(1, size[1]), mode="bicubic")[:, 0]
    return (2 * along + pixelwise(uniform(n, -2.0, 3.0, g))).clamp(0, 1).expand(n, *size)
