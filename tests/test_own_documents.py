"""Training goes on from a model, on a user's own pictures, and says what it brought."""

import csv
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from rowscan.alphabet import ALPHABET, SPACE
from rowscan.datasets.digits import load_digits
from rowscan.datasets.labelled import load_labels
from rowscan.datasets.reviewed import ReviewedLine, ReviewedPage, load_reviewed
from rowscan.errors import DataError, ModelError
from rowscan.io.pictures import open_image
from rowscan.metrics import score_numbers
from rowscan.reader import Reader
from rowscan.recipes import LineRecipe, change, find
from rowscan.recognition.ctc import align, best_path
from rowscan.review.changes import Author, Change
from rowscan.review.learning import gain
from rowscan.review.store import Store
from rowscan.segmentation.digit import normalise_digit
from rowscan.training import results
from rowscan.training.export import read_weights
from rowscan.training.loop import resume, train
from rowscan.training.results import DocumentsGain, LineRunResult
from rowscan.training.runs import Run
from rowscan.training.synthesis.documents import (
    Documents,
    LabelledLine,
    _held_out_by_content,
    add_signs,
    concatenate,
    digits_alone,
    load_documents,
)
from rowscan.training.synthesis.inks import Inks
from rowscan.training.synthesis.lines import compose
from rowscan.training.tasks.line import task as line_task
from rowscan.training.tasks.line.engine import LineEngine
from rowscan.training.tasks.line.task import LineTask

SMALL: dict[str, Any] = {
    "hidden": 16,
    "layers": 1,
    "batch_size": 8,
    "steps_per_epoch": 6,
    "epochs": 1,
}
SMALL |= {"handwriting": False}


@pytest.fixture(autouse=True, scope="module")
def few_lines() -> Iterator[None]:
    """An untrained network doubts everything, and decoding what is doubtful takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_task, "MONITOR_BATCHES", 1)
        patch.setattr(line_task, "GUARD_BATCHES", 1)
        patch.setattr(line_task, "TEST_BATCHES", 1)
        patch.setattr(line_task, "LINES", 6)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures of numbers of two digits."""
    folder = tmp_path_factory.mktemp("documents")
    files = sorted((Path(__file__).parent.parent / "examples" / "digits").glob("*.png"))
    digits = [(file.name[0], normalise_digit(open_image(file))) for file in files]
    rows = []
    for number in range(30):
        (a, left), (b, right) = digits[number % 19], digits[(7 * number + 3) % 19]
        ink = np.concatenate([left[:, 3:-3], right[:, 3:-3]], 1)
        sheet = 255 - np.pad(ink, 14).repeat(2, 0).repeat(2, 1)
        PIL.Image.fromarray(sheet).save(folder / f"{number:02}.png")
        rows.append((f"{number:02}.png", f"{a}.{b}"))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "label"), *rows])
    return folder


