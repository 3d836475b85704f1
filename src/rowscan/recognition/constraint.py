"""Constraint: what may be read: some characters of the model's alphabet, and texts of a pattern."""

from dataclasses import dataclass, replace

import numpy as np

from rowscan.alphabet import ALPHABETS, DIGITS, OTHER, SPACE
from rowscan.arrays import Bool, Float
from rowscan.errors import UsageError
from rowscan.recognition.ctc import BLANK, Text
from rowscan.recognition.pattern import Automaton, compile_pattern


@dataclass(frozen=True, eq=False)
class Constraint:
    """What may be read.

    Attributes:
        classes: which classes may be read, blank among them.
        passed_over: which classes are there and not to be read: signs, words.
        gap: the character that is the gap between words, if it may be read.
        automaton: what the text must match; None for anything.
        taken_for: pairs of classes: what is seen as the first may only be the second.
    """

    classes: Bool[np.ndarray, " classes"]
    passed_over: Bool[np.ndarray, " classes"]
    gap: int | None = None
    automaton: Automaton | None = None
    taken_for: tuple[tuple[int, int], ...] = ()

    def taking(self, seen: str, meant: str, known: str) -> "Constraint":
        """Read one character for another that it looks like, where it may not be read itself.

        Args:
            seen: the character, and
            meant: what it is read for.
            known: the model's alphabet.
        """
        if seen not in known or self.classes[one := known.index(seen) + 1]:
            return self
        passed_over = self.passed_over.copy()
        passed_over[one] = False
        pairs = (*self.taken_for, (one, known.index(meant) + 1))
        return replace(self, passed_over=passed_over, taken_for=pairs)

    def restrict(
        self, probabilities: Float[np.ndarray, "*lines time classes"]
    ) -> Float[np.ndarray, "*lines time classes"]:
        """The probabilities of the classes that may be read.

        Those of what is passed over are given to blank, so a sign that may not be read vanishes;
        divided among the others, a dot would become the digit that is least unlike one. Where
        digits may not be read, the rows sum to less than 1.
        """
        p = np.asarray(probabilities, np.float64)
        restricted = np.where(self.classes, p, 0)
        restricted[..., BLANK] += p[..., self.passed_over].sum(-1)
        for seen, meant in self.taken_for:
            restricted[..., meant] += p[..., seen]
        return restricted

    def accepts(self, text: Text) -> bool:
        """Whether a text of characters that may be read matches."""
        return self.automaton is None or self.automaton.matches(text)


def constraint(
    known: str,
    *,
    alphabet: str | None = None,
    pattern: str | None = None,
    show_other: bool = False,
) -> Constraint:
    """What may be read by a model.

    Args:
        known: the model's alphabet.
        alphabet: the name of one of `ALPHABETS`, or the characters; by default all.
        pattern: the regular expression that texts must match; see `pattern`.
        show_other: whether characters outside the alphabet are read as "□".

    Raises:
        UsageError: a character that the model does not know, or a pattern that no text matches.
    """
    wanted = set(known)
    if alphabet is not None:
        wanted = set(ALPHABETS.get(alphabet, alphabet))
        unknown = sorted(wanted - set(known))
        if unknown and alphabet not in ALPHABETS:
            raise UsageError(
                f"alphabet {alphabet!r}: the model does not know {unknown[0]!r}; "
                f"it knows {known.replace(OTHER, '')!r}; names: {', '.join(ALPHABETS)}"
            )
        if not wanted & set(known):
            raise UsageError("alphabet: expected at least one character")
    wanted = wanted - {OTHER} | ({OTHER} & set(known) if show_other else set())
    automaton = None
    if pattern is not None:
        characters = "".join(c if c in wanted - {OTHER} else "\0" for c in known)
        automaton = compile_pattern(pattern, characters)
        used = np.flatnonzero((automaton.next >= 0).any(0))
        wanted = {known[i] for i in used}
    classes = np.array([True, *(c in wanted for c in known)])
    digits = np.array([False, *(c in DIGITS for c in known)])
    gap = known.index(SPACE) if SPACE in wanted and SPACE in known else None
    return Constraint(classes, ~classes & ~digits, gap, automaton)
