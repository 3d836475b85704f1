"""Strokes: from a photo to the pixels that are ink, whatever the light and the paper."""

import math

import cv2
import numpy as np

from rowscan.arrays import Float32, Float64, Int32, Int64, UInt8

Sheet = UInt8[np.ndarray, "height width *channels"]
"""A picture: grey levels, or red, green and blue."""

Contrast = UInt8[np.ndarray, "height width"]
"""How far each pixel stands out from the paper, 0 (paper) to 192 (black on white)."""

Mask = UInt8[np.ndarray, "height width"]
"""1 where something is, else 0."""

ENOUGH = 3_000_000
"""Pixels of a picture that are looked at: A4 at 170 dpi, where digits 4 mm high have 27 rows."""

_LONGEST = 30_000  # pixels of a side
_COARSE_AREA = 96 * 96  # light and paper are followed on so many pixels
_FINE_AREA = 640 * 640  # thin strokes are seen on so many
_NARROW = 9  # pixels: a closing in such a window sees strokes that are narrower
_AROUND = 5  # pixels: a median in such a window sees strokes of less than half its width
_SCALES = 6  # of which the last sees strokes as wide as an eighth of the picture
_BLACK = 32  # of 255: paper is lighter
_WHITE = 192  # paper when the light is divided out; what is lighter finds room above it
_FAINTEST = 14  # ink that stands out by fewer of these levels is none
_PEN = 4.0  # pixels; thicker strokes make everything slower and say no more
_THICK = 3.0  # pens: no stroke of this pen
_BLOT = 5.0  # of its own width: what is no longer is no stroke at all


def reduce(image: Sheet) -> UInt8[np.ndarray, "rows columns *channels"]:
    """The picture with at most three megapixels: more take time and say no more of a digit."""
    height, width = image.shape[:2]
    factor = min(math.sqrt(ENOUGH / (height * width)), _LONGEST / max(height, width))
    return image if factor >= 1 else resize(image, factor)


def dark_on_light(sheet: Sheet) -> Sheet:
    """The picture, or its negative if the ink is lighter than the paper.

    Ink is thin and rare: it leaves the paper around it, which is the median of the surroundings, to
    one side only, while paper leaves it to both. So the squared distances from the median, with
    their signs, add up to the side of the ink. They are taken in the picture at half its size, a
    quarter, and so on, which each weigh half as much as the one before: the corners of a white page
    on a dark table leave the median as well, but more of it the wider one looks.
    """
    grey = cv2.transform(sheet, np.full((1, 3), 1 / 3)) if sheet.ndim == 3 else sheet
    grey = _of_area(grey, _FINE_AREA)
    side, weight = 0.0, 1.0
    for _ in range(_SCALES):
        distance = grey.astype(np.float32) - cv2.medianBlur(grey, _AROUND)
        distance = np.clip(distance, -60, 60)  # a few black places must not outweigh the ink
        side += weight * float((distance * np.abs(distance)).mean())
        grey, weight = resize(grey, 0.5), weight / 2
    return 255 - sheet if side > 0 else sheet


def background(sheet: Sheet) -> Sheet:
    """The picture as it would be without ink: each channel's median over a wide window.

    The median follows light and shadow, and leaves the edge of a page or a shadow where it is. It
    is taken twice: what is much darker than the first is covered with it before the second, so
    that paper does not darken where the writing is dense.
    """
    small = _of_area(sheet, _COARSE_AREA)
    window = _window(small)
    first = cv2.medianBlur(small, window)
    covered = np.where(small < 0.85 * first, first, small)
    return resize(cv2.medianBlur(covered, window), size=(sheet.shape[1], sheet.shape[0]))


