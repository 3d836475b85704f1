"""PDF: pages drawn as pixels by another process, which has limits of memory and of time.

A PDF is a program. One of 2 kB can take all memory, or never end, and PDFium cannot be stopped
from within. So each file has a process of its own: it takes the file from standard input, and
writes the number of pages, then each page when the one before it has been taken.
"""

import contextlib
import json
import struct
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

from rowscan.arrays import UInt8
from rowscan.errors import DataError, TooLargeError, requires
from rowscan.io.limits import SECONDS, limit_memory, limit_time

_DPI = 200
_MAX_SIDE = 65_500
"""Pixels: the longest side of a JPEG. A page that is longer is drawn smaller."""
_MEMORY = 450_000_000
"""Bytes of data that the process may use."""
_HEADER = struct.Struct("<III")
"""Height, width and colours of a page; its pixels follow. No height: its error follows."""


def draw_pages(
    content: bytes, name: str, *, max_pixels: int, max_pages: int | None, first: int = 1
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Each page as printed at 200 dots per inch, with the fields of forms; fewer dots if large.

    Args:
        content: the file.
        name: its name in errors.
        max_pixels: of a page.
        max_pages: more are refused before the first is drawn.
        first: the page to begin with; those before it are not drawn.

    Raises:
        MissingExtraError: the package that draws PDF is not installed.
        TooLargeError: it has more pages, or takes more memory or time than it may.
        DataError: it is damaged, or has a password.
    """
    with requires("pdf", "reading PDF"):
        import pypdfium2  # noqa: F401  (the other process uses it)
    command = [sys.executable, "-m", "rowscan.io.pdf", str(max_pixels), str(first)]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
                stdin.write(content)
            said = process.stdout.readline()
            count = json.loads(said) if said else _killed(name, "the file")
            if isinstance(count, str):
                raise DataError(name, count)
            if max_pages is not None and count > max_pages:
                raise TooLargeError(name, f"more than {max_pages} pages")
            for number in range(first, count + 1):
                yield _page(process.stdout.read, name, f"page {number}")
        finally:
            process.kill()


def _page(read, name: str, what: str) -> UInt8[np.ndarray, "height width 3"]:  # type: ignore[no-untyped-def]
    header = read(_HEADER.size)
    if len(header) < _HEADER.size:
        _killed(name, what)
    height, width, colours = _HEADER.unpack(header)
    if height == 0:
        raise DataError(name, f"{what}: {read(width).decode()}")
    pixels = read(height * width * colours)
    if len(pixels) < height * width * colours:
        _killed(name, what)
    return np.frombuffer(pixels, np.uint8).reshape(height, width, colours)


def _killed(name: str, what: str) -> int:
    raise TooLargeError(
        name, f"{what} takes more than {SECONDS} s or {_MEMORY // 1_000_000} MB to draw"
    )


def _serve(max_pixels: int, first: int) -> None:
    """What the other process does."""
    out = sys.stdout.buffer
    content = sys.stdin.buffer.read()
    limit_memory(_MEMORY)
    import pypdfium2

    limit_time()
    try:
        document = pypdfium2.PdfDocument(content)
        count = len(document)
    except pypdfium2.PdfiumError as error:
        out.write(json.dumps(f"damaged or unsupported PDF: {error}").encode() + b"\n")
        return
    if not count:
        out.write(json.dumps("a PDF without pages").encode() + b"\n")
        return
    document.init_forms()
    out.write(f"{count}\n".encode())
    out.flush()
    for number in range(first - 1, count):
        limit_time()
        try:
            pixels = _draw(document[number], max_pixels)
            out.write(_HEADER.pack(*pixels.shape))
            out.write(np.ascontiguousarray(pixels).data)
        except (pypdfium2.PdfiumError, ValueError) as error:
            reason = str(error).encode()
            out.write(_HEADER.pack(0, len(reason), 0) + reason)
        out.flush()


def _draw(page, max_pixels: int) -> UInt8[np.ndarray, "height width 3"]:  # type: ignore[no-untyped-def]
    width, height = page.get_size()
    if min(width, height) <= 0:
        raise ValueError("it has no pixels")
    for_area = (max_pixels / 4 / (width * height)) ** 0.5
    scale = min(_DPI / 72, for_area, _MAX_SIDE / max(width, height))
    if min(width, height) * scale < 1:
        raise ValueError(f"{width:g} x {height:g} points: too narrow")
    pixels: np.ndarray = page.render(scale=scale, rev_byteorder=True).to_numpy()
    page.close()
    return pixels[:, :, :3] if pixels.shape[2] > 3 else pixels


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        _serve(*map(int, sys.argv[1:]))
