"""Reader: a model file and what it answers on normalised images. Neither trains nor normalises."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from jaxtyping import Float32, Int64, UInt8

from rowscan.errors import DataError, ModelError
from rowscan.scans import SIDE

Images = UInt8[np.ndarray, "n 28 28"]

SHIPPED = "digit.onnx"
"""The model in `rowscan/models` that is used when none is named."""

_BATCH = 250  # images a run: bounds memory, and fits the cache: 1,000 a run took longer
_SILENT = 4  # errors come as exceptions, so ONNX Runtime need not print them too


class _Metadata(msgspec.Struct, frozen=True):
    """What a model file says of itself. The values lie in it as text, most of it JSON."""

    kind: str
    labels: list[str]
    recipe: dict[str, Any]
    calibration: dict[str, Any]
    report: dict[str, Any]
    version: str


class Reader:
    """A digit model, ready to read.

    Attributes:
        kind: `digit`.
        labels: what the ten outputs stand for, in their order.
        recipe: the recipe that the model was trained by; has at least `name` and `scan`.
        calibration: how the probabilities were calibrated.
        report: how the model did on the test set.
        version: the version of Rowscan that wrote the model file.
        steps_through: whether the network reads step by step of its scan, not all at once.
    """

    def __init__(self, model: str | Path | None = None, *, threads: int | None = None) -> None:
        """Open a model.

        Args:
            model: a model file, a run directory, or nothing for the model that ships with Rowscan.
            threads: processor cores to use. By default one: the steps of a recurrent network
                follow each other, and a second core brought nothing in measurements.

        Raises:
            ModelError: no model file, a damaged one, or one of another kind.
        """
        name, content = _load(model)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _SILENT
        options.intra_op_num_threads = threads or 1
        options.inter_op_num_threads = 1
        # A thread that spins while it waits takes the core from whoever else works on the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception:  # ONNX Runtime's exceptions have no public base class
            raise ModelError(f"{name}: not a model file, or a damaged one") from None
        metadata = _metadata(name, session.get_modelmeta().custom_metadata_map)
        outputs = _check_graph(name, session)
        self.kind = metadata.kind
        self.labels = metadata.labels
        self.recipe = metadata.recipe
        self.calibration = metadata.calibration
        self.report = metadata.report
        self.version = metadata.version
        self.steps_through = "belief" in outputs
        self._session = session
        self._run_options = onnxruntime.RunOptions()
        self._run_options.log_severity_level = _SILENT

    def classify(
        self, images: UInt8[np.ndarray, "n 28 28"]
    ) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n 10"]]:
        """The digit in each image, and the probabilities of all ten.

        Args:
            images: normalised images, as `ink.normalise_digit` gives them.

        Raises:
            DataError: an array of another type or shape.
        """
        probabilities = self.predict_proba(images)
        return probabilities.argmax(1), probabilities

    def predict_proba(self, images: UInt8[np.ndarray, "n 28 28"]) -> Float32[np.ndarray, "n 10"]:
        """Probabilities of the ten digits for each image.

        Raises:
            DataError: an array of another type or shape.
        """
        return np.concatenate(list(self._run("probabilities", images)))

    def belief(self, images: UInt8[np.ndarray, "n 28 28"]) -> Float32[np.ndarray, "n time 10"]:
        """Probabilities of the ten digits after each step of the scan; the last are the answer.

        A network that sweeps the image from all sides has no step at which it knows the first rows
        and no others. Its belief is what it answers when only the first row is uncovered, then the
        first two, and so on to the whole image: time is 28.

        Raises:
            DataError: an array of another type or shape.
        """
        if self.steps_through:
            return np.concatenate(list(self._run("belief", images)))
        _check(images)
        rows = np.tri(SIDE, dtype=np.uint8)[:, :, None]
        parts = [self.predict_proba(image * rows)[None] for image in images]
        return np.concatenate([np.empty((0, SIDE, 10), np.float32), *parts])

    # Beliefs are computed even when nobody asks for them, 7% of the time of an answer: ONNX Runtime
    # heeds `only_execute_path_to_fetches` only in builds for training.
    def _run(self, output: str, images: Images) -> Iterator[Float32[np.ndarray, "..."]]:
        _check(images)
        if not len(images):  # a graph need not bear an empty batch, but knows its output's shape
            images = np.zeros((1, 28, 28), np.uint8)
            yield next(self._run(output, images))[:0]
            return
        for start in range(0, len(images), _BATCH):
            batch = np.ascontiguousarray(images[start : start + _BATCH])
            yield self._session.run([output], {"images": batch}, self._run_options)[0]


def _check(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError(
            f"images: array of {images.dtype} {images.shape} instead of uint8 (n, 28, 28)"
        )


def _load(model: str | Path | None) -> tuple[str, bytes]:
    """Name and content of the model file."""
    if model is None:
        try:
            return SHIPPED, resources.files("rowscan").joinpath("models", SHIPPED).read_bytes()
        except OSError:
            raise ModelError(
                f"{SHIPPED}: this installation of Rowscan has no model; name a model file"
            ) from None
    path = Path(model)
    try:
        if path.is_dir():
            path /= "model.onnx"
        return str(path), path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"{path}: {reason}") from None


def _metadata(name: str, entries: dict[str, str]) -> _Metadata:
    kind = entries.get("kind")
    if kind is None:
        raise ModelError(f"{name}: not a model file of Rowscan: it does not say its kind")
    if kind != "digit":
        raise ModelError(f"{name}: a model of kind {kind!r} instead of 'digit'")
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(_Metadata):
        if field.name not in entries:
            raise ModelError(f"{name}: damaged model file: it lacks {field.name!r}")
        text = entries[field.name]
        try:
            is_text = field.type is str
            values[field.name] = text if is_text else msgspec.json.decode(text, type=field.type)
        except msgspec.MsgspecError as error:
            raise ModelError(f"{name}: damaged model file: {field.name}: {error}") from None
    metadata = _Metadata(**values)
    if len(metadata.labels) != 10:
        raise ModelError(f"{name}: damaged model file: {len(metadata.labels)} labels, not 10")
    for key in ("name", "scan"):
        if not isinstance(metadata.recipe.get(key), str):
            raise ModelError(f"{name}: damaged model file: its recipe lacks {key!r}")
    return metadata


def _check_graph(name: str, session: onnxruntime.InferenceSession) -> set[str]:
    """The names of the graph's outputs."""
    found = [(node.name, node.type, node.shape[1:]) for node in session.get_inputs()]
    outputs = {node.name for node in session.get_outputs()}
    if found != [("images", "tensor(uint8)", [SIDE, SIDE])] or outputs | {"belief"} != {
        "probabilities",
        "belief",
    }:
        raise ModelError(
            f"{name}: not a digit model: its inputs or outputs are not a digit model's"
        )
    return outputs
