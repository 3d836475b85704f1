"""Allographs of digits: splines through their control points, rendered with a pen."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rowscan.segmentation.digit import BOX, SIZE
from rowscan.training.synthesis import pen_digits
from rowscan.training.synthesis.augmentation import draw_segments
from rowscan.training.synthesis.pen_digits import redraw_as_allographs

STROKES = [path for _, allograph in pen_digits._ALLOGRAPHS for path in allograph]


def _drawn(labels: torch.Tensor, writers: torch.Tensor, seed: int = 0) -> torch.Tensor:
    chosen = torch.ones(len(labels), dtype=torch.bool)
    paper, generator = torch.zeros(len(labels), SIZE, SIZE), torch.Generator().manual_seed(seed)
    return redraw_as_allographs(paper, labels, writers, chosen, generator)


def test_strokes_pass_through_their_control_points_in_order() -> None:
    for path in STROKES:
        points = torch.tensor(path)
        samples = pen_digits._stroke_basis(path) @ points
        torch.testing.assert_close(samples[:: pen_digits._SAMPLES], points, msg=str(path))


def test_between_control_points_the_curve_is_catmull_rom() -> None:
    # By hand: halfway between the middle two of four points it is (-a + 9b + 9c - d) / 16.
    path = ((0.0, 0.0), (0.2, 0.7), (0.9, 0.4), (1.0, 1.0))
    a, b, c, d = torch.tensor(path)
    samples = pen_digits._stroke_basis(path) @ torch.tensor(path)
    middle = samples[pen_digits._SAMPLES + pen_digits._SAMPLES // 2]
    torch.testing.assert_close(middle, (9 * b + 9 * c - a - d) / 16)


@given(st.tuples(*[st.floats(0, 1, width=16)] * 6))
def test_a_corner_is_sharp_and_its_strokes_stay_straight(
    numbers: tuple[float, ...],
) -> None:
    a, b, c = ((x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True))
    path = (a, b, b, c)
    samples = pen_digits._stroke_basis(path) @ torch.tensor(path)
    steps = pen_digits._SAMPLES
    first, corner, last = samples[:steps], samples[steps : 2 * steps], samples[2 * steps :]
    start, turn, end = torch.tensor((a, b, c))
    for stroke, (one, other) in ((first, (start, turn)), (last, (turn, end))):
        along = other - one
        off = (stroke - one)[:, 0] * along[1] - (stroke - one)[:, 1] * along[0]
        assert off.abs().max() < 1e-5
    assert (corner - turn).abs().max() < 1e-6


def test_pixel_distances_are_those_to_the_nearest_sample() -> None:
    samples = torch.rand(3, 50, 2, generator=torch.Generator().manual_seed(0)) * 30 - 15
    side = torch.arange(SIZE, dtype=torch.float32) - (SIZE - 1) / 2
    y, x = torch.meshgrid(side, side, indexing="ij")
    expected = torch.cdist(torch.stack([x, y], -1).view(1, -1, 2).expand(3, -1, -1), samples)
    distance = pen_digits._distance(samples, (SIZE, SIZE))
    torch.testing.assert_close(distance.flatten(1), expected.amin(2), atol=1e-2, rtol=0)


def test_a_straight_stroke_is_rendered_as_a_segment() -> None:
    path = ((-3.0, -8.0), (1.0, 8.0))
    samples = (pen_digits._stroke_basis(path) @ torch.tensor(path))[None]
    (drawn,) = pen_digits.render_pen(samples, pen_digits._PEN_WIDTH, (SIZE, SIZE))
    x0, y0, x1, y1 = (torch.tensor([v + (SIZE - 1) / 2]) for point in path for v in point)
    (expected,) = draw_segments(x0, y0, x1, y1, torch.tensor([pen_digits._PEN_WIDTH]))
    # The samples lie a pixel apart, which makes the edge slightly wavy.
    torch.testing.assert_close(drawn, expected, atol=0.13, rtol=0)


def test_only_chosen_images_are_redrawn_and_stay_in_the_frame() -> None:
    generator = torch.Generator().manual_seed(1)
    before = torch.rand(100, SIZE, SIZE, generator=generator)
    labels = torch.arange(100) % 10
    chosen = torch.arange(100) % 3 == 0
    after = redraw_as_allographs(before, labels, torch.arange(100) // 10, chosen, generator)
    assert torch.equal(after[~chosen], before[~chosen])
    drawn = after[chosen]
    assert 0 <= drawn.min() <= drawn.max() <= 1
    assert (drawn.sum((1, 2)) > 40).all()
    assert drawn[:, [0, -1]].max() < 0.1


def test_a_writer_keeps_an_allograph_and_writers_differ() -> None:
    same = _drawn(torch.full((20,), 5), torch.zeros(20, dtype=torch.long))
    other = _drawn(torch.full((20,), 5), torch.arange(20))
    assert not torch.equal(same[0], same[1])
    assert (same - same.mean(0)).abs().mean() < 0.5 * (other - other.mean(0)).abs().mean()


def test_every_allograph_of_a_digit_is_drawn_and_none_of_another_digit() -> None:
    digits = [digit for digit, _ in pen_digits._ALLOGRAPHS]
    assert digits == sorted(digits)
    table, first = pen_digits._allograph_table()
    assert first.tolist() == [digits.index(digit) for digit in range(10)] + [len(digits)]
    for digit in range(10):
        many = _drawn(torch.full((200,), digit), torch.arange(200))
        shapes = table.points[first[digit] : first[digit + 1]]
        drafts = [
            pen_digits._distance(_samples(index), (SIZE, SIZE))
            for index in range(first[digit], first[digit + 1])
        ]
        nearest = torch.stack(
            [((1.8 - draft).clamp(0, 1) - many).abs().mean((1, 2)) for draft in drafts]
        ).argmin(0)
        assert set(nearest.tolist()) == set(range(len(shapes)))


def _samples(index: int) -> torch.Tensor:
    table, _ = pen_digits._allograph_table()
    return (table.bases[index] @ ((table.points[index] - 0.5) * (BOX - pen_digits._PEN_WIDTH)))[
        None
    ]
