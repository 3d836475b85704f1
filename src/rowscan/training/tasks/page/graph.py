"""The ONNX graph of the page network: absorption (n, height, width, 3) uint8 to three answers.

Its steps have the numbers of `engines.segmenter`.
"""

import numpy as np
from onnx import TensorProto

from rowscan.recipes import PageRecipe
from rowscan.scans import DIRECTIONS, PATCH
from rowscan.training.engines.interface import Arrays
from rowscan.training.engines.segmenter import CLASSES, GEOMETRY, PARTS
from rowscan.training.graph import Graph

_TO_GRID, _TO_PAGES = (
    [1, 2, 0, 3],
    [2, 0, 1, 3],
)  # (n, rows, columns, width) and (rows, columns, n, …)


def page_graph(recipe: PageRecipe, weights: Arrays) -> Graph:
    """The graph of a trained network.

    Args:
        recipe: what was trained.
        weights: by name, as the engine gives them.
    """
    graph = Graph(["n", "height", "width", 3])
    x = graph.node("Cast", ["images"], "float", to=TensorProto.FLOAT)
    x = graph.node("Div", [x, graph.constant("white", np.array([255], np.float32))], "pages")
    patches = _gathered(graph, x, PATCH, 3, "patches")
    grid = graph.node("Transpose", [patches], "grid", perm=_TO_GRID)
    x = graph.sweep_layer(
        graph.affine(grid, weights, "embed"), weights, "before", DIRECTIONS
    )  # (2)
    fine = recipe.fine
    by_page = graph.node("Transpose", [x], "before.pages", perm=_TO_PAGES)
    c = graph.affine(_gathered(graph, by_page, 2, fine, "gathered"), weights, "down")  # (3)
    c = graph.node("Transpose", [c], "coarse", perm=_TO_GRID)
    for layer in range(recipe.layers):
        c = graph.sweep_layer(c, weights, f"layers.{layer}", DIRECTIONS)
    c = graph.node("Transpose", [graph.affine(c, weights, "up")], "up.pages", perm=_TO_PAGES)
    c = _spread(graph, c, 2, fine, "spread")
    c = graph.node("Transpose", [c], "spread.grid", perm=_TO_GRID)
    x = graph.node("Add", [x, c], "both")  # (4)
    x = graph.sweep_layer(x, weights, "after", DIRECTIONS)
    x = graph.node("Concat", [graph.normalised(x, weights, "norm"), grid], "known", axis=-1)  # (5)
    m = graph.affine(x, weights, "mix")
    m = graph.node("Mul", [m, graph.node("Sigmoid", [m], "mix.open")], "mix.silu")
    y = graph.node("Transpose", [graph.affine(m, weights, "head")], "answers", perm=_TO_PAGES)
    sides = np.array([CLASSES * PATCH * PATCH, PARTS * PARTS, GEOMETRY])
    pixels, bands, _ = graph.nodes_of(
        "Split", [y, graph.constant("sides", sides)], ["y.pixels", "y.bands", "geometry"], axis=-1
    )
    logits = _spread(graph, pixels, PATCH, CLASSES, "logits")
    graph.node("Softmax", [logits], "probabilities", axis=-1)
    band = _spread(graph, bands, PARTS, 1, "band")
    band = graph.node("Squeeze", [band, graph.constant("last", np.array([3]))], "band.flat")
    graph.node("Sigmoid", [band], "bands")
    graph.outputs = {
        "probabilities": ["n", "height", "width", CLASSES],
        "bands": ["n", "rows2", "columns2"],
        "geometry": ["n", "rows4", "columns4", GEOMETRY],
    }
    return graph


def _gathered(graph: Graph, x: str, side: int, width: int, name: str) -> str:
    """`segmenter.gathered`, for sides of any length: first along the rows, then the columns."""
    x = graph.reshaped(x, [0, 0, -1, side * width], f"{name}.across")
    x = graph.node("Transpose", [x], f"{name}.turned", perm=[0, 2, 1, 3])
    x = graph.reshaped(x, [0, 0, -1, side * side * width], f"{name}.down")
    return graph.node("Transpose", [x], name, perm=[0, 2, 1, 3])


def _spread(graph: Graph, x: str, side: int, width: int, name: str) -> str:
    """`segmenter.spread`, the same steps backwards."""
    x = graph.node("Transpose", [x], f"{name}.turned", perm=[0, 2, 1, 3])
    x = graph.reshaped(x, [0, 0, -1, side * width], f"{name}.down")
    x = graph.node("Transpose", [x], f"{name}.back", perm=[0, 2, 1, 3])
    return graph.reshaped(x, [0, 0, -1, width], name)
