"""Storage: reads, lists and writes files, local or behind an address. It knows no file formats.

An address is what fsspec accepts, such as `s3://bucket/scans/7.png`. Everything else is a local
path, for which fsspec is not imported.
"""

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rowscan.errors import DataError, OutputError, RowscanError, TooLargeError, reason_of, requires
from rowscan.io.atomic import write_atomically

MAX_BYTES = 250_000_000
"""Of a file that is read whole; with the picture in it, a process stays below 600 MB."""
TOO_MANY_BYTES = f"more than {MAX_BYTES // 1_000_000} MB"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # at least two letters: `C:/` is a drive
_WEB = ("http://", "https://")


def is_address(location: str) -> bool:
    """Whether it is an address, not a local path."""
    return _ADDRESS.match(location) is not None


def read_bytes(location: str | Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: it cannot be read.
        TooLargeError: it has more than `MAX_BYTES`.
        MissingExtraError: its address needs a package that is not installed.
    """
    with _errors(location):
        if isinstance(location, Path) or not is_address(location):
            with _open(location) as file:
                content = file.read(MAX_BYTES + 1)
        else:
            system, path = _system(location)
            content = bytes(system.cat_file(path, end=MAX_BYTES + 1))
    if len(content) > MAX_BYTES:
        raise TooLargeError(location, TOO_MANY_BYTES)
    return content


def _open(location: str | Path) -> io.BufferedReader:
    """A local file. Devices and pipes are refused: they may have no end."""
    path = Path(location)
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise DataError(location, "not a file but a device or a pipe; - is standard input")
    return path.open("rb")


def open_local(path: str | Path) -> io.BufferedReader:
    """A file on this machine, open for reading.

    Raises:
        DataError: it cannot be opened.
    """
    with _errors(path):
        return _open(path)


def open_binary(location: str | Path, *, streamed: bool = False) -> IO[bytes]:
    """The file, open for reading.

    Args:
        location: a path or an address.
        streamed: it will be read from start to end without seeking, so a web server need not
            support range requests.

    Raises:
        DataError: it cannot be opened.
        MissingExtraError: its address needs a package that is not installed.
    """
    with _errors(location):
        if isinstance(location, Path) or not is_address(location):
            return _open(location)
        system, path = _system(location)
        options = {"block_size": 0} if streamed and location.startswith(_WEB) else {}
        file: IO[bytes] = system.open(path, "rb", **options)
        return file


def is_folder(location: str) -> bool:
    """Whether a folder is there. A web address is one if it ends in a slash.

    Raises:
        DataError: nothing is there, or access is denied.
        MissingExtraError: its address needs a package that is not installed.
    """
    with _errors(location):
        if not is_address(location):
            return stat.S_ISDIR(os.stat(location).st_mode)  # noqa: PTH116 - names may be any bytes
        if location.startswith(_WEB):
            return location.endswith("/")
        system, path = _system(location)
        if system.isdir(path):
            return True
        system.info(path)
        return False


def entries(folder: str, *, missing_ok: bool = False) -> list[tuple[str, bool]]:
    """Names in a folder, sorted by code points, each with whether it is a folder.

    A local link to a folder is left out; one that leads nowhere counts as a file, like a pipe.

    Args:
        folder: a path or an address.
        missing_ok: a folder that does not exist has no entries.

    Raises:
        DataError: it cannot be listed.
    """
    with _errors(folder):
        try:
            if is_address(folder):
                return sorted(_remote_entries(folder))
            with os.scandir(folder) as found:
                return sorted(
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in found
                    if entry.is_dir(follow_symlinks=False) or not entry.is_dir()
                )
        except FileNotFoundError:
            if missing_ok:
                return []
            raise


def join(folder: str, name: str) -> str:
    """The location of this name in a folder, which is left as it was given."""
    if is_address(folder):
        return f"{folder.rstrip('/')}/{name}"
    return os.path.join(folder, name)  # noqa: PTH118 - a Path would normalise the folder


def write(location: str, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
        MissingExtraError: its address needs a package that is not installed.
    """
    if not is_address(location):
        write_atomically(Path(location), content)
        return
    with _errors(location, "written"):
        system, path = _system(location)
        # Object stores have no folders; creating one could create a misspelt bucket.
        if _scheme(location) not in _STORES and not system.exists(system._parent(path)):
            system.makedirs(system._parent(path), exist_ok=True)
        system.pipe_file(path, content)  # object stores show an object once it is complete


def remove(location: str) -> None:
    """Remove a file if it exists.

    Raises:
        OutputError: it cannot be removed.
        MissingExtraError: its address needs a package that is not installed.
    """
    with _errors(location, "removed"):
        if not is_address(location):
            Path(location).unlink(missing_ok=True)
            return
        system, path = _system(location)
        if system.exists(path):
            system.rm_file(path)


@contextmanager
def _errors(location: str | Path, action: str | None = None) -> Iterator[None]:
    """Turn any error into one of Rowscan: each back end of fsspec raises its own kinds."""
    try:
        yield
    except RowscanError:
        raise
    except Exception as error:
        if action is None:
            raise DataError(location, reason_of(error)) from None
        raise OutputError(location, f"cannot be {action}: {reason_of(error)}") from None


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    with requires("remote", "a file behind an address"):
        import fsspec
    scheme = _scheme(address)
    try:
        return fsspec.core.url_to_fs(address, use_listings_cache=False)  # type: ignore[no-any-return]
    except ImportError:
        package = _OTHERS.get(scheme, "'rowscan[remote]'")
        raise DataError(
            address, f"{scheme}:// needs a package that is not installed: pip install {package}"
        ) from None


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower()


_OTHERS = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}
"""Packages that the extra `remote` does not install, by scheme."""

_STORES = {"s3", "s3a", *_OTHERS}
"""Schemes of object stores."""


def _remote_entries(folder: str) -> Iterator[tuple[str, bool]]:
    system, path = _system(folder)
    for entry in system.ls(path, detail=True):
        found = str(entry["name"]).rstrip("/")
        name = found.rpartition("/")[2]
        if name and found != path.rstrip("/"):  # an object store may list the folder itself
            yield name, entry["type"] == "directory"
