"""Page: from a photo or scan of numbers to line images. It sees no model and opens no file.

`extract_lines` runs the steps in order: `binarize`, `ruled_lines`, `text_lines`, and the cutting of
line images, `line_image`. Lengths are pixels of the reduced picture; most follow from the writing
itself, from the width of its strokes and the height of its digits.
"""

import cv2
import numpy as np

from rowscan.arrays import Shaped
from rowscan.errors import DataError
from rowscan.segmentation.binarize import (
    Contrast,
    Picture,
    binarize,
    downscale,
    estimate_background,
    limit_stroke_width,
    measure_contrast,
    normalise_polarity,
    remove_blots,
    remove_page_borders,
    weighted_median,
)
from rowscan.segmentation.line_image import (
    MAX_LINES,
    Affine,
    LineImage,
    check_count,
    compose,
    cut_line,
    deskew,
    to_centres,
)
from rowscan.segmentation.ruled_lines import remove_ruled_lines
from rowscan.segmentation.text_lines import (
    Components,
    TextLine,
    connected_components,
    estimate_skew,
    find_text_lines,
)


def extract_lines(
    picture: Picture, size: tuple[int, int] | None = None, max_lines: int = MAX_LINES
) -> list[LineImage]:
    """The lines of writing in a picture, from top to bottom and from left to right.

    Args:
        picture: (height, width) of grey or (height, width, 3) of red, green and blue, upright; the
            ink may be darker or lighter than the paper.
        size: width and height of the original that `picture` is a reduced copy of; boxes are in its
            pixels.
        max_lines: more are refused.

    Returns:
        A `LineImage` for each, none if there is no writing. Words, blots and the like may be among
        them: `plausibility` says something, a line model can say more.

    Raises:
        DataError: a picture without pixels.
        TooLargeError: more lines.
    """
    if picture.size == 0:
        raise DataError("image", "it has no pixels")
    sheet = normalise_polarity(downscale(picture))
    contrast, noise = measure_contrast(sheet, estimate_background(sheet))
    foreground = remove_page_borders(binarize(contrast, noise))
    contrast, foreground, stroke_width = limit_stroke_width(contrast, foreground)
    foreground = remove_blots(foreground, stroke_width)
    foreground, separators = remove_ruled_lines(foreground, stroke_width)
    components = connected_components(foreground, stroke_width)
    width, height = size or (picture.shape[1], picture.shape[0])
    scale = np.divide((height, width), contrast.shape)
    to_image = np.array([[scale[1], 0, 0], [0, scale[0], 0]])
    rotation, shape = deskew(contrast.shape, estimate_skew(components))
    if shape != contrast.shape:
        contrast = cv2.warpAffine(contrast, to_centres(rotation), shape[::-1])
        foreground, separators = (
            cv2.warpAffine(mask, to_centres(rotation), shape[::-1], flags=cv2.INTER_NEAREST)
            for mask in (foreground, separators)
        )
        components = connected_components(foreground, stroke_width)
        to_image = compose(to_image, cv2.invertAffineTransform(rotation))
    lines = find_text_lines(components, separators, stroke_width)
    check_count(lines, max_lines)
    return [
        extract_line(
            line,
            components,
            contrast,
            stroke_width=stroke_width,
            to_image=to_image,
            limits=(0, 0, width, height),
        )
        for line in lines
    ]


def extract_line(
    line: TextLine,
    components: Components,
    contrast: Contrast,
    *,
    stroke_width: float,
    to_image: Affine,
    limits: tuple[int, int, int, int],
) -> LineImage:
    """The image of a text line: its own components and nothing else, at a fixed height.

    Args:
        line: the components that belong to it.
        components: all components.
        contrast: the picture that they were found in.
        stroke_width: in pixels of `contrast`.
        to_image: maps places in `contrast` to places in the original picture.
        limits: left, top, right and bottom of the original picture.
    """
    own = line.members
    left, top = int(components.left[own].min()), int(components.top[own].min())
    right, bottom = int(components.right[own].max()), int(components.bottom[own].max())
    rim = max(1, round(stroke_width / 3))  # the soft edge of a stroke belongs to it
    pad = 2 * rim
    around = (left - pad, top - pad, right + pad, bottom + pad)
    chosen = np.zeros(len(components.area) + 1, np.uint8)
    chosen[own + 1] = 1
    mask = cv2.dilate(
        chosen[_crop(components.labels, around)], np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)
    )
    image = cut_line(
        _crop(contrast, around) * mask,
        (pad, pad, pad + right - left, pad + bottom - top),
        digit_height=weighted_median(components.height[line.tall], components.area[line.tall]),
        stroke_width=stroke_width,
        to_image=compose(to_image, np.array([[1.0, 0, left - pad], [0, 1, top - pad]])),
        limits=limits,
        plausibility=line.plausibility,
    )
    assert image is not None  # components are ink
    return image


def _crop(
    picture: Shaped[np.ndarray, "height width"], box: tuple[int, int, int, int]
) -> Shaped[np.ndarray, "rows columns"]:
    """What lies between left, top, right and bottom; 0 beyond the border."""
    left, top, right, bottom = box
    height, width = picture.shape
    part = picture[max(top, 0) : bottom, max(left, 0) : right]
    beyond = [max(-top, 0), max(bottom - height, 0)], [max(-left, 0), max(right - width, 0)]
    return np.pad(part, beyond)
