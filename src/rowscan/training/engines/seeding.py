"""Initial weights and the order of batches, from a recipe's seed by NumPy's generator.

The torch engine draws both as the published scripts do, and uses this module only for what those
scripts do not have. Augmentation has its own generators, see `torch_trainer.seeded_generator`.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from rowscan.arrays import Float32, Int64
from rowscan.recipes import DigitRecipe, LineRecipe, LSTMRecipe, MLPRecipe, Recipe
from rowscan.scans import scan

Weights = dict[str, Float32[np.ndarray, "..."]]
"""Weights by name; names and layouts as in `rowscan.training.engines.interface.Arrays`."""

_DIGITS = 10
_LAST_LAYERS = ("join", "along", "last_norm", "head")
"""Of the line network (see `engines.sweep`)."""


def initial_weights(recipe: LSTMRecipe | MLPRecipe) -> Weights:
    """The weights before the first step, drawn in the order of `_shapes`.

    `glorot` is X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", AISTATS 2010, equation 16, as TensorFlow 1 applies it to an LSTM: with the
    fans of its one kernel (feature + hidden, 4 hidden).
    """
    rng = np.random.default_rng([recipe.seed, 0])
    weights: Weights = {}
    shapes = _shapes(recipe)
    for name, (shape, fan) in shapes.items():
        if recipe.init == "uniform":
            bound = 1 / math.sqrt(fan)
            drawn = rng.uniform(-bound, bound, shape)
        elif recipe.init == "glorot" and name.startswith("head."):
            drawn = rng.standard_normal(shape)
        elif len(shape) == 1:
            drawn = np.zeros(shape)
        elif recipe.init == "glorot":
            (gates, below), _ = shapes[name.replace("weight_hh", "weight_ih")]
            bound = math.sqrt(6 / (below + recipe.hidden + gates))
            drawn = rng.uniform(-bound, bound, shape)
        else:
            drawn = 0.01 * rng.standard_normal(shape)
        weights[name] = drawn.astype(np.float32)
    set_lstm_biases(recipe, weights)
    return weights


def set_lstm_biases(recipe: Recipe, weights: Weights) -> None:
    """Add the forget bias to an LSTM's initial weights and zero untrained biases, in place."""
    if not isinstance(recipe, LSTMRecipe):
        return
    for name, value in weights.items():
        if name.startswith("lstm.bias_ih"):
            value[recipe.hidden : 2 * recipe.hidden] += recipe.forget_bias
        if not is_trainable(recipe, name):
            value[...] = 0


def is_trainable(recipe: Recipe, name: str) -> bool:
    """Whether the weights of this name are trained.

    With `biases=1`, `bias_hh` stays zero; with `trained=last`, layers that see the ink stay too.
    """
    if isinstance(recipe, LineRecipe) and recipe.trained == "last":
        return name.startswith(_LAST_LAYERS)
    one_bias = isinstance(recipe, LSTMRecipe) and recipe.biases == 1
    return not (one_bias and name.startswith("lstm.bias_hh"))


def draw_batches(recipe: DigitRecipe, n: int, epoch: int) -> Iterator[Int64[np.ndarray, " batch"]]:
    """The batches of one epoch (from 0) as indices into `n` images."""
    size, steps = recipe.batch_size, recipe.steps_per_epoch
    rng = np.random.default_rng([recipe.seed, 1, epoch])
    if recipe.sampling == "replacement":
        for _ in range(steps or n // size):
            yield rng.integers(n, size=size)
    elif steps:
        yield from _contiguous_passes(recipe, n, epoch)
    else:
        shuffled = rng.permutation(n)
        for start in range(0, n, size):
            yield shuffled[start : start + size]


def numbered_batches(size: int, steps: int, epoch: int) -> Iterator[Int64[np.ndarray, " batch"]]:
    """The batches of one epoch (from 0) of what is composed: numbers, each used once."""
    for step in range(epoch * steps, (epoch + 1) * steps):
        yield np.arange(step * size, (step + 1) * size)


def _contiguous_passes(recipe: Recipe, n: int, epoch: int) -> Int64[np.ndarray, "steps batch"]:
    """Epoch `epoch` of an endless sequence of shuffled passes; a batch may span two passes."""
    length = recipe.steps_per_epoch * recipe.batch_size
    start = epoch * length
    passes = range(start // n, math.ceil((start + length) / n))
    shuffled = [np.random.default_rng([recipe.seed, 1, i]).permutation(n) for i in passes]
    indices = np.concatenate(shuffled)[start - passes.start * n :]
    return indices[:length].reshape(-1, recipe.batch_size)


def _shapes(recipe: LSTMRecipe | MLPRecipe) -> Mapping[str, tuple[tuple[int, ...], int]]:
    """Shape of each weight, and the fan that bounds its uniform initial values, as in torch."""
    feature, hidden = scan(recipe.scan).shape[1], recipe.hidden
    shapes: dict[str, tuple[tuple[int, ...], int]] = {}
    if isinstance(recipe, MLPRecipe):
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
