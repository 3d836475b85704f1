"""How quick the page of `rowscan review` is with many pictures, and what memory the service takes.

    python benchmarks/review_page.py [--pictures 10000] [--turns 50]

Draws a folder of small pictures that have been read, starts `rowscan review`, opens its page in
Chromium, and goes through some pictures with the keyboard. Needs Playwright and Chromium.
"""

import argparse
import hashlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
from playwright.sync_api import Page, sync_playwright

from rowscan.review.intake import model_version
from rowscan.review.store import Store
from rowscan.training.runs import environment

_OPEN = "() => new Promise((done) => { const look = () => document.querySelector('.card') ? "
_OPEN += "done(performance.now()) : requestAnimationFrame(look); look(); })"
_TURN = """() => new Promise((done) => {
    const name = document.getElementById("name"), before = name.textContent;
    const start = performance.now();
    const look = () => name.textContent !== before && document.querySelector(".card canvas")
        ? done(performance.now() - start) : requestAnimationFrame(look);
    const press = { key: "Enter", bubbles: true, cancelable: true };
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", press));
    look();
})"""


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=50)
    arguments = parser.parse_args()
    print(environment(), end="\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "forms"
        draw(folder, arguments.pictures)
        start = time.perf_counter()
        command = [sys.executable, "-m", "rowscan", "review", str(folder), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
            try:
                assert service.stdout is not None
                found = re.search(r"http://\S+", service.stdout.readline())
                assert found is not None
                print(f"service listens after {time.perf_counter() - start:.2f} s")
                measure(found[0], service.pid, arguments.turns)
            finally:
                service.terminate()


def draw(folder: Path, pictures: int) -> None:
    """Pictures that differ by a few pixels, in one folder, all read."""
    folder.mkdir()
    store = Store(folder)
    version, rng = model_version(None), np.random.default_rng(0)
    for i in range(pictures):
        sheet = np.full((90, 320), 245, np.uint8)
        for x in range(40, 280, 40):
            sheet[20:70, x : x + 6] = 30
        sheet[0, :16] = [255 * int(bit) for bit in f"{i:016b}"]
        path = folder / f"form-{i:05}.png"
        PIL.Image.fromarray(sheet).save(path)
        digest, status = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat()
        store.place(path.name, digest, status.st_size, status.st_mtime_ns)
        sure = float(rng.uniform(0.2, 1))
        characters = [
            {"character": "1", "confidence": sure, "box": [x, 20, 6, 50], "runner_up": None}
            for x in range(40, 280, 40)
        ]
        line = {"text": "111111", "confidence": sure, "box": [40, 20, 206, 50]}
        reading = {"page": 1, "status": "read", "width": 320, "height": 90, "text": "111111"}
        reading |= {
            "confidence": sure,
            "lines": [line | {"characters": characters}],
            "rejected": [],
        }
        store.add_readings(digest, version, [reading])


def measure(url: str, pid: int, turns: int) -> None:
    """Open the page, and go from picture to picture."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for visit in ("first", "second"):
            page: Page = browser.new_page()
            page.goto(url, wait_until="commit")
            print(f"page opens in {page.evaluate(_OPEN) / 1000:.2f} s ({visit} visit)")
        taken = sorted(page.evaluate(_TURN) for _ in range(turns))
        p95 = taken[min(len(taken) - 1, round(0.95 * len(taken)))]
        print(f"next picture after {statistics.median(taken):.0f} ms, p95 {p95:.0f} ms")
        print(f"memory of the service {resident(pid) / 1e6:.0f} MB")
        browser.close()


def resident(pid: int) -> int:
    """Bytes in memory of a process."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return 1024 * int(found[1])


if __name__ == "__main__":
    main()