@pytest.fixture(scope="module")
def start(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("start") / "run"
    return train(change(find("line"), SMALL), data=tiny, output=output, quiet=True)


@pytest.fixture(scope="module")
def tuned(folder: Path, start: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("tuned") / "run"
    return train("line", data=folder, start=start.directory, output=output, quiet=True, **SMALL)


def test_what_was_held_back_is_read_before_and_after(tuned: Run, start: Run, folder: Path) -> None:
    assert isinstance(tuned.result, LineRunResult)
    gain = tuned.result.documents
    assert gain is not None
    assert (gain.n, gain.left_out) == (6, 0)
    held_back = load_documents(folder, Reader(start.model)).held_out
    for when, run in ((gain.before, start), (gain.after, tuned)):
        reader = Reader(run.model)
        right = sum(reader.read(picture.path).text == picture.label for picture in held_back)
        assert when is not None
        assert when.correct == right
    assert gain.share in line_task._SHARES
    assert (tuned.recipe.data, tuned.recipe.start) == (str(folder), str(start.directory))


def test_weights_go_back_until_few_composed_lines_are_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_task, "LINES", 20)
    files = sorted((Path(__file__).parent.parent / "examples" / "digits").glob("*.png"))
    digits = np.stack([normalise_digit(open_image(file)) for file in files])
    inks = Inks(digits, np.array([int(file.name[0]) for file in files], np.uint8))
    recipe = find("line", LineRecipe)
    engine = LineEngine(recipe, "cpu")
    engine.load_weights(line_task.start_from("shipped", engine.weights()))
    documents = Documents(str(folder), (LabelledLine(np.zeros((32, 40), np.uint8), (1,)),), 0, ())
    task = LineTask(recipe, engine, (inks, inks, inks), documents)
    before, first = task.monitor().accuracy, engine.weights()
    assert before > 0.3
    assert task._blend() == 1.0
    rng = np.random.default_rng(0)
    moved = {name: w + rng.standard_normal(w.shape).astype(w.dtype) for name, w in first.items()}
    engine.load_weights(moved)
    share = task._blend()
    assert share < 1
    assert task.monitor().accuracy >= before - 0.005
    for name, weights in engine.weights().items():
        expected = first[name] + np.float32(share) * (moved[name] - first[name])
        np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_a_training_begins_with_the_weights_that_it_is_given(start: Run, tmp_path: Path) -> None:
    weights = load_file(start.directory / "weights.safetensors")
    alone = tmp_path / "model.onnx"
    alone.write_bytes(start.model.read_bytes())
    for place in (start.directory, alone):
        found = read_weights(str(place), "line", weights)
        assert found.keys() == weights.keys()
        for name, value in weights.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_model_of_another_network_is_refused(start: Run, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"weights '.*: expected \(.*got \("):
        train(change(find("line"), SMALL | {"hidden": 8}), start=start.model, output=tmp_path / "a")
    with pytest.raises(ModelError, match="No such file"):
        train("line", start=tmp_path / "none.onnx", output=tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_it_goes_on_where_it_was_stopped(folder: Path, start: Run, tmp_path: Path) -> None:
    recipe = change(find("line"), SMALL | {"data": str(folder), "start": str(start.directory)})
    run = Run.create(tmp_path / "run", recipe)
    done = resume(run.directory, quiet=True)
    assert isinstance(done.result, LineRunResult)
    assert done.result.documents is not None
    assert done.result.documents.n == 6


def test_a_damaged_picture_that_is_held_out_stops_the_training_before_it_begins(
    folder: Path, start: Run, tmp_path: Path
) -> None:
    copy = tmp_path / "forms"
    shutil.copytree(folder, copy)
    held_out = load_documents(copy, Reader(start.model)).held_out[0].path
    held_out.write_bytes(b"not a picture")
    recipe = change(find("line"), SMALL)
    with pytest.raises(DataError, match=held_out.name):
        train(recipe, data=copy, start=start.directory, output=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_too_few_pictures(folder: Path, start: Run, tmp_path: Path) -> None:
    names = [picture.path.name for picture in load_labels(folder)][:8]
    for name in names:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "labels.csv").write_text("filename,label\n" + "".join(f"{n},12\n" for n in names))
    with pytest.raises(DataError, match="expected at least 10 pictures"):
        load_documents(tmp_path, Reader(start.model))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32))
