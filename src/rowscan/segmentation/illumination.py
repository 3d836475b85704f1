"""Light: divides light and paper out of a picture, and brings faint writing to the usual darkness.

What remains is absorption, 0 where paper is, of red, green and blue; the page model reads it. The
training composes its pages through this module too.
"""

import cv2
import numpy as np

from rowscan.arrays import UInt8
from rowscan.segmentation.binarize import Picture, estimate_background

Absorption = UInt8[np.ndarray, "height width 3"]
"""How much darker than paper a pixel is in red, green and blue: 0 paper, 255 black."""

_BLACK = 32  # of 255: paper is lighter
_BLOCK = 8  # pixels: the darkest spot of each block of this side is measured,
_DARKEST = 8  # blocks, at the least, that hold strokes
_MAX_GAIN = 8.0  # times: beyond, noise is what stands out


def absorption(picture: Picture) -> Absorption:
    """What the paper and the light do not explain, the darkest strokes about 255.

    Args:
        picture: grey levels, or red, green and blue; ink is darker than paper.
    """
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    background = estimate_background(picture)
    floor = max(_BLACK, int(background.max()) // 4)  # darker surroundings hold only noise
    flat = cv2.divide(picture, cv2.max(background, np.full(3, floor, float)), scale=255)
    absorbed = cv2.bitwise_not(flat)
    result: np.ndarray = cv2.convertScaleAbs(absorbed, alpha=255 / _darkest(absorbed))
    return result


def darkest_channel(absorbed: Absorption) -> UInt8[np.ndarray, "height width"]:
    """The most that a pixel absorbs of any colour."""
    red, green, blue = cv2.split(absorbed)
    result: np.ndarray = cv2.max(cv2.max(red, green), blue)
    return result


def _darkest(absorbed: Absorption) -> float:
    """The absorption of the darkest strokes: of the eighth darkest block, smoothed."""
    dark = cv2.blur(darkest_channel(absorbed), (3, 3))
    # The largest of a block by two dilations, one along each axis: that is fast.
    blocks = cv2.dilate(dark, np.ones((_BLOCK, 1), np.uint8))
    blocks = cv2.dilate(blocks, np.ones((1, _BLOCK), np.uint8))
    blocks = blocks[_BLOCK // 2 :: _BLOCK, _BLOCK // 2 :: _BLOCK].ravel()
    if not len(blocks):
        return 255.0
    place = max(len(blocks) - _DARKEST, len(blocks) // 2)
    return max(float(np.partition(blocks, place)[place]), 255 / _MAX_GAIN)
