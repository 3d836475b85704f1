"""The report of a run: one HTML file with its figures and pictures, which loads nothing else.

It arranges what was measured: the figures come from `metrics`. It knows nothing of engines or model
files.
"""

import base64
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import numpy as np
from PIL import Image

from rowscan.arrays import Float32, Int64, UInt8
from rowscan.datasets.labelled import Doubt
from rowscan.io.atomic import write_atomically
from rowscan.metrics import DigitResult, NumberResult, score_digits
from rowscan.recipes import DigitRecipe, LineRecipe, Published, Recipe
from rowscan.training import plots
from rowscan.training.results import KindResult

_MISTAKES = 24


@dataclass(frozen=True)
class Answer:
    """One test image with what was answered and what is true."""

    index: int
    picture: str
    """A data URI with a transparent background."""
    truth: int
    answer: int
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the answer is the truth."""
        return self.answer == self.truth


@dataclass(frozen=True)
class LineAnswer:
    """One test line with what was read and what is written there."""

    ink: UInt8[np.ndarray, "32 width"]
    truth: str
    answer: str
    confidence: float
    kind: str = ""

    @property
    def right(self) -> bool:
        """Whether the answer is exactly the truth."""
        return self.answer == self.truth

    @property
    def width(self) -> int:
        """Columns of the picture."""
        return int(self.ink.shape[1])

    @property
    def picture(self) -> str:
        """A data URI with a transparent background."""
        return _picture(self.ink)


@dataclass(frozen=True)
class Claim:
    """A published figure beside the measured one, on as many test images."""

    published: Published
    measured: DigitResult

    @property
    def verdict(self) -> str:
        """One line that compares the two, for this one training."""
        accuracy = self.published.accuracy
        low, high = self.measured.interval
        if accuracy is None:
            return "The publication gives no number to compare with."
        if self.measured.n < self.published.images:
            return f"Measured on {self.measured.n:,} images only."
        if low <= accuracy <= high:
            return "The published figure lies within this run's 95% interval."
        if self.measured.accuracy > accuracy:
            return "This run is better than the published figure, by more than chance explains."
        return "This run falls short of the published figure, by more than chance explains."


def write_report(
    path: Path,
    *,
    recipe: DigitRecipe,
    records: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any],
    probabilities: Float32[np.ndarray, "n 10"],
    images: UInt8[np.ndarray, "n 28 28"],
    labels: UInt8[np.ndarray, " n"],
    example: UInt8[np.ndarray, "28 28"],
    example_label: int,
    seconds: float,
) -> None:
    """Write the report of one training to `path`.

    Args:
        path: the HTML file.
        recipe: what was trained.
        records: the lines of the run's metrics, in order.
        environment: versions and machine, shown as they are.
        probabilities: the answers to the test images.
        images: the test images.
        labels: their true digits.
        example: one training image.
        example_label: its digit.
        seconds: how long the training took.

    Raises:
        DataError: there are no test images, or the probabilities do not sum to 1.
        RowscanError: the file cannot be written.
    """
    result = score_digits(probabilities, labels)
    answers = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    first = np.arange(min(max(10, recipe.samples), len(labels)))

    def show(indices: Int64[np.ndarray, " k"]) -> list[Answer]:
        return [
            Answer(
                index=int(i),
                picture=_picture(images[i]),
                truth=int(labels[i]),
                answer=int(answers[i]),
                confidence=float(confidence[i]),
            )
            for i in indices
        ]

    claim = None
    if recipe.published is not None:
        head = slice(recipe.published.images)
        claim = Claim(recipe.published, score_digits(probabilities[head], labels[head]))
    page = _render(
        "report.html.j2",
        recipe=recipe,
        records=records,
        environment=environment,
        share=result.accuracy,
        result=result,
        claim=claim,
        reliability=plots.reliability(result.bins),
        confused=_confused(result.confusion),
        worst=show(worst),
        first=show(first),
        example=_picture(example),
        example_label=example_label,
        seconds=seconds,
    )
    write_atomically(path, page)


def write_line_report(
    path: Path,
    *,
    recipe: LineRecipe,
    records: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any],
    result: NumberResult,
    lines: Sequence[LineAnswer],
    kinds: Sequence[KindResult],
    doubts: Sequence[Doubt] = (),
    seconds: float,
) -> None:
    """Write the report of a line model as one HTML file that loads nothing else.

    Args:
        path: where it goes.
        recipe: what was trained.
        records: the run's metrics.
        environment: versions, machine, revision.
        result: how well the test lines were read.
        lines: the test lines.
        kinds: how well they were read, by what they show.
        doubts: labels of the user's pictures that are likely to be wrong.
        seconds: how long the training took.

    Raises:
        RowscanError: the file cannot be written.
    """
    wrong = sorted((line for line in lines if not line.right), key=lambda line: -line.confidence)
    page = _render(
        "lines.html.j2",
        recipe=recipe,
        records=records,
        environment=environment,
        share=result.exact,
        result=result,
        kinds=kinds,
        doubts=doubts,
        first=lines[:_MISTAKES],
        worst=wrong[:_MISTAKES],
        seconds=seconds,
    )
    write_atomically(path, page)


def _render(
    name: str,
    *,
    recipe: Recipe,
    records: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any],
    seconds: float,
    **values: Any,
) -> str:
    """The page of a template, with what all of them show."""
    curves = (
        plots.learning_curve(records, what, recipe.published) for what in ("accuracy", "loss")
    )
    template = _templates().get_template(name)
    return template.render(
        recipe=recipe,
        settings=dict(_settings(recipe)),
        environment=environment,
        curves=[curve for curve in curves if curve],
        duration=_duration(seconds),
        **values,
    )


@functools.cache
def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(
            lambda name: files("rowscan.training").joinpath(name).read_text(encoding="utf-8")
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["percent"] = lambda share, digits=2: f"{share:.{digits}%}"
    templates.filters["as_published"] = plots.as_published
    return templates


def _picture(image: UInt8[np.ndarray, "height width"]) -> str:
    """The image as a data URI: black, with the ink as its opacity.

    So the page can show it on any colour, and invert it in a dark theme.
    """
    ink = np.stack([np.zeros_like(image), image], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(ink).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _settings(recipe: Recipe) -> Iterator[tuple[str, object]]:
    for key, value in msgspec.structs.asdict(recipe).items():
        if key not in ("name", "summary", "published"):
            yield key.replace("_", " "), value


def _confused(confusion: Int64[np.ndarray, "10 10"]) -> list[tuple[int, int, int]]:
    """The most frequent mistakes as (truth, answer, times), at most five."""
    mistakes = confusion * ~np.eye(10, dtype=bool)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:5]
    return [
        (int(flat) // 10, int(flat) % 10, int(mistakes.flat[flat]))
        for flat in order
        if mistakes.flat[flat]
    ]


def _duration(seconds: float) -> str:
    """A duration for people: 3.2 s, 4 min 07 s, 2 h 05 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
