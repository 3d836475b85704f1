"""Augmentation: what other hands, pens and scanners make of a digit of MNIST.

Everything here takes and gives ink: float32 (n, 28, 28), 0 paper to 1 ink. All random numbers come
from the generator given, so that a batch and a seed decide the result. It runs on the CPU, whatever
the network trains on.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as fn

from rowscan.arrays import Bool, Float32, Int64, Shaped, UInt8
from rowscan.segmentation.digit import BOX, SIZE

Ink = Float32[Tensor, "n height width"]
Value = Float32[Tensor, " n"]

_MIDDLE = (SIZE - 1) / 2
_DRAFT = 0.75  # a draft is this small, so that a bent digit does not leave the picture


def as_ink(images: UInt8[Tensor, "n height width"]) -> Ink:
    """Grey levels 0 to 255 as ink 0 to 1."""
    return images.float() / 255


def augment(
    images: UInt8[Tensor, "n 28 28"], labels: Int64[Tensor, " n"], generator: Generator
) -> Ink:
    """Each digit as another hand, pen and scanner might have given it, in MNIST's frame.

    A twelfth of the images stay as they are, some change little, so that MNIST itself stays the
    centre of what the network sees.
    """
    n = len(images)
    original = as_ink(images)
    strength = uniform(n, 0.0, 1.0, generator)
    chosen = uniform(n, 0.0, 1.0, generator) < 0.3
    ink = _cut(other_habits(original, labels, chosen, generator), generator)
    ink = into_frame(ink, generator, strength=strength)
    felt_pen = uniform(n, 0.0, 1.0, generator) < 0.1
    goal = uniform(n, 1.6, 4.0, generator) + felt_pen
    other_pen = uniform(n, 0.0, 1.0, generator) < 0.6
    written = pen(ink, torch.where(other_pen, goal, thickness(ink)))
    written = tone(coarse(written, generator, share=0.3), generator)
    draw = pixelwise(uniform(n, 0.0, 1.0, generator))
    return torch.where(draw < 0.08, original, torch.where(draw < 0.22, ink, written))


def into_frame(ink: Ink, generator: Generator, *, strength: Value) -> Ink:
    """Slanted, turned, stretched and bent, then brought back to MNIST's frame, a little out of it.

    Args:
        ink: what to bend.
        generator: where the random numbers come from.
        strength: how much, 0 (only into the frame) to 1.
    """
    n = len(ink)
    warp = Warp.draw(n, strength, generator)
    draft = warp.sample(ink, torch.full((n,), _DRAFT), torch.zeros(n, 2))
    top, bottom, left, right = extents(draft)
    side = torch.maximum(bottom - top, right - left).clamp(min=4) + 1
    size = torch.exp(uniform(n, -0.12, 0.08, generator) * strength)
    scale = _DRAFT * BOX / side * size
    mass = draft.sum((1, 2)).clamp(min=1e-3)
    place = torch.arange(SIZE) - _MIDDLE
    centre = torch.stack([(draft.sum(1) * place).sum(1), (draft.sum(2) * place).sum(1)], 1)
    centre = centre / mass[:, None]
    jitter = torch.randn(n, 2, generator=generator) * 0.7 * strength[:, None]
    shift = 0.5 - centre * (scale / _DRAFT)[:, None] + jitter
    return warp.sample(ink, scale, shift)


@dataclass(frozen=True)
class Warp:
    """A smooth map from places in the result to places in the original."""

    matrix: Float32[Tensor, "n 2 2"]
    """Turns, slants and stretches about the centre."""
    bend: Float32[Tensor, "n 2 16 16"]
    """Moves on a grid over the image, in pixels (right, down)."""

    @staticmethod
    def draw(n: int, strength: Value, generator: Generator) -> "Warp":
        """A random one for each image; strength 0 changes nothing."""
        angle = uniform(n, -0.30, 0.30, generator) * strength  # radians
        slant = uniform(n, -0.45, 0.45, generator) * strength
        stretch = torch.exp(uniform(n, -0.30, 0.30, generator) * strength)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(n)
        turn = torch.stack([cos, -sin, sin, cos], 1).view(n, 2, 2)
        pull = torch.stack([stretch, slant, zero, 1 / stretch], 1).view(n, 2, 2)
        # Whole strokes lean (coarse waves, more than a pixel), and hands tremble (fine ones).
        leaning = torch.randn(n, 2, 5, 5, generator=generator) * 1.1
        trembling = torch.randn(n, 2, 8, 8, generator=generator) * 0.35
        coarse_waves, fine_waves = (
            fn.interpolate(waves, size=(16, 16), mode="bicubic", align_corners=True)
            for waves in (leaning, trembling)
        )
        return Warp(turn @ pull, (coarse_waves + fine_waves) * pixelwise(strength)[:, None])

    def sample(
        self,
        ink: Float32[Tensor, "n 28 28"],
        scale: Value,
        shift: Float32[Tensor, "n 2"],
        size: tuple[int, int] = (SIZE, SIZE),
    ) -> Ink:
        """The warped ink, `scale` times as large, its centre moved by `shift` (right, down).

        Args:
            ink: what to warp.
            scale: 1 is as large as it was.
            shift: from the centre of the result, in pixels.
            size: height and width of the result.
        """
        y, x = (torch.arange(side) - (side - 1) / 2 for side in size)
        places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        at = (places - shift[:, None, None]) / scale[:, None, None, None]
        half = SIZE / 2
        bend = fn.grid_sample(self.bend, at / half, padding_mode="border", align_corners=True)
        origin = torch.einsum("nij,nhwj->nhwi", self.matrix, at) + bend.permute(0, 2, 3, 1)
        warped = fn.grid_sample(ink[:, None], origin / half, mode="bicubic", align_corners=False)
        return warped[:, 0].clamp(0, 1)


def other_habits(
    ink: Float32[Tensor, "n 28 28"],
    labels: Int64[Tensor, " n"],
    chosen: Bool[Tensor, " n"],
    generator: Generator,
) -> Float32[Tensor, "n 28 28"]:
    """Where chosen, a 7 gets a bar, a 0 a stroke through it, a 1 a flag or foot, a 9 a hook.

    MNIST was written in one country, and these are the habits of others.
    """
    ink = ink.clone()
    habits = ((0, _stroke_of_zero), (1, _flag_and_foot), (7, _bar_of_seven), (9, _hook_of_nine))
    for digit, strokes in habits:
        index = torch.nonzero(chosen & (labels == digit)).flatten()
        ink[index] = torch.maximum(ink[index], strokes(ink[index], generator))
    return ink


def _stroke_of_zero(ink: Ink, generator: Generator) -> Ink:
    n = len(ink)
    top, bottom, left, right = extents(ink)
    x, y = (left + right) / 2, (top + bottom) / 2
    size = uniform(n, 0.6, 1.25, generator) / 2
    across = (right - left) * size * uniform(n, 0.0, 1.1, generator)
    up = (bottom - top) * size * uniform(n, 0.6, 1.0, generator)
    across = torch.where(uniform(n, 0.0, 1.0, generator) < 0.12, -across, across)
    width = thickness(ink) * uniform(n, 0.7, 1.0, generator)
    return segment(x - across, y + up, x + across, y - up, width)


def _bar_of_seven(ink: Ink, generator: Generator) -> Ink:
    n = len(ink)
    top, bottom, _, _ = extents(ink)
    y = top + (bottom - top) * uniform(n, 0.42, 0.62, generator)
    x, half = middle_of_row(ink, y), uniform(n, 2.5, 5.5, generator)
    rise = half * uniform(n, -0.3, 0.15, generator)
    return segment(x - half, y - rise, x + half, y + rise, thickness(ink))


def _flag_and_foot(ink: Ink, generator: Generator) -> Ink:
    n = len(ink)
    top, bottom, _, _ = extents(ink)
    width = thickness(ink)
    x, y = middle_of_row(ink, top + 1), top + 0.5
    length = (bottom - top) * uniform(n, 0.15, 0.6, generator)
    angle = uniform(n, 0.5, 1.3, generator)  # radians from the vertical
    flag = segment(x, y, x - length * angle.sin(), y + length * angle.cos(), width)
    x, y = middle_of_row(ink, bottom - 1), bottom - 0.5
    before, after = uniform(n, 2.0, 6.0, generator), uniform(n, 2.0, 6.0, generator)
    rise = uniform(n, -1.0, 1.0, generator)
    foot = segment(x - before, y - rise, x + after, y + rise, width)
    draw = pixelwise(uniform(n, 0.0, 1.0, generator))
    return torch.maximum(flag * (draw < 0.85), foot * (draw > 0.6))


def _hook_of_nine(ink: Ink, generator: Generator) -> Ink:
    """The stem's end drawn on to the left, and up a little."""
    n = len(ink)
    _, bottom, _, _ = extents(ink)
    width = thickness(ink)
    x, y = middle_of_row(ink, bottom - 1), bottom - 0.5
    length, rise = uniform(n, 3.0, 9.0, generator), uniform(n, -0.5, 3.0, generator)
    below = y + uniform(n, 0.0, 1.5, generator)
    first = segment(x, y, x - length / 2, below, width)
    return torch.maximum(first, segment(x - length / 2, below, x - length, y - rise, width))


