"""Characters: from line images to their readings. Which lines are numbers, `selection` decides."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from rowscan import reading
from rowscan.alphabet import DIGITS, OTHER
from rowscan.arrays import Float, Int64
from rowscan.recognition import tta
from rowscan.recognition.beam import decode_lines
from rowscan.recognition.constraint import Constraint
from rowscan.recognition.ctc import (
    Alternatives,
    Decoding,
    best_path,
    compressed,
    pair_alternatives,
)
from rowscan.recognition.model import LineModel
from rowscan.recognition.selection import Candidate
from rowscan.recognition.strokes import Span, character_columns
from rowscan.scans import PATCH, STEPS_PER_PATCH
from rowscan.segmentation.line_image import LineImage

_T = TypeVar("_T")
_U = TypeVar("_U")
_STEP = PATCH / STEPS_PER_PATCH  # columns
IMPLAUSIBLE = 0.001
"""How likely it is that the model is wrong about a line that matches."""
_BESIDE = ".,-$€£¥% "  # what people write beside digits; any other sign may be a digit
MIN_RUNNER_UP = 0.02
"""A runner-up that is less probable is not told."""


class _Decoded(NamedTuple):
    """A line, the model's probabilities at each of its steps, and the likeliest text.

    Attributes:
        steps: of the whole alphabet.
        rows: of what may be read, compressed.
        starts: the steps at which the rows start.
    """

    image: LineImage
    steps: Float[np.ndarray, "time classes"]
    rows: Float[np.ndarray, "rows classes"]
    starts: Int64[np.ndarray, " rows"]
    decoding: Decoding


def read_lines(
    model: LineModel,
    lines: Sequence[LineImage],
    constraint: Constraint,
    *,
    budget: tta.Budget | None = None,
    threads: int = 1,
) -> list[Candidate]:
    """The likeliest text of each line, with the confidence and the box of each character.

    Args:
        model: the line model.
        lines: some lines of a page.
        constraint: what may be read.
        budget: what may still be augmented of the page; by default these are all of its lines.
        threads: cores that share the lines; what is read does not depend on it.
    """
    if not lines:
        return []
    decoded = _in_shares(threads, lambda part: _decode(model, part, constraint), lines)
    widths = [line.ink.shape[1] for line in lines]
    unsure = (budget or tta.Budget()).unsure([one.decoding for one in decoded], widths)
    again = _in_shares(
        threads,
        lambda part: [_decode_again(model, one, constraint) for one in part],
        [decoded[i] for i in unsure],
    )
    for i, one in zip(unsure, again, strict=True):
        decoded[i] = one
    return _in_shares(threads, lambda part: _candidates(model.alphabet, part, constraint), decoded)


def _in_shares(
    threads: int, work: Callable[[Sequence[_T]], list[_U]], items: Sequence[_T]
) -> list[_U]:
    """The results of work on the items, a share of them in each thread."""
    shares = min(threads, len(items))
    if shares < 2:
        return work(items)
    with ThreadPoolExecutor(shares) as pool:
        parts = list(pool.map(lambda first: work(items[first::shares]), range(shares)))
    return [parts[i % shares][i // shares] for i in range(len(items))]


def _decode(model: LineModel, lines: Sequence[LineImage], constraint: Constraint) -> list[_Decoded]:
    steps = model.predict_lines([line.ink for line in lines])
    restricted = [compressed(constraint.restrict(line)) for line in steps]
    decodings = decode_lines([rows for rows, _ in restricted], constraint)
    return [
        _Decoded(line, step, rows, starts, decoding)
        for line, step, (rows, starts), decoding in zip(
            lines, steps, restricted, decodings, strict=True
        )
    ]


def _decode_again(model: LineModel, line: _Decoded, constraint: Constraint) -> _Decoded:
    """The line by test-time augmentation."""
    decoding = tta.decode_again(
        lambda ink: constraint.restrict(model.probabilities(ink)),
        line.image.ink,
        line.rows,
        line.decoding,
        constraint,
    )
    return line._replace(decoding=decoding)


def _candidates(
    alphabet: str, lines: Sequence[_Decoded], constraint: Constraint
) -> list[Candidate]:
    gap = constraint.gap
    decodings = [_plausible(line.decoding) for line in lines]
    texts = [decoding.text for decoding in decodings]
    odds = pair_alternatives([line.rows for line in lines], texts, gap)
    placed = [_placed(one, line.starts) for one, line in zip(decodings, lines, strict=True)]
    return [
        Candidate(
            plausibility=line.image.plausibility,
            line=_line(alphabet, line.image, decoding, of_line, gap),
            others=_others(alphabet, line.steps),
            digits=_digits(alphabet, line.steps),
            image=line.image,
            spans=_spans(decoding, gap),
            passed_over=_passed_over(alphabet, line.steps, constraint),
        )
        for line, decoding, of_line in zip(lines, placed, odds, strict=True)
    ]


def _plausible(decoding: Decoding) -> Decoding:
    """The decoding, given that what may be read is there; no text where it hardly is.

    Its probability is divided by that of all texts that may be read, and of a line of another kind.
    """
    if decoding.possible < IMPLAUSIBLE:
        return replace(decoding, text=(), spans=(), probability=1 - decoding.possible)
    given = decoding.probability / (decoding.possible + IMPLAUSIBLE * (1 - decoding.possible))
    return replace(decoding, probability=given)


def _placed(decoding: Decoding, starts: Int64[np.ndarray, " rows"]) -> Decoding:
    """The decoding of compressed steps, with spans in the steps of the line."""
    spans = tuple((int(starts[first]), int(starts[last])) for first, last in decoding.spans)
    return replace(decoding, spans=spans)


def _line(
    alphabet: str, line: LineImage, decoding: Decoding, odds: Alternatives, gap: int | None
) -> reading.Line:
    found = character_columns(line.ink, _spans(decoding, gap))
    columns = iter(_with_gaps(decoding, found, gap))
    characters = tuple(
        reading.Character(
            character=alphabet[index],
            confidence=float(row[index + 1]),
            box=line.box_of(*next(columns)),
            runner_up=_runner_up(alphabet, index, row),
        )
        for index, row in zip(decoding.text, odds, strict=True)
    )
    return reading.Line(characters, decoding.probability, line.box, *(line.cell or (None, None)))


def _spans(decoding: Decoding, gap: int | None) -> tuple[Span, ...]:
    """The columns of each character's steps, of all but gaps."""
    return tuple(
        (first * _STEP, (last + 1) * _STEP)
        for (first, last), c in zip(decoding.spans, decoding.text, strict=True)
        if c != gap
    )


