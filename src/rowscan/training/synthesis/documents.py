"""A user's own documents: pictures with labels, taken apart into lines to train on.

The network is not shown pictures but lines of ink, found as `Reader` finds them. One picture in
five is held back, so that what the training brought can be said on pictures that it did not see.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as fn

from rowscan.arrays import Float32, UInt8
from rowscan.datasets.numbers import LabelledPicture, load_labels
from rowscan.errors import DataError
from rowscan.io.pictures import open_image
from rowscan.reader import Reader, line_probabilities
from rowscan.recognition.ctc import align, text_probability
from rowscan.scans import PATCH, STEPS_A_PATCH
from rowscan.segmentation.page import find_lines
from rowscan.training.synthesis.augmentation import pen, pixelwise, thickness, tone, uniform
from rowscan.training.synthesis.lines import LineBatch

_HELD_BACK = 5
"""One picture in so many is not trained on."""
_IMPOSSIBLE = 1e-30
"""A line in which its label is less probable than this is another line, or wrongly labelled."""
_FEWEST = 10
_BEND = 0.9  # pixels
_SPLICED = 0.5
"""So many of the lines are the beginning of one and the end of another."""
_BLANK = 64  # of 255: a column with less ink everywhere is a gap
_KNOWN = 0.1
"""Where the network gives a label less, it does not know where the digits are."""


@dataclass(frozen=True)
class LabelledLine:
    """A line of a user's document."""

    ink: UInt8[np.ndarray, "32 _"]
    digits: tuple[int, ...]
    cuts: tuple[tuple[int, int], ...] = ()
    """Where it can be cut: so many digits stand before so many columns."""


@dataclass(frozen=True)
class Documents:
    """Labelled pictures, ready to train on and to test on."""

    lines: tuple[LabelledLine, ...]
    """Lines to train on."""
    left_out: int
    """Pictures whose label was found in none of their lines."""
    held_out: tuple[LabelledPicture, ...]
    """Pictures that are not trained on."""

    def sample(self, n: int, g: Generator) -> LineBatch:
        """N of the lines, each a little different every time."""
        drawn = [self._line(g) for _ in range(n)]
        ink = [torch.from_numpy(line.ink).float() / 255 for line in drawn]
        width = round(1.15 * max(line.shape[1] for line in ink)) + 20
        padded = torch.stack([fn.pad(line, (6, width - 6 - line.shape[1])) for line in ink])
        return LineBatch(_varied(padded, g), (width,) * n, tuple(line.digits for line in drawn))

    def _line(self, g: Generator) -> LabelledLine:
        """One of the lines; or, so that numbers are not learnt by heart, the parts of two."""
        first, second = (self.lines[i] for i in _integers(len(self.lines), 2, g))
        if not (first.cuts and second.cuts) or torch.rand((), generator=g) >= _SPLICED:
            return first
        before, left = first.cuts[_integers(len(first.cuts), 1, g)[0]]
        after, right = second.cuts[_integers(len(second.cuts), 1, g)[0]]
        ink = np.concatenate([first.ink[:, :left], second.ink[:, right:]], 1)
        return LabelledLine(ink, first.digits[:before] + second.digits[after:])


