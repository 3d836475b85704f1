"""The TensorFlow engine: owns TensorFlow 1's LSTM cell and Adam.

The cell is TensorFlow 1's `BasicLSTMCell`, which current TensorFlow lacks: one kernel for input
and output, one bias, gates in the order i, j, f, o. Adam is the op of that time, `ApplyAdam`.
Weights are converted on loading and saving. Random draws are in `seeding`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from rowscan.arrays import Float, Float32, Int64, UInt8
from rowscan.recipes import LSTMRecipe
from rowscan.training.engines.by_hand import lstm_layers
from rowscan.training.engines.interface import Arrays, check_fit
from rowscan.training.engines.seeding import initial_weights
from rowscan.training.engines.stored_images import StoredImages


@contextmanager
def _stderr_muted() -> Iterator[None]:
    """Mute standard error while TensorFlow's C++ code is imported.

    It reports twice that oneDNN is on, whatever the log level. Turning oneDNN off would silence it
    but makes a step a quarter slower. A failed import still raises in Python.
    """
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # warnings but no notes, later on too
with _stderr_muted():
    import tensorflow as tf

_DIGITS = 10
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # TensorFlow 1's defaults


def basic_lstm_cell(
    x: Float[tf.Tensor, "batch feature"],
    h: Float[tf.Tensor, "batch hidden"],
    c: Float[tf.Tensor, "batch hidden"],
    *,
    kernel: Float[tf.Tensor, "feature+hidden 4*hidden"],
    bias: Float[tf.Tensor, " 4*hidden"],
    forget_bias: float,
) -> tuple[Float[tf.Tensor, "batch hidden"], Float[tf.Tensor, "batch hidden"]]:
    """One step of TensorFlow 1's `BasicLSTMCell`: the new output and cell.

    (i j f o) = [x h] kernel + bias; c' = c σ(f + forget_bias) + σ(i) tanh(j); h' = tanh(c') σ(o).
    This is the LSTM of W. Zaremba, I. Sutskever and O. Vinyals, "Recurrent Neural Network
    Regularization", 2014, where j is g.
    """
    z = tf.nn.bias_add(tf.matmul(tf.concat([x, h], 1), kernel), bias)
    i, j, f, o = tf.split(z, 4, 1)
    c = c * tf.sigmoid(f + forget_bias) + tf.sigmoid(i) * tf.tanh(j)
    return tf.tanh(c) * tf.sigmoid(o), c


class TensorflowEngine(StoredImages[LSTMRecipe]):
    """An LSTM trained with TensorFlow; a `DigitEngine` of `interface`."""

    def __init__(self, recipe: LSTMRecipe) -> None:
        super().__init__(recipe)
        first = _to_tensorflow(initial_weights(recipe), recipe.forget_bias)
        with tf.device("CPU"):
            self._weights = {name: tf.Variable(value) for name, value in first.items()}
            self._slots = {
                f"adam.{kind}.{name}": tf.Variable(np.zeros_like(value))
                for kind in "mv"
                for name, value in first.items()
            }
            self._slots["adam.beta1_power"] = tf.Variable(np.float32(_BETA_1))
            self._slots["adam.beta2_power"] = tf.Variable(np.float32(_BETA_2))
        sequences = tf.TensorSpec((None, *self._scan.shape), tf.uint8)
        labels, rate = tf.TensorSpec((None,), tf.uint8), tf.TensorSpec((), tf.float32)
        self._compiled_step = tf.function(
            self._step, input_signature=[sequences, labels, rate], autograph=False
        )
        self._compiled_belief = tf.function(
            self._belief, input_signature=[sequences], autograph=False
        )

    def step(self, batch: Int64[np.ndarray, " batch"], learning_rate: float) -> tuple[float, int]:
        """One step of Adam; mean loss (nats) and number of correct answers before it."""
        loss, correct = self._compiled_step(
            self._sequences.take(batch, axis=0), self._labels.take(batch), learning_rate
        )
        return float(loss), int(correct)

    def belief(
        self, images: UInt8[np.ndarray, "n height width"]
    ) -> Float32[np.ndarray, "n time 10"]:
        """Probabilities after each step of the scan; the last ones are the answer."""
        belief: np.ndarray = self._compiled_belief(self._read(images)).numpy()
        return belief

    def weights(self) -> dict[str, np.ndarray]:
        """The weights, by name, as copies.

        The forget gate's bias includes the forget bias, which the cell adds at run time.
        """
        return _from_tensorflow(_values(self._weights), self._recipe.forget_bias)

    def load_weights(self, weights: Arrays) -> None:
        """Replace the weights; names and shapes must be those of `weights()`.

        Raises:
            ModelError: names, shapes or dtypes differ; nothing was changed.
        """
        check_fit(self.weights(), weights)
        for name, value in _to_tensorflow(weights, self._recipe.forget_bias).items():
            self._weights[name].assign(value)

    def state(self) -> dict[str, np.ndarray]:
        """The weights in TensorFlow's layout, and the optimiser state."""
        return _values(self._weights | self._slots)

    def load_state(self, state: Arrays) -> None:
        """Restore what `state()` returned.

        Raises:
            ModelError: names, shapes or dtypes differ; nothing was changed.
        """
        check_fit(self.state(), state)
        for name, variable in (self._weights | self._slots).items():
            variable.assign(state[name])

    def _step(
        self,
        sequences: UInt8[tf.Tensor, "batch time feature"],
        labels: UInt8[tf.Tensor, " batch"],
        learning_rate: Float32[tf.Tensor, ""],
    ) -> tuple[Float32[tf.Tensor, ""], Int64[tf.Tensor, ""]]:
        """The compiled part of `step`."""
        with tf.GradientTape() as tape:
            logits = self._logits(self._outputs(sequences)[-1])
            each = tf.nn.softmax_cross_entropy_with_logits(tf.one_hot(labels, _DIGITS), logits)
            loss = tf.reduce_mean(each)
        gradients = tape.gradient(loss, self._weights)
        powers = self._slots["adam.beta1_power"], self._slots["adam.beta2_power"]
        for name, variable in self._weights.items():
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._slots[f"adam.m.{name}"].handle,
                v=self._slots[f"adam.v.{name}"].handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=learning_rate,
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=_EPSILON,
                grad=gradients[name],
            )
        for power, beta in zip(powers, (_BETA_1, _BETA_2), strict=True):
            power.assign(power * beta)
        answers = tf.argmax(logits, 1)
        return loss, tf.math.count_nonzero(answers == tf.cast(labels, answers.dtype))

    def _belief(
        self, sequences: UInt8[tf.Tensor, "batch time feature"]
    ) -> Float32[tf.Tensor, "batch time 10"]:
        """The compiled part of `belief`."""
        logits = [self._logits(h) for h in self._outputs(sequences)]
        return tf.nn.softmax(tf.stack(logits, 1))

    def _outputs(
        self, sequences: UInt8[tf.Tensor, "batch time feature"]
    ) -> list[Float32[tf.Tensor, "batch hidden"]]:
        """The outputs of the top layer, one per step."""
        outputs = tf.unstack(self._pixels(sequences), axis=1)
        for layer in range(self._recipe.layers):
            cell = partial(
                basic_lstm_cell,
                kernel=self._weights[f"lstm.kernel_l{layer}"].read_value(),
                bias=self._weights[f"lstm.bias_l{layer}"].read_value(),
                forget_bias=self._recipe.forget_bias,
            )
            h = c = tf.zeros((tf.shape(sequences)[0], self._recipe.hidden))
            for t, x in enumerate(outputs):
                h, c = cell(x, h, c)
                outputs[t] = h
        return outputs  # type: ignore[no-any-return]

    def _logits(self, h: Float32[tf.Tensor, "batch hidden"]) -> Float32[tf.Tensor, "batch 10"]:
        return tf.matmul(h, self._weights["head.kernel"]) + self._weights["head.bias"]

    def _pixels(
        self, sequences: UInt8[tf.Tensor, "batch time feature"]
    ) -> Float32[tf.Tensor, "batch time feature"]:
        """The network's input, scaled as the recipe says."""
        x = tf.cast(sequences, tf.float32)
        if self._recipe.pixels == "raw":
            return x
        return x / 255 if self._recipe.pixels == "unit" else (x / 255 - 0.5) / 0.5


