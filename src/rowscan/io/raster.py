"""Raster: the content of a file to upright pixels, in this process and without limits of time.

`rowscan.io.pictures` says which files are decoded here and which by a process that has limits.
"""

import io
import itertools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import PIL.ExifTags
import PIL.Image

from rowscan.arrays import Shaped, UInt8
from rowscan.errors import DataError, TooLargeError, UnsupportedFormatError, reason_of, requires
from rowscan.io.pdf import draw_pages
from rowscan.io.storage import MAX_BYTES, TOO_MANY_BYTES, open_local

MAX_PIXELS = 100_000_000
"""Default of `max_pixels`. Pillow itself refuses files of more than 178,956,970."""

FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".pbm", ".pgm", ".ppm", ".pnm"),
    # Pillow loads these when the first picture is none of those above.
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "DIB": (".dib",),
    "HEIF": (".heic", ".heif"),
    "JPEG2000": (".jp2", ".j2k"),
    "PCX": (".pcx",),
    "TGA": (".tga",),
}
"""The formats that are read, by Pillow's names, and how their files are called. Pillow knows
others; to open some of them it starts another program."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
"""Major brands of HEIF files with HEVC: ISO/IEC 23008-12, annex B."""

_DEPTHS = (8, 10, 12, 14, 16)
"""Bits of a sample that scanners store in 16 bits."""
_MAX_BYTES = 300_000_000
"""Of a decoded picture: 100 megapixels in colour, 75 with transparency."""
_STRIP = 1_000_000
"""Pixels of a large picture that are converted at once, so that there is no second copy of it."""
_ORIENTATION = PIL.ExifTags.Base.Orientation
_TRANSPOSED = (5, 6, 7, 8)
"""Orientations that swap width and height."""

_ALL_WHITE = 200  # a transparent picture without anything darker shows its ink on black


class Opened(NamedTuple):
    """A page, upright."""

    pixels: UInt8[np.ndarray, "height width *rgb"]
    """Perhaps reduced."""
    size: tuple[int, int]
    """Full width and height."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to decode, and how."""

    source: bytes | str
    """The content of a file, or where a local one is."""
    name: str = "image"
    """The name of the file in errors."""
    enough: int
    """The pixels that are needed; a picture is never reduced to fewer."""
    colour: bool = True
    """Keep red, green and blue if they differ; else grey levels."""
    max_pixels: int = MAX_PIXELS
    """A larger picture is refused before it is decoded."""
    max_pages: int | None = None
    """A document of more pages is refused before the first is decoded."""
    first: int = 1
    """The page to begin with; those before it are not decoded."""
    count: int | None = None
    """Pages to decode; by default all."""


def decode(request: Request) -> Iterator[Opened]:
    """The pages of a TIFF or PDF, each when it is asked for; of other files the one picture.

    Raises:
        DataError: not a picture, or a damaged one.
        TooLargeError: more bytes, pixels or pages.
        MissingExtraError: the package that opens it is not installed.
    """
    source = request.source
    with io.BytesIO(source) if isinstance(source, bytes) else open_local(source) as file:
        yield from itertools.islice(_pages(file, request), request.count)


def decode_array(array: Shaped[np.ndarray, "..."], request: Request) -> Opened:
    """A picture that is an array, as `decode`: grey, red, green and blue, perhaps with opacity."""
    return decode_image(_from_array(array), request)


