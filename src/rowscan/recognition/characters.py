"""Characters: from a line image to its reading. Which lines are numbers, `selection` decides."""

import itertools

import numpy as np

from rowscan import reading
from rowscan.arrays import Float, UInt8
from rowscan.recognition import tta
from rowscan.recognition.ctc import alternatives
from rowscan.recognition.model import LineModel
from rowscan.scans import PATCH
from rowscan.segmentation.page import LineImage

_MIN_RUNNER_UP = 0.02  # a runner-up that is less probable is not told


def read_line(model: LineModel, line: LineImage) -> reading.Line:
    """The likeliest text of a line, with the confidence and the box of each character."""
    probabilities, decoding = tta.decode_line(model.probabilities, line.ink)
    step = -(-line.ink.shape[1] // PATCH) * PATCH / len(probabilities)
    columns = character_columns(line.ink, [(a * step, (b + 1) * step) for a, b in decoding.spans])
    characters = tuple(
        reading.Character(
            character=model.alphabet[index],
            confidence=float(odds[index + 1]),
            box=line.box_of(start, stop),
            runner_up=_runner_up(model.alphabet, index, odds),
        )
        for index, odds, (start, stop) in zip(
            decoding.digits, alternatives(probabilities, decoding.digits), columns, strict=True
        )
    )
    return reading.Line(characters, decoding.probability, line.box)


def _runner_up(
    alphabet: str, index: int, odds: Float[np.ndarray, " classes"]
) -> tuple[str, float] | None:
    others = odds[1:].copy()
    others[index] = 0
    second = int(others.argmax())
    if others[second] < _MIN_RUNNER_UP:
        return None
    return alphabet[second], float(others[second])


def character_columns(
    ink: UInt8[np.ndarray, "32 width"], spans: list[tuple[float, float]]
) -> list[tuple[int, int]]:
    """First and last column of each character, the last exclusive.

    CTC names a character at some step within its ink. Two neighbours are cut at the column with the
    least ink between their steps; within its cuts a character is the runs of ink that its steps
    touch.

    Args:
        ink: the line.
        spans: first and last column of each character's steps, the last exclusive.
    """
    if not spans:
        return []
    cuts = _cuts(ink.astype(np.int64).sum(0), spans)
    return [
        _ink_columns(ink[:, left:right], left, span)
        for (left, right), span in zip(itertools.pairwise(cuts), spans, strict=True)
    ]


def _cuts(amount: np.ndarray, spans: list[tuple[float, float]]) -> list[int]:
    """The columns at which characters are parted, from 0 to the width of the line."""
    cuts = [0]
    for (_, stop), (start, _) in itertools.pairwise(spans):
        middle = (stop + start) / 2
        reach = max((start - stop) / 2, 0) + 3
        first = int(max(middle - reach, cuts[-1] + 1))
        last = int(min(middle + reach, len(amount) - 1))
        between = np.arange(first, max(last, first) + 1)
        between = between[between < len(amount)]
        least = amount[between]
        best = between[least == least.min()]
        cuts.append(int(best[np.abs(best - middle).argmin()]))
    return [*cuts, len(amount)]


def _ink_columns(
    ink: UInt8[np.ndarray, "32 width"], left: int, span: tuple[float, float]
) -> tuple[int, int]:
    """First and last column of the runs of ink that a span touches, or of the nearest run."""
    start, stop = span
    dark = np.flatnonzero((ink > 127).any(0)) + left
    if not len(dark):
        return int(start), int(np.ceil(stop))
    runs = np.split(dark, np.flatnonzero(np.diff(dark) > 1) + 1)
    distances = [max(start - run[-1] - 1, run[0] - stop, 0) for run in runs]
    nearest = [run for run, away in zip(runs, distances, strict=True) if away <= min(distances)]
    return int(nearest[0][0]), int(nearest[-1][-1]) + 1
