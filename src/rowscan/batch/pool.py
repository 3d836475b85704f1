"""Workers: many pictures, read by several processes, given out in their order.

How a picture is read is the reader's to know. Here is who reads it, and that whatever goes wrong
with one picture becomes a line and leaves the others alone.

Processes and not threads: finding lines and decoding hold the interpreter's lock half of the time.
On two cores, two processes read 147 line images a second, two threads 108; and what crashes takes
one process with it, not the run.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from rowscan.errors import RowscanError
from rowscan.io.pictures import MANY_PAGES, SUFFIXES, open_pages, suffix
from rowscan.io.storage import is_address, read_bytes
from rowscan.reading import Reading

if TYPE_CHECKING:
    from rowscan.reader import Reader

STANDARD_INPUT = "-"

_FEW = 2  # so many pictures are read sooner than a second process has started
_AHEAD = 16  # pictures a worker may be ahead of the oldest one that is still being read
_STILLBORN = 3  # processes in a row that end before they could begin: then something is wrong
_FETCHED = 16  # pictures that are fetched from an address together: fetching is mostly waiting
_PATIENCE = 0.3  # seconds that a worker has to finish its picture when the run is broken off


@dataclass(frozen=True)
class Picture:
    """A picture to be read."""

    path: str
    """As it was given, or below the folder that was given; "-" is standard input."""
    content: bytes | None = None
    """What came from standard input, an address or a shard."""

    @property
    def may_have_pages(self) -> bool:
        """Whether a file of this name may hold more than one page."""
        return suffix(self.path) in MANY_PAGES or suffix(self.path) not in SUFFIXES


@dataclass(frozen=True)
class Page:
    """One page of a picture was read."""

    path: str
    reading: Reading


@dataclass(frozen=True)
class End:
    """A picture is done, or a path in which there is none."""

    path: str
    error: str | None = None
    """Why it, or the rest of it, could not be read: one line."""


@dataclass(frozen=True)
class Job:
    """What is to be done with each picture. Travels to the workers."""

    model: Path | None = None
    """A model file or run directory; by default the line model that ships with Rowscan."""
    min_confidence: float = 0.0
    """A digit that is less sure is read as "?"."""
    annotate: Path | None = None
    """A folder for annotated copies."""
    base: Path = Path()
    """A folder above all pictures; what follows in their paths is kept in the copies'."""


# Reading


def read_all(
    pictures: Iterator[Picture | End], job: Job, *, jobs: int | None = None
) -> Generator[Page | End, None, None]:
    """Read pictures, and give out what is read as soon as it is its turn.

    Args:
        pictures: pictures, and ends of paths where there is none; never many are taken in
            advance.
        job: what is to be done with each.
        jobs: processes to read with, by default one a core. For one or two pictures none is
            started.

    Yields:
        For each picture its pages, then its `End`, in the order in which they came.

    Raises:
        RowscanError: nothing can be read at all: no model, or none for lines.
    """
    jobs = jobs or cores()
    pictures = fetched(pictures)
    first = list(islice(pictures, max(_FEW + 1, jobs)))
    if len(first) > _FEW:
        with Workers(job, min(jobs, len(first))) as workers:
            yield from workers.read(chain(first, pictures))
        return
    reader = None
    for item in first:
        if isinstance(item, End):
            yield item
            continue
        reader = reader or _open_reader(job, threads=jobs)
        yield from read_picture(_with_content(item), reader, job)


def read_picture(picture: Picture, reader: "Reader", job: Job) -> Iterator[Page | End]:
    """The pages of one picture, then its end. Whatever goes wrong becomes a line."""
    error = None
    source = picture.path if picture.content is None else picture.content
    try:
        if job.annotate is None:
            for reading in reader.read_pages(source, min_confidence=job.min_confidence):
                yield Page(picture.path, reading)
        else:
            from rowscan.batch.annotate import annotated_path, draw, save

            readings = reader.read_pages(source, min_confidence=job.min_confidence)
            for reading, pixels in zip(readings, open_pages(source, colour=True), strict=True):
                number = reading.page
                try:
                    target = annotated_path(picture.path, job.annotate, base=job.base, page=number)
                    save(draw(pixels, reading), target)
                except RowscanError as problem:
                    error = str(problem)  # what was read is good all the same
                yield Page(picture.path, reading)
    except RowscanError as problem:
        error = problem.reason
    except MemoryError:
        error = "not enough memory to read it"
    except Exception as problem:  # a fault of ours; the other pictures can do nothing for it
        error = f"internal error: {type(problem).__name__}: {problem}"
    yield End(picture.path, error and " ".join(error.split()))


def fetched(items: Iterator[Picture | End]) -> Iterator[Picture | End]:
    """The same in their order, with the content of what lies behind an address.

    A few are fetched at the same time, in advance. What cannot be fetched becomes an `End`.
    """
    waiting: deque[Future[Picture | End] | Picture | End] = deque()
    pool: ThreadPoolExecutor | None = None
    try:
        for item in items:
            if isinstance(item, Picture) and item.content is None and is_address(item.path):
                pool = pool or ThreadPoolExecutor(_FETCHED)
                waiting.append(pool.submit(_fetch, item))
            else:
                waiting.append(item)
            # Without addresses none is taken before it is needed.
            while waiting and (len(waiting) >= _FETCHED or not isinstance(waiting[0], Future)):
                first = waiting.popleft()
                yield first.result() if isinstance(first, Future) else first
        for last in waiting:
            yield last.result() if isinstance(last, Future) else last
    finally:
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def _fetch(picture: Picture) -> Picture | End:
    try:
        return replace(picture, content=read_bytes(picture.path))
    except RowscanError as problem:
        return End(picture.path, problem.reason)


