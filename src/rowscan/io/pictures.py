"""Pictures: from files of any kind to upright pixels. It finds nothing in them.

What takes no longer to decode than its pixels is decoded here; a small file of another kind can ask
for minutes or for all memory, so it goes to a process that has limits. A PDF always has its own.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image

from rowscan.arrays import Shaped, UInt8
from rowscan.errors import UnsupportedFormatError
from rowscan.io.decoder import limited
from rowscan.io.raster import (
    FORMATS,
    MAX_PIXELS,
    Opened,
    Request,
    decode,
    decode_array,
    decode_image,
    is_pdf,
)
from rowscan.io.storage import is_address, open_local, read_bytes

Source = str | Path | bytes | PIL.Image.Image | Shaped[np.ndarray, "..."]
"""A picture: path or address, content of a file, Pillow image, or array (height, width) of grey or
(height, width, 3 or 4) of colour."""

SUFFIXES = frozenset({".pdf"}.union(*FORMATS.values()))
"""How the names of pictures end, in lower case."""

_RAW = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})
"""What a camera's sensor saw, of which Pillow would read the thumbnail."""

MANY_PAGES = frozenset({".tif", ".tiff", ".pdf"})
"""Those that can hold several pages. Of an animation only the first frame counts."""

_OTHER_FRAMES = frozenset(range(0xC2, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG: progressive, lossless and arithmetic frames."""

_QUICK_PIXELS = 25_000_000
_QUICK_BYTES = 50_000_000
"""Pixels and bytes of the files that are decoded in this process, in half a second."""


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
    request = Request(
        source=b"",
        name=name,
        enough=enough,
        colour=colour,
        max_pixels=max_pixels,
        max_pages=max_pages,
        first=first,
    )
    if isinstance(source, np.ndarray):
        yield decode_array(source, request)
    elif isinstance(source, PIL.Image.Image):
        yield decode_image(source, request)
    else:
        yield from _decoded(source, request)


def _decoded(source: str | Path | bytes, request: Request) -> Iterator[Opened]:
    """The pages of a file, decoded where that is safe."""
    if suffix(request.name) in _RAW:
        reason = "a RAW photo; save it as JPEG, TIFF or PNG first"
        raise UnsupportedFormatError(request.name, reason)
    if isinstance(source, str) and is_address(source):
        source = read_bytes(source)
    if isinstance(source, bytes):
        request = replace(request, source=source)
        quick = is_quick(io.BytesIO(source))
    else:  # the process that decodes it opens it itself, perhaps from another folder
        request = replace(request, source=os.path.abspath(source))  # noqa: PTH100
        with open_local(source) as file:
            quick = is_quick(file)
    yield from decode(request) if quick else limited(request)


def is_quick(file: io.BufferedReader | io.BytesIO) -> bool:
    """Whether it takes no longer to decode than its pixels, or is decoded elsewhere anyway.

    That holds for PNG, and for JPEG of one scan: libjpeg decodes all scans, and a small file can
    have thousands.
    """
    head = file.read(1024)
    if is_pdf(head) or not head:
        return True
    width, height = _png_size(head) or _jpeg_size(file) or (_QUICK_PIXELS, 2)
    return width * height <= _QUICK_PIXELS and file.seek(0, io.SEEK_END) <= _QUICK_BYTES


def _png_size(head: bytes) -> tuple[int, int] | None:
    if not head.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _jpeg_size(file: io.BufferedReader | io.BytesIO) -> tuple[int, int] | None:
    """Width and height of a JPEG of one scan, from its segments (ITU-T T.81, annex B)."""
    file.seek(0)
    if file.read(2) != b"\xff\xd8":
        return None
    width, height, components = 0, 0, 0
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        length = int.from_bytes(head[2:], "big") - 2
        segment = file.read(max(length, 0))
        if head[1] == 0xDA:  # the start of a scan
            whole = components > 0 and segment[:1] == bytes([components])
            return (width, height) if whole else None
        if head[1] in (0xC0, 0xC1) and len(segment) > 5:  # the start of a sequential frame
            height, width = (int.from_bytes(segment[i : i + 2], "big") for i in (1, 3))
            components = segment[5]
        elif head[1] in _OTHER_FRAMES:
            return None
    return None
