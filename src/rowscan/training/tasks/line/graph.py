"""The ONNX graph of the line network: uint8 (n, 32, width) to probabilities (n, time, classes)."""

import math

import numpy as np
from onnx import TensorProto

from rowscan.recipes import LineRecipe
from rowscan.scans import ALONG, DIRECTIONS, STEPS_PER_PATCH
from rowscan.training.engines.interface import Arrays
from rowscan.training.graph import Graph


def line_graph(recipe: LineRecipe, weights: Arrays) -> Graph:
    """The graph of a trained network.

    Args:
        recipe: what was trained.
        weights: by name, as the engine gives them.
    """
    rows, width = len(weights["place"]), recipe.hidden
    patch = math.isqrt(weights["embed.weight"].shape[1])
    classes = len(weights["head.bias"]) // STEPS_PER_PATCH
    graph = Graph(["n", rows * patch, "width"])
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
    logits = graph.reshaped(graph.affine(x, weights, "head"), [0, 0, -1, classes], "logits")
    by_line = graph.node("Transpose", [logits], "by_line", perm=[1, 0, 2, 3])
    steps = graph.reshaped(by_line, [0, -1, classes], "steps")
    graph.node("Softmax", [steps], "probabilities", axis=-1)
    graph.outputs = {"probabilities": ["n", "time", classes]}
    return graph
