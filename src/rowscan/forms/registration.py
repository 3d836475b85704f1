"""Registration: a picture of a filled page laid upon its blank. It reads nothing.

First features and a homography; then the corners of the print are tracked, so that bent paper is
followed near each field; at last the print itself must be there.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from rowscan.arrays import Bool, Float32, Float64, Shaped, UInt8
from rowscan.forms.blank import (
    Blank,
    Features,
    Grey,
    Points,
    Reduced,
    page_contrast,
    reduce,
    soften,
)
from rowscan.forms.codes import find
from rowscan.forms.tables import near_print
from rowscan.reading import Box
from rowscan.segmentation.binarize import Contrast

Homography = Float64[np.ndarray, "3 3"]

_RATIO = 0.8  # of the nearest distance to the second, as Lowe proposes
_REPROJECTION = 3.0  # pixels of the blank
MIN_INLIERS = 12
"""Of 138 simulated photos the right blank had 14 at the least; of 48 a wrong one had 6 at most. The
print is checked as well."""
_BENT = 40.0  # pixels of the blank: bent paper is not farther from where a flat one would be
_UNLIKE = 4.0  # pixels: a match that is so far from its neighbours' mean is none
_NEIGHBOURS = 8
_SPREADS = (24.0, 12.0, 6.0, 3.0, 1.5, 1.5)  # pixels, of errors: fewer and fewer outliers count
_RIDGE = 0.01  # matches that would have to deny each coefficient of a bend
_DEGREES = (5, 7, 7)  # of the polynomials for bent paper, one round after the other
_GRID = 16  # pixels: maps are computed at each of these, and interpolated
_MAX_STRETCH = 6.0  # between the longest and shortest side, as against the blank
_TRACK_WINDOW = 15  # pixels of the reduced page
_TRACK_LEVELS = 1  # so that a shift of 5 mm is followed
_TRACK_ERROR = 1.0  # pixels: there and back again
_REACH = (30, 60, 120)  # pixels around a field in which tracks tell how it lies
_FEW = 8  # tracks
_QUIET = 16  # pixels: the paper around a code
_ENOUGH = 0.75  # of a side: a picture that is to lose less of it is interpolated as it is
_FEW_PIXELS = 50  # of print: fewer tell nothing


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
        seen: which nodes of a grid over it are in the picture.
    """

    blank: Blank
    to_picture: Homography
    contrast: Contrast
    seen: Bool[np.ndarray, "rows columns"]
    tracked: Points
    """Corners of the blank that were found again,"""
    moved: Points
    """and where in `contrast` each is."""

    @cached_property
    def moved_tables(self) -> list[Box]:
        """The tables of the blank that lie a whole row or box away from their places."""
        near = near_print(self.contrast)
        return [table.box for table in self.blank.tables if table.is_moved(near)]

    def shows(self, box: Box) -> bool:
        """Whether all of a part of the blank is in the picture."""
        x, y, width, height = box
        down = slice(y // _GRID, (y + height - 1) // _GRID + 1)
        across = slice(x // _GRID, (x + width - 1) // _GRID + 1)
        return bool(self.seen[down, across].all())


def match(features: Features, size: tuple[int, int], blank: Blank) -> Match | None:
    """Find a blank among the features of a picture; None if it is not there.

    Args:
        features: of the picture.
        size: its width and height.
        blank: the page.
    """
    if len(features.points) < _FEW:
        return None
    known = blank.features(features.pixels)
    distance, nearest = cv2.batchDistance(
        features.descriptors, known.descriptors, cv2.CV_32F, normType=cv2.NORM_L2, K=2
    )
    good = distance[:, 0] < _RATIO * distance[:, 1]
    if good.sum() < _FEW:
        return None
    here, there = features.points[good], known.points[nearest[good, 0]]
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

    Corners are tracked in a reduced page. Where they show that paper is bent farther than the
    features told, it is laid again.
    """
    blank = found.blank
    scale = 1 / _shrink(found.to_picture, blank.picture.shape)
    whole, small = (
        reduce(picture, side if side < _ENOUGH else 1.0)
        for side in (scale, scale * blank.track_scale)
    )
    bend = _bend(found.there, found.away, blank.picture.shape, degree=3)
    for degree in (*_DEGREES, 0):
        nodes = _nodes(found, bend)
        page = page_contrast(_warped(small, nodes, blank, blank.track_scale))
        tracked, moved = _track(blank, page)
        away = moved - tracked
        if not degree or not len(away) or np.percentile(np.hypot(*away.T), 90) < _TRACK_ERROR:
            break
        away = away + bend(moved)
        bend = _bend(tracked, away, blank.picture.shape, degree=degree)
    contrast = page_contrast(_warped(whole, nodes, blank, 1.0))
    seen = np.asarray(((nodes >= 0) & (nodes < picture.shape[::-1])).all(2))
    return Laid(blank, found.to_picture, contrast, seen, tracked, moved)


def _nodes(found: Match, bend: "Bend") -> Float32[np.ndarray, "rows columns 2"]:
    """Where the nodes of a grid over the blank are in the picture: x and y."""
    height, width = found.blank.picture.shape
    rows, columns = height // _GRID + 2, width // _GRID + 2
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float64) * _GRID
    points = np.stack([x.ravel(), y.ravel()], 1)
    mapped: np.ndarray = cv2.perspectiveTransform(
        (points + bend(points))[:, None], found.to_picture
    )
    return mapped.reshape(rows, columns, 2).astype(np.float32)


def _warped(
    reduced: Reduced, nodes: Float32[np.ndarray, "rows columns 2"], blank: Blank, scale: float
) -> Grey:
    """The page in the frame of its blank, reduced."""
    height, width = blank.picture.shape
    size = (round(width * scale), round(height * scale))
    # From pixels of the result to nodes; `resize` counts from the middles of larger pixels.
    first = (0.5 / scale - 0.5) / _GRID
    to_nodes = np.array([[1 / (scale * _GRID), 0, first], [0, 1 / (scale * _GRID), first]])
    there = ((nodes + 0.5) * reduced.ratio - 0.5).astype(np.float32)
    maps: np.ndarray = cv2.warpAffine(
        there, to_nodes, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    warped: np.ndarray = cv2.remap(  # type: ignore[call-overload]
        reduced.picture, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return warped


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
        across, down = (np.vander(z, self.degree + 1, increasing=True) for z in (x, y))
        powers = [(i, d - i) for d in range(self.degree + 1) for i in range(d + 1)]
        return np.stack([across[:, i] * down[:, j] for i, j in powers], 1)


def _bend(
    there: Points, away: Shaped[np.ndarray, "n 2"], shape: tuple[int, ...], *, degree: int
) -> Bend:
    """The bend by points that moved: least squares with Cauchy's weights, outliers left out."""
    terms = (degree + 1) * (degree + 2) // 2
    flat = Bend(np.zeros((terms, 2)), shape, degree)
    if len(there) < 2 * terms:
        return flat
    _, beside = cv2.batchDistance(there, there, cv2.CV_32F, K=_NEIGHBOURS + 1)
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


def _track(blank: Blank, page: Contrast) -> tuple[Points, Points]:
    """Corners of the blank where they are in the page (Lucas and Kanade, 1981; in a pyramid).

    Args:
        blank: the blank.
        page: the page in its frame, reduced by `track_scale`.

    Returns:
        Corners that were found again, and where each is, in pixels of the blank.
    """
    corners = blank.corners
    if not len(corners):
        return corners, corners
    options = {"winSize": (_TRACK_WINDOW, _TRACK_WINDOW), "maxLevel": _TRACK_LEVELS}
    there, ok, _ = cv2.calcOpticalFlowPyrLK(blank.reduced, page, corners, None, **options)  # type: ignore[call-overload]
    again, ok_back, _ = cv2.calcOpticalFlowPyrLK(page, blank.reduced, there, None, **options)  # type: ignore[call-overload]
    near = np.abs(again - corners).max(1) < _TRACK_ERROR * blank.track_scale
    kept = (ok.ravel() > 0) & (ok_back.ravel() > 0) & near
    return enlarged(corners[kept], blank.track_scale), enlarged(there[kept], blank.track_scale)


def enlarged(points: Points, scale: float) -> Points:
    """Points of a reduced picture in pixels of the whole one."""
    return ((points + 0.5) / scale - 0.5).astype(np.float32)


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


def read_code(laid: Laid) -> str | None:
    """What the code of a page says, at the place where its blank has one."""
    code = laid.blank.code
    if code is None:
        return None
    box = around(code.box, _QUIET, laid.contrast.shape)
    found = find(255 - cut(laid, box, align(laid, code.box)))
    return found.text if found is not None else None


def print_found(laid: Laid, box: Box, found: Contrast) -> float:
    """How well the print of a part of the blank is found again, -1 to 1; 0 where it is not seen.

    Args:
        laid: the page.
        box: the part.
        found: what `cut` gives of it.
    """
    if not laid.shows(box):
        return 0.0
    x, y, width, height = box
    part = (slice(y, y + height), slice(x, x + width))
    return correlation(laid.blank.soft[part], soften(found), laid.blank.near[part])


def correlation(
    printed: Contrast, found: Contrast, near: Bool[np.ndarray, "rows columns"]
) -> float:
    """Pearson's correlation over some pixels; 0 where they are few."""
    if near.sum() < _FEW_PIXELS:
        return 0.0
    a, b = printed[near].astype(np.float32), found[near].astype(np.float32)
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / max(np.sqrt((a @ a) * (b @ b)), 1e-6))
