"""Reading: the text of a picture, with boxes and confidences. These are values: no model is here.

A box is x, y, width and height in pixels of the picture, upright, as a viewer shows it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from rowscan.alphabet import DIGITS, SPACE

if TYPE_CHECKING:
    from rowscan.io.pictures import Source

Box = tuple[int, int, int, int]
Status = Literal["read", "empty", "error"]
"""What became of a page: something was read, nothing is there to read, or it could not be read."""

SURE = 0.9
"""What is less confident is unsure: people should look at it. They do not check the rest, so its
mistakes are counted."""
UNSURE = "?"
"""Stands for a character of lower confidence than `min_confidence`."""


@dataclass(frozen=True)
class Character:
    """One character of a line."""

    character: str
    """One of the model's alphabet, or "?" where the confidence is too low."""
    confidence: float
    """The probability of this character in its place, 0 to 1, given the rest of the line."""
    box: Box
    runner_up: tuple[str, float] | None
    """The second likeliest character and its probability; None where that is less than 2%."""

    def to_dict(self) -> dict[str, object]:
        """The object that JSON output has."""
        second = self.runner_up
        return {
            "character": self.character,
            "confidence": round(self.confidence, 4),
            "box": list(self.box),
            "runner_up": second and {"character": second[0], "confidence": round(second[1], 4)},
        }

    def to_digit_dict(self) -> dict[str, object]:
        """As `to_dict`, with the key `digit` of version 0.1 for each character too."""
        second = self.runner_up
        return self.to_dict() | {
            "digit": self.character,
            "runner_up": second
            and {
                "character": second[0],
                "digit": second[0],
                "confidence": round(second[1], 4),
            },
        }


@dataclass(frozen=True)
class Line:
    """One line of writing."""

    characters: tuple[Character, ...]
    confidence: float
    """The probability that exactly this text is written there, 0 to 1."""
    box: Box
    row: int | None = None
    """In a grid or table, its row and column, from 1; otherwise None."""
    column: int | None = None

    @property
    def text(self) -> str:
        """What is written, signs included."""
        return "".join(character.character for character in self.characters)

    @property
    def digits_only(self) -> str:
        """The digits of the text, and "?" for characters that are unsure."""
        return "".join(c for c in self.text if c in DIGITS + UNSURE)

    def to_dict(self) -> dict[str, object]:
        """The object that JSON output has."""
        return {
            "text": self.text,
            "digits_only": self.digits_only,
            "confidence": round(self.confidence, 4),
            "box": list(self.box),
            "row": self.row,
            "column": self.column,
            "characters": [character.to_dict() for character in self.characters],
            # As version 0.1 called them; they go with the next version.
            "digits": [character.to_digit_dict() for character in self.characters],
        }


@dataclass(frozen=True)
class Cell:
    """A cell of a grid or table, with or without writing in it."""

    row: int
    """Its first row, from 1; the rows of several tables follow each other downwards."""
    column: int
    """Its first column, from 1."""
    box: Box
    rows: int = 1
    """How many rows it spans."""
    columns: int = 1
    """How many columns it spans."""
    table: int = 1
    """The number of its table on the page."""


@dataclass(frozen=True)
class Rejected:
    """A line that was found in the picture and is not in the reading."""

    box: Box
    text: str
    """The likeliest text; empty if nothing was read in it."""
    confidence: float
    """The probability that it is a number that belongs to the reading, 0 to 1."""
    reason: str

    def to_dict(self) -> dict[str, object]:
        """The object that JSON output has."""
        return {
            "box": list(self.box),
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "reason": self.reason,
        }


@dataclass(frozen=True, repr=False)
class Reading:
    """One picture, or one page of a document."""

    width: int
    height: int
    lines: tuple[Line, ...]
    """From top to bottom; lines side by side from left to right."""
    confidence: float
    """The probability that exactly this text is written there and nothing else, 0 to 1."""
    page: int = 1
    rejected: tuple[Rejected, ...] = ()
    """Lines that were found and are not among `lines`."""
    cells: tuple[Cell, ...] = ()
    """Those of all grids and tables on the page, empty ones too."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grids and tables on the page; (0, 0) where there is none."""
        rows = max((cell.row + cell.rows - 1 for cell in self.cells), default=0)
        return rows, max((cell.column + cell.columns - 1 for cell in self.cells), default=0)

    source: "Source | None" = field(default=None, compare=False)
    """The picture as `Reader.read` was given it, for notebooks to show."""

    def __repr__(self) -> str:
        """What was read, how sure it is, and how much more there is."""
        lines = f"{len(self.lines)} line{'' if len(self.lines) == 1 else 's'}"
        return f"<Reading page {self.page}: {self.text!r}, {self.confidence:.1%} sure, {lines}>"

    def _repr_html_(self) -> str:
        """The picture with a box around each line, as notebooks show it."""
        from rowscan.io.drawing import svg

        boxes = [(line.box, f"{line.text} {line.confidence:.1%}") for line in self.lines]
        return svg(self.source, self.page, (self.width, self.height), boxes)

    @property
    def table(self) -> list[list[str]]:
        """The text of each cell of the grid or table, row by row; empty where nothing is read.

        The rows of several tables follow each other. The text of a cell that spans several rows or
        columns is in the first.
        """
        rows, columns = self.shape
        cells = [[""] * columns for _ in range(rows)]
        for line in self.lines:
            if line.row is not None and line.column is not None:
                before = cells[line.row - 1][line.column - 1]
                cells[line.row - 1][line.column - 1] = f"{before} {line.text}".strip()
        return cells

    @property
    def status(self) -> Status:
        """`read`, or `empty` if there is nothing to read."""
        return "read" if self.lines else "empty"

    @property
    def text(self) -> str:
        """The lines' texts, joined by " / "; empty if there are none."""
        return " / ".join(line.text for line in self.lines)

    @property
    def digits_only(self) -> str:
        """The digits of the lines, joined by " / "."""
        return " / ".join(line.digits_only for line in self.lines if line.digits_only)

    def to_dict(self) -> dict[str, object]:
        """The object that JSON output has."""
        return {
            "page": self.page,
            "status": self.status,
            "width": self.width,
            "height": self.height,
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "lines": [line.to_dict() for line in self.lines],
            "rejected": [line.to_dict() for line in self.rejected],
        }

    def at_least(self, confidence: float) -> "Reading":
        """The same reading with "?" for each character of lower confidence, spaces excepted."""

        def marked(line: Line) -> Iterator[Character]:
            for character in line.characters:
                sure = character.confidence >= confidence or character.character == SPACE
                yield character if sure else replace(character, character=UNSURE)

        lines = tuple(replace(line, characters=tuple(marked(line))) for line in self.lines)
        return replace(self, lines=lines)


def unreadable(page: int, reason: str) -> dict[str, object]:
    """The object that JSON output has for a page that could not be read.

    Args:
        page: its number, from 1.
        reason: one line.
    """
    return {
        "page": page,
        "status": "error",
        "width": 0,
        "height": 0,
        "text": "",
        "confidence": 0.0,
        "lines": [],
        "rejected": [],
        "error": reason,
    }
