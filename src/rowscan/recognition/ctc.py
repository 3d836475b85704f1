"""Connectionist temporal classification: from probabilities at each step to a text.

A network that reads a line gives at each step the probabilities of blank (class 0) and of the
characters (character i is class i + 1). A path is a class for each step; its text is what remains
when runs of one class become one and blanks are dropped. The probability of a text is the sum over
all its paths (Graves, Fernández, Gomez, Schmidhuber: "Connectionist Temporal Classification",
2006).

The paths of a text form a lattice of steps × states: state 2i + 1 is character i, the even states
are the blanks before, between and after the characters. From one step to the next a path stays in
its state, moves on by one, or skips a blank between two different characters.

Where one character is the gap between words, texts neither begin nor end with it nor have two of
them side by side, and paths that differ in this alone have the same text.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rowscan.arrays import Bool, Float, Float64, Int64

Text = tuple[int, ...]
"""The indices of characters."""
Probabilities = Float[np.ndarray, "time classes"]
Batch = Float[np.ndarray, "lines time classes"]
Lines = Sequence[Float[np.ndarray, "_ classes"]]
"""Several lines, each with its own number of steps."""
Alternatives = Float[np.ndarray, "_ classes"]
Spans = tuple[tuple[int, int], ...]
"""First and last step of each character."""

BLANK = 0
_CERTAIN = 1e-4  # a step at which anything but blank is less probable decides nothing
_AT_ONCE = 500_000  # numbers in an array of all states, or classes, of all steps of some lines
_RESCALE = 4  # steps between two rescalings: before that no probability underflows


@dataclass(frozen=True)
class Decoding:
    """The likeliest text of a line."""

    text: Text
    probability: float
    """Of exactly this text, over all its paths."""
    spans: Spans
    """First and last step of each character in the likeliest path."""
    possible: float = 1.0
    """The probability of all texts that may be read."""


def best_path(probabilities: Probabilities, gap: int | None = None) -> Text:
    """The text of the likeliest path (best path decoding): fast, and nearly always the likeliest.

    The likeliest text may be another, which many less probable paths give.
    """
    return best_path_spans(probabilities, gap)[0]


def best_path_spans(probabilities: Probabilities, gap: int | None = None) -> tuple[Text, Spans]:
    """As `best_path`, with the steps of its characters."""
    path = probabilities.argmax(1)
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    stops = np.append(starts[1:], len(path))
    runs = [
        (int(path[start]) - 1, (int(start), int(stop) - 1))
        for start, stop in zip(starts, stops, strict=True)
        if path[start] != BLANK
    ]
    if gap is not None:
        kept = [run for before, run in _with_neighbour(runs) if run[0] != gap or before != gap]
        while kept and kept[-1][0] == gap:
            kept.pop()
        runs = kept[1:] if kept and kept[0][0] == gap else kept
    return tuple(c for c, _ in runs), tuple(span for _, span in runs)


_Run = tuple[int, tuple[int, int]]


def _with_neighbour(runs: list[_Run]) -> list[tuple[int, _Run]]:
    """Each run with the character before it."""
    return list(zip([-1, *(c for c, _ in runs[:-1])], runs, strict=True)) if runs else []


def stripped(text: Text, gap: int | None) -> Text:
    """A text without gaps at its ends."""
    while gap is not None and text and text[-1] == gap:
        text = text[:-1]
    while gap is not None and text and text[0] == gap:
        text = text[1:]
    return text


def compressed(
    probabilities: Probabilities,
) -> tuple[Float64[np.ndarray, "rows classes"], Int64[np.ndarray, " rows"]]:
    """Each run of steps that are certainly blank made one; and the first step of each row.

    Three steps of four are such steps. The probability of a text changes by less than one in ten
    thousand for each.
    """
    p = np.asarray(probabilities, np.float64)
    certain = p[:, BLANK] >= 1 - _CERTAIN
    starts = np.flatnonzero(~(certain & np.append(False, certain[:-1])))
    rows = p[starts]
    rows[:, BLANK] = np.multiply.reduceat(p[:, BLANK], starts)
    return rows, starts


def stacked(lines: Lines) -> Batch:
    """Lines of different lengths as one array: the shorter ones end with certain blanks."""
    longest = max(map(len, lines))
    batch = np.zeros((len(lines), longest, lines[0].shape[1]))
    batch[:, :, BLANK] = 1
    for row, line in zip(batch, lines, strict=True):
        row[: len(line)] = line
    return batch


# The lattice


class _Lattice(NamedTuple):
    """The states of a text for each line; all have as many states as the longest text needs."""

    enter: Float64[np.ndarray, "time lines states"]
    """The probability of what a state emits when a path comes to it,"""
    stay: Float64[np.ndarray, "time lines states"]
    """and when it stays there."""
    skip: Bool[np.ndarray, "lines states"]
    """Whether a path may come to it from two states before."""
    last: Int64[np.ndarray, " lines"]
    """The last state of each text."""


def _lattice(p: Batch, texts: Sequence[Text], gap: int | None, *, plain: bool = False) -> _Lattice:
    """With `plain`, gaps between characters are like any other character."""
    last = np.array([2 * len(text) for text in texts])
    classes = np.zeros((len(texts), last.max() + 1), np.int64)
    skip = np.zeros(classes.shape, bool)
    for text, states, skips in zip(texts, classes, skip, strict=True):
        states[1 : 2 * len(text) : 2] = np.add(text, 1)
        skips[3 : 2 * len(text) : 2] = [a != b for a, b in itertools.pairwise(text)]
    used = np.arange(classes.shape[1]) <= last[:, None]
    enter = np.take_along_axis(p, classes[:, None, :], 2) * used[:, None]
    stay = enter
    if gap is not None:
        if not plain:
            inside = (classes == gap + 1)[:, None]
            stay = enter + inside * p[:, :, :1]
            after = np.zeros_like(inside)
            after[:, :, 1:] = inside[:, :, :-1]
            enter, stay = enter * ~after, stay * ~after
        enter, stay = enter.copy(), stay.copy()
        for emitted in (enter, stay):
            emitted[:, :, 0] += p[:, :, gap + 1]
            every = np.flatnonzero(last > 0)
            emitted[every, :, last[every]] += p[every, :, gap + 1]
    return _Lattice(enter.swapaxes(0, 1), stay.swapaxes(0, 1), skip, last)


def text_probability(probabilities: Probabilities, text: Text, gap: int | None = None) -> float:
    """As `text_probabilities`, of one text."""
    return float(text_probabilities(probabilities, [text], gap)[0])


def text_probabilities(
    probabilities: Float[np.ndarray, "*lines time classes"],
    texts: Sequence[Text],
    gap: int | None = None,
) -> Float[np.ndarray, "*lines texts"]:
    """The probability of each text: CTC's forward algorithm (Graves et al., section 4.1).

    A text that has more states than fit into the steps has probability 0.

    Args:
        probabilities: of one line, or of several with the same number of steps.
        texts: the texts, the same for each line.
        gap: the character that is the gap between words.
    """
    p = np.asarray(probabilities, np.float64)
    lines = p.reshape(-1, *p.shape[-2:])
    pairs = [line for line in lines for _ in texts]
    found = pair_probabilities(pairs, list(texts) * len(lines), gap)
    result: np.ndarray = found.reshape(*p.shape[:-2], len(texts))
    return result


def _groups(lines: Lines, texts: Sequence[Text]) -> Iterator[list[int]]:
    """The numbers of lines of about the same length, so few that an array of theirs takes 4 MB."""
    group: list[int] = []
    most = 0  # states or classes
    for i in sorted(range(len(lines)), key=lambda i: len(lines[i])):
        own = max(2 * len(texts[i]) + 1, lines[i].shape[1])
        most = max(most, own)
        if group and (len(group) + 1) * len(lines[i]) * most > _AT_ONCE:
            yield group
            group, most = [], own
        group.append(i)
    if group:
        yield group


def pair_probabilities(
    lines: Lines, texts: Sequence[Text], gap: int | None = None
) -> Float[np.ndarray, " lines"]:
    """As `text_probabilities`, of one text for each line."""
    found = np.empty(len(lines))
    for group in _groups(lines, texts):
        found[group] = _pair_probabilities(
            stacked([lines[i] for i in group]), [texts[i] for i in group], gap
        )
    return found


def _pair_probabilities(
    p: Batch, texts: Sequence[Text], gap: int | None
) -> Float[np.ndarray, " lines"]:
    lattice = _lattice(np.asarray(p, np.float64), texts, gap)
    # Two empty states before the first, so that it needs no special case.
    padded = np.zeros((len(texts), lattice.skip.shape[1] + 2))
    row, one_before, two_before = padded[:, 2:], padded[:, 1:-1], padded[:, :-2]
    row[:, :2] = lattice.enter[0, :, :2]
    log_scale = np.zeros(len(texts))
    for t, (enter, stay) in enumerate(zip(lattice.enter, lattice.stay, strict=True)):
        if t:
            entering = two_before * lattice.skip
            entering += one_before
            entering *= enter
            row *= stay
            row += entering
        if t % _RESCALE == 0 or t == len(lattice.enter) - 1:
            scale = row.sum(1)
            row /= np.where(scale == 0, 1, scale)[:, None]
            with np.errstate(divide="ignore"):
                log_scale += np.log(scale)
    every, last = np.arange(len(texts)), lattice.last
    ends = row[every, last] + np.where(last > 0, row[every, np.maximum(last - 1, 0)], 0)
    result: np.ndarray = np.exp(log_scale) * ends
    return result


def pair_alternatives(
    lines: Lines, texts: Sequence[Text], gap: int | None = None
) -> list[Alternatives]:
    """For each character of each line's text: the probabilities of all classes in its place.

    Row i compares the texts that differ in character i alone: left out (class 0), or each of the
    characters. Their probabilities, over all paths, are scaled to a sum of 1. All come from one
    pass of the forward-backward algorithm (Graves et al., section 4.1). Gaps between words are here
    like any other character.

    Each text must fit into the steps.
    """
    found: dict[int, Alternatives] = {}
    for group in _groups(lines, texts):
        batch = stacked([lines[i] for i in group])
        found |= zip(group, _pair_alternatives(batch, [texts[i] for i in group], gap), strict=True)
    return [found[i] for i in range(len(lines))]


def _pair_alternatives(p: Batch, texts: Sequence[Text], gap: int | None) -> list[Alternatives]:
    lattice = _lattice(p, texts, gap, plain=True)
    forward, scales = _forward(lattice)
    backward = _backward(lattice, scales)
    # Empty states beyond both ends, so that every character has states around it.
    forward, backward = (np.pad(part, ((0, 0), (0, 0), (2, 2))) for part in (forward, backward))
    longest = int(lattice.last.max()) // 2
    characters = np.full((len(texts), longest + 2), -1)
    for row, text in zip(characters, texts, strict=True):
        row[1 : len(text) + 1] = text
    at = 2 * np.arange(longest) + 3
    every = np.arange(p.shape[2] - 1)
    after, before = (
        every != characters[:, side, None] for side in (slice(None, -2), slice(2, None))
    )
    steps = (p[:, :, 1:].swapaxes(0, 1) / scales[:, :, None])[:, :, None]
    replaced = np.zeros((len(texts), longest, len(every)))
    inside = np.zeros_like(replaced)  # all paths that are in the character at this step
    entering = np.broadcast_to(np.equal(at, 3)[:, None], replaced.shape)
    for t, step in enumerate(steps):
        inside += entering
        inside *= step
        if t == len(steps) - 1:
            replaced += inside * np.equal(at, lattice.last[:, None] + 1)[:, :, None]
            break
        ahead = backward[t + 1]
        replaced += inside * (ahead[:, at + 1, None] + ahead[:, at + 2, None] * before)
        entering = forward[t][:, at - 1, None] + forward[t][:, at - 2, None] * after
    left_out = _left_out(forward, backward, characters, lattice.last)
    odds = np.concatenate([left_out[:, :, None], replaced], 2)
    return [
        rows[: len(text)] / rows[: len(text)].sum(1, keepdims=True)
        for rows, text in zip(odds, texts, strict=True)
    ]


def _left_out(
    forward: Float64[np.ndarray, "time lines states"],
    backward: Float64[np.ndarray, "time lines states"],
    characters: Int64[np.ndarray, "lines ends"],
    last: Int64[np.ndarray, " lines"],
) -> Float64[np.ndarray, "lines characters"]:
    """The scaled probability of a text without each character; as in `pair_alternatives`.

    The blanks before and after the character become one, which a path has or skips.
    """
    at = 2 * np.arange(characters.shape[1] - 2) + 3
    differ = characters[:, :-2] != characters[:, 2:]
    without: np.ndarray = (
        forward[:-1, :, at - 2] * (backward[1:, :, at + 1] + differ * backward[1:, :, at + 2])
    ).sum(0)
    if len(at):
        without[:, 0] += backward[0, :, 4] + backward[0, :, 5]
        every = np.flatnonzero(last > 0)
        final = last[every] // 2 - 1
        without[every, final] += forward[-1, every, at[final] - 2]
    return without


def _forward(
    lattice: _Lattice,
) -> tuple[Float64[np.ndarray, "time lines states"], Float64[np.ndarray, "time lines"]]:
    """Probability of all paths to a state, scaled to a sum of 1 at each step; and these sums."""
    time, lines, states = lattice.enter.shape
    forward, scales = np.zeros((time, lines, states)), np.ones((time, lines))
    padded = np.zeros((lines, states + 2))
    row, one_before, two_before = padded[:, 2:], padded[:, 1:-1], padded[:, :-2]
    row[:, :2] = lattice.enter[0, :, :2]
    for t, (enter, stay) in enumerate(zip(lattice.enter, lattice.stay, strict=True)):
        if t:
            entering = two_before * lattice.skip
            entering += one_before
            entering *= enter
            row *= stay
            row += entering
        scale = row.sum(1)
        scales[t] = np.where(scale == 0, 1, scale)
        row /= scales[t][:, None]
        forward[t] = row
    return forward, scales


def _backward(
    lattice: _Lattice, scales: Float64[np.ndarray, "time lines"]
) -> Float64[np.ndarray, "time lines states"]:
    """Probability of all paths on from a state, its own step included, in the same scale.

    Only for plain lattices, in which entering a state and staying in it emit the same.
    """
    time, lines, states = lattice.enter.shape
    backward = np.zeros((time, lines, states))
    padded = np.zeros((lines, states + 2))
    row, one_after, two_after = padded[:, :-2], padded[:, 1:-1], padded[:, 2:]
    skip = np.pad(lattice.skip[:, 2:], ((0, 0), (0, min(2, states))))[:, :states]
    every = np.arange(lines)
    row[every, lattice.last] = 1
    row[every, np.maximum(lattice.last - 1, 0)] = 1
    for t in range(len(backward) - 1, -1, -1):
        if t < len(backward) - 1:
            leaving = two_after * skip
            leaving += one_after
            row += leaving
        row *= lattice.enter[t] / scales[t][:, None]
        backward[t] = row
    return backward


def align(probabilities: Probabilities, text: Text, gap: int | None = None) -> Spans:
    """First and last step of each character in the likeliest path of a text (Viterbi).

    The text must fit into the steps.
    """
    lattice = _lattice(np.asarray(probabilities, np.float64)[None], [text], gap)
    with np.errstate(divide="ignore"):
        enter, stay = np.log(lattice.enter[:, 0]), np.log(lattice.stay[:, 0])
    steps, states = enter.shape
    skip = np.where(lattice.skip[0, 2:], 0.0, -np.inf)
    score = np.full(states, -np.inf)
    score[:2] = enter[0, :2]
    came_from = np.zeros((steps, states), np.int64)  # states back: 0, 1 or 2
    for t in range(1, steps):
        entering = np.full((3, states), -np.inf)
        entering[0] = score + stay[t]
        entering[1, 1:] = score[:-1] + enter[t, 1:]
        entering[2, 2:] = score[:-2] + skip + enter[t, 2:]
        came_from[t] = entering.argmax(0)
        score = entering.max(0)
    state = states - 1 if states == 1 or score[-1] >= score[-2] else states - 2
    spans = [(steps, -1)] * len(text)
    for t in range(steps - 1, -1, -1):
        if state % 2:
            first, last = spans[state // 2]
            spans[state // 2] = min(first, t), max(last, t)
        state -= int(came_from[t, state])
    return tuple(spans)
