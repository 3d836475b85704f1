"""A C++ source to a library: owns the call of the user's compiler and the cache of what it built.

A library is built when it is first needed, for the processor at hand. It stays in the user's cache
folder, under a name that depends on source, compiler and processor.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rowscan.errors import OutputError, RowscanError, reason_of
from rowscan.io.atomic import write_atomically

_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = (
    *("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi"),
    *("-shared", "-fPIC", "-pthread"),
)
_FOR_THIS_PROCESSOR: tuple[list[str], ...] = (["-march=native"], ["-mcpu=native"], [])
"""What compilers call it. The first that this one takes is used; the last is for any processor."""
_SECONDS = 300


class CompilerError(RowscanError):
    """A library cannot be built or loaded here."""


def load_compiled(source: Path, *definitions: str) -> ctypes.CDLL:
    """The library of one source file, built now if the cache has none. Several processes build one.

    Args:
        source: the file.
        definitions: macros, as `NAME=VALUE`.

    Raises:
        CompilerError: there is no compiler, it fails, or the cache folder cannot be used.
    """
    import filelock
    import platformdirs

    compiler = _compiler()
    flags = [*_FLAGS, *(f"-D{definition}" for definition in definitions)]
    name = f"{source.stem}-{_fingerprint(source, compiler, flags)}"
    path = platformdirs.user_cache_path("rowscan", appauthor=False) / "compiled" / f"{name}.so"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(path.with_suffix(".lock"), timeout=_SECONDS):
                if not path.exists():  # another process may have built it meanwhile
                    write_atomically(path, _build(source, [*compiler, *flags]))
        return ctypes.CDLL(str(path))
    except (OSError, NotImplementedError) as error:
        raise CompilerError(reason_of(error)) from None
    except OutputError as error:
        raise CompilerError(str(error)) from None


def _compiler() -> list[str]:
    """The command of a C++ compiler."""
    if chosen := shlex.split(os.environ.get("CXX", "")):
        return chosen
    for name in _COMPILERS:
        if found := shutil.which(name):
            return [found]
    raise CompilerError("no C++ compiler found; expected c++, or its name in CXX")


def _fingerprint(source: Path, compiler: Sequence[str], flags: Sequence[str]) -> str:
    """A hash of what a library depends on: source, compiler, options and processor."""
    parts = [source.read_text(encoding="utf-8"), *flags, _run([*compiler, "--version"])]
    parts += [platform.system(), platform.machine(), platform.processor()]
    information = Path("/proc/cpuinfo")
    if information.exists():  # up to the first empty line: the first core
        lines = information.read_text(errors="replace").partition("\n\n")[0].splitlines()
        parts += [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _build(source: Path, command: Sequence[str]) -> bytes:
    """The library, for this processor if the compiler knows how, else for any of its kind."""
    failure = CompilerError("")
    with tempfile.TemporaryDirectory(prefix="rowscan-") as folder:
        out = Path(folder) / "library"
        for processor in _FOR_THIS_PROCESSOR:
            try:
                _run([*command, *processor, str(source), "-o", str(out)])
                return out.read_bytes()
            except CompilerError as error:
                failure = error
    raise failure


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerError(f"{command[0]}: {reason_of(error)}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [""]
        raise CompilerError(f"{command[0]} failed: {lines[0]}".rstrip(": "))
    return done.stdout
