"""The training loop: steps, measurements, checkpoints, and the test at the end.

It knows no framework (engines do) and no kind of model (tasks do), and prints nothing itself.
"""

import contextlib
import itertools
import math
import time
from pathlib import Path
from typing import Any, SupportsFloat

from rowscan.datasets.digits import load_digits
from rowscan.errors import UsageError
from rowscan.recipes import DigitRecipe, Recipe, change, checked, find, load
from rowscan.training.engines.distributed import ProcessGroup, ProcessGroupError, process_group
from rowscan.training.progress import TrainingProgress
from rowscan.training.runs import Run, TrainState, new_directory
from rowscan.training.tasks import task_type
from rowscan.training.tasks.interface import Task

CHECKPOINT_SECONDS = 5.0


def train(
    recipe: str | Path | Recipe,
    *,
    data: str | Path | None = None,
    start: str | Path | None = None,
    output: str | Path | None = None,
    device: str = "auto",
    offline: bool = False,
    quiet: bool = False,
    **changes: object,
) -> Run:
    """Train a recipe and leave a run directory with a model file and a report.

    Args:
        recipe: a name from `rowscan recipes`, a TOML file, or a `Recipe`.
        data: another data set than the recipe's: a name or a path. For a network that reads lines,
            a folder with a labels.csv or one that was reviewed: half of each batch is then taken
            from it.
        start: a model file or a run whose weights to start from, or `shipped` for the model of this
            kind in the package.
        output: the run directory; by default runs/NAME.
        device: `auto`, `cpu`, `cuda` or `mps`.
        offline: never look for data outside this machine.
        quiet: show no progress.
        **changes: fields of the recipe with other values, as `epochs=2`.

    Raises:
        UsageError: an unknown recipe, a wrong key or value, or an output that exists.
        DataError: data are missing or damaged.
        ModelError: the weights to start from do not fit.
        MissingExtraError: the engine's framework is not installed.
    """
    with process_group(device) as group:
        chosen = _chosen(recipe)
        if data is not None:
            changes = {**task_type(chosen).settings_for(data), **changes, "data": str(data)}
        if start is not None:
            changes["start"] = str(start)
        chosen = change(chosen, changes)
        task = _prepare(chosen, device, group, offline)
        run = group.broadcast(
            lambda: Run.create(Path(output) if output else new_directory(chosen), chosen)
        )
        return _train(run, task, group, quiet=quiet)


def resume(
    directory: str | Path, *, device: str = "auto", offline: bool = False, quiet: bool = False
) -> Run:
    """Continue a run that was interrupted; a complete one is left as it is.

    It ends with bit for bit the weights of a training that was never interrupted, given the same
    machine and versions.

    Raises:
        UsageError: not a run directory.
    """
    with process_group(device) as group:
        run, complete = group.broadcast(lambda: _open(Path(directory)))
        if complete:
            return run
        return _train(run, _prepare(run.recipe, device, group, offline), group, quiet=quiet)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The step size for step `step` (from 0) of `steps`.

    One cycle: linear up to the recipe's rate over the first fifth, then half a cosine to zero
    (Smith & Topin, 2018, "Super-Convergence", with the cosine of Loshchilov & Hutter, 2017).
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = (step + 0.5) / steps
    if done < 0.2:
        return recipe.learning_rate * done / 0.2
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - 0.2) / 0.8))


def _chosen(recipe: str | Path | Recipe) -> Recipe:
    if isinstance(recipe, Recipe):
        return checked(recipe)
    if isinstance(recipe, Path) or recipe.endswith(".toml"):
        return load(Path(recipe))
    return find(recipe)


def _open(directory: Path) -> tuple[Run, bool]:
    """A run, and whether it is complete."""
    run = Run.open(directory)
    return run, run.result is not None


def _prepare(recipe: Recipe, device: str, group: ProcessGroup, offline: bool) -> Task:
    """The task with its engine and data; with several processes, data are fetched once."""
    kind = task_type(recipe)
    if group.world_size > 1:
        if isinstance(recipe, DigitRecipe) and recipe.engine != "torch":
            raise UsageError(
                f"the {recipe.engine} engine trains in one process: leave out torchrun"
            )
        group.broadcast(lambda: _fetch(kind.digits_for(recipe), offline))
    return kind.prepare(recipe, device=device, offline=offline)


