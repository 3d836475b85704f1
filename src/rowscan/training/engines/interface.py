"""The interface of every engine: one small set of verbs.

An engine owns a network, its optimiser and the order in which it draws images. It knows nothing of
runs, files, progress bars or accuracy; see `training.loop` for those.
"""

from collections.abc import Generator, Iterator, Mapping, Sized
from typing import Any, Protocol, SupportsFloat, runtime_checkable

import numpy as np

from rowscan.arrays import Float32, Int64, Shaped, UInt8
from rowscan.errors import ModelError

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
"""Named arrays. Weights have one naming for all engines, `torch.nn.LSTM`'s: `lstm.weight_ih_l0`
(4 hidden, feature) with gates in the order input, forget, cell, output; `lstm.weight_hh_l0`
(4 hidden, hidden); `lstm.bias_ih_l0` and `lstm.bias_hh_l0` (4 hidden,); `hidden.weight`
(hidden, 784) and `hidden.bias` of the MLP; `head.weight` (10, hidden) and `head.bias` (10,).
Those of the sweep networks are in `engines.sweep`. Trained with negatives, the head has 11 rows.
All float32."""


Figures = tuple[SupportsFloat, SupportsFloat]
"""Mean loss (nats) and number of correct answers of a batch, before its step. Numbers; or on a GPU
tensors, which may not be computed yet, so they are read only when they are needed."""
Indices = Int64[np.ndarray, " batch"]


@runtime_checkable
class Engine(Protocol):
    """A network in training; `create` makes one, with initial weights from the recipe's seed.

    It is a pure function of its recipe: epoch `e` draws the same order whether or not the
    epochs before it were run by the same process, which is what makes a training resumable.
    """

    def load_images(
        self, images: UInt8[np.ndarray, "n height width"], labels: UInt8[np.ndarray, " n"]
    ) -> None:
        """Take the training images, once, before the first step."""

    def order(self, epoch: int) -> Iterator[Int64[np.ndarray, " batch"]]:
        """The batches of one epoch (from 0) as indices into the training images."""

    def feed(self, batches: Iterator[Indices]) -> Generator[Sized, None, None]:
        """What `step` takes, for each of the batches: composed ahead, where that takes long.

        Not all of the batches may be wanted: close it at the end.
        """

    def step(self, batch: Any, learning_rate: float) -> Figures:
        """One optimiser step on a batch as `feed` gives it, or as `order` does."""

    def weights(self) -> dict[str, np.ndarray]:
        """The weights, by name, as copies."""

    def load_weights(self, weights: Arrays) -> None:
        """Replace the weights; names and shapes must be those of `weights()`."""

    def state(self) -> dict[str, np.ndarray]:
        """Weights and optimiser state: everything that a later step depends on."""

    def load_state(self, state: Arrays) -> None:
        """Restore what `state()` returned: later steps are bit-identical."""


@runtime_checkable
class DigitEngine(Engine, Protocol):
    """A network that reads single digits, in training."""

    def belief(
        self, images: UInt8[np.ndarray, "n height width"]
    ) -> Float32[np.ndarray, "n time 10"]:
        """Probabilities after each step of the scan; the last ones are the answer."""


def mean_of(first: Arrays, second: Arrays, share: float) -> dict[str, np.ndarray]:
    """The weights between two networks of which one was trained on from the other.

    Such a mean is often better than either (Wortsman et al., "Robust fine-tuning of zero-shot
    models", CVPR 2022).

    Args:
        first: weights by name.
        second: others of the same names and shapes.
        share: of the second network, 0 to 1.
    """
    return {name: old + np.float32(share) * (second[name] - old) for name, old in first.items()}


def predict_proba(
    engine: DigitEngine, images: UInt8[np.ndarray, "n height width"], batch: int = 1000
) -> Float32[np.ndarray, "n 10"]:
    """Probabilities of the ten digits for each image, a batch at a time to bound memory."""
    parts = [engine.belief(images[i : i + batch])[:, -1] for i in range(0, len(images), batch)]
    return np.concatenate(parts) if parts else np.empty((0, 10), np.float32)


def check_fit(ours: Arrays, theirs: Arrays) -> None:
    """Check that `theirs` can replace `ours`.

    Raises:
        ModelError: names, shapes or dtypes differ; names the first that does.
    """
    if wrong := sorted(ours.keys() ^ theirs.keys()):
        problem = "missing" if wrong[0] in ours else "unexpected"
        raise ModelError(None, f"weights {wrong[0]!r}: {problem}")
    for name, array in ours.items():
        given = theirs[name]
        if given.shape != array.shape or given.dtype != array.dtype:
            raise ModelError(
                None,
                f"weights {name!r}: expected {array.dtype} {array.shape}, "
                f"got {given.dtype} {given.shape}",
            )
