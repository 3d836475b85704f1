import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file, save

import rowscan
from rowscan.datasets.digits import load_digits
from rowscan.errors import ModelError, OutputError, RowscanError, UsageError
from rowscan.recipes import DigitRecipe, LSTMRecipe, change, decode, find
from rowscan.training.engines.factory import create
from rowscan.training.engines.interface import predict_proba
from rowscan.training.export import export, read_weights
from rowscan.training.loop import learning_rate, resume, train
from rowscan.training.results import DigitRunResult, encode
from rowscan.training.runs import Run, TrainState
from rowscan.training.tasks.digit.graph import digit_graph

UNSAID: dict[str, Any] = {"kind": "digit", "calibration": {}, "report": {}}


def answers_of(belief: np.ndarray) -> dict[str, np.ndarray]:
    return {"probabilities": belief[:, -1], "belief": belief}


QUICK: dict[str, Any] = {"steps_per_epoch": 2, "epochs": 1, "batch_size": 20}
SMALL: dict[str, Any] = {"hidden": 16, "batch_size": 20, "record_every": 7, "monitor_images": 50}


@pytest.mark.parametrize("name", ["lstm-rows", "mlp-numpy", "lstm-columns"])
def test_a_run_holds_what_the_design_says_and_its_figures_agree(
    name: str, tiny: Path, tmp_path: Path
) -> None:
    run = train(name, data=tiny, output=tmp_path / "run", quiet=True, epochs=2)
    files = {path.name for path in run.directory.iterdir()}
    assert files == {
        "recipe.json",
        "environment.json",
        "metrics.jsonl",
        "weights.safetensors",
        "model.onnx",
        "report.html",
        "result.json",
    }
    digits = load_digits(tiny)
    labels, _ = rowscan.Reader(run.directory).classify(digits.test.images)
    right = int((labels == digits.test.labels).sum())
    assert isinstance(run.result, DigitRunResult)
    assert run.result.correct == right
    assert run.result.accuracy == right / len(digits.test)
    kinds = [record["kind"] for record in run.records]
    assert kinds.count("monitor") >= 2
    seen = sum(r["images"] for r in run.records if r["kind"] == "step")
    size = run.recipe.batch_size
    assert isinstance(run.recipe, DigitRecipe)
    used = len(digits.trainval) if run.recipe.train_on == "all" else len(digits.train)
    assert seen == 2 * (used // size * size if run.recipe.sampling == "replacement" else used)


def test_a_network_learns(tiny: Path, tmp_path: Path) -> None:
    run = train(
        "lstm-rows", data=tiny, output=tmp_path / "run", quiet=True, epochs=12, batch_size=32
    )
    assert run.result is not None
    assert run.result.accuracy > 0.9


@pytest.fixture(scope="module")
def small_runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One of each engine, for tests that change nothing in it."""
    folder = tmp_path_factory.mktemp("small")
    return {
        engine: train(
            "lstm-rows", data=tiny, output=folder / engine, quiet=True, engine=engine, **SMALL
        )
        for engine in ("torch", "numpy")
    }


@pytest.mark.parametrize("engine", ["torch", "numpy"])
def test_the_same_seed_gives_the_same_weights(
    engine: str, small_runs: dict[str, Run], tiny: Path, tmp_path: Path
) -> None:
    again = train(
        "lstm-rows", data=tiny, output=tmp_path / "run", quiet=True, engine=engine, **SMALL
    )
    runs = small_runs[engine], again
    first, second = (load_file(run.directory / "weights.safetensors") for run in runs)
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value, err_msg=name)


@pytest.mark.parametrize("engine", ["torch", "numpy"])
def test_a_training_that_was_stopped_ends_with_the_weights_of_one_that_was_not(
    engine: str, tiny: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"epochs": 4, "engine": engine, **SMALL}
    whole = train("lstm-columns", data=tiny, output=tmp_path / "whole", quiet=True, **settings)
    code = (
        "import sys, rowscan.training.loop as loop; loop.CHECKPOINT_SECONDS = 0.02\n"
        "from rowscan.cli import main; main()"
    )
    words = [word for item in settings.items() for word in ("--set", "=".join(map(str, item)))]
    begin = ["train", "lstm-columns", "--data", str(tiny), "--output", "run", *words]
    run, choose = tmp_path / "run", random.Random(1)
    signals = [signal.SIGINT, signal.SIGKILL]
    while signals:
        arguments = ["train", "--resume", "run"] if (run / "recipe.json").exists() else begin
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _wait_for_change(process, run)
        time.sleep(choose.uniform(0, 0.1))
        process.send_signal(number := signals.pop())
        _, error = process.communicate()
        assert b"Traceback" not in error
        assert process.returncode == (130 if number == signal.SIGINT else -number), error
    assert not (run / "result.json").exists()
    resume(run, quiet=True)
    weights = load_file(whole.directory / "weights.safetensors")
    for name, value in load_file(run / "weights.safetensors").items():
        np.testing.assert_array_equal(value, weights[name], err_msg=name)
    untimed = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in Run.open(path).records]
        for path in (whole.directory, run)
    ]
    assert untimed[0] == untimed[1]


def _wait_for_change(process: subprocess.Popen[bytes], run: Path) -> None:
    """Until the process has written a checkpoint of its own, or ended."""
    path = run / "checkpoint.safetensors"
    before = path.stat().st_mtime_ns if path.exists() else 0
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.01)


def test_a_complete_run_is_left_as_it_is(small_runs: dict[str, Run]) -> None:
    run = small_runs["torch"]
    before = {path.name: path.stat().st_mtime_ns for path in run.directory.iterdir()}
    resumed = resume(run.directory).result
    assert resumed is not None
    assert run.result is not None
    assert encode(resumed) == encode(run.result)
    assert {path.name: path.stat().st_mtime_ns for path in run.directory.iterdir()} == before


def test_metrics_written_after_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", find("lstm-rows", LSTMRecipe))
    first: dict[str, object] = {"kind": "step", "epoch": 0, "step": 1, "images": 9}
    first |= {"loss": 1.5, "accuracy": 0.5, "seconds": 0.1}
    run.record(first)
    run.save_checkpoint({"a": np.arange(3)}, TrainState(step=1, loss_sum=0.1 + 0.2))
    run.record({**first, "step": 2})
    with (run.directory / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')  # torn by a kill
    state, place = run.load_checkpoint()
    assert run.records == [first]
    assert (place.step, place.loss_sum) == (1, 0.1 + 0.2)
    np.testing.assert_array_equal(state["a"], [0, 1, 2])


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", find("lstm-rows", LSTMRecipe))
    (run.directory / "checkpoint.safetensors").write_bytes(b"\x80\x04pickle?")
    with pytest.raises(RowscanError, match=r"checkpoint\.safetensors: not a checkpoint"):
        run.load_checkpoint()


def test_a_run_never_overwrites_another(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        train("lstm-rows", data=tiny, output=tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("scan", ["rows", "columns-reversed", "patches-both", "snake"])
def test_torch_numpy_and_onnx_agree_on_the_same_weights(
    scan: str, tiny: Path, tmp_path: Path
) -> None:
    images = load_digits(tiny).test.images
    recipe = change(find("lstm-columns", LSTMRecipe), {"scan": scan, "hidden": 12})
    engine, by_hand = create(recipe), create(change(recipe, {"engine": "numpy"}))
    by_hand.load_weights(engine.weights())
    belief = engine.belief(images)
    np.testing.assert_allclose(by_hand.belief(images), belief, atol=1e-5)
    path = tmp_path / "model.onnx"
    graph = digit_graph(recipe, engine.weights())
    export(path, recipe, graph, images=images, answers=answers_of(belief), **UNSAID)
    reader = rowscan.Reader(path)
    np.testing.assert_allclose(reader.belief(images), belief, atol=1e-5)
    np.testing.assert_allclose(reader.predict_proba(images), belief[:, -1], atol=1e-5)
    engine.load_weights(by_hand.weights())
    np.testing.assert_array_equal(engine.belief(images), belief)


def test_a_model_file_that_disagrees_with_its_engine_is_not_written(
    tiny: Path, tmp_path: Path
) -> None:
    images = load_digits(tiny).test.images[:20]
    recipe = find("lstm-rows", LSTMRecipe)
    engine = create(recipe)
    belief = engine.belief(images)
    wrong = engine.weights()
    wrong["head.bias"][3] += 1
    path = tmp_path / "model.onnx"
    graph = digit_graph(recipe, wrong)
    with pytest.raises(ModelError, match="differ from the engine's"):
        export(path, recipe, graph, images=images, answers=answers_of(belief), **UNSAID)
    assert list(tmp_path.iterdir()) == []


def test_a_model_file_says_what_it_is(small_runs: dict[str, Run]) -> None:
    run = small_runs["torch"]
    session = onnxruntime.InferenceSession(run.model)
    said = session.get_modelmeta().custom_metadata_map
    assert said["kind"] == "digit"
    assert json.loads(said["labels"]) == list("0123456789")
    assert json.loads(said["recipe"])["hidden"] == 16
    assert run.result is not None
    assert json.loads(said["report"])["accuracy"] == run.result.accuracy
    assert said["version"] == rowscan.__version__
    (inputs,) = session.get_inputs()
    assert (inputs.name, inputs.type, inputs.shape) == ("images", "tensor(uint8)", ["n", 28, 28])


def test_one_cycle_climbs_then_falls_to_zero() -> None:
    recipe = change(find("lstm-rows", LSTMRecipe), {"schedule": "one-cycle", "learning_rate": 1.0})
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    assert rates[10] == pytest.approx(0.525)  # linear: (10 + 1/2) / 20
    assert max(rates) == pytest.approx(1, abs=0.05)
    assert rates[60] == pytest.approx(0.5, abs=0.02)  # half way down the cosine
    assert rates[-1] < 0.001
    assert rates.index(max(rates)) in (19, 20)


def test_a_run_in_a_place_that_cannot_be_written_is_one_line(tiny: Path) -> None:
    with pytest.raises(RowscanError) as caught:
        train("lstm-rows", data=tiny, output=Path(os.devnull) / "run", quiet=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["lstm-rows-b64", "lstm-columns", "mlp-numpy"])
def test_engines_agree_on_mnist_s_test_images(name: str, tmp_path: Path) -> None:
    """After a few steps on real digits: the same answer everywhere, within 1e-5."""
    digits = load_digits("mnist")
    recipe = find(name, DigitRecipe)
    engine = create(recipe)
    engine.load_images(digits.trainval.images, digits.trainval.labels)
    for _, batch in zip(range(60), engine.order(0), strict=False):
        engine.step(batch, recipe.learning_rate)
    other = create(change(recipe, {"engine": "numpy" if recipe.engine == "torch" else "torch"}))
    other.load_weights(engine.weights())
    images = digits.test.images[:2000]
    few = images[:64]
    path = tmp_path / "model.onnx"
    graph = digit_graph(recipe, engine.weights())
    export(path, recipe, graph, images=few, answers=answers_of(engine.belief(few)), **UNSAID)
    expected = predict_proba(engine, images)
    for answer in (predict_proba(other, images), rowscan.Reader(path).predict_proba(images)):
        np.testing.assert_allclose(answer, expected, atol=1e-5)
        np.testing.assert_array_equal(answer.argmax(1), expected.argmax(1))


def test_the_shipped_model_is_the_recipe_s_and_does_what_it_says() -> None:
    shipped = rowscan.Reader().digit_model
    assert decode(shipped.recipe) == find("sweep")
    command = [sys.executable, "-m", "rowscan", "evaluate"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    report: dict[str, Any] = dict(shipped.report)
    assert report["accuracy"] > 0.995
    assert said[0].startswith(f"accuracy     {report['accuracy']:.2%}  (95% interval ")
    assert said[1] == f"wrong        {10_000 - report['correct']} of 10,000"
    figures = "calibration  ECE {ece:.2%}, NLL {nll:.4f} nats, Brier {brier:.4f}"
    assert said[2] == figures.format(**report)
    confusion = [[int(n.replace(".", "0")) for n in line.split()[2:-1]] for line in said[-10:]]
    assert confusion == report["confusion"]
    file = Path(rowscan.__file__).parent / "models" / "digit.onnx"
    assert file.stat().st_size < 4_000_000


@pytest.mark.parametrize("name", ["lstm-rows", "lstm-columns", "mlp-numpy", "sweep"])
def test_a_training_starts_from_any_model_file_and_run(
    name: str, tiny: Path, tmp_path: Path
) -> None:
    quick: dict[str, Any] = QUICK | {"hidden": 16}
    first = train(name, data=tiny, output=tmp_path / "first", quiet=True, **quick)
    weights = load_file(first.directory / "weights.safetensors")
    alone = tmp_path / "model.onnx"
    alone.write_bytes(first.model.read_bytes())
    for start in (first.directory, alone):
        found = read_weights(str(start), "digit", weights)
        assert found.keys() == weights.keys()
        for key, value in weights.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)
    second = train(name, data=tiny, start=alone, output=tmp_path / "second", quiet=True, **quick)
    assert second.recipe.start == str(alone)
    assert second.result is not None


def test_from_shipped_starts_from_the_model_of_the_recipe_s_kind(
    tiny: Path, tmp_path: Path
) -> None:
    shipped: dict[str, Any] = {"start": "shipped", "learning_rate": 1e-9, "quiet": True}
    run = train("sweep", data=tiny, output=tmp_path / "run", **QUICK, **shipped)
    trained = load_file(run.directory / "weights.safetensors")
    model = read_weights("shipped", "digit", trained)
    np.testing.assert_allclose(trained["place"], model["place"], atol=1e-6)
    with pytest.raises(ModelError, match=r"weights '.*': expected \(.*32.*got \(.*64"):
        train("sweep", data=tiny, output=tmp_path / "no", hidden=32, **QUICK, **shipped)
    with pytest.raises(ModelError, match="it has no 'lstm"):
        train("lstm-rows", data=tiny, output=tmp_path / "no", **QUICK, **shipped)


def test_metrics_that_cannot_be_opened_are_one_line(tiny: Path, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", find("lstm-rows"))
    (run.directory / "metrics.jsonl").unlink()
    (run.directory / "metrics.jsonl").mkdir()
    for use in (
        lambda: run.record({"kind": "step", "step": 1}),
        lambda: run.save_checkpoint({}, TrainState()),
        run.load_checkpoint,
    ):
        with pytest.raises(OutputError, match=r"metrics\.jsonl: cannot be opened"):
            use()


def test_a_checkpoint_as_rowscan_0_1_wrote_it_is_still_read(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", find("lstm-rows"))
    state = TrainState(step=3, seconds=1.5, metrics_bytes=0)
    content = save({"a": np.arange(3)}, metadata={"place": msgspec.json.encode(state).decode()})
    (run.directory / "checkpoint.safetensors").write_bytes(content)
    arrays, found = run.load_checkpoint()
    assert found == state
    np.testing.assert_array_equal(arrays["a"], [0, 1, 2])
