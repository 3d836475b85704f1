"""Pictures of no digit, drawn at random or made from digits, so that the network learns to say so.

Nothing here is a picture of any thing: shapes, strokes, noise and broken digits stand for all that
one may hold before a reader of digits.
"""

from collections.abc import Callable

import torch
from torch import Generator
from torch.nn import functional as fn

from rowscan.arrays import Int64, UInt8
from rowscan.segmentation.digit import SIZE
from rowscan.training.synthesis.augmentation import (
    Ink,
    as_ink,
    extents,
    into_frame,
    pixelwise,
    segment,
    thickness,
    uniform,
    within,
)

_SAME_WHEN_TURNED = (0, 1, 8)
_OTHER_WHEN_MIRRORED = (2, 5)


def draw_negatives(
    n: int, images: UInt8[torch.Tensor, "m 28 28"], labels: Int64[torch.Tensor, " m"], g: Generator
) -> Ink:
    """Ink (n, 28, 28) of no digit; `images` of digits serve as material.

    Args:
        n: how many pictures.
        images: some digits, at least one, and
        labels: which they are.
        g: where the random numbers come from.
    """
    if n == 0:
        return torch.zeros(0, SIZE, SIZE)
    material = torch.randint(0, len(images), (n,), generator=g)
    ink, truth = as_ink(images[material]), labels[material]
    weights = torch.tensor([weight for weight, _, _ in _KINDS])
    kind = torch.multinomial(weights, n, replacement=True, generator=g)
    pictures = torch.zeros(n, SIZE, SIZE)
    for index, (_, framed, draw) in enumerate(_KINDS):
        here = torch.nonzero(kind == index).flatten()
        if not len(here):
            continue
        drawn = draw(ink[here], truth[here], g)
        # A reader brings what it is given to MNIST's frame, but not everything comes through it.
        some = torch.nonzero(uniform(len(here), 0.0, 1.0, g) < framed).flatten()
        if len(some):
            drawn[some] = into_frame(drawn[some], g, strength=torch.zeros(len(some)))
        pictures[here] = drawn
    return pictures


def _blobs(ink: Ink, _: Int64[torch.Tensor, " n"], g: Generator) -> Ink:
    """Filled, shaded things, half of them with the same left and right side, as many things are."""
    n = len(ink)
    shape, shade = _waves(n, g), _waves(n, g)
    mirrored = pixelwise(uniform(n, 0.0, 1.0, g)) < 0.5
    shape = torch.where(mirrored, (shape + shape.flip(2)) / 2, shape)
    shade = torch.where(mirrored, (shade + shade.flip(2)) / 2, shade)
    place = torch.linspace(-1, 1, SIZE).abs()
    height, width = pixelwise(uniform(n, 0.3, 1.1, g)), pixelwise(uniform(n, 0.3, 1.1, g))
    corner = pixelwise(uniform(n, 1.0, 6.0, g))  # from a lozenge over an ellipse to a rectangle
    edge = 1 - (place[None, :, None] / height) ** corner - (place[None, None, :] / width) ** corner
    rough = 4 * edge + shape * pixelwise(uniform(n, 0.0, 2.5, g))
    inside = (rough * pixelwise(uniform(n, 1.0, 6.0, g))).clamp(0, 1)
    level = pixelwise(uniform(n, 0.3, 1.1, g)) + shade * pixelwise(uniform(n, 0.0, 0.4, g))
    return inside * level.clamp(0, 1)


def _waves(n: int, g: Generator) -> Ink:
    """Smooth noise about zero."""
    knots = int(torch.randint(2, 9, (), generator=g))
    coarse = torch.randn(n, 1, knots, knots, generator=g)
    return fn.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=True)[:, 0]


