"""`rowscan review --form`: the fields of filled forms, checked and corrected in a real Chromium."""

import csv
import io
import json
import re
import sqlite3
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Page, expect

import rowscan
from browsing import Tab, chromium
from rowscan.datasets.reviewed import load_reviewed
from rowscan.errors import DataError
from rowscan.forms.results import Broken, FieldReading, FormReading
from rowscan.forms.rules import Seen, broken
from rowscan.forms.specification import (
    CheckDigit,
    Field,
    Listed,
    Specification,
    Sum,
    Unique,
    load,
    to_toml,
)
from rowscan.review.changes import Author, Change
from rowscan.review.exports import form_rows
from rowscan.review.fields import ReviewedForms, repeated
from rowscan.review.intake import reading_version
from rowscan.review.run import review as review_folder
from rowscan.review.store import Store
from rowscan.training.synthesis.documents import load_documents
from rowscan.training.tasks.line.task import _score_held_out
from test_review_page import PATIENCE, Review, news, wait_for

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES / "forms"))

from make_forms import make  # noqa: E402
from photograph_forms import Shot, Writer, fill, photograph  # noqa: E402

UPSIDE_DOWN = Shot(dpi=150, degrees=184, tilt=0.02, bend=0, hidden=0, scan=False)
expect.set_options(timeout=1000 * PATIENCE)


@pytest.fixture(scope="module")
def truth() -> dict[str, str]:
    """What is written on the card, by field."""
    return {}


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory, truth: dict[str, str]) -> Iterator[Review]:
    """A folder with a meter card, photographed upside down, and a picture of none, read."""
    folder = tmp_path_factory.mktemp("work")
    make(folder / "forms")
    form = load(folder / "forms" / "meter-card.toml")
    images: dict[str, list[np.ndarray]] = {str(digit): [] for digit in range(10)}
    for path in sorted((EXAMPLES / "digits").glob("*.png")):
        images[path.name[0]].append(rowscan.normalise_digit(rowscan.open_image(path)))
    hand = Writer({d: np.stack(some) for d, some in images.items()}, np.random.default_rng(3))
    page, written = fill(form, folder / "forms", hand)
    truth |= written
    scans = folder / "scans"
    scans.mkdir()
    picture, _ = photograph(page, UPSIDE_DOWN, np.random.default_rng(1))
    PIL.Image.fromarray(picture).save(scans / "card.png")
    PIL.Image.new("L", (300, 400), 240).save(scans / "envelope.png")
    review = Review(scans, "--form", str(folder / "forms" / "meter-card.toml"))
    wait_for(lambda: news(review)["progress"]["finished"])
    yield review
    review.end()


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with chromium() as browser:
        yield Tab(browser, PATIENCE, locale="en-GB", viewport={"width": 390, "height": 800})


@pytest.fixture
def page(tab: Tab, review: Review) -> Iterator[Page]:
    """The page, with the card on the desk."""
    with tab.opening(review.url) as open_page:
        page = open_page()
        page.locator("#filter").select_option("all")
        page.locator(".item", has_text="card.png").click()
        expect(page.locator("#form")).to_have_text("meter-card")
        yield page


def card_of(review: Review) -> dict[str, Any]:
    """The page of the card as the service has it."""
    (number,) = (row[0] for row in news(review)["pages"] if row[1] == "card.png")
    with urllib.request.urlopen(f"{review.url}/v1/review/pages/{number}") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def row_of(review: Review, name: str) -> dict[str, str]:
    rows = csv.DictReader(io.StringIO(review.file("readings.csv").decode()))
    (found,) = (row for row in rows if row["path"] == name)
    return found


