"""Published claims measured again: each system is trained over several seeds and compared.

It owns no statistics; those are in `rowscan.metrics`.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rowscan.datasets.digits import load_digits
from rowscan.errors import UsageError
from rowscan.io.cores import available_cores
from rowscan.metrics import Verdict, judge, low_fence, runs_reaching
from rowscan.recipes import RECIPES, DigitRecipe, Published, find
from rowscan.training.engines.factory import create
from rowscan.training.loop import train
from rowscan.training.results import DigitRunResult
from rowscan.training.runs import environment


@dataclass(frozen=True)
class Reproduction:
    """One published system, trained again over several seeds."""

    recipe: str
    published: Published
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    """On the images that the claim is about, one a seed."""
    test_accuracies: tuple[float, ...]
    """On the whole test set, one a seed."""
    test_images: int
    seconds: tuple[float, ...]
    """Time of each training, measurements while training included."""

    @property
    def verdict(self) -> Verdict | None:
        """Which runs reach the published figure; None where none was published."""
        if self.published.accuracy is None:
            return None
        return judge(self.published.accuracy, self.accuracies, self.published.images)

    @property
    def reaching(self) -> int | None:
        """How many runs reach the published figure; None where none was published."""
        if self.published.accuracy is None:
            return None
        return runs_reaching(self.published.accuracy, self.accuracies, self.published.images)

    @property
    def outliers(self) -> int | None:
        """How many runs end far below the median on the whole test set; None for under three."""
        fence = low_fence(self.test_accuracies, self.test_images)
        return None if fence is None else sum(a < fence for a in self.test_accuracies)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form. `stands` says whether the median run reaches the published figure."""
        first, middle, third = np.quantile(self.accuracies, (0.25, 0.5, 0.75)).tolist()
        return asdict(self) | {
            "published": {"accuracy": self.published.accuracy, "images": self.published.images},
            "stands": None if self.verdict is None else self.verdict in ("typical", "reached"),
            "verdict": self.verdict,
            "reaching": self.reaching,
            "outliers": self.outliers,
            "median": middle,
            "quartiles": [first, third],
            "best": max(self.accuracies),
        }


def reproduce(
    names: Sequence[str] = (), *, seeds: int = 1, device: str = "auto", offline: bool = False
) -> Iterator[Reproduction]:
    """Train published systems again, each with its published seed and the ones that follow it.

    On the CPU as many trainings run at once as there are cores, each in a process with one thread:
    so a seed gives the same figures however many are asked for.

    Args:
        names: recipes of published systems; all of them by default.
        seeds: trainings of each.
        device: as for `train`.
        offline: as for `train`.

    Raises:
        UsageError: a recipe is unknown or reproduces no published system.
        MissingExtraError: the framework of one of them is not installed; nothing was trained.
    """
    chosen = [_find(name) for name in names or [r.name for r in RECIPES.values() if r.published]]
    # A missing framework is found now, not after an hour of training.
    devices = {str(getattr(create(recipe, device), "device", "cpu")) for recipe in chosen}
    for data in {recipe.data for recipe in chosen}:  # what is missing is downloaded once
        load_digits(data, offline=offline)
    runs = [(recipe, recipe.seed + number) for recipe in chosen for number in range(seeds)]
    workers = min(available_cores(), len(runs)) if devices == {"cpu"} else 1
    with tempfile.TemporaryDirectory(prefix="rowscan-") as folder, _pool(workers) as pool:
        with _one_thread():
            trainings = [
                pool.submit(
                    _train,
                    recipe,
                    seed,
                    output=Path(folder) / f"{recipe.name}-{seed}",
                    device=device,
                    offline=offline,
                    quiet=workers > 1,
                )
                for recipe, seed in runs
            ]
        for number, recipe in enumerate(chosen):
            own = slice(number * seeds, (number + 1) * seeds)
            yield _measured(recipe, runs[own], trainings[own], announce=workers > 1)


