"""Reader: pictures to readings. Puts together what finds the ink and the models that read it."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from rowscan import reading
from rowscan.arrays import Float32, Int64, UInt8
from rowscan.errors import DataError, ModelError
from rowscan.io.pictures import Source, open_reduced
from rowscan.reading import Reading
from rowscan.recognition import tta
from rowscan.recognition.ctc import alternatives
from rowscan.recognition.model import Model
from rowscan.scans import PATCH, SIDE
from rowscan.segmentation import page
from rowscan.segmentation.binarize import ENOUGH

_T = TypeVar("_T")
_U = TypeVar("_U")
Images = UInt8[np.ndarray, "n 28 28"]

_BATCH = 250  # images a run: bounds memory, and fits the cache: 1,000 a run took longer
_CLOSE = 0.02  # a runner-up less probable than this is none
_LEAST_SURE = 0.63  # a line each of whose digits is less sure than this is none,
_LEAST_SURE_ALONE = 0.5  # and a single digit that is less sure than this,
_LEAST = 0.2  # and one whose plausibility, times how sure each is, is less than this


def read(source: Source, *, min_confidence: float = 0.0) -> Reading:
    """The numbers in a picture, by the models that ship with Rowscan; see `Reader.read`."""
    return _shipped().read(source, min_confidence=min_confidence)


@cache
def _shipped() -> "Reader":
    return Reader()


class Reader:
    """Reads pictures of numbers, and images of single digits. Threads may share it."""

    def __init__(self, model: str | Path | None = None, *, threads: int | None = None) -> None:
        """Make a reader; of a named model, or of those that ship with Rowscan.

        Args:
            model: a model file or a run directory: then the reader can do what this model can. By
                default both shipped models, each opened when it is first needed.
            threads: processor cores to use for one answer, by default one: for the lines of a page,
                and for many single digits.

        Raises:
            ModelError: no model file, or a damaged one.
        """
        self._threads = threads or 1
        self._named = None if model is None else Model(model)

    @property
    def kind(self) -> str | None:
        """`digit` or `line`, which the named model is; None where none was named."""
        return None if self._named is None else self._named.kind

    @cached_property
    def digit_model(self) -> Model:
        """What `classify` asks.

        Raises:
            ModelError: the named model is none for single digits.
        """
        return self._model("digit")

    @cached_property
    def line_model(self) -> Model:
        """What `read` asks.

        Raises:
            ModelError: the named model is none for lines of writing.
        """
        return self._model("line")

    def _model(self, kind: str) -> Model:
        if self._named is None:
            return Model(None, kind)
        if self._named.kind != kind:
            raise ModelError(
                self._named.name, f"a model of kind {self._named.kind!r} instead of {kind!r}"
            )
        return self._named

    # Numbers in pictures

    def read(self, source: Source, *, min_confidence: float = 0.0) -> Reading:
        """The numbers in a picture; of a file with several pages, in the first.

        Args:
            source: path, content of a file, Pillow image, or uint8 array (height, width) of grey
                or (height, width, 3 or 4) of colour; the ink darker or lighter than the paper.
            min_confidence: a digit that is less sure is read as "?".

        Raises:
            DataError: no picture, a damaged one, or one of more than 100 megapixels.
        """
        return next(self.read_pages(source, min_confidence=min_confidence))

    def read_pages(self, source: Source, *, min_confidence: float = 0.0) -> Iterator[Reading]:
        """The numbers on each page of a document, one page after the other. As `read`."""
        pages = open_reduced(source, ENOUGH)
        for number, (picture, (width, height)) in enumerate(pages, start=1):
            found = page.find_lines(picture, (width, height))
            plausible = [line.plausibility for line in found]
            read = list(zip(plausible, self._spread(self._read_line, found), strict=True))
            lines = _writing(read)
            sure = [line.confidence for line in lines] or _no_writing(read)
            result = Reading(
                width=width,
                height=height,
                lines=lines,
                confidence=float(np.prod(sure)),
                page=number,
            )
            yield result.at_least(min_confidence)

    def _read_line(self, line: page.Line) -> reading.Line:
        probabilities, found = tta.read_line(partial(line_probabilities, self.line_model), line.ink)
        step = -(-line.ink.shape[1] // PATCH) * PATCH / len(probabilities)
        columns = _columns(line.ink, [(a * step, (b + 1) * step) for a, b in found.spans])
        digits = []
        for digit, odds, (start, stop) in zip(
            found.digits, alternatives(probabilities, found.digits), columns, strict=True
        ):
            others = np.where(np.arange(10) == digit, 0, odds[1:])
            second = int(others.argmax())
            digits.append(
                reading.Digit(
                    digit=str(digit),
                    confidence=float(odds[digit + 1]),
                    box=line.box_of(start, stop),
                    runner_up=(str(second), float(others[second]))
                    if others[second] >= _CLOSE
                    else None,
                )
            )
        return reading.Line(tuple(digits), found.probability, line.box)

    # Single digits

    def classify(
        self, images: UInt8[np.ndarray, "n 28 28"]
    ) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n 10"]]:
        """The digit in each image, and the probabilities of all ten.

        Args:
            images: normalised images, as `ink.normalise_digit` gives them.

        Raises:
            DataError: an array of another type or shape.
        """
        probabilities = self.predict_proba(images)
        return probabilities.argmax(1), probabilities

    def predict_proba(self, images: UInt8[np.ndarray, "n 28 28"]) -> Float32[np.ndarray, "n 10"]:
        """Probabilities of the ten digits for each image.

        A model whose recipe says so uses test-time augmentation where it is not sure.

        Raises:
            DataError: an array of another type or shape.
        """
        if self.digit_model.recipe.get("look_again"):
            return tta.predict_proba(self._one_look, images)
        return self._one_look(images)

    def _one_look(self, images: Images) -> Float32[np.ndarray, "n 10"]:
        return np.concatenate(self._run("probabilities", images))

    @property
    def steps_through(self) -> bool:
        """Whether the digit model reads step by step of its scan, not all at once."""
        return "belief" in self.digit_model.outputs

    def belief(self, images: UInt8[np.ndarray, "n 28 28"]) -> Float32[np.ndarray, "n time 10"]:
        """Probabilities of the ten digits after each step of the scan; the last are the answer.

        A network that sweeps the image from all sides has no step at which it knows the first rows
        and no others. Its belief is what it answers when only the first row is uncovered, then the
        first two, and so on to the whole image: time is 28.

        Raises:
            DataError: an array of another type or shape.
        """
        if self.steps_through:
            return np.concatenate(self._run("belief", images))
        _check(images)
        rows = np.tri(SIDE, dtype=np.uint8)[:, :, None]
        parts = [self.predict_proba(image * rows)[None] for image in images]
        return np.concatenate([np.empty((0, SIDE, 10), np.float32), *parts])

    # Beliefs are computed even when nobody asks for them, 7% of the time of an answer: ONNX Runtime
    # heeds `only_execute_path_to_fetches` only in builds for training.
    def _run(self, output: str, images: Images) -> list[Float32[np.ndarray, "..."]]:
        _check(images)
        if not len(images):  # a graph need not bear an empty batch, but knows its output's shape
            return [self.digit_model.run(output, np.zeros((1, SIDE, SIDE), np.uint8))[:0]]
        return self._spread(
            lambda start: self.digit_model.run(
                output, np.ascontiguousarray(images[start : start + _BATCH])
            ),
            range(0, len(images), _BATCH),
        )

    def _spread(self, work: Callable[[_T], _U], items: Sequence[_T]) -> list[_U]:
        """The work on each, on as many cores as this reader uses."""
        first = [work(item) for item in items[:1]]  # which opens the model, once
        if self._threads == 1 or len(items) < 2:
            return first + [work(item) for item in items[1:]]
        with ThreadPoolExecutor(self._threads) as pool:
            return first + list(pool.map(work, items[1:]))


def _writing(read: list[tuple[float, reading.Line]]) -> tuple[reading.Line, ...]:
    """The lines that are writing, by how plausible they are and how sure the model is of them.

    What is found in a picture beside its writing, stains, the fold of a book, words, is often
    taken for a single digit, most often a 1. So one digit alone must be surer than several, and
    about as high as the best line. Where that line is the only one that is a number beyond doubt,
    everything else must be surer still, and a bare stroke stand above or below it. A number of
    three digits and more that is beyond doubt may be as small as it likes.
    """
    some = [
        (plausibility, line)
        for plausibility, line in read
        if line.digits and plausibility * _each(line) >= _LEAST
        if _each(line) >= (_LEAST_SURE if len(line.digits) > 1 else _LEAST_SURE_ALONE)
    ]
    if not some:
        return ()

    def evidence(entry: tuple[float, reading.Line]) -> float:
        plausibility, line = entry
        bare = 0.3 if _is_bare(line) else 1.0
        return float(plausibility * line.confidence * bare * line.box[3] ** 0.5)

    best = max(some, key=evidence)[1]
    x, _, width, height = best.box
    numbers = [
        line
        for plausibility, line in some
        if len(line.digits) > 1 and not _is_bare(line) and plausibility >= 0.6
        if _each(line) >= 0.9 and line.box[3] >= 0.6 * height
    ]
    several = len(numbers) > 1
    kept = []
    for plausibility, line in some:
        highest = math.inf
        if _is_little(line):
            highest = 2.0
            likely, sure, high = (0.75, 0.6, 0.6) if several else (0.9, 0.9, 0.75)
            aside = line.box[0] >= x + width or line.box[0] + line.box[2] <= x
            if aside and _is_bare(line) and not several:
                high = math.inf
        else:
            likely, sure, high = (0.4, 0.7, 0.0) if several else (0.6, 0.8, 0.0)
            if len(line.digits) > 2 and _each(line) >= 0.95:
                likely = 0.2
        alike = high <= line.box[3] / height <= highest
        if line is best or (alike and plausibility >= likely and _each(line) >= sure):
            kept.append(line)
    return tuple(kept)


def _no_writing(read: list[tuple[float, reading.Line]]) -> list[float]:
    """How sure it is that none of the lines, of which none was kept, holds digits."""
    empty = [line.confidence for _, line in read if not line.digits][:1]
    return empty + [1 - plausibility * _each(line) for plausibility, line in read if line.digits]


def _each(line: reading.Line) -> float:
    """The confidence of one of a line's digits, if all were as sure."""
    return math.pow(line.confidence, 1 / len(line.digits))


