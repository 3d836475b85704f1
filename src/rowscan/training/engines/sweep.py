"""The digit and the line network: gated linear recurrences that sweep over a grid of patches.

A sweep is one recurrence along one axis of the grid, in one direction: a word of this project.
This module owns the networks' arithmetic; `training.graph` writes the same steps as ONNX nodes.

Notation
--------
Shapes  (rows, columns, batch, width). σ logistic function, * elementwise, [ ] concatenation.
p       a patch of 4 × 4 pixels, 0 to 1. A digit has 7 × 7 patches, a line 8 × (width / 4).
P       position embedding (`place` among the weights): a vector for each patch of a digit; for
        each row of patches of a line, which may have any width.
E Z V O G H J   learned affine maps, each with a bias.
k       a sweep of a layer: down, up, right, left. t: its steps, 7 for 28 pixels.

(1) x = E p + P                        patch embedding
(2) u = LayerNorm(x)                   layer input, normalised
(3) z_k = σ(Z_k u),  v_k = V_k u       gate and candidate of each sweep, affine in u alone
(4) h[t] = (1 - z[t]) * h[t-1] + z[t] * v[t],  h[-1] = 0
(5) x = x + O([h_1 … h_4] * silu(G u)) gated output and residual
(6) y = H [LayerNorm(x)]               digit head: logits of all patches' vectors together
(7) c = J [LayerNorm(x)]               line: the 8 patches of a column become one vector
(8) y = H LayerNorm(layer(c))          (2) to (5) right and left; 2 steps × classes per column

Only (4) is sequential, and it is elementwise (`recurrence`): all matrix products run over the whole
grid at once, those of Z, V and G as one.
Two layers connect every patch with every other. The loss of (8) is CTC, class 0 its blank.

(4) is the minGRU of Feng et al., "Were RNNs All We Needed?", 2024. Sweeps in four directions are
from ReNet (Visin et al., 2015), where the horizontal ones read the output of the vertical ones;
here all four read u. In an MDLSTM (Graves and Schmidhuber, "Offline Handwriting Recognition with
Multidimensional Recurrent Neural Networks", 2008) one recurrence follows both axes at once.
"""

import math

import torch
from torch import Tensor, nn

from rowscan.arrays import Float, Float32
from rowscan.scans import ALONG, DIRECTIONS, PATCH, STEPS_PER_PATCH, Directions
from rowscan.training.engines.networks import Classifier
from rowscan.training.engines.recurrence import gated_sweeps


class SweepClassifier(Classifier):
    """The digit network: (1), layers of (2) to (5), (6)."""

    def __init__(self, features: int, steps: int, width: int, layers: int, classes: int) -> None:
        super().__init__()
        self.side = math.isqrt(steps)
        self.embed = nn.Linear(features, width)
        self.place = nn.Parameter(0.02 * torch.randn(self.side, self.side, width))
        self.layers = nn.ModuleList(SweepLayer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(steps * width, classes)

    def forward(self, x: Float32[Tensor, "time n feature"]) -> Float[Tensor, "n classes"]:
        """Logits; `x` has the pixels of one patch per step, patches row by row."""
        x = self.embed(x).unflatten(0, (self.side, self.side)) + self.place[:, :, None]
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).permute(2, 0, 1, 3).flatten(1))  # type: ignore[no-any-return]

    def every_step(self, x: Float32[Tensor, "time n feature"]) -> Float32[Tensor, "1 n classes"]:
        """Logits, as one step: the network has no earlier answer."""
        return self(x)[None]  # type: ignore[no-any-return]


class SweepLayer(nn.Module):
    """(2) to (5), for any set of directions."""

    def __init__(self, width: int, directions: Directions = DIRECTIONS) -> None:
        super().__init__()
        self.directions = directions
        self.norm = nn.LayerNorm(width)
        self.z = nn.ModuleList(nn.Linear(width, width) for _ in directions)
        self.v = nn.ModuleList(nn.Linear(width, width) for _ in directions)
        self.gate = nn.Linear(width, len(directions) * width)
        self.out = nn.Linear(len(directions) * width, width)

    def forward(self, x: Float32[Tensor, "rows columns n width"]) -> Tensor:
        """The grid after one layer: each patch has seen its row and its column."""
        maps = (*self.z, *self.v, self.gate)
        weight, bias = (torch.cat([getattr(m, kind) for m in maps]) for kind in ("weight", "bias"))
        y = nn.functional.linear(self.norm(x), weight, bias)
        return x + self.out(gated_sweeps(y, self.directions))  # type: ignore[no-any-return]


class SweepLineRecognizer(nn.Module):
    """The text line network: (1), layers of (2) to (5), (7), (8)."""

    def __init__(self, height: int, width: int, layers: int, joined: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.rows = height // PATCH
        self.embed = nn.Linear(PATCH * PATCH, width)
        self.place = nn.Parameter(0.02 * torch.randn(self.rows, 1, 1, width))
        self.layers = nn.ModuleList(SweepLayer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.join = nn.Linear(self.rows * width, joined)
        self.along = SweepLayer(joined, ALONG)
        self.last_norm = nn.LayerNorm(joined)
        self.head = nn.Linear(joined, STEPS_PER_PATCH * classes)

    def forward(self, ink: Float32[Tensor, "n height width"]) -> Float[Tensor, "time n classes"]:
        """Logits; `ink` is 0 to 1, width a multiple of 4. Class 0 is CTC's blank."""
        return self.answer(self.see(ink))

    def see(self, ink: Float32[Tensor, "n height width"]) -> Float[Tensor, "columns n joining"]:
        """(1), layers of (2) to (5): the vectors of a column's patches, one after another."""
        n, _, width = ink.shape
        columns = width // PATCH
        patches = ink.view(n, self.rows, PATCH, columns, PATCH).permute(1, 3, 0, 2, 4).flatten(3)
        x = self.embed(patches) + self.place
        for layer in self.layers:
            x = layer(x)
        return self.norm(x).permute(1, 2, 0, 3).flatten(2)  # type: ignore[no-any-return]

    def answer(self, seen: Float[Tensor, "columns n joining"]) -> Float[Tensor, "time n classes"]:
        """(7) and (8): logits from what `see` gave."""
        columns, n, _ = seen.shape
        x = self.last_norm(self.along(self.join(seen)[None])[0])
        logits: Tensor = self.head(x).view(columns, n, STEPS_PER_PATCH, self.classes)
        return logits.transpose(1, 2).flatten(0, 1)
