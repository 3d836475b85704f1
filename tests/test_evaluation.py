"""Readings are compared with labels as people write them."""

from pathlib import Path

import pytest

from rowscan.alphabet import ALPHABET, DIGITS
from rowscan.datasets.labelled import load_labels
from rowscan.evaluation import comparable, evaluate, score_pictures
from rowscan.metrics import NumberResult
from rowscan.reader import Reader
from rowscan.reading import Character, Line, Reading

SEVEN = Path(__file__).parent.parent / "examples" / "digits" / "7-13.png"


def _reading(*texts: str) -> Reading:
    box = (0, 0, 1, 1)
    lines = (Line(tuple(Character(c, 0.9, box, None) for c in text), 0.9, box) for text in texts)
    return Reading(9, 9, tuple(lines), 0.9)


@pytest.mark.parametrize(
    ("label", "readable", "texts", "right"),
    [
        ("1250", ALPHABET, ["12.50"], True),
        ("12.50", ALPHABET, ["12.50"], True),
        ("12.50", ALPHABET, ["1250"], False),
        ("12.50", DIGITS, ["1250"], True),  # this reader may not read dots
        ("CHF 12", ALPHABET, ["12"], True),  # nor letters
        ("4 1/2", ALPHABET, ["41/2"], True),
        ("12 / 3.5", ALPHABET, ["12", "3.5"], True),
        ("12 / 35", ALPHABET, ["12", "3.5", "-"], True),
        ("12 / 35", ALPHABET, ["123", "5"], False),
        ("", ALPHABET, [], True),
        ("", ALPHABET, ["7"], False),
    ],
)
def test_labels_with_signs_are_compared_with_the_text(
    label: str, readable: str, texts: list[str], right: bool
) -> None:
    read, true = comparable(_reading(*texts), label, readable)
    assert (read == true) == right


def test_labels_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "7.png").write_bytes(SEVEN.read_bytes())
    rows = ["Filename,Label,who,Full", "7.png,7,a,7", "7.png,\u2212 7,b,$7", "7.png,3,c,7.5"]
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    labelled = load_labels(tmp_path)
    assert [picture.label for picture in labelled] == ["7", "7", "3"]
    assert [picture.text for picture in labelled] == ["7", "- 7", "3"]
    assert [picture.full for picture in labelled] == ["7", "$7", "7.5"]
    result = evaluate(Reader(alphabet="digits"), tmp_path)
    assert isinstance(result, NumberResult)
    assert (result.n, result.correct) == (3, 2)
    assert result.as_written == pytest.approx(1 / 3)
    assert "as written   33.33%" in result.to_text()


def test_without_full_texts_nothing_is_said_of_them() -> None:
    result = score_pictures(Reader(), [(SEVEN, "7")], "one")
    assert (result.correct, result.as_written) == (1, None)
    assert "written" not in result.to_text()