def _measured(
    recipe: DigitRecipe,
    runs: Sequence[tuple[DigitRecipe, int]],
    trainings: Sequence[Future[DigitRunResult]],
    *,
    announce: bool,
) -> Reproduction:
    """The results of the trainings of one system, as they end."""
    assert recipe.published is not None
    results = []
    for (_, seed), training in zip(runs, trainings, strict=True):
        result = training.result()
        results.append(result)
        if announce:
            line = f"{recipe.name}, seed {seed}: {result.accuracy:.2%} in {result.seconds:.1f} s"
            print(line, file=sys.stderr, flush=True)
    return Reproduction(
        recipe=recipe.name,
        published=recipe.published,
        seeds=tuple(seed for _, seed in runs),
        accuracies=tuple(result.published_accuracy or 0.0 for result in results),
        test_accuracies=tuple(result.accuracy for result in results),
        test_images=results[0].n,
        seconds=tuple(result.seconds for result in results),
    )


def _find(name: str) -> DigitRecipe:
    """The recipe of a published system."""
    recipe = find(name)
    if recipe.published is None or not isinstance(recipe, DigitRecipe):
        raise UsageError(f"recipe {name} is Rowscan's own and reproduces no published system")
    return recipe


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes to train in. What is still waiting when the block is left is not begun."""
    context = multiprocessing.get_context("spawn")  # a fork would copy locked threads
    pool = ProcessPoolExecutor(workers, context, initializer=_end_on_interrupt)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _end_on_interrupt() -> None:
    """Ctrl-C ends a worker at once and without a word: the parent reports it."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))


_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that start within use one thread each, whatever library computes."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _train(
    recipe: DigitRecipe, seed: int, *, output: Path, device: str, offline: bool, quiet: bool
) -> DigitRunResult:
    """One training, in a process of its own."""
    run = train(recipe, output=output, device=device, offline=offline, quiet=quiet, seed=seed)
    result = run.result
    assert isinstance(result, DigitRunResult)
    shutil.rmtree(output)
    return result


def to_text(reproductions: Sequence[Reproduction]) -> str:
    """A paragraph for each system, for a terminal, and what it was measured on."""
    found = environment()
    where = f"{found['machine']}, {found['cores']} cores, {found['date'][:10]}"
    return "\n\n".join([_paragraph(one) for one in reproductions] + [where])


_VERDICTS = {
    "typical": "the typical run reaches it",
    "lucky": "a lucky run reaches it, the typical one does not",
    "none": "no run reaches it",
    "reached": "this run reaches it; whether a typical one does, more seeds tell",
    "missed": "this run misses it; whether a typical one does, more seeds tell",
}


def _paragraph(one: Reproduction) -> str:
    runs, claimed = len(one.seeds), one.published.accuracy
    seeds = f"seeds {one.seeds[0]} to {one.seeds[-1]}" if runs > 1 else f"seed {one.seeds[0]}"
    fewer = one.published.images < one.test_images
    on = f"of {'the first' if fewer else 'all'} {one.published.images:,} test images"
    lines = [
        f"{one.recipe}, {seeds}, {np.mean(one.seconds):.1f} s a run",
        f"published  {'no figure' if claimed is None else f'{claimed:.2%} {on}'}",
        f"measured   {_spread(one.accuracies)}",
    ]
    if fewer:
        lines.append(f"all {one.test_images:<6,} {_spread(one.test_accuracies)}")
    if one.verdict is not None:
        lines.append(f"verdict    {one.reaching} of {runs}: {_VERDICTS[one.verdict]}")
    fence = low_fence(one.test_accuracies, one.test_images)
    if fence is not None:
        on = f"of all {one.test_images:,}"
        lines.append(
            f"outliers   {one.outliers} of {runs} far below the median: under {fence:.2%} {on}"
        )
    if runs > 1:
        each = " ".join(f"{accuracy:.2%}" for accuracy in one.accuracies)
        lines += textwrap.wrap(each, 80, initial_indent="runs       ", subsequent_indent=" " * 11)
    return "\n".join(lines)


def _spread(accuracies: Sequence[float]) -> str:
    if len(accuracies) == 1:
        return f"{accuracies[0]:.2%}"
    first, middle, third = np.quantile(accuracies, (0.25, 0.5, 0.75))
    return f"median {middle:.2%}, quartiles {first:.2%} and {third:.2%}, best {max(accuracies):.2%}"
