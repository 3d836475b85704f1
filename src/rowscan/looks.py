"""More than one look at an image, where the first leaves doubt."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, UInt8

SURE = 0.9
"""A model that is less sure of what it sees looks again."""
_CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))

Images = UInt8[np.ndarray, "n height width"]
Probabilities = Float32[np.ndarray, "n 10"]


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
