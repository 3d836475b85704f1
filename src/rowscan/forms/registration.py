"""Registration: a picture of a filled page laid upon its blank. It reads nothing.

First features and a homography; then the corners of the print are tracked, so that bent paper is
followed near each field; at last the print itself must be there.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.arrays import Bool, Float32, Float64, Shaped, UInt8
from rowscan.forms.blank import Blank, Features, Grey, Points, page_contrast
from rowscan.reading import Box
from rowscan.segmentation.binarize import Contrast

Homography = Float64[np.ndarray, "3 3"]

_RATIO = 0.8  # of the nearest distance to the second, as Lowe proposes
_REPROJECTION = 3.0  # pixels of the blank
MIN_INLIERS = 24
"""Of 30 simulated photos the right blank had 78 at the least, a wrong one 12 at most; between them
by the geometric mean, and low, since the print is checked as well."""
_BENT = 40.0  # pixels of the blank: bent paper is not farther from where a flat one would be
_UNLIKE = 4.0  # pixels: a match that is so far from its neighbours' mean is none
_NEIGHBOURS = 8
_SPREADS = (24.0, 12.0, 6.0, 3.0, 1.5, 1.5)  # pixels, of errors: fewer and fewer outliers count
_RIDGE = 0.01  # matches that would have to deny each coefficient of a bend
_DEGREES = (5, 7, 7)  # of the polynomials for bent paper, one round after the other
_GRID = 8  # pixels: maps are computed at each of these, and interpolated
_MAX_STRETCH = 6.0  # between the longest and shortest side, as against the blank
_TRACK_WINDOW = 25  # pixels
_TRACK_LEVELS = 2  # so that a shift of 5 mm at 150 dpi is followed
_TRACK_ERROR = 1.0  # pixels: there and back again
_REACH = (30, 60, 120)  # pixels around a field in which tracks tell how it lies
_FEW = 8  # tracks


@dataclass(frozen=True, eq=False)
class Match:
    """A blank that may be in a picture."""

    blank: Blank
    inliers: int
    to_picture: Homography
    """From pixels of the blank to those of the picture."""
    there: Points
    """Features of the blank that are near where the homography has them,"""
    away: Points
    """and how far from there each is, in pixels of the blank: paper is bent."""


@dataclass(frozen=True, eq=False)
class Laid:
    """A page laid upon its blank.

    Attributes:
        contrast: the page in the frame of the blank: how much each pixel stands out from paper.
        seen: which pixels of it are in the picture.
    """

    blank: Blank
    to_picture: Homography
    contrast: Contrast
    seen: Bool[np.ndarray, "height width"]
    tracked: Points
    """Corners of the blank that were found again,"""
    moved: Points
    """and where in `contrast` each is."""


def match(features: Features, size: tuple[int, int], blank: Blank) -> Match | None:
    """Find a blank among the features of a picture; None if it is not there.

    Args:
        features: of the picture.
        size: its width and height.
        blank: the page.
    """
    if len(features.points) < _FEW:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(features.descriptors, blank.features.descriptors, 2)
    good = [a for a, b in (p for p in pairs if len(p) == 2) if a.distance < _RATIO * b.distance]
    if len(good) < _FEW:
        return None
    here = features.points[[pair.queryIdx for pair in good]]
    there = blank.features.points[[pair.trainIdx for pair in good]]
    # Errors are measured in the blank, whose scale is known.
    found = cv2.findHomography(here, there, cv2.USAC_MAGSAC, _REPROJECTION, None, 5000, 0.999)
    back, inlying = _maybe(found[0]), found[1]
    if back is None or abs(np.linalg.det(back)) < 1e-12:
        return None
    to_picture = np.linalg.inv(back)
    if not is_plausible(to_picture, blank.picture.shape, size):
        return None
    away = cv2.perspectiveTransform(here[:, None].astype(np.float64), back)[:, 0] - there
    near = np.hypot(*away.T) < _BENT
    return Match(blank, int(inlying.sum()), to_picture, there[near], away[near].astype(np.float32))


def _maybe(matrix: np.ndarray | None) -> np.ndarray | None:
    """What OpenCV may not find, although its types say so."""
    return matrix


def is_plausible(to_picture: Homography, shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether a camera can see a page so: from its front, whole sides, none far longer."""
    height, width = shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    mapped = np.column_stack([corners, np.ones(4)]) @ to_picture.T
    if (mapped[:, 2] * mapped[0, 2] <= 0).any():
        return False
    points = mapped[:, :2] / mapped[:, 2:]
    sides = np.roll(points, -1, 0) - points
    turns = sides[:, 0] * np.roll(sides, -1, 0)[:, 1] - sides[:, 1] * np.roll(sides, -1, 0)[:, 0]
    if (turns <= 0).any():  # not convex, or seen from behind
        return False
    stretch = np.linalg.norm(sides, axis=1) / [width, height, width, height]
    larger = np.abs(points - np.divide(size, 2)).max() > 3 * max(size)
    return bool(stretch.max() < _MAX_STRETCH * stretch.min() and not larger)


