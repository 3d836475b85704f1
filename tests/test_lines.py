"""Synthetic text lines, and the network that recognizes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from rowscan.io.pictures import open_image
from rowscan.scans import LINE_HEIGHT
from rowscan.segmentation.digit import normalise_digit
from rowscan.training.engines.sweep import SweepLineRecognizer
from rowscan.training.synthesis.lines import LineBatch, compose

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "digits").glob("*.png"))
IMAGES = torch.from_numpy(np.stack([normalise_digit(open_image(path)) for path in EXAMPLES]))
LABELS = torch.tensor([int(path.stem[0]) for path in EXAMPLES])


def composed(n: int, seed: int) -> LineBatch:
    return compose(n, IMAGES, LABELS, Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32))
def test_lines_are_ink_and_reproducible(n: int, seed: int) -> None:
    lines = composed(n, seed)
    assert lines.ink.shape == (n, LINE_HEIGHT, max(lines.widths))
    assert bool(((lines.ink >= 0) & (lines.ink <= 1)).all())
    assert len(lines.labels) == len(lines.widths) == n
    assert all(0 <= digit <= 9 for label in lines.labels for digit in label)
    for ink, width in zip(lines.ink, lines.widths, strict=True):
        assert not ink[:, width:].any()
    again = composed(n, seed)
    assert again.labels == lines.labels
    assert torch.equal(again.ink, lines.ink)


def test_lines_have_all_lengths_and_all_digits() -> None:
    labels = [label for seed in range(40) for label in composed(8, seed).labels]
    assert {len(label) for label in labels} >= set(range(11))
    assert {digit for label in labels for digit in label} == set(range(10))


def test_words_stand_alone_and_beside_numbers() -> None:
    alone = beside = 0
    for seed in range(24):
        lines = composed(32, seed)
        for ink, width, label in zip(lines.ink, lines.widths, lines.labels, strict=True):
            dark = int((ink[:, :width] > 0.5).any(0).sum())
            alone += not label and dark > 60  # wider than a mark
            beside += len(label) == 1 and dark > 90
    assert alone > 5
    assert beside > 0


def test_longer_numbers_make_wider_lines() -> None:
    lines = [composed(8, seed) for seed in range(60)]
    widths: dict[int, list[int]] = {}
    for part in lines:
        for label, width in zip(part.labels, part.widths, strict=True):
            widths.setdefault(len(label), []).append(width)
    means = [float(np.mean(widths[length])) for length in (1, 3, 6, 9)]
    assert means == sorted(means)
    assert means[0] < 70
    assert means[-1] > 150


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
