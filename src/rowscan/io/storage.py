"""Places: where pictures lie and results go, on this machine or behind an address. No formats.

An address is what fsspec understands, `s3://bucket/scans/7.png`. All else is a path, and fsspec is
not imported for it.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rowscan.errors import DataError, OutputError, RowscanError, requires
from rowscan.io.atomic import write_atomically

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters: `C:/` is a drive
_WEB = ("http://", "https://")


def is_address(place: str) -> bool:
    """Whether it is an address, not a path on this machine."""
    return _ADDRESS.match(place) is not None


def read_bytes(place: str | Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: it cannot be read.
        MissingExtraError: its address needs a package that is not installed.
    """
    try:
        if isinstance(place, Path) or not is_address(place):
            return Path(place).read_bytes()
        system, path = _system(place)
        return bytes(system.cat_file(path))
    except RowscanError:
        raise
    except Exception as error:  # each back end of fsspec has exceptions of its own
        raise DataError(place, reason(error)) from None


def open_binary(place: str | Path, *, streamed: bool = False) -> IO[bytes]:
    """The file, open for reading.

    Args:
        place: a path or an address.
        streamed: it will be read from its beginning to its end, never back: a web server then need
            not be able to give parts of it.

    Raises:
        DataError: it cannot be opened.
        MissingExtraError: its address needs a package that is not installed.
    """
    try:
        if isinstance(place, Path) or not is_address(place):
            return Path(place).open("rb")
        system, path = _system(place)
        options = {"block_size": 0} if streamed and place.startswith(_WEB) else {}
        file: IO[bytes] = system.open(path, "rb", **options)
        return file
    except RowscanError:
        raise
    except Exception as error:
        raise DataError(place, reason(error)) from None


def is_folder(place: str) -> bool:
    """Whether a folder is there. A page of the web is one if its address ends in a stroke.

    Raises:
        DataError: nothing is there, or one may not look.
        MissingExtraError: its address needs a package that is not installed.
    """
    try:
        if not is_address(place):
            return stat.S_ISDIR(os.stat(place).st_mode)  # noqa: PTH116 - bytes that are no Unicode
        if place.startswith(_WEB):
            return place.endswith("/")
        system, path = _system(place)
        if system.isdir(path):
            return True
        system.info(path)
        return False
    except RowscanError:
        raise
    except Exception as error:
        raise DataError(place, reason(error)) from None


def entries(folder: str) -> list[tuple[str, bool]]:
    """Names in a folder, sorted by code points, each with whether it is a folder.

    On this machine a link to a folder is neither a folder nor a file, so it is left out.

    Raises:
        DataError: one cannot look into it.
    """
    try:
        if is_address(folder):
            return sorted(_remote_entries(folder))
        with os.scandir(folder) as found:
            return sorted(
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in found
                if entry.is_dir(follow_symlinks=False) or entry.is_file()
            )
    except RowscanError:
        raise
    except Exception as error:
        raise DataError(folder, reason(error)) from None


def join(folder: str, name: str) -> str:
    """The place of this name in a folder, which begins as it was given."""
    if is_address(folder):
        return f"{folder.rstrip('/')}/{name}"
    return os.path.join(folder, name)  # noqa: PTH118 - a Path would change what was given


def write(place: str, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        RowscanError: the place cannot be written.
    """
    if not is_address(place):
        write_atomically(Path(place), content)
        return
    try:
        system, path = _system(place)
        # An object store has no folders, and would make a bucket of a name that was misspelt.
        if _scheme(place) not in _STORES and not system.exists(system._parent(path)):
            system.makedirs(system._parent(path), exist_ok=True)
        system.pipe_file(path, content)  # object stores show an object when all of it is there
    except RowscanError:
        raise
    except Exception as error:
        raise OutputError(place, f"cannot be written: {reason(error)}") from None


def remove(place: str) -> None:
    """Take a file away, if it is there.

    Raises:
        RowscanError: it cannot be taken away.
    """
    try:
        if not is_address(place):
            Path(place).unlink(missing_ok=True)
            return
        system, path = _system(place)
        if system.exists(path):
            system.rm_file(path)
    except RowscanError:
        raise
    except Exception as error:
        raise OutputError(place, f"cannot be removed: {reason(error)}") from None


def reason(error: Exception) -> str:
    """Why something could not be done, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    for kind, number in ((FileNotFoundError, 2), (PermissionError, 13)):
        if isinstance(error, kind):
            return os.strerror(number)
    return " ".join(str(error).split()) or type(error).__name__


def _system(place: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    with requires("remote", f"{place}: reading an address"):
        import fsspec
    scheme = _scheme(place)
    try:
        return fsspec.core.url_to_fs(place, use_listings_cache=False)  # type: ignore[no-any-return]
    except ImportError:
        hint = _OTHERS.get(scheme, "'rowscan[remote]'")
        raise DataError(
            place, f"{scheme}:// needs a package that is not installed: pip install {hint}"
        ) from None
    except ValueError as error:
        raise DataError(place, reason(error)) from None


def _scheme(place: str) -> str:
    return place.partition("://")[0].lower()


_OTHERS = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}
"""What the extra `remote` does not bring, by the beginning of the address."""

_STORES = {"s3", "s3a", *_OTHERS}
"""Object stores."""


def _remote_entries(folder: str) -> Iterator[tuple[str, bool]]:
    system, path = _system(folder)
    for entry in system.ls(path, detail=True):
        found = str(entry["name"]).rstrip("/")
        name = found.rpartition("/")[2]
        if name and found != path.rstrip("/"):  # an object store may list the folder itself
            yield name, entry["type"] == "directory"
