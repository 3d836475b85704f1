"""Model: a model file and what its graph answers. It neither trains nor normalises."""

from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from rowscan.arrays import Float32, UInt8
from rowscan.errors import ModelError, reason_of
from rowscan.scans import LINE_HEIGHT, SIDE

SHIPPED = {"digit": "digit.onnx", "line": "line.onnx"}
"""The models in `rowscan/models` that are used when none is named, by kind."""

_SILENT = 4  # errors come as exceptions, so ONNX Runtime need not print them too


class _Metadata(msgspec.Struct, frozen=True):
    """What a model file says of itself. The values lie in it as text, most of it JSON."""

    kind: str
    labels: list[str]
    recipe: dict[str, Any]
    calibration: dict[str, Any]
    report: dict[str, Any]
    version: str


class Model:
    """A trained network and what its file says of it. Threads may share it.

    Attributes:
        name: how it was named: a path, or that of a model inside the package.
        kind: `digit` or `line`.
        labels: what the outputs stand for, in their order.
        recipe: the recipe that the model was trained by; has at least `name` and `scan`.
        calibration: how the probabilities were calibrated.
        report: how the model did on the test set.
        version: the version of Rowscan that wrote the model file.
        outputs: names of what the graph gives.
    """

    def __init__(self, model: str | Path | None, kind: str = "digit") -> None:
        """Open a model.

        Args:
            model: a model file or a run directory; or None for the one of the package that is
            kind: of this kind, `digit` or `line`.

        Raises:
            ModelError: no model file, or a damaged one.
        """
        name, content = load_content(model, kind)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _SILENT
        # The steps of a recurrent network follow each other: a second thread brought nothing.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception:  # ONNX Runtime's exceptions have no public base class
            raise ModelError(name, "not a model file, or a damaged one") from None
        metadata = _metadata(name, session.get_modelmeta().custom_metadata_map)
        self.outputs = _check_graph(name, metadata.kind, session)
        self.name = name
        self.kind = metadata.kind
        self.labels = metadata.labels
        self.recipe = metadata.recipe
        self.calibration = metadata.calibration
        self.report = metadata.report
        self.version = metadata.version
        self._session = session
        self._run_options = onnxruntime.RunOptions()
        self._run_options.log_severity_level = _SILENT

    def run(
        self, output: str, images: UInt8[np.ndarray, "n height width"]
    ) -> Float32[np.ndarray, "..."]:
        """One output of the graph for some images; what they must be is the caller's to know."""
        result: np.ndarray = self._session.run([output], {"images": images}, self._run_options)[0]
        return result


def load_content(model: str | Path | None, kind: str) -> tuple[str, bytes]:
    """Name and content of a model file; None is the package's of this kind.

    Raises:
        ModelError: it cannot be read.
    """
    if model is None:
        name = SHIPPED[kind]
        try:
            return name, resources.files("rowscan").joinpath("models", name).read_bytes()
        except OSError:
            raise ModelError(
                name, "this installation of Rowscan has no model; name a model file"
            ) from None
    path = Path(model)
    try:
        if path.is_dir():
            path /= "model.onnx"
        return str(path), path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise ModelError(path, reason_of(error)) from None


def _metadata(name: str, entries: dict[str, str]) -> _Metadata:
    kind = entries.get("kind")
    if kind is None:
        raise ModelError(name, "not a model file of Rowscan: it does not say its kind")
    if kind not in SHIPPED:
        raise ModelError(name, f"a model of kind {kind!r} instead of 'digit' or 'line'")
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(_Metadata):
        if field.name not in entries:
            raise ModelError(name, f"damaged model file: it lacks {field.name!r}")
        text = entries[field.name]
        try:
            is_text = field.type is str
            values[field.name] = text if is_text else msgspec.json.decode(text, type=field.type)
        except msgspec.MsgspecError as error:
            raise ModelError(name, f"damaged model file: {field.name}: {error}") from None
    metadata = _Metadata(**values)
    if len(metadata.labels) != 10:
        raise ModelError(name, f"damaged model file: {len(metadata.labels)} labels, not 10")
    for key in ("name", "scan"):
        if not isinstance(metadata.recipe.get(key), str):
            raise ModelError(name, f"damaged model file: its recipe lacks {key!r}")
    return metadata


def _check_graph(name: str, kind: str, session: onnxruntime.InferenceSession) -> frozenset[str]:
    """The names of the graph's outputs."""
    found = [(node.name, node.type, node.shape[1:]) for node in session.get_inputs()]
    outputs = frozenset(node.name for node in session.get_outputs())
    shape, possible = {
        "digit": ([SIDE, SIDE], ({"probabilities"}, {"probabilities", "belief"})),
        "line": ([LINE_HEIGHT, "width"], ({"probabilities"},)),
    }[kind]
    if found != [("images", "tensor(uint8)", shape)] or outputs not in possible:
        raise ModelError(
            name, f"not a {kind} model: its inputs or outputs are not a {kind} model's"
        )
    return outputs