def lay(picture: Grey, found: Match) -> Laid:
    """The page in a picture, in the frame of its blank, with the corners that were tracked.

    Where the corners show that paper is bent farther than the features told, it is laid again.
    """
    blank = found.blank
    shrink = _shrink(found.to_picture, blank.picture.shape)
    if shrink > 1.5:  # a mean over the pixels that fall together
        picture = cv2.blur(picture, (round(shrink), round(shrink)))
    bend = _bend(found.there, found.away, blank.picture.shape, degree=3)
    laid = _lay(picture, found, bend)
    for degree in _DEGREES:
        away = laid.moved - laid.tracked
        if not len(away) or np.percentile(np.hypot(*away.T), 90) < _TRACK_ERROR:
            break
        away = away + bend(laid.moved)
        bend = _bend(laid.tracked, away, blank.picture.shape, degree=degree)
        laid = _lay(picture, found, bend)
    return laid


def _lay(picture: Grey, found: Match, bend: "Bend") -> Laid:
    x, y = _maps(found, bend)
    warped = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rows, columns = picture.shape
    seen = (x >= 0) & (y >= 0) & (x < columns) & (y < rows)
    contrast = page_contrast(warped)
    return Laid(found.blank, found.to_picture, contrast, seen, *_track(found.blank, contrast))


def _maps(
    found: Match, bend: "Bend"
) -> tuple[Float32[np.ndarray, "height width"], Float32[np.ndarray, "height width"]]:
    """Where each pixel of the blank is in the picture: across and down."""
    height, width = found.blank.picture.shape
    rows, columns = height // _GRID + 2, width // _GRID + 2
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float64) * _GRID
    points = np.stack([x.ravel(), y.ravel()], 1)
    bent = points + bend(points)
    mapped = cv2.perspectiveTransform(bent[:, None], found.to_picture)[:, 0].astype(np.float32)
    # The middle of a large pixel of `resize` is not a node: a node is a pixel of the enlarged.
    size = (columns * _GRID, rows * _GRID)
    shift = np.array([[_GRID, 0, 0], [0, _GRID, 0]], np.float64)
    across, down = (
        cv2.warpAffine(part.reshape(rows, columns), shift, size, borderMode=cv2.BORDER_REPLICATE)
        for part in mapped.T
    )
    return across[:height, :width].copy(), down[:height, :width].copy()


