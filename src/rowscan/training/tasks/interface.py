"""What a training is measured by: while it goes on, and once at its end."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from rowscan.training.runs import Place, Run


class Measured(NamedTuple):
    """A measurement on held-out examples."""

    n: int
    accuracy: float
    loss: float
    """Mean loss in nats."""


@runtime_checkable
class Exam(Protocol):
    """One for each kind of model; made for a recipe, an engine and the data."""

    def monitor(self) -> Measured:
        """How good the network is now."""

    def finish(self, run: Run, place: Place) -> dict[str, Any]:
        """Calibrate, test once, write model file and report; the figures of the test."""
