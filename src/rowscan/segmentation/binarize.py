"""Binarization: from a photo to the mask of its ink, whatever the light and the paper.

It neither tells writing from other ink nor removes ruled lines.
"""

import math

import cv2
import numpy as np

from rowscan.arrays import Float32, Float64, Int32, Int64, UInt8

Picture = UInt8[np.ndarray, "height width *channels"]
"""Grey levels, or red, green and blue."""

Contrast = UInt8[np.ndarray, "height width"]
"""How far each pixel stands out from the paper, 0 (paper) to 192 (black on white)."""

Mask = UInt8[np.ndarray, "height width"]
"""1 where something is, else 0."""

WORKING_PIXELS = 3_000_000
"""Larger pictures are reduced to this: A4 at 170 dpi, where digits 4 mm high have 27 rows."""

_MAX_SIDE = 30_000  # pixels
_COARSE_PIXELS = 96 * 96  # to follow light and paper
_FINE_PIXELS = 640 * 640  # to see thin strokes
_CLOSING = 9  # pixels: the window of a closing that fills narrower strokes
_MEDIAN = 5  # pixels: the window of a median that removes strokes of less than half its width
_OCTAVES = 6  # the last sees strokes as wide as an eighth of the picture
_BLACK = 32  # of 255: paper is lighter
_WHITE = 192  # paper when the light is divided out; lighter pixels have room above it
_MIN_CONTRAST = 14  # of these levels: ink stands out by more
_MAX_STROKE_WIDTH = 4.0  # pixels; wider strokes cost time and add nothing
_BLOT_WIDTH = 3.0  # times the stroke width: a wider component is not a stroke of this pen,
_BLOT_LENGTH = 5.0  # and if it is shorter than this times its own width it is a blot


def downscale(picture: Picture) -> UInt8[np.ndarray, "rows columns *channels"]:
    """The picture with at most three megapixels: more take time and add nothing."""
    height, width = picture.shape[:2]
    factor = min(math.sqrt(WORKING_PIXELS / (height * width)), _MAX_SIDE / max(height, width))
    return picture if factor >= 1 else resize(picture, factor)


def normalise_polarity(picture: Picture) -> Picture:
    """The picture, or its negative if the ink is lighter than the paper.

    Ink is thin and rare: it deviates from the median of its surroundings, which is paper, to one
    side only, while the noise of paper deviates to both. So the sign of the sum of the squared
    deviations, each with its sign, is the side of the ink. The sum goes over the picture at half
    its size, a quarter, and so on; each scale weighs half as much as the one before, because at
    coarse scales the corners of a white page on a dark table deviate as well.
    """
    grey = _reduced(picture, _FINE_PIXELS)
    grey = cv2.transform(grey, np.full((1, 3), 1 / 3)) if grey.ndim == 3 else grey
    side, weight = 0.0, 1.0
    for _ in range(_OCTAVES):
        deviation = grey.astype(np.float32) - cv2.medianBlur(grey, _MEDIAN)
        deviation = np.clip(deviation, -60, 60)  # a few black spots must not outweigh the ink
        side += weight * float((deviation * np.abs(deviation)).mean())
        grey, weight = resize(grey, 0.5), weight / 2
    return 255 - picture if side > 0 else picture


