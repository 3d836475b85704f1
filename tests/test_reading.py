"""Pictures of numbers are read: the text, its boxes, and its confidences."""

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

import rowscan
from rowscan.datasets.labelled import LabelledPicture, load_labels
from rowscan.errors import UsageError
from rowscan.io.pictures import open_image
from rowscan.line_explanation import cut_out, explain_character, explain_line
from rowscan.reader import Reader, _is_hairline
from rowscan.reading import Character, Line, Reading, Rejected
from rowscan.recipes import LineRecipe, change, decode, find
from rowscan.recognition.ctc import best_path
from rowscan.recognition.model import LineModel
from rowscan.recognition.selection import (
    Candidate,
    page_confidence,
    rejected,
    select_lines,
)
from rowscan.recognition.strokes import assign, character_columns
from rowscan.training.tasks.line.engine import LineEngine
from rowscan.training.tasks.line.task import start_from

NUMBERS = Path(__file__).parent.parent / "examples" / "numbers"
Box = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.mark.parametrize("picture", load_labels(NUMBERS), ids=lambda picture: picture.path.name)
def test_the_sample_pictures_are_read(picture: LabelledPicture, reader: Reader) -> None:
    reading = reader.read(picture.path)
    assert reading.text == picture.text
    height, width = open_image(picture.path).shape
    assert (reading.width, reading.height) == (width, height)
    for line in reading.lines:
        boxes = [character.box for character in line.characters]
        assert boxes == sorted(boxes)
        for inner in boxes:
            assert _inside(inner, line.box, slack=3)
            assert _inside(inner, (0, 0, width, height))
        for (x, _, wide, _), (after, *_) in itertools.pairwise(boxes):
            assert x + wide <= after + 10  # the flag of a 5 reaches over the next digit


def _inside(inner: Box, outer: Box, slack: int = 0) -> bool:
    x, y, width, height = outer
    return (
        inner[0] >= x - slack
        and inner[1] >= y - slack
        and inner[0] + inner[2] <= x + width + slack
        and inner[1] + inner[3] <= y + height + slack
    )


def test_boxes_lie_on_the_digits(reader: Reader) -> None:
    """Two digits far apart on a large sheet, each in a known place."""
    sheet = np.full((900, 1400), 240, np.uint8)
    cv2.line(sheet, (300, 200), (300, 500), 20, 22)
    cv2.ellipse(sheet, (480, 350), (90, 150), 0, 0, 360, 20, 22)
    (line,) = reader.read(sheet).lines
    assert line.text == "10"
    expected = ((289, 189, 23, 323), (379, 189, 203, 323))
    for digit, box in zip(line.characters, expected, strict=True):
        np.testing.assert_allclose(digit.box, box, atol=14)


@pytest.mark.parametrize(
    "turn", [cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE]
)
def test_a_picture_that_lies_on_its_side_or_its_head_is_read(turn: int, reader: Reader) -> None:
    picture = np.asarray(open_image(NUMBERS / "cheque.jpg"))
    assert reader.read(cv2.rotate(picture, turn)).text == "13.580"


def test_every_type_of_source_gives_the_same_reading(reader: Reader) -> None:
    path = NUMBERS / "form.png"
    expected = reader.read(path)
    assert reader.read(path.read_bytes()) == expected
    assert reader.read(open_image(path, colour=True)) == expected
    assert rowscan.read(path) == expected


def test_an_odd_digit_alone_is_read_by_the_digit_model_and_not_surely(reader: Reader) -> None:
    """The line model takes each of these for something else, a letter or a sign."""
    digits = rowscan.load_digits("mnist").validation
    for number in (189, 234, 376, 788, 1032):
        picture = 255 - np.pad(digits.images[number], 6).repeat(4, 0).repeat(4, 1)
        reading = reader.read(picture)
        assert reading.text == str(digits.labels[number])
        assert 0.4 < reading.confidence < 0.9
        assert not reading.rejected
        assert reader.read(picture, alphabet="1").text == ""


