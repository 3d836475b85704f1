"""Model files from strangers are opened safely, or refused in one line."""

import io
from importlib import resources

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from rowscan.errors import ModelError
from rowscan.recognition import onnx_file
from rowscan.recognition.model import open_model

SHIPPED = {
    path.name: path.read_bytes()
    for path in resources.files("rowscan").joinpath("models").iterdir()
    if path.name.endswith(".onnx")
}
IMAGES = np.zeros((2, 28, 28), np.uint8)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_metadata_are_those_that_onnx_runtime_finds(name: str) -> None:
    session = onnxruntime.InferenceSession(SHIPPED[name])
    assert onnx_file.check(name, SHIPPED[name]) == session.get_modelmeta().custom_metadata_map


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
