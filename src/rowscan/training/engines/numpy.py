"""The engine that runs on NumPy: owns weights, but neither mathematics nor random numbers.

Forward and backward are in `by_hand`, the update rules in `optimizers`, what is drawn in `drawing`.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from rowscan.arrays import Float32, Int64, Shaped, UInt8
from rowscan.recipes import LSTMRecipe, MLPRecipe
from rowscan.scans import scan
from rowscan.training.engines import by_hand
from rowscan.training.engines.interface import Arrays, check_fit
from rowscan.training.engines.optimizers import OPTIMIZERS, Optimizer
from rowscan.training.engines.seeding import draw_batches, initial_weights, is_trainable

_DIGITS = 10
_BELIEF_BATCH = 128  # a batch's gates over 28 steps then stay within a few megabytes


class NumpyEngine:
    """A network of `by_hand` in training; see [`Engine`][rowscan.training.engines.interface]."""

    def __init__(self, recipe: LSTMRecipe | MLPRecipe) -> None:
        self._recipe = recipe
        self._scan = scan(recipe.scan)
        if isinstance(recipe, MLPRecipe):
            self._logits, self._gradients = by_hand.mlp_logits, by_hand.mlp_gradients
        else:
            self._logits, self._gradients = by_hand.lstm_logits, by_hand.lstm_gradients
        self._weights = initial_weights(recipe)
        self._trained = {n: w for n, w in self._weights.items() if is_trainable(recipe, n)}
        self._optimizer: Optimizer = OPTIMIZERS[recipe.optimizer](self._trained)
        self._sequences = np.empty((0, *self._scan.shape), np.uint8)
        self._labels = np.empty(0, np.uint8)
        _keep_freed_memory()

    def load_images(
        self, images: UInt8[np.ndarray, "n height width"], labels: UInt8[np.ndarray, " n"]
    ) -> None:
        """Take the training images, once, before the first step."""
        # Put in reading order once and not at every step, and as bytes: a quarter of the memory.
        self._sequences = self._read(images)
        self._labels = labels

    def order(self, epoch: int) -> Iterator[Int64[np.ndarray, " batch"]]:
        """The batches of one epoch (from 0) as indices into the training images."""
        return draw_batches(self._recipe, len(self._labels), epoch)

    def step(self, batch: Int64[np.ndarray, " batch"], learning_rate: float) -> tuple[float, int]:
        """One step of the optimiser; the batch's mean loss (nats) and correct answers before it."""
        x = self._pixels(self._sequences.take(batch, axis=0))
        loss, correct, gradients = self._gradients(self._weights, x, self._labels.take(batch))
        self._optimizer.update(self._trained, gradients, learning_rate)
        return loss, correct

    def belief(
        self, images: UInt8[np.ndarray, "n height width"]
    ) -> Float32[np.ndarray, "n time 10"]:
        """Probabilities after each step of the scan; the last are the answer."""
        belief = np.empty((len(images), len(self._scan), _DIGITS), np.float32)
        for start in range(0, len(images), _BELIEF_BATCH):
            some = slice(start, start + _BELIEF_BATCH)
            y = self._logits(self._weights, self._pixels(self._read(images[some])))
            belief[some] = by_hand.softmax(y).swapaxes(0, 1)
        return belief

    def weights(self) -> dict[str, np.ndarray]:
        """The weights, by name, as copies."""
        return {name: array.copy() for name, array in self._weights.items()}

    def load_weights(self, weights: Arrays) -> None:
        """Replace the weights; names and shapes must be those of `weights()`.

        Raises:
            ModelError: they are not, or an array is not float32; nothing was changed.
        """
        _fill(self._weights, weights)

    def state(self) -> dict[str, np.ndarray]:
        """Weights and the optimiser's memory: all that a later step depends on."""
        return self.weights() | {n: array.copy() for n, array in self._optimizer.memory.items()}

    def load_state(self, state: Arrays) -> None:
        """Continue exactly where `state()` was taken.

        Raises:
            ModelError: names, shapes or dtypes are not those of `state()`; nothing was changed.
        """
        _fill(self._weights | self._optimizer.memory, state)

    def _read(
        self, images: UInt8[np.ndarray, "n height width"]
    ) -> UInt8[np.ndarray, "n time feature"]:
        n, height, width = images.shape
        # Not [:, scan]: what that gives is strided in memory, and each batch would copy it all.
        return images.reshape(n, height * width).take(self._scan, axis=1)

    def _pixels(
        self, sequences: UInt8[np.ndarray, "batch time feature"]
    ) -> Float32[np.ndarray, "time batch feature"]:
        """What the network sees of each pixel, with time first."""
        x = sequences.swapaxes(0, 1).astype(np.float32, order="C")
        if self._recipe.pixels != "raw":
            x /= 255
        if self._recipe.pixels == "signed":
            x -= 0.5
            x /= 0.5
        return x


def _keep_freed_memory() -> None:
    """Spare each step of an LSTM a third of its time, where the C library is glibc.

    A step needs some ten arrays of megabytes, and glibc hands such memory back to the system as
    soon as it is free, to be asked for it again, page by page, in the next step. Once it has seen
    a larger block be freed, it keeps all smaller ones. Elsewhere this does nothing.
    """
    np.empty(31 * 2**20, np.uint8)  # glibc learns from blocks up to 32 MiB; none of it is touched


def _fill(ours: Mapping[str, Shaped[np.ndarray, "..."]], theirs: Arrays) -> None:
    """Copy their values into our arrays, all or nothing."""
    check_fit(ours, theirs)
    for name, array in ours.items():
        array[...] = theirs[name]
