import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import rowscan
from rowscan.datasets.digits import Digits, load_digits
from rowscan.errors import ModelError, UsageError
from rowscan.recipes import LSTMRecipe, change, find
from rowscan.training.engines import by_hand
from rowscan.training.engines.factory import create
from rowscan.training.engines.interface import DigitEngine, predict_proba
from rowscan.training.export import export
from rowscan.training.loop import resume, train
from rowscan.training.results import DigitRunResult
from rowscan.training.runs import Run, TrainState
from rowscan.training.tasks.digit.graph import digit_graph

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (150, 28, 28), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 150, dtype=np.uint8)
SMALL: dict[str, Any] = {"hidden": 8, "batch_size": 20, "epochs": 2, "steps_per_epoch": 10}
TWICE = "whole-both"  # two steps, of which TensorFlow makes a graph in a tenth of the time of 28


def small(**changes: Any) -> LSTMRecipe:
    return change(find("lstm-rows-tf", LSTMRecipe), SMALL | changes)


def loaded(recipe: LSTMRecipe) -> DigitEngine:
    engine = create(recipe)
    engine.load_images(IMAGES, LABELS)
    return engine


# --- The published cell and its Adam ------------------------------------------------------------


def published_cell(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, kernel: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """BasicLSTMCell(hidden, forget_bias=1.0), from its documentation, in float64."""

    def sigmoid(z: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-z)))

    i, j, f, o = np.split(np.concatenate([x, h], axis=1) @ kernel + bias, 4, axis=1)
    c = c * sigmoid(f + 1.0) + sigmoid(i) * np.tanh(j)
    return np.tanh(c) * sigmoid(o), c


def test_cell_matches_the_published_one_and_its_gradients() -> None:
    import tensorflow as tf  # here and below, and not by each process that collects tests

    from rowscan.training.engines.tensorflow import basic_lstm_cell

    rng = np.random.default_rng(1)
    shapes = {"x": (3, 4), "h": (3, 5), "c": (3, 5), "kernel": (9, 20), "bias": (20,)}
    values = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    on_h, on_c = rng.standard_normal((2, 3, 5))  # the assumed gradients of h' and c'

    def scored(**inputs: np.ndarray) -> float:
        h, c = published_cell(**inputs)
        return float((on_h * h).sum() + (on_c * c).sum())

    inputs = {name: tf.constant(value) for name, value in values.items()}
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        h, c = basic_lstm_cell(**inputs, forget_bias=1.0)
        score = tf.reduce_sum(on_h * h) + tf.reduce_sum(on_c * c)
    expected_h, expected_c = published_cell(**values)
    np.testing.assert_allclose(h, expected_h, atol=1e-12)
    np.testing.assert_allclose(c, expected_c, atol=1e-12)
    for name, gradient in tape.gradient(score, inputs).items():
        for index in np.ndindex(shapes[name]):
            nudge = np.zeros(shapes[name])
            nudge[index] = 1e-6
            up, down = (scored(**values | {name: values[name] + n}) for n in (nudge, -nudge))
            assert abs(gradient[index] - (up - down) / 2e-6) < 1e-7, (name, index)


def test_a_step_matches_tensorflow_1_adam_on_gradients_by_hand() -> None:
    """TensorFlow 1 adds epsilon to √v before the bias correction of v.

    With a tiny head, gradients are of epsilon's size, which tells it from the paper's epsilon.
    """
    engine = loaded(small(scan=TWICE))
    weights = {name: value.astype(np.float64) for name, value in engine.weights().items()}
    weights["head.weight"] *= 1e-5
    engine.load_weights({name: value.astype(np.float32) for name, value in weights.items()})
    trained = [name for name in weights if "bias_hh" not in name]
    m, v = ({name: np.zeros_like(weights[name]) for name in trained} for _ in range(2))
    for step, batch in zip(range(1, 6), engine.order(0), strict=False):
        x = np.stack(2 * [IMAGES[batch].reshape(len(batch), -1) / 255])
        loss, correct, gradients = by_hand.lstm_gradients(weights, x, LABELS[batch])
        found_loss, found_correct = engine.step(batch, 1e-3)
        assert found_loss == pytest.approx(loss, abs=1e-5)
        assert found_correct == correct
        rate = 1e-3 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        for name in trained:
            m[name] += 0.1 * (gradients[name] - m[name])
            v[name] += 0.001 * (gradients[name] ** 2 - v[name])
            weights[name] -= rate * m[name] / (np.sqrt(v[name]) + 1e-8)
    for name, value in engine.weights().items():
        np.testing.assert_allclose(value, weights[name], atol=2e-5, err_msg=name)


