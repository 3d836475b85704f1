"""The engine that runs on NumPy: owns weights and random numbers, but none of the mathematics.

Forward and backward are in `by_hand`, the update rules in `optimizers`.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from rowscan.errors import ModelError
from rowscan.recipes import Recipe
from rowscan.scans import scan
from rowscan.training import by_hand
from rowscan.training.engine import Arrays
from rowscan.training.optimizers import OPTIMIZERS, Optimizer

Weights = dict[str, Float32[np.ndarray, "..."]]

_DIGITS = 10
_BELIEF_BATCH = 128  # a batch's gates over 28 steps then stay within a few megabytes


class NumpyEngine:
    """A network of `by_hand` in training; see [`Engine`][rowscan.training.engine]."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._scan = scan(recipe.scan)
        if recipe.network == "mlp":
            self._logits, self._gradients = by_hand.mlp_logits, by_hand.mlp_gradients
        else:
            self._logits, self._gradients = by_hand.lstm_logits, by_hand.lstm_gradients
        self._weights = first_weights(recipe)
        self._optimizer: Optimizer = OPTIMIZERS[recipe.optimizer](self._weights)
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
        rng = np.random.default_rng([self._recipe.seed, 1, epoch])
        n, size = len(self._labels), self._recipe.batch_size
        if self._recipe.sampling == "replacement":
            for _ in range(n // size):
                yield rng.integers(n, size=size)
        else:
            shuffled = rng.permutation(n)
            for start in range(0, n, size):
                yield shuffled[start : start + size]

    def step(self, batch: Int64[np.ndarray, " batch"], learning_rate: float) -> tuple[float, int]:
        """One step of the optimiser; the batch's mean loss (nats) and correct answers before it."""
        x = self._pixels(self._sequences.take(batch, axis=0))
        loss, correct, gradients = self._gradients(self._weights, x, self._labels.take(batch))
        self._optimizer.update(self._weights, gradients, learning_rate)
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


def first_weights(recipe: Recipe) -> Weights:
    """The weights before the first step, drawn from the seed of the recipe, one after the other."""
    rng = np.random.default_rng([recipe.seed, 0])
    weights: Weights = {}
    for name, (shape, fan) in _shapes(recipe).items():
        if recipe.init == "uniform":
            bound = 1 / math.sqrt(fan)
            drawn = rng.uniform(-bound, bound, shape)
        elif len(shape) > 1:
            drawn = 0.01 * rng.standard_normal(shape)
        else:
            drawn = np.zeros(shape)
        weights[name] = drawn.astype(np.float32)
    return weights


def _shapes(recipe: Recipe) -> Mapping[str, tuple[tuple[int, ...], int]]:
    """Shape of each of the weights, and the fan that bounds its first values, as torch has it."""
    feature, hidden = scan(recipe.scan).shape[1], recipe.hidden
    shapes: dict[str, tuple[tuple[int, ...], int]] = {}
    if recipe.network == "mlp":
        shapes["hidden.weight"] = (hidden, feature), feature
        shapes["hidden.bias"] = (hidden,), feature
    else:
        for layer in range(recipe.layers):
            below = hidden if layer else feature
            shapes[f"lstm.weight_ih_l{layer}"] = (4 * hidden, below), hidden
            shapes[f"lstm.weight_hh_l{layer}"] = (4 * hidden, hidden), hidden
            shapes[f"lstm.bias_ih_l{layer}"] = (4 * hidden,), hidden
            shapes[f"lstm.bias_hh_l{layer}"] = (4 * hidden,), hidden
    shapes["head.weight"] = (_DIGITS, hidden), hidden
    shapes["head.bias"] = (_DIGITS,), hidden
    return shapes


def _keep_freed_memory() -> None:
    """Spare each step of an LSTM a third of its time, where the C library is glibc.

    A step needs some ten arrays of megabytes, and glibc hands such memory back to the system as
    soon as it is free, to be asked for it again, page by page, in the next step. Once it has seen
    a larger block be freed, it keeps all smaller ones. Elsewhere this does nothing.
    """
    np.empty(31 * 2**20, np.uint8)  # glibc learns from blocks up to 32 MiB; none of it is touched


def _fill(ours: Mapping[str, Shaped[np.ndarray, "..."]], theirs: Arrays) -> None:
    """Copy their values into our arrays, all or nothing."""
    if wrong := sorted(ours.keys() ^ theirs.keys()):
        side = "lack" if wrong[0] in ours else "have a needless"
        raise ModelError(f"the weights {side} {wrong[0]!r}")
    for name, array in ours.items():
        given = theirs[name]
        if given.shape != array.shape or given.dtype != array.dtype:
            raise ModelError(
                f"the weights {name!r} are {given.dtype} {given.shape}, "
                f"not {array.dtype} {array.shape}"
            )
    for name, array in ours.items():
        array[...] = theirs[name]
