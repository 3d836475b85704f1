"""The training loop: steps, measurements, checkpoints, and the test at the end.

It knows no framework (engines do), draws no picture (the report does) and prints nothing itself.
"""

import math
import time
from pathlib import Path
from typing import Any

from rowscan.datasets.digits import load_digits
from rowscan.datasets.labelled import has_labels, load_labels
from rowscan.errors import DataError, UsageError, requires
from rowscan.reader import Reader
from rowscan.recipes import Recipe, change, find, load
from rowscan.training.engines.distributed import ProcessGroup, ProcessGroupError, process_group
from rowscan.training.engines.factory import create
from rowscan.training.engines.interface import Engine, Trainer
from rowscan.training.export import named, read_weights
from rowscan.training.progress import TrainingProgress
from rowscan.training.runs import Place, Run, new_directory
from rowscan.training.tasks.digit.evaluator import DigitExam
from rowscan.training.tasks.interface import Exam

CHECKPOINT_SECONDS = 5.0
_SHORT = {"epochs": 20, "learning_rate": 0.0005, "optimizer": "adamw"}
"""A recipe of lines on a user's documents, where nothing else is asked for. At three times the rate
it forgets more than twice as many composed lines."""


def train(
    recipe: str | Path | Recipe,
    *,
    data: str | Path | None = None,
    start: str | Path | None = None,
    output: str | Path | None = None,
    device: str = "auto",
    offline: bool = False,
    quiet: bool = False,
    **changes: Any,
) -> Run:
    """Train a recipe and leave a run directory with a model file and a report.

    Args:
        recipe: a name from `rowscan recipes`, a TOML file, or a `Recipe`.
        data: another data set than the recipe's: a name or a path. For a network that reads lines
            a folder with a labels.csv, which half of each batch is then taken from.
        start: a model file or a run whose weights to begin with, or `shipped` for the package's.
        output: the run directory; runs/NAME where none is given.
        device: `auto`, `cpu`, `cuda` or `mps`.
        offline: never look for data outside this machine.
        quiet: show no progress.
        **changes: fields of the recipe with other values, as `epochs=2`.

    Raises:
        UsageError: no such recipe, a wrong key or value, or an output that is there already.
        DataError: the data cannot be had.
        MissingExtraError: the engine's framework is not installed.
    """
    with process_group(device) as group:
        if isinstance(recipe, str):
            recipe = load(Path(recipe)) if recipe.endswith(".toml") else find(recipe)
        elif isinstance(recipe, Path):
            recipe = load(recipe)
        if data is not None and has_labels(data) and recipe.network == "line":
            changes = _SHORT | {"steps_per_epoch": 10 + len(load_labels(data)) // 16} | changes
        named = {"data": data, "start": start}
        recipe = change(recipe, changes | {k: str(v) for k, v in named.items() if v is not None})
        if recipe.train_on == "all" and recipe.monitor == "validation":
            raise UsageError("train_on=all leaves no validation images: set monitor=test as well")
        if recipe.train_on == "all" and recipe.calibrate:
            raise UsageError(
                "train_on=all leaves no validation images: set calibrate=false as well"
            )
        engine = _engine(recipe, device, group)
        if recipe.start:
            engine.load_weights(read_weights(recipe.start, engine.weights()))
        exam, steps = _prepare(recipe, engine, group, offline)
        run = group.broadcast(
            lambda: Run.create(Path(output) if output else new_directory(recipe), recipe)
        )
        return _train(run, engine, exam, group, steps=steps, quiet=quiet)


def resume(
    directory: str | Path, *, device: str = "auto", offline: bool = False, quiet: bool = False
) -> Run:
    """Go on with a run that was interrupted; one that is complete is left as it is.

    It ends with bit for bit the weights of a training that was never interrupted, given the same
    machine and versions.

    Raises:
        UsageError: the directory holds no run.
    """
    with process_group(device) as group:
        run, complete = group.broadcast(lambda: _open(Path(directory)))
        if complete:
            return run
        engine = _engine(run.recipe, device, group)
        exam, steps = _prepare(run.recipe, engine, group, offline)
        return _train(run, engine, exam, group, steps=steps, quiet=quiet)


def _open(directory: Path) -> tuple[Run, bool]:
    """A run, and whether it is complete."""
    run = Run.open(directory)
    return run, run.result is not None


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


def _engine(recipe: Recipe, device: str, group: ProcessGroup) -> Trainer:
    if group.world_size > 1 and recipe.engine != "torch":
        raise UsageError(f"the {recipe.engine} engine trains in one process: leave out torchrun")
    if recipe.network != "line":
        return create(recipe, device)
    with requires("train", "training"):
        from rowscan.training.tasks.line.engine import LineEngine
    return LineEngine(recipe, device)


def _prepare(
    recipe: Recipe, engine: Trainer, group: ProcessGroup, offline: bool
) -> tuple[Exam, int]:
    """Give the engine its images; what the training will be measured by, and its steps."""
    labelled = recipe.network == "line" and has_labels(recipe.data)
    name = "mnist" if labelled else recipe.data
    if group.world_size > 1:  # what is fetched is fetched once
        group.broadcast(lambda: _ready(name, offline))
    digits = load_digits(name, offline=offline)
    images = digits.trainval if recipe.train_on == "all" else digits.train
    steps = recipe.epochs * _steps_per_epoch(recipe, len(images))
    if steps == 0:
        raise DataError(recipe.data, f"{len(images)} training images make no batch")
    engine.load_images(images.images, images.labels)
    if isinstance(engine, Engine):
        return DigitExam(recipe, engine, digits), steps
    from rowscan.training.synthesis.documents import load_documents
    from rowscan.training.tasks.line.engine import LineEngine
    from rowscan.training.tasks.line.evaluator import LineExam

    assert isinstance(engine, LineEngine)
    if not labelled:
        return LineExam(recipe, engine, digits), steps
    documents = load_documents(recipe.data, Reader(named(recipe.start)))
    engine.load_documents(documents)
    return LineExam(recipe, engine, digits, documents), steps


def _train(
    run: Run, engine: Trainer, exam: Exam, group: ProcessGroup, *, steps: int, quiet: bool
) -> Run:
    state, place = group.broadcast(run.load_checkpoint)
    if state:
        engine.load_state(state)
    recipe = run.recipe
    writes = group.is_main
    with TrainingProgress(
        recipe, steps=steps, done=place.step, quiet=quiet or not writes
    ) as progress:
        try:
            _run_epochs(
                run, engine, place, exam=exam, steps=steps, progress=progress, writes=writes
            )
        except KeyboardInterrupt as error:
            error.add_note(f"stopped; {_go_on(run)}")
            raise
        except ProcessGroupError as error:
            raise ProcessGroupError(f"{error}; {_go_on(run)}") from None
    group.broadcast(lambda: _finish(run, engine, exam, place))
    return run


def _finish(run: Run, engine: Trainer, exam: Exam, place: Place) -> None:
    result = exam.finish(run, place)
    run.finish(engine.weights(), result | {"seconds": round(place.seconds, 3)})


def _ready(data: str, offline: bool) -> None:
    load_digits(data, offline=offline)


def _go_on(run: Run) -> str:
    return f"go on with: rowscan train --resume {run.directory}"


def _run_epochs(
    run: Run,
    engine: Trainer,
    place: Place,
    *,
    exam: Exam,
    steps: int,
    progress: TrainingProgress,
    writes: bool,
) -> None:
    recipe = run.recipe
    per_epoch = steps // recipe.epochs
    started = time.perf_counter() - place.seconds
    saved = time.perf_counter()

    def record(epoch: int, kind: str, **values: Any) -> None:
        place.seconds = time.perf_counter() - started
        head = {"kind": kind, "epoch": epoch, "step": place.step}
        run.record(head | values | {"seconds": round(place.seconds, 3)})

    for epoch in range(place.step // per_epoch, recipe.epochs):
        for position, batch in enumerate(engine.order(epoch)):
            if epoch * per_epoch + position < place.step:
                continue  # done before the interruption
            rate = learning_rate(recipe, place.step, steps)
            loss, correct = engine.step(batch, rate)
            place.step += 1
            place.loss_sum += loss * len(batch)
            place.correct += correct
            place.seen += len(batch)
            progress.step()
            if not writes:
                continue
            last = position == per_epoch - 1
            # As the published scripts count: after steps 1, 51, 101, ... of an epoch.
            if last or position % recipe.record_every == 0:
                mean, accuracy = place.loss_sum / place.seen, place.correct / place.seen
                record(
                    epoch,
                    "step",
                    images=place.seen,
                    loss=mean,
                    accuracy=accuracy,
                    learning_rate=rate,
                )
                progress.record(mean, accuracy)
                place.loss_sum, place.correct, place.seen = 0.0, 0, 0
            if last or (recipe.monitor_every and position % recipe.monitor_every == 0):
                n, accuracy, loss = exam.monitor()
                values = {"images": n, "accuracy": accuracy, "loss": loss}
                record(epoch, "monitor", on=recipe.monitor, **values)
                progress.monitor(epoch, place.step, recipe.monitor, accuracy, loss=loss)
            if last:
                progress.epoch(epoch, **_summary(run.records, epoch))
            if last or time.perf_counter() - saved > CHECKPOINT_SECONDS:
                place.seconds = time.perf_counter() - started
                run.save_checkpoint(engine.state(), place)
                saved = time.perf_counter()


def _steps_per_epoch(recipe: Recipe, images: int) -> int:
    if recipe.steps_per_epoch:
        return recipe.steps_per_epoch if images else 0
    if recipe.sampling == "replacement":
        return images // recipe.batch_size
    return math.ceil(images / recipe.batch_size)


def _summary(records: list[dict[str, Any]], epoch: int) -> dict[str, float]:
    """Mean loss and accuracy of an epoch over its images, and its time in seconds."""
    steps = [r for r in records if r["kind"] == "step" and r["epoch"] == epoch]
    before = max((r["seconds"] for r in records if r["epoch"] < epoch), default=0.0)
    seen = sum(r["images"] for r in steps)
    return {
        "loss": sum(r["loss"] * r["images"] for r in steps) / seen,
        "accuracy": sum(r["accuracy"] * r["images"] for r in steps) / seen,
        "seconds": steps[-1]["seconds"] - before,
    }
