"""The errors that Rowscan raises on purpose: each is one line that a person can act on.

Any other exception that reaches the user is a bug. The command prints these without a traceback.
Each error carries its parts, so that nobody takes a message apart again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RowscanError(Exception):
    """Base of all errors of Rowscan.

    Attributes:
        reason: what went wrong, without the path.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class UsageError(RowscanError):
    """The call makes no sense: an unknown recipe, a wrong key, a wrong type."""


class MissingExtraError(RowscanError):
    """An optional part of Rowscan is not installed; the message says how to install it.

    Attributes:
        package: the package that is missing.
        extra: the extra of Rowscan that installs it.
    """

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(f"{purpose} needs {package}: pip install {_installable(package, extra)}")
        self.args = purpose, package, extra
        self.package = package
        self.extra = extra


def _installable(package: str, extra: str) -> str:
    """What pip installs an extra from: where Rowscan itself came from."""
    import json  # only for this message, as the next one
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        origin = json.loads(distribution("rowscan").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):  # used from a folder, not installed
        return package
    url = str(origin.get("url", ""))
    if origin.get("dir_info", {}).get("editable"):
        return f"-e '{url.removeprefix('file://')}[{extra}]'"
    return f"'rowscan[{extra}] @ {url}'" if url else f"'rowscan[{extra}]'"


class FileError(RowscanError):
    """A file, folder or address that cannot be used. The message begins with its path.

    Attributes:
        path: the file, folder, address, or the name of an argument; None where there is none.
        reason: what is wrong with it, without the path.
    """

    def __init__(self, path: str | Path | None, reason: str) -> None:
        super().__init__(reason)
        self.args = path, reason
        self.path = None if path is None else str(path)

    def __str__(self) -> str:
        return self.reason if self.path is None else f"{self.path}: {self.reason}"


class DataError(FileError):
    """Data or a picture that is missing, damaged, or of an unsupported kind."""


class UnsupportedFormatError(DataError):
    """A file that is not a picture of a supported format."""


class TooLargeError(DataError):
    """A picture with more pixels, or a document with more pages, than allowed."""


class ModelError(FileError):
    """A file that is not a model file, is damaged, or holds a model of another kind."""


class OutputError(FileError):
    """A file that cannot be written, or a run directory that cannot be used."""


def reason_of(error: BaseException) -> str:
    """Why something failed, on one line; of a system error its description without the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    for kind, number in ((FileNotFoundError, 2), (PermissionError, 13)):  # as fsspec raises them
        if isinstance(error, kind):
            return os.strerror(number)
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def requires(extra: str, purpose: str) -> Iterator[None]:
    """Around the import of an optional package: says which extra installs it if it is missing.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "rowscan"):
            raise
        raise MissingExtraError(purpose, package, extra) from None
