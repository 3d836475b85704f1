"""Page lines: from a photo or scan of numbers to line images, by the page model's answers.

It sees no model but asks a function, `Segment`. The picture is brought to a scale at which the
digits are 14 to 56 pixels high, then `bands` finds the lines, and each is cut out here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from rowscan.arrays import UInt8
from rowscan.errors import DataError
from rowscan.reading import Cell
from rowscan.segmentation.bands import (
    CELL,
    BandLine,
    PageAnswer,
    digit_heights,
    find_lines,
    has_other_marks,
)
from rowscan.segmentation.binarize import (
    WORKING_PIXELS,
    Picture,
    downscale,
    normalise_polarity,
    resize,
    weighted_median,
)
from rowscan.segmentation.grids import Grid, find_grids, table_cells, upside_down
from rowscan.segmentation.illumination import Absorption, absorption, darkest_channel
from rowscan.segmentation.line_image import (
    MAX_LINES,
    Affine,
    LineImage,
    check_count,
    compose,
    cut_line,
    deskew,
    map_box,
    to_centres,
)

Segment = Callable[[UInt8[np.ndarray, "height width 3"]], PageAnswer]
"""Asks the page model; sides are multiples of 8."""

_FIRST_PIXELS = 200_000
"""The largest picture is first seen at this size, to learn how high its digits are; one with a
quarter of its pixels, where digits are a larger part of the page, at half."""
_ONE_LINE, _SEVERAL_LINES = 96, 192
"""Pixels: of the shorter side of a picture that shows one line, to which a picture is reduced, and
from which on it may show several."""
_HEIGHT = 18.0  # pixels of digits at the scale of the second look: 28 took twice the time;
_FINE_HEIGHT = 32.0  # those of a picture that is then no larger than the first look at a page;
_LOWEST, _HIGHEST = 14.0, 56.0  # and the heights with which the first look is enough
_MAX_ZOOM = 2.0
_FARTHER = 3.0  # times smaller: the second look at a picture in which nothing was found
_AROUND = 2.0  # heights of digits: what is seen again around the writing
PAD = 8
"""Pixels of paper around the picture that the model sees."""
_SIDES = 8  # the model takes multiples of this
_GAP = 16  # columns without ink: a wider gap is closed to this
_BLANK = 40  # of 255: a column is without ink where no pixel has more
_LEVEL = 1.0  # degrees: a line that is turned less is cut out as it stands


@dataclass(frozen=True, eq=False)
class SeenPage:
    """A picture at the scale at which its lines were found.

    Attributes:
        absorbed: with paper around it.
        answer: the model's.
        to_image: maps its pixels to those of the original.
    """

    absorbed: Absorption
    answer: PageAnswer
    to_image: Affine


@dataclass(frozen=True, eq=False)
class PageLines:
    """The lines of writing on a page.

    Attributes:
        lines: from top to bottom and from left to right.
        cells: of all grids and tables on the page.
        other_marks: whether something else is as high as a digit, or nearly.
    """

    lines: list[LineImage]
    cells: tuple[Cell, ...]
    other_marks: bool

    def upside_down(self) -> "PageLines":
        """The same page, turned by 180 degrees."""
        turned = tuple(upside_down(self.cells))
        places = {
            (cell.row, cell.column): (now.row, now.column)
            for cell, now in zip(self.cells, turned, strict=True)
        }
        lines = [
            replace(line.upside_down(), cell=line.cell and places[line.cell])
            for line in self.lines[::-1]
        ]
        return PageLines(lines, turned, self.other_marks)


def extract_lines(
    picture: Picture,
    size: tuple[int, int] | None,
    segment: Segment,
    max_lines: int = MAX_LINES,
    *,
    height: float | None = None,
) -> PageLines:
    """The lines of writing in a picture, with their cells in grids and tables.

    Args:
        picture: (height, width) of grey or (height, width, 3) of red, green and blue, upright; the
            ink may be darker or lighter than the paper.
        size: width and height of the original that `picture` is a reduced copy of; boxes are in its
            pixels.
        segment: asks the page model.
        max_lines: more are refused.
        height: as in `see`.

    Raises:
        DataError: a picture without pixels.
        TooLargeError: more lines.
    """
    if picture.size == 0:
        raise DataError("image", "it has no pixels")
    size = size or (picture.shape[1], picture.shape[0])
    page = see(picture, size, segment, height)
    dark = darkest_channel(page.absorbed)
    found = find_lines(page.answer)
    check_count(found, max_lines)
    usual = float(np.median([line.height for line in found])) if found else _HEIGHT
    grids = find_grids(page.answer, usual)
    angle = float(np.median([line.angle for line in found])) if found else 0.0
    cells = table_cells(
        grids, angle, lambda corners: map_box(page.to_image, corners, (0, 0, *size))
    )
    cut = [
        replace(image, cell=_cell(line, grids, cells))
        for line in found
        if (image := cut_out(line, dark, page.to_image, size)) is not None
    ]
    marks = has_other_marks(page.answer, found)
    return PageLines(in_reading_order(cut, angle), tuple(cells.values()), marks)


def _cell(
    line: BandLine, grids: list[Grid], cells: dict[tuple[int, int, int], Cell]
) -> tuple[int, int] | None:
    """Row and column of a line, from 1: of the cell in which it begins.

    It begins where it has a quarter of its ink, since it may reach a little beyond its cell.
    """
    cos, sin = math.cos(math.radians(line.angle)), math.sin(math.radians(line.angle))
    along = float(np.quantile(line.columns * cos + line.rows * sin, 0.25))
    across = float(np.median(line.rows * cos - line.columns * sin))
    x, y = along * cos - across * sin, along * sin + across * cos
    for number, grid in enumerate(grids):
        if place := grid.place(x, y):
            cell = cells[number, *place]
            return cell.row, cell.column
    return None


def see(
    picture: Picture, size: tuple[int, int], segment: Segment, height: float | None = None
) -> SeenPage:
    """The page at the scale that suits its digits.

    Args:
        picture: as in `extract_lines`, like the next two.
        size: as there.
        segment: as there.
        height: of the digits, in pixels of the scaled picture; by default any from 14 to 56.
    """
    sheet = normalise_polarity(downscale(picture))
    first = _first_zoom(sheet.shape[0], sheet.shape[1])
    whole = (0, 0, sheet.shape[1], sheet.shape[0])
    page = _look(sheet, whole, first, size, segment)
    heights, sizes = digit_heights(page.answer)
    for other in (first / _FARTHER, min(2 * first, 1.0)):  # it may all be too large, or too small
        if not len(heights) and other != first:
            first, page = other, _look(sheet, whole, other, size, segment)
            heights, sizes = digit_heights(page.answer)
    if not len(heights):
        return page
    usual = weighted_median(heights, sizes)
    if height is None and _LOWEST <= usual <= _HIGHEST:
        return page
    unit = first / usual
    zoom = height * unit if height else _second_zoom(sheet.shape, unit)
    zoom = min(zoom, _MAX_ZOOM if first == 1 else 1.0)
    if abs(zoom / first - 1) < 0.1:
        return page
    if zoom < first:  # what is too large may have been missed
        return _look(sheet, whole, zoom, size, segment)
    return _look(sheet, _written(page.answer, usual, first, sheet.shape), zoom, size, segment)


def _first_zoom(height: int, width: int) -> float:
    """How far a picture is reduced for the first look."""
    shorter = min(height, width)
    share = math.sqrt(height * width / WORKING_PIXELS)
    zoom = min(1.0, math.sqrt(_FIRST_PIXELS * share / (height * width)))
    return min(zoom, max(_ONE_LINE / shorter, zoom * shorter / _SEVERAL_LINES, 0.0))


def _second_zoom(shape: tuple[int, ...], unit: float) -> float:
    """How far a picture is reduced for the second look; by `unit`, digits would be a pixel high."""
    fine = _FINE_HEIGHT * unit
    return fine if shape[0] * shape[1] * fine**2 <= _FIRST_PIXELS else _HEIGHT * unit


def _written(
    answer: PageAnswer, height: float, zoom: float, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """The part of the sheet with bands in it and some paper around: left, top, right, bottom."""
    rows, columns = np.nonzero(answer.bands > 0.25)
    reach = _AROUND * height
    low = np.array([columns.min(), rows.min()]) * CELL - PAD - reach
    high = np.array([columns.max() + 1, rows.max() + 1]) * CELL - PAD + reach
    left, top = np.maximum(np.floor(low / zoom), 0).astype(int).tolist()
    right, bottom = np.ceil(high / zoom).astype(int).tolist()
    return left, top, min(right, shape[1]), min(bottom, shape[0])


def _look(
    sheet: Picture,
    box: tuple[int, int, int, int],
    zoom: float,
    size: tuple[int, int],
    segment: Segment,
) -> SeenPage:
    left, top, right, bottom = box
    part = sheet[top:bottom, left:right]
    small = resize(part, zoom) if zoom != 1 else part
    absorbed = absorption(small)
    height, width = absorbed.shape[:2]
    below, beside = (PAD + -(side + 2 * PAD) % _SIDES for side in (height, width))
    framed = np.pad(absorbed, ((PAD, below), (PAD, beside), (0, 0)))
    to_part = np.divide((right - left, bottom - top), (width, height))
    to_size = np.divide(size, (sheet.shape[1], sheet.shape[0]))
    offset = (np.array([left, top]) - PAD * to_part) * to_size
    to_image = np.column_stack([np.diag(to_part * to_size), offset])
    return SeenPage(framed, segment(framed), to_image)


def cut_out(
    line: BandLine, dark: UInt8[np.ndarray, "height width"], to_image: Affine, size: tuple[int, int]
) -> LineImage | None:
    """The image of a line: its own ink, level, at a fixed height; None where no ink is left."""
    grey, mask, to_page = _level(line, dark)
    if not mask.any():
        return None
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    strokes = boxes[1:]
    tall = strokes[strokes[:, cv2.CC_STAT_HEIGHT] > 0.5 * line.height]
    tall = tall if len(tall) else strokes
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    distance = float(cv2.distanceTransform(mask, cv2.DIST_L2, 5)[mask > 0].mean())
    image = cut_line(
        grey,
        (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1),
        digit_height=weighted_median(
            tall[:, cv2.CC_STAT_HEIGHT].astype(float), tall[:, cv2.CC_STAT_AREA].astype(float)
        ),
        stroke_width=max(4 * distance - 2, 1.0),
        to_image=compose(to_image, to_page),
        limits=(0, 0, *size),
        plausibility=line.certainty,
    )
    if image is None:
        return None
    kept = _without_wide_gaps(image.ink)
    return replace(image, ink=np.ascontiguousarray(image.ink[:, kept]), columns=kept)


def _level(
    line: BandLine, dark: UInt8[np.ndarray, "height width"]
) -> tuple[UInt8[np.ndarray, "rows columns"], UInt8[np.ndarray, "rows columns"], Affine]:
    """Grey and mask of a line's ink, turned level, and the way back to the page."""
    rim = max(1, round(line.height / 32))  # the soft edge of a stroke belongs to it
    pad = 3 * rim + 2
    top, left = int(line.rows.min()) - pad, int(line.columns.min()) - pad
    bottom, right = int(line.rows.max()) + pad + 1, int(line.columns.max()) + pad + 1
    mask = np.zeros((bottom - top, right - left), np.uint8)
    mask[line.rows - top, line.columns - left] = 1
    around = dark[max(top, 0) : bottom, max(left, 0) : right]
    beyond = (
        [max(-top, 0), max(bottom - len(dark), 0)],
        [max(-left, 0), max(right - dark.shape[1], 0)],
    )
    grey = np.pad(around, beyond) * cv2.dilate(mask, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8))
    to_page = np.array([[1.0, 0, left], [0, 1, top]])
    if abs(line.angle) < _LEVEL:
        return grey, mask, to_page
    turn, shape = deskew(grey.shape, line.angle)
    transform = to_centres(turn)
    grey = cv2.warpAffine(grey, transform, shape[::-1])
    turned = cv2.warpAffine(255 * mask, transform, shape[::-1])
    return grey, (turned > 100).astype(np.uint8), compose(to_page, cv2.invertAffineTransform(turn))


def _without_wide_gaps(ink: UInt8[np.ndarray, "32 width"]) -> np.ndarray:
    """The columns that are left when gaps wider than the line model knows are closed."""
    columns = np.arange(ink.shape[1])
    inked = np.where((ink > _BLANK).any(0), columns, -1)
    return np.flatnonzero(columns - np.maximum.accumulate(inked) <= _GAP)


def in_reading_order(lines: list[LineImage], angle: float) -> list[LineImage]:
    """From top to bottom; those whose middles are at one height from left to right.

    Args:
        lines: of one page.
        angle: their direction, in degrees: a page may lie on its side.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    upright = abs(cos) >= abs(sin)

    def place(line: LineImage) -> tuple[float, float, float]:
        """How far down it is, how far to the right, how high."""
        x, y, width, height = line.box
        across, down = x + width / 2, y + height / 2
        high = float(height if upright else width)
        return down * cos - across * sin, across * cos + down * sin, high

    rows: list[list[LineImage]] = []
    for line in sorted(lines, key=lambda line: place(line)[0]):
        first = place(rows[-1][0]) if rows else None
        if first is not None and place(line)[0] < first[0] + first[2] / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: place(line)[1])]
