"""The sweep network: an image read from all four sides by gated linear recurrences.

The image is a grid of patches. In each layer four recurrences sweep over the grid, down its
columns, up them, and along its rows from the left and from the right:

    h[t] = (1 - z[t]) h[t-1] + z[t] v[t]        h[-1] = 0

where z (a gate, 0 to 1) and v (what is offered to the memory) are affine in the patch at t alone.
So all matrix products of a layer are made for all patches at once, and only this line, elementwise,
is sequential: 7 steps for 28 pixels in patches of 4. It is the minGRU of Feng et al., "Were RNNs
All We Needed?" (2024), and in four directions the grid of ReNet (Visin et al., 2015).
"""

import math

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from rowscan.arrays import Float32
from rowscan.recognition.ctc import CLASSES
from rowscan.scans import ALONG, DIRECTIONS, PATCH, STEPS_A_PATCH, Directions
from rowscan.training.engines.networks import Classifier


class SweepClassifier(Classifier):
    """Patches, affine; sweep layers with residuals; one affine head over the whole grid."""

    def __init__(self, features: int, steps: int, width: int, layers: int, classes: int) -> None:
        super().__init__()
        self.side = math.isqrt(steps)
        self.embed = nn.Linear(features, width)
        self.place = nn.Parameter(0.02 * torch.randn(self.side, self.side, width))
        self.layers = nn.ModuleList(SweepLayer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(steps * width, classes)

    def forward(self, x: Float32[Tensor, "time n feature"]) -> Float32[Tensor, "n classes"]:
        """Logits; the time of `x` runs over the patches, row by row."""
        x = self.embed(x).unflatten(0, (self.side, self.side)) + self.place[:, :, None]
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).permute(2, 0, 1, 3).flatten(1))  # type: ignore[no-any-return]

    def every_step(self, x: Float32[Tensor, "time n feature"]) -> Float32[Tensor, "1 n classes"]:
        """Logits; the whole grid is one step."""
        return self(x)[None]  # type: ignore[no-any-return]


class SweepLayer(nn.Module):
    """x + W (h * silu(gate)), with h from four sweeps over the normalised x."""

    def __init__(self, width: int, directions: Directions = DIRECTIONS) -> None:
        super().__init__()
        self.directions = directions
        self.norm = nn.LayerNorm(width)
        self.z = nn.ModuleList(nn.Linear(width, width) for _ in directions)
        self.v = nn.ModuleList(nn.Linear(width, width) for _ in directions)
        self.gate = nn.Linear(width, len(directions) * width)
        self.out = nn.Linear(len(directions) * width, width)

    def forward(self, x: Float32[Tensor, "rows columns n width"]) -> Tensor:
        """The same grid, every patch knowing of its row and its column."""
        u = self.norm(x)
        h = [
            sweep(torch.sigmoid(z(u)), v(u), axis, backwards)
            for z, v, (axis, backwards) in zip(self.z, self.v, self.directions, strict=True)
        ]
        gated = torch.cat(h, -1) * nn.functional.silu(self.gate(u))
        return x + self.out(gated)  # type: ignore[no-any-return]


class SweepLineRecognizer(nn.Module):
    """A line of ink to logits of a digit or none, two for each column of patches, for CTC.

    Sweep layers over the grid of patches, as in the digit model; then what the patches of a column
    know is joined, and one more layer sweeps to and fro along the line.
    """

    def __init__(self, height: int, width: int, layers: int, joined: int) -> None:
        super().__init__()
        self.rows = height // PATCH
        self.embed = nn.Linear(PATCH * PATCH, width)
        self.place = nn.Parameter(0.02 * torch.randn(self.rows, 1, 1, width))
        self.layers = nn.ModuleList(SweepLayer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.join = nn.Linear(self.rows * width, joined)
        self.along = SweepLayer(joined, ALONG)
        self.last_norm = nn.LayerNorm(joined)
        self.head = nn.Linear(joined, STEPS_A_PATCH * CLASSES)

    def forward(self, ink: Float32[Tensor, "n height width"]) -> Float32[Tensor, "time n classes"]:
        """Logits; `ink` is 0 to 1, its width a multiple of 4. Class 0 is none, digit d is d + 1."""
        n, _, width = ink.shape
        columns = width // PATCH
        patches = ink.view(n, self.rows, PATCH, columns, PATCH).permute(1, 3, 0, 2, 4).flatten(3)
        x = self.embed(patches) + self.place
        for layer in self.layers:
            x = layer(x)
        x = self.join(self.norm(x).permute(1, 2, 0, 3).flatten(2))
        x = self.last_norm(self.along(x[None])[0])
        logits: Tensor = self.head(x).view(columns, n, STEPS_A_PATCH, CLASSES)
        return logits.transpose(1, 2).flatten(0, 1)


def sweep(z: Tensor, v: Tensor, axis: int, backwards: bool) -> Tensor:
    """h[t] = (1 - z[t]) h[t-1] + z[t] v[t] along `axis`; `backwards` from its last step on."""
    h: Tensor = _Sweep.apply(z, v, axis, backwards)  # type: ignore[no-untyped-call]
    return h


class _Sweep(torch.autograd.Function):
    """The recurrence with its derivative by hand: as torch would differentiate it, in fewer passes.

    With g the gradient of h and G[t] = g[t] + (1 - z[t+1]) G[t+1] its sum over all that h[t] went
    into: dv[t] = z[t] G[t] and dz[t] = (v[t] - h[t-1]) G[t].
    """

    @staticmethod
    def forward(ctx: FunctionCtx, z: Tensor, v: Tensor, axis: int, backwards: bool) -> Tensor:
        h = torch.empty_like(v)
        zs, vs, hs = (_in_order(x, axis, backwards) for x in (z, v, h))
        torch.mul(zs[0], vs[0], out=hs[0])
        for t in range(1, len(hs)):
            torch.lerp(hs[t - 1], vs[t], zs[t], out=hs[t])
        ctx.save_for_backward(z, v, h)
        ctx.way = axis, backwards  # type: ignore[attr-defined]
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        z, v, h = ctx.saved_tensors  # type: ignore[attr-defined]
        dz, dv = torch.empty_like(z), torch.empty_like(v)
        axis, backwards = ctx.way  # type: ignore[attr-defined]
        zs, vs, hs, gs, dzs, dvs = (_in_order(x, axis, backwards) for x in (z, v, h, grad, dz, dv))
        total = gs[-1]
        for t in range(len(zs) - 1, 0, -1):
            torch.mul(zs[t], total, out=dvs[t])
            torch.sub(vs[t], hs[t - 1], out=dzs[t])
            dzs[t].mul_(total)
            total = total - dvs[t] + gs[t - 1]
        torch.mul(zs[0], total, out=dvs[0])
        torch.mul(vs[0], total, out=dzs[0])
        return dz, dv, None, None


def _in_order(x: Tensor, axis: int, backwards: bool) -> tuple[Tensor, ...]:
    steps = x.unbind(axis)
    return steps[::-1] if backwards else steps