def _pieces(ink: Ink, _: Int64[torch.Tensor, " n"], g: Generator) -> Ink:
    """One to four filled rectangles and ellipses over each other."""
    n = len(ink)
    picture = torch.zeros(n, SIZE, SIZE)
    place = torch.arange(SIZE) - (SIZE - 1) / 2
    for share in (1.0, 0.7, 0.5, 0.3):
        there = uniform(n, 0.0, 1.0, g) < share
        turn = pixelwise(uniform(n, -0.6, 0.6, g))
        x = place[None, None, :] - pixelwise(uniform(n, -7.0, 7.0, g))
        y = place[None, :, None] - pixelwise(uniform(n, -7.0, 7.0, g))
        across = (x * turn.cos() + y * turn.sin()) / pixelwise(uniform(n, 2.0, 10.0, g))
        down = (y * turn.cos() - x * turn.sin()) / pixelwise(uniform(n, 2.0, 13.0, g))
        corner = torch.where(pixelwise(uniform(n, 0.0, 1.0, g)) < 0.5, 2.0, 8.0)
        inside = ((1 - across.abs() ** corner - down.abs() ** corner) * 4).clamp(0, 1)
        level = pixelwise(uniform(n, 0.3, 1.0, g) * there)
        picture = torch.maximum(picture, inside * level)
    return picture


def _scribble(ink: Ink, _: Int64[torch.Tensor, " n"], g: Generator) -> Ink:
    """Two to five curved strokes of one pen, or three to five straight ones; a few are letters."""
    n = len(ink)
    picture = torch.zeros(n, SIZE, SIZE)
    width = uniform(n, 1.2, 3.5, g)
    straight = uniform(n, 0.0, 1.0, g) < 0.4
    strokes = torch.maximum(torch.randint(1, 6, (n,), generator=g), torch.where(straight, 3, 2))
    t = torch.linspace(0, 1, 9)
    # A cubic Bézier curve between the first and the last of four points.
    curve = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    for stroke in range(5):
        ends = uniform(8 * n, 3.0, SIZE - 3.0, g).view(n, 2, 4)
        line = torch.lerp(ends[:, :, :1], ends[:, :, 3:], torch.linspace(0, 1, 4))
        x, y = (torch.where(straight[:, None, None], line, ends) @ curve).unbind(1)
        pen = torch.where(stroke < strokes, width, -2)  # of such width nothing is drawn
        for i in range(len(t) - 1):
            piece = segment(x[:, i], y[:, i], x[:, i + 1], y[:, i + 1], pen)
            picture = torch.maximum(picture, piece)
    return picture


def _noise(ink: Ink, _: Int64[torch.Tensor, " n"], g: Generator) -> Ink:
    n = len(ink)
    grey = torch.rand(n, SIZE, SIZE, generator=g)
    density = pixelwise(uniform(n, 0.0, 1.0, g))
    specks = (grey < density) * pixelwise(uniform(n, 0.3, 1.0, g))
    soft = fn.avg_pool2d(fn.pad(specks[:, None], (1, 1, 1, 1)), 3, 1)[:, 0]
    draw = pixelwise(uniform(n, 0.0, 1.0, g))
    return torch.where(draw < 0.3, grey * density, torch.where(draw < 0.65, specks, soft))


def _paper(ink: Ink, _: Int64[torch.Tensor, " n"], g: Generator) -> Ink:
    """Nothing, specks, one grey level, or light that falls from a side."""
    n = len(ink)
    down, right, level = (pixelwise(uniform(n, -1.0, 1.0, g)) for _ in range(3))
    place = torch.linspace(-1, 1, SIZE)
    light = (down * place[:, None] + right * place + level).clamp(0, 1)
    specks = (torch.rand(n, SIZE, SIZE, generator=g) < 0.01).float()
    draw = pixelwise(uniform(n, 0.0, 1.0, g))
    some = torch.where(draw < 0.5, level.abs(), torch.where(draw < 0.7, specks, 0))
    return torch.where(draw < 0.3, light, some)


