"""The compiled training step of an LSTM: hands arrays to `lstm_step.cpp`, and owns no mathematics.

Where the library cannot be built, one line on standard error says why, and an engine uses its own
step.
"""

import ctypes
import functools
import os
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from rowscan.arrays import Float, Int64, UInt8
from rowscan.training.engines.by_hand import lstm_layers
from rowscan.training.engines.compiler import CompilerError, load_compiled

Real = Literal["float", "double"]
Floats = Float[np.ndarray, "..."]

RULES = ("adam", "adadelta", "sgd")
"""The optimisers that the step knows, in the order of `Rule` in lstm_step.cpp."""


@functools.cache
def load_library(real: Real) -> ctypes.CDLL:
    """The library for float32 (`float`) or float64 (`double`).

    Raises:
        CompilerError: it cannot be built here.
    """
    library = load_compiled(Path(__file__).with_name("lstm_step.cpp"), f"REAL={real}")
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    library.lstm_make.restype, library.lstm_make.argtypes = pointer, [pointer]
    library.lstm_free.argtypes = [pointer]
    library.lstm_bind.argtypes = [pointer, pointer]
    library.lstm_load.argtypes = [pointer, pointer, pointer, integer, pointer]
    library.lstm_step.restype = ctypes.c_bool
    library.lstm_step.argtypes = [pointer, pointer, integer, ctypes.c_double, pointer, pointer]
    return library


@functools.cache
def find_library() -> ctypes.CDLL | None:
    """The library for float32; where there is none, None, and a line that says why."""
    try:
        return load_library("float")
    except CompilerError as error:
        line = f"rowscan: the compiled training step is not available ({error}): PyTorch's is used"
        print(line, file=sys.stderr, flush=True)
        return None


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
