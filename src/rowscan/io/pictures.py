"""Pictures: the one decoder, from files of any kind to upright pixels. It finds nothing in them."""

import io
import itertools
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.ExifTags
import PIL.Image

from rowscan.arrays import Shaped, UInt8
from rowscan.errors import DataError, TooLargeError, UnsupportedFormatError, reason_of, requires
from rowscan.io.pdf import draw_pages
from rowscan.io.storage import read_bytes

Source = str | Path | bytes | PIL.Image.Image | Shaped[np.ndarray, "..."]
"""A picture: path or address, content of a file, Pillow image, or array (height, width) of grey or
(height, width, 3 or 4) of colour."""

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

SUFFIXES = frozenset({".pdf"}.union(*FORMATS.values()))
"""How the names of pictures end, in lower case."""

_RAW = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})
"""What a camera's sensor saw, of which Pillow would read the thumbnail."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
"""Major brands of HEIF files with HEVC: ISO/IEC 23008-12, annex B."""

MANY_PAGES = frozenset({".tif", ".tiff", ".pdf"})
"""Those that can hold several pages. Of an animation only the first frame counts."""

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


def is_picture_name(name: str) -> bool:
    """Whether a file of this name in a folder or shard is a picture."""
    return suffix(name) in SUFFIXES


def suffix(name: str) -> str:
    """How the name of a file ends, in lower case: ".png"."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def open_image(
    source: Source, *, colour: bool = False, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "height width *rgb"]:
    """The picture, upright, polarity as stored; the first page of a file that has several.

    EXIF orientation is applied, transparency is laid over white.

    Args:
        source: the picture.
        colour: keep red, green and blue if they differ; else grey levels.
        max_pixels: a larger picture is refused before it is decoded.

    Returns:
        (height, width) of grey levels, or with `colour` perhaps (height, width, 3).

    Raises:
        DataError: the source cannot be read, is not an image or is damaged.
        TooLargeError: it has more than `max_pixels`.
        MissingExtraError: a PDF, and the package that opens it is not installed.
    """
    return next(open_pages(source, colour=colour, max_pixels=max_pixels))


def open_pages(
    source: Source,
    *,
    colour: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_pages: int | None = None,
) -> Iterator[UInt8[np.ndarray, "height width *rgb"]]:
    """All pages of a TIFF or PDF one after the other; of other files the one picture.

    Arguments and errors are those of `open_image`; an error is raised when its page is reached, and
    before the first page a TooLargeError if there are more than `max_pages`.
    """
    pages = open_reduced(
        source, max_pixels, colour=colour, max_pixels=max_pixels, max_pages=max_pages
    )
    return (pixels for pixels, _ in pages)


def open_reduced(
    source: Source,
    enough: int,
    *,
    colour: bool = True,
    max_pixels: int = MAX_PIXELS,
    max_pages: int | None = None,
    first: int = 1,
) -> Iterator[tuple[UInt8[np.ndarray, "height width *rgb"], tuple[int, int]]]:
    """As `open_pages`, but a JPEG may be decoded smaller, in a fraction of time and memory.

    Args:
        source: the pictures.
        enough: the pixels that are needed; a picture is never reduced to fewer.
        colour: as for `open_image`.
        max_pixels: as for `open_image`.
        max_pages: as for `open_pages`.
        first: the page to begin with, from 1; those before it are not decoded.

    Yields:
        The picture, and its full width and height in pixels.
    """
    name = str(source) if isinstance(source, (str, Path)) else "image"
    decoder = _Decoder(name, colour, enough, max_pixels, max_pages, first)
    if isinstance(source, np.ndarray):
        yield decoder.page(_from_array(source), max_pixels)
    elif isinstance(source, PIL.Image.Image):
        yield decoder.page(source, max_pixels)
    else:
        yield from decoder.pages(source if isinstance(source, bytes) else read_bytes(source))


