"""Cores: how many processor cores this process may use."""

import os


def available_cores() -> int:
    """The cores that the scheduler allows this process, where the system tells; else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
