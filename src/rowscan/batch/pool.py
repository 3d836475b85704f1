"""Pool: worker processes that read pictures, and the order of their results.

It restarts workers that die; how a picture is read is up to `rowscan.batch.read`.

Processes, not threads: finding lines and decoding hold the interpreter's lock half of the time. On
two cores, two processes read 147 line images a second, two threads 108. And a crash ends one
process, not the run.
"""

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from rowscan.batch.items import End, Job, Page, Picture
from rowscan.batch.prefetch import with_standard_input
from rowscan.batch.read import open_reader, read_picture
from rowscan.errors import RowscanError

_AHEAD = 16  # pictures for each worker between the oldest unfinished one and the newest
_MAX_FAILED_STARTS = 3  # in a row
_GRACE_SECONDS = 0.3  # for pictures in progress, when the run is aborted


@dataclass
class _Task:
    """A picture and its results, until all earlier pictures are finished."""

    path: str
    picture: Picture | None = None
    """None once nothing is left to read."""
    events: list[Page | End] = field(default_factory=list)
    done: bool = False
    pages: int = 0
    """Pages received."""
    duplicates: int = 0
    """Pages that a second worker will send again."""
    retried: bool = False

    def add(self, event: Page | End) -> None:
        """Store a result from a worker."""
        if isinstance(event, End):
            self.events.append(event)
            self.done = True
            self.picture = None
        elif self.duplicates:
            self.duplicates -= 1
        else:
            self.pages += 1
            self.events.append(event)

    def retry(self) -> bool:
        """Prepare a second attempt, if there was none: the crash may have another cause."""
        if self.retried:
            return False
        self.retried = True
        self.duplicates = self.pages
        return True


class _Worker:
    """A process that reads one picture at a time."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")  # fork is unsafe with libraries' threads
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, job), daemon=True)
        with _interrupts_blocked(), _errors_discarded():
            self.process.start()
        theirs.close()
        self.ready = False
        self.task: _Task | None = None

    def begin(self, task: _Task) -> bool:
        """Send a picture; False if the process had died before."""
        try:
            self.connection.send(task.picture)
        except OSError:
            return False
        self.task = task
        return True

    def exit_reason(self) -> str:
        """Why the process ended."""
        self.process.join(1)
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit status {code}"
        hint = ", possibly out of memory" if code == -signal.SIGKILL else ""
        return signal.Signals(-code).name + hint


class ReaderPool:
    """Worker processes that read pictures; results come in the order of the pictures."""

    def __init__(self, job: Job, count: int) -> None:
        """Start `count` processes; `close` ends them."""
        self._job = job
        self._workers: list[_Worker] = []
        self._waiting: deque[_Task] = deque()  # not given to a worker yet, or to be read again
        self._more = True  # the input may have more pictures
        self._failed_starts = 0
        try:
            for _ in range(count):
                self._workers.append(_Worker(job))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ReaderPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, items: Iterator[Picture | End]) -> Iterator[Page | End]:
        """Read pictures; only one call at a time.

        Yields:
            For each picture its pages, then its `End`, in the order of the pictures.

        Raises:
            RowscanError: the model cannot be opened, or workers cannot be started.
        """
        tasks: deque[_Task] = deque()  # in the order of the pictures
        self._waiting.clear()
        self._more = True
        while self._more or tasks:
            self._assign(items, tasks)
            while tasks:
                yield from tasks[0].events
                tasks[0].events.clear()
                if not tasks[0].done:
                    break
                tasks.popleft()
            if self._more or tasks:
                self._receive()

    def _assign(self, items: Iterator[Picture | End], tasks: deque[_Task]) -> None:
        """Give idle workers pictures."""
        idle = [worker for worker in self._workers if worker.ready and worker.task is None]
        while idle and (self._waiting or self._take(items, tasks)):
            worker = idle.pop()
            if worker.begin(self._waiting[0]):
                self._waiting.popleft()
            else:
                self._replace(worker)

    def _take(self, items: Iterator[Picture | End], tasks: deque[_Task]) -> bool:
        """Take a picture from the input; False if none is left or enough are in progress."""
        while self._more and len(tasks) < _AHEAD * len(self._workers):
            item = next(items, None)
            if item is None:
                self._more = False
            elif isinstance(item, End):
                tasks.append(_Task(item.path, events=[item], done=True))
            else:
                tasks.append(_Task(item.path, with_standard_input(item)))
                self._waiting.append(tasks[-1])
                return True
        return False

    def _receive(self) -> None:
        """Wait for messages of the workers, and store them."""
        by_connection = {
            worker.connection: worker
            for worker in self._workers
            if worker.task is not None or not worker.ready
        }
        if not by_connection:  # the input gave only ends of paths
            return
        for connection in wait(list(by_connection)):
            assert isinstance(connection, Connection)
            worker = by_connection[connection]
            try:
                message = connection.recv()
            except (EOFError, OSError):
                self._replace(worker)
                continue
            if not worker.ready:
                if isinstance(message, RowscanError):
                    raise message
                worker.ready = True
                self._failed_starts = 0
                continue
            assert worker.task is not None
            worker.task.add(message)
            if worker.task.done:
                worker.task = None

    def _replace(self, worker: _Worker) -> None:
        """Start a new worker for one that died. Its picture is tried once more, then given up."""
        reason = worker.exit_reason()
        worker.connection.close()
        self._workers.remove(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == _MAX_FAILED_STARTS:
                raise RowscanError(f"worker processes end before they are ready ({reason})")
        task = worker.task
        if task is not None and task.retry():
            self._waiting.appendleft(task)
        elif task is not None:
            lost = f"the process that read it ended ({reason})"
            task.add(End(task.path, lost, task.pages + 1))
        self._workers.append(_Worker(self._job))

    def close(self) -> None:
        """End the workers. Those in the middle of a picture get a moment to finish writing."""
        for worker in self._workers:
            worker.connection.close()
        deadline = time.monotonic() + _GRACE_SECONDS
        for worker in self._workers:
            if worker.task is not None and worker.ready:
                worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.process.join()


def _work(connection: Connection, job: Job) -> None:
    """The main function of a worker; ends when the parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    try:
        try:
            reader = open_reader(job)
        except RowscanError as error:
            connection.send(error)
            return
        connection.send(None)
        while True:
            picture = connection.recv()
            for event in read_picture(picture, reader, job):
                connection.send(event)
    except (EOFError, OSError):
        return


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Delay Ctrl-C, and let processes started meanwhile inherit that they do not receive it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _errors_discarded() -> Iterator[None]:
    """Let processes started meanwhile inherit a standard error that discards what is written.

    Python would print a traceback in one whose parent is killed while it starts.
    """
    try:
        before = os.dup(2)
    except OSError:  # there is none
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nothing)
