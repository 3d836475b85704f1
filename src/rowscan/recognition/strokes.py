"""Strokes: which ink of a line image is whose. CTC says at which step a character is, no more.

A stroke is a connected component of ink. CTC names a character at a step within its ink, or close
to it. A stroke that several characters touch is cut between them, at the column where it has the
least ink.
"""

import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from rowscan.arrays import Int64, UInt8

_INK = 127  # of 255
_REACHES = 0.5  # of a character's own strokes: a smaller part of another one only reaches over it
_REACH = 3  # columns beside its steps where two characters may still meet

Span = tuple[float, float]
"""First and last column of a character's steps, the last exclusive."""


def assign(
    ink: UInt8[np.ndarray, "32 width"], spans: Sequence[Span]
) -> Int64[np.ndarray, "32 width"]:
    """For each pixel the number of its character, from 0; -1 for paper.

    Args:
        ink: a line.
        spans: of its characters, from left to right.
    """
    owners = np.full(ink.shape, -1, np.int64)
    if not spans:
        return owners
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((ink > _INK).astype(np.uint8))
    if count == 1:
        return owners
    away = np.array([[_distance(span, box) for box in boxes[1:].tolist()] for span in spans])
    touched = away <= away.min(1, keepdims=True)  # those in its steps, or else the nearest
    areas = boxes[1:, cv2.CC_STAT_AREA]
    own = (touched * (touched.sum(0) == 1) * areas).sum(1)  # ink that no other character touches
    for number in range(count - 1):
        stroke = labels == number + 1
        who = np.flatnonzero(touched[:, number]).tolist()
        if len(who) < 2:
            owners[stroke] = away[:, number].argmin()
            continue
        who = _sharers(stroke.sum(0), spans, who, own)
        for i, (first, last) in zip(who, _cut(stroke.sum(0), [spans[i] for i in who]), strict=True):
            owners[:, first:last][stroke[:, first:last]] = i
    return owners


def _sharers(
    amount: Int64[np.ndarray, " width"],
    spans: Sequence[Span],
    who: list[int],
    own: Int64[np.ndarray, " characters"],
) -> list[int]:
    """The characters that share a stroke: who has larger ones of its own is only reached by it.

    Args:
        amount: its ink in each column.
        spans: of all characters.
        who: the numbers of those that touch it.
        own: the ink of each character that no other touches.
    """
    parts = _cut(amount, [spans[i] for i in who])
    shares = [int(amount[first:last].sum()) for first, last in parts]
    kept = [i for i, share in zip(who, shares, strict=True) if share >= _REACHES * own[i]]
    return kept or [who[int(np.argmax(shares))]]


def character_columns(
    ink: UInt8[np.ndarray, "32 width"], spans: Sequence[Span]
) -> list[tuple[int, int]]:
    """First and last column of each character, the last exclusive; its steps if it has no ink."""
    owners = assign(ink, spans)
    found = []
    for number, (start, stop) in enumerate(spans):
        inked = np.flatnonzero((owners == number).any(0))
        box = (
            (int(inked[0]), int(inked[-1]) + 1) if inked.size else (int(start), int(-(-stop // 1)))
        )
        found.append(box)
    return found


def _distance(span: Span, box: Sequence[int]) -> float:
    """Columns between a character's steps and a stroke; 0 where they meet."""
    return max(span[0] - box[0] - box[2], box[0] - span[1], 0.0)


def _cut(amount: Int64[np.ndarray, " width"], spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Columns of each of some characters in a stroke that they share.

    Args:
        amount: its ink in each column.
        spans: of the characters.
    """
    cuts = [0]
    for (_, stop), (start, _) in itertools.pairwise(spans):
        middle = (stop + start) / 2
        reach = max((start - stop) / 2, _REACH)
        first = int(max(middle - reach, cuts[-1] + 1))
        last = int(min(middle + reach, len(amount) - 1))
        between = np.arange(first, max(last, first) + 1)
        between = between[between < len(amount)]
        least = amount[between]
        best = between[least == least.min()]
        cuts.append(int(best[np.abs(best - middle).argmin()]))
    return list(itertools.pairwise([*cuts, len(amount)]))
