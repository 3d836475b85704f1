"""Selection: which of the lines found in a picture are numbers. It sees no pixels.

Stains, the fold of a book, words and other things beside the writing are often read as a single
digit, most often a 1. A candidate is a line's plausibility (see `LineImage`) and its reading.
"""

import math
from dataclasses import dataclass

from rowscan.reading import Line, Rejected
from rowscan.recognition.strokes import Span
from rowscan.segmentation.line_image import LineImage


@dataclass(frozen=True)
class Candidate:
    """A line that was found."""

    plausibility: float
    """As in `LineImage`."""
    line: Line
    """What is read in it."""
    others: int = 0
    """How many of its characters are outside of the alphabet."""
    digits: float = 0.0
    """The probability that there is a digit in it, whatever may be read."""
    image: LineImage | None = None
    """What it was read from."""
    spans: tuple[Span, ...] = ()
    """The columns of `image` at which each character but spaces was read."""
    passed_over: float = 0.0
    """The probability that something is written that may not be read, and may be a digit."""


_MIN_CONFIDENCE = 0.63  # for each digit of a line,
_MIN_CONFIDENCE_SINGLE = 0.5  # or for a single digit
_LIKELIER = 0.4  # evidence: of composed lines with more, at least half are numbers
_MIN_EVIDENCE = 0.2  # plausibility times the confidence of each digit
_LOG_HALF = math.log(0.5)


def select_lines(candidates: list[Candidate]) -> tuple[Line, ...]:
    """The candidates that are numbers, by their plausibility and the confidence of their digits.

    A single digit must be surer than a longer number, and about as high as the best line. Where
    only the best line is certainly a number, all others must be surer still, and a mere stroke must
    stand above or below it. A certain number of three digits or more may be of any height.
    """
    possible = [
        (plausibility, line)
        for plausibility, line in ((c.plausibility, c.line) for c in candidates)
        if line.digits_only and plausibility * character_confidence(line) >= _MIN_EVIDENCE
        if character_confidence(line)
        >= (_MIN_CONFIDENCE if len(line.characters) > 1 else _MIN_CONFIDENCE_SINGLE)
    ]
    if not possible:
        return ()
    best = max(possible, key=_evidence)[1]
    certain = [
        line
        for plausibility, line in possible
        if len(line.characters) > 1 and not _is_strokes_only(line) and plausibility >= 0.6
        if character_confidence(line) >= 0.9 and line.box[3] >= 0.6 * best.box[3]
    ]
    several = len(certain) > 1
    return tuple(
        line
        for plausibility, line in possible
        if line is best or _is_number(plausibility, line, best, several=several)
    )


def _evidence(candidate: tuple[float, Line]) -> float:
    plausibility, line = candidate
    weight = 0.3 if _is_strokes_only(line) else 1.0
    return float(plausibility * line.confidence * weight * line.box[3] ** 0.5)


def _is_number(plausibility: float, line: Line, best: Line, *, several: bool) -> bool:
    """Whether a line beside the best one is a number, where `several` certainly are or only it."""
    x, _, width, height = best.box
    max_height = math.inf
    if len(line.characters) == 1 or _is_strokes_only(line):
        max_height = 2.0
        min_plausibility, confidence, min_height = (0.75, 0.6, 0.6) if several else (0.9, 0.9, 0.75)
        aside = line.box[0] >= x + width or line.box[0] + line.box[2] <= x
        if aside and _is_strokes_only(line) and not several:
            min_height = math.inf
    else:
        min_plausibility, confidence, min_height = (0.4, 0.7, 0.0) if several else (0.6, 0.8, 0.0)
        if len(line.characters) > 2 and character_confidence(line) >= 0.95:
            min_plausibility = 0.2
    return (
        min_height <= line.box[3] / height <= max_height
        and plausibility >= min_plausibility
        and character_confidence(line) >= confidence
    )


def select_likely(candidates: list[Candidate]) -> tuple[Line, ...]:
    """The candidates that are numbers rather than not, where the page model found them."""
    return tuple(
        c.line
        for c in candidates
        if c.line.digits_only and c.plausibility * character_confidence(c.line) >= _LIKELIER
    )


def log_likelihood(candidates: list[Candidate]) -> float:
    """The log of the probability of all longer lines; 0 where there are none.

    Single characters do not count: many can be read upside down. Something else counts as a
    character that is as likely wrong as right: upside down, most digits are something else.
    """
    longer = [c for c in candidates if len(c.line.characters) + c.others > 1]
    return math.fsum(math.log(max(c.line.confidence, 1e-9)) + c.others * _LOG_HALF for c in longer)


def rejected(candidates: list[Candidate], selected: tuple[Line, ...]) -> tuple[Rejected, ...]:
    """The candidates that were not selected, and why."""
    taken = set(map(id, selected))
    return tuple(
        Rejected(c.line.box, c.line.text, _likelihood(c), _reason(c))
        for c in candidates
        if id(c.line) not in taken
    )


def page_confidence(selected: tuple[Line, ...], left_out: tuple[Rejected, ...]) -> float:
    """The probability that all lines that are read are right, and that no other is a number."""
    right = math.prod((line.confidence for line in selected), start=1.0)
    return right * math.prod(1 - other.confidence for other in left_out)


def _likelihood(candidate: Candidate) -> float:
    """How likely a line that was left out is a number: by its digits, or those not to be read."""
    line = candidate.line
    sure = character_confidence(line) if line.digits_only else candidate.digits
    return candidate.plausibility * sure


def _reason(candidate: Candidate) -> str:
    line = candidate.line
    if not line.digits_only:
        if candidate.digits >= _MIN_CONFIDENCE:
            return "not what may be read"
        return "something else" if candidate.others else "nothing to read"
    if character_confidence(line) < _MIN_CONFIDENCE:
        return "unsure"
    return "unlike the numbers beside it"


def character_confidence(line: Line) -> float:
    """The probability of a line, as a geometric mean over its characters."""
    return math.pow(line.confidence, 1 / len(line.characters))


def _is_strokes_only(line: Line) -> bool:
    """Whether a line is nothing but 1s, which any stroke may be taken for."""
    return set(line.text) == {"1"}
