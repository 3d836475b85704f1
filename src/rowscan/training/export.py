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
from jaxtyping import Float32, UInt8
from onnx import TensorProto, helper, numpy_helper

import rowscan
from rowscan.errors import ModelError
from rowscan.files import write_atomically
from rowscan.recipes import Recipe
from rowscan.scans import DIRECTIONS, scan
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
    calibration: Mapping[str, Any],
    report: Mapping[str, Any],
) -> None:
    """Write the model file of a digit model.

    Args:
        path: where the file goes.
        recipe: what was trained; decides the graph, and is recorded in the file.
        weights: named arrays, as `Engine.weights` gives them.
        images: some images for the check, and
        belief: what the engine itself answers on them.
        calibration: how the probabilities were calibrated, and
        report: the test report, which the file carries.

    Raises:
        ModelError: ONNX Runtime's answers differ from the engine's by more than 1e-5.
    """
    content = _model(recipe, weights, calibration, report).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    wanted = {"probabilities": belief[:, -1], "belief": belief}
    names = [output.name for output in session.get_outputs()]
    answers = session.run(names, {"images": images})
    difference = max(
        float(np.abs(answer - wanted[name]).max(initial=0))
        for name, answer in zip(names, answers, strict=True)
    )
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{path}: not written: its answers differ from the engine's by {difference:.2g}"
        )
    write_atomically(path, content)


