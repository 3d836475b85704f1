"""Shards: files that hold many pictures, extracted one at a time. It decodes none.

A WebDataset shard is a tar file, compressed or not; its pictures are the members with the name of
one. A Parquet shard has a column `image`, as data sets on the Hugging Face Hub: the content of a
file, or a struct of `bytes` and `path`.

The path of a picture is that of the shard with the name of the member, `shard.tar/7.png`, or the
number of the row, `shard.parquet/0`.
"""

import io
import tarfile
from collections.abc import Iterator
from typing import IO, Any

from rowscan.batch.items import End, Picture
from rowscan.errors import DataError, MissingExtraError, reason_of
from rowscan.io import parquet
from rowscan.io.parquet import ReadingsError
from rowscan.io.pictures import is_picture_name
from rowscan.io.storage import MAX_BYTES, TOO_MANY_BYTES, open_binary

_TAR = (".tar", ".tar.gz", ".tgz")
_PARQUET = (".parquet",)
_GZIP = b"\x1f\x8b"
_BYTES, _TIMES = 300_000_000, 20
"""Bytes that every shard may unpack to, and how many times as many as it has: pictures hardly get
smaller."""
_PICTURES, _SMALLEST = 1_000, 30
"""Pictures that every shard may hold, and the bytes that it has for each further one."""


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
        for name, content in (_in_tar if shard.lower().endswith(_TAR) else _in_parquet)(shard):
            found = True
            yield Picture(f"{shard}/{name}", content)
    except ReadingsError:
        yield End(shard, left_out="readings of earlier runs")
        return
    except (DataError, MissingExtraError) as problem:
        error = problem.reason
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


class _Unpacked:
    """Counts what comes out of a shard: of a few MB it can be TBs."""

    def __init__(self, shard: str) -> None:
        self._shard = shard
        self._bytes = self._pictures = 0

    def add(self, size: int, packed: int, *, picture: bool = True) -> None:
        """Count a member of this size; `packed` are the bytes of the shard, as far as it is read.

        Raises:
            DataError: it is far more than it may be.
        """
        self._bytes += size
        self._pictures += picture
        if (
            self._bytes > _BYTES + _TIMES * packed
            or self._pictures > _PICTURES + packed / _SMALLEST
        ):
            raise DataError(self._shard, "it unpacks to far more than it is; the rest is not read")


class _Source:
    """A file that is read from start to end.

    Attributes:
        is_gzip: whether it begins like gzip, whatever its name: some programs unpack files and
            leave their names.
        taken: the bytes read so far.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._head = file.read(len(_GZIP))
        self.is_gzip = self._head == _GZIP
        self.taken = len(self._head)

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size` of them."""
        if not self._head:
            content = self._file.read(size)
            self.taken += len(content)
            return content
        content, self._head = self._head[:size], self._head[size:]
        return content


def _in_tar(shard: str) -> Iterator[tuple[str, bytes]]:
    unpacked = _Unpacked(shard)
    with open_binary(shard, streamed=True) as file:
        source = _Source(file)
        # Other compressions can ask for GBs of memory.
        mode = "r|gz" if source.is_gzip else "r|"
        with tarfile.open(fileobj=source, mode=mode, tarinfo=_Header) as members:  # type: ignore[call-overload]
            for member in members:
                hidden = any(part.startswith(".") for part in member.name.split("/") if part != ".")
                picture = member.isfile() and not hidden and is_picture_name(member.name)
                if picture and member.size > MAX_BYTES:
                    raise DataError(shard, f"{member.name}: {TOO_MANY_BYTES}; the rest is not read")
                unpacked.add(member.size + tarfile.BLOCKSIZE, source.taken, picture=picture)
                if picture:
                    content = members.extractfile(member)
                    assert content is not None
                    yield member.name.removeprefix("./"), content.read()


def _in_parquet(shard: str) -> Iterator[tuple[str, bytes]]:
    unpacked = _Unpacked(shard)
    with open_binary(shard) as file:
        packed = file.seek(0, io.SEEK_END)
    for row, content in enumerate(parquet.pictures(shard)):
        unpacked.add(len(content), packed)
        yield str(row), content
