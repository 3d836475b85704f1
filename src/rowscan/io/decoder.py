"""Decoder: pictures from strangers, decoded by another process, which has limits.

A small file can ask a decoder for minutes, or for all memory, and no decoder can be stopped from
within. What such a file costs is the process: it is ended, and the next picture gets a new one.
What it is asked on its standard input is pickled; what it answers is not, see `messages`.
"""

import atexit
import contextlib
import io
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from threading import Timer
from typing import IO, Annotated

import msgspec
import numpy as np
from msgspec import Meta

from rowscan.errors import RowscanError, TooLargeError
from rowscan.io.limits import limit_memory, limit_time
from rowscan.io.messages import Failure, receive, send
from rowscan.io.raster import Opened, Request, decode

MEMORY = 530_000_000
"""Bytes of data that the process may use, unless said otherwise: 100 megapixels in colour, and the
process below 600 MB."""
_TOO_MUCH = "it takes more memory or time to decode than it may; save it as JPEG, or smaller"
_idle: list["Decoder"] = []
"""Those that have no picture to decode, of this process."""


class _Page(msgspec.Struct, tag="page"):
    """A page whose pixels follow."""

    shape: Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=2, max_length=3)]
    size: tuple[int, int]


class _End(msgspec.Struct, tag="end"):
    """There is no further page."""


_ANSWERS = msgspec.json.Decoder(_Page | Failure | _End)


def limited(request: Request) -> Iterator[Opened]:
    """As `rowscan.io.raster.decode`, within limits. Threads may call it at a time."""
    try:
        decoder = _idle.pop()
    except IndexError:
        decoder = Decoder()
    try:
        yield from decoder.pages(request)
    finally:
        _idle.append(decoder)


@atexit.register
def _end() -> None:
    while _idle:
        _idle.pop().close()


if hasattr(os, "register_at_fork"):  # the answers are for the process that asked
    os.register_at_fork(after_in_child=_idle.clear)


class Decoder:
    """A process that decodes one picture at a time. It is started when it is first needed."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """The process, which this does not wait for."""
        if self._process is None or self._process.poll() is not None:
            # Not with -m: pickles would name this module `__main__`.
            code = f"import rowscan.io.decoder as decoder; decoder.serve({self._memory})"
            command = [sys.executable, "-P", "-c", code]
            pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet)
        return self._process

    def pages(
        self, request: Request, *, deadline: float = math.inf
    ) -> Generator[Opened, None, None]:
        """The pages of a picture, each decoded when it is asked for.

        Args:
            request: the picture.
            deadline: of `time.monotonic`; the process is ended if it is still decoding then. Each
                page has `limits.SECONDS` of processor time besides.

        Raises:
            TooLargeError: it takes more memory or time than it may, or has more pixels or pages.
            DataError: not a picture, or a damaged one.
            MissingExtraError: the package that opens it is not installed.
        """
        page = self._ask(request, request.name, deadline)
        while page is not None:
            try:
                yield page
            except GeneratorExit:
                self._stop()
                raise
            page = self._ask(True, request.name, deadline)

    def _ask(self, message: Request | bool, name: str, deadline: float) -> Opened | None:
        """The next page, or None at the end."""
        process = self.start()
        timer = Timer(max(0.0, deadline - time.monotonic()), process.kill)
        if deadline < math.inf:
            timer.start()
        try:
            assert process.stdin is not None
            assert isinstance(process.stdout, io.BufferedReader)
            _ask(process.stdin, message)
            answer = _answer(process.stdout)
            if time.monotonic() >= deadline:  # the process is about to end
                raise EOFError
        except (OSError, EOFError):  # it ended, perhaps within an answer
            self.close()
            raise TooLargeError(name, _TOO_MUCH) from None
        except BaseException:  # Ctrl-C: what it still has to say is of this picture
            self.close()
            raise
        finally:
            timer.cancel()
        if isinstance(answer, RowscanError):
            raise answer
        return answer

    def _stop(self) -> None:
        """No further page is wanted."""
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended
            _ask(self._process.stdin, False)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _ask(stream: IO[bytes], message: Request | bool) -> None:
    pickle.dump(message, stream, protocol=5)  # does not copy what is large
    stream.flush()


def _asked(stream: IO[bytes]) -> Request | bool:
    return pickle.load(stream)  # type: ignore[no-any-return]  # noqa: S301  (the process above)


def _answer(stream: io.BufferedReader) -> Opened | RowscanError | None:
    """The answer of the process: a page, an error, or None at the end."""
    answer = receive(stream, _ANSWERS)
    if isinstance(answer, Failure):
        return answer.error()
    if isinstance(answer, _End):
        return None
    pixels = np.empty(answer.shape, np.uint8)
    if stream.readinto(pixels.data) < pixels.nbytes:
        raise EOFError
    return Opened(pixels, answer.size)


def serve(memory: int) -> None:
    """What the other process does, until its standard input ends."""
    with contextlib.suppress(EOFError, BrokenPipeError):
        _serve(memory)


def _serve(memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory(memory)
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries that print must not print into the answers
    while True:
        request = _asked(source)
        assert isinstance(request, Request)
        try:
            limit_time()
            for page in decode(request):
                pixels = np.ascontiguousarray(page.pixels)
                send(sink, _Page(pixels.shape, page.size), pixels.data)
                if not _asked(source):
                    break
                limit_time()
            else:
                send(sink, _End())
        except RowscanError as error:
            send(sink, Failure.of(error))
        except MemoryError:
            send(sink, Failure.of(TooLargeError(request.name, _TOO_MUCH)))
