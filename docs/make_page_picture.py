"""Draw page.png, review.png and review-form.png in docs/pictures: part of `make docs`, seconds.

The pages of `rowscan serve` and `rowscan review` in a real browser, for which it needs Chromium: a
number written by mouse, and the sample pictures of numbers and of a form.
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import PIL.Image
from make_pictures import PICTURES, save_picture
from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from test_page_in_browser import draw, number

WIDTH, HEIGHT = 1180, 800


def main() -> None:
    """Start each service, use its page, and take a screenshot."""
    take(["serve"], write, "page.png")
    examples = Path(__file__).parent.parent / "examples"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "my-forms"
        shutil.copytree(examples / "numbers", folder, ignore=shutil.ignore_patterns("*.csv"))
        take(["review", str(folder), "--user", "Anna"], check, "review.png")
        cards = Path(name) / "cards"
        shutil.copytree(examples / "forms" / "cards", cards)
        form = str(examples / "forms" / "meter-card.toml")
        take(["review", str(cards), "--form", form, "--user", "Anna"], doubt, "review-form.png")


def take(arguments: list[str], use: Callable[[Page], None], name: str) -> None:
    """Save a page in few colours."""
    command = [sys.executable, "-m", "rowscan", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        address = next(word for word in service.stdout.readline().split() if "://" in word)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium", args=["--no-sandbox"]
                )
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, locale="en")
                page.goto(address)
                use(page)
                picture = PIL.Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                browser.close()
        finally:
            service.terminate()
    save_picture(picture.quantize(64, dither=PIL.Image.Dither.NONE), PICTURES / name)


def write(page: Page) -> None:
    """A number, until the animation of the belief has ended."""
    draw(page, number("4071"))
    expect(page.locator("#step")).to_have_text(re.compile(r"^Step (\d+) of \1: "), timeout=120_000)


def check(page: Page) -> None:
    """The cheque, once all pictures are read and two are done."""
    expect(page.locator("#counts")).to_have_text("0 done, 5 left", timeout=120_000)
    for name, key in {"board.jpg": "Enter", "scrawl.png": "x"}.items():
        page.locator("#list .item", has_text=name).click()
        expect(page.locator("#name")).to_have_text(name)
        page.keyboard.press(key)
        expect(page.locator("#name")).not_to_have_text(name)
    page.locator("#list .item", has_text="cheque").click()
    page.wait_for_timeout(1000)


def doubt(page: Page) -> None:
    """The most doubtful form, once all are read."""
    expect(page.locator("#counts")).to_have_text("0 done, 2 left", timeout=120_000)
    page.reload()  # with all of them in order
    expect(page.locator("#form")).to_have_text("meter-card")
    page.wait_for_timeout(1000)


if __name__ == "__main__":
    main()
