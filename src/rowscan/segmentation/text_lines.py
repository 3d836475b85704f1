"""Text lines: which connected components form a line of writing, and the order of the lines."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import Bool, Float64, Int32, Int64
from rowscan.segmentation.binarize import Mask, weighted_median

Indices = Int64[np.ndarray, " _"]
"""Numbers of components."""
Neighbours = Bool[np.ndarray, "n n"]

_MIN_HEIGHT = 5  # a digit of fewer rows cannot be read
_MAX_SKEW = 15.0  # degrees that are searched, so that ten can be found
_MIN_SKEW = 0.5  # degrees; less is not worth resampling the picture
_MAX_COMPONENTS = 4000  # the largest are kept,
_MAX_TALL = 1000  # and the largest of those that may be digits
_MIN_PLAUSIBILITY = 0.15
_MAX_INK = 5.0  # stroke widths of ink in a column of a number
_MAX_LOOSE = 1.5  # stroke widths between a detached part of a digit and the rest


@dataclass(frozen=True, eq=False)
class Components:
    """Connected components of the foreground; entry i of each array is of component i.

    Attributes:
        labels: 1 + i on the pixels of component i; 0 is paper.
        left, top, right, bottom, width, height: its box in pixels, right and bottom exclusive.
        area: the number of its pixels.
    """

    labels: Int32[np.ndarray, "height width"]
    left: Int32[np.ndarray, " n"]
    top: Int32[np.ndarray, " n"]
    right: Int32[np.ndarray, " n"]
    bottom: Int32[np.ndarray, " n"]
    width: Int32[np.ndarray, " n"]
    height: Int32[np.ndarray, " n"]
    area: Int32[np.ndarray, " n"]

    @property
    def centre(self) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        """X and y of the centre of each box."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def cut(self) -> Bool[np.ndarray, " n"]:
        """Which ones touch the border of the picture."""
        rows, columns = self.labels.shape
        beside = (self.left == 0) | (self.right == columns)
        cut: np.ndarray = beside | (self.top == 0) | (self.bottom == rows)
        return cut


