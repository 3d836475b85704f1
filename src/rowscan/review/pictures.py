"""Pictures: the pages of a folder as the browser shows them, the last ones in memory."""

import threading
from collections import OrderedDict
from pathlib import Path

from rowscan.errors import DataError
from rowscan.io.pictures import open_reduced
from rowscan.segmentation.binarize import WORKING_PIXELS
from rowscan.server.pictures import draw

_CACHED = 48_000_000  # bytes of JPEG; about a hundred pages


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
            opened = open_reduced(self._folder / path, WORKING_PIXELS, first=number)
            page = next(opened, None)
            if page is None:
                raise DataError(path, f"it has no page {number}")
            content = draw(page[0])
        with self._lock:
            if key not in self._cache:
                self._cache[key] = content
                self._size += len(content)
            while self._size > _CACHED and len(self._cache) > 1:
                self._size -= len(self._cache.popitem(last=False)[1])
        return content
