"""Pooling: the likeliest text by both models, against a search through all texts."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowscan.alphabet import ALPHABET, DIGITS
from rowscan.forms.pooling import Seen, likeliest, pooled
from rowscan.reader import Reader
from rowscan.reading import Character, Line
from rowscan.recognition.characters import IMPLAUSIBLE
from rowscan.recognition.pattern import compile_pattern
from rowscan.recognition.selection import Candidate

PATTERNS = [None, r"\d{3}", r"[01]\d[57]", r"(12|3\d)[0-4]", r"\d\.\d"]


@given(
    st.lists(st.lists(st.floats(0.01, 1), min_size=11, max_size=11), min_size=3, max_size=3),
    st.sampled_from(PATTERNS),
)
def test_the_likeliest_text_is_that_of_a_search(
    values: list[list[float]], pattern: str | None
) -> None:
    rows = np.array(values) / np.sum(values, axis=1, keepdims=True)
    automaton = compile_pattern(pattern, f"{DIGITS}.") if pattern else None
    texts = itertools.product(range(11), repeat=3)
    found = {
        text: float(np.prod([row[c] for row, c in zip(rows, text, strict=True)]))
        for text in texts
        if automaton is None or automaton.matches(text)
    }
    best, possible = max(found.values()), sum(found.values())
    text, probability = likeliest(rows, automaton)
    assert found[text] == pytest.approx(best)
    wanted = best if automaton is None else best / (possible + IMPLAUSIBLE * (1 - possible))
    assert probability == pytest.approx(wanted)


def test_what_is_passed_over_lowers_the_confidence() -> None:
    """A digit that was taken for a sign is missing in the text."""
    line = Line((Character("7", 1.0, (0, 0, 9, 9), None),), 0.98, (0, 0, 9, 9))
    (found,) = pooled([Seen(Candidate(1.0, line, passed_over=0.9), (), None, ALPHABET)], Reader())
    assert found.text == "7"
    assert found.confidence == pytest.approx(0.098)
