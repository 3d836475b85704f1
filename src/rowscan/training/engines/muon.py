"""Muon, an optimiser for matrices: momentum, orthogonalised before each step.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. Gradients of
matrices are often close to low rank; an orthogonalised step has the same size in all directions.
`torch.optim.Muon` works in bfloat16, whose rounding makes trainings on one and on two processes
diverge. This one works in the weights' own dtype, on all matrices of a shape at once.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from rowscan.arrays import Float

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95
_ADAM_RMS = 0.2
"""Root mean square of Adam's updates, in learning rates (Liu et al., "Muon is Scalable for LLM
Training", 2025, section 2.2)."""


class Muon(torch.optim.Optimizer):
    """For matrices: m = 0.95 m + 0.05 g; W -= rate (decay W + size O(0.05 g + 0.95 m)).

    O orthogonalises. `size` is 0.2 sqrt(longer side), which gives an update the RMS of Adam's.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float | Tensor, weight_decay: float
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the matrices. The rate may be a tensor of the device, as a CUDA graph needs it."""
        for group in self.param_groups:
            rate = group["lr"]
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, alike in by_shape.items():
                size = _ADAM_RMS * max(shape) ** 0.5
                steps = nearly_orthogonal(torch.stack(self._directions(alike))) * (rate * size)
                torch._foreach_mul_(alike, 1 - rate * group["weight_decay"])
                torch._foreach_sub_(alike, steps.unbind())

    def _directions(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Nesterov momentum: the running means of gradients, moved towards the newest ones."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(gradient)
        means = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - _MOMENTUM)
        return list(torch._foreach_lerp(gradients, means, _MOMENTUM))


def nearly_orthogonal(
    matrices: Float[Tensor, "n rows columns"],
) -> Float[Tensor, "n rows columns"]:
    """U S V' to about U V': singular values that are not tiny end between 0.7 and 1.2.

    Five Newton-Schulz iterations X <- a X + b X X' X + c X X' X X' X: matrix products only.
    """
    a, b, c = _QUINTIC
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x: Tensor = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x if x.shape == matrices.shape else x.transpose(1, 2)
