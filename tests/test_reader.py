"""Readers and models: what the graph answers, on any number of images; files that are refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rowscan.errors import ModelError, UsageError
from rowscan.reader import Reader, _agreed, _Page
from rowscan.reading import Character, Line
from rowscan.recognition import tta
from rowscan.recognition.model import DigitModel, LineModel, open_model
from rowscan.recognition.selection import Candidate, log_likelihood, select_lines

HIDDEN = 8
METADATA = {
    "kind": "digit",
    "labels": json.dumps(list("0123456789")),
    "recipe": json.dumps({"name": "small", "scan": "rows"}),
    "calibration": json.dumps({"method": "none"}),
    "report": json.dumps({"accuracy": 0.5}),
    "version": "0.1.0",
}


def random_weights() -> dict[str, np.ndarray]:
    """An LSTM over rows as ONNX lays it out: gates input, output, forget, cell."""
    rng = np.random.default_rng(3)
    shapes = {"w": (4 * HIDDEN, 28), "u": (4 * HIDDEN, HIDDEN), "b": (8 * HIDDEN,)}
    shapes |= {"head": (HIDDEN, 10), "bias": (10,)}
    return {name: rng.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}


def write_model(
    path: Path,
    *,
    metadata: dict[str, str] = METADATA,
    image_type: int = TensorProto.UINT8,
) -> Path:
    """A digit model with `random_weights`, written with the onnx package node by node."""
    weights = random_weights()
    constants = {
        "white": np.array(255, np.float32),
        "w": weights["w"][None],
        "u": weights["u"][None],
        "b": weights["b"][None],
        "head": weights["head"],
        "bias": weights["bias"],
        "zero": np.array([0]),
        "one": np.array([1]),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["grey", "white"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["sequence"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["sequence", "w", "u", "b"], ["all", "last"], hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["last", "zero"], ["answer"]),
        helper.make_node("Gemm", ["answer", "head", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        helper.make_node("Squeeze", ["all", "one"], ["steps"]),
        helper.make_node("Transpose", ["steps"], ["by_image"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["by_image", "head"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["step_logits"]),
        helper.make_node("Softmax", ["step_logits"], ["belief"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", image_type, ["n", 28, 28])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10]),
            helper.make_tensor_value_info("belief", TensorProto.FLOAT, ["n", "time", 10]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path


def believed(images: np.ndarray) -> np.ndarray:
    """The same network in NumPy, step by step: probabilities (n, 28, 10)."""
    weights = {name: value.astype(float) for name, value in random_weights().items()}
    h = c = np.zeros((len(images), HIDDEN))
    steps = []
    for row in images.transpose(1, 0, 2) / 255:
        z = row @ weights["w"].T + h @ weights["u"].T + weights["b"].reshape(2, -1).sum(0)
        i, o, f = (1 / (1 + np.exp(-part)) for part in np.split(z, 4, axis=1)[:3])
        c = f * c + i * np.tanh(np.split(z, 4, axis=1)[3])
        h = o * np.tanh(c)
        e = np.exp(h @ weights["head"] + weights["bias"])
        steps.append(e / e.sum(1, keepdims=True))
    return np.stack(steps, 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("run") / "model.onnx")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (777, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("threads", [None, 2])
def test_the_reader_answers_what_the_network_does(
    model: Path, images: np.ndarray, threads: int | None
) -> None:
    reader = Reader(model, threads=threads)
    expected = believed(images)
    labels, probabilities = reader.classify(images)
    assert probabilities == pytest.approx(expected[:, -1], abs=1e-5)
    assert np.array_equal(labels, expected[:, -1].argmax(1))
    assert len(set(labels.tolist())) > 3
    assert np.array_equal(reader.predict_proba(images), probabilities)
    assert reader.belief(images) == pytest.approx(expected, abs=1e-5)


def test_the_size_of_batches_does_not_matter(model: Path, images: np.ndarray) -> None:
    reader = Reader(model)
    together = reader.predict_proba(images)
    for n in (0, 1, 249, 250, 251, 500):
        assert reader.predict_proba(images[:n]) == pytest.approx(together[:n], abs=1e-6)
        assert reader.belief(images[:n]).shape == (n, 28, 10)
        assert reader.classify(images[:n])[0].tolist() == together[:n].argmax(1).tolist()


def test_images_need_not_be_contiguous(model: Path, images: np.ndarray) -> None:
    reader = Reader(model)
    turned = images[::7].transpose(0, 2, 1)
    expected = reader.predict_proba(np.ascontiguousarray(turned))
    assert np.array_equal(reader.predict_proba(turned), expected)


def test_a_model_has_the_metadata_of_its_file(model: Path) -> None:
    opened = open_model(str(model))
    assert isinstance(opened, DigitModel)
    assert opened.kind == "digit"
    assert opened.labels == list("0123456789")
    assert opened.recipe == {"name": "small", "scan": "rows"}
    assert opened.belief_scan == "rows"
    assert opened.calibration == {"method": "none"}
    assert opened.report == {"accuracy": 0.5}
    assert opened.version == "0.1.0"


def test_a_model_of_another_kind_is_refused(model: Path) -> None:
    assert LineModel.open().kind == "line"
    with pytest.raises(ModelError, match=r"model\.onnx: expected a line model, got a digit model"):
        LineModel.open(model)
    with pytest.raises(ModelError, match="expected a line model, got a digit model"):
        _ = Reader(model).line_model


@pytest.mark.parametrize("key", ["tta", "look_again"])
def test_the_recipe_says_whether_a_digit_model_uses_tta(
    key: str, tmp_path: Path, images: np.ndarray
) -> None:
    recipe = {"name": "small", "scan": "rows", key: True}
    path = write_model(tmp_path / "m.onnx", metadata=METADATA | {"recipe": json.dumps(recipe)})
    model = DigitModel.open(path)
    expected = tta.predict_proba(model.predict_once, images[:9])
    assert np.array_equal(model.predict_proba(images[:9]), expected)
    assert not np.array_equal(model.predict_once(images[:9]), expected)


def test_providers_and_threads_are_those_of_onnx_runtime(model: Path, images: np.ndarray) -> None:
    cpu = open_model(model, threads=2, providers=["CPUExecutionProvider"])
    assert isinstance(cpu, DigitModel)
    expected = Reader(model).predict_proba(images[:9])
    assert cpu.predict_proba(images[:9]) == pytest.approx(expected, abs=1e-6)
    for named in (model, None):
        with pytest.raises(UsageError, match="unknown ONNX Runtime provider 'Abacus'; available"):
            _ = Reader(named, providers=["Abacus"]).digit_model


def test_a_run_directory_is_read_by_its_model(model: Path, images: np.ndarray) -> None:
    expected = Reader(model).predict_proba(images[:5])
    assert np.array_equal(Reader(model.parent).predict_proba(images[:5]), expected)


def _refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        Reader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_files_that_are_not_models(model: Path, tmp_path: Path, capfd: Any) -> None:
    damaged = "not a model file, or a damaged one"
    path = tmp_path / "model.onnx"
    assert _refusal(path) == "No such file or directory"
    for content in (b"", b"hello", b"\x89PNG\r\n", model.read_bytes()[:-1]):
        path.write_bytes(content)
        assert _refusal(path) == damaged
    assert capfd.readouterr() == ("", "")  # ONNX Runtime prints nothing itself


def test_a_file_cut_off_anywhere_is_refused(model: Path, tmp_path: Path) -> None:
    content = model.read_bytes()
    path = tmp_path / "cut.onnx"
    for end in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:end])
        _refusal(path)


def test_an_empty_run_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx: No such file"):
        Reader(tmp_path)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"kind": None}, "not a model file of Rowscan: its metadata has no 'kind'"),
        ({"kind": "word"}, "expected a model of kind digit or line or page, got 'word'"),
        ({"kind": "line"}, "its inputs or outputs are not those of a line model"),
        ({"report": None}, "damaged model file: it lacks 'report'"),
        ({"labels": "0123456789"}, "damaged model file: labels: "),
        ({"labels": '["0", "1"]'}, "damaged model file: expected 10 labels, got 2"),
        ({"recipe": "{"}, "damaged model file: recipe: "),
        ({"recipe": '{"name": "small"}'}, "damaged model file: its recipe lacks 'scan'"),
    ],
)
def test_wrong_metadata_is_refused(
    entries: dict[str, str | None], reason: str, tmp_path: Path
) -> None:
    metadata = {key: value for key, value in (METADATA | entries).items() if value is not None}
    assert _refusal(write_model(tmp_path / "m.onnx", metadata=metadata)).startswith(reason)


def test_a_graph_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", image_type=TensorProto.INT32)
    assert _refusal(path) == "its inputs or outputs are not those of a digit model"


def test_wrong_arrays_are_refused_in_one_line(model: Path) -> None:
    # In another process: in this one the checks of the annotations would fail first.
    script = """
