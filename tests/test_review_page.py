"""The page of `rowscan review` in a real Chromium, and what it leaves in the database."""

import csv
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import Open, Tab, chromium
from rowscan.datasets.reviewed import load_reviewed

PATIENCE = 90.0  # seconds; longer than anything takes on a busy machine
EXAMPLES = Path(__file__).parent.parent / "examples" / "digits"
expect.set_options(timeout=1000 * PATIENCE)

# What is on each picture, by the example digits that it is made of.
NUMBERS = {
    "a.png": ["4-08.png", "0-00.png"],
    "b.png": ["7-13.png", "1-02.png"],
    "c.png": ["2-04.png", "2-04.png"],
    "d.png": ["0-00.png", "7-13.png"],
    "blank.png": [],
}


def draw(names: list[str]) -> PIL.Image.Image:
    """Digits side by side, as near to each other as in a number."""
    sheet = PIL.Image.new("L", (400, 170), 245)
    left = 60
    for name in names:
        with PIL.Image.open(EXAMPLES / name) as digit:
            grey = digit.convert("L")
        ink = grey.crop(grey.point(lambda level: 255 * (level < 128)).getbbox())
        sheet.paste(ink, (left, 130 - ink.height))
        left += ink.width + 18
    return sheet


class Review:
    """`rowscan review` as a process."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "rowscan", "review", str(folder), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--jobs", "1", "--user", "Anna", *options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        found = re.search(r"http://\S+", self.process.stdout.readline())
        assert found is not None
        self.url = found[0]

    def file(self, name: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}/v1/review/files/{name}") as answer:
            content: bytes = answer.read()
        return content

    def labels(self) -> dict[str, str]:
        rows = csv.DictReader(io.StringIO(self.file("labels.csv").decode()))
        return {row["filename"]: row["label"] for row in rows}

    def end(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work") / "forms"
    (folder / "below").mkdir(parents=True)
    for name, digits in NUMBERS.items():
        draw(digits).save(folder / name)
    (folder / "below" / "torn.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def read_once(folder: Path) -> Path:
    """The folder, read; tests copy it, so that only one process has to read."""
    review = Review(folder)
    try:
        wait_for(lambda: news(review)["progress"]["finished"])
    finally:
        review.end()
    return folder


@pytest.fixture
def review(read_once: Path, tmp_path: Path) -> Iterator[Review]:
    shutil.copytree(read_once, tmp_path / "forms")
    review = Review(tmp_path / "forms")
    yield review
    review.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Tab:
    return Tab(browser, PATIENCE, locale="en-GB")


@pytest.fixture
def open_page(tab: Tab, review: Review) -> Iterator[Open]:
    """Opens the page, which shows a card."""
    with tab.opening(review.url) as open_any:

        def open_page(*url: str, **options: Any) -> Page:
            page = open_any(*url, **options)
            expect(page.locator(".card")).to_have_count(1)
            return page

        yield open_page


def news(review: Review) -> dict[str, Any]:
    with urllib.request.urlopen(f"{review.url}/v1/review") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def wait_for(found: Callable[[], object]) -> None:
    for _ in range(round(PATIENCE * 10)):
        if found():
            return
        signal.sigtimedwait([], 0.1)
    pytest.fail("it did not happen")


def corrections(folder: Path) -> list[tuple[str, str, str]]:
    """What the database has: file, state and text of each line that was decided, user left out."""
    connection = sqlite3.connect(folder / "rowscan.db")
    rows = connection.execute(
        "SELECT path, current.state, current.text FROM current JOIN entry ON entry.id = page "
        "WHERE line <> '' ORDER BY path"
    ).fetchall()
    connection.close()
    return rows


def open_picture(page: Page, name: str) -> None:
    page.locator(".item", has_text=name).click()
    expect(page.locator("#name")).to_have_text(name)


def test_a_folder_is_reviewed_with_the_keyboard_alone(review: Review, open_page: Open) -> None:
    page = open_page()
    expect(page.locator("#counts")).to_have_text("0 done, 6 left")
    texts = {}
    for done in range(1, 7):
        name = page.locator("#name").text_content() or ""
        if name == "blank.png":
            page.keyboard.press("x")
        elif name == "below/torn.jpg":
            expect(page.locator("#remark")).to_contain_text("could not be read")
            page.keyboard.press("x")
        else:
            truth = "".join(digit[0] for digit in NUMBERS[name])
            field = page.locator(".field")
            expect(field).to_be_focused()
            if name == "c.png":
                page.keyboard.press("Control+a")
                page.keyboard.type("-9.50")
                texts[name] = "-9.50"
            else:
                expect(field).to_have_value(truth)
                texts[name] = truth
            page.keyboard.press("Enter")
        expect(page.locator("#counts")).to_have_text(f"{done} done, {6 - done} left")
        if done < 6:
            expect(page.locator("#name")).not_to_have_text(name)
    expect(page.locator("#remark")).to_have_text("All of these are done.")
    wait_for(lambda: len(review.labels()) == 6)
    assert review.labels() == texts | {"blank.png": "", "below/torn.jpg": ""}
    decided = {name: (state, text) for name, state, text in corrections(review.folder)}
    expected = {name: ("accepted", text) for name, text in texts.items()}
    assert decided == expected | {"c.png": ("typed", "-9.50")}
    rows = csv.DictReader(io.StringIO(review.file("readings.csv").decode()))
    assert [row["text"] for row in rows if row["path"] == "c.png"] == ["-9.50"]
    objects = map(json.loads, review.file("readings.jsonl").splitlines())
    assert {found["path"]: found["text"] for found in objects}["c.png"] == "-9.50"
    book = zipfile.ZipFile(io.BytesIO(review.file("readings.xlsx")))
    assert "-9.50" in book.read("xl/sharedStrings.xml").decode()
    lessons = {page.path.name: page.lines for page in load_reviewed(review.folder)}
    assert [(line.text, line.typed) for line in lessons["c.png"]] == [("-9.50", True)]
    assert lessons["blank.png"] == ()


def test_undo_redo_and_the_runner_up(review: Review, open_page: Open) -> None:
    page = open_page()
    open_picture(page, "a.png")
    field = page.locator(".field")
    expect(field).to_have_value("40")
    page.keyboard.press("End")
    page.keyboard.type("17")
    expect(field).to_have_value("4017")
    page.keyboard.press("Control+z")
    expect(field).to_have_value("40")
    page.keyboard.press("Control+y")
    expect(field).to_have_value("4017")
    page.keyboard.press("Control+z")
    expect(field).to_have_value("40")
    page.keyboard.press("x")
    expect(page.locator("#name")).not_to_have_text("a.png")
    page.keyboard.press("Control+z")
    expect(page.locator("#name")).to_have_text("a.png")
    expect(field).to_have_value("40")
    expect(page.locator("#counts")).to_have_text("0 done, 6 left")
    # A runner-up is a key away, and so is the way back.
    page.route("**/pages/*", doubted)
    page.reload()
    expect(field).to_have_count(1)
    open_picture(page, "a.png")
    expect(page.locator(".doubtful")).to_contain_text("or 9")
    assert page.evaluate("getSelection().toString()") in ("4", "")
    page.keyboard.press("r")
    expect(field).to_have_value("90")
    page.keyboard.press("r")
    expect(field).to_have_value("40")
    page.locator(".doubtful").click()
    expect(field).to_have_value("90")


def doubted(route: Any) -> None:
    """The model's answer, less sure of its first character."""
    answer = route.fetch()
    content = answer.json()
    for line in content["lines"]:
        first = line["characters"][0]
        first |= {"confidence": 0.6, "runner_up": {"character": "9", "confidence": 0.3}}
    route.fulfill(response=answer, json=content)