def _two_digits(ink: Ink, _: Int64[torch.Tensor, " n"], g: Generator) -> Ink:
    """Two digits side by side, or one above the other."""
    n = len(ink)
    scale = uniform(n, 0.4, 0.75, g)
    apart = scale * uniform(n, 6.0, 11.0, g)
    above = uniform(n, 0.0, 1.0, g) < 0.2
    right = torch.where(above, 0, apart)
    down = torch.where(above, apart, uniform(n, -2.0, 2.0, g))
    other = ink.roll(1, 0)
    other_scale = scale * uniform(n, 0.8, 1.2, g)
    return torch.maximum(
        _smaller(ink, scale, -right, -down), _smaller(other, other_scale, right, down)
    )


def _smaller(
    ink: Ink,
    scale: torch.Tensor,
    right: torch.Tensor,
    down: torch.Tensor,
) -> Ink:
    zero = torch.zeros_like(scale)
    # From places in the result to places in the original, both -1 to 1.
    rows = [1 / scale, zero, -2 * right / SIZE / scale, zero, 1 / scale, -2 * down / SIZE / scale]
    places = fn.affine_grid(
        torch.stack(rows, 1).view(-1, 2, 3), [len(ink), 1, SIZE, SIZE], align_corners=False
    )
    return fn.grid_sample(ink[:, None], places, align_corners=False)[:, 0]


def _half(ink: Ink, labels: Int64[torch.Tensor, " n"], g: Generator) -> Ink:
    """About half of a digit; a 1, of which any part is a 1, gets a stroke across."""
    n = len(ink)
    top, bottom, left, right = extents(ink)
    side = torch.randint(0, 4, (n,), generator=g)
    part = uniform(n, 0.4, 0.62, g)
    row, column = top + part * (bottom - top), left + part * (right - left)
    piece = ink * within(
        torch.where(side == 0, row, top),
        torch.where(side == 1, row, bottom),
        torch.where(side == 2, column, left),
        torch.where(side == 3, column, right),
    )
    y = (top + bottom) / 2
    crossed = torch.maximum(ink, segment(left - 6, y, right + 6, y, thickness(ink)))
    return torch.where(pixelwise(labels == 1), crossed, piece)


def _turned(ink: Ink, labels: Int64[torch.Tensor, " n"], g: Generator) -> Ink:
    """Lying on its side or seen in a mirror; those that stay digits then, in pieces instead."""
    mirrored = bool(torch.rand((), generator=g) < 0.4)
    turned = ink.flip(2) if mirrored else ink.rot90(1, (1, 2))
    digits = _SAME_WHEN_TURNED + (_OTHER_WHEN_MIRRORED if mirrored else ())
    still = torch.isin(labels, torch.tensor(digits))
    return torch.where(pixelwise(still), _in_pieces(ink, labels, g), turned)


def _in_pieces(ink: Ink, _: Int64[torch.Tensor, " n"], g: Generator) -> Ink:
    """Cut into 4 × 4 squares that lie in another order."""
    across, side = 4, SIZE // 4
    squares = ink.view(-1, across, side, across, side).transpose(2, 3).flatten(1, 2)
    mixed = squares[:, torch.randperm(across * across, generator=g)]
    return mixed.view(-1, across, across, side, side).transpose(2, 3).reshape(-1, SIZE, SIZE)


def _negative(ink: Ink, _: Int64[torch.Tensor, " n"], __: Generator) -> Ink:
    """Paper for ink and ink for paper."""
    return 1 - ink


_KINDS: tuple[tuple[float, float, Callable[..., Ink]], ...] = (
    (3.0, 0.5, _blobs),
    (2.5, 0.5, _pieces),
    (4.0, 0.8, _scribble),
    (1.0, 0.0, _noise),
    (0.7, 0.0, _paper),
    (2.5, 0.9, _two_digits),
    (2.0, 0.7, _half),
    (1.5, 0.7, _turned),
    (0.7, 0.5, _in_pieces),
    (0.8, 0.0, _negative),
)
"""How often each kind is drawn, and which share of it is brought to MNIST's frame."""
