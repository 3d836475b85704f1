"""Synthetic words: rendered as described, inside the image, and unlike numbers."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from rowscan.training.synthesis import pen_letters
from rowscan.training.synthesis.pen_digits import SplineTable, render_pen
from rowscan.training.synthesis.pen_letters import draw_word


@example(12.46964614816886, 1.5, 1492)  # its darkest pixel is 0.93
@given(st.floats(12, 28), st.floats(1.5, 4.2), st.integers(0, 10_000))
def test_words_are_ink_inside_the_image(height: float, width: float, seed: int) -> None:
    ink = draw_word(height, width, torch.Generator().manual_seed(seed))
    assert ink.dtype == np.float32
    assert ink.min() >= 0
    # The pen passes within half a pixel of a pixel's centre: full ink, or less if it is thin.
    assert min(1.0, width / 2) <= ink.max() <= 1
    columns = np.flatnonzero((ink > 0.3).any(0))
    assert columns[0] > 0
    assert columns[-1] < ink.shape[1] - 1
    # At least three letters, or a pseudo-character: wider than any digit of that height.
    rows = np.flatnonzero((ink > 0.3).any(1))
    assert np.ptp(columns) > 0.4 * np.ptp(rows)
    again = draw_word(height, width, torch.Generator().manual_seed(seed))
    np.testing.assert_array_equal(ink, again)


def test_the_pen_is_lifted_between_strokes() -> None:
    # By hand: paper between the stems of an H above its bar, and between an i and its dot.
    table = SplineTable.of([pen_letters._LETTERS["H"], pen_letters._LETTERS["i"]])
    samples = (table.bases @ (table.points - torch.tensor([0.26, 0.5]))) * 24
    upright_h, dotted_i = render_pen(samples, 2.0, (32, 32))
    across = upright_h[8] > 0.5
    assert torch.diff(across.int()).abs().sum() == 4  # two stems
    bar = upright_h[15:18].amax(0) > 0.5
    assert torch.diff(bar.int()).abs().sum() == 2  # from stem to stem
    down = (dotted_i > 0.5).any(1)
    assert torch.diff(down.int()).abs().sum() == 4  # the dot and the stem


@pytest.mark.parametrize("kind", [0.3, 0.7, 0.9])
def test_at_least_half_of_a_word_is_unlike_digits(kind: float) -> None:
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for count in range(3, 9):
        for _ in range(60):
            chosen = pen_letters._choose_letters(count, kind, generator)
            assert len(chosen) == count
            assert 2 * sum(letter in pen_letters._DIGIT_LIKE for letter in chosen) <= count
            seen |= set(chosen)
    small, large = (
        {c for c in pen_letters._LETTERS if c.islower() is low} for low in (True, False)
    )
    assert seen == {0.3: small, 0.7: seen & (small | large), 0.9: large}[kind]
    assert kind != 0.7 or (seen & small == small and seen & large)


@example(22.0, 1.8125, 888)  # large and thin: its samples lie far apart
@given(st.floats(12, 22), st.floats(1.8, 4.2), st.integers(0, 10_000))
def test_a_scrawl_is_one_component(height: float, width: float, seed: int) -> None:
    ink = pen_letters._draw_scrawl(height, width, torch.Generator().manual_seed(seed))
    pen = (ink > 0.2).astype(np.uint8)
    assert cv2.connectedComponents(pen)[0] == 2  # background and scrawl
    rows, columns = (np.flatnonzero(pen.any(axis)) for axis in (1, 0))
    assert np.ptp(columns) > 1.2 * np.ptp(rows)
    assert columns[0] > 0
    assert columns[-1] < ink.shape[1] - 1
    # At least four turns, each of which goes up and down.
    across = np.diff(pen.astype(int), axis=1, prepend=0) == 1
    assert across.sum(1).max() >= 4


def test_some_words_are_scrawls() -> None:
    words, scrawls = 1000, 0
    for seed in range(words):
        g = torch.Generator().manual_seed(seed)
        drawn = draw_word(20.0, 2.5, g)
        pen = (drawn > 0.2).astype(np.uint8)
        scrawls += cv2.connectedComponents(pen)[0] == 2 and pen.shape[1] > 60
    assert 0.08 * words < scrawls < 0.2 * words  # some words of touching letters count too