def test_boxes_are_drawn_moved_and_removed(review: Review, open_page: Open) -> None:
    page = open_page()
    open_picture(page, "b.png")
    page.keyboard.press("w")
    expect(page.locator(".area")).to_have_count(1)
    frame = page.locator("#sheet").bounding_box()
    assert frame is not None
    page.mouse.move(frame["x"] + 5, frame["y"] + 5)
    page.mouse.down()
    page.mouse.move(frame["x"] + 105, frame["y"] + 45, steps=4)
    page.mouse.up()
    expect(page.locator(".card")).to_have_count(2)
    page.keyboard.type("88")
    expect(page.locator(".field").last).to_have_value("88")
    # With the keyboard: a box in the middle, moved by the arrows, then its field.
    page.keyboard.press("b")
    expect(page.locator(".area")).to_have_count(3)
    before = page.locator(".area").last.bounding_box()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    after = page.locator(".area").last.bounding_box()
    assert before is not None
    assert after is not None
    assert after["x"] < before["x"]
    assert after["height"] > before["height"]
    page.keyboard.press("Enter")
    page.keyboard.type("5")
    expect(page.locator(".field").last).to_have_value("5")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("d")
    expect(page.locator(".card")).to_have_count(2)
    page.locator("#accept").click()
    wait_for(lambda: sorted(review.labels().get("b.png", "").split(" / ")) == ["5", "71"])
    (lesson,) = load_reviewed(review.folder)
    with PIL.Image.open(lesson.path) as picture:
        for line in lesson.lines:
            x, y, width, height = line.box
            assert 0 <= x < x + width <= picture.width
            assert 0 <= y < y + height <= picture.height