def decode_image(image: PIL.Image.Image, request: Request) -> Opened:
    """A picture that Pillow has opened, as `decode`."""
    with _decoding(request.name, request.max_pixels):
        width, height = image.size
        _check_size(image, request.name, request.max_pixels)
        shrink = math.isqrt(width * height // request.enough)
        if shrink > 1:  # Pillow can do this for JPEG, by powers of two
            image.draft(image.mode, (width // shrink, height // shrink))
            if image.format == "JPEG2000":  # it was halved already when it was written
                image.reduce = min(shrink.bit_length() - 1, _halved(image))  # type: ignore[method-assign, assignment]
                image.load()
            shrink = math.isqrt(image.width * image.height // request.enough)
        # Pillow turns a TIFF by itself.
        turn = 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)
        if turn in _TRANSPOSED:
            width, height = height, width
        levels = _levels(image, request.name, request.colour, max(1, shrink))
        return Opened(_turned(levels, turn), (width, height))


def _halved(image: PIL.Image.Image) -> int:
    """How often a JPEG 2000 is there at half the size: marker COD, ISO/IEC 15444-1, annex A."""
    file = image.fp  # type: ignore[attr-defined]
    file.seek(0)
    head = file.read(65_536)
    at = head.find(b"\xff\x4f\xff\x51") + 2  # start of the codestream, size
    while head[at] == 0xFF and head[at + 1] != 0x90:  # the first tile
        if head[at + 1] == 0x52:
            return int(head[at + 9])
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return 0


def is_pdf(head: bytes) -> bool:
    """Whether a file that begins like this is a PDF."""
    return b"%PDF-" in head[:1024]  # ISO 32000-1, annex H.3: there may be something before it


def identify(
    content: bytes | io.BufferedReader | io.BytesIO,
    name: str = "image",
    *,
    formats: tuple[str, ...] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> PIL.Image.Image:
    """Open a picture without decoding its pixels.

    Args:
        content: the file, or its content.
        name: its name in errors.
        formats: the formats of Pillow to try, by default all.
        max_pixels: a larger picture is refused.

    Raises:
        UnsupportedFormatError: it is not of one of the formats.
        TooLargeError: it has more than `max_pixels`.
        DataError: it is damaged.
    """
    with _decoding(name, max_pixels):
        try:
            known = [
                kind for kind in formats or FORMATS if kind != "HEIF" or kind in PIL.Image.OPEN
            ]
            image = PIL.Image.open(
                io.BytesIO(content) if isinstance(content, bytes) else content, formats=known
            )
        except PIL.UnidentifiedImageError:
            of = f" of the formats {', '.join(formats)}" if formats else ""
            raise UnsupportedFormatError(name, f"not an image{of}") from None
        _check_size(image, name, max_pixels)
        return image


@contextmanager
def _decoding(name: str, max_pixels: int) -> Iterator[None]:
    """Turn any error of a decoder into one of Rowscan: damaged bytes can cause every kind."""
    try:
        # Pillow warns of large sizes and of sloppy metadata.
        with warnings.catch_warnings(action="ignore"):
            yield
    except (DataError, MemoryError):
        raise
    except PIL.Image.DecompressionBombError:
        raise TooLargeError(name, _more_than(max_pixels)) from None
    except Exception as error:
        if "out of memory" in str(error):  # as Pillow says it where a decoder ran out of it
            raise MemoryError from None
        if "could not create decoder object" in str(error):  # for WebP it takes all memory at once
            reason = "a damaged WebP, or one of far more than 27 megapixels; save it as JPEG"
            raise DataError(name, reason) from None
        raise DataError(name, f"damaged or unsupported image: {reason_of(error)}") from None


def _check_size(image: PIL.Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    most, hint = max_pixels, ""
    if image.format not in (None, "JPEG", "MPO", "JPEG2000"):  # they are decoded smaller
        most = min(max_pixels, _MAX_BYTES // _bytes_per_pixel(image))
        hint = "; save it as JPEG" if most < max_pixels else ""
    if width * height > most:
        raise TooLargeError(name, f"{width} x {height} pixels: {_more_than(most)}{hint}")
    if width * height == 0:
        raise DataError(name, "it has no pixels")


def _bytes_per_pixel(image: PIL.Image.Image) -> int:
    """Of the decoded picture in memory."""
    if image.format == "WEBP":  # its decoder has copies, in RGBA: 410 MB for 24 megapixels
        return 11
    return len(image.getbands()) * (2 if "16" in image.mode else 4 if image.mode in "IF" else 1)


def _more_than(max_pixels: int) -> str:
    return f"more than {max_pixels / 1e6:.4g} megapixels"


def _pages(file: io.BufferedReader | io.BytesIO, request: Request) -> Iterator[Opened]:
    head = file.read(1024)
    if not head:
        raise DataError(request.name, "empty file")
    if is_pdf(head):
        content = head + file.read(MAX_BYTES)
        for drawn in draw_pages(
            content,
            request.name,
            max_pixels=request.max_pixels,
            max_pages=request.max_pages,
            first=request.first,
        ):
            yield decode_array(drawn, replace(request, enough=request.max_pixels))
        return
    if file.seek(0, io.SEEK_END) > MAX_BYTES:
        raise TooLargeError(request.name, TOO_MANY_BYTES)
    file.seek(0)
    _know_heif(head)
    with identify(file, request.name, max_pixels=request.max_pixels) as image:
        if request.max_pages is not None and _has_page(image, request.max_pages, request):
            raise TooLargeError(request.name, f"more than {request.max_pages} pages")
        for number in itertools.count(request.first - 1):
            if not _has_page(image, number, request):
                return
            yield decode_image(image, request)


def _has_page(image: PIL.Image.Image, number: int, request: Request) -> bool:
    """Go to a page, counted from 0, if there is one: files can have millions."""
    if image.format != "TIFF":
        return number == 0
    with _decoding(request.name, request.max_pixels):
        try:
            image.seek(number)
        except EOFError:
            return False
    return True


def _know_heif(head: bytes) -> None:
    """Teach Pillow HEIF where a file begins like one."""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        with requires("heic", "reading HEIC"):
            import pillow_heif
        pillow_heif.register_heif_opener()


def _from_array(array: Shaped[np.ndarray, "..."]) -> PIL.Image.Image:
    colours = array.shape[-1] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or colours not in (1, 3, 4):
        raise DataError(
            "image",
            "expected uint8 (height, width) or (height, width, 3 or 4), "
            f"got {array.dtype} {array.shape}",
        )
    if array.size == 0:
        raise DataError("image", "it has no pixels")
    return PIL.Image.fromarray(array if colours > 1 else array.reshape(len(array), -1))


def _levels(
    image: PIL.Image.Image, name: str, colour: bool, shrink: int
) -> UInt8[np.ndarray, "height width *rgb"]:
    """The pixels as stored, but smaller by a whole number."""
    if image.mode == "F":
        raise DataError(name, "floating-point pixels are not supported")
    if image.mode.startswith("I"):
        image = PIL.Image.fromarray(_of_8_bits(image))
    paper = _paper(image) if image.has_transparency_data else None
    if paper or shrink > 1:
        pixels = np.concatenate(
            [np.asarray(strip.reduce(shrink)) for strip in _strips(image, paper, shrink)]
        )
    else:
        pixels = np.array(image if image.mode in ("L", "RGB") else _plain(image))
    if pixels.ndim == 3 and _is_grey(pixels):
        return pixels[:, :, 0].copy()
    if pixels.ndim == 3 and not colour:
        return np.array(PIL.Image.fromarray(pixels).convert("L"))
    return pixels


def _of_8_bits(image: PIL.Image.Image) -> UInt8[np.ndarray, "height width"]:
    """Levels of more than 8 bits, which Pillow would clip, scaled by the bits that they use."""
    largest = min(int(np.max(image.getextrema())), 65535)
    factor = (2 ** next(bits for bits in _DEPTHS if largest < 2**bits) - 1) // 255
    levels = np.empty((image.height, image.width), np.uint8)
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        levels[top : top + rows] = strip.clip(0, 65535) // factor
    return levels


def _strips(image: PIL.Image.Image, paper: str | None, multiple: int) -> Iterator[PIL.Image.Image]:
    """The picture in strips of some rows, each opaque, in grey or in colour."""
    rows = multiple * max(1, _STRIP // (image.width * multiple))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if paper:
            strip = strip.convert("RGBA")
            strip = PIL.Image.alpha_composite(PIL.Image.new("RGBA", strip.size, paper), strip)
        yield _plain(strip)


def _plain(image: PIL.Image.Image) -> PIL.Image.Image:
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _paper(image: PIL.Image.Image) -> str:
    """What to lay a transparent picture over: white, or black where its ink is as bright."""
    darkest = min(int(np.asarray(s.convert("L")).min()) for s in _strips(image, "white", 1))
    return "white" if darkest <= _ALL_WHITE else "black"


def _turned(
    levels: UInt8[np.ndarray, "rows columns *rgb"], orientation: int
) -> UInt8[np.ndarray, "height width *rgb"]:
    """Upright, from how it is stored: the values of Orientation in EXIF."""
    if orientation in _TRANSPOSED:
        levels = levels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        levels = levels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        levels = levels[::-1]
    return np.ascontiguousarray(levels)


def _is_grey(pixels: UInt8[np.ndarray, "height width 3"]) -> bool:
    """Whether red, green and blue are equal everywhere; then one of them is enough."""
    for part in (pixels[::32, ::32], pixels):  # a sample is enough to see that a photo is coloured
        if (part[:, :, :1] != part[:, :, 1:]).any():
            return False
    return True
