"""Pieces of an ONNX graph: affine maps, LSTM layers, normalisation, and layers of sweeps.

The same computations as in `engines.networks` and `engines.sweep`, written node by node: a model
file then needs operators that every ONNX Runtime has, and no framework's export.

Weights are constants under the names that the engines give them, matrices transposed, so that
`weights_of` can take them out of any model file again.
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
    """A recurrence along an axis of a grid: names of 1 - z[t] (kept) and z[t] * v[t] (offered)."""

    kept: str
    offered: str
    axis: int
    backwards: bool


Shape = list[str | int]
"""Sides of an array; those called by a name are of any length."""


class Graph:
    """Nodes and constants of a graph under construction.

    Attributes:
        inputs: shape of the images that it takes.
        outputs: names and shapes of what it gives.
    """

    def __init__(self, inputs: Shape | None = None) -> None:
        self.inputs = inputs or []
        self.outputs: dict[str, Shape] = {}
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
        inputs, outputs = weights[f"{name}.weight"].T.shape
        # Gemm adds the bias on its way; MatMul and Add would pass over memory once more.
        sides = self.node("Shape", [x], f"{name}.sides", end=-1)
        width = self.constant(f"{name}.width", np.array([outputs]))
        shape = self.node("Concat", [sides, width], f"{name}.shape", axis=0)
        flat = self.reshaped(x, [-1, inputs], f"{name}.flat")
        product = self.node("Gemm", [flat, weight, bias], f"{name}.product")
        return self.node("Reshape", [product, shape], f"{name}.affine")

    def lstm_layer(self, x: str, weights: Arrays, layer: int, hidden: int) -> str:
        """One layer of `torch.nn.LSTM` on a sequence (time, n, feature)."""
        # torch's gates are input, forget, cell, output; ONNX's input, output, forget, cell.
        rows = np.arange(4 * hidden).reshape(4, hidden)[[0, 3, 1, 2]].ravel()
        order = self.constant(f"gates{layer}", rows)
        parts = []
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            name = f"lstm.{part}_l{layer}"
            value = self.constant(name, weights[name].T.copy())
            if part.startswith("weight"):
                value = self.node("Transpose", [value], f"{name}.rows", perm=[1, 0])
            parts.append(self.node("Gather", [value, order], f"{name}.gates", axis=0))
        one_direction = self.constant(f"direction{layer}", np.array([0]))
        bias = self.node("Concat", parts[2:], f"lstm.bias_l{layer}", axis=0)
        w, u, b = (
            self.node("Unsqueeze", [part, one_direction], f"{part}.stacked")
            for part in (*parts[:2], bias)
        )
        output = self.node("LSTM", [x, w, u, b], f"output{layer}", hidden_size=hidden)
        direction_axis = self.constant(f"direction_axis{layer}", np.array([1]))
        return self.node("Squeeze", [output, direction_axis], f"h{layer}")

    def normalised(self, x: str, weights: Arrays, name: str) -> str:
        """The last side of x normalised (Ba, Kiros, Hinton: "Layer Normalization", 2016)."""
        scale = self.constant(f"{name}.weight", weights[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", weights[f"{name}.bias"])
        return self.node("LayerNormalization", [x, scale, bias], f"{name}.normalised", epsilon=1e-5)

    def sweep_layer(self, x: str, weights: Arrays, name: str, directions: Directions) -> str:
        """`engines.sweep.SweepLayer` on a grid (rows, columns, n, width), with its step numbers.

        Args:
            x: the grid.
            weights: those of the network; the layer's begin with
            name: its name.
            directions: of its sweeps.
        """
        u = self.normalised(x, weights, f"{name}.norm")  # (2)
        sweeps = []
        for way, (axis, backwards) in enumerate(directions):
            z = self.affine(u, weights, f"{name}.z.{way}")  # (3)
            v = self.affine(u, weights, f"{name}.v.{way}")
            taken = self.node("Sigmoid", [z], f"{z}.taken")
            kept = self.node("Sigmoid", [self.node("Neg", [z], f"{z}.minus")], f"{z}.kept")
            offered = self.node("Mul", [taken, v], f"{v}.offered")
            sweeps.append(Sweep(kept, offered, axis, backwards))
        h = [  # (4)
            memory
            for axis, group in itertools.groupby(sweeps, lambda sweep: sweep.axis)
            for memory in self._swept(list(group), f"{name}.{axis}")
        ]
        memories = self.node("Concat", h, f"{name}.h", axis=3)
        gate = self.affine(u, weights, f"{name}.gate")  # (5)
        opened = self.node("Sigmoid", [gate], f"{gate}.open")
        silu = self.node("Mul", [gate, opened], f"{gate}.silu")
        gated = self.node("Mul", [memories, silu], f"{name}.gated")
        return self.node("Add", [x, self.affine(gated, weights, f"{name}.out")], f"{name}.x")

    def _swept(self, sweeps: list[Sweep], name: str) -> list[str]:
        """(4) for sweeps along one axis of any length: h[t] = kept[t] h[t-1] + offered[t]."""
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
        zero = self.constant(f"{name}.zero", np.array(0, np.float32))
        starts = []
        for sweep in sweeps:
            offered = sweep.offered
            shape = self.node("Gather", [offered, first], f"{offered}.first", axis=axis)
            starts.append(self.node("Mul", [shape, zero], f"{offered}.start"))
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
    """A value inside a loop, of any shape."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def weights_of(model: onnx.ModelProto, wanted: Arrays) -> dict[str, np.ndarray]:
    """The weights in a model file that has been written by a `Graph`.

    Args:
        model: the file.
        wanted: the weights of the network that is to have them, for names and shapes. What the
            file does not have is not in the result; other shapes are left as they are.
    """
    constants = {node.name: numpy_helper.to_array(node) for node in model.graph.initializer}
    found = {}
    for name in wanted.keys() & constants.keys():
        value = constants[name].T if wanted[name].ndim == 2 else constants[name]
        same_size = value.size == wanted[name].size and value.ndim != wanted[name].ndim
        found[name] = np.ascontiguousarray(
            value.reshape(wanted[name].shape) if same_size else value
        )
    return found