@dataclass(frozen=True, eq=False)
class Bend:
    """How far bent paper is from flat one, in pixels of the blank: a polynomial over the page."""

    coefficients: Float64[np.ndarray, "terms 2"]
    shape: tuple[int, ...]
    degree: int

    def __call__(self, points: Shaped[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """How far each point of the blank is moved."""
        moved: np.ndarray = self.terms(points) @ self.coefficients
        return moved

    def terms(self, points: Shaped[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n terms"]:
        """The powers of the places on the page, which is from -1 to 1."""
        x, y = (points.astype(np.float64) / self.shape[::-1] * 2 - 1).T
        powers = [(i, d - i) for d in range(self.degree + 1) for i in range(d + 1)]
        return np.stack([x**i * y**j for i, j in powers], 1)


def _bend(
    there: Points, away: Shaped[np.ndarray, "n 2"], shape: tuple[int, ...], *, degree: int
) -> Bend:
    """The bend by points that moved: least squares with Cauchy's weights, outliers left out."""
    terms = (degree + 1) * (degree + 2) // 2
    flat = Bend(np.zeros((terms, 2)), shape, degree)
    if len(there) < 2 * terms:
        return flat
    apart = np.square(there[:, None] - there).sum(2)
    beside = np.argpartition(apart, _NEIGHBOURS, 1)[:, : _NEIGHBOURS + 1]
    like = np.hypot(*(away - np.median(away[beside], 1)).T) < _UNLIKE
    powers, target = flat.terms(there[like].astype(np.float64)), away[like].astype(np.float64)
    weights, coefficients = np.ones(len(powers)), flat.coefficients
    for spread in _SPREADS:
        weighted = powers * weights[:, None]
        normal = powers.T @ weighted + _RIDGE * np.eye(terms)
        coefficients = np.linalg.solve(normal, weighted.T @ target)
        error = np.square(powers @ coefficients - target).sum(1)
        weights = 1 / (1 + error / spread**2)
    return Bend(coefficients, shape, degree)


def _shrink(to_picture: Homography, shape: tuple[int, ...]) -> float:
    """How many pixels of the picture one of the blank covers, along a side."""
    height, width = shape
    middle = np.array([[[width / 2, height / 2], [width / 2 + 1, height / 2 + 1]]], np.float64)
    a, b = cv2.perspectiveTransform(middle, to_picture)[0]
    return float(np.hypot(*(b - a)) / np.sqrt(2))


def _track(blank: Blank, contrast: Contrast) -> tuple[Points, Points]:
    """Corners of the blank where they are in the page (Lucas and Kanade, 1981; in a pyramid)."""
    corners = blank.corners
    if not len(corners):
        return corners, corners
    options = {"winSize": (_TRACK_WINDOW, _TRACK_WINDOW), "maxLevel": _TRACK_LEVELS}
    there, ok, _ = cv2.calcOpticalFlowPyrLK(blank.contrast, contrast, corners, None, **options)  # type: ignore[call-overload]
    again, ok_back, _ = cv2.calcOpticalFlowPyrLK(contrast, blank.contrast, there, None, **options)  # type: ignore[call-overload]
    near = np.abs(again - corners).max(1) < _TRACK_ERROR
    kept = (ok.ravel() > 0) & (ok_back.ravel() > 0) & near
    return corners[kept], there[kept]


def around(box: Box, reach: int, shape: tuple[int, ...]) -> Box:
    """A box and its surroundings, within the page."""
    x, y, width, height = box
    left, top = max(x - reach, 0), max(y - reach, 0)
    right, bottom = min(x + width + reach, shape[1]), min(y + height + reach, shape[0])
    return left, top, max(right - left, 1), max(bottom - top, 1)


def align(laid: Laid, box: Box) -> Float64[np.ndarray, "2 3"]:
    """Where a part of the blank is in `laid.contrast`, by the tracks near it: an affine map."""
    for reach in _REACH:
        left, top, width, height = around(box, reach, laid.contrast.shape)
        x, y = laid.tracked.T
        near = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
        if near.sum() >= _FEW:
            return _affine(laid.tracked[near], laid.moved[near])
    return np.eye(2, 3)


def _affine(source: Points, target: Points) -> Float64[np.ndarray, "2 3"]:
    """The similarity transform between points, without outliers; else a mere shift."""
    fit = cv2.estimateAffinePartial2D(source, target, method=cv2.RANSAC, ransacReprojThreshold=1.5)
    found, inlying = _maybe(fit[0]), fit[1]
    if (
        found is not None
        and inlying.sum() >= _FEW // 2
        and abs(np.linalg.det(found[:, :2]) - 1) < 0.1
    ):
        return np.asarray(found, np.float64)
    shifted = np.eye(2, 3)
    shifted[:, 2] = np.median(target - source, 0)
    return shifted


def cut(
    laid: Laid, box: Box, place: Float64[np.ndarray, "2 3"]
) -> UInt8[np.ndarray, "rows columns"]:
    """A part of the page in the frame of the blank, with its local alignment."""
    x, y, width, height = box
    shifted = place.copy()
    shifted[:, 2] += place[:, :2] @ [x, y]
    result: np.ndarray = cv2.warpAffine(
        laid.contrast, shifted, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return result


def correlation(
    printed: Contrast, found: Contrast, near: Bool[np.ndarray, "rows columns"] | None = None
) -> float:
    """How well the print of a blank is found again, -1 to 1: Pearson's correlation near the print.

    Args:
        printed: a part of the blank.
        found: the same part of a page.
        near: the pixels that count; by default those near the print.
    """
    if near is None:
        near = cv2.dilate((printed >= 40).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if near.sum() < 50:
        return 0.0
    a, b = (
        cv2.GaussianBlur(part, (0, 0), 1.2)[near].astype(np.float32) for part in (printed, found)
    )
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-6))
