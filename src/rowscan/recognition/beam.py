"""Beam: the likeliest text of a line, among those that a constraint allows."""

import numpy as np

from rowscan.arrays import Float64, Int64
from rowscan.recognition.constraint import Constraint
from rowscan.recognition.ctc import (
    BLANK,
    Decoding,
    Lines,
    Probabilities,
    Text,
    align,
    best_path_spans,
    pair_probabilities,
    stripped,
    text_probabilities,
)
from rowscan.recognition.pattern import Automaton

_BEAM = 8  # texts
_UNLIKELY = 1e-3  # a class that is less probable at a step begins no character there
_MAJORITY = 0.5  # of the probability of all texts: what has more is the likeliest

Beam = dict[Text, tuple[float, float]]
"""For each text the probability of its paths that end in blank, and of those that do not."""


def decode(probabilities: Probabilities, constraint: Constraint | None = None) -> Decoding:
    """As `decode_lines`, of one line."""
    return decode_lines([np.asarray(probabilities, np.float64)], constraint)[0]


def decode_lines(lines: Lines, constraint: Constraint | None = None) -> list[Decoding]:
    """For each line the likeliest text that is allowed, its probability, and its characters' steps.

    The text of the likeliest path, if it has the majority. Otherwise prefix beam search (Hannun,
    Maas, Jurafsky, Ng: "First-Pass Large Vocabulary Continuous Speech Recognition using
    Bi-Directional Recurrent DNNs", 2014), whose candidates are then compared by their exact
    probabilities.

    Args:
        lines: of each the probabilities of the classes at each step; see `Constraint.restrict`.
        constraint: what may be read, by default anything.

    Returns:
        The empty text, with a probability of 0, where no text that is allowed can be written in so
        few steps.
    """
    if not lines:
        return []
    if constraint is None:
        anything = np.ones(lines[0].shape[1], bool)
        constraint = Constraint(anything, ~anything)
    paths = [best_path_spans(p, constraint.gap) for p in lines]
    texts = [text for text, _ in paths]
    probabilities = pair_probabilities(lines, texts, constraint.gap).tolist()
    return [
        Decoding(text, min(probability, 1.0), spans, possible)
        if probability > _MAJORITY * possible and constraint.accepts(text)
        else _search(p, constraint, possible)
        for p, (text, spans), probability, possible in zip(
            lines,
            paths,
            probabilities,
            (possible_probability(p, constraint) for p in lines),
            strict=True,
        )
    ]


def possible_probability(p: Probabilities, constraint: Constraint) -> float:
    """The probability of all texts that may be read."""
    if constraint.automaton is None:
        return min(float(p.sum(1).prod()), 1.0)
    return min(match_probability(p, constraint.automaton, constraint.gap), 1.0)


def _search(p: Probabilities, constraint: Constraint, possible: float) -> Decoding:
    """As `decode_lines`, where the likeliest path does not tell the text."""
    gap = constraint.gap
    candidates = [text for text in candidate_texts(p, constraint) if constraint.accepts(text)]
    exact = text_probabilities(p, candidates, gap) if candidates else np.zeros(1)
    best = int(exact.argmax())
    if exact[best] == 0:
        return Decoding((), 0.0, (), possible)
    text = candidates[best]
    return Decoding(text, min(float(exact[best]), 1.0), align(p, text, gap), possible)


def candidate_texts(p: Probabilities, constraint: Constraint) -> list[Text]:
    """Texts of which one is nearly always the likeliest that is allowed."""
    found = [stripped(text, constraint.gap) for text in _beam_search(p, constraint)]
    if constraint.automaton is not None:
        found.append(stripped(likeliest_match(p, constraint.automaton), constraint.gap))
    return list(dict.fromkeys(found))


def _beam_search(p: Probabilities, constraint: Constraint) -> list[Text]:
    """The likeliest texts that a beam keeps, the likeliest first."""
    gap, automaton = constraint.gap, constraint.automaton
    beam: Beam = {(): (1.0, 0.0)}
    states: dict[Text, int] = {(): 0}
    for step, is_likely in zip(p.tolist(), (p[:, 1:] >= _UNLIKELY).tolist(), strict=True):
        likely = [c for c in range(len(is_likely)) if is_likely[c]]
        new: Beam = {}
        for text, (blank, character) in beam.items():
            last = text[-1] if text else gap
            if last is not None and last == gap:
                nothing = step[BLANK] + step[gap + 1]
                _add(new, text, (blank + character) * nothing, 0.0)
            else:
                again = character * step[last + 1] if text and last is not None else 0.0
                _add(new, text, (blank + character) * step[BLANK], again)
            for c in likely:
                if c == last and c == gap:
                    continue
                start = blank if text and last == c else blank + character
                if start > 0:
                    longer = (*text, c)
                    if automaton is not None and longer not in states:
                        states[longer] = int(automaton.next[states[text], c])
                    if automaton is None or states[longer] >= 0:
                        _add(new, longer, 0.0, start * step[c + 1])
        if len(new) > _BEAM:
            new = dict(sorted(new.items(), key=_probability, reverse=True)[:_BEAM])
        total = sum(blank + character for blank, character in new.values()) or 1.0
        beam = {text: (blank / total, last / total) for text, (blank, last) in new.items()}
    return [text for text, _ in sorted(beam.items(), key=_probability, reverse=True)]


