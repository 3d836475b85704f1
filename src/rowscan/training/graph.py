"""Pieces of an ONNX graph: affine maps, normalisation, and the layers of a sweep network.

The same computations as in `training.sweep`, written node by node, so that a model file needs
operators that every ONNX Runtime has, and no framework's export.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rowscan.scans import Directions
from rowscan.training.engine import Arrays


class Graph:
    """Nodes and constants of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        """Keep an array in the graph, under a name that no other has."""
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node and return the name of its first output."""
        return self.nodes_of(operator, inputs, [output], **attributes)[0]

    def nodes_of(
        self, operator: str, inputs: Sequence[str], outputs: list[str], **attributes: Any
    ) -> list[str]:
        """Append a node of several outputs and return their names."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, outputs[0], **attributes))
        return outputs

    def reshaped(self, x: str, shape: Sequence[int], output: str) -> str:
        """The same values in another shape; 0 keeps a side, -1 is what is left."""
        return self.node("Reshape", [x, self.constant(f"{output}.shape", np.array(shape))], output)

    def affine(self, x: str, weights: Arrays, name: str) -> str:
        """The last side of x times a matrix, and a bias added."""
        weight = self.constant(f"{name}.weight", weights[f"{name}.weight"].T.copy())
        bias = self.constant(f"{name}.bias", weights[f"{name}.bias"])
        product = self.node("MatMul", [x, weight], f"{name}.product")
        return self.node("Add", [product, bias], f"{name}.affine")

    def normalised(self, x: str, weights: Arrays, name: str) -> str:
        """The last side of x normalised (Ba, Kiros, Hinton: "Layer Normalization", 2016)."""
        scale = self.constant(f"{name}.weight", weights[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", weights[f"{name}.bias"])
        return self.node("LayerNormalization", [x, scale, bias], f"{name}.normalised", epsilon=1e-5)

    def sweep_layer(
        self,
        x: str,
        weights: Arrays,
        name: str,
        *,
        directions: Directions,
        sides: tuple[int | None, int | None],
    ) -> str:
        """`training.sweep.SweepLayer` on a grid (rows, columns, n, width).

        Args:
            x: the grid.
            weights: where the layer's are found, under
            name: its name.
            directions: of its sweeps.
            sides: rows and columns of the grid; None where a graph is to take any number.
        """
        u = self.normalised(x, weights, f"{name}.norm")
        h = []
        for way, (axis, backwards) in enumerate(directions):
            z = self.affine(u, weights, f"{name}.z.{way}")
            v = self.affine(u, weights, f"{name}.v.{way}")
            taken = self.node("Sigmoid", [z], f"{z}.taken")
            kept = self.node("Sigmoid", [self.node("Neg", [z], f"{z}.minus")], f"{z}.kept")
            offered = self.node("Mul", [taken, v], f"{v}.offered")
            if (side := sides[axis]) is not None:
                h.append(self._step_by_step(kept, offered, axis, side, backwards=backwards))
            else:
                h.append(self._by_doubling(kept, offered, axis, backwards=backwards))
        memories = self.node("Concat", h, f"{name}.h", axis=3)
        gate = self.affine(u, weights, f"{name}.gate")
        opened = self.node("Sigmoid", [gate], f"{gate}.open")
        silu = self.node("Mul", [gate, opened], f"{gate}.silu")
        gated = self.node("Mul", [memories, silu], f"{name}.gated")
        return self.node("Add", [x, self.affine(gated, weights, f"{name}.out")], f"{name}.x")

    def _step_by_step(
        self, kept: str, offered: str, axis: int, side: int, *, backwards: bool
    ) -> str:
        """h[t] = kept[t] h[t-1] + offered[t], each step two nodes."""
        keep, offer = (
            self.nodes_of("Split", [x], [f"{x}.{t}" for t in range(side)], axis=axis)
            for x in (kept, offered)
        )
        h = list(offer)
        order = range(side - 1, -1, -1) if backwards else range(side)
        for before, t in itertools.pairwise(order):
            old = self.node("Mul", [keep[t], h[before]], f"{keep[t]}.old")
            h[t] = self.node("Add", [old, offer[t]], f"{offer[t]}.h")
        return self.node("Concat", h, f"{offered}.h", axis=axis)

    def _by_doubling(self, kept: str, offered: str, axis: int, *, backwards: bool) -> str:
        """The same for any number of steps up to 1,024, all at once.

        Two steps of a linear recurrence are one of the same kind, with the product of what is kept.
        So each round doubles how far back h[t] knows, and ten are enough (Hillis and Steele, "Data
        Parallel Algorithms", 1986).
        """
        h, keep = offered, kept
        for distance in (2**i for i in range(10)):
            name = f"{offered}.{distance}"
            old = self.node("Mul", [keep, self._moved(h, axis, distance, backwards)], f"{name}.old")
            h = self.node("Add", [h, old], f"{name}.h")
            if distance < 2**9:
                far = self._moved(keep, axis, distance, backwards)
                keep = self.node("Mul", [keep, far], f"{name}.keep")
        return h

    def _moved(self, x: str, axis: int, distance: int, backwards: bool) -> str:
        """x, `distance` steps later, or earlier if backwards; zeros come in."""
        pads = np.zeros(8, np.int64)
        pads[axis + 4 * backwards] = distance
        padded = self.node("Pad", [x, self.constant(f"{x}.pads", pads)], f"{x}.padded")
        start, end = (distance, 2**31) if backwards else (0, -distance)
        ends = [
            self.constant(f"{x}.{what}", np.array([value]))
            for what, value in (("start", start), ("end", end), ("axis", axis))
        ]
        return self.node("Slice", [padded, *ends], f"{x}.moved")