def _cut(ink: Ink, generator: Generator) -> Ink:
    """One image in five loses up to an eighth of the ink on one side, as at the edge of a box."""
    n = len(ink)
    top, bottom, left, right = extents(ink)
    share = uniform(n, 0.0, 0.13, generator)
    side = torch.randint(0, 20, (n,), generator=generator)
    none = torch.zeros(n)
    return ink * within(
        torch.where(side == 0, top + share * (bottom - top), none),
        torch.where(side == 1, bottom - share * (bottom - top), none + SIZE),
        torch.where(side == 2, left + share * (right - left), none),
        torch.where(side == 3, right - share * (right - left), none + SIZE),
    )


def pen(ink: Ink, goal: Value) -> Ink:
    """Strokes thickened or thinned towards `goal`, a thickness in pixels, as far as that goes.

    By about a pixel on each side at most.
    """
    wide, high = _largest_near(ink, 2), _largest_near(ink, 1)
    cross, square = torch.maximum(wide, high), _largest_near(wide, 1)
    large = _largest_near(_largest_near(square, 1), 2)
    corner = fn.pad(ink, (0, 1, 0, 1))
    row = torch.minimum(corner[:, :, :-1], corner[:, :, 1:])
    thin = torch.minimum(row[:, :-1], row[:, 1:])
    more = ((goal - thickness(ink)) / 2).clamp(-1, 1.3)[:, None, None]
    thicker = torch.lerp(ink, cross, (2 * more).clamp(0, 1))
    thicker = torch.lerp(thicker, square, (2 * more - 1).clamp(0, 1))
    thicker = torch.lerp(thicker, large, (more - 1).clamp(0, 1))
    thinner = torch.lerp(ink, thin, (-1.5 * more).clamp(0, 0.9))
    return torch.where(more < 0, thinner, thicker)


