"""Pooling: what the line model and the model of single digits make of the characters of a field.

Both see the same ink in their own ways; here their probabilities become one. It cuts no field out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rowscan.alphabet import DIGITS, SPACE
from rowscan.arrays import Float64, UInt8
from rowscan.forms.ink import Ink, quantile
from rowscan.line_explanation import cut_out
from rowscan.reader import Reader, shipped
from rowscan.reading import Character, Line
from rowscan.recognition.characters import IMPLAUSIBLE, MIN_RUNNER_UP
from rowscan.recognition.pattern import Automaton
from rowscan.recognition.selection import Candidate
from rowscan.segmentation.digit import normalise_ink

_BOXES, _FRAMES = (0.3, 0.7), (0.4, 0.55)
"""The exponents of the line model and of the digit model in a logarithmic opinion pool (Genest and
Zidek: Combining probability distributions, 1986), fitted by likelihood on the 2,000 digits in boxes
and the 332 unsure ones in frames of 110 simulated photos with MNIST's validation digits. There 18
fields of 1,934 were wrong at 0.9 and more, with the line model alone 37. In a pool a model that is
sure outweighs one that is not; in a mean what a line model learnt of one's own fields had less
weight than the surest mistake of the digit model."""
_SURE = 0.99
"""Digits in a frame of which the line model is surer are not looked at alone: of the 42 in 3,513
that it read wrong it was less sure of 40, and of another 292."""
_FLOOR = 1e-4  # the least probability of a digit
_FULL = 0.8  # of the pixels of a digit: those below have less than full ink


@dataclass(frozen=True, eq=False)
class Seen:
    """What the line model reads in a field."""

    candidate: Candidate
    glyphs: Sequence[Ink]
    """Of boxes with one digit each, each digit alone; none of a frame."""
    automaton: Automaton | None
    """What the text must match, as indices of `known`."""
    known: str
    """The alphabet of the line model."""


def pooled(seen: Sequence[Seen], reader: Reader) -> list[Line]:
    """The likeliest lines by both models, of fields with the digits of all in one batch."""
    alone = [_digits(one) for one in seen]
    images = [image for found in alone for image in found.values()]
    digits = iter(_digit_reader(reader).predict_proba(np.stack(images)) if images else ())
    return [
        _pooled(one, {place: next(digits).astype(np.float64) for place in found})
        for one, found in zip(seen, alone, strict=True)
    ]


def _digit_reader(reader: Reader) -> Reader:
    """The reader itself, or the one that ships where its model reads lines alone."""
    return shipped() if reader.kind == "line" else reader


def _digits(seen: Seen) -> dict[int, UInt8[np.ndarray, "28 28"]]:
    """The digits that are looked at alone, in MNIST's frame, by their places in the text."""
    line, image = seen.candidate.line, seen.candidate.image
    if seen.glyphs:
        if len(seen.glyphs) != len(line.text) or not set(line.text) <= set(DIGITS):
            return {}
        return {i: _normalised(glyph.grey, glyph.mask) for i, glyph in enumerate(seen.glyphs)}
    places = [i for i, one in enumerate(line.characters) if one.character != SPACE]
    unsure = [
        (number, place)
        for number, place in enumerate(places)
        if line.text[place] in DIGITS and line.characters[place].confidence < _SURE
    ]
    if not unsure or image is None:
        return {}
    cut = cut_out(image.ink, seen.candidate.spans)
    inked = ((place, cut[number]) for number, place in unsure)
    return {place: _normalised(ink, ink > 127) for place, ink in inked if (ink > 127).any()}


