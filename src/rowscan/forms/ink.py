"""Ink: what a person wrote in a part of a form: the part without what is printed there.

Lengths are pixels of the blank as it is worked with, A4 at about 150 dpi.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import Bool, Int32, UInt8
from rowscan.forms.tables import PRINT
from rowscan.segmentation.binarize import Contrast, Mask

_TOLERANCE = 2  # pixels between the print of the blank and that of the page after alignment
_BRIDGE = 11  # pixels: a printed line and the tolerance on both sides of it
_SHADE = 0.4  # of the darkest ink: what is darker is ink too, as in `binarize`
_FAINT = 30  # of 192: lighter ink is not told from the noise of paper
_MIN_AREA = 12  # pixels of a component; smaller ones are specks
_BROAD = 25  # pixels, 4 mm: no stroke of a pen is as broad
_SLIVER = 3.0  # pixels from the print: what is nowhere farther away is the edge of the print


@dataclass(frozen=True, eq=False)
class Ink:
    """What is written in a part of a page.

    Attributes:
        grey: how dark it is, 0 to 192; 0 where nothing is written.
        mask: where something is written.
    """

    grey: Contrast
    mask: Bool[np.ndarray, "rows columns"]


def written(printed: Contrast, found: Contrast) -> Ink:
    """What is in a part of a page and not on its blank.

    Print is taken away with a tolerance; where writing goes on at both sides of a printed line, the
    line is kept between.
    """
    near: Mask = cv2.dilate((printed >= PRINT).astype(np.uint8), _disc(2 * _TOLERANCE + 1))
    outside = found[near == 0]
    darkest = quantile(outside, 0.995)
    dark = (found > max(_FAINT, _SHADE * darkest)).astype(np.uint8)
    apart = _without_slivers(dark & (1 - near), near)
    closed: Mask = cv2.morphologyEx(apart, cv2.MORPH_CLOSE, _disc(_BRIDGE))
    mask = _joined(apart, closed & near & dark)
    rim: Mask = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    soft = rim & (1 - near) | mask
    return Ink(found * soft, mask > 0)


def without_stains(found: Contrast) -> Contrast:
    """A part of a page without what is broader than a stroke: a stain, a deep shadow."""
    broad: Contrast = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((_BROAD, _BROAD), np.uint8))
    fine: Contrast = found - broad
    return fine


def _without_slivers(
    apart: UInt8[np.ndarray, "rows columns"], near: UInt8[np.ndarray, "rows columns"]
) -> UInt8[np.ndarray, "rows columns"]:
    """The components that are larger than specks, and go farther from the print than its edge."""
    count, found, stats, _ = cv2.connectedComponentsWithStats(apart, connectivity=8)
    labels: Int32[np.ndarray, "rows columns"] = found
    away = cv2.distanceTransform(1 - near, cv2.DIST_L2, 3)
    kept = np.zeros(count, bool)
    kept[labels[np.asarray(away) > _SLIVER]] = True
    kept &= stats[:, cv2.CC_STAT_AREA] >= _MIN_AREA
    kept[0] = False
    components: Mask = kept[labels].astype(np.uint8)
    return components


def _joined(
    apart: UInt8[np.ndarray, "rows columns"], bridged: UInt8[np.ndarray, "rows columns"]
) -> UInt8[np.ndarray, "rows columns"]:
    """Writing, and the bridges that touch it."""
    both = apart | bridged
    count, labels = cv2.connectedComponents(both, connectivity=8)
    touching = np.zeros(count, bool)
    touching[labels[apart > 0]] = True
    touching[0] = False
    return touching[labels].astype(np.uint8)


def _disc(size: int) -> UInt8[np.ndarray, "size size"]:
    disc: np.ndarray = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return disc


def quantile(levels: UInt8[np.ndarray, " n"], share: float) -> int:
    """The lowest level that this share of the pixels does not exceed; 0 of no pixels."""
    counts = np.cumsum(np.bincount(levels, minlength=256))
    return int(np.searchsorted(counts, share * counts[-1]))


def share(ink: Ink, box: tuple[int, int, int, int]) -> float:
    """How much of a box is covered with ink, 0 to 1."""
    x, y, width, height = box
    part = ink.mask[y : y + height, x : x + width]
    return float(part.mean()) if part.size else 0.0
