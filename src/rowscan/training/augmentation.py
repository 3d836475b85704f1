"""Augmentation: what other hands, pens and scanners make of a digit of MNIST.

Everything here takes and gives ink: float32 (n, 28, 28), 0 paper to 1 ink. All random numbers come
from the generator given, so that a batch and a seed decide the result. It runs on the CPU, whatever
the network trains on.
"""

import torch
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8
from torch import Generator, Tensor
from torch.nn import functional as fn

from rowscan.ink import BOX, SIZE

Ink = Float32[Tensor, "n 28 28"]
Value = Float32[Tensor, " n"]

_MIDDLE = (SIZE - 1) / 2
_DRAFT = 0.75  # a draft is this small, so that a bent digit does not leave the picture


def as_ink(images: UInt8[Tensor, "n 28 28"]) -> Ink:
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
    ink = _cut(_other_habits(original, labels, generator), generator)
    ink = into_frame(ink, generator, strength=strength)
    written = _tone(_coarse(_pen(ink, generator), generator), generator)
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
    warp = _Warp(n, strength, generator)
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


class _Warp:
    """A random smooth map from places in the result to places in the original."""

    def __init__(self, n: int, strength: Value, generator: Generator) -> None:
        angle = uniform(n, -0.30, 0.30, generator) * strength  # radians
        slant = uniform(n, -0.45, 0.45, generator) * strength
        stretch = torch.exp(uniform(n, -0.30, 0.30, generator) * strength)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(n)
        turn = torch.stack([cos, -sin, sin, cos], 1).view(n, 2, 2)
        pull = torch.stack([stretch, slant, zero, 1 / stretch], 1).view(n, 2, 2)
        self._matrix = turn @ pull
        # Whole strokes lean (coarse waves, more than a pixel), and hands tremble (fine ones).
        coarse = torch.randn(n, 2, 5, 5, generator=generator) * 1.1
        fine = torch.randn(n, 2, 8, 8, generator=generator) * 0.35
        waves = (
            fn.interpolate(wave, size=(16, 16), mode="bicubic", align_corners=True)
            for wave in (coarse, fine)
        )
        self._bend = sum(waves) * pixelwise(strength)[:, None]
        place = torch.arange(SIZE) - _MIDDLE
        self._places = torch.stack(torch.meshgrid(place, place, indexing="xy"), -1)

    def sample(self, ink: Ink, scale: Value, shift: Float32[Tensor, "n 2"]) -> Ink:
        """The warped ink, `scale` times as large, moved by `shift` pixels (right, down)."""
        at = (self._places - shift[:, None, None]) / scale[:, None, None, None]
        half = SIZE / 2
        bend = fn.grid_sample(self._bend, at / half, padding_mode="border", align_corners=True)
        origin = torch.einsum("nij,nhwj->nhwi", self._matrix, at) + bend.permute(0, 2, 3, 1)
        warped = fn.grid_sample(ink[:, None], origin / half, mode="bicubic", align_corners=False)
        return warped[:, 0].clamp(0, 1)


def _other_habits(ink: Ink, labels: Int64[Tensor, " n"], generator: Generator) -> Ink:
    """Some 7 with a bar, 0 with a stroke through it, 1 with a flag or foot, 9 with a hook.

    MNIST was written in one country, and these are the habits of others.
    """
    ink = ink.clone()
    chosen = uniform(len(ink), 0.0, 1.0, generator) < 0.3
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
    x, half = _middle_of_row(ink, y), uniform(n, 2.5, 5.5, generator)
    rise = half * uniform(n, -0.3, 0.15, generator)
    return segment(x - half, y - rise, x + half, y + rise, thickness(ink))


def _flag_and_foot(ink: Ink, generator: Generator) -> Ink:
    n = len(ink)
    top, bottom, _, _ = extents(ink)
    width = thickness(ink)
    x, y = _middle_of_row(ink, top + 1), top + 0.5
    length = (bottom - top) * uniform(n, 0.15, 0.6, generator)
    angle = uniform(n, 0.5, 1.3, generator)  # radians from the vertical
    flag = segment(x, y, x - length * angle.sin(), y + length * angle.cos(), width)
    x, y = _middle_of_row(ink, bottom - 1), bottom - 0.5
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
    x, y = _middle_of_row(ink, bottom - 1), bottom - 0.5
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


