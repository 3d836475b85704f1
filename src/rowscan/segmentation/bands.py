"""Bands: from the page model's answer to the ink of each line. It opens no model.

The model says where the bands of lines run, and which dark pixels are ink. A line is a connected
part of the bands with the strokes that lie in it or beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from rowscan.arrays import Bool, Float32, Float64, Int32, Int64
from rowscan.segmentation.binarize import weighted_median
from rowscan.segmentation.line_image import MAX_LINES, check_count

CELL = 2
"""Pixels of a cell of the bands, along each side."""

_UNIT = 32.0  # pixels: the height of digits for which the model says 0
_SMALLEST = 0.04  # of the square of its height: a smaller band is none
_BESIDE = 0.45  # heights: a stroke that begins nearer to a band than this belongs to its line,
_BEYOND = 0.75  # and of a stroke in a band, what is farther away does not
_SHARED = 0.15  # of a stroke's pixels in bands: with more in a second one, it is parted
_TOLD = 0.6  # of 1: a shorter direction means that the model does not know it
_WITHIN = 0.35  # of the pixels of a stroke: with more in a band, or ink, it is writing, if it is
_LONGEST, _BROADEST = 1.5, 0.6  # heights of digits, and not more; a slash has 0.4 in its band
_FEW, _ALONE, _LEANING = 3, 1.0, 20.0
"""Bands, heights, degrees: fewer, shorter ones that lean less are level; a 1 alone leans, too."""
_STRAIGHT = 3.0  # heights: a longer band shows its direction, a shorter one has the page's


class PageAnswer(NamedTuple):
    """What a page model says of one picture."""

    probabilities: Float32[np.ndarray, "height width 3"]
    """Of paper, ink and other marks, of each pixel."""
    bands: Float32[np.ndarray, "rows2 columns2"]
    """Of being in the band of a line of writing, of each 2 × 2 pixels."""
    geometry: Float32[np.ndarray, "rows4 columns4 3"]
    """Of each 4 × 4 pixels: log2 of the height of the digits over 32 pixels, cosine and sine of the
    direction of the line; they mean something in a band."""


@dataclass(frozen=True, eq=False)
class BandLine:
    """One line of writing: its pixels and how it runs.

    Attributes:
        rows: of its ink, and
        columns: of the same pixels.
        height: of its digits, in pixels.
        angle: its direction, degrees, clockwise from the right.
        certainty: 0 to 1, how sure the model is that this is ink in a band.
    """

    rows: Int64[np.ndarray, " pixels"]
    columns: Int64[np.ndarray, " pixels"]
    height: float
    angle: float
    certainty: float


@dataclass(frozen=True, eq=False)
class _Bands:
    """The connected parts of the bands, by number from 1 on; entry 0 is the rest."""

    labels: Int32[np.ndarray, "rows2 columns2"]
    heights: Float64[np.ndarray, " bands"]
    angles: Float64[np.ndarray, " bands"]
    certainty: Float64[np.ndarray, " bands"]


def digit_heights(
    answer: PageAnswer,
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The height of each line's digits, in pixels, and the size of its band, in cells."""
    bands = _connected(answer)
    return bands.heights[1:], np.bincount(bands.labels.ravel(), minlength=len(bands.heights))[
        1:
    ].astype(float)


def find_lines(answer: PageAnswer) -> list[BandLine]:
    """The lines of writing on a page, each with its ink."""
    bands = _connected(answer)
    if len(bands.heights) == 1:
        return []
    check_count(range(1, len(bands.heights)), MAX_LINES)
    ink = ink_mask(answer, float(np.median(bands.heights[1:])))
    ink |= _whole_strokes(answer, bands, ink)
    rows, columns = np.nonzero(ink)
    owner = _owners(ink, bands)[rows, columns]
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(len(bands.heights) + 1))
    probability = answer.probabilities[..., 1]
    lines = []
    for number in range(1, len(bands.heights)):
        own = order[bounds[number] : bounds[number + 1]]
        if len(own) < 8:
            continue
        y, x = rows[own], columns[own]
        certainty = float(probability[y, x].mean()) * float(bands.certainty[number])
        lines.append(
            BandLine(y, x, float(bands.heights[number]), float(bands.angles[number]), certainty)
        )
    return lines