def _largest_near(ink: Ink, axis: int) -> Ink:
    """At each pixel the largest of it and its two neighbours along an axis."""
    padded = fn.pad(ink, (1, 1) if axis == 2 else (0, 0, 1, 1))
    before, here, after = (padded.narrow(axis, start, ink.shape[axis]) for start in range(3))
    return torch.maximum(torch.maximum(before, here), after)


def coarse(ink: Ink, generator: Generator, *, share: float) -> Ink:
    """A share of the images as scans of fewer pixels (down to a third), enlarged again."""
    ink = ink.clone()
    height, width = ink.shape[1:]
    chosen = torch.randperm(len(ink), generator=generator)[: int(share * len(ink))]
    for part in chosen.chunk(2):
        if not len(part):
            continue
        kept = int(torch.randint(10, 25, (), generator=generator)) / SIZE
        few = (max(1, round(kept * height)), max(1, round(kept * width)))
        small = fn.interpolate(ink[part][:, None], size=few, mode="bilinear", antialias=True)
        soft = fn.interpolate(small, size=(height, width), mode="bicubic")[:, 0]
        low = pixelwise(uniform(len(part), 0.05, 0.35, generator))
        high = pixelwise(uniform(len(part), 0.5, 0.95, generator))
        ink[part] = ((soft - low) / (high - low)).clamp(0, 1)
    return ink


