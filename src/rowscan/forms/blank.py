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
    Mask,
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
_DARK = 60  # of 192: print that lines are found in
_LONG = 1 / 60  # of the page's width: a shorter stroke of print is a letter's
_SPACE = 11  # pixels: letters that are closer are a word,
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
        """The words that are printed: what is no line, in groups."""
        other = PrintedLines.of(self.contrast).other
        groups = cv2.dilate(other, np.ones((1, _SPACE), np.uint8))
        boxes: list[Box] = cv2.connectedComponentsWithStats(groups)[2][1:, :4].tolist()
        return [
            (x, y, width, height)
            for x, y, width, height in boxes
            if height >= _LOW and width >= 2 * _LOW
        ]


@dataclass(frozen=True)
class PrintedLines:
    """The printed lines of a page, as masks."""

    across: UInt8[np.ndarray, "height width"]
    down: UInt8[np.ndarray, "height width"]
    other: UInt8[np.ndarray, "height width"]
    """Print that is no line."""

    @staticmethod
    def of(contrast: Contrast) -> "PrintedLines":
        """Runs of print that are long and straight, and the rest."""
        dark = (contrast >= _DARK).astype(np.uint8)
        length = max(9, round(_LONG * contrast.shape[1]))
        across: Mask = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
        down: Mask = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
        near: Mask = cv2.dilate(across | down, np.ones((5, 5), np.uint8))
        return PrintedLines(across, down, dark & (1 - near))


def page_contrast(picture: Grey) -> Contrast:
    """How far each pixel of a page stands out from its paper, light and shadow divided out."""
    return measure_contrast(picture, estimate_background(picture))[0]