def connected_components(foreground: Mask, stroke_width: float) -> Components:
    """The connected components without specks, which are smaller than half a dot."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(foreground, connectivity=8)
    area = boxes[:, cv2.CC_STAT_AREA]
    kept = area >= max(2.0, 0.5 * stroke_width**2)
    kept[0] = False
    if kept.sum() > _MAX_COMPONENTS:
        kept &= area > np.sort(area[kept])[-_MAX_COMPONENTS - 1]
    labels = np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]
    left, top, width, height, area = boxes[kept].T
    return Components(labels, left, top, left + width, top + height, width, height, area)


def estimate_skew(components: Components) -> float:
    """By how many degrees the text lines fall to the right; 0 where too few components tell.

    The heights of the components are projected along each angle and added up. Along the text lines
    the sums are high within a line and zero between lines, and the sum of their squares is largest
    (Postl: Detection of linear oblique structures and skew scan in digitized documents, 1986;
    with components for pixels).
    """
    if not components.area.size:
        return 0.0
    usual = weighted_median(components.height, components.area)
    like = (components.height >= 0.4 * usual) & (components.height <= 2 * usual)
    if like.sum() < 4:
        return 0.0
    x, y = (centre[like] for centre in components.centre)
    half = components.height[like] / 2

    def sum_of_squares(angle: float) -> float:
        middle = y - x * math.tan(math.radians(angle))
        start, stop = (np.rint(v * 24 / usual).astype(int) for v in (middle - half, middle + half))
        first, bins = start.min(), stop.max() - start.min() + 1
        steps = np.bincount(start - first, minlength=bins)
        steps -= np.bincount(stop - first, minlength=bins)
        return float((np.cumsum(steps) ** 2).sum())

    angles = np.arange(-_MAX_SKEW, _MAX_SKEW + 1)
    scores = np.array([sum_of_squares(float(angle)) for angle in angles])
    # The peak is broad and rough; a mean dominated by it is steadier than its highest point.
    angle = float(np.average(angles, weights=(scores / scores.max()) ** 20))
    return angle if abs(angle) >= _MIN_SKEW else 0.0


@dataclass(frozen=True, eq=False)
class TextLine:
    """One line of writing, by the numbers of its components.

    Attributes:
        tall: the components that are tall enough for a digit.
        members: these, and what else belongs to the line.
        plausibility: as in `LineImage`.
    """

    tall: Indices
    members: Indices
    plausibility: float


def find_text_lines(
    components: Components, separators: Mask, stroke_width: float
) -> list[TextLine]:
    """The text lines in reading order; separators are vertical rules between numbers.

    Tall components form a line if they are neighbours, see `_neighbours`. Components too low for a
    digit without a neighbour (a dot, a dash, a detached part) belong to the line within which they
    lie. So does what is lower than the line and nearly touches it, such as the bar of a 5.
    """
    dash = components.area < 1.15 * stroke_width * components.width
    tall = np.flatnonzero(~dash & (components.height >= max(_MIN_HEIGHT, 2.2 * stroke_width)))
    tall = np.sort(tall[np.argsort(-components.area[tall], kind="stable")[:_MAX_TALL]])
    if not tall.size:
        return []
    group = connected_groups(_neighbours(components, tall, separators, stroke_width))
    groups = [tall[group == first] for first in np.unique(group)]
    heights = np.array([weighted_median(components.height[g], components.area[g]) for g in groups])
    extent = np.array([components.right[g].max() - components.left[g].min() for g in groups])
    narrow = extent < 0.15 * heights  # a 1, or the remains of a vertical rule
    areas = np.array([components.area[g].sum() for g in groups])
    areas = np.minimum(areas, _MAX_INK * stroke_width * extent)  # a blot counts as no more
    usual = weighted_median(heights, areas if narrow.all() else areas * ~narrow)
    free = np.ones(len(components.area), bool)
    alone = np.array([g[0] for g in groups if len(g) == 1], np.int64)
    apart = free.copy()
    apart[np.setdiff1d(tall, alone)] = False
    lines = []
    for i in np.argsort(-heights * ~narrow, kind="stable"):
        height, own = heights[i], groups[i][free[groups[i]]]
        if not own.size:
            continue
        free[own] = False
        parts = dash | (apart & (components.height < 0.5 * height))
        loose = alone[free[alone] & (components.height[alone] < 0.8 * height)]
        parts[loose] |= _beside(components, loose, own, _MAX_LOOSE * stroke_width)
        parts &= free & ~narrow[i] & _within(components, own, height, stroke_width)
        free &= ~parts
        whole = float(components.area[own] @ ~components.cut[own] / components.area[own].sum())
        plausibility = min(1.0, height / usual) * (0.3 + 0.7 * whole) * (0.5 if narrow[i] else 1.0)
        if plausibility >= _MIN_PLAUSIBILITY:
            lines.append(TextLine(own, np.append(own, np.flatnonzero(parts)), float(plausibility)))
    return _in_reading_order(lines, components)


def _within(
    components: Components, own: Indices, height: float, stroke_width: float
) -> Bool[np.ndarray, " n"]:
    """Which components, specks apart, lie within a line of this height, or just beside it."""
    x, y = components.centre
    left, right = components.left[own].min(), components.right[own].max()
    within: np.ndarray = components.area >= stroke_width**2
    within &= np.abs(x - np.clip(x, left, right)) < 0.7 * height
    # The bar of a 5 may float above the line; below it are rules.
    within &= (y > components.top[own].min() - 0.35 * height) & (y < components.bottom[own].max())
    return within


def _beside(
    components: Components, some: Indices, own: Indices, distance: float
) -> Bool[np.ndarray, " n"]:
    """Which of some components have a box within a distance of the box of one of the others."""
    sides = (components.left, components.right), (components.top, components.bottom)
    across, down = (
        np.maximum.outer(first[some], first[own]) - np.minimum.outer(last[some], last[own])
        for first, last in sides
    )
    beside: np.ndarray = (np.maximum(across, down) <= distance).any(1)
    return beside


def _neighbours(
    components: Components, tall: Indices, separators: Mask, stroke_width: float
) -> Neighbours:
    """Which of the tall components are neighbours in a line.

    They stand beside each other, are of similar height, no farther apart than they are high (or
    wide, if both are broad), and have no separator between them. A dot at their feet may be as far
    from each.
    """
    left, right = components.left[tall], components.right[tall]
    top, bottom = components.top[tall], components.bottom[tall]
    lower = np.minimum.outer(bottom - top, bottom - top)
    taller = np.maximum.outer(bottom - top, bottom - top)
    overlap = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    gap = np.maximum.outer(left, left) - np.minimum.outer(right, right)
    width = right - left
    wide = np.minimum(np.minimum.outer(width, width), 1.5 * taller)  # low, broad writing
    close = gap <= 1.2 * np.maximum(taller, wide)
    close |= _dot_between(components, tall, stroke_width)
    narrow = width < 0.15 * (bottom - top)  # the remains of a vertical rule
    alike = lower >= np.where(np.logical_or.outer(narrow, narrow), 0.6, 0.35) * taller
    near: np.ndarray = (overlap >= 0.4 * lower) & close & alike
    if separators.any():
        _, _, rules, _ = cv2.connectedComponentsWithStats(separators, connectivity=8)
        for rule_left, rule_top, rule_width, rule_height, _ in rules[1:]:
            beyond = left + right > 2 * rule_left + rule_width
            along = (top < rule_top + rule_height) & (bottom > rule_top)
            near &= ~(np.not_equal.outer(beyond, beyond) & np.logical_and.outer(along, along))
    return near


def _dot_between(components: Components, tall: Indices, stroke_width: float) -> Neighbours:
    """Which of the tall components have a dot between them, at their feet and near to both."""
    size = np.maximum(components.width, components.height)
    dots = (size <= 3 * stroke_width) & (components.area >= stroke_width**2)
    x, y = (centre[dots, None] for centre in components.centre)
    left, right, bottom = components.left[tall], components.right[tall], components.bottom[tall]
    height = components.height[tall]
    at_feet = (y > bottom - 0.5 * height) & (y < bottom + 0.3 * height)
    at_feet &= size[dots, None] <= 0.4 * height
    behind = at_feet & (x >= right) & (x <= right + height)
    before = at_feet & (x <= left) & (x >= left - height)
    between = behind.T.astype(np.float32) @ before.astype(np.float32) > 0
    either: np.ndarray = between | between.T
    return either


def connected_groups(near: Neighbours) -> Int64[np.ndarray, " n"]:
    """The connected components of a graph of neighbours: for each node the first of its group."""
    group = np.arange(len(near))
    while True:
        first = np.where(near, group, len(near)).min(1)
        first = first[first]  # twice as far in one round
        if np.array_equal(first, group):
            return group
        group = first


def _in_reading_order(lines: list[TextLine], components: Components) -> list[TextLine]:
    """From top to bottom, and lines side by side from left to right."""
    rest = sorted(lines, key=lambda line: int(components.top[line.tall].min()))
    _, y = components.centre
    ordered = []
    while rest:
        floor = components.bottom[rest[0].tall].max()
        beside = [rest[0]]
        beside += [line for line in rest[1:] if y[line.tall].mean() < floor]
        rest = [line for line in rest if line not in beside]
        ordered += sorted(beside, key=lambda line: int(components.left[line.tall].min()))
    return ordered
