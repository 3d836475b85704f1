"""From weights to the model file: an ONNX graph written node by node, the same for every engine.

The graph takes raw uint8 images; scaling and reading order are inside it. A file is only written
when ONNX Runtime gives the engine's own answers on it.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import safetensors.numpy
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

import rowscan
from rowscan.arrays import Float32, UInt8
from rowscan.errors import ModelError
from rowscan.io.atomic import write_atomically
from rowscan.recipes import Recipe
from rowscan.recognition.ctc import CLASSES
from rowscan.recognition.model import load_content
from rowscan.scans import ALONG, DIRECTIONS, SIDE, scan
from rowscan.training.engines.interface import Arrays
from rowscan.training.graph import Graph

SHIPPED = "shipped"
"""As `start` of a recipe: the model that ships with Rowscan."""

LABELS = [str(digit) for digit in range(10)]
TOLERANCE = 1e-5
_OPSET, _IR_VERSION = 17, 8  # read by every ONNX Runtime since 1.12


def export(
    path: Path,
    recipe: Recipe,
    weights: Arrays,
    *,
    images: UInt8[np.ndarray, "n height width"],
    answers: Mapping[str, Float32[np.ndarray, "..."]],
    calibration: Mapping[str, Any],
    report: Mapping[str, Any],
) -> None:
    """Write the model file of a trained network.

    Args:
        path: where the file goes.
        recipe: what was trained; decides the graph, and is recorded in the file.
        weights: named arrays, as `Engine.weights` gives them.
        images: some images for the check, and
        answers: what the engine itself answers on them, by the names of the graph's outputs.
        calibration: how the probabilities were calibrated, and
        report: the test report, which the file carries.

    Raises:
        ModelError: ONNX Runtime's answers differ from the engine's by more than 1e-5.
    """
    content = _model(recipe, weights, calibration, report).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {"images": images})
    difference = max(
        float(np.abs(answer - answers[name]).max(initial=0))
        for name, answer in zip(names, found, strict=True)
    )
    if not difference <= TOLERANCE:
        raise ModelError(
            path, f"not written: its answers differ from the engine's by {difference:.2g}"
        )
    write_atomically(path, content)


def named(start: str) -> str | None:
    """A recipe's `start` as `Reader` and `open_model` take it: None is what ships."""
    return None if start in ("", SHIPPED) else start


def read_weights(start: str, wanted: Arrays) -> dict[str, np.ndarray]:
    """The weights of a model file or run, to go on training with.

    Args:
        start: a recipe's.
        wanted: the weights of the network that is to have them, for names and shapes.

    Raises:
        ModelError: no such file, no model file of such a network, or one of another size.
    """
    name, content = load_content(named(start), "line")
    if (weights := Path(start) / "weights.safetensors").is_file():
        found = safetensors.numpy.load_file(weights)
    else:
        try:
            graph = onnx.load_model_from_string(content).graph
        except DecodeError:
            raise ModelError(name, "not a model file, or a damaged one") from None
        constants = {node.name: numpy_helper.to_array(node) for node in graph.initializer}
        # An affine map lies transposed in the graph; see `Graph.affine`.
        found = {
            key: np.ascontiguousarray(constants[key].T if value.ndim == 2 else constants[key])
            for key, value in wanted.items()
            if key in constants
        }
    if wrong := sorted(k for k, v in wanted.items() if k not in found or found[k].shape != v.shape):
        raise ModelError(name, f"its network is another than the recipe's: {wrong[0]} differs")
    return {key: found[key] for key in wanted}


def _model(
    recipe: Recipe, weights: Arrays, calibration: Mapping[str, Any], report: Mapping[str, Any]
) -> onnx.ModelProto:
    graph = Graph()
    network = {"lstm": _lstm, "mlp": _mlp, "sweep": _sweep, "line": _line}[recipe.network]
    inputs, outputs = network(graph, recipe, weights)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"rowscan-{recipe.name}",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, inputs)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in outputs.items()
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
            "kind": "line" if recipe.network == "line" else "digit",
            "labels": json.dumps(LABELS),
            "recipe": msgspec.json.encode(recipe).decode(),
            "calibration": json.dumps(calibration),
            "report": json.dumps(report),
            "version": rowscan.__version__,
        },
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _read(graph: Graph, recipe: Recipe) -> str:
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


Shape = list[str | int]
Interface = tuple[Shape, dict[str, Shape]]
"""Shape of the images that a graph takes; names and shapes of what it gives."""

_IMAGES: Shape = ["n", SIDE, SIDE]
_EACH_STEP: Interface = _IMAGES, {"probabilities": ["n", 10], "belief": ["n", "time", 10]}


