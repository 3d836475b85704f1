import math
from functools import cache

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rowscan.alphabet import SIGNS
from rowscan.recipes import PageRecipe, change, find
from rowscan.segmentation.illumination import absorption, darkest_channel
from rowscan.segmentation.page_lines import PAD
from rowscan.training.engines.segmenter import PageLogits, SweepSegmenter, gathered, spread
from rowscan.training.synthesis import fields, layouts, writing
from rowscan.training.synthesis.canvas import Canvas
from rowscan.training.synthesis.glyphs import (
    DigitMaps,
    Handwriting,
    draw_character,
    draw_strokes,
    thinned,
)
from rowscan.training.synthesis.pages import (
    INK,
    OTHER,
    PageBatch,
    PageComposer,
    compose,
    compose_field,
    height_code,
)
from rowscan.training.tasks.page.engine import PageEngine, PageTruth, page_loss

HAND = Handwriting(slant=0.1, aspect=1.0, pen=0.1, own=0.5, drawn=0.0)
SHAPE = (128, 192)


@cache
def digits() -> DigitMaps:
    """Ten upright ellipses, one for each digit."""
    images = np.zeros((10, 28, 28), np.uint8)
    for digit in range(10):
        cv2.ellipse(images[digit], (14, 14), (4 + digit % 4, 10), 0, 0, 360, (255,), 2)
    return DigitMaps.of(images, np.arange(10, dtype=np.uint8))


def test_a_thick_bar_is_thinned_to_a_line_of_one_pixel() -> None:
    bar = np.zeros((1, 40, 40), bool)
    bar[0, 10:30, 17:22] = True
    thin = thinned(bar)[0]
    rows = thin[13:27]
    assert (rows.sum(1) == 1).all()
    assert rows[:, 19].all()