def _pen(ink: Ink, generator: Generator) -> Ink:
    """Most strokes thicker or thinner, by up to about a pixel on each side."""
    n = len(ink)
    x = ink[:, None]
    cross = torch.maximum(fn.max_pool2d(x, (3, 1), 1, (1, 0)), fn.max_pool2d(x, (1, 3), 1, (0, 1)))
    square, large = fn.max_pool2d(x, 3, 1, 1), fn.max_pool2d(x, 5, 1, 2)
    thin = -fn.max_pool2d(fn.pad(-x, (0, 1, 0, 1)), 2, 1)
    felt_pen = uniform(n, 0.0, 1.0, generator) < 0.1
    goal = uniform(n, 1.6, 4.0, generator) + felt_pen
    more = ((goal - thickness(ink)) / 2).clamp(-1, 1.3)
    more = torch.where(uniform(n, 0.0, 1.0, generator) < 0.6, more, 0)[:, None, None, None]
    thicker = torch.lerp(x, cross, (2 * more).clamp(0, 1))
    thicker = torch.lerp(thicker, square, (2 * more - 1).clamp(0, 1))
    thicker = torch.lerp(thicker, large, (more - 1).clamp(0, 1))
    thinner = torch.lerp(x, thin, (-1.5 * more).clamp(0, 0.9))
    return torch.where(more < 0, thinner, thicker)[:, 0]


def _coarse(ink: Ink, generator: Generator) -> Ink:
    """Three images in ten as a scan of few pixels (7 to 17 for the digit's height), enlarged."""
    ink = ink.clone()
    chosen = torch.randperm(len(ink), generator=generator)[: 3 * len(ink) // 10]
    for part in chosen.chunk(2):
        if not len(part):
            continue
        side = int(torch.randint(10, 25, (), generator=generator))
        few = fn.interpolate(ink[part][:, None], size=(side, side), mode="bilinear", antialias=True)
        soft = fn.interpolate(few, size=(SIZE, SIZE), mode="bicubic")[:, 0]
        low = pixelwise(uniform(len(part), 0.05, 0.35, generator))
        high = pixelwise(uniform(len(part), 0.5, 0.95, generator))
        ink[part] = ((soft - low) / (high - low)).clamp(0, 1)
    return ink


def _tone(ink: Ink, generator: Generator) -> Ink:
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
    """First and last row, first and last column with ink (27, 0, 27, 0 where there is none)."""
    place = torch.arange(SIZE)
    mask = ink > 0.25
    ends = []
    for profile in (mask.any(2), mask.any(1)):
        ends.append(torch.where(profile, place, SIZE - 1).amin(1).float())
        ends.append(torch.where(profile, place, 0).amax(1).float())
    return ends[0], ends[1], ends[2], ends[3]


def within(top: Value, bottom: Value, left: Value, right: Value) -> Bool[Tensor, "n 28 28"]:
    """The pixels of a rectangle, its edges among them."""
    place = torch.arange(SIZE)
    rows = (place >= top[:, None]) & (place <= bottom[:, None])
    columns = (place >= left[:, None]) & (place <= right[:, None])
    return rows[:, :, None] & columns[:, None, :]


def segment(x0: Value, y0: Value, x1: Value, y1: Value, width: Value) -> Ink:
    """Images of one straight stroke each, with round ends; all in pixels."""
    place = torch.arange(SIZE, dtype=torch.float32)
    x, y = place[None, None, :] - pixelwise(x0), place[None, :, None] - pixelwise(y0)
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


def _middle_of_row(ink: Ink, y: Value) -> Value:
    """The centre of the ink in row y."""
    row = ink[torch.arange(len(ink)), y.long().clamp(0, SIZE - 1)] + 1e-4
    return (row * torch.arange(SIZE)).sum(1) / row.sum(1)
