"""Model files from strangers are opened safely, or refused in one line."""

import io
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from rowscan.errors import ModelError
from rowscan.recognition import onnx_file, session
from rowscan.recognition.model import Model, PageModel, open_model

SHIPPED = {
    path.name: path.read_bytes()
    for path in resources.files("rowscan").joinpath("models").iterdir()
    if path.name.endswith(".onnx")
}
IMAGES = np.zeros((2, 28, 28), np.uint8)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_metadata_are_those_that_onnx_runtime_finds(name: str) -> None:
    opened = onnxruntime.InferenceSession(SHIPPED[name])
    assert onnx_file.check(name, SHIPPED[name]) == opened.get_modelmeta().custom_metadata_map


def model_of(node: onnx.NodeProto) -> bytes:
    """A file with one node."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "graph",
        [value("images", TensorProto.UINT8, ["n", 28, 28])],
        [value("probabilities", TensorProto.FLOAT, ["n", 10])],
    )
    buffer = io.BytesIO()
    onnx.save(helper.make_model(graph), buffer)
    return buffer.getvalue()


def test_other_operators_are_refused() -> None:
    loop = helper.make_node("Loop", ["", ""], ["probabilities"], body=onnx.GraphProto())
    with pytest.raises(ModelError, match="a: unsupported operator 'Loop'"):
        onnx_file.check("a", model_of(loop))
    foreign = helper.make_node("Add", ["images"], ["probabilities"], domain="com.other")
    with pytest.raises(ModelError, match=r"a: unsupported operator 'com\.other\.Add'"):
        onnx_file.check("a", model_of(foreign))


def test_operators_within_a_scan_are_seen() -> None:
    inner = helper.make_graph([helper.make_node("Expand", ["x", "s"], ["y"])], "body", [], [])
    scan = helper.make_node("Scan", ["images"], ["probabilities"], body=inner, num_scan_inputs=1)
    with pytest.raises(ModelError, match="unsupported operator 'Expand'"):
        onnx_file.check("a", model_of(scan))


def test_graphs_are_not_followed_without_end() -> None:
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [], [])
    for _ in range(20):
        graph = helper.make_graph([helper.make_node("Scan", [], [], body=graph)], "g", [], [])
    with pytest.raises(ModelError, match="a: not a model file, or a damaged one"):
        onnx_file.check("a", helper.make_model(graph).SerializeToString())


@settings(max_examples=60)
@given(
    at=st.integers(0, len(SHIPPED["digit.onnx"]) - 1),
    with_bytes=st.binary(min_size=1, max_size=8),
    keep=st.integers(0, 20),
)
@example(at=0, with_bytes=b"", keep=0)
def test_a_damaged_file_gives_answers_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, at: int, with_bytes: bytes, keep: int
) -> None:
    whole = SHIPPED["digit.onnx"]
    content = whole[:at] + with_bytes + whole[at + len(with_bytes) :]
    if keep == 0:
        content = content[:at]
    reason = ""
    try:
        path = tmp_path_factory.mktemp("model") / "model.onnx"
        path.write_bytes(content)
        open_model(path).run("probabilities", IMAGES)
    except ModelError as error:
        reason = str(error)
    assert "\n" not in reason


def named(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> Model:
    """A digit model of these nodes, with the metadata of the one that ships."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [value("images", TensorProto.UINT8, ["n", 28, 28])],
        [value("probabilities", TensorProto.FLOAT, ["n", "classes"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, onnx_file.check("a", SHIPPED["digit.onnx"]))
    path.write_bytes(model.SerializeToString())
    return open_model(path)


def node(operator: str, *names: str, **attributes: Any) -> onnx.NodeProto:
    """The last name is that of the output."""
    return helper.make_node(operator, names[:-1], names[-1:], **attributes)


def test_a_graph_cannot_take_all_memory(tmp_path: Path) -> None:
    doubled = [node("Concat", f"x{i}", f"x{i}", f"x{i + 1}", axis=0) for i in range(40)]
    last = node("Concat", "x40", "probabilities", axis=0)
    model = named(tmp_path / "m.onnx", [*doubled, last], {"x0": np.ones((1, 10), np.float32)})
    with pytest.raises(ModelError, match=r"m.onnx: cannot be run: it takes more than 300 MB"):
        model.run("probabilities", IMAGES)


def test_a_graph_cannot_take_all_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SECONDS", 0.05)
    powers = [node("MatMul", f"x{i}", "x0", f"x{i + 1}") for i in range(3000)]
    last = node("Identity", "x3000", "probabilities")
    weights = {"x0": np.zeros((500, 500), np.float32)}
    model = named(tmp_path / "m.onnx", [*powers, last], weights)
    with pytest.raises(ModelError, match=r"m.onnx: cannot be run: it takes more than"):
        model.run("probabilities", IMAGES)


def test_answers_of_another_shape_are_refused(tmp_path: Path) -> None:
    model = named(
        tmp_path / "m.onnx",
        [node("Identity", "x", "probabilities")],
        {"x": np.zeros((2, 11), np.float32)},
    )
    with pytest.raises(ModelError, match=r"expected the shape \(2, 10\), got \(2, 11\)"):
        model.run("probabilities", IMAGES)


@pytest.mark.parametrize("shape", [(400, 240), (240, 400)])
def test_a_large_page_is_answered_in_strips(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = np.zeros((*shape, 3), np.uint8)
    page[20:-20:40, 20:-20] = 200
    model = PageModel.open()
    whole = model.segment(page)
    monkeypatch.setattr("rowscan.recognition.model._AT_ONCE", 50_000)
    monkeypatch.setattr("rowscan.recognition.model._STRIP", 60_000)
    strips = model.segment(page)
    for one, other in zip(whole, strips, strict=True):
        assert one.shape == other.shape
    assert np.abs(whole.probabilities - strips.probabilities).mean() < 0.02
