"""Numbers composed of the sample digits are found where they were put, whatever is around them."""

import itertools
import math
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rowscan.errors import DataError
from rowscan.io.pictures import open_image
from rowscan.scans import LINE_HEIGHT
from rowscan.segmentation.binarize import (
    downscale,
    estimate_background,
    estimate_stroke_width,
    measure_contrast,
    normalise_polarity,
)
from rowscan.segmentation.digit import normalise_digit
from rowscan.segmentation.line_image import LineImage, deskew
from rowscan.segmentation.page import extract_lines
from rowscan.segmentation.ruled_lines import remove_ruled_lines
from rowscan.segmentation.text_lines import connected_components, estimate_skew

DIGITS = Path(__file__).parent.parent / "examples" / "digits"
NUMBER = ("4-08", "0-00", "7-13", "1-02", "8-15", "2-04")
Box = tuple[int, int, int, int]


@cache
def _digit(name: str, height: int) -> np.ndarray:
    """A sample digit without its paper, 0 to 1, at a height."""
    ink = 255 - open_image(DIGITS / f"{name}.png")
    rows, columns = np.nonzero(ink > 80)
    ink = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    width = max(1, round(ink.shape[1] * height / ink.shape[0]))
    return cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA) / 255


def _write(ink: np.ndarray, x: int, y: int, names: tuple[str, ...], height: int = 40) -> list[Box]:
    """Put digits on a sheet of ink, from left to right; their boxes."""
    boxes = []
    for name in names:
        digit = _digit(name, height)
        part = ink[y : y + height, x : x + digit.shape[1]]
        np.maximum(part, digit[: len(part)], out=part)  # the sheet may end before the digit
        boxes.append((x, y, digit.shape[1], height))
        x += digit.shape[1] + height // 4
    return boxes


def _around(boxes: list[Box]) -> Box:
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right = max(box[0] + box[2] for box in boxes)
    return left, top, right - left, max(box[1] + box[3] for box in boxes) - top


def _near(found: Box, true: Box, tolerance: float) -> bool:
    """Whether all four sides agree."""
    return all(
        abs(a - b) <= tolerance
        for a, b in zip(
            (found[0], found[1], found[0] + found[2], found[1] + found[3]),
            (true[0], true[1], true[0] + true[2], true[1] + true[3]),
            strict=True,
        )
    )


def _one_number() -> tuple[np.ndarray, list[Box]]:
    ink = np.zeros((120, 360))
    return ink, _write(ink, 40, 38, NUMBER)


def _grey(ink: np.ndarray, paper: float | np.ndarray = 220, depth: float = 170) -> np.ndarray:
    return np.clip(paper - depth * ink, 0, 255).astype(np.uint8)


def _only(lines: list[LineImage]) -> LineImage:
    assert len(lines) == 1
    return lines[0]


def _agreement(line: LineImage, ink: np.ndarray) -> float:
    """Correlation of the line image with its place on the sheet of ink."""
    columns, rows = np.meshgrid(np.arange(line.ink.shape[1]), np.arange(LINE_HEIGHT))
    places = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5, np.ones(columns.size)])
    x, y = line.to_image @ places - 0.5
    # An average over as much as a pixel of the line covers.
    scale = math.sqrt(abs(np.linalg.det(line.to_image[:, :2])))
    smooth = cv2.GaussianBlur(ink, (0, 0), max(0.4 * scale, 0.1))
    x, y = (v.reshape(columns.shape).astype(np.float32) for v in (x, y))
    there = cv2.remap(smooth, x, y, cv2.INTER_LINEAR)
    return float(np.corrcoef(line.ink.ravel(), there.ravel())[0, 1])


# One number, under all conditions


def _light(ink: np.ndarray) -> np.ndarray:
    height, width = ink.shape
    return _grey(ink) * np.linspace(1, 0.4, width) * np.linspace(0.7, 1, height)[:, None]


