"""Changes: what people say of a page or of one of its lines. Where that is kept, `store` knows."""

from dataclasses import dataclass

from rowscan.reading import Box

PAGE_STATES = ("open", "seen", "done", "none")
"""`none`: looked at, and there is no number in it."""
LINE_STATES = ("read", "accepted", "typed", "deleted")
"""`read`: as the model read it, and nobody has decided."""


@dataclass(frozen=True)
class Change:
    """What a person says of one line, or of a page."""

    page: int
    line: str
    """Its number in the reading, from 0; a new name for a line that is drawn; "" for the page."""
    state: str
    """One of `LINE_STATES`, or for the page of `PAGE_STATES`."""
    text: str = ""
    box: Box = (0, 0, 0, 0)
    event: str = ""
    """A unique name, so that a change which is sent twice counts once; "" makes one."""


@dataclass(frozen=True)
class Author:
    """Who changes something, and in which tab of a browser: undo is the tab's own."""

    user: str
    session: str
