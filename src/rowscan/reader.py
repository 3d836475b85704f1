"""Reader: pictures to readings. It joins segmentation, which finds lines, and recognition."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from rowscan.alphabet import OTHER
from rowscan.arrays import Float32, Int64, UInt8
from rowscan.errors import TooLargeError
from rowscan.io.pictures import Source, open_reduced
from rowscan.reading import SURE, Cell, Character, Line, Reading, Rejected
from rowscan.recognition.characters import read_lines
from rowscan.recognition.constraint import Constraint, constraint
from rowscan.recognition.model import BATCH, DigitModel, LineModel, Model, PageModel, open_model
from rowscan.recognition.selection import (
    Candidate,
    log_likelihood,
    page_confidence,
    rejected,
    select_likely,
    select_lines,
)
from rowscan.recognition.tta import Budget
from rowscan.segmentation import page, page_lines
from rowscan.segmentation.binarize import WORKING_PIXELS, Picture, brighten
from rowscan.segmentation.digit import normalise_digit
from rowscan.segmentation.line_image import MAX_LINES, LineImage

_M = TypeVar("_M", bound=Model)
Images = UInt8[np.ndarray, "n 28 28"]
_THINNEST_STROKE = 0.04
"""Of the height of a digit: the finest pen of `training.synthesis.hands`."""
_UPRIGHT = math.log(20)
"""Log of the odds that level lines are the way up that their bands say, before they are read: eight
fields that were wrongly turned read at most 14 times as likely upside down. On a page that lies on
its side, either way up is equally likely."""
_SMALL = 100_000
"""Pixels: a picture of at most as many is read in further ways if the reading is likely wrong."""
_LIKELY_RIGHT = 0.5
"""Confidence of a reading that is more likely right than wrong."""
_OTHER_HEIGHTS = (24.0, 44.0)
"""Pixels: the heights of the digits in the further looks at a small picture."""
_SEVERAL = 8
"""Single digits, all that a page has, beside which something else is likely one."""
_TELLING = 8
"""How many lines, the longest, are read upside down before all are."""
_MAX_COLUMNS = 120_000
"""Of all line images of a page: 60 lines of a hundred digits."""


class _Page(NamedTuple):
    """What is read of a picture, which of it are numbers, and the cells of its tables."""

    candidates: list[Candidate]
    lines: tuple[Line, ...]
    cells: tuple[Cell, ...] = ()
    other_marks: bool = False
    """As in `PageLines`."""

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        return rejected(self.candidates, self.lines)

    @property
    def confidence(self) -> float:
        return page_confidence(self.lines, self.rejected)


def _lacks_ones(line: Line, other: Line) -> bool:
    """Whether `other` has the digits of `line`, and further 1s."""
    few, more = line.digits_only, other.digits_only
    return len(few) < len(more) and few.replace("1", "") == more.replace("1", "")


def _is_hairline(line: Line) -> bool:
    """Whether it is thinner than any stroke that lines are composed of, as a side of a frame is."""
    _, _, width, height = line.box
    return width < _THINNEST_STROKE * height


def _agreed(readings: list[_Page]) -> _Page:
    """The reading whose text has the highest mean confidence; the first one if none has a text.

    A reading with another text counts as 0 in the mean. The mean becomes the confidence, as in
    `tta`.
    """
    by_text: dict[tuple[str, ...], list[_Page]] = {}
    for reading in readings:
        if reading.lines:
            by_text.setdefault(tuple(line.text for line in reading.lines), []).append(reading)
    if not by_text:
        return readings[0]
    total, same = max(
        ((sum(r.confidence for r in some), some) for some in by_text.values()),
        key=lambda found: found[0],
    )
    best = max(same, key=lambda reading: reading.confidence)
    share = total / len(readings) / max(best.confidence, 1e-9)
    each = share ** (1 / len(best.lines))
    changed = {id(line): replace(line, confidence=each * line.confidence) for line in best.lines}
    return best._replace(
        candidates=[replace(c, line=changed.get(id(c.line), c.line)) for c in best.candidates],
        lines=tuple(changed[id(line)] for line in best.lines),
    )


def _check_columns(lines: Sequence[LineImage]) -> None:
    if sum(line.ink.shape[1] for line in lines) > _MAX_COLUMNS:
        raise TooLargeError("image", "more writing than a page can have; cut it into parts")


def read(source: Source, *, min_confidence: float = 0.0) -> Reading:
    """The numbers in a picture, by the models that ship with Rowscan; see `Reader.read`."""
    return shipped().read(source, min_confidence=min_confidence)


@cache
def shipped() -> "Reader":
    """The reader of this process with the models that ship; they are opened once."""
    return Reader()


class Reader:
    """Reads pictures of numbers, and images of single digits. Threads may share it."""

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        alphabet: str | None = None,
        pattern: str | None = None,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        r"""Make a reader.

        Args:
            model: a model file or a run directory; the reader can then do what this model can. By
                default the models that ship with Rowscan, each opened when it is first needed.
            alphabet: what `read` may read: `digits`, `amount`, `date`, `time`, `phone`, or the
                characters; by default all that the model knows. Others are passed over.
            pattern: a regular expression that each line must match: characters, `.`, `\d`, `[...]`,
                groups, `|`, `?`, `*`, `+` and `{m,n}`. The likeliest text that matches is read.
            threads: processor cores to use for one call, by default one. They share the lines of a
                page or the batches of many digits; each runs the model on one core. OpenCV, whose
                threads belong to the process, is limited to as many.
            providers: ONNX Runtime's execution providers, by default the CPU.

        Raises:
            ModelError: not a model file, or a damaged one.
            UsageError: a provider that this ONNX Runtime does not have.
        """
        self._model_path, self._alphabet, self._pattern = model, alphabet, pattern
        self._last_constraint: tuple[tuple[object, ...], Constraint] | None = None
        self._threads = threads or 1
        self._providers = providers
        self._named = None if model is None else open_model(model, providers=providers)
        cv2.setNumThreads(self._threads)

    def __repr__(self) -> str:
        """The arguments that it was made with."""
        named = {"alphabet": self._alphabet, "pattern": self._pattern, "threads": self._threads}
        shown = [repr(str(self._model_path))] if self._model_path is not None else []
        shown += [f"{k}={v!r}" for k, v in named.items() if v not in (None, 1)]
        return f"Reader({', '.join(shown)})"

    @property
    def kind(self) -> str | None:
        """`digit`, `line` or `page`, the kind of the named model; None where none was named."""
        return None if self._named is None else self._named.kind

    @cached_property
    def digit_model(self) -> DigitModel:
        """The model of `classify`.

        Raises:
            ModelError: the named model is of another kind.
        """
        return self._model(DigitModel)

    @cached_property
    def line_model(self) -> LineModel:
        """The model of `read`.

        Raises:
            ModelError: the named model is of another kind.
        """
        return self._model(LineModel)

    @cached_property
    def _lone_digit_model(self) -> DigitModel:
        """The digit model that ships where a line model is named."""
        if isinstance(self._named, LineModel):
            return DigitModel.open(providers=self._providers)
        return self.digit_model

    @cached_property
    def page_model(self) -> PageModel:
        """The model that finds lines for `read`; the one that ships where another kind is named."""
        if isinstance(self._named, PageModel):
            return self._named
        return PageModel.open(providers=self._providers)

    def _model(self, wanted: type[_M]) -> _M:
        if self._named is None or isinstance(self._named, PageModel):
            return wanted.open(providers=self._providers)
        return wanted.expect(self._named)

    # Numbers in pictures

    def read(
        self,
        source: Source,
        *,
        min_confidence: float = 0.0,
        alphabet: str | None = None,
        pattern: str | None = None,
        show_other: bool = False,
    ) -> Reading:
        """The numbers in a picture; in the first page of a file that has several.

        Args:
            source: path, content of a file, Pillow image, or uint8 array: (height, width) of grey
                or (height, width, 3 or 4) of colour. The ink may be darker or lighter than the
                paper.
            min_confidence: a character of lower confidence is read as "?".
            alphabet: as in `Reader`, for this picture.
            pattern: as in `Reader`, for this picture.
            show_other: whether a character outside of the model's alphabet is read as "□".

        Raises:
            DataError: not a picture, a damaged one, or one of more than 100 megapixels.
            UsageError: an alphabet or a pattern that cannot be read.
        """
        reading = next(
            self.read_pages(
                source,
                min_confidence=min_confidence,
                alphabet=alphabet,
                pattern=pattern,
                show_other=show_other,
            )
        )
        return replace(reading, source=source)

    def read_pages(
        self,
        source: Source,
        *,
        min_confidence: float = 0.0,
        alphabet: str | None = None,
        pattern: str | None = None,
        show_other: bool = False,
    ) -> Iterator[Reading]:
        """The numbers on each page of a document, one page after the other. As `read`."""
        yield from self.read_opened(
            open_reduced(source, WORKING_PIXELS),
            min_confidence=min_confidence,
            alphabet=alphabet,
            pattern=pattern,
            show_other=show_other,
        )

    def read_opened(
        self,
        pages: Iterable[tuple[Picture, tuple[int, int]]],
        *,
        min_confidence: float = 0.0,
        alphabet: str | None = None,
        pattern: str | None = None,
        show_other: bool = False,
        first: int = 1,
        max_lines: int = MAX_LINES,
    ) -> Iterator[Reading]:
        """As `read_pages`, of pages that have been decoded already.

        Args:
            pages: pixels of each, perhaps reduced, and the width and height that boxes are in.
            min_confidence: as for `read`, like the next three.
            alphabet: as in `Reader`.
            pattern: as in `Reader`.
            show_other: whether an unknown character is "□".
            first: the number of the first page.
            max_lines: a page on which more lines are found is refused before any is read.

        Raises:
            TooLargeError: more lines.
        """
        allowed = self.constraint(alphabet, pattern, show_other=show_other)
        for number, (page_picture, (width, height)) in enumerate(pages, start=first):
            picture = brighten(page_picture)
            found = self._read_page(picture, (width, height), allowed, max_lines)
            result = Reading(
                width=width,
                height=height,
                lines=found.lines,
                confidence=found.confidence,
                page=number,
                rejected=found.rejected,
                cells=found.cells,
            )
            yield result.at_least(min_confidence)

    def read_images(
        self, picture: Picture, size: tuple[int, int], *, max_lines: int = MAX_LINES
    ) -> list[tuple[Line, LineImage]]:
        """The lines of a reading, each with the image that the line model read.

        Args:
            picture: as `open_reduced` gives it.
            size: width and height of the original.
            max_lines: as in `read_opened`.

        Raises:
            TooLargeError: more lines.
        """
        found = self._read_page(picture, size, self.constraint(), max_lines)
        images = {id(c.line): c.image for c in found.candidates}
        return [(line, image) for line in found.lines if (image := images[id(line)]) is not None]

    def _read_page(
        self,
        picture: Picture,
        size: tuple[int, int],
        allowed: Constraint,
        max_lines: int,
    ) -> _Page:
        """What is read of a picture."""
        seen = self._read_writing(picture, size, allowed, max_lines)
        digits_alone = all(len(line.text) == 1 for line in seen.lines)
        several = len(seen.lines) >= _SEVERAL or len(seen.candidates) == 1
        if not (digits_alone and several and OTHER in self.line_model.alphabet):
            return seen
        if allowed.automaton is not None:
            return seen
        taken = set(map(id, seen.lines))
        candidates = [
            c if id(c.line) in taken else self._odd_digit(c, allowed, picture, size)
            for c in seen.candidates
        ]
        lines = tuple(
            new.line
            for old, new in zip(seen.candidates, candidates, strict=True)
            if old is not new or id(old.line) in taken
        )
        return seen._replace(candidates=candidates, lines=lines)

    def _odd_digit(
        self, candidate: Candidate, allowed: Constraint, picture: Picture, size: tuple[int, int]
    ) -> Candidate:
        """A sign among single digits as the digit model sees it, which knows odder digits.

        No 1: any stroke may be taken for one. The confidence is the mean of both models'.
        """
        x, y, width, height = candidate.line.box
        margin, factor = height / 6, picture.shape[1] / size[0]
        left, top = (max(round((side - margin) * factor), 0) for side in (x, y))
        right, bottom = (round((side + margin) * factor) for side in (x + width, y + height))
        part = picture[top:bottom, left:right]
        if len(candidate.line.text) > 1 or not part.size:
            return candidate
        grey = part if part.ndim == 2 else cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
        (probabilities,) = self._lone_digit_model.predict_proba(normalise_digit(grey)[None])
        digit = int(probabilities.argmax())
        if digit == 1 or probabilities[digit] < SURE or str(digit) not in self._allowed(allowed):
            return candidate
        confidence = (float(probabilities[digit]) + candidate.digits) / 2
        character = Character(str(digit), confidence, candidate.line.box, None)
        line = replace(candidate.line, characters=(character,), confidence=confidence)
        return replace(candidate, line=line)

    def _read_writing(
        self,
        picture: Picture,
        size: tuple[int, int],
        allowed: Constraint,
        max_lines: int,
    ) -> _Page:
        """What is read of a picture by lines.

        If the reading of a small picture by the page model is likely wrong, it is read at two more
        scales, and by the rules of `segmentation.page`, which find straight strokes that the model
        takes for ruled lines. `_agreed` chooses among these four. A larger picture is read by the
        rules if the page model finds at most one line beside other marks: one may be an upright 1.
        """
        seen = self._see(picture, size, allowed, max_lines)
        if size[0] * size[1] > _SMALL:
            return self._with_upright_ones(seen, picture, size, allowed)
        if seen.lines and seen.confidence >= _LIKELY_RIGHT:
            return seen
        others = [self._see(picture, size, allowed, max_lines, height) for height in _OTHER_HEIGHTS]
        by_rules = self._by_rules(page.extract_lines(picture, size, max_lines), allowed)
        return _agreed([seen, *others, by_rules])

    def _with_upright_ones(
        self, seen: _Page, picture: Picture, size: tuple[int, int], allowed: Constraint
    ) -> _Page:
        """The page, or the one line that the rules find, if the page model may have lost 1s."""
        alone = len(seen.lines) <= 1 and seen.other_marks
        one = self._one_field(picture, size, allowed) if alone else None
        if one is None or not one.lines:
            return seen
        if seen.lines:
            return one if _lacks_ones(seen.lines[0], one.lines[0]) else seen
        return seen if _is_hairline(one.lines[0]) else one

    def _see(
        self,
        picture: Picture,
        size: tuple[int, int],
        allowed: Constraint,
        max_lines: int,
        height: float | None = None,
    ) -> _Page:
        """What is read by the page model; `height` is as in `page_lines.see`."""
        found = page_lines.extract_lines(
            picture, size, self.page_model.segment, max_lines, height=height
        )
        _check_columns(found.lines)
        candidates, cells = self._read_upright(found, allowed)
        return _Page(candidates, select_likely(candidates), cells, found.other_marks)

    def _one_field(
        self, picture: Picture, size: tuple[int, int], allowed: Constraint
    ) -> _Page | None:
        """What the rules find, if that is one line."""
        try:
            fields = page.extract_lines(picture, size, max_lines=1)
        except TooLargeError:
            return None
        return self._by_rules(fields, allowed) if fields else None

    def _by_rules(self, fields: list[LineImage], allowed: Constraint) -> _Page:
        candidates = self._read_lines(fields, allowed, Budget())
        return _Page(candidates, select_lines(candidates))

    def find_lines(self, picture: Picture) -> list[LineImage]:
        """The images of all lines that `read` may see in a picture, numbers or not.

        Args:
            picture: (height, width) of grey or (height, width, 3) of colour.
        """
        picture = brighten(picture)
        found = page_lines.extract_lines(picture, None, self.page_model.segment).lines
        return found if len(found) > 1 else found + page.extract_lines(picture)

    def _read_upright(
        self, found: page_lines.PageLines, allowed: Constraint
    ) -> tuple[list[Candidate], tuple[Cell, ...]]:
        """What is read of a page, upside down if that is far likelier: bands may not know up."""
        longest = sorted(range(len(found.lines)), key=lambda i: -found.lines[i].ink.shape[1])
        telling, rest = longest[:_TELLING], longest[_TELLING:]
        lines, budget = found.lines, Budget()
        read = self._read_lines([lines[i] for i in telling], allowed, budget)
        upright = log_likelihood(read)
        odds = _UPRIGHT if telling and lines[telling[0]].is_level else 0.0
        if upright < -odds:  # else no other reading can be likelier
            turned, anew = found.upside_down(), Budget()
            other = self._read_lines([turned.lines[-1 - i] for i in telling], allowed, anew)
            if log_likelihood(other) > upright + odds:
                found, lines, budget, read = turned, turned.lines[::-1], anew, other
        read += self._read_lines([lines[i] for i in rest], allowed, budget)
        place = {id(line): i for i, line in enumerate(found.lines)}
        return sorted(read, key=lambda candidate: place[id(candidate.image)]), found.cells

    def constraint(
        self, alphabet: str | None = None, pattern: str | None = None, *, show_other: bool = False
    ) -> Constraint:
        """What `read` may read; arguments and errors are those of `read`."""
        key = (alphabet or self._alphabet, pattern or self._pattern, show_other)
        last = self._last_constraint
        if last is None or last[0] != key:
            allowed = constraint(
                self.line_model.alphabet, alphabet=key[0], pattern=key[1], show_other=show_other
            )
            last = self._last_constraint = (key, allowed)
        return last[1]

    @property
    def readable(self) -> str:
        """The characters that `read` may read."""
        return self._allowed(self.constraint())

    def _allowed(self, constraint: Constraint) -> str:
        classes = constraint.classes[1:]
        return "".join(c for c, may in zip(self.line_model.alphabet, classes, strict=True) if may)

    def _read_lines(
        self, lines: list[LineImage], allowed: Constraint, budget: Budget
    ) -> list[Candidate]:
        return read_lines(self.line_model, lines, allowed, budget=budget, threads=self._threads)

    # Single digits

    def classify(
        self, images: Images
    ) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n 10"]]:
        """The digit in each image, and the probabilities of all ten.

        Args:
            images: normalised images, as `normalise_digit` makes them.

        Raises:
            DataError: an array of another dtype or shape.
        """
        probabilities = self.predict_proba(images)
        return probabilities.argmax(1), probabilities

    def predict_proba(self, images: Images) -> Float32[np.ndarray, "n 10"]:
        """As `DigitModel.predict_proba`, with the threads of this reader."""
        return self._in_batches(self.digit_model.predict_proba, images)

    def belief(self, images: Images) -> Float32[np.ndarray, "n time 10"]:
        """As `DigitModel.belief`, with the threads of this reader."""
        return self._in_batches(self.digit_model.belief, images)

    def _in_batches(
        self, work: Callable[[Images], Float32[np.ndarray, "..."]], images: Images
    ) -> Float32[np.ndarray, "..."]:
        if self._threads == 1:
            return work(images)
        parts = [images[i : i + BATCH] for i in range(0, max(len(images), 1), BATCH)]
        with ThreadPoolExecutor(self._threads) as pool:
            return np.concatenate(list(pool.map(work, parts)))
