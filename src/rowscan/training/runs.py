"""The run directory: what a training leaves behind, and what it needs to be resumed.

    recipe.json            the recipe, whole
    environment.json       versions, machine, revision
    metrics.jsonl          one line for each measurement
    checkpoint.safetensors weights, the state of the optimiser and how far the training is
    weights.safetensors    the weights at the end
    model.onnx             the model file
    report.html            pictures and figures
    result.json            the test's figures; written last, so it marks a run as complete

Every file but `metrics.jsonl` is written atomically; that one only grows, and a checkpoint records
how long it was, so a resumed training cuts off what came after.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, SupportsFloat

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

import rowscan
from rowscan.errors import OutputError, UsageError, reason_of
from rowscan.io.atomic import write_atomically
from rowscan.recipes import LineRecipe, PageRecipe, Recipe, decode
from rowscan.training import results
from rowscan.training.engines.interface import Arrays
from rowscan.training.results import DigitRunResult, LineRunResult, PageRunResult, RunResult


class TrainState(msgspec.Struct, forbid_unknown_fields=True):
    """How far a training is, and what it has added up since its last record."""

    step: int = 0
    """Steps done, over all epochs."""
    seconds: float = 0.0
    """Time spent on them, interruptions apart."""
    loss_sum: float = 0.0
    """Sum of the losses since the last record, each times its examples."""
    correct: int = 0
    """Right answers since the last record."""
    seen: int = 0
    """Examples since the last record."""
    metrics_bytes: int = 0
    """Length of metrics.jsonl when this was written."""

    def add(self, examples: int, loss: SupportsFloat, correct: SupportsFloat) -> None:
        """Count one more step with its mean loss and right answers."""
        self.step += 1
        self.loss_sum += float(loss) * examples
        self.correct += round(float(correct))
        self.seen += examples

    def means(self) -> tuple[int, float, float]:
        """Examples, mean loss and accuracy since the last record; begins a new one."""
        found = self.seen, self.loss_sum / self.seen, self.correct / self.seen
        self.loss_sum, self.correct, self.seen = 0.0, 0, 0
        return found


class _Record(msgspec.Struct):
    """What each line of metrics.jsonl has."""

    kind: str
    epoch: int
    step: int
    images: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """A run directory and its recipe."""

    directory: Path
    recipe: Recipe

    @classmethod
    def create(cls, directory: Path, recipe: Recipe) -> "Run":
        """A new run directory, which appears with its recipe in it or not at all.

        Raises:
            UsageError: the directory exists and is not empty.
            OutputError: it cannot be written.
        """
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise UsageError(f"{directory}: already exists; resume it, or name another output")
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
            try:
                temporary.chmod(0o755)
                for name, value in (
                    ("recipe.json", recipe),
                    ("environment.json", environment()),
                ):
                    pretty = msgspec.json.format(msgspec.json.encode(value))
                    write_atomically(temporary / name, pretty + b"\n")
                (temporary / "metrics.jsonl").touch()
                temporary.replace(directory)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        except OSError as error:
            raise OutputError(directory, f"cannot be created: {reason_of(error)}") from None
        return cls(directory, recipe)

    @classmethod
    def open(cls, directory: Path) -> "Run":
        """An existing run directory.

        Raises:
            UsageError: not a run directory, or a damaged one.
        """
        path = directory / "recipe.json"
        try:
            return cls(directory, decode(path.read_bytes()))
        except OSError:
            raise UsageError(f"{directory}: not a run directory: no recipe.json in it") from None
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None

    @property
    def model(self) -> Path:
        """The model file."""
        return self.directory / "model.onnx"

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.directory / "report.html"

    @property
    def result(self) -> RunResult | None:
        """The test's figures; None while the run is not complete.

        Raises:
            OutputError: result.json is damaged.
        """
        path = self.directory / "result.json"
        kind: type[RunResult] = DigitRunResult
        if isinstance(self.recipe, LineRecipe):
            kind = LineRunResult
        elif isinstance(self.recipe, PageRecipe):
            kind = PageRunResult
        try:
            return results.decode(path.read_bytes(), kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise OutputError(path, f"not a result: {error}") from None

    @property
    def environment(self) -> dict[str, str]:
        """Versions, machine and revision that the run was begun with."""
        try:
            content = (self.directory / "environment.json").read_bytes()
            return msgspec.json.decode(content, type=dict[str, str])
        except (OSError, ValueError) as error:  # the report says so: it is for nothing else
            return {"environment.json": f"cannot be read: {reason_of(error)}"}

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl.

        Raises:
            OutputError: it cannot be read, or a line is damaged.
        """
        with self._open_metrics("rb") as file:
            lines = file.read().splitlines()
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(json.loads(line))
                msgspec.convert(records[-1], _Record)
            except ValueError:  # of both, and of text that is not UTF-8
                reason = f"line {number} is damaged; delete it to go on: the weights are not in it"
                raise OutputError(self._metrics, reason) from None
        return records

    @property
    def _metrics(self) -> Path:
        return self.directory / "metrics.jsonl"

    def record(self, values: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl.

        Raises:
            OutputError: it cannot be written.
        """
        with self._open_metrics("ab") as file:
            file.write(json.dumps(values).encode() + b"\n")

    def save_checkpoint(self, arrays: Arrays, state: TrainState) -> None:
        """Write all that the training needs to continue from here.

        Raises:
            OutputError: it cannot be written.
        """
        with self._open_metrics("rb") as metrics:
            os.fsync(metrics.fileno())
            state.metrics_bytes = os.fstat(metrics.fileno()).st_size
        content = save(dict(arrays), metadata={"state": msgspec.json.encode(state).decode()})
        write_atomically(self.directory / "checkpoint.safetensors", content)

    def load_checkpoint(self) -> tuple[dict[str, np.ndarray], TrainState]:
        """Arrays and state of the last checkpoint; cuts the metrics to their length at that time.

        Without a checkpoint there are no arrays, and the state is the start.

        Raises:
            OutputError: the checkpoint is damaged, or the metrics cannot be opened.
        """
        path = self.directory / "checkpoint.safetensors"
        arrays: dict[str, np.ndarray] = {}
        state = TrainState()
        if path.exists():
            try:
                with safe_open(path, framework="numpy") as file:
                    stored = file.metadata() or {}
                    text = stored.get("state") or stored["place"]  # as Rowscan 0.1 called it
                    state = msgspec.json.decode(text, type=TrainState)
                    arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            except (
                OSError,
                SafetensorError,
                msgspec.DecodeError,
                UnicodeDecodeError,
                KeyError,
            ) as error:
                reason = " ".join(str(error).split())
                raise OutputError(
                    path,
                    f"not a checkpoint, or a damaged one ({reason}); remove it to begin anew with "
                    "this recipe",
                ) from None
        with self._open_metrics("ab") as metrics:
            metrics.truncate(min(state.metrics_bytes, metrics.tell()))
        return arrays, state

    @contextmanager
    def _open_metrics(self, mode: Literal["ab", "rb"]) -> Iterator[IO[bytes]]:
        try:
            with self._metrics.open(mode) as file:
                yield file
        except OSError as error:
            reason = reason_of(error)
            raise OutputError(self._metrics, f"cannot be opened or written: {reason}") from None

    def finish(self, result: RunResult, weights: Arrays) -> None:
        """Write the weights, then the result, which marks the run as complete.

        Raises:
            OutputError: they cannot be written.
        """
        write_atomically(self.directory / "weights.safetensors", save(dict(weights)))
        write_atomically(self.directory / "result.json", results.encode(result) + b"\n")
        (self.directory / "checkpoint.safetensors").unlink(missing_ok=True)


def new_directory(recipe: Recipe, parent: Path = Path("runs")) -> Path:
    """A free name for a run: runs/NAME, runs/NAME-2 and so on."""
    directory, number = parent / recipe.name, 1
    while directory.exists():
        number += 1
        directory = parent / f"{recipe.name}-{number}"
    return directory


def environment() -> dict[str, str]:
    """What a figure depends on besides its recipe: versions, machine, revision, date."""
    found = {
        "rowscan": rowscan.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "machine": _processor(),
        "cores": str(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ),
    }
    for package in ("numpy", "torch", "tensorflow", "tensorflow-cpu", "onnx", "onnxruntime"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    revision = _revision()
    return found | ({"revision": revision} if revision else {})


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _revision() -> str | None:
    """The commit of the checkout that tracks this file; None outside one."""
    here = Path(__file__)
    found = ""
    try:
        for question in (["ls-files", "--error-unmatch", here.name], ["describe", "--always"]):
            found = subprocess.run(
                ["git", *question],
                cwd=here.parent,
                capture_output=True,
                text=True,
                check=True,
                timeout=5,
            ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return found