# --- With the other engines ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def mnist() -> Digits:
    return load_digits("mnist")


@pytest.fixture(scope="module")
def trained(mnist: Digits) -> tuple[DigitEngine, list[float]]:
    """The published training's first 100 steps, and their losses."""
    engine = create(find("lstm-rows-tf", LSTMRecipe))
    engine.load_images(mnist.train.images, mnist.train.labels)
    batches = zip(range(100), engine.order(0), strict=False)
    return engine, [float(engine.step(batch, 0.001)[0]) for _, batch in batches]


def test_losses_match_the_torch_engine_for_100_steps(
    mnist: Digits, trained: tuple[DigitEngine, list[float]]
) -> None:
    """From the recipe alone: both engines draw the same initial weights and batches."""
    engine = create(change(find("lstm-rows-tf", LSTMRecipe), {"engine": "torch"}))
    engine.load_images(mnist.train.images, mnist.train.labels)
    losses = [
        float(engine.step(batch, 0.001)[0])
        for _, batch in zip(range(100), engine.order(0), strict=False)
    ]
    np.testing.assert_allclose(losses, trained[1], atol=1e-3)
    assert losses[0] > 2
    assert losses[-1] < 0.6
    np.testing.assert_array_equal(engine.weights()["lstm.bias_hh_l0"], 0)


def test_all_engines_and_the_model_file_agree_on_mnist_test(
    mnist: Digits, trained: tuple[DigitEngine, list[float]], tmp_path: Path
) -> None:
    engine, recipe = trained[0], find("lstm-rows-tf", LSTMRecipe)
    images, labels = mnist.test.images, mnist.test.labels
    expected = predict_proba(engine, images)
    assert (expected.argmax(1) == labels).mean() > 0.8
    path = tmp_path / "model.onnx"
    few = images[:64]
    export(
        path,
        recipe,
        digit_graph(recipe, engine.weights()),
        kind="digit",
        images=few,
        answers={"probabilities": engine.belief(few)[:, -1], "belief": engine.belief(few)},
        calibration={"method": "none"},
        report={},
    )
    answers = {"onnx": rowscan.Reader(path).predict_proba(images)}
    for name in ("torch", "numpy"):
        other = create(change(recipe, {"engine": name}))
        other.load_weights(engine.weights())
        answers[name] = predict_proba(other, images)
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, expected, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {"scan": "columns-reversed", "pixels": "signed"},
        {"layers": 2, "forget_bias": 0.25, "scan": TWICE},
        {"scan": "whole", "init": "uniform", "steps_per_epoch": 0},
    ],
    ids=str,
)
def test_training_matches_the_other_engines(changes: dict[str, Any]) -> None:
    ours = loaded(small(**changes))
    for name in ("torch", "numpy"):
        theirs = loaded(small(engine=name, **changes))
        theirs.load_weights(ours.weights())
        start = ours.state()
        np.testing.assert_allclose(ours.belief(IMAGES), theirs.belief(IMAGES), atol=1e-5)
        for batch, same in zip(ours.order(0), theirs.order(0), strict=True):
            if name == "numpy" or small(**changes).steps_per_epoch:
                np.testing.assert_array_equal(batch, same)
            loss, correct = ours.step(batch, 0.003)
            expected_loss, expected_correct = theirs.step(batch, 0.003)
            assert loss == pytest.approx(expected_loss, rel=1e-3)
            assert abs(float(correct) - float(expected_correct)) <= 1
        ours.load_state(start)