def test_nothing_is_lost_when_the_service_is_killed(
    review: Review, open_page: Open, tmp_path: Path
) -> None:
    page = open_page()
    open_picture(page, "d.png")
    page.keyboard.press("Control+a")
    page.keyboard.type("12")
    wait_for(lambda: ("d.png", "typed", "12") in corrections(review.folder))
    review.end(signal.SIGKILL)
    page.keyboard.type("34")
    expect(page.locator("#gone")).to_contain_text("does not answer")
    # Meanwhile the folder moves, and a picture in it gets another name.
    moved = tmp_path / "elsewhere"
    review.folder.rename(moved)
    (moved / "d.png").rename(moved / "renamed.png")
    port = review.url.rpartition(":")[2]
    again = Review(moved, "--port", port)
    try:
        wait_for(lambda: ("renamed.png", "typed", "1234") in corrections(moved))
        expect(page.locator("#gone")).to_be_hidden()
        history = sqlite3.connect(moved / "rowscan.db").execute(
            "SELECT text FROM correction WHERE line <> '' ORDER BY id"
        )
        assert [text for (text,) in history] == ["1", "12", "123", "1234"]
    finally:
        again.end()


@pytest.mark.slow
def test_forty_pictures_are_reviewed_by_keyboard_though_the_service_is_killed(
    open_page: Open, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    files = sorted(file.name for file in EXAMPLES.glob("*.png"))
    truth = {}
    for i in range(40):
        chosen = [files[i % len(files)], files[(7 * i + 3) % len(files)]]
        sheet = draw(chosen)
        sheet.putpixel((i, 0), 0)  # no two are the same
        sheet.save(folder / f"{i:02}.png")
        truth[f"{i:02}.png"] = "".join(name[0] for name in chosen)
    service = Review(folder)
    port = service.url.rpartition(":")[2]
    try:
        wait_for(lambda: news(service)["progress"]["finished"])
        page = open_page(service.url)
        for done in range(40):
            name = page.locator("#name").text_content() or ""
            if page.locator(".field").input_value() != truth[name]:
                page.keyboard.press("Control+a")
                page.keyboard.type(truth[name])
            if done == 20:
                service.end(signal.SIGKILL)
            page.keyboard.press("Enter")
            if done == 20:
                service = Review(folder, "--port", port)
            if done < 39:
                expect(page.locator("#name")).not_to_have_text(name)
        expect(page.locator("#counts")).to_have_text("40 done, 0 left")
        wait_for(lambda: service.labels() == truth)
    finally:
        service.end()
    assert {page.path.name: page.text for page in load_reviewed(folder)} == truth
    decided = corrections(folder)
    assert len(decided) == 40
    assert {state for _, state, _ in decided} <= {"accepted", "typed"}


def test_two_people_review_at_once(review: Review, open_page: Open) -> None:
    anna, ben = open_page(), open_page(viewport={"width": 390, "height": 780}, is_mobile=True)
    for page in (anna, ben):
        open_picture(page, "a.png")
    ben.locator("#user").fill("Ben")
    ben.locator("#user").press("Tab")
    ben.locator(".field").fill("77")
    expect(anna.locator(".field")).to_have_value("77")
    ben.locator("#accept").click()
    expect(anna.locator("#counts")).to_have_text("1 done, 5 left")
    anna.locator(".field").fill("78")
    wait_for(lambda: review.labels() == {"a.png": "78"})
    connection = sqlite3.connect(review.folder / "rowscan.db")
    users = {user for (user,) in connection.execute("SELECT user FROM correction")}
    connection.close()
    assert users == {"Anna", "Ben"}
    # On a phone nothing is wider than the screen.
    assert ben.evaluate("document.documentElement.scrollWidth") == 390


def test_filters_language_and_theme(open_page: Open) -> None:
    page = open_page(color_scheme="dark")
    for name, count in {"empty": 1, "errors": 1, "unseen": 3, "done": 0, "all": 6}.items():
        page.locator("#filter").select_option(name)
        expect(page.locator("#list .item")).to_have_count(count)
        if count == 1:  # what a filter shows alone is on the desk, and so has been seen
            listed = page.locator("#list .item small").text_content() or ""
            expect(page.locator("#name")).to_have_text(listed)
    page.locator("#language").click()
    expect(page.locator("#accept")).to_contain_text("确认")
    expect(page.locator("#counts")).to_have_text("已完成 0，剩余 6")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    page.reload()
    expect(page.locator("#accept")).to_contain_text("确认")
    page.locator("#help").click()
    expect(page.locator("#keys div")).to_have_count(10)


def test_the_crop_shows_the_ink_of_its_line(open_page: Open) -> None:
    page = open_page()
    open_picture(page, "a.png")
    content = page.locator(".card canvas").screenshot()
    with PIL.Image.open(io.BytesIO(content)) as crop:
        levels = np.asarray(crop.convert("L"))
    halves = levels[:, : levels.shape[1] // 2], levels[:, levels.shape[1] // 2 :]
    assert all((half < 100).mean() > 0.01 for half in halves)


def test_a_request_that_makes_no_sense_is_refused(review: Review) -> None:
    def status(path: str, body: bytes | None = None, kind: str = "application/json") -> int:
        request = urllib.request.Request(
            f"{review.url}{path}", body, {"Content-Type": kind} if body else {}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                found: int = answer.status
        except urllib.error.HTTPError as error:
            found = error.code
        return found

    change = {"event": "e", "page": 1, "line": "0", "state": "typed", "text": "1"}
    who = {"user": "u", "session": "s", "database": news(review)["database"]}
    good = {**who, "gesture": "g", "changes": [change]}
    path = "/v1/review/corrections"
    assert status(path, json.dumps(good).encode()) == 204
    assert status(path, json.dumps(good).encode(), "text/plain") == 422  # another site's form
    outside = {"changes": [change | {"box": [0, 0, -1, 1]}]}
    wrongs: list[dict[str, Any]] = [{"user": ""}, {"changes": []}, outside]
    for wrong in wrongs:
        assert status(path, json.dumps(good | wrong).encode()) == 422
    assert status("/v1/review/pages/999") == 422
    assert status("/v1/review/files/..%2Frowscan.db") == 404
    assert status("/v1/review/learning/use", json.dumps(who).encode()) == 422
    # A page that was opened for another folder, served here before, must not write into this one.
    assert status(path, json.dumps(good | {"database": "another"}).encode()) == 409
    assert os.listdir(review.folder)  # noqa: PTH208