def has_other_marks(answer: PageAnswer, lines: Sequence[BandLine]) -> bool:
    """Whether something on the page that is in no line is at least half as high as its digits."""
    dark = (answer.probabilities[..., 0] < 0.5).astype(np.uint8)
    for line in lines:
        dark[line.rows, line.columns] = 0
    _, _, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    height = min((line.height for line in lines), default=0.0)
    return bool((stats[1:, cv2.CC_STAT_HEIGHT] > height / 2).any())


def ink_mask(answer: PageAnswer, height: float) -> Bool[np.ndarray, "height width"]:
    """The pixels of ink, decided for pieces of strokes about as long as these are wide.

    Pixel by pixel, strokes would be nibbled where a rule crosses them.
    """
    paper, ink, other = cv2.split(answer.probabilities)
    dark = (paper < 0.5).astype(np.float32)
    lead = (np.log(ink + 1e-6) - np.log(other + 1e-6)) * dark
    sigma = max(height / 20, 0.7)
    smooth = cv2.GaussianBlur(lead, (0, 0), sigma)
    mask: np.ndarray = (dark > 0) & (smooth > 0)
    return mask


def _whole_strokes(
    answer: PageAnswer, bands: _Bands, ink: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """Dark pixels of single strokes that are within a band, or largely ink and partly in one.

    A rule would not end there, a 1 does.
    """
    dark = (answer.probabilities[..., 0] < 0.5).astype(np.uint8)
    size = dark.shape[1], dark.shape[0]
    count, parts, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    rows, columns = np.nonzero(dark)
    at = parts[rows, columns]
    heights = cv2.resize(
        bands.heights[bands.labels].astype(np.float32), size, interpolation=cv2.INTER_NEAREST
    )[rows, columns]
    inside = np.bincount(at, heights > 0, minlength=count)
    height = np.bincount(at, heights, minlength=count) / np.maximum(inside, 1)
    sides = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    single = (sides.max(1) < _LONGEST * height) & (sides.min(1) < _BROADEST * height)
    inked = np.bincount(at, ink[rows, columns], minlength=count) * (inside > 0)
    whole = single & (np.maximum(inside, inked) > _WITHIN * stats[:, cv2.CC_STAT_AREA])
    whole[0] = False
    result: np.ndarray = whole[parts]
    return result


def _connected(answer: PageAnswer) -> _Bands:
    solid = (answer.bands > 0.5).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    cells = cv2.resize(answer.geometry, solid.shape[::-1], interpolation=cv2.INTER_NEAREST)
    at, sizes = labels.ravel(), stats[:, cv2.CC_STAT_AREA].astype(float)
    means = [
        np.bincount(at, part.ravel(), minlength=count) / np.maximum(sizes, 1)
        for part in (*cv2.split(cells), answer.bands)
    ]
    heights = _UNIT * 2.0 ** means[0]
    kept = sizes * CELL**2 > _SMALLEST * heights**2
    kept[0] = False
    numbers = np.cumsum(kept) * kept
    chosen = np.concatenate([[0], np.flatnonzero(kept)])
    labels = numbers[labels].astype(np.int32)
    said, told = np.arctan2(means[2], means[1]), np.hypot(means[1], means[2]) > _TOLD
    angles = _angles(labels, heights[chosen].clip(1), said[chosen], told[chosen])
    heights = heights[chosen]
    heights[0] = 0.0
    return _Bands(labels, heights, angles, means[3][chosen])


def _angles(
    labels: Int32[np.ndarray, "rows2 columns2"],
    heights: Float64[np.ndarray, " bands"],
    said: Float64[np.ndarray, " bands"],
    told: Bool[np.ndarray, " bands"],
) -> Float64[np.ndarray, " bands"]:
    """Degrees: of long bands their own axis, of short ones the usual direction of the page."""
    angles, lengths = np.degrees(said), np.zeros(len(heights))
    ys, xs = np.nonzero(labels)
    owner = labels[ys, xs]
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(len(heights) + 1))
    for number in range(1, len(heights)):
        own = order[bounds[number] : bounds[number + 1]]
        if len(own) < 4:
            continue
        spread, axes = np.linalg.eigh(np.cov(np.stack([xs[own], ys[own]]).astype(float)))
        # A band is as long as sqrt(12) standard deviations along it.
        lengths[number] = math.sqrt(12 * spread[1]) * CELL / heights[number]
        if lengths[number] > _STRAIGHT:
            axis = math.degrees(math.atan2(axes[1, 1], axes[0, 1]))
            turns = round((angles[number] - axis) / 180)
            angles[number] = axis + 180 * turns
    long = lengths > _STRAIGHT
    weights = lengths * np.where(long, 4.0, 1.0)
    if weights[1:].sum() > 0:
        usual = _usual_angle(angles[1:], weights[1:])
        if len(angles) - 1 < _FEW and lengths.max() < _ALONE:
            level = 90 * round(usual / 90)
            usual = level if abs(usual - level) < _LEANING else usual
        near = np.abs((angles - usual + 180) % 360 - 180) < 45
        angles = np.where(~long & (near | ~told), usual, angles)
    result: np.ndarray = angles
    return result