def _probability(entry: tuple[Text, tuple[float, float]]) -> float:
    return entry[1][0] + entry[1][1]


def _add(beam: Beam, text: Text, blank: float, character: float) -> None:
    before = beam.get(text, (0.0, 0.0))
    beam[text] = before[0] + blank, before[1] + character


# Paths of a pattern. At each step they are in a state of its automaton, after blank or a character.


def match_probability(p: Probabilities, automaton: Automaton, gap: int | None = None) -> float:
    """The probability of all texts that match, over all their paths."""
    before = automaton.predecessors
    blank = np.zeros(len(automaton.accepting) + 1)  # the last one stands for no state
    character = np.zeros((len(blank), automaton.next.shape[1]))
    blank[0] = 1
    log_scale = 0.0
    for step in np.asarray(p, np.float64):
        every = blank + character.sum(1)
        # A character begins after a blank or another one.
        entering = (every[:, None] - character)[before, np.arange(character.shape[1])[:, None]]
        first = blank[0]
        blank = every * step[BLANK]
        if gap is not None:
            blank[0] += first * step[gap + 1]
        character = (character + entering.sum(2)) * step[1:]
        scale = float(blank.sum() + character.sum())
        if scale == 0:
            return 0.0
        blank /= scale
        character /= scale
        log_scale += np.log(scale)
    ends = (blank + character.sum(1))[:-1][automaton.accepting].sum()
    return float(np.exp(log_scale) * ends)


def likeliest_match(p: Probabilities, automaton: Automaton) -> Text:
    """The text of the likeliest path among those whose text matches (Viterbi)."""
    before = automaton.predecessors
    states, characters, _ = before.shape
    columns = np.arange(characters)
    with np.errstate(divide="ignore"):
        log_p = np.log(np.asarray(p, np.float64))
    blank = np.full(states, -np.inf)
    blank[0] = 0
    character = np.full((states, characters), -np.inf)
    history = []
    for step in log_p:
        others, which = _best_of_others(character)
        source = np.where(others > blank[:, None], which, -1)  # -1: after a blank
        start = np.maximum(others, blank[:, None])[before, columns[:, None]]
        chosen = start.argmax(2)[..., None]
        entering = np.take_along_axis(start, chosen, 2)[..., 0]
        origin = np.take_along_axis(before, chosen, 2)[..., 0]
        stays = character >= entering
        ended = character.argmax(1)
        last = character.max(1)
        history.append((np.where(last > blank, ended, -1), stays, origin, source))
        blank = np.maximum(blank, last) + step[BLANK]
        character = np.where(stays, character, entering) + step[1:]
    last = np.maximum(blank, character.max(1))[:-1]
    state = int(np.where(automaton.accepting, last, -np.inf).argmax())
    current = -1 if blank[state] >= character[state].max() else int(character[state].argmax())
    text: list[int] = []
    for ended, stays, origin, source in reversed(history):
        if current < 0:
            current = int(ended[state])
        elif not stays[state, current]:
            text.append(current)
            before_it = int(origin[state, current])
            state, current = before_it, int(source[before_it, current])
    return tuple(reversed(text))


def _best_of_others(
    character: Float64[np.ndarray, "states characters"],
) -> tuple[Float64[np.ndarray, "states characters"], Int64[np.ndarray, "states characters"]]:
    """For each character the best value among the other characters of its row, and which it is."""
    best = character.argmax(1)
    rows = np.arange(len(character))
    rest = character.copy()
    rest[rows, best] = -np.inf
    second = rest.argmax(1)
    is_best = np.arange(character.shape[1]) == best[:, None]
    which = np.where(is_best, second[:, None], best[:, None])
    value = np.where(is_best, rest[rows, second][:, None], character[rows, best][:, None])
    return value, which
