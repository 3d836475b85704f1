"""Augmentation of digit images: deformation, stroke width, resolution and contrast.

Every function takes and returns ink: float32 (n, 28, 28), 0 for paper to 1 for ink. All random
numbers come from the given generator, so a batch and a seed determine the result. Glyphs, lines and
negatives are drawn in the other modules of this package, with the helpers here.

`static` functions have the same shapes whatever they draw, and never wait for a number: so a GPU
can replay them as one graph (`with torch.device("cuda")`, a generator of that device). They alter
all images and keep what was chosen, which would take a CPU longer.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as fn

from rowscan.arrays import Bool, Float32, Int64, Shaped, UInt8
from rowscan.segmentation.digit import BOX, SIZE

InkBatch = Float32[Tensor, "n height width"]
Value = Float32[Tensor, " n"]

_CENTRE = (SIZE - 1) / 2
_REDUCED = 10, 25  # rows of a digit at low resolution, the last one not included
_SIZES = _REDUCED[1] - _REDUCED[0]
_DRAFT_SCALE = 0.75  # the first pass renders smaller, so that no deformed digit leaves the image


def as_ink(images: UInt8[Tensor, "n height width"]) -> InkBatch:
    """Grey levels 0 to 255 as ink 0 to 1."""
    return images.float() / 255


def augment(
    images: UInt8[Tensor, "n 28 28"],
    labels: Int64[Tensor, " n"],
    generator: Generator,
    *,
    static: bool = False,
) -> InkBatch:
    """One random augmentation of each digit, in MNIST's frame.

    8% of the images stay unchanged and many change little, so that the training distribution
    stays centred on MNIST.
    """
    n = len(images)
    original = as_ink(images)
    strength = uniform(n, 0.0, 1.0, generator)
    chosen = uniform(n, 0.0, 1.0, generator) < 0.3
    ink = add_regional_strokes(original, labels, chosen, generator, static=static)
    ink = _cut_one_side(ink, generator)
    ink = deform_and_normalise(ink, generator, strength=strength)
    felt_pen = uniform(n, 0.0, 1.0, generator) < 0.1
    width = uniform(n, 1.6, 4.0, generator) + felt_pen
    other_pen = uniform(n, 0.0, 1.0, generator) < 0.6
    changed = set_stroke_width(ink, torch.where(other_pen, width, stroke_width(ink)))
    reduce = _reduce_to_every_size if static else reduce_resolution
    changed = jitter_contrast(reduce(changed, generator, share=0.3), generator)
    draw = pixelwise(uniform(n, 0.0, 1.0, generator))
    return torch.where(draw < 0.08, original, torch.where(draw < 0.22, ink, changed))


def shift(ink: InkBatch, generator: Generator) -> InkBatch:
    """Each image moved by up to two pixels up or down and left or right; static."""
    n, side = len(ink), torch.arange(SIZE)
    down, right = (torch.randint(0, 5, (n, 1), generator=generator) + side for _ in range(2))
    padded = fn.pad(ink, (2, 2, 2, 2))
    moved = padded.gather(1, down[:, :, None].expand(-1, -1, padded.shape[2]))
    return moved.gather(2, right[:, None].expand(-1, SIZE, -1))


def deform_and_normalise(ink: InkBatch, generator: Generator, *, strength: Value) -> InkBatch:
    """Affine and elastic deformation (Simard et al., 2003), then MNIST's size and centre, jittered.

    Args:
        ink: digits anywhere in the image.
        generator: source of all random numbers.
        strength: per image, from 0 (normalisation only) to 1.
    """
    n = len(ink)
    warp = Warp.random(n, strength, generator)
    draft = warp.apply(ink, torch.full((n,), _DRAFT_SCALE), torch.zeros(n, 2))
    top, bottom, left, right = bounding_boxes(draft)
    side = torch.maximum(bottom - top, right - left).clamp(min=4) + 1
    size = torch.exp(uniform(n, -0.12, 0.08, generator) * strength)
    scale = _DRAFT_SCALE * BOX / side * size
    mass = draft.sum((1, 2)).clamp(min=1e-3)
    position = torch.arange(SIZE) - _CENTRE
    centre = torch.stack([(draft.sum(1) * position).sum(1), (draft.sum(2) * position).sum(1)], 1)
    centre = centre / mass[:, None]
    jitter = torch.randn(n, 2, generator=generator) * 0.7 * strength[:, None]
    shift = 0.5 - centre * (scale / _DRAFT_SCALE)[:, None] + jitter
    return warp.apply(ink, scale, shift)


@dataclass(frozen=True)
class Warp:
    """Smooth maps from positions in the result to positions in the source, one per image."""

    matrix: Float32[Tensor, "n 2 2"]
    """Rotation, shear and stretch about the centre."""
    offsets: Float32[Tensor, "n 2 16 16"]
    """Elastic displacement in pixels (right, down), on a coarse grid over the image."""

    @staticmethod
    def random(n: int, strength: Value, generator: Generator) -> "Warp":
        """One random warp per image; strength 0 gives the identity."""
        angle = uniform(n, -0.30, 0.30, generator) * strength  # radians
        slant = uniform(n, -0.45, 0.45, generator) * strength
        stretch = torch.exp(uniform(n, -0.30, 0.30, generator) * strength)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(n)
        rotation = torch.stack([cos, -sin, sin, cos], 1).view(n, 2, 2)
        shear = torch.stack([stretch, slant, zero, 1 / stretch], 1).view(n, 2, 2)
        # Low frequencies move whole strokes by more than a pixel; high ones are a hand's tremor.
        low = torch.randn(n, 2, 5, 5, generator=generator) * 1.1
        high = torch.randn(n, 2, 8, 8, generator=generator) * 0.35
        coarse, fine = (
            fn.interpolate(noise, size=(16, 16), mode="bicubic", align_corners=True)
            for noise in (low, high)
        )
        return Warp(rotation @ shear, (coarse + fine) * pixelwise(strength)[:, None])

    def apply(
        self,
        ink: Float32[Tensor, "n 28 28"],
        scale: Value,
        shift: Float32[Tensor, "n 2"],
        size: tuple[int, int] = (SIZE, SIZE),
    ) -> InkBatch:
        """The warped ink, scaled about its centre and shifted; bicubic interpolation.

        Args:
            ink: source images.
            scale: enlargement; 1 keeps the size.
            shift: of the centre, from the centre of the result, in pixels (right, down).
            size: height and width of the result.
        """
        y, x = (torch.arange(side) - (side - 1) / 2 for side in size)
        pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        at = (pixels - shift[:, None, None]) / scale[:, None, None, None]
        half = SIZE / 2
        moved = fn.grid_sample(self.offsets, at / half, padding_mode="border", align_corners=True)
        source = torch.einsum("nij,nhwj->nhwi", self.matrix, at) + moved.permute(0, 2, 3, 1)
        warped = fn.grid_sample(ink[:, None], source / half, mode="bicubic", align_corners=False)
        return warped[:, 0].clamp(0, 1)


def add_regional_strokes(
    ink: Float32[Tensor, "n 28 28"],
    labels: Int64[Tensor, " n"],
    chosen: Bool[Tensor, " n"],
    generator: Generator,
    *,
    static: bool = False,
) -> Float32[Tensor, "n 28 28"]:
    """Where chosen: 7 with a bar, 0 with a slash, 1 with a flag or base, 9 with a hook.

    MNIST comes from US writers; these variants are common elsewhere.
    """
    ink = ink.clone()
    variants = ((0, _zero_slash), (1, _one_flag_and_base), (7, _seven_bar), (9, _nine_hook))
    for digit, strokes in variants:
        if static:
            drawn = torch.maximum(ink, strokes(ink, generator))
            ink = torch.where(pixelwise(chosen & (labels == digit)), drawn, ink)
            continue
        index = torch.nonzero(chosen & (labels == digit)).flatten()
        ink[index] = torch.maximum(ink[index], strokes(ink[index], generator))
    return ink


def _zero_slash(ink: InkBatch, generator: Generator) -> InkBatch:
    n = len(ink)
    top, bottom, left, right = bounding_boxes(ink)
    x, y = (left + right) / 2, (top + bottom) / 2
    size = uniform(n, 0.6, 1.25, generator) / 2
    across = (right - left) * size * uniform(n, 0.0, 1.1, generator)
    up = (bottom - top) * size * uniform(n, 0.6, 1.0, generator)
    across = torch.where(uniform(n, 0.0, 1.0, generator) < 0.12, -across, across)
    width = stroke_width(ink) * uniform(n, 0.7, 1.0, generator)
    return draw_segments(x - across, y + up, x + across, y - up, width)


def _seven_bar(ink: InkBatch, generator: Generator) -> InkBatch:
    n = len(ink)
    top, bottom, _, _ = bounding_boxes(ink)
    y = top + (bottom - top) * uniform(n, 0.42, 0.62, generator)
    x, half = row_centroid(ink, y), uniform(n, 2.5, 5.5, generator)
    rise = half * uniform(n, -0.3, 0.15, generator)
    return draw_segments(x - half, y - rise, x + half, y + rise, stroke_width(ink))


def _one_flag_and_base(ink: InkBatch, generator: Generator) -> InkBatch:
    n = len(ink)
    top, bottom, _, _ = bounding_boxes(ink)
    width = stroke_width(ink)
    x, y = row_centroid(ink, top + 1), top + 0.5
    length = (bottom - top) * uniform(n, 0.15, 0.6, generator)
    angle = uniform(n, 0.5, 1.3, generator)  # radians from the vertical
    flag = draw_segments(x, y, x - length * angle.sin(), y + length * angle.cos(), width)
    x, y = row_centroid(ink, bottom - 1), bottom - 0.5
    before, after = uniform(n, 2.0, 6.0, generator), uniform(n, 2.0, 6.0, generator)
    rise = uniform(n, -1.0, 1.0, generator)
    base = draw_segments(x - before, y - rise, x + after, y + rise, width)
    draw = pixelwise(uniform(n, 0.0, 1.0, generator))
    return torch.maximum(flag * (draw < 0.85), base * (draw > 0.6))


def _nine_hook(ink: InkBatch, generator: Generator) -> InkBatch:
    """The end of the stem, extended to the left and slightly up."""
    n = len(ink)
    _, bottom, _, _ = bounding_boxes(ink)
    width = stroke_width(ink)
    x, y = row_centroid(ink, bottom - 1), bottom - 0.5
    length, rise = uniform(n, 3.0, 9.0, generator), uniform(n, -0.5, 3.0, generator)
    below = y + uniform(n, 0.0, 1.5, generator)
    first = draw_segments(x, y, x - length / 2, below, width)
    return torch.maximum(first, draw_segments(x - length / 2, below, x - length, y - rise, width))


def _cut_one_side(ink: InkBatch, generator: Generator) -> InkBatch:
    """One image in five loses up to 13% of its height or width, as at the edge of a form box."""
    n = len(ink)
    top, bottom, left, right = bounding_boxes(ink)
    share = uniform(n, 0.0, 0.13, generator)
    side = torch.randint(0, 20, (n,), generator=generator)
    zero = torch.zeros(n)
    return ink * rectangle_mask(
        torch.where(side == 0, top + share * (bottom - top), zero),
        torch.where(side == 1, bottom - share * (bottom - top), zero + SIZE),
        torch.where(side == 2, left + share * (right - left), zero),
        torch.where(side == 3, right - share * (right - left), zero + SIZE),
    )


def set_stroke_width(ink: InkBatch, width: Value) -> InkBatch:
    """Grey dilation or erosion towards a stroke width in pixels, by at most about 1 px per side.

    Steps between structuring elements (cross, square, 5 × 5) are interpolated linearly.
    """
    row, column = _dilate(ink, 2), _dilate(ink, 1)
    cross, square = torch.maximum(row, column), _dilate(row, 1)
    large = _dilate(_dilate(square, 1), 2)
    corner = fn.pad(ink, (0, 1, 0, 1))
    pairs = torch.minimum(corner[:, :, :-1], corner[:, :, 1:])
    eroded = torch.minimum(pairs[:, :-1], pairs[:, 1:])
    more = ((width - stroke_width(ink)) / 2).clamp(-1, 1.3)[:, None, None]
    thicker = torch.lerp(ink, cross, (2 * more).clamp(0, 1))
    thicker = torch.lerp(thicker, square, (2 * more - 1).clamp(0, 1))
    thicker = torch.lerp(thicker, large, (more - 1).clamp(0, 1))
    thinner = torch.lerp(ink, eroded, (-1.5 * more).clamp(0, 0.9))
    return torch.where(more < 0, thinner, thicker)


def _dilate(ink: InkBatch, axis: int) -> InkBatch:
    """Grey dilation by three pixels along one axis."""
    padded = fn.pad(ink, (1, 1) if axis == 2 else (0, 0, 1, 1))
    before, here, after = (padded.narrow(axis, start, ink.shape[axis]) for start in range(3))
    return torch.maximum(torch.maximum(before, here), after)


def reduce_resolution(ink: InkBatch, generator: Generator, *, share: float) -> InkBatch:
    """Downsample a share of the images to 36-86%, scale them up again and stretch the contrast."""
    ink = ink.clone()
    chosen = torch.randperm(len(ink), generator=generator)[: int(share * len(ink))]
    for part in chosen.chunk(2):
        if len(part):
            size = int(torch.randint(*_REDUCED, (), generator=generator))
            ink[part] = _reduced(ink[part], size, generator)
    return ink


def _reduce_to_every_size(ink: InkBatch, generator: Generator, *, share: float) -> InkBatch:
    """The same with as many images of each size; static."""
    ink = ink.clone()
    chosen = torch.rand(len(ink), generator=generator).argsort()[: int(share * len(ink))]
    for size, part in zip(range(*_REDUCED), chosen.tensor_split(_SIZES), strict=True):
        if len(part):
            ink[part] = _reduced(ink[part], size, generator)
    return ink


def _reduced(ink: InkBatch, size: int, generator: Generator) -> InkBatch:
    """As if the images had `size` rows where they have 28."""
    height, width = ink.shape[1:]
    few = (max(1, round(size / SIZE * height)), max(1, round(size / SIZE * width)))
    small = fn.interpolate(ink[:, None], size=few, mode="bilinear", antialias=True)
    soft = fn.interpolate(small, size=(height, width), mode="bicubic")[:, 0]
    low = pixelwise(uniform(len(ink), 0.05, 0.35, generator))
    high = pixelwise(uniform(len(ink), 0.5, 0.95, generator))
    return ((soft - low) / (high - low)).clamp(0, 1)


def jitter_contrast(ink: InkBatch, generator: Generator) -> InkBatch:
    """Move the black and white points: paler or fuller ink."""
    low = pixelwise(uniform(len(ink), -0.3, 0.12, generator)).clamp(min=0)
    high = pixelwise(uniform(len(ink), 0.6, 1.4, generator)).clamp(max=1)
    return ((ink - low) / (high - low)).clamp(0, 1)


def uniform(n: int, low: float, high: float, generator: Generator) -> Value:
    """`n` uniform random numbers from `low` to `high`."""
    return torch.rand(n, generator=generator) * (high - low) + low


def pixelwise(values: Shaped[Tensor, " n"]) -> Shaped[Tensor, "n 1 1"]:
    """One value per image, shaped to broadcast over its pixels."""
    return values[:, None, None]


def bounding_boxes(ink: InkBatch) -> tuple[Value, Value, Value, Value]:
    """Top, bottom, left and right pixel of the ink, inclusive; (last, 0) where there is no ink."""
    mask = ink > 0.25
    ends = []
    for profile in (mask.any(2), mask.any(1)):
        index = torch.arange(profile.shape[1])
        ends.append(torch.where(profile, index, len(index) - 1).amin(1).float())
        ends.append(torch.where(profile, index, 0).amax(1).float())
    return ends[0], ends[1], ends[2], ends[3]


def rectangle_mask(top: Value, bottom: Value, left: Value, right: Value) -> Bool[Tensor, "n 28 28"]:
    """The pixels of one rectangle per image, edges included."""
    index = torch.arange(SIZE)
    rows = (index >= top[:, None]) & (index <= bottom[:, None])
    columns = (index >= left[:, None]) & (index <= right[:, None])
    return rows[:, :, None] & columns[:, None, :]


def draw_segments(
    x0: Value,
    y0: Value,
    x1: Value,
    y1: Value,
    width: Value,
    *,
    size: tuple[int, int] = (SIZE, SIZE),
) -> InkBatch:
    """One straight antialiased stroke per image, with round caps; all lengths in pixels."""
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in size)
    x, y = columns[None, None, :] - pixelwise(x0), rows[None, :, None] - pixelwise(y0)
    dx, dy = pixelwise(x1 - x0), pixelwise(y1 - y0)
    along = ((x * dx + y * dy) / (dx * dx + dy * dy + 1e-6)).clamp(0, 1)
    distance = torch.hypot(x - along * dx, y - along * dy)
    return (pixelwise(width) / 2 + 0.5 - distance).clamp(0, 1)


def stroke_width(ink: InkBatch) -> Value:
    """Mean stroke width in pixels, 1.2 to 4: for a long stroke, area over half the perimeter."""
    padded = fn.pad(ink, (1, 1, 1, 1))
    down, right = padded.diff(dim=1)[:, :, 1:], padded.diff(dim=2)[:, 1:]
    perimeter = torch.hypot(down, right).sum((1, 2)).clamp(min=1)
    return (2 * ink.sum((1, 2)) / perimeter).clamp(1.2, 4)


def row_centroid(ink: InkBatch, y: Value) -> Value:
    """Column of the centre of the ink in row y."""
    row = ink[torch.arange(len(ink)), y.long().clamp(0, SIZE - 1)] + 1e-4
    return (row * torch.arange(SIZE)).sum(1) / row.sum(1)
