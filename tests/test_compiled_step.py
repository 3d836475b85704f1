import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from torch import nn

from rowscan.arrays import Float, Int64
from rowscan.recipes import LSTMRecipe, change, find
from rowscan.training.engines import compiled
from rowscan.training.engines.by_hand import lstm_gradients, lstm_logits, softmax
from rowscan.training.engines.compiled import STATE, CompiledStep, load_library
from rowscan.training.engines.compiler import CompilerError, load_compiled
from rowscan.training.engines.torch import TorchEngine

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (150, 28, 28), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 150, dtype=np.uint8)
SOURCE = Path(compiled.__file__).with_name("lstm_step.cpp")


class Case:
    """A network with drawn weights and images, and its compiled step."""

    def __init__(
        self,
        *,
        time: int,
        features: int,
        hidden: int,
        layers: int,
        threads: int,
        optimizer: str = "sgd",
        one_bias: bool = False,
        real: type[np.floating] = np.float64,
    ) -> None:
        rng = np.random.default_rng([time, features, hidden, layers])
        self.lstm = nn.LSTM(features, hidden, layers, dtype=torch.float64)
        self.weights = {
            f"lstm.{name}": rng.uniform(-1, 1, value.shape).astype(real)
            for name, value in self.lstm.named_parameters()
        }
        self.weights["head.weight"] = rng.uniform(-1, 1, (10, hidden)).astype(real)
        self.weights["head.bias"] = rng.uniform(-1, 1, 10).astype(real)
        self.trained = [n for n in self.weights if not (one_bias and "bias_hh" in n)]
        self.sequences = rng.integers(0, 256, (40, time, features), dtype=np.uint8)
        self.labels = rng.integers(0, 10, 40)
        self.levels = np.linspace(-1, 1, 256, dtype=real)
        self.step = CompiledStep(
            load_library("double" if real is np.float64 else "float"),
            weights=self.weights,
            trained=self.trained,
            optimizer=optimizer,
            levels=self.levels,
            time=time,
            threads=threads,
        )
        self.step.load_images(self.sequences.reshape(40, -1), self.labels)

    def x(self, batch: Int64[np.ndarray, " batch"]) -> Float[np.ndarray, "time batch feature"]:
        x: np.ndarray = self.levels.astype(np.float64)[self.sequences[batch].swapaxes(0, 1)]
        return x


