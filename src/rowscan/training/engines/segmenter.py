"""The page network: sweeps over a picture's patches at two scales, and an answer for each pixel.

Notation as in `engines.sweep`; ↓ gathers 2 × 2 patches into one, ↑ spreads one over 2 × 2.

p       a patch of 4 × 4 pixels with three colours, 0 to 1.
D U M   learned affine maps, each with a bias.

(1) x = E p                             patch embedding, no position: a page may have any size
(2) x = layer(x)                        steps (2) to (5) of `engines.sweep`
(3) c = D ↓x,  c = layers(c)            the same at half the resolution, where most layers are
(4) x = layer(x + ↑(U c))               back at the resolution of patches
(5) y = H silu(M [LayerNorm(x), p])     what the patch knows beside its pixels

y holds logits of paper, ink and other for 16 pixels, of the band for 2 × 2 parts of the patch, and
three numbers of the line it is in: log2 of the digits' height over 32 pixels, cosine and sine of
its direction. The coarse layers find rules, frames and lines, which are long; the fine ones
separate strokes.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rowscan.arrays import Float32
from rowscan.scans import PATCH
from rowscan.training.engines.sweep import SweepLayer

CLASSES, PARTS, GEOMETRY = 3, 2, 3
"""Classes of a pixel; parts of a patch, along each side, that have a band; numbers of a line."""

_HEAD = 80
"""Width of the hidden layer of the head."""


class PageLogits(NamedTuple):
    """What the network says of some pages."""

    pixels: Float32[Tensor, "n height width 3"]
    """Logits of paper, ink and other."""
    bands: Float32[Tensor, "n rows2 columns2"]
    """Logits of the band of a line."""
    geometry: Float32[Tensor, "n rows4 columns4 3"]
    """log2(height / 32), cosine and sine."""


class SweepSegmenter(nn.Module):
    """(1) to (5)."""

    def __init__(self, fine: int, coarse: int, layers: int) -> None:
        super().__init__()
        pixels = 3 * PATCH * PATCH
        self.embed = nn.Linear(pixels, fine)
        self.before = SweepLayer(fine)
        self.down = nn.Linear(4 * fine, coarse)
        self.layers = nn.ModuleList(SweepLayer(coarse) for _ in range(layers))
        self.up = nn.Linear(coarse, 4 * fine)
        self.after = SweepLayer(fine)
        self.norm = nn.LayerNorm(fine)
        self.mix = nn.Linear(fine + pixels, _HEAD)
        self.head = nn.Linear(_HEAD, CLASSES * PATCH * PATCH + PARTS * PARTS + GEOMETRY)

    def forward(self, pages: Float32[Tensor, "n height width 3"]) -> PageLogits:
        """Logits; `pages` is absorption, 0 to 1, with sides that are multiples of 8."""
        patches = gathered(pages, PATCH)
        grid = patches.permute(1, 2, 0, 3)
        x = self.before(self.embed(grid))
        c = self.down(gathered(x.permute(2, 0, 1, 3), 2)).permute(1, 2, 0, 3)
        for layer in self.layers:
            c = layer(c)
        x = x + spread(self.up(c).permute(2, 0, 1, 3), 2).permute(1, 2, 0, 3)
        x = self.norm(self.after(x))
        mixed = nn.functional.silu(self.mix(torch.cat([x, grid.to(x.dtype)], -1)))
        y = self.head(mixed).float().permute(2, 0, 1, 3)
        pixels, bands, geometry = y.split([CLASSES * PATCH * PATCH, PARTS * PARTS, GEOMETRY], -1)
        return PageLogits(spread(pixels, PATCH), spread(bands, PARTS)[..., 0], geometry)


def gathered(x: Tensor, side: int) -> Tensor:
    """(n, rows, columns, width) to (n, rows / side, columns / side, side · side · width)."""
    n, rows, columns, width = x.shape
    x = x.reshape(n, rows // side, side, columns // side, side, width).transpose(2, 3)
    return x.flatten(3)


def spread(x: Tensor, side: int) -> Tensor:
    """The inverse of `gathered`."""
    n, rows, columns, width = x.shape
    x = x.reshape(n, rows, columns, side, side, width // side**2).transpose(2, 3)
    return x.reshape(n, rows * side, columns * side, width // side**2)
