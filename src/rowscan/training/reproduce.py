"""Measure the published claims again: train each system over several seeds and compare."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rowscan.errors import UsageError
from rowscan.metrics import claim_stands
from rowscan.recipes import RECIPES, Published, find
from rowscan.training.engines.factory import create
from rowscan.training.loop import train
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
    def stands(self) -> bool | None:
        """Whether the claim stands; None where no figure was published."""
        if self.published.accuracy is None:
            return None
        return claim_stands(self.published.accuracy, self.accuracies, self.published.images)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        published = {"accuracy": self.published.accuracy, "images": self.published.images}
        return asdict(self) | {"published": published, "stands": self.stands}


def reproduce(
    names: Sequence[str] = (), *, seeds: int = 1, device: str = "auto", offline: bool = False
) -> Iterator[Reproduction]:
    """Train published systems again, each with its published seed and the ones that follow it.

    Args:
        names: recipes with a published claim; all of them where none is named.
        seeds: how many trainings each.
        device: as for `train`.
        offline: as for `train`.

    Raises:
        UsageError: a recipe is unknown or claims nothing.
        MissingExtraError: the framework of one of them is not installed; nothing was trained.
    """
    recipes = [find(name) for name in names or [r.name for r in RECIPES.values() if r.published]]
    for recipe in recipes:
        if recipe.published is None:
            raise UsageError(f"recipe {recipe.name} reproduces nothing: it is Rowscan's own")
        create(recipe, device)  # what is missing is said now, and not after an hour of training
    for recipe in recipes:
        assert recipe.published is not None
        results = []
        for seed in range(recipe.seed, recipe.seed + seeds):
            with tempfile.TemporaryDirectory(prefix="rowscan-") as directory:
                run = train(
                    recipe,
                    output=Path(directory) / f"{recipe.name}-{seed}",
                    device=device,
                    offline=offline,
                    seed=seed,
                )
                assert run.result is not None
                results.append(run.result)
        yield Reproduction(
            recipe=recipe.name,
            published=recipe.published,
            seeds=tuple(range(recipe.seed, recipe.seed + seeds)),
            accuracies=tuple(result["published_accuracy"] for result in results),
            test_accuracies=tuple(result["accuracy"] for result in results),
            test_images=results[0]["n"],
            seconds=tuple(result["seconds"] for result in results),
        )


def to_text(reproductions: Sequence[Reproduction]) -> str:
    """A table for a terminal, with what it was measured on."""
    header = ("recipe", "published", "measured on the same images", "on all", "time", "claim")
    rows = [header]
    for one in reproductions:
        published = one.published.accuracy
        verdict = {True: "stands", False: "does not stand", None: "no figure to compare"}
        rows.append(
            (
                one.recipe,
                "–" if published is None else f"{published:.2%}",
                f"{_spread(one.accuracies)} on {one.published.images:,}",
                f"{_spread(one.test_accuracies)} on {one.test_images:,}",
                f"{np.mean(one.seconds):.1f} s",
                verdict[one.stands],
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    each = [
        f"{one.recipe}, seeds {one.seeds[0]} to {one.seeds[-1]}: "
        + " ".join(f"{accuracy:.2%}" for accuracy in one.accuracies)
        for one in reproductions
    ]
    found = environment()
    where = f"{found['machine']}, {found['cores']} cores, {found['date'][:10]}"
    rule = "A claim stands when the mean reaches it or it lies within two standard deviations."
    return "\n".join([line.rstrip() for line in lines] + ["", *each, "", rule, where])


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.2%}"
    return f"{mean} ± {np.std(values, ddof=1) * 100:.2f}" if len(values) > 1 else mean
