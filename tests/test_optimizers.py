import math

import numpy as np
import pytest
import torch

from rowscan.errors import UsageError
from rowscan.recipes import LSTMRecipe, Recipe, change, find
from rowscan.training.engines.factory import create
from rowscan.training.engines.optimizers import OPTIMIZERS, Adadelta, Adam, Sgd

OURS_AND_TORCHS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adadelta": torch.optim.Adadelta,
}
SHAPES = {"a": (3, 4), "b": (5,)}


def test_every_optimizer_of_a_recipe_exists() -> None:
    hint = Recipe.__annotations__["optimizer"]
    only_torchs = {"adamw", "muon"}
    assert set(OPTIMIZERS) == set(hint.__args__) - only_torchs == set(OURS_AND_TORCHS)
    for name in only_torchs:
        with pytest.raises(UsageError, match=f"optimizer={name} needs engine=torch"):
            create(change(find("lstm-rows", LSTMRecipe), {"engine": "numpy", "optimizer": name}))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_match_torch(name: str) -> None:
    """In float64, with gradients of very different sizes, zeros, and a rate that changes."""
    rng = np.random.default_rng(11)
    weights = {key: rng.normal(size=shape) for key, shape in SHAPES.items()}
    theirs = {key: torch.tensor(w, requires_grad=True) for key, w in weights.items()}
    ours = OPTIMIZERS[name](weights)
    optimizer = OURS_AND_TORCHS[name](list(theirs.values()), lr=1.0)
    for step in range(20):
        rate = 0.1 / (1 + step)
        gradients = {
            key: rng.normal(size=shape) * 10.0 ** rng.integers(-6, 3, size=shape)
            for key, shape in SHAPES.items()
        }
        gradients["b"][0] = 0
        for key, parameter in theirs.items():
            parameter.grad = torch.tensor(gradients[key])
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        ours.update(weights, gradients, rate)
        for key, parameter in theirs.items():
            np.testing.assert_allclose(weights[key], parameter.detach(), atol=1e-12, rtol=1e-12)


def test_one_step_worked_by_hand() -> None:
    """w = 1, g = 2, rate 0.5.

    sgd: 1 - 0.5 · 2 = 0. adam: both means, bias-corrected, are g and g², so the step is the rate,
    apart from epsilon. adadelta: the mean of g² is 0.1 · 4, of steps² still 0.
    """
    after = {}
    for rule in (Sgd, Adam, Adadelta):
        weights = {"w": np.array([1.0])}
        rule(weights).update(weights, {"w": np.array([2.0])}, 0.5)
        after[rule] = weights["w"][0]
    assert after[Sgd] == 0
    assert after[Adam] == pytest.approx(1 - 0.5 * 2 / (2 + 1e-8), abs=1e-15)
    assert after[Adadelta] == pytest.approx(1 - 0.5 * math.sqrt(1e-6 / (0.4 + 1e-6)) * 2, abs=1e-15)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_restored_state_continues_exactly(name: str) -> None:
    rng = np.random.default_rng(2)
    gradients = [{"w": rng.normal(size=6).astype(np.float32)} for _ in range(7)]
    weights = {"w": np.ones(6, np.float32)}
    rule = OPTIMIZERS[name](weights)
    for gradient in gradients[:4]:
        rule.update(weights, gradient, 0.1)
    again = {"w": weights["w"].copy()}
    other = OPTIMIZERS[name](again)
    for key, array in rule.state.items():
        other.state[key][...] = array
    for gradient in gradients[4:]:
        rule.update(weights, gradient, 0.1)
        other.update(again, gradient, 0.1)
    np.testing.assert_array_equal(again["w"], weights["w"])
    assert weights["w"].dtype == np.float32
