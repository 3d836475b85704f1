"""Digits of other hands: curves through their points, drawn by a pen."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rowscan.segmentation.digit import BOX, SIZE
from rowscan.training.synthesis import pen_digits
from rowscan.training.synthesis.augmentation import segment
from rowscan.training.synthesis.pen_digits import redraw_as_allographs

PATHS = [path for _, strokes in pen_digits._WAYS for path in strokes]


def _drawn(labels: torch.Tensor, whose: torch.Tensor, seed: int = 0) -> torch.Tensor:
    chosen = torch.ones(len(labels), dtype=torch.bool)
    paper, generator = torch.zeros(len(labels), SIZE, SIZE), torch.Generator().manual_seed(seed)
    return redraw_as_allographs(paper, labels, whose, chosen, generator)


@pytest.mark.parametrize("path", PATHS)
def test_the_pen_passes_through_all_points_in_their_order(path: pen_digits.Path) -> None:
    points = torch.tensor(path)
    places = pen_digits._curve(path) @ points
    torch.testing.assert_close(places[:: pen_digits._STEPS], points)


def test_between_points_the_curve_is_catmull_and_roms() -> None:
    # By hand: half way between the middle two of four points it is (-a + 9b + 9c - d) / 16.
    path = ((0.0, 0.0), (0.2, 0.7), (0.9, 0.4), (1.0, 1.0))
    a, b, c, d = torch.tensor(path)
    places = pen_digits._curve(path) @ torch.tensor(path)
    middle = places[pen_digits._STEPS + pen_digits._STEPS // 2]
    torch.testing.assert_close(middle, (9 * b + 9 * c - a - d) / 16)


@given(st.tuples(*[st.floats(0, 1, width=16)] * 6))
def test_a_corner_is_sharp_and_what_meets_there_does_not_bend_for_it(
    numbers: tuple[float, ...],
) -> None:
    a, b, c = ((x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True))
    path = (a, b, b, c)
    places = pen_digits._curve(path) @ torch.tensor(path)
    steps = pen_digits._STEPS
    first, corner, last = places[:steps], places[steps : 2 * steps], places[2 * steps :]
    start, turn, end = torch.tensor((a, b, c))
    for stroke, (one, other) in ((first, (start, turn)), (last, (turn, end))):
        along = other - one
        off = (stroke - one)[:, 0] * along[1] - (stroke - one)[:, 1] * along[0]
        assert off.abs().max() < 1e-5
    assert (corner - turn).abs().max() < 1e-6


def test_the_distance_of_a_pixel_is_that_to_the_nearest_place() -> None:
    places = torch.rand(3, 50, 2, generator=torch.Generator().manual_seed(0)) * 30 - 15
    side = torch.arange(SIZE, dtype=torch.float32) - (SIZE - 1) / 2
    y, x = torch.meshgrid(side, side, indexing="ij")
    expected = torch.cdist(torch.stack([x, y], -1).view(1, -1, 2).expand(3, -1, -1), places)
    distance = pen_digits._distance(places, (SIZE, SIZE))
    torch.testing.assert_close(distance.flatten(1), expected.amin(2), atol=1e-2, rtol=0)


def test_a_straight_path_is_drawn_as_a_segment() -> None:
    path = ((-3.0, -8.0), (1.0, 8.0))
    places = (pen_digits._curve(path) @ torch.tensor(path))[None]
    (drawn,) = pen_digits.stroked(places, pen_digits._PEN, (SIZE, SIZE))
    x0, y0, x1, y1 = (torch.tensor([v + (SIZE - 1) / 2]) for point in path for v in point)
    (expected,) = segment(x0, y0, x1, y1, torch.tensor([pen_digits._PEN]))
    # Its places lie a pixel apart, so that its edge is a little wavy.
    torch.testing.assert_close(drawn, expected, atol=0.13, rtol=0)


def test_what_is_not_chosen_stays_and_what_is_chosen_is_a_digit_in_the_frame() -> None:
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


def test_a_hand_writes_a_digit_the_same_way_each_time_and_another_hand_in_others() -> None:
    same = _drawn(torch.full((20,), 5), torch.zeros(20, dtype=torch.long))
    other = _drawn(torch.full((20,), 5), torch.arange(20))
    assert not torch.equal(same[0], same[1])
    assert (same - same.mean(0)).abs().mean() < 0.5 * (other - other.mean(0)).abs().mean()


def test_all_ways_of_all_digits_are_drawn_and_none_of_another_digit() -> None:
    digits = [digit for digit, _ in pen_digits._WAYS]
    assert digits == sorted(digits)
    table, first = pen_digits._table()
    assert first.tolist() == [digits.index(digit) for digit in range(10)] + [len(digits)]
    for digit in range(10):
        many = _drawn(torch.full((200,), digit), torch.arange(200))
        ways = table.points[first[digit] : first[digit + 1]]
        drafts = [
            pen_digits._distance(_places(way), (SIZE, SIZE))
            for way in range(first[digit], first[digit + 1])
        ]
        nearest = torch.stack(
            [((1.8 - draft).clamp(0, 1) - many).abs().mean((1, 2)) for draft in drafts]
        ).argmin(0)
        assert set(nearest.tolist()) == set(range(len(ways)))


def _places(way: int) -> torch.Tensor:
    table, _ = pen_digits._table()
    return (table.curves[way] @ ((table.points[way] - 0.5) * (BOX - pen_digits._PEN)))[None]