import sys, numpy as np
from rowscan.errors import DataError
from rowscan.reader import Reader
reader = Reader(sys.argv[1])
for array in (np.zeros((1, 28, 28)), np.zeros((28, 28), "u1"), np.zeros((2, 28, 27), "u1")):
    for verb in (reader.classify, reader.predict_proba, reader.belief):
        try:
            verb(array)
        except DataError as error:
            print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(model)], capture_output=True, text=True, check=True
    )
    shapes = ["float64 (1, 28, 28)", "uint8 (28, 28)", "uint8 (2, 28, 27)"]
    assert done.stdout.splitlines() == [
        f"images: expected uint8 (n, 28, 28), got {shape}" for shape in shapes for _ in range(3)
    ]


@pytest.mark.parametrize(
    ("text", "each", "plausibility", "kept"),
    [
        ("3", 0.45, 1.0, False),
        ("3", 0.55, 1.0, True),
        ("35", 0.6, 1.0, False),
        ("35", 0.65, 1.0, True),
        ("35000", 0.6, 1.0, False),
        ("35000", 0.65, 1.0, True),  # 12% sure of all five
        ("35000", 0.65, 0.3, False),
        ("35000", 0.7, 0.3, True),
    ],
)
def test_a_line_of_unsure_digits_is_not_selected_whatever_its_length(
    text: str, each: float, plausibility: float, kept: bool
) -> None:
    box = (0, 0, 100, 30)
    digits = tuple(Character(digit, each, box, None) for digit in text)
    line = Line(digits, each ** len(text), box)
    assert select_lines([Candidate(plausibility, line)]) == ((line,) if kept else ())


