"""The model file: a graph and what is recorded with it, written once it has been verified.

A file is only written when ONNX Runtime gives the engine's own answers on it. The graphs themselves
are in `training.tasks`, the same for every engine.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import safetensors.numpy
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

import rowscan
from rowscan.arrays import Float32, UInt8
from rowscan.errors import ModelError
from rowscan.io.atomic import write_atomically
from rowscan.recipes import Recipe
from rowscan.recognition.model import load_content
from rowscan.training.engines.interface import Arrays
from rowscan.training.graph import Graph, weights_of

SHIPPED = "shipped"
"""As `start` of a recipe: the model of its kind that ships with Rowscan."""

LABELS = [str(digit) for digit in range(10)]
TOLERANCE = 1e-5
_OPSET, _IR_VERSION = 17, 8  # read by every ONNX Runtime since 1.12


def export(
    path: Path,
    recipe: Recipe,
    graph: Graph,
    *,
    kind: str,
    images: UInt8[np.ndarray, "n height width *channels"],
    answers: Mapping[str, Float32[np.ndarray, "..."]],
    calibration: Mapping[str, Any],
    report: Mapping[str, Any],
    alphabet: str | None = None,
    labels: Sequence[str] = LABELS,
    tolerance: float = TOLERANCE,
) -> None:
    """Write the model file of a trained network.

    Args:
        path: where the file goes.
        recipe: what was trained; recorded in the file.
        graph: the network with its weights.
        kind: `digit`, `line` or `page`.
        images: some images for the check, and
        answers: the engine's own answers to them, by the names of the graph's outputs.
        calibration: how the probabilities were calibrated, and
        report: the test report, both recorded in the file.
        alphabet: of a line model: character i is its class i + 1.
        labels: what the probabilities stand for.
        tolerance: how far the answers may differ.

    Raises:
        ModelError: ONNX Runtime's answers differ from the engine's by more.
        OutputError: the file cannot be written.
    """
    content = _model(
        recipe, graph, kind, calibration, report, alphabet=alphabet, labels=labels
    ).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {"images": images})
    difference = max(
        float(np.abs(answer - answers[name]).max(initial=0))
        for name, answer in zip(names, found, strict=True)
    )
    if not difference <= tolerance:
        raise ModelError(
            path, f"not written: its answers differ from the engine's by {difference:.2g}"
        )
    write_atomically(path, content)


def named(start: str) -> str | None:
    """A recipe's `start` as `Reader` takes it: None is the model that ships."""
    return None if start in ("", SHIPPED) else start


def read_weights(
    start: str, kind: str, wanted: Arrays, adapt: Callable[[Arrays], Arrays] = lambda found: found
) -> dict[str, np.ndarray]:
    """The weights of a model file or run, to start a training from.

    Args:
        start: a recipe's.
        kind: `digit` or `line`: which model `shipped` is.
        wanted: the weights of the network that is to have them, for names and shapes.
        adapt: changes the weights that were found, before they are compared with `wanted`.

    Raises:
        ModelError: no such file, not a model file, or a network of another kind or size.
    """
    name, content = load_content(named(start), kind)
    found: Arrays
    if (weights := Path(start) / "weights.safetensors").is_file():
        found = safetensors.numpy.load_file(weights)
    else:
        try:
            found = weights_of(onnx.load_model_from_string(content), wanted)
        except DecodeError:
            raise ModelError(name, "not a model file, or a damaged one") from None
    found = adapt(found)
    for key, value in wanted.items():
        if key not in found:
            raise ModelError(name, f"not a model of the recipe's network: it has no {key!r}")
        if found[key].shape != value.shape:
            raise ModelError(
                name, f"weights {key!r}: expected {value.shape}, got {found[key].shape}"
            )
    return {key: found[key] for key in wanted}


def _model(
    recipe: Recipe,
    graph: Graph,
    kind: str,
    calibration: Mapping[str, Any],
    report: Mapping[str, Any],
    *,
    alphabet: str | None,
    labels: Sequence[str],
) -> onnx.ModelProto:
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"rowscan-{recipe.name}",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, graph.inputs)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in graph.outputs.items()
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
            "kind": kind,
            "labels": json.dumps(list(labels)),
            "recipe": msgspec.json.encode(recipe).decode(),
            "calibration": json.dumps(calibration),
            "report": json.dumps(report),
            "version": rowscan.__version__,
        }
        | ({} if alphabet is None else {"alphabet": alphabet}),
    )
    onnx.checker.check_model(model, full_check=True)
    return model