def tone(ink: Ink, generator: Generator) -> Ink:
    """Paler or fuller ink."""
    low = pixelwise(uniform(len(ink), -0.3, 0.12, generator)).clamp(min=0)
    high = pixelwise(uniform(len(ink), 0.6, 1.4, generator)).clamp(max=1)
    return ((ink - low) / (high - low)).clamp(0, 1)


def uniform(n: int, low: float, high: float, generator: Generator) -> Value:
    """Random numbers from low to high."""
    return torch.rand(n, generator=generator) * (high - low) + low


def pixelwise(values: Shaped[Tensor, " n"]) -> Shaped[Tensor, "n 1 1"]:
    """One value an image, to be used for all its pixels."""
    return values[:, None, None]


def extents(ink: Ink) -> tuple[Value, Value, Value, Value]:
    """First and last row, first and last column with ink; the last and 0 where there is none."""
    mask = ink > 0.25
    ends = []
    for profile in (mask.any(2), mask.any(1)):
        place = torch.arange(profile.shape[1])
        ends.append(torch.where(profile, place, len(place) - 1).amin(1).float())
        ends.append(torch.where(profile, place, 0).amax(1).float())
    return ends[0], ends[1], ends[2], ends[3]


def within(top: Value, bottom: Value, left: Value, right: Value) -> Bool[Tensor, "n 28 28"]:
    """The pixels of a rectangle, its edges among them."""
    place = torch.arange(SIZE)
    rows = (place >= top[:, None]) & (place <= bottom[:, None])
    columns = (place >= left[:, None]) & (place <= right[:, None])
    return rows[:, :, None] & columns[:, None, :]


def segment(
    x0: Value,
    y0: Value,
    x1: Value,
    y1: Value,
    width: Value,
    *,
    size: tuple[int, int] = (SIZE, SIZE),
) -> Ink:
    """Images of one straight stroke each, with round ends; all in pixels."""
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in size)
    x, y = columns[None, None, :] - pixelwise(x0), rows[None, :, None] - pixelwise(y0)
    dx, dy = pixelwise(x1 - x0), pixelwise(y1 - y0)
    along = ((x * dx + y * dy) / (dx * dx + dy * dy + 1e-6)).clamp(0, 1)
    distance = torch.hypot(x - along * dx, y - along * dy)
    return (pixelwise(width) / 2 + 0.5 - distance).clamp(0, 1)


def thickness(ink: Ink) -> Value:
    """Mean thickness of the strokes in pixels: a long stroke's area over half its outline."""
    padded = fn.pad(ink, (1, 1, 1, 1))
    down, right = padded.diff(dim=1)[:, :, 1:], padded.diff(dim=2)[:, 1:]
    outline = torch.hypot(down, right).sum((1, 2)).clamp(min=1)
    return (2 * ink.sum((1, 2)) / outline).clamp(1.2, 4)


def middle_of_row(ink: Ink, y: Value) -> Value:
    """The centre of the ink in row y."""
    row = ink[torch.arange(len(ink)), y.long().clamp(0, SIZE - 1)] + 1e-4
    return (row * torch.arange(SIZE)).sum(1) / row.sum(1)
