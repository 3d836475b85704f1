"""Parquet: the pictures in a column, read by another process, which has limits.

Pages of a Parquet file say themselves how much they unpack to, up to 2 GB each, and the footer may
say something else. So each file has a process of its own, which writes its rows one by one.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from typing import Any

import msgspec

from rowscan.errors import DataError, RowscanError, TooLargeError, requires
from rowscan.io.limits import limit_memory, limit_time
from rowscan.io.messages import Failure, receive, send
from rowscan.io.storage import is_address, open_binary

COLUMN = "image"
"""The column that holds pictures: the content of files, or structs with their `bytes`."""
READINGS = frozenset({"path", "page", "status", "lines"})
"""The columns of what Rowscan itself has written."""
_MEMORY = 530_000_000
"""Bytes of data that the process may use; it stays below 600 MB. Row groups of 80 MB pass."""

_BUFFER = 1_000_000
"""Bytes read at a time: Arrow would read a column of a row group at once."""


class ReadingsError(DataError):
    """A file that holds what Rowscan has read."""


class _Row(msgspec.Struct, tag="row"):
    """A row whose picture follows."""

    bytes: int


class _End(msgspec.Struct, tag="end"):
    """There is no further row."""


_ANSWERS = msgspec.json.Decoder(_Row | Failure | _End)


def pictures(location: str) -> Iterator[bytes]:
    """The content of the picture in each row, empty where there is none.

    Args:
        location: a path or an address.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ReadingsError: it holds readings of an earlier run.
        TooLargeError: it takes more memory or time than it may.
        DataError: it cannot be opened, is damaged, or has no such column.
    """
    with requires("remote", "reading Parquet"):
        import pyarrow.parquet  # noqa: F401  (the other process uses it)
    # It opens the file from another folder.
    path = location if is_address(location) else os.path.abspath(location)  # noqa: PTH100
    command = [sys.executable, "-P", "-m", "rowscan.io.parquet", path]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=pipe, stderr=quiet) as process:
        assert isinstance(process.stdout, BufferedReader)
        try:
            while not isinstance(answer := receive(process.stdout, _ANSWERS), _End):
                if isinstance(answer, Failure):
                    raise answer.error()
                content = process.stdout.read(answer.bytes)
                if len(content) < answer.bytes:
                    raise EOFError
                yield content
        except EOFError:
            reason = "a row group takes too much memory or time to unpack; write smaller ones"
            raise TooLargeError(location, reason) from None
        finally:
            process.kill()


def _serve(path: str) -> None:
    """What the other process does."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries that print must not print into the rows
    limit_time()
    try:
        for row in _rows(path):
            send(sink, _Row(len(row)), row)
            limit_time()
        send(sink, _End())
    except MemoryError:
        return
    except RowscanError as error:
        send(sink, Failure.of(error))
    except Exception as error:  # damaged bytes or a lost connection can cause any kind
        reason = " ".join(str(error).split())
        send(sink, Failure.of(DataError(path, f"damaged or unsupported shard: {reason}")))


def _rows(path: str) -> Iterator[bytes]:
    import pyarrow
    import pyarrow.parquet

    pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # others keep what they have freed
    limit_memory(_MEMORY)
    # Arrow's own file needs no copy of what it reads.
    with open_binary(path) if is_address(path) else pyarrow.OSFile(path) as file:
        table = pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
        names = table.schema_arrow.names
        if COLUMN not in names:
            raise ReadingsError(path, "") if set(names) >= READINGS else _no_column(path)
        kind = table.schema_arrow.field(COLUMN).type
        if not _holds_files(pyarrow, kind):
            raise DataError(path, f"column {COLUMN!r}: expected the content of files, got {kind}")
        for batch in table.iter_batches(1, columns=[COLUMN]):
            for value in batch.column(COLUMN):
                content = value.as_py()
                yield (content["bytes"] if isinstance(content, dict) else content) or b""


def _no_column(path: str) -> DataError:
    return DataError(path, f"no column {COLUMN!r}")


def _holds_files(pyarrow: Any, kind: Any) -> bool:
    """Whether a column of this type holds the content of files."""
    if pyarrow.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_files(pyarrow, kind.field(index).type)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        _serve(sys.argv[1])
