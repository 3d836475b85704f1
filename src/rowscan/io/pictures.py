"""Pictures: from a file of any kind to upright arrays of pixels. It looks at no content."""

import io
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps

from rowscan.arrays import Shaped, UInt8
from rowscan.errors import DataError, requires
from rowscan.io.storage import read_bytes

Source = str | Path | bytes | PIL.Image.Image | Shaped[np.ndarray, "..."]
"""A picture: path or address, content of a file, Pillow image, or array (height, width) of grey or
(height, width, 3 or 4) of colour."""

MAX_PIXELS = 100_000_000
"""A picture with more is refused before it is decoded."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".pdf"})
"""How the names of pictures end, in small letters."""

MANY_PAGES = frozenset({".tif", ".tiff", ".pdf"})
"""Those of them that may hold several pages. Of an animation only the first frame counts."""

_TOO_LARGE = f"more than {MAX_PIXELS // 10**6} megapixels"
_PDF_DPI = 200
_ORIENTATION = PIL.ExifTags.Base.Orientation
_LYING = (5, 6, 7, 8)
"""Values of it with which width and height change places."""

_ALL_WHITE = 200  # a transparent picture in which nothing is darker shows its ink on black


def has_suffix_of_picture(name: str) -> bool:
    """Whether a file of this name counts in a folder or shard."""
    return suffix(name) in SUFFIXES


def suffix(name: str) -> str:
    """How the name of a file ends, in small letters."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def open_image(source: Source, *, colour: bool = False) -> UInt8[np.ndarray, "height width *rgb"]:
    """The picture, upright, polarity as stored; the first one of a file that holds several.

    EXIF orientation is obeyed, transparency is laid over white.

    Args:
        source: the picture.
        colour: leave red, green and blue where it has them; else grey levels.

    Returns:
        (height, width) of grey levels, or with `colour` perhaps (height, width, 3).

    Raises:
        DataError: no image, a damaged one, or one of more than 100 megapixels.
        MissingExtraError: a PDF, and the package that opens it is not installed.
    """
    return next(open_pages(source, colour=colour))


def open_pages(
    source: Source, *, colour: bool = False
) -> Iterator[UInt8[np.ndarray, "height width *rgb"]]:
    """All pages of a TIFF or PDF one after the other, of anything else the one picture.

    As `open_image`; an error is raised when its page is reached.
    """
    return (pixels for pixels, _ in open_reduced(source, MAX_PIXELS, colour=colour))


def open_reduced(
    source: Source, enough: int, *, colour: bool = True
) -> Iterator[tuple[UInt8[np.ndarray, "height width *rgb"], tuple[int, int]]]:
    """As `open_pages`, but a JPEG may come smaller, which takes a fraction of time and memory.

    Args:
        source: the pictures.
        enough: so many pixels will do; there are no fewer, unless the picture has fewer.
        colour: as for `open_image`.

    Yields:
        The picture, and the width and height in pixels that it really has.
    """
    if isinstance(source, np.ndarray):
        pixels = _from_array(source, colour)
        yield pixels, (pixels.shape[1], pixels.shape[0])
    elif isinstance(source, (PIL.Image.Image, bytes)):
        yield from _decode(source, "image", colour, enough)
    else:
        yield from _decode(read_bytes(source), str(source), colour, enough)


def _from_array(
    array: Shaped[np.ndarray, "..."], colour: bool
) -> UInt8[np.ndarray, "height width *rgb"]:
    colours = array.shape[-1] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or colours not in (1, 3, 4):
        raise DataError(
            "image",
            "expected uint8 (height, width) or (height, width, 3 or 4), "
            f"got {array.dtype} {array.shape}",
        )
    if array.size == 0:
        raise DataError("image", "it has no pixels")
    if colours > 1:
        return next(_decode(PIL.Image.fromarray(array), "image", colour, MAX_PIXELS))[0]
    grey = array.reshape(len(array), -1)
    _check_size(grey.shape[1], grey.shape[0], "image")
    return grey.copy()


