"""Pictures are decoded as they are meant, page by page, and other files give one line."""

import io
import re
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.TiffImagePlugin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowscan.errors import (
    DataError,
    MissingExtraError,
    TooLargeError,
    UnsupportedFormatError,
)
from rowscan.io.decoder import Decoder
from rowscan.io.pictures import Source, is_quick, open_image, open_pages, open_reduced
from rowscan.io.raster import Request, decode, identify

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def _encoded(image: PIL.Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_every_kind_of_source_gives_the_same_levels(tmp_path: Path) -> None:
    image = PIL.Image.fromarray(RAMP)
    path = tmp_path / "ramp.png"
    image.save(path)
    for source in (path, str(path), path.read_bytes(), image, RAMP, RAMP[..., None]):
        assert np.array_equal(open_image(source), RAMP)


def test_the_result_is_a_copy_of_an_array() -> None:
    source = RAMP.copy()
    open_image(source)[:] = 0
    assert np.array_equal(source, RAMP)


def test_colours_become_luma_of_rec_601() -> None:
    colour = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert open_image(colour).tolist() == [[76, 150, 29]]


def test_cmyk() -> None:
    cyan, key = (255, 0, 0, 0), (0, 0, 0, 255)
    image = PIL.Image.new("CMYK", (2, 1))
    image.putdata([cyan, key])
    levels = open_image(_encoded(image, "TIFF"))
    assert levels.tolist() == [[round(0.587 * 255 + 0.114 * 255), 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    # How a camera stores an upright picture under each orientation, from the EXIF specification.
    stored = {
        1: RAMP,
        2: RAMP[:, ::-1],
        3: RAMP[::-1, ::-1],
        4: RAMP[::-1],
        5: RAMP.T,
        6: np.rot90(RAMP, 1),
        7: RAMP[::-1, ::-1].T,
        8: np.rot90(RAMP, -1),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        content = _encoded(PIL.Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif)
        ((pixels, size),) = open_reduced(content, RAMP.size)
        assert np.array_equal(pixels, RAMP)
        assert size == (RAMP.shape[1], RAMP.shape[0])


def test_transparency_is_laid_over_white() -> None:
    half = np.array([[[0, 0, 0, 0], [0, 0, 0, 128], [100, 100, 100, 255]]], np.uint8)
    assert open_image(half).tolist() == [[255, 127, 100]]
    grey = PIL.Image.fromarray(half).convert("LA")
    assert open_image(_encoded(grey)).tolist() == [[255, 127, 100]]


def test_white_ink_on_transparency_is_laid_over_black() -> None:
    chalk = np.array([[[255, 255, 255, 0], [255, 255, 255, 128], [240, 240, 240, 255]]], np.uint8)
    assert open_image(chalk).tolist() == [[0, 128, 240]]


def test_a_palette_and_its_transparent_colour() -> None:
    image = PIL.Image.new("P", (3, 1))
    image.putpalette([10, 10, 10, 200, 200, 200, 0, 0, 0])
    image.putdata([0, 1, 2])
    assert open_image(_encoded(image)).tolist() == [[10, 200, 0]]
    assert open_image(_encoded(image, transparency=2)).tolist() == [[10, 200, 255]]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    wide = np.array([[0, 257 * 100, 65535]], np.uint16)
    assert open_image(_encoded(PIL.Image.fromarray(wide))).tolist() == [[0, 100, 255]]
    assert open_image(_encoded(PIL.Image.fromarray(wide), "TIFF")).tolist() == [[0, 100, 255]]


def test_eight_bits_stored_in_more_are_not_scaled() -> None:
    levels = PIL.Image.fromarray(np.array([[0, 100, 255]], np.int32))
    assert open_image(levels).tolist() == [[0, 100, 255]]
    assert open_image(_encoded(levels, "TIFF")).tolist() == [[0, 100, 255]]


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_samples_are_scaled_by_the_bits_that_they_use(bits: int) -> None:
    most = 2**bits - 1
    content = _encoded(PIL.Image.fromarray(np.array([[0, most // 2, most]], np.uint16)))
    assert open_image(content)[0].tolist() == pytest.approx([0, 127, 255], abs=1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
        ("JPEG2000", {}),
        ("PPM", {}),
        ("TGA", {}),
        ("DIB", {}),
        ("MPO", {"quality": 100}),
    ],
)
def test_further_formats_are_read(kind: str, options: dict[str, object]) -> None:
    content = _encoded(PIL.Image.fromarray(RAMP.repeat(8, 0).repeat(8, 1)), kind, **options)
    assert open_image(content)[4::8, 4::8].ravel().tolist() == pytest.approx(
        RAMP.ravel().tolist(), abs=3
    )


def test_heic_is_read_where_its_extra_is_installed() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    large = PIL.Image.fromarray(RAMP.repeat(32, 0).repeat(32, 1))
    pillow_heif.from_pillow(large).save(buffer, quality=100)
    assert abs(open_image(buffer.getvalue())[16::32, 16::32].astype(int) - RAMP).max() < 6


def test_heic_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[heic\]"):
        list(decode(Request(source=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", enough=1)))


def test_a_raw_photo_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.dng"
    PIL.Image.fromarray(RAMP).save(path, "TIFF")
    with pytest.raises(UnsupportedFormatError, match=r"photo.dng: a RAW photo"):
        open_image(path)


def test_no_other_program_is_started_for_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow opens PostScript by Ghostscript, whatever the name of the file."""
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(subprocess, "check_call", None)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\nshowpage\n"
    with pytest.raises(UnsupportedFormatError, match="not an image"):
        list(decode(Request(source=script, enough=1)))


def test_one_bit() -> None:
    image = PIL.Image.fromarray(RAMP > 100)
    assert np.array_equal(open_image(_encoded(image)), np.where(RAMP > 100, 255, 0))


def test_the_first_of_several_frames() -> None:
    frames = [PIL.Image.fromarray(RAMP), PIL.Image.fromarray(255 - RAMP)]
    content = _encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert np.array_equal(open_image(content), RAMP)


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def _png_header(width: int, height: int) -> bytes:
    """A grey PNG whose pixels are missing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"")


PNG = _encoded(PIL.Image.fromarray(np.arange(10000, dtype=np.uint8).reshape(100, 100)))
JPEG = _encoded(PIL.Image.effect_noise((100, 100), 50), "JPEG")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"filename,label\n", "not an image"),
        (PNG[: len(PNG) // 2], "damaged or unsupported image: "),
        (JPEG[: len(JPEG) // 2], "damaged or unsupported image: "),
        (PNG[:20], "damaged or unsupported image: "),
        # Without pixels: decoding it first would report damage instead.
        (_png_header(10_001, 10_000), "10001 x 10000 pixels: more than 100 megapixels"),
        (_png_header(60_000, 60_000), "more than 100 megapixels"),
        (_png_header(0, 5), ""),
    ],
)
def test_other_files_are_refused_in_one_line(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        open_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {reason}")
    assert "\n" not in message


def test_a_hundred_megapixels_are_not_too_many() -> None:
    with pytest.raises(DataError, match="damaged"):  # and not: too large
        open_image(_png_header(10_000, 10_000))


@pytest.mark.parametrize(
    "source", [PNG, PIL.Image.open(io.BytesIO(PNG)), np.ones((100, 100), "u1")]
)
def test_the_limit_of_pixels_is_an_argument(source: Source) -> None:
    assert open_image(source, max_pixels=10_000).shape == (100, 100)
    with pytest.raises(TooLargeError, match=r"100 x 100 pixels: more than 0\.009999 meg"):
        open_image(source, max_pixels=9_999)
    with pytest.raises(TooLargeError):
        next(open_reduced(source, 5_000, max_pixels=9_999))


@pytest.mark.parametrize("kind", ["TIFF", "PDF"])
def test_one_begins_with_any_page(kind: str) -> None:
    content = _paged(kind)
    whole = list(open_reduced(content, 1_000_000))
    for first in (1, 2, 3, 4):
        found = list(open_reduced(content, 1_000_000, first=first))
        assert len(found) == max(0, 4 - first)
        for (pixels, size), (expected, size_of_it) in zip(found, whole[first - 1 :], strict=True):
            np.testing.assert_array_equal(pixels, expected)
            assert size == size_of_it


@pytest.mark.parametrize("kind", ["TIFF", "PDF"])
def test_the_limit_of_pages_is_an_argument(kind: str) -> None:
    if kind == "PDF":
        pytest.importorskip("pypdfium2")
    content = _paged(kind)
    assert len(list(open_pages(content, max_pages=3))) == 3
    with pytest.raises(TooLargeError, match="image: more than 2 pages"):
        next(open_pages(content, max_pages=2))


def test_a_picture_can_be_identified_without_decoding_it() -> None:
    with identify(PNG[: len(PNG) // 2], formats=("PNG",)) as image:  # its pixels are damaged
        assert (image.format, image.size) == ("PNG", (100, 100))
    with pytest.raises(UnsupportedFormatError, match="not an image of the formats GIF, TIFF"):
        identify(PNG, formats=("GIF", "TIFF"))
    with pytest.raises(TooLargeError):
        identify(_png_header(60_000, 60_000))
    with pytest.raises(TooLargeError):
        identify(PNG, max_pixels=9_999)


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        open_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="directory"):
        open_image(tmp_path)
    with pytest.raises(DataError, match="null"):
        open_image("a\0b")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2)),
        np.zeros(4, np.uint8),
        np.zeros((2, 2, 2), np.uint8),
        np.zeros((0, 3), "u1"),
    ],
)
def test_arrays_that_are_not_images(array: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"^image: "):
        open_image(array)


@given(st.binary(max_size=40), st.integers(0, len(JPEG) - 1))
@settings(max_examples=60, deadline=None)
def test_damage_is_always_a_data_error(junk: bytes, at: int) -> None:
    for whole in (JPEG, PNG):
        content = whole[:at] + junk + whole[at + len(junk) :]
        try:
            open_image(content)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 - an error may or may not come


# Pages

PAGES = [RAMP, 255 - RAMP, RAMP.T]


def _paged(kind: str, pages: list[np.ndarray] = PAGES, **options: object) -> bytes:
    first, *others = (PIL.Image.fromarray(np.ascontiguousarray(page)) for page in pages)
    return _encoded(first, kind, save_all=True, append_images=others, **options)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "group4"])
def test_all_pages_of_a_tiff(compression: str | None, tmp_path: Path) -> None:
    pages = PAGES
    if compression == "group4":  # fax compression: one bit a pixel
        pages = [np.where(page > 100, np.uint8(255), np.uint8(0)) for page in PAGES]
        one_bit = [PIL.Image.fromarray(page).convert("1") for page in pages]
        options = {"compression": compression, "save_all": True, "append_images": one_bit[1:]}
        content = _encoded(one_bit[0], "TIFF", **options)
    else:
        content = _paged("TIFF", compression=compression)
    path = tmp_path / "pages.tif"
    path.write_bytes(content)
    for source in (content, path):
        found = list(open_pages(source))
        assert len(found) == len(pages)
        assert all(np.array_equal(*pair) for pair in zip(found, pages, strict=True))


def test_pages_of_different_kinds_in_one_tiff() -> None:
    wide = PIL.Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16))
    colour = PIL.Image.new("RGB", (2, 1), (255, 0, 0))
    content = _encoded(wide, "TIFF", save_all=True, append_images=[colour])
    grey, red = open_pages(content, colour=True)
    assert grey.tolist() == [[0, 100, 255]]
    assert red.tolist() == [[[255, 0, 0]] * 2]


def test_pages_before_a_damaged_one_are_decoded() -> None:
    content = _paged("TIFF")
    with PIL.Image.open(io.BytesIO(content)) as image:
        assert isinstance(image, PIL.TiffImagePlugin.TiffImageFile)
        image.seek(2)
        place = image.tag_v2[273][0]  # of the pixels of the last page
        assert place > len(content) // 2
    pages = open_pages(content[:place])
    assert np.array_equal(next(pages), RAMP)
    with pytest.raises(DataError, match="image: damaged"):
        list(pages)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_only_the_first_frame_counts(kind: str) -> None:
    large = [np.kron(page, np.ones((20, 20), np.uint8)) for page in PAGES[:2]]
    (found,) = open_pages(_paged(kind, large))
    assert np.abs(found.astype(int) - large[0]).max() <= 12  # WebP loses a little


def test_all_pages_of_a_pdf(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    # At 200 dots an inch a pixel of the picture becomes a pixel of the page.
    large = [np.kron(page, np.ones((40, 40), np.uint8)) for page in PAGES]
    path = tmp_path / "scan.pdf"
    path.write_bytes(_paged("PDF", large, resolution=200))
    for source in (path, path.read_bytes()):
        found = list(open_pages(source))
        assert len(found) == len(large)
        for page, expected in zip(found, large, strict=True):
            height, width = expected.shape
            assert page.shape[0] in (height, height + 1)  # PDFium rounds up
            assert page.shape[1] in (width, width + 1)
            assert np.abs(page[:height, :width].astype(int) - expected).mean() < 3  # JPEG inside


def test_a_very_large_page_of_a_pdf_is_rendered_smaller() -> None:
    pytest.importorskip("pypdfium2")
    content = _paged("PDF", [np.full((400, 400), 200, np.uint8)], resolution=1)  # 10 m
    (page,) = open_pages(content)
    assert 20_000_000 < page.size < 30_000_000


def _pdf(box: str, content: str, *more: str) -> bytes:
    """A PDF with a page of this MediaBox and content; further objects have numbers from 5."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [5 0 R] /NeedAppearances true >> >>",
        f"<< /Type /Pages /Kids [4 0 R] /Count 1 /MediaBox {box} >>",
        _stream("", content),
        "<< /Type /Page /Parent 2 0 R /Contents 3 0 R /Annots [5 0 R]"
        " /Resources << /XObject << /a 5 0 R >> >> >>",
        *more,
    ]
    body = "".join(f"{number} 0 obj {text} endobj\n" for number, text in enumerate(objects, 1))
    return f"%PDF-1.7\n{body}trailer << /Root 1 0 R >>\n".encode()


def _stream(entries: str, content: str) -> str:
    return f"<< {entries} /Length {len(content)} >> stream\n{content}\nendstream"


def test_fields_of_a_form_are_drawn() -> None:
    pytest.importorskip("pypdfium2")
    field = (
        "<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /V (88888) /Rect [10 10 190 90] /F 4 "
        "/DA (/Helv 60 Tf 0 g) /P 4 0 R >>"
    )
    (filled,) = open_pages(_pdf("[0 0 200 100]", "", field))
    (empty,) = open_pages(_pdf("[0 0 200 100]", "", field.replace("88888", "")))
    assert (filled < 100).sum() > (empty < 100).sum() + 1000


def _nested_forms(depth: int) -> bytes:
    """A page whose form draws the next one ten times, and so on: 10 ** depth in all."""
    forms = [
        _stream(
            "/Type /XObject /Subtype /Form /BBox [0 0 9 9] "
            f"/Resources << /XObject << /a {number} 0 R >> >>",
            "/a Do " * 10,
        )
        for number in range(6, 6 + depth)
    ]
    last = _stream("/Type /XObject /Subtype /Form /BBox [0 0 9 9]", "0 0 9 9 re f")
    return _pdf("[0 0 100 100]", "/a Do", *forms, last)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_pdf("[0 0 1000000000 0.001]", ""), "page 1: 1e+09 x 0.001 points: too narrow"),
        (_nested_forms(9), "page 1 takes more than 15 s or 450 MB to draw"),
    ],
    ids=["narrow", "nested"],
)
def test_a_pdf_cannot_take_all_memory(content: bytes, reason: str) -> None:
    pytest.importorskip("pypdfium2")
    code = """
import re, resource, sys
from pathlib import Path
from rowscan import DataError
from rowscan.io.pictures import open_pages
try:
    list(open_pages(sys.stdin.buffer.read()))
except DataError as error:
    print(error)
status = Path("/proc/self/status")
# The peak in getrusage begins with that of the process that started this one.
own = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) if status.exists() else 0
print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    said, kilobytes = done.stdout.decode().splitlines()
    assert said == f"image: {reason}"
    assert int(kilobytes) < 600_000


@pytest.mark.parametrize("cut", [9, 200, -300])
def test_a_damaged_pdf_is_refused_in_one_line(cut: int, tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    path = tmp_path / "scan.pdf"
    whole = _paged("PDF", [RAMP])
    path.write_bytes(whole[:cut] if cut > 0 else whole[:50] + b"%" * 300)
    with pytest.raises(DataError) as caught:
        list(open_pages(path))
    assert str(caught.value).startswith(f"{path}: damaged or unsupported PDF: ")
    assert "\n" not in str(caught.value)


def test_without_the_extra_the_error_says_what_to_install() -> None:
    code = """
import sys
import time
sys.modules["pypdfium2"] = None  # as if it were not installed
from rowscan.errors import MissingExtraError
from rowscan.io.pictures import open_image
try:
    open_image(b"%PDF-1.7")
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = r"reading PDF needs pypdfium2: pip install .*\[pdf\].*\n"
    assert re.fullmatch(expected, done.stdout)


@pytest.mark.parametrize(("kind", "orientation"), [("JPEG", 1), ("JPEG", 6), ("PNG", 1)])
def test_a_large_picture_is_reduced_and_its_full_size_is_given(kind: str, orientation: int) -> None:
    down, right = np.mgrid[0:600, 0:1000]
    image = PIL.Image.fromarray(np.uint8((down + right) / 1600 * 255)).convert("RGB")
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    content = _encoded(image, kind, exif=exif)
    ((pixels, size),) = open_reduced(content, 100_000)
    assert size == ((600, 1000) if orientation == 6 else (1000, 600))
    whole = open_image(content)
    assert whole.shape == (size[1], size[0])
    assert 100_000 <= pixels.size < whole.size / 3
    assert size == (2 * pixels.shape[1], 2 * pixels.shape[0])
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert abs(int(pixels[row, column]) - int(whole[row, column])) < 6


def test_a_small_jpeg_is_not_reduced() -> None:
    content = _encoded(PIL.Image.fromarray(RAMP.repeat(40, 0).repeat(40, 1)), "JPEG")
    ((pixels, _),) = open_reduced(content, 100_000)
    assert np.array_equal(pixels, open_image(content))


@pytest.mark.parametrize("sizes", [1, 6])
def test_a_jpeg_2000_is_decoded_smaller_if_it_holds_smaller_ones(sizes: int) -> None:
    ramp = PIL.Image.linear_gradient("L").resize((800, 600), PIL.Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    ramp.save(buffer, "JPEG2000", num_resolutions=sizes)
    ((pixels, size),) = open_reduced(buffer.getvalue(), 30_000)
    assert size == (800, 600)
    assert pixels.shape == (150, 200)
    np.testing.assert_allclose(pixels, np.asarray(ramp.reduce(4)), atol=2)


def test_a_webp_that_is_too_large_says_what_to_do() -> None:
    content = bytearray(_encoded(PIL.Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    at = content.index(b"VP8L") + 9  # 14 bits for each side
    for side, reason in ((5_999, "6000 x 6000 pixels: more than 27"), (9_999, "WebP, or one")):
        content[at : at + 4] = (side | side << 14).to_bytes(4, "little")
        with pytest.raises(DataError, match=reason + ".*megapixels; save it as JPEG"):
            open_image(bytes(content))


def _scans(count: int) -> bytes:
    """A progressive JPEG of 36 megapixels whose last scan is repeated: half a second for each."""
    content = _encoded(PIL.Image.new("L", (6000, 6000), 255), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last : last + 14] * count + content[-2:]


def test_what_can_take_long_is_decoded_elsewhere() -> None:
    quick = [_encoded(PIL.Image.fromarray(RAMP), kind) for kind in ("PNG", "JPEG")]
    slow = [_encoded(PIL.Image.fromarray(RAMP), kind) for kind in ("TIFF", "WEBP", "JPEG2000")]
    slow += [_scans(1), _encoded(PIL.Image.new("L", (9000, 9000)))]
    assert [is_quick(io.BytesIO(content)) for content in quick] == [True, True]
    assert [is_quick(io.BytesIO(content)) for content in slow] == [False] * 5


def test_a_jpeg_of_many_scans_ends_its_decoder_alone() -> None:
    decoder = Decoder()
    with pytest.raises(TooLargeError, match="time to decode"):
        list(decoder.pages(Request(source=_scans(5000), enough=1), deadline=time.monotonic() + 3))
    (page,) = decoder.pages(Request(source=_encoded(PIL.Image.fromarray(RAMP), "TIFF"), enough=1))
    decoder.close()
    assert page.size == RAMP.shape[::-1]
