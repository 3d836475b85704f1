"""Negatives: synthetic images that show no digit, which the network learns to reject.

They are not pictures of real objects: shapes, strokes, noise and damaged digits stand for
everything that may be put before a digit recognizer.
"""

import functools
from collections.abc import Callable

import torch
from torch import Generator
from torch.nn import functional as fn

from rowscan.arrays import Bool, Int64, UInt8
from rowscan.segmentation.digit import SIZE
from rowscan.training.synthesis.augmentation import (
    InkBatch,
    as_ink,
    bounding_boxes,
    deform_and_normalise,
    draw_segments,
    pixelwise,
    rectangle_mask,
    stroke_width,
    uniform,
)

_STILL_DIGITS = (0, 1, 8)  # when turned by 90 degrees or mirrored
_STILL_DIGITS_MIRRORED = (2, 5)


def draw_negatives(
    n: int,
    images: UInt8[torch.Tensor, "m 28 28"],
    labels: Int64[torch.Tensor, " m"],
    g: Generator,
    *,
    static: bool = False,
) -> InkBatch:
    """Random negatives, (n, 28, 28), some of them made from digits.

    Args:
        n: number of negatives.
        images: digits to make them from, at least one.
        labels: the classes of `images`, 0 to 9.
        g: source of all random numbers.
        static: as in `augmentation`: draws all kinds for each.
    """
    if n == 0:
        return torch.zeros(0, SIZE, SIZE)
    index = torch.randint(0, len(images), (n,), generator=g)
    ink, digits = as_ink(images[index]), labels[index]
    if static:
        return _drawn_statically(ink, digits, g)
    weights = torch.tensor([weight for weight, _, _ in _KINDS])
    kind = torch.multinomial(weights, n, replacement=True, generator=g)
    negatives = torch.zeros(n, SIZE, SIZE)
    for i, (_, normalised, draw) in enumerate(_KINDS):
        here = torch.nonzero(kind == i).flatten()
        if not len(here):
            continue
        drawn = draw(ink[here], digits[here], g)
        # `Reader` normalises its input to MNIST's frame; other callers of the model do not.
        some = torch.nonzero(uniform(len(here), 0.0, 1.0, g) < normalised).flatten()
        if len(some):
            drawn[some] = deform_and_normalise(drawn[some], g, strength=torch.zeros(len(some)))
        negatives[here] = drawn
    return negatives


def _drawn_statically(ink: InkBatch, digits: Int64[torch.Tensor, " n"], g: Generator) -> InkBatch:
    n, all_weights = len(ink), sum(weight for weight, _, _ in _KINDS)
    draw, draw_again = (pixelwise(uniform(n, 0.0, 1.0, g)) for _ in range(2))
    negatives, normalise = torch.zeros(n, SIZE, SIZE), torch.zeros(n, 1, 1, dtype=torch.bool)
    below = 0.0
    for weight, normalised, paint in _KINDS:
        here = draw >= below
        below += weight / all_weights
        negatives = torch.where(here, paint(ink, digits, g), negatives)
        normalise = torch.where(here, draw_again < normalised, normalise)
    framed = deform_and_normalise(negatives, g, strength=torch.zeros(n))
    return torch.where(normalise, framed, negatives)


def _blobs(ink: InkBatch, _: Int64[torch.Tensor, " n"], g: Generator) -> InkBatch:
    """Filled, shaded shapes; half of them are mirror-symmetric, like many objects."""
    n = len(ink)
    shape, shade = _smooth_noise(n, g), _smooth_noise(n, g)
    mirrored = pixelwise(uniform(n, 0.0, 1.0, g)) < 0.5
    shape = torch.where(mirrored, (shape + shape.flip(2)) / 2, shape)
    shade = torch.where(mirrored, (shade + shade.flip(2)) / 2, shade)
    axis = torch.linspace(-1, 1, SIZE).abs()
    height, width = pixelwise(uniform(n, 0.3, 1.1, g)), pixelwise(uniform(n, 0.3, 1.1, g))
    corner = pixelwise(uniform(n, 1.0, 6.0, g))  # superellipse: diamond, ellipse, rectangle
    edge = 1 - (axis[None, :, None] / height) ** corner - (axis[None, None, :] / width) ** corner
    rough = 4 * edge + shape * pixelwise(uniform(n, 0.0, 2.5, g))
    inside = (rough * pixelwise(uniform(n, 1.0, 6.0, g))).clamp(0, 1)
    level = pixelwise(uniform(n, 0.3, 1.1, g)) + shade * pixelwise(uniform(n, 0.0, 0.4, g))
    return inside * level.clamp(0, 1)


