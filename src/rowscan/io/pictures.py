"""Pictures: the one decoder, from files of any kind to upright pixels. It finds nothing in them."""

import io
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps

from rowscan.arrays import Shaped, UInt8
from rowscan.errors import DataError, TooLargeError, UnsupportedFormatError, reason_of, requires
from rowscan.io.storage import read_bytes

Source = str | Path | bytes | PIL.Image.Image | Shaped[np.ndarray, "..."]
"""A picture: path or address, content of a file, Pillow image, or array (height, width) of grey or
(height, width, 3 or 4) of colour."""

MAX_PIXELS = 100_000_000
"""Default of `max_pixels`. Pillow itself refuses files of more than 178,956,970."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".pdf"})
"""How the names of pictures end, in lower case."""

MANY_PAGES = frozenset({".tif", ".tiff", ".pdf"})
"""Those that can hold several pages. Of an animation only the first frame counts."""

_PDF_DPI = 200
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
) -> Iterator[tuple[UInt8[np.ndarray, "height width *rgb"], tuple[int, int]]]:
    """As `open_pages`, but a JPEG may be decoded smaller, in a fraction of time and memory.

    Args:
        source: the pictures.
        enough: the pixels that are needed; a picture is never reduced to fewer.
        colour: as for `open_image`.
        max_pixels: as for `open_image`.
        max_pages: as for `open_pages`.

    Yields:
        The picture, and its full width and height in pixels.
    """
    name = str(source) if isinstance(source, (str, Path)) else "image"
    decoder = _Decoder(name, colour, enough, max_pixels, max_pages)
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
            image = PIL.Image.open(io.BytesIO(content), formats=formats)
        except PIL.UnidentifiedImageError:
            of = f" of the formats {', '.join(formats)}" if formats else ""
            raise UnsupportedFormatError(name, f"not an image{of}") from None
        _check_size(image.width, image.height, name, max_pixels)
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


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLargeError(name, f"{width} x {height} pixels: {_more_than(max_pixels)}")
    if width * height == 0:
        raise DataError(name, "it has no pixels")


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

    def pages(
        self, content: bytes
    ) -> Iterator[tuple[UInt8[np.ndarray, "height width *rgb"], tuple[int, int]]]:
        """The pages of a file, each with its full width and height."""
        if not content:
            raise DataError(self.name, "empty file")
        if content.startswith(b"%PDF-"):
            for drawn in self._pdf_pages(content):
                yield self.page(drawn, self.max_pixels)
            return
        with identify(content, self.name, max_pixels=self.max_pixels) as image:
            with _decoding(self.name, self.max_pixels):
                count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            self._check_pages(count)
            for number in range(count):
                yield self.page(image, self.enough, number)

    def page(
        self, image: PIL.Image.Image, enough: int, number: int = 0
    ) -> tuple[UInt8[np.ndarray, "height width *rgb"], tuple[int, int]]:
        """The pixels, upright, and the full width and height."""
        with _decoding(self.name, self.max_pixels):
            if number:
                image.seek(number)
            width, height = image.size
            _check_size(width, height, self.name, self.max_pixels)
            shrink = math.isqrt(width * height // enough)
            if shrink > 1:  # Pillow can do this for JPEG, by powers of two
                image.draft(image.mode, (width // shrink, height // shrink))
            # Pillow turns a TIFF by itself.
            if image.format != "TIFF" and image.getexif().get(_ORIENTATION, 1) in _TRANSPOSED:
                width, height = height, width
            return _levels(image, self.name, self.colour), (width, height)

    def _check_pages(self, count: int) -> None:
        if self.max_pages is not None and count > self.max_pages:
            raise TooLargeError(self.name, f"{count} pages: more than {self.max_pages}")

    def _pdf_pages(self, content: bytes) -> Iterator[PIL.Image.Image]:
        """Each page as printed at 200 dots an inch, or fewer if it is very large."""
        with requires("pdf", "reading PDF"):
            import pypdfium2
        try:
            with closing(pypdfium2.PdfDocument(content)) as document:
                if not len(document):
                    raise DataError(self.name, "a PDF without pages")
                self._check_pages(len(document))
                for number in range(len(document)):
                    page = document[number]
                    inches = page.get_width() / 72 * page.get_height() / 72
                    dpi = min(_PDF_DPI, (self.max_pixels / 4 / max(inches, 1e-6)) ** 0.5)
                    picture = page.render(scale=dpi / 72).to_pil()
                    page.close()
                    yield picture
        except pypdfium2.PdfiumError as error:
            raise DataError(self.name, f"damaged or unsupported PDF: {error}") from None


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
    image: PIL.Image.Image, name: str, colour: bool
) -> UInt8[np.ndarray, "height width *rgb"]:
    if image.getexif().get(_ORIENTATION, 1) != 1:  # exif_transpose always copies
        image = PIL.ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip, not scale
        levels = np.clip(np.asarray(image), 0, 65535)
        few = image.mode == "I" and levels.max() <= 255  # 8 bits stored in 32
        return np.asarray(levels if few else levels // 257, np.uint8)
    if image.mode == "F":
        raise DataError(name, "floating-point pixels are not supported")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        laid = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
        if np.asarray(laid.convert("L")).min() > _ALL_WHITE:
            laid = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "black"), image)
        image = laid
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    if not colour or image.mode != "RGB":
        return np.array(image.convert("L"))
    pixels = np.array(image)
    return pixels[:, :, 0].copy() if _is_grey(pixels) else pixels


def _is_grey(pixels: UInt8[np.ndarray, "height width 3"]) -> bool:
    """Whether red, green and blue are equal everywhere; then one of them is enough."""
    for part in (pixels[::32, ::32], pixels):  # a sample is enough to see that a photo is coloured
        if (part[:, :, :1] != part[:, :, 1:]).any():
            return False
    return True
