"""A copy shows what was read at its place, legible at any size."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowscan.batch.annotate import AMBER, BLUE, GREEN, RED, annotated_path, colour, draw, save
from rowscan.batch.items import End, Job, Picture
from rowscan.batch.read import read_picture
from rowscan.errors import RowscanError
from rowscan.reader import Reader
from rowscan.reading import Character, Line, Reading


def _reading(
    *, width: int, height: int, confidences: list[float], at: tuple[int, int], size: int
) -> Reading:
    """A line of digits of this size from a corner on, with gaps as wide as a digit."""
    x, y = at
    digits = tuple(
        Character(str(place % 10), sure, (x + 2 * size * place, y, size, size), None)
        for place, sure in enumerate(confidences)
    )
    box = (x, y, 2 * size * len(digits) - size, size)
    lines = (Line(digits, 0.9, box),) if digits else ()
    return Reading(width=width, height=height, lines=lines, confidence=0.9)


def _where(image: PIL.Image.Image, wanted: tuple[int, int, int]) -> np.ndarray:
    """Boxes do not blend, so their colour is exact."""
    pixels: np.ndarray = (np.asarray(image) == wanted).all(2)
    return pixels


def test_boxes_frame_the_digits_without_covering_them() -> None:
    picture = np.full((300, 400, 3), 230, np.uint8)
    rng = np.random.default_rng(0)
    picture[120:170] = rng.integers(0, 200, (50, 400, 3))
    reading = _reading(width=400, height=300, confidences=[0.99, 0.7, 0.3], at=(40, 120), size=50)
    copy = draw(picture, reading)
    assert copy.size == (400, 300)
    pixels = np.asarray(copy)
    for place, wanted in enumerate([GREEN, AMBER, RED]):
        left = 40 + 100 * place
        assert np.array_equal(pixels[120:170, left : left + 50], picture[120:170, left : left + 50])
        frame = _where(copy, wanted)
        for side in (frame[120:170, left - 1], frame[120:170, left + 50]):
            assert side.all()
        for side in (frame[119, left : left + 50], frame[170, left : left + 50]):
            assert side.all()
    assert _where(copy, BLUE)[120:170, :40].any()  # the box of the line
    assert (picture[:120] == 230).all()  # the picture itself is unchanged


def test_the_text_is_above_its_line() -> None:
    picture = np.full((300, 400), 230, np.uint8)
    copy = draw(
        picture, _reading(width=400, height=300, confidences=[0.99] * 3, at=(40, 120), size=50)
    )
    plate = np.asarray(copy.crop((40, 60, 200, 112)))
    assert (plate == 255).all(2).mean() > 0.1
    dark = (plate.sum(2) < 350).mean()  # the text on it
    assert 0.02 < dark < 0.5


def test_a_text_covers_no_other_line_and_no_other_text() -> None:
    """Of close lines, the first has its text above it, the others beside them."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 200, (300, 400, 3), dtype=np.uint8)
    lines = tuple(
        _reading(width=400, height=300, confidences=[0.99] * 2, at=(20, y), size=50).lines[0]
        for y in (100, 156, 212)
    )
    copy = np.asarray(draw(picture, Reading(width=400, height=300, lines=lines, confidence=0.9)))
    for y in (100, 156, 212):
        for x in (20, 120):
            assert np.array_equal(
                copy[y + 3 : y + 47, x : x + 50], picture[y + 3 : y + 47, x : x + 50]
            )
    plates = [copy[60:95, 22:60], copy[156:206, 180:240], copy[212:262, 180:240]]
    assert all((plate == 255).all(2).mean() > 0.1 for plate in plates)


def test_low_confidence_has_the_thicker_box() -> None:
    picture = np.full((300, 400, 3), 230, np.uint8)
    reading = _reading(width=400, height=300, confidences=[0.99, 0.3], at=(40, 120), size=50)
    copy = draw(picture, reading)
    assert _where(copy, RED).sum() > 1.5 * _where(copy, GREEN).sum()


