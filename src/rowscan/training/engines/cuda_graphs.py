"""Work that a GPU repeats as one CUDA graph: a launch of hundreds of kernels instead of each.

What is captured reads and writes the same tensors at every call, has the same shapes, and never
waits for a number. A caller changes the contents of its inputs in between.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_FIRST_CALLS = 3
"""Done as they are, in a stream of their own, as torch.cuda's documents ask: libraries choose
algorithms, and optimisers make their state."""


class Captured:
    """A function of no arguments; on a CUDA device replayed, elsewhere called.

    Where capturing fails, a line on standard error says why, and the function is called.
    """

    def __init__(
        self,
        function: Callable[[], tuple[Tensor, ...]],
        device: torch.device,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        """Remember the function.

        Args:
            function: what to repeat.
            device: where it works.
            generators: of that device, that it draws from; they may be seeded between calls.
        """
        self._function, self._generators = function, generators
        self._waits = device.type != "cuda"
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._results: tuple[Tensor, ...] = ()

    def __call__(self) -> tuple[Tensor, ...]:
        """The function's results, as copies, once the graph is made."""
        if self._waits:
            return self._function()
        if self._graph is None:
            self._calls += 1
            if self._calls <= _FIRST_CALLS:
                return self._aside()
            self._capture()
            if self._graph is None:
                return self._function()
        self._graph.replay()
        return tuple(result.clone() for result in self._results)

    def _aside(self) -> tuple[Tensor, ...]:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            results = self._function()
        torch.cuda.current_stream().wait_stream(stream)
        return results

    def _capture(self) -> None:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            for generator in self._generators:
                graph.register_generator_state(generator)
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._results = self._function()
        except RuntimeError as error:
            _say_why_not(error)
            self._waits = True
            return
        self._graph = graph


class GraphMemory:
    """The memory that graphs of one network share, since only one of them works at a time."""

    def __init__(self) -> None:
        self._pool: object = None

    @property
    def pool(self) -> object:
        """As `torch.cuda.graph` takes it."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        return self._pool


class CapturedPasses:
    """A network's forward and backward pass, as two graphs, for inputs of one shape.

    Between them the caller computes the gradient of its loss, which may need numbers. The graphs
    are made when the shape comes for the third time; a rare one is not worth it.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        parameters: Sequence[nn.Parameter],
        device: torch.device,
        memory: GraphMemory,
    ) -> None:
        """Remember the network.

        Args:
            function: the network, of its parameters and one input.
            parameters: those that are trained; `backward` sets their gradients.
            device: where it works; elsewhere than on a CUDA device nothing is captured.
            memory: of all graphs of this network.
        """
        self._function, self._parameters, self._memory = function, list(parameters), memory
        self._waits = device.type != "cuda"
        self._calls = 0
        self._output: Tensor | None = None
        self._graphs: tuple[torch.cuda.CUDAGraph, torch.cuda.CUDAGraph] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The output, which holds until the next call of any `forward` with the same memory."""
        self._calls += 1
        if self._graphs is None and not self._waits and self._calls >= _FIRST_CALLS:
            self._capture(x)
        if self._graphs is None:
            self._output = self._function(x)
            return self._output
        self._input.copy_(x)
        self._graphs[0].replay()
        return self._result

    def backward(self, gradient: Tensor) -> None:
        """Set the gradients of the parameters, from that of the output of the last `forward`."""
        if self._graphs is None:
            assert self._output is not None
            self._set_gradients(self._output, gradient)
            self._output = None
            return
        self._gradient.copy_(gradient)
        self._graphs[1].replay()

    def _set_gradients(self, output: Tensor, gradient: Tensor) -> None:
        found = torch.autograd.grad(output, self._parameters, gradient)
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
        ours = [p.grad for p in self._parameters if p.grad is not None]
        torch._foreach_copy_(ours, found)

    def _capture(self, x: Tensor) -> None:
        torch.cuda.synchronize()
        graphs = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        how: dict[str, Any] = {"pool": self._memory.pool, "capture_error_mode": "thread_local"}
        self._input = x.clone()
        try:
            with torch.cuda.graph(graphs[0], **how):
                output = self._function(self._input)
            self._gradient = torch.zeros_like(output)
            with torch.cuda.graph(graphs[1], **how):
                self._set_gradients(output, self._gradient)
        except RuntimeError as error:
            _say_why_not(error)
            self._waits = True
            return
        self._result, self._graphs = output.detach(), graphs


def _say_why_not(error: RuntimeError) -> None:
    reason = str(error).strip().partition("\n")[0]
    line = f"rowscan: no CUDA graph of the step ({reason}): its kernels start one by one"
    print(line, file=sys.stderr, flush=True)
