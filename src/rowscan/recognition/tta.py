"""More than one look at an image or a line, where the first leaves doubt."""

import itertools
import math
from collections.abc import Callable

import cv2
import numpy as np

from rowscan.arrays import Float32, UInt8
from rowscan.recognition.ctc import Decoding, align, decode, likeliest_path, text_probabilities

SURE = 0.9
"""A model that is less sure of a digit looks again,"""
SURE_OF_LINE = 0.8
"""and one that is less sure of a whole line."""
_CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_SLANT = 0.15  # columns a row
_SIZES = ((0.8, 1), (0.9, -2), (1.0, 2), (1.1, -1))  # and how many rows lower
_AT_ONCE = 2048  # columns: bounds memory
_IMPOSSIBLE = 1e-9

Images = UInt8[np.ndarray, "n height width"]
Probabilities = Float32[np.ndarray, "n 10"]
Steps = Float32[np.ndarray, "time 11"]


def predict_proba(answer: Callable[[Images], Probabilities], images: Images) -> Probabilities:
    """Probabilities of the ten digits for each image, from one look or from five.

    An image of which the model is not sure is looked at again, moved by a pixel towards each of the
    four corners, and the answer is the mean of the five.

    Args:
        answer: the probabilities from one look.
        images: ink on black.
    """
    probabilities = answer(images)
    unsure = np.flatnonzero(probabilities.max(1) < SURE)
    if len(unsure):
        looks = [answer(moved(images[unsure], down, right)) for down, right in _CORNERS]
        probabilities[unsure] = np.mean([probabilities[unsure], *looks], 0)
    return probabilities


def moved(images: Images, down: int, right: int) -> Images:
    """Images moved by at most a pixel; what leaves them is lost."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    _, height, width = images.shape
    return np.ascontiguousarray(
        padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
    )


def read_line(
    answer: Callable[[UInt8[np.ndarray, "n 32 width"]], Float32[np.ndarray, "n time 11"]],
    ink: UInt8[np.ndarray, "32 width"],
) -> tuple[Steps, Decoding]:
    """What the model says at each step of a line, and the likeliest text, from one look or nine.

    Where the first look leaves doubt, those at the line `otherwise` written take part in choosing
    among the texts that the looks propose: the one that they give the most probability on average
    is taken, and that average is how sure it is. Its places are those of the first look.

    Args:
        answer: the probabilities at each step of some lines, from one look.
        ink: the line.
    """
    steps = answer(ink[None])[0]
    found = decode(steps)
    if found.probability >= SURE_OF_LINE:
        return steps, found
    lines = otherwise(ink)
    at_once = max(1, _AT_ONCE // lines.shape[2])
    others = [answer(lines[i : i + at_once]) for i in range(0, len(lines), at_once)]
    texts = list(dict.fromkeys([found.digits, *map(likeliest_path, itertools.chain(*others))]))
    odds = np.concatenate([text_probabilities(some, texts) for some in (steps[None], *others)])
    known = odds[0] > _IMPOSSIBLE  # to the first look, which places the digits
    mean = np.where(known, odds.mean(0), 0.0)
    best = int(mean.argmax())
    return steps, Decoding(texts[best], float(mean[best]), align(steps, texts[best]))


def otherwise(ink: UInt8[np.ndarray, "32 width"]) -> UInt8[np.ndarray, "8 32 wider"]:
    """A line as it could have been written as well: leaning, larger or smaller, higher or lower."""
    height, width = ink.shape
    wider = math.ceil(max(size for size, _ in _SIZES) * width + _SLANT * height)
    across, down, middle = (width - 1) / 2, (height - 1) / 2, (wider - 1) / 2
    return np.stack(
        [
            cv2.warpAffine(
                ink,
                np.array(
                    [
                        [size, -slant, middle - size * across + slant * down],
                        [0, size, down - size * down + lower],
                    ]
                ),
                (wider, height),
            )
            for slant in (-_SLANT, _SLANT)
            for size, lower in _SIZES
        ]
    )
