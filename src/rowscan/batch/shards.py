"""Shards: files that hold many pictures, extracted one at a time. It decodes none.

A WebDataset shard is a tar file, compressed or not; its pictures are the members with the name of
one. A Parquet shard has a column `image`, as data sets on the Hugging Face Hub: the content of a
file, or a struct of `bytes` and `path`.

The path of a picture is that of the shard with the name of the member, `shard.tar/7.png`, or the
number of the row, `shard.parquet/0`.
"""

import tarfile
from collections.abc import Iterator
from typing import IO, Any

from rowscan.batch.items import End, Picture
from rowscan.errors import DataError, MissingExtraError, reason_of, requires
from rowscan.io.pictures import is_picture_name
from rowscan.io.storage import MAX_BYTES, TOO_MANY_BYTES, open_binary

_TAR = (".tar", ".tar.gz", ".tgz")
_PARQUET = (".parquet",)
_ROWS = 1  # of a Parquet file in memory at a time
_MAX_OTHERS = 2_000_000_000
"""Bytes in a tar file that belong to no picture: they are unpacked too, and a few MB can be GBs."""

_UNPACKED, _TIMES = 60_000_000, 20
"""Bytes that every row group of a Parquet file may have, and how many times as many as it has
compressed: pictures hardly get smaller."""

IMAGE = "image"
"""The column of a Parquet file that holds pictures."""


def is_shard(path: str) -> bool:
    """Whether a file of this name is a shard."""
    return path.lower().endswith(_TAR + _PARQUET)


def unpacked(items: Iterator[Picture | End]) -> Iterator[Picture | End]:
    """The same items, each shard replaced by its pictures."""
    for item in items:
        if isinstance(item, Picture) and item.content is None and is_shard(item.path):
            yield from pictures_in(item.path)
        else:
            yield item


def pictures_in(shard: str) -> Iterator[Picture | End]:
    """The pictures in a shard with their content, in the order of the file.

    Yields:
        A `Picture` for each; then an `End` of the shard if it, or the rest of it, cannot be read,
        or if it holds no pictures.
    """
    error = None
    found = False
    try:
        tar = shard.lower().endswith(_TAR)
        with open_binary(shard, streamed=tar) as file:
            for name, content in _in_tar(file, shard) if tar else _in_parquet(file, shard):
                found = True
                yield Picture(f"{shard}/{name}", content)
    except (DataError, MissingExtraError) as problem:
        error = problem.reason
    except _ReadingsError:
        yield End(shard, left_out="readings of earlier runs")
        return
    except Exception as problem:  # damaged bytes or a lost connection can cause any kind
        error = f"damaged or unsupported shard: {reason_of(problem)}"
    if error is None and not found:
        error = "no pictures in this shard"
    if error is not None:
        yield End(shard, error)


_NAMES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_MAX_NAMES = 1_000_000
"""Bytes of what stands before a member, its name and more: tarfile reads this whole."""


class _Header(tarfile.TarInfo):
    """The header of a member. A damaged one is an error; tarfile takes it for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        try:
            header = super().frombuf(buf, encoding, errors)
            if header.type in _NAMES and header.size > _MAX_NAMES:
                raise tarfile.ReadError("a name or header that is too long")
            return header
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}: expected a member or the end of the file") from None


def _in_tar(file: IO[bytes], shard: str) -> Iterator[tuple[str, bytes]]:
    others = 0
    with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Header) as members:
        for member in members:
            hidden = any(part.startswith(".") for part in member.name.split("/") if part != ".")
            if member.isfile() and not hidden and is_picture_name(member.name):
                content = members.extractfile(member)
                assert content is not None
                if member.size > MAX_BYTES:
                    raise DataError(shard, f"{member.name}: {TOO_MANY_BYTES}; the rest is not read")
                yield member.name.removeprefix("./"), content.read()
            else:
                others += member.size
                if others > _MAX_OTHERS:
                    raise DataError(shard, "2 GB of it are no pictures; the rest is not read")


class _ReadingsError(Exception):
    """A Parquet file holds what Rowscan has read."""


def _in_parquet(file: IO[bytes], shard: str) -> Iterator[tuple[str, bytes]]:
    with requires("remote", "reading Parquet"):
        import pyarrow
        import pyarrow.parquet
    table = pyarrow.parquet.ParquetFile(file, pre_buffer=False)  # it would buffer the whole file
    if IMAGE not in table.schema_arrow.names:
        if {"path", "page", "status", "lines"} <= set(table.schema_arrow.names):
            raise _ReadingsError
        raise DataError(shard, f"no column {IMAGE!r}")
    kind = table.schema_arrow.field(IMAGE).type
    if not _holds_files(pyarrow, kind):
        raise DataError(shard, f"column {IMAGE!r}: expected the content of files, got {kind}")
    _check_unpacked(table, shard)
    row = 0
    for batch in table.iter_batches(_ROWS, columns=[IMAGE]):
        for value in batch.column(IMAGE):
            content = value.as_py()
            if isinstance(content, dict):
                content = content["bytes"]
            yield str(row), content or b""
            row += 1


def _check_unpacked(table: Any, shard: str) -> None:
    """Refuse what unpacks to far more than it is: Arrow takes several times that in memory."""
    for number in range(table.num_row_groups):
        group = table.metadata.row_group(number)
        for chunk in map(group.column, range(group.num_columns)):
            unpacked = chunk.total_uncompressed_size
            if chunk.path_in_schema.split(".")[0] == IMAGE and unpacked > max(
                _UNPACKED, _TIMES * chunk.total_compressed_size
            ):
                raise DataError(shard, f"a row group unpacks to {unpacked // 1_000_000:,} MB")


def _holds_files(pyarrow: Any, kind: Any) -> bool:
    """Whether a column of this type holds the content of files."""
    if pyarrow.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_files(pyarrow, kind.field(index).type)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))
