"""`rowscan.review(...)` in a notebook, and samples from the page to write on."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import rowscan
import rowscan.review.store  # whatever was imported before, the package can be called
from rowscan.datasets.reviewed import load_reviewed
from rowscan.errors import UsageError
from rowscan.reading import Character, Line, Reading
from rowscan.review.samples import Samples, corrected

CHEQUE = Path(__file__).parent.parent / "examples" / "numbers" / "cheque.jpg"


def line(text: str, y: int, *, doubt: int | None = None) -> Line:
    """A line of the text, whose character number `doubt` may be a "<"."""
    characters = tuple(
        Character(
            c,
            0.6 if i == doubt else 0.99,
            (82 + 40 * i, y, 30, 80),
            ("<", 0.3) if i == doubt else None,
        )
        for i, c in enumerate(text)
    )
    return Line(characters, 0.6 if doubt is not None else 0.98, (82, y, 250, 84))


SURE = Reading(530, 160, (line("13580", 46),), 0.98)
DOUBTFUL = Reading(530, 160, (line("13580", 46, doubt=2),), 0.6)
TWO = Reading(530, 160, (line("12", 10), line("34", 90)), 0.97)


def test_readings_are_listed_in_order_of_doubt() -> None:
    found = rowscan.review([SURE, (CHEQUE, DOUBTFUL)])
    assert [entry.reading for entry in found.entries] == [DOUBTFUL, SURE]
    assert repr(found).splitlines() == [
        f" 60%  {CHEQUE}: 13[5]80",
        " 98%  reading 1: 13580",
        "To correct readings and learn from them, open the page: rowscan review FOLDER",
    ]
    page = found._repr_html_()
    assert page.count("<img") == 1  # of the one whose picture is known
    assert re.findall(r"<mark[^>]*>.</mark>", page) == [
        '<mark title="5, 60%; or &lt;, 30%">5</mark>'
    ]
    assert rowscan.review(found) is found
    assert rowscan.review(SURE).entries[0].reading is SURE


@pytest.mark.parametrize(
    ("reading", "text", "expected"),
    [
        (TWO, "12 / 34", [("0", "accepted", "12"), ("1", "accepted", "34")]),
        (TWO, "12 / 35", [("0", "accepted", "12"), ("1", "typed", "35")]),
        (TWO, "1234", [("0", "deleted", "12"), ("1", "deleted", "34"), ("whole", "typed", "1234")]),
        (TWO, "", [("0", "deleted", "12"), ("1", "deleted", "34")]),
        (SURE, "", [("0", "deleted", "")]),
        (replace(SURE, lines=()), "7", [("whole", "typed", "7")]),
    ],
)
def test_a_corrected_text_says_what_each_line_is(
    reading: Reading, text: str, expected: list[tuple[str, str, str]]
) -> None:
    found = corrected(reading, text)
    assert [change[:3] for change in found] == expected
    assert all(change[3][2] > 0 for change in found)


def test_a_text_of_other_lines_than_were_read_is_refused() -> None:
    with pytest.raises(UsageError, match=r"expected 2 lines, parted by ' / ', got 3"):
        corrected(TWO, "1 / 2 / 3")
    with pytest.raises(UsageError, match=r"expected one line"):
        corrected(SURE, "1 / 2")


def test_samples_are_a_reviewed_folder(tmp_path: Path) -> None:
    samples = Samples(tmp_path / "kept")
    assert not samples.folder.exists()
    content = CHEQUE.read_bytes()
    assert samples.keep(content, SURE, "13580") == 1
    assert samples.keep(content, SURE, "13.580") == 1
    assert samples.keep(content + b" ", TWO, "12 / 34") == 2
    first, second = sorted(load_reviewed(samples.folder), key=lambda page: len(page.lines))
    assert first.path.read_bytes() == content
    assert first.path.suffix == ".jpg"
    assert [(one.text, one.typed) for one in first.lines] == [("13.580", True)]
    assert second.text == "12 / 34"
