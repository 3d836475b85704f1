"""A user's own documents: pictures with labels, taken apart into lines to train on.

The network is not shown pictures but lines of ink, found as `Reader` finds them. One picture in
five is held back, so that what the training brought can be said on pictures that it did not see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Generator, Tensor
from torch.nn import functional as fn

from rowscan.ctc import text_probability
from rowscan.errors import DataError
from rowscan.labelled import LabelledPicture, load_labels
from rowscan.page import find_lines
from rowscan.pictures import open_image
from rowscan.reader import Reader, line_probabilities
from rowscan.training.augmentation import pen, pixelwise, thickness, tone, uniform
from rowscan.training.lines import Lines

_HELD_BACK = 5
"""One picture in so many is not trained on."""
_IMPOSSIBLE = 1e-30
"""A line in which its label is less probable than this is another line, or wrongly labelled."""
_FEWEST = 10
_BEND = 0.9  # pixels


@dataclass(frozen=True)
class Documents:
    """Labelled pictures, ready to train on and to test on."""

    ink: tuple[UInt8[np.ndarray, "32 _"], ...]
    """Lines to train on,"""
    labels: tuple[tuple[int, ...], ...]
    """and what stands in them."""
    left_out: int
    """Pictures whose label was found in none of their lines."""
    held_back: tuple[LabelledPicture, ...]
    """Pictures that are not trained on."""

    def draw(self, n: int, g: Generator) -> Lines:
        """N of the lines, each a little different every time."""
        chosen = torch.randint(0, len(self.ink), (n,), generator=g).tolist()
        lines = [torch.from_numpy(self.ink[i]).float() / 255 for i in chosen]
        width = round(1.15 * max(line.shape[1] for line in lines)) + 20
        padded = torch.stack([fn.pad(line, (6, width - 6 - line.shape[1])) for line in lines])
        return Lines(_varied(padded, g), (width,) * n, tuple(self.labels[i] for i in chosen))


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
    ink, labels, left_out = [], [], 0
    for number, picture in enumerate(pictures):
        if number in held:
            continue
        found = _labelled_line(picture, reader)
        if found is None:
            left_out += 1
            continue
        ink.append(found)
        labels.append(tuple(map(int, picture.label)))
    if len(ink) < _FEWEST:
        raise DataError(
            f"{folder}: {len(ink)} pictures to train on; at least {_FEWEST} are needed "
            f"({len(held)} are held back, {left_out} do not show their label)"
        )
    return Documents(tuple(ink), tuple(labels), left_out, tuple(pictures[i] for i in sorted(held)))


def _labelled_line(
    picture: LabelledPicture, reader: Reader
) -> UInt8[np.ndarray, "32 width"] | None:
    """The line of a picture in which its label is likeliest; None if it is in none."""
    if not picture.label.isdecimal():  # several lines, or none
        return None
    digits = tuple(map(int, picture.label))
    best, found = _IMPOSSIBLE, None
    for line in find_lines(open_image(picture.path, colour=True)):
        probability = text_probability(line_probabilities(reader.line_model, line.ink), digits)
        if probability > best:
            best, found = probability, line.ink
    return found


def join(parts: Sequence[Lines]) -> Lines:
    """Lines one after the other, padded to one width."""
    width = max(part.ink.shape[2] for part in parts)
    return Lines(
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
    """Normal, but within two deviations: `draw` leaves room for no more."""
    return torch.randn(n, generator=g).clamp(-2, 2)
