"""Synthetic text lines, and the network that recognizes them."""

import re
from functools import cache
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from rowscan.alphabet import ALPHABET, OTHER, SPACE
from rowscan.io.pictures import open_image
from rowscan.scans import LINE_HEIGHT
from rowscan.segmentation.digit import normalise_digit
from rowscan.training.engines.sweep import SweepLineRecognizer
from rowscan.training.synthesis.hands import Hand
from rowscan.training.synthesis.inks import Inks
from rowscan.training.synthesis.lines import LineBatch, compose
from rowscan.training.synthesis.shapes import CAP
from rowscan.training.synthesis.texts import GAP, KINDS, Role, Token, label, random_text
from rowscan.training.synthesis.typesetting import Typesetter

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "digits").glob("*.png"))
INKS = Inks(
    np.stack([normalise_digit(open_image(path)) for path in EXAMPLES]),
    np.array([int(path.stem[0]) for path in EXAMPLES], np.uint8),
)
SEEDS = st.integers(0, 2**32)


def composed(n: int, seed: int) -> LineBatch:
    return compose(n, INKS, Generator().manual_seed(seed))


@cache
def many_lines() -> LineBatch:
    """Composing them takes seconds."""
    return composed(1200, 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), SEEDS)
def test_lines_are_ink_and_reproducible(n: int, seed: int) -> None:
    lines = composed(n, seed)
    assert lines.ink.shape == (n, LINE_HEIGHT, max(lines.widths))
    assert bool(((lines.ink >= 0) & (lines.ink <= 1)).all())
    assert len(lines.labels) == len(lines.widths) == len(lines.kinds) == n
    assert all(0 <= c < len(ALPHABET) for label in lines.labels for c in label)
    for ink, width in zip(lines.ink, lines.widths, strict=True):
        assert not ink[:, width:].any()
    again = composed(n, seed)
    assert again.labels == lines.labels
    assert torch.equal(again.ink, lines.ink)


def test_two_views_show_one_text_in_different_ink() -> None:
    lines = compose(9, INKS, Generator().manual_seed(4), views=2)
    assert lines.labels[0:8:2] == lines.labels[1:9:2]
    assert len(lines.labels) == 9
    assert all(not torch.equal(lines.ink[i], lines.ink[i + 1]) for i in range(0, 8, 2))


def test_lines_show_every_kind_and_every_character() -> None:
    lines = many_lines()
    assert {character for label in lines.labels for character in label} == set(range(27))
    assert set(lines.kinds) == set(KINDS)


@settings(deadline=None)
@given(SEEDS)
def test_a_label_has_one_other_for_each_run_and_spaces_only_inside(seed: int) -> None:
    kind, tokens = random_text(Random(seed))
    text = label(tokens)
    assert set(text) <= set(ALPHABET)
    assert OTHER + OTHER not in text
    assert OTHER + SPACE + OTHER not in text
    assert "  " not in text
    assert text == text.strip()
    assert (kind == "empty") == (not text)


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("amount", r"[-=$€£¥]?(\d{1,3}([., ]\d{3}){1,2}|\d{2,6})([.,]|[.,]?-|=|[.,]00)?"),
        ("fraction", r"(\d{1,2} )?[1-9]/\d{1,2}"),
        ("list", r"(\(\d{1,2}\)|\d{1,2}[.)])( [\d□ ]+)?"),
        ("ones", r"\d{1,4}"),
        ("percent", r"\d{1,3}([.,]\d{1,2})? ?%"),
        ("sign", r"[-()+=×%$€£¥]"),
        ("year", r"(1[7-9]|20)\d\d"),
    ],
)
def test_texts_look_as_people_write_them(kind: str, pattern: str) -> None:
    texts = [label(KINDS[kind][1](Random(seed))) for seed in range(300)]
    assert [text for text in texts if not re.fullmatch(pattern, text)] == []
    assert len(set(texts)) > 8
    if kind == "ones":
        assert "".join(texts).count("1") > 0.75 * len("".join(texts))


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_a_space_is_a_gap_wider_than_those_between_digits(seed: int) -> None:
    r = Random(seed)
    setting = Typesetter(Hand.random(INKS, r), r, wide=False)
    for token in (Token("07"), GAP, Token("70"), GAP, Token("900")):
        setting.add(token)
    sheet = setting.sheet()
    lean = setting.hand.style.slant  # columns a row: gaps lean as the writing does
    upright = np.array([[1, lean, max(0, -lean) * len(sheet)], [0, 1, 0]], np.float64)
    size = (sheet.shape[1] + len(sheet), len(sheet))
    dark = (cv2.warpAffine(sheet, upright, size) > 127).any(0)
    gaps = np.diff(np.flatnonzero(dark)) - 1
    wide = np.sort(gaps)[-2:] / CAP
    assert wide.min() > 0.15
    assert (gaps / CAP > 0.75 * wide.min()).sum() <= 3


