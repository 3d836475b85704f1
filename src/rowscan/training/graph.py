"""Pieces of an ONNX graph: affine maps, normalisation, and the layers of a sweep network.

The same computations as in `training.sweep`, written node by node, so that a model file needs
operators that every ONNX Runtime has, and no framework's export.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rowscan.scans import Directions
from rowscan.training.engines.interface import Arrays


class Sweep(NamedTuple):
    """A recurrence along an axis of a grid: names of what it keeps and is offered at each step."""

    kept: str
    offered: str
    axis: int
    backwards: bool


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

    def sweep_layer(self, x: str, weights: Arrays, name: str, directions: Directions) -> str:
        """`training.sweep.SweepLayer` on a grid (rows, columns, n, width).

        Args:
            x: the grid.
            weights: where the layer's are found, under
            name: its name.
            directions: of its sweeps.
        """
        u = self.normalised(x, weights, f"{name}.norm")
        sweeps = []
        for way, (axis, backwards) in enumerate(directions):
            z = self.affine(u, weights, f"{name}.z.{way}")
            v = self.affine(u, weights, f"{name}.v.{way}")
            taken = self.node("Sigmoid", [z], f"{z}.taken")
            kept = self.node("Sigmoid", [self.node("Neg", [z], f"{z}.minus")], f"{z}.kept")
            offered = self.node("Mul", [taken, v], f"{v}.offered")
            sweeps.append(Sweep(kept, offered, axis, backwards))
        h = [
            memory
            for axis, group in itertools.groupby(sweeps, lambda sweep: sweep.axis)
            for memory in self._swept(list(group), f"{name}.{axis}")
        ]
        memories = self.node("Concat", h, f"{name}.h", axis=3)
        gate = self.affine(u, weights, f"{name}.gate")
        opened = self.node("Sigmoid", [gate], f"{gate}.open")
        silu = self.node("Mul", [gate, opened], f"{gate}.silu")
        gated = self.node("Mul", [memories, silu], f"{name}.gated")
        return self.node("Add", [x, self.affine(gated, weights, f"{name}.out")], f"{name}.x")

    def _swept(self, sweeps: list[Sweep], name: str) -> list[str]:
        """Each h[t] = kept[t] h[t-1] + offered[t], side by side along one axis of any length."""
        axis, ways = sweeps[0].axis, range(len(sweeps))
        body = Graph()
        for way in ways:
            old = body.node("Mul", [f"{name}.kept{way}", f"{name}.before{way}"], f"{name}.old{way}")
            body.node("Add", [old, f"{name}.offered{way}"], f"{name}.now{way}")
            body.node("Identity", [f"{name}.now{way}"], f"{name}.after{way}")
        step = helper.make_graph(
            body.nodes,
            f"{name}.step",
            [_anything(f"{name}.{x}{way}") for x in ("before", "kept", "offered") for way in ways],
            [_anything(f"{name}.{x}{way}") for x in ("after", "now") for way in ways],
        )
        first = self.constant(f"{name}.first", np.array(0))
        nought = self.constant(f"{name}.nought", np.array(0, np.float32))
        starts = []
        for sweep in sweeps:
            offered = sweep.offered
            shape = self.node("Gather", [offered, first], f"{offered}.first", axis=axis)
            starts.append(self.node("Mul", [shape, nought], f"{offered}.start"))
        backwards = [int(sweep.backwards) for sweep in sweeps]
        inputs = [*starts, *(sweep.kept for sweep in sweeps), *(sweep.offered for sweep in sweeps)]
        outputs = self.nodes_of(
            "Scan",
            inputs,
            [f"{sweep.offered}.{x}" for x in ("last", "h") for sweep in sweeps],
            body=step,
            num_scan_inputs=2 * len(sweeps),
            scan_input_axes=[axis] * 2 * len(sweeps),
            scan_input_directions=2 * backwards,
            scan_output_axes=[axis] * len(sweeps),
            scan_output_directions=backwards,
        )
        return outputs[len(sweeps) :]


def _anything(name: str) -> onnx.ValueInfoProto:
    """A value inside a loop; what calls the loop decides its shape."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
