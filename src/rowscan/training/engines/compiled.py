"""The compiled training step of an LSTM: owns the library made of `lstm_step.cpp`, no mathematics.

The user's C++ compiler builds the library when it is first needed, for the processor at hand. It
stays in the user's cache folder under a name that depends on source, compiler and processor. Where
it cannot be built, one line on standard error says why, and an engine uses its own step.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from rowscan.arrays import Float, Int64, UInt8
from rowscan.errors import RowscanError, reason_of
from rowscan.io.atomic import write_atomically
from rowscan.training.engines.by_hand import lstm_layers

Real = Literal["float", "double"]
Floats = Float[np.ndarray, "..."]

RULES = ("adam", "adadelta", "sgd")
"""The optimisers that the step knows, in the order of `Rule` in lstm_step.cpp."""

_SOURCE = Path(__file__).with_name("lstm_step.cpp")
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi")
_LIBRARY = ("-shared", "-fPIC", "-pthread")
_FOR_THIS_PROCESSOR = ("-march=native", "-mcpu=native", "")
"""What compilers call it; the first that this one accepts is used."""
_SECONDS = 300


class CompiledStep:
    """Training steps on the CPU, which change the caller's arrays in place.

    The threads each take a share of a batch. The result depends on their number, by rounding, but
    never on their timing.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        *,
        weights: Mapping[str, Floats],
        optimizer: str,
        state: Mapping[str, Sequence[Floats]],
        time: int,
        threads: int,
    ) -> None:
        """Take the arrays, all contiguous and of the library's type.

        Args:
            library: what `load_library` returns.
            weights: of an LSTM and its head, as in `engines.interface.Arrays`.
            optimizer: one of `RULES`, with torch's defaults.
            state: for each of the weights that are trained what the optimiser remembers, of the
                same shape (adam: means of g and g²; adadelta: means of g² and of squared steps;
                sgd: nothing), and then its number of steps, an array of one.
            time: steps of the sequence.
            threads: of the processor.
        """
        layers = lstm_layers(weights)
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        names = [f"lstm.{kind}_l{layer}" for layer in range(layers) for kind in kinds]
        names += ["head.weight", "head.bias"]
        (classes, hidden), features = weights[names[-2]].shape, weights[names[0]].shape[1]
        sizes = (time, features, hidden, layers, classes, threads, RULES.index(optimizer))
        self._arrays = [array for name in names for array in (weights[name], *state.get(name, ()))]
        self._real, self._classes, self._length = self._arrays[0].dtype, classes, time * features
        assert all(a.flags.c_contiguous and a.dtype == self._real for a in self._arrays)
        self._library = library
        self._training = library.lstm_make((ctypes.c_int64 * len(sizes))(*sizes))
        self._close = weakref.finalize(self, _free, library, self._training, os.getpid())
        parameters = [_parameter(weights[name], state.get(name)) for name in names]
        library.lstm_bind(self._training, (_Parameter * len(names))(*parameters))
        self._loss, self._correct = ctypes.c_double(), ctypes.c_int64()

    def load_images(
        self,
        sequences: UInt8[np.ndarray, "n pixel"],
        labels: Int64[np.ndarray, " n"],
        levels: Float[np.ndarray, " 256"],
    ) -> None:
        """Take the images in reading order, and what the network sees of each grey level."""
        assert sequences.shape == (len(labels), self._length)
        assert levels.dtype == self._real
        assert 0 <= labels.min(initial=0) <= labels.max(initial=0) < self._classes
        self._images = tuple(map(np.ascontiguousarray, (sequences, labels, levels)))
        pixels, classes, values = (array.ctypes.data for array in self._images)
        self._library.lstm_load(self._training, pixels, classes, len(labels), values)

    def step(self, batch: Int64[np.ndarray, " batch"], learning_rate: float) -> tuple[float, int]:
        """One optimiser step; mean loss (nats) and number of correct answers before it.

        Raises:
            IndexError: the batch has an image that was not loaded; nothing was changed.
        """
        batch = np.ascontiguousarray(batch)
        loss, correct = ctypes.byref(self._loss), ctypes.byref(self._correct)
        address, n = batch.ctypes.data, len(batch)
        if not self._library.lstm_step(self._training, address, n, learning_rate, loss, correct):
            raise IndexError("the batch has an image that was not loaded")
        return self._loss.value, self._correct.value


