"""Undo: which gesture is taken back, and what was there before. It only reads.

Undo is one more entry of the database, so that nothing is ever changed in it.
"""

import json
import sqlite3

from rowscan.reading import Box
from rowscan.review.changes import Change


def last_gesture(connection: sqlite3.Connection, session: str, kind: str) -> str | None:
    """The gesture that `kind` takes back; on a stack, undo takes one off and redo puts it on.

    Of a session's gestures, from the newest: an undo hides the one before it, a redo an undo.
    """
    rows = connection.execute(
        "SELECT gesture, kind FROM correction WHERE session = ? AND kind <> 'look' "
        "GROUP BY gesture ORDER BY max(id) DESC",
        (session,),
    )
    hidden = 0
    for row in rows:
        if row["kind"] == kind:
            hidden += 1
        elif kind == "redo" and row["kind"] == "do":
            return None
        elif hidden:
            hidden -= 1
        else:
            return str(row["gesture"])
    return None


def before(connection: sqlite3.Connection, touched: sqlite3.Row, session: str) -> Change:
    """What a line or page was before a gesture; what it is now, if somebody else changed it."""
    here = (touched["page"], touched["line"])
    one = "SELECT * FROM correction WHERE page = ? AND line = ? "
    theirs = connection.execute(
        one + "AND id > ? AND session <> ? AND kind = 'do'", (*here, touched["last"], session)
    ).fetchone()
    end = "ORDER BY id DESC" if theirs else f"AND id < {touched['first']:d} ORDER BY id DESC"
    row = connection.execute(one + end, here).fetchone()
    if row is not None:
        return Change(*here, row["state"], row["text"], box_of(row))
    return _as_read(connection, *here)


def _as_read(connection: sqlite3.Connection, page: int, line: str) -> Change:
    """A line that nobody had touched; one that is not in the reading did not exist."""
    if not line:
        return Change(page, line, "open")
    (content,) = connection.execute(
        "SELECT content FROM shown JOIN reading ON reading.id = shown.reading WHERE shown.page = ?",
        (page,),
    ).fetchone()
    read = json.loads(content)["lines"]
    if line.isdecimal() and int(line) < len(read):
        found = read[int(line)]
        return Change(page, line, "read", found["text"], tuple(found["box"]))
    return Change(page, line, "deleted")


def box_of(row: sqlite3.Row) -> Box:
    """X, y, width and height of a correction."""
    return row["x"], row["y"], row["width"], row["height"]
