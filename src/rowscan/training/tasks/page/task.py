"""The task `page`: trained and tested on composed pages."""

import itertools
from typing import Any

import numpy as np

from rowscan.datasets.digits import Digits, Split, load_digits
from rowscan.recipes import PageRecipe, Recipe
from rowscan.training.export import export, read_weights
from rowscan.training.results import PageRunResult
from rowscan.training.runs import Run, TrainState
from rowscan.training.synthesis.pages import PageBatch, PageComposer
from rowscan.training.tasks.interface import Measurement, Task
from rowscan.training.tasks.page.engine import COMPOSED, Agreement, PageEngine
from rowscan.training.tasks.page.graph import page_graph

MONITOR_BATCHES, TEST_BATCHES = 12, 24
"""Batches of 16 held-out pages to measure on."""
_SIZE = 16
_HELD_OUT_DIGITS = 1000
_TOLERANCE = 1e-4  # of probabilities, after hundreds of steps in float32
LABELS = ("paper", "ink", "other")
"""What the probabilities of a pixel stand for."""


class PageTask(Task):
    """A training of a network that takes pages apart."""

    engine: PageEngine
    kind = "page"

    def __init__(self, recipe: PageRecipe, engine: PageEngine, digits: Digits) -> None:
        """Give the engine its data.

        Args:
            recipe: what to train.
            engine: the network.
            digits: pages are composed of these.
        """
        self.recipe, self.engine = recipe, engine
        self.steps_per_epoch = recipe.steps_per_epoch
        engine.load_images(digits.train.images, digits.train.labels)
        self._validation = held_out(digits.validation, MONITOR_BATCHES, seed=1)
        self._test = digits.test

    @classmethod
    def prepare(cls, recipe: Recipe, *, device: str, offline: bool) -> "PageTask":
        """As in `Task`."""
        assert isinstance(recipe, PageRecipe)
        engine = PageEngine(recipe, device)
        if recipe.start:
            engine.load_weights(read_weights(recipe.start, cls.kind, engine.weights()))
        return cls(recipe, engine, load_digits(recipe.data, offline=offline))

    def monitor(self) -> Measurement:
        """Overlap of the ink found with the truth, on validation pages."""
        found = self._measure(self._validation)
        return Measurement(len(self._validation) * _SIZE, found.ink, found.loss)

    def finish(self, run: Run, state: TrainState) -> PageRunResult:
        """Test on pages of test digits and write the model file."""
        self.engine.close()
        pages = held_out(self._test, TEST_BATCHES, seed=2)
        found = self._measure(pages)
        result = PageRunResult(
            n=len(pages) * _SIZE,
            ink_overlap=round(found.ink, 4),
            band_overlap=round(found.band, 4),
            accuracy=round(found.ink, 4),
            seconds=round(state.seconds, 3),
        )
        few = pages[0].pictures[:2]
        report: dict[str, Any] = {"data": self.recipe.data, "images": "pages of test digits"}
        export(
            run.model,
            self.recipe,
            page_graph(self.recipe, self.engine.weights()),
            kind=self.kind,
            images=few,
            answers=self.engine.answer(few),
            calibration={"method": "none"},
            report=report | vars(result),
            labels=LABELS,
            tolerance=_TOLERANCE,
        )
        return result

    @staticmethod
    def summary(run: Run) -> list[str]:
        """How far ink and bands found overlap with the truth."""
        result = run.result
        assert isinstance(result, PageRunResult)
        return [
            f"ink        {result.ink_overlap:.2%} intersection over union, {result.n:,} pages",
            f"bands      {result.band_overlap:.2%} intersection over union",
        ]

    def _measure(self, batches: list[PageBatch]) -> Agreement:
        each = [self.engine.measure(batch) for batch in batches]
        return Agreement(*(float(np.mean(values)) for values in zip(*each, strict=True)))


def held_out(split: Split, batches: int, *, seed: int) -> list[PageBatch]:
    """Pages of held-out digits, the same at every call with a seed."""
    composer = PageComposer.of(
        split.images, split.labels, size=_SIZE, seed=(seed, COMPOSED + 1), keep=_HELD_OUT_DIGITS
    )
    return [composer(number) for number in itertools.islice(itertools.count(), batches)]
