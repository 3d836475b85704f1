"""Task: what of a training depends on the kind of model. The loop knows nothing else of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from rowscan.recipes import Recipe
from rowscan.training.engines.interface import Engine
from rowscan.training.results import RunResult
from rowscan.training.runs import Run, TrainState


class Measurement(NamedTuple):
    """A measurement on held-out examples."""

    n: int
    accuracy: float
    loss: float
    """Mean loss in nats."""


class Task(ABC):
    """One training of one kind of model, with everything that it needs already opened.

    Attributes:
        engine: the network in training.
        steps_per_epoch: steps in an epoch.
        notes: lines about the data that people should see before the training.
    """

    kind: ClassVar[str]
    """As the model file has it: `digit` or `line`."""
    engine: Engine
    steps_per_epoch: int
    notes: Sequence[str] = ()

    @classmethod
    @abstractmethod
    def prepare(cls, recipe: Recipe, *, device: str, offline: bool) -> "Task":
        """Make the engine with its first weights, and open all data of the training.

        Raises:
            UsageError: the recipe cannot be trained here.
            DataError: data are missing or damaged.
            ModelError: the weights to start from do not fit.
            MissingExtraError: the engine's framework is not installed.
        """

    @classmethod
    def digits_for(cls, recipe: Recipe) -> str:
        """The data set of single digits that the training needs, as `load_digits` takes it."""
        return recipe.data

    @classmethod
    def settings_for(cls, data: str | Path) -> Mapping[str, Any]:
        """Values of the recipe that these data ask for, where the user gives no others."""
        return {}

    @abstractmethod
    def monitor(self) -> Measurement:
        """How good the network is now."""

    @abstractmethod
    def finish(self, run: Run, state: TrainState) -> RunResult:
        """Calibrate, test once, write model file and report; the figures of the test."""

    @staticmethod
    @abstractmethod
    def summary(run: Run) -> list[str]:
        """What the command prints of a complete run, a line each."""