def _smooth_noise(n: int, g: Generator) -> InkBatch:
    """Low-frequency noise with zero mean."""
    knots = pixelwise(torch.randint(2, 9, (n,), generator=g))
    noise = torch.zeros(n, SIZE, SIZE)
    for k in range(2, 9):
        coarse = torch.randn(n, 1, k, k, generator=g)
        fine = fn.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=True)
        noise = torch.where(knots == k, fine[:, 0], noise)
    return noise


def _shapes(ink: InkBatch, _: Int64[torch.Tensor, " n"], g: Generator) -> InkBatch:
    """One to four overlapping filled rectangles and ellipses."""
    n = len(ink)
    picture = torch.zeros(n, SIZE, SIZE)
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    for share in (1.0, 0.7, 0.5, 0.3):
        present = uniform(n, 0.0, 1.0, g) < share
        turn = pixelwise(uniform(n, -0.6, 0.6, g))
        x = axis[None, None, :] - pixelwise(uniform(n, -7.0, 7.0, g))
        y = axis[None, :, None] - pixelwise(uniform(n, -7.0, 7.0, g))
        across = (x * turn.cos() + y * turn.sin()) / pixelwise(uniform(n, 2.0, 10.0, g))
        down = (y * turn.cos() - x * turn.sin()) / pixelwise(uniform(n, 2.0, 13.0, g))
        corner = torch.where(pixelwise(uniform(n, 0.0, 1.0, g)) < 0.5, 2.0, 8.0)
        inside = ((1 - across.abs() ** corner - down.abs() ** corner) * 4).clamp(0, 1)
        level = pixelwise(uniform(n, 0.3, 1.0, g) * present)
        picture = torch.maximum(picture, inside * level)
    return picture


def _scribble(ink: InkBatch, _: Int64[torch.Tensor, " n"], g: Generator) -> InkBatch:
    """Two to five curved strokes or three to five straight ones; some look like letters."""
    n = len(ink)
    width = uniform(n, 1.2, 3.5, g)
    straight = uniform(n, 0.0, 1.0, g) < 0.4
    strokes = torch.maximum(torch.randint(1, 6, (n,), generator=g), torch.where(straight, 3, 2))
    t = torch.linspace(0, 1, 9)
    # A cubic Bézier curve between the first and the last of four points.
    curve = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    ends = uniform(40 * n, 3.0, SIZE - 3.0, g).view(n, 5, 2, 4)
    line = torch.lerp(ends[..., :1], ends[..., 3:], torch.linspace(0, 1, 4))
    points = torch.where(straight[:, None, None, None], line, ends) @ curve
    pen = torch.where(torch.arange(5) < strokes[:, None], width[:, None], -2)  # -2 draws nothing
    pen = pen[..., None].expand(n, 5, len(t) - 1)
    x, y = points.unbind(2)
    steps = x[..., :-1], y[..., :-1], x[..., 1:], y[..., 1:], pen
    pieces = draw_segments(*(part.flatten() for part in steps))
    return pieces.view(n, -1, SIZE, SIZE).amax(1)


def _noise(ink: InkBatch, _: Int64[torch.Tensor, " n"], g: Generator) -> InkBatch:
    n = len(ink)
    grey = torch.rand(n, SIZE, SIZE, generator=g)
    density = pixelwise(uniform(n, 0.0, 1.0, g))
    specks = (grey < density) * pixelwise(uniform(n, 0.3, 1.0, g))
    soft = fn.avg_pool2d(fn.pad(specks[:, None], (1, 1, 1, 1)), 3, 1)[:, 0]
    draw = pixelwise(uniform(n, 0.0, 1.0, g))
    return torch.where(draw < 0.3, grey * density, torch.where(draw < 0.65, specks, soft))


def _paper(ink: InkBatch, _: Int64[torch.Tensor, " n"], g: Generator) -> InkBatch:
    """Blank paper: nothing, specks, one grey level, or a linear gradient of light."""
    n = len(ink)
    down, right, level = (pixelwise(uniform(n, -1.0, 1.0, g)) for _ in range(3))
    axis = torch.linspace(-1, 1, SIZE)
    light = (down * axis[:, None] + right * axis + level).clamp(0, 1)
    specks = (torch.rand(n, SIZE, SIZE, generator=g) < 0.01).float()
    draw = pixelwise(uniform(n, 0.0, 1.0, g))
    some = torch.where(draw < 0.5, level.abs(), torch.where(draw < 0.7, specks, 0))
    return torch.where(draw < 0.3, light, some)


