"""Decoding and probabilities against the enumeration of all paths."""

import itertools
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rowscan.recognition import ctc
from rowscan.recognition.beam import decode, decode_lines
from rowscan.recognition.constraint import Constraint
from rowscan.recognition.ctc import (
    align,
    best_path,
    best_path_spans,
    compressed,
    pair_alternatives,
    text_probabilities,
    text_probability,
)


def random_rows(steps: int, classes: int, seed: int, sharp: float = 1.5) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, sharp, (steps, classes))
    rows: np.ndarray = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return rows


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(c - 1 for c, _ in itertools.groupby(path) if c)


def all_texts(rows: np.ndarray, gap: int | None = None) -> dict[tuple[int, ...], float]:
    texts: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(rows.shape[1]), repeat=len(rows)):
        text = collapse(path) if gap is None else without_gaps(collapse(path), gap)
        texts[text] += float(np.prod([row[c] for row, c in zip(rows, path, strict=True)]))
    return texts


def without_gaps(text: tuple[int, ...], gap: int) -> tuple[int, ...]:
    """Without gaps at the ends, and one for several."""
    words = [tuple(run) for is_gap, run in itertools.groupby(text, gap.__eq__) if not is_gap]
    return words[0] + tuple(itertools.chain(*((gap, *w) for w in words[1:]))) if words else ()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(2, 4), st.integers(0, 2**32))
def test_the_probability_of_a_text_is_the_sum_over_its_paths(
    steps: int, classes: int, seed: int
) -> None:
    rows = random_rows(steps, classes, seed)
    texts = all_texts(rows)
    assert sum(texts.values()) == pytest.approx(1)
    for text, probability in texts.items():
        assert text_probability(rows, text) == pytest.approx(probability, rel=1e-9)
    assert text_probability(rows, (0,) * (steps + 1)) == 0


def test_texts_of_several_lines_at_once_are_as_of_each_line() -> None:
    lines = np.stack([random_rows(30, 11, seed) for seed in range(6)]).reshape(2, 3, 30, 11)
    texts = [(), (1,), (4, 4), (0, 9, 2, 2)]
    together = text_probabilities(lines, texts)
    assert together.shape == (2, 3, 4)
    for index in np.ndindex(2, 3):
        expected = [text_probability(lines[index], text) for text in texts]
        np.testing.assert_allclose(together[index], expected, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(2, 4), st.integers(0, 2**32))
def test_the_likeliest_text_is_found(steps: int, classes: int, seed: int) -> None:
    rows = random_rows(steps, classes, seed, sharp=3)
    texts = all_texts(rows)
    found = decode(rows)
    assert found.probability == pytest.approx(max(texts.values()), rel=1e-9)
    assert texts[found.text] == pytest.approx(found.probability, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(2, 4), st.integers(0, 2**32))
def test_an_alignment_is_the_likeliest_path_of_its_text(
    steps: int, classes: int, seed: int
) -> None:
    rows = random_rows(steps, classes, seed)
    text = decode(rows).text
    paths = [
        path for path in itertools.product(range(classes), repeat=steps) if collapse(path) == text
    ]
    best = max(paths, key=lambda path: np.prod([rows[t, c] for t, c in enumerate(path)]))
    runs = [list(run) for c, run in itertools.groupby(enumerate(best), lambda at: at[1]) if c]
    assert align(rows, text) == tuple((run[0][0], run[-1][0]) for run in runs)


def test_the_probability_is_that_of_torch_s_loss_on_a_long_line() -> None:
    rows = random_rows(150, 11, 5)
    text = tuple(np.random.default_rng(1).integers(0, 10, 20).tolist())
    loss = torch.nn.functional.ctc_loss(
        torch.from_numpy(rows).log()[:, None],
        torch.tensor([text]) + 1,
        torch.tensor([150]),
        torch.tensor([20]),
        reduction="sum",
    )
    assert np.log(text_probability(rows, text)) == pytest.approx(-loss.item(), rel=1e-9)


def test_a_clear_line_is_read_with_its_spans() -> None:
    rows = np.full((12, 11), 0.001)
    for t, c in enumerate((0, 5, 5, 0, 5, 0, 0, 1, 0, 0, 8, 0)):
        rows[t, c] = 0.99
    found = decode(rows / rows.sum(1, keepdims=True))
    assert found.text == (4, 4, 0, 7)
    assert found.spans == ((1, 2), (4, 4), (7, 7), (10, 10))
    assert found.probability > 0.85