def test_each_field_is_shown_the_doubtful_first(
    page: Page, review: Review, truth: dict[str, str]
) -> None:
    row = row_of(review, "card.png")
    assert {name: row[name] for name in ("meter", "reading", "moved")} == {
        name: truth[name] for name in ("meter", "reading", "moved")
    }
    assert (row["status"], row["page_state"], row["corrected"]) == ("read", "seen", "")
    error = row_of(review, "envelope.png")
    assert (error["status"], error["form"]) == ("error", "")
    assert "its print is not found" in error["rules_broken"]

    shown = card_of(review)["lines"]
    doubts = [line["doubtful"] for line in shown]
    assert doubts == sorted(doubts, reverse=True)
    names = page.locator(".field-name b").all_text_contents()
    assert names == [line["field"] for line in shown]
    assert sorted(names) == ["broken", "meter", "moved", "read_on", "reading", "signature"]
    signature = page.locator(".card", has_text="signature")
    expect(signature.locator("canvas")).to_be_visible()
    expect(signature.locator(".field")).to_have_count(0)  # its text is not asked for
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("#language").click()
    expect(page.locator(".check", has_text="8 位数字")).to_have_count(1)


def test_a_form_is_corrected_with_the_keyboard(
    page: Page, review: Review, truth: dict[str, str]
) -> None:
    meter = page.locator(".card", has=page.locator("b", has_text=re.compile("^meter$")))
    check = meter.locator(".check")
    field = meter.locator(".field")
    expect(check).to_have_text("8 digits")
    field.fill(truth["meter"][:-1])
    expect(check).to_have_text("8 digits · too few digits")
    wrong = truth["meter"][:-1] + str((int(truth["meter"][-1]) + 1) % 10)
    field.fill(wrong)  # what breaks a rule is kept, and told
    expect(check).to_contain_text(f"{wrong} has a wrong check digit (luhn)")
    other = "no" if truth["moved"] == "yes" else "yes"
    page.locator(".card", has_text="moved").locator(".field").focus()
    page.keyboard.press("Space")
    wait_for(lambda: row_of(review, "card.png")["moved"] == other)

    # Enter goes from one doubtful field to the next and accepts the form with the last one.
    for _ in range(6):
        if page.locator("#form").text_content() == "meter-card":
            page.keyboard.press("Enter")
    expect(page.locator("#name")).to_have_text("envelope.png")
    expect(page.locator("#remark")).to_contain_text("its print is not found")
    wait_for(lambda: row_of(review, "card.png")["page_state"] == "done")
    row = row_of(review, "card.png")
    assert (row["meter"], row["moved"], row["reading"]) == (wrong, other, truth["reading"])
    assert (row["status"], row["user"]) == ("check", "Anna")
    assert row["rules_broken"] == f"meter: {wrong} has a wrong check digit (luhn)"
    assert sorted(row["corrected"].split("; ")) == ["meter", "moved"]
    rows = map(json.loads, review.file("readings.jsonl").splitlines())
    (fields,) = (row["fields"] for row in rows if row["form"] == "meter-card")
    assert fields["meter"]["read"] == truth["meter"]
    assert fields["moved"]["value"] is (other == "yes")
    book = zipfile.ZipFile(io.BytesIO(review.file("readings.xlsx")))
    assert wrong in book.read("xl/worksheets/sheet2.xml").decode()
    assert [name for name in book.namelist() if "media" in name] == ["xl/media/image1.jpeg"]
    label = " / ".join([wrong, truth["reading"], truth["read_on"]])
    assert review.labels() == {"card.png": label}

    page.keyboard.press("Control+z")
    expect(page.locator("#name")).to_have_text("card.png")
    wait_for(lambda: row_of(review, "card.png")["page_state"] != "done")


