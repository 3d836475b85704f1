"""Limits: what this process may take. A decoder cannot be stopped from within; its process can."""

import contextlib
import signal

SECONDS = 15
"""Processor time between two calls of `limit_time`."""


def limit_memory(data: int) -> None:
    """From now on, allocating more than these bytes of data fails. Not on Windows."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (data, data))


def limit_time() -> None:
    """End this process after `SECONDS` of its processor time, whatever it is doing then.

    A further call begins to count anew. Not on Windows.
    """
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
