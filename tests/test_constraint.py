"""What may be read: alphabets and patterns inside of the decoder."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowscan.alphabet import ALPHABET, ALPHABETS, DIGITS, OTHER
from rowscan.errors import UsageError
from rowscan.recognition.beam import decode, likeliest_match, match_probability
from rowscan.recognition.constraint import constraint
from rowscan.recognition.ctc import text_probability
from rowscan.recognition.pattern import compile_pattern
from test_ctc import all_texts, random_rows

PATTERNS = ["1", "1?2", "[12]{2}", "(12|3)*", "1.*", "3+1?", "..", "", "2{3}"]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 6), st.sampled_from(PATTERNS), st.integers(0, 2**32))
def test_the_likeliest_text_that_matches_is_found(steps: int, pattern: str, seed: int) -> None:
    rows = random_rows(steps, 4, seed, sharp=3)
    allowed = constraint("123", pattern=pattern)
    texts = {
        text: probability
        for text, probability in all_texts(allowed.restrict(rows)).items()
        if re.fullmatch(pattern, "".join("123"[c] for c in text)) and probability
    }
    found = decode(allowed.restrict(rows), allowed)
    assert found.possible == pytest.approx(sum(texts.values()), rel=1e-9)
    assert found.probability == pytest.approx(max(texts.values(), default=0), rel=1e-9)
    if texts:
        assert texts[found.text] == pytest.approx(found.probability, rel=1e-9)
        assert len(found.spans) == len(found.text)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 5), st.sampled_from(PATTERNS), st.integers(0, 2**32))
def test_the_likeliest_path_that_matches_is_found(steps: int, pattern: str, seed: int) -> None:
    rows = random_rows(steps, 4, seed, sharp=3)
    automaton = compile_pattern(pattern, "123")
    best: dict[tuple[int, ...], float] = {}
    for path in np.ndindex(*(4,) * steps):
        text = tuple(c - 1 for i, c in enumerate(path) if c and (i == 0 or path[i - 1] != c))
        if automaton.matches(text):
            probability = float(rows[np.arange(steps), path].prod())
            best[text] = max(best.get(text, 0), probability)
    if best:
        assert best[likeliest_match(rows, automaton)] == pytest.approx(max(best.values()))


def test_a_pattern_on_a_long_line() -> None:
    rows = random_rows(100, 11, 3, sharp=3)
    allowed = constraint(DIGITS, pattern=r"\d{6}")
    found = decode(rows, allowed)
    assert len(found.text) == 6
    assert 0 < found.probability <= found.possible < 1e-10
    assert allowed.automaton is not None
    assert found.possible == match_probability(rows, allowed.automaton)


def _steps(*likely: tuple[str, float]) -> np.ndarray:
    """At every second step a character with this probability, the rest blank."""
    rows = np.zeros((2 * len(likely) + 1, len(ALPHABET) + 1))
    rows[:, 0] = 1
    for i, (characters, probability) in enumerate(likely):
        for character in characters:
            rows[2 * i + 1, ALPHABET.index(character) + 1] = probability / len(characters)
        rows[2 * i + 1, 0] = 1 - probability
    return rows


def _read(rows: np.ndarray, **options: object) -> tuple[str, float]:
    allowed = constraint(ALPHABET, **options)  # type: ignore[arg-type]
    found = decode(allowed.restrict(rows), allowed)
    return "".join(ALPHABET[c] for c in found.text), found.probability


def test_signs_that_may_not_be_read_vanish() -> None:
    rows = _steps(("1", 0.99), (".", 0.98), ("5", 0.99), (",", 0.98), (" ", 0.9), ("7", 0.99))
    rows[3, ALPHABET.index("1") + 1] = 0.01
    assert _read(rows)[0] == "1.5, 7"
    assert _read(rows, alphabet="digits")[0] == "157"
    assert _read(rows, alphabet="0123456789.")[0] == "1.57"
    assert _read(rows, pattern=r"\d+")[0] == "157"
    assert _read(rows, alphabet="digits")[1] > 0.95


def test_a_digit_that_may_not_be_read_makes_room_for_the_next_likeliest() -> None:
    rows = _steps(("2", 0.99), ("7", 0.6), ("5", 0.99))
    rows[3, ALPHABET.index("1") + 1] = 0.39
    rows[3, 0] = 0.01
    assert _read(rows)[0] == "275"
    assert _read(rows, alphabet="0123456")[0] == "215"
    assert _read(rows, pattern="[0-6]*")[0] == "215"
    allowed = constraint(ALPHABET, alphabet="0123456")
    assert decode(allowed.restrict(rows), allowed).possible == pytest.approx(0.4, rel=0.01)


def test_something_else_is_read_only_if_it_is_asked_for() -> None:
    word = [(OTHER, 0.9)] * 4
    rows = _steps(*word, (" ", 0.9), ("1", 0.98), ("2", 0.98), (" ", 0.9), *word)
    text, probability = _read(rows)
    assert text == "12"
    assert probability > 0.95  # however many characters the words have
    assert _read(rows, show_other=True)[0] == f"{OTHER * 4} 12 {OTHER * 4}"
    between = _steps(("1", 0.98), (" ", 0.9), *word, (" ", 0.9), ("2", 0.98))
    assert _read(between)[0] == "1 2"


@pytest.mark.parametrize("name", ALPHABETS)
def test_named_alphabets(name: str) -> None:
    allowed = constraint(ALPHABET, alphabet=name)
    readable = {c for c, is_read in zip(ALPHABET, allowed.classes[1:], strict=True) if is_read}
    assert readable == set(ALPHABETS[name])
    assert constraint(DIGITS, alphabet=name).classes.all()  # an older model has digits alone


def test_a_pattern_that_nothing_matches_gives_the_empty_text() -> None:
    rows = np.zeros((3, 11))
    rows[:, 0] = 1
    allowed = constraint(DIGITS, pattern=r"\d{2}")
    found = decode(rows, allowed)
    assert (found.text, found.probability, found.possible) == ((), 0.0, 0.0)
    assert text_probability(rows, (1, 2)) == 0


@pytest.mark.parametrize(
    ("known", "options", "reason"),
    [
        (DIGITS, {"alphabet": "12x"}, "the model does not know 'x'; it knows '0123456789'; names"),
        (DIGITS, {"alphabet": ""}, "alphabet: expected at least one character"),
        (DIGITS, {"pattern": r"\d/\d"}, "no text of the characters"),
        (ALPHABET, {"alphabet": "digits", "pattern": r"\d/\d"}, "no text of the characters"),
    ],
)
def test_what_cannot_be_read_is_refused(known: str, options: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        constraint(known, **options)  # type: ignore[arg-type]


def test_a_sign_that_may_not_be_read_is_taken_for_the_digit_that_it_looks_like() -> None:
    steps = np.array([[0.1, 0.3, 0.2, 0.4]])  # blank, 1, slash, dot
    digits = constraint("1/.", alphabet="1")
    np.testing.assert_allclose(digits.restrict(steps), [[0.7, 0.3, 0, 0]])
    taking = digits.taking("/", "1", "1/.")
    np.testing.assert_allclose(taking.restrict(steps), [[0.5, 0.5, 0, 0]])
    signs = constraint("1/.", alphabet="1/").taking("/", "1", "1/.")  # it may be read itself
    np.testing.assert_allclose(signs.restrict(steps), [[0.5, 0.3, 0.2, 0]])
