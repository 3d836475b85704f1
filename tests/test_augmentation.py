"""Augmentation and negatives, on ink drawn here and on the digits in examples/."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from rowscan.io.pictures import open_image
from rowscan.segmentation.digit import normalise_digit
from rowscan.training.synthesis import negatives
from rowscan.training.synthesis.augmentation import (
    as_ink,
    augment,
    bounding_boxes,
    deform_and_normalise,
    draw_segments,
    rectangle_mask,
    stroke_width,
    uniform,
)

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "digits").glob("*.png"))
IMAGES = torch.from_numpy(np.stack([normalise_digit(open_image(path)) for path in EXAMPLES]))
LABELS = torch.tensor([int(path.stem[0]) for path in EXAMPLES])


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def stroke(x0: float, y0: float, x1: float, y1: float, width: float) -> Tensor:
    return draw_segments(*(torch.tensor([float(value)]) for value in (x0, y0, x1, y1, width)))


def test_examples_cover_all_digits() -> None:
    assert set(LABELS.tolist()) == set(range(10))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_augmented_images_are_ink_and_reproducible(seed: int, n: int) -> None:
    few = torch.arange(n) % len(IMAGES)
    first = augment(IMAGES[few], LABELS[few], seeded(seed))
    assert first.shape == (n, 28, 28)
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, augment(IMAGES[few], LABELS[few], seeded(seed)))


def test_augmentation_changes_most_images_but_not_all() -> None:
    many = IMAGES.repeat(30, 1, 1)
    changed = augment(many, LABELS.repeat(30), seeded()) - as_ink(many)
    same = (changed.abs().amax((1, 2)) == 0).float().mean()
    assert 0.03 < same < 0.15
    assert changed.abs().mean() > 0.03


def test_strength_zero_keeps_a_normalised_digit() -> None:
    ink = as_ink(IMAGES)
    framed = deform_and_normalise(ink, seeded(), strength=torch.zeros(len(ink)))
    # At most half a pixel and the blur of one resampling.
    for before, after in zip(bounding_boxes(ink), bounding_boxes(framed), strict=True):
        assert (before - after).abs().max() <= 2
    nearest = torch.stack(
        [
            (framed - ink.roll((down, right), (1, 2))).abs().mean((1, 2))
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
        ]
    ).amin(0)
    assert nearest.max() < 0.05


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_a_small_digit_in_a_corner_is_normalised(strength: float) -> None:
    small = torch.zeros(len(IMAGES), 28, 28)
    small[:, 2:12, 15:25] = torch.nn.functional.avg_pool2d(as_ink(IMAGES)[:, 4:24, 4:24], 2)
    framed = deform_and_normalise(small, seeded(), strength=torch.full((len(IMAGES),), strength))
    top, bottom, left, right = bounding_boxes(framed)
    side = torch.maximum(bottom - top, right - left) + 1
    assert ((side > 15) & (side < 26)).all()  # enlarging blurs the edges
    place = torch.arange(28)
    mass = framed.sum((1, 2))
    for axis in (1, 2):
        centre = (framed.sum(axis) * place).sum(1) / mass
        assert (centre - 14).abs().max() < (0.6 if strength == 0 else 2.5)


def test_a_segment_has_the_requested_length_and_width() -> None:
    drawn = stroke(5, 14, 22, 14, 3)
    assert drawn[0, 13:16, 6:22].min() == 1
    assert drawn[0, [10, 18]].max() == 0
    assert drawn.sum() == pytest.approx(17 * 3 + 9 * np.pi / 4, rel=0.05)
    assert stroke(5, 5, 22, 22, -2).max() == 0


@pytest.mark.parametrize("width", [1.5, 2.0, 3.0, 4.0])
def test_stroke_width_of_a_segment_is_measured(width: float) -> None:
    assert stroke_width(stroke(14, 3, 14, 25, width)).item() == pytest.approx(width, rel=0.15)


def test_bounding_boxes_and_rectangle_masks_agree() -> None:
    box = tuple(torch.tensor([float(edge)]) for edge in (3, 20, 7, 7))
    ink = rectangle_mask(*box).float()
    assert ink.sum() == 18
    assert bounding_boxes(ink) == box
    assert [int(edge) for edge in bounding_boxes(torch.zeros(1, 28, 28))] == [27, 0, 27, 0]


def test_uniform_numbers_cover_their_range() -> None:
    values = uniform(4000, -2.0, 5.0, seeded())
    assert values.min() >= -2
    assert values.max() < 5
    assert values.mean().item() == pytest.approx(1.5, abs=0.15)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(1, len(IMAGES)))
def test_negatives_are_ink_and_reproducible(seed: int, n: int, material: int) -> None:
    pictures = negatives.draw_negatives(n, IMAGES[:material], LABELS[:material], seeded(seed))
    assert pictures.shape == (n, 28, 28)
    assert bool(((pictures >= 0) & (pictures <= 1)).all())
    again = negatives.draw_negatives(n, IMAGES[:material], LABELS[:material], seeded(seed))
    assert torch.equal(pictures, again)


KINDS: list[Callable[..., Tensor]] = [draw for _, _, draw in negatives._KINDS]


@pytest.mark.parametrize("draw", KINDS, ids=lambda draw: draw.__name__)
def test_no_kind_of_negative_returns_its_source_digit(draw: Callable[..., Tensor]) -> None:
    ink = as_ink(IMAGES)
    drawn = draw(ink.clone(), LABELS, seeded(3))
    assert bool(((drawn >= 0) & (drawn <= 1)).all())
    distance = (drawn[:, None] - ink[None]).abs().mean((2, 3))
    assert distance.min() > 0.01


def test_shuffled_tiles_keep_all_pixels() -> None:
    ink = as_ink(IMAGES)
    mixed = negatives._shuffled_tiles(ink, LABELS, seeded())
    assert torch.equal(mixed.flatten(1).sort()[0], ink.flatten(1).sort()[0])


def test_a_partial_digit_has_about_half_of_the_ink() -> None:
    ink = as_ink(IMAGES)[LABELS != 1]
    half = negatives._partial(ink, LABELS[LABELS != 1], seeded())
    assert bool((half <= ink).all())
    left = half.sum((1, 2)) / ink.sum((1, 2))
    assert ((left > 0.15) & (left < 0.85)).all()


def test_static_drawing_never_waits_for_a_number() -> None:
    """Fake tensors have no values: what depends on one raises an error, as a CUDA graph would."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        images = torch.zeros(64, 28, 28, dtype=torch.uint8)
        labels = torch.zeros(64, dtype=torch.int64)
        generator = torch.Generator()
        assert augment(images, labels, generator, static=True).shape == (64, 28, 28)
        assert negatives.draw_negatives(8, images, labels, generator, static=True).shape == (
            8,
            28,
            28,
        )
        with pytest.raises(DynamicOutputShapeException):
            augment(images, labels, generator)


def test_static_drawing_draws_what_other_drawing_does() -> None:
    """By means over many images: of ink, of its spread, and of how much it was altered."""
    rng = torch.Generator().manual_seed(1)
    n = 3000
    labels = torch.arange(n) % 10
    images = torch.zeros(n, 28, 28, dtype=torch.uint8)
    images[:, 5:23, 12:16] = 200
    found = []
    for static in (False, True):
        ink = augment(images, labels, rng, static=static)
        others = negatives.draw_negatives(n, images, labels, rng, static=static)
        found.append(
            [
                ink.mean(),
                ink.std(0).mean(),
                (ink - as_ink(images)).abs().mean(),
                others.mean(),
                others.std(0).mean(),
                others.mean((1, 2)).std(),
            ]
        )
    np.testing.assert_allclose(found[1], found[0], rtol=0.06)
