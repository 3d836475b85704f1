"""A small line model, trained through the same loop as every other network."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load_file

from rowscan.alphabet import ALPHABET
from rowscan.datasets.digits import load_digits
from rowscan.recipes import LineRecipe, change, find
from rowscan.recognition.model import LineModel, load_content
from rowscan.training.graph import weights_of
from rowscan.training.loop import learning_rate, resume, train
from rowscan.training.report import LineAnswer
from rowscan.training.results import LineRunResult
from rowscan.training.runs import Run, TrainState
from rowscan.training.tasks.line import task as line_task
from rowscan.training.tasks.line.engine import LineEngine
from rowscan.training.tasks.line.task import log_loss, start_from

SMALL = {
    "hidden": 16,
    "layers": 1,
    "batch_size": 8,
    "steps_per_epoch": 12,
    "epochs": 2,
    "handwriting": False,
}


@pytest.fixture(autouse=True, scope="module")
def few_lines() -> Iterator[None]:
    """An untrained network doubts everything, and decoding what is doubtful takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_task, "MONITOR_BATCHES", 1)
        patch.setattr(line_task, "TEST_BATCHES", 1)
        patch.setattr(line_task, "LINES", 6)
        yield


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("line") / "run"
    return train(change(find("line", LineRecipe), SMALL), data=tiny, output=output, quiet=True)


def test_a_run_of_lines_holds_what_every_run_holds(run: Run) -> None:
    assert isinstance(run.result, LineRunResult)
    assert run.result.n == 6
    stored = json.loads((run.directory / "result.json").read_text())
    assert {"n", "exact", "accuracy", "cer", "ece", "interval", "seconds"} <= set(stored)
    assert [r["images"] for r in run.records if r["kind"] == "monitor"] == [6, 6]
    assert sum(kind.n for kind in run.result.kinds) == 6
    right = sum(kind.exact * kind.n for kind in run.result.kinds)
    assert right == pytest.approx(run.result.exact * 6)
    page = run.report.read_text(encoding="utf-8")
    assert all(f"{kind.kind} ({kind.n})" in page for kind in run.result.kinds)
    assert page.count("<img") == 12
    assert "lines, composed of test images, read exactly" in page


def test_its_model_file_says_what_it_is(run: Run) -> None:
    assert isinstance(run.result, LineRunResult)
    session = onnxruntime.InferenceSession(run.model, providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    assert said["kind"] == "line"
    assert said["alphabet"] == ALPHABET
    assert LineModel.open(run.model).alphabet == ALPHABET
    assert json.loads(said["recipe"])["name"] == "line"
    assert json.loads(said["calibration"])["method"] == "temperature"
    assert json.loads(said["report"])["cer"] == run.result.cer
    (answer,) = session.run(None, {"images": np.zeros((1, 32, 60), np.uint8)})
    assert answer.shape == (1, 30, 28)
    np.testing.assert_allclose(answer.sum(-1), 1, rtol=1e-5)


def test_a_stopped_training_ends_as_one_that_was_not(run: Run, tiny: Path, tmp_path: Path) -> None:
    recipe = change(find("line", LineRecipe), SMALL)
    partial = Run.create(tmp_path / "run", change(recipe, {"data": str(tiny)}))
    engine = LineEngine(recipe, "cpu")
    digits = load_digits(tiny).train
    engine.load_images(digits.images, digits.labels)
    state = TrainState()
    for batch in engine.order(0):
        loss, correct = engine.step(batch, learning_rate(recipe, state.step, 24))
        state.add(len(batch), loss, correct)
        if state.step == 5:
            break
    partial.save_checkpoint(engine.state(), state)
    done = resume(tmp_path / "run", quiet=True)
    ours, theirs = (load_file(r.directory / "weights.safetensors") for r in (run, done))
    for name, value in ours.items():
        np.testing.assert_array_equal(theirs[name], value, err_msg=name)


def test_a_file_of_ten_digits_starts_a_network_of_the_whole_alphabet() -> None:
    recipe = find("line", LineRecipe)
    fresh = LineEngine(recipe, "cpu").weights()
    old = weights_of(onnx.load_model_from_string(load_content(None, "line")[1]), fresh)
    classes = len(old["head.bias"]) // 2
    started = start_from("shipped", fresh)
    for name in ("head.weight", "head.bias"):
        grown = started[name].reshape(2, 28, -1)
        np.testing.assert_array_equal(grown[:, :classes], old[name].reshape(2, classes, -1))
        np.testing.assert_array_equal(
            grown[:, classes:], fresh[name].reshape(2, 28, -1)[:, classes:]
        )


def test_surprise_by_hand() -> None:
    ink = np.zeros((32, 8), np.uint8)
    answers = [LineAnswer(ink, "12", "12", 0.8), LineAnswer(ink, "12", "13", 0.6)]
    assert log_loss(answers) == pytest.approx(-(np.log(0.8) + np.log(0.4)) / 2)
    assert np.isfinite(log_loss([LineAnswer(ink, "1", "2", 1.0), LineAnswer(ink, "1", "1", 0.0)]))
