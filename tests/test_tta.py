"""A model that doubts looks again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rowscan
from rowscan.recipes import RECIPES
from rowscan.recognition.ctc import decode, text_probability
from rowscan.recognition.tta import SURE, moved, otherwise, predict_proba, read_line

RNG = np.random.default_rng(0)


def _sure_of(confidence: float, digit: int = 0) -> np.ndarray:
    row = np.full(10, (1 - confidence) / 9, np.float32)
    row[digit] = confidence
    return row


def test_an_image_it_is_sure_of_gets_one_look() -> None:
    asked = []

    def answer(images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return np.stack([_sure_of(0.95)] * len(images))

    np.testing.assert_array_equal(
        predict_proba(answer, np.zeros((3, 28, 28), np.uint8)), np.stack([_sure_of(0.95)] * 3)
    )
    assert asked == [3]
    assert predict_proba(
        lambda _: np.empty((0, 10), np.float32), np.zeros((0, 28, 28), np.uint8)
    ).shape == (0, 10)


def test_five_looks_at_a_doubtful_one_by_hand() -> None:
    """The model sees a 7 where the pixel has moved up and left, and else is 60% sure of a 1."""
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 5, 5] = images[1, 20, 20] = 255

    def answer(some: np.ndarray) -> np.ndarray:
        rows = [
            _sure_of(0.99, 3)
            if image[15:].any()
            else _sure_of(1.0, 7)
            if image[4, 4]
            else _sure_of(0.6, 1)
            for image in some
        ]
        return np.stack(rows)

    first, second = predict_proba(answer, images)
    assert first[1] == pytest.approx(4 / 5 * 0.6)
    assert first[7] == pytest.approx(1 / 5 + 4 / 5 * 0.4 / 9)
    assert first.sum() == pytest.approx(1)
    np.testing.assert_array_equal(second, _sure_of(0.99, 3))


@given(st.integers(-1, 1), st.integers(-1, 1))
def test_moving_is_rolling_where_the_border_is_black(down: int, right: int) -> None:
    images = np.zeros((2, 7, 9), np.uint8)
    images[:, 1:-1, 1:-1] = RNG.integers(0, 256, (2, 5, 7))
    np.testing.assert_array_equal(
        moved(images, down, right), np.roll(images, (down, right), (1, 2))
    )


def test_what_leaves_the_image_is_lost() -> None:
    images = np.ones((1, 3, 3), np.uint8)
    assert moved(images, 1, -1)[0].tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0]]


def test_the_shipped_reader_looks_again_and_only_where_it_doubts() -> None:
    reader = rowscan.Reader()
    images = RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    images[10:] = 0
    images[10:, 4:24, 13:16] = 255  # strokes
    graph = np.concatenate(
        [reader.digit_model.run("probabilities", image[None]) for image in images]
    )
    sure = graph.max(1) >= SURE
    assert sure.any()
    assert not sure.all()
    corners = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    every = [graph] + [
        reader.digit_model.run("probabilities", moved(images, *by)) for by in corners
    ]
    expected = np.where(sure[:, None], graph, np.mean(every, 0))
    np.testing.assert_allclose(reader.predict_proba(images), expected, atol=1e-6)


def test_no_published_system_looks_again() -> None:
    assert [name for name, recipe in RECIPES.items() if getattr(recipe, "tta", False)] == ["sweep"]


def _steps(*digits: int, sure: float) -> np.ndarray:
    """Eight steps; each digit at every second one, with that probability against none."""
    rows = np.zeros((8, 11), np.float32)
    rows[:, 0] = 1
    for place, digit in enumerate(digits):
        rows[2 * place + 1, [0, digit + 1]] = 1 - sure, sure
    return rows


def test_a_line_it_is_sure_of_gets_one_look() -> None:
    asked = []

    def answer(lines: np.ndarray) -> np.ndarray:
        asked.append(len(lines))
        return np.stack([_steps(4, 2, sure=0.95)] * len(lines))

    steps, found = read_line(answer, np.zeros((32, 40), np.uint8))
    assert asked == [1]
    np.testing.assert_array_equal(steps, _steps(4, 2, sure=0.95))
    assert found == decode(steps)


def test_nine_looks_at_a_doubtful_line_by_hand() -> None:
    """The first look tends to a lone 4; of the others five see 42 and three a 4."""
    first = _steps(4, sure=0.99)
    first[3, [0, 3]] = 0.6, 0.4

    def answer(lines: np.ndarray) -> np.ndarray:
        if len(lines) == 1:
            return first[None]
        few, many = _steps(4, sure=0.9), _steps(4, 2, sure=0.9)
        few[3, [0, 3]] = 0.9, 0.1
        return np.stack([few] * 3 + [many] * 5)

    steps, found = read_line(answer, np.zeros((32, 40), np.uint8))
    assert found.digits == (4, 2)
    # By hand: 0.99 x 0.4, three times 0.9 x 0.1, five times 0.9 x 0.9.
    assert found.probability == pytest.approx((0.99 * 0.4 + 3 * 0.09 + 5 * 0.81) / 9)
    assert found.spans == ((1, 1), (3, 3))
    np.testing.assert_array_equal(steps, first)


@pytest.mark.parametrize(("width", "asked"), [(40, [1, 8]), (600, [1, 3, 3, 2]), (4096, [1] * 9)])
def test_a_long_line_is_looked_at_in_parts(width: int, asked: list[int]) -> None:
    sizes = []

    def answer(lines: np.ndarray) -> np.ndarray:
        sizes.append(len(lines))
        return np.stack([_steps(7, sure=0.7)] * len(lines))

    _, found = read_line(answer, np.zeros((32, width), np.uint8))
    assert sizes == asked
    assert found.digits == (7,)
    assert found.probability == pytest.approx(0.7)


def test_one_look_that_denies_a_text_does_not_outvote_the_rest() -> None:
    """One look is sure of a lone 4; the others tend to 42. The products would say 4."""
    tends = _steps(4, 2, sure=0.99)
    tends[3, [0, 3]] = 0.4, 0.6

    def answer(lines: np.ndarray) -> np.ndarray:
        if len(lines) == 1:
            return tends[None]
        return np.stack([tends] * 7 + [_steps(4, sure=0.999999)])

    _, found = read_line(answer, np.zeros((32, 40), np.uint8))
    assert found.digits == (4, 2)
    assert found.probability == pytest.approx(8 / 9 * 0.99 * 0.6)


def test_a_text_of_which_the_first_look_knows_nothing_is_not_taken() -> None:
    def answer(lines: np.ndarray) -> np.ndarray:
        if len(lines) == 1:
            return _steps(7, sure=0.7)[None]
        return np.stack([_steps(1, sure=1.0)] * len(lines))

    _, found = read_line(answer, np.zeros((32, 40), np.uint8))
    assert found.digits == (7,)
    assert found.probability == pytest.approx(0.7 / 9)


def test_a_line_otherwise_written_leans_has_another_size_and_another_place() -> None:
    ink = np.zeros((32, 61), np.uint8)
    ink[9:23, 28:33] = 255
    lines = otherwise(ink).astype(float)
    row, column = np.arange(32), np.arange(lines.shape[2])
    mass = lines.sum((1, 2))
    sizes, lower = (0.8, 0.9, 1.0, 1.1) * 2, (1, -2, 2, -1) * 2
    np.testing.assert_allclose((mass / ink.sum()) ** 0.5, sizes, rtol=0.02)
    np.testing.assert_allclose((lines.sum(2) @ row) / mass, np.add(15.5, lower), atol=0.05)
    np.testing.assert_allclose((lines.sum(1) @ column) / mass, (lines.shape[2] - 1) / 2, atol=0.05)
    for line, slope, size in zip(lines, (-0.15,) * 4 + (0.15,) * 4, sizes, strict=True):
        inside = line.sum(1) > 0.9 * line.sum(1).max()
        middles = (line @ column)[inside] / line.sum(1)[inside]
        assert np.polyfit(row[inside], middles, 1)[0] == pytest.approx(-slope / size, abs=0.02)


def test_the_ink_of_a_line_fits_into_its_other_looks() -> None:
    ink = np.zeros((32, 50), np.uint8)
    ink[4:28, 4:46] = 255
    assert not otherwise(ink)[:, :, [0, -1]].any()


def test_the_shipped_reader_decides_by_more_looks_where_it_doubts() -> None:
    model = rowscan.Reader().line_model
    ink = RNG.integers(0, 256, (32, 64), dtype=np.uint8)  # nobody can be sure of noise
    first, found = read_line(lambda lines: model.run("probabilities", lines), ink)
    others = [
        model.run("probabilities", np.pad(line[None], ((0, 0), (0, 0), (0, -line.shape[1] % 4))))[0]
        for line in otherwise(ink)
    ]
    odds = [text_probability(look, found.digits) for look in (first, *others)]
    assert odds[0] < SURE
    assert found.probability == pytest.approx(np.mean(odds), rel=1e-4)
