"""What corrections buy: a review is simulated from labels, and its folder is learned from.

    python benchmarks/review.py FOLDER [--other FOLDER]... [--sizes 50,100,200,400] [--from MODEL]

FOLDER has pictures of one number each, and a `labels.csv`. A fifth of them is never corrected. Of
the others the first 50, then 100 and so on are: what was read rightly is accepted (a label of
digits alone says nothing of signs), else the label is typed. After each step a model is trained as
`rowscan review --learn` does it, and reads the fifth.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from rowscan.datasets.labelled import LabelledPicture, load_labels
from rowscan.evaluation import evaluate, score_pictures
from rowscan.metrics import NumberResult
from rowscan.reader import Reader
from rowscan.reading import Box
from rowscan.review.store import Author, Change, Store
from rowscan.training.loop import train
from rowscan.training.results import LineRunResult
from rowscan.training.runs import environment

AUTHOR = Author("benchmark", "benchmark")


def main() -> None:
    """Print a line for each number of corrected pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--other", type=Path, action="append", default=[])
    parser.add_argument("--sizes", default="50,100,200,400")
    parser.add_argument("--from", dest="start", default="shipped")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    print(environment(), end="\n\n")
    pictures = load_labels(arguments.folder)
    order = np.random.default_rng(0).permutation(len(pictures))
    shuffled = [pictures[i] for i in order]
    fifth = len(shuffled) // 5
    held_back, rest = shuffled[:fifth], shuffled[fifth:]
    first = Reader(None if arguments.start == "shipped" else arguments.start)
    composed = first.line_model.report.get("exact")
    report(0, 0, first, held_back, others=arguments.other, composed=composed)
    for size in map(int, arguments.sizes.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "forms"
            typed = correct(rest[:size], first, folder)
            run = train(
                "line",
                data=folder / "rowscan.db",
                start=arguments.start,
                output=Path(name) / "run",
                device=arguments.device,
            )
            assert isinstance(run.result, LineRunResult)
            reader = Reader(run.directory)
            report(
                size, typed, reader, held_back, others=arguments.other, composed=run.result.exact
            )


def correct(pictures: list[LabelledPicture], reader: Reader, folder: Path) -> int:
    """Copy pictures into a folder and review them by their labels; how many had to be typed."""
    folder.mkdir()
    store = Store(folder)
    typed = 0
    for page, picture in enumerate(pictures, start=1):
        shutil.copy(picture.path, folder / picture.path.name)
        store.place(picture.path.name, str(page), 1, 1)
        reading = reader.read(picture.path)
        store.add_readings(str(page), "model", [reading.to_dict()])
        truth = picture.full or picture.text
        boxes: list[Box] = [line.box for line in reading.lines]
        # The line that a person would correct: the one that is right, or else the widest.
        right = [
            i for i, line in enumerate(reading.lines) if truth in (line.text, line.digits_only)
        ]
        widest = max(range(len(boxes)), key=lambda i: boxes[i][2], default=None)
        chosen = right[0] if right else widest
        typed += not right
        changes = [
            Change(page, str(i), "deleted", box=box) for i, box in enumerate(boxes) if i != chosen
        ]
        if chosen is None:
            whole = (0, 0, reading.width, reading.height)
            changes.append(Change(page, "drawn", "typed", truth, whole))
        else:
            state, text = ("accepted", reading.lines[chosen].text) if right else ("typed", truth)
            changes.append(Change(page, str(chosen), state, text, boxes[chosen]))
        store.correct(AUTHOR, str(page), [*changes, Change(page, "", "done")])
    return typed


def report(
    size: int,
    typed: int,
    reader: Reader,
    held_back: list[LabelledPicture],
    *,
    others: list[Path],
    composed: object,
) -> None:
    """One line: what was corrected, and how much is read exactly."""
    pairs = [(picture.path, picture.text) for picture in held_back]
    scored = score_pictures(reader, pairs, "held back")
    low, high = scored.interval
    parts = [f"{scored.exact:.2%} ({low:.2%} to {high:.2%}) of {scored.n} held back"]
    parts.append(f"composed {composed:.2%}" if isinstance(composed, float) else "")
    for folder in others:
        result = evaluate(reader, folder)
        assert isinstance(result, NumberResult)
        parts.append(f"{folder.name} {result.exact:.2%}")
    print(f"{size:4} corrected, {typed:3} typed: " + ", ".join(filter(None, parts)), flush=True)


if __name__ == "__main__":
    main()
