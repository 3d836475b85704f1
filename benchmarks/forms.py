"""How well forms are read: `python benchmarks/forms.py [PHOTOS] [--part test] [--seed N]`.

Simulates photos of each of the forms of `examples/forms`, filled with MNIST's digits, and prints
how many are laid upon their blank right, how many fields are read exactly, and how fast.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "forms"))

from make_forms import make  # type: ignore[import-untyped, unused-ignore]
from photograph_forms import (  # type: ignore[import-untyped, unused-ignore]
    Shot,
    fill,
    hidden_fields,
    photograph,
    writer,
)

from rowscan.forms.form import Form, Forms
from rowscan.forms.results import FormReading
from rowscan.reader import Reader
from rowscan.reading import SURE


@dataclass
class Score:
    """What became of the photos of one form."""

    photos: int = 0
    laid: int = 0
    wrong_blank: int = 0
    errors: int = 0
    seconds: float = 0.0
    read: Counter[str] = field(default_factory=Counter)
    exact: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    sure_and_wrong: Counter[str] = field(default_factory=Counter)

    def add(
        self, form: Form, reading: FormReading, truth: dict[str, str], hidden: list[str]
    ) -> None:
        """Count a photo. Fields that are hidden count only if they are read wrong and sure."""
        self.photos += 1
        self.errors += reading.error is not None
        self.wrong_blank += reading.error is None and reading.form != form.name
        if reading.form != form.name:
            return
        missing = 0
        for one in form.specification.fields:
            if one.kind == "text":
                continue
            found = reading[one.name]
            wrong = found.text != truth[one.name]
            self.sure_and_wrong[one.kind] += wrong and found.confidence >= SURE
            if one.name in hidden:
                continue
            self.read[one.kind] += 1
            self.exact[one.kind] += not wrong
            self.unreadable[one.kind] += found.status == "unreadable"
            missing += found.status == "unreadable"
        self.laid += missing == 0


def measure(folder: Path, photos: int, part: str, seed: int) -> dict[str, Score]:
    """Photos of each form, read."""
    reader = Reader()
    forms = Forms([Form(path, reader=reader) for path in make(folder)])
    forms.forms[0].read(folder / forms.forms[0].specification.pages[0])  # opens the models
    hand = writer(part, seed)
    scores = {form.name: Score() for form in forms.forms}
    for form in forms.forms:
        for _ in range(photos):
            page, truth = fill(form.specification, folder, hand)
            picture, hidden = photograph(page, Shot.draw(hand.rng), hand.rng)
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(hand.rng.integers(60, 95))]
            content = np.asarray(cv2.imencode(".jpg", picture, quality)[1]).tobytes()
            begun = time.process_time()
            reading = next(forms.read_all(content))
            scores[form.name].seconds += time.process_time() - begun
            scores[form.name].add(form, reading, truth, hidden_fields(form.specification, hidden))
    return scores


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", nargs="?", type=int, default=20, help="of each form")
    parser.add_argument("--part", default="test", help="of MNIST: test, validation")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scores = measure(Path(folder), options.photos, options.part, options.seed)
    for name, score in scores.items():
        print(
            f"{name}: {score.photos} photos, {score.laid} laid right, {score.wrong_blank} on a "
            f"wrong blank, {score.errors} errors, {score.seconds / score.photos:.2f} s a form"
        )
        for kind, count in score.read.items():
            print(
                f"  {kind:<7} {score.exact[kind]:>5} of {count:>5} exact "
                f"({score.exact[kind] / count:.1%}), {score.unreadable[kind]} unreadable, "
                f"{score.sure_and_wrong[kind]} wrong at {SURE} and more"
            )


if __name__ == "__main__":
    main()
