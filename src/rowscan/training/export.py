"""From weights to the model file: an ONNX graph written node by node, the same for every engine.

The graph takes raw uint8 images; scaling and reading order are inside it. A file is only written
when ONNX Runtime gives the engine's own answers on it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
from jaxtyping import Float32, UInt8
from onnx import TensorProto, helper, numpy_helper

import rowscan
from rowscan.errors import ModelError
from rowscan.files import write_atomically
from rowscan.recipes import Recipe
from rowscan.scans import scan
from rowscan.training.engine import Arrays

LABELS = [str(digit) for digit in range(10)]
TOLERANCE = 1e-5
_OPSET, _IR_VERSION = 17, 8  # read by every ONNX Runtime since 1.12


def export(
    path: Path,
    recipe: Recipe,
    weights: Arrays,
    *,
    images: UInt8[np.ndarray, "n height width"],
    belief: Float32[np.ndarray, "n time 10"],
    report: Mapping[str, Any],
) -> None:
    """Write the model file of a digit model.

    Args:
        path: where the file goes.
        recipe: what was trained; decides the graph, and is recorded in the file.
        weights: named arrays, as `Engine.weights` gives them.
        images: some images for the check, and
        belief: what the engine itself answers on them.
        report: the test report that the file carries.

    Raises:
        ModelError: ONNX Runtime's answers differ from the engine's by more than 1e-5.
    """
    content = _model(recipe, weights, report).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    probabilities, steps = session.run(["probabilities", "belief"], {"images": images})
    difference = max(
        float(np.abs(steps - belief).max(initial=0)),
        float(np.abs(probabilities - belief[:, -1]).max(initial=0)),
    )
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{path}: not written: its answers differ from the engine's by {difference:.2g}"
        )
    write_atomically(path, content)


def _model(recipe: Recipe, weights: Arrays, report: Mapping[str, Any]) -> onnx.ModelProto:
    graph = _Graph()
    sequence = _read(graph, recipe)
    network = _lstm if recipe.network == "lstm" else _mlp
    network(graph, sequence, recipe, weights)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"rowscan-{recipe.name}",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 28, 28])],
            [
                helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10]),
                helper.make_tensor_value_info("belief", TensorProto.FLOAT, ["n", "time", 10]),
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="rowscan",
        producer_version=rowscan.__version__,
    )
    helper.set_model_props(
        model,
        {
            "kind": "digit",
            "labels": json.dumps(LABELS),
            "recipe": msgspec.json.encode(recipe).decode(),
            "calibration": json.dumps({"method": "none"}),
            "report": json.dumps(report),
            "version": rowscan.__version__,
        },
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes and constants of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node and return the name of its first output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output


def _read(graph: _Graph, recipe: Recipe) -> str:
    """Images (n, 28, 28) uint8 to what the network sees: (time, n, feature) float32."""
    order = scan(recipe.scan)
    flat = graph.node(
        "Reshape", ["images", graph.constant("flat_shape", np.array([0, -1]))], "flat"
    )
    pixels = graph.node("Gather", [flat, graph.constant("scan", order.flatten())], "pixels", axis=1)
    x = graph.node("Cast", [pixels], "float", to=TensorProto.FLOAT)
    if recipe.pixels != "raw":
        x = graph.node("Div", [x, graph.constant("white", np.array([255], np.float32))], "unit")
    if recipe.pixels == "signed":
        half = graph.constant("half", np.array([0.5], np.float32))
        x = graph.node("Div", [graph.node("Sub", [x, half], "centred"), half], "signed")
    shape = graph.constant("sequence_shape", np.array([0, *order.shape]))
    sequence = graph.node("Reshape", [x, shape], "sequence")
    return graph.node("Transpose", [sequence], "time_first", perm=[1, 0, 2])


def _lstm(graph: _Graph, sequence: str, recipe: Recipe, weights: Arrays) -> None:
    x = sequence
    for layer in range(recipe.layers):
        w, u, b, d = (
            _onnx_gates(weights[f"lstm.{part}_l{layer}"])
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        output = graph.node(
            "LSTM",
            [
                x,
                graph.constant(f"w{layer}", w[None]),
                graph.constant(f"u{layer}", u[None]),
                graph.constant(f"b{layer}", np.concatenate([b, d])[None]),
            ],
            f"output{layer}",
            hidden_size=recipe.hidden,
        )
        one_direction = graph.constant(f"direction{layer}", np.array([1]))
        x = graph.node("Squeeze", [output, one_direction], f"h{layer}")
    batch_first = graph.node("Transpose", [x], "h_batch_first", perm=[1, 0, 2])
    weight = graph.constant("head_weight", weights["head.weight"].T)
    products = graph.node("MatMul", [batch_first, weight], "products")
    bias = graph.constant("head_bias", weights["head.bias"])
    logits = graph.node("Add", [products, bias], "logits")
    belief = graph.node("Softmax", [logits], "belief", axis=-1)
    last = graph.constant("last_step", np.array(-1))
    graph.node("Gather", [belief, last], "probabilities", axis=1)


def _mlp(graph: _Graph, sequence: str, recipe: Recipe, weights: Arrays) -> None:
    x = graph.node("Squeeze", [sequence, graph.constant("time_axis", np.array([0]))], "image")
    for layer in ("hidden", "head"):
        weight = graph.constant(f"{layer}_weight", weights[f"{layer}.weight"].T)
        bias = graph.constant(f"{layer}_bias", weights[f"{layer}.bias"])
        affine = graph.node("Gemm", [x, weight, bias], f"{layer}_affine")
        x = graph.node("Relu", [affine], f"{layer}_output")
    probabilities = graph.node("Softmax", [x], "probabilities", axis=-1)
    one_step = graph.constant("one_step", np.array([1]))
    graph.node("Unsqueeze", [probabilities, one_step], "belief")


def _onnx_gates(value: np.ndarray) -> np.ndarray:
    """Rows in the order input, forget, cell, output to ONNX's input, output, forget, cell."""
    i, f, g, o = np.split(value, 4)
    return np.concatenate([i, o, f, g])