def _to_tensorflow(weights: Arrays, forget_bias: float) -> dict[str, np.ndarray]:
    """Weights in TensorFlow 1's layout: matrices transposed, one kernel and bias per LSTM layer."""
    converted = {"head.kernel": weights["head.weight"].T, "head.bias": weights["head.bias"]}
    for layer in range(lstm_layers(weights)):
        w, u, b, d = (weights[name] for name in _names(layer))
        bias = b + d
        _forget_gate(bias)[...] -= forget_bias
        converted[f"lstm.kernel_l{layer}"] = _gates_swapped(np.concatenate([w, u], axis=1)).T
        converted[f"lstm.bias_l{layer}"] = _gates_swapped(bias)
    return converted


def _from_tensorflow(theirs: Arrays, forget_bias: float) -> dict[str, np.ndarray]:
    """The inverse of `_to_tensorflow`; the second bias of each layer is zero."""
    weights: dict[str, np.ndarray] = {}
    for layer in range(sum(name.startswith("lstm.bias") for name in theirs)):
        kernel = _gates_swapped(theirs[f"lstm.kernel_l{layer}"].T)
        bias = _gates_swapped(theirs[f"lstm.bias_l{layer}"])
        _forget_gate(bias)[...] += forget_bias
        w, u = np.split(kernel, [kernel.shape[1] - len(bias) // 4], axis=1)
        values = (w.copy(), u.copy(), bias, np.zeros_like(bias))
        weights |= dict(zip(_names(layer), values, strict=True))
    weights["head.weight"] = theirs["head.kernel"].T.copy()
    weights["head.bias"] = theirs["head.bias"].copy()
    return weights


def _names(layer: int) -> list[str]:
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [f"lstm.{part}_l{layer}" for part in parts]


def _gates_swapped(value: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """A copy with rows i, f, g, o reordered to TensorFlow's i, j, f, o (j is g), or back."""
    i, f, g, o = np.split(value, 4)
    return np.concatenate([i, g, f, o])


def _forget_gate(bias: Float32[np.ndarray, " gates"]) -> Float32[np.ndarray, " hidden"]:
    """A view of the forget gate's part of a bias in the order i, f, g, o."""
    hidden = len(bias) // 4
    return bias[hidden : 2 * hidden]


def _values(variables: Mapping[str, tf.Variable]) -> dict[str, np.ndarray]:
    return {name: np.array(variable.numpy()) for name, variable in variables.items()}