def brighten(picture: Picture) -> Picture:
    """The picture with its levels spread by a whole factor, where it uses five of its eight bits.

    So few levels would be lost in the rounding of what follows. With fewer than three bits there is
    only noise.
    """
    brightest = int(picture.max(initial=0))
    return picture * np.uint8(255 // brightest) if 8 <= brightest < 32 else picture


def estimate_background(picture: Picture) -> Picture:
    """The picture as it would be without ink: each channel's median over a wide window.

    The median follows light and shadow and keeps the edges of a page or a shadow. It is taken
    twice: pixels much darker than the first are replaced by it before the second, so that paper
    does not darken where the writing is dense.
    """
    small = _reduced(picture, _COARSE_PIXELS)
    window = _window(small)
    first = cv2.medianBlur(small, window)
    covered = np.where(small < 0.85 * first, first, small)
    return resize(cv2.medianBlur(covered, window), size=(picture.shape[1], picture.shape[0]))


def measure_contrast(picture: Picture, background: Picture) -> tuple[Contrast, float]:
    """How far each pixel stands out from the paper, and the noise of the paper itself.

    Light multiplies, so the background is divided out. Channels are weighted by the thin strokes
    that a closing fills in them (a black-hat transform): blue ink on yellow paper keeps its
    contrast, and a coloured field has little. The noise, a standard deviation, is measured on the
    side without ink, among the pixels lighter than the paper.
    """
    floor = max(_BLACK, int(background.max()) // 4)  # darker surroundings hold only noise
    flat = cv2.divide(picture, np.maximum(background, floor), scale=_WHITE)
    if flat.ndim == 3:
        fine = cv2.blur(_reduced(flat, _FINE_PIXELS), (3, 3))  # or noise would count as strokes
        window = np.ones((_CLOSING, _CLOSING), np.uint8)
        darker = cv2.morphologyEx(fine, cv2.MORPH_BLACKHAT, window)
        counts = [cv2.calcHist([darker], [i], None, [256], [0, 256]).ravel() for i in range(3)]
        weights = np.stack(counts) @ np.arange(256.0) ** 3 + 1
        flat = cv2.transform(flat, (weights / weights.sum())[None])
    lighter = np.cumsum(cv2.calcHist([flat], [0], None, [256], [0, 256]).ravel()[_WHITE:])
    noise = 1.5 * float(np.searchsorted(lighter, lighter[-1] / 2))  # 1.4826 for a Gaussian
    return _WHITE - np.minimum(flat, _WHITE), noise


def binarize(contrast: Contrast, noise: float) -> Mask:
    """The foreground: pixels with at least two fifths of the contrast of their component's darkest.

    Components are connected above the noise, and their darkest spot must stand out clearly. So a
    faint line is found beside a black one, and a printed pattern that a stroke crosses, dark enough
    on its own, is not taken for a part of the stroke.
    """
    above = (contrast > max(1.5 * noise, 0.7 * _MIN_CONTRAST)).astype(np.uint8)
    count, labels = cv2.connectedComponents(above, connectivity=8)
    at = np.flatnonzero(above)
    component: Int32[np.ndarray, " n"] = labels.ravel()[at]
    darkest = np.zeros(count, np.float32)
    np.maximum.at(darkest, component, cv2.blur(contrast, (3, 3)).ravel()[at])
    darkest[darkest < max(_MIN_CONTRAST, 3.0 * noise)] = np.inf
    foreground = np.zeros(contrast.size, np.uint8)
    foreground[at] = contrast.ravel()[at] > 0.4 * darkest[component]
    return foreground.reshape(contrast.shape)


def remove_page_borders(foreground: Mask) -> Mask:
    """The foreground without what surrounds the page: black along a side of the picture.

    It covers half of the side and is thick, or it covers nearly all of it. Long components close
    beside it, such as the fold of a book, go with it. If nothing remains, and no side was covered
    entirely, it was a bold digit that fills the picture, and all is kept.
    """
    depth = max(6, min(foreground.shape) // 8)
    page, covered = foreground.copy(), 0.0
    for turn in range(4):
        view, rest = np.rot90(foreground, turn), np.rot90(page, turn)
        covered = max(covered, _remove_border(view, rest, depth))
    return page if page.any() or covered > 0.9 else foreground


def _remove_border(view: Mask, rest: Mask, depth: int) -> float:
    """Clear the border along the top of `view` in `rest`; the share of the top that it covered."""
    border: np.ndarray = np.where(view.all(0), len(view), view.argmin(0))[None]
    # Specks in it count with it, digits that touch it do not.
    for operation, reach in ((cv2.MORPH_CLOSE, depth // 4), (cv2.MORPH_OPEN, depth)):
        window = np.ones((1, reach | 1), np.uint8)
        border = cv2.morphologyEx(border.astype(np.float32), operation, window)
    deep = border[0]
    covered = float((deep > 0).mean())
    if covered < 0.5 or (covered < 0.9 and np.median(deep[deep > 0]) < depth / 2):
        return 0.0
    row = np.arange(len(view))[:, None]
    rest[row < deep + np.where(deep > 0, depth // 8, 0)] = 0
    near = row < deep + depth
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    beside = 2 * np.bincount(labels[near], minlength=count) > np.bincount(labels.ravel())
    length, across = boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT]
    rest[(beside & (length > np.maximum(2 * across, 0.7 * depth)))[labels]] = 0
    return covered


def limit_stroke_width(
    contrast: Contrast, foreground: Mask
) -> tuple[UInt8[np.ndarray, "rows columns"], UInt8[np.ndarray, "rows columns"], float]:
    """Both, reduced where the strokes are wide, and the stroke width that they then have.

    Strokes four pixels wide show all of a digit, whether it is 30 or 800 pixels high.
    """
    width = estimate_stroke_width(foreground)
    if width <= _MAX_STROKE_WIDTH:
        return contrast, foreground, width
    factor = _MAX_STROKE_WIDTH / width
    smaller = (resize(255 * foreground, factor) > 127).astype(np.uint8)
    return resize(contrast, factor), smaller, _MAX_STROKE_WIDTH


def estimate_stroke_width(foreground: Mask) -> float:
    """The usual width of the strokes, in pixels; 1 if there are none.

    Components much wider than the median over all strokes are blots and do not count.
    """
    if not foreground.any():
        return 1.0
    labels, distance, area, width = _widths(foreground)
    usual = weighted_median(width, area / width)
    some = distance[(width <= _BLOT_WIDTH * usual)[labels]]
    return max(1.0, 4 * float(some[some <= 3 * np.median(some)].mean()) - 2)


def remove_blots(foreground: Mask, stroke_width: float) -> Mask:
    """The foreground without components much wider than a stroke and hardly longer than wide."""
    labels, _, area, width = _widths(foreground)
    blot = (width > _BLOT_WIDTH * stroke_width) & (area < _BLOT_LENGTH * width**2)
    if not blot.any():
        return foreground
    rest = foreground.copy()
    rest[foreground > 0] = ~blot[labels]
    return rest


def _widths(
    foreground: Mask,
) -> tuple[
    Int32[np.ndarray, " pixels"],
    Float32[np.ndarray, " pixels"],
    Int64[np.ndarray, " components"],
    Float64[np.ndarray, " components"],
]:
    """Of each foreground pixel its component and distance to paper; of these area and stroke width.

    Over a stroke of width w the distance to the nearest paper is w / 4 + 1/2 on average.
    """
    framed = cv2.copyMakeBorder(foreground, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    count, labels = cv2.connectedComponents(framed, connectivity=8)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)
    labels, distance = labels[framed > 0] - 1, distance[framed > 0]
    area = np.bincount(labels, minlength=count - 1)
    mean = np.bincount(labels, distance, count - 1) / area
    return labels, distance, area, np.maximum(4 * mean - 2, 1.0)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The smallest value up to which the weights make up half of their sum."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order], dtype=float)
    return float(values[order[np.searchsorted(sums, sums[-1] / 2)]])


def resize(
    picture: Picture, factor: float = 1.0, size: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "rows columns *channels"]:
    """The picture resized by a factor, or to a width and height."""
    if size is None:
        size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    smaller = size[0] <= picture.shape[1] and size[1] <= picture.shape[0]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _reduced(picture: Picture, pixels: int) -> UInt8[np.ndarray, "rows columns *channels"]:
    """The picture with at most this many pixels."""
    factor = math.sqrt(pixels / (picture.shape[0] * picture.shape[1]))
    return resize(picture, min(factor, 1.0))


def _window(picture: Picture) -> int:
    """An odd size, at least twice the width of a stroke; a small picture has one background."""
    return max(31, int(min(picture.shape[:2])) // 4) | 1
