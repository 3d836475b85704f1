"""Model files: an ONNX graph, its metadata, and what it answers. They neither train nor normalise.

The way to here is `cli.read`, `batch.local`, `batch.read`, `reader`, `recognition.characters`. The
networks of the shipped models are written in `training/engines/sweep.py` and `segmenter.py` (in
torch), and as ONNX graphs, node by node, in `training/tasks/{digit,line,page}/graph.py`.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec
import numpy as np

from rowscan.alphabet import DIGITS
from rowscan.arrays import Float32, UInt8
from rowscan.errors import DataError, ModelError, UsageError, reason_of
from rowscan.io.storage import read_bytes
from rowscan.recognition import onnx_file, tta
from rowscan.recognition.session import MEMORY, SECONDS, Session
from rowscan.scans import LINE_HEIGHT, PATCH, SIDE
from rowscan.segmentation.bands import PageAnswer

BATCH = 250
"""Images of one run: it bounds memory and fits the cache; with 1,000 a run took longer."""

_PADDED = 16  # columns: the width of a line in a batch is a multiple
_BATCH_COLUMNS = 2048  # of all lines of a batch: bounds memory

_AT_ONCE, _STRIP = 1_000_000, 700_000
"""Pixels of a page that is answered at once, and of a strip of a larger one: bounds memory."""
_OVERLAP = 64  # pixels on each side of a strip of a page: more than the digits are high

Images = UInt8[np.ndarray, "n 28 28"]
Json = Mapping[str, object]
"""A JSON object."""
_M = TypeVar("_M", bound="Model")
_USED_BY = {
    "digit": "`rowscan explain` and `rowscan evaluate`",
    "line": "`rowscan read`",
    "page": "`rowscan read`",
}


class _Metadata(msgspec.Struct, frozen=True):
    """The metadata of a model file. Its values are stored as text, most of it JSON."""

    kind: str
    labels: list[str]
    recipe: dict[str, Any]
    calibration: dict[str, Any]
    report: dict[str, Any]
    version: str
    alphabet: str = DIGITS


class Model:
    """A trained network and the metadata of its file. Threads may share it.

    Attributes:
        name: its path, or the file name of a model that ships with Rowscan.
        labels: what the outputs stand for, in their order.
        recipe: the recipe that it was trained by; has at least `name`.
        calibration: how the probabilities were calibrated.
        report: the result on the test set.
        version: the version of Rowscan that wrote the file.
        outputs: names of the graph's outputs.
    """

    kind: ClassVar[str]
    """What the metadata calls this type; the one that ships is `rowscan/models/KIND.onnx`."""
    _image_shape: ClassVar[list[int | str]]
    _optional_outputs: ClassVar[set[str]] = set()
    _label_count: ClassVar[int] = 10
    _recipe_keys: ClassVar[tuple[str, ...]] = ("name",)

    def __init__(self, name: str, session: Session, entries: Mapping[str, str]) -> None:
        """Wrap an open session; `open` and `open_model` make models from files.

        Raises:
            ModelError: damaged metadata, or inputs or outputs of another kind of model.
        """
        metadata = _decode(name, entries, self._label_count)
        for key in self._recipe_keys:
            if not isinstance(metadata.recipe.get(key), str):
                raise ModelError(name, f"damaged model file: its recipe lacks {key!r}")
        inputs = [(node.name, node.type, node.shape[1:]) for node in session.inputs]
        self.outputs = frozenset(node.name for node in session.outputs)
        expected = [("images", "tensor(uint8)", self._image_shape)]
        if inputs != expected or self.outputs - self._optional_outputs != {"probabilities"}:
            raise ModelError(name, f"its inputs or outputs are not those of a {self.kind} model")
        if any(node.type != "tensor(float)" for node in session.outputs):
            raise ModelError(name, f"its outputs are not those of a {self.kind} model")
        shape = next(node.shape for node in session.outputs if node.name == "probabilities")
        known = len(metadata.alphabet)
        if self.kind == "line" and isinstance(shape[-1], int) and shape[-1] != known + 1:
            raise ModelError(name, f"{shape[-1]} classes for an alphabet of {known}")
        self.name = name
        self.labels = metadata.labels
        self.recipe: Json = metadata.recipe
        self.calibration: Json = metadata.calibration
        self.report: Json = metadata.report
        self.version = metadata.version
        self._alphabet = metadata.alphabet
        self._session = session

    @classmethod
    def open(
        cls: type[_M],
        model: str | Path | None = None,
        *,
        threads: int = 1,
        providers: Sequence[str] | None = None,
    ) -> _M:
        """Open a model of this type, by default the one that ships; otherwise as `open_model`."""
        content = load_content(model, cls.kind)
        return cls.expect(_open(*content, threads, providers, trusted=model is None))

    @classmethod
    def expect(cls: type[_M], model: "Model") -> _M:
        """The same model, known to be of this type.

        Raises:
            ModelError: it is of another type.
        """
        if not isinstance(model, cls):
            raise ModelError(
                model.name,
                f"expected a {cls.kind} model, got a {model.kind} model, which is for "
                f"{_USED_BY[model.kind]}",
            )
        return model

    def run(
        self, output: str, images: UInt8[np.ndarray, "n height width"]
    ) -> Float32[np.ndarray, "..."]:
        """One output of the graph, for images that the caller has checked."""
        return self._run([output], images)[0]

    def _run(
        self, outputs: list[str], images: UInt8[np.ndarray, "n height width *colour"]
    ) -> list[np.ndarray]:
        """Some outputs of the graph.

        Raises:
            ModelError: ONNX Runtime fails, or an answer is not one for each image, or not finite.
        """
        try:
            answers = self._session.run(outputs, images)
        except Exception as error:  # ONNX Runtime's exceptions have no public base class
            raise ModelError(self.name, f"cannot be run: {_reason(error)}") from None
        for output, answer in zip(outputs, answers, strict=True):
            expected = (len(images), *self._answer_shape(output, images.shape))
            if not _fits(answer.shape, expected):
                shape = f"expected the shape {expected}, got {answer.shape}"
                raise ModelError(self.name, f"its output {output!r}: {shape}")
            if not np.isfinite(answer).all():
                raise ModelError(self.name, "its answers are not finite")
        return answers

    def _answer_shape(self, output: str, images: tuple[int, ...]) -> tuple[int | None, ...]:
        """The shape of an output for one image; None stands for any length."""
        raise NotImplementedError


class DigitModel(Model):
    """Reads single digits: uint8 (n, 28, 28) to probabilities (n, 10)."""

    kind = "digit"
    _image_shape: ClassVar = [SIDE, SIDE]
    _optional_outputs: ClassVar = {"belief"}
    _recipe_keys = ("name", "scan")

    def _answer_shape(self, output: str, images: tuple[int, ...]) -> tuple[int | None, ...]:
        return (None, 10) if output == "belief" else (10,)

    def predict_proba(self, images: Images) -> Float32[np.ndarray, "n 10"]:
        """Probabilities of the ten digits for each image.

        With test-time augmentation for images of which it is unsure, if its recipe says so.

        Raises:
            DataError: an array of another dtype or shape.
        """
        if self.recipe.get("tta", self.recipe.get("look_again")):  # as older files call it
            return tta.predict_proba(self.predict_once, images)
        return self.predict_once(images)

    def predict_once(self, images: Images) -> Float32[np.ndarray, "n 10"]:
        """As `predict_proba`, without test-time augmentation."""
        return self._run_batches("probabilities", images)

    @property
    def belief_scan(self) -> str:
        """The name of the scan whose steps `belief` follows."""
        return str(self.recipe["scan"]) if "belief" in self.outputs else "rows"

    def belief(self, images: Images) -> Float32[np.ndarray, "n time 10"]:
        """Probabilities of the ten digits after each step of a scan; the last are the answer.

        A network that sweeps the image from all sides has no step at which it knows only the first
        rows. Its belief is what it answers when only the first row is uncovered, then the first
        two, and so on to the whole image: time is 28.

        Raises:
            DataError: an array of another dtype or shape.
        """
        if "belief" in self.outputs:
            return self._run_batches("belief", images)
        _check(images)
        uncovered = np.tri(SIDE, dtype=np.uint8)[:, :, None]
        parts = [self.predict_proba(image * uncovered)[None] for image in images]
        return np.concatenate([np.empty((0, SIDE, 10), np.float32), *parts])

    # Beliefs are computed even when nobody asks for them, 7% of the time of an answer: ONNX Runtime
    # obeys `only_execute_path_to_fetches` only in builds for training.
    def _run_batches(self, output: str, images: Images) -> Float32[np.ndarray, "..."]:
        _check(images)
        if not len(images):  # a graph may fail on an empty batch, but knows its output's shape
            return self.run(output, np.zeros((1, SIDE, SIDE), np.uint8))[:0]
        starts = range(0, len(images), BATCH)
        parts = (np.ascontiguousarray(images[start : start + BATCH]) for start in starts)
        return np.concatenate([self.run(output, part) for part in parts])


class LineModel(Model):
    """Reads lines: uint8 (n, 32, width) to probabilities (n, time, classes) for CTC."""

    kind = "line"
    _image_shape: ClassVar = [LINE_HEIGHT, "width"]

    def _answer_shape(self, output: str, images: tuple[int, ...]) -> tuple[int | None, ...]:
        return None, len(self._alphabet) + 1

    @property
    def alphabet(self) -> str:
        """The characters that it knows; character i is class i + 1, class 0 is blank."""
        return self._alphabet

    def probabilities(
        self, ink: UInt8[np.ndarray, "n 32 width"]
    ) -> Float32[np.ndarray, "n time classes"]:
        """Probabilities of blank and of each character at each step of some lines."""
        return self.run("probabilities", np.pad(ink, ((0, 0), (0, 0), (0, -ink.shape[2] % PATCH))))

    def predict_lines(
        self, lines: Sequence[UInt8[np.ndarray, "32 _"]]
    ) -> list[Float32[np.ndarray, "_ classes"]]:
        """Probabilities of blank and of each character at each step, line by line.

        Lines of about the same width go through the graph together. Each is padded to the same
        width whether others are beside it or not, so its probabilities do not depend on them.
        """
        groups: dict[int, list[int]] = {}
        for i, line in enumerate(lines):
            groups.setdefault(-(-line.shape[1] // _PADDED) * _PADDED, []).append(i)
        found: dict[int, Float32[np.ndarray, "time classes"]] = {}
        for width, group in groups.items():
            most = max(1, _BATCH_COLUMNS // width)
            for part in (group[start : start + most] for start in range(0, len(group), most)):
                batch = np.zeros((len(part), LINE_HEIGHT, width), np.uint8)
                for row, i in zip(batch, part, strict=True):
                    row[:, : lines[i].shape[1]] = lines[i]
                found |= zip(part, self.run("probabilities", batch), strict=True)
        return [found[i] for i in range(len(lines))]


class PageModel(Model):
    """Takes pictures of pages apart: ink, other marks, and lines of writing."""

    kind = "page"
    _image_shape: ClassVar = ["height", "width", 3]
    _optional_outputs: ClassVar = {"bands", "geometry"}
    _label_count = 3

    def _answer_shape(self, output: str, images: tuple[int, ...]) -> tuple[int | None, ...]:
        _, height, width, _ = images
        return {
            "probabilities": (height, width, 3),
            "bands": (height // 2, width // 2),
            "geometry": (height // 4, width // 4, 3),
        }[output]

    def segment(self, picture: UInt8[np.ndarray, "height width 3"]) -> PageAnswer:
        """Answers for a picture of absorption, as `segmentation.light` gives it.

        Its sides are multiples of 8. A large one is answered in strips that overlap: a pixel takes
        180 bytes.
        """
        height, width, _ = picture.shape
        if height * width <= _AT_ONCE:
            return self._segment_strip(picture)
        axis = int(width > height)
        length = picture.shape[axis]
        strip = max(_STRIP // min(height, width) // 8 * 8, 4 * _OVERLAP)
        parts: list[list[np.ndarray]] = []
        for start in range(0, length, strip - 2 * _OVERLAP):
            end = min(start + strip - 2 * _OVERLAP, length)
            low = max(0, min(start - _OVERLAP, length - strip))  # all of one size: memory is reused
            answers = self._segment_strip(_between(picture, axis, low, low + strip))
            answer = zip(answers, (1, 2, 4), strict=True)
            parts.append(
                [_between(a, axis, (start - low) // k, (end - low) // k) for a, k in answer]
            )
        return PageAnswer(*(np.concatenate(part, axis) for part in zip(*parts, strict=True)))

    def _segment_strip(self, picture: UInt8[np.ndarray, "height width 3"]) -> PageAnswer:
        answers = self._run(list(PageAnswer._fields), picture[None])
        return PageAnswer(*(answer[0] for answer in answers))


def _between(array: np.ndarray, axis: int, start: int, end: int) -> np.ndarray:
    """A copy of some rows or columns."""
    return array[start:end].copy() if axis == 0 else array[:, start:end].copy()


MODELS: Mapping[str, type[Model]] = {
    model.kind: model for model in (DigitModel, LineModel, PageModel)
}
"""The types of models, by their kind."""


def open_model(
    model: str | Path, *, threads: int = 1, providers: Sequence[str] | None = None
) -> Model:
    """Open a model file of any kind.

    Args:
        model: a model file or a run directory.
        threads: threads for one run of the graph (ONNX Runtime's intra-op threads). The steps of a
            recurrent network follow each other: for the shipped models a second brought nothing.
        providers: ONNX Runtime's execution providers, by default the CPU.

    Returns:
        A `DigitModel` or a `LineModel`, as its metadata says.

    Raises:
        ModelError: not a model file, or a damaged one.
        UsageError: a provider that this ONNX Runtime does not have.
    """
    return _open(*load_content(model), threads, providers, trusted=False)


def load_content(model: str | Path | None, kind: str = DigitModel.kind) -> tuple[str, bytes]:
    """Name and content of a model file or of a run directory's; None is the shipped one of a kind.

    Raises:
        ModelError: it cannot be read.
    """
    if model is None:
        name = f"{kind}.onnx"
        try:
            return name, resources.files("rowscan").joinpath("models", name).read_bytes()
        except OSError:
            raise ModelError(
                name, "missing from this installation of Rowscan; name a model file"
            ) from None
    path = Path(model)
    try:
        if path.is_dir():
            path /= "model.onnx"
        return str(path), read_bytes(path)
    except DataError as error:
        raise ModelError(path, error.reason) from None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise ModelError(path, reason_of(error)) from None


def _open(
    name: str, content: bytes, threads: int, providers: Sequence[str] | None, *, trusted: bool
) -> Model:
    entries = onnx_file.check(name, content)
    try:
        session = Session(content, trusted=trusted, threads=threads, providers=providers)
    except UsageError:
        raise
    except Exception:  # ONNX Runtime's exceptions have no public base class
        raise ModelError(name, "not a model file, or a damaged one") from None
    kind = entries.get("kind")
    if kind is None:
        raise ModelError(name, "not a model file of Rowscan: its metadata has no 'kind'")
    if kind not in MODELS:
        raise ModelError(name, f"expected a model of kind {' or '.join(MODELS)}, got {kind!r}")
    return MODELS[kind](name, session, entries)


def _decode(name: str, entries: Mapping[str, str], label_count: int) -> _Metadata:
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(_Metadata):
        if field.name not in entries and not field.required:
            continue
        if field.name not in entries:
            raise ModelError(name, f"damaged model file: it lacks {field.name!r}")
        text = entries[field.name]
        try:
            is_text = field.type is str
            values[field.name] = text if is_text else msgspec.json.decode(text, type=field.type)
        except msgspec.MsgspecError as error:
            raise ModelError(name, f"damaged model file: {field.name}: {error}") from None
    metadata = _Metadata(**values)
    if len(metadata.labels) != label_count:
        raise ModelError(
            name,
            f"damaged model file: expected {label_count} labels, got {len(metadata.labels)}",
        )
    return metadata


def _check(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError("images", f"expected uint8 (n, 28, 28), got {images.dtype} {images.shape}")


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (None, side) for side, wanted in zip(shape, expected, strict=True)
    )


def _reason(error: Exception) -> str:
    """Why a graph cannot be run, without the places in ONNX Runtime's source."""
    said = reason_of(error)
    if "terminate flag" in said:
        return f"it takes more than {SECONDS:g} s"
    if "memory" in said:
        return f"it takes more than {MEMORY // 1_000_000} MB"
    return said
