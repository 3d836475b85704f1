"""Results: where a run puts what it reads, page after page."""

import os
from abc import ABC, abstractmethod
from pathlib import Path

from rowscan.errors import UsageError, reason_of
from rowscan.reading import Reading


class Results(ABC):
    """Takes pages in the order of the pictures.

    Attributes:
        on_terminal: whether they go to a terminal.
        resumed: the number of pictures that are already there, from an interrupted run.
        failed: the number of them that could not be read.
    """

    on_terminal: bool = False
    resumed: int = 0
    failed: int = 0

    def has(self, path: str, *, pages: bool = False) -> bool:
        """Whether all of a picture is there, which can have several pages with `pages`."""
        return False

    def begun(self, path: str) -> bool:
        """Whether some of a picture is there from an earlier run."""
        return False

    @abstractmethod
    def write(self, path: str, reading: Reading, *, fresh: bool = False) -> None:
        """Add a page that an earlier run did not write; with `fresh`, in any case.

        Raises:
            OutputError: it cannot be written.
        """

    @abstractmethod
    def write_failure(self, path: str, page: int, reason: str, *, fresh: bool = False) -> None:
        """As `write`, of a page that could not be read."""

    @abstractmethod
    def close(self) -> None:
        """Finish, also after an interruption: what was read is kept."""


def prepared(path: Path) -> Path:
    """A path for a new file, in a folder that exists.

    Raises:
        UsageError: the file exists, so that a result or a correction would be lost; or it cannot be
            written.
    """
    if path.exists():
        raise UsageError(
            f"{path}: the file exists; this format cannot be continued: name another, or remove it"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {reason_of(error)}") from None
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: cannot be written: Permission denied")
    return path
