"""Messages of processes that open strangers' files: a line of JSON, and perhaps raw bytes.

A file may take over the process that opens it. So what that process says is checked against a type,
and nothing of it is executed, as a pickle would be.
"""

from collections.abc import Iterator
from io import BufferedReader, BufferedWriter
from typing import TypeVar

import msgspec

from rowscan.errors import RowscanError

_T = TypeVar("_T")
_LONGEST = 100_000  # bytes of a line


class Failure(msgspec.Struct, tag="failure"):
    """An error, by the name of its class and its arguments."""

    kind: str
    parts: tuple[str | None, ...]

    @classmethod
    def of(cls, error: RowscanError) -> "Failure":
        """Describe an error."""
        parts = (None if part is None else str(part) for part in error.args)
        return cls(type(error).__name__, tuple(parts))

    def error(self) -> RowscanError:
        """The error.

        Raises:
            EOFError: there is no such error.
        """
        kinds = {kind.__name__: kind for kind in _kinds(RowscanError)}
        try:
            return kinds[self.kind](*self.parts)  # type: ignore[arg-type]
        except (KeyError, TypeError):
            raise EOFError from None


def _kinds(kind: type[RowscanError]) -> Iterator[type[RowscanError]]:
    yield kind
    for derived in kind.__subclasses__():
        yield from _kinds(derived)


def send(stream: BufferedWriter, message: object, content: bytes | memoryview = b"") -> None:
    """Write a message, and bytes, which are not copied."""
    stream.write(msgspec.json.encode(message) + b"\n")
    stream.write(content)
    stream.flush()


def receive(stream: BufferedReader, decoder: msgspec.json.Decoder[_T]) -> _T:
    """Read a message; the bytes after it remain to be read.

    Raises:
        EOFError: the other process has ended, or says something else.
    """
    try:
        return decoder.decode(stream.readline(_LONGEST))
    except msgspec.DecodeError:
        raise EOFError from None