def test_one_sure_digit_beside_something_else_is_less_likely_than_an_unsure_number() -> None:
    box = (0, 0, 100, 30)

    def read_as(text: str, confidence: float, others: int) -> list[Candidate]:
        digits = tuple(Character(digit, confidence, box, None) for digit in text)
        return [Candidate(1.0, Line(digits, confidence, box), others)]

    assert log_likelihood(read_as("67557501", 0.5, 0)) > log_likelihood(read_as("9", 0.96, 1))
    assert log_likelihood(read_as("9", 0.96, 0)) == 0.0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted on Linux")
@pytest.mark.parametrize("threads", [1, 2])
def test_opencv_runs_no_more_threads_than_asked_for(threads: int) -> None:
    script = """
import os, sys
import cv2, numpy as np, onnxruntime
from rowscan import Reader
cv2.setNumThreads(8)
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
picture = np.full((1500, 2000), 230, np.uint8)
cv2.putText(picture, "4071", (300, 900), cv2.FONT_HERSHEY_SIMPLEX, 9, 30, 20)
Reader(threads=int(sys.argv[1])).read(picture)
print(count() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(threads)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= threads - 1


def test_the_helper_writes_valid_onnx(model: Path) -> None:
    onnx.checker.check_model(onnx.load(model), full_check=True)


def test_of_several_readings_the_text_with_the_highest_mean_confidence_counts() -> None:
    box = (0, 0, 100, 30)

    def read_as(text: str, confidence: float) -> _Page:
        digits = tuple(Character(digit, confidence, box, None) for digit in text)
        candidate = Candidate(1.0, Line(digits, confidence, box))
        return _Page([candidate], (candidate.line,) if text else ())

    nothing = read_as("", 0.9)
    found = _agreed([read_as("41", 0.3), read_as("47", 0.9), read_as("41", 0.7), nothing])
    assert [line.text for line in found.lines] == ["41"]
    assert found.lines[0].confidence == pytest.approx((0.3 + 0.7) / 4)
    assert found.confidence == pytest.approx((0.3 + 0.7) / 4)
    assert found.rejected == ()
    found = _agreed([read_as("41", 0.3), read_as("47", 0.9), read_as("41", 0.5), nothing])
    assert [line.text for line in found.lines] == ["47"]
    assert _agreed([nothing, nothing]) is nothing