def test_weights_convert_to_torch_and_back() -> None:
    """torch's two biases become TensorFlow's one, and come back as the sum with the forget bias."""
    torch = loaded(
        change(find("lstm-columns", LSTMRecipe), {"hidden": 8, "scan": TWICE, "pixels": "unit"})
    )
    two = small(layers=2, scan=TWICE)
    ours, back = loaded(two), loaded(change(two, {"engine": "torch"}))
    given = torch.weights()
    ours.load_weights(given)
    np.testing.assert_allclose(ours.belief(IMAGES), torch.belief(IMAGES), atol=1e-5)
    gone = ours.weights()
    assert list(gone) == list(given)
    for layer in ("l0", "l1"):
        total = given[f"lstm.bias_ih_{layer}"] + given[f"lstm.bias_hh_{layer}"]
        np.testing.assert_allclose(gone[f"lstm.bias_ih_{layer}"], total, atol=2e-7)
        np.testing.assert_array_equal(gone[f"lstm.bias_hh_{layer}"], 0)
    for name in given:
        if "weight" in name or "head" in name:
            np.testing.assert_array_equal(gone[name], given[name])
    back.load_weights(gone)
    np.testing.assert_allclose(back.belief(IMAGES), ours.belief(IMAGES), atol=1e-5)
    for array in gone.values():
        array[...] = 0  # a copy: it must not change the engine
    assert ours.weights()["head.weight"].any()


def test_the_seed_determines_the_initial_weights_on_every_engine() -> None:
    ours = loaded(small(seed=3))
    assert type(ours).__name__ == "TensorflowEngine"
    for name in ("torch", "numpy"):
        theirs = loaded(small(seed=3, engine=name))
        for key, weight in ours.weights().items():
            np.testing.assert_array_equal(weight, theirs.weights()[key], err_msg=key)
    other = loaded(small(seed=4))
    assert (ours.weights()["head.weight"] != other.weights()["head.weight"]).all()


def test_belief_is_causal() -> None:
    engine = loaded(small())
    belief = engine.belief(IMAGES)
    np.testing.assert_allclose(belief.sum(axis=-1), 1, atol=1e-6)
    changed = IMAGES.copy()
    changed[:, 20:] = 255 - changed[:, 20:]
    np.testing.assert_array_equal(engine.belief(changed)[:, :20], belief[:, :20])
    assert (engine.belief(changed)[:, 20] != belief[:, 20]).any(axis=-1).all()
    assert engine.belief(IMAGES[:0]).shape == (0, 28, 10)


# --- State and errors ---------------------------------------------------------------------------


