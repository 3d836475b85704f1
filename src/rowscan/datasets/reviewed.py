"""Reviewed: what people have decided in a folder that `rowscan review` has read. It only reads."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rowscan.errors import DataError

DATABASE = "rowscan.db"
"""The file in the folder."""


@dataclass(frozen=True)
class ReviewedLine:
    """A line of writing that somebody has accepted or typed."""

    text: str
    box: tuple[int, int, int, int]
    """X, y, width and height in pixels of the upright picture."""
    typed: bool
    """Whether it was typed or drawn; otherwise it was accepted as it was read."""


@dataclass(frozen=True)
class ReviewedPage:
    """A page that is done."""

    path: Path
    number: int
    """From 1."""
    lines: tuple[ReviewedLine, ...]
    """From top to bottom; none if there is no number in it."""
    content_hash: str = ""
    """SHA-256 of the picture's content, hexadecimal."""

    @property
    def text(self) -> str:
        """The lines, joined by " / "."""
        return " / ".join(line.text for line in self.lines)


def is_reviewed(path: str | Path) -> bool:
    """Whether the path is the database of a reviewed folder, or a folder with one."""
    return _database(path).is_file()


def load_reviewed(path: str | Path) -> list[ReviewedPage]:
    """The pages that are done, in the order of their paths.

    Args:
        path: a reviewed folder, or its database.

    Raises:
        DataError: no such database, or a damaged one.
    """
    database = _database(path)
    found: dict[tuple[str, int, str], dict[str, ReviewedLine]] = {}
    try:
        # Not read-only: a database in WAL mode needs its index, which may have to be written.
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", uri=True)) as opened:
            rows = opened.execute(
                "SELECT path, lesson.number, hash, line, state, text, x, y, width, height "
                "FROM lesson JOIN page ON page.id = lesson.page ORDER BY path, lesson.number"
            ).fetchall()
    except sqlite3.Error as error:
        raise DataError(database, str(error)) from None
    for path_name, number, content_hash, line, state, text, *box in rows:
        lines = found.setdefault((path_name, number, content_hash), {})
        if state is not None and text:
            x, y, width, height = box
            lines[line] = ReviewedLine(text, (x, y, width, height), state == "typed")
    return [
        ReviewedPage(database.parent / path_name, number, _ordered(lines), content_hash)
        for (path_name, number, content_hash), lines in found.items()
    ]


def _ordered(lines: dict[str, ReviewedLine]) -> tuple[ReviewedLine, ...]:
    """In the reading's order; where some were drawn, from top to bottom."""
    if all(name.isdecimal() for name in lines):
        return tuple(lines[name] for name in sorted(lines, key=int))
    return tuple(
        sorted(lines.values(), key=lambda line: (line.box[1] + line.box[3] // 2, line.box))
    )


def _database(path: str | Path) -> Path:
    path = Path(path)
    return path if path.name == DATABASE else path / DATABASE