def _normalised(
    grey: UInt8[np.ndarray, "rows columns"], mask: np.ndarray
) -> UInt8[np.ndarray, "28 28"]:
    """A digit in MNIST's frame, by how dark its ink is and where it is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    full = max(quantile(grey[grey > 0], _FULL), 1)
    return normalise_ink(np.clip((np.pad(grey, 2) / np.float32(full) - 0.2) / 0.7, 0, 1))


def _pooled(seen: Seen, alone: dict[int, Float64[np.ndarray, " 10"]]) -> Line:
    """A line with what the digit model sees in some of its places."""
    line = seen.candidate.line
    unseen = 1 - seen.candidate.passed_over  # that nothing is left out
    if not alone:
        return replace(line, confidence=line.confidence * unseen)
    rows = np.zeros((len(line.characters), len(seen.known)))
    for place, (row, one) in enumerate(zip(rows, line.characters, strict=True)):
        if place in alone:
            row[: len(DIGITS)] = _pool(one, alone[place], _BOXES if seen.glyphs else _FRAMES)
        else:
            row[seen.known.index(one.character)] = 1.0
    text, probability = likeliest(rows, seen.automaton)
    characters = tuple(
        _replaced(one, row, index) if place in alone else one
        for place, (one, row, index) in enumerate(zip(line.characters, rows, text, strict=True))
    )
    # How many characters there are is sure of boxes; of a frame it is what the line model says.
    sure = float(np.prod([one.confidence for one in line.characters]))
    length = 1.0 if seen.glyphs else min(line.confidence / max(sure, _FLOOR), 1.0)
    others = [one.confidence for place, one in enumerate(line.characters) if place not in alone]
    confidence = float(probability * np.prod(others)) * length * unseen
    return replace(line, characters=characters, confidence=confidence)


def _pool(
    one: Character, alone: Float64[np.ndarray, " 10"], exponents: tuple[float, float]
) -> Float64[np.ndarray, " 10"]:
    """The probabilities of the ten digits by both models."""
    beside = np.full(len(DIGITS), _FLOOR)
    if one.runner_up is not None and one.runner_up[0] in DIGITS:
        beside[int(one.runner_up[0])] += one.runner_up[1]
    beside[int(one.character)] += one.confidence
    row = (beside / beside.sum()) ** exponents[0] * (alone + _FLOOR) ** exponents[1]
    both: Float64[np.ndarray, " 10"] = row / row.sum()
    return both


def likeliest(
    rows: Float64[np.ndarray, "length characters"], automaton: Automaton | None
) -> tuple[tuple[int, ...], float]:
    """The likeliest text of a given length that matches, and its probability among those that do.

    By Viterbi's algorithm over the states of the automaton.

    Args:
        rows: the probabilities of the characters at each place.
        automaton: what the text must match; None for anything.
    """
    if automaton is None:
        return tuple(rows.argmax(1).tolist()), float(rows.max(1).prod())
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (1.0, ())}  # by the state
    total = {0: 1.0}
    for row in rows:
        before, best, sums, total = best, {}, total, {}
        for state, (probability, text) in before.items():
            for character in np.flatnonzero(row).tolist():
                after = int(automaton.next[state, character])
                if after < 0:
                    continue
                total[after] = total.get(after, 0.0) + sums[state] * row[character]
                if probability * row[character] > best.get(after, (0.0, ()))[0]:
                    best[after] = float(probability * row[character]), (*text, character)
    ends = [state for state in best if automaton.accepting[state]]
    if not ends:
        return tuple(rows.argmax(1).tolist()), 0.0
    probability, text = max(best[state] for state in ends)
    possible = sum(total[state] for state in ends)
    return text, probability / (possible + IMPLAUSIBLE * (1 - possible))


def _replaced(one: Character, row: Float64[np.ndarray, " characters"], index: int) -> Character:
    """A character with the digit that was taken, how sure that is, and the next likely one."""
    second = int(np.argsort(np.where(np.arange(len(row)) == index, -1.0, row))[-1])
    return replace(
        one,
        character=DIGITS[index],
        confidence=float(row[index]),
        runner_up=(DIGITS[second], float(row[second])) if row[second] >= MIN_RUNNER_UP else None,
    )
