"""Reviewed: what people have decided in a folder that `rowscan review` has read. It only reads."""

import base64
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rowscan.arrays import UInt8
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
    ink: UInt8[np.ndarray, "32 width"] | None = field(default=None, compare=False)
    """Of a field of a form: what is written there, without what is printed, as it was read."""
    alphabet: str = ""
    """Of a field: what may be read there, as in `Reader`,"""
    pattern: str = ""
    """and what that must match."""


@dataclass(frozen=True)
class ReviewedPage:
    """A page that is done."""

    path: Path
    number: int
    """From 1."""
    lines: tuple[ReviewedLine, ...]
    """From top to bottom; none if there is no number in it. Of a form the fields that are read as
    text and were found."""
    content_hash: str = ""
    """SHA-256 of the picture's content, hexadecimal."""
    is_form: bool = False
    """Whether it was laid upon a form."""

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
    found: dict[tuple[str, int, str, bool], dict[str, ReviewedLine]] = {}
    try:
        # Not read-only: a database in WAL mode needs its index, which may have to be written.
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", uri=True)) as opened:
            rows = opened.execute(
                "SELECT page.id, path, lesson.number, hash, line, state, text, x, y, width, height "
                "FROM lesson JOIN page ON page.id = lesson.page ORDER BY path, lesson.number"
            ).fetchall()
            filled = opened.execute(
                "SELECT id, content FROM entry WHERE state = 'done' AND instr(content, ?)",
                ('"form": ',),
            )
            forms = {page: json.loads(content)["lines"] for page, content in filled}
    except sqlite3.Error as error:
        raise DataError(database, str(error)) from None
    for page, path_name, number, content_hash, name, state, text, *box in rows:
        lines = found.setdefault((path_name, number, content_hash, page in forms), {})
        if state is None or not text:
            continue
        x, y, width, height = box
        line = ReviewedLine(text, (x, y, width, height), state == "typed")
        if page not in forms:
            lines[name] = line
        elif name.isdecimal() and (ink := _ink(forms[page][int(name)], text)) is not None:
            read = forms[page][int(name)]
            lines[name] = replace(line, ink=ink, alphabet=read["alphabet"], pattern=read["pattern"])
    return [
        ReviewedPage(database.parent / name, number, _ordered(lines), content_hash, is_form)
        for (name, number, content_hash, is_form), lines in found.items()
    ]


def _ink(read: dict[str, Any], text: str) -> UInt8[np.ndarray, "32 width"] | None:
    """What is written in a field; None where that is not known to be all of a text.

    Where more or fewer boxes have ink than it has characters, some was not found, or is none.
    """
    if read["ink"] is None or read["filled"] not in (None, len(text)):
        return None
    content = np.frombuffer(base64.b64decode(read["ink"]), np.uint8)
    return cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)


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
