"""Decoder: pictures from strangers, decoded by another process, which has limits.

A small file can ask a decoder for minutes, or for all memory, and no decoder can be stopped from
within. What such a file costs is the process: it is ended, and the next picture gets a new one.
Messages on its standard input and output are pickled, each after its length.
"""

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from threading import Timer
from typing import IO, NamedTuple

import numpy as np

from rowscan.arrays import UInt8
from rowscan.errors import RowscanError, TooLargeError
from rowscan.io.pictures import open_reduced

MEMORY = 450_000_000
"""Bytes of data that the process may use, unless said otherwise."""
_TOO_MUCH = "it takes more memory or time to decode than it may"
_LENGTH = struct.Struct("<Q")


class Opened(NamedTuple):
    """A page, upright."""

    pixels: UInt8[np.ndarray, "height width *rgb"]
    """Perhaps reduced."""
    size: tuple[int, int]
    """Full width and height."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to decode; the fields are arguments of `open_reduced`."""

    content: bytes
    enough: int
    colour: bool = True
    max_pixels: int
    max_pages: int | None = None
    first: int = 1
    count: int | None = None
    """Pages to decode; by default all."""


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

    def pages(self, request: Request, *, deadline: float) -> Generator[Opened, None, None]:
        """The pages of a picture, each decoded when it is asked for.

        Args:
            request: the picture.
            deadline: of `time.monotonic`; the process is ended if it is still decoding then.

        Raises:
            TooLargeError: it takes more memory or time than it may, or has more pixels or pages.
            DataError: not a picture, or a damaged one.
            MissingExtraError: the package that opens it is not installed.
        """
        process = self.start()
        assert process.stdin is not None
        assert process.stdout is not None
        complete = False
        try:
            message: object = request
            while True:
                answer = _ask(process, message, deadline)
                if time.monotonic() >= deadline:  # the process is about to end
                    raise TooLargeError("image", _TOO_MUCH)
                if not isinstance(answer, Opened):
                    complete = True
                    if isinstance(answer, RowscanError):
                        raise answer
                    return
                yield answer
                message = True
        finally:
            if not complete:  # what it still has to say is of this picture
                self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _ask(process: subprocess.Popen[bytes], message: object, deadline: float) -> object:
    """The answer of the process: a page, an error, or None at the end."""
    assert process.stdin is not None
    assert process.stdout is not None
    timer = Timer(max(0.0, deadline - time.monotonic()), process.kill)
    timer.start()
    try:
        _send(process.stdin, message)
        return _receive(process.stdout)
    except (OSError, EOFError):
        raise TooLargeError("image", _TOO_MUCH) from None
    finally:
        timer.cancel()


def _send(stream: IO[bytes], message: object) -> None:
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes]) -> object:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return pickle.loads(content)  # noqa: S301  (both ends are this module)


def serve(memory: int) -> None:
    """What the other process does, until its standard input ends."""
    with contextlib.suppress(EOFError, BrokenPipeError):
        _serve(memory)


def _serve(memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries that print must not print into the answers
    while True:
        request = _receive(source)
        assert isinstance(request, Request)
        try:
            for page in decoded(request):
                _send(sink, page)
                _receive(source)
            _send(sink, None)
        except RowscanError as error:
            _send(sink, error)
        except MemoryError:
            _send(sink, TooLargeError("image", _TOO_MUCH))


def decoded(request: Request) -> Iterator[Opened]:
    """The same in this process, without limits."""
    pages = open_reduced(
        request.content,
        request.enough,
        colour=request.colour,
        max_pixels=request.max_pixels,
        max_pages=request.max_pages,
        first=request.first,
    )
    return (Opened(pixels, size) for pixels, size in islice(pages, request.count))