def test_digits_below_the_minimum_confidence_are_question_marks(reader: Reader) -> None:
    picture = NUMBERS / "note.jpg"
    plain = reader.read(picture)
    marked = reader.read(picture, min_confidence=1.0)
    assert set(marked.text) <= set("?0123456789 /")
    for line, other in zip(plain.lines, marked.lines, strict=True):
        for digit, mark in zip(line.characters, other.characters, strict=True):
            kept = digit.character if digit.confidence >= 1 or digit.character == " " else "?"
            assert mark.character == kept
            assert (mark.confidence, mark.box) == (digit.confidence, digit.box)


def test_a_reading_as_json() -> None:
    seven = Character("7", 0.61, (1, 2, 3, 4), ("1", 0.38))
    dot = Character(".", 0.9, (4, 5, 1, 1), None)
    line = Line((seven, dot), 0.6, (1, 2, 4, 4), row=2, column=1)
    stain = Rejected((9, 9, 1, 1), "1", 0.2, "unsure")
    reading = Reading(20, 10, (line,), 0.55, page=3, rejected=(stain,))
    common = {"confidence": 0.61, "box": [1, 2, 3, 4]}
    second = {"character": ".", "confidence": 0.9, "box": [4, 5, 1, 1], "runner_up": None}
    assert reading.to_dict() == {
        "page": 3,
        "status": "read",
        "width": 20,
        "height": 10,
        "text": "7.",
        "confidence": 0.55,
        "lines": [
            {
                "text": "7.",
                "digits_only": "7",
                "confidence": 0.6,
                "box": [1, 2, 4, 4],
                "row": 2,
                "column": 1,
                "characters": [
                    {
                        "character": "7",
                        **common,
                        "runner_up": {"character": "1", "confidence": 0.38},
                    },
                    second,
                ],
                "digits": [
                    {
                        "character": "7",
                        "digit": "7",
                        **common,
                        "runner_up": {"character": "1", "digit": "1", "confidence": 0.38},
                    },
                    second | {"digit": "."},
                ],
            }
        ],
        "rejected": [{"box": [9, 9, 1, 1], "text": "1", "confidence": 0.2, "reason": "unsure"}],
    }
    assert Reading(20, 10, (), 0.9).to_dict() | {"page": 3} == {
        "page": 3,
        "status": "empty",
        "width": 20,
        "height": 10,
        "text": "",
        "confidence": 0.9,
        "lines": [],
        "rejected": [],
    }


def test_the_digits_alone_of_a_text_with_signs() -> None:
    def line(text: str) -> Line:
        return Line(tuple(Character(c, 0.9, (0, 0, 1, 1), None) for c in text), 0.9, (0, 0, 1, 1))

    reading = Reading(9, 9, (line("$1,2?0.50"), line("-"), line("7 1/2")), 0.9)
    assert (reading.text, reading.digits_only) == ("$1,2?0.50 / - / 7 1/2", "12?050 / 712")
    marked = Reading(9, 9, (line("1 2"),), 0.9).at_least(0.95)
    assert marked.text == "? ?"


def _line(text: str, confidence: float, height: int, x: int = 0) -> Line:
    digits = tuple(Character(digit, confidence, (x, 0, 1, height), None) for digit in text)
    return Line(digits, confidence, (x, 0, len(text), height))


def _candidates(*lines: tuple[float, Line]) -> list[Candidate]:
    return [Candidate(plausibility, line) for plausibility, line in lines]


def test_numbers_are_selected_among_other_marks() -> None:
    number, low, faint = _line("4071", 0.9, 30), _line("1", 0.95, 9), _line("02", 0.04, 30)
    stain, nothing = _line("1", 0.95, 30), _line("", 0.99, 30)
    kept = select_lines(
        _candidates((1.0, number), (1.0, low), (1.0, faint), (0.3, stain), (1.0, nothing))
    )
    assert kept == (number,)
    assert select_lines(_candidates((0.3, stain))) == (stain,)
    assert select_lines(_candidates((1.0, faint), (1.0, nothing))) == ()
    column = [_line(text, 0.9, 30) for text in ("1", "7", "12", "1")]
    assert select_lines(_candidates(*((1.0, line) for line in column))) == tuple(column)