@settings(max_examples=60, deadline=None)
@given(
    time=st.integers(1, 6),
    features=st.integers(1, 40),
    hidden=st.integers(1, 40),
    layers=st.integers(1, 3),
    threads=st.integers(1, 3),
    batch=st.integers(1, 40),
)
def test_belief_loss_and_gradients_are_those_by_hand(
    *, time: int, features: int, hidden: int, layers: int, threads: int, batch: int
) -> None:
    """In float64; the step of plain gradient descent with rate 1 is the gradient."""
    case = Case(time=time, features=features, hidden=hidden, layers=layers, threads=threads)
    expected = softmax(lstm_logits(case.weights, case.x(np.arange(40)))).swapaxes(0, 1)
    belief = case.step.belief(case.sequences.reshape(40, -1))
    np.testing.assert_allclose(belief, expected, atol=1e-13)
    before = {name: value.copy() for name, value in case.weights.items()}
    for images in (np.arange(batch), np.arange(40)[::-1]):  # a larger batch needs more room
        loss, correct, gradients = lstm_gradients(case.weights, case.x(images), case.labels[images])
        before = {name: value.copy() for name, value in case.weights.items()}
        found_loss, found_correct = case.step.step(images, 1.0)
        assert found_loss == pytest.approx(loss, rel=1e-12)
        assert found_correct == correct
        for name, gradient in gradients.items():
            moved = before[name] - case.weights[name]
            np.testing.assert_allclose(moved, gradient, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("one_bias", [False, True])
@pytest.mark.parametrize("optimizer", STATE)
def test_steps_are_those_of_torch(optimizer: str, one_bias: bool) -> None:
    """In float64, on batches of several sizes, from a rate that changes."""
    case = Case(
        time=5, features=7, hidden=13, layers=2, threads=2, optimizer=optimizer, one_bias=one_bias
    )
    head = nn.Linear(13, 10, dtype=torch.float64)
    named = {f"lstm.{n}": p for n, p in case.lstm.named_parameters()}
    named |= {f"head.{n}": p for n, p in head.named_parameters()}
    for name, parameter in named.items():
        parameter.data.copy_(torch.from_numpy(case.weights[name]))
    make = {"adam": torch.optim.Adam, "adadelta": torch.optim.Adadelta, "sgd": torch.optim.SGD}
    theirs = make[optimizer]([named[name] for name in case.trained], lr=1.0)
    for step, size in enumerate((16, 1, 40, 3, 16, 16, 7)):
        batch = np.random.default_rng(step).permutation(40)[:size]
        rate = theirs.param_groups[0]["lr"] = 0.01 * (step + 1)
        logits = head(case.lstm(torch.from_numpy(case.x(batch)))[0][-1])
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(case.labels[batch]))
        theirs.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        theirs.step()
        found, _ = case.step.step(batch, rate)
        assert found == pytest.approx(loss.item(), rel=1e-9)
    for name, parameter in named.items():
        expected = parameter.detach().numpy()
        np.testing.assert_allclose(case.weights[name], expected, atol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    ("time", "features", "hidden", "layers", "batch"),
    [(28, 28, 64, 1, 32), (28, 28, 100, 2, 40), (28, 28, 128, 1, 40), (100, 1, 30, 1, 8)],
)
def test_float32_is_as_exact_as_torch(
    time: int, features: int, hidden: int, layers: int, batch: int
) -> None:
    """The gradient, against that by hand in float64, of networks of the size that is trained."""
    case = Case(
        time=time, features=features, hidden=hidden, layers=layers, threads=2, real=np.float32
    )
    for value in case.weights.values():
        np.multiply(value, hidden**-0.5, out=value)
    exact = {name: value.astype(np.float64) for name, value in case.weights.items()}
    images = np.arange(batch)
    _, _, gradients = lstm_gradients(exact, case.x(images), case.labels[images])
    lstm, head = nn.LSTM(features, hidden, layers), nn.Linear(hidden, 10)
    named = {f"lstm.{n}": p for n, p in lstm.named_parameters()}
    named |= {f"head.{n}": p for n, p in head.named_parameters()}
    for name, parameter in named.items():
        parameter.data.copy_(torch.from_numpy(case.weights[name]))
    logits = head(lstm(torch.from_numpy(case.x(images).astype(np.float32)))[0][-1])
    nn.functional.cross_entropy(logits, torch.from_numpy(case.labels[images])).backward()  # type: ignore[no-untyped-call]
    case.step.step(images, rate := 2.0**20)  # so large that the gradient keeps all its digits
    ours, theirs = 0.0, 0.0
    for name, gradient in gradients.items():
        found = (exact[name] - case.weights[name]) / rate
        ours += float(np.square(found - gradient).sum())
        by_torch = named[name].grad
        assert by_torch is not None
        theirs += float(np.square(by_torch.numpy() - gradient).sum())
    assert ours**0.5 < 2 * theirs**0.5


def test_the_result_does_not_depend_on_timing() -> None:
    """With more threads than there are cores, some of which are late now and then."""
    results = []
    for _ in range(3):
        case = Case(time=9, features=8, hidden=20, layers=2, threads=7, optimizer="adam")
        results.append([case.step.step(np.arange(i, i + 30), 0.01)[0] for i in range(10)])
    assert results[0] == results[1] == results[2]


def test_an_image_that_is_not_there_is_refused() -> None:
    case = Case(time=2, features=3, hidden=4, layers=1, threads=2)
    before = {name: value.copy() for name, value in case.weights.items()}
    for batch in (np.array([0, 40]), np.array([-1])):
        with pytest.raises(IndexError, match="not loaded"):
            case.step.step(batch, 0.1)
    for name, value in case.weights.items():
        np.testing.assert_array_equal(value, before[name])


# --- In the engine ------------------------------------------------------------------------------


def engine_of(name: str, **changes: Any) -> TorchEngine:
    recipe = change(find(name), {"hidden": 12, "batch_size": 20} | changes)
    assert isinstance(recipe, LSTMRecipe)
    engine = TorchEngine(recipe, "cpu")
    engine.load_images(IMAGES, LABELS)
    return engine


WITHOUT_A_COMPILER = """
import sys
from safetensors.numpy import load_file, save_file
sys.path.insert(0, sys.argv[1])
from test_compiled_step import ENGINES, engine_of
for name in ENGINES:
    begin = load_file(f"{name}.begin")
    for engine in (engine_of("lstm-rows"), engine_of(name)):
        batches = [*engine.order(0)]
        engine.step(batches[0], 0.01)
    engine.load_state(begin)
    for batch in batches[3:6]:
        engine.step(batch, 0.01)
    save_file(engine.state(), f"{name}.end")
"""
ENGINES = ["lstm-rows-b64", "lstm-columns", "lstm-rows-tf"]


