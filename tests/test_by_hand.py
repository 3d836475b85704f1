import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rowscan.training.engines import by_hand
from rowscan.training.engines.by_hand import Gradients

Arrays = dict[str, np.ndarray]
size = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)
EXACT = 1e-12


class Perceptron(nn.Module):
    """The published network in torch's terms."""

    def __init__(self, feature: int, hidden: int, digits: int = 10) -> None:
        super().__init__()
        self.hidden = nn.Linear(feature, hidden)
        self.head = nn.Linear(hidden, digits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.hidden(x).relu()).relu()  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """The LSTM in torch's terms; logits after every step."""

    def __init__(self, feature: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feature, hidden, layers)
        self.head = nn.Linear(hidden, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0])  # type: ignore[no-any-return]


def arrays(network: nn.Module) -> Arrays:
    return {name: value.detach().numpy() for name, value in network.named_parameters()}


def torch_gradients(network: nn.Module, x: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
    loss = nn.functional.cross_entropy(network(torch.tensor(x))[-1], torch.tensor(labels))
    network.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), {
        name: value.grad.numpy()
        for name, value in network.named_parameters()
        if value.grad is not None
    }


def check_against_torch(
    network: nn.Module,
    logits: Callable[[Arrays, np.ndarray], np.ndarray],
    gradients: Callable[[Arrays, np.ndarray, np.ndarray], tuple[float, int, Gradients]],
    shape: tuple[int, int, int],
    rng: np.random.Generator,
) -> None:
    """Logits, loss, correct answers and every gradient, in float64."""
    network.double()
    # Larger weights would make an LSTM chaotic, and multiply the rounding errors of both sides.
    scale = arrays(network)["head.weight"].shape[1] ** -0.5
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.tensor(rng.normal(scale=scale, size=parameter.shape)))
    x, labels = rng.normal(size=shape), rng.integers(10, size=shape[1])
    expected_logits = network(torch.tensor(x)).detach().numpy()
    expected_loss, expected = torch_gradients(network, x, labels)

    np.testing.assert_allclose(logits(arrays(network), x), expected_logits, atol=EXACT, rtol=EXACT)
    loss, correct, found = gradients(arrays(network), x, labels)
    assert loss == pytest.approx(expected_loss, rel=EXACT, abs=EXACT)
    assert correct == (expected_logits[-1].argmax(1) == labels).sum()
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert gradient.dtype == np.float64
        np.testing.assert_allclose(gradient, expected[name], atol=EXACT, rtol=0, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(shape=st.tuples(size, size, size), hidden=size, layers=st.integers(1, 3), seed=seeds)
def test_lstm_matches_torch(
    shape: tuple[int, int, int], hidden: int, layers: int, seed: int
) -> None:
    check_against_torch(
        Recurrent(shape[2], hidden, layers),
        by_hand.lstm_logits,
        by_hand.lstm_gradients,
        shape,
        np.random.default_rng(seed),
    )


@pytest.mark.parametrize("layers", [1, 2])
def test_lstm_matches_torch_at_full_size(layers: int) -> None:
    check_against_torch(
        Recurrent(28, 64, layers),
        by_hand.lstm_logits,
        by_hand.lstm_gradients,
        (28, 16, 28),
        np.random.default_rng(layers),
    )


@settings(max_examples=60, deadline=None)
@given(batch=size, feature=size, hidden=size, seed=seeds)
def test_mlp_matches_torch(batch: int, feature: int, hidden: int, seed: int) -> None:
    check_against_torch(
        Perceptron(feature, hidden),
        by_hand.mlp_logits,
        by_hand.mlp_gradients,
        (1, batch, feature),
        np.random.default_rng(seed),
    )


@pytest.mark.parametrize(
    ("network", "gradients", "time"),
    [
        (Recurrent(3, 4, 2), by_hand.lstm_gradients, 5),
        (Perceptron(3, 4), by_hand.mlp_gradients, 1),
    ],
    ids=["lstm", "mlp"],
)
def test_gradients_match_central_differences(
    network: nn.Module,
    gradients: Callable[[Arrays, np.ndarray, np.ndarray], tuple[float, int, Gradients]],
    time: int,
) -> None:
    rng = np.random.default_rng(3)
    weights = {name: rng.normal(size=w.shape) for name, w in arrays(network).items()}
    x, labels = rng.normal(size=(time, 4, 3)), np.array([0, 7, 7, 9])
    _, _, found = gradients(weights, x, labels)
    step = 1e-5
    for name, w in weights.items():
        differences = np.empty_like(w)
        for index in np.ndindex(w.shape):
            kept = w[index]
            w[index] = kept + step
            above = gradients(weights, x, labels)[0]
            w[index] = kept - step
            below = gradients(weights, x, labels)[0]
            w[index] = kept
            differences[index] = (above - below) / (2 * step)
        np.testing.assert_allclose(found[name], differences, atol=1e-9, err_msg=name)
        assert np.abs(differences).max() > 1e-3  # zeros against zeros would prove nothing


def hand_worked_perceptron() -> tuple[Arrays, np.ndarray]:
    """2-2-2, one image, chosen so that pencil and paper give every number below.

    x = (1, 2); W = (1 0; 1 -1), b = 0:           a = (1, -1),        h = (1, 0)
    V = (ln 6, 5; 0, 7), d = (0, ln 2):           s = (ln 6, ln 2) = y
    exp y = (6, 2), their sum is 8:               p = (3/4, 1/4)
    """
    weights = {
        "hidden.weight": np.array([[1.0, 0.0], [1.0, -1.0]]),
        "hidden.bias": np.zeros(2),
        "head.weight": np.array([[math.log(6), 5.0], [0.0, 7.0]]),
        "head.bias": np.array([0.0, math.log(2)]),
    }
    return weights, np.array([[[1.0, 2.0]]])


def test_mlp_worked_by_hand() -> None:
    """Label 1: L = -ln 1/4; d_s = p - (0, 1) = (3/4, -3/4), as both s are positive.

    d_V = d_sᵀ h = (3/4, 0; -3/4, 0); d_h = d_s V = (3/4 ln 6, 15/4 - 21/4)
    d_a = (3/4 ln 6, 0), as a is negative in its second place; d_W = d_aᵀ x.
    """
    weights, x = hand_worked_perceptron()
    y = by_hand.mlp_logits(weights, x)
    np.testing.assert_allclose(y, [[[math.log(6), math.log(2)]]], atol=EXACT)
    np.testing.assert_allclose(by_hand.softmax(y), [[[0.75, 0.25]]], atol=EXACT)
    loss, correct, found = by_hand.mlp_gradients(weights, x, np.array([1]))
    assert loss == pytest.approx(math.log(4), abs=EXACT)
    assert correct == 0
    q = 0.75 * math.log(6)
    np.testing.assert_allclose(found["hidden.weight"], [[q, 2 * q], [0.0, 0.0]], atol=EXACT)
    np.testing.assert_allclose(found["hidden.bias"], [q, 0.0], atol=EXACT)
    np.testing.assert_allclose(found["head.weight"], [[0.75, 0], [-0.75, 0]], atol=EXACT)
    np.testing.assert_allclose(found["head.bias"], [0.75, -0.75], atol=EXACT)


def test_a_negative_logit_has_no_gradient() -> None:
    """The published second ReLU: with d = (0, -1), y = (ln 6, 0) and p = (6/7, 1/7)."""
    weights, x = hand_worked_perceptron()
    weights["head.bias"] = np.array([0.0, -1.0])
    loss, _, found = by_hand.mlp_gradients(weights, x, np.array([1]))
    assert loss == pytest.approx(math.log(7), abs=EXACT)
    np.testing.assert_allclose(found["head.bias"], [6 / 7, 0], atol=EXACT)


def test_lstm_worked_by_hand() -> None:
    """One unit, two steps, x = (ln 2, ln 3), which only the candidate g sees; U is 0.

    σ(ln 3) = 3/4, σ(-ln 3) = 1/4, σ(0) = 1/2; tanh(ln 2) = 3/5, tanh(ln 3) = 4/5.
    i = 3/4, f = 1/4, o = 1/2 at both steps; each bias is put in two halves, as torch keeps two.
    c: 3/4 · 3/5 = 9/20, then 1/4 · 9/20 + 3/4 · 4/5 = 57/80. h = tanh(c) / 2.
    The last step with label 0 and logits (h, 0, ..., 0):
    d_y0 = p0 - 1, d_o = d_y0 tanh(c), d_c = d_y0 o (1 - tanh²(c)); then (8) and (9) for d_b.
    """
    half = np.array([math.log(3), -math.log(3), 0, 0]) / 2
    weights = {
        "lstm.weight_ih_l0": np.array([[0.0], [0.0], [1.0], [0.0]]),
        "lstm.weight_hh_l0": np.zeros((4, 1)),
        "lstm.bias_ih_l0": half,
        "lstm.bias_hh_l0": half.copy(),
        "head.weight": np.eye(10, 1),
        "head.bias": np.zeros(10),
    }
    x = np.log([2.0, 3.0]).reshape(2, 1, 1)
    h = [math.tanh(9 / 20) / 2, math.tanh(57 / 80) / 2]
    y = by_hand.lstm_logits(weights, x)
    np.testing.assert_allclose(y[:, 0, 0], h, atol=EXACT)
    np.testing.assert_array_equal(y[:, 0, 1:], 0)

    p0 = math.exp(h[1]) / (math.exp(h[1]) + 9)
    loss, correct, found = by_hand.lstm_gradients(weights, x, np.array([0]))
    assert loss == pytest.approx(-math.log(p0), abs=EXACT)
    assert correct == 1
    d_h = p0 - 1
    d_c2 = d_h * 0.5 * (1 - math.tanh(57 / 80) ** 2)
    d_c1 = d_c2 / 4  # through f only: U is 0
    expected = [
        (d_c2 * 4 / 5 + d_c1 * 3 / 5) * 3 / 16,  # i (1 - i) = 3/16
        (d_c2 * 9 / 20 + d_c1 * 0) * 3 / 16,  # before the first step the cell is 0
        (d_c2 * 9 / 25 + d_c1 * 16 / 25) * 3 / 4,  # 1 - g² = 9/25 and 16/25
        d_h * math.tanh(57 / 80) / 4,  # o (1 - o) = 1/4; the first h has no loss
    ]
    np.testing.assert_allclose(found["lstm.bias_ih_l0"], expected, atol=EXACT)
    np.testing.assert_allclose(found["lstm.bias_hh_l0"], expected, atol=EXACT)


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(2, 6), seed=seeds)
def test_batch_gradient_is_the_mean_over_images(batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = {n: rng.normal(size=w.shape) for n, w in arrays(Recurrent(3, 4, 2)).items()}
    x, labels = rng.normal(size=(5, batch, 3)), rng.integers(10, size=batch)
    loss, correct, found = by_hand.lstm_gradients(weights, x, labels)
    each = [
        by_hand.lstm_gradients(weights, x[:, k : k + 1], labels[k : k + 1]) for k in range(batch)
    ]
    assert loss == pytest.approx(np.mean([one[0] for one in each]), abs=EXACT)
    assert correct == sum(one[1] for one in each)
    for name, gradient in found.items():
        mean = np.mean([one[2][name] for one in each], axis=0)
        np.testing.assert_allclose(gradient, mean, atol=EXACT, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_values_neither_overflow_nor_warn(dtype: type[np.floating]) -> None:
    """Warnings are errors here; exp(1e4) would overflow in both dtypes."""
    y = np.zeros((2, 10), dtype)
    y[0, 3], y[1, 3] = 1e4, -1e4
    loss, correct, d_y = by_hand.cross_entropy(y, np.array([1, 3]))
    assert loss == pytest.approx((1e4 + 1e4 + math.log(9)) / 2)
    assert correct == 0
    assert d_y.dtype == dtype
    np.testing.assert_allclose(d_y[0], np.eye(10)[3] / 2 - np.eye(10)[1] / 2)

    weights = {
        n: (1e4 * np.ones(w.shape)).astype(dtype) for n, w in arrays(Recurrent(2, 1, 1)).items()
    }
    weights["head.weight"] = np.eye(10, 1, dtype=dtype)
    weights["head.bias"] = np.zeros(10, dtype)
    closed = {"lstm.bias_ih_l0": np.array([-1e6, -1e6, -1e6, -1e6], dtype)}
    x = np.ones((3, 1, 2), dtype)
    # All gates open: the cell counts its steps, 1, 2, 3. All gates closed: it stays 0.
    counted = by_hand.lstm_logits(weights, x)[:, 0, 0]
    np.testing.assert_allclose(counted, np.tanh([1, 2, 3]), rtol=1e-6)
    np.testing.assert_array_equal(by_hand.lstm_logits(weights | closed, x), 0)
    assert all(
        g.dtype == dtype for g in by_hand.lstm_gradients(weights, x, np.array([3]))[2].values()
    )
