"""Test-time augmentation (TTA): altered copies of an image or a line of which a model is unsure.

It sees models as functions from a batch of images to probabilities.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from rowscan.arrays import Float, Float32, UInt8
from rowscan.recognition.beam import possible_probability
from rowscan.recognition.constraint import Constraint
from rowscan.recognition.ctc import (
    Decoding,
    align,
    best_path,
    compressed,
    stacked,
    text_probabilities,
)

DIGIT_THRESHOLD = 0.9
"""A digit of lower confidence is augmented,"""
LINE_THRESHOLD = 0.8
"""and a line of lower confidence."""
_SHIFTS = ((-1, -1), (-1, 1), (1, -1), (1, 1))  # pixels down and right
_SHEAR = 0.15  # columns a row
_SCALES = ((0.8, 1), (0.9, -2), (1.0, 2), (1.1, -1))  # with the rows by which the line is lowered
_BATCH_COLUMNS = 2048  # of all lines of a batch: bounds memory
_IMPOSSIBLE = 1e-9
MOST_COLUMNS = 6_144
"""Of all lines of a page that are augmented: 30 of usual width. It bounds time."""

Images = UInt8[np.ndarray, "n height width"]
Probabilities = Float32[np.ndarray, "n 10"]


def predict_proba(predict: Callable[[Images], Probabilities], images: Images) -> Probabilities:
    """Probabilities of the ten digits for each image, with TTA where the model is unsure.

    An unsure image is shifted by a pixel towards each of the four corners; the result is the mean
    of its five predictions.

    Args:
        predict: the probabilities by the model alone.
        images: ink on black.
    """
    probabilities = predict(images)
    unsure = np.flatnonzero(probabilities.max(1) < DIGIT_THRESHOLD)
    if len(unsure):
        shifted = [shift(images[unsure], down, right) for down, right in _SHIFTS]
        augmented = predict(np.concatenate(shifted)).reshape(len(_SHIFTS), len(unsure), -1)
        probabilities[unsure] = np.mean([probabilities[unsure], *augmented], 0)
    return probabilities


def shift(images: Images, down: int, right: int) -> Images:
    """Images shifted by at most a pixel; what leaves them is lost."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    _, height, width = images.shape
    return np.ascontiguousarray(
        padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
    )


class Budget:
    """How many columns of the lines of a page may still be augmented."""

    def __init__(self, columns: int = MOST_COLUMNS) -> None:
        self._columns = columns

    def unsure(self, decodings: Sequence[Decoding], widths: Sequence[int]) -> list[int]:
        """The numbers of the lines to augment: the shortest of which the model is unsure.

        Args:
            decodings: what was read in some lines of the page.
            widths: their columns.
        """
        found = [i for i, d in enumerate(decodings) if d.probability < LINE_THRESHOLD * d.possible]
        found.sort(key=lambda i: widths[i])
        total = itertools.accumulate(widths[i] for i in found)
        taken = [i for i, columns in zip(found, total, strict=True) if columns <= self._columns]
        self._columns -= sum(widths[i] for i in taken)
        return taken


def decode_again(
    predict: Callable[[UInt8[np.ndarray, "n 32 width"]], Float[np.ndarray, "n time classes"]],
    ink: UInt8[np.ndarray, "32 width"],
    steps: Float[np.ndarray, "time classes"],
    decoding: Decoding,
    constraint: Constraint,
) -> Decoding:
    """The likeliest text of a line by the line and its eight variants, those of `augment_line`.

    Of the texts that any of the nine proposes, the one with the highest mean probability is taken,
    and that mean is its probability. Spans are those of the line as it is.

    Args:
        predict: the probabilities at each step of some lines, by the model alone.
        ink: the line.
        steps: its own probabilities.
        decoding: what was read by them.
        constraint: what may be read.
    """
    lines = augment_line(ink)
    batch = max(1, _BATCH_COLUMNS // lines.shape[2])
    parts = [predict(lines[i : i + batch]) for i in range(0, len(lines), batch)]
    rows = [compressed(line)[0] for line in itertools.chain(*parts)]
    gap = constraint.gap
    proposed = (best_path(line, gap) for line in rows)
    texts = list(dict.fromkeys([decoding.text, *filter(constraint.accepts, proposed)]))
    if not constraint.accepts(decoding.text):
        texts = texts[1:] or [()]
    odds = text_probabilities(stacked([steps, *rows]), texts, gap)
    possible = odds[0] > _IMPOSSIBLE  # in the line as it is, to which texts are aligned
    mean = np.where(possible, odds.mean(0), 0.0)
    best = int(mean.argmax())
    if not constraint.accepts(texts[best]) or mean[best] == 0:
        return decoding
    of_variants = [possible_probability(line, constraint) for line in rows]
    total = (decoding.possible + sum(of_variants)) / (len(rows) + 1)
    return Decoding(texts[best], float(mean[best]), align(steps, texts[best], gap), total)


def augment_line(ink: UInt8[np.ndarray, "32 width"]) -> UInt8[np.ndarray, "8 32 wider"]:
    """Eight variants of a line: sheared either way, each at four scales and heights."""
    height, width = ink.shape
    wider = math.ceil(max(scale for scale, _ in _SCALES) * width + _SHEAR * height)
    across, down, middle = (width - 1) / 2, (height - 1) / 2, (wider - 1) / 2
    return np.stack(
        [
            cv2.warpAffine(
                ink,
                np.array(
                    [
                        [scale, -shear, middle - scale * across + shear * down],
                        [0, scale, down - scale * down + lower],
                    ]
                ),
                (wider, height),
            )
            for shear in (-_SHEAR, _SHEAR)
            for scale, lower in _SCALES
        ]
    )