@pytest.mark.parametrize(
    ("size", "at", "digit"),
    [
        ((12, 12), (2, 2), 8),
        ((28, 28), (4, 4), 20),
        ((20000, 20), (19900, 1), 18),
        ((20, 20000), (1, 19900), 18),
        ((4000, 3000), (2000, 1500), 12),
        ((1, 1), (0, 0), 1),
    ],
)
def test_the_text_is_legible_at_any_size(
    size: tuple[int, int], at: tuple[int, int], digit: int
) -> None:
    width, height = size
    picture = np.full((height, width), 255, np.uint8)
    copy = draw(
        picture, _reading(width=width, height=height, confidences=[0.99], at=at, size=digit)
    )
    written = np.asarray(copy).astype(int)
    ink = np.argwhere((written[..., 1] - written[..., 0] > 60) & (written[..., 1] < 140))
    assert np.ptp(ink[:, 0]) >= 8  # a font of 14 pixels
    assert copy.width * copy.height < max(10 * width * height, 6_000_000)


def test_without_digits_the_copy_is_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    reading = _reading(width=40, height=30, confidences=[], at=(0, 0), size=1)
    assert np.array_equal(np.asarray(draw(picture, reading)), picture)


def test_colours_follow_confidence() -> None:
    assert [colour(sure) for sure in (1.0, 0.95, 0.9, 0.6, 0.59, 0.0)] == [
        *[GREEN] * 2,
        *[AMBER] * 2,
        *[RED] * 2,
    ]


@pytest.mark.parametrize(
    ("path", "page", "name"),
    [
        ("scans/a/b.png", 1, "a/b.png"),
        ("scans/b.JPG", 1, "b.JPG"),
        ("scans/b.gif", 1, "b.gif.png"),
        ("scans/b.tif", 3, "b.tif-3.png"),
        ("scans/noname", 1, "noname.png"),
        ("-", 2, "standard-input-2.png"),
    ],
)
def test_names_of_copies(path: str, page: int, name: str) -> None:
    found = annotated_path(path, Path("out"), base=Path("scans"), page=page)
    assert found == Path("out") / name


parts = st.text(st.sampled_from("ab."), min_size=1, max_size=4).filter(lambda s: s.strip("."))
below = st.lists(parts, min_size=1, max_size=3).map("/".join)


@given(st.lists(below.map(lambda path: f"in/{path}.png"), min_size=2, unique=True))
@settings(deadline=None)
def test_copies_of_different_pictures_have_different_paths(paths: list[str]) -> None:
    targets = [annotated_path(path, Path("out"), base=Path("in"), page=1) for path in paths]
    assert len(set(targets)) == len(paths)
    for target in targets:
        assert os.path.normpath(target).startswith("out/")


@pytest.mark.parametrize("name", ["copy.png", "copy.jpg", "copy.JPEG"])
def test_a_copy_is_saved_as_its_name_says(name: str, tmp_path: Path) -> None:
    image = PIL.Image.new("RGB", (40, 30), GREEN)
    save(image, tmp_path / "deep" / name)
    with PIL.Image.open(tmp_path / "deep" / name) as back:
        assert back.format == ("PNG" if name.endswith("png") else "JPEG")
        assert np.abs(np.asarray(back).astype(int) - GREEN).max() < 8
    assert [path.name for path in (tmp_path / "deep").iterdir()] == [name]


def test_a_copy_that_cannot_be_saved_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(RowscanError, match=r"long\.jpg: cannot be encoded: "):
        save(PIL.Image.new("L", (70_000, 1)), tmp_path / "long.jpg")  # the limit of JPEG is 65,535
    (tmp_path / "file").touch()
    with pytest.raises(RowscanError, match=r"x\.png: cannot be written: "):
        save(PIL.Image.new("L", (1, 1)), tmp_path / "file" / "x.png")


@pytest.mark.parametrize("name", ["copy.png", "copy.jpg"])
def test_a_copy_is_no_input_of_a_later_run(name: str, tmp_path: Path) -> None:
    save(PIL.Image.new("RGB", (90, 60), "white"), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for picture in (Picture(str(tmp_path / name)), Picture("shard.tar/1.png", content)):
        (end,) = read_picture(picture, Reader(), Job())
        assert end == End(picture.path, left_out="annotated copies")
