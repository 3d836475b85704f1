"""Digits of any picture are brought to MNIST's frame."""

import runpy
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowscan.errors import DataError
from rowscan.io.pictures import open_image
from rowscan.segmentation.digit import normalise_digit

EXAMPLES = Path(__file__).parent.parent / "examples"


def _stroke(
    points: list[tuple[int, int]], pen: int, size: tuple[int, int] = (280, 280)
) -> np.ndarray:
    """A drawn line, ink 255 on paper 0."""
    image = PIL.Image.new("L", size)
    PIL.ImageDraw.Draw(image).line(points, fill=255, width=pen, joint="curve")
    return np.asarray(image)


SEVEN = _stroke([(90, 60), (190, 60), (130, 220)], 12)


# Normalising


def _centre(image: np.ndarray) -> tuple[float, float]:
    mass = image.sum(dtype=float)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return float((image * rows).sum() / mass), float((image * columns).sum() / mass)


def _box(image: np.ndarray) -> tuple[int, int]:
    rows, columns = np.nonzero(image)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.fixture(scope="module")
def mnist() -> np.ndarray:
    from rowscan.datasets.digits import load_digits

    digits = load_digits("mnist")
    parts = (digits.test, digits.train, digits.validation)
    return np.concatenate([part.images for part in parts])


def test_mnist_is_unchanged(mnist: np.ndarray) -> None:
    for image in mnist[:2000]:
        assert np.array_equal(normalise_digit(image), image)
        assert np.array_equal(normalise_digit(255 - image), image)


@pytest.mark.slow
def test_all_of_mnist_is_unchanged(mnist: np.ndarray) -> None:
    assert len(mnist) == 70_000
    for image in mnist:
        assert np.array_equal(normalise_digit(image), image)


def test_mnist_comes_back_from_a_larger_sheet(mnist: np.ndarray) -> None:
    """Outside its frame an image is normalised, and the result must be close to the original."""
    distances = []
    for image in mnist[:300]:
        sheet = np.pad(image, ((9, 30), (40, 3)))
        back = normalise_digit(255 - sheet).astype(float)
        distances.append(np.abs(back - image).mean() / image.mean())
    # Strokes thinner than usual are made thicker, so it is not the identity.
    assert np.median(distances) < 0.35


curves = st.lists(
    st.tuples(st.integers(20, 260), st.integers(20, 260)), min_size=2, max_size=6, unique=True
)


