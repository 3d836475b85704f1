"""Evaluation: labelled data, read and scored. The figures themselves come from `metrics`."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rowscan.datasets.digits import load_test_digits
from rowscan.datasets.labelled import has_labels, load_labels
from rowscan.errors import DataError
from rowscan.io.pictures import Source
from rowscan.io.progress import ReadingProgress
from rowscan.metrics import DigitResult, NumberResult, score_digits, score_numbers
from rowscan.reader import Reader


def evaluate(
    reader: Reader | str | Path | None = None,
    data: str | Path = "mnist",
    *,
    offline: bool = False,
    quiet: bool = True,
) -> DigitResult | NumberResult:
    """Read labelled data and compare what was read with the labels.

    Args:
        reader: a reader, or what `Reader` takes: a model file, a run directory, or None for the
            models that ship with Rowscan.
        data: `mnist`, `fashion-mnist`, single digits as `load_digits` takes them, or a folder of
            pictures of numbers with a `labels.csv`.
        offline: never look for a named data set outside this machine.
        quiet: show no progress, and do not name pictures that cannot be read.

    Returns:
        A `DigitResult` for single digits read by a digit model; otherwise a `NumberResult`.

    Raises:
        DataError: the data are missing or damaged, or none of the pictures can be read.
        ModelError: not a model file, or a damaged one.
    """
    reader = reader if isinstance(reader, Reader) else Reader(reader)
    pictures: Sequence[tuple[Source, str]]
    if has_labels(data):
        pictures = [(picture.path, picture.label) for picture in load_labels(data)]
    elif reader.kind == "line":
        digits = load_test_digits(data, offline=offline, normalise=False)
        pictures = list(zip(digits.images, map(str, digits.labels), strict=True))
    else:
        images = load_test_digits(data, offline=offline)
        return score_digits(reader.predict_proba(images.images), images.labels)
    return score_pictures(reader, pictures, data, quiet=quiet)


def score_pictures(
    reader: Reader,
    pictures: Sequence[tuple[Source, str]],
    name: str | Path,
    *,
    strict: bool = False,
    quiet: bool = True,
) -> NumberResult:
    """Read pictures of numbers and compare the texts with their labels.

    Args:
        reader: reads them.
        pictures: each with its label, lines joined by " / ".
        name: what the pictures are called together, for errors.
        strict: whether a picture that cannot be read is an error; otherwise it is counted.
        quiet: as in `evaluate`.

    Raises:
        DataError: none of them can be read; or one cannot, where that is asked for.
    """
    answers, unreadable = [], 0
    progress = ReadingProgress(results_shown=quiet, done=0, count=lambda: len(pictures))
    with closing(progress):
        for picture, label in pictures:
            try:
                reading = reader.read(picture)
                answers.append((reading.text, label, reading.confidence))
            except DataError as error:
                if strict:
                    raise
                unreadable += 1
                if not quiet:
                    progress.say(f"rowscan: {error}")
            if not quiet:
                progress.step()
    if not answers:
        raise DataError(name, "none of its pictures can be read")
    texts, truths, confidences = zip(*answers, strict=True)
    return replace(score_numbers(texts, truths, confidences), unreadable=unreadable)