def test_among_several_numbers_more_lines_are_selected() -> None:
    number, other = _line("4071", 0.95, 30), _line("386", 0.95, 30)
    stroke, doubtful = _line("1", 0.95, 30, x=50), _line("52", 0.6, 30)
    assert select_lines(_candidates((1.0, number), (1.0, stroke), (1.0, doubtful))) == (number,)
    page = ((1.0, line) for line in (number, stroke, other, doubtful))
    assert select_lines(_candidates(*page)) == (number, stroke, other, doubtful)


def test_a_page_is_no_surer_than_that_nothing_was_left_out() -> None:
    zeros, ones = _line("00", 0.9999, 30), _line("11", 0.25, 30)
    nothing = _line("", 0.99, 30)
    candidates = [
        Candidate(0.9, ones),
        Candidate(1.0, zeros),
        Candidate(1.0, nothing, digits=0.01),
        Candidate(0.8, _line("-", 0.9, 30), digits=0.9),  # a digit that may not be read
        Candidate(0.5, nothing, others=4),
    ]
    left_out = rejected(candidates, (zeros,))
    assert [other.text for other in left_out] == ["11", "", "-", ""]
    assert [other.confidence for other in left_out] == pytest.approx([0.45, 0.01, 0.72, 0])
    assert [other.reason for other in left_out] == [
        "unsure",
        "nothing to read",
        "not what may be read",
        "something else",
    ]
    expected = zeros.confidence * (1 - 0.45) * 0.99 * 0.28
    assert page_confidence((zeros,), left_out) == pytest.approx(expected)
    assert page_confidence((), left_out[1:2]) == pytest.approx(0.99)
    assert page_confidence((), ()) == 1


def test_neighbours_are_cut_where_there_is_least_ink() -> None:
    ink = np.zeros((32, 60), np.uint8)
    ink[4:28, 5:18] = ink[4:28, 30:40] = 255
    ink[14:17, 18:30] = 200  # a stroke from one to the other
    left, right = character_columns(ink, [(8.0, 12.0), (33.0, 36.0)])
    assert left[0] == 5
    assert 18 <= left[1] <= 30
    assert 18 <= right[0] <= 30
    assert right[1] == 40
    assert character_columns(ink, []) == []


def test_each_stroke_is_its_character_s_though_boxes_overlap() -> None:
    ink = np.zeros((32, 60), np.uint8)
    ink[4:28, 5:8] = ink[4:7, 5:26] = 255  # a 5's flag reaches over
    ink[12:28, 20:30] = 255  # the next digit, whose steps are under the flag
    ink[24:28, 34:37] = 255  # and a dot, named a little late
    spans = [(6.0, 8.0), (22.0, 26.0), (37.0, 38.0)]
    owners = assign(ink, spans)
    assert (owners[4:7, 5:26] == 0).all()
    assert (owners[12:28, 20:30] == 1).all()
    assert (owners[24:28, 34:37] == 2).all()
    assert ((owners >= 0) == (ink > 127)).all()
    assert character_columns(ink, spans) == [(5, 26), (20, 30), (34, 37)]
    alone = cut_out(ink, spans)
    assert [np.count_nonzero(part) for part in alone] == [24 * 3 + 3 * 18, 160, 12]


