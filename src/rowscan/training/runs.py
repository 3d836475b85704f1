"""The run directory: what a training leaves behind, and what it needs to go on after any end.

    recipe.json            the recipe, whole
    environment.json       versions, machine, revision
    metrics.jsonl          a line a measurement
    checkpoint.safetensors weights, the optimiser's memory and the place in the training
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
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

import rowscan
from rowscan.errors import OutputError, UsageError
from rowscan.io.atomic import write_atomically
from rowscan.recipes import Recipe
from rowscan.training.engines.interface import Arrays


class Place(msgspec.Struct, forbid_unknown_fields=True):
    """Where a training stands, and what it has added up since its last record."""

    step: int = 0
    """Steps done, over all epochs."""
    seconds: float = 0.0
    """Time spent on them, interruptions apart."""
    loss_sum: float = 0.0
    """Sum of the losses since the last record, each times its images."""
    correct: int = 0
    """Right answers since the last record."""
    seen: int = 0
    """Images since the last record."""
    metrics_bytes: int = 0
    """Length of metrics.jsonl when this was written."""


@dataclass(frozen=True)
class Run:
    """A run directory and its recipe."""

    directory: Path
    recipe: Recipe

    @classmethod
    def create(cls, directory: Path, recipe: Recipe) -> "Run":
        """A new run directory, which appears with its recipe in it or not at all.

        Raises:
            UsageError: the directory is there already.
            RowscanError: it cannot be written.
        """
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise UsageError(f"{directory}: is there already; resume it, or name another output")
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
            raise OutputError(directory, f"cannot be made: {error.strerror}") from None
        return cls(directory, recipe)

    @classmethod
    def open(cls, directory: Path) -> "Run":
        """A run directory that is there.

        Raises:
            UsageError: there is none, or it is damaged.
        """
        path = directory / "recipe.json"
        try:
            return cls(directory, msgspec.json.decode(path.read_bytes(), type=Recipe))
        except OSError:
            raise UsageError(f"{directory}: is no run directory: it has no recipe.json") from None
        except msgspec.DecodeError as error:
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
    def result(self) -> dict[str, Any] | None:
        """The test's figures; None while the run is not complete."""
        path = self.directory / "result.json"
        return json.loads(path.read_text()) if path.exists() else None

    @property
    def environment(self) -> dict[str, str]:
        """Versions, machine and revision that the run was begun with."""
        return json.loads((self.directory / "environment.json").read_text())  # type: ignore[no-any-return]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        lines = (self.directory / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def record(self, values: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        try:
            with (self.directory / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise OutputError(file.name, f"cannot be written: {error.strerror}") from None

    def save_checkpoint(self, state: Arrays, place: Place) -> None:
        """Write down all that the training needs to go on from here."""
        with (self.directory / "metrics.jsonl").open("rb") as metrics:
            os.fsync(metrics.fileno())
            place.metrics_bytes = os.fstat(metrics.fileno()).st_size
        content = save(dict(state), metadata={"place": msgspec.json.encode(place).decode()})
        write_atomically(self.directory / "checkpoint.safetensors", content)

    def load_checkpoint(self) -> tuple[dict[str, np.ndarray], Place]:
        """State and place of the last checkpoint, and the metrics as they were then.

        Where there is none, the state is empty and the place is the start.
        """
        path = self.directory / "checkpoint.safetensors"
        state: dict[str, np.ndarray] = {}
        place = Place()
        if path.exists():
            try:
                with safe_open(path, framework="numpy") as file:
                    place = msgspec.json.decode(file.metadata()["place"], type=Place)
                    state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            except (SafetensorError, msgspec.DecodeError, KeyError, TypeError) as error:
                raise OutputError(path, f"is no checkpoint: {error}") from None
        with (self.directory / "metrics.jsonl").open("ab") as metrics:
            metrics.truncate(place.metrics_bytes)
        return state, place

    def finish(self, weights: Arrays, result: Mapping[str, Any]) -> None:
        """Write the weights, then the result that marks the run as complete."""
        write_atomically(self.directory / "weights.safetensors", save(dict(weights)))
        write_atomically(self.directory / "result.json", json.dumps(result, indent=2) + "\n")
        (self.directory / "checkpoint.safetensors").unlink(missing_ok=True)


def new_directory(recipe: Recipe, parent: Path = Path("runs")) -> Path:
    """A name for a run that is not taken: runs/NAME, runs/NAME-2 and so on."""
    directory, number = parent / recipe.name, 1
    while directory.exists():
        number += 1
        directory = parent / f"{recipe.name}-{number}"
    return directory


def environment() -> dict[str, str]:
    """What a figure depends on beside its recipe: versions, machine, revision, date."""
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
    """The commit of the checkout that this file is tracked in, where it is in one."""
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
