"""Test-time augmentation (TTA) where a model is unsure."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rowscan
from rowscan.alphabet import DIGITS
from rowscan.recipes import RECIPES
from rowscan.recognition.beam import decode, possible_probability
from rowscan.recognition.characters import read_lines
from rowscan.recognition.constraint import constraint
from rowscan.recognition.ctc import Decoding, compressed, text_probability
from rowscan.recognition.tta import (
    DIGIT_THRESHOLD,
    LINE_THRESHOLD,
    Budget,
    augment_line,
    decode_again,
    predict_proba,
    shift,
)
from rowscan.segmentation.line_image import LineImage

RNG = np.random.default_rng(0)


def _probabilities(confidence: float, digit: int = 0) -> np.ndarray:
    row = np.full(10, (1 - confidence) / 9, np.float32)
    row[digit] = confidence
    return row


def test_no_tta_for_an_image_of_high_confidence() -> None:
    batches = []

    def predict(images: np.ndarray) -> np.ndarray:
        batches.append(len(images))
        return np.stack([_probabilities(0.95)] * len(images))

    np.testing.assert_array_equal(
        predict_proba(predict, np.zeros((3, 28, 28), np.uint8)),
        np.stack([_probabilities(0.95)] * 3),
    )
    assert batches == [3]
    assert predict_proba(
        lambda _: np.empty((0, 10), np.float32), np.zeros((0, 28, 28), np.uint8)
    ).shape == (0, 10)


def test_five_predictions_for_an_unsure_image_by_hand() -> None:
    """A 7 where the pixel has moved up and left; otherwise a 1 at 60%."""
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 5, 5] = images[1, 20, 20] = 255

    def predict(some: np.ndarray) -> np.ndarray:
        rows = [
            _probabilities(0.99, 3)
            if image[15:].any()
            else _probabilities(1.0, 7)
            if image[4, 4]
            else _probabilities(0.6, 1)
            for image in some
        ]
        return np.stack(rows)

    first, second = predict_proba(predict, images)
    assert first[1] == pytest.approx(4 / 5 * 0.6)
    assert first[7] == pytest.approx(1 / 5 + 4 / 5 * 0.4 / 9)
    assert first.sum() == pytest.approx(1)
    np.testing.assert_array_equal(second, _probabilities(0.99, 3))


@given(st.integers(-1, 1), st.integers(-1, 1))
def test_a_shift_is_a_roll_where_the_border_is_black(down: int, right: int) -> None:
    images = np.zeros((2, 7, 9), np.uint8)
    images[:, 1:-1, 1:-1] = RNG.integers(0, 256, (2, 5, 7))
    np.testing.assert_array_equal(
        shift(images, down, right), np.roll(images, (down, right), (1, 2))
    )


def test_what_leaves_the_image_is_lost() -> None:
    images = np.ones((1, 3, 3), np.uint8)
    assert shift(images, 1, -1)[0].tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0]]


def test_the_shipped_digit_model_uses_tta_only_where_it_is_unsure() -> None:
    model = rowscan.Reader().digit_model
    images = RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    images[10:] = 0
    images[10:, 4:24, 13:16] = 255  # strokes
    graph = np.concatenate([model.run("probabilities", image[None]) for image in images])
    sure = graph.max(1) >= DIGIT_THRESHOLD
    assert sure.any()
    assert not sure.all()
    corners = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    every = [graph] + [model.run("probabilities", shift(images, *by)) for by in corners]
    expected = np.where(sure[:, None], graph, np.mean(every, 0))
    np.testing.assert_allclose(model.predict_proba(images), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_once(images), graph, atol=1e-6)


def test_no_published_system_uses_tta() -> None:
    assert [name for name, recipe in RECIPES.items() if getattr(recipe, "tta", False)] == ["sweep"]


def _steps(*digits: int, confidence: float) -> np.ndarray:
    """Eight steps; a digit at every second one, with that probability against blank."""
    rows = np.zeros((8, 11), np.float32)
    rows[:, 0] = 1
    for i, digit in enumerate(digits):
        rows[2 * i + 1, [0, digit + 1]] = 1 - confidence, confidence
    return rows


def _decode_again(
    predict: Callable[[np.ndarray], np.ndarray], first: np.ndarray, width: int = 40
) -> Decoding:
    ink, allowed = np.zeros((32, width), np.uint8), constraint(DIGITS)
    return decode_again(predict, ink, first, decode(first), allowed)


def test_nine_predictions_for_an_unsure_line_by_hand() -> None:
    """As it is, the line tends to a lone 4; of its variants five are read 42 and three 4."""
    first = _steps(4, confidence=0.99)
    first[3, [0, 3]] = 0.6, 0.4

    def predict(lines: np.ndarray) -> np.ndarray:
        assert len(lines) == 8
        both, one = _steps(4, 2, confidence=0.9), _steps(4, confidence=0.9)
        one[3, [0, 3]] = 0.9, 0.1
        return np.stack([both] * 5 + [one] * 3)

    decoding = _decode_again(predict, first)
    assert decode(first).text == (4,)
    assert decoding.text == (4, 2)
    # 42 has 0.99 x 0.4 in the line as it is, three times 0.9 x 0.1, five times 0.9 x 0.9.
    assert decoding.probability == pytest.approx((0.99 * 0.4 + 3 * 0.09 + 5 * 0.81) / 9)
    assert decoding.spans == ((1, 1), (3, 3))


@pytest.mark.parametrize(("width", "sizes"), [(40, [8]), (600, [3, 3, 2]), (4096, [1] * 8)])
def test_variants_of_a_long_line_come_in_several_batches(width: int, sizes: list[int]) -> None:
    batches = []

    def predict(lines: np.ndarray) -> np.ndarray:
        batches.append(len(lines))
        return np.stack([_steps(7, confidence=0.7)] * len(lines))

    decoding = _decode_again(predict, _steps(7, confidence=0.7), width)
    assert batches == sizes
    assert decoding.text == (7,)
    assert decoding.probability == pytest.approx(0.7)


def test_one_variant_that_denies_a_text_does_not_outvote_the_rest() -> None:
    """One variant is surely a lone 4; the others tend to 42. Products would say 4."""
    tends = _steps(4, 2, confidence=0.99)
    tends[3, [0, 3]] = 0.4, 0.6

    def predict(lines: np.ndarray) -> np.ndarray:
        return np.stack([tends] * 7 + [_steps(4, confidence=0.999999)])

    decoding = _decode_again(predict, tends)
    assert decoding.text == (4, 2)
    assert decoding.probability == pytest.approx(8 / 9 * 0.99 * 0.6)


def test_a_text_that_is_impossible_in_the_line_as_it_is_is_not_taken() -> None:
    def predict(lines: np.ndarray) -> np.ndarray:
        return np.stack([_steps(1, confidence=1.0)] * len(lines))

    decoding = _decode_again(predict, _steps(7, confidence=0.7))
    assert decoding.text == (7,)
    assert decoding.probability == pytest.approx(0.7 / 9)


def test_variants_of_a_line_are_sheared_scaled_and_shifted() -> None:
    ink = np.zeros((32, 61), np.uint8)
    ink[9:23, 28:33] = 255
    lines = augment_line(ink).astype(float)
    row, column = np.arange(32), np.arange(lines.shape[2])
    mass = lines.sum((1, 2))
    scales, lower = (0.8, 0.9, 1.0, 1.1) * 2, (1, -2, 2, -1) * 2
    np.testing.assert_allclose((mass / ink.sum()) ** 0.5, scales, rtol=0.02)
    np.testing.assert_allclose((lines.sum(2) @ row) / mass, np.add(15.5, lower), atol=0.05)
    np.testing.assert_allclose((lines.sum(1) @ column) / mass, (lines.shape[2] - 1) / 2, atol=0.05)
    for line, slope, scale in zip(lines, (-0.15,) * 4 + (0.15,) * 4, scales, strict=True):
        inside = line.sum(1) > 0.9 * line.sum(1).max()
        middles = (line @ column)[inside] / line.sum(1)[inside]
        assert np.polyfit(row[inside], middles, 1)[0] == pytest.approx(-slope / scale, abs=0.02)


def test_the_ink_of_a_line_fits_into_its_variants() -> None:
    ink = np.zeros((32, 50), np.uint8)
    ink[4:28, 4:46] = 255
    assert not augment_line(ink)[:, :, [0, -1]].any()


def test_the_shipped_line_model_uses_tta_only_where_it_is_unsure() -> None:
    model = rowscan.Reader().line_model
    stroke = np.zeros((32, 20), np.uint8)
    stroke[4:28, 8:11] = 255
    faint = stroke.copy()  # with a pale flag and a base: it is read with doubt
    faint[4:7, 1:8], faint[25:28, 4:16] = 105, 60
    place = np.eye(2, 3)
    lines = [LineImage(ink, (0, 0, 20, 32), place, 1.0) for ink in (faint, stroke)]
    allowed = constraint(model.alphabet, show_other=True)
    doubtful, sure = (candidate.line for candidate in read_lines(model, lines, allowed))
    text = tuple(map(model.alphabet.index, doubtful.text))
    every = [*model.predict_lines([faint]), *model.probabilities(augment_line(faint))]
    steps = [allowed.restrict(line) for line in every]
    odds = [text_probability(line, text, allowed.gap) for line in steps]
    possible = [possible_probability(compressed(line)[0], allowed) for line in steps]
    assert odds[0] < LINE_THRESHOLD
    assert doubtful.confidence == pytest.approx(np.mean(odds) / np.mean(possible), rel=1e-3)
    (own,) = model.predict_lines([stroke])
    assert sure.confidence >= LINE_THRESHOLD
    assert sure.confidence == pytest.approx(decode(allowed.restrict(own)).probability, rel=1e-3)


def test_lines_are_read_together_as_one_by_one() -> None:
    model = rowscan.Reader().line_model
    widths = (40, 44, 47, 48, 120, 33, 41, 2050)
    lines = [np.where(RNG.random((32, width)) < 0.1, 255, 0).astype(np.uint8) for width in widths]
    for line, together in zip(lines, model.predict_lines(lines), strict=True):
        (alone,) = model.predict_lines([line])
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_columns_that_are_augmented_are_bounded_and_those_of_the_shortest_lines() -> None:
    doubtful, sure = Decoding((1,), 0.5, ((0, 0),)), Decoding((1,), 0.9, ((0, 0),))
    widths = [6144, 200, 100, 6144, 300]
    budget = Budget()
    assert budget.unsure([doubtful, doubtful, sure, doubtful, doubtful], widths) == [1, 4]
    assert budget.unsure([doubtful, doubtful], [5645, 5644]) == [1]  # what is left of the page
    assert budget.unsure([doubtful], [1]) == []


def test_what_is_read_does_not_depend_on_threads() -> None:
    """Of 24 unsure lines some are too many to augment: the same ones whoever reads them."""
    reader = rowscan.Reader()
    images = [_speckled_line(width) for width in range(40, 64)]
    few = sum(range(40, 58))
    alone, shared, all_of_them = (
        read_lines(
            reader.line_model, images, reader.constraint(), budget=Budget(columns), threads=threads
        )
        for columns, threads in ((few, 1), (few, 2), (10 * few, 1))
    )
    for one, other in zip(alone, shared, strict=True):
        assert one.line.text == other.line.text
        assert one.line.confidence == pytest.approx(other.line.confidence, rel=1e-3)
    sure = [one.line.confidence for one in alone]
    augmented = [one.line.confidence for one in all_of_them]
    np.testing.assert_allclose(sure[:18], augmented[:18], rtol=1e-3)
    assert (np.abs(np.subtract(sure, augmented)[18:]) > 1e-3 * np.array(sure[18:])).all()


def _speckled_line(width: int) -> LineImage:
    ink = np.zeros((32, width), np.uint8)
    cv2.putText(ink, "471603", (3, 27), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    ink[RNG.random(ink.shape) < 0.25] = 128
    return LineImage(ink, (0, 0, width, 32), np.eye(2, 3), 1.0)
