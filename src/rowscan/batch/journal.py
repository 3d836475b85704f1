"""Journal: what was read on forms so far, a line for each picture, in a file beside the output.

A run that was interrupted goes on from it, and the output is written from it.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rowscan.errors import OutputError, UsageError, reason_of
from rowscan.io.storage import read_bytes

Row = Mapping[str, Any]
"""A form as `FormReading.to_dict` has it, with the path of its picture."""


class Journal:
    """A file to which pictures are added.

    Attributes:
        done: the pictures that it has.
        failed: the number of them of which something could not be read.
    """

    def __init__(self, path: Path, forms: Sequence[Path]) -> None:
        """Open or create the file. A line that is cut off at its end is removed.

        Args:
            path: the file.
            forms: the files that describe the forms, and their blanks; they must not change between
                runs.

        Raises:
            DataError: a file of the forms cannot be read.
            UsageError: a file of another kind, or of other forms; or it cannot be written, or
                another run writes it.
        """
        self.path = path
        self.done: set[str] = set()
        self.failed = 0
        head = json.dumps({"rowscan": "forms", "read_with": digest(forms)}) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b" if path.exists() else "w+b")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {reason_of(error)}") from None
        try:
            self._lock()
            self._resume(head)
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Refuse a second run at the same time: each would add what the other has read."""
        if sys.platform == "win32":
            return
        import fcntl

        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{self.path}: another run is writing it") from None

    def _resume(self, head: str) -> None:
        first = self._file.readline()
        if not first.endswith(b"\n"):
            if not head.encode().startswith(first):
                raise UsageError(f"{self.path}: not the journal of a reading of forms")
            self._file.truncate(0)
            self._file.seek(0)
            self._put(head)
            return
        if first != head.encode():
            raise UsageError(
                f"{self.path}: it was read with another form.toml or blank; remove it to read all "
                "again"
            )
        end = self._file.tell()
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            picture = _decoded(self.path, line)
            self.done.add(picture["path"])
            self.failed += any(form.get("status") == "error" for form in picture["forms"])
            end += len(line)
        self._file.truncate(end)
        self._file.seek(end)

    def add(self, path: str, forms: Sequence[Row]) -> None:
        """Add a picture, whole.

        Raises:
            OutputError: the file cannot be written.
        """
        self._put(json.dumps({"path": path, "forms": list(forms)}) + "\n")

    def rows(self) -> Iterator[Row]:
        """All forms of all pictures, in the order in which they were read."""
        with self.path.open("rb") as file:
            file.readline()
            for line in file:
                picture = _decoded(self.path, line)
                for form in picture["forms"]:
                    yield {"path": picture["path"]} | form

    def close(self) -> None:
        """Close the file; it stays, so that more pictures can be added."""
        self._file.close()

    def _put(self, text: str) -> None:
        try:
            self._file.write(text.encode())
            self._file.flush()
        except OSError as error:
            raise OutputError(self.path, f"cannot be written: {reason_of(error)}") from None


def _decoded(path: Path, line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
        return {"path": str(values["path"]), "forms": list(values["forms"])}
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path}: a damaged line; remove the file to read all again") from None


def digest(forms: Sequence[Path]) -> str:
    """Tells whether a form.toml or a blank has changed."""
    content = hashlib.sha256()
    for path in forms:
        content.update(os.fsencode(path.name) + read_bytes(path))
    return content.hexdigest()