def test_varied_lines_stay_lines_with_all_their_ink_inside(n: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    ink = np.zeros((32, 90), np.uint8)
    ink[8:24, 4:86] = 255
    documents = Documents("mine", (LabelledLine(ink, (1, 2)),), 0, ())
    lines = documents.sample(n, g)
    assert lines.ink.shape == (n, 32, lines.widths[0])
    assert float(lines.ink.min()) >= 0
    assert float(lines.ink.max()) <= 1
    assert not (lines.ink[:, :, -1] > 0.5).any()
    area = (lines.ink > 0.5).sum((1, 2))
    assert ((area > 800) & (area < 2400)).all()


def test_lines_put_together_from_two_show_what_their_label_says(folder: Path) -> None:
    reader = Reader()
    documents = load_documents(folder, reader)
    own = {line.text for line in documents.lines}
    lines = documents.sample(200, torch.Generator().manual_seed(0))
    ink = (255 * lines.ink).round().to(torch.uint8).numpy()
    new = [number for number, label in enumerate(lines.labels) if label not in own]
    assert len(new) > 30
    gap = ALPHABET.index(SPACE)  # where two lines are joined, there may be one
    for some in (new, range(200)):
        paths = [best_path(reader.line_model.probabilities(ink[i : i + 1])[0]) for i in some]
        texts = [
            [[c for c in text if c != gap] for text in (path, lines.labels[i])]
            for path, i in zip(paths, some, strict=True)
        ]
        right = sum(text == label for text, label in texts)
        assert right >= 0.9 * len(texts)


def test_joined_lines_are_all_there(tiny: Path) -> None:
    digits = load_digits(tiny).train
    inks = Inks(digits.images, digits.labels)
    parts = [compose(n, inks, torch.Generator().manual_seed(n)) for n in (2, 3)]
    whole = concatenate(parts)
    assert whole.widths == parts[0].widths + parts[1].widths
    assert whole.labels == parts[0].labels + parts[1].labels
    singles = [(part.ink[i], width) for part in parts for i, width in enumerate(part.widths)]
    for row, (ink, width) in enumerate(singles):
        assert torch.equal(whole.ink[row, :, :width], ink[:, :width])
        assert not whole.ink[row, :, width:].any()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("file,label\n1.png,12\n", "expected filename,label in the first line, got file,label"),
        ("filename,label\n", "no pictures in it"),
        ("filename,label\n1.png\n", "row 2: expected a file name and a label"),
    ],
)
def test_labels_that_are_wrong(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(DataError, match=reason):
        load_labels(tmp_path)


@pytest.mark.parametrize(
    ("table", "encoding"),
    [
        ("filename;label\r\n图片.png;00565\r\n;\r\n", "gb18030"),
        ("filename\tlabel\n图片.png\t00565\n", "utf-16"),
        (",filename,label,note\n0,图片.png,００５６５,\n,,,\n", "utf-8-sig"),
        ("filename,label\n图片.png,'00565\n", "gb18030"),
        ('filename,label\n图片.png,"=""00565"""\n', "utf-8"),
    ],
)
def test_tables_as_programs_write_them(table: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "图片.png").touch()
    (tmp_path / "labels.csv").write_bytes(table.encode(encoding))
    assert [(p.path.name, p.label) for p in load_labels(tmp_path)] == [("图片.png", "00565")]


@given(st.lists(st.integers(0, 10**9), min_size=1), st.sampled_from([",", ";", "\t"]))
def test_a_column_of_floats_is_one_of_whole_numbers(numbers: list[int], comma: str) -> None:
    rows = [f"{i}.png{comma}{n}.0" for i, n in enumerate(numbers)] + [f"none.png{comma}"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "labels.csv")
        path.write_text("\n".join([f"filename{comma}label", *rows]))
        assert [p.label for p in load_labels(folder)] == [*map(str, numbers), ""]


@pytest.mark.parametrize("label", ["6.75E+11", "6,75e+11", "n/a", "٣", "675.0"])
def test_labels_that_are_not_clear_are_refused_with_their_row(label: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"filename;label\n1.png;12\n\n2.png;{label}\n")
    with pytest.raises(DataError, match=f"row 4: label '{re.escape(label)}': "):
        load_labels(tmp_path)


def test_lines_are_matched_and_lost_zeros_are_said(tmp_path: Path) -> None:
    digits = sorted((Path(__file__).parent.parent / "examples" / "digits").glob("*.png"))
    ink = {file.name[0]: normalise_digit(open_image(file))[:, 3:-3] for file in digits}
    texts = [["3852", "7604"], *[["00", "27", f"5{n}4"] for n in range(6)], *[["0083"]] * 8]
    for number, lines in enumerate(texts):
        rows = [np.concatenate([ink[c] for c in line.ljust(4, line[-1])], 1) for line in lines]
        sheet = np.pad(np.concatenate([np.pad(row, 8) for row in rows]), 10)
        PIL.Image.fromarray(255 - sheet.repeat(2, 0).repeat(2, 1)).save(tmp_path / f"{number}.png")
    labels = [" / ".join(line.ljust(4, line[-1]) for line in lines) for lines in texts]
    labels[-8:] = ["83"] * 4 + ["0083"] * 4
    table = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    (tmp_path / "labels.csv").write_text("filename,label\n" + table)
    found = load_documents(tmp_path, Reader())
    assert {doubt.row for doubt in found.doubts if doubt.lost_zeros} == {9, 10, 11, 12}
    assert str(found.doubts[-1]).startswith("row 12: labelled 83, reads 0083, ")
    trained = {int(p.path.stem) for p in load_labels(tmp_path)}
    trained -= {int(p.path.stem) for p in found.held_out} | {7, 8, 9, 10}
    assert len(found.lines) == sum(len(texts[number]) for number in trained)


def test_of_a_label_only_the_digits_count(tmp_path: Path) -> None:
    rows = ['1.png,"1,250.-",me', "2.png,007,you", "3.png,12 / 3.,you", "4.png,12/05,me"]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,who", *rows]))
    labels = [picture.label for picture in load_labels(tmp_path)]
    assert labels == ["1250", "007", "12 / 3", "1205"]


def test_signs_that_a_label_does_not_have_are_taken_from_the_model() -> None:
    # "1.0" with the digits 1 and 0 in the label; the model also sees a dot and, at the end, a 7.
    path = [0, 2, 2, 11, 0, 1, 0, 8]
    probabilities = np.full((len(path), 28), 0.1 / 27, np.float32)
    probabilities[np.arange(len(path)), path] = 0.9
    spans = align(digits_alone(probabilities), (1, 0))
    assert spans[0][0] == 1
    assert add_signs(probabilities, (1, 0), spans)[0] == (1, 10, 0)
    np.testing.assert_allclose(digits_alone(probabilities).sum(1), 1, rtol=1e-5)


# A reviewed folder -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reviewed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures, two below each other, reviewed: every other line typed, one drawn."""
    target = tmp_path_factory.mktemp("reviewed")
    store = Store(target)
    author = Author("Anna", "tab")
    pictures = load_labels(folder)
    for number, pair in enumerate(zip(pictures[::2], pictures[1::2], strict=True)):
        sheets = [open_image(picture.path) for picture in pair]
        width = max(sheet.shape[1] for sheet in sheets)
        padded = [
            np.pad(sheet, ((60, 60), (60, 60 + width - sheet.shape[1])), constant_values=255)
            for sheet in sheets
        ]
        name, height = f"{number:02}.png", padded[0].shape[0]
        PIL.Image.fromarray(np.concatenate(padded)).save(target / name)
        boxes = [(60, 60, width, sheets[0].shape[0]), (60, height + 60, width, sheets[1].shape[0])]
        line = {"text": "9", "box": list(boxes[0]), "confidence": 0.5, "characters": []}
        content = {"page": 1, "status": "read", "confidence": 0.5, "text": "9", "lines": [line]}
        store.place(name, name, 1, 1)
        store.add_readings(name, "model", [content])
        changes = [
            Change(number + 1, "0", "accepted", pair[0].label, boxes[0]),
            Change(number + 1, "drawn", "typed", pair[1].label, boxes[1]),
            Change(number + 1, "", "done"),
        ]
        store.correct(author, f"{number}", changes)
    return target


def test_a_reviewed_folder_teaches_each_line_in_its_box(reviewed: Path) -> None:
    reader = Reader()
    documents = load_documents(reviewed, reader)
    assert (len(documents.held_out), documents.left_out) == (3, 0)
    assert len(documents.lines) == 24
    right = 0
    for line in documents.lines:
        probabilities = reader.line_model.probabilities(line.ink[None])[0]
        right += best_path(digits_alone(probabilities)) == line.text
    assert right >= 21  # the ink is that of the text, not of the line beside it
    truth = {page.path: page.text for page in load_reviewed(reviewed)}
    assert all(truth[picture.path] == picture.text for picture in documents.held_out)
    assert load_documents(reviewed / "rowscan.db", reader).left_out == 0


def test_what_was_accepted_is_drawn_half_as_often_as_what_was_typed() -> None:
    ink = np.full((32, 40), 255, np.uint8)
    lines = (LabelledLine(ink, (1,), weight=0.5), LabelledLine(ink, (2,)))
    batch = Documents("mine", lines, 0, ()).sample(1500, torch.Generator().manual_seed(0))
    typed = batch.labels.count((2,)) / 1500
    assert 0.61 < typed < 0.72  # two thirds; five standard deviations


def test_a_reviewed_folder_is_data_of_the_line_model(reviewed: Path) -> None:
    for data in (reviewed, reviewed / "rowscan.db"):
        recipe = change(find("line"), {"data": str(data)})
        assert LineTask.digits_for(recipe) == "mnist"
        assert LineTask.settings_for(data)["steps_per_epoch"] == 208


def test_what_is_held_out_stays_so_when_a_review_grows_or_its_files_get_other_names() -> None:
    pages = [
        ReviewedPage(Path(f"{i}.png"), 1, (ReviewedLine("1", (0, 0, 9, 9), typed=True),), f"{i}")
        for i in range(300)
    ]

    def held_out(some: list[ReviewedPage]) -> set[str]:
        return {some[i].content_hash for i in _held_out_by_content(some).out}

    few, many = held_out(pages[:100]), held_out(pages)
    assert few == many & {page.content_hash for page in pages[:100]}
    assert 37 <= len(many) <= 83  # a fifth of 300; 3.3 standard deviations
    renamed = [replace(page, path=Path(f"{300 - i}.png")) for i, page in enumerate(pages)]
    assert held_out(renamed[::-1]) == many
    assert len(held_out(pages[:5])) >= 1
    later = [replace(page, number=2) for page in pages]
    assert held_out(later) == set()


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (["4", "5", "12"], "better"),
        (["4", "5", "44"], "not better"),
        (["4", "5", "333"], "not better"),
        (["4", "7", "12"], "better"),  # as many, with fewer characters wrong
        (["8", "7", "12"], "not better"),
    ],
)
def test_a_model_is_offered_only_if_it_reads_more(
    now: list[str], status: str, tmp_path: Path
) -> None:
    before = score_numbers(["4", "5", "33"], ["4", "5", "12"], [0.9] * 3)
    after = score_numbers(now, ["4", "5", "12"], [0.9] * 3)
    found = DocumentsGain(n=3, left_out=0, before=before, after=after)
    result = LineRunResult(**vars(after), accuracy=0.5, documents=found, seconds=1.0)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_bytes(results.encode(result))
    state = gain(tmp_path, "run")
    assert (state.held_back, state.before, state.after) == (3, 2, after.correct)
    assert (state.status, state.run) == (status, "run")


def test_a_folder_with_little_that_is_reviewed(tmp_path: Path) -> None:
    Store(tmp_path)
    with pytest.raises(DataError, match="no picture in it is done"):
        load_documents(tmp_path, Reader())
