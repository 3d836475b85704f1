"""Samples: pictures with corrected texts that a user of the page has kept. How, is not here."""

from abc import ABC, abstractmethod
from pathlib import Path

from rowscan.reading import Reading


class Keeper(ABC):
    """Keeps samples in a folder; threads share it.

    Attributes:
        folder: where they are kept.
    """

    folder: Path

    @abstractmethod
    def keep(self, content: bytes, reading: Reading, text: str) -> int:
        """Keep a picture with what is written in it; the number of samples.

        Args:
            content: of the file.
            reading: what was read in it.
            text: what is right, lines joined by " / ".

        Raises:
            UsageError: the text does not fit the reading.
            OutputError: the folder cannot be written.
        """
