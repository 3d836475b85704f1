"""Pen strokes: splines through control points, and the shapes of digits, letters and signs."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowscan.alphabet import SIGNS
from rowscan.training.synthesis.pen_digits import BY_DIGIT, draw_allograph
from rowscan.training.synthesis.pen_letters import LETTERS
from rowscan.training.synthesis.pen_signs import curve, draw_sign, draw_symbol
from rowscan.training.synthesis.shapes import CAP, Style, draw

SAMPLES = 8
PATHS = [path for shapes in BY_DIGIT.values() for shape in shapes for path in shape]
PATHS += [path for shape in LETTERS.values() for path in shape]


def test_strokes_pass_through_their_control_points_in_order() -> None:
    for path in PATHS:
        drawn = curve(*path, samples=SAMPLES)
        apart = [b for a, b in zip((None, *path), path, strict=False) if a != b]
        np.testing.assert_allclose(drawn[::SAMPLES], apart, atol=1e-12, err_msg=str(path))


def test_between_control_points_the_curve_is_catmull_rom() -> None:
    # By hand: halfway between the middle two of four points it is (-a + 9b + 9c - d) / 16.
    path = ((0.0, 0.0), (0.2, 0.7), (0.9, 0.4), (1.0, 1.0))
    a, b, c, d = np.array(path)
    middle = curve(*path, samples=SAMPLES)[SAMPLES + SAMPLES // 2]
    np.testing.assert_allclose(middle, (9 * b + 9 * c - a - d) / 16)


@settings(deadline=None)
@given(st.tuples(*[st.floats(0, 1, width=16)] * 6))
def test_a_corner_is_sharp_and_its_strokes_stay_straight(numbers: tuple[float, ...]) -> None:
    a, b, c = ((x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True))
    if b in {a, c}:
        return
    drawn = curve(a, b, b, c, samples=SAMPLES)
    for part, (one, other) in ((drawn[: SAMPLES + 1], (a, b)), (drawn[SAMPLES:], (b, c))):
        along = np.subtract(other, one)
        off = (part - one)[:, 0] * along[1] - (part - one)[:, 1] * along[0]
        assert np.abs(off).max() < 1e-9


@settings(deadline=None)
@given(st.integers(0, 9), st.integers(0, 2**32))
def test_an_allograph_is_as_tall_as_a_digit(digit: int, seed: int) -> None:
    r = Random(seed)
    strokes = draw_allograph(r.choice(BY_DIGIT[digit]), r, width=0.62, spread=0.02)
    glyph = draw(strokes, Style(pen=4.0))
    assert 0.4 * CAP < len(glyph.ink) < 1.5 * CAP  # joined zeros are flat
    assert glyph.ink[0].any()
    assert glyph.ink[-1].any()
    assert glyph.ink[:, 0].any()
    assert glyph.ink[:, -1].any()


@pytest.mark.parametrize("sign", SIGNS)
@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_signs_stand_where_people_write_them(sign: str, seed: int) -> None:
    glyph = draw(draw_sign(sign, Random(seed)), Style(pen=4.0))
    middle = (glyph.top + glyph.bottom) / 2 / CAP
    low, high = {".": (0.8, 1.2), ",": (0.85, 1.25), "-": (0.3, 0.8)}.get(sign, (0.3, 0.9))
    assert low < middle < high
    assert len(glyph.ink) < 1.8 * CAP


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_symbols_have_ink(seed: int) -> None:
    assert draw(draw_symbol(Random(seed)), Style(pen=4.0)).ink.any()


@settings(deadline=None)
@given(st.floats(3, 9), st.floats(-0.5, 0.5))
def test_a_straight_stroke_is_as_wide_as_its_pen_and_leans_with_the_hand(
    pen: float, slant: float
) -> None:
    glyph = draw([np.array([(0.0, 0.0), (0.0, 1.0)])], Style(pen=pen, slant=slant))
    row = glyph.ink[len(glyph.ink) // 2].astype(float).sum() / 255
    assert row == pytest.approx(pen * np.hypot(1, slant), abs=1.8)
    top, bottom = (np.flatnonzero(glyph.ink[at] > 96).mean() for at in (6, -7))
    assert top - bottom == pytest.approx(slant * (len(glyph.ink) - 13), abs=1.5)