def test_resuming_from_state_is_bit_identical() -> None:
    whole, second = loaded(small(scan=TWICE)), loaded(small(scan=TWICE, seed=9))
    batches = [*whole.order(0), *whole.order(1)]
    for batch in batches[:3]:
        whole.step(batch, 0.01)
    state = whole.state()
    for batch in batches[3:]:  # a state is a copy, which later steps must not change
        whole.step(batch, 0.01)
    second.load_state(state)
    for batch in batches[3:]:
        second.step(batch, 0.01)
    for name, array in whole.state().items():
        np.testing.assert_array_equal(second.state()[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (
            {"head.bias": np.zeros(11, np.float32)},
            r"'head.bias': expected .* \(10,\), got float32 \(11,\)",
        ),
        ({"head.bias": np.zeros(10)}, "'head.bias': expected float32 .*, got float64"),
        ({"extra": np.zeros(1, np.float32)}, "'extra': unexpected"),
    ],
)
def test_unfit_weights_are_rejected_and_change_nothing(
    wrong: dict[str, np.ndarray], reason: str
) -> None:
    engine, other = loaded(small()), loaded(small(seed=5))
    before = engine.state()
    for load, values in (
        (engine.load_weights, other.weights()),
        (engine.load_state, other.state()),
    ):
        with pytest.raises(ModelError, match=reason):
            load(values | wrong)
    for name, array in engine.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("base", "changes", "said"),
    [
        ("lstm-rows-tf", {"optimizer": "adadelta"}, "needs optimizer=adam, not 'adadelta'"),
        ("lstm-rows-tf", {"optimizer": "adamw"}, "optimizer=adamw needs engine=torch"),
        ("lstm-rows-tf", {"biases": 2}, "needs biases=1, not 2"),
        ("lstm-rows-tf", {"augmentation": "handwriting"}, "augmentation=handwriting needs engine="),
        ("lstm-rows-tf", {"clip": 1.0}, "clip needs engine=torch"),
        ("lstm-rows", {"engine": "tensorflow"}, "needs biases=1, not 2"),
        ("mlp-numpy", {"engine": "tensorflow"}, "expected torch or numpy, got 'tensorflow'"),
        ("mlp-numpy", {"init": "glorot"}, "expected uniform or normal, got 'glorot'"),
    ],
)
def test_unsupported_settings_are_rejected(
    base: str, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        change(find(base), changes)


def test_it_runs_on_the_cpu() -> None:
    with pytest.raises(UsageError, match="the tensorflow engine runs on the CPU, not on 'cuda'"):
        create(find("lstm-rows-tf", LSTMRecipe), "cuda")


# --- Whole trainings ----------------------------------------------------------------------------


def test_a_resumed_run_ends_with_the_same_weights(tiny: Path, tmp_path: Path) -> None:
    recipe = small(data=str(tiny), schedule="one-cycle", scan=TWICE)
    whole = train(recipe, output=tmp_path / "whole", quiet=True)
    assert whole.result is not None
    steps = [r["step"] for r in whole.records if r["kind"] == "step"]
    assert steps == list(range(1, 21))
    assert [r["step"] for r in whole.records if r["kind"] == "monitor"] == [10, 20]
    assert {r["images"] for r in whole.records if r["kind"] == "step"} == {20}

    interrupted, digits = Run.create(tmp_path / "run", recipe), load_digits(tiny)
    engine = create(recipe)
    engine.load_images(digits.train.images, digits.train.labels)
    batches = [batch for epoch in range(2) for batch in engine.order(epoch)]
    rates = [r["learning_rate"] for r in whole.records if r["kind"] == "step"]
    for batch, rate in list(zip(batches, rates, strict=True))[:13]:
        engine.step(batch, rate)
    interrupted.save_checkpoint(engine.state(), TrainState(step=13))
    ended = resume(interrupted.directory, quiet=True)
    weights = (load_file(run.directory / "weights.safetensors") for run in (whole, ended))
    first, second = weights
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value, err_msg=name)


def test_the_command_trains_without_torch_and_quietly(tiny: Path, tmp_path: Path) -> None:
    """As with only the extra `tensorflow` installed."""
    quick = ["--set", f"scan={TWICE}", "--set", "batch_size=50", "--set", "steps_per_epoch=60"]
    words = ["--data", str(tiny), *quick, "--epochs", "2"]
    done = run_without("torch", ["train", "lstm-rows-tf", *words, "--output", "run"], tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("epoch ") for line in lines), done.stderr
    assert "step   120/120" in done.stderr
    run = Run.open(tmp_path / "run")
    assert isinstance(run.result, DigitRunResult)
    assert run.result.accuracy > 0.9
    assert f"accuracy   {run.result.accuracy:.2%}" in done.stdout
    assert run.model.exists()
    assert run.report.exists()
    reader = rowscan.Reader(run.directory)
    test = load_digits(tiny).test
    right = (reader.classify(test.images)[0] == test.labels).sum()
    assert int(right) == run.result.correct


@pytest.mark.parametrize(
    "words",
    [
        ["train", "lstm-rows-tf", "--output", "run"],
        ["reproduce", "lstm-rows-b64", "lstm-rows-tf"],  # reported before the first training
    ],
    ids=lambda words: words[0],
)
def test_without_tensorflow_one_line_names_the_extra(words: list[str], tmp_path: Path) -> None:
    done = run_without("tensorflow", words, tmp_path)
    assert done.returncode == 1
    needs = r"rowscan: training with TensorFlow needs tensorflow: pip install .*\[tensorflow\].*\n"
    assert re.fullmatch(needs, done.stderr)
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def run_without(module: str, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a Python without this module."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv = ['rowscan', *sys.argv[1:]]\n"
        "from rowscan.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
