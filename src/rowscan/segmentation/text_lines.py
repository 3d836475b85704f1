"""Rows: which strokes stand in one line of writing, and in which order the lines are read."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import Bool, Float64, Int32, Int64
from rowscan.segmentation.binarize import Mask, weighted_median

_LOWEST = 5  # a digit of fewer rows cannot be read
_MAX_ANGLE = 15.0  # degrees; looked at, so that ten can be found
_LEAST_ANGLE = 0.5  # degrees; less is not worth resampling the picture
_MAX_PATCHES = 4000  # the largest are looked at,
_MAX_HIGH = 1000  # and of those that may be digits, so many
_LEAST_PLAUSIBLE = 0.15
_DENSEST = 5.0  # pens: so much ink has a column of a number
_LOOSE = 1.5  # pens: a part that came loose is no farther from the rest


@dataclass(frozen=True, eq=False)
class Patches:
    """Connected patches of strokes; entry i of each array is patch i.

    Attributes:
        labels: 1 + i on the pixels of patch i; 0 is paper.
        left, top, right, bottom: its box; right and bottom lie outside.
        area: how many pixels it has.
    """

    labels: Int32[np.ndarray, "height width"]
    left: Int32[np.ndarray, " n"]
    top: Int32[np.ndarray, " n"]
    right: Int32[np.ndarray, " n"]
    bottom: Int32[np.ndarray, " n"]
    area: Int32[np.ndarray, " n"]

    @property
    def width(self) -> Int32[np.ndarray, " n"]:
        """Columns of each box."""
        width: np.ndarray = self.right - self.left
        return width

    @property
    def height(self) -> Int32[np.ndarray, " n"]:
        """Rows of each box."""
        height: np.ndarray = self.bottom - self.top
        return height

    @property
    def cut(self) -> Bool[np.ndarray, " n"]:
        """Which ones touch the border of the picture."""
        rows, columns = self.labels.shape
        beside = (self.left == 0) | (self.right == columns)
        cut: np.ndarray = beside | (self.top == 0) | (self.bottom == rows)
        return cut


def find_patches(strokes: Mask, pen: float) -> Patches:
    """The connected patches of strokes, without specks: what is smaller than half a dot."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    area = boxes[:, cv2.CC_STAT_AREA]
    kept = area >= max(2.0, 0.5 * pen**2)
    kept[0] = False
    if kept.sum() > _MAX_PATCHES:
        kept &= area > np.sort(area[kept])[-_MAX_PATCHES - 1]
    labels = np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]
    left, top, width, height, area = boxes[kept].T
    return Patches(labels, left, top, left + width, top + height, area)


def find_angle(patches: Patches) -> float:
    """By how many degrees the lines of writing fall to the right; 0 where too little tells.

    The patches' heights are projected along each angle and added up. Along the lines of writing
    the sums are high within a line and zero between, and the sum of their squares is largest
    (Postl: Detection of linear oblique structures and skew scan in digitized documents, 1986;
    with patches for pixels).
    """
    if not patches.area.size:
        return 0.0
    size = weighted_median(patches.height, patches.area)
    like = (patches.height >= 0.4 * size) & (patches.height <= 2 * size)
    if like.sum() < 4:
        return 0.0
    x, y = _centres(patches)
    x, y, half = x[like], y[like], patches.height[like] / 2

    def squares(angle: float) -> float:
        middle = y - x * math.tan(math.radians(angle))
        start, stop = (np.rint(v * 24 / size).astype(int) for v in (middle - half, middle + half))
        first, bins = start.min(), stop.max() - start.min() + 1
        steps = np.bincount(start - first, minlength=bins)
        steps -= np.bincount(stop - first, minlength=bins)
        return float((np.cumsum(steps) ** 2).sum())

    angles = np.arange(-_MAX_ANGLE, _MAX_ANGLE + 1)
    scores = np.array([squares(float(angle)) for angle in angles])
    # The top is broad and rough; a mean that leans on it is steadier than its highest point.
    angle = float(np.average(angles, weights=(scores / scores.max()) ** 20))
    return angle if abs(angle) >= _LEAST_ANGLE else 0.0


@dataclass(frozen=True, eq=False)
class Row:
    """One line of writing: numbers of its patches.

    Attributes:
        high: those that are high enough for a digit.
        members: these, and what else belongs to the line.
        plausibility: as in `LineImage`.
    """

    high: Int64[np.ndarray, " n"]
    members: Int64[np.ndarray, " m"]
    plausibility: float


