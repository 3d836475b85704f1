"""Workers: threads that read pictures, one a core, with a queue of bounded length before them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from rowscan.server.errors import Busy

T = TypeVar("T")


class Workers:
    """Runs what takes time beside the event loop.

    Attributes:
        pending: what is running or waiting.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        """Make the threads.

        Args:
            threads: so much runs at a time.
            waiting: so much may wait for a thread.
        """
        self.pending = 0
        self._most = threads + waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """What `work` returns.

        Raises:
            Busy: the queue is full.
        """
        if self.pending >= self._most:
            raise Busy("too many pictures are waiting")
        self.pending += 1
        loop = asyncio.get_running_loop()

        def done(_: Future[Any]) -> None:
            # When the work ends, not when the client has gone, the thread is free again.
            loop.call_soon_threadsafe(self._done)

        future = self._pool.submit(work, *arguments)
        future.add_done_callback(done)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for what is running, and end the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _done(self) -> None:
        self.pending -= 1
