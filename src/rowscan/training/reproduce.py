"""Published claims measured again: each system is trained over several seeds and compared.

It owns no statistics; those are in `rowscan.metrics`.
"""

import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rowscan.errors import UsageError
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
    for recipe in chosen:
        create(recipe, device)  # a missing framework is found now, not after an hour of training
    for recipe in chosen:
        assert recipe.published is not None
        each = range(recipe.seed, recipe.seed + seeds)
        results = [_train(recipe, seed, device, offline) for seed in each]
        yield Reproduction(
            recipe=recipe.name,
            published=recipe.published,
            seeds=tuple(each),
            accuracies=tuple(there for there, _ in results),
            test_accuracies=tuple(result.accuracy for _, result in results),
            test_images=results[0][1].n,
            seconds=tuple(result.seconds for _, result in results),
        )


def _find(name: str) -> DigitRecipe:
    """The recipe of a published system."""
    recipe = find(name)
    if recipe.published is None or not isinstance(recipe, DigitRecipe):
        raise UsageError(f"recipe {name} is Rowscan's own and reproduces no published system")
    return recipe


def _train(
    recipe: DigitRecipe, seed: int, device: str, offline: bool
) -> tuple[float, DigitRunResult]:
    """One training: its accuracy on the images of the claim, and its result."""
    with tempfile.TemporaryDirectory(prefix="rowscan-") as directory:
        output = Path(directory) / f"{recipe.name}-{seed}"
        run = train(recipe, output=output, device=device, offline=offline, seed=seed)
        result = run.result
    assert isinstance(result, DigitRunResult)
    assert result.published_accuracy is not None
    return result.published_accuracy, result


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
