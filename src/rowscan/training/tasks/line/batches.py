"""Batches of lines of like widths, padded to one. What lines show and who learns is elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rowscan.arrays import Float32, Int64, UInt8
from rowscan.scans import LINE_HEIGHT, PATCH, STEPS_PER_PATCH

_MULTIPLE = 16
"""Columns that the width of a batch is a multiple of, so that a GPU meets few shapes."""


class Line(NamedTuple):
    """One line, composed."""

    ink: UInt8[np.ndarray, "32 width"]
    label: tuple[int, ...]
    own: bool = False
    """Whether it is from a user's documents."""


@dataclass(frozen=True)
class Lines:
    """A batch of lines, padded with paper on the right."""

    ink: UInt8[np.ndarray, "n 32 width"]
    widths: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    own: tuple[bool, ...]

    @staticmethod
    def of(lines: Sequence[Line]) -> "Lines":
        """One batch of all of the lines."""
        widths = tuple(line.ink.shape[1] for line in lines)
        wide = max(widths)
        ink = np.zeros((len(lines), LINE_HEIGHT, wide + -wide % _MULTIPLE), np.uint8)
        for row, line in zip(ink, lines, strict=True):
            row[:, : line.ink.shape[1]] = line.ink
        labels, own = tuple(line.label for line in lines), tuple(line.own for line in lines)
        return Lines(ink, widths, labels, own)

    def __len__(self) -> int:
        """The number of lines."""
        return len(self.widths)

    @property
    def steps(self) -> list[int]:
        """Steps of the network on each line."""
        return [steps(width) for width in self.widths]

    @property
    def lengths(self) -> list[int]:
        """Characters of each text."""
        return [len(label) for label in self.labels]

    def part(self, some: slice) -> "Lines":
        """Some of the lines, with the padding of all: a sweep from the right begins on it."""
        return Lines(self.ink[some], self.widths[some], self.labels[some], self.own[some])

    def to(self, device: torch.device) -> Float32[Tensor, "n 32 width"]:
        """The ink, 0 to 1, on a device."""
        return send(torch.from_numpy(self.ink), device).float() / 255

    def truth(self, device: torch.device) -> Int64[Tensor, "n longest_and_2"]:
        """What `count_exact` compares with, on a device."""
        rows = np.zeros((len(self), 2 + max(1, *self.lengths)), np.int64)
        rows[:, 0], rows[:, 1] = self.steps, self.lengths
        for row, label in zip(rows, self.labels, strict=True):
            row[2 : 2 + len(label)] = label
            row[2 : 2 + len(label)] += 1
        return send(torch.from_numpy(rows), device)


def deal(lines: Sequence[Line], n: int) -> list[list[Line]]:
    """`n` batches of lines of like widths; each has as many of a user's own as the others."""
    ordered = sorted(lines, key=lambda line: -(-line.ink.shape[1] // _MULTIPLE))
    kinds = [[line for line in ordered if line.own is own] for own in (False, True)]
    sizes = [len(kind) // n for kind in kinds]
    return [
        [
            line
            for kind, size in zip(kinds, sizes, strict=True)
            for line in kind[i * size : (i + 1) * size]
        ]
        for i in range(n)
    ]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """On a device, without a wait: by way of memory that it can read itself."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def steps(width: int) -> int:
    """Steps of the network on a line of `width` columns."""
    return STEPS_PER_PATCH * -(-width // PATCH)