def _shadow(ink: np.ndarray) -> np.ndarray:
    sheet = _grey(ink).astype(float)
    sheet[:, 170:] *= 0.5
    return cv2.blur(sheet, (5, 5))


def _noise(ink: np.ndarray) -> np.ndarray:
    return _grey(ink) + np.random.default_rng(0).normal(0, 12, ink.shape)


def _jpeg(ink: np.ndarray) -> np.ndarray:
    _, content = cv2.imencode(".jpg", _grey(ink), [cv2.IMWRITE_JPEG_QUALITY, 40])
    grey = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    return grey


def _chalk(ink: np.ndarray) -> np.ndarray:
    return _grey(ink, paper=60, depth=-150)


def _pattern(ink: np.ndarray) -> np.ndarray:
    """Fine waves in print, as cheques have."""
    rows, columns = np.mgrid[: ink.shape[0], : ink.shape[1]]
    waves = np.sin(rows * 1.2 + 2 * np.sin(columns / 15)) > 0.7
    return _grey(np.maximum(ink, 0.2 * waves))


def _coloured(ink: np.ndarray) -> np.ndarray:
    """Green on pink with noise: red shows the ink, green and blue nearly hide it."""
    paper, pen = np.array([210.0, 130.0, 150.0]), np.array([100.0, 160.0, 185.0])
    coloured: np.ndarray = paper + ink[..., None] * (pen - paper)
    return coloured + np.random.default_rng(0).normal(0, 10, coloured.shape)


def _underlined(ink: np.ndarray) -> np.ndarray:
    """A faint ruled line below, one through the feet, both a little skewed."""
    sheet = _grey(ink)
    cv2.line(sheet, (0, 100), (359, 94), 120, 1)
    cv2.line(sheet, (0, 70), (359, 76), 90, 2)
    return sheet


def _framed(ink: np.ndarray) -> np.ndarray:
    sheet = _grey(ink)
    cv2.rectangle(sheet, (20, 20), (345, 95), 40, 2)
    return sheet


def _black_around(ink: np.ndarray) -> np.ndarray:
    """A page on a black background that a scanner shows at its left edge and its foot."""
    sheet = np.full((ink.shape[0] + 40, ink.shape[1] + 90), 12.0)
    sheet[: ink.shape[0], 90:] = _grey(ink)
    return sheet


@pytest.mark.parametrize(
    ("condition", "moved"),
    [
        (_grey, 0),
        (_light, 0),
        (_shadow, 0),
        (_noise, 0),
        (_jpeg, 0),
        (_chalk, 0),
        (_pattern, 0),
        (_coloured, 0),
        (_underlined, 0),
        (_framed, 0),
        (_black_around, 90),
    ],
)
def test_one_number_is_one_line_where_it_was_put(condition: object, moved: int) -> None:
    ink, boxes = _one_number()
    assert callable(condition)
    sheet = np.clip(condition(ink), 0, 255).astype(np.uint8)
    line = _only(extract_lines(sheet))
    x, y, width, height = _around(boxes)
    assert _near(line.box, (x + moved, y, width, height), 3)
    there = cv2.copyMakeBorder(ink, 0, 0, moved, 0, cv2.BORDER_CONSTANT, value=0)
    assert _agreement(line, there) > 0.9
    assert line.plausibility == 1


def test_digits_are_24_rows_high_in_the_middle_and_black() -> None:
    line = _only(extract_lines(_grey(_one_number()[0])))
    rows = np.flatnonzero((line.ink > 127).any(1))
    assert rows[0] in (3, 4, 5)
    assert rows[-1] in (26, 27, 28)
    assert not line.ink[:, :2].any()
    assert not line.ink[:, -2:].any()
    assert np.percentile(line.ink[line.ink > 127], 50) == 255


