"""Strokes: from a photo to the pixels that are ink, whatever the light and the paper."""

import math

import cv2
import numpy as np
from jaxtyping import Int32, UInt8

Sheet = UInt8[np.ndarray, "height width *channels"]
"""A picture: grey levels, or red, green and blue."""

Contrast = UInt8[np.ndarray, "height width"]
"""How far each pixel stands out from the paper, 0 (paper) to 192 (black on white)."""

Mask = UInt8[np.ndarray, "height width"]
"""1 where something is, else 0."""

ENOUGH = 3_000_000
"""Pixels of a picture that are looked at: A4 at 170 dpi, where digits 4 mm high have 27 rows."""

_COARSE_AREA = 96 * 96  # light and paper are followed on so many pixels
_WHITE = 192  # paper when the light is divided out; what is lighter finds room above it
_FAINTEST = 14  # ink that stands out by fewer of these levels is none
_PEN = 4.0  # pixels; thicker strokes make everything slower and say no more


def reduce(image: Sheet) -> UInt8[np.ndarray, "rows columns *channels"]:
    """The picture with at most three megapixels: more take time and say no more of a digit."""
    factor = math.sqrt(ENOUGH / (image.shape[0] * image.shape[1]))
    return image if factor >= 1 else resize(image, factor)


def dark_on_light(sheet: Sheet) -> Sheet:
    """The picture, or its negative if the ink is lighter than the paper.

    Ink is what is rare: it leaves the paper around it, which is the median of the surroundings, to
    one side only, while paper leaves it to both. So the squared distances from the median, with
    their signs, add up to the side of the ink. The border of the picture counts twice, for it is
    paper more often than not.
    """
    grey = _coarse(sheet)
    if grey.ndim == 3:
        grey = cv2.transform(grey, np.full((1, 3), 1 / 3))
    distance = grey.astype(np.float32) - cv2.medianBlur(grey, _window(grey))
    distance = np.clip(distance, -60, 60)  # the black around a page must not outweigh the ink
    squares = distance * np.abs(distance)
    border = np.concatenate([squares[0], squares[-1], squares[:, 0], squares[:, -1]])
    return 255 - sheet if squares.mean() + border.mean() > 0 else sheet


def background(sheet: Sheet) -> Sheet:
    """The picture as it would be without ink: each channel's median over a wide window.

    The median follows light and shadow, and leaves the edge of a page or a shadow where it is. It
    is taken twice: what is much darker than the first is covered with it before the second, so
    that paper does not darken where the writing is dense.
    """
    small = _coarse(sheet)
    window = _window(small)
    first = cv2.medianBlur(small, window)
    covered = np.where(small < 0.85 * first, first, small)
    return resize(cv2.medianBlur(covered, window), size=(sheet.shape[1], sheet.shape[0]))