def find_rows(patches: Patches, fences: Mask, pen: float) -> list[Row]:
    """The lines of writing in reading order.

    Two patches are neighbours in a line if they lie beside each other, of like height, no farther
    apart than they are high or, if both are broad, wide, and no upright rule stands between them; a
    dot at their feet may be as far from each. What is too low for a digit and has no neighbour, a
    dot, a dash, a part that came loose, belongs to the line within which it lies. So does what is
    lower than the line and nearly touches it: the bar of a 5, say.
    """
    dash = patches.area < 1.15 * pen * patches.width
    high = np.flatnonzero(~dash & (patches.height >= max(_LOWEST, 2.2 * pen)))
    high = np.sort(high[np.argsort(-patches.area[high], kind="stable")[:_MAX_HIGH]])
    if not high.size:
        return []
    group = joined(_neighbours(patches, high, fences, pen))
    groups = [high[group == first] for first in np.unique(group)]
    sizes = np.array([weighted_median(patches.height[own], patches.area[own]) for own in groups])
    extent = np.array([patches.right[own].max() - patches.left[own].min() for own in groups])
    slim = extent < 0.15 * sizes  # a 1, or what remains of an upright rule
    areas = np.array([patches.area[own].sum() for own in groups])
    areas = np.minimum(areas, _DENSEST * pen * extent)  # a blot is one thing, be it ever so large
    usual = weighted_median(sizes, areas if slim.all() else areas * ~slim)
    x, y = _centres(patches)
    free = np.ones(len(patches.area), bool)
    alone = np.array([own[0] for own in groups if len(own) == 1], np.int64)
    apart = np.ones(len(patches.area), bool)
    apart[np.setdiff1d(high, alone)] = False
    rows = []
    for which in np.argsort(-sizes * ~slim, kind="stable"):
        size, own = sizes[which], groups[which][free[groups[which]]]
        if not own.size:
            continue
        free[own] = False
        low = dash | (apart & (patches.height < 0.5 * size))
        loose = alone[free[alone] & (patches.height[alone] < 0.8 * size)]
        low[loose] |= _beside(patches, loose, own, _LOOSE * pen)
        within = free & low
        within &= patches.area >= pen**2
        within &= np.abs(x - np.clip(x, patches.left[own].min(), patches.right[own].max())) < (
            0.7 * size
        )
        # The bar of a 5 may float above it; below a line are rules.
        within &= (y > patches.top[own].min() - 0.35 * size) & (y < patches.bottom[own].max())
        within &= not slim[which]
        free &= ~within
        whole = float(patches.area[own] @ ~patches.cut[own] / patches.area[own].sum())
        plausibility = min(1.0, size / usual) * (0.3 + 0.7 * whole) * (0.5 if slim[which] else 1.0)
        if plausibility >= _LEAST_PLAUSIBLE:
            rows.append(Row(own, np.append(own, np.flatnonzero(within)), float(plausibility)))
    return _in_reading_order(rows, patches)


def _beside(
    patches: Patches, some: Int64[np.ndarray, " n"], own: Int64[np.ndarray, " m"], distance: float
) -> Bool[np.ndarray, " n"]:
    """Which of some patches have a box no farther than that from the box of one of the others."""
    across, down = (
        np.maximum.outer(first[some], first[own]) - np.minimum.outer(last[some], last[own])
        for first, last in ((patches.left, patches.right), (patches.top, patches.bottom))
    )
    beside: np.ndarray = (np.maximum(across, down) <= distance).any(1)
    return beside


def _neighbours(
    patches: Patches, high: Int64[np.ndarray, " n"], fences: Mask, pen: float
) -> Bool[np.ndarray, "n n"]:
    """Which of the high patches stand beside which in a line."""
    left, right = patches.left[high], patches.right[high]
    top, bottom = patches.top[high], patches.bottom[high]
    lower = np.minimum.outer(bottom - top, bottom - top)
    taller = np.maximum.outer(bottom - top, bottom - top)
    overlap = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    gap = np.maximum.outer(left, left) - np.minimum.outer(right, right)
    width = right - left
    wide = np.minimum(np.minimum.outer(width, width), 1.5 * taller)  # low, broad writing
    close = (gap <= 1.2 * np.maximum(taller, wide)) | _about_a_dot(patches, high, pen)
    slim = width < 0.15 * (bottom - top)  # what remains of an upright rule
    alike = lower >= np.where(np.logical_or.outer(slim, slim), 0.6, 0.35) * taller
    near: np.ndarray = (overlap >= 0.4 * lower) & close & alike
    if fences.any():
        _, _, bars, _ = cv2.connectedComponentsWithStats(fences, connectivity=8)
        for bar_left, bar_top, width, height, _ in bars[1:]:
            beyond = left + right > 2 * bar_left + width
            along = (top < bar_top + height) & (bottom > bar_top)
            near &= ~(np.not_equal.outer(beyond, beyond) & np.logical_and.outer(along, along))
    return near


def _about_a_dot(
    patches: Patches, high: Int64[np.ndarray, " n"], pen: float
) -> Bool[np.ndarray, "n n"]:
    """Which of the high patches have a dot between them, at their feet and near to both."""
    size = np.maximum(patches.width, patches.height)
    dots = (size <= 3 * pen) & (patches.area >= pen**2)
    x, y = (centre[dots, None] for centre in _centres(patches))
    left, right, bottom = patches.left[high], patches.right[high], patches.bottom[high]
    height = patches.height[high]
    at_feet = (y > bottom - 0.5 * height) & (y < bottom + 0.3 * height)
    at_feet &= size[dots, None] <= 0.4 * height
    behind = at_feet & (x >= right) & (x <= right + height)
    before = at_feet & (x <= left) & (x >= left - height)
    about = behind.T.astype(np.float32) @ before.astype(np.float32) > 0
    either: np.ndarray = about | about.T
    return either


def joined(near: Bool[np.ndarray, "n n"]) -> Int64[np.ndarray, " n"]:
    """For each its group, where neighbours of neighbours are in one: its first member."""
    group = np.arange(len(near))
    while True:
        first = np.where(near, group, len(near)).min(1)
        first = first[first]  # as far again
        if np.array_equal(first, group):
            return group
        group = first


def _in_reading_order(rows: list[Row], patches: Patches) -> list[Row]:
    """From top to bottom, and what stands side by side from left to right."""
    rest = sorted(rows, key=lambda row: int(patches.top[row.high].min()))
    ordered = []
    while rest:
        floor = patches.bottom[rest[0].high].max()
        beside = [rest[0]]
        beside += [row for row in rest[1:] if _centres(patches)[1][row.high].mean() < floor]
        rest = [row for row in rest if row not in beside]
        ordered += sorted(beside, key=lambda row: int(patches.left[row.high].min()))
    return ordered


def _centres(patches: Patches) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    return (patches.left + patches.right) / 2, (patches.top + patches.bottom) / 2
