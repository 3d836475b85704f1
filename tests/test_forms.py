"""Forms: what form.toml says, a photo laid upon its blank, and what is read in its fields."""

import dataclasses
import shutil
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rowscan
from rowscan.designer.draft import Draft
from rowscan.errors import DataError
from rowscan.forms.blank import Blank, find_features, soften
from rowscan.forms.form import Forms
from rowscan.forms.ink import without_stains, written
from rowscan.forms.registration import correlation, is_plausible, lay, match
from rowscan.forms.results import Broken
from rowscan.forms.rules import has_check_digit
from rowscan.forms.specification import load, to_toml
from rowscan.forms.tables import PrintedLines, near_print
from rowscan.forms.values import checked, iso_date, number
from rowscan.reading import SURE

EXAMPLES = Path(__file__).parent.parent / "examples" / "forms"
sys.path.insert(0, str(EXAMPLES))

from make_forms import make  # noqa: E402
from photograph_forms import Shot, Writer, fill, photograph  # noqa: E402

FLAT = Shot(dpi=150, degrees=187, tilt=0.03, bend=0, hidden=0, scan=False)
BENT = Shot(dpi=170, degrees=4, tilt=0.03, bend=1.2, hidden=0, scan=False)
LISTING = """
name = "card"
pages = ["meter-card.png"]
[[fields]]
name = "meter"
kind = "digits"
boxes = [[10, 10, 20, 20]]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three blanks."""
    folder = tmp_path_factory.mktemp("forms")
    make(folder)
    return folder


@pytest.fixture(scope="module")
def card(folder: Path) -> "rowscan.Form":
    """The form with the fewest fields."""
    return rowscan.Form(folder / "meter-card.toml")


@pytest.fixture(scope="module")
def hand() -> Writer:
    """Writes the digits of the examples."""
    images: dict[str, list[np.ndarray]] = {str(d): [] for d in range(10)}
    for path in sorted((EXAMPLES.parent / "digits").glob("*.png")):
        image = rowscan.normalise_digit(rowscan.open_image(path))
        images[path.name[0]].append(image)
    return Writer({d: np.stack(some) for d, some in images.items()}, np.random.default_rng(3))


@pytest.mark.parametrize("shot", [FLAT, BENT], ids=["flat", "bent"])
def test_a_photo_is_read(card: "rowscan.Form", folder: Path, hand: Writer, shot: Shot) -> None:
    page, truth = fill(card.specification, folder, hand)
    picture, _ = photograph(page, shot, np.random.default_rng(1))
    reading = card.read(picture)
    assert reading.error is None
    for name in ("meter", "reading", "moved", "broken"):
        assert reading[name].text == truth[name]
    assert reading["signature"].status == "picture"
    assert reading["signature"].picture is not None
    assert reading.sizes == {1: picture.shape[::-1]}
    meter = reading["meter"]
    assert "".join(character.character for character in meter.characters) == meter.text
    assert meter.ink is not None
    corners = np.array(meter.corners)
    along, down = corners[1] - corners[0], corners[3] - corners[0]
    for box, character in enumerate(meter.characters):  # each is in its box of eight
        x, y, width, height = character.box
        away = np.array([x + width / 2, y + height / 2]) - corners[0]
        share = np.linalg.solve(np.stack([along, down], 1), away)
        assert box <= 8 * share[0] <= box + 1
        assert 0 < share[1] < 1


def test_what_is_typed_is_checked_as_what_is_read(folder: Path) -> None:
    fields = {
        field.name: field
        for name in ("meter-card", "exam-cover")
        for field in load(folder / f"{name}.toml").fields
    }
    for name, text, meant in [
        ("meter", "12345678", ("read", None)),
        ("meter", "1234567", ("incomplete", None)),
        ("meter", "123456789", ("invalid", None)),
        ("meter", "1234567x", ("invalid", None)),
        ("meter", "", ("empty", None)),
        ("read_on", "31122025", ("read", "2025-12-31")),
        ("read_on", "31022025", ("invalid", None)),
        ("q1", "20", ("read", 20.0)),
        ("q1", "21", ("invalid", 21.0)),
        ("moved", "yes", ("read", True)),
        ("version", "C", ("read", "C")),
        ("version", "E", ("invalid", None)),
        ("signature", "", ("picture", None)),
    ]:
        assert checked(fields[name], text) == meant, (name, text)


