"""The task `line`: trained and tested on composed lines, and on a user's own documents."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rowscan.alphabet import ALPHABET, DIGITS
from rowscan.arrays import Float32, UInt8
from rowscan.datasets.digits import Digits, load_digits
from rowscan.datasets.labelled import has_labels, load_labels
from rowscan.datasets.reviewed import ReviewedLine, is_reviewed, load_reviewed
from rowscan.evaluation import score_pictures
from rowscan.forms.fields import allowed_in
from rowscan.metrics import NumberResult, score_numbers
from rowscan.reader import Reader
from rowscan.recipes import LineRecipe, Recipe
from rowscan.recognition.beam import decode
from rowscan.recognition.characters import read_lines
from rowscan.recognition.ctc import text_probability
from rowscan.scans import STEPS_PER_PATCH
from rowscan.segmentation.line_image import LineImage
from rowscan.training.calibration import calibrate
from rowscan.training.engines.interface import Arrays, mean_of
from rowscan.training.export import export, named, read_weights
from rowscan.training.report import LineAnswer, write_line_report
from rowscan.training.results import DocumentsGain, KindResult, LineRunResult
from rowscan.training.runs import Run, TrainState
from rowscan.training.synthesis.documents import Documents, load_documents
from rowscan.training.synthesis.inks import Inks, with_handwriting
from rowscan.training.synthesis.lines import LineBatch
from rowscan.training.tasks.interface import Measurement, Task
from rowscan.training.tasks.line.batches import Line, steps
from rowscan.training.tasks.line.engine import LineEngine, held_out
from rowscan.training.tasks.line.graph import line_graph

MONITOR_BATCHES, TEST_BATCHES = 24, 64
"""Batches of held-out lines to measure on."""
GUARD_BATCHES = 64
"""Of validation lines that show what fine-tuning forgets: half a point of fewer is noise."""
LINES = 32
"""Lines of each."""
_FINE_TUNING = {
    "start": "shipped",
    "trained": "last",
    "distillation": 8.0,
    "optimizer": "adamw",
    "learning_rate": 0.001,
    "weight_decay": 0.0,
    "batch_size": 32,
    "epochs": 1,
    "record_every": 10,
}
"""On a user's documents, where nothing else is asked for. The last layers learn as much as all of
them, in a third of the time, and forget less; so they do with distillation than with the texts of
composed lines. At twice the rate they learn as much and forget more."""
_STEPS, _STEPS_A_PICTURE = 200, 0.5
_SHARES = np.linspace(0, 1, 9, dtype=np.float32)
_MAY_LOSE = 0.005
"""Share of composed lines that fine-tuning may cost."""
_NAMED = 20
"""Doubtful labels that are named one by one before the training."""
_SURE, _UNSURE = 1 - 1e-6, 1e-6


class LineTask(Task):
    """A training of a network that reads lines."""

    engine: LineEngine
    kind = "line"

    def __init__(
        self,
        recipe: LineRecipe,
        engine: LineEngine,
        inks: tuple[Inks, Inks, Inks],
        documents: Documents | None = None,
        before: NumberResult | None = None,
    ) -> None:
        """Give the engine its data.

        Args:
            recipe: what to train.
            engine: the network.
            inks: what lines are composed of, for training, validation and test.
            documents: a user's own lines, from which half of each batch is taken.
            before: how well the model that the training starts from reads the documents held out.
        """
        self.recipe, self.engine, self.documents, self.before = recipe, engine, documents, before
        self.steps_per_epoch = recipe.steps_per_epoch
        training, validation, self._test = inks
        engine.load_inks(training)
        if documents:
            engine.load_documents(documents)
            self.notes = _doubtful(documents)
            self._first = engine.weights()
        batches = _lines(validation, GUARD_BATCHES if documents else MONITOR_BATCHES, seed=1)
        self._validation = batches[:MONITOR_BATCHES]
        self._singles = [line for batch in self._validation for line in _single(batch)]
        self._guards = [line for batch in batches for line in _single(batch)]

    @classmethod
    def prepare(cls, recipe: Recipe, *, device: str, offline: bool) -> "LineTask":
        """As in `Task`. The documents held out are opened here, before the training, too."""
        assert isinstance(recipe, LineRecipe)
        engine = LineEngine(recipe, device)
        if recipe.start:
            engine.load_weights(start_from(recipe.start, engine.weights()))
        documents = before = None
        if _has_documents(recipe.data):  # first, since they may be too few
            reader = Reader(named(recipe.start))
            documents = load_documents(recipe.data, reader)
            scored = _score_held_out(reader, documents, strict=True)
            before = scored if recipe.start else None
        inks = _inks(recipe, load_digits(cls.digits_for(recipe), offline=offline), offline=offline)
        return cls(recipe, engine, inks, documents, before)

    @classmethod
    def digits_for(cls, recipe: Recipe) -> str:
        """MNIST where the recipe's data are pictures of numbers."""
        return "mnist" if _has_documents(recipe.data) else recipe.data

    @classmethod
    def settings_for(cls, data: str | Path) -> Mapping[str, Any]:
        """A short training of the last layers on a folder of labelled or reviewed pictures."""
        if not _has_documents(data):
            return {}
        n = len(load_labels(data) if has_labels(data) else load_reviewed(data))
        return _FINE_TUNING | {"steps_per_epoch": round(_STEPS + _STEPS_A_PICTURE * n)}

    def monitor(self) -> Measurement:
        """Share of validation lines that greedy decoding reads exactly."""
        right, loss = self.engine.measure(self._singles)
        return Measurement(len(self._singles), right / len(self._singles), loss)

    def finish(self, run: Run, state: TrainState) -> LineRunResult:
        """Calibrate on validation lines, test on lines of test digits, write model and report."""
        recipe, engine = self.recipe, self.engine
        share = self._blend() if self.documents and recipe.start else 1.0
        calibration = self._calibrate()
        batches, answers = self.test()
        scored, kinds = score(answers), by_kind(answers)
        few = batches[0]
        padded = np.pad(_levels(few), ((0, 0), (0, 0), (0, -few.ink.shape[2] % 4)))
        rounded = LineBatch(torch.from_numpy(padded).float() / 255, few.widths, few.labels)
        export(
            run.model,
            recipe,
            line_graph(recipe, engine.weights()),
            kind=self.kind,
            images=padded,
            answers={"probabilities": engine.read(rounded)[0].swapaxes(0, 1)},
            calibration=calibration,
            report={"data": recipe.data, "images": "lines of test digits"} | scored.to_dict(),
            alphabet=ALPHABET,
        )
        write_line_report(
            run.report,
            recipe=recipe,
            records=run.records,
            environment=run.environment,
            result=scored,
            lines=answers,
            kinds=kinds,
            doubts=self.documents.doubts if self.documents else (),
            seconds=state.seconds,
        )
        return LineRunResult(
            **vars(scored),
            accuracy=scored.exact,
            documents=self._gain(run.model, share),
            kinds=kinds,
            seconds=round(state.seconds, 3),
        )

    def test(self) -> tuple[list[LineBatch], list[LineAnswer]]:
        """Lines of test digits, the same for every training, and the answers to them."""
        batches = _lines(self._test, TEST_BATCHES, seed=2)
        return batches, _read(self.engine, batches)

    @staticmethod
    def summary(run: Run) -> list[str]:
        """The share of exact lines, and what fine-tuning gained."""
        result = run.result
        assert isinstance(result, LineRunResult)
        low, high = result.interval
        lines = [
            f"exact      {result.exact:.2%} of {result.n:,} lines composed of test digits "
            f"(95% interval {low:.2%} to {high:.2%})"
        ]
        if gain := result.documents:
            before = f", before {gain.before.exact:.2%}" if gain.before else ""
            lines.append(
                f"documents  {gain.after.exact:.2%} of {gain.n:,} held back read exactly{before}"
            )
            if gain.left_out or gain.doubts:
                lines.append(
                    f"labels     {len(gain.doubts):,} doubtful, {gain.left_out:,} pictures left out"
                )
        return lines

    def _blend(self) -> float:
        """Go back towards the first weights until few composed lines are lost; the share kept.

        The lines are those of validation.
        """
        trained = self.engine.weights()
        blends = [mean_of(self._first, trained, float(share)) for share in _SHARES]
        right = self.engine.compare(blends, self._guards)
        least = right[0] - _MAY_LOSE * len(self._guards)
        kept = max(i for i, count in enumerate(right) if count >= least)
        self.engine.load_weights(blends[kept])
        return float(_SHARES[kept])

    def _calibrate(self) -> dict[str, Any]:
        if not self.recipe.calibrate:
            return {"method": "none"}
        answers = _read(self.engine, self._validation)
        read = [self.engine.read(lines)[0] for lines in self._validation]
        done = calibrate(
            self.engine, lambda temperature: log_loss(self._as_sure_at(temperature, answers, read))
        )
        return {"method": "temperature"} | done | {"lines": len(answers)}

    def _as_sure_at(
        self,
        temperature: float,
        answers: list[LineAnswer],
        read: list[Float32[np.ndarray, "_ n classes"]],
    ) -> list[LineAnswer]:
        """The same answers to the validation lines, as sure as at another temperature.

        Softmax of logits / T is the probabilities to the power of 1 / T, scaled to a sum of 1: the
        network need not read again.

        Args:
            temperature: divides the logits.
            answers: to the lines, in their order.
            read: the probabilities of each batch at temperature 1.
        """
        texts = iter(answers)
        updated: list[LineAnswer] = []
        for lines, at_one in zip(self._validation, read, strict=True):
            powers = at_one ** np.float32(1 / temperature)
            probabilities = powers / powers.sum(-1, keepdims=True)
            for i, width in enumerate(lines.widths):
                answer = next(texts)
                text = tuple(map(ALPHABET.index, answer.answer))
                sure = text_probability(probabilities[: steps(width), i], text)
                updated.append(replace(answer, confidence=sure))
        return updated

    def _gain(self, model: Path, share: float) -> DocumentsGain | None:
        """How well the documents that were held out are read, before the training and after."""
        if self.documents is None:
            return None
        return DocumentsGain(
            n=len(self.documents.held_out) + len(self.documents.fields_held_out),
            left_out=self.documents.left_out,
            before=self.before,
            doubts=self.documents.doubts,
            after=_score_held_out(Reader(model), self.documents, strict=False),
            share=share,
        )