def stand_out(sheet: Sheet, paper: Sheet) -> tuple[Contrast, float]:
    """How far each pixel stands out from the paper, and how uneven the paper itself is.

    Light multiplies, so the paper is divided out. A channel weighs the more, the more thin strokes
    stand out in it, which are what a closing fills; so blue ink on yellow paper keeps its contrast,
    and a field of another colour has little. The unevenness, a standard deviation, is measured on
    the side where no ink is, among what is lighter than the paper.
    """
    floor = max(_BLACK, int(paper.max()) // 4)  # what is black all around holds but noise
    flat = cv2.divide(sheet, np.maximum(paper, floor), scale=_WHITE)
    if flat.ndim == 3:
        fine = cv2.blur(_of_area(flat, _FINE_AREA), (3, 3))  # or noise would count as strokes
        darker = cv2.morphologyEx(fine, cv2.MORPH_BLACKHAT, np.ones((_NARROW, _NARROW), np.uint8))
        counts = [cv2.calcHist([darker], [i], None, [256], [0, 256]).ravel() for i in range(3)]
        weights = np.stack(counts) @ np.arange(256.0) ** 3 + 1
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
    blackest[blackest < max(_FAINTEST, 3.0 * noise)] = np.inf
    strokes = np.zeros(contrast.size, np.uint8)
    strokes[at] = contrast.ravel()[at] > 0.4 * blackest[patch]
    return strokes.reshape(contrast.shape)


def without_edges(strokes: Mask) -> Mask:
    """The strokes without what lies around the page: what is black along a side of the picture.

    It covers half of the side and is thick, or it covers nearly all of it. What is long and lies
    close beside goes with it, such as the fold of a book. If nothing remains, and no side was
    covered all along, it was a fat digit that fills the picture, and all is kept.
    """
    side = max(6, min(strokes.shape) // 8)
    page, most = strokes.copy(), 0.0
    for turn in range(4):
        view, rest = np.rot90(strokes, turn), np.rot90(page, turn)
        depth: np.ndarray = np.where(view.all(0), len(view), view.argmin(0))[None]
        # Specks in it count with it, digits that touch it do not.
        for way, reach in ((cv2.MORPH_CLOSE, side // 4), (cv2.MORPH_OPEN, side)):
            box = np.ones((1, reach | 1), np.uint8)
            depth = cv2.morphologyEx(depth.astype(np.float32), way, box)
        deep = depth[0]
        covered = float((deep > 0).mean())
        if covered < 0.5 or (covered < 0.9 and np.median(deep[deep > 0]) < side / 2):
            continue
        most = max(most, covered)
        row = np.arange(len(view))[:, None]
        rest[row < deep + np.where(deep > 0, side // 8, 0)] = 0
        near = row < deep + side
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
        beside = 2 * np.bincount(labels[near], minlength=count) > np.bincount(labels.ravel())
        length, across = boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT]
        rest[(beside & (length > np.maximum(2 * across, 0.7 * side)))[labels]] = 0
    return page if page.any() or most > 0.9 else strokes


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

    Most of what was drawn, by its length, is about as thick: a blot tells nothing of the pen.
    """
    if not strokes.any():
        return 1.0
    labels, distance, area, width = _thickness(strokes)
    usual = weighted_median(width, area / width)
    some = distance[(width <= _THICK * usual)[labels]]
    return max(1.0, 4 * float(some[some <= 3 * np.median(some)].mean()) - 2)


def without_blots(strokes: Mask, pen: float) -> Mask:
    """The strokes without what is far thicker than the pen and hardly longer than thick."""
    labels, _, area, width = _thickness(strokes)
    blot = (width > _THICK * pen) & (area < _BLOT * width**2)
    if not blot.any():
        return strokes
    rest = strokes.copy()
    rest[strokes > 0] = ~blot[labels]
    return rest


def _thickness(
    strokes: Mask,
) -> tuple[
    Int32[np.ndarray, " pixels"],
    Float32[np.ndarray, " pixels"],
    Int64[np.ndarray, " patches"],
    Float64[np.ndarray, " patches"],
]:
    """Of each pixel of strokes its patch and its distance to paper; of each patch area and width.

    Over a stroke of width w the distance to the nearest paper is w / 4 + 1/2 on average.
    """
    framed = cv2.copyMakeBorder(strokes, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    count, labels = cv2.connectedComponents(framed, connectivity=8)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)
    labels, distance = labels[framed > 0] - 1, distance[framed > 0]
    area = np.bincount(labels, minlength=count - 1)
    mean = np.bincount(labels, distance, count - 1) / area
    return labels, distance, area, np.maximum(4 * mean - 2, 1.0)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted median."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order], dtype=float)
    return float(values[order[np.searchsorted(sums, sums[-1] / 2)]])


def _of_area(sheet: Sheet, area: int) -> UInt8[np.ndarray, "rows columns *channels"]:
    """The picture with at most so many pixels."""
    factor = math.sqrt(area / (sheet.shape[0] * sheet.shape[1]))
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
