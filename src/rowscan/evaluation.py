"""Evaluation: labelled data, read and scored. The figures themselves come from `metrics`."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from rowscan.datasets.digits import load_test_digits
from rowscan.datasets.labelled import has_labels, load_labels
from rowscan.errors import DataError
from rowscan.io.pictures import Source
from rowscan.metrics import DigitResult, NumberResult, score_digits, score_numbers
from rowscan.reader import Reader

OnPicture = Callable[[DataError | None], None]
"""Called after each picture, with the reason if it could not be read."""


def evaluate(
    reader: Reader | str | Path | None = None,
    data: str | Path = "mnist",
    *,
    offline: bool = False,
    on_picture: OnPicture | None = None,
) -> DigitResult | NumberResult:
    """Read labelled data and compare what was read with the labels.

    Args:
        reader: a reader, or what `Reader` takes: a model file, a run directory, or None for the
            models that ship with Rowscan.
        data: `mnist`, `fashion-mnist`, single digits as `load_digits` takes them, or a folder of
            pictures of numbers with a `labels.csv`.
        offline: never look for a named data set outside this machine.
        on_picture: called after each picture of a number.

    Returns:
        A `DigitResult` for single digits read by a digit model; otherwise a `NumberResult`.

    Raises:
        DataError: the data are missing or damaged, or none of the pictures can be read.
        ModelError: not a model file, or a damaged one.
    """
    reader = reader if isinstance(reader, Reader) else Reader(reader)
    if has_labels(data):
        labelled = [(picture.path, picture.label) for picture in load_labels(data)]
        return score_pictures(reader, labelled, data, on_picture)
    if reader.kind == "line":
        digits = load_test_digits(data, offline=offline, normalise=False)
        pictures = zip(digits.images, map(str, digits.labels), strict=True)
        return score_pictures(reader, pictures, data, on_picture)
    images = load_test_digits(data, offline=offline)
    return score_digits(reader.predict_proba(images.images), images.labels)


def score_pictures(
    reader: Reader,
    pictures: Iterable[tuple[Source, str]],
    name: str | Path,
    on_picture: OnPicture | None = None,
) -> NumberResult:
    """Read pictures of numbers and compare the texts with their labels.

    Args:
        reader: reads them.
        pictures: each with its label, lines joined by " / ".
        name: what the pictures are called together, for errors.
        on_picture: called after each picture.

    Raises:
        DataError: none of them can be read.
    """
    answers, unreadable = [], 0
    for picture, label in pictures:
        problem = None
        try:
            reading = reader.read(picture)
            answers.append((reading.text, label, reading.confidence))
        except DataError as error:
            problem, unreadable = error, unreadable + 1
        if on_picture is not None:
            on_picture(problem)
    if not answers:
        raise DataError(name, "none of its pictures can be read")
    texts, truths, confidences = zip(*answers, strict=True)
    return replace(score_numbers(texts, truths, confidences), unreadable=unreadable)
