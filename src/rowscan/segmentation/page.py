"""Page: from a photo or scan of numbers to line images. It sees no model and opens no file.

`extract_lines` runs the steps in order: `binarize`, `ruled_lines`, `text_lines`, and the cutting of
line images, which is here. Lengths are pixels of the reduced picture; most follow from the writing
itself, from the width of its strokes and the height of its digits.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from rowscan.arrays import Float64, Int64, Shaped, UInt8
from rowscan.errors import DataError
from rowscan.scans import LINE_HEIGHT
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
    resize,
    weighted_median,
)
from rowscan.segmentation.ruled_lines import remove_ruled_lines
from rowscan.segmentation.text_lines import (
    Components,
    TextLine,
    connected_components,
    estimate_skew,
    find_text_lines,
)

Affine = Float64[np.ndarray, "2 3"]
"""Maps (x, y, 1) to another (x, y). Coordinates count from the corner of the first pixel, whose
centre therefore is (0.5, 0.5)."""

DIGIT_HEIGHT = 24
"""Rows that the digits of a line fill: the median height of its components, weighted by area. Above
and below is room for a long 1 or 7; a line that needs more room is reduced."""

MAX_WIDTH = 4096
"""Columns of a line image; a longer line is reduced."""

_MARGIN = 4  # columns without ink before and after a line
_MIN_STROKE_WIDTH = 1.8  # pixels of a line image


@dataclass(frozen=True, eq=False)
class LineImage:
    """One line of writing, brought to a fixed height.

    Attributes:
        ink: 0 is paper, 255 is ink; the digits are about 24 rows high.
        box: x, y, width and height in pixels of the original picture.
        to_image: maps columns and rows of `ink` to pixels of that picture.
        plausibility: 0 to 1; whether this is the writing that is meant, by its height beside the
            other lines and by whether the border cuts it. No model has seen it.
    """

    ink: UInt8[np.ndarray, "32 width"]
    box: tuple[int, int, int, int]
    to_image: Affine
    plausibility: float
    columns: Int64[np.ndarray, " width"] | None = None
    """Where wide gaps were closed: of each column of `ink`, which one it was before."""
    cell: tuple[int, int] | None = None
    """Row and column, from 1, in a grid or table."""

    def upside_down(self) -> "LineImage":
        """The same line, turned by 180 degrees."""
        width = self.ink.shape[1]
        columns = None
        if self.columns is not None:
            width = int(self.columns[-1]) + 1
            columns = width - 1 - self.columns[::-1]
        turn = np.array([[-1.0, 0, width], [0, -1, LINE_HEIGHT]])
        return replace(
            self,
            ink=np.ascontiguousarray(self.ink[::-1, ::-1]),
            to_image=compose(self.to_image, turn),
            columns=columns,
        )

    def box_of(self, start: float | int, stop: float | int) -> tuple[int, int, int, int]:
        """X, y, width and height, in pixels of the picture, of the ink between two columns."""
        first = min(max(math.floor(start), 0), self.ink.shape[1] - 1)
        part = self.ink[:, first : max(math.ceil(stop), first + 1)]
        rows = np.flatnonzero((part > 127).any(1))
        top, bottom = (rows[0], rows[-1] + 1) if rows.size else (0, LINE_HEIGHT)
        x, y, width, height = self.box
        if self.columns is not None:
            start, stop = np.interp([start, stop], np.arange(len(self.columns)), self.columns)
        corners = np.array([start, top, stop, bottom], float)
        return map_box(self.to_image, corners, (x, y, x + width, y + height))


def extract_lines(picture: Picture, size: tuple[int, int] | None = None) -> list[LineImage]:
    """The lines of writing in a picture, from top to bottom and from left to right.

    Args:
        picture: (height, width) of grey or (height, width, 3) of red, green and blue, upright; the
            ink may be darker or lighter than the paper.
        size: width and height of the original that `picture` is a reduced copy of; boxes are in its
            pixels.

    Returns:
        A `LineImage` for each, none if there is no writing. Words, blots and the like may be among
        them: `plausibility` says something, a line model can say more.

    Raises:
        DataError: a picture without pixels.
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
    return [
        extract_line(
            line,
            components,
            contrast,
            stroke_width=stroke_width,
            to_image=to_image,
            limits=(0, 0, width, height),
        )
        for line in find_text_lines(components, separators, stroke_width)
    ]


