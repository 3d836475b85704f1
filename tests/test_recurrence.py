"""The recurrences of a sweep layer, in every implementation, against the formula in float64."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rowscan.scans import ALONG, DIRECTIONS, Directions
from rowscan.training.engines.recurrence import (
    Compiled,
    Implementation,
    InTorch,
    by_doubling,
    gated_sweeps,
    step_by_step,
)

WAYS = st.sampled_from([DIRECTIONS, ALONG, ((0, False),), ((1, True), (0, True))])
SIZES = st.tuples(*(st.integers(1, 9) for _ in range(4)))


def by_formula(y: Tensor, directions: Directions) -> Tensor:
    """(3) to (5) as they are written, for autograd."""
    z, v, g = (part.chunk(len(directions), -1) for part in y.chunk(3, -1))
    h = []
    for (axis, backwards), z_k, v_k in zip(directions, z, v, strict=True):
        state = torch.zeros_like(v_k.select(axis, 0))
        steps = range(y.shape[axis])
        found = {}
        for t in reversed(steps) if backwards else steps:
            open_ = torch.sigmoid(z_k.select(axis, t))
            state = (1 - open_) * state + open_ * v_k.select(axis, t)
            found[t] = state
        h.append(torch.stack([found[t] for t in steps], axis))
    return torch.cat(h, -1) * torch.nn.functional.silu(torch.cat(g, -1))


def draw(seed: int, sizes: tuple[int, ...], directions: Directions) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    *shape, width = sizes
    gated = len(directions) * width
    y, d_out = (
        torch.randn(*shape, n, generator=generator, dtype=torch.float64) for n in (3 * gated, gated)
    )
    return 3 * y, d_out


def check(implementation: Implementation, y: Tensor, d_out: Tensor, directions: Directions) -> None:
    exact = y.clone().requires_grad_()
    out = by_formula(exact, directions)
    out.backward(d_out)  # type: ignore[no-untyped-call]
    assert exact.grad is not None
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        if isinstance(implementation, Compiled) and implementation.dtype != dtype:
            continue
        h, found = implementation.forward(y.to(dtype), directions)
        gradient = implementation.backward(y.to(dtype), h, d_out.to(dtype), directions)
        for ours, theirs in ((found, out.detach()), (gradient, exact.grad)):
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=10 * tolerance)


@settings(deadline=None)
@given(st.integers(0, 2**32), SIZES, WAYS, st.sampled_from([step_by_step, by_doubling]))
def test_pytorch_s_operations_agree_with_the_formula(
    seed: int,
    sizes: tuple[int, ...],
    directions: Directions,
    solve: object,
) -> None:
    check(InTorch(solve), *draw(seed, sizes, directions), directions)  # type: ignore[arg-type]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("real", ["float", "double"])
def test_the_compiled_library_agrees_with_the_formula(real: str, threads: None) -> None:
    library = Compiled(real)  # type: ignore[arg-type]

    @settings(deadline=None)
    @given(st.integers(0, 2**32), SIZES, WAYS, st.integers(1, 3))
    def agrees(seed: int, sizes: tuple[int, ...], directions: Directions, threads: int) -> None:
        torch.set_num_threads(threads)
        check(library, *draw(seed, sizes, directions), directions)

    agrees()


def test_the_triton_kernels_agree_with_the_formula() -> None:
    """In Triton's interpreter, which needs no GPU: `pip install triton` to run it."""
    pytest.importorskip("triton")
    script = """
        import torch
        from rowscan.training.engines.recurrence import disagreement
        from rowscan.training.engines.recurrence_triton import Kernels
        for dtype in (torch.float32, torch.bfloat16):
            print(disagreement(Kernels(), device="cpu", dtype=dtype))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    exact, rounded = map(float, done.stdout.split())
    assert exact < 1e-6
    assert rounded < 0.02


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_numbers_far_from_zero_give_numbers(extreme: float) -> None:
    y = torch.full((2, 2, 1, 12 * 9), extreme, requires_grad=True)
    gated_sweeps(y, DIRECTIONS).sum().backward()  # type: ignore[no-untyped-call]
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()


def test_a_view_of_strided_memory_gives_what_its_copy_gives() -> None:
    whole = torch.randn(3, 4, 2, 50)
    view = whole[..., 1:49].transpose(0, 1)
    torch.testing.assert_close(
        gated_sweeps(view, DIRECTIONS), gated_sweeps(view.contiguous(), DIRECTIONS)
    )
    gradients = []
    for y in (view, view.contiguous()):
        leaf = y.detach().requires_grad_()
        gated_sweeps(leaf, DIRECTIONS).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)
