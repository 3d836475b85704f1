"""Connectionist temporal classification: from probabilities at each step to a sequence of digits.

A network that reads a line gives at each step the probabilities of blank (class 0) and of the ten
digits (digit d is class d + 1). A path is a class for each step; its text is what remains when runs
of one class become one and blanks are dropped. The probability of a text is the sum over all its
paths (Graves, Fernández, Gomez, Schmidhuber: "Connectionist Temporal Classification", 2006).

The paths of a text form a lattice of steps × states: state 2i + 1 is digit i, the even states are
the blanks before, between and after the digits. From one step to the next a path stays in its
state, moves on by one, or skips a blank between two different digits.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rowscan.arrays import Bool, Float, Int64

Probabilities = Float[np.ndarray, "time classes"]
Alternatives = Float[np.ndarray, "digits classes"]
Lattice = Float[np.ndarray, "time states"]
Beam = dict[tuple[int, ...], tuple[float, float]]
"""For each text the probability of its paths that end in blank, and of those that do not."""

BLANK = 0
_BEAM = 8  # texts
_UNLIKELY = 1e-3  # a class that is less probable at a step begins no digit there
_RESCALE = 4  # steps between two rescalings: before that no probability underflows


@dataclass(frozen=True)
class Decoding:
    """The likeliest text of a line."""

    digits: tuple[int, ...]
    probability: float
    """Of exactly this text, over all its paths."""
    spans: tuple[tuple[int, int], ...]
    """First and last step of each digit in the likeliest path."""


def decode(probabilities: Probabilities) -> Decoding:
    """The likeliest text, its probability, and the steps of its digits.

    Prefix beam search (Hannun, Maas, Jurafsky, Ng: "First-Pass Large Vocabulary Continuous Speech
    Recognition using Bi-Directional Recurrent DNNs", 2014), whose candidates are then compared by
    their exact probabilities.

    Args:
        probabilities: of the classes at each step, each row summing to 1.
    """
    candidates = _beam_search(np.asarray(probabilities, np.float64))
    exact = text_probabilities(probabilities, candidates)
    best = int(exact.argmax())
    text = candidates[best]
    return Decoding(text, min(float(exact[best]), 1.0), align(probabilities, text))


def best_path(probabilities: Probabilities) -> tuple[int, ...]:
    """The text of the likeliest path (best path decoding): fast, and nearly always the likeliest.

    The likeliest text may be another, which many less probable paths give.
    """
    path = probabilities.argmax(1)
    begins = np.diff(path, prepend=BLANK) != 0
    return tuple((path[begins & (path != BLANK)] - 1).tolist())


def text_probability(probabilities: Probabilities, digits: tuple[int, ...]) -> float:
    """As `text_probabilities`, of one text."""
    return float(text_probabilities(probabilities, [digits])[0])


def text_probabilities(
    probabilities: Float[np.ndarray, "*lines time classes"], texts: Sequence[tuple[int, ...]]
) -> Float[np.ndarray, "*lines texts"]:
    """The probability of each text: CTC's forward algorithm (Graves et al., section 4.1).

    A text that has more states than fit into the steps has probability 0.

    Args:
        probabilities: of one line, or of several with the same number of steps.
        texts: the texts, the same for each line.
    """
    p = np.moveaxis(np.asarray(probabilities, np.float64), -2, 0)
    last = np.array([2 * len(text) for text in texts])
    classes = np.zeros((len(texts), last.max() + 1), np.int64)
    skip = np.zeros(classes.shape, bool)
    for text, end, states, skips in zip(texts, last, classes, skip, strict=True):
        states[: end + 1] = _classes(text)
        skips[2 : end + 1] = _may_skip(text)
    emitted = p[..., classes]
    emitted *= np.arange(classes.shape[1]) <= last[:, None]
    # Two empty states before the first, so that it needs no special case.
    padded = np.zeros((*emitted.shape[1:-1], classes.shape[1] + 2))
    row, one_before, two_before = padded[..., 2:], padded[..., 1:-1], padded[..., :-2]
    row[..., :2] = emitted[0, ..., :2]
    log_scale = np.zeros(row.shape[:-1])
    for t, step in enumerate(emitted):
        if t:
            entering = two_before * skip
            entering += one_before
            row += entering
            row *= step
        if t % _RESCALE == 0 or t == len(p) - 1:
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
    """For each digit of a text: the probabilities of blank and of each digit in its place.

    Row i compares eleven texts that differ in digit i alone: left out (class 0), or each of the
    ten (digit d is class d + 1). Their probabilities, over all paths, are scaled to a sum of 1.
    All come from one pass of the forward-backward algorithm (Graves et al., section 4.1).

    The text itself must fit into the steps.
    """
    p = np.asarray(probabilities, np.float64)
    emitted, skip = p[:, _classes(digits)], _may_skip(digits)
    forward, scales = _forward(emitted, skip)
    backward = _backward(emitted, skip, scales)
    # Empty states beyond both ends, so that every digit has states around it.
    forward, backward = (np.pad(lattice, ((0, 0), (2, 2))) for lattice in (forward, backward))
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
    replaced = np.zeros((len(digits), len(every)))
    inside = np.zeros_like(replaced)  # all paths that are in the digit at this step
    for t, step in enumerate(p[:, None, 1:] / scales[:, None, None]):
        inside = (inside + enter[t]) * step
        replaced += inside * leave[t]
    odds = np.concatenate([_left_out(forward, backward, text)[:, None], replaced], 1)
    result: np.ndarray = odds / odds.sum(1, keepdims=True)
    return result


def _left_out(
    forward: Lattice, backward: Lattice, text: Int64[np.ndarray, " ends"]
) -> Float[np.ndarray, " digits"]:
    """The scaled probability of a text without each digit; all as in `alternatives`.

    The blanks before and after the digit become one, which a path has or skips.
    """
    at = 2 * np.arange(len(text) - 2) + 3
    differ = text[:-2] != text[2:]
    without: np.ndarray = (
        forward[:-1, at - 2] * (backward[1:, at + 1] + differ * backward[1:, at + 2])
    ).sum(0)
    if len(at):
        without[0] += backward[0, 4] + backward[0, 5]
        without[-1] += forward[-1, at[-1] - 2]
    return without


def align(probabilities: Probabilities, digits: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """First and last step of each digit in the likeliest path of a text (Viterbi).

    The text must fit into the steps.
    """
    with np.errstate(divide="ignore"):
        log_p = np.log(np.asarray(probabilities, np.float64)[:, _classes(digits)])
    steps, states = log_p.shape
    skip = np.where(_may_skip(digits), 0.0, -np.inf)
    score = np.full(states, -np.inf)
    score[:2] = log_p[0, :2]
    came_from = np.zeros((steps, states), np.int64)  # states back: 0, 1 or 2
    for t in range(1, steps):
        entering = np.full((3, states), -np.inf)
        entering[0] = score
        entering[1, 1:] = score[:-1]
        entering[2, 2:] = score[:-2] + skip
        came_from[t] = entering.argmax(0)
        score = entering.max(0) + log_p[t]
    state = states - 1 if states == 1 or score[-1] >= score[-2] else states - 2
    spans = [(steps, -1)] * len(digits)
    for t in range(steps - 1, -1, -1):
        if state % 2:
            first, last = spans[state // 2]
            spans[state // 2] = min(first, t), max(last, t)
        state -= int(came_from[t, state])
    return tuple(spans)


def _forward(
    emitted: Lattice, skip: Bool[np.ndarray, " rest"]
) -> tuple[Lattice, Float[np.ndarray, " time"]]:
    """Probability of all paths to a state, scaled to a sum of 1 at each step; and these sums."""
    forward, scales = np.zeros(emitted.shape), np.zeros(len(emitted))
    row = np.zeros(emitted.shape[1])
    row[:2] = emitted[0, :2]
    for t, step in enumerate(emitted):
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
    emitted: Lattice, skip: Bool[np.ndarray, " rest"], scales: Float[np.ndarray, " time"]
) -> Lattice:
    """Probability of all paths on from a state, its own step included, in the same scale."""
    backward = np.zeros(emitted.shape)
    row = np.zeros(emitted.shape[1])
    row[-2:] = 1.0
    for t in range(len(emitted) - 1, -1, -1):
        if t < len(emitted) - 1:
            after = row.copy()
            row[:-1] += after[1:]
            row[:-2] += after[2:] * skip
        row *= emitted[t] / scales[t]
        backward[t] = row
    return backward


def _classes(digits: tuple[int, ...]) -> list[int]:
    """The class of each state: the digits with blanks before, between and after them."""
    return [BLANK, *(c for digit in digits for c in (digit + 1, BLANK))]


def _may_skip(digits: tuple[int, ...]) -> Bool[np.ndarray, " states"]:
    """For each state from the third on: whether a path may come to it from two states before.

    A digit after a different digit; the blank between two equal digits is what keeps them apart.
    """
    skip = np.zeros(max(2 * len(digits) - 1, 0), bool)
    skip[1::2] = [a != b for a, b in itertools.pairwise(digits)]
    return skip


def _beam_search(p: Float[np.ndarray, "time classes"]) -> list[tuple[int, ...]]:
    """The likeliest texts that a beam keeps, the likeliest first."""
    beam: Beam = {(): (1.0, 0.0)}
    for step, is_likely in zip(p.tolist(), (p[:, 1:] >= _UNLIKELY).tolist(), strict=True):
        likely = [c for c in range(len(is_likely)) if is_likely[c]]
        new: Beam = {}
        for text, (blank, digit) in beam.items():
            again = digit * step[text[-1] + 1] if text else 0.0
            _add(new, text, (blank + digit) * step[BLANK], again)
            for c in likely:
                start = blank if text and text[-1] == c else blank + digit
                if start > 0:
                    _add(new, (*text, c), 0.0, start * step[c + 1])
        if len(new) > _BEAM:
            new = dict(sorted(new.items(), key=_probability, reverse=True)[:_BEAM])
        total = sum(blank + digit for blank, digit in new.values()) or 1.0
        beam = {text: (blank / total, digit / total) for text, (blank, digit) in new.items()}
    return [text for text, _ in sorted(beam.items(), key=_probability, reverse=True)]


def _probability(entry: tuple[tuple[int, ...], tuple[float, float]]) -> float:
    return entry[1][0] + entry[1][1]


def _add(beam: Beam, text: tuple[int, ...], blank: float, digit: float) -> None:
    before = beam.get(text, (0.0, 0.0))
    beam[text] = before[0] + blank, before[1] + digit