def _with_gaps(
    decoding: Decoding, columns: list[tuple[int, int]], gap: int | None
) -> list[tuple[int, int]]:
    """First and last column of each character; a gap's are those between its neighbours."""
    inked = iter(columns)
    found = [(0, 0) if c == gap else next(inked) for c in decoding.text]
    return [
        (found[i - 1][1], max(found[i + 1][0], found[i - 1][1] + 1)) if c == gap else found[i]
        for i, c in enumerate(decoding.text)
    ]


def _others(alphabet: str, steps: Float[np.ndarray, "time classes"]) -> int:
    """How many characters of a line are outside of the alphabet."""
    return best_path(steps).count(alphabet.index(OTHER)) if OTHER in alphabet else 0


def _passed_over(
    alphabet: str, steps: Float[np.ndarray, "time classes"], constraint: Constraint
) -> float:
    """The probability that something is written that may not be read, and may be a digit."""
    beside = np.array([False, *(c in _BESIDE for c in alphabet)])
    return float(steps[:, constraint.passed_over & ~beside].sum(1).max(initial=0.0))


def _digits(alphabet: str, steps: Float[np.ndarray, "time classes"]) -> float:
    """The probability that a line has a digit."""
    classes = [1 + i for i, c in enumerate(alphabet) if c in DIGITS]
    return float(1 - np.prod(1 - np.minimum(steps[:, classes].sum(1, dtype=np.float64), 1)))


def _runner_up(
    alphabet: str, index: int, odds: Float[np.ndarray, " classes"]
) -> tuple[str, float] | None:
    others = odds[1:].copy()
    others[index] = 0
    second = int(others.argmax())
    if others[second] < MIN_RUNNER_UP:
        return None
    return alphabet[second], float(others[second])
