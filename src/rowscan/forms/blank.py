"""Blank: the picture of an empty page of a form, and what is needed to find it again in a photo."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from rowscan.arrays import Float32, UInt8
from rowscan.errors import DataError
from rowscan.io.pictures import open_image
from rowscan.reading import Box
from rowscan.segmentation.binarize import (
    Contrast,
    estimate_background,
    measure_contrast,
    resize,
)

Grey = UInt8[np.ndarray, "height width"]
Points = Float32[np.ndarray, "n 2"]
"""X and y in pixels."""

WORKING_PIXELS = 2_200_000
"""Larger blanks are reduced to this: A4 at 150 dpi."""
FEATURE_PIXELS = 500_000
"""Features are found in pictures of at most this size. Over 60 simulated photos of three forms SIFT
had at the least 78 inliers there with the right blank and at most 12 with another; with a million
pixels 61 and 15, in twice the time; ORB 56 and 16, in half as much time again."""
_FEATURES = 1500  # at most
_CORNERS = 600  # at most
_CORNER_DISTANCE = 12  # pixels
_NONE = np.zeros((0, 2), np.float32)
_RULE = 45  # pixels: longer strokes are rules,
_GAP = 11  # and letters that are closer are a word,
_LOW = 7  # if they are as high as that
PRINT = 40  # of 192: the contrast of what is printed, at the least


@dataclass(frozen=True, eq=False)
class Features:
    """What is told apart by its surroundings in a picture."""

    points: Points
    """In pixels of the whole picture."""
    descriptors: Float32[np.ndarray, "n 128"]


def find_features(picture: Grey) -> Features:
    """SIFT's features (Lowe: Distinctive image features from scale-invariant keypoints, 2004)."""
    factor = min(1.0, math.sqrt(FEATURE_PIXELS / picture.size))
    small = resize(picture, factor) if factor < 1 else picture
    found, descriptors = cv2.SIFT_create(_FEATURES).detectAndCompute(small, None)  # type: ignore[attr-defined]
    if descriptors is None:
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    points = np.array([point.pt for point in found], np.float32)
    scale = np.divide(picture.shape[::-1], small.shape[::-1])
    return Features(((points + 0.5) * scale - 0.5).astype(np.float32), descriptors)


class Blank:
    """One page of a blank form.

    Attributes:
        contrast: how much its print stands out, 0 (paper) to 192.
        scale: pixels of it for one of the file.
    """

    def __init__(self, picture: Grey) -> None:
        """Prepare a page from its grey levels, dark print on light paper."""
        self.scale = min(1.0, math.sqrt(WORKING_PIXELS / picture.size))
        self.picture = resize(picture, self.scale) if self.scale < 1 else picture
        self.contrast: Contrast = page_contrast(self.picture)

    @classmethod
    def open(cls, path: Path) -> "Blank":
        """The page in a file.

        Raises:
            DataError: the file cannot be read, or nothing is printed on the page.
        """
        blank = cls(open_image(path))
        if len(blank.features.points) < 20:
            raise DataError(path, "too little is printed on this page to find it in a photo")
        return blank

    @cached_property
    def features(self) -> Features:
        """By which it is found."""
        return find_features(self.picture)

    @cached_property
    def corners(self) -> Points:
        """Points of the print that can be tracked."""
        found = cv2.goodFeaturesToTrack(self.contrast, _CORNERS, 0.02, _CORNER_DISTANCE)
        corners: np.ndarray = np.reshape(found, (-1, 2)) if np.size(found) > 1 else _NONE
        return corners

    @cached_property
    def words(self) -> list[Box]:
        """The words that are printed: what is left of the print without long rules, in groups."""
        print_ = (self.contrast >= PRINT).astype(np.uint8)
        for side in ((_RULE, 1), (1, _RULE)):
            rules = cv2.morphologyEx(print_, cv2.MORPH_OPEN, np.ones(side, np.uint8))
            print_[cv2.dilate(rules, np.ones((3, 3), np.uint8)) > 0] = 0
        groups = cv2.dilate(print_, np.ones((1, _GAP), np.uint8))
        boxes = cv2.connectedComponentsWithStats(groups)[2][1:, :4].tolist()
        return [
            (x, y, width, height)
            for x, y, width, height in boxes
            if _LOW <= height <= _RULE
            and width >= 2 * _LOW
            and print_[y : y + height, x : x + width].sum() >= _LOW**2
        ]


def page_contrast(picture: Grey) -> Contrast:
    """How far each pixel of a page stands out from its paper, light and shadow divided out."""
    return measure_contrast(picture, estimate_background(picture))[0]
