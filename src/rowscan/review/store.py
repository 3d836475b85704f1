"""Store: the database of a reviewed folder. It keeps what was read and what people corrected.

Readings and corrections are only ever added; the database itself refuses to change one. A picture
is known by the hash of its content, so one that is moved or renamed keeps its corrections. What is
true now are the views of `schema.sql`: the last correction of each line.
"""

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from rowscan.datasets.reviewed import DATABASE
from rowscan.errors import DataError, OutputError
from rowscan.review.changes import LINE_STATES, PAGE_STATES, Author, Change
from rowscan.review.undo import before, box_of, last_gesture

_PATIENCE = 30.0  # seconds that a writer waits for another one
_TEXT = """CASE WHEN state = 'done' THEN (
    SELECT COALESCE(group_concat(text, ' / '), '') FROM (
        SELECT text FROM current
        WHERE page = entry.id AND state IN ('accepted', 'typed') AND text <> ''
        ORDER BY CAST(line AS INTEGER))
) ELSE text END"""
"""Of a page that is done, its lines have all been decided."""
_GONE = {"status": "gone", "confidence": 0.0, "text": "", "lines": [], "width": 0, "height": 0}
_COLUMNS = (
    "event, page, line, state, text, x, y, width, height, reading, kind, gesture, undoes, user, "
    "session, time"
)