def _has_documents(data: str | Path) -> bool:
    """Whether the data are a user's own pictures: labelled, or reviewed."""
    return has_labels(data) or is_reviewed(data)


def _doubtful(documents: Documents) -> list[str]:
    """What is said of labels that are likely to be wrong."""
    lines = [str(doubt) for doubt in documents.doubts[:_NAMED]]
    if more := len(documents.doubts) - len(lines):
        lines.append(f"and {more:,} more rows, which the report lists")
    if any(doubt.lost_zeros for doubt in documents.doubts):
        lines.append("pictures whose label has lost zeros in front are not trained on")
    return lines


def _score_held_out(reader: Reader, documents: Documents, *, strict: bool) -> NumberResult:
    """Read the pictures and the fields of forms that are not trained on."""
    pictures = [(picture.path, picture.label) for picture in documents.held_out]
    fields = [_answer(reader, field) for field in documents.fields_held_out]
    return score_pictures(reader, pictures, documents.folder, answered=fields, strict=strict)


def _answer(reader: Reader, field: ReviewedLine) -> tuple[str, str, float]:
    """What the line model reads in a field of a form, what is written there, and how sure it is."""
    assert field.ink is not None
    model, height, width = reader.line_model, *field.ink.shape
    image = LineImage(field.ink, (0, 0, width, height), np.eye(2, 3), 1.0)
    allowed = allowed_in(model.alphabet, field.alphabet, field.pattern)
    (found,) = read_lines(model, [image], allowed)
    return found.line.text, field.text, found.line.confidence


