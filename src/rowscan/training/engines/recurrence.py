"""The recurrences of a sweep layer with their gates: chooses the fastest implementation here.

Notation as in `engines.sweep`. y is the product of a layer's input with all of Z, V and G; its last
axis holds z of all directions before σ, then v, then the gate g, `width` values of each:

(3) z_k = σ(z_k of y)
(4) h_k[t] = (1 - z_k[t]) * h_k[t-1] + z_k[t] * v_k[t],  h_k[-1] = 0
(5) out = [h_1 … h_d] * silu(g), without O and the residual

Backward, with q = d_out * silu(g) the gradient of h: Q[t] = q[t] + (1 - z[t+1]) * Q[t+1] is the
gradient by way of all later steps; then d_v = z * Q, d_z = (v - h[t-1]) * Q * z * (1 - z) and
d_g = d_out * h * silu'(g).

On CUDA these are kernels in Triton (`recurrence_triton`), on the CPU a library in C++
(`recurrence.cpp`). Where one cannot be used, a line on standard error says why, and PyTorch takes
its place: step by step on the CPU, by doubling on a GPU, where T steps would be T launches.
"""

import ctypes
import functools
import itertools
import math
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import silu

from rowscan.arrays import Float
from rowscan.scans import DIRECTIONS, Directions
from rowscan.training.engines.compiler import CompilerError, load_compiled

Joint = Float[Tensor, "rows columns n joint"]
Gated = Float[Tensor, "rows columns n gated"]
_TOLERANCE = 1e-3
"""Of the kernels, against PyTorch: rounding alone is 1e-6, in bfloat16 1e-2 of the numbers."""


@runtime_checkable
class Implementation(Protocol):
    """One way to compute (3) to (5); y and d_out are contiguous."""

    def forward(self, y: Joint, directions: Directions) -> tuple[Gated, Gated]:
        """All h, and the result."""

    def backward(self, y: Joint, h: Gated, d_out: Gated, directions: Directions) -> Joint:
        """The gradient of y."""


def gated_sweeps(y: Joint, directions: Directions) -> Gated:
    """(3), (4) and (5) for each of the directions: 3 d width values a patch become d width.

    Args:
        y: any floating type; below float32, sums are float32 still.
        directions: the axis and whether backwards, of each.
    """
    out: Tensor = _GatedSweeps.apply(y, directions)  # type: ignore[no-untyped-call]
    return out


class _GatedSweeps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, y: Tensor, directions: Directions) -> Tensor:
        y = y.contiguous()
        h, out = _implementation(y).forward(y, directions)
        ctx.save_for_backward(y, h)
        ctx.directions = directions  # type: ignore[attr-defined]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_out: Tensor) -> tuple[Tensor, None]:
        y, h = ctx.saved_tensors  # type: ignore[attr-defined]
        directions = ctx.directions  # type: ignore[attr-defined]
        return _implementation(y).backward(y, h, d_out.contiguous(), directions), None


def _implementation(y: Tensor) -> Implementation:
    if y.is_cuda:
        return _on_cuda()
    if y.device.type == "cpu" and y.dtype == torch.float32:
        return _on_cpu()
    return InTorch(step_by_step)


@functools.cache
def _on_cpu() -> Implementation:
    try:
        return Compiled("float")
    except CompilerError as error:
        _say(f"the compiled recurrence is not available ({error}): PyTorch's is used")
        return InTorch(step_by_step)


@functools.cache
def _on_cuda() -> Implementation:
    """The kernels, once they have agreed with PyTorch on a small case."""
    fallback = InTorch(by_doubling)
    try:
        from rowscan.training.engines.recurrence_triton import Kernels

        kernels = Kernels()
        for dtype in (torch.float32, torch.bfloat16):
            error = disagreement(kernels, device="cuda", dtype=dtype)
            allowed = _TOLERANCE if dtype == torch.float32 else 0.02
            if not error < allowed:
                raise RuntimeError(f"wrong by {error:.1e} in {dtype}")
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        _say(f"the Triton kernels are not available ({reason}): PyTorch's operations are used")
        return fallback
    return kernels


def disagreement(
    implementation: Implementation, *, device: str, dtype: torch.dtype = torch.float32
) -> float:
    """The largest relative error of values and gradients against float64, by norms, on a case."""
    generator = torch.Generator().manual_seed(0)
    y, d_out = (torch.randn(5, 7, 3, n, generator=generator).to(dtype) for n in (192, 64))
    oracle, errors = InTorch(step_by_step), []
    h, out = oracle.forward(y.double(), DIRECTIONS)
    expected = h, out, oracle.backward(y.double(), h, d_out.double(), DIRECTIONS)
    y, d_out = y.to(device), d_out.to(device)
    h, out = implementation.forward(y, DIRECTIONS)
    found = h, out, implementation.backward(y, h, d_out, DIRECTIONS)
    for ours, theirs in zip(found, expected, strict=True):
        errors.append(float((ours.cpu().double() - theirs).norm() / theirs.norm()))
    return math.nan if any(map(math.isnan, errors)) else max(errors)


# --- In PyTorch -----------------------------------------------------------------------------------

Solver = Callable[[Tensor, Tensor], Tensor]
"""h of h[t] = a[t] * h[t-1] + b[t] along the first axis, h[-1] = 0."""


def step_by_step(a: Tensor, b: Tensor) -> Tensor:
    """One operation a step."""
    h = torch.empty_like(b)
    h[0] = b[0]
    for t in range(1, len(b)):
        torch.addcmul(b[t], a[t], h[t - 1], out=h[t])
    return h


