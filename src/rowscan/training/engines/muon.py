"""Muon: momentum whose matrices are brought near an orthogonal one before each step.

K. Jordan and others, "Muon: An optimizer for hidden layers in neural networks", 2024. A gradient of
a matrix is often nearly of a low rank; made nearly orthogonal, the step has the same size in every
direction. `torch.optim.Muon` does this in bfloat16, whose rounding makes a training on two
processes part from that on one; here it is done in the weights' own type, and for all matrices of a
shape at once.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from rowscan.arrays import Float

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_MOMENTUM = 0.95
_LIKE_ADAM = 0.2
"""The root mean square of Adam's steps, in learning rates (Liu et al., "Muon is Scalable for LLM
Training", 2025, section 2.2)."""


class Muon(torch.optim.Optimizer):
    """For matrices: m = 0.95 m + 0.05 g; W -= rate (decay W + size O(0.05 g + 0.95 m)).

    O brings the singular values near 1 and size is 0.2 sqrt(the longer side), so that a step is as
    long as one of Adam's.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Change the matrices by one step against their gradients."""
        for group in self.param_groups:
            rate = group["lr"]
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, alike in by_shape.items():
                steps = nearly_orthogonal(torch.stack([self._direction(p) for p in alike]))
                size = _LIKE_ADAM * max(shape) ** 0.5
                for parameter, step in zip(alike, steps, strict=True):
                    parameter.mul_(1 - rate * group["weight_decay"]).sub_(step, alpha=rate * size)

    def _direction(self, parameter: nn.Parameter) -> Tensor:
        """The running mean of the gradients, and half a step ahead of it (Nesterov)."""
        gradient, memory = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not memory:
            memory["momentum"] = torch.zeros_like(gradient)
        mean = memory["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        return gradient.lerp(mean, _MOMENTUM)


def nearly_orthogonal(
    matrices: Float[Tensor, "n rows columns"],
) -> Float[Tensor, "n rows columns"]:
    """U S V' to about U V': singular values that are not tiny come to 0.7 to 1.2.

    Five rounds of X to a X + b X X' X + c X X' X X' X, which need matrix products alone.
    """
    a, b, c = _QUINTIC
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x: Tensor = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x if x.shape == matrices.shape else x.transpose(1, 2)
