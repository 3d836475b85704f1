"""Update rules in plain NumPy, as `torch.optim` defines them: they know of no network.

Each rule keeps its memory as named arrays that it changes in place, so that to save a training is
to save these arrays, and to resume it is to fill them again. g is a gradient, w the weights.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from rowscan.arrays import Float, Shaped

Named = Mapping[str, Float[np.ndarray, "..."]]
"""Weights or gradients by name, all of one dtype."""

Memory = dict[str, Shaped[np.ndarray, "..."]]
"""What a rule remembers, by name; changed in place."""


class Optimizer(Protocol):
    """An update rule and its memory of the steps before."""

    memory: Memory
    """All that the next step depends on, apart from weights and gradient."""

    def update(self, weights: Named, gradients: Named, learning_rate: float) -> None:
        """Change the weights, in place, by one step against their gradients."""


class Sgd:
    """Plain gradient descent: w -= learning_rate g. It remembers nothing."""

    def __init__(self, weights: Named) -> None:
        self.memory: Memory = {}

    def update(self, weights: Named, gradients: Named, learning_rate: float) -> None:
        """Change the weights, in place, by one step against their gradients."""
        for name, w in weights.items():
            np.subtract(w, learning_rate * gradients[name], out=w)


class Adam:
    """D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.

    m and v are running means of g and g², which start at zero and are therefore too small at
    first; both are divided by the share of them, 1 - decay^step, that is filled.
    """

    def __init__(
        self,
        weights: Named,
        decay: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self._decay = decay
        self._epsilon = epsilon
        self.memory: Memory = {
            "adam.step": np.zeros((), np.int64),
            **_zeros("adam.m", weights),
            **_zeros("adam.v", weights),
        }

    def update(self, weights: Named, gradients: Named, learning_rate: float) -> None:
        """Change the weights, in place, by one step against their gradients."""
        self.memory["adam.step"] += 1
        step = int(self.memory["adam.step"])
        decay_m, decay_v = self._decay
        rate = learning_rate / (1 - decay_m**step)
        fill_v = (1 - decay_v**step) ** 0.5
        for name, w in weights.items():
            g = gradients[name]
            m, v = self.memory[f"adam.m.{name}"], self.memory[f"adam.v.{name}"]
            m *= decay_m
            m += (1 - decay_m) * g
            v *= decay_v
            v += (1 - decay_v) * (g * g)
            size = np.sqrt(v)
            size /= fill_v
            size += self._epsilon
            np.subtract(w, rate * (m / size), out=w)


class Adadelta:
    """M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.

    A step is as long as the steps before it were, in proportion to the gradient's usual size. The
    paper has no learning rate; torch multiplies the step by one, and so do we.
    """

    def __init__(self, weights: Named, decay: float = 0.9, epsilon: float = 1e-6) -> None:
        self._decay = decay
        self._epsilon = epsilon
        self.memory: Memory = {
            **_zeros("adadelta.gradient", weights),
            **_zeros("adadelta.step", weights),
        }

    def update(self, weights: Named, gradients: Named, learning_rate: float) -> None:
        """Change the weights, in place, by one step against their gradients."""
        for name, w in weights.items():
            g = gradients[name]
            gradient_size = self.memory[f"adadelta.gradient.{name}"]
            step_size = self.memory[f"adadelta.step.{name}"]
            gradient_size *= self._decay
            gradient_size += (1 - self._decay) * (g * g)
            step = np.sqrt((step_size + self._epsilon) / (gradient_size + self._epsilon)) * g
            step_size *= self._decay
            step_size += (1 - self._decay) * (step * step)
            np.subtract(w, learning_rate * step, out=w)


OPTIMIZERS: Mapping[str, type[Sgd] | type[Adam] | type[Adadelta]] = {
    "sgd": Sgd,
    "adam": Adam,
    "adadelta": Adadelta,
}
"""The update rules by the names that recipes give them."""


def _zeros(prefix: str, weights: Named) -> dict[str, Float[np.ndarray, "..."]]:
    return {f"{prefix}.{name}": np.zeros_like(w) for name, w in weights.items()}
