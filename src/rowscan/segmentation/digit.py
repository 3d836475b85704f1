"""Digits: from a picture of one digit to an image in MNIST's frame. It sees no model.

This is the only place that normalises such a picture. Scaling to the inputs of a network and the
scan are not done here: they are inside the model file.
"""

import math

import cv2
import numpy as np
import PIL.Image

from rowscan.arrays import Float32, Shaped, UInt8
from rowscan.errors import DataError
from rowscan.segmentation.binarize import Mask

SIZE = 28
BOX = 20
"""MNIST's frame: the ink fits a box of 20 by 20, its centre of mass is at the centre of 28 by 28
(LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998,
section III.A)."""

_MAX_SIDE = 512  # pixels; larger pictures are reduced first
_SMALL = 32  # pixels; in a picture with shorter sides every grey level counts
_COARSE = 48  # pixels a side, to follow the light
_FINE = 80  # pixels of the longer side, to measure and thicken strokes
_STROKE_WIDTH = 2.1  # pixels of the box of 20: MNIST's median, as `_stroke_width` measures it
_STROKE_LEVEL = 0.4  # of full ink: pixels with more belong to a stroke
_MIN_CONTRAST = 24  # grey levels between ink and paper


def normalise_digit(
    image: UInt8[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "28 28"]:
    """One digit, of any size and polarity, as an image in MNIST's frame.

    A picture that is in MNIST's frame is returned as it is (or inverted, if its ink is dark): 28 by
    28, paper exactly 0, the longer side of the ink 19 or 20 pixels, and the centre of mass within
    0.6 pixels of the centre. All 70,000 images of MNIST are.

    Otherwise the ink, which is what differs from the paper, is cut out, resized to fit a box of 20
    by 20, thickened where its strokes are thinner than MNIST's, and placed by its centre of mass.
    A picture without ink becomes all zero.

    Raises:
        DataError: a picture without pixels.
    """
    if image.size == 0:
        raise DataError("image", "it has no pixels")
    for candidate in (image, 255 - image):
        if _in_frame(candidate):
            return candidate.copy()
    ink = _ink(image)
    return normalise_ink(ink) if ink.size else np.zeros((SIZE, SIZE), np.uint8)


def normalise_ink(ink: Float32[np.ndarray, "height width"]) -> UInt8[np.ndarray, "28 28"]:
    """As `normalise_digit`, of the amount of ink, 0 to 1; somewhere it is more than 0.4."""
    return _place(_fit(_crop(ink)))


def _ink_box(ink: Shaped[np.ndarray, "height width"]) -> tuple[slice, slice]:
    """The bounding box of the ink; empty slices if there is none."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if rows.size == 0:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _offsets(box: UInt8[np.ndarray, "height width"]) -> tuple[float, float]:
    """Top and left that put the centre of mass at pixel (14, 14), as far as the edges allow."""
    mass = box.sum(dtype=float)
    down = (box.sum(1, dtype=float) * np.arange(box.shape[0])).sum() / mass
    right = (box.sum(0, dtype=float) * np.arange(box.shape[1])).sum() / mass
    top = float(np.clip(SIZE / 2 - down, 0, SIZE - box.shape[0]))
    return top, float(np.clip(SIZE / 2 - right, 0, SIZE - box.shape[1]))


def _in_frame(image: UInt8[np.ndarray, "height width"]) -> bool:
    if image.shape != (SIZE, SIZE):
        return False
    rows, columns = _ink_box(image)
    box = image[rows, columns]
    if max(box.shape) not in (BOX - 1, BOX):
        return False
    top, left = _offsets(box)
    return bool(max(abs(rows.start - top), abs(columns.start - left)) < 0.6)


def _ink(image: UInt8[np.ndarray, "height width"]) -> Float32[np.ndarray, "rows columns"]:
    """The amount of ink, 0 to 1, at most 512 pixels a side."""
    shrink = -(-max(image.shape) // _MAX_SIDE)
    if shrink > 1:
        image = np.asarray(PIL.Image.fromarray(image).reduce(shrink))
    grey = _flatten(image)
    dark, light = _two_levels(grey)
    if light - dark < _MIN_CONTRAST:
        return np.zeros((0, 0), np.float32)
    middle = (dark + light) / 2
    # Paper is the larger part; the border counts twice, because ink seldom reaches it.
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    dark_paper = (grey < middle).mean() + (border < middle).mean() > 1
    if not dark_paper:
        grey, dark, light = 255 - grey, 255 - light, 255 - dark
    # A soft threshold: the noise of the paper is below it, the core of a stroke above. A stroke
    # hardly a pixel wide has no core, and every grey level says how much of it is there.
    low, high = (0.0, 1.2) if max(image.shape) <= _SMALL else (0.2, 0.9)
    ink: np.ndarray = np.clip(((grey - dark) / (light - dark) - low) / (high - low), 0, 1)
    return ink


def _flatten(image: UInt8[np.ndarray, "height width"]) -> Float32[np.ndarray, "height width"]:
    """The picture without the gradual change of light across it, if enough paper shows it.

    Paper is a quadratic surface through the grey levels, fitted by least squares again and again
    without the pixels far from it, which are ink.
    """
    grey: Float32[np.ndarray, "height width"] = image.astype(np.float32)
    small = PIL.Image.fromarray(grey)
    if min(small.size) < _COARSE:
        return grey
    small = small.resize((_COARSE, _COARSE), PIL.Image.Resampling.BOX)
    levels = np.asarray(small).ravel()
    unit = np.eye(6, dtype=np.float32)
    terms = np.stack([_quadratic(term, _COARSE, _COARSE).ravel() for term in unit])
    paper = np.ones(levels.size, bool)
    for _ in range(10):
        chosen = terms * paper
        factors = np.linalg.lstsq(chosen @ terms.T, chosen @ levels, rcond=None)[0]
        distance = np.abs(levels - factors @ terms)
        paper, before = distance <= max(4.0, 3 * float(np.median(distance))), paper
        if np.array_equal(paper, before):
            break
    if paper.mean() < 0.6 or distance[paper].mean() > _MIN_CONTRAST / 2:
        return grey
    surface = _quadratic(factors, *grey.shape)
    flat: np.ndarray = np.clip(grey - surface + np.median(surface), 0, 255)
    return flat


def _quadratic(
    factors: Float32[np.ndarray, " 6"], height: int, width: int
) -> Float32[np.ndarray, "{height} {width}"]:
    """A quadratic surface over -1..1 in both directions."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    c, cy, cx, cyy, cyx, cxx = factors
    surface: np.ndarray = (c + cy * y + cyy * y**2) + (cx * x + cxx * x**2) + (cyx * y) * x
    return surface


def _two_levels(grey: Float32[np.ndarray, "height width"]) -> tuple[float, float]:
    """Mean grey level of the dark and of the light pixels, split by Otsu's method (1979)."""
    counts = np.bincount(grey.astype(np.uint8).ravel(), minlength=256).astype(float)
    levels = np.arange(256)
    below, sums = np.cumsum(counts), np.cumsum(counts * levels)
    above = below[-1] - below
    split = (below > 0) & (above > 0)
    if not split.any():
        return float(grey[0, 0]), float(grey[0, 0])
    means_below = sums / np.maximum(below, 1)
    means_above = (sums[-1] - sums) / np.maximum(above, 1)
    best = int(np.argmax(np.where(split, below * above * (means_above - means_below) ** 2, -1)))
    return float(means_below[best]), float(means_above[best])


def _crop(ink: Float32[np.ndarray, "height width"]) -> Float32[np.ndarray, "rows columns"]:
    """The bounding box of the strokes and their soft rim, without specks."""
    mask = (ink > _STROKE_LEVEL).astype(np.uint8)
    strokes = _remove_specks(mask)
    rows, columns = _ink_box(strokes)
    ink = np.where(_dilate(mask - strokes) > _dilate(strokes), np.float32(0), ink)
    return ink[max(rows.start - 1, 0) : rows.stop + 1, max(columns.start - 1, 0) : columns.stop + 1]


def _dilate(mask: Mask) -> Mask:
    """The mask and all pixels that touch it."""
    return cv2.dilate(mask, np.ones((3, 3), np.uint8))


def _remove_specks(mask: Mask) -> Mask:
    """The connected components with at least a twenty-fifth of the area of the largest."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    area = boxes[:, cv2.CC_STAT_AREA]
    kept = area >= area[1:].max(initial=0) / 25
    kept[0] = False
    rest: np.ndarray = kept[labels].astype(np.uint8)
    return rest


def _fit(ink: Float32[np.ndarray, "height width"]) -> UInt8[np.ndarray, "rows columns"]:
    """The ink with its longer side 20 pixels and strokes no thinner than MNIST's."""
    # Thin strokes would fade when they are reduced, so they are thickened first.
    min_width = 2.5 * max(ink.shape) / _FINE
    ink = _thicken(ink, (min_width - _stroke_width(ink)) / 2)
    # Enlarged, an edge is as soft as its pixels were large; but holes must stay visible.
    rise = 0.7 if max(ink.shape) < BOX else 0.5
    fine = np.clip((_resize(ink, _FINE) - 0.5) / rise + 0.5, 0, 1)
    fine = fine[_ink_box(fine > 0.1)]
    # Thickening by r makes the stroke 2 r thicker, and also the longer side that becomes 20.
    share, longer = _STROKE_WIDTH / BOX, max(fine.shape)
    radius = (share * longer - _stroke_width(fine)) / (2 - 2 * share)
    box = _resize(_thicken(fine, radius), BOX)
    levels: np.ndarray = np.round(255 * np.clip(box, 0, 1)).astype(np.uint8)
    return levels


def _resize(
    ink: Float32[np.ndarray, "height width"], side: int
) -> Float32[np.ndarray, "{side} {side}"]:
    """The ink in the middle of a square of `side` pixels, its longer side filling it."""
    # A square, because the width of a narrow digit, and its strokes, would be rounded to pixels.
    longer = max(ink.shape)
    above, before = (longer - ink.shape[0]) // 2, (longer - ink.shape[1]) // 2
    square = np.zeros((longer, longer), np.float32)
    square[above : above + ink.shape[0], before : before + ink.shape[1]] = ink
    image = PIL.Image.fromarray(square)
    resized: np.ndarray = np.asarray(image.resize((side, side), PIL.Image.Resampling.BICUBIC))
    return resized


def _stroke_width(ink: Float32[np.ndarray, "height width"]) -> float:
    """Mean stroke width in pixels: a long stroke's area is its width times half its outline."""
    padded = np.pad(ink, 1)
    down, right = np.diff(padded, axis=0)[:, 1:], np.diff(padded, axis=1)[1:]
    outline = float(np.hypot(down, right).sum())
    return 2 * float(ink.sum()) / outline


def _thicken(
    ink: Float32[np.ndarray, "height width"], radius: float
) -> Float32[np.ndarray, "rows columns"]:
    """A grey dilation: each pixel takes the most ink within `radius`."""
    if radius <= 0:
        return ink
    reach = math.ceil(radius)
    padded = np.pad(ink, 2 * reach)
    height, width = ink.shape[0] + 2 * reach, ink.shape[1] + 2 * reach
    thick = np.zeros((height, width), np.float32)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            # The rim of the disc covers part of a pixel.
            cover = min(1.0, radius + 1 - math.hypot(down - reach, right - reach))
            if cover > 0:
                shifted = padded[down : down + height, right : right + width]
                np.maximum(thick, cover * shifted, out=thick)
    return thick


def _place(box: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "28 28"]:
    box = box[_ink_box(box)]
    placed = np.zeros((SIZE, SIZE), np.uint8)
    top, left = (round(offset) for offset in _offsets(box))
    placed[top : top + box.shape[0], left : left + box.shape[1]] = box
    return placed