@pytest.mark.parametrize("height", [8, 16, 40, 150, 800])
def test_the_size_of_the_digits_does_not_matter(height: int) -> None:
    ink = np.zeros((2 * height, 6 * height))
    boxes = _write(ink, height, height // 2, NUMBER, height)
    line = _only(extract_lines(_grey(ink)))
    assert _near(line.box, _around(boxes), max(1.5, height / 20))
    assert _agreement(line, ink) > 0.9


@pytest.mark.parametrize("pen", [1, 3])
def test_a_thin_stroke_does_not_fade(pen: int) -> None:
    sheet = np.full((300, 500), 230, np.uint8)
    cv2.ellipse(sheet, (150, 150), (60, 100), 0, 0, 360, 60, pen)
    cv2.ellipse(sheet, (330, 150), (60, 100), 0, 0, 360, 60, pen)
    line = _only(extract_lines(sheet))
    middle = line.ink[12:20].astype(int).sum(1) / 255  # four strokes
    assert np.all((middle > 4 * 1) & (middle < 4 * 3.5))


@pytest.mark.parametrize("name", [path.stem for path in sorted(DIGITS.glob("*.png"))])
@pytest.mark.parametrize("negative", [False, True])
def test_a_single_digit_is_one_line(name: str, negative: bool) -> None:
    picture = open_image(DIGITS / f"{name}.png")
    line = _only(extract_lines(255 - picture if negative else picture))
    paper = np.median(picture)
    rows, columns = np.nonzero(np.abs(picture - paper) > 90)
    true = (int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
    assert _near(line.box, true, 3)


def test_digits_that_fill_a_frame_of_16_pixels() -> None:
    for name in NUMBER:
        digit = cv2.resize(_digit(name, 40), (16, 16), interpolation=cv2.INTER_AREA)
        for picture in (_grey(digit, 255, 255), _grey(digit, 0, -255)):
            x, y, width, height = _only(extract_lines(picture)).box
            assert (x, y) == (0, 0) or (width >= 14 and height >= 14)


def test_a_line_image_is_read_like_the_picture() -> None:
    """The digit model gives the same answer for a picture and for its line image."""
    from rowscan.reader import Reader

    pictures = [open_image(path) for path in sorted(DIGITS.glob("*.png"))]
    lines = [_only(extract_lines(picture)).ink for picture in pictures]
    reader = Reader()
    direct, _ = reader.classify(np.stack([normalise_digit(picture) for picture in pictures]))
    through, _ = reader.classify(np.stack([normalise_digit(ink) for ink in lines]))
    assert np.mean(direct == through) >= 0.85


# Skew


@pytest.mark.parametrize("angle", [-9, -5, -2, 0, 2, 5, 9])
def test_a_rotated_page_is_deskewed(angle: int) -> None:
    ink = np.zeros((500, 700))
    boxes = [_write(ink, 190, y, NUMBER) for y in (150, 230, 310)]
    turn = cv2.getRotationMatrix2D((350, 250), -angle, 1)
    turned = cv2.warpAffine(ink, turn, (700, 500))
    lines = extract_lines(_grey(turned))
    assert len(lines) == 3
    for line, row in zip(lines, boxes, strict=True):
        across = line.to_image[:, 0]
        assert math.degrees(math.atan2(across[1], across[0])) == pytest.approx(angle, abs=1)
        assert _agreement(line, turned) > 0.9
        # Where the digits are in the line, they are in the picture.
        starts = [_column(line, turn, box[0], box[1]) for box in row]
        stops = [_column(line, turn, box[0] + box[2], box[1]) for box in row]
        for start, stop, box in zip(starts, stops, row, strict=True):
            assert _near(line.box_of(start, stop), _turned(turn, box), 6)


def _column(line: LineImage, turn: np.ndarray, x: float, y: float) -> float:
    back = np.linalg.inv(np.vstack([line.to_image, [0, 0, 1]]))
    return float((back @ [*(turn @ [x, y, 1]), 1])[0])


def _turned(turn: np.ndarray, box: Box) -> Box:
    x, y, width, height = box
    corners = [[x, x + width, x + width, x], [y, y, y + height, y + height], [1, 1, 1, 1]]
    xs, ys = turn @ corners
    left, top = math.floor(xs.min()), math.floor(ys.min())
    return left, top, math.ceil(xs.max()) - left, math.ceil(ys.max()) - top


@pytest.mark.parametrize("angle", [-10.0, 3.0])
def test_deskew_levels_a_falling_line_and_keeps_it_in_the_picture(angle: float) -> None:
    turn, (rows, columns) = deskew((200, 300), angle)
    fall = math.tan(math.radians(angle))
    first, second = turn @ [100, 50, 1], turn @ [200, 50 + 100 * fall, 1]
    assert first[1] == pytest.approx(second[1])
    assert second[0] - first[0] == pytest.approx(math.hypot(100, 100 * fall))
    for corner in itertools.product((0, 300), (0, 200), (1,)):
        x, y = turn @ corner
        assert -0.01 <= x <= columns + 0.01
        assert -0.01 <= y <= rows + 0.01


def test_the_skew_of_blocks_on_a_slope() -> None:
    mask = np.zeros((200, 400), np.uint8)
    for x in range(20, 380, 40):
        top = 60 + round(x * math.tan(math.radians(4)))
        mask[top : top + 30, x : x + 15] = 1
    assert estimate_skew(connected_components(mask, 2.0)) == pytest.approx(4, abs=0.5)
    assert estimate_skew(connected_components(mask[::-1].copy(), 2.0)) == pytest.approx(-4, abs=0.5)


# Pages


def test_two_lines_from_top_to_bottom() -> None:
    ink = np.zeros((240, 400))
    upper, lower = _write(ink, 90, 40, NUMBER), _write(ink, 30, 130, NUMBER[::-1])
    lines = extract_lines(_grey(ink))
    assert len(lines) == 2
    for line, boxes in zip(lines, (upper, lower), strict=True):
        assert _near(line.box, _around(boxes), 2)


def test_numbers_far_apart_are_separate_lines() -> None:
    ink = np.zeros((120, 500))
    parts = _write(ink, 30, 40, NUMBER[:3]), _write(ink, 260, 40, NUMBER[3:])
    lines = extract_lines(_grey(ink))
    assert len(lines) == 2
    for line, boxes in zip(lines, parts, strict=True):
        assert _near(line.box, _around(boxes), 2)


def test_boxes_are_read_one_by_one() -> None:
    """Two rows of three framed cells whose numbers are close to the frames."""
    ink = np.zeros((220, 480))
    cells = [
        _write(ink, x, y, NUMBER[:2] if x < 200 else NUMBER[2:4])
        for y in (40, 130)
        for x in (35, 185, 335)
    ]
    sheet = _grey(ink)
    for y, x in itertools.product((20, 110), (20, 170, 320)):
        cv2.rectangle(sheet, (x, y), (x + 135, y + 80), 60, 2)
    lines = extract_lines(sheet)
    assert len(lines) == 6
    for line, boxes in zip(lines, cells, strict=True):
        assert _near(line.box, _around(boxes), 3)


@pytest.mark.parametrize("gap", [0, 5])
def test_boxes_for_one_digit_each_are_one_number(gap: int) -> None:
    """A comb field: boxes narrower than a digit is high, side by side or with shared sides."""
    ink = np.zeros((120, 420))
    boxes = []
    for i, name in enumerate(NUMBER):
        boxes += _write(ink, 36 + i * (44 + gap), 38, (name,))
    sheet = _grey(ink)
    for i in range(len(NUMBER)):
        left = 30 + i * (44 + gap)
        cv2.rectangle(sheet, (left, 28), (left + 44, 86), 90, 2)
    assert _near(_only(extract_lines(sheet)).box, _around(boxes), 3)


def test_a_vertical_rule_separates_two_numbers() -> None:
    ink = np.zeros((160, 400))
    left, right = _write(ink, 60, 60, NUMBER[:2]), _write(ink, 150, 60, NUMBER[2:4])
    assert len(extract_lines(_grey(ink))) == 1
    sheet = _grey(ink)
    middle = (left[-1][0] + left[-1][2] + right[0][0]) // 2
    cv2.line(sheet, (middle, 0), (middle, 159), 60, 2)
    lines = extract_lines(sheet)
    assert len(lines) == 2
    for line, boxes in zip(lines, (left, right), strict=True):
        assert _near(line.box, _around(boxes), 3)


def test_dots_and_dashes_within_a_line_belong_to_it_and_specks_do_not() -> None:
    ink, boxes = _one_number()
    x, y, width, height = _around(boxes)
    ink[y + 34 : y + 39, boxes[1][0] + boxes[1][2] + 3 : boxes[1][0] + boxes[1][2] + 8] = 1  # dot
    ink[y + 18 : y + 22, x + width + 10 : x + width + 28] = 1  # dash
    ink[10, 10] = ink[110, 300] = 1
    line = _only(extract_lines(_grey(ink)))
    assert _near(line.box, (x, y, width + 28, height), 2)
    assert _agreement(line, ink) > 0.9


@pytest.mark.parametrize(
    ("x", "y", "lines"), [(0, 0, 2), (28, 34, 1), (38, 38, 1), (33, 12, 2), (16, 34, 2)]
)
def test_a_dot_at_their_feet_joins_what_stands_far_apart(x: int, y: int, lines: int) -> None:
    ink = np.zeros((120, 400))
    left = _around(_write(ink, 30, 40, ("0-00", "8-15")))
    end = left[0] + left[2]
    right = _around(_write(ink, end + 66, 40, ("2-04", "0-00")))
    if x:
        cv2.circle(ink, (end + x, 40 + y), 2, 1, -1)
    found = extract_lines(_grey(ink))
    assert len(found) == lines
    assert _near(found[0].box, _around([left, right]) if lines == 1 else left, 20)


@pytest.mark.parametrize(("gap", "lines"), [(42, 1), (60, 2)])
@pytest.mark.parametrize("height", [24, 40])
def test_broad_digits_may_be_far_apart(height: int, gap: int, lines: int) -> None:
    ink = np.zeros((120, 400))
    for x in (60, 100 + gap):
        cv2.ellipse(ink, (x, 60), (18, height // 2), 0, 0, 360, 1, 4)
    assert len(extract_lines(_grey(ink))) == lines


@pytest.mark.parametrize(("distance", "belongs"), [(4, True), (30, False)])
def test_a_detached_stem_of_a_6_belongs_to_it(distance: int, belongs: bool) -> None:
    ink = np.zeros((140, 300))
    _write(ink, 80, 64, ("0-00", "0-00"), 36)
    cv2.ellipse(ink, (58, 87), (10, 11), 0, 0, 360, 1, 4)
    cv2.line(ink, (60, 70 - distance), (70, 55 - distance), 1, 4)
    *others, line = extract_lines(_grey(ink))
    assert line.box[1] == pytest.approx(53 - distance if belongs else 64, abs=4)
    assert len(others) == (not belongs)


def test_a_tiny_number_in_a_cluttered_cell_is_among_the_lines() -> None:
    ink = np.zeros((200, 150))
    boxes = _write(ink, 80, 70, ("5-10", "6-12"), 16)
    sheet = _grey(ink)
    sheet[:, :40] = 10  # beyond the page
    cv2.line(sheet, (52, 0), (53, 199), 90, 1)
    cv2.line(sheet, (140, 0), (140, 199), 60, 2)
    cv2.line(sheet, (40, 185), (149, 183), 60, 1)
    cv2.line(sheet, (76, 92), (112, 91), 90, 1)
    lines = extract_lines(sheet)
    assert any(_near(line.box, _around(boxes), 2) for line in lines)
    best = max(lines, key=lambda line: line.plausibility)
    assert _near(best.box, _around(boxes), 2)


def test_a_number_that_the_border_cuts_is_less_plausible() -> None:
    ink = np.zeros((200, 300))
    _write(ink, 60, 60, NUMBER[:4])
    _write(ink, 60, 175, NUMBER[:4])
    whole, cut = extract_lines(_grey(ink))
    assert whole.plausibility == 1
    assert cut.plausibility < 0.5


@pytest.mark.parametrize("negative", [False, True])
def test_sheets_without_writing(negative: bool) -> None:
    rng = np.random.default_rng(0)
    plain = np.full((300, 400), 210.0)
    ruled, edged = plain.copy(), plain.copy()
    for y in range(30, 300, 40):
        cv2.line(ruled, (0, y), (399, y + 5), 120, 2)
    edged[:, :60] = 8
    slope = plain - np.linspace(0, 120, 400)
    noise = plain + rng.normal(0, 15, plain.shape)
    for sheet in (plain, ruled, edged, slope, noise, rng.integers(0, 256, plain.shape)):
        picture = np.clip(sheet, 0, 255).astype(np.uint8)
        assert extract_lines(255 - picture if negative else picture) == []


def test_a_very_long_line_is_reduced() -> None:
    ink = np.zeros((60, 9000))
    _write(ink, 30, 10, NUMBER * 40, 40)
    line = _only(extract_lines(_grey(ink)))
    assert line.ink.shape == (LINE_HEIGHT, 4096)
    assert _agreement(line, ink) > 0.8


def test_a_large_photo_is_reduced_and_its_boxes_are_not() -> None:
    ink = np.zeros((2400, 3200))
    boxes = [_write(ink, 300, y, NUMBER, 90) for y in (400, 1800)]
    assert downscale(_grey(ink)).size <= 3_010_000
    lines = extract_lines(_grey(ink))
    assert len(lines) == 2
    for line, row in zip(lines, boxes, strict=True):
        assert _near(line.box, _around(row), 4)


# Single steps


def test_light_is_divided_out() -> None:
    """Ink that reflects a fifth of the light stands out by four fifths, in light and in shade."""
    light = np.tile(np.linspace(240, 120, 400), (120, 1))
    sheet = light.copy()
    for x in range(30, 400, 40):
        sheet[40:80, x : x + 5] *= 0.2
    picture = np.rint(sheet).astype(np.uint8)
    contrast, noise = measure_contrast(picture, estimate_background(picture))
    assert contrast[60, 32::40] == pytest.approx(0.8 * 192, abs=8)
    assert np.abs(contrast[60, 10::40]).max() <= 8
    assert noise <= 6


def test_noise_is_measured_beside_the_ink() -> None:
    rng = np.random.default_rng(1)
    ink = np.zeros((200, 300))
    _write(ink, 20, 80, NUMBER)
    sheet = np.clip(_grey(ink, 192) + rng.normal(0, 6, ink.shape), 0, 255).astype(np.uint8)
    _, noise = measure_contrast(sheet, np.full_like(sheet, 192))
    assert noise == pytest.approx(6, abs=1.5)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 13])
def test_the_width_of_a_stroke(width: int) -> None:
    mask = np.zeros((60, 200), np.uint8)
    mask[20 : 20 + width, 10:190] = 1
    assert estimate_stroke_width(mask) == pytest.approx(width, abs=1)


def test_ruled_lines_are_removed_and_crossing_strokes_kept() -> None:
    strokes = np.zeros((100, 300), np.uint8)
    for x in range(40, 260, 30):  # from above to below the rule
        strokes[20:70, x : x + 4] = 1
    ruled = strokes.copy()
    ruled[50:52, :] = 1
    rest, separators = remove_ruled_lines(ruled, 4.0)
    assert np.array_equal(rest, strokes)
    assert not separators.any()


def test_a_vertical_rule_is_a_separator() -> None:
    ink, boxes = _one_number()
    strokes = (ink > 0.5).astype(np.uint8)
    rule = np.zeros_like(strokes)
    rule[:, boxes[1][0] - 6 : boxes[1][0] - 4] = 1
    rest, separators = remove_ruled_lines(strokes | rule, 4.0)
    assert np.array_equal(rest, strokes)
    assert np.array_equal(separators, rule)


@pytest.mark.parametrize(("lean", "is_rule"), [(0, True), (3, True), (9, False), (-9, False)])
def test_a_leaning_stroke_from_border_to_border_is_a_1(lean: int, is_rule: bool) -> None:
    ink, boxes = _one_number()
    left, top, width, height = _around(boxes)
    tight = (ink > 0.5).astype(np.uint8)[top - 8 : top + height + 8, left - 4 : left + width + 4]
    number = np.pad(tight, ((0, 0), (30, 0)))
    stroke = np.zeros_like(number)
    cv2.line(stroke, (15 + lean // 2, 0), (15 + lean // 2 - lean, len(stroke) - 1), 1, 4)
    rest, separators = remove_ruled_lines(number | stroke, 4.0)
    assert np.array_equal(rest, number if is_rule else number | stroke)
    assert separators.any() == is_rule


def test_the_polarity_of_sparse_marks() -> None:
    ink, _ = _one_number()
    paper = _grey(ink)
    assert normalise_polarity(paper) is paper
    assert np.array_equal(normalise_polarity(255 - paper), paper)


# Any picture


def _check(line: LineImage, image: np.ndarray) -> None:
    assert line.ink.dtype == np.uint8
    assert line.ink.shape[0] == LINE_HEIGHT
    assert 1 <= line.ink.shape[1] <= 4096
    assert line.ink.any()
    assert 0 < line.plausibility <= 1
    for x, y, width, height in (line.box, line.box_of(0, 3), line.box_of(4, line.ink.shape[1])):
        assert 0 <= x < x + width <= image.shape[1]
        assert 0 <= y < y + height <= image.shape[0]
    rows, columns = np.nonzero(line.ink)
    x, y = line.to_image @ [columns.mean() + 0.5, rows.mean() + 0.5, 1]
    left, top, width, height = line.box
    slack = 1 + np.abs(line.to_image[:, :2]).max()  # a pixel of the picture, one of the line
    assert left - slack <= x <= left + width + slack
    assert top - slack <= y <= top + height + slack


pictures = hnp.arrays(
    np.uint8,
    st.one_of(
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=50),
        st.tuples(st.integers(1, 50), st.integers(1, 50), st.just(3)),
    ),
    elements=st.sampled_from([0, 20, 128, 200, 255]),
)


@given(pictures)
@example(np.zeros((1, 1), np.uint8))
@example(np.full((1, 3000), 255, np.uint8))
@example(np.tile(np.array([[0, 255]], np.uint8), (900, 1)))
@settings(max_examples=80, deadline=None)
def test_any_picture_gives_sound_lines(image: np.ndarray) -> None:
    for line in extract_lines(image):
        _check(line, image)


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(30, 200),
    width=st.integers(30, 300),
    strokes=st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_any_scribble_gives_sound_lines_and_polarity_does_not_matter(
    seed: int, height: int, width: int, strokes: int
) -> None:
    rng = np.random.default_rng(seed)
    image = np.full((height, width), 225, np.uint8)
    for _ in range(strokes):
        points = rng.integers(0, (width, height), (4, 2))
        cv2.polylines(image, [points.astype(np.int32)], False, 50, int(rng.integers(1, 4)))
    dark = extract_lines(image)
    for line in dark:
        _check(line, image)
    if normalise_polarity(image) is image:  # a sheet full of ink may be taken for the negative
        light = extract_lines(255 - image)
        assert len(light) == len(dark)
        for one, other in zip(dark, light, strict=True):
            assert one.box == other.box
            assert np.array_equal(one.ink, other.ink)


def test_a_picture_without_pixels_is_refused() -> None:
    for shape in ((0, 4), (4, 0), (0, 4, 3)):
        with pytest.raises(DataError, match="no pixels"):
            extract_lines(np.zeros(shape, np.uint8))