def after_three_steps(name: str) -> tuple[TorchEngine, list[np.ndarray]]:
    """With all batches of the epoch."""
    engine = engine_of(name)
    batches = [*engine.order(0)]
    for batch in batches[:3]:
        engine.step(batch, 0.01)
    return engine, batches


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a process without a compiler has gone on with each training."""
    folder = tmp_path_factory.mktemp("continued")
    for name in ENGINES:
        save_file(after_three_steps(name)[0].state(), folder / f"{name}.begin")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_COMPILER, str(Path(__file__).parent)],
        cwd=folder,
        env=os.environ | {"XDG_CACHE_HOME": str(folder), "PATH": "", "CXX": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == (  # once, though there are several engines
        "rowscan: the compiled training step is not available (no C++ compiler found; expected c++,"
        " or its name in CXX): PyTorch's is used\n"
    )
    return folder


@pytest.mark.parametrize("name", ENGINES)
def test_a_training_goes_on_with_either_step(name: str, continued: Path) -> None:
    """A state of the compiled step is one of torch's, and the other way round."""
    engine, batches = after_three_steps(name)
    for batch in batches[3:6]:
        engine.step(batch, 0.01)
    state = engine.state()
    theirs = load_file(continued / f"{name}.end")
    assert set(state) == set(theirs)
    for key, value in state.items():
        assert value.dtype == theirs[key].dtype
        np.testing.assert_allclose(value, theirs[key], atol=2e-6, rtol=1e-4, err_msg=key)
    engine.load_state(theirs)
    again = engine_of(name)
    again.load_state(engine.state())
    for batch in batches[6:]:
        assert engine.step(batch, 0.01) == again.step(batch, 0.01)
    for key, value in engine.state().items():
        np.testing.assert_array_equal(value, again.state()[key], err_msg=key)


@pytest.mark.parametrize("scan", ["rows", "columns-both", "whole", "patches-reversed"])
@pytest.mark.parametrize("pixels", ["unit", "signed", "raw"])
def test_it_sees_what_the_network_sees(scan: str, pixels: str) -> None:
    """The loss before the first step is that of the engine's own answers."""
    engine = engine_of("lstm-rows", scan=scan, pixels=pixels)
    batch = np.arange(40, 70)
    answers = engine.belief(IMAGES[batch])[:, -1]
    expected = -np.log(answers[np.arange(30), LABELS[batch]]).mean()
    loss, correct = engine.step(batch, 0.01)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert correct == (answers.argmax(1) == LABELS[batch]).sum()


def test_weights_loaded_between_steps_count() -> None:
    engine, other = engine_of("lstm-rows"), engine_of("lstm-rows", seed=5)
    batch = np.arange(20)
    engine.step(batch, 0.01)
    engine.load_weights(other.weights())
    assert engine.step(batch, 0.01)[0] == other.step(batch, 0.01)[0]


# --- The compiler -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"CXX": "no-such-compiler"}, "no-such-compiler: No such file or directory"),
        ({"CXX": f"{sys.executable} -c 'import sys; sys.exit(\"an error\")'"}, "failed: an error"),
        ({"XDG_CACHE_HOME": "/dev/null"}, "Not a directory"),
    ],
    ids=["missing", "failing", "no cache"],
)
def test_a_library_that_cannot_be_built_is_an_error_with_a_reason(
    environment: dict[str, str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({"XDG_CACHE_HOME": str(tmp_path)} | environment).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CompilerError, match=reason):
        load_compiled(SOURCE)


@pytest.mark.parametrize(
    "changes",
    [{"optimizer": "adamw"}, {"clip": 1.0}, {"augmentation": "handwriting"}, {"compiled": False}],
    ids=str,
)
def test_other_trainings_take_the_step_of_torch(changes: dict[str, Any]) -> None:
    """Its optimiser has state; that of the compiled step is not torch's."""
    engine = engine_of("lstm-rows", **changes)
    engine.step(next(engine.order(0)), 0.01)
    assert engine._optimizers
    assert not engine_of("lstm-rows")._optimizers


def test_two_processes_that_need_the_library_build_it_once(tmp_path: Path) -> None:
    """The compiler writes down that it ran; its other call is for its version."""
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\necho "$@" >> "$0.log"\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    code = "from rowscan.training.engines.compiled import load_library; load_library('float')"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path), "CXX": str(compiler)},
        )
        for _ in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    calls = Path(f"{compiler}.log").read_text(encoding="utf-8").splitlines()
    assert sum("-shared" in call for call in calls) == 1
    assert len([*(tmp_path / "rowscan" / "compiled").glob("*.so")]) == 1
