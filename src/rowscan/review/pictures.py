"""Pictures: a page as the browser shows it: a JPEG of at most the size that the reader looks at."""

import io
import threading
from collections import OrderedDict
from pathlib import Path

import PIL.Image

from rowscan.errors import DataError
from rowscan.io.pictures import open_reduced
from rowscan.segmentation.binarize import WORKING_PIXELS

_QUALITY = 88
_CACHED = 48_000_000  # bytes of JPEG; about a hundred pages
_BROWSER_PIXELS = 2 * WORKING_PIXELS
"""Only JPEG is reduced while it is decoded, by whole numbers; anything else is reduced here."""


class Pictures:
    """Draws pages, and keeps the last ones in memory. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cache: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._decoding = threading.Semaphore(2)  # bounds memory

    def jpeg(self, path: str, content_hash: str, number: int) -> bytes:
        """A page, upright.

        Args:
            path: of the picture, from the folder.
            content_hash: of the picture.
            number: of the page, from 1.

        Raises:
            DataError: it cannot be shown.
        """
        key = (content_hash, number)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        with self._decoding:
            content = _draw(self._folder / path, number)
        with self._lock:
            if key not in self._cache:
                self._cache[key] = content
                self._size += len(content)
            while self._size > _CACHED and len(self._cache) > 1:
                self._size -= len(self._cache.popitem(last=False)[1])
        return content


def _draw(path: Path, number: int) -> bytes:
    page = next(open_reduced(path, WORKING_PIXELS, first=number), None)
    if page is None:
        raise DataError(path, f"it has no page {number}")
    image = PIL.Image.fromarray(page[0])
    if image.width * image.height > _BROWSER_PIXELS:
        factor = (_BROWSER_PIXELS / (image.width * image.height)) ** 0.5
        image = image.resize(
            (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
