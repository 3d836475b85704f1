"""Items: the values that travel between finding, reading and writing pictures. No input or output.

A picture becomes its pages, in order, and then one `End`.
"""

from dataclasses import dataclass
from pathlib import Path

from rowscan.forms.results import FormReading
from rowscan.io.pictures import MANY_PAGES, SUFFIXES, suffix
from rowscan.reading import Reading

STANDARD_INPUT = "-"
COPY_MARK = b"Rowscan: annotated copy"
"""Within the first bytes of each annotated copy, so that no later run takes it for an input."""
HEAD = 4096
"""Bytes: the first ones."""


@dataclass(frozen=True)
class Picture:
    """A picture to read."""

    path: str
    """As it was given, or found below a given folder; "-" is standard input."""
    content: bytes | None = None
    """The content of the file, where it comes from standard input, an address or a shard."""

    @property
    def may_have_pages(self) -> bool:
        """Whether a file of this name can hold more than one page."""
        return suffix(self.path) in MANY_PAGES or suffix(self.path) not in SUFFIXES


@dataclass(frozen=True)
class Page:
    """One page of a picture has been read."""

    path: str
    reading: Reading


@dataclass(frozen=True)
class Filled(Page):
    """A filled form has been read, or a page has none of the forms; `reading` has no lines."""

    form: FormReading


@dataclass(frozen=True)
class End:
    """A picture is finished, or a path holds no picture."""

    path: str
    error: str | None = None
    """What went wrong: one line."""
    page: int | None = None
    """The page that could not be read; None if all were, or if the path is no picture."""
    left_out: str | None = None
    """What it is instead of an input: what Rowscan itself has written."""


@dataclass(frozen=True)
class Job:
    """What to do with each picture. Sent to worker processes, so it must be picklable."""

    model: Path | None = None
    """A model file or run directory; by default the line model that ships with Rowscan."""
    min_confidence: float = 0.0
    """Characters below this confidence are read as "?"."""
    alphabet: str | None = None
    """What may be read, as in `Reader`."""
    pattern: str | None = None
    """What each line must match, as in `Reader`."""
    show_other: bool = False
    """Whether a character outside of the model's alphabet is read as "□"."""
    forms: tuple[Path, ...] = ()
    """The files that describe the forms to read; none where all numbers on a page are read."""
    max_pages: int = 1000
    """Pages of a document that are read; the next one is an error."""
    annotate: Path | None = None
    """The folder for annotated copies; None for no copies."""
    base: Path = Path()
    """A folder above all pictures. Copies keep the part of the path below it."""