def test_the_same_frames_with_other_words_are_another_edition(folder: Path) -> None:
    sheet = rowscan.Form(folder / "score-sheet.toml")
    picture = rowscan.open_image(folder / "score-sheet.png")
    words = sheet.blanks[0].words
    assert len(words) > 20
    scale = sheet.blanks[0].scale
    parts = [tuple(round(side / scale) for side in word) for word in words]
    before = picture.copy()
    for (x, y, width, height), (a, b, _, _) in zip(parts, parts[::-1], strict=True):
        picture[y : y + height, x : x + width] = 255
        other = before[b : b + height, a : a + width]
        picture[y : y + other.shape[0], x : x + other.shape[1]] = other
    assert "another edition" in str(sheet.read(picture).error)


def test_a_table_that_lies_a_row_away_under_the_same_words_is_another_edition(
    folder: Path,
) -> None:
    sheet = rowscan.Form(folder / "score-sheet.toml")
    picture = rowscan.open_image(folder / "score-sheet.png")
    lines = PrintedLines.of(sheet.blanks[0].contrast)
    mask = cv2.dilate(lines.across | lines.down, np.ones((3, 3), np.uint8))
    mask[:330] = mask[1490:] = 0  # the table remains
    picture[mask > 0] = 255
    picture[np.roll(mask, 89, axis=0) > 0] = 40  # rows are 15 mm high
    assert "of the fields of 'score-sheet'" in str(sheet.read(picture).error)


def test_a_table_has_moved_where_its_lines_are_all_found_a_row_away(folder: Path) -> None:
    blank = Blank.open(folder / "score-sheet.png")
    for direction, (down, right) in enumerate([(89, 0), (0, 189)]):
        moved = np.roll(blank.contrast, (down, right), (0, 1))
        hidden = blank.contrast.copy()
        hidden[: 420 if down else None, : 330 if right else None] = 0  # the first row or column
        tables = [t for t in blank.tables if (t.shifts[0] != 0).argmax() == direction]
        assert tables
        for table in tables:
            can_move_so = (table.shifts == (down, right)).all(1).any()
            assert table.is_moved(near_print(moved)) == can_move_so
            assert not table.is_moved(near_print(hidden))
            assert not table.is_moved(near_print(blank.contrast))


@pytest.mark.parametrize("what", ["stain", "crumpled", "edition"])
def test_what_is_read_on_a_damaged_page_is_what_is_written(
    card: "rowscan.Form", folder: Path, hand: Writer, what: str
) -> None:
    page, truth = fill(card.specification, folder, hand)
    if what == "stain":  # coffee, over the first two fields
        stain = np.zeros_like(page)
        cv2.circle(stain, (1000, 420), 250, 110, -1)
        page = np.where(stain > 0, (page * (110 / 255)).astype(np.uint8), page)
    elif what == "edition":  # all fields are 3 mm lower than on the blank
        page[260:900] = np.roll(page[260:900], 36, axis=0)
    shot = dataclasses.replace(BENT, bend=3.0) if what == "crumpled" else FLAT
    reading = card.read(photograph(page, shot, np.random.default_rng(2))[0])
    if reading.error is None:
        for name in ("meter", "reading", "read_on", "moved", "broken"):
            field = reading[name]
            assert field.text in (truth[name], "") or field.confidence < SURE