def test_a_line_is_explained_step_by_step(reader: Reader) -> None:
    path = NUMBERS / "board.jpg"
    found = explain_line(path, 1, reader)
    (line,) = reader.read(path).lines
    assert found.line == line
    assert found.belief.shape == (len(found.places), 1 + len(found.alphabet))
    assert "".join(found.alphabet[i] for i in best_path(found.belief)) == line.text
    _, y, _, height = line.box
    for step, character in zip(found.steps, line.characters, strict=True):
        left, top, right, bottom = found.places[step]
        assert character.box[0] - 9 <= (left + right) / 2 <= character.box[0] + character.box[2] + 9
        assert y - 20 <= top < bottom <= y + height + 20
    for place, digit in enumerate(line.text, start=1):
        assert explain_character(path, 1, place, reader).digit == int(digit)
    for wrong in (0, 2):
        with pytest.raises(UsageError, match=f"no line {wrong}"):
            explain_line(path, wrong, reader)
    with pytest.raises(UsageError, match="no character 5"):
        explain_character(path, 1, 5, reader)


def test_the_shipped_line_model_is_the_recipe_s(reader: Reader) -> None:
    """It was trained on after its training: more steps at a lower rate."""
    shipped = decode(reader.line_model.recipe)
    how = ("start", "epochs", "steps_per_epoch", "learning_rate", "record_every", "uses")
    recipe = find("line")
    assert change(shipped, {key: getattr(recipe, key) for key in how}) == recipe


def test_the_shipped_line_model_is_small(reader: Reader) -> None:
    model = reader.line_model
    assert isinstance(model, LineModel)
    assert model.recipe["name"] == "line"
    file = Path(rowscan.__file__).parent / "models" / "line.onnx"
    assert file.stat().st_size < 4_000_000
    wanted = LineEngine(find("line", LineRecipe), "cpu").weights()
    found = start_from("shipped", wanted)
    assert sum(array.size for array in found.values()) <= 2_000_000


def test_a_very_dark_picture_is_read_and_noise_is_not() -> None:
    reader = Reader()
    light = open_image(NUMBERS / "cheque.jpg")
    noise = np.random.default_rng(0).normal(12, 4, (300, 500)).clip(0, 25).astype(np.uint8)
    assert reader.read(light // 13).text == reader.read(light).text == "13.580"
    assert reader.read(noise).text == ""


def test_a_reading_shows_itself() -> None:
    path = NUMBERS / "cheque.jpg"
    reading = Reader(alphabet="digits").read(path)
    assert re.fullmatch(r"<Reading page 1: '13580', \d+\.\d% sure, 1 line>", repr(reading))
    shown = ElementTree.fromstring(reading._repr_html_())
    kinds = [element.tag.rpartition("}")[2] for element in shown]
    assert kinds == ["rect", "image", "rect", "text"]
    x, y, width, height = reading.lines[0].box
    box = shown[2].attrib
    assert [box[key] for key in ("x", "y", "width", "height")] == [*map(str, (x, y, width, height))]
    assert str(shown[3].text).startswith("13580 ")
    assert repr(Reader(alphabet="digits")) == "Reader(alphabet='digits')"


@pytest.mark.parametrize("digit", [0, 2, 3, 4, 5, 6, 7, 8, 9])
def test_a_sign_among_single_digits_is_shown_to_the_digit_model(digit: int, reader: Reader) -> None:
    digits = rowscan.load_digits("mnist").validation
    image = digits.images[int(np.flatnonzero(digits.labels == digit)[0])]
    picture = 255 - cv2.resize(image, (112, 112), interpolation=cv2.INTER_CUBIC)
    unread = Candidate(1.0, Line((), 1.0, (20, 16, 72, 80)), others=1)
    allowed, size = reader.constraint(), (112, 112)
    found = reader._odd_digit(unread, allowed, picture, size).line
    assert found.text == str(digit)
    assert found.confidence <= 0.5  # the line model saw no digit
    others = reader.constraint("0123456789".replace(str(digit), ""))
    assert reader._odd_digit(unread, others, picture, size) is unread
    assert reader._odd_digit(unread, allowed, np.full_like(picture, 255), size) is unread


@pytest.mark.parametrize(("width", "height", "hairline"), [(3, 121, True), (63, 767, False)])
def test_the_side_of_a_frame_is_a_hairline(width: int, height: int, hairline: bool) -> None:
    assert _is_hairline(Line((), 1.0, (0, 0, width, height))) is hairline