def _is_little(line: reading.Line) -> bool:
    """A single digit, or nothing but strokes."""
    return len(line.digits) == 1 or _is_bare(line)


def _is_bare(line: reading.Line) -> bool:
    """Nothing but strokes."""
    return set(line.text) == {"1"}


def line_probabilities(
    model: Model, ink: UInt8[np.ndarray, "n 32 width"]
) -> Float32[np.ndarray, "n time 11"]:
    """What a line model says at each step of some lines: of no digit, and of each of the ten."""
    padded = np.pad(ink, ((0, 0), (0, 0), (0, -ink.shape[2] % PATCH)))
    return model.run("probabilities", padded)


def _check(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError("images", f"expected uint8 (n, 28, 28), got {images.dtype} {images.shape}")


def _columns(
    ink: UInt8[np.ndarray, "32 width"], spans: list[tuple[float, float]]
) -> list[tuple[int, int]]:
    """First and last column of each digit, the last exclusive, from where the network saw it.

    The network says a digit where it knows it, which is somewhere in its ink. Two neighbours part
    at the column with the least ink between these places; around, a digit is what hangs together.
    """
    if not spans:
        return []
    amount = ink.astype(np.int64).sum(0)
    cuts = [0]
    for (_, stop), (start, _) in itertools.pairwise(spans):
        middle = (stop + start) / 2
        reach = max((start - stop) / 2, 0) + 3
        first = int(max(middle - reach, cuts[-1] + 1))
        last = int(min(middle + reach, len(amount) - 1))
        between = np.arange(first, max(last, first) + 1)
        between = between[between < len(amount)]
        least = amount[between]
        best = between[least == least.min()]
        cuts.append(int(best[np.abs(best - middle).argmin()]))
    cuts.append(len(amount))
    columns = []
    for (left, right), (start, stop) in zip(itertools.pairwise(cuts), spans, strict=True):
        dark = np.flatnonzero((ink[:, left:right] > 127).any(0)) + left
        if not len(dark):
            columns.append((int(start), int(np.ceil(stop))))
            continue
        # Runs of columns with ink; those that the network looked at, or else the nearest.
        runs = np.split(dark, np.flatnonzero(np.diff(dark) > 1) + 1)
        distance = [max(start - run[-1] - 1, run[0] - stop, 0) for run in runs]
        own = [
            run for run, away in zip(runs, distance, strict=True) if away <= max(min(distance), 0)
        ]
        columns.append((int(own[0][0]), int(own[-1][-1]) + 1))
    return columns