def _fetch(data: str, offline: bool) -> None:
    load_digits(data, offline=offline)


def _train(run: Run, task: Task, group: ProcessGroup, *, quiet: bool) -> Run:
    weights, state = group.broadcast(run.load_checkpoint)
    if weights:
        task.engine.load_state(weights)
    steps = run.recipe.epochs * task.steps_per_epoch
    writes = group.is_main
    with TrainingProgress(
        run.recipe, steps=steps, done=state.step, quiet=quiet or not writes
    ) as progress:
        for note in task.notes:
            progress.say(note)
        try:
            _run_epochs(run, task, state, progress=progress, writes=writes)
        except KeyboardInterrupt as error:
            error.add_note(f"stopped; {_how_to_resume(run)}")
            raise
        except ProcessGroupError as error:
            raise ProcessGroupError(f"{error}; {_how_to_resume(run)}") from None
    group.broadcast(lambda: run.finish(task.finish(run, state), task.engine.weights()))
    return run


def _how_to_resume(run: Run) -> str:
    return f"continue with: rowscan train --resume {run.directory}"


def _run_epochs(
    run: Run, task: Task, state: TrainState, *, progress: TrainingProgress, writes: bool
) -> None:
    recipe, per_epoch = run.recipe, task.steps_per_epoch
    steps = recipe.epochs * per_epoch
    started = time.perf_counter() - state.seconds
    saved = time.perf_counter()

    def record(epoch: int, kind: str, **values: Any) -> None:
        state.seconds = time.perf_counter() - started
        head = {"kind": kind, "epoch": epoch, "step": state.step}
        run.record(head | values | {"seconds": round(state.seconds, 3)})

    def count() -> None:
        """Read what the last steps found; a GPU works until then without a pause."""
        for figures in found:
            state.add(*figures)
        found.clear()

    found: list[tuple[int, SupportsFloat, SupportsFloat]] = []
    orders = itertools.chain.from_iterable(map(task.engine.order, range(recipe.epochs)))
    with contextlib.closing(
        task.engine.feed(itertools.islice(orders, state.step, None))
    ) as batches:
        for number, batch in enumerate(batches, start=state.step):
            epoch, position = divmod(number, per_epoch)
            rate = learning_rate(recipe, number, steps)
            found.append((len(batch), *task.engine.step(batch, rate)))
            progress.step()
            last = position == per_epoch - 1
            # As the published scripts count: after steps 1, 51, 101, ... of an epoch.
            records = last or position % recipe.record_every == 0
            if records:
                count()
            if not writes:
                continue
            if records:
                n, mean, accuracy = state.means()
                record(epoch, "step", images=n, loss=mean, accuracy=accuracy, learning_rate=rate)
                progress.record(mean, accuracy)
            if last or (recipe.monitor_every and position % recipe.monitor_every == 0):
                count()
                n, accuracy, loss = task.monitor()
                on = recipe.monitor if isinstance(recipe, DigitRecipe) else "validation"
                record(epoch, "monitor", on=on, images=n, accuracy=accuracy, loss=loss)
                progress.monitor(epoch, state.step, on, accuracy, loss=loss)
            if last:
                progress.epoch(epoch, **_summary(run.records, epoch))
            if last or time.perf_counter() - saved > CHECKPOINT_SECONDS:
                count()
                state.seconds = time.perf_counter() - started
                run.save_checkpoint(task.engine.state(), state)
                saved = time.perf_counter()


def _summary(records: list[dict[str, Any]], epoch: int) -> dict[str, float]:
    """Mean loss and accuracy of an epoch over its images, and its time in seconds."""
    steps = [r for r in records if r["kind"] == "step" and r["epoch"] == epoch]
    before = max((r["seconds"] for r in records if r["epoch"] < epoch), default=0.0)
    seen = sum(r["images"] for r in steps) or math.nan  # who deletes a damaged line loses it
    return {
        "loss": sum(r["loss"] * r["images"] for r in steps) / seen,
        "accuracy": sum(r["accuracy"] * r["images"] for r in steps) / seen,
        "seconds": (steps[-1]["seconds"] if steps else math.nan) - before,
    }
