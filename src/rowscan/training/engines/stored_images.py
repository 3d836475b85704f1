"""Training images in reading order, and the batches that are drawn from them.

The engines on NumPy and TensorFlow share this; `seeding` draws the batches.
"""

from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

import numpy as np

from rowscan.arrays import UInt8
from rowscan.recipes import LSTMRecipe, MLPRecipe
from rowscan.scans import scan
from rowscan.training.engines.interface import Indices
from rowscan.training.engines.seeding import draw_batches

R = TypeVar("R", bound=LSTMRecipe | MLPRecipe)


class StoredImages(Generic[R]):
    """What a `DigitEngine` knows of its training images: `load_images`, `order` and `feed`."""

    def __init__(self, recipe: R) -> None:
        self._recipe = recipe
        self._scan = scan(recipe.scan)
        self._sequences = np.empty((0, *self._scan.shape), np.uint8)
        self._labels = np.empty(0, np.uint8)

    def load_images(
        self, images: UInt8[np.ndarray, "n height width"], labels: UInt8[np.ndarray, " n"]
    ) -> None:
        """Take the training images, once, before the first step."""
        # In reading order once, not at every step; as bytes, which take a quarter of the memory.
        self._sequences = self._read(images)
        self._labels = labels

    def order(self, epoch: int) -> Iterator[Indices]:
        """The batches of one epoch (from 0) as indices into the training images."""
        return draw_batches(self._recipe, len(self._labels), epoch)

    def feed(self, batches: Iterator[Indices]) -> Generator[Indices, None, None]:
        """The batches as they are."""
        yield from batches

    def _read(
        self, images: UInt8[np.ndarray, "n height width"]
    ) -> UInt8[np.ndarray, "n time feature"]:
        n, height, width = images.shape
        # [:, scan] would give a strided array, which each batch would copy as a whole.
        return images.reshape(n, height * width).take(self._scan, axis=1)