def _lstm(graph: Graph, recipe: Recipe, weights: Arrays) -> Interface:
    x = _read(graph, recipe)
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
    belief = _answers(graph, logits, recipe, "belief")
    last = graph.constant("last_step", np.array(-1))
    graph.node("Gather", [belief, last], "probabilities", axis=1)
    return _EACH_STEP


def _mlp(graph: Graph, recipe: Recipe, weights: Arrays) -> Interface:
    x = graph.node(
        "Squeeze", [_read(graph, recipe), graph.constant("time_axis", np.array([0]))], "image"
    )
    for layer in ("hidden", "head"):
        weight = graph.constant(f"{layer}_weight", weights[f"{layer}.weight"].T)
        bias = graph.constant(f"{layer}_bias", weights[f"{layer}.bias"])
        affine = graph.node("Gemm", [x, weight, bias], f"{layer}_affine")
        x = graph.node("Relu", [affine], f"{layer}_output")
    probabilities = _answers(graph, x, recipe, "probabilities")
    one_step = graph.constant("one_step", np.array([1]))
    graph.node("Unsqueeze", [probabilities, one_step], "belief")
    return _EACH_STEP


def _sweep(graph: Graph, recipe: Recipe, weights: Arrays) -> Interface:
    side, width = math.isqrt(len(scan(recipe.scan))), recipe.hidden
    x = graph.reshaped(
        _read(graph, recipe), [side, side, -1, scan(recipe.scan).shape[1]], "patches"
    )
    place = graph.constant("place", weights["place"][:, :, None])
    x = graph.node("Add", [graph.affine(x, weights, "embed"), place], "x")
    for layer in range(recipe.layers):
        x = graph.sweep_layer(x, weights, f"layers.{layer}", DIRECTIONS)
    x = graph.node("Transpose", [graph.normalised(x, weights, "norm")], "known", perm=[2, 0, 1, 3])
    whole = graph.reshaped(x, [0, side * side * width], "whole_image")
    _answers(graph, graph.affine(whole, weights, "head"), recipe, "probabilities")
    return _IMAGES, {"probabilities": ["n", 10]}


def _line(graph: Graph, recipe: Recipe, weights: Arrays) -> Interface:
    rows, width = len(weights["place"]), recipe.hidden
    patch = math.isqrt(weights["embed.weight"].shape[1])
    x = graph.node("Cast", ["images"], "float", to=TensorProto.FLOAT)
    x = graph.node("Div", [x, graph.constant("white", np.array([255], np.float32))], "ink")
    x = graph.reshaped(x, [0, rows, patch, -1, patch], "cut")
    x = graph.node("Transpose", [x], "by_patch", perm=[1, 3, 0, 2, 4])
    x = graph.reshaped(x, [0, 0, 0, patch * patch], "patches")
    place = graph.constant("place", weights["place"])
    x = graph.node("Add", [graph.affine(x, weights, "embed"), place], "x")
    for layer in range(recipe.layers):
        x = graph.sweep_layer(x, weights, f"layers.{layer}", DIRECTIONS)
    x = graph.node("Transpose", [graph.normalised(x, weights, "norm")], "known", perm=[1, 2, 0, 3])
    x = graph.affine(graph.reshaped(x, [0, 0, rows * width], "columns"), weights, "join")
    one_row = graph.constant("one_row", np.array([0]))
    x = graph.node("Unsqueeze", [x, one_row], "row")
    x = graph.sweep_layer(x, weights, "along", ALONG)
    x = graph.node("Squeeze", [graph.normalised(x, weights, "last_norm"), one_row], "line")
    logits = graph.reshaped(graph.affine(x, weights, "head"), [0, 0, -1, CLASSES], "logits")
    by_line = graph.node("Transpose", [logits], "by_line", perm=[1, 0, 2, 3])
    steps = graph.reshaped(by_line, [0, -1, CLASSES], "steps")
    graph.node("Softmax", [steps], "probabilities", axis=-1)
    return ["n", rows * patch, "width"], {"probabilities": ["n", "time", CLASSES]}


def _answers(graph: Graph, logits: str, recipe: Recipe, output: str) -> str:
    """Probabilities of the ten digits; that of no digit, if there is one, shared out among them."""
    if not recipe.no_digits:
        return graph.node("Softmax", [logits], output, axis=-1)
    all_answers = graph.node("Softmax", [logits], "all_answers", axis=-1)
    parts = graph.constant("ten_and_one", np.array([10, 1]))
    digits, none = graph.nodes_of("Split", [all_answers, parts], ["digits", "none"], axis=-1)
    ten = graph.constant("ten", np.array([10], np.float32))
    return graph.node("Add", [digits, graph.node("Div", [none, ten], "share")], output)


def _onnx_gates(value: np.ndarray) -> np.ndarray:
    """Rows in the order input, forget, cell, output to ONNX's input, output, forget, cell."""
    i, f, g, o = np.split(value, 4)
    return np.concatenate([i, o, f, g])
