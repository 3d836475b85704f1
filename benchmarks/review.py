"""What corrections buy: a review is simulated from labels, and its folder is learned from.

    python benchmarks/review.py FOLDER [--other FOLDER]... [--sizes 50,100,200,400] [--from MODEL]
        [--output runs/review] [--set KEY=VALUE]...

FOLDER has pictures of one number each, and a `labels.csv`. A fifth of them is never corrected. Of
the others the first 50, then 100 and so on are: what was read rightly is accepted (a label of
digits alone says nothing of signs), else the label is typed, with the signs that the model sees
between its digits. After each step a model is trained as
`rowscan review --learn` does it, and reads the fifth.

What is done is in the output folder: after an interruption the same command goes on from there, in
the middle of a training too.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from rowscan.alphabet import DIGITS
from rowscan.datasets.labelled import LabelledPicture, load_labels
from rowscan.datasets.reviewed import is_reviewed, load_reviewed
from rowscan.evaluation import evaluate, score_pictures
from rowscan.io.pictures import open_reduced
from rowscan.metrics import NumberResult
from rowscan.reader import Reader
from rowscan.reading import Box
from rowscan.recipes import change, find
from rowscan.recognition.ctc import align
from rowscan.review.changes import Author, Change
from rowscan.review.store import Store
from rowscan.segmentation.binarize import WORKING_PIXELS
from rowscan.training.loop import resume, train
from rowscan.training.results import LineRunResult
from rowscan.training.runs import Run, environment
from rowscan.training.synthesis.documents import add_signs, digits_alone
from rowscan.training.tasks.line.task import LineTask, score

AUTHOR = Author("benchmark", "benchmark")


def main() -> None:
    """Print a line for each number of corrected pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--other", type=Path, action="append", default=[])
    parser.add_argument("--sizes", default="50,100,200,400")
    parser.add_argument("--from", dest="start", default="shipped")
    parser.add_argument("--output", type=Path, default=Path("runs/review"))
    parser.add_argument("--set", dest="changes", action="append", default=[])
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    print(environment(), end="\n\n")
    pictures = load_labels(arguments.folder)
    order = np.random.default_rng(0).permutation(len(pictures))
    shuffled = [pictures[i] for i in order]
    fifth = len(shuffled) // 5
    held_back, rest = shuffled[:fifth], shuffled[fifth:]
    first = Reader(None if arguments.start == "shipped" else arguments.start)
    for size in [0, *map(int, arguments.sizes.split(","))]:
        place = arguments.output / str(size)
        line = place / "result.txt"
        if not line.exists():
            place.mkdir(parents=True, exist_ok=True)
            if size == 0:
                reader, typed = first, 0
                composed, seconds = composed_exact(arguments.start, arguments.device), 0.0
            else:
                typed = correct(rest[:size], first, place / "forms")
                run = learn(place, arguments.start, arguments.changes, arguments.device)
                assert isinstance(run.result, LineRunResult)
                reader, composed, seconds = (
                    Reader(run.directory),
                    run.result.exact,
                    run.result.seconds,
                )
            found = report(reader, held_back, others=arguments.other)
            said = f"{size:4} corrected, {typed:3} typed: {found}, composed {composed:.2%}"
            line.write_text(f"{said}, {seconds:.0f} s of training\n", encoding="utf-8")
        print(line.read_text(encoding="utf-8"), end="", flush=True)


def learn(place: Path, start: str, changes: list[str], device: str) -> Run:
    """Train on a reviewed folder, or go on with a training that was interrupted."""
    output = place / "run"
    if (output / "recipe.json").exists():
        return resume(output, device=device)
    shutil.rmtree(output, ignore_errors=True)  # interrupted before its first step
    settings = {**LineTask.settings_for(place / "forms"), "start": start}
    settings |= {key: json.loads(value) for key, _, value in (c.partition("=") for c in changes)}
    data = place / "forms" / "rowscan.db"
    return train("line", data=data, output=output, device=device, **settings)


def composed_exact(start: str, device: str) -> float:
    """The share of the composed test lines of a training that a model reads exactly."""
    recipe = change(find("line"), {"start": start})
    _, answers = LineTask.prepare(recipe, device=device, offline=False).test()
    return score(answers).exact


def correct(pictures: list[LabelledPicture], reader: Reader, folder: Path) -> int:
    """Copy pictures into a folder and review them by their labels; how many had to be typed."""
    if is_reviewed(folder) and len(pages := load_reviewed(folder)) == len(pictures):
        return sum(any(line.typed for line in page.lines) for page in pages)
    shutil.rmtree(folder, ignore_errors=True)
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
        if chosen is None:  # a box is drawn: around the widest line that was seen and not read
            whole: Box = (0, 0, reading.width, reading.height)
            drawn = max((r.box for r in reading.rejected), key=lambda box: box[2], default=whole)
            text = picture.full or with_signs(reader, picture, drawn)
            changes.append(Change(page, "drawn", "typed", text, drawn))
        else:
            state, text = "accepted", reading.lines[chosen].text
            if not right:
                state, text = "typed", picture.full or with_signs(reader, picture, boxes[chosen])
            changes.append(Change(page, str(chosen), state, text, boxes[chosen]))
        store.correct(AUTHOR, str(page), [*changes, Change(page, "", "done")])
    return typed


def with_signs(reader: Reader, picture: LabelledPicture, box: Box) -> str:
    """The digits of a label, with the signs that the model sees between them in the line there."""
    found = reader.find_lines(next(open_reduced(picture.path, WORKING_PIXELS))[0])
    if not found:
        return picture.text
    nearest = min(found, key=lambda line: np.abs(np.subtract(line.box, box)).sum())
    probabilities = reader.line_model.probabilities(nearest.ink[None])[0]
    digits = tuple(map(DIGITS.index, picture.text))
    if 2 * len(digits) >= len(probabilities):  # they do not fit into the steps of this line
        return picture.text
    text, _ = add_signs(probabilities, digits, align(digits_alone(probabilities), digits))
    return "".join(reader.line_model.alphabet[i] for i in text)


def report(reader: Reader, held_back: list[LabelledPicture], *, others: list[Path]) -> str:
    """How much is read exactly: of what was held back, and of other folders."""
    pairs = [(picture.path, picture.text) for picture in held_back]
    scored = score_pictures(reader, pairs, "held back")
    low, high = scored.interval
    parts = [f"{scored.exact:.2%} ({low:.2%} to {high:.2%}) of {scored.n} held back"]
    for folder in others:
        result = evaluate(reader, folder)
        assert isinstance(result, NumberResult)
        parts.append(f"{folder.name} {result.exact:.2%}")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
