"""The compiled training step of an LSTM: hands arrays to `lstm_step.cpp`, and owns no mathematics.

Where the library cannot be built, one line on standard error says why, and an engine uses its own
step.
"""

import ctypes
import functools
import os
import sys
import weakref
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from rowscan.arrays import Float, Int64, UInt8
from rowscan.training.engines.by_hand import lstm_layers
from rowscan.training.engines.compiler import CompilerError, load_compiled

Real = Literal["float", "double"]
Floats = Float[np.ndarray, "..."]

STATE = {
    "adam": ("exp_avg", "exp_avg_sq", "step"),
    "adadelta": ("square_avg", "acc_delta", "step"),
    "sgd": (),
}
"""The optimisers of the step, in the order of `Rule` in lstm_step.cpp, and what torch calls their
state."""


@functools.cache
def load_library(real: Real) -> ctypes.CDLL:
    """The library for float32 (`float`) or float64 (`double`).

    Raises:
        CompilerError: it cannot be built here.
    """
    library = load_compiled(Path(__file__).with_name("lstm_step.cpp"), f"REAL={real}")
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    library.lstm_make.restype, library.lstm_make.argtypes = pointer, [pointer, pointer]
    library.lstm_free.argtypes = [pointer]
    library.lstm_bind.argtypes = [pointer, pointer]
    library.lstm_load.argtypes = [pointer, pointer, pointer, integer]
    library.lstm_belief.argtypes = [pointer, pointer, integer, pointer]
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
    """Training steps on the CPU, with torch's defaults. They change the caller's weights in place.

    The threads each take a share of a batch. The result depends on their number, by rounding, but
    never on their timing.

    Attributes:
        state: what the optimiser remembers, as `NAME.KEY`, by torch's names. It may be filled.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        *,
        weights: Mapping[str, Floats],
        trained: Collection[str],
        optimizer: str,
        levels: Float[np.ndarray, " 256"],
        time: int,
        threads: int,
    ) -> None:
        """Begin a training.

        Args:
            library: what `load_library` returns.
            weights: of an LSTM and its head, named as in `engines.interface.Arrays`; contiguous,
                and of the library's type.
            trained: names of those that a step changes.
            optimizer: a key of `STATE`.
            levels: what the network sees of each grey level.
            time: steps of the sequence.
            threads: of the processor.
        """
        layers = lstm_layers(weights)
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        names = [f"lstm.{kind}_l{layer}" for layer in range(layers) for kind in kinds]
        names += ["head.weight", "head.bias"]
        self._weights = [weights[name] for name in names]
        assert all(w.flags.c_contiguous and w.dtype == levels.dtype for w in self._weights)
        self.state = {
            f"{name}.{key}": np.zeros(() if key == "step" else weights[name].shape, levels.dtype)
            for name in names
            for key in STATE[optimizer]
            if name in trained
        }
        (classes, hidden), features = weights["head.weight"].shape, self._weights[0].shape[1]
        self._real, self._shape, self._pixels = levels.dtype, (time, classes), time * features
        sizes = (time, features, hidden, layers, classes, threads, [*STATE].index(optimizer))
        c_sizes = (ctypes.c_int64 * len(sizes))(*sizes)
        self._library = library
        self._training = library.lstm_make(c_sizes, levels.ctypes.data)
        self._close = weakref.finalize(self, _free, library, self._training, os.getpid())
        parameters = (_Parameter * len(names))()
        for parameter, name in zip(parameters, names, strict=True):
            parameter.weights = weights[name].ctypes.data
            parameter.trained = name in trained
            if name in trained:
                for field, key in zip(("first", "second", "steps"), STATE[optimizer], strict=False):
                    setattr(parameter, field, self.state[f"{name}.{key}"].ctypes.data)
        library.lstm_bind(self._training, parameters)
        self._loss, self._correct = ctypes.c_double(), ctypes.c_int64()

    def load_images(
        self, sequences: UInt8[np.ndarray, "n pixel"], labels: Int64[np.ndarray, " n"]
    ) -> None:
        """Take the training images, in reading order."""
        assert sequences.shape == (len(labels), self._pixels)
        assert 0 <= labels.min(initial=0) <= labels.max(initial=0) < self._shape[1]
        self._images = np.ascontiguousarray(sequences), np.ascontiguousarray(labels)
        addresses = [array.ctypes.data for array in self._images]
        self._library.lstm_load(self._training, *addresses, len(labels))

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

    def belief(self, sequences: UInt8[np.ndarray, "n pixel"]) -> Float[np.ndarray, "n time class"]:
        """Probabilities after each step, for images in reading order."""
        sequences = np.ascontiguousarray(sequences)
        assert sequences.shape[1] == self._pixels
        belief = np.empty((len(sequences), *self._shape), self._real)
        pixels, out = sequences.ctypes.data, belief.ctypes.data
        self._library.lstm_belief(self._training, pixels, len(sequences), out)
        return belief


class _Parameter(ctypes.Structure):
    """`Parameter` in lstm_step.cpp."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("second", ctypes.c_void_p),
        ("steps", ctypes.c_void_p),
        ("trained", ctypes.c_int64),
    )


def _free(library: ctypes.CDLL, training: int, process: int) -> None:
    if os.getpid() == process:  # a fork has no copy of the threads that it would wait for
        library.lstm_free(training)
