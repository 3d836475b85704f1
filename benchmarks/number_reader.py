"""The number reader in figures: how often whole numbers are read exactly, and how fast.

    python benchmarks/number_reader.py [--model FILE] [--data NAME=FOLDER|PATH.npz]...

Each data set of one's own is a folder with a `labels.csv`, or an `.npz` of single digits, each of
which is read as a page. The speed is that of the command, and for a page that of a reader as well,
on composed pictures of lines and a page.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import torch

import rowscan
from rowscan.datasets.digits import load_test_digits
from rowscan.datasets.labelled import has_labels, load_labels
from rowscan.evaluation import score_pictures
from rowscan.io.pictures import Source
from rowscan.metrics import NumberResult
from rowscan.reader import Reader
from rowscan.training.runs import environment
from rowscan.training.synthesis.inks import Inks
from rowscan.training.synthesis.lines import compose

LINES, REPEATS, SEED = 200, 5, 2_000_003
Command = list[str | Path]


def main() -> None:
    """Print a table, then the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a line model file or run; without it the one that ships")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH")
    arguments = parser.parse_args()
    print(environment(), end="\n\n")
    reader = Reader(arguments.model)
    print(f"{'data':16}{'pictures':>9}{'exact':>9}  {'95% interval':18}{'CER':>7}{'ECE':>8}")
    for entry in arguments.data:
        name, _, path = entry.partition("=")
        scored = score(reader, path)
        low, high = scored.interval
        print(
            f"{name:16}{scored.n:9,}{scored.exact:9.2%}  {low:.2%} to {high:.2%}  "
            f"{scored.cer:6.2%}{scored.ece:8.2%}"
        )
    with tempfile.TemporaryDirectory() as folder:
        print()
        measure_speed(Path(folder))


def score(reader: Reader, path: str) -> NumberResult:
    """Read labelled pictures, single digits too, as pages; compare the texts with the labels."""
    pictures: list[tuple[Source, str]]
    if has_labels(path):
        pictures = [(picture.path, picture.label) for picture in load_labels(path)]
    else:
        split = load_test_digits(path, normalise=False)
        pictures = [(i, str(label)) for i, label in zip(split.images, split.labels, strict=True)]
    return score_pictures(reader, pictures, path)


def measure_speed(folder: Path) -> None:
    """Times of the command, start and all."""
    test = rowscan.load_digits("mnist").test
    inks = Inks(test.images, test.labels)
    generator = torch.Generator().manual_seed(SEED)
    (folder / "lines").mkdir()
    page = np.full((4000, 3000), 255, np.uint8)
    for number in range(LINES):
        ink = compose(1, inks, generator).ink[0].numpy()
        picture = PIL.Image.fromarray(255 - np.pad(255 * ink, 12).round().astype(np.uint8))
        large = picture.resize((3 * picture.width, 3 * picture.height))
        large.save(folder / "lines" / f"{number:04}.jpg")
        if number < 60:
            row, column = divmod(number, 3)
            levels = np.asarray(large)[:190, :900]
            top, left = 60 + 195 * row, 60 + 980 * column
            page[top : top + levels.shape[0], left : left + levels.shape[1]] = levels
    PIL.Image.fromarray(page).convert("RGB").save(folder / "page.jpg")
    read: Command = [sys.executable, "-m", "rowscan", "read"]
    one = median_time([*read, folder / "lines" / "0000.jpg"])
    print(f"one line from a cold start: median {one:.2f} s")
    page_time = median_time([*read, folder / "page.jpg"])
    print(f"a page of 12 megapixels with 60 lines: median {page_time:.2f} s, start and all")
    reader = Reader(threads=os.cpu_count())
    reader.read(folder / "page.jpg")
    page_time = median_time(lambda: reader.read(folder / "page.jpg"))
    print(f"the same page by a reader that has begun: median {page_time:.2f} s")
    for jobs in (1, 2):
        many: Command = [*read, folder / "lines", "--jobs", str(jobs)]
        took = median_time(many, repeats=3)
        print(f"{LINES:,} pictures of a line, {jobs} at a time: {LINES / took:.0f} a second")


def median_time(work: Command | Callable[[], object], repeats: int = REPEATS) -> float:
    """Median seconds of a command, or of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        if callable(work):
            work()
        else:
            subprocess.run(work, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
