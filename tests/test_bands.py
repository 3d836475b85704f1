import math

import cv2
import numpy as np
import pytest

from rowscan.segmentation import page_lines
from rowscan.segmentation.bands import PageAnswer, digit_heights, find_lines
from rowscan.segmentation.illumination import darkest_channel
from rowscan.segmentation.page_lines import extract_lines, in_reading_order


@pytest.fixture
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are seen at their own scale, at which the answers are drawn."""
    monkeypatch.setattr(page_lines, "_FIRST_PIXELS", 10_000_000)


class Drawn:
    """A page drawn by hand and the answer of a model that knows it."""

    def __init__(self, height: int, width: int) -> None:
        self.ink = np.zeros((height, width), np.uint8)
        self.other = self.ink.copy()
        self.bands = np.zeros((height // 2, width // 2), np.uint8)
        self.geometry = np.zeros((height // 4, width // 4, 3), np.float32)
        self.geometry[..., 1] = 1

    def number(self, x: float, y: float, *, digits: int, height: float, angle: float = 0.0) -> None:
        """Upright strokes, `digits` of them half a height apart, and the band through them."""
        along = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
        down = np.array([-along[1], along[0]])
        first = np.array([x, y])
        for digit in range(digits):
            top = first + digit * height / 2 * along
            ends = np.round([top, top + height * down]).astype(int)
            cv2.line(self.ink, ends[0].tolist(), ends[1].tolist(), (1,), 3)
        start = first + height / 2 * down - 0.1 * height * along
        stop = start + ((digits - 1) / 2 + 0.2) * height * along
        band = np.array(
            [
                start - 0.25 * height * down,
                stop - 0.25 * height * down,
                stop + 0.25 * height * down,
                start + 0.25 * height * down,
            ]
        )
        cv2.fillPoly(self.bands, [np.round(band / 2).astype(np.int32)], (1,))
        inside = cv2.resize(self.bands, self.geometry.shape[1::-1], interpolation=cv2.INTER_AREA)
        mine = (inside > 0) & (self.geometry[..., 0] == 0)
        self.geometry[mine] = math.log2(height / 32), along[0], along[1]

    def answer(self) -> PageAnswer:
        ink = 0.98 * self.ink
        other = np.where(self.ink, 0.01, 0.98 * self.other)
        probabilities = np.stack([1 - ink - other, ink, other], -1).astype(np.float32)
        return PageAnswer(probabilities, 0.98 * self.bands.astype(np.float32), self.geometry)


@pytest.mark.parametrize("height", [16.0, 32.0, 64.0])
def test_lines_are_the_connected_parts_of_the_bands(height: float) -> None:
    page = Drawn(256, 512)
    page.number(20, 20, digits=5, height=height)
    page.number(20, 150, digits=3, height=height)
    found = find_lines(page.answer())
    assert len(found) == 2
    assert sum(len(line.rows) for line in found) == page.ink.sum()
    for line in found:
        assert line.height == pytest.approx(height, rel=0.02)
        assert line.angle == pytest.approx(0, abs=2)
        assert line.certainty > 0.9
    heights, sizes = digit_heights(page.answer())
    assert heights == pytest.approx([height, height], rel=0.02)
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize("angle", [-25.0, 10.0, 90.0, 180.0, 270.0])
def test_a_line_shows_its_direction(angle: float) -> None:
    page = Drawn(512, 512)
    page.number(256, 256, digits=8, height=32, angle=angle)
    (line,) = find_lines(page.answer())
    assert (line.angle - angle + 180) % 360 - 180 == pytest.approx(0, abs=2)


def test_rules_are_not_part_of_a_line() -> None:
    page = Drawn(128, 256)
    page.number(20, 40, digits=4, height=40)
    page.other[82:85] = 1
    page.other[:, 5:8] = 1
    (line,) = find_lines(page.answer())
    assert line.rows.max() <= 82
    assert len(line.rows) > 0.95 * page.ink.sum()  # the last row touches the rule


def test_a_stroke_that_a_rule_crosses_is_whole() -> None:
    page = Drawn(128, 256)
    page.number(40, 40, digits=1, height=40)
    answer = page.answer()
    answer.probabilities[58:60, :, 1:] = answer.probabilities[58:60, :, :0:-1]  # nibbled
    (line,) = find_lines(answer)
    assert len(line.rows) == page.ink.sum()


def test_a_dot_beside_a_band_belongs_to_its_line_and_a_blot_far_away_does_not() -> None:
    page = Drawn(128, 256)
    page.number(20, 40, digits=4, height=40)
    page.ink[74:79, 92:97] = 1
    page.ink[110:118, 200:208] = 1
    (line,) = find_lines(page.answer())
    assert line.columns.max() == 96
    assert line.rows.max() < 100


def test_an_answer_without_bands_has_no_lines() -> None:
    page = Drawn(64, 64)
    page.ink[20:40, 20:24] = 1
    assert find_lines(page.answer()) == []


@pytest.mark.usefixtures("as_it_is")
@pytest.mark.parametrize("angle", [0.0, 12.0, 180.0])
def test_a_line_image_has_the_digits_level_and_knows_where_they_were(angle: float) -> None:
    page = Drawn(256, 384)
    page.number(190, 120, digits=6, height=32, angle=angle)
    picture = np.where(page.ink, 40, 230).astype(np.uint8)
    padded = Drawn(272, 400)
    for name in ("ink", "other", "bands", "geometry"):
        inner = getattr(page, name)
        step = 272 // getattr(padded, name).shape[0]
        at = 8 // step
        getattr(padded, name)[at : at + inner.shape[0], at : at + inner.shape[1]] = inner

    def segment(absorbed: np.ndarray) -> PageAnswer:
        assert absorbed.shape == (272, 400, 3)
        assert ((darkest_channel(absorbed) > 128) == (padded.ink > 0)).mean() > 0.99
        return padded.answer()

    (line,) = extract_lines(picture, None, segment).lines
    assert line.ink.shape[0] == 32
    solid = (line.ink > 127).astype(np.uint8)
    count, _, boxes, _ = cv2.connectedComponentsWithStats(solid)
    assert count - 1 == 6
    assert boxes[1:, cv2.CC_STAT_HEIGHT] == pytest.approx(24, abs=2)
    ys, xs = np.nonzero(page.ink)
    x, y, width, height = line.box
    assert (x, y) == pytest.approx((xs.min(), ys.min()), abs=4)
    assert (x + width, y + height) == pytest.approx((xs.max(), ys.max()), abs=5)
    first = line.box_of(int(boxes[1:, 0].min()), int(boxes[1:, 0].min()) + 4)
    assert first[0] + first[2] / 2 == pytest.approx(190, abs=8)


@pytest.mark.usefixtures("as_it_is")
def test_wide_gaps_are_closed_and_boxes_stay_true() -> None:
    page = Drawn(96, 512)
    page.number(40, 30, digits=2, height=32)
    page.number(440, 30, digits=1, height=32)
    page.bands[20:28, 20:222] = 1
    page.geometry[10:14, 10:111] = 0, 1, 0
    padded = np.pad(page.ink, 8)
    answer = page.answer()
    answer = PageAnswer(
        np.pad(answer.probabilities, ((8, 8), (8, 8), (0, 0))),
        np.pad(answer.bands, 4),
        np.pad(answer.geometry, ((2, 2), (2, 2), (0, 0))),
    )
    answer.probabilities[..., 0] = 1 - answer.probabilities[..., 1:].sum(-1)
    assert padded.shape == answer.probabilities.shape[:2]
    picture = np.where(page.ink, 40, 230).astype(np.uint8)
    (line,) = extract_lines(picture, None, lambda _: answer).lines
    assert line.ink.shape[1] < 100
    last = line.box_of(line.ink.shape[1] - 8, line.ink.shape[1] - 4)
    assert last[0] + last[2] / 2 == pytest.approx(440, abs=5)


@pytest.mark.usefixtures("as_it_is")
def test_lines_beside_each_other_are_read_from_left_to_right() -> None:
    page = Drawn(256, 512)
    for x, y in ((310, 24), (20, 30), (20, 150), (210, 148), (360, 153)):
        page.number(x, y, digits=3, height=32)
    picture = np.where(page.ink, 40, 230).astype(np.uint8)
    answer = page.answer()
    answer = PageAnswer(
        np.pad(answer.probabilities, ((8, 8), (8, 8), (0, 0))),
        np.pad(answer.bands, 4),
        np.pad(answer.geometry, ((2, 2), (2, 2), (0, 0))),
    )
    answer.probabilities[..., 0] = 1 - answer.probabilities[..., 1:].sum(-1)
    lines = extract_lines(picture, None, lambda _: answer).lines
    order = [(line.box[0] // 50, line.box[1] // 100) for line in lines]
    assert order == [(0, 0), (6, 0), (0, 1), (4, 1), (7, 1)]
    assert in_reading_order(lines[::-1], 0.0) == lines
