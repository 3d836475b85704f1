"""The ONNX graphs of the networks that read single digits: LSTM, MLP and sweep.

Each takes images (n, 28, 28) uint8 and gives `probabilities` (n, 10); a network that reads step by
step also gives `belief` (n, time, 10). Scaling and reading order are inside the graph.
"""

import math

import numpy as np
from onnx import TensorProto

from rowscan.recipes import DigitRecipe, LSTMRecipe, MLPRecipe, SweepRecipe
from rowscan.scans import DIRECTIONS, SIDE, scan
from rowscan.training.engines.interface import Arrays
from rowscan.training.graph import Graph, Shape

_IMAGES: Shape = ["n", SIDE, SIDE]
_PROBABILITIES: dict[str, Shape] = {"probabilities": ["n", 10]}
_BELIEF: dict[str, Shape] = {"belief": ["n", "time", 10]}


def digit_graph(recipe: DigitRecipe, weights: Arrays) -> Graph:
    """The graph of a trained network.

    Args:
        recipe: what was trained.
        weights: by name, as `DigitEngine.weights` gives them.
    """
    graph = Graph(_IMAGES)
    if isinstance(recipe, LSTMRecipe):
        _lstm(graph, recipe, weights)
    elif isinstance(recipe, MLPRecipe):
        _mlp(graph, recipe, weights)
    elif isinstance(recipe, SweepRecipe):
        _sweep(graph, recipe, weights)
    return graph


def _lstm(graph: Graph, recipe: LSTMRecipe, weights: Arrays) -> None:
    x = _sequence(graph, recipe)
    for layer in range(recipe.layers):
        x = graph.lstm_layer(x, weights, layer, recipe.hidden)
    batch_first = graph.node("Transpose", [x], "h_batch_first", perm=[1, 0, 2])
    logits = graph.affine(batch_first, weights, "head")
    belief = _probabilities(graph, logits, recipe, "belief")
    last = graph.constant("last_step", np.array(-1))
    graph.node("Gather", [belief, last], "probabilities", axis=1)
    graph.outputs = _PROBABILITIES | _BELIEF


def _mlp(graph: Graph, recipe: MLPRecipe, weights: Arrays) -> None:
    one_step = graph.constant("time_axis", np.array([0]))
    x = graph.node("Squeeze", [_sequence(graph, recipe), one_step], "image")
    for layer in ("hidden", "head"):
        x = graph.node("Relu", [graph.affine(x, weights, layer)], f"{layer}_output")
    probabilities = _probabilities(graph, x, recipe, "probabilities")
    graph.node("Unsqueeze", [probabilities, graph.constant("one_step", np.array([1]))], "belief")
    graph.outputs = _PROBABILITIES | _BELIEF


def _sweep(graph: Graph, recipe: SweepRecipe, weights: Arrays) -> None:
    side, width = math.isqrt(len(scan(recipe.scan))), recipe.hidden
    x = graph.reshaped(
        _sequence(graph, recipe), [side, side, -1, scan(recipe.scan).shape[1]], "patches"
    )
    place = graph.constant("place", weights["place"][:, :, None])
    x = graph.node("Add", [graph.affine(x, weights, "embed"), place], "x")
    for layer in range(recipe.layers):
        x = graph.sweep_layer(x, weights, f"layers.{layer}", DIRECTIONS)
    x = graph.node("Transpose", [graph.normalised(x, weights, "norm")], "known", perm=[2, 0, 1, 3])
    whole = graph.reshaped(x, [0, side * side * width], "whole_image")
    _probabilities(graph, graph.affine(whole, weights, "head"), recipe, "probabilities")
    graph.outputs = _PROBABILITIES


def _sequence(graph: Graph, recipe: DigitRecipe) -> str:
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


def _probabilities(graph: Graph, logits: str, recipe: DigitRecipe, output: str) -> str:
    """Probabilities of the ten digits; that of "no digit", if there is one, shared among them."""
    if not recipe.negatives:
        return graph.node("Softmax", [logits], output, axis=-1)
    all_classes = graph.node("Softmax", [logits], "all_classes", axis=-1)
    parts = graph.constant("ten_and_one", np.array([10, 1]))
    pair = ["digits", "negative"]
    digits, negative = graph.nodes_of("Split", [all_classes, parts], pair, axis=-1)
    ten = graph.constant("ten", np.array([10], np.float32))
    return graph.node("Add", [digits, graph.node("Div", [negative, ten], "share")], output)