class Store:
    """The database of one folder. Threads may share it; so may processes, each with its own."""

    def __init__(self, folder: str | Path) -> None:
        """Open the database, and create it where there is none.

        Raises:
            OutputError: it cannot be created or opened.
        """
        self.path = Path(folder) / DATABASE
        self._local = threading.local()
        schema = resources.files("rowscan.review").joinpath("schema.sql").read_text("utf-8")
        try:
            with closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(schema)
        except sqlite3.Error as error:
            raise OutputError(self.path, str(error)) from None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = FULL")  # what was typed survives a power cut too
        return connection

    @property
    def _connection(self) -> sqlite3.Connection:
        """This thread's."""
        if not hasattr(self._local, "connection"):
            self._local.connection = self._connect()
        connection: sqlite3.Connection = self._local.connection
        return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; other writers wait."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    @property
    def name(self) -> str:
        """A name that no other database has, wherever its folder moves."""
        return str(self._connection.execute("SELECT name FROM database").fetchone()[0])

    # Pictures and readings

    def files(self) -> dict[str, tuple[str, int, int]]:
        """The hash, size and time of change (nanoseconds) of each known file, by its path."""
        rows = self._connection.execute("SELECT path, hash, size, modified FROM file")
        return {row["path"]: (row["hash"], row["size"], row["modified"]) for row in rows}

    def place(self, path: str, content_hash: str, size: int, modified: int) -> None:
        """Note where a picture is."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)",
                (path, content_hash, size, modified),
            )

    def forget(self, paths: Iterable[str]) -> None:
        """Files that are no longer there. What was read and corrected stays."""
        with self._writing() as connection:
            connection.executemany("DELETE FROM file WHERE path = ?", [(path,) for path in paths])

    def has_reading(self, content_hash: str, model: str) -> bool:
        """Whether nothing is left to read: this model has read the picture, or it was corrected."""
        found = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM page JOIN reading ON reading.page = page.id "
            "WHERE hash = :hash AND model = :model) OR EXISTS (SELECT 1 FROM page "
            "JOIN correction ON correction.page = page.id WHERE hash = :hash AND kind <> 'look')",
            {"hash": content_hash, "model": model},
        )
        return bool(found.fetchone()[0])

    def add_readings(
        self, content_hash: str, model: str, pages: Sequence[Mapping[str, object]]
    ) -> None:
        """Keep what a model read, all pages of a picture at once.

        A page that was read before and is not among them now, as the second one of a form that has
        two, is no longer listed, unless it was corrected.

        Args:
            content_hash: of the picture.
            model: its version.
            pages: objects as `Reading.to_dict` makes them.
        """
        with self._writing() as connection:
            query = "SELECT number FROM page WHERE hash = ?"
            known = {row[0] for row in connection.execute(query, (content_hash,))}
            missing = sorted(known - {content["page"] for content in pages})
            for content in [*pages, *({**_GONE, "page": number} for number in missing)]:
                key = (content_hash, content["page"])
                connection.execute("INSERT OR IGNORE INTO page (hash, number) VALUES (?, ?)", key)
                (page,) = connection.execute(
                    "SELECT id FROM page WHERE hash = ? AND number = ?", key
                ).fetchone()
                connection.execute(
                    "INSERT INTO reading (page, model, time, status, confidence, text, content) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        page,
                        model,
                        _now(),
                        content["status"],
                        content["confidence"],
                        content["text"],
                        json.dumps(content, ensure_ascii=False),
                    ),
                )

    def page(self, content_hash: str, number: int = 1) -> int:
        """The id of a page of a picture that was read.

        Raises:
            DataError: it was not.
        """
        query = "SELECT id FROM page WHERE hash = ? AND number = ?"
        row = self._connection.execute(query, (content_hash, number)).fetchone()
        if row is None:
            raise DataError(None, f"no page {number} of this picture was read")
        return int(row[0])

    # Corrections

    def correct(self, author: Author, gesture: str, changes: Sequence[Change]) -> None:
        """Keep changes, all or none. Those that are there already, by their names, are left out.

        Args:
            author: who makes them.
            gesture: a name; changes with the same one are undone together.
            changes: what is said now of lines and pages.

        Raises:
            DataError: no such page, or a state that does not exist.
        """
        with self._writing() as connection:
            for change in changes:
                if change.state not in (LINE_STATES if change.line else PAGE_STATES):
                    raise DataError(None, f"no such state: {change.state!r}")
                self._add(connection, author, change, kind="do", gesture=gesture)

    def look(self, author: Author, page: int) -> None:
        """Note that somebody has seen a page that nobody had seen."""
        with self._writing() as connection:
            known = "SELECT 1 FROM correction WHERE page = ? AND line = ''"
            if not connection.execute(known, (page,)).fetchone():
                seen = Change(page, "", "seen")
                self._add(connection, author, seen, kind="look", gesture=secrets.token_hex())

    def undo(self, author: Author) -> list[int] | None:
        """Take back this author's last gesture; the pages that change, or None if there is none.

        A line that somebody else has changed since then stays as it is.
        """
        return self._revert(author, "undo")

    def redo(self, author: Author) -> list[int] | None:
        """Take back the last undo, where nothing was done since then. As `undo`."""
        return self._revert(author, "redo")

    def _revert(self, author: Author, kind: str) -> list[int] | None:
        with self._writing() as connection:
            gesture = last_gesture(connection, author.session, kind)
            if gesture is None:
                return None
            name = secrets.token_hex()
            touched = connection.execute(
                "SELECT page, line, min(id) AS first, max(id) AS last FROM correction "
                "WHERE gesture = ? GROUP BY page, line ORDER BY first",
                (gesture,),
            ).fetchall()
            for row in touched:
                change = before(connection, row, author.session)
                self._add(connection, author, change, kind=kind, gesture=name, undoes=gesture)
            return sorted({row["page"] for row in touched})

    @staticmethod
    def _add(
        connection: sqlite3.Connection,
        author: Author,
        change: Change,
        *,
        kind: str,
        gesture: str,
        undoes: str | None = None,
    ) -> None:
        found = connection.execute(
            "SELECT reading FROM shown WHERE page = ?", (change.page,)
        ).fetchone()
        if found is None or found["reading"] is None:
            raise DataError(None, f"no page {change.page}")
        connection.execute(
            f"INSERT OR IGNORE INTO correction ({_COLUMNS}) VALUES ({', '.join('?' * 16)})",
            (
                change.event or secrets.token_hex(),
                change.page,
                change.line,
                change.state,
                change.text,
                *change.box,
                found["reading"],
                kind,
                gesture,
                undoes,
                author.user,
                author.session,
                _now(),
            ),
        )

    # What is true now

    def entries(self, *, readings: int = 0, corrections: int = 0) -> list[sqlite3.Row]:
        """The pages that files in the folder have, the most doubtful first.

        Args:
            readings: only pages with a reading after this one,
            corrections: or with a correction after this one.
        """
        new = ""
        if readings or corrections:
            new = (
                "AND id IN (SELECT page FROM reading WHERE id > :readings "
                "UNION SELECT page FROM correction WHERE id > :corrections)"
            )
        query = (
            f"SELECT id, path, number, status, confidence, {_TEXT} AS text, state, "
            f"substr(hash, 1, 16) AS tag FROM entry WHERE status <> 'gone' {new} "
            "ORDER BY status = 'error', status <> 'check', confidence, path, number"
        )
        values = {"readings": readings, "corrections": corrections}
        return self._connection.execute(query, values).fetchall()

    def entry(self, page: int) -> sqlite3.Row:
        """A page with its reading, as JSON in `content`.

        Raises:
            DataError: there is no such page.
        """
        row = self._connection.execute("SELECT * FROM entry WHERE id = ?", (page,)).fetchone()
        if row is None:
            raise DataError(None, f"no page {page}")
        found: sqlite3.Row = row
        return found

    def pages_with(self, text: str) -> list[int]:
        """The pages in whose lines a text was read or typed; there may be others among them."""
        query = (
            "SELECT id FROM entry WHERE instr(text, :text) UNION SELECT entry.id FROM current "
            "JOIN entry ON entry.id = page WHERE line <> '' AND current.text = :text"
        )
        return [row[0] for row in self._connection.execute(query, {"text": text})]

    def lines(self, page: int) -> list[dict[str, object]]:
        """The lines of a page as they stand now; those that were deleted have that state.

        Each has the keys of the reading's line, and `line`, `state`, `user` and `time`, and `read`:
        what the model read, None for a line that was drawn.
        """
        content = json.loads(self.entry(page)["content"])
        rows = self._connection.execute(
            "SELECT * FROM current WHERE page = ? AND line <> '' ORDER BY id", (page,)
        )
        said = {row["line"]: row for row in rows}
        lines: list[dict[str, object]] = []
        for number, line in enumerate(content["lines"]):
            fresh = {"line": str(number), "state": "read", "read": line["text"]}
            lines.append(line | fresh | _as_corrected(said.pop(str(number), None)))
        for name, row in said.items():
            lines.append({"line": name, "read": None, "confidence": None, "characters": []})
            lines[-1] |= _as_corrected(row)
        return lines

    def history(self, page: int) -> list[sqlite3.Row]:
        """All that was ever said of a page, the oldest first."""
        query = "SELECT * FROM correction WHERE page = ? ORDER BY id"
        return self._connection.execute(query, (page,)).fetchall()

    def newest(self) -> tuple[int, int]:
        """The numbers of the last reading and the last correction."""
        query = "SELECT COALESCE(max(id), 0) FROM "
        reading, correction = (
            self._connection.execute(query + table).fetchone()[0]
            for table in ("reading", "correction")
        )
        return reading, correction

    # Models and forms

    def use_model(self, path: str, user: str) -> None:
        """Note that pictures are read by this model from now on."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO model (path, user, time) VALUES (?, ?, ?)", (path, user, _now())
            )

    def model(self) -> str | None:
        """The model in use, by its path from the folder; None for the one that ships."""
        row = self._connection.execute("SELECT path FROM model ORDER BY id DESC").fetchone()
        return None if row is None else str(row["path"])

    def use_forms(self, paths: Sequence[str], user: str) -> None:
        """Note that pictures are laid upon these forms from now on, by their `form.toml`."""
        if list(paths) != self.forms():
            with self._writing() as connection:
                connection.execute(
                    "INSERT INTO forms (paths, user, time) VALUES (?, ?, ?)",
                    (json.dumps(list(paths)), user, _now()),
                )

    def forms(self) -> list[str]:
        """The forms in use, by their paths from the folder; none where numbers are read."""
        row = self._connection.execute("SELECT paths FROM forms ORDER BY id DESC").fetchone()
        return [] if row is None else list(json.loads(row["paths"]))


def _as_corrected(row: sqlite3.Row | None) -> dict[str, object]:
    if row is None:
        return {}
    keys = ("line", "state", "text", "user", "time")
    return {key: row[key] for key in keys} | {"box": list(box_of(row))}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
