"""Scans: reading orders as arrays, which pixels a network sees at which step. No pixel values here.

A scan is data: an int64 array (time, feature) of flat pixel indices of a 28 × 28 image. Row `t`
holds the pixels that the network sees at step `t`: `images.reshape(n, -1)[:, scan(name)]` is the
sequence, (n, time, feature), and the same line works in NumPy, torch and ONNX.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from rowscan.arrays import Int64
from rowscan.errors import UsageError

SIDE = 28
"""Height and width of an image, in pixels."""

Directions = tuple[tuple[int, bool], ...]
"""Sweeps over a grid of steps: the axis (0 down, 1 along a row), and whether backwards."""

DIRECTIONS: Directions = ((0, False), (0, True), (1, False), (1, True))
"""Down, up, right, left."""

ALONG: Directions = DIRECTIONS[2:]
"""Right and left, along a line."""

PATCH = 4
"""Height and width of the patch that a sweep network sees at one step, in pixels."""

LINE_HEIGHT = 32
"""Height of a line image, in pixels."""

STEPS_PER_PATCH = 2
"""Steps of a line model for each column of patches: two, because digits may stand close."""

_PERMUTED_SEED = 2015

_PIXELS = np.arange(SIDE * SIDE, dtype=np.int64)
_GRID = _PIXELS.reshape(SIDE, SIDE)


def _patches() -> Int64[np.ndarray, "49 16"]:
    across = SIDE // PATCH
    blocks = _GRID.reshape(across, PATCH, across, PATCH).transpose(0, 2, 1, 3)
    return blocks.reshape(-1, PATCH * PATCH)


def _permuted() -> Int64[np.ndarray, "784 1"]:
    # The order of raw random words, not Generator.permutation: NumPy guarantees the words of a bit
    # generator for ever, but the results of Generator only within a release.
    words = np.random.PCG64(_PERMUTED_SEED).random_raw(SIDE * SIDE)
    return np.argsort(words, kind="stable").astype(np.int64)[:, None]


def _snake() -> Int64[np.ndarray, "784 1"]:
    grid = _GRID.copy()
    grid[1::2] = grid[1::2, ::-1]
    return grid.reshape(-1, 1)


_BASES: Mapping[str, tuple[str, Callable[[], Int64[np.ndarray, "time feature"]]]] = {
    "rows": ("a row of 28 pixels a step, from top to bottom", lambda: _GRID),
    "columns": ("a column of 28 pixels a step, from left to right", lambda: _GRID.T),
    "patches": ("a square of 4 × 4 pixels a step, row by row", _patches),
    "pixels": ("pixel by pixel, row by row", lambda: _PIXELS[:, None]),
    "permuted": ("pixel by pixel in one fixed random order (seed 2015)", _permuted),
    "snake": ("pixel by pixel, row by row, every second row from right to left", _snake),
    "whole": ("all 784 pixels in one step", lambda: _PIXELS[None, :]),
}

SCANS: Mapping[str, str] = MappingProxyType(
    {
        name + suffix: description + then
        for suffix, then in (
            ("", ""),
            ("-reversed", "; the last step first"),
            ("-both", "; then back again to the first step"),
        )
        for name, (description, _) in _BASES.items()
    }
)
"""The name of each scan, and its description in one line."""


@functools.cache
def scan(name: str) -> Int64[np.ndarray, "time feature"]:
    """The scan called `name`: flat pixel indices, 0 to 783, one row a step.

    `permuted` is the task of Le, Jaitly and Hinton, "A Simple Way to Initialize Recurrent Networks
    of Rectified Linear Units" (2015), with another permutation. `-reversed` reverses the order of
    the steps, never the order of the pixels within one.

    Returns:
        A read-only array, the same one at every call.

    Raises:
        UsageError: an unknown name.
    """
    if name not in SCANS:
        raise UsageError(f"unknown scan {name!r}; expected one of {', '.join(SCANS)}")
    base, _, suffix = name.partition("-")
    order = _BASES[base][1]()
    if suffix == "reversed":
        order = order[::-1]
    elif suffix == "both":
        order = np.concatenate([order, order[::-1]])
    order = order.copy()  # contiguous; freezing it does not freeze the array it was a view of
    order.flags.writeable = False
    return order
