"""Executor: threads that read pictures, with a bounded queue. Of HTTP it knows only `Busy`."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from rowscan.server.errors import Busy

T = TypeVar("T")


class BoundedExecutor:
    """Runs blocking functions outside the event loop.

    Attributes:
        pending: the number of calls that run or wait.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        """Start the threads.

        Args:
            threads: calls that run at a time.
            waiting: calls that may wait for a thread.
        """
        self.pending = 0
        self._max_pending = threads + waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """The result of `function`.

        Raises:
            Busy: the queue is full.
        """
        if self.pending >= self._max_pending:
            raise Busy("too many pictures are waiting")
        self.pending += 1
        loop = asyncio.get_running_loop()

        def done(_: Future[Any]) -> None:
            # The thread is free when the call ends, not when the client disconnects.
            with suppress(RuntimeError):  # the server has stopped
                loop.call_soon_threadsafe(self._done)

        future = self._pool.submit(function, *arguments)
        future.add_done_callback(done)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop what waits. Calls in progress run on, but nobody waits for their results."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self) -> None:
        self.pending -= 1
