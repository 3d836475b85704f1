"""The task `digit`: trained and tested on single digits of a data set."""

import math
from functools import partial
from typing import Any

import numpy as np

from rowscan.arrays import Float32, Shaped, UInt8
from rowscan.datasets.digits import Digits, Split, load_digits
from rowscan.errors import DataError
from rowscan.metrics import score_digits
from rowscan.recipes import DigitRecipe, Recipe
from rowscan.recognition import tta
from rowscan.training.calibration import calibrate
from rowscan.training.engines.factory import create
from rowscan.training.engines.interface import DigitEngine, predict_proba
from rowscan.training.export import export, read_weights
from rowscan.training.report import write_report
from rowscan.training.results import DigitRunResult, Sample
from rowscan.training.runs import Run, TrainState
from rowscan.training.tasks.digit.graph import digit_graph
from rowscan.training.tasks.interface import Measurement, Task

_IMAGES_IN_EXPORT_CHECK = 256


class DigitTask(Task):
    """A training of a network that reads single digits."""

    engine: DigitEngine
    kind = "digit"

    def __init__(self, recipe: DigitRecipe, engine: DigitEngine, digits: Digits) -> None:
        images = digits.trainval if recipe.train_on == "all" else digits.train
        self.recipe, self.engine, self.digits = recipe, engine, digits
        self.steps_per_epoch = _steps_per_epoch(recipe, len(images))
        if self.steps_per_epoch == 0:
            raise DataError(recipe.data, f"{len(images)} training images are less than one batch")
        engine.load_images(images.images, images.labels)
        if absent := _digits(np.bincount(images.labels, minlength=10) == 0):
            self.notes = [f"{recipe.data}: no training images of {absent}"]
        split = digits.test if recipe.monitor == "test" else digits.validation
        n = recipe.monitor_images or len(split)
        self._monitored = Split(split.images[:n], split.labels[:n])

    @classmethod
    def prepare(cls, recipe: Recipe, *, device: str, offline: bool) -> "DigitTask":
        """As in `Task`."""
        assert isinstance(recipe, DigitRecipe)
        engine = create(recipe, device)
        if recipe.start:
            engine.load_weights(read_weights(recipe.start, cls.kind, engine.weights()))
        return cls(recipe, engine, load_digits(cls.digits_for(recipe), offline=offline))

    def monitor(self) -> Measurement:
        """Accuracy and loss on the images that the recipe names."""
        scored = score_digits(
            predict_proba(self.engine, self._monitored.images), self._monitored.labels
        )
        return Measurement(scored.n, scored.accuracy, scored.nll)

    def finish(self, run: Run, state: TrainState) -> DigitRunResult:
        """Calibrate on the validation images, test on the test images, write model and report."""
        recipe, engine, test = self.recipe, self.engine, self.digits.test
        calibration = self._calibrate()
        probabilities = self._answers(test.images)
        scored = score_digits(probabilities, test.labels)
        few = test.images[:_IMAGES_IN_EXPORT_CHECK]
        belief = engine.belief(few)
        export(
            run.model,
            recipe,
            digit_graph(recipe, engine.weights()),
            kind=self.kind,
            images=few,
            answers={"probabilities": belief[:, -1], "belief": belief},
            calibration=calibration,
            report={"data": recipe.data, "images": "test"} | scored.to_dict(),
        )
        write_report(
            run.report,
            recipe=recipe,
            records=run.records,
            environment=run.environment,
            probabilities=probabilities,
            images=test.images,
            labels=test.labels,
            example=self.digits.trainval.images[0],
            example_label=int(self.digits.trainval.labels[0]),
            seconds=state.seconds,
        )
        return DigitRunResult(
            **vars(scored),
            **self._claimed(probabilities),
            samples=self._samples(probabilities),
            seconds=round(state.seconds, 3),
        )

    @staticmethod
    def summary(run: Run) -> list[str]:
        """Predictions beside the truth, the accuracy, and the published claim."""
        result = run.result
        assert isinstance(result, DigitRunResult)
        low, high = result.interval
        lines = [
            f"prediction {' '.join(str(sample.answer) for sample in result.samples)}",
            f"truth      {' '.join(str(sample.truth) for sample in result.samples)}",
            f"accuracy   {result.accuracy:.2%} of {result.n:,} test images "
            f"(95% interval {low:.2%} to {high:.2%})",
        ]
        shown, answered = result.confusion.sum(1), result.confusion.sum(0)
        if never := _digits((shown > 0) & (answered == 0)):
            lines.append(f"never      answered {never}, although test images show it")
        published = run.recipe.published
        if published and result.published_n is not None:
            on = f"{result.published_accuracy:.2%} of the first {result.published_n:,}"
            lines.append(f"published  {published.claim}; here {on}")
        return lines

    def _calibrate(self) -> dict[str, Any]:
        if not self.recipe.calibrate:
            return {"method": "none"}
        validation = self.digits.validation
        done = calibrate(
            self.engine,
            lambda _: (
                score_digits(predict_proba(self.engine, validation.images), validation.labels).nll
            ),
            prior_ratio=_prior_ratio(self.recipe),
        )
        return {"method": "temperature"} | done | {"images": len(validation)}

    def _answers(self, images: UInt8[np.ndarray, "n height width"]) -> Float32[np.ndarray, "n 10"]:
        """As `Reader.predict_proba` will give them."""
        once = partial(predict_proba, self.engine)
        return tta.predict_proba(once, images) if self.recipe.tta else once(images)

    def _claimed(self, probabilities: Float32[np.ndarray, "n 10"]) -> dict[str, Any]:
        """Accuracy on as many test images as the publication tested."""
        if self.recipe.published is None:
            return {}
        n = self.recipe.published.images
        part = score_digits(probabilities[:n], self.digits.test.labels[:n])
        return {"published_n": part.n, "published_accuracy": part.accuracy}

    def _samples(self, probabilities: Float32[np.ndarray, "n 10"]) -> tuple[Sample, ...]:
        """Some predictions beside the truth."""
        recipe, labels = self.recipe, self.digits.test.labels
        chosen = np.arange(min(recipe.samples, len(labels)))
        if recipe.sample_from == "random":
            rng = np.random.default_rng(recipe.seed)
            chosen = rng.choice(len(labels), len(chosen), replace=False)
        return tuple(
            Sample(image=int(i), answer=int(probabilities[i].argmax()), truth=int(labels[i]))
            for i in chosen
        )


def _digits(chosen: Shaped[np.ndarray, " 10"]) -> str:
    """The digits that are chosen, for people; empty if none is."""
    return ", ".join(map(str, np.flatnonzero(chosen)))


def _steps_per_epoch(recipe: DigitRecipe, images: int) -> int:
    if recipe.steps_per_epoch:
        return recipe.steps_per_epoch if images else 0
    if recipe.sampling == "replacement":
        return images // recipe.batch_size
    return math.ceil(images / recipe.batch_size)


def _prior_ratio(recipe: DigitRecipe) -> float:
    """How much more often negatives are expected in use than in training."""
    if not recipe.negatives or not recipe.expected_negatives:
        return 1.0
    return recipe.expected_negatives / recipe.negatives
