"""Ruled lines: finds rules and frames and removes them from the foreground."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import Bool, UInt8
from rowscan.segmentation.binarize import Mask, weighted_median
from rowscan.segmentation.text_lines import connected_groups

_MAX_LEAN = 0.08
"""Columns a row, against the horizontal rules: a short vertical rule leans no more, a 1 may."""


def remove_ruled_lines(foreground: Mask, stroke_width: float) -> tuple[Mask, Mask]:
    """The foreground without ruled lines and frames; and the vertical rules that separate numbers.

    A rule is thin, straight, and nearly horizontal or vertical. Either it is far longer than a
    digit is high, or it is the side of a frame: somewhat longer than that, and meeting at both ends
    what may be a rule of the other direction. Around a single digit it may be shorter still, if it
    and its three neighbours close a box that is higher than a digit. A stroke that crosses a rule
    is kept.
    """
    height = _digit_height(foreground, stroke_width)
    turned = np.ascontiguousarray(foreground.T)  # vertical rules are horizontal in it
    rows = _straight_runs(foreground, stroke_width, 0.6 * height)
    columns = _straight_runs(turned, stroke_width, 1.05 * height)
    boxed_rows = [r for r in rows if _meets(r, _draw(columns, turned).T, stroke_width)]
    boxed_columns = [r for r in columns if _meets(r, _draw(boxed_rows, foreground).T, stroke_width)]
    boxed_rows = [r for r in boxed_rows if _meets(r, _draw(boxed_columns, turned).T, stroke_width)]
    long_rows, long_columns = (
        [r for r in some if r.length >= 1.2 * height] for some in (rows, columns)
    )
    row_mask, column_mask = _draw(long_rows, foreground), _draw(long_columns, turned)
    horizontal = boxed_rows + [
        r
        for r in long_rows
        if r.length >= 2.5 * height or _meets(r, column_mask.T, stroke_width, borders=True)
    ]
    slope = max(horizontal, key=lambda r: r.length).slope if horizontal else 0.0
    vertical = boxed_columns + [
        r
        for r in long_columns
        if r.length >= 3 * height
        or (abs(r.slope + slope) <= _MAX_LEAN and _meets(r, row_mask.T, stroke_width, borders=True))
    ]
    rest = np.ascontiguousarray(_erase(horizontal, foreground).T)
    rest &= _erase(vertical, turned)
    separators = _without_combs(vertical, 1.5 * height)
    return np.ascontiguousarray(rest.T), np.ascontiguousarray(_draw(separators, turned).T)


@dataclass(frozen=True, eq=False)
class _Rule:
    """A rule along the rows: the corner of its box, its pixels in the box, its mean thickness.

    Its slope is in rows a column.
    """

    left: int
    top: int
    pixels: UInt8[np.ndarray, "rows length"]
    thickness: float
    slope: float

    @property
    def length(self) -> int:
        return int(self.pixels.shape[1])


def _digit_height(foreground: Mask, stroke_width: float) -> float:
    """A first estimate, without long runs: rules may still connect everything."""
    runs = _open(foreground, 1, round(14 * stroke_width))
    rest = foreground & ~(runs | _open(foreground, round(28 * stroke_width), 1))
    rest = rest if rest.any() else foreground
    _, _, boxes, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    heights, areas = boxes[1:, cv2.CC_STAT_HEIGHT], boxes[1:, cv2.CC_STAT_AREA]
    # Specks, small print, and sides of frames say nothing of the digits.
    tall = (heights >= 4 * stroke_width) & (boxes[1:, cv2.CC_STAT_WIDTH] > 2 * stroke_width)
    tall = tall if tall.any() else heights > 0
    return weighted_median(heights[tall], areas[tall]) if tall.any() else 1.0


def _straight_runs(foreground: Mask, stroke_width: float, min_length: float) -> list[_Rule]:
    """Candidates for rules along the rows: runs that touch, together thin and straight.

    A rule that rises by ten degrees consists of runs of six times its thickness, so shorter ones
    are looked for.
    """
    runs = _open(foreground, 1, max(5, round(3.5 * stroke_width)))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(runs, connectivity=8)
    rules = []
    for number in 1 + np.flatnonzero(boxes[1:, cv2.CC_STAT_WIDTH] >= min_length):
        left, top, width, height, area = boxes[number].tolist()
        max_thickness = 2 * stroke_width + 1
        if area > max_thickness * width or height > 0.2 * width + max_thickness:
            continue
        pixels = labels[top : top + height, left : left + width] == number
        if (fitted := _fit_line(pixels)) is not None:
            rules.append(_Rule(left, top, *fitted))
    return rules


def _fit_line(
    pixels: Bool[np.ndarray, "rows length"],
) -> tuple[UInt8[np.ndarray, "rows length"], float, float] | None:
    """The pixels along a straight line, its thickness and slope; None if it is not straight."""
    height, width = pixels.shape
    thick = pixels.sum(0)  # the runs touch, so no column is empty
    rows = np.arange(height) @ pixels / thick
    thickness = float(np.median(thick))
    # Elsewhere a stroke lies along it; a thin rule has a pixel more here and there.
    bare = thick <= max(1.5 * thickness, thickness + 1)
    if bare.mean() < 0.6:
        return None
    columns = np.arange(width)
    slope, start = np.polyfit(columns[bare], rows[bare], 1)
    bend = np.abs(rows - slope * columns - start)[bare]
    if np.mean(bend < max(0.6, 0.2 * thickness)) < 0.9:
        return None
    across = np.abs(np.arange(height)[:, None] - slope * columns - start)
    along: np.ndarray = pixels & (across <= thickness / 2 + 0.5)
    return along.astype(np.uint8), thickness, float(slope)


def _without_combs(vertical: list[_Rule], pitch: float) -> list[_Rule]:
    """Vertical rules but for three or more so close that only one digit each fits between.

    These are a comb field: boxes for the digits of one number.
    """
    if not vertical:
        return []
    x = np.array([rule.top for rule in vertical])
    top = np.array([rule.left for rule in vertical])
    bottom = top + [rule.length for rule in vertical]
    along = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    beside = along >= 0.8 * np.maximum.outer(bottom - top, bottom - top)
    comb = connected_groups(beside & (np.abs(np.subtract.outer(x, x)) <= pitch))
    sizes = np.bincount(comb)[comb]
    return [rule for rule, size in zip(vertical, sizes, strict=True) if size < 3]


def _draw(rules: list[_Rule], like: Mask) -> Mask:
    """A mask of the rules, of the shape of another mask."""
    mask = np.zeros_like(like)
    for rule in rules:
        height, width = rule.pixels.shape
        mask[rule.top : rule.top + height, rule.left : rule.left + width] |= rule.pixels
    return mask


def _meets(rule: _Rule, others: Mask, stroke_width: float, *, borders: bool = False) -> bool:
    """Whether other rules, or with `borders` the borders of the picture, are at both its ends."""
    reach = round(stroke_width) + 2
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


def _erase(rules: list[_Rule], foreground: Mask) -> Mask:
    """The foreground without these rules; a column that goes on beyond a rule is of a stroke."""
    rest = foreground.copy()
    for rule in rules:
        height, width = rule.pixels.shape
        reach = 2 * math.ceil(rule.thickness) + 2
        top, columns = max(rule.top - reach, 0), slice(rule.left, rule.left + width)
        rows = slice(top, rule.top + height + reach)
        crossing = _open(np.ascontiguousarray(foreground[rows, columns]), reach + 1, 1)
        mask = np.zeros_like(crossing)
        mask[rule.top - top : rule.top - top + height] = rule.pixels
        rest[rows, columns] &= (1 - cv2.dilate(mask, np.ones((3, 1), np.uint8))) | crossing
    return rest


def _open(foreground: Mask, height: int, width: int) -> Mask:
    """Morphological opening: what is covered by boxes of this size that fit into the foreground."""
    box = np.ones((height | 1, width | 1), np.uint8)  # of even size it would shift
    # By default OpenCV lets the foreground go on beyond the border.
    return cv2.morphologyEx(
        foreground, cv2.MORPH_OPEN, box, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
