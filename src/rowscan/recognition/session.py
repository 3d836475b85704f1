"""Session: ONNX Runtime's answer of a graph, within limits. It knows no labels.

The operators that a model may hold can still ask for any memory and time: forty that join a tensor
to itself make 4 TB of four bytes. What a named model takes is therefore bounded while it runs, and
none of its nodes is computed when it is opened.
"""

from collections.abc import Sequence
from functools import cache
from threading import Timer

import numpy as np
import onnxruntime

from rowscan.arrays import UInt8
from rowscan.errors import UsageError

MEMORY = 300_000_000
"""Bytes of tensors; the largest batch of a line model has a tenth."""
SECONDS = 15.0
"""Of one run of the graph."""
_SILENT = 4  # errors come as exceptions, so ONNX Runtime need not print them too
_CPU = ("CPUExecutionProvider",)


class Session:
    """An open graph. Threads may share it."""

    def __init__(
        self,
        content: bytes,
        *,
        trusted: bool,
        threads: int = 1,
        providers: Sequence[str] | None = None,
    ) -> None:
        """Open a graph that `onnx_file.check` has passed.

        Args:
            content: the file.
            trusted: whether it ships with Rowscan; others have limits.
            threads: ONNX Runtime's intra-op threads.
            providers: its execution providers, by default the CPU.

        Raises:
            UsageError: a provider that this ONNX Runtime does not have.
            Exception: ONNX Runtime's, which have no public base class, for a damaged file.
        """
        available = onnxruntime.get_available_providers()
        if unknown := set(providers or ()).difference(available):
            raise UsageError(
                f"unknown ONNX Runtime provider {min(unknown)!r}; available: {', '.join(available)}"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _SILENT
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the time of other programs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._trusted = trusted
        if not trusted:
            _bound_memory()
            options.add_session_config_entry("session.use_env_allocators", "1")
        self._session = onnxruntime.InferenceSession(
            content,
            options,
            list(providers or _CPU),
            enable_fallback=0,  # which prints
            disabled_optimizers=None if trusted else ["ConstantFolding"],
        )
        self.inputs = self._session.get_inputs()
        self.outputs = self._session.get_outputs()

    def run(
        self, outputs: list[str], images: UInt8[np.ndarray, "n height width *colour"]
    ) -> list[np.ndarray]:
        """Some outputs of the graph.

        Raises:
            Exception: as for a new session; or it takes more memory or time than it may.
        """
        options = onnxruntime.RunOptions()
        options.log_severity_level = _SILENT
        timer = Timer(SECONDS, lambda: setattr(options, "terminate", True))
        if not self._trusted:
            timer.start()
        try:
            return self._session.run(outputs, {"images": images}, options)  # type: ignore[no-any-return]
        finally:
            timer.cancel()


@cache
def _bound_memory() -> None:
    """Give the sessions of this process that ask for it one allocator with a limit."""
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    as_requested = 1  # of the strategies to extend it; the other one doubles
    arena = onnxruntime.OrtArenaCfg({"max_mem": MEMORY, "arena_extend_strategy": as_requested})
    onnxruntime.create_and_register_allocator(place, arena)