def load_documents(folder: str | Path, reader: Reader) -> Documents:
    """The pictures of a folder with a `labels.csv`, split, and their lines.

    Args:
        folder: pictures and `labels.csv`.
        reader: says which line of a picture with several is the labelled one.

    Raises:
        DataError: no such folder, fewer than ten pictures that can be used, or a damaged one.
    """
    pictures = sorted(load_labels(folder), key=lambda picture: str(picture.path))
    order = np.argsort(np.random.PCG64(0).random_raw(len(pictures)), kind="stable")
    held = set(order[: len(pictures) // _HELD_BACK].tolist())
    lines, left_out = [], 0
    for number, picture in enumerate(pictures):
        if number in held:
            continue
        found = _labelled_line(picture, reader)
        if found is None:
            left_out += 1
        else:
            lines.append(found)
    if len(lines) < _FEWEST:
        raise DataError(
            folder,
            f"{len(lines)} pictures to train on; at least {_FEWEST} are needed "
            f"({len(held)} are held back, {left_out} do not show their label)",
        )
    return Documents(tuple(lines), left_out, tuple(pictures[i] for i in sorted(held)))


def _labelled_line(picture: LabelledPicture, reader: Reader) -> LabelledLine | None:
    """The line of a picture in which its label is likeliest; None if it is in none."""
    if not picture.label.isdecimal():  # several lines, or none
        return None
    digits = tuple(map(int, picture.label))
    best, found = _IMPOSSIBLE, None
    for line in find_lines(open_image(picture.path, colour=True)):
        probabilities = line_probabilities(reader.line_model, line.ink[None])[0]
        probability = text_probability(probabilities, digits)
        if probability > best:
            best, found = probability, (line.ink, probabilities)
    if found is None:
        return None
    ink, probabilities = found
    known = best >= _KNOWN
    return LabelledLine(ink, digits, _cuts(ink, align(probabilities, digits)) if known else ())


def _cuts(
    ink: UInt8[np.ndarray, "32 width"], spans: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Where a line can be cut, by the steps at which the network says each of its digits."""
    blank = ink.max(0) < _BLANK
    step = PATCH // STEPS_A_PATCH
    found = []
    for number, ((_, last), (first, _)) in enumerate(itertools.pairwise(spans), start=1):
        start = (last + 1) * step
        between = start + np.flatnonzero(blank[start : first * step])
        if len(between):
            found.append((number, int(between[len(between) // 2])))
    return tuple(found)


def concatenate(parts: Sequence[LineBatch]) -> LineBatch:
    """Lines one after the other, padded to one width."""
    width = max(part.ink.shape[2] for part in parts)
    return LineBatch(
        torch.cat([fn.pad(part.ink, (0, width - part.ink.shape[2])) for part in parts]),
        tuple(width for part in parts for width in part.widths),
        tuple(label for part in parts for label in part.labels),
    )


def _varied(ink: Float32[Tensor, "n 32 width"], g: Generator) -> Float32[Tensor, "n 32 width"]:
    """A little larger or smaller, slanted, turned, moved, bent, with another pen and other ink."""
    n, height, width = ink.shape
    scale_x, scale_y = (torch.exp(0.06 * _normal(n, g)) for _ in range(2))
    slant = 0.12 * _normal(n, g)
    rise = torch.randn(n, generator=g) * 0.01
    down, right = uniform(n, -1.5, 1.5, g), uniform(n, -2.0, 2.0, g)
    # From places in the result to places in the original: both -1 to 1 over the whole picture.
    # Sizes change from the left edge, slants and turns about the centre.
    rows = [scale_x, slant * height / width, scale_x - 1 - 2 * right / width]
    rows += [rise * width / height, scale_y, -2 * down / height]
    places = fn.affine_grid(
        torch.stack(rows, 1).view(n, 2, 3), [n, 1, height, width], align_corners=False
    )
    # Strokes bend by a pixel or so, over half a line's height.
    waves = torch.randn(n, 2, 4, max(4, width // 12), generator=g) * _BEND
    bend = fn.interpolate(waves, size=(height, width), mode="bicubic", align_corners=True)
    pixel = torch.tensor([2 / width, 2 / height])
    places = places + bend.clamp(-2, 2).permute(0, 2, 3, 1) * pixel
    moved = fn.grid_sample(ink[:, None], places, align_corners=False)[:, 0]
    strokes = pen(moved, thickness(moved) + torch.randn(n, generator=g) * 0.3)
    some = pixelwise(uniform(n, 0.0, 1.0, g))
    return torch.where(some < 0.5, tone(strokes, g), strokes)


def _normal(n: int, g: Generator) -> Float32[Tensor, " n"]:
    """Normal, but within two deviations: `sample` leaves room for no more."""
    return torch.randn(n, generator=g).clamp(-2, 2)


def _integers(below: int, n: int, g: Generator) -> list[int]:
    drawn: list[int] = torch.randint(0, below, (n,), generator=g).tolist()
    return drawn
