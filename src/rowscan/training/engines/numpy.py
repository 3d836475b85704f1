"""The NumPy engine: owns the weights.

Forward and backward passes are in `by_hand`, update rules in `optimizers`, draws in `seeding`.
"""

from collections.abc import Mapping

import numpy as np

from rowscan.arrays import Float32, Int64, Shaped, UInt8
from rowscan.recipes import LSTMRecipe, MLPRecipe
from rowscan.training.engines import by_hand
from rowscan.training.engines.interface import Arrays, check_fit
from rowscan.training.engines.optimizers import OPTIMIZERS, Optimizer
from rowscan.training.engines.seeding import initial_weights, is_trainable
from rowscan.training.engines.stored_images import StoredImages

_DIGITS = 10
_BELIEF_BATCH = 128  # keeps the gates of 28 steps within a few megabytes


class NumpyEngine(StoredImages[LSTMRecipe | MLPRecipe]):
    """A network of `by_hand` in training; a `DigitEngine` of `interface`."""

    def __init__(self, recipe: LSTMRecipe | MLPRecipe) -> None:
        super().__init__(recipe)
        if isinstance(recipe, MLPRecipe):
            self._logits, self._gradients = by_hand.mlp_logits, by_hand.mlp_gradients
        else:
            self._logits, self._gradients = by_hand.lstm_logits, by_hand.lstm_gradients
        self._weights = initial_weights(recipe)
        self._trained = {n: w for n, w in self._weights.items() if is_trainable(recipe, n)}
        self._optimizer: Optimizer = OPTIMIZERS[recipe.optimizer](self._trained)
        _keep_freed_memory()

    def step(self, batch: Int64[np.ndarray, " batch"], learning_rate: float) -> tuple[float, int]:
        """One optimiser step; mean loss (nats) and number of correct answers before it."""
        x = self._pixels(self._sequences.take(batch, axis=0))
        loss, correct, gradients = self._gradients(self._weights, x, self._labels.take(batch))
        self._optimizer.update(self._trained, gradients, learning_rate)
        return loss, correct

    def belief(
        self, images: UInt8[np.ndarray, "n height width"]
    ) -> Float32[np.ndarray, "n time 10"]:
        """Probabilities after each step of the scan; the last ones are the answer."""
        belief = np.empty((len(images), len(self._scan), _DIGITS), np.float32)
        for start in range(0, len(images), _BELIEF_BATCH):
            part = slice(start, start + _BELIEF_BATCH)
            y = self._logits(self._weights, self._pixels(self._read(images[part])))
            belief[part] = by_hand.softmax(y).swapaxes(0, 1)
        return belief

    def weights(self) -> dict[str, np.ndarray]:
        """The weights, by name, as copies."""
        return {name: array.copy() for name, array in self._weights.items()}

    def load_weights(self, weights: Arrays) -> None:
        """Replace the weights; names and shapes must be those of `weights()`.

        Raises:
            ModelError: names, shapes or dtypes differ; nothing was changed.
        """
        _fill(self._weights, weights)

    def state(self) -> dict[str, np.ndarray]:
        """Weights and optimiser state: everything that a later step depends on."""
        return self.weights() | {n: array.copy() for n, array in self._optimizer.state.items()}

    def load_state(self, state: Arrays) -> None:
        """Restore what `state()` returned.

        Raises:
            ModelError: names, shapes or dtypes differ; nothing was changed.
        """
        _fill(self._weights | self._optimizer.state, state)

    def _pixels(
        self, sequences: UInt8[np.ndarray, "batch time feature"]
    ) -> Float32[np.ndarray, "time batch feature"]:
        """The network's input, time first, scaled as the recipe says."""
        x = sequences.swapaxes(0, 1).astype(np.float32, order="C")
        if self._recipe.pixels != "raw":
            x /= 255
        if self._recipe.pixels == "signed":
            x -= 0.5
            x /= 0.5
        return x


def _keep_freed_memory() -> None:
    """Save a third of the time of an LSTM step with glibc; elsewhere this does nothing.

    A step allocates about ten arrays of megabytes. glibc returns such blocks to the system when
    they are freed and maps them again, page by page, in the next step. Freeing one larger block
    raises its threshold, so that smaller blocks are kept (M_MMAP_THRESHOLD in mallopt(3)).
    """
    np.empty(31 * 2**20, np.uint8)  # the threshold adapts to blocks up to 32 MiB; no page is used


def _fill(ours: Mapping[str, Shaped[np.ndarray, "..."]], theirs: Arrays) -> None:
    """Copy values into our arrays: all, or none if something does not fit."""
    check_fit(ours, theirs)
    for name, array in ours.items():
        array[...] = theirs[name]
