"""The recurrences of a sweep layer as Triton kernels, one launch a direction.

`recurrence` states the mathematics. A program of a kernel goes along the steps with some of the
lanes: values that no step mixes, of all patches at a step times `width`. Sums are float32.
"""

from typing import Any

import torch
import triton
from torch import Tensor
from triton import language as tl

from rowscan.scans import Directions

_LANES = 128
"""Of a program: one for each of its threads, so that small batches fill a GPU as well."""
_FIXED = ["steps", "inner", "lanes"]
"""Sizes that change from batch to batch, so that no kernel is compiled for one of them."""


@triton.jit(do_not_specialize=_FIXED)  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]  # noqa: PLR0917
    y,
    h,
    out,
    steps,
    inner,
    lanes,
    width: tl.constexpr,
    directions: tl.constexpr,
    direction: tl.constexpr,
    backwards: tl.constexpr,
    block: tl.constexpr,
):
    lane = tl.program_id(0) * block + tl.arange(0, block)
    mine = lane < lanes
    patch = lane // width
    row = (patch // inner * steps * inner + patch % inner).to(tl.int64)
    first = direction * width + lane % width
    wide: tl.constexpr = directions * width
    state = tl.zeros((block,), tl.float32)
    i = 0
    while i < steps:
        t = steps - 1 - i if backwards else i
        at = row + t * inner
        source = y + at * 3 * wide + first
        z = tl.load(source, mask=mine, other=0.0).to(tl.float32)
        v = tl.load(source + wide, mask=mine, other=0.0).to(tl.float32)
        g = tl.load(source + 2 * wide, mask=mine, other=0.0).to(tl.float32)
        state += tl.sigmoid(z) * (v - state)
        tl.store(h + at * wide + first, state, mask=mine)
        tl.store(out + at * wide + first, state * g * tl.sigmoid(g), mask=mine)
        i += 1


@triton.jit(do_not_specialize=_FIXED)  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]  # noqa: PLR0917
    y,
    h,
    d_out,
    d_y,
    steps,
    inner,
    lanes,
    width: tl.constexpr,
    directions: tl.constexpr,
    direction: tl.constexpr,
    backwards: tl.constexpr,
    block: tl.constexpr,
):
    lane = tl.program_id(0) * block + tl.arange(0, block)
    mine = lane < lanes
    patch = lane // width
    row = (patch // inner * steps * inner + patch % inner).to(tl.int64)
    first = direction * width + lane % width
    wide: tl.constexpr = directions * width
    later = tl.zeros((block,), tl.float32)
    i = 0
    while i < steps:
        t = i if backwards else steps - 1 - i
        at = row + t * inner
        before = row + (t + 1 if backwards else t - 1) * inner
        has_before = mine & (i < steps - 1)
        source, target = y + at * 3 * wide + first, d_y + at * 3 * wide + first
        z = tl.sigmoid(tl.load(source, mask=mine, other=0.0).to(tl.float32))
        v = tl.load(source + wide, mask=mine, other=0.0).to(tl.float32)
        g = tl.load(source + 2 * wide, mask=mine, other=0.0).to(tl.float32)
        d = tl.load(d_out + at * wide + first, mask=mine, other=0.0).to(tl.float32)
        now = tl.load(h + at * wide + first, mask=mine, other=0.0).to(tl.float32)
        old = tl.load(h + before * wide + first, mask=has_before, other=0.0).to(tl.float32)
        gate = tl.sigmoid(g)
        total = d * g * gate + later
        tl.store(target, (v - old) * total * z * (1 - z), mask=mine)
        tl.store(target + wide, z * total, mask=mine)
        tl.store(target + 2 * wide, d * now * gate * (1 + g * (1 - gate)), mask=mine)
        later = (1 - z) * total
        i += 1


class Kernels:
    """An `Implementation` of `recurrence` on CUDA."""

    def forward(self, y: Tensor, directions: Directions) -> tuple[Tensor, Tensor]:
        """All h, and the result."""
        h = y.new_empty(*y.shape[:-1], y.shape[-1] // 3)
        out = torch.empty_like(h)
        _launch(_forward, y, (y, h, out), directions)
        return h, out

    def backward(self, y: Tensor, h: Tensor, d_out: Tensor, directions: Directions) -> Tensor:
        """The gradient of y."""
        d_y = torch.empty_like(y)
        _launch(_backward, y, (y, h, d_out, d_y), directions)
        return d_y


def _launch(kernel: Any, y: Tensor, tensors: tuple[Tensor, ...], directions: Directions) -> None:
    rows, columns, n, joint = y.shape
    width = joint // (3 * len(directions))
    for direction, (axis, backwards) in enumerate(directions):
        steps, inner = (columns, n) if axis else (rows, columns * n)
        lanes = rows * columns * n * width // steps
        kernel[(triton.cdiv(lanes, _LANES),)](
            *tensors,
            steps,
            inner,
            lanes,
            width,
            len(directions),
            direction,
            backwards,
            _LANES,
        )