def stand_out(sheet: Sheet, paper: Sheet) -> tuple[Contrast, float]:
    """How far each pixel stands out from the paper, and how uneven the paper itself is.

    Light multiplies, so the paper is divided out. A channel weighs the more, the more the ink
    changes it; so blue ink on yellow paper keeps its contrast. The unevenness, a standard
    deviation, is measured on the side where no ink is, among what is lighter than the paper.
    """
    floor = max(1, int(paper.max()) // 4)  # what is black all around holds nothing but noise
    flat = cv2.divide(sheet, np.maximum(paper, floor), scale=_WHITE)
    if flat.ndim == 3:
        some = flat[:: len(flat) // 64 + 1, :: flat.shape[1] // 64 + 1].reshape(-1, 3)
        weights = (np.maximum(_WHITE - some.astype(float), 0) ** 3).sum(0) + 1
        flat = cv2.transform(flat, (weights / weights.sum())[None])
    lighter = np.cumsum(cv2.calcHist([flat], [0], None, [256], [0, 256]).ravel()[_WHITE:])
    noise = 1.5 * float(np.searchsorted(lighter, lighter[-1] / 2))  # 1.4826 for a Gaussian
    return _WHITE - np.minimum(flat, _WHITE), noise


def find_strokes(contrast: Contrast, noise: float) -> Mask:
    """Where there is ink: at least two fifths as black as the blackest place of its patch.

    A patch is what hangs together above the noise, and its blackest place must stand out clearly.
    So a faint line is found beside a black one, and a printed pattern that a stroke crosses, black
    enough by itself, does not come along with the stroke.
    """
    above = (contrast > max(1.5 * noise, 0.7 * _FAINTEST)).astype(np.uint8)
    count, labels = cv2.connectedComponents(above, connectivity=8)
    at = np.flatnonzero(above)
    patch: Int32[np.ndarray, " n"] = labels.ravel()[at]
    blackest = np.zeros(count, np.float32)
    np.maximum.at(blackest, patch, cv2.blur(contrast, (3, 3)).ravel()[at])
    blackest[blackest < max(_FAINTEST, 2.5 * noise)] = np.inf
    strokes = np.zeros(contrast.size, np.uint8)
    strokes[at] = contrast.ravel()[at] > 0.4 * blackest[patch]
    return strokes.reshape(contrast.shape)


def without_edges(strokes: Mask) -> Mask:
    """The strokes without what lies around the page: solid areas along a side of the picture.

    Solid is what a square of an eighth of the picture fits into, along is at least half of the
    side. What lies close beside goes with it, such as the fold of a book. If nothing remains, and
    no side was covered all along, it was a fat digit that fills the picture, and all is kept.
    """
    side = max(6, min(strokes.shape) // 8)
    square = np.ones((side, side), np.uint8)
    # A black area goes on outside the picture, so a narrow strip at the border is solid, too.
    solid = cv2.dilate(cv2.erode(strokes, square, borderValue=1), square)
    count, labels = cv2.connectedComponents(solid, connectivity=8)
    borders = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    share = np.max([np.bincount(part, minlength=count) / part.size for part in borders], axis=0)
    share[0] = 0
    if share.max() < 0.5:
        return strokes
    edge = (share >= 0.5)[labels].astype(np.uint8)
    rim = cv2.dilate(edge, np.ones((side // 2 | 1, side // 2 | 1), np.uint8))
    page = strokes & (1 - rim)
    near = cv2.dilate(edge, np.ones((2 * side + 1, 2 * side + 1), np.uint8)) > 0
    count, labels = cv2.connectedComponents(page, connectivity=8)
    beside = 2 * np.bincount(labels[near], minlength=count) > np.bincount(labels.ravel())
    page[beside[labels]] = 0
    return page if page.any() or share.max() > 0.9 else strokes


def with_thin_pen(
    contrast: Contrast, strokes: Mask
) -> tuple[
    UInt8[np.ndarray, "rows columns"],
    UInt8[np.ndarray, "rows columns"],
    float,
]:
    """Both, made smaller where the pen is thick, and how thick the pen then is.

    A digit shows all that it has with strokes of four pixels, be it 30 or 800 pixels high.
    """
    pen = pen_width(strokes)
    if pen <= _PEN:
        return contrast, strokes, pen
    smaller = (resize(255 * strokes, _PEN / pen) > 127).astype(np.uint8)
    return resize(contrast, _PEN / pen), smaller, _PEN


def pen_width(strokes: Mask) -> float:
    """How thick the strokes are, in pixels; 1 if there are none.

    Over a stroke of width w the distance to the nearest paper is w / 4 + 1/2 on average.
    """
    framed = cv2.copyMakeBorder(strokes, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)[framed > 0]
    if not distance.size:
        return 1.0
    usual = distance[distance <= 3 * np.median(distance)]  # a blot tells nothing of the pen
    return max(1.0, 4 * float(usual.mean()) - 2)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted median."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order], dtype=float)
    return float(values[order[np.searchsorted(sums, sums[-1] / 2)]])


def _coarse(sheet: Sheet) -> UInt8[np.ndarray, "rows columns *channels"]:
    factor = math.sqrt(_COARSE_AREA / (sheet.shape[0] * sheet.shape[1]))
    return resize(sheet, min(factor, 1.0))


def _window(sheet: Sheet) -> int:
    """Odd, and at least twice as wide as a stroke; a small picture has one paper."""
    return max(31, int(min(sheet.shape[:2])) // 4) | 1


def resize(
    sheet: Sheet, factor: float = 1.0, size: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "rows columns *channels"]:
    """By a factor, or to a width and height."""
    if size is None:
        size = max(1, round(sheet.shape[1] * factor)), max(1, round(sheet.shape[0] * factor))
    smaller = size[0] <= sheet.shape[1] and size[1] <= sheet.shape[0]
    return cv2.resize(sheet, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