@given(points=curves, pen=st.integers(4, 20), dark=st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_stroke_is_brought_to_the_frame(
    points: list[tuple[int, int]], pen: int, dark: bool
) -> None:
    ink = _stroke(points, pen)
    image = normalise_digit(255 - ink if dark else ink)
    assert max(_box(image)) == 20
    placed = np.argwhere(image)
    for axis, centre in enumerate(_centre(image)):
        at_edge = placed[:, axis].min() == 0 or placed[:, axis].max() == 27
        assert abs(centre - 14) <= 0.51 or at_edge
    assert np.array_equal(normalise_digit(image), image)


@given(points=curves, pen=st.integers(4, 20))
@settings(max_examples=40, deadline=None)
def test_polarity_does_not_matter(points: list[tuple[int, int]], pen: int) -> None:
    ink = _stroke(points, pen)
    black, white = normalise_digit(255 - ink), normalise_digit(ink)
    assert np.abs(black.astype(int) - white).max() <= 1


def test_place_and_size_do_not_matter() -> None:
    there = _stroke([(100, 80), (200, 80), (140, 240)], 12)
    double = _stroke([(180, 120), (380, 120), (260, 440)], 24, (560, 560))
    image = normalise_digit(SEVEN).astype(int)
    assert np.abs(image - normalise_digit(there)).max() <= 2
    # Where the centre of mass falls between two pixels, either place is right.
    larger = normalise_digit(double)
    shifts = [np.roll(larger, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    assert min(np.abs(image - shift).mean() for shift in shifts) < 5


def test_aspect_is_kept() -> None:
    ring = PIL.Image.new("L", (300, 300))
    PIL.ImageDraw.Draw(ring).ellipse((40, 60, 140, 260), outline=255, width=12)
    height, width = _box(normalise_digit(np.asarray(ring)) > 30)
    assert height == 20
    # 101 to 201, both a little more by the thicker stroke; 10.5 pixels touch 11 or 12.
    assert width in (11, 12)


@pytest.mark.parametrize("pen", [1, 2, 4, 8])
def test_a_thin_stroke_gets_the_width_of_mnist(pen: int) -> None:
    image = normalise_digit(255 - _stroke([(140, 40), (140, 240)], pen))
    middle = image[10:18].sum(1) / 255  # a vertical stroke: ink of a row is its width
    assert middle == pytest.approx(np.full(8, 2.1), abs=0.25)
    assert image.max() >= 240


def test_a_thick_stroke_stays_thick() -> None:
    image = normalise_digit(255 - _stroke([(140, 40), (140, 240)], 50))
    assert image[10:18].sum(1) / 255 == pytest.approx(np.full(8, 20 * 50 / 201), abs=0.4)


@pytest.mark.parametrize("side", [8, 16])
def test_small_scans_whose_ink_fills_the_frame(side: int) -> None:
    small = np.asarray(PIL.Image.fromarray(SEVEN[50:226, 84:198]).resize((side, side), 4))
    for scan in (small, 255 - small):
        image = normalise_digit(scan)
        # A bar at the top, then a stroke that goes down to the left.
        assert max(_box(image)) == 20
        rows = np.flatnonzero(image.any(1))
        down = [int(np.average(np.arange(28), weights=image[row])) for row in rows[8:-2]]
        assert down == sorted(down, reverse=True)
        assert down[0] - down[-1] >= 3


@pytest.mark.parametrize("noise", [0, 3, 8])
@pytest.mark.parametrize("slope", [0, 70])
def test_a_sheet_without_ink_becomes_empty(noise: int, slope: int) -> None:
    rng = np.random.default_rng(0)
    sheet = 200 - np.linspace(0, slope, 200) + rng.normal(0, noise, (150, 200))
    assert not normalise_digit(sheet.astype(np.uint8)).any()


def test_a_single_pixel_is_a_blank_sheet() -> None:
    assert not normalise_digit(np.full((1, 1), 77, np.uint8)).any()


def test_light_noise_and_specks_do_not_change_the_digit() -> None:
    rng = np.random.default_rng(1)
    light = 235 - np.linspace(0, 110, 280)
    photo = np.where(SEVEN > 0, 50, light) + rng.normal(0, 8, SEVEN.shape)
    photo[rng.integers(0, 280, 20), rng.integers(0, 280, 20)] = 0
    image = normalise_digit(np.clip(photo, 0, 255).astype(np.uint8)).astype(int)
    assert np.abs(image - normalise_digit(SEVEN)).mean() < 3


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(DataError, match="no pixels"):
        normalise_digit(np.zeros((0, 4), np.uint8))


# The sample digits


def test_the_sample_digits_are_what_their_script_draws(tmp_path: Path) -> None:
    main = runpy.run_path(str(EXAMPLES / "make_digits.py"))["main"]
    main(tmp_path / "once")
    main(tmp_path / "twice")
    names = sorted(path.name for path in (EXAMPLES / "digits").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "once").iterdir())
    for name in names:
        once, shipped = tmp_path / "once" / name, EXAMPLES / "digits" / name
        assert once.read_bytes() == (tmp_path / "twice" / name).read_bytes()
        if name.endswith(".csv"):
            assert once.read_bytes() == shipped.read_bytes()
            continue
        assert shipped.stat().st_size < 8_000
        # Another build of zlib or of the maths library may give other bytes, not another picture.
        difference = open_image(once).astype(int) - open_image(shipped)
        assert np.abs(difference).mean() < 0.5
