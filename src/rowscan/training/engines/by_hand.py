"""The LSTM and the MLP in plain NumPy, forward and backward: no framework, no training loop.

Read this file from the top down. A network is two functions of its weights and its input:
`*_logits` runs forward, `*_gradients` forward and backward.

Notation
--------
Sizes   T time, B batch, F feature, H hidden, K classes: the ten digits.
x       input, (T, B, F). Time comes first, so that `x[t]` is contiguous in memory.
h, c    output and cell of the LSTM, (B, H) at each step. Both are zero before the first step.
i f g o input gate, forget gate, candidate, output gate, (B, H) at each step.
z       pre-activations of the four gates, (B, 4H), in the order i, f, g, o.
W, U, b weights of the input (4H, F) and of the previous output (4H, H), and bias (4H,). torch
        keeps two biases; only their sum matters.
V, d    weights (K, H) and bias (K,) of the head, from h to logits.
y       logits, (B, K). p: probabilities, (B, K). L: loss, mean over the batch, in nats.
σ       the logistic function 1 / (1 + exp(-z)).
d_q     the gradient of L with respect to q, of the shape of q.

A batch is made of row vectors, hence x Wᵀ and not W x.

Forward                                  Backward
(1)  p = exp(y) / Σ exp(y)
(2)  L = - mean log p[label]             d_y = (p - [label]) / B

The multilayer perceptron (T = 1, W is (H, F)):
(3)  a = x Wᵀ + b                        d_W = d_aᵀ x       d_b = Σ d_a
(4)  h = max(a, 0)                       d_a = d_h where a > 0
(5)  s = h Vᵀ + d                        d_V = d_sᵀ h       d_d = Σ d_s       d_h = d_s V
(6)  y = max(s, 0)                       d_s = d_y where s > 0

The LSTM, at each step t (t' is the step before, t" the step after):
(7)  z = x Wᵀ + h[t'] Uᵀ + b             d_W = Σ_t d_zᵀ x   d_U = Σ_t d_zᵀ h[t']
                                         d_b = Σ d_z        d_x = d_z W       d_h[t'] = d_z U
(8)  i, f, o = σ(z);  g = tanh(z)        d_z = (d_i i(1-i), d_f f(1-f), d_g (1-g²), d_o o(1-o))
(9)  c = f c[t'] + i g                   d_i = d_c g        d_f = d_c c[t']   d_g = d_c i
(10) h = o tanh(c)                       d_o = d_h tanh(c)
                                         d_c = d_h o (1 - tanh²(c)) + d_c[t"] f[t"]
(11) y = h Vᵀ + d                        d_V = d_yᵀ h       d_d = Σ d_y       d_h = d_y V

The LSTM is S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8),
1997; the forget gate f came with F. Gers, J. Schmidhuber and F. Cummins, "Learning to Forget:
Continual Prediction with LSTM", Neural Computation 12(10), 2000. Backpropagation through time is
not truncated. The published MLP has a second ReLU before the softmax, (6). This is a weakness: a
logit below zero no longer learns.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rowscan.arrays import Float, Integer

Weights = Mapping[str, Float[np.ndarray, "..."]]
"""Weights by name, all of one dtype; names and layouts as in `engines.interface.Arrays`."""

Gradients = dict[str, Float[np.ndarray, "..."]]
"""The gradient of each weight, with its name and shape."""


# --- Softmax and loss ---------------------------------------------------------------------------


def softmax(y: Float[np.ndarray, "*lead digit"]) -> Float[np.ndarray, "*lead digit"]:
    """(1) Probabilities from logits, over the last axis."""
    # Shifting all logits changes nothing; with the largest at 0, exp cannot overflow.
    p: np.ndarray = np.exp(y - y.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    return p


def cross_entropy(
    y: Float[np.ndarray, "batch digit"], labels: Integer[np.ndarray, " batch"]
) -> tuple[float, int, Float[np.ndarray, "batch digit"]]:
    """(2) Mean loss in nats, number of correct answers, and the gradient d_y."""
    each = np.arange(len(labels))
    shifted = y - y.max(axis=1, keepdims=True)
    # log p from the logits: log(p) would be -inf where p underflows to 0.
    loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[each, labels]
    correct = np.count_nonzero(y.argmax(axis=1) == labels)
    d_y = softmax(y)
    d_y[each, labels] -= 1
    d_y /= len(labels)
    return float(loss.mean()), int(correct), d_y


# --- The multilayer perceptron ------------------------------------------------------------------


def mlp_logits(
    weights: Weights, x: Float[np.ndarray, "1 batch feature"]
) -> Float[np.ndarray, "1 batch digit"]:
    """Logits of the MLP, (3) to (6)."""
    h = np.maximum(_affine(weights, "hidden", x[0]), 0)  # (3), (4)
    y: np.ndarray = np.maximum(_affine(weights, "head", h), 0)  # (5), (6)
    return y[None]


def mlp_gradients(
    weights: Weights,
    x: Float[np.ndarray, "1 batch feature"],
    labels: Integer[np.ndarray, " batch"],
) -> tuple[float, int, Gradients]:
    """Mean loss in nats, number of correct answers, and the gradient of each weight."""
    h = np.maximum(_affine(weights, "hidden", x[0]), 0)  # (3), (4)
    y = np.maximum(_affine(weights, "head", h), 0)  # (5), (6)
    loss, correct, d_s = cross_entropy(y, labels)
    d_s *= y > 0  # (6): y > 0 exactly where s > 0, so s need not be kept
    d_a = d_s @ weights["head.weight"]  # (5)
    d_a *= h > 0  # (4), for the same reason
    gradients = {
        "hidden.weight": d_a.T @ x[0],  # (3)
        "hidden.bias": d_a.sum(axis=0),
        "head.weight": d_s.T @ h,  # (5)
        "head.bias": d_s.sum(axis=0),
    }
    return loss, correct, gradients


def _affine(
    weights: Weights, layer: str, x: Float[np.ndarray, "*lead feature"]
) -> Float[np.ndarray, "*lead out"]:
    """(3), (5), (11): x Wᵀ + b."""
    out = x @ weights[f"{layer}.weight"].T
    out += weights[f"{layer}.bias"]
    return out


# --- The LSTM -----------------------------------------------------------------------------------


class _Cache(NamedTuple):
    """What the forward pass of a layer keeps for its backward pass."""

    x: Float[np.ndarray, "time batch feature"]
    gates: Float[np.ndarray, "time batch 4 hidden"]  # i, f, g, o
    c: Float[np.ndarray, "time+1 batch hidden"]  # c[t] is the cell before step t, c[t + 1] after
    h: Float[np.ndarray, "time+1 batch hidden"]  # likewise
    tanh_c: Float[np.ndarray, "time batch hidden"]


def lstm_logits(
    weights: Weights, x: Float[np.ndarray, "time batch feature"]
) -> Float[np.ndarray, "time batch digit"]:
    """Logits of the LSTM after each step, (7) to (11)."""
    for layer in range(lstm_layers(weights)):
        x = _layer_forward(weights, layer, x).h[1:]
    return _affine(weights, "head", x)


def lstm_gradients(
    weights: Weights,
    x: Float[np.ndarray, "time batch feature"],
    labels: Integer[np.ndarray, " batch"],
) -> tuple[float, int, Gradients]:
    """Mean loss in nats, number of correct answers, and the gradient of each weight.

    Only the logits after the last step enter the loss.
    """
    caches = []
    for layer in range(lstm_layers(weights)):
        caches.append(_layer_forward(weights, layer, x))
        x = caches[-1].h[1:]
    loss, correct, d_y = cross_entropy(_affine(weights, "head", x[-1]), labels)

    gradients: Gradients = {"head.weight": d_y.T @ x[-1], "head.bias": d_y.sum(axis=0)}  # (11)
    d_h = np.zeros_like(x)
    d_h[-1] = d_y @ weights["head.weight"]  # (11); no other step enters the loss
    for layer in reversed(range(len(caches))):
        d_z = _layer_backward(weights, layer, caches[layer], d_h)
        gradients |= _layer_gradients(layer, caches[layer], d_z)
        if layer > 0:  # (7): d_x is the d_h of the layer below; the first layer's input is pixels
            d_h = d_z @ weights[f"lstm.weight_ih_l{layer}"]
    return loss, correct, gradients


def lstm_layers(weights: Weights) -> int:
    """Number of recurrent layers."""
    return sum(name.startswith("lstm.weight_ih_l") for name in weights)


def _layer_forward(
    weights: Weights, layer: int, x: Float[np.ndarray, "time batch feature"]
) -> _Cache:
    """(7) to (10) for all steps of one layer."""
    input_weights = weights[f"lstm.weight_ih_l{layer}"]
    output_weights = weights[f"lstm.weight_hh_l{layer}"]
    bias = weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]
    time, batch, _ = x.shape
    hidden = output_weights.shape[1]

    # σ(z) = (1 + tanh(z/2)) / 2: with z halved for the three σ gates, one tanh serves all four and
    # never overflows. Halving W, U and b is exact, and is done once instead of at every step.
    half = np.full((4, hidden), 0.5, x.dtype)
    half[2] = 1  # g is a tanh already
    half = half.reshape(-1)
    offset = 1 - half
    # The input's part of (7) needs no earlier output: one product over all steps.
    z = x.reshape(time * batch, -1) @ (input_weights * half[:, None]).T
    z += bias * half
    z = z.reshape(time, batch, 4 * hidden)
    u_t = np.ascontiguousarray((output_weights * half[:, None]).T)

    gates = z.reshape(time, batch, 4, hidden)  # a view: z becomes the gates in place
    c = np.zeros((time + 1, batch, hidden), x.dtype)
    h = np.zeros_like(c)
    tanh_c = np.empty_like(c[1:])
    for t in range(time):
        z[t] += h[t] @ u_t  # (7)
        np.tanh(z[t], out=z[t])  # (8)
        z[t] *= half
        z[t] += offset
        i, f, g, o = gates[t].swapaxes(0, 1)
        np.multiply(f, c[t], out=c[t + 1])  # (9)
        c[t + 1] += i * g
        np.tanh(c[t + 1], out=tanh_c[t])
        np.multiply(o, tanh_c[t], out=h[t + 1])  # (10)
    return _Cache(x, gates, c, h, tanh_c)


def _layer_backward(
    weights: Weights,
    layer: int,
    cache: _Cache,
    d_out: Float[np.ndarray, "time batch hidden"],
) -> Float[np.ndarray, "time batch gate"]:
    """d_z of all steps of one layer; `d_out` is the gradient of its outputs from above."""
    output_weights = weights[f"lstm.weight_hh_l{layer}"]
    i, f, g, o = (cache.gates[:, :, gate] for gate in range(4))

    # All factors of (8) to (10) except d_c and d_h are computed for all steps at once.
    factor = 1 - cache.gates  # (8)
    factor *= cache.gates
    factor[:, :, 2] = 1 - g * g
    factor[:, :, 0] *= g  # (9)
    factor[:, :, 1] *= cache.c[:-1]
    factor[:, :, 2] *= i
    factor[:, :, 3] *= cache.tanh_c  # (10)
    c_to_h = o * (1 - cache.tanh_c**2)  # (10)

    d_z = factor.reshape(*factor.shape[:2], -1)  # a view: the factors become d_z in place
    d_h = np.zeros_like(d_out[0])  # from the step after; zero after the last
    d_c = np.zeros_like(d_h)
    for t in reversed(range(len(d_out))):
        d_h += d_out[t]
        d_c += d_h * c_to_h[t]  # (10)
        factor[t, :, :3] *= d_c[:, None]  # (8), (9)
        factor[t, :, 3] *= d_h  # (8), (10)
        d_h = d_z[t] @ output_weights  # (7)
        d_c *= f[t]  # (10), for the step before
    return d_z


def _layer_gradients(
    layer: int, cache: _Cache, d_z: Float[np.ndarray, "time batch gate"]
) -> Gradients:
    """(7): one product over all steps per weight."""
    rows = d_z.reshape(-1, d_z.shape[-1])
    d_b = rows.sum(axis=0)
    return {
        f"lstm.weight_ih_l{layer}": rows.T @ cache.x.reshape(len(rows), -1),
        f"lstm.weight_hh_l{layer}": rows.T @ cache.h[:-1].reshape(len(rows), -1),
        f"lstm.bias_ih_l{layer}": d_b,
        f"lstm.bias_hh_l{layer}": d_b.copy(),  # two biases, one sum: the same gradient
    }
