"""A model that doubts looks again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rowscan
from rowscan.looks import SURE, moved, predict_proba
from rowscan.recipes import RECIPES

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
    assert [name for name, recipe in RECIPES.items() if recipe.look_again] == ["sweep"]