def test_what_is_wrong_is_worded_in_both_languages(
    page: Page, review: Review, tmp_path: Path
) -> None:
    (tmp_path / "known.csv").write_text("7\n")
    fields = {
        name: FieldReading(name, text, 0.99, "read", (0, 0, 1, 1))
        for name, text in {"a": "76", "b": "-2.5", "t": "80"}.items()
    }
    rules = (Sum("t", ("a", "b")), CheckDigit("a"), Listed("b", "known.csv"), Unique("t"))
    known = [Field(name=name, kind="number", boxes=((0, 0, 1, 1),)) for name in fields]
    form = Specification(name="f", pages=("f.png",), fields=tuple(known), rules=rules)
    seen = Seen()
    seen.repeated(form, {"t": "80"}, "1.png")
    told = [*broken(form, fields, tmp_path), *seen.repeated(form, {"t": "80"}, "2.png")]
    worded = """([rules, error]) => import("./static/words.js").then(({ say, switchLanguage }) => {
        const english = rules.map((rule) => say("rule", rule));
        switchLanguage();
        return [english, rules.map((rule) => say("rule", rule)), say("notReadable", error)];
    })"""
    rules_alone = [rule.reason for rule in told]
    error = row_of(review, "envelope.png")["rules_broken"]
    english, chinese, no_form = page.evaluate(worded, [rules_alone, error])
    assert no_form == "这张图片无法读取：没有找到 meter-card 的印刷内容"
    assert english == rules_alone
    assert chinese == [
        "80 不等于 76 + -2.5",
        "76 的校验位不正确（luhn）",
        "-2.5 不在 known.csv 中",
        "80 与 1.png 中的重复",
    ]


def test_an_option_is_chosen_with_the_arrows(page: Page, review: Review) -> None:
    """The card has no choice: one of its ticks is shown as one."""

    def as_choice(route: Any) -> None:
        answer = route.fetch()
        content = answer.json()
        for line in content["lines"]:
            if line["field"] == "broken":
                line |= {"kind": "choice", "options": ["no", "B", "yes"]}
        route.fulfill(response=answer, json=content)

    page.route("**/pages/*", as_choice)
    page.reload()
    page.locator("#filter").select_option("all")
    page.locator(".item", has_text="card.png").click()
    options = page.locator(".card", has_text="broken").locator(".field")
    expect(options).to_have_count(4)
    options.nth(0).focus()
    before = row_of(review, "card.png")["broken"]
    page.keyboard.press("ArrowRight")
    wait_for(lambda: row_of(review, "card.png")["broken"] != before)
    options.nth(1).focus()
    page.keyboard.press("x")
    wait_for(lambda: row_of(review, "card.png")["broken"] == "")


def test_the_cut_out_is_upright_though_the_photo_is_upside_down(page: Page, review: Review) -> None:
    """The dotted line of the signature is at the bottom of its cut-out."""
    canvas = page.locator(".card", has_text="signature").locator("canvas")
    with PIL.Image.open(io.BytesIO(canvas.screenshot())) as cut:
        levels = np.asarray(cut.convert("L")).astype(float)
    rows = levels.shape[0]
    dark = (levels < levels.mean() - 30).mean(1)
    assert dark[rows // 2 :].max() > 0.2 > dark[: rows // 4].max()


def test_a_form_that_cannot_be_opened_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "form.toml").write_text('name = "form"\npages = ["missing.png"]\n')
    with pytest.raises(DataError, match=r"missing\.png: No such file"):
        review_folder(tmp_path, forms=[tmp_path / "form.toml"])
    assert Store(tmp_path).forms() == []


def test_the_next_review_of_the_folder_knows_its_forms(review: Review) -> None:
    store = Store(review.folder)
    forms = ReviewedForms.of(store)
    assert [form.name for form in forms.specifications] == ["meter-card"]
    version = reading_version(None, forms)
    hashes = [content_hash for content_hash, _, _ in store.files().values()]
    assert [store.has_reading(one, version) for one in hashes] == [True, True]
    assert version != reading_version(None, ReviewedForms(()))


@pytest.fixture
def content(review: Review) -> dict[str, Any]:
    """What the database has of the card."""
    with closing(sqlite3.connect(review.folder / "rowscan.db")) as opened:
        query = "SELECT content FROM reading WHERE status = 'read'"
        found: dict[str, Any] = json.loads(opened.execute(query).fetchone()[0])
    return found