def start_from(start: str, fresh: Arrays) -> dict[str, np.ndarray]:
    """The weights of a model file or run; of a smaller alphabet, what it knows of ours.

    The alphabet of version 0.1, the ten digits, is the first part of today's: classes that a file
    does not have keep their fresh rows of the head.
    """

    def adapt(found: Arrays) -> Arrays:
        bias = found.get("head.bias")
        if bias is None or bias.shape == fresh["head.bias"].shape:
            return found
        if bias.size != STEPS_PER_PATCH * (len(DIGITS) + 1):
            return found
        heads = {}
        for name in ("head.weight", "head.bias"):
            grown = fresh[name].copy().reshape(STEPS_PER_PATCH, len(ALPHABET) + 1, -1)
            known = found[name].reshape(STEPS_PER_PATCH, len(DIGITS) + 1, -1)
            if known.shape[2] != grown.shape[2]:
                return found
            grown[:, : known.shape[1]] = known
            heads[name] = grown.reshape(fresh[name].shape)
        return {**found, **heads}

    return read_weights(start, LineTask.kind, fresh, adapt)


def log_loss(answers: list[LineAnswer]) -> float:
    """Mean of -log(c) where the answer is right and -log(1 - c) where it is wrong, in nats.

    The logarithmic score (Good, "Rational Decisions", 1952) of the confidences c.
    """
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


def _text(label: tuple[int, ...]) -> str:
    return "".join(ALPHABET[character] for character in label)


def by_kind(answers: list[LineAnswer]) -> tuple[KindResult, ...]:
    """How well lines of each kind were read."""
    kinds: dict[str, list[bool]] = {}
    for answer in answers:
        kinds.setdefault(answer.kind, []).append(answer.right)
    return tuple(
        KindResult(kind, len(right), sum(right) / len(right))
        for kind, right in sorted(kinds.items())
    )


def _inks(recipe: LineRecipe, digits: Digits, *, offline: bool) -> tuple[Inks, Inks, Inks]:
    """What lines are composed of, for training, validation and test."""
    train, validation, test = digits.train, digits.validation, digits.test
    if not recipe.handwriting:
        plain = (Inks(part.images, part.labels) for part in (train, validation, test))
        return next(plain), next(plain), next(plain)
    return (
        with_handwriting(train.images, train.labels, offline=offline),
        with_handwriting(validation.images, validation.labels, held_out=True, offline=offline),
        with_handwriting(test.images, test.labels, held_out=True, offline=offline),
    )


def _lines(inks: Inks, batches: int, *, seed: int) -> list[LineBatch]:
    return list(itertools.islice(held_out(inks, seed=seed, lines=LINES), batches))


def _single(batch: LineBatch) -> list[Line]:
    rows = zip(_levels(batch), batch.widths, batch.labels, strict=True)
    return [Line(ink[:, :width], label) for ink, width, label in rows]


def _levels(lines: LineBatch) -> UInt8[np.ndarray, "n 32 width"]:
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
                    truth=_text(label),
                    answer=_text(found.text),
                    confidence=found.probability,
                    kind=lines.kinds[i] if lines.kinds else "",
                )
            )
    return answers
