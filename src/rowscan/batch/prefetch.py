"""Prefetch: the content of pictures that are not files here. It decodes nothing."""

import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from rowscan.batch.items import STANDARD_INPUT, End, Picture
from rowscan.errors import RowscanError
from rowscan.io.storage import is_address, read_bytes

_AT_ONCE = 16  # downloads at a time: they mostly wait


def prefetch(items: Iterator[Picture | End]) -> Iterator[Picture | End]:
    """Download pictures from addresses, several at a time, ahead of their turn.

    Yields:
        The same items in the same order, pictures from addresses with their content. A picture that
        cannot be downloaded becomes an `End`.
    """
    queue: deque[Future[Picture | End] | Picture | End] = deque()
    pool: ThreadPoolExecutor | None = None
    try:
        for item in items:
            if isinstance(item, Picture) and item.content is None and is_address(item.path):
                pool = pool or ThreadPoolExecutor(_AT_ONCE)
                queue.append(pool.submit(_download, item))
            else:
                queue.append(item)
            # Without addresses, no item is taken before it is needed.
            while queue and (len(queue) >= _AT_ONCE or not isinstance(queue[0], Future)):
                yield _result(queue.popleft())
        yield from map(_result, queue)
    finally:
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def with_standard_input(picture: Picture) -> Picture:
    """The picture; if it is standard input, with its content, read to the end."""
    if picture.path != STANDARD_INPUT:
        return picture
    # A process can be started without standard input.
    return replace(picture, content=sys.stdin.buffer.read() if sys.stdin else b"")


def _download(picture: Picture) -> Picture | End:
    try:
        return replace(picture, content=read_bytes(picture.path))
    except RowscanError as error:
        return End(picture.path, error.reason, page=1)


def _result(entry: Future[Picture | End] | Picture | End) -> Picture | End:
    return entry.result() if isinstance(entry, Future) else entry