def test_a_value_that_two_forms_have_is_told_on_both(
    review: Review, content: dict[str, Any], truth: dict[str, str], tmp_path: Path
) -> None:
    forms = ReviewedForms([review.folder.parent / "forms" / "meter-card.toml"])
    store = Store(tmp_path)
    for number in (1, 2):
        store.place(f"{number}.png", f"hash {number}", 1, 1)
        store.add_readings(f"hash {number}", "model", [content])

    def told(page: int) -> list[Broken]:
        return repeated(store, forms, page, forms.reading(content, store.lines(page)))

    meter = truth["meter"]
    assert [told(1), told(2)] == [
        [Broken("meter", f"{meter} is also in 2.png")],
        [Broken("meter", f"{meter} is also in 1.png")],
    ]
    assert [row["status"] for row in form_rows(store, forms)] == ["check", "check"]
    other = str(int(meter) + 55).zfill(8)
    store.correct(Author("Anna", "tab"), "a", [Change(2, "0", "typed", other)])
    assert [told(1), told(2)] == [[], []]
    rows = list(form_rows(store, forms))
    assert rows[0]["status"] == "read"
    assert rows[1]["fields"]["meter"]["text"] == other


def test_a_broken_rule_is_shown_at_its_field_alone(tmp_path: Path) -> None:
    """The name of one field begins with that of the other."""
    known = [
        Field(name=name, kind="digits", boxes=((0, 0, 1, 1),), required=True)
        for name in ("a", "a:b")
    ]
    path = tmp_path / "form.toml"
    path.write_text(to_toml(Specification(name="f", pages=("f.png",), fields=tuple(known))))
    forms = ReviewedForms([path])
    fields = {
        "a": FieldReading("a", "7", 0.99, "read", (0, 0, 1, 1)),
        "a:b": FieldReading("a:b", "", 0.99, "empty", (0, 0, 1, 1)),
    }
    broken_rule = Broken("a:b", "required, and empty")
    page = forms.to_page(FormReading("f", 1, fields, (broken_rule,)))
    store = Store(tmp_path)
    store.place("1.png", "hash", 1, 1)
    store.add_readings("hash", "model", [page])
    lines = store.lines(1)
    reading = forms.reading(page, lines)
    assert reading.broken == (broken_rule,)
    shown = forms.shown(page, lines, reading)["lines"]
    assert isinstance(shown, list)
    assert {line["field"]: line["broken"] for line in shown} == {
        "a": [],
        "a:b": ["required, and empty"],
    }
    assert {line["field"]: line["doubtful"] for line in shown} == {"a": False, "a:b": True}


def test_corrected_fields_teach_as_they_were_read(
    content: dict[str, Any], truth: dict[str, str], tmp_path: Path
) -> None:
    """No picture is opened: the ink without the print is in the database."""
    store = Store(tmp_path)
    names = {line["field"]: str(i) for i, line in enumerate(content["lines"])}
    for number in range(1, 13):
        store.place(f"{number}.png", f"hash {number}", 1, 1)
        store.add_readings(f"hash {number}", "model", [content])
        said = {"reading": truth["reading"], "read_on": truth["read_on"]}
        said["meter"] = truth["meter"] + "0" * (number == 12)  # has one more than there is ink
        changes = [
            Change(number, names[name], "typed" if name == "reading" else "accepted", text)
            for name, text in (said | {"moved": truth["moved"]}).items()
        ]
        author = Author("Anna", "tab")
        store.correct(author, f"{number}", [*changes, Change(number, "", "done")])
    pages = load_reviewed(tmp_path)
    assert [len(page.lines) for page in pages].count(3) == 11
    assert all(page.is_form for page in pages)

    reader = rowscan.Reader()
    documents = load_documents(tmp_path, reader)
    assert documents.held_out == ()
    assert len(documents.lines) + len(documents.fields_held_out) == 35
    taught = {(tuple(line.text), line.weight) for line in documents.lines}
    assert taught == {
        (tuple(map(int, truth["meter"])), 0.5),
        (tuple(map(int, truth["reading"])), 1.0),
        (tuple(map(int, truth["read_on"])), 0.5),
    }
    scored = _score_held_out(reader, documents, strict=True)
    assert scored.n == len(documents.fields_held_out)
    assert scored.exact > 0.5