@pytest.fixture(scope="module")
def coded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cards that differ in a QR code alone."""
    coded = tmp_path_factory.mktemp("coded")
    for name in ("red", "green", "blue"):
        picture = rowscan.open_image(folder / "meter-card.png")
        code = cv2.QRCodeEncoder.create().encode(f"{name}-17")
        code = cv2.resize(code, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
        picture[10 : 10 + len(code), 750 : 750 + len(code)] = code
        cv2.imwrite(str(coded / f"{name}.png"), picture)
        form = msgspec.structs.replace(
            load(folder / "meter-card.toml"),
            name=name,
            pages=(f"{name}.png",),
            codes=(f"{name}-*",),
        )
        (coded / f"{name}.toml").write_text(to_toml(form))
    return coded


def test_forms_that_look_alike_are_told_apart_by_their_codes(
    card: "rowscan.Form", coded: Path, hand: Writer
) -> None:
    two = [rowscan.Form(coded / f"{name}.toml", reader=card.reader) for name in ("red", "green")]
    forms = Forms(two)
    for form, shot in zip(two, (FLAT, BENT), strict=True):
        page, truth = fill(form.specification, coded, hand)
        (reading,) = forms.read_all(photograph(page, shot, np.random.default_rng(1))[0])
        assert reading.form == form.name
        assert reading["meter"].text == truth["meter"]
    picture = rowscan.open_image(coded / "blue.png")
    assert "its code says 'blue-17'" in str(next(forms.read_all(picture)).error)
    picture[0:120, 740:874] = 100  # something lies on the code
    assert "its code cannot be read" in str(next(forms.read_all(picture)).error)
    assert two[0].read(picture).status != "error"


def test_the_code_of_a_blank_is_the_one_that_its_file_names(coded: Path, tmp_path: Path) -> None:
    shutil.copytree(coded, tmp_path, dirs_exist_ok=True)
    assert Draft(tmp_path / "red.png").form.codes == ("red-17",)
    path = tmp_path / "green.toml"
    path.write_text(path.read_text().replace("green-*", "red-*"))
    with pytest.raises(DataError, match="codes: the code of page 1 says 'green-17'"):
        rowscan.Form(path)


def test_boxes_are_pixels_of_a_large_picture_that_is_decoded_smaller(
    card: "rowscan.Form", folder: Path
) -> None:
    large = cv2.resize(rowscan.open_image(folder / "meter-card.png"), None, fx=5, fy=5)
    content = cv2.imencode(".jpg", large)[1].tobytes()
    (field,) = [field for field in card.specification.fields if field.name == "moved"]
    rim = np.subtract(card.read(content)["moved"].box, np.multiply(field.boxes[0], 5))
    assert np.abs(rim - [-60, -60, 120, 120]).max() < 10  # 12 pixels of the blank on each side


def test_an_empty_form_has_empty_fields(card: "rowscan.Form", folder: Path) -> None:
    reading = card.read(folder / "meter-card.png")
    assert {name: one.text for name, one in reading.fields.items()} == {
        **dict.fromkeys(["meter", "reading", "read_on", "signature"], ""),
        **dict.fromkeys(["moved", "broken"], "no"),
    }
    assert reading.status == "check"
    missing = "required, and empty"
    assert reading.broken == (Broken("meter", missing), Broken("reading", missing))
    assert reading.to_dict()["broken"] == [f"meter: {missing}", f"reading: {missing}"]


def test_another_form_is_an_error(card: "rowscan.Form", folder: Path) -> None:
    reading = card.read(folder / "exam-cover.png")
    assert reading.status == "error"
    assert reading.error is not None
    assert reading.error.startswith("not meter-card: ")
    with pytest.raises(DataError, match="not meter-card"):
        reading["meter"]


def test_a_field_that_is_hidden_or_moved_is_not_read(
    card: "rowscan.Form", folder: Path, hand: Writer
) -> None:
    page, _ = fill(card.specification, folder, hand)
    x, y, _, _ = (2 * side for side in card.specification.fields[0].boxes[0])
    page[y - 40 : y + 160, x - 40 : x + 860] = 90  # something lies on the meter number
    reading = card.read(page)
    assert reading["meter"].status == "unreadable"
    assert reading["meter"].text == ""
    assert reading["reading"].status == "read"
    assert Broken("meter", "unreadable") in reading.broken


def test_print_is_taken_away_and_strokes_across_it_stay() -> None:
    printed = np.zeros((80, 120), np.uint8)
    printed[40:42] = 150
    found = np.roll(printed, 1, axis=0)  # laid a pixel beside
    cv2.line(found, (60, 10), (64, 70), 130, 4)
    ink = written(printed, found)
    rows = np.flatnonzero(ink.mask.any(1))
    assert rows[0] <= 10
    assert rows[-1] >= 69
    assert len(rows) == rows[-1] - rows[0] + 1  # not cut where it crosses the rule
    columns = np.flatnonzero(ink.mask.any(0))
    assert columns[0] >= 55
    assert columns[-1] <= 70
    assert not written(printed, np.roll(printed, 1, axis=0)).mask.any()


def test_a_stain_is_taken_away_and_strokes_in_it_stay() -> None:
    stroke = np.zeros((90, 200), np.uint8)
    cv2.line(stroke, (100, 20), (100, 70), 120, 5)
    stain = np.zeros_like(stroke)
    cv2.rectangle(stain, (40, 0), (160, 80), 60, -1)
    assert np.array_equal(without_stains(stroke), stroke)
    assert np.array_equal(without_stains(stroke + stain), stroke)


def test_the_print_tells_where_a_page_lies(folder: Path) -> None:
    blank = Blank.open(folder / "meter-card.png")
    picture = np.full((900, 1200), 200, np.uint8)
    picture[100:720, 150:1024] = blank.picture
    found = match(find_features(picture), (1200, 900), blank)
    assert found is not None
    assert np.abs(found.to_picture @ [0, 0, 1] - [150, 100, 1]).max() < 1
    laid = lay(picture, found)
    assert correlation(blank.soft, soften(laid.contrast), blank.near) > 0.9
    moved = np.roll(laid.contrast, 25, axis=0)
    assert correlation(blank.soft, soften(moved), blank.near) < 0.4


def test_a_page_seen_from_behind_is_not_plausible() -> None:
    mirror = np.array([[-1.0, 0, 500], [0, 1, 0], [0, 0, 1]])
    assert is_plausible(np.eye(3), (300, 500), (500, 300))
    assert not is_plausible(mirror, (300, 500), (500, 300))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"digits"', '"digit"', "field 'meter': kind: invalid enum value 'digit'"),
        ("20, 20", "20", "field 'meter': boxes[0]: expected array of length 4"),
        ('kind = "digits"', "", "field 'meter': it missing required field kind"),
        ("[[fields]]", "[[field]]", "it contains unknown field field"),
        ("20, 20", "0, 20", "field 'meter': boxes: expected x, y, width and height of a box"),
        ('"digits"', '"digits"\npattern = "["', "field 'meter': pattern: pattern '['"),
        ('"digits"', '"digits"\npage = 2', "field 'meter': page: expected 1 to 1, got 2"),
        ('"card"', '"card"\ncodes = ["a", "b"]', "codes: expected one for each page, got 2"),
        ('"card"', '"card', "not a TOML file"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "form.toml"
    path.write_text(LISTING.replace(old, new))
    with pytest.raises(DataError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: {reason}")


def test_a_rule_names_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "form.toml"
    path.write_text(LISTING + '[[rules]]\nrule = "sum"\nfield = "meter"\nof = ["a"]\n')
    with pytest.raises(DataError, match="rule 1: no field is named 'a'"):
        load(path)


def test_a_written_file_says_the_same(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*.toml"):
        form = load(path)
        (tmp_path / "again.toml").write_text(to_toml(form))
        assert load(tmp_path / "again.toml") == form


def test_check_digits() -> None:
    # Worked by hand: ISO/IEC 7812's 7992739871 with 3, ISBN 0306406152, an account of MOD 97-10.
    assert has_check_digit("79927398713", "luhn")
    assert not has_check_digit("79927398710", "luhn")
    assert has_check_digit("0306406152", "mod11")
    assert has_check_digit("123456789" + f"{98 - int('12345678900') % 97:02}", "mod97")


@given(st.text("0123456789", min_size=2, max_size=12), st.data())
def test_luhn_finds_each_wrong_digit(text: str, data: st.DataObject) -> None:
    right = next(text + d for d in "0123456789" if has_check_digit(text + d, "luhn"))
    place = data.draw(st.integers(0, len(right) - 1))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != right[place]]))
    assert not has_check_digit(right[:place] + other + right[place + 1 :], "luhn")


def test_values() -> None:
    assert number("12,50", 2) == 12.5
    assert number("1250", 2) == 12.5
    assert number("-", 0) is None
    assert iso_date("26112026", "dd.mm.yyyy") == "2026-11-26"
    assert iso_date("3/4/26", "mm/dd/yy") == "2026-03-04"
    assert iso_date("31022026", "dd.mm.yyyy") is None
