"""Many forms: a row for each, rules between rows, and a run that is taken up again."""

import csv
import json
import re
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import msgspec
import PIL.Image
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

import rowscan
from rowscan.batch.find import find_pictures
from rowscan.batch.form_tables import to_csv, to_jsonl, to_parquet, to_xlsx
from rowscan.batch.forms import read_forms_to
from rowscan.batch.items import Job
from rowscan.batch.journal import Journal
from rowscan.errors import UsageError
from rowscan.forms.results import Broken, FieldReading, FormReading
from rowscan.forms.rules import Seen, broken
from rowscan.forms.specification import load
from rowscan.server import create_app

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "forms"))

from make_forms import make


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three blanks."""
    folder = tmp_path_factory.mktemp("forms")
    make(folder)
    return folder


@pytest.fixture
def scans(tmp_path: Path, forms: Path) -> Path:
    """A card that nobody filled in, and a page that is none."""
    scans = tmp_path / "scans"
    scans.mkdir()
    with PIL.Image.open(forms / "meter-card.png") as blank:
        blank.save(scans / "a.png")
    PIL.Image.new("L", (300, 400), 240).save(scans / "b.png")
    return scans


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_form(
    forms: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(forms=(forms / "meter-card.toml", forms / "exam-cover.toml"))
    output = tmp_path / "answers.csv"
    assert not read_forms_to(output, [str(scans)], job, jobs=1)
    said = capsys.readouterr().err
    assert "b.png: not meter-card or exam-cover: its print is not found\n" in said
    assert "1 form: 1 to check, 0 unsure, 1 error," in said
    first, second = rows_of(output)
    assert (first["form"], first["status"], first["moved"]) == ("meter-card", "check", "no")
    assert first["meter_status"] == "empty"
    assert first["rules_broken"] == "meter: required, and empty; reading: required, and empty"
    assert (second["form"], second["status"], second["q1"]) == ("", "error", "")

    # Taken up again: what is there is not read, what was cut off is.
    journal = tmp_path / "answers.csv.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]) + lines[2][:20])
    before = output.read_bytes()
    output.unlink()
    assert not read_forms_to(output, [str(scans)], job, jobs=1)
    assert output.read_bytes() == before
    assert "1 picture already read" in capsys.readouterr().err
    # Pictures that could not be read are not tried again, but count.
    assert not read_forms_to(output, [str(scans)], job, jobs=1)
    assert "2 pictures already read (1 could not be)" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"read with another form\.toml"):
        read_forms_to(output, [str(scans)], Job(forms=job.forms[:1]), jobs=1)


def test_blanks_and_pictures_of_fields_among_the_scans_are_left_out(
    forms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only of the forms that are read; what is named itself is read."""
    for name in ("meter-card.toml", "meter-card.png"):
        (tmp_path / name).write_bytes((forms / name).read_bytes())
    beside = tmp_path / "cards.csv.pictures"
    beside.mkdir()
    for place in (tmp_path, beside):
        PIL.Image.new("L", (300, 400), 240).save(place / "page.png")
    blank = tmp_path / "meter-card.png"
    job = Job(forms=(tmp_path / "meter-card.toml",))
    read_forms_to(None, [str(tmp_path)], job, output_format="csv", jobs=1)
    said = capsys.readouterr()
    (row,) = csv.DictReader(said.out.splitlines())
    assert row["path"] == str(tmp_path / "page.png")
    left_out = "left out: 1 .toml, 1 of a blank form, 1 with pictures of fields"
    assert said.err.splitlines()[-1] == left_out
    found = find_pictures([str(tmp_path), str(blank)], blanks=[tmp_path / "." / blank.name])
    assert [item.path for item in found] == [str(tmp_path / "page.png"), str(blank)]


def test_a_journal_is_continued_with_the_same_forms_and_blanks(tmp_path: Path) -> None:
    form, blank = tmp_path / "form.toml", tmp_path / "form.png"
    form.write_text("name")
    blank.write_bytes(b"a blank")
    with closing(Journal(tmp_path / "a.journal", [form, blank])) as journal:
        journal.add("a.png", [])
        with pytest.raises(UsageError, match="another run is writing it"):
            Journal(tmp_path / "a.journal", [form, blank])
    with closing(Journal(tmp_path / "a.journal", [form, blank])) as journal:
        assert journal.done == {"a.png"}
    blank.write_bytes(b"another one")
    with pytest.raises(UsageError, match=r"read with another form\.toml or blank"):
        Journal(tmp_path / "a.journal", [form, blank])


def filled(**texts: str) -> dict[str, FieldReading]:
    return {
        name: FieldReading(name, text, 0.99, "read" if text else "empty", (0, 0, 1, 1))
        for name, text in texts.items()
    }


