"""An explanation shows the beliefs of the model beside the rows that they belong to."""

import dataclasses
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from rowscan import scans
from rowscan.errors import MissingExtraError, RowscanError, UsageError
from rowscan.explanation import Explanation, _changes, _first_steps, _spread, draw, explain, table
from rowscan.reader import Reader
from rowscan.segmentation.digit import normalise_digit
from test_reader import believed, write_model


def _explanation(scan: str = "rows", time: int = 28) -> Explanation:
    """One row of ink, row 11. Until then a 3 is likely, from then on a 7."""
    picture = np.zeros((28, 28), np.uint8)
    picture[10] = 255
    picture[10, :4] = [0, 1, 100, 200]
    belief = np.zeros((time, 10), np.float32)
    turn = 10 * time // 28
    belief[:turn, 3], belief[:turn, 1] = 0.7, 0.3
    belief[turn:, 7] = 1
    return Explanation(picture=picture, scan=scan, belief=belief, digit=7, confidence=1.0)


def test_an_explanation_has_the_input_and_the_beliefs(tmp_path: Path) -> None:
    sheet = np.full((90, 120), 250, np.uint8)
    sheet[20:24, 30:70] = 10
    sheet[24:80, 64:70] = 10
    reader = Reader(write_model(tmp_path / "model.onnx"))
    explanation = explain(sheet, reader)
    picture = normalise_digit(sheet)
    expected = believed(picture[None])[0]
    assert np.array_equal(explanation.picture, picture)
    assert explanation.belief == pytest.approx(expected, abs=1e-5)
    assert explanation.scan == "rows"
    assert explanation.digit == expected[-1].argmax()
    assert explanation.confidence == pytest.approx(expected[-1].max(), abs=1e-5)


def test_the_table_has_a_line_for_each_row() -> None:
    lines = table(_explanation()).split("\n")
    assert lines[:3] == ["7, 100%", "", " " * 58 + " row  digit"]
    assert len(lines) == 3 + 28
    assert lines[3] == " " * 56 + "     1  3 ███████     70%"
    assert lines[3 + 9] == " " * 56 + "    10  3 ███████     70%"
    assert (
        lines[3 + 10] == "  ░░▒▒" + "▓▓".replace("▓", "█") + "██" * 24 + "    11  7 ██████████ 100%"
    )
    assert lines[3 + 27] == " " * 56 + "    28  7 ██████████ 100%"


def test_the_table_of_another_scan_goes_through_its_steps() -> None:
    def steps(time: int) -> list[int]:
        lines = table(_explanation("patches", time)).split("\n")[3:]
        return [int(line[56:62]) for line in lines if line[56:].strip()]

    assert steps(1) == [1]
    assert steps(49) == [k * 49 // 28 for k in range(1, 29)]
    assert steps(14) == list(range(1, 15))
    assert steps(784) == list(range(28, 785, 28))


@pytest.mark.parametrize(
    ("confidence", "text"), [(1.0, "100%"), (0.9951, ">99%"), (0.98, "98%"), (0.0, "0%")]
)
def test_certainty_is_not_rounded_up(confidence: float, text: str) -> None:
    explanation = dataclasses.replace(_explanation(), confidence=confidence)
    assert table(explanation).startswith(f"7, {text}\n")


def _rows_where(mask: np.ndarray) -> tuple[float, float]:
    rows = np.flatnonzero(mask.any(1)) / len(mask)
    return float(rows[0]), float(rows[-1])


def test_beliefs_stand_beside_their_rows(tmp_path: Path) -> None:
    """The pixels of the drawing: rows 11 to 20 have ink, and after each of them a 7 is certain."""
    explanation = _explanation()
    explanation.picture[10:20] = 255
    explanation.belief[20:] = [0.5, *[0] * 8, 0.5]
    draw(explanation, tmp_path / "e.png")
    with PIL.Image.open(tmp_path / "e.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    body = pixels[int(0.16 * height) : int(0.89 * height)]
    black = (body.max(2) < 25)[:, : width // 2]
    sure = (np.abs(body - [0x12, 0x3F, 0x6D]).max(2) < 8)[:, width // 2 :]
    top, bottom = _rows_where(black)
    row = (bottom - top) / 10
    assert 10 * row == pytest.approx(10 / 28 * 0.75 / 0.73, rel=0.03)
    assert _rows_where(sure) == pytest.approx((top, bottom), abs=0.2 * row)


@pytest.mark.parametrize("scan", ["columns", "permuted", "whole", "rows-both", "patches-reversed"])
def test_every_scan_can_be_drawn_as_png_and_svg(scan: str, tmp_path: Path) -> None:
    explanation = _explanation(scan, len(scans.scan(scan)))
    draw(explanation, tmp_path / "e.png")
    draw(explanation, tmp_path / "deeper" / "e.SVG")
    with PIL.Image.open(tmp_path / "e.png") as image:
        # Ink has the colour of its step: row 11 is many colours unless read in one step.
        colours = {image.convert("RGB").getpixel((x, 361)) for x in range(200, 700, 10)}
        assert len(colours) > 1 or scan in ("whole", "rows-both")
    root = ET.parse(tmp_path / "deeper" / "e.SVG").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deeper", "e.png"]


def test_what_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"e\.jpg: expected a \.png or \.svg file, got \.jpg"):
        draw(_explanation(), tmp_path / "e.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(RowscanError, match=r"e\.png: cannot be written"):
        draw(_explanation(), tmp_path / "file" / "e.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[plots\]"):
        draw(_explanation(), tmp_path / "e.png")
    assert not (tmp_path / "e.png").exists()


def test_matplotlib_is_imported_only_to_draw_and_pyplot_never(tmp_path: Path) -> None:
    script = """
import sys, numpy as np
from pathlib import Path
from rowscan.explanation import Explanation, draw, table
belief = np.full((28, 10), 0.1, np.float32)
e = Explanation(picture=np.eye(28, dtype="u1"), scan="rows", belief=belief, digit=0, confidence=0.1)
table(e)
print("matplotlib" in sys.modules)
draw(e, Path(sys.argv[1]))
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "e.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True", "False"]


@pytest.mark.parametrize("name", list(scans.SCANS))
def test_first_steps(name: str) -> None:
    steps = _first_steps(name)
    for pixel in (0, 1, 29, 400, 783):
        assert steps[pixel] == next(t for t, read in enumerate(scans.scan(name)) if pixel in read)


def test_lasting_changes_of_the_lead_are_labelled() -> None:
    leader = np.array([3] * 10 + [7] * 18)
    assert _changes(leader) == [0, 10]
    # Of 280 steps a lead of less than ten does not count, and a regained lead is not a change.
    flicker = np.array([3] * 100 + [5] * 9 + [3] * 50 + [7] * 10 + [3] * 111)
    assert _changes(flicker) == [0, 159, 169]
    assert _changes(np.array([4])) == [0]


def test_labels_are_apart_and_inside() -> None:
    assert _spread([0, 10, 20], 28) == [0, 10, 20]
    crowded = _spread([0, 1, 2, 24, 25, 26, 27], 28)
    assert np.diff(crowded).min() >= 28 / 22 - 1e-9
    assert crowded[0] == 0
    assert crowded[-1] == 27
    assert np.diff(_spread(list(range(28)), 28)).min() >= 0.99