def by_doubling(a: Tensor, b: Tensor) -> Tensor:
    """In log2(T) rounds (Hillis and Steele, 1986): after k of them, h counts 2^k steps back."""
    back = 1
    while back < len(b):
        b = torch.cat([b[:back], torch.addcmul(b[back:], a[back:], b[:-back])])
        a = torch.cat([a[:back], a[back:] * a[:-back]])
        back *= 2
    return b


class InTorch:
    """(3) to (5) in PyTorch's operations."""

    def __init__(self, solve: Solver) -> None:
        self._solve = solve

    def forward(self, y: Joint, directions: Directions) -> tuple[Gated, Gated]:
        """All h, and the result."""
        z, v, g = _at_least_float32(y).chunk(3, -1)
        h = torch.empty_like(v, memory_format=torch.contiguous_format)
        of_each = (x.chunk(len(directions), -1) for x in (torch.sigmoid(z), v, h))
        for (axis, backwards), z_k, v_k, h_k in zip(directions, *of_each, strict=True):
            solved = self._solve(*(_in_order(x, axis, backwards) for x in (1 - z_k, z_k * v_k)))
            _in_order(h_k, axis, False).copy_(solved.flip(0) if backwards else solved)
        return h.to(y.dtype), (h * silu(g)).to(y.dtype)

    def backward(self, y: Joint, h: Gated, d_out: Gated, directions: Directions) -> Joint:
        """The gradient of y."""
        z, v, g = _at_least_float32(y).chunk(3, -1)
        h, d_out, z = _at_least_float32(h), _at_least_float32(d_out), torch.sigmoid(z)
        gate = torch.sigmoid(g)
        d_g = d_out * h * gate * (1 + g * (1 - gate))
        q, d_z, d_v = d_out * g * gate, torch.empty_like(z), torch.empty_like(z)
        of_each = (x.chunk(len(directions), -1) for x in (z, v, h, q, d_z, d_v))
        for (axis, backwards), *ours in zip(directions, *of_each, strict=True):
            z_k, v_k, h_k, q_k = (_in_order(x, axis, backwards) for x in ours[:4])
            d_z_k, d_v_k = (_in_order(x, axis, False) for x in ours[4:])
            none = torch.zeros_like(h_k[:1])
            later, before = torch.cat([1 - z_k[1:], none]), torch.cat([none, h_k[:-1]])
            total = self._solve(later.flip(0), q_k.flip(0)).flip(0)
            for to, value in (
                (d_v_k, z_k * total),
                (d_z_k, (v_k - before) * total * z_k * (1 - z_k)),
            ):
                to.copy_(value.flip(0) if backwards else value)
        return torch.cat([d_z, d_v, d_g], -1).to(y.dtype)


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _in_order(x: Tensor, axis: int, backwards: bool) -> Tensor:
    x = x.movedim(axis, 0)
    return x.flip(0) if backwards else x


# --- In C++ ---------------------------------------------------------------------------------------


class _Way(ctypes.Structure):
    """`Way` in recurrence.cpp."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("outer", "steps", "inner", "first", "end"),
            *("width", "directions", "direction", "backwards"),
        )
    )


class Compiled:
    """(3) to (5) by recurrence.cpp, on as many threads as PyTorch uses."""

    def __init__(self, real: Literal["float", "double"]) -> None:
        """Load the library for float32 (`float`) or float64 (`double`).

        Raises:
            CompilerError: it cannot be built here.
        """
        self._library = load_compiled(Path(__file__).with_name("recurrence.cpp"), f"REAL={real}")
        pointer = ctypes.c_void_p
        self._library.recurrence_forward.argtypes = [pointer] * 4
        self._library.recurrence_backward.argtypes = [pointer] * 6
        self.dtype = torch.float32 if real == "float" else torch.float64

    def forward(self, y: Joint, directions: Directions) -> tuple[Gated, Gated]:
        """All h, and the result."""
        h = y.new_empty(*y.shape[:-1], y.shape[-1] // 3)
        out = torch.empty_like(h)
        arrays = self._addresses(y, h, out)
        _share(
            _ways(y, directions),
            lambda way: self._library.recurrence_forward(ctypes.byref(way), *arrays),
        )
        return h, out

    def backward(self, y: Joint, h: Gated, d_out: Gated, directions: Directions) -> Joint:
        """The gradient of y."""
        d_y = torch.empty_like(y)
        arrays = self._addresses(y, h, d_out, d_y)

        def one(way: _Way) -> None:
            carry = y.new_empty((way.end - way.first) * way.width)
            self._library.recurrence_backward(ctypes.byref(way), *arrays, carry.data_ptr())

        _share(_ways(y, directions), one)
        return d_y

    def _addresses(self, *tensors: Tensor) -> list[int]:
        assert all(x.is_contiguous() and x.dtype == self.dtype for x in tensors)
        return [x.data_ptr() for x in tensors]


def _ways(y: Joint, directions: Directions) -> list[_Way]:
    """What each call has to do: for each direction, as many parts as there are threads."""
    rows, columns, n, joint = y.shape
    width, parts = joint // (3 * len(directions)), torch.get_num_threads()
    ways = []
    for direction, (axis, backwards) in enumerate(directions):
        outer, steps, inner = (rows, columns, n) if axis else (1, rows, columns * n)
        ends = [inner * part // parts for part in range(parts + 1)]
        ways += [
            _Way(outer, steps, inner, *part, width, len(directions), direction, backwards)
            for part in itertools.pairwise(ends)
        ]
    return ways


def _share(ways: list[_Way], one: Callable[[_Way], object]) -> None:
    """Call `one` for each of the ways, on several threads if there are."""
    threads = torch.get_num_threads()
    list(_pool(threads).map(one, ways) if threads > 1 else map(one, ways))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="recurrence")


def _say(line: str) -> None:
    print(f"rowscan: {line}", file=sys.stderr, flush=True)