def test_the_likeliest_path_is_not_always_the_likeliest_text() -> None:
    # By hand: 0.6 * 0.6 = 0.36 for the empty text, all the rest, 0.64, for a single 0.
    rows = np.array([[0.6, 0.4], [0.6, 0.4]])
    assert best_path(rows) == ()
    assert decode(rows).text == (0,)
    path = [0, 5, 5, 0, 5, 1, 1, 0, 3, 3]
    assert best_path(np.eye(11)[path]) == (4, 4, 0, 2)
    assert best_path(np.eye(11)[[7, 7]]) == (6,)


def test_blank_everywhere_is_the_empty_text() -> None:
    rows = np.zeros((5, 11))
    rows[:, 0] = 1
    found = decode(rows)
    assert (found.text, found.spans, found.probability) == ((), (), 1.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(2, 4), st.integers(0, 2**32))
def test_alternatives_are_the_texts_with_one_digit_replaced_or_left_out(
    steps: int, classes: int, seed: int
) -> None:
    rows = random_rows(steps, classes, seed)
    text = decode(rows).text
    expected = np.array(
        [
            [text_probability(rows, text[:i] + instead + text[i + 1 :]) for instead in choices]
            for choices in [[(), *((d,) for d in range(classes - 1))]]
            for i in range(len(text))
        ]
    ).reshape(len(text), classes)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(pair_alternatives([rows], [text])[0], expected, rtol=1e-9)


def test_alternatives_of_a_long_line_do_not_underflow() -> None:
    rows = random_rows(700, 11, 3, sharp=1)
    assert rows.max(1).prod() == 0  # also of the likeliest path
    (found,) = pair_alternatives([rows], [decode(rows).text])
    np.testing.assert_allclose(found.sum(1), 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(2, 4), st.integers(0, 2**32))
def test_gaps_at_the_ends_and_side_by_side_are_one_text(
    steps: int, classes: int, seed: int
) -> None:
    rows, gap = random_rows(steps, classes, seed, sharp=3), classes - 2
    texts = all_texts(rows, gap)
    assert sum(texts.values()) == pytest.approx(1)
    for text, probability in texts.items():
        assert text_probability(rows, text, gap) == pytest.approx(probability, rel=1e-9)
    path = tuple(rows.argmax(1).tolist())
    text, spans = best_path_spans(rows, gap)
    assert text == without_gaps(collapse(path), gap)
    for character, (first, last) in zip(text, spans, strict=True):
        assert set(path[first : last + 1]) == {character + 1}
    found = decode(rows, Constraint(np.ones(classes, bool), np.zeros(classes, bool), gap))
    assert found.probability == pytest.approx(max(texts.values()), rel=1e-9)
    assert texts[found.text] == pytest.approx(found.probability, rel=1e-9)
    for character, (first, last) in zip(
        text, align(rows, text, gap) if text_probability(rows, text, gap) else (), strict=True
    ):
        assert rows[[first, last], character + 1].min() > 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(0, 2**32),
    st.sampled_from([60, 500_000]),
)
def test_several_lines_are_decoded_as_one_by_one(
    lengths: list[int], seed: int, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(ctc, "_AT_ONCE", at_once)
        check_several_lines(lengths, seed)


def check_several_lines(lengths: list[int], seed: int) -> None:
    lines = [random_rows(length, 4, seed + i, sharp=3) for i, length in enumerate(lengths)]
    constraint = Constraint(np.ones(4, bool), np.zeros(4, bool), gap=2)
    together = decode_lines(lines, constraint)
    odds = pair_alternatives(lines, [found.text for found in together], 2)
    for line, found, rows in zip(lines, together, odds, strict=True):
        alone = decode(line, constraint)
        assert (found.text, found.spans) == (alone.text, alone.spans)
        assert found.probability == pytest.approx(alone.probability, rel=1e-9)
        np.testing.assert_allclose(rows, pair_alternatives([line], [found.text], 2)[0], rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32))
def test_certain_blanks_may_be_made_one(steps: int, seed: int) -> None:
    rows = random_rows(steps, 4, seed, sharp=3)
    certain = np.random.default_rng(seed).random(steps) < 0.6
    rows[certain] = 0.999991, 4e-6, 4e-6, 1e-6
    certain = rows[:, 0] >= 0.9999  # some are so by chance
    short, starts = compressed(rows)
    runs = [certain for certain, _ in itertools.groupby(certain)]
    assert len(short) == (~certain).sum() + sum(runs)
    assert starts[0] == 0
    found, alone = decode(short), decode(rows)
    assert found.probability == pytest.approx(alone.probability, rel=1e-3)
    if alone.probability > 0.5:
        assert found.text == alone.text
        assert tuple((starts[a], starts[b]) for a, b in found.spans) == alone.spans
