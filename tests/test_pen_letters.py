"""Words of letters: drawn as they are described, in the frame, and not taken for numbers."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from rowscan.training.synthesis import pen_letters
from rowscan.training.synthesis.pen_digits import Drawings, stroked
from rowscan.training.synthesis.pen_letters import word


@example(12.46964614816886, 1.5, 1492)  # its darkest pixel has 0.93
@given(st.floats(12, 28), st.floats(1.5, 4.2), st.integers(0, 10_000))
def test_a_word_is_ink_in_a_line(height: float, width: float, seed: int) -> None:
    ink = word(height, width, torch.Generator().manual_seed(seed))
    assert ink.dtype == np.float32
    assert ink.min() >= 0
    # A pen passes within half a pixel of some pixel's middle: full ink, or for a thin pen less.
    assert min(1.0, width / 2) <= ink.max() <= 1
    columns = np.flatnonzero((ink > 0.3).any(0))
    assert columns[0] > 0
    assert columns[-1] < ink.shape[1] - 1
    # Three letters at least, or a character: wider than any digit is for its height.
    rows = np.flatnonzero((ink > 0.3).any(1))
    assert np.ptp(columns) > 0.4 * np.ptp(rows)
    again = word(height, width, torch.Generator().manual_seed(seed))
    np.testing.assert_array_equal(ink, again)


def test_pens_are_lifted_between_strokes() -> None:
    # By hand: between the posts of an H, above its bar, is paper; so is between an i and its dot.
    table = Drawings.of([pen_letters._LETTERS["H"], pen_letters._LETTERS["i"]])
    places = (table.curves @ (table.points - torch.tensor([0.26, 0.5]))) * 24
    upright_h, dotted_i = stroked(places, 2.0, (32, 32))
    across = upright_h[8] > 0.5
    assert torch.diff(across.int()).abs().sum() == 4  # two posts
    bar = upright_h[15:18].amax(0) > 0.5
    assert torch.diff(bar.int()).abs().sum() == 2  # from post to post
    down = (dotted_i > 0.5).any(1)
    assert torch.diff(down.int()).abs().sum() == 4  # the dot and the stem


@pytest.mark.parametrize("kind", [0.3, 0.7, 0.9])
def test_at_least_half_of_a_word_is_no_digit(kind: float) -> None:
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for count in range(3, 9):
        for _ in range(60):
            chosen = pen_letters._letters(count, kind, generator)
            assert len(chosen) == count
            assert 2 * sum(letter in pen_letters._LIKE_DIGITS for letter in chosen) <= count
            seen |= set(chosen)
    small, large = (
        {c for c in pen_letters._LETTERS if c.islower() is low} for low in (True, False)
    )
    assert seen == {0.3: small, 0.7: seen & (small | large), 0.9: large}[kind]
    assert kind != 0.7 or (seen & small == small and seen & large)


@example(22.0, 1.8125, 888)  # large and thin: its places lie far apart
@given(st.floats(12, 22), st.floats(1.8, 4.2), st.integers(0, 10_000))
def test_a_scrawl_runs_on_in_one_piece(height: float, width: float, seed: int) -> None:
    ink = pen_letters._scrawl(height, width, torch.Generator().manual_seed(seed))
    pen = (ink > 0.2).astype(np.uint8)
    assert cv2.connectedComponents(pen)[0] == 2  # the paper and it
    rows, columns = (np.flatnonzero(pen.any(axis)) for axis in (1, 0))
    assert np.ptp(columns) > 1.2 * np.ptp(rows)
    assert columns[0] > 0
    assert columns[-1] < ink.shape[1] - 1
    # Four turns at least, each of which goes up and down again.
    across = np.diff(pen.astype(int), axis=1, prepend=0) == 1
    assert across.sum(1).max() >= 4


def test_some_words_are_scrawls() -> None:
    words, scrawls = 1000, 0
    for seed in range(words):
        g = torch.Generator().manual_seed(seed)
        drawn = word(20.0, 2.5, g)
        pen = (drawn > 0.2).astype(np.uint8)
        scrawls += cv2.connectedComponents(pen)[0] == 2 and pen.shape[1] > 60
    assert 0.08 * words < scrawls < 0.2 * words  # a few are joined characters