@given(st.floats(12, 90), st.integers(0, 9), st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_a_digit_is_as_high_as_asked(height: float, digit: int, seed: int) -> None:
    hand = Handwriting(slant=0.0, aspect=1.0, pen=0.08, own=0.0, drawn=0.0, turn=0.0)
    glyph = digits().draw(digit, height, hand, np.random.default_rng(seed))
    _, top, _, bottom = glyph.box
    # The skeleton is a stroke of MNIST lower than the digit, the pen is added.
    assert bottom - top == pytest.approx(height, abs=0.15 * height + 2)


@pytest.mark.parametrize("name", [*"0123456789", *SIGNS])
def test_every_character_can_be_drawn(name: str) -> None:
    glyph = draw_character(name, 40, HAND, np.random.default_rng(0))
    assert glyph.coverage.max() == 255


def test_a_pen_is_as_wide_as_asked() -> None:
    glyph = draw_strokes([np.array([[0.0, 0.0], [0.0, 60.0]])], 5)
    middle = glyph.coverage[20:40].astype(float) / 255
    assert middle.sum(1).mean() == pytest.approx(5, abs=0.7)


def test_a_line_marks_the_middle_of_its_characters() -> None:
    canvas = Canvas(np.random.default_rng(0), 100, 200, digits())
    style = writing.style(canvas.rng)
    boxes, _ = canvas.write("407", 20, 70, 40, style, gap=0.2)
    canvas.mark_line(boxes, 40)
    rows, columns = np.nonzero(canvas.lines == 1)
    assert 2 * columns.min() == pytest.approx(boxes[0][0] + 0.17 * 40, abs=3)
    assert 2 * columns.max() == pytest.approx(boxes[-1][2] - 0.17 * 40, abs=3)
    assert 2 * np.median(rows) == pytest.approx(50, abs=6)
    assert canvas.ink.any()
    assert not canvas.other.any()


def test_lines_that_meet_keep_paper_between_them() -> None:
    canvas = Canvas(np.random.default_rng(0), 60, 120, digits())
    canvas.mark_line([(10, 10, 40, 40), (42, 10, 70, 40)], 30)
    canvas.mark_line([(60, 10, 80, 40), (82, 10, 110, 40)], 30)
    first = cv2.dilate((canvas.lines == 1).astype(np.uint8), np.ones((3, 3), np.uint8))
    assert (canvas.lines == 2).any()
    assert not (first[canvas.lines == 2] > 0).any()


def test_what_is_struck_out_and_printed_is_no_number() -> None:
    for layout in (layouts.empty, layouts.struck):
        canvas = Canvas(np.random.default_rng(1), 200, 300, digits())
        layout(canvas)
        assert canvas.other.any()
    canvas = Canvas(np.random.default_rng(1), 200, 300, digits())
    layouts.empty(canvas)
    assert not canvas.ink.any()
    assert not canvas.lines.any()


@pytest.mark.parametrize("layout", [layout for layout, _ in layouts.LAYOUTS])
def test_every_layout_fills_pages_of_every_shape(layout: layouts.Layout) -> None:
    for shape in (SHAPE, (96, 672), (336, 192)):
        absorbed, classes, bands, _, heights, _ = compose(
            np.random.default_rng(0), shape, digits(), layout
        )
        height, width = shape
        assert absorbed.shape == (height, width, 3)
        assert set(np.unique(classes)) <= {0, INK, OTHER}
        assert bands.shape == (height // 2, width // 2)
        assert heights.shape == (height // 4, width // 4)
        inside = bands.reshape(height // 4, 2, width // 4, 2).max((1, 3)) > 0
        assert ((heights > 0) == inside).all()


@pytest.mark.parametrize("layout", [fields.amounts, fields.numbers, fields.singles])
def test_a_field_has_one_line_of_ink(layout: layouts.Layout) -> None:
    for seed in range(20):
        canvas = Canvas(np.random.default_rng(seed), 64, 200, digits())
        layout(canvas)
        assert np.unique(canvas.lines).tolist() == [0, 1]
        assert canvas.ink.any()


def test_words_and_scrawls_alone_are_no_number() -> None:
    for seed in range(20):
        canvas = Canvas(np.random.default_rng(seed), 64, 200, digits())
        fields.others(canvas)
        assert canvas.other.any()
        assert not canvas.ink.any()
        assert not canvas.lines.any()


@pytest.mark.parametrize("shape", fields.SHAPES)
def test_a_field_has_paper_around_it(shape: tuple[int, int]) -> None:
    absorbed, classes, bands, *_ = compose_field(np.random.default_rng(0), shape, digits())
    for part, rim in ((absorbed, PAD), (classes, PAD), (bands, PAD // 2)):
        inner = part[rim:-rim, rim:-rim]
        assert np.count_nonzero(part) == np.count_nonzero(inner)
    assert absorbed.any()


def test_a_page_depends_on_its_number_alone() -> None:
    images = np.random.default_rng(0).integers(0, 2, (10, 28, 28), np.uint8) * 255
    composer = PageComposer.of(images, np.arange(10, dtype=np.uint8), size=2, seed=(0, 1))
    first, again, other = composer(3), composer(3), composer(4)
    assert (first.pictures == again.pictures).all()
    assert first.pictures.shape != other.pictures.shape or (first.pictures != other.pictures).any()


def test_height_codes_are_32_an_octave() -> None:
    assert height_code(64) - height_code(32) == 32
    assert height_code(32) / 32 + math.log2(4) == 5


def test_light_and_paper_are_divided_out() -> None:
    light = np.linspace(100, 250, 300)[None, :, None] * np.array([1.0, 0.95, 0.8])
    sheet = np.repeat(light, 200, 0)
    sheet[80:110, 100:104] *= 0.3
    absorbed = darkest_channel(absorption(sheet.astype(np.uint8)))
    stroke = absorbed[85:105, 101:103]
    assert stroke.min() > 200
    absorbed[70:120, 90:114] = 0
    assert absorbed.max() < 30


def test_faint_strokes_become_dark() -> None:
    sheet = np.full((120, 200), 240, np.uint8)
    for x in range(20, 180, 12):
        sheet[40:80, x : x + 4] = 200
    assert absorption(sheet).max() > 240


def test_gathering_and_spreading_are_inverse() -> None:
    x = torch.randn(2, 8, 12, 3)
    assert (spread(gathered(x, 4), 4) == x).all()
    assert gathered(x, 4)[1, 1, 2].tolist() == x[1, 4:8, 8:12].flatten().tolist()


def test_a_network_that_knows_the_truth_has_almost_no_loss() -> None:
    absorbed = [compose(np.random.default_rng(seed), SHAPE, digits()) for seed in range(3)]
    batch = PageBatch(*(np.stack(parts) for parts in zip(*absorbed, strict=True)))
    truth = PageTruth.of(batch, torch.device("cpu"))
    perfect = PageLogits(
        30 * torch.nn.functional.one_hot(truth.classes, 3).float(),
        30 * (2 * truth.bands - 1),
        truth.geometry,
    )
    assert float(page_loss(perfect, truth)) < 0.01
    wrong = PageLogits(-perfect.pixels, -perfect.bands, -perfect.geometry)
    assert float(page_loss(wrong, truth)) > 5


def test_training_learns_the_pages_it_sees() -> None:
    recipe = find("page", PageRecipe)
    small = change(recipe, {"hidden": 8, "fine": 8, "layers": 1, "batch_size": 1})
    engine = PageEngine(small, "cpu", workers=0)
    images = np.zeros((10, 28, 28), np.uint8)
    images[:, 6:22, 12:16] = 255
    engine.load_images(images, np.arange(10, dtype=np.uint8))
    batch = np.arange(1)
    losses = [float(engine.step(batch, 0.01)[0]) for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]


def test_every_pixel_sees_the_whole_page() -> None:
    torch.manual_seed(0)
    network = SweepSegmenter(8, 8, 1)
    page = torch.rand(1, 32, 48, 3, requires_grad=True)
    network(page).pixels[0, 0, 0].sum().backward()
    assert page.grad is not None
    assert (page.grad.abs().sum(-1) > 0).float().mean() > 0.99
