"""Blank: the picture of an empty page of a form, and what is needed to find it again in a photo."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from rowscan.arrays import Bool, Float32, Float64, UInt8
from rowscan.errors import DataError
from rowscan.forms.codes import Code, find
from rowscan.forms.tables import PRINT, PrintedLines, Table, find_tables
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
FEATURE_PIXELS = (250_000, 500_000)
"""Features are found in a picture of the first size; where these do not lay all of a page right, in
one of the second, in more than twice the time. ORB is quicker, but missed one of 15 photos."""
_FEATURES_A_PIXEL = 1 / 300  # at most
TRACK_PIXELS = 600_000
"""Corners are tracked in pages of at most this size: A4 at 80 dpi."""
_CORNERS = 600  # at most
_CORNER_DISTANCE = 7  # pixels of the reduced page
_HALVED = 0.35
_NONE = np.zeros((0, 2), np.float32)
_SPACE = 11  # pixels: letters that are closer are a word,
_LOW = 7  # if they are as high as that
_NEAR = 9  # pixels: as far across is what is near a point of print
_SOFT = 1.2  # pixels: the standard deviation of a blur, as print is never laid right to a pixel


@dataclass(frozen=True, eq=False)
class Features:
    """What is told apart by its surroundings in a picture."""

    pixels: int
    """Of the reduced picture in which they were found, at most."""
    points: Points
    """In pixels of the whole picture."""
    descriptors: Float32[np.ndarray, "n 128"]


@dataclass(frozen=True, eq=False)
class Reduced:
    """A picture with fewer pixels."""

    picture: Grey
    ratio: Float64[np.ndarray, " 2"]
    """Its width and height by those of the picture that it was."""


def reduce(picture: Grey, factor: float) -> Reduced:
    """A picture with its sides multiplied by a factor of at most 1.

    It is halved first, in a tenth of the time that other factors take; but not if little would
    remain to be reduced, as pixels would then be blurred unevenly.
    """
    ratio = np.ones(2)
    while factor <= _HALVED:
        even = picture[: picture.shape[0] & ~1, : picture.shape[1] & ~1]
        picture, factor, ratio = resize(even, 0.5), 2 * factor, ratio / 2
    if factor == 1:
        return Reduced(picture, ratio)
    small = resize(picture, factor)
    return Reduced(small, ratio * np.divide(small.shape[::-1], picture.shape[::-1]))


def find_features(picture: Grey, pixels: int = FEATURE_PIXELS[0]) -> Features:
    """SIFT's features (Lowe: Distinctive image features from scale-invariant keypoints, 2004).

    Args:
        picture: a page.
        pixels: it is reduced to these.
    """
    small = reduce(picture, min(1.0, math.sqrt(pixels / picture.size)))
    sift = cv2.SIFT_create(round(_FEATURES_A_PIXEL * pixels))  # type: ignore[attr-defined]
    found, descriptors = sift.detectAndCompute(small.picture, None)
    if descriptors is None:
        return Features(pixels, _NONE, np.zeros((0, 128), np.float32))
    points = np.array([point.pt for point in found], np.float32)
    whole = (points + 0.5) / small.ratio - 0.5
    return Features(pixels, whole.astype(np.float32), descriptors)


class Blank:
    """One page of a blank form.

    Attributes:
        contrast: how much its print stands out, 0 (paper) to 192.
        scale: pixels of it for one of the file.
        track_scale: pixels of the page in which corners are tracked, for one of it.
    """

    def __init__(self, picture: Grey) -> None:
        """Prepare a page from its grey levels, dark print on light paper."""
        self.scale = min(1.0, math.sqrt(WORKING_PIXELS / picture.size))
        self.picture = resize(picture, self.scale) if self.scale < 1 else picture
        self.contrast: Contrast = page_contrast(self.picture)
        self.track_scale = min(1.0, math.sqrt(TRACK_PIXELS / self.picture.size))
        self._features: dict[int, Features] = {}

    @classmethod
    def open(cls, path: Path) -> "Blank":
        """The page in a file.

        Raises:
            DataError: the file cannot be read, or nothing is printed on the page.
        """
        blank = cls(open_image(path))
        if len(blank.features(FEATURE_PIXELS[0]).points) < 20:
            raise DataError(path, "too little is printed on this page to find it in a photo")
        return blank

    def features(self, pixels: int) -> Features:
        """The features that find it in a picture with this number of pixels."""
        if pixels not in self._features:
            self._features[pixels] = find_features(self.picture, pixels)
        return self._features[pixels]

    @cached_property
    def soft(self) -> Contrast:
        """Its print, blurred as that of a page that it is compared with."""
        return soften(self.contrast)

    @cached_property
    def near(self) -> Bool[np.ndarray, "height width"]:
        """The pixels near its print."""
        printed = (self.contrast >= PRINT).astype(np.uint8)
        near: Mask = cv2.dilate(printed, np.ones((_NEAR, _NEAR), np.uint8))
        return near > 0

    @cached_property
    def code(self) -> Code | None:
        """The QR or bar code that is printed on it."""
        return find(self.picture)

    @cached_property
    def reduced(self) -> Contrast:
        """Its print in the page in which corners are tracked."""
        scale = self.track_scale
        return resize(self.contrast, scale) if scale < 1 else self.contrast

    @cached_property
    def corners(self) -> Points:
        """Points of the print that can be tracked, in pixels of `reduced`."""
        found = cv2.goodFeaturesToTrack(self.reduced, _CORNERS, 0.02, _CORNER_DISTANCE)
        corners: np.ndarray = np.reshape(found, (-1, 2)) if np.size(found) > 1 else _NONE
        return corners

    @cached_property
    def tables(self) -> list[Table]:
        """Its lines that repeat."""
        return find_tables(self._lines, self.contrast.shape)

    @cached_property
    def _lines(self) -> PrintedLines:
        return PrintedLines.of(self.contrast)

    @cached_property
    def words(self) -> list[Box]:
        """The printed words: all print but lines, grouped."""
        groups = cv2.dilate(self._lines.other, np.ones((1, _SPACE), np.uint8))
        boxes: list[Box] = cv2.connectedComponentsWithStats(groups)[2][1:, :4].tolist()
        return [
            (x, y, width, height)
            for x, y, width, height in boxes
            if height >= _LOW and width >= 2 * _LOW
        ]


def page_contrast(picture: Grey) -> Contrast:
    """How far each pixel of a page stands out from its paper, light and shadow divided out."""
    return measure_contrast(picture, estimate_background(picture))[0]


def soften(contrast: Contrast) -> Contrast:
    """Print that may be compared with a blank's `soft`."""
    soft: Contrast = cv2.GaussianBlur(contrast, (0, 0), _SOFT)
    return soft
