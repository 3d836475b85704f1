"""Patterns match what `re.fullmatch` matches, and refuse what they do not support."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rowscan.errors import UsageError
from rowscan.recognition.pattern import compile_pattern

ALPHABET = "0123./-$ "

_literals = st.sampled_from([*"0123/ ", r"\.", r"\$", r"\-", r"\/"])
_classes = st.builds(
    lambda negated, members: f"[{negated}{''.join(members)}]",
    st.sampled_from(["", "^"]),
    st.lists(st.sampled_from([*"0123/.$", "1-3", r"\d", r"\-", r"\]", r"\."]), min_size=1),
)
_atoms = st.one_of(_literals, _classes, st.sampled_from([".", r"\d", r"\s"]))
_quantifiers = st.sampled_from(["", "", "?", "*", "+", "{2}", "{1,}", "{,2}", "{0,3}", "{0}"])


def _more(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    groups = st.builds(
        lambda kind, part, quantifier: f"({kind}{part}){quantifier}",
        st.sampled_from(["", "?:"]),
        inner,
        _quantifiers,
    )
    return st.one_of(
        groups,
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map("|".join),
    )


patterns = st.recursive(st.builds(str.__add__, _atoms, _quantifiers), _more, max_leaves=6)
texts = st.lists(st.text(ALPHABET, max_size=6), min_size=1, max_size=20)


@settings(max_examples=400, deadline=None)
@given(patterns, texts)
@example(r"^\d{2}/\d{2}/\d{2,4}$", ["12/03/1203", "12/03/1", "12/03/12"])
@example("", [""])
@example("[]0-]", ["0", "-", "1"])
@example(r"(1|12)(23|3)", ["123", "1223", "12", "13"])
def test_a_pattern_matches_what_python_s_expressions_match(pattern: str, texts: list[str]) -> None:
    expected = {text: re.fullmatch(pattern, text) is not None for text in texts}
    try:
        automaton = compile_pattern(pattern, ALPHABET)
    except UsageError as error:
        assert "no text of the characters" in str(error)  # noqa: PT017
        assert not any(expected.values())
        return
    for text, matches in expected.items():
        assert automaton.matches(tuple(map(ALPHABET.index, text))) == matches, text


@settings(max_examples=100, deadline=None)
@given(patterns)
def test_from_each_state_some_text_matches(pattern: str) -> None:
    try:
        automaton = compile_pattern(pattern, ALPHABET)
    except UsageError:
        return
    reaching = set(automaton.accepting.nonzero()[0].tolist())
    for _ in automaton.accepting:
        reaching |= {
            state for state, row in enumerate(automaton.next.tolist()) if reaching & set(row)
        }
    assert reaching == set(range(len(automaton.accepting)))


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"\w+", r"\w is not supported"),
        (r"(\d)\1", r"\1 is not supported"),
        (r"\d+?", "a quantifier after a quantifier"),
        (r"(?=1)", "(? is supported only as (?:...)"),
        (r"(?P<a>1)", "(? is supported only as (?:...)"),
        (r"$\d", "unexpected '$' (write \\$ for the sign)"),
        (r"1^", "unexpected '^'"),
        ("(1", "a group is not closed"),
        ("1)", "unexpected ')'"),
        ("[1", "it ends too early"),
        ("[3-1]", "a range that begins with '3'"),
        ("*1", "unexpected '*'"),
        ("1{", "expected '}'"),
        ("1{a}", "expected {m} or {m,n}, got {a}"),
        ("1{3,2}", "{3,2}: expected 0 <= m <= n <= 100"),
        ("1{1000}", "{1000}: expected 0 <= m <= n <= 100"),
        ("x", "no text of the characters '0123./-$ ' matches"),
        ("\\", "it ends too early"),
        ("((((1{100}){100}){100}){100})", "too many repetitions"),
        (r"(\d{0,50}){0,50}", "too many repetitions"),
        ("(0|1)*0(0|1){30}", "too long, or with too many choices"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(pattern: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_pattern(pattern, ALPHABET)
    assert str(caught.value) == f"pattern {pattern!r}: {reason}"
