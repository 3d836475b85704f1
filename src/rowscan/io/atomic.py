"""Atomic: files that appear whole or not at all: a temporary file, then a rename."""

import os
from contextlib import suppress
from pathlib import Path

from rowscan.errors import OutputError, reason_of


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path` whole or not at all, even if the power fails.

    Raises:
        OutputError: the file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:  # with the permissions of the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(path, f"cannot be written: {reason_of(error)}") from None
    finally:
        with suppress(OSError):  # nothing may be there
            temporary.unlink()
