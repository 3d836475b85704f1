"""Shards: files that hold many pictures. What lies in them is taken out one after the other.

A WebDataset shard is a tar file, compressed or not; of its members those count whose names end like
a picture's. A Parquet file must have a column `image`, as data sets on the Hugging Face Hub have:
the content of a file, or a struct of `bytes` and `path`.

A picture in a shard is called by the shard and its own name there, `shard.tar/7.png`, or the number
of its row, `shard.parquet/0`.
"""

import tarfile
from collections.abc import Iterator
from typing import IO, Any

from rowscan.batch.pool import End, Picture
from rowscan.errors import DataError, MissingExtraError, requires
from rowscan.io.pictures import has_suffix_of_picture
from rowscan.io.storage import open_binary, reason

_TAR = (".tar", ".tar.gz", ".tgz")
_PARQUET = (".parquet",)
_ROWS = 16  # of a Parquet file that are in memory together

IMAGE = "image"
"""The column of a Parquet file that holds pictures."""


def is_shard(path: str) -> bool:
    """Whether a file of this name is one."""
    return path.lower().endswith(_TAR + _PARQUET)


def unpacked(items: Iterator[Picture | End]) -> Iterator[Picture | End]:
    """The same, with the pictures that lie in shards in the place of the shards."""
    for item in items:
        if isinstance(item, Picture) and item.content is None and is_shard(item.path):
            yield from pictures_in(item.path)
        else:
            yield item


def pictures_in(shard: str) -> Iterator[Picture | End]:
    """The pictures in a shard with their content, in their order there.

    Yields:
        A `Picture` each; at last an `End` of the shard if it, or the rest of it, cannot be read, or
        if it holds none.
    """
    error = None
    found = False
    try:
        tar = shard.lower().endswith(_TAR)
        with open_binary(shard, streamed=tar) as file:
            for name, content in _in_tar(file) if tar else _in_parquet(file, shard):
                found = True
                yield Picture(f"{shard}/{name}", content)
    except (DataError, MissingExtraError) as problem:
        error = problem.reason
    except Exception as problem:  # whatever damaged bytes lead to, or a connection that ends
        error = f"damaged or unsupported shard: {reason(problem)}"
    if error is None and not found:
        error = "no pictures in this shard"
    if error is not None:
        yield End(shard, error)


class _Header(tarfile.TarInfo):
    """A member's header; a damaged one is an error, where tarfile takes it for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}, where a member or the end should be") from None


def _in_tar(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Header) as members:
        for member in members:
            hidden = any(part.startswith(".") for part in member.name.split("/") if part != ".")
            if member.isfile() and not hidden and has_suffix_of_picture(member.name):
                content = members.extractfile(member)
                assert content is not None
                yield member.name.removeprefix("./"), content.read()


def _in_parquet(file: IO[bytes], shard: str) -> Iterator[tuple[str, bytes]]:
    with requires("remote", "reading Parquet"):
        import pyarrow
        import pyarrow.parquet
    table = pyarrow.parquet.ParquetFile(file, pre_buffer=False)  # which would hold all of it
    if IMAGE not in table.schema_arrow.names:
        raise DataError(shard, f"it has no column {IMAGE!r}")
    kind = table.schema_arrow.field(IMAGE).type
    if not _holds_files(pyarrow, kind):
        raise DataError(shard, f"its column {IMAGE!r} holds {kind} instead of files")
    row = 0
    for batch in table.iter_batches(_ROWS, columns=[IMAGE]):
        for value in batch.column(IMAGE):
            content = value.as_py()
            if isinstance(content, dict):
                content = content["bytes"]
            yield str(row), content or b""
            row += 1


def _holds_files(pyarrow: Any, kind: Any) -> bool:
    """Whether a column of this type holds the content of files."""
    if pyarrow.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_files(pyarrow, kind.field(place).type)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))
