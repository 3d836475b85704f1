"""Work that a GPU repeats as one CUDA graph: a launch of hundreds of kernels instead of each.

What is captured reads and writes the same tensors at every call, has the same shapes, and never
waits for a number. A caller changes the contents of its inputs in between.
"""

import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

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
            reason = str(error).strip().partition("\n")[0]
            line = f"rowscan: no CUDA graph of the step ({reason}): its kernels start one by one"
            print(line, file=sys.stderr, flush=True)
            self._waits = True
            return
        self._graph = graph
