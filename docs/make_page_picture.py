"""Draw docs/pictures/page.png: part of `make docs`, seconds. Needs Chromium.

The page of `rowscan serve` in a real browser, with a number written on it by mouse.
"""

import io
import subprocess
import sys
from pathlib import Path

import PIL.Image
from make_pictures import PICTURES, save_picture
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from test_page_in_browser import draw, number

WIDTH, HEIGHT = 1180, 700


def main() -> None:
    """Start the service, write on its page, and take a screenshot."""
    command = [sys.executable, "-m", "rowscan", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        address = next(word for word in service.stdout.readline().split() if "://" in word)
        try:
            take(address)
        finally:
            service.terminate()


def take(address: str) -> None:
    """Save the page with a number on it, in few colours."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, locale="en")
        page.goto(address)
        draw(page, number("4071"))
        page.wait_for_timeout(3000)  # until the animation of the belief has ended
        picture = PIL.Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    save_picture(picture.quantize(64, dither=PIL.Image.Dither.NONE), PICTURES / "page.png")


if __name__ == "__main__":
    main()