def cores() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open_reader(job: Job, threads: int = 1) -> "Reader":
    """A reader that has its model. Imported here: a parent of workers needs none."""
    from rowscan.reader import Reader

    reader = Reader(job.model, threads=threads)
    _ = reader.line_model
    return reader


def _with_content(picture: Picture) -> Picture:
    if picture.path != STANDARD_INPUT:
        return picture
    # None where the process was started without any.
    return replace(picture, content=sys.stdin.buffer.read() if sys.stdin else b"")


# Workers


@dataclass
class _Task:
    """A picture on its way through: what is known of it, until it is its turn."""

    path: str
    picture: Picture | None = None
    """None where there is none to be read."""
    events: list[Page | End] = field(default_factory=list)
    done: bool = False
    pages: int = 0
    """So many have come."""
    known: int = 0
    """So many of them will come once more, for a second process reads the picture."""
    tried: bool = False
    """Whether a process has ended that read it."""

    def add(self, event: Page | End) -> None:
        """Take what a worker has to say."""
        if isinstance(event, End):
            self.events.append(event)
            self.done = True
            self.picture = None
        elif self.known:
            self.known -= 1
        else:
            self.pages += 1
            self.events.append(event)

    def again(self) -> bool:
        """Begin anew, once: it need not be the picture's fault that a process ended."""
        if self.tried:
            return False
        self.tried = True
        self.known = self.pages
        return True


class _Worker:
    """A process that reads one picture after the other."""

    def __init__(self, job: Job) -> None:
        # Forking would take the threads of a library in an unknown state along.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, job), daemon=True)
        with _interrupts_held_back():
            self.process.start()
        theirs.close()
        self.ready = False
        self.task: _Task | None = None

    def begin(self, task: _Task) -> bool:
        """Hand over a picture; False if the process has died, which is not the picture's fault."""
        try:
            self.connection.send(task.picture)
        except OSError:
            return False
        self.task = task
        return True

    def ended(self) -> str:
        """Why its process has ended."""
        self.process.join(1)
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit status {code}"
        killed = ", for want of memory perhaps" if code == -signal.SIGKILL else ""
        return signal.Signals(-code).name + killed


class Workers:
    """Several workers, and the order of what they read."""

    def __init__(self, job: Job, count: int) -> None:
        """Start so many processes; `close` ends them."""
        self._job = job
        self._workers: list[_Worker] = []
        self._waiting: deque[_Task] = deque()  # what no worker has begun, or not to its end
        self._stillborn = 0
        try:
            for _ in range(count):
                self._workers.append(_Worker(job))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, pictures: Iterator[Picture | End]) -> Iterator[Page | End]:
        """As `read_all`; one call after the other, each to its end."""
        tasks: deque[_Task] = deque()  # in the order of the pictures
        self._waiting.clear()
        more = True
        while more or tasks:
            idle = [worker for worker in self._workers if worker.ready and worker.task is None]
            while idle and (self._waiting or (more and len(tasks) < _AHEAD * len(self._workers))):
                if not self._waiting:
                    item = next(pictures, None)
                    if item is None:
                        more = False
                        break
                    if isinstance(item, End):
                        tasks.append(_Task(item.path, events=[item], done=True))
                        continue
                    tasks.append(_Task(item.path, _with_content(item)))
                    self._waiting.append(tasks[-1])
                worker = idle.pop()
                if worker.begin(self._waiting[0]):
                    self._waiting.popleft()
                else:
                    self._replace(worker)
            while tasks:
                yield from tasks[0].events
                tasks[0].events.clear()
                if not tasks[0].done:
                    break
                tasks.popleft()
            if more or tasks:
                self._listen()

    def _listen(self) -> None:
        """Take what the workers have to say; waits for one of them."""
        by_connection = {
            worker.connection: worker
            for worker in self._workers
            if worker.task is not None or not worker.ready
        }
        if not by_connection:  # what came were only ends of paths
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
                self._stillborn = 0
                continue
            assert worker.task is not None
            worker.task.add(message)
            if worker.task.done:
                worker.task = None

    def _replace(self, worker: _Worker) -> None:
        """A worker has died, and another takes its place.

        What it was reading is read once more. If that ends a process again, it is to blame.
        """
        why = worker.ended()
        worker.connection.close()
        self._workers.remove(worker)
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn == _STILLBORN:
                raise RowscanError(f"a process for reading ended before it could begin ({why})")
        task = worker.task
        if task is not None and task.again():
            self._waiting.appendleft(task)
        elif task is not None:
            task.add(End(task.path, f"reading it ended the process ({why})"))
        self._workers.append(_Worker(self._job))

    def close(self) -> None:
        """End the workers. One in the middle of a picture may finish what it writes."""
        for worker in self._workers:
            worker.connection.close()
        last = time.monotonic() + _PATIENCE
        for worker in self._workers:
            if worker.task is not None and worker.ready:
                worker.process.join(max(0.0, last - time.monotonic()))
            worker.process.kill()
            worker.process.join()


def _work(connection: Connection, job: Job) -> None:
    """What a worker does, until the other end of the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to see
    try:
        try:
            reader = _open_reader(job)
        except RowscanError as error:
            connection.send(error)
            return
        import cv2

        cv2.setNumThreads(1)  # the other cores have their own workers
        connection.send(None)
        while True:
            picture = connection.recv()
            for event in read_picture(picture, reader, job):
                connection.send(event)
    except (EOFError, OSError):
        return


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C waits until this is over; a process that is started within never hears of it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
