"""A new form: the fields that are proposed, its file, and the page in a real Chromium."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from browsing import chromium
from rowscan.designer.draft import Draft
from rowscan.errors import DataError, UsageError
from rowscan.forms.proposals import propose
from rowscan.forms.specification import load
from rowscan.io.pictures import open_image
from rowscan.reading import Box

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "forms"))

from make_forms import make

PATIENCE = 90_000  # milliseconds; longer than anything takes on a busy machine


@pytest.fixture(scope="module")
def blanks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms")
    make(folder)
    return folder


def nearly(one: tuple[Box, ...], other: tuple[Box, ...]) -> bool:
    """Whether the same boxes are meant; the room above a line is a matter of taste."""
    return len(one) == len(other) and all(
        max(abs(a[0] - b[0]), abs(a[0] + a[2] - b[0] - b[2]), abs(a[1] + a[3] - b[1] - b[3])) < 8
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", ["exam-cover", "meter-card", "score-sheet"])
def test_the_fields_of_the_examples_are_proposed(blanks: Path, name: str) -> None:
    true = load(blanks / f"{name}.toml").fields
    proposed = propose(open_image(blanks / f"{name}.png"))
    assert len(proposed) == len(true)
    for field in true:
        (found,) = (other for other in proposed if nearly(field.boxes, other.boxes))
        alike = {field.kind, found.kind}
        # Whether eight boxes are a day, and a frame holds a number, only people know.
        assert len(alike) == 1 or alike == {"digits", "date"}


def test_a_rule_between_parts_of_a_page_is_no_field() -> None:
    page = np.full((1000, 800), 255, np.uint8)
    cv2.putText(page, "Harbour Timber Co.", (60, 80), cv2.FONT_HERSHEY_SIMPLEX, 1, 0, 2)
    cv2.line(page, (50, 150), (750, 150), 0, 2)  # parts the page
    cv2.line(page, (300, 300), (600, 300), 0, 2)
    for y in (500, 560, 620):
        cv2.line(page, (50, y), (750, y), 0, 2)
    cv2.rectangle(page, (300, 700), (600, 820), 0, 2)  # too high for a number
    found = [(field.kind, field.boxes[0][1] + field.boxes[0][3]) for field in propose(page)]
    assert [kind for kind, _ in found] == ["text"] * 5
    assert np.allclose([bottom for _, bottom in found], [300, 500, 560, 620, 820], atol=4)


def test_a_draft_is_written_changed_and_opened_again(blanks: Path, tmp_path: Path) -> None:
    shutil.copy(blanks / "meter-card.png", tmp_path)
    draft = Draft(tmp_path / "meter-card.png")
    assert load(tmp_path / "form.toml") == draft.form
    field = {"name": "meter", "kind": "digits", "boxes": [[10, 10, 80, 20]], "digits": 4}
    draft.change({"name": "card", "fields": [field]})
    assert Draft(tmp_path / "meter-card.png").form.fields[0].name == "meter"
    with pytest.raises(DataError, match=r"form\.toml: field 'meter': name: another field has it"):
        draft.change({"name": "card", "fields": [field, field]})
    assert len(load(tmp_path / "form.toml").fields) == 1
    shutil.copy(blanks / "exam-cover.png", tmp_path)
    with pytest.raises(UsageError, match="it describes another form, card; name another file"):
        Draft(tmp_path / "exam-cover.png")


def test_a_copy_of_the_blank_is_never_another_picture(blanks: Path, tmp_path: Path) -> None:
    path = tmp_path / "form.toml"
    for _ in range(2):  # made, and opened again
        assert Draft(blanks / "meter-card.png", path).form.pages == ("meter-card.png",)
    path.unlink()
    Draft(blanks / "meter-card.png", path)  # the copy is the same picture
    path.unlink()
    shutil.copy(blanks / "exam-cover.png", tmp_path / "meter-card.png")
    with pytest.raises(UsageError, match=r"meter-card\.png: another picture is there"):
        Draft(blanks / "meter-card.png", path)
    assert not path.exists()


@pytest.fixture
def page(blanks: Path, tmp_path: Path) -> Iterator[Page]:
    """The page for the meter card; nothing may fail on it."""
    shutil.copy(blanks / "meter-card.png", tmp_path)
    command = [sys.executable, "-m", "rowscan", "form", "new", str(tmp_path / "meter-card.png")]
    process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        with chromium() as browser:
            page = browser.new_page(locale="en")
            page.set_default_timeout(PATIENCE)
            failed: list[str] = []
            page.on("pageerror", lambda error: failed.append(str(error)))
            page.goto(address[0])
            yield page
            assert failed == []
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_fields_are_named_moved_added_and_removed(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "form.toml"
    expect(page.locator(".area")).to_have_count(6, timeout=PATIENCE)
    before = load(path).fields[0]

    def saved() -> None:
        expect(page.locator("#state")).to_have_text(f"Saved in {path}", timeout=PATIENCE)

    # With the keyboard: name, kind, place.
    page.locator(".area").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.type("meter")
    page.keyboard.press("Tab")
    page.locator(".area").first.focus()
    page.keyboard.press("Alt+ArrowRight")
    end = time.monotonic() + PATIENCE / 1000
    while load(path).fields[0].boxes[0][0] == before.boxes[0][0] and time.monotonic() < end:
        page.wait_for_timeout(50)
    saved()
    field = load(path).fields[0]
    assert (field.name, field.kind, field.digits) == ("meter", "digits", 8)
    assert field.boxes[0][0] == before.boxes[0][0] + 1
    page.locator(".area").first.focus()
    page.keyboard.press("Delete")
    expect(page.locator(".area")).to_have_count(5, timeout=PATIENCE)
    page.keyboard.press("Control+z")
    expect(page.locator(".area")).to_have_count(6, timeout=PATIENCE)

    # With the mouse: a new one, and what may not be saved is said.
    sheet = page.locator("#sheet").bounding_box()
    assert sheet is not None
    x, y = sheet["x"] + 0.55 * sheet["width"], sheet["y"] + 0.08 * sheet["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y + 25, steps=3)
    page.mouse.up()
    expect(page.locator(".area")).to_have_count(7, timeout=PATIENCE)
    page.keyboard.type("meter")
    page.keyboard.press("Tab")
    expect(page.locator("#wrong")).to_contain_text("another field has it too", timeout=PATIENCE)
    page.locator("li[aria-current=true] .title").fill("place")
    page.keyboard.press("Tab")
    expect(page.locator("#wrong")).to_be_hidden(timeout=PATIENCE)
    saved()
    assert load(path).fields[-1].name == "place"
    page.locator("#language").click()
    expect(page.locator("#add")).to_have_text("添加字段", timeout=PATIENCE)
    page.locator("li[aria-current=true] .title").fill("a b")
    page.keyboard.press("Tab")
    expect(page.locator("#wrong")).to_contain_text("不能有空格", timeout=PATIENCE)