def deskew(shape: tuple[int, ...], angle: float) -> tuple[Affine, tuple[int, ...]]:
    """The rotation that levels lines which fall by `angle` degrees, and the shape that it needs."""
    if angle == 0:
        return np.eye(2, 3), shape
    height, width = shape
    rotation = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    cos, sin = np.abs(rotation[0, :2])
    rows, columns = math.ceil(height * cos + width * sin), math.ceil(height * sin + width * cos)
    rotation[:, 2] += (columns - width) / 2, (rows - height) / 2
    return rotation, (rows, columns)


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

    Thin strokes would fade when the line is reduced, so they are dilated first. Strokes keep their
    grey edges, as MNIST's do: ink is clipped a little above the paper and a little below the usual
    darkness of the strokes, so that lines of different pens are equally dark.

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
    scale = min(
        DIGIT_HEIGHT / weighted_median(components.height[line.tall], components.area[line.tall]),
        (LINE_HEIGHT - 2) / (bottom - top),
        (MAX_WIDTH - 2 * _MARGIN) / (right - left),
    )
    rim = max(1, round(stroke_width / 3))  # the soft edge of a stroke belongs to it
    thicker = max(0, round((_MIN_STROKE_WIDTH / scale - stroke_width) / 2))
    pad = 2 * rim + thicker
    around = (left - pad, top - pad, right + pad, bottom + pad)
    chosen = np.zeros(len(components.area) + 1, np.uint8)
    chosen[own + 1] = 1
    mask = cv2.dilate(
        chosen[_crop(components.labels, around)], np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)
    )
    grey = _crop(contrast, around) * mask
    if thicker:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thicker + 1, 2 * thicker + 1))
        grey = cv2.dilate(grey, disc)
    # Resizing averages, and gives whole pixels; the rest of the way interpolates.
    small = resize(grey, min(scale, 1.0))
    zoom_y, zoom_x = np.divide(small.shape, grey.shape)
    width = math.ceil((right - left) * scale) + 2 * _MARGIN
    from_page = np.array(
        [
            [scale, 0, _MARGIN - left * scale],
            [0, scale, LINE_HEIGHT / 2 - (top + bottom) / 2 * scale],
        ]
    )
    to_page = np.array([[1 / zoom_x, 0, left - pad], [0, 1 / zoom_y, top - pad]])
    transform = to_centres(compose(from_page, to_page))
    levels: np.ndarray = cv2.warpAffine(small, transform, (width, LINE_HEIGHT)).astype(np.float32)
    core = float(np.percentile(levels[levels >= 0.4 * levels.max()], 60))
    ink = np.clip((levels - 0.15 * core) / max(0.75 * core, 1), 0, 1)
    return LineImage(
        ink=np.rint(255 * ink).astype(np.uint8),
        box=map_box(to_image, np.array([left, top, right, bottom], float), limits),
        to_image=compose(to_image, cv2.invertAffineTransform(from_page)),
        plausibility=line.plausibility,
    )


def compose(second: Affine, first: Affine) -> Affine:
    """The map that does the first, then the second."""
    both: np.ndarray = second @ np.vstack([first, [0, 0, 1]])
    return both


def to_centres(transform: Affine) -> Affine:
    """The same map for OpenCV, for which the centre of the first pixel is (0, 0)."""
    shifted = transform.copy()
    shifted[:, 2] += transform[:, :2] @ [0.5, 0.5] - 0.5
    return shifted


def map_box(
    transform: Affine, corners: Float64[np.ndarray, " 4"], limits: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """X, y, width and height, whole pixels and at least one, around a box that is mapped."""
    left, top, right, bottom = corners.tolist()
    (a, b, c), (d, e, f) = transform.tolist()
    ends = [(left, top), (right, top), (right, bottom), (left, bottom)]
    x, width = _whole([a * x + b * y + c for x, y in ends], limits[0], limits[2])
    y, height = _whole([d * x + e * y + f for x, y in ends], limits[1], limits[3])
    return x, y, width, height


def _whole(places: list[float], low: int, high: int) -> tuple[int, int]:
    """The first whole pixel and the number of pixels around places, within limits."""
    start = min(max(math.floor(min(places) + 0.01), low), high - 1)
    stop = min(max(math.ceil(max(places) - 0.01), low), high)
    return start, max(stop - start, 1)


def _crop(
    picture: Shaped[np.ndarray, "height width"], box: tuple[int, int, int, int]
) -> Shaped[np.ndarray, "rows columns"]:
    """What lies between left, top, right and bottom; 0 beyond the border."""
    left, top, right, bottom = box
    height, width = picture.shape
    part = picture[max(top, 0) : bottom, max(left, 0) : right]
    beyond = [max(-top, 0), max(bottom - height, 0)], [max(-left, 0), max(right - width, 0)]
    return np.pad(part, beyond)
