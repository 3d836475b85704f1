"""Rules: ruled lines and frames, which are taken away from the strokes."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import UInt8
from rowscan.segmentation.binarize import Mask, weighted_median
from rowscan.segmentation.text_lines import joined

_LEAN = 0.08
"""A short upright rule leans no more, columns a row, against the level ones: a 1 may."""


def without_rules(strokes: Mask, pen: float) -> tuple[Mask, Mask]:
    """The strokes without ruled lines and frames; and those of these that part one from another.

    A rule is thin, straight, and nearly level or upright. Either it is far longer than a digit is
    high, or it is the side of a frame: somewhat longer than that, and at both ends it meets what
    may be a rule of the other direction; around a single digit it may even be shorter, if it and
    its three neighbours close a box that is higher than a digit. Where a stroke crosses a rule,
    the stroke is kept.
    """
    size = _digit_height(strokes, pen)
    turned = np.ascontiguousarray(strokes.T)
    sides = _straight(strokes, pen, 0.6 * size)
    posts = _straight(turned, pen, 1.05 * size)
    boxed = [r for r in sides if _meets(r, _mark(posts, turned).T, pen)]
    posted = [r for r in posts if _meets(r, _mark(boxed, strokes).T, pen)]
    boxed = [r for r in boxed if _meets(r, _mark(posted, turned).T, pen)]
    long_sides, long_posts = (
        [r for r in some if r.length >= 1.2 * size] for some in (sides, posts)
    )
    flat_marks, upright_marks = _mark(long_sides, strokes), _mark(long_posts, turned)
    flat = boxed + [
        r
        for r in long_sides
        if r.length >= 2.5 * size or _meets(r, upright_marks.T, pen, borders=True)
    ]
    level = max(flat, key=lambda r: r.length).slope if flat else 0.0
    upright = posted + [
        r
        for r in long_posts
        if r.length >= 3 * size
        or (abs(r.slope + level) <= _LEAN and _meets(r, flat_marks.T, pen, borders=True))
    ]
    rest = np.ascontiguousarray(_erase(flat, strokes).T)
    rest &= _erase(upright, turned)
    fences = _without_combs(upright, 1.5 * size)
    return np.ascontiguousarray(rest.T), np.ascontiguousarray(_mark(fences, turned).T)


@dataclass(frozen=True, eq=False)
class _Rule:
    """A rule along the rows: the corner of its box, its pixels in the box, its mean thickness.

    Its slope is rows a column.
    """

    left: int
    top: int
    pixels: UInt8[np.ndarray, "rows length"]
    thickness: float
    slope: float

    @property
    def length(self) -> int:
        return int(self.pixels.shape[1])


def _digit_height(strokes: Mask, pen: float) -> float:
    """A first guess, while rules may still hold everything together: without long runs."""
    rest = strokes & ~(_open(strokes, 1, round(14 * pen)) | _open(strokes, round(28 * pen), 1))
    rest = rest if rest.any() else strokes
    _, _, boxes, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    heights, areas = boxes[1:, cv2.CC_STAT_HEIGHT], boxes[1:, cv2.CC_STAT_AREA]
    # Specks, small print, and sides of frames say nothing of the digits.
    high = (heights >= 4 * pen) & (boxes[1:, cv2.CC_STAT_WIDTH] > 2 * pen)
    high = high if high.any() else heights > 0
    return weighted_median(heights[high], areas[high]) if high.any() else 1.0


def _straight(strokes: Mask, pen: float, shortest: float) -> list[_Rule]:
    """What may be a rule along the rows: runs that touch, and together are thin and straight.

    A rule that rises by ten degrees still has runs of six times its thickness, so shorter ones are
    looked for.
    """
    runs = _open(strokes, 1, max(5, round(3.5 * pen)))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(runs, connectivity=8)
    rules = []
    for number in 1 + np.flatnonzero(boxes[1:, cv2.CC_STAT_WIDTH] >= shortest):
        left, top, width, height, area = boxes[number].tolist()
        thickest = 2 * pen + 1
        if area > thickest * width or height > 0.2 * width + thickest:
            continue
        pixels = labels[top : top + height, left : left + width] == number
        thick = pixels.sum(0)  # the runs touch, so no column is empty
        rows = np.arange(height) @ pixels / thick
        thickness = float(np.median(thick))
        # Elsewhere a stroke lies along it; a thin rule has a pixel more here and there.
        bare = thick <= max(1.5 * thickness, thickness + 1)
        if bare.mean() < 0.6:
            continue
        columns = np.arange(width)
        slope, start = np.polyfit(columns[bare], rows[bare], 1)
        bend = np.abs(rows - slope * columns - start)[bare]
        if np.mean(bend < max(0.6, 0.2 * thickness)) < 0.9:
            continue
        across = np.abs(np.arange(height)[:, None] - slope * columns - start)
        pixels &= across <= thickness / 2 + 0.5
        rules.append(_Rule(left, top, pixels.astype(np.uint8), thickness, float(slope)))
    return rules


def _without_combs(posts: list[_Rule], pitch: float) -> list[_Rule]:
    """Upright rules but for three or more so close that only one digit each fits between.

    Boxes for one digit each stand in a row for one number.
    """
    if not posts:
        return []
    x = np.array([rule.top for rule in posts])
    top = np.array([rule.left for rule in posts])
    bottom = top + [rule.length for rule in posts]
    along = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    beside = along >= 0.8 * np.maximum.outer(bottom - top, bottom - top)
    comb = joined(beside & (np.abs(np.subtract.outer(x, x)) <= pitch))
    return [rule for rule, teeth in zip(posts, np.bincount(comb)[comb], strict=True) if teeth < 3]


def _mark(rules: list[_Rule], strokes: Mask) -> Mask:
    """The pixels of rules."""
    marks = np.zeros_like(strokes)
    for rule in rules:
        height, width = rule.pixels.shape
        marks[rule.top : rule.top + height, rule.left : rule.left + width] |= rule.pixels
    return marks


def _meets(rule: _Rule, others: Mask, pen: float, *, borders: bool = False) -> bool:
    """Whether there is another rule at both ends, or, if that counts, the picture's border."""
    reach = round(pen) + 2
    ends = [0, rule.length - 1]
    if borders:
        distance = [rule.left, others.shape[1] - rule.left - rule.length]
        ends = [end for end, away in zip(ends, distance, strict=True) if away > reach]
    for column in ends:
        x, y = rule.left + column, rule.top + int(rule.pixels[:, column].argmax())
        near = others[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        if not near.any():
            return False
    return True


def _erase(rules: list[_Rule], strokes: Mask) -> Mask:
    """The strokes without these rules; a column that goes on beyond the rule is a stroke's."""
    rest = strokes.copy()
    for rule in rules:
        height, width = rule.pixels.shape
        reach = 2 * math.ceil(rule.thickness) + 2
        top, columns = max(rule.top - reach, 0), slice(rule.left, rule.left + width)
        rows = slice(top, rule.top + height + reach)
        crossing = _open(np.ascontiguousarray(strokes[rows, columns]), reach + 1, 1)
        marks = np.zeros_like(crossing)
        marks[rule.top - top : rule.top - top + height] = rule.pixels
        rest[rows, columns] &= (1 - cv2.dilate(marks, np.ones((3, 1), np.uint8))) | crossing
    return rest


def _open(strokes: Mask, height: int, width: int) -> Mask:
    """Morphological opening: what is covered by boxes of this size that fit into the strokes."""
    box = np.ones((height | 1, width | 1), np.uint8)  # of even size it would shift
    # By default OpenCV lets strokes go on beyond the border.
    return cv2.morphologyEx(
        strokes, cv2.MORPH_OPEN, box, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
