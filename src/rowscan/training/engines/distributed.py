"""Data-parallel training: the processes that `torchrun` starts, each with a shard of every batch.

All processes draw the same batches and hold the same weights. Each computes the gradient on its
shard; the sum is the gradient of the whole batch. So the number of processes changes a training by
rounding only. Rank 0 alone writes files and prints. Launching processes is `torchrun`'s task.
"""

import itertools
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
_GROUPS = itertools.count()
"""Numbers the groups that this process joins: each has its own keys in the store of torchrun."""


class ProcessGroupError(RowscanError):
    """Another process of the training has ended, so this one cannot continue."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those of a training, and their collective operations.

    Attributes:
        rank: number of this process, from 0.
        world_size: number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes files and prints."""
        return self.rank == 0

    def shard(self, n: int) -> slice:
        """This rank's part of a batch of `n`; the sizes of the shards differ by one at most."""
        return slice(n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size)

    def all_reduce(self, tensors: Sequence["Tensor"]) -> None:
        """Replace each tensor (float32) by its sum over all ranks, in place.

        Raises:
            ProcessGroupError: another process has ended.
        """
        if self.world_size == 1:
            return
        import torch
        from torch import distributed

        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _collective():
            distributed.all_reduce(flat)
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, part in zip(tensors, torch.split(flat, sizes), strict=True):
            tensor.copy_(part.view_as(tensor))

    def broadcast(self, call: Callable[[], T]) -> T:
        """Run `call` on rank 0, and return its result or raise its error on every rank."""
        if self.world_size == 1:
            return call()
        from torch import distributed

        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = call()
            except RowscanError as error:
                outcome[1] = error
        with _collective():
            distributed.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        result: T = outcome[0]
        return result


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """Join the process group that torchrun has set up; a group of one without torchrun.

    An error is raised by the first rank that has one; the others exit silently.

    Args:
        device: of the training: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UsageError: the device supports one process only.
        ProcessGroupError: another process has ended.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup()
        return
    if device == "mps":
        raise UsageError("device 'mps' supports one process only: run without torchrun")
    with requires("train", "training"):
        import torch

        # Its functions hold the group as a default argument. Imported later, by an optimiser, they
        # would keep it alive, and a gloo thread that outlives Python aborts the process.
        import torch.distributed.nn
        from torch import distributed
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    shared, rank, world = next(iter(rendezvous("env://")))
    store = PrefixStore(f"rowscan/{next(_GROUPS)}", shared)
    try:
        distributed.init_process_group(
            "nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=world
        )
        _wait_for_all(store, world)
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
    """The process group that this process has joined, or a group of one."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return ProcessGroup()
    return ProcessGroup(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def _collective() -> Iterator[None]:
    """Around a collective operation: a lost peer becomes one error."""
    try:
        yield
    except RuntimeError:  # gloo and NCCL raise it with a long trace
        raise ProcessGroupError("another process of this training has ended") from None


def _on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    """Torchrun sends SIGTERM to the remaining processes when one has ended."""
    raise ProcessGroupError("this training was terminated, as when one of its processes has ended")


def _wait_for_all(store: "Store", world: int) -> None:
    """Until all have joined: who joins a group that another has left waits for ever."""
    if store.add("joined", 1) == world:
        store.set("complete", "")
    store.wait(["complete"])


def _is_first_to_report(store: "Store") -> bool:
    try:
        return store.add("reported", 1) == 1
    except RuntimeError:  # the store itself has ended
        return True
