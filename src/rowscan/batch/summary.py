"""Summary: what a run has read, in a line or two. It reads and prints nothing."""

import time
from collections import Counter

from rowscan.batch.items import End, Page
from rowscan.reading import SURE


class Summary:
    """Counts what a run reads.

    Attributes:
        pictures: pictures that were read, or could not be.
        numbers: lines of writing in them.
        empty: pages without a number.
        unsure: pages with a confidence below `SURE`.
        errors: pictures and paths of which something could not be read.
        left_out: files that are no inputs, by how their names end or by what they are.
    """

    def __init__(self) -> None:
        self.pictures = self.numbers = self.empty = self.unsure = self.errors = 0
        self.left_out: Counter[str] = Counter()
        self._begun = time.monotonic()

    def add(self, event: Page | End, *, again: bool = False) -> None:
        """Count a result; with `again`, of a picture that an earlier run had begun to write."""
        if isinstance(event, End):
            if event.left_out is not None:
                self.left_out[event.left_out] += 1
                return
            self.pictures += not again and (event.error is None or event.page is not None)
            self.errors += event.error is not None
            return
        self.numbers += len(event.reading.lines)
        self.empty += not event.reading.lines
        self.unsure += event.reading.confidence < SURE

    def lines(self) -> list[str]:
        """One line of what was read, if that is more than one picture; one of what was left out."""
        said = []
        if self.pictures > 1:
            seconds = time.monotonic() - self._begun
            said.append(
                f"{self.pictures:,} pictures: {self.numbers:,} numbers, {self.empty:,} empty, "
                f"{self.unsure:,} unsure, {self.errors:,} errors, {seconds:,.1f} s"
            )
        if self.left_out:
            kinds = (f"{count:,} {kind}" for kind, count in sorted(self.left_out.items()))
            said.append(f"left out: {', '.join(kinds)}")
        return said
