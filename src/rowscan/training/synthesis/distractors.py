"""Clutter: what is in a line of ink and is not to be read.

Marks of the same pen between digits, and what the search for ink leaves of rulings, frames and
neighbouring writing. All random numbers come from the generator given.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional as fn

from rowscan.arrays import Float32
from rowscan.scans import LINE_HEIGHT
from rowscan.training.synthesis.augmentation import pixelwise, segment, uniform

GLYPH = 44
"""Columns that a single digit or mark is drawn in."""

Glyphs = Float32[Tensor, "glyphs 32 44"]


def mark(height: float, width: float, g: Generator) -> Float32[Tensor, "32 44"]:
    """A dot, comma, dash, pair of dashes, cross, scrawl, or bit of a word: not to be read."""
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
        reach, lean = (0.2 + 0.2 * a) * height, (b - 0.5) * height
        strokes = [
            (20 - reach, middle - lean, 20 + reach, middle + lean),
            (20 + lean, middle - reach, 20 - lean, middle + reach),
        ]
    elif kind < 0.86:
        # The humps of small letters, as in "num": up and down, leaning, all about as high.
        humps = 4 + int(5 * a)
        tall, wide = (0.25 + 0.3 * b) * height, 2.0 + 3.0 * c
        points = uniform(2 * humps, -0.15, 0.15, g).view(humps, 2)
        low = bottom - 1 - 3 * float(points[0, 0])
        xs = [4 + i * wide + wide * float(points[i, 0]) for i in range(humps)]
        ys = [low - (i % 2) * tall + tall * float(points[i, 1]) for i in range(humps)]
        strokes = [(xs[i], ys[i], xs[i + 1], ys[i + 1]) for i in range(humps - 1)]
    else:
        # To and fro more often than any digit does.
        points = uniform(18, 0.15, 0.85, g).view(9, 2)
        xs = [10 + 22 * float(x) for x in points[:, 0]]
        ys = [middle + height * (float(y) - 0.5) for y in points[:, 1]]
        strokes = [(xs[i], ys[i], xs[i + 1], ys[i + 1]) for i in range(5 + int(4 * c))]
        width *= 1 + 2 * max(0.0, a - 0.6)
    x0, y0, x1, y1 = torch.tensor(strokes, dtype=torch.float32).unbind(1)
    pens = torch.full((len(strokes),), width)
    drawn = segment(x0, y0, x1, y1, pens, size=(LINE_HEIGHT, GLYPH))
    return drawn.amax(0)


def left_over(n: int, width: int, glyphs: Glyphs, g: Generator) -> Float32[Tensor, "n 32 width"]:
    """What the search for ink leaves of rulings, frames and neighbouring writing."""
    size = (LINE_HEIGHT, width)
    over = torch.zeros(n, *size)
    ends, zero = torch.full((n,), float(width)), torch.zeros(n)
    thick = uniform(n, 0.6, 2.2, g)
    level = pixelwise(uniform(n, 0.3, 1.0, g))
    worn = _worn(n, size, g)
    for share, low, high in ((0.25, 24.0, 31.0), (0.1, 0.0, 6.0), (0.05, 8.0, 24.0)):
        there = pixelwise((uniform(n, 0.0, 1.0, g) < share).float())
        y, rise = uniform(n, low, high, g), torch.randn(n, generator=g) * 0.7
        over = torch.maximum(
            over, there * level * worn * segment(zero, y - rise, ends, y + rise, thick, size=size)
        )
    # An upright rule, all the way from top to bottom, and before the line alone: elsewhere it
    # would teach the network to overlook a 1.
    there = pixelwise((uniform(n, 0.0, 1.0, g) < 0.05).float())
    x, lean = uniform(n, 0.0, 1.5, g), torch.randn(n, generator=g) * 0.5
    stroke = segment(x - lean, zero - 2, x + lean, zero + LINE_HEIGHT + 2, thick, size=size)
    over = torch.maximum(over, there * level * worn * stroke)
    if len(glyphs):
        _neighbours(over, glyphs, g)
    return over


def _neighbours(over: Float32[Tensor, "n 32 width"], glyphs: Glyphs, g: Generator) -> None:
    """Tips of the writing above and below, and slices of what stands beside."""
    n, _, width = over.shape
    for line in torch.nonzero(uniform(n, 0.0, 1.0, g) < 0.2).flatten().tolist():
        for _ in range(int(torch.randint(1, 4, (), generator=g))):
            glyph = glyphs[int(torch.randint(0, len(glyphs), (), generator=g))]
            shown = int(torch.randint(2, 7, (), generator=g))
            rows = torch.nonzero((glyph > 0.3).any(1)).flatten()
            if not len(rows):
                continue
            left = int(torch.randint(-20, max(width - 20, -19), (), generator=g))
            a, b = max(left, 0), min(left + GLYPH, width)
            if b <= a:
                continue
            part = glyph[:, a - left : b - left]
            if float(torch.rand((), generator=g)) < 0.5:
                part = part[int(rows[-1]) + 1 - shown : int(rows[-1]) + 1]
                target = over[line, : len(part), a:b]
            else:
                part = part[int(rows[0]) : int(rows[0]) + shown]
                target = over[line, LINE_HEIGHT - len(part) :, a:b]
            target.copy_(torch.maximum(target, part))


def _worn(n: int, size: tuple[int, int], g: Generator) -> Float32[Tensor, "n 32 width"]:
    """1 where a ruling is left, 0 where it was found and removed: in runs along the line."""
    runs = torch.randn(n, 1, 1, max(4, size[1] // 12), generator=g)
    along = fn.interpolate(runs, size=(1, size[1]), mode="bicubic")[:, 0]
    return (2 * along + pixelwise(uniform(n, -2.0, 3.0, g))).clamp(0, 1).expand(n, *size)
