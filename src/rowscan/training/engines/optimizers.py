"""Optimisers in plain NumPy, as `torch.optim` defines them; independent of any network.

An optimiser keeps its state as named arrays, changed in place, so that checkpointing saves these
arrays and resuming fills them. g is a gradient, w the weights.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from rowscan.arrays import Float, Shaped

Named = Mapping[str, Float[np.ndarray, "..."]]
"""Weights or gradients by name, all of one dtype."""

State = dict[str, Shaped[np.ndarray, "..."]]
"""The state of an optimiser, by name; changed in place."""


class Optimizer(Protocol):
    """An update rule with state."""

    state: State
    """Everything that the next step depends on apart from weights and gradients."""

    def update(self, weights: Named, gradients: Named, learning_rate: float) -> None:
        """Update the weights in place."""


class Sgd:
    """Plain gradient descent: w -= learning_rate g. Stateless."""

    def __init__(self, weights: Named) -> None:
        self.state: State = {}

    def update(self, weights: Named, gradients: Named, learning_rate: float) -> None:
        """Update the weights in place."""
        for name, w in weights.items():
            np.subtract(w, learning_rate * gradients[name], out=w)


class Adam:
    """D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.

    m and v are running means of g and g². They start at zero, so both are divided by
    1 - decay^step to correct the bias.
    """

    def __init__(
        self,
        weights: Named,
        decay: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self._decay = decay
        self._epsilon = epsilon
        self.state: State = {
            "adam.step": np.zeros((), np.int64),
            **_zeros("adam.m", weights),
            **_zeros("adam.v", weights),
        }

    def update(self, weights: Named, gradients: Named, learning_rate: float) -> None:
        """Update the weights in place."""
        self.state["adam.step"] += 1
        step = int(self.state["adam.step"])
        decay_m, decay_v = self._decay
        rate = learning_rate / (1 - decay_m**step)
        correction = (1 - decay_v**step) ** 0.5
        for name, w in weights.items():
            g = gradients[name]
            m, v = self.state[f"adam.m.{name}"], self.state[f"adam.v.{name}"]
            m *= decay_m
            m += (1 - decay_m) * g
            v *= decay_v
            v += (1 - decay_v) * (g * g)
            size = np.sqrt(v)
            size /= correction
            size += self._epsilon
            np.subtract(w, rate * (m / size), out=w)


class Adadelta:
    """M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.

    A step is scaled by the RMS of earlier steps over the RMS of the gradients. The paper has no
    learning rate; like torch, this multiplies the step by one.
    """

    def __init__(self, weights: Named, decay: float = 0.9, epsilon: float = 1e-6) -> None:
        self._decay = decay
        self._epsilon = epsilon
        self.state: State = {
            **_zeros("adadelta.gradient", weights),
            **_zeros("adadelta.step", weights),
        }

    def update(self, weights: Named, gradients: Named, learning_rate: float) -> None:
        """Update the weights in place."""
        for name, w in weights.items():
            g = gradients[name]
            gradient_mean = self.state[f"adadelta.gradient.{name}"]
            step_mean = self.state[f"adadelta.step.{name}"]
            gradient_mean *= self._decay
            gradient_mean += (1 - self._decay) * (g * g)
            step = np.sqrt((step_mean + self._epsilon) / (gradient_mean + self._epsilon)) * g
            step_mean *= self._decay
            step_mean += (1 - self._decay) * (step * step)
            np.subtract(w, learning_rate * step, out=w)


OPTIMIZERS: Mapping[str, type[Sgd] | type[Adam] | type[Adadelta]] = {
    "sgd": Sgd,
    "adam": Adam,
    "adadelta": Adadelta,
}
"""Optimisers by their names in recipes."""


def _zeros(prefix: str, weights: Named) -> dict[str, Float[np.ndarray, "..."]]:
    return {f"{prefix}.{name}": np.zeros_like(w) for name, w in weights.items()}