def _two_digits(ink: InkBatch, _: Int64[torch.Tensor, " n"], g: Generator) -> InkBatch:
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
        _scaled(ink, scale, -right, -down), _scaled(other, other_scale, right, down)
    )


def _scaled(
    ink: InkBatch, scale: torch.Tensor, right: torch.Tensor, down: torch.Tensor
) -> InkBatch:
    zero = torch.zeros_like(scale)
    # Positions in the source for those in the result, both -1 to 1.
    rows = [1 / scale, zero, -2 * right / SIZE / scale, zero, 1 / scale, -2 * down / SIZE / scale]
    source = fn.affine_grid(
        torch.stack(rows, 1).view(-1, 2, 3), [len(ink), 1, SIZE, SIZE], align_corners=False
    )
    return fn.grid_sample(ink[:, None], source, align_corners=False)[:, 0]


def _partial(ink: InkBatch, labels: Int64[torch.Tensor, " n"], g: Generator) -> InkBatch:
    """About half of a digit. Half a 1 is still a 1, so it is crossed by a stroke instead."""
    n = len(ink)
    top, bottom, left, right = bounding_boxes(ink)
    side = torch.randint(0, 4, (n,), generator=g)
    part = uniform(n, 0.4, 0.62, g)
    row, column = top + part * (bottom - top), left + part * (right - left)
    piece = ink * rectangle_mask(
        torch.where(side == 0, row, top),
        torch.where(side == 1, row, bottom),
        torch.where(side == 2, column, left),
        torch.where(side == 3, column, right),
    )
    y = (top + bottom) / 2
    crossed = torch.maximum(ink, draw_segments(left - 6, y, right + 6, y, stroke_width(ink)))
    return torch.where(pixelwise(labels == 1), crossed, piece)


def _rotated(ink: InkBatch, labels: Int64[torch.Tensor, " n"], g: Generator) -> InkBatch:
    """Turned by 90 degrees or mirrored; tiles are shuffled where the result would be a digit."""
    mirrored = uniform(len(ink), 0.0, 1.0, g) < 0.4
    turned = torch.where(pixelwise(mirrored), ink.flip(2), ink.rot90(1, (1, 2)))
    still = _is_one_of(labels, _STILL_DIGITS)
    still = still | mirrored & _is_one_of(labels, _STILL_DIGITS_MIRRORED)
    return torch.where(pixelwise(still), _shuffled_tiles(ink, labels, g), turned)


def _is_one_of(
    labels: Int64[torch.Tensor, " n"], digits: tuple[int, ...]
) -> Bool[torch.Tensor, " n"]:
    return functools.reduce(torch.logical_or, [labels == digit for digit in digits])


def _shuffled_tiles(ink: InkBatch, _: Int64[torch.Tensor, " n"], g: Generator) -> InkBatch:
    """A digit cut into 4 × 4 tiles in another order."""
    across, side = 4, SIZE // 4
    tiles = ink.view(-1, across, side, across, side).transpose(2, 3).flatten(1, 2)
    order = torch.rand(len(ink), across * across, generator=g).argsort(1)
    mixed = tiles.gather(1, order[:, :, None, None].expand_as(tiles))
    return mixed.view(-1, across, across, side, side).transpose(2, 3).reshape(-1, SIZE, SIZE)


def _inverted(ink: InkBatch, _: Int64[torch.Tensor, " n"], __: Generator) -> InkBatch:
    """A digit with paper and ink swapped."""
    return 1 - ink


_KINDS: tuple[tuple[float, float, Callable[..., InkBatch]], ...] = (
    (3.0, 0.5, _blobs),
    (2.5, 0.5, _shapes),
    (4.0, 0.8, _scribble),
    (1.0, 0.0, _noise),
    (0.7, 0.0, _paper),
    (2.5, 0.9, _two_digits),
    (2.0, 0.7, _partial),
    (1.5, 0.7, _rotated),
    (0.7, 0.5, _shuffled_tiles),
    (0.8, 0.0, _inverted),
)
"""Relative frequency of each kind, share that is normalised to MNIST's frame, and its painter."""
