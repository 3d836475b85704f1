"""Evaluation: labelled data, read and scored. The figures themselves come from `metrics`."""

import itertools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rowscan.alphabet import DIGITS
from rowscan.datasets.digits import load_test_digits
from rowscan.datasets.labelled import has_labels, load_labels
from rowscan.errors import DataError
from rowscan.io.pictures import Source
from rowscan.io.progress import ReadingProgress
from rowscan.metrics import DigitResult, NumberResult, score_digits, score_numbers
from rowscan.reader import Reader
from rowscan.reading import Reading


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
    written: Sequence[str | None] = ()
    if has_labels(data):
        labelled = load_labels(data)
        pictures = [(picture.path, picture.text) for picture in labelled]
        written = [picture.full for picture in labelled]
    elif reader.kind == "line":
        digits = load_test_digits(data, offline=offline, normalise=False)
        pictures = list(zip(digits.images, map(str, digits.labels), strict=True))
    else:
        images = load_test_digits(data, offline=offline)
        return score_digits(reader.predict_proba(images.images), images.labels)
    return score_pictures(reader, pictures, data, written=written, quiet=quiet)


def score_pictures(
    reader: Reader,
    pictures: Sequence[tuple[Source, str]],
    name: str | Path,
    *,
    written: Sequence[str | None] = (),
    answered: Sequence[tuple[str, str, float]] = (),
    strict: bool = False,
    quiet: bool = True,
) -> NumberResult:
    """Read pictures of numbers and compare the texts with their labels, spaces apart.

    Labels of digits alone are compared with the digits that were read. So are labels with signs
    that the reader may not read.

    Args:
        reader: reads them.
        pictures: each with its label, lines joined by " / ".
        name: what the pictures are called together, for errors.
        written: for each picture what is written, signs included, if it is known.
        answered: texts that were read elsewhere and count too, each with the true one and its
            confidence.
        strict: whether a picture that cannot be read is an error; otherwise it is counted.
        quiet: as in `evaluate`.

    Raises:
        DataError: none of them can be read; or one cannot, where that is asked for.
    """
    readable = reader.readable
    answers, as_written, unreadable = list(answered), [], 0
    progress = ReadingProgress(results_shown=quiet, done=0, count=lambda: len(pictures))
    with closing(progress):
        for (picture, label), full in itertools.zip_longest(pictures, written):
            try:
                reading = reader.read(picture)
                answers.append((*comparable(reading, label, readable), reading.confidence))
                if full is not None:
                    as_written.append(_without_spaces(reading.text) == _without_spaces(full))
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
    result = score_numbers(texts, truths, confidences)
    share = sum(as_written) / len(as_written) if as_written else None
    return replace(result, unreadable=unreadable, as_written=share)


def comparable(reading: Reading, label: str, readable: str) -> tuple[str, str]:
    """What was read and what is true, in the form in which they are compared."""
    lines = [_without_spaces(line) for line in label.split(" / ")]
    signs = set("".join(lines)) - set(DIGITS)
    if signs and signs <= set(readable):
        return " / ".join(map(_without_spaces, reading.text.split(" / "))), " / ".join(lines)
    digits = ("".join(c for c in line if c in DIGITS) for line in lines)
    return reading.digits_only, " / ".join(line for line in digits if line)


def _without_spaces(text: str) -> str:
    return "".join(text.split())
