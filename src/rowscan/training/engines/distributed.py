"""Data-parallel training: the processes that `torchrun` starts, each with a shard of every batch.

All of them draw the same batches and have the same weights. Each computes the gradient on its
share; the sum of these is the gradient of the whole batch. So a training is the same on any number
of processes, but for the rounding of sums. The first one alone writes files and prints.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from rowscan.errors import RowscanError, UsageError, requires

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")


class ProcessGroupError(RowscanError):
    """Another process of the training has ended, so this one cannot go on."""


@dataclass(frozen=True)
class ProcessGroup:
    """Which of how many processes this is, and what they have to say to each other.

    Attributes:
        rank: this process, from 0.
        world: how many there are.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def shard(self, n: int) -> slice:
        """What of n examples is this process's to do; the shares differ by one at most."""
        return slice(n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size)

    def all_reduce(self, tensors: Sequence["Tensor"]) -> None:
        """Replace each tensor (float32) by its sum over all processes.

        Raises:
            ProcessGroupError: one of them has ended.
        """
        if self.world_size == 1:
            return
        import torch
        from torch import distributed

        whole = torch.cat([tensor.flatten() for tensor in tensors])
        with _collective():
            distributed.all_reduce(whole)
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, part in zip(tensors, torch.split(whole, sizes), strict=True):
            tensor.copy_(part.view_as(tensor))

    def broadcast(self, call: Callable[[], T]) -> T:
        """What the first process's call returns or raises, in all of them."""
        if self.world_size == 1:
            return call()
        from torch import distributed

        said: list[Any] = [None, None]
        if self.is_main:
            try:
                said[0] = call()
            except RowscanError as error:
                said[1] = error
        with _collective():
            distributed.broadcast_object_list(said)
        if said[1] is not None:
            raise said[1]
        result: T = said[0]
        return result


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """The processes that torchrun has started, or this one alone where it has not.

    What goes wrong is raised in one of them; the others end without a word.

    Args:
        device: that of the training: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UsageError: the device is none for several processes.
        ProcessGroupError: one of them has ended.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup()
        return
    if device == "mps":
        raise UsageError("device 'mps' trains in one process only")
    with requires("train", "training"):
        import torch

        # Its functions have the group as a default argument: imported later, as an optimiser does,
        # it would keep the group, and a thread of gloo's that outlives Python aborts the process.
        import torch.distributed.nn
        from torch import distributed
        from torch.distributed.rendezvous import rendezvous
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    store, rank, world = next(iter(rendezvous("env://")))
    try:
        distributed.init_process_group(
            "nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=world
        )
        yield ProcessGroup(rank, world)
    except (RowscanError, KeyboardInterrupt) as error:
        if _is_first_to_report(store):
            raise
        raise SystemExit(2 if isinstance(error, UsageError) else 1) from None
    finally:
        signal.signal(signal.SIGTERM, before)
        if distributed.is_initialized():
            distributed.destroy_process_group()


def current_group() -> ProcessGroup:
    """The processes that this one has joined; itself alone where it has joined none."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return ProcessGroup()
    return ProcessGroup(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def _collective() -> Iterator[None]:
    """Around what needs all processes."""
    try:
        yield
    except RuntimeError:  # of gloo and NCCL, with many lines of where they were
        raise ProcessGroupError("another process of this training has ended") from None


def _on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    """As torchrun tells the processes that are left."""
    raise ProcessGroupError("this training was told to end (one of its processes may have ended)")


def _is_first_to_report(store: "Store") -> bool:
    try:
        return store.add("rowscan/said", 1) == 1
    except RuntimeError:  # the store itself has ended
        return True
