"""Scans: every pixel is read, in the order that the name says, in NumPy and torch alike."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rowscan.errors import UsageError
from rowscan.scans import SCANS, scan

BASES = {
    "rows": (28, 28),
    "columns": (28, 28),
    "patches": (49, 16),
    "pixels": (784, 1),
    "permuted": (784, 1),
    "snake": (784, 1),
    "whole": (1, 784),
}
bases = pytest.mark.parametrize("base", BASES)


def test_each_base_has_three_scans() -> None:
    assert set(SCANS) == {base + suffix for base in BASES for suffix in ("", "-reversed", "-both")}
    assert len(set(SCANS.values())) == len(SCANS)


@bases
def test_a_base_reads_every_pixel_once(base: str) -> None:
    assert scan(base).shape == BASES[base]
    assert sorted(scan(base).ravel().tolist()) == list(range(784))


@bases
def test_reversed_reverses_the_steps_and_not_the_pixels_of_a_step(base: str) -> None:
    forwards, backwards = scan(base).tolist(), scan(f"{base}-reversed").tolist()
    assert backwards == list(reversed(forwards))


@bases
def test_both_goes_forwards_and_then_back(base: str) -> None:
    there_and_back = scan(base).tolist() + scan(f"{base}-reversed").tolist()
    assert scan(f"{base}-both").tolist() == there_and_back
    assert np.bincount(scan(f"{base}-both").ravel()).tolist() == [2] * 784


def test_rows_columns_and_pixels_by_their_indices() -> None:
    for t in range(28):
        for k in range(28):
            assert scan("rows")[t, k] == 28 * t + k
            assert scan("columns")[t, k] == 28 * k + t
    assert scan("pixels").ravel().tolist() == list(range(784))
    assert scan("whole").ravel().tolist() == list(range(784))


def test_a_patch_is_a_block_of_four_by_four() -> None:
    image = np.arange(784).reshape(28, 28)
    for t, patch in enumerate(scan("patches")):
        top, left = 4 * (t // 7), 4 * (t % 7)
        assert patch.tolist() == image[top : top + 4, left : left + 4].ravel().tolist()


def test_the_snake_only_goes_from_neighbour_to_neighbour() -> None:
    rows, columns = np.divmod(scan("snake").ravel(), 28)
    assert (np.abs(np.diff(rows)) + np.abs(np.diff(columns)) == 1).all()
    assert scan("snake").ravel()[[0, 27, 28, 55, 56]].tolist() == [0, 27, 55, 28, 56]


def test_permuted_is_one_permutation_for_ever() -> None:
    """Model files contain it and papers compare by it, so it may never change. It looks random."""
    order = scan("permuted").ravel()
    assert order[:10].tolist() == [664, 694, 779, 78, 275, 171, 239, 216, 759, 730]
    assert int((order * np.arange(1, 785)).sum()) == 120159524
    assert np.count_nonzero(np.abs(np.diff(order)) <= 28) < 100


@given(name=st.sampled_from(sorted(SCANS)), seed=st.integers(0, 2**32 - 1))
def test_one_line_gathers_in_numpy_and_torch_what_a_loop_gathers(name: str, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (2, 28, 28), dtype=np.uint8)
    order = scan(name)
    gathered = images.reshape(2, -1)[:, order]
    by_torch = torch.from_numpy(images).reshape(2, -1)[:, torch.tensor(order)]
    np.testing.assert_array_equal(gathered, by_torch.numpy())
    t = seed % len(order)
    by_loop = [[image[index // 28, index % 28] for index in order[t]] for image in images]
    assert gathered[:, t].tolist() == by_loop


@pytest.mark.parametrize("name", SCANS)
def test_a_scan_is_read_only(name: str) -> None:
    assert scan(name).dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        scan(name)[0, 0] = 1


@pytest.mark.parametrize(
    "name", ["", "row", "rows-", "both", "rows-reversed-both", "rows-both-both"]
)
def test_an_unknown_scan_is_a_usage_error(name: str) -> None:
    assert name not in SCANS
    with pytest.raises(UsageError, match="unknown scan"):
        scan(name)
