"""Progress: what a terminal or a log shows while pictures are read, on standard error."""

import sys
import time
from collections.abc import Callable

_INTERVAL = 30.0  # seconds between two lines of a log


class ReadingProgress:
    """A progress bar on a terminal; elsewhere a line every 30 seconds.

    Where the results go to the same terminal, there is no bar.
    """

    def __init__(self, *, results_shown: bool, done: int, count: Callable[[], int | None]) -> None:
        """Begin.

        Args:
            results_shown: results go to the terminal.
            done: pictures that were read in an earlier run.
            count: the number of all pictures, if it is known; called only for a progress bar.
        """
        terminal = sys.stderr.isatty()
        self._bar = None
        self._lines = not terminal
        self._read = 0
        self._start = self._last = time.monotonic()
        if terminal and not results_shown:
            from tqdm import tqdm

            self._bar = tqdm(
                total=count(), initial=done, unit=" pictures", dynamic_ncols=True, delay=0.5
            )

    def step(self, pictures: int = 1) -> None:
        """Count pictures that have been read."""
        self._read += pictures
        if self._bar is not None:
            self._bar.update(pictures)
        now = time.monotonic()
        if self._lines and now - self._last >= _INTERVAL:
            self._last = now
            speed = self._read / (now - self._start)
            self.say(f"{self._read:,} pictures read, {speed:.1f} a second")

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Finish the bar."""
        if self._bar is not None:
            self._bar.close()
