"""Progress of a training on standard error: a bar on a terminal, plain lines elsewhere."""

import sys
from types import TracebackType

from tqdm import tqdm

from rowscan.recipes import Recipe


class TrainingProgress:
    """Progress of one training; with `quiet` it shows nothing."""

    def __init__(self, recipe: Recipe, *, steps: int, done: int, quiet: bool = False) -> None:
        self._epochs = recipe.epochs
        self._steps = steps
        self._lines = not quiet and not sys.stderr.isatty()
        self._bar = tqdm(
            total=steps,
            initial=done,
            desc=recipe.name,
            unit="step",
            dynamic_ncols=True,
            disable=quiet or self._lines,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} "
            "[{elapsed}<{remaining}]{postfix}",
        )
        self._shown = {"loss": "", "accuracy": "", "held out": ""}

    def step(self) -> None:
        """One step is done."""
        self._bar.update()

    def record(self, loss: float, accuracy: float) -> None:
        """Loss and accuracy on the training images since the last record."""
        self._show(loss=f"{loss:.3f}", accuracy=f"{accuracy:.1%}")

    def monitor(self, epoch: int, step: int, on: str, accuracy: float, *, loss: float) -> None:
        """Accuracy and loss on held-out images after `step` steps."""
        self._show(**{"held out": f"{accuracy:.1%}"})
        if self._lines:
            trained = f"loss {self._shown['loss']}  accuracy {self._shown['accuracy']:>6}"
            self.say(
                f"epoch {epoch + 1}/{self._epochs}  step {step:>5}/{self._steps}  {trained}  "
                f"{on} loss {loss:.3f}  {on} accuracy {accuracy:.2%}"
            )

    def epoch(self, epoch: int, *, loss: float, accuracy: float, seconds: float) -> None:
        """The end of an epoch: mean loss and accuracy on the training images, and seconds."""
        if self._epochs > 1:
            held_out = self._shown["held out"]
            self.say(
                f"epoch {epoch + 1}/{self._epochs}: loss {loss:.3f}, accuracy {accuracy:.2%}, "
                f"held out {held_out}, {seconds:.1f} s"
            )

    def say(self, line: str) -> None:
        """Print one line."""
        if self._lines:
            print(line, file=sys.stderr, flush=True)
        elif not self._bar.disable:
            self._bar.write(line, file=sys.stderr)

    def _show(self, **values: str) -> None:
        self._shown |= values
        shown = {name: value for name, value in self._shown.items() if value}
        self._bar.set_postfix(shown, refresh=False)

    def __enter__(self) -> "TrainingProgress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