def _usual_angle(angles: Float64[np.ndarray, " n"], weights: Float64[np.ndarray, " n"]) -> float:
    """The weighted median of angles, which may lie on both sides of 180 degrees."""
    turn = np.radians(angles)
    middle = math.degrees(math.atan2(weights @ np.sin(turn), weights @ np.cos(turn)))
    return middle + weighted_median((angles - middle + 180) % 360 - 180, weights)


def _owners(
    ink: Bool[np.ndarray, "height width"], bands: _Bands
) -> Int32[np.ndarray, "height width"]:
    """The number of the line that each pixel of ink belongs to; 0 where none."""
    size = ink.shape[1], ink.shape[0]
    core = cv2.resize(bands.labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    core = core.astype(np.int32)
    away, nearest = _nearest(core)
    parts, part = cv2.connectedComponents(ink.astype(np.uint8), connectivity=8)
    rows, columns = np.nonzero(ink)
    at = part[rows, columns].astype(np.int64)
    inside, near, afar = (array[rows, columns] for array in (core, nearest, away))
    del part, core, nearest, away  # a large page has 12 MB of each
    total, best, most = _votes(at, inside, parts)
    shared = total - most > _SHARED * np.maximum(total, 1)
    distance = afar / bands.heights[near].clip(1)
    # A stroke outside all bands: whose band is nearest to any of its pixels.
    order = np.argsort(-distance, kind="stable")
    least, closest = np.full(parts, np.inf), np.zeros(parts, np.int64)
    least[at[order]], closest[at[order]] = distance[order], near[order]
    best = np.where(total > 0, best, np.where(least <= _BESIDE, closest, 0))
    own = np.where(shared[at], near, best[at])
    # Far from its own band, a stroke of another line or a rule has been joined to it.
    far = (distance > _BEYOND) | ((near != own) & (distance < 0.2) & (total[at] > 0))
    result = np.zeros(ink.shape, np.int32)
    result[rows, columns] = np.where(far, 0, own)
    return result


def _votes(
    at: Int64[np.ndarray, " pixels"], inside: Int32[np.ndarray, " pixels"], parts: int
) -> tuple[Int64[np.ndarray, " parts"], Int64[np.ndarray, " parts"], Int64[np.ndarray, " parts"]]:
    """Of each part: its pixels in bands, the band that has most of them, and how many it has.

    Args:
        at: the part of each pixel,
        inside: and its band; 0 is none.
        parts: how many there are.
    """
    keys = (inside.astype(np.int64) * parts + at)[inside > 0]
    keys, votes = np.unique(keys, return_counts=True)
    band, part = np.divmod(keys, parts)
    total, best, most = (np.zeros(parts, np.int64) for _ in range(3))
    np.add.at(total, part, votes)
    order = np.lexsort((-band, votes))  # the last one counts: the lowest number of most votes
    best[part[order]], most[part[order]] = band[order], votes[order]
    return total, best, most


def _nearest(
    core: Int32[np.ndarray, "height width"],
) -> tuple[Float32[np.ndarray, "height width"], Int32[np.ndarray, "height width"]]:
    """Of each pixel: how far the nearest band is, and its number."""
    empty = (core == 0).astype(np.uint8)
    away, zones = cv2.distanceTransformWithLabels(
        empty, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_CCOMP
    )
    numbers = np.zeros(int(zones.max()) + 1, np.int32)
    numbers[zones[core > 0]] = core[core > 0]
    return away, numbers[zones]