class _Parameter(ctypes.Structure):
    """`Parameter` in lstm_step.cpp."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("second", ctypes.c_void_p),
        ("steps", ctypes.c_void_p),
        ("trained", ctypes.c_int64),
    )


def _parameter(weights: Floats, state: Sequence[Floats] | None) -> _Parameter:
    parameter = _Parameter(weights=weights.ctypes.data, trained=state is not None)
    if state:
        *moments, steps = (array.ctypes.data for array in state)
        parameter.steps = steps
        parameter.first, parameter.second = moments or (None, None)
    return parameter


def _free(library: ctypes.CDLL, training: int, process: int) -> None:
    if os.getpid() == process:  # a fork has no copy of the threads that it would wait for
        library.lstm_free(training)


# --- The library --------------------------------------------------------------------------------


class CompilerError(RowscanError):
    """The library cannot be built or loaded here."""


@functools.cache
def find_library() -> ctypes.CDLL | None:
    """The library for float32, or None where it cannot be had: then a line says why."""
    try:
        return load_library("float")
    except CompilerError as error:
        line = f"rowscan: the compiled training step is not available ({error}): PyTorch's is used"
        print(line, file=sys.stderr, flush=True)
        return None


@functools.cache
def load_library(real: Real) -> ctypes.CDLL:
    """The library for float32 (`float`) or float64 (`double`), which is built if it is not cached.

    Raises:
        CompilerError: there is no compiler, it fails, or the cache folder cannot be used.
    """
    import filelock
    import platformdirs

    compiler = _compiler()
    folder = platformdirs.user_cache_path("rowscan", appauthor=False) / "compiled"
    path = folder / f"lstm-step-{real}-{_fingerprint(compiler)}.so"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(path.with_suffix(".lock"), timeout=_SECONDS):
                if not path.exists():  # another process may have built it meanwhile
                    write_atomically(path, _compiled(compiler, real))
        library = ctypes.CDLL(str(path))
    except (OSError, RowscanError, NotImplementedError) as error:
        raise CompilerError(reason_of(error)) from None
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    library.lstm_make.restype, library.lstm_make.argtypes = pointer, [pointer]
    library.lstm_free.argtypes = [pointer]
    library.lstm_bind.argtypes = [pointer, pointer]
    library.lstm_load.argtypes = [pointer, pointer, pointer, integer, pointer]
    library.lstm_step.restype = ctypes.c_bool
    library.lstm_step.argtypes = [pointer, pointer, integer, ctypes.c_double, pointer, pointer]
    return library


def _compiler() -> list[str]:
    """The command of a C++ compiler."""
    if chosen := shlex.split(os.environ.get("CXX", "")):
        return chosen
    for name in _COMPILERS:
        if found := shutil.which(name):
            return [found]
    raise CompilerError("no C++ compiler found; expected c++, or its name in CXX")


def _fingerprint(compiler: Sequence[str]) -> str:
    """What the library depends on, hashed: source, options, compiler and processor."""
    parts = [_SOURCE.read_bytes(), repr((_FLAGS, _LIBRARY, compiler)).encode()]
    parts.append(_run([*compiler, "--version"]).encode())
    parts.append(repr((platform.system(), platform.machine(), platform.processor())).encode())
    information = Path("/proc/cpuinfo")
    if information.exists():  # all cores are alike, and this is the first one's part
        lines = information.read_text(errors="replace").partition("\n\n")[0].splitlines()
        kept = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
        parts.append("\n".join(kept).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _compiled(compiler: Sequence[str], real: Real) -> bytes:
    """The library, built for this processor if the compiler can, else for all of its kind."""
    with tempfile.TemporaryDirectory(prefix="rowscan-") as folder:
        out = Path(folder) / "library"
        for processor in _FOR_THIS_PROCESSOR:
            flags = [*_FLAGS, *_LIBRARY, f"-DREAL={real}", *filter(None, [processor])]
            try:
                _run([*compiler, *flags, str(_SOURCE), "-o", str(out)])
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
