"""How a training of a digit model is measured: single digits of the data set."""

from functools import partial
from typing import Any

import numpy as np

from rowscan.arrays import Float32, UInt8
from rowscan.datasets.digits import Digits, Split
from rowscan.metrics import score_digits
from rowscan.recipes import Recipe
from rowscan.recognition import tta
from rowscan.training.calibration import calibrate
from rowscan.training.engines.interface import Engine, predict_proba
from rowscan.training.export import export
from rowscan.training.report import write_report
from rowscan.training.runs import Place, Run
from rowscan.training.tasks.interface import Measured

_IMAGES_IN_EXPORT_CHECK = 256


class DigitExam:
    """An [`Exam`][rowscan.training.tasks.interface] of a network that reads single digits."""

    def __init__(self, recipe: Recipe, engine: Engine, digits: Digits) -> None:
        self._recipe, self._engine, self._digits = recipe, engine, digits
        split = digits.test if recipe.monitor == "test" else digits.validation
        n = recipe.monitor_images or len(split)
        self._held_out = Split(split.images[:n], split.labels[:n])

    def monitor(self) -> Measured:
        """Accuracy and loss on the images that the recipe names."""
        scored = score_digits(
            predict_proba(self._engine, self._held_out.images), self._held_out.labels
        )
        return Measured(scored.n, scored.accuracy, scored.nll)

    def finish(self, run: Run, place: Place) -> dict[str, Any]:
        """Calibrate on the validation images, test on the test images, write model and report."""
        recipe, engine, test = self._recipe, self._engine, self._digits.test
        calibration: dict[str, Any] = {"method": "none"}
        if recipe.calibrate:
            validation = self._digits.validation
            calibration = calibrate(
                engine,
                lambda: (
                    score_digits(predict_proba(engine, validation.images), validation.labels).nll
                ),
                prior_ratio=_prior_ratio(recipe),
            ) | {"images": len(validation)}
        probabilities = self._answers(test.images)
        scored = score_digits(probabilities, test.labels)
        few = test.images[:_IMAGES_IN_EXPORT_CHECK]
        belief = engine.belief(few)
        export(
            run.model,
            recipe,
            engine.weights(),
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
            example=self._digits.trainval.images[0],
            example_label=int(self._digits.trainval.labels[0]),
            seconds=place.seconds,
        )
        return scored.to_dict() | self._of_the_claim(probabilities) | self._samples(probabilities)

    def _answers(self, images: UInt8[np.ndarray, "n height width"]) -> Float32[np.ndarray, "n 10"]:
        """As `Reader.predict_proba` will give them."""
        one_look = partial(predict_proba, self._engine)
        return tta.predict_proba(one_look, images) if self._recipe.look_again else one_look(images)

    def _of_the_claim(self, probabilities: np.ndarray) -> dict[str, Any]:
        """Accuracy on as many test images as the publication tested."""
        if self._recipe.published is None:
            return {}
        n = self._recipe.published.images
        part = score_digits(probabilities[:n], self._digits.test.labels[:n])
        return {"published_n": part.n, "published_accuracy": part.accuracy}

    def _samples(self, probabilities: np.ndarray) -> dict[str, Any]:
        """Some predictions beside the truth."""
        recipe, labels = self._recipe, self._digits.test.labels
        chosen = np.arange(min(recipe.samples, len(labels)))
        if recipe.sample_from == "random":
            rng = np.random.default_rng(recipe.seed)
            chosen = rng.choice(len(labels), len(chosen), replace=False)
        return {
            "samples": [
                {
                    "image": int(i),
                    "answer": int(probabilities[i].argmax()),
                    "truth": int(labels[i]),
                }
                for i in chosen
            ]
        }


def _prior_ratio(recipe: Recipe) -> float:
    """How much rarer what is no digit is in use than in training."""
    if not recipe.no_digits or not recipe.expect_no_digits:
        return 1.0
    return recipe.expect_no_digits / recipe.no_digits
