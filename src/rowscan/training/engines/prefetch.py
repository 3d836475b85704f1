"""Batches composed ahead of the training, by worker processes, in order.

A task of any kind can use it. It writes a composer: an object that pickle can store, with the data
that it needs, called with one item and giving one batch, which depends on that item alone (its
random numbers come from a generator seeded with the recipe's seed and the item):

    @dataclass(frozen=True)
    class PageComposer:
        seed: int
        def __call__(self, number: int) -> PageBatch: ...

    with Prefetch(PageComposer(seed), range(first, last)) as batches:
        for batch in batches:
            step(batch)

The batches come in the order of the items, the same for any number of workers, none included. An
item is small: a number or some indices. A batch holds NumPy arrays, which travel fast, or tensors
on the CPU; bytes travel four times as fast as floats. No more than `depth` batches a worker exist
at a time. An error in a composer is raised where its batch would come. The workers end with the
`with` block, with the process that started them, and ignore Ctrl-C, which that process handles.
They use one thread each.
"""

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from types import ModuleType, TracebackType
from typing import Any, Generic, TypeVar

from rowscan.errors import RowscanError
from rowscan.io.cores import available_cores

Item = TypeVar("Item")
Batch = TypeVar("Batch")
Composer = Callable[[Item], Batch]

_DEPTH = 4
"""Batches a worker: enough for the others to go on while one composes a batch of three times the
usual size, as there are among lines."""
_GRACE_SECONDS = 1.0


def default_workers() -> int:
    """Worker processes where nothing else is asked for: all cores but the one that trains."""
    return available_cores() - 1


class Prefetch(Generic[Item, Batch]):
    """The batches of a composer, in the order of its items; an iterator, once."""

    def __init__(
        self,
        composer: Composer[Item, Batch],
        items: Iterable[Item],
        *,
        workers: int | None = None,
        depth: int = _DEPTH,
    ) -> None:
        """Start the workers.

        Args:
            composer: gives a batch for an item.
            items: may be endless; no more are taken than are composed.
            workers: processes; 0 composes in this one, None takes `default_workers()`.
            depth: batches for each worker that exist at a time, at the most.
        """
        self._composer, self._items = composer, iter(items)
        self._depth = depth
        self._sent = self._given = 0
        self._composed: dict[int, Batch | Exception] = {}
        self._workers: list[_Worker] = []
        try:
            for _ in range(default_workers() if workers is None else workers):
                self._workers.append(_Worker(composer))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Prefetch[Item, Batch]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            RowscanError: a worker has died.
        """
        if not self._workers:
            return self._composer(next(self._items))
        self._send_items()
        if self._given == self._sent:
            raise StopIteration
        while self._given not in self._composed:
            self._receive()
            self._send_items()
        batch = self._composed.pop(self._given)
        self._given += 1
        if isinstance(batch, Exception):
            raise batch
        self._send_items()
        return batch

    def close(self) -> None:
        """End the workers, whatever they do."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_GRACE_SECONDS)
            worker.process.kill()
            worker.process.join()
        self._workers.clear()
        self._items = iter(())

    def _send_items(self) -> None:
        """Give the workers items, the one with the fewest first, as long as there is room."""
        while self._sent - self._given < self._depth * len(self._workers):
            worker = min(self._workers, key=lambda one: one.busy)
            try:
                item = next(self._items)
            except StopIteration:
                return
            worker.send((self._sent, item))
            self._sent += 1

    def _receive(self) -> None:
        """Wait for at least one batch."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection)):
            number, batch = by_connection[connection].receive()
            self._composed[number] = batch


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, composer: Callable[[Any], Any]) -> None:
        context = _context()
        context.set_forkserver_preload([__name__, type(composer).__module__])
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        with _without_main():
            self.process.start()
        theirs.close()
        self.busy = 0
        self.send(composer)
        self.busy = 0

    def send(self, content: object) -> None:
        try:
            self.connection.send_bytes(pickle.dumps(content, pickle.HIGHEST_PROTOCOL))
        except OSError:
            raise self._death() from None
        self.busy += 1

    def receive(self) -> tuple[int, Any]:
        """The number of a batch, and the batch or the error instead of it."""
        try:
            content = self.connection.recv_bytes()
        except (EOFError, OSError):
            raise self._death() from None
        self.busy -= 1
        found: tuple[int, Any] = pickle.loads(content)  # noqa: S301 - of our own process
        return found

    def _death(self) -> RowscanError:
        self.process.join(_GRACE_SECONDS)
        return RowscanError(
            f"a process that composes batches has ended (exit status {self.process.exitcode})"
        )


def _context() -> Any:
    """Fork is unsafe with libraries' threads, so a server without any forks where there is one.

    The forks of the server have imported already what the first composer needs.
    """
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


@contextmanager
def _without_main() -> Iterator[None]:
    """While a process starts: it would import the main module, and so run a script once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _work(connection: Connection) -> None:
    """The main function of a worker: composes, while a thread of it sends what is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    done: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    try:
        composer = pickle.loads(connection.recv_bytes())  # noqa: S301 - of our own process
        _use_one_thread()
        threading.Thread(target=_send, args=(connection, done), daemon=True).start()
        while True:
            number, item = pickle.loads(connection.recv_bytes())  # noqa: S301 - the same
            done.put(_composed(composer, number, item))
    except (EOFError, OSError):
        return


def _composed(composer: Callable[[Any], Any], number: int, item: object) -> bytes:
    try:
        return pickle.dumps((number, composer(item)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        try:
            return pickle.dumps((number, error))
        except Exception:
            return pickle.dumps((number, RowscanError(f"composing a batch failed: {error!r}")))


def _send(connection: Connection, done: "queue.SimpleQueue[bytes]") -> None:
    try:
        while True:
            connection.send_bytes(done.get())
    except OSError:
        os._exit(0)  # nobody is left to compose for


def _use_one_thread() -> None:
    """Of each library that the composer has imported."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(1)
