"""Progress: what a person sees of a long reading, on standard error."""

import sys
import time
from collections.abc import Callable

_INTERVAL = 30.0  # seconds between two lines, where there is no terminal


class Progress:
    """A bar on a terminal; elsewhere a line now and then, and none for a short reading.

    Where results go to the same terminal, they are progress enough.
    """

    def __init__(self, *, results_shown: bool, done: int, count: Callable[[], int | None]) -> None:
        """Begin.

        Args:
            results_shown: results go to the terminal, if there is one.
            done: so many pictures were read earlier.
            count: says how many there are with them, if that is known; asked only where it is
                shown.
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
        """So many more are done."""
        self._read += pictures
        if self._bar is not None:
            self._bar.update(pictures)
        now = time.monotonic()
        if self._lines and now - self._last >= _INTERVAL:
            self._last = now
            speed = self._read / (now - self._start)
            self.say(f"{self._read:,} pictures read, {speed:.1f} a second")

    def say(self, line: str) -> None:
        """A line of its own."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal as it is."""
        if self._bar is not None:
            self._bar.close()