def identify(
    content: bytes,
    name: str = "image",
    *,
    formats: tuple[str, ...] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> PIL.Image.Image:
    """Open a picture without decoding its pixels.

    Args:
        content: the file.
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
            image = PIL.Image.open(io.BytesIO(content), formats=known)
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
        raise DataError(name, f"damaged or unsupported image: {reason_of(error)}") from None


def _check_size(image: PIL.Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if image.format not in (None, "JPEG", "MPO"):  # a JPEG is decoded smaller
        max_pixels = min(max_pixels, _MAX_BYTES // _bytes_per_pixel(image))
    if width * height > max_pixels:
        raise TooLargeError(name, f"{width} x {height} pixels: {_more_than(max_pixels)}")
    if width * height == 0:
        raise DataError(name, "it has no pixels")


def _bytes_per_pixel(image: PIL.Image.Image) -> int:
    """Of the decoded picture in memory."""
    if image.format == "WEBP":  # its decoder has a copy, in RGBA
        return 8
    return len(image.getbands()) * (2 if "16" in image.mode else 4 if image.mode in "IF" else 1)


def _more_than(max_pixels: int) -> str:
    return f"more than {max_pixels / 1e6:g} megapixels"


@dataclass(frozen=True)
class _Decoder:
    """Decodes one source; the fields are arguments of `open_reduced`."""

    name: str
    colour: bool
    enough: int
    max_pixels: int
    max_pages: int | None
    first: int

    def pages(
        self, content: bytes
    ) -> Iterator[tuple[UInt8[np.ndarray, "height width *rgb"], tuple[int, int]]]:
        """The pages of a file, each with its full width and height."""
        if not content:
            raise DataError(self.name, "empty file")
        if b"%PDF-" in content[:1024]:  # ISO 32000-1, annex H.3: there may be something before it
            for drawn in draw_pages(
                content,
                self.name,
                max_pixels=self.max_pixels,
                max_pages=self.max_pages,
                first=self.first,
            ):
                yield self.page(_from_array(drawn), self.max_pixels)
            return
        _check_kind(content, self.name)
        with identify(content, self.name, max_pixels=self.max_pixels) as image:
            if self.max_pages is not None and self._has(image, self.max_pages):
                raise TooLargeError(self.name, f"more than {self.max_pages} pages")
            for number in itertools.count(self.first - 1):
                if not self._has(image, number):
                    return
                yield self.page(image, self.enough)

    def page(
        self, image: PIL.Image.Image, enough: int
    ) -> tuple[UInt8[np.ndarray, "height width *rgb"], tuple[int, int]]:
        """The pixels, upright, and the full width and height."""
        with _decoding(self.name, self.max_pixels):
            width, height = image.size
            _check_size(image, self.name, self.max_pixels)
            shrink = math.isqrt(width * height // enough)
            if shrink > 1:  # Pillow can do this for JPEG, by powers of two
                image.draft(image.mode, (width // shrink, height // shrink))
                shrink = math.isqrt(image.width * image.height // enough)
            # Pillow turns a TIFF by itself.
            turn = 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)
            if turn in _TRANSPOSED:
                width, height = height, width
            levels = _levels(image, self.name, self.colour, max(1, shrink))
            return _turned(levels, turn), (width, height)

    def _has(self, image: PIL.Image.Image, number: int) -> bool:
        """Go to a page, counted from 0, if there is one: files can have millions."""
        if image.format != "TIFF":
            return number == 0
        with _decoding(self.name, self.max_pixels):
            try:
                image.seek(number)
            except EOFError:
                return False
        return True


def _check_kind(content: bytes, name: str) -> None:
    """Refuse photos as the sensor saw them; teach Pillow HEIF where the file is one."""
    if suffix(name) in _RAW:
        raise UnsupportedFormatError(name, "a RAW photo; save it as JPEG, TIFF or PNG first")
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS:
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
    if image.mode.startswith("I"):  # more than 8 bits, which Pillow would clip, not scale
        levels = np.clip(np.asarray(image), 0, 65535)
        bits = next(bits for bits in _DEPTHS if levels.max() < 2**bits)
        image = PIL.Image.fromarray(np.asarray(levels // ((2**bits - 1) // 255), np.uint8))
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