def _model(
    recipe: Recipe, weights: Arrays, calibration: Mapping[str, Any], report: Mapping[str, Any]
) -> onnx.ModelProto:
    graph = _Graph()
    sequence = _read(graph, recipe)
    outputs = {"lstm": _lstm, "mlp": _mlp, "sweep": _sweep}[recipe.network](
        graph, sequence, recipe, weights
    )
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"rowscan-{recipe.name}",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 28, 28])],
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
            "kind": "digit",
            "labels": json.dumps(LABELS),
            "recipe": msgspec.json.encode(recipe).decode(),
            "calibration": json.dumps(calibration),
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

    def nodes_of(
        self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any
    ) -> list[str]:
        """Append a node of several outputs and return their names."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, outputs[0], **attributes))
        return outputs


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


Outputs = dict[str, list[str | int]]
"""What a graph gives: names and shapes."""

_EACH_STEP: Outputs = {"probabilities": ["n", 10], "belief": ["n", "time", 10]}


def _lstm(graph: _Graph, sequence: str, recipe: Recipe, weights: Arrays) -> Outputs:
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
    belief = _answers(graph, logits, recipe, "belief")
    last = graph.constant("last_step", np.array(-1))
    graph.node("Gather", [belief, last], "probabilities", axis=1)
    return _EACH_STEP


def _mlp(graph: _Graph, sequence: str, recipe: Recipe, weights: Arrays) -> Outputs:
    x = graph.node("Squeeze", [sequence, graph.constant("time_axis", np.array([0]))], "image")
    for layer in ("hidden", "head"):
        weight = graph.constant(f"{layer}_weight", weights[f"{layer}.weight"].T)
        bias = graph.constant(f"{layer}_bias", weights[f"{layer}.bias"])
        affine = graph.node("Gemm", [x, weight, bias], f"{layer}_affine")
        x = graph.node("Relu", [affine], f"{layer}_output")
    probabilities = _answers(graph, x, recipe, "probabilities")
    one_step = graph.constant("one_step", np.array([1]))
    graph.node("Unsqueeze", [probabilities, one_step], "belief")
    return _EACH_STEP


def _sweep(graph: _Graph, sequence: str, recipe: Recipe, weights: Arrays) -> Outputs:
    """The same computation as `training.sweep`, its recurrence written out step by step.

    Patches lie as rows (patch x n) of matrices, so that each affine map is one product for all.
    """
    side, width = math.isqrt(len(scan(recipe.scan))), recipe.hidden
    grid = graph.constant("grid", np.array([side, side, -1, width]))
    pixels = scan(recipe.scan).shape[1]
    patches = graph.node(
        "Reshape", [sequence, graph.constant("patch_rows", np.array([-1, pixels]))], "patches"
    )
    rows = graph.constant("rows", np.array([-1, width]))
    joined = graph.constant("joined", np.array([-1, len(DIRECTIONS) * width]))
    x = graph.node("Reshape", [_affine(graph, patches, weights, "embed"), grid], "embedded")
    place = graph.constant("place", weights["place"][:, :, None])
    x = graph.node("Reshape", [graph.node("Add", [x, place], "placed"), rows], "x")
    for layer in range(recipe.layers):
        name = f"layers.{layer}"
        u = _normalised(graph, x, weights, f"{name}.norm")
        h = []
        for way, direction in enumerate(DIRECTIONS):
            z = _affine(graph, u, weights, f"{name}.z.{way}")
            v = _affine(graph, u, weights, f"{name}.v.{way}")
            h.append(
                _recurrence(graph, (z, v), direction, side=side, grid=grid, name=f"{name}.h.{way}")
            )
        all_four = graph.node(
            "Reshape", [graph.node("Concat", h, f"{name}.h", axis=3), joined], f"{name}.h_rows"
        )
        gate = _affine(graph, u, weights, f"{name}.gate")
        opened = graph.node("Sigmoid", [gate], f"{name}.opened")
        silu = graph.node("Mul", [gate, opened], f"{name}.silu")
        gated = graph.node("Mul", [all_four, silu], f"{name}.gated")
        change = _affine(graph, gated, weights, f"{name}.out")
        x = graph.node("Add", [x, change], f"{name}.x")
    by_place = graph.constant("by_place", np.array([side * side, -1, width]))
    x = graph.node("Reshape", [_normalised(graph, x, weights, "norm"), by_place], "read")
    x = graph.node("Transpose", [x], "by_image", perm=[1, 0, 2])
    whole = graph.constant("whole", np.array([-1, side * side * width]))
    logits = _affine(graph, graph.node("Reshape", [x, whole], "whole_image"), weights, "head")
    _answers(graph, logits, recipe, "probabilities")
    return {"probabilities": ["n", 10]}


def _recurrence(
    graph: _Graph,
    gates: tuple[str, str],
    direction: tuple[int, bool],
    *,
    side: int,
    grid: str,
    name: str,
) -> str:
    """h[t] = (1 - z[t]) h[t-1] + z[t] v[t] over one axis of the grid.

    `gates` names z, still without its sigmoid, and v.
    """
    axis, backwards = direction
    z, v = (
        graph.node("Reshape", [gate, grid], f"{name}.{part}")
        for gate, part in zip(gates, ("z", "v"), strict=True)
    )
    taken = graph.node("Sigmoid", [z], f"{name}.taken")
    kept = graph.node("Sigmoid", [graph.node("Neg", [z], f"{name}.minus_z")], f"{name}.kept")
    offered = graph.node("Mul", [taken, v], f"{name}.offered")
    order = range(side - 1, -1, -1) if backwards else range(side)
    keep = graph.nodes_of("Split", [kept], [f"{name}.kept.{t}" for t in range(side)], axis=axis)
    offer = graph.nodes_of("Split", [offered], [f"{name}.off.{t}" for t in range(side)], axis=axis)
    h: dict[int, str] = {}
    before = None
    for t in order:
        if before is None:
            h[t] = offer[t]
        else:
            old = graph.node("Mul", [keep[t], h[before]], f"{name}.old.{t}")
            h[t] = graph.node("Add", [old, offer[t]], f"{name}.{t}")
        before = t
    return graph.node("Concat", [h[t] for t in range(side)], name, axis=axis)


def _affine(graph: _Graph, x: str, weights: Arrays, name: str) -> str:
    """The product of the rows of x with a matrix, and a bias added."""
    weight = graph.constant(f"{name}.weight", weights[f"{name}.weight"].T.copy())
    bias = graph.constant(f"{name}.bias", weights[f"{name}.bias"])
    return graph.node("Gemm", [x, weight, bias], f"{name}.affine")


def _normalised(graph: _Graph, x: str, weights: Arrays, name: str) -> str:
    scale = graph.constant(f"{name}.weight", weights[f"{name}.weight"])
    bias = graph.constant(f"{name}.bias", weights[f"{name}.bias"])
    return graph.node("LayerNormalization", [x, scale, bias], f"{name}.normalised", epsilon=1e-5)


def _answers(graph: _Graph, logits: str, recipe: Recipe, output: str) -> str:
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
