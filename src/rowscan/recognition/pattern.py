r"""Patterns: what a text must look like, as an automaton. It knows nothing of probabilities.

A pattern is a regular expression of the simple kind: characters, `.`, `\d`, classes `[...]`,
groups, `|`, and the quantifiers `?`, `*`, `+` and `{m,n}`. It means what it means to
`re.fullmatch`. It is parsed into an automaton whose states several texts share (Thompson: "Regular
expression search algorithm", 1968), which is then made deterministic by sets of states (Rabin and
Scott: "Finite automata and their decision problems", 1959).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rowscan.alphabet import DIGITS
from rowscan.arrays import Bool, Int64
from rowscan.errors import UsageError

_MAX_STATES = 400
_MAX_REPEAT = 100
_MAX_WORK = 2_000_000  # states in all sets of states: a second
_NONE = -1


@dataclass(frozen=True, eq=False)
class Automaton:
    """A deterministic automaton; it begins in state 0, and from each state it can still accept."""

    next: Int64[np.ndarray, "states characters"]
    """The state after each character; -1 where no text that matches goes on like that."""
    accepting: Bool[np.ndarray, " states"]
    """Whether a text may end here."""

    def state_of(self, text: tuple[int, ...]) -> int:
        """The state after a text of character indices; -1 if nothing that begins so matches."""
        state = 0
        for character in text:
            if state != _NONE:
                state = int(self.next[state, character])
        return state

    def matches(self, text: tuple[int, ...]) -> bool:
        """Whether the whole text matches."""
        state = self.state_of(text)
        return state != _NONE and bool(self.accepting[state])

    @cached_property
    def predecessors(self) -> Int64[np.ndarray, "more_states characters most"]:
        """The states from which each character leads to each state, padded with one that is none.

        The last state is the one that is none.
        """
        states, characters = self.next.shape
        found: list[list[list[int]]] = [[[] for _ in range(characters)] for _ in range(states + 1)]
        for source, row in enumerate(self.next.tolist()):
            for character, target in enumerate(row):
                if target >= 0:
                    found[target][character].append(source)
        most = max(len(sources) for row in found for sources in row) or 1
        return np.array([[s + [states] * (most - len(s)) for s in row] for row in found])


def compile_pattern(pattern: str, alphabet: str) -> Automaton:
    """The automaton of a pattern.

    Args:
        pattern: the regular expression.
        alphabet: the characters of a text, by their indices.

    Raises:
        UsageError: syntax that is not supported, or no text of these characters matches.
    """
    nfa = _Nfa()
    start, end = _Parser(pattern, alphabet, nfa).parse()
    automaton = _determinize(nfa, start, end, alphabet, pattern)
    if automaton is None:
        known = alphabet.replace("\0", "")
        raise UsageError(f"pattern {pattern!r}: no text of the characters {known!r} matches")
    return automaton


class _Nfa:
    """States with steps by a set of characters, or by none (None)."""

    def __init__(self) -> None:
        self.steps: list[list[tuple[frozenset[str] | None, int]]] = []

    def state(self) -> int:
        self.steps.append([])
        return len(self.steps) - 1

    def step(self, source: int, characters: frozenset[str] | None, target: int) -> None:
        self.steps[source].append((characters, target))

    def closure(self, states: frozenset[int]) -> frozenset[int]:
        """These states, and all that they reach by steps without a character."""
        found, waiting = set(states), list(states)
        while waiting:
            for characters, target in self.steps[waiting.pop()]:
                if characters is None and target not in found:
                    found.add(target)
                    waiting.append(target)
        return frozenset(found)


_Part = Callable[[], tuple[int, int]]
"""Adds a part of the pattern to the automaton at each call; its first and last state."""


class _Parser:
    """Recursive descent: alternation, sequence, repetition, atom."""

    def __init__(self, pattern: str, alphabet: str, nfa: _Nfa) -> None:
        self._pattern, self._alphabet, self._nfa = pattern, frozenset(alphabet), nfa
        self._at = 0
        self._end = len(pattern)

    def parse(self) -> tuple[int, int]:
        """The first and the last state of the whole pattern."""
        if self._peek() == "^":
            self._at += 1
        if self._pattern.endswith("$") and not self._pattern.endswith("\\$"):
            self._end -= 1
        part = self._alternation()
        if self._at < self._end:
            raise self._error(f"unexpected {self._peek()!r}")
        return part()

    def _alternation(self) -> _Part:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else lambda: self._any_of(parts)

    def _sequence(self) -> _Part:
        parts: list[_Part] = []
        while self._at < self._end and self._peek() not in "|)":
            parts.append(self._repetition())
        return lambda: self._one_after_the_other(parts)

    def _repetition(self) -> _Part:
        part = self._atom()
        low, high = self._quantifier()
        if self._at < self._end and self._peek() in "?*+{":
            raise self._error("a quantifier after a quantifier")
        return part if (low, high) == (1, 1) else lambda: self._repeated(part, low, high)

    def _quantifier(self) -> tuple[int, int | None]:
        for mark, low, high in (("?", 0, 1), ("*", 0, None), ("+", 1, None)):
            if self._take(mark):
                return low, high
        if not self._take("{"):
            return 1, 1
        inside = self._until("}")
        first, comma, second = inside.partition(",")
        numbers = [n for n in (first, second) if n]
        if not numbers or not all(n.isascii() and n.isdigit() for n in numbers):
            raise self._error(f"expected {{m}} or {{m,n}}, got {{{inside}}}")
        low = int(first or 0)
        high = (int(second) if second else None) if comma else low
        if max(low, high or 0) > _MAX_REPEAT or (high is not None and high < low):
            raise self._error(f"{{{inside}}}: expected 0 <= m <= n <= {_MAX_REPEAT}")
        return low, high

    def _atom(self) -> _Part:
        character = self._next()
        if character == "(":
            if self._take("?") and not self._take(":"):
                raise self._error("(? is supported only as (?:...)")
            part = self._alternation()
            if not self._take(")"):
                raise self._error("a group is not closed")
            return part
        if character == "[":
            return self._one_of(self._class())
        if character == ".":
            return self._one_of(self._alphabet)
        if character == "\\":
            return self._one_of(self._escaped())
        if character in "*+?{}])^$":
            hint = " (write \\$ for the sign)" if character == "$" else ""
            raise self._error(f"unexpected {character!r}{hint}")
        return self._one_of(frozenset(character))

    def _class(self) -> frozenset[str]:
        negated = self._take("^")
        found: set[str] = set()
        first = True
        while first or self._peek() != "]":
            first = False
            start = self._class_member()
            if len(start) == 1 and self._peek() == "-" and self._peek(1) not in ("]", ""):
                self._at += 1
                stop = self._class_member()
                if len(stop) != 1 or max(stop) < max(start):
                    raise self._error(f"a range that begins with {max(start)!r}")
                found.update(chr(c) for c in range(ord(max(start)), ord(max(stop)) + 1))
            else:
                found |= start
        self._at += 1
        return self._alphabet - found if negated else frozenset(found)

    def _class_member(self) -> frozenset[str]:
        character = self._next()
        if character == "[":
            raise self._error("write \\[ for a bracket in a class")
        return self._escaped() if character == "\\" else frozenset(character)

    def _escaped(self) -> frozenset[str]:
        character = self._next()
        if character == "d":
            return frozenset(DIGITS)
        if character == "s":
            return frozenset(" ")
        if character.isalnum():
            raise self._error(f"\\{character} is not supported")
        return frozenset(character)

    # Building

    def _one_of(self, characters: frozenset[str]) -> _Part:
        def build() -> tuple[int, int]:
            start, end = self._nfa.state(), self._nfa.state()
            self._nfa.step(start, characters, end)
            return start, end

        return build

    def _one_after_the_other(self, parts: list[_Part]) -> tuple[int, int]:
        start = end = self._nfa.state()
        for part in parts:
            first, last = part()
            self._nfa.step(end, None, first)
            end = last
        return start, end

    def _any_of(self, parts: list[_Part]) -> tuple[int, int]:
        start, end = self._nfa.state(), self._nfa.state()
        for part in parts:
            first, last = part()
            self._nfa.step(start, None, first)
            self._nfa.step(last, None, end)
        return start, end

    def _repeated(self, part: _Part, low: int, high: int | None) -> tuple[int, int]:
        start = end = self._nfa.state()
        skips = []
        for number in range(low if high is None else high):
            if len(self._nfa.steps) > 50 * _MAX_STATES:
                raise self._error("too many repetitions")
            first, last = part()
            self._nfa.step(end, None, first)
            if number >= low:
                skips.append(end)
            end = last
        if high is None:
            first, last = part()
            loop = self._nfa.state()
            self._nfa.step(end, None, loop)
            self._nfa.step(loop, None, first)
            self._nfa.step(last, None, loop)
            end = loop
        final = self._nfa.state()
        for state in (end, *skips):
            self._nfa.step(state, None, final)
        return start, final

    # Reading the pattern

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._pattern[at] if at < self._end else ""

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise self._error("it ends too early")
        self._at += 1
        return character

    def _take(self, character: str) -> bool:
        found = self._peek() == character
        self._at += found
        return found

    def _until(self, character: str) -> str:
        stop = self._pattern.find(character, self._at, self._end)
        if stop < 0:
            raise self._error(f"expected {character!r}")
        inside = self._pattern[self._at : stop]
        self._at = stop + 1
        return inside

    def _error(self, reason: str) -> UsageError:
        return UsageError(f"pattern {self._pattern!r}: {reason}")


def _determinize(nfa: _Nfa, start: int, end: int, alphabet: str, pattern: str) -> Automaton | None:
    """The deterministic automaton, without states that lead nowhere; None if nothing matches."""
    sets = [nfa.closure(frozenset({start}))]
    numbers = {sets[0]: 0}
    table: list[list[int]] = []
    work = 0
    for states in sets:  # it grows meanwhile
        row = []
        for character in alphabet:
            targets = {
                target
                for state in states
                for characters, target in nfa.steps[state]
                if characters is not None and character in characters
            }
            reached = nfa.closure(frozenset(targets))
            work += len(states) + len(reached)
            if work > _MAX_WORK:
                raise UsageError(f"pattern {pattern!r}: too many repetitions")
            if reached and reached not in numbers:
                numbers[reached] = len(sets)
                sets.append(reached)
            row.append(numbers.get(reached, _NONE))
        table.append(row)
        if len(sets) > _MAX_STATES:
            raise UsageError(f"pattern {pattern!r}: too long, or with too many choices")
    after = np.array(table).reshape(len(sets), len(alphabet))
    accepting = np.array([end in states for states in sets])
    alive = accepting.copy()
    for _ in sets:
        alive |= ((after != _NONE) & alive[after]).any(1)
    if not alive[0]:
        return None
    renumbered = np.append(np.where(alive, np.cumsum(alive) - 1, _NONE), _NONE)
    return Automaton(renumbered[after][alive], accepting[alive])
