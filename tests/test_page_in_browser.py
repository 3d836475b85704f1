"""The page in a real Chromium: strokes by mouse and finger, images, and every control."""

import io
import itertools
import json
import math
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import Open, Tab, chromium
from rowscan.datasets.reviewed import load_reviewed
from test_server import EXAMPLES, PATIENCE, SEVEN, Service

Stroke = list[tuple[float, float]]

expect.set_options(timeout=1000 * PATIENCE)

# Digits as strokes -------------------------------------------------------------------------------


def arc(
    centre: tuple[float, float], radius: tuple[float, float], start: float, stop: float
) -> Stroke:
    """Part of an ellipse from one angle to another, in degrees; 0 is right, 90 is down."""
    steps = max(8, round(abs(stop - start) / 15))
    angles = [math.radians(start + (stop - start) * i / steps) for i in range(steps + 1)]
    return [
        (centre[0] + radius[0] * math.cos(a), centre[1] + radius[1] * math.sin(a)) for a in angles
    ]


# In a box of width and height 1, y down; several ways to write some of them.
DIGITS: dict[str, list[Stroke]] = {
    "0": [arc((0.5, 0.5), (0.34, 0.48), -80, 285)],
    "0 narrow": [arc((0.5, 0.5), (0.22, 0.48), -120, 230)],
    "1": [[(0.5, 0.02), (0.48, 0.98)]],
    "1 with a flag": [[(0.3, 0.24), (0.55, 0.02), (0.55, 0.98)]],
    "2": [[*arc((0.46, 0.28), (0.32, 0.26), 190, 395), (0.12, 0.97), (0.88, 0.96)]],
    "2 angular": [
        [(0.15, 0.2), (0.4, 0.03), (0.75, 0.1), (0.76, 0.36), (0.14, 0.97), (0.88, 0.94)]
    ],
    "3": [
        [
            *arc((0.44, 0.26), (0.32, 0.24), 205, 440),
            *arc((0.42, 0.74), (0.38, 0.25), 275, 515),
        ]
    ],
    "3 flat": [
        [(0.16, 0.04), (0.8, 0.03), (0.44, 0.4), *arc((0.42, 0.69), (0.38, 0.29), 280, 510)]
    ],
    "4": [[(0.3, 0.03), (0.12, 0.6), (0.9, 0.58)], [(0.68, 0.12), (0.63, 0.98)]],
    "4 closed": [[(0.66, 0.98), (0.66, 0.03), (0.08, 0.66), (0.92, 0.66)]],
    "5": [
        [(0.26, 0.05), (0.2, 0.44), *arc((0.44, 0.7), (0.36, 0.28), 235, 500)],
        [(0.26, 0.05), (0.8, 0.03)],
    ],
    "5 in one": [
        [(0.82, 0.04), (0.28, 0.04), (0.22, 0.45), *arc((0.44, 0.69), (0.38, 0.29), 240, 505)]
    ],
    "6": [[(0.7, 0.03), (0.42, 0.25), (0.22, 0.58), *arc((0.5, 0.72), (0.29, 0.25), 190, 540)]],
    "6 straight": [[(0.5, 0.02), (0.24, 0.6), *arc((0.5, 0.73), (0.28, 0.24), 185, 545)]],
    "7": [[(0.12, 0.06), (0.86, 0.04), (0.42, 0.97)]],
    "7 barred": [[(0.12, 0.08), (0.86, 0.05), (0.44, 0.97)], [(0.3, 0.52), (0.8, 0.5)]],
    "8": [
        [
            (0.5 + 0.3 * math.sin(2 * t), 0.5 - 0.47 * math.cos(t))
            for t in (math.pi * (i / 16 + 0.12) for i in range(33))
        ]
    ],
    "8 of two rings": [
        arc((0.5, 0.26), (0.24, 0.23), -80, 280),
        arc((0.5, 0.73), (0.31, 0.24), -90, 270),
    ],
    "9": [[*arc((0.48, 0.29), (0.3, 0.26), -10, -360), (0.77, 0.55), (0.6, 0.98)]],
    "9 straight": [[*arc((0.46, 0.29), (0.28, 0.26), -20, -340), (0.75, 0.12), (0.74, 0.98)]],
}

# x and y of the upper left corner, height (each a share of the paper's height), and slant.
PLACES = [
    (0.5, 0.2, 0.6, 0.0),
    (0.1, 0.1, 0.3, 0.1),
    (0.9, 0.6, 0.3, 0.0),
    (0.3, 0.05, 0.85, -0.05),
    (1.0, 0.1, 0.45, 0.2),
]


