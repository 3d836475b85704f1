"""How a training of the line model is measured: lines composed of digits held out from it."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rowscan.datasets.digits import Digits, Split
from rowscan.metrics import NumberResult, score_numbers
from rowscan.reader import Reader
from rowscan.recipes import Recipe
from rowscan.recognition.ctc import decode, text_probability
from rowscan.training.calibration import calibrate
from rowscan.training.export import export, named
from rowscan.training.report import LineAnswer, write_line_report
from rowscan.training.runs import Place, Run
from rowscan.training.synthesis.documents import Documents
from rowscan.training.synthesis.lines import LineBatch
from rowscan.training.tasks.interface import Measured
from rowscan.training.tasks.line.engine import LineEngine, exact, held_out, steps

_BATCHES_TO_MONITOR, _BATCHES_TO_TEST = 24, 64
_SURE, _UNSURE = 1 - 1e-6, 1e-6


class LineExam:
    """An [`Exam`][rowscan.training.tasks.interface] of a network that reads lines."""

    def __init__(
        self,
        recipe: Recipe,
        engine: LineEngine,
        digits: Digits,
        documents: Documents | None = None,
    ) -> None:
        self._recipe, self._engine, self._documents = recipe, engine, documents
        self._validation = _lines(digits.validation, _BATCHES_TO_MONITOR, seed=1)
        self._test = digits.test

    def monitor(self) -> Measured:
        """Share of exact texts among the validation lines, step by step the likeliest ones."""
        n, right, loss = 0, 0, 0.0
        for lines in self._validation:
            probabilities, mean = self._engine.read(lines)
            right += exact(probabilities, lines)
            n += len(lines.widths)
            loss += mean * len(lines.widths)
        return Measured(n, right / n, loss / n)

    def finish(self, run: Run, place: Place) -> dict[str, Any]:
        """Calibrate on validation lines, test on lines of test digits, write model and report."""
        recipe, engine = self._recipe, self._engine
        calibration: dict[str, Any] = {"method": "none"}
        if recipe.calibrate:
            answers = _read(engine, self._validation)
            calibration = calibrate(engine, lambda: log_loss(self._doubted(answers)))
            calibration |= {"lines": len(answers)}
        batches = _lines(self._test, _BATCHES_TO_TEST, seed=2)
        answers = _read(engine, batches)
        scored = score(answers)
        few = batches[0]
        padded = np.pad(_levels(few), ((0, 0), (0, 0), (0, -few.ink.shape[2] % 4)))
        exact = LineBatch(torch.from_numpy(padded).float() / 255, few.widths, few.labels)
        export(
            run.model,
            recipe,
            engine.weights(),
            images=padded,
            answers={"probabilities": engine.read(exact)[0].swapaxes(0, 1)},
            calibration=calibration,
            report={"data": recipe.data, "images": "lines of test digits"} | scored.to_dict(),
        )
        write_line_report(
            run.report,
            recipe=recipe,
            records=run.records,
            environment=run.environment,
            result=scored,
            lines=answers,
            seconds=place.seconds,
        )
        result = scored.to_dict() | {"accuracy": scored.exact, "samples": []}
        if self._documents:
            result["documents"] = _gain(self._documents, before=recipe.start, after=run.model)
        return result

    def _doubted(self, answers: list[LineAnswer]) -> list[LineAnswer]:
        """The same answers to the validation lines, as sure as the network is of them now."""
        doubted: list[LineAnswer] = []
        for lines in self._validation:
            probabilities, _ = self._engine.read(lines)
            for i, width in enumerate(lines.widths):
                answer = answers[len(doubted)]
                digits = tuple(map(int, answer.answer))
                sure = text_probability(probabilities[: steps(width), i], digits)
                doubted.append(replace(answer, confidence=sure))
        return doubted


def _gain(documents: Documents, *, before: str, after: Path) -> dict[str, Any]:
    """How well the pictures that were held back are read, without the training and with it."""
    gain: dict[str, Any] = {"n": len(documents.held_out), "left_out": documents.left_out}
    readers = {"after": Reader(after)}
    if before:
        readers["before"] = Reader(named(before))
    for when, reader in readers.items():
        readings = [reader.read(picture.path) for picture in documents.held_out]
        scored = score_numbers(
            [reading.text for reading in readings],
            [picture.label for picture in documents.held_out],
            [reading.confidence for reading in readings],
        )
        gain[when] = scored.to_dict()
    return gain


def log_loss(answers: list[LineAnswer]) -> float:
    """Mean loss in nats of saying how sure one is and then being right or wrong (log score)."""
    losses = []
    for answer in answers:
        sure = min(_SURE, max(_UNSURE, answer.confidence))
        losses.append(-np.log(sure if answer.right else 1 - sure))
    return float(np.mean(losses))


def score(answers: list[LineAnswer]) -> NumberResult:
    """How well lines were read."""
    return score_numbers(
        [answer.answer for answer in answers],
        [answer.truth for answer in answers],
        [answer.confidence for answer in answers],
    )


def _lines(split: Split, batches: int, *, seed: int) -> list[LineBatch]:
    return list(itertools.islice(held_out(split.images, split.labels, seed=seed), batches))


def _levels(lines: LineBatch) -> np.ndarray:
    levels: np.ndarray = (255 * lines.ink).round().to(torch.uint8).numpy()
    return levels


def _read(engine: LineEngine, batches: list[LineBatch]) -> list[LineAnswer]:
    answers = []
    for lines in batches:
        probabilities, _ = engine.read(lines)
        pictures = _levels(lines)
        for i, (width, label) in enumerate(zip(lines.widths, lines.labels, strict=True)):
            found = decode(probabilities[: steps(width), i])
            answers.append(
                LineAnswer(
                    ink=pictures[i, :, :width],
                    truth="".join(map(str, label)),
                    answer="".join(map(str, found.digits)),
                    confidence=found.probability,
                )
            )
    return answers