def test_rules(tmp_path: Path) -> None:
    (tmp_path / "known.csv").write_text("number;name\n0042;Li\n")
    path = tmp_path / "form.toml"
    entries = "".join(
        f'[[fields]]\nname = "{name}"\nkind = "digits"\nboxes = [[1, 1, 9, 9]]\n' for name in "abt"
    )
    rules = '[[rules]]\nrule = "sum"\nfield = "t"\nof = ["a", "b"]\n'
    rules += '[[rules]]\nrule = "list"\nfield = "a"\nfile = "known.csv"\n'
    path.write_text(f'name = "f"\npages = ["f.png"]\n{entries}{rules}')
    form = load(path)
    assert broken(form, filled(a="0042", b="3", t="45"), tmp_path) == ()
    assert broken(form, filled(a="0042", b="3", t="46"), tmp_path) == (
        Broken("t", "46 is not 42 + 3"),
    )
    assert broken(form, filled(a="43", b="", t="43"), tmp_path) == (
        Broken("a", "43 is not in known.csv"),
    )


def test_what_occurs_twice_is_marked_on_both(forms: Path) -> None:
    form, seen = load(forms / "meter-card.toml"), Seen()
    places = [("1", "x.png"), ("2", "y.png"), ("1", "z.png"), ("", "e.png"), ("", "f.png")]
    assert [seen.repeated(form, {"meter": text}, where) for text, where in places] == [
        [],
        [],
        [Broken("meter", "1 is also in x.png")],
        [],
        [],
    ]
    assert seen.repeated(form, {"meter": "1"}, "x.png") == [Broken("meter", "1 is also in z.png")]


def test_a_workbook_keeps_zeros_and_sets_apart_what_is_to_be_checked(
    forms: Path, tmp_path: Path
) -> None:
    form = load(forms / "meter-card.toml")
    texts = {field.name: "" for field in form.fields} | {"meter": "00123456"}
    reading = FormReading("meter-card", 1, filled(**texts), (Broken("meter", "wrong"),))
    rows = [
        {"path": "a.png"} | reading.to_dict(),
        {"path": "b.png"} | FormReading("", 1, error="no form").to_dict(),
    ]
    to_xlsx(tmp_path / "a.xlsx", [form], lambda: rows)
    with zipfile.ZipFile(tmp_path / "a.xlsx") as book:
        check = book.read("xl/worksheets/sheet1.xml").decode()
        cards = book.read("xl/worksheets/sheet2.xml").decode()
    assert "meter: wrong" in check
    assert "no form" in check
    assert "00123456" in cards
    assert "no form" not in cards
    to_parquet(tmp_path / "a.parquet", [form], lambda: rows)
    table = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["meter"] for row in table] == ["00123456", None]


def test_the_command(rowscan: "object", forms: Path) -> None:
    done = rowscan("read", forms / "meter-card.png", "--form", forms / "meter-card.toml")  # type: ignore[operator]
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith(f"{forms / 'meter-card.png'},1,meter-card,check,")
    card = (forms / "meter-card.png", "--form", forms / "meter-card.toml")
    refused = rowscan("read", *card, "--show-other")  # type: ignore[operator]
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("rowscan: --form: leave out --on, --annotate, ")
    wrong = rowscan("read", "x.png", "--form", forms / "x.toml", "--format", "jsonl")  # type: ignore[operator]
    assert wrong.returncode == 1
    assert wrong.stderr == f"rowscan: {forms / 'x.toml'}: No such file or directory\n"


def test_names_beyond_ascii_and_forms_named_alike(forms: Path, tmp_path: Path) -> None:
    card = load(forms / "meter-card.toml")
    long = "Zählerkarte der Stadtwerke, Ausgabe "
    alike = [msgspec.structs.replace(card, name=long + year) for year in ("2025", "2026")]
    texts = dict.fromkeys((field.name for field in card.fields), "")
    rows = [
        {"path": "读数.png"} | FormReading(form.name, 1, filled(**texts)).to_dict()
        for form in alike
    ]
    to_csv(tmp_path / "a.csv", alike, lambda: rows)
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbfpath,")
    to_csv(tmp_path / "b.csv", [card], list)
    assert (tmp_path / "b.csv").read_bytes().startswith(b"path,")
    to_jsonl(tmp_path / "a.jsonl", alike, lambda: rows)
    assert '{"path": "读数.png"' in (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    to_xlsx(tmp_path / "a.xlsx", alike, lambda: rows)
    with zipfile.ZipFile(tmp_path / "a.xlsx") as book:
        names = re.findall('<sheet name="([^"]*)"', book.read("xl/workbook.xml").decode())
    assert names == ["To check", long[:31], f"{long[:27]} (2)"]


def test_json_lines(forms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(forms / "meter-card.png")
    job = Job(forms=(forms / "meter-card.toml",))
    assert read_forms_to(None, [path], job, output_format="jsonl", jobs=1)
    row = json.loads(capsys.readouterr().out)
    assert row["fields"]["moved"]["value"] is False
    assert row == {"path": path} | rowscan.Form(job.forms[0]).read(path).to_dict()


def test_over_http(forms: Path) -> None:
    form = rowscan.Form(forms / "meter-card.toml")
    content = (forms / "meter-card.png").read_bytes()
    with TestClient(create_app(form.reader, forms=[form])) as client:
        answer = client.post("/v1/forms/meter-card", content=content)
        assert answer.json() == form.read(content).to_dict()
        missing = client.post("/v1/forms/other", content=content)
    assert missing.status_code == 404
    assert missing.json() == {"detail": "no form is named 'other'; forms: meter-card"}