def test_strokes_that_are_only_upright_are_never_said_to_be_nothing() -> None:
    """They are 1s, which the number reader would unlearn."""
    shown = 0
    for seed in range(300):
        r = Random(seed)
        setting = Typesetter(Hand.random(INKS, r), r, wide=False)
        setting.sheet()
        frame = setting.frame("empty", r)
        if frame:
            shown += 1
            assert max(np.ptp(path[:, 0]) for path in frame) > CAP / 2
    assert shown > 20


def test_longer_numbers_make_wider_lines() -> None:
    lines = many_lines()
    widths: dict[int, list[int]] = {}
    for text, width, kind in zip(lines.labels, lines.widths, lines.kinds, strict=True):
        if kind == "digits":
            widths.setdefault(len(text), []).append(width)
    means = [float(np.mean(widths[length])) for length in (1, 3, 6)]
    assert means == sorted(means)
    assert means[0] < 50
    assert means[-1] > 90


def test_a_number_that_is_struck_out_has_more_ink() -> None:
    def ink(role: Role, seed: int) -> float:
        r = Random(seed)
        setting = Typesetter(Hand.random(INKS, r), r, wide=False)
        setting.add(Token("264", role))
        return float(setting.sheet().sum())

    more = [ink("struck", seed) > 1.1 * ink("number", seed) for seed in range(60)]
    assert sum(more) > 50


@pytest.mark.parametrize("columns", [1, 5, 40])
def test_the_network_has_two_steps_per_column_of_patches(columns: int) -> None:
    torch.manual_seed(0)
    network = SweepLineRecognizer(height=LINE_HEIGHT, width=8, layers=1, joined=12, classes=28)
    logits = network(torch.rand(3, LINE_HEIGHT, 4 * columns))
    assert logits.shape == (2 * columns, 3, 28)


def test_lines_of_a_batch_are_recognized_independently() -> None:
    torch.manual_seed(0)
    network = SweepLineRecognizer(
        height=LINE_HEIGHT, width=8, layers=2, joined=12, classes=28
    ).eval()
    ink = torch.rand(4, LINE_HEIGHT, 80)
    with torch.no_grad():
        torch.testing.assert_close(network(ink)[:, 2:3], network(ink[2:3]), atol=1e-5, rtol=1e-4)


def test_shifting_a_line_by_a_patch_shifts_the_logits() -> None:
    torch.manual_seed(0)
    network = SweepLineRecognizer(
        height=LINE_HEIGHT, width=8, layers=1, joined=12, classes=28
    ).eval()
    ink = torch.zeros(1, LINE_HEIGHT, 400)
    ink[:, 4:28, 180:200] = 1
    with torch.no_grad():
        here, there = network(ink), network(ink.roll(4, 2))
    # The ends of the line are too far away to matter.
    torch.testing.assert_close(here[80:120], there[82:122], atol=1e-3, rtol=1e-3)