def place(strokes: list[Stroke], x: float, y: float, height: float, slant: float) -> list[Stroke]:
    """Strokes in units of the paper's height; a digit is 0.65 as wide as high."""
    return [
        [(x + height * (0.65 * px + slant * (1 - py)), y + height * py) for px, py in stroke]
        for stroke in strokes
    ]


def number(text: str, x: float = 0.1, y: float = 0.3, height: float = 0.35) -> list[Stroke]:
    strokes = []
    for digit in text:
        strokes += place(DIGITS[digit], x, y, height, 0.0)
        x += 0.68 * height
    return strokes


def draw(page: Page, strokes: list[Stroke]) -> None:
    """Draw with the mouse, and wait for the reading."""
    move(page, strokes)
    settle(page)


def move(page: Page, strokes: list[Stroke]) -> None:
    paper = page.locator("#paper").bounding_box()
    assert paper is not None
    side = paper["height"]
    for stroke in strokes:
        points = [(paper["x"] + side * x, paper["y"] + side * y) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for before, point in itertools.pairwise(points):
            # The paper rounds corners, so it needs points before and after them.
            page.mouse.move(*point, steps=math.ceil(math.dist(before, point) / (0.08 * side)))
        page.mouse.up()


def settle(page: Page) -> None:
    expect(page.locator("#result")).to_have_attribute("aria-busy", "false")


def shown(page: Page) -> str:
    return "".join(page.locator("#result .glyph").all_text_contents())


# The browser -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page keeps samples."""
    return tmp_path_factory.mktemp("kept") / "samples"


@pytest.fixture(scope="module")
def service(samples: Path) -> Iterator[Service]:
    service = Service("--samples", samples)
    yield service
    service.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        yield browser


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Tab:
    return Tab(browser, PATIENCE, locale="en-GB", reduced_motion="reduce")


@pytest.fixture
def open_page(tab: Tab, service: Service) -> Iterator[Open]:
    with tab.opening(service.url) as open_page:
        yield open_page
    service.check()


def photo(tmp_path: Path, names: list[tuple[str, int, int]], size: tuple[int, int]) -> Path:
    """Example digits on a sheet with uneven light."""
    sheet = PIL.Image.new("L", size, 235)
    for name, x, y in names:
        with PIL.Image.open(EXAMPLES / name) as digit:
            sheet.paste(digit.convert("L").point(lambda grey: grey * 235 // 255), (x, y))
    light = PIL.Image.linear_gradient("L").resize(size).point(lambda grey: 170 + grey // 4)
    sheet = PIL.Image.composite(sheet, PIL.Image.new("L", size, 0), light)
    path = tmp_path / "photo.jpg"
    sheet.save(path, quality=90)
    return path


# Writing -----------------------------------------------------------------------------------------


def test_twenty_digits_drawn_with_the_mouse_are_read(open_page: Open) -> None:
    page = open_page()
    answers = {}
    for i, (name, strokes) in enumerate(DIGITS.items()):
        page.locator("#clear").click(force=i == 0)
        draw(page, place(strokes, *PLACES[i % len(PLACES)]))
        answers[name] = shown(page)
    wrong = {name: answer for name, answer in answers.items() if answer != name[0]}
    assert len(answers) == 20
    assert len(wrong) <= 1, wrong


@pytest.mark.parametrize("text", ["4071", "90210"])
def test_numbers_drawn_with_the_mouse_are_read(text: str, open_page: Open) -> None:
    page = open_page()
    draw(page, number(text))
    assert shown(page) == text
    expect(page.locator("#spoken")).to_have_text(re.compile(rf"^Read: {text}, >?\d+% sure$"))
    assert page.locator(".box").count() == len(text)


def test_a_finger_writes_and_does_not_scroll(open_page: Open) -> None:
    page = open_page(viewport={"width": 390, "height": 500}, has_touch=True, is_mobile=True)
    paper = page.locator("#paper").bounding_box()
    assert paper is not None
    touch = page.context.new_cdp_session(page)
    for stroke in place(DIGITS["7"], 0.4, 0.1, 0.8, 0.0):
        points = [
            {"x": paper["x"] + paper["height"] * x, "y": paper["y"] + paper["height"] * y}
            for x, y in stroke
        ]
        for kind, at in (
            ("touchStart", points[:1]),
            *(("touchMove", [point]) for point in points[1:]),
            ("touchEnd", []),
        ):
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
    expect(page.locator("#result .glyph")).to_have_text("7")
    assert page.evaluate("scrollY") == 0


def test_undo_takes_back_stroke_by_stroke(open_page: Open) -> None:
    page = open_page()
    expect(page.locator("#undo")).to_be_disabled()
    draw(page, number("71"))
    assert shown(page) == "71"
    page.locator("#undo").click()
    settle(page)
    assert shown(page) == "7"
    page.keyboard.press("Control+z")
    settle(page)
    assert shown(page) == ""
    expect(page.locator("#remark")).to_have_text("Nothing written yet")
    expect(page.locator("#hint")).to_be_visible()
    expect(page.locator("#growth")).to_be_hidden()
    draw(page, number("4"))
    assert shown(page) == "4"
    page.locator("#clear").click()
    assert shown(page) == ""
    expect(page.locator("#undo")).to_be_disabled()


def test_what_was_taken_back_can_be_had_again(open_page: Open) -> None:
    page = open_page()
    draw(page, number("4071"))
    before = shown(page)
    page.locator("#clear").click()
    expect(page.locator("#result .glyph")).to_have_count(0)
    expect(page.locator("#redo")).to_be_enabled()
    for _ in range(5):  # a 4 has two strokes
        page.keyboard.press("Control+y")
    settle(page)
    assert shown(page) == before != ""
    expect(page.locator("#redo")).to_be_disabled()


def test_a_result_is_corrected_copied_and_downloaded(open_page: Open) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.locator("[data-example=board]").click()
    expect(page.locator("#text")).to_have_value("1729")
    page.locator("#text").fill("1730")
    page.locator("#language").click()
    expect(page.locator("#text")).to_have_value("1730")
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("已复制")
    assert page.evaluate("navigator.clipboard.readText()") == "1730"
    with page.expect_download() as waiting:
        page.locator("#download").click()
    content = json.loads(waiting.value.path().read_text(encoding="utf-8"))
    assert (content["text"], content["corrected"]) == ("1729", "1730")


def test_the_reading_follows_the_paper_when_its_size_changes(open_page: Open) -> None:
    page = open_page(viewport={"width": 1100, "height": 800})
    draw(page, number("47"))
    page.set_viewport_size({"width": 500, "height": 800})
    stage, box = (page.locator(name).first.bounding_box() for name in ("#stage", ".box"))
    assert stage is not None
    assert box is not None
    assert (box["x"] - stage["x"]) / stage["height"] == pytest.approx(0.1, abs=0.06)
    draw(page, number("471")[len(number("47")) :])
    assert shown(page) == "471"


# The belief --------------------------------------------------------------------------------------


def pixels(page: Page, name: str) -> str:
    """The pixels of a canvas, as a PNG."""
    return str(page.evaluate("(name) => document.getElementById(name).toDataURL()", name))


def test_the_slider_steps_through_the_rows(open_page: Open) -> None:
    page = open_page()
    draw(page, place(DIGITS["7"], *PLACES[0]))
    page.locator("#view-rows").click()
    step, slider = page.locator("#step"), page.locator("#slider")
    expect(step).to_have_text(re.compile(r"^Row 28 of 28: 7, >?\d+%$"))
    expect(page.locator("#bars .leads b")).to_have_text("7")
    last = pixels(page, "heat"), pixels(page, "picture")
    slider.focus()
    page.keyboard.press("Home")
    expect(step).to_have_text(re.compile(r"^Row 1 of 28: "))
    assert slider.get_attribute("aria-valuetext") == step.text_content()
    first = pixels(page, "heat"), pixels(page, "picture")
    assert all(a != b for a, b in zip(first, last, strict=True))
    page.keyboard.press("ArrowRight")
    expect(step).to_have_text(re.compile(r"^Row 2 of 28: "))
    page.keyboard.press("End")
    assert (pixels(page, "heat"), pixels(page, "picture")) == last


def test_a_line_is_read_from_left_to_right_over_the_writing(open_page: Open) -> None:
    page = open_page()
    draw(page, number("407"))
    step, so_far = page.locator("#step"), page.locator("#so-far")
    expect(step).to_have_text(re.compile(r"^Step (\d+) of \1: 407, >?\d+%$"))
    expect(so_far).to_have_text("407")
    expect(page.locator("#head")).to_be_hidden()
    whole = pixels(page, "strip")
    page.locator("#slider").focus()
    page.keyboard.press("Home")
    expect(so_far).to_have_text("–")
    texts, places = ["–"], []
    for _ in range(int(page.locator("#slider").get_attribute("max") or "0") - 2):
        page.keyboard.press("ArrowRight")
        texts.append(so_far.text_content() or "")
        head = page.locator("#head-line").bounding_box()
        assert head is not None
        places.append(head["x"])
    assert [text for text, _ in itertools.groupby(texts)] == ["–", "4", "40", "407"]
    assert places == sorted(places)
    boxes = [box.bounding_box() for box in page.locator(".box").all()]
    assert boxes[0] is not None
    assert boxes[2] is not None
    assert places[0] < boxes[0]["x"] + boxes[0]["width"] / 2
    assert places[-1] > boxes[2]["x"]
    assert pixels(page, "strip") != whole


def test_the_steps_are_animated_unless_motion_is_reduced(open_page: Open) -> None:
    page = open_page(reduced_motion="no-preference")
    page.evaluate(  # each frame comes a twentieth of a second after the one before it
        """() => {
            const next = window.requestAnimationFrame;
            let now = 0;
            performance.now = () => now;
            window.requestAnimationFrame = (show) => next(() => show(now += 50));
        }"""
    )
    rows = page.evaluate_handle(
        """() => {
            const seen = [];
            new MutationObserver(() => seen.push(document.getElementById("step").textContent))
                .observe(document.getElementById("step"), { childList: true });
            return seen;
        }"""
    )
    draw(page, place(DIGITS["7"], *PLACES[0]))
    expect(page.locator("#step")).to_have_text(re.compile(r"^Step (\d+) of \1: "))
    seen = rows.json_value()
    assert len(set(seen)) > 5
    page.locator("#play").click()
    page.wait_for_function(
        r"([seen, before]) => seen.length > before && /^Step (\d+) of \1:/.test(seen.at(-1))",
        arg=[rows, len(seen)],
    )
    again = rows.json_value()[len(seen) :]
    assert len(set(again)) > 5


def test_each_digit_of_a_number_can_be_explained_by_keyboard(open_page: Open) -> None:
    page = open_page()
    draw(page, number("407"))
    pressed = page.locator("#result .digit[aria-pressed=true]")
    expect(pressed).to_have_attribute("aria-label", re.compile(r"^4, "))
    expect(page.locator("#step")).to_have_text(re.compile(r"^Step (\d+) of \1: 407, "))
    pressed.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#step")).to_have_text(re.compile(r": 7, "))
    expect(page.locator("#so-far")).to_have_text("407")
    page.locator("#view-rows").click()
    expect(page.locator("#step")).to_have_text(re.compile(r"Row 28 of 28: 7, "))
    expect(pressed).to_have_attribute("aria-label", re.compile(r"^7, "))
    expect(page.locator(".box.selected")).to_have_count(1)


# Images ------------------------------------------------------------------------------------------


def test_a_photo_is_read_and_its_boxes_lie_on_the_digits(open_page: Open, tmp_path: Path) -> None:
    names = [("4-08.png", 60, 300), ("0-00.png", 200, 290), ("7-13.png", 340, 305)]
    path = photo(tmp_path, names, (900, 700))
    page = open_page()
    page.locator("#choose").set_input_files(path)
    expect(page.locator("#result .glyph")).to_have_text(["4", "0", "7"])
    expect(page.locator("#photo")).to_be_visible()
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    scale = min(stage["width"] / 900, stage["height"] / 700)
    left = stage["x"] + (stage["width"] - 900 * scale) / 2
    top = stage["y"] + (stage["height"] - 700 * scale) / 2
    for (name, x, y), box in zip(names, page.locator(".box").all(), strict=True):
        with PIL.Image.open(EXAMPLES / name) as digit:
            ink = digit.convert("L").point(lambda grey: 255 * (grey < 128)).getbbox()
        assert ink is not None
        a, b, c, d = ink
        found = box.bounding_box()
        assert found is not None
        truth = left + scale * (x + a), top + scale * (y + b), scale * (c - a), scale * (d - b)
        assert list(found.values()) == pytest.approx(truth, abs=4)
    page.locator(".box").nth(2).click()
    expect(page.locator("#step")).to_have_text(re.compile(r": 7, "))


def test_tags_do_not_cover_each_other_on_a_phone(open_page: Open) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    for example in ("cheque", "note"):
        page.locator(f"[data-example={example}]").click()
        expect(page.locator("#so-far")).not_to_be_empty()
        tags = [tag.bounding_box() for tag in page.locator(".tag").all()]
        for one, other in itertools.combinations(filter(None, tags), 2):
            across = (
                one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            )
            down = (
                one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
            )
            assert across or down
        page.locator("#clear").click()
        expect(page.locator(".box")).to_have_count(0)


def test_several_files_and_documents_are_read_one_after_the_other(
    open_page: Open, tmp_path: Path
) -> None:
    pages = [PIL.Image.open(EXAMPLES / name).convert("L") for name in ("4-08.png", "9-17.png")]
    pages[0].save(tmp_path / "two.pdf", save_all=True, append_images=pages[1:], resolution=150)
    pages[1].save(tmp_path / "one.tif")
    (tmp_path / "no.png").write_text("Dear reader,")
    page = open_page()
    names = ["two.pdf", "no.png", "one.tif"]
    page.locator("#choose").set_input_files(
        [EXAMPLES / "7-13.png", *(tmp_path / name for name in names)]
    )
    expect(page.locator("#which")).to_have_text("1 of 5 · 7-13.png")
    expect(page.locator("#many")).to_be_empty()  # all are read
    seen = []
    for _ in range(5):
        settle(page)
        seen.append((page.locator("#which").text_content(), shown(page)))
        page.locator("#after").click(force=True)
    assert seen == [
        ("1 of 5 · 7-13.png", "7"),
        ("2 of 5 · two.pdf, page 1", "4"),
        ("3 of 5 · two.pdf, page 2", "9"),
        ("4 of 5 · no.png", ""),
        ("5 of 5 · one.tif, page 1", "9"),
    ]
    page.locator("#text").fill("8")
    with page.expect_download() as waiting:
        page.locator("#download").click()
    content = json.loads(waiting.value.path().read_text(encoding="utf-8"))["pages"]
    assert [one.get("corrected") for one in content] == ["7", "4", "9", None, "8"]
    assert [(one["path"], one["page"]) for one in content][:3] == [
        ("7-13.png", 1),
        ("two.pdf", 1),
        ("two.pdf", 2),
    ]


def test_a_correction_is_kept_only_if_the_user_says_so(open_page: Open, samples: Path) -> None:
    page = open_page()
    page.locator("[data-example=note]").click()
    text, kept = page.locator("#text"), page.locator("#kept")
    expect(text).to_have_value(re.compile("^4071 / 90210 / "))
    read = text.input_value()
    text.fill(read.replace("90210", "90211"))
    text.press("Enter")
    expect(page.locator("#keep")).not_to_be_checked()
    assert not samples.exists()
    page.locator("#keep").check()
    expect(kept).to_have_text(f"Kept: 1 in {samples}")
    assert [line.typed for line in load_reviewed(samples)[0].lines] == [False, True, False]
    text.fill(read.replace("90210", "90212"))
    text.press("Enter")
    expect(kept).to_have_text(f"Kept: 1 in {samples}")
    (found,) = load_reviewed(samples)
    assert found.text == read.replace("90210", "90212")
    text.fill("4071 / 8635")
    text.press("Enter")
    expect(kept).to_have_text(re.compile("^Not kept: expected 3 lines"))


def test_undo_restores_the_strokes_before_the_image(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    draw(page, number("4"))
    page.locator("#choose").set_input_files(photo(tmp_path, [("7-13.png", 40, 40)], (200, 200)))
    expect(page.locator("#result .glyph")).to_have_text("7")
    page.locator("#undo").click()
    expect(page.locator("#result .glyph")).to_have_text("4")
    expect(page.locator("#photo")).to_be_hidden()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_an_image_can_be_dropped_or_pasted(way: str, open_page: Open) -> None:
    page = open_page()
    page.evaluate(
        """([way, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "7.png", { type: "image/png" }));
            const event = way === "drop"
                ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
            document.body.dispatchEvent(event);
        }""",
        [way, list(SEVEN)],
    )
    expect(page.locator("#result .glyph")).to_have_text("7")


def test_other_files_are_refused_and_the_strokes_stay(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "letter.png"
    path.write_text("Dear reader,")
    page = open_page()
    draw(page, number("4"))
    page.locator("#choose").set_input_files(path)
    remark = "This file is not an image that can be read here."
    expect(page.locator("#remark")).to_have_text(remark)
    expect(page.locator("#spoken")).to_have_text(remark)
    expect(page.locator("#photo")).to_be_hidden()
    page.locator("#language").click()
    expect(page.locator("#remark")).to_have_text("这个文件不是可以识别的图片。")
    draw(page, number("47")[len(number("4")) :])
    assert shown(page) == "47"


def test_a_picture_without_digits_is_reported(open_page: Open, tmp_path: Path) -> None:
    empty = io.BytesIO()
    PIL.Image.new("L", (200, 150), 240).save(empty, "PNG")
    path = tmp_path / "empty.png"
    path.write_bytes(empty.getvalue())
    page = open_page()
    page.locator("#choose").set_input_files(path)
    expect(page.locator("#result")).to_have_text("No digit")
    expect(page.locator("#growth")).to_be_hidden()


# Languages, themes, sizes ------------------------------------------------------------------------


def test_the_language_is_the_browsers_until_another_is_chosen(open_page: Open) -> None:
    page = open_page(locale="zh-CN")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.locator("#undo")).to_have_text("撤销")
    draw(page, number("4"))
    expect(page.locator("#step")).to_have_text(re.compile(r"^第 (\d+) 步，共 \1 步：4，"))
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#step")).to_have_text(re.compile(r"^Step (\d+) of \1: 4, "))
    expect(page.locator("#spoken")).to_have_text(re.compile(r"^Read: 4, "))
    assert shown(page) == "4"
    page.reload()
    expect(page.locator("#undo")).to_have_text("Undo")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("#undo")).to_have_text("撤销")


def test_every_text_exists_in_both_languages(open_page: Open) -> None:
    page = open_page()
    for _ in range(2):
        missing = page.evaluate(
            """() => [...document.querySelectorAll("[data-words], [data-label]")]
                .filter((element) => !(element.textContent.trim() || element.ariaLabel?.trim())
                    || /undefined/.test(element.textContent + element.ariaLabel))
                .map((element) => element.outerHTML)"""
        )
        assert missing == []
        page.locator("#language").click()


def test_the_theme_is_the_systems_until_another_is_chosen(open_page: Open) -> None:
    def ground(page: Page) -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    dark = open_page(color_scheme="dark")
    assert ground(dark) < 150
    dark.get_by_role("button", name="Light").click()
    assert ground(dark) > 600
    dark.reload()
    assert ground(dark) > 600
    assert ground(open_page(color_scheme="light")) > 600


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_a_narrow_phone_does_not_scroll_sideways(locale: str, open_page: Open) -> None:
    page = open_page(
        locale=locale, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    draw(page, number("90210", x=0.02, height=0.4))
    expect(page.locator("#growth")).to_be_visible()  # the explanation comes after the reading
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for name in ("undo", "clear", "language", "theme", "play"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 38  # wide enough for fingers


def test_every_control_has_a_name(open_page: Open) -> None:
    page = open_page()
    draw(page, number("47"))
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, [role=img]")]
            .filter((e) => !(e.ariaLabel || (e.labels?.[0] ?? e).textContent.trim()))
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_the_interface_is_described(open_page: Open, service: Service) -> None:
    page = open_page(f"{service.url}/docs")
    expect(page.locator("h2")).to_have_text(
        [
            "POST /v1/read",
            "POST /v1/forms/{name}",
            "POST /v1/explain",
            "POST /v1/picture",
            "GET /healthz",
            "GET /metrics",
        ]
    )
    expect(page.locator("pre").first).to_have_text(
        f"curl --data-binary @number.jpg {service.url}/v1/read"
    )


# When the service goes away ----------------------------------------------------------------------


def test_the_page_says_when_the_service_is_gone_and_recovers(open_page: Open) -> None:
    service = Service()
    port = service.url.rpartition(":")[2]
    page = open_page(service.url)
    draw(page, number("4"))
    expect(page.locator("#growth")).to_be_visible()  # no request is pending
    service.end(signal.SIGKILL)
    gone = page.locator("#gone")
    expect(gone).to_be_hidden()
    move(page, number("47")[len(number("4")) :])
    expect(gone).to_have_text(re.compile("^The service does not answer."))
    page.locator("#language").click()
    expect(gone).to_have_text(re.compile("^服务没有响应"))
    again = Service("--port", port)
    try:
        expect(gone).to_be_hidden()
        expect(page.locator("#result .glyph")).to_have_text(["4", "7"])
    finally:
        again.end()


def test_a_page_whose_name_was_rebound_to_this_machine_reads_nothing(
    browser: Browser, service: Service
) -> None:
    with browser.new_page() as page:
        answer = page.goto(service.url.replace("127.0.0.1", "evil.example"))
        assert answer is not None
        assert answer.status == 421
        sent = "fetch('/v1/read', {method: 'POST', body: 'x'}).then((answer) => answer.status)"
        assert page.evaluate(sent) == 421