def _decode(
    source: bytes | PIL.Image.Image, name: str, colour: bool, enough: int
) -> Iterator[tuple[UInt8[np.ndarray, "height width *rgb"], tuple[int, int]]]:
    if not source:
        raise DataError(name, "empty file")
    if isinstance(source, bytes) and source.startswith(b"%PDF-"):
        for drawn in _pdf_pages(source, name):
            yield _pixels(drawn, name, colour, MAX_PIXELS)
        return
    try:
        # Pillow warns of sizes and of sloppy metadata; neither is the caller's concern.
        with warnings.catch_warnings(action="ignore"):
            if isinstance(source, PIL.Image.Image):
                yield _pixels(source, name, colour, MAX_PIXELS)
                return
            with PIL.Image.open(io.BytesIO(source)) as image:
                pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
                for page in range(pages):
                    if pages > 1:
                        image.seek(page)
                    yield _pixels(image, name, colour, enough)
    except (DataError, MemoryError):
        raise
    except PIL.UnidentifiedImageError:
        raise DataError(name, "not an image") from None
    except PIL.Image.DecompressionBombError:
        raise DataError(name, _TOO_LARGE) from None
    except Exception as error:  # a decoder raises whatever damaged bytes lead it to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(name, f"damaged or unsupported image: {reason}") from None


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(name, f"{width} x {height} pixels: {_TOO_LARGE}")
    if width * height == 0:
        raise DataError(name, "it has no pixels")


def _pixels(
    image: PIL.Image.Image, name: str, colour: bool, enough: int
) -> tuple[UInt8[np.ndarray, "height width *rgb"], tuple[int, int]]:
    """The pixels, and the width and height that the picture really has, upright."""
    width, height = image.size
    _check_size(width, height, name)
    shrink = math.isqrt(width * height // enough)
    if shrink > 1:  # of its formats Pillow can do this for JPEG, by halves
        image.draft(image.mode, (width // shrink, height // shrink))
    # Pillow turns a TIFF by itself.
    if image.format != "TIFF" and image.getexif().get(_ORIENTATION, 1) in _LYING:
        width, height = height, width
    return _levels(image, name, colour), (width, height)


def _levels(
    image: PIL.Image.Image, name: str, colour: bool
) -> UInt8[np.ndarray, "height width *rgb"]:
    if image.getexif().get(_ORIENTATION, 1) != 1:  # a copy, even where nothing is turned
        image = PIL.ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip, not scale
        levels = np.clip(np.asarray(image), 0, 65535)
        few = image.mode == "I" and levels.max() <= 255  # 8 bits, of the 32 that there is room for
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
    """Whether red, green and blue are the same everywhere: a third of the work will do."""
    for part in (pixels[::32, ::32], pixels):  # a photo gives itself away soon
        if (part[:, :, :1] != part[:, :, 1:]).any():
            return False
    return True


def _pdf_pages(content: bytes, name: str) -> Iterator[PIL.Image.Image]:
    """Each page as it would be printed at 200 dots an inch, or fewer if it is very large."""
    with requires("pdf", f"{name}: reading PDF"):
        import pypdfium2
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        raise DataError(name, f"damaged or unsupported PDF: {error}") from None
    try:
        if not len(document):
            raise DataError(name, "a PDF without pages")
        for number in range(len(document)):
            page = document[number]
            inches = page.get_width() / 72 * page.get_height() / 72
            dpi = min(_PDF_DPI, (MAX_PIXELS / 4 / max(inches, 1e-6)) ** 0.5)
            picture = page.render(scale=dpi / 72).to_pil()
            page.close()
            yield picture
    except pypdfium2.PdfiumError as error:
        raise DataError(name, f"damaged or unsupported PDF: {error}") from None
    finally:
        document.close()
