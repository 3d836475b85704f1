"""Connectionist temporal classification: from a probability at every step to a row of digits.

A network that reads a line says at each step which digit it sees, or none (class 0; digit d is
class d + 1). A text is what remains when runs of the same class become one and class 0 is dropped
(Graves, Fernández, Gomez, Schmidhuber: "Connectionist Temporal Classification", 2006). Many ways
of answering give the same text, and the probability of the text is the sum over all of them.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rowscan.arrays import Bool, Float

Probabilities = Float[np.ndarray, "time classes"]
Alternatives = Float[np.ndarray, "digits classes"]

CLASSES = 11
"""None, and the ten digits."""
NONE = 0
_BEAM = 8
_UNLIKELY = 1e-3  # a class less probable than this at a step starts no digit there
_RESCALED = 4  # steps after which probabilities are brought to 1: before that none can become 0


@dataclass(frozen=True)
class Decoding:
    """The likeliest text of a line."""

    digits: tuple[int, ...]
    probability: float
    """Of exactly this text, over all its alignments."""
    spans: tuple[tuple[int, int], ...]
    """First and last step of each digit in the likeliest alignment."""


def decode(probabilities: Probabilities) -> Decoding:
    """The likeliest text, its probability, and where its digits are.

    Prefix beam search (Hannun, Maas, Jurafsky, Ng: "First-Pass Large Vocabulary Continuous Speech
    Recognition using Bi-Directional Recurrent DNNs", 2014), whose candidates are then compared by
    their exact probabilities.

    Args:
        probabilities: a row a step, each summing to 1; class 0 is none, digit d is class d + 1.
    """
    candidates = _beam(np.asarray(probabilities, np.float64))
    exact = text_probabilities(probabilities, candidates)
    best = int(exact.argmax())
    text = candidates[best]
    return Decoding(text, min(float(exact[best]), 1.0), align(probabilities, text))


def likeliest_path(probabilities: Probabilities) -> tuple[int, ...]:
    """The text of the likeliest answers step by step: quick, and nearly always the likeliest."""
    path = probabilities.argmax(1)
    begins = np.diff(path, prepend=NONE) != 0
    return tuple((path[begins & (path != NONE)] - 1).tolist())


def text_probability(probabilities: Probabilities, digits: tuple[int, ...]) -> float:
    """As `text_probabilities`, of one text."""
    return float(text_probabilities(probabilities, [digits])[0])


def text_probabilities(
    probabilities: Float[np.ndarray, "*lines time classes"], texts: Sequence[tuple[int, ...]]
) -> Float[np.ndarray, "*lines texts"]:
    """The sum over all alignments of each text: CTC's forward algorithm (Graves et al., 4.1).

    0 for a text that does not fit into the steps.

    Args:
        probabilities: of a line, or of several with as many steps.
        texts: of each, for each line, the probability is computed.
    """
    p = np.moveaxis(np.asarray(probabilities, np.float64), -2, 0)
    last = np.array([2 * len(text) for text in texts])
    classes = np.zeros((len(texts), last.max() + 1), np.int64)
    skip = np.zeros(classes.shape, bool)
    for text, end, own, may in zip(texts, last, classes, skip, strict=True):
        own[: end + 1] = _classes(text)
        may[2 : end + 1] = _may_skip(text)
    emitted = p[..., classes]
    emitted *= np.arange(classes.shape[1]) <= last[:, None]
    # Two empty places before the first spare the first two exceptions.
    room = np.zeros((*emitted.shape[1:-1], classes.shape[1] + 2))
    row, one_before, two_before = room[..., 2:], room[..., 1:-1], room[..., :-2]
    row[..., :2] = emitted[0, ..., :2]
    log_scale = np.zeros(row.shape[:-1])
    for t, step in enumerate(emitted):
        if t:
            way = two_before * skip
            way += one_before
            row += way
            row *= step
        if t % _RESCALED == 0 or t == len(p) - 1:
            scale = row.sum(-1)
            row /= np.where(scale == 0, 1, scale)[..., None]
            with np.errstate(divide="ignore"):
                log_scale += np.log(scale)
    every = np.arange(len(texts))
    ends = row[..., every, last]
    ends += np.where(last > 0, row[..., every, np.maximum(last - 1, 0)], 0)
    result: np.ndarray = np.exp(log_scale) * ends
    return result


def alternatives(probabilities: Probabilities, digits: tuple[int, ...]) -> Alternatives:
    """For each digit of a text: how likely each other digit is in its place, or none.

    Row i compares eleven texts that differ in digit i alone: left out (class 0), or each of the
    ten (digit d is class d + 1). Their probabilities, over all alignments, are brought to a sum
    of 1. All come from one pass of the forward-backward algorithm (Graves et al., section 4.1).

    The text itself must fit into the steps.
    """
    p = np.asarray(probabilities, np.float64)
    own, skip = p[:, _classes(digits)], _may_skip(digits)
    forward, scales = _forward(own, skip)
    backward = _backward(own, skip, scales)
    # Places beyond both ends, where no path is, make every digit have places around it.
    forward, backward = (np.pad(way, ((0, 0), (2, 2))) for way in (forward, backward))
    at = 2 * np.arange(len(digits)) + 3
    text = np.array((-1, *digits, -1))
    every = np.arange(p.shape[1] - 1)
    after, before = (every != text[side, None] for side in (slice(None, -2), slice(2, None)))
    enter = np.zeros((len(p), len(digits), len(every)))
    enter[0] = np.equal(at, 3)[:, None]
    enter[1:] = forward[:-1, at - 1, None] + forward[:-1, at - 2, None] * after
    leave = np.zeros_like(enter)
    leave[-1] = np.equal(at, 2 * len(digits) + 1)[:, None]
    leave[:-1] = backward[1:, at + 1, None] + backward[1:, at + 2, None] * before
    emitted = p[:, None, 1:] / scales[:, None, None]
    instead = np.zeros((len(digits), len(every)))
    there = np.zeros_like(instead)
    for t in range(len(p)):
        there = (there + enter[t]) * emitted[t]
        instead += there * leave[t]
    # Left out, the none before it and the none after it are one. A path has it, or skips it.
    differ = text[:-2] != text[2:]
    without = (forward[:-1, at - 2] * (backward[1:, at + 1] + differ * backward[1:, at + 2])).sum(0)
    if len(digits):
        without[0] += backward[0, 4] + backward[0, 5]
        without[-1] += forward[-1, at[-1] - 2]
    odds = np.concatenate([without[:, None], instead], 1)
    result: np.ndarray = odds / odds.sum(1, keepdims=True)
    return result


def align(probabilities: Probabilities, digits: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """First and last step of each digit in the likeliest alignment of a text (Viterbi).

    The text must fit into the steps.
    """
    with np.errstate(divide="ignore"):
        log_p = np.log(np.asarray(probabilities, np.float64)[:, _classes(digits)])
    steps, places = log_p.shape
    skip = np.where(_may_skip(digits), 0.0, -np.inf)
    score = np.full(places, -np.inf)
    score[:2] = log_p[0, :2]
    came_from = np.zeros((steps, places), np.int64)
    for t in range(1, steps):
        ways = np.full((3, places), -np.inf)
        ways[0] = score
        ways[1, 1:] = score[:-1]
        ways[2, 2:] = score[:-2] + skip
        came_from[t] = ways.argmax(0)
        score = ways.max(0) + log_p[t]
    place = places - 1 if places == 1 or score[-1] >= score[-2] else places - 2
    spans = [(steps, -1)] * len(digits)
    for t in range(steps - 1, -1, -1):
        if place % 2:
            first, last = spans[place // 2]
            spans[place // 2] = min(first, t), max(last, t)
        place -= int(came_from[t, place])
    return tuple(spans)


def _forward(
    own: Float[np.ndarray, "time places"], skip: Bool[np.ndarray, " rest"]
) -> tuple[Float[np.ndarray, "time places"], Float[np.ndarray, " time"]]:
    """Probability of each way to a place, brought to a sum of 1 at each step; and these sums."""
    forward, scales = np.zeros(own.shape), np.zeros(len(own))
    row = np.zeros(own.shape[1])
    row[:2] = own[0, :2]
    for t, step in enumerate(own):
        if t:
            before = row.copy()
            row[1:] += before[:-1]
            row[2:] += before[:-2] * skip
            row *= step
        scales[t] = row.sum()
        if scales[t] == 0:
            break
        row /= scales[t]
        forward[t] = row
    return forward, scales


def _backward(
    own: Float[np.ndarray, "time places"],
    skip: Bool[np.ndarray, " rest"],
    scales: Float[np.ndarray, " time"],
) -> Float[np.ndarray, "time places"]:
    """Probability of each way on from a place, its own step among them, in the same scale."""
    backward = np.zeros(own.shape)
    row = np.zeros(own.shape[1])
    row[-2:] = 1.0
    for t in range(len(own) - 1, -1, -1):
        if t < len(own) - 1:
            after = row.copy()
            row[:-1] += after[1:]
            row[:-2] += after[2:] * skip
        row *= own[t] / scales[t]
        backward[t] = row
    return backward


def _classes(digits: tuple[int, ...]) -> list[int]:
    """The text with none before, between and after its digits."""
    return [NONE, *(c for digit in digits for c in (digit + 1, NONE))]


def _may_skip(digits: tuple[int, ...]) -> Bool[np.ndarray, " places"]:
    """For each place from the third on: may one come to it from two places before?

    Yes for a digit after another digit; the none between two of the same is what tells them apart.
    """
    skip = np.zeros(max(2 * len(digits) - 1, 0), bool)
    skip[1::2] = [a != b for a, b in itertools.pairwise(digits)]
    return skip


def _beam(p: Float[np.ndarray, "time classes"]) -> list[tuple[int, ...]]:
    """The likeliest texts, as far as a beam sees, the likeliest first."""
    # For each text: probability of the ways to it that end in none, and of those that do not.
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (1.0, 0.0)}
    for step, is_likely in zip(p.tolist(), (p[:, 1:] >= _UNLIKELY).tolist(), strict=True):
        likely = [c for c in range(len(is_likely)) if is_likely[c]]
        new: dict[tuple[int, ...], tuple[float, float]] = {}
        for text, (none, digit) in beam.items():
            again = digit * step[text[-1] + 1] if text else 0.0
            _add(new, text, (none + digit) * step[NONE], again)
            for c in likely:
                start = none if text and text[-1] == c else none + digit
                if start > 0:
                    _add(new, (*text, c), 0.0, start * step[c + 1])
        if len(new) > _BEAM:
            new = dict(sorted(new.items(), key=_probability, reverse=True)[:_BEAM])
        total = sum(none + digit for none, digit in new.values()) or 1.0
        beam = {text: (none / total, digit / total) for text, (none, digit) in new.items()}
    return [text for text, _ in sorted(beam.items(), key=_probability, reverse=True)]


def _probability(entry: tuple[tuple[int, ...], tuple[float, float]]) -> float:
    return entry[1][0] + entry[1][1]


def _add(
    beam: dict[tuple[int, ...], tuple[float, float]],
    text: tuple[int, ...],
    none: float,
    digit: float,
) -> None:
    before = beam.get(text, (0.0, 0.0))
    beam[text] = before[0] + none, before[1] + digit
