"""The database of a reviewed folder: no correction is lost, whoever else writes or crashes."""

import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowscan.datasets.reviewed import load_reviewed
from rowscan.errors import DataError, OutputError
from rowscan.review.changes import Author, Change
from rowscan.review.exports import export
from rowscan.review.store import Store

ANNA, BEN = Author("Anna", "tab 1"), Author("Ben", "tab 2")
BOX = (10, 20, 30, 40)


def reading(*texts: str, page: int = 1, confidence: float = 0.5) -> dict[str, Any]:
    lines = [
        {"text": text, "box": [10, 50 * i, 30, 40], "confidence": 0.5, "characters": []}
        for i, text in enumerate(texts)
    ]
    status = "read" if texts else "empty"
    return {
        "page": page,
        "status": status,
        "confidence": confidence,
        "text": " / ".join(texts),
        "lines": lines,
    }


def fill(folder: Path, *pages: dict[str, Any]) -> Store:
    """A store with one picture for each reading."""
    store = Store(folder)
    for number, page in enumerate(pages):
        store.place(f"{number}.png", f"hash {number}", 1, 1)
        store.add_readings(f"hash {number}", "model", [page])
    return store


def shown(store: Store, page: int = 1) -> dict[str, tuple[object, object]]:
    """State and text of each line of a page, and of the page itself."""
    lines = {str(line["line"]): (line["state"], line["text"]) for line in store.lines(page)}
    return {"": (store.entry(page)["state"], ""), **lines}


# A store against a model of it -------------------------------------------------------------------

TEXTS = st.text("0123456789.", max_size=3)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("type"), st.sampled_from(["0", "1", "new"]), TEXTS),
        st.tuples(st.just("delete"), st.sampled_from(["0", "1", "new"]), st.just("")),
        st.tuples(st.just("done"), st.just(""), st.just("")),
        st.tuples(st.just("undo"), st.just(""), st.just("")),
        st.tuples(st.just("redo"), st.just(""), st.just("")),
    ),
    max_size=12,
)


@given(ACTIONS)
@settings(max_examples=40)
def test_undo_and_redo_are_those_of_two_stacks(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str, str]]
) -> None:
    store = fill(tmp_path_factory.mktemp("folder"), reading("12", "34"))
    now = {"": ("open", ""), "0": ("read", "12"), "1": ("read", "34")}
    past: list[dict[str, tuple[str, str]]] = []
    future: list[dict[str, tuple[str, str]]] = []
    for number, (action, line, text) in enumerate(actions):
        if action == "undo":
            assert (store.undo(ANNA) is None) == (not past)
            if past:
                future.append(now)
                now = past.pop()
        elif action == "redo":
            assert (store.redo(ANNA) is None) == (not future)
            if future:
                past.append(now)
                now = future.pop()
        else:
            past.append(now)
            future.clear()
            state = {"type": "typed", "delete": "deleted", "done": "done"}[action]
            store.correct(ANNA, f"gesture {number}", [Change(1, line, state, text, BOX)])
            now = {**now, line: (state, text)}
        # A line that was drawn and undone is deleted, which is the same to the eye.
        found = {key: value for key, value in shown(store).items() if value[0] != "deleted"}
        assert found == {key: value for key, value in now.items() if value[0] != "deleted"}
    assert len(store.history(1)) >= sum(a not in ("undo", "redo") for a, _, _ in actions)


@given(st.lists(st.tuples(st.sampled_from(["0", "1"]), TEXTS), min_size=1, max_size=8))
@settings(max_examples=25)
def test_every_correction_is_kept_and_the_last_one_holds(
    tmp_path_factory: pytest.TempPathFactory, typed: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    store = fill(folder, reading("12", "34"))
    for line, text in typed:
        store.correct(ANNA, "typing", [Change(1, line, "typed", text, BOX)])
    again = Store(folder)
    assert [(row["line"], row["text"]) for row in again.history(1)] == typed
    for line, text in dict(typed).items():
        assert shown(again)[line] == ("typed", text)
    assert store.undo(ANNA) == [1]  # all of the typing, at once
    assert shown(again)["0"] == ("read", "12")


def test_a_change_that_is_sent_twice_counts_once(tmp_path: Path) -> None:
    store = fill(tmp_path, reading("12"))
    change = Change(1, "0", "typed", "13", BOX, event="one")
    store.correct(ANNA, "a", [change])
    store.correct(ANNA, "a", [change, Change(1, "", "done", event="two")])
    assert len(store.history(1)) == 2


def test_the_changes_of_a_gesture_are_all_kept_or_none(tmp_path: Path) -> None:
    store = fill(tmp_path, reading("12"))
    for wrong in (Change(7, "0", "typed", "1"), Change(1, "0", "invented", "1")):
        with pytest.raises(DataError, match="no "):
            store.correct(ANNA, "a", [Change(1, "0", "typed", "13", BOX), wrong])
    assert store.history(1) == []


def test_the_database_refuses_to_change_what_was_said(tmp_path: Path) -> None:
    store = fill(tmp_path, reading("12"))
    store.correct(ANNA, "a", [Change(1, "0", "typed", "13", BOX)])
    connection = sqlite3.connect(store.path)
    for command in ("UPDATE correction SET text = '9'", "DELETE FROM reading"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            connection.execute(command)
    connection.close()


def test_one_does_not_undo_what_another_has_done_since(tmp_path: Path) -> None:
    store = fill(tmp_path, reading("12", "34"))
    store.correct(ANNA, "a", [Change(1, "0", "typed", "1", BOX), Change(1, "1", "typed", "3", BOX)])
    store.correct(BEN, "b", [Change(1, "0", "typed", "2", BOX)])
    assert store.undo(ANNA) == [1]
    assert shown(store) == {"": ("open", ""), "0": ("typed", "2"), "1": ("read", "34")}
    assert store.undo(ANNA) is None
    assert store.undo(BEN) == [1]
    assert shown(store)["0"] == ("typed", "1")


# Pictures ----------------------------------------------------------------------------------------


def test_a_picture_that_is_renamed_keeps_its_corrections(tmp_path: Path) -> None:
    store = fill(tmp_path, reading("12"))
    store.correct(ANNA, "a", [Change(1, "0", "typed", "13", BOX), Change(1, "", "done")])
    store.forget(["0.png"])
    assert store.entries() == []
    store.place("moved/renamed.png", "hash 0", 1, 2)
    (entry,) = store.entries()
    assert (entry["path"], entry["state"]) == ("moved/renamed.png", "done")
    (page,) = load_reviewed(tmp_path)
    assert page.path == tmp_path / "moved" / "renamed.png"
    assert [(line.text, line.box, line.typed) for line in page.lines] == [("13", BOX, True)]


def test_what_was_corrected_is_not_read_again_by_another_model(tmp_path: Path) -> None:
    store = fill(tmp_path, reading("12"), reading("34"))
    store.look(ANNA, 1)
    store.look(BEN, 1)
    assert len(store.history(1)) == 1
    store.correct(ANNA, "a", [Change(2, "0", "typed", "35", BOX)])
    assert not store.has_reading("hash 0", "better model")
    assert store.has_reading("hash 1", "better model")
    for name in ("hash 0", "hash 1"):
        store.add_readings(name, "better model", [reading("99")])
    assert shown(store, 1)["0"] == ("read", "99")
    assert shown(store, 2)["0"] == ("typed", "35")
    assert store.lines(2)[0]["read"] == "34"


def test_a_page_that_another_reading_does_not_have_is_no_longer_listed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.place("0.tif", "hash", 1, 1)
    store.add_readings("hash", "model", [reading("1"), reading("2", page=2), reading("3", page=3)])
    store.correct(ANNA, "a", [Change(3, "0", "typed", "33", BOX)])
    store.add_readings("hash", "with a form", [reading("1")])
    assert [entry["number"] for entry in store.entries()] == [1, 3]
    store.add_readings("hash", "without", [reading("1"), reading("2", page=2)])
    assert [entry["number"] for entry in store.entries()] == [1, 2, 3]
    assert shown(store, 3)["0"] == ("typed", "33")


def test_the_doubtful_come_first_and_what_could_not_be_read_last(tmp_path: Path) -> None:
    failed = reading(confidence=0.0) | {"status": "error"}
    store = fill(tmp_path, reading("1", confidence=0.9), failed, reading("2", confidence=0.2))
    assert [entry["path"] for entry in store.entries()] == ["2.png", "0.png", "1.png"]
    readings, corrections = store.newest()
    store.correct(ANNA, "a", [Change(1, "0", "typed", "7", BOX)])
    new = store.entries(readings=readings, corrections=corrections)
    assert [entry["path"] for entry in new] == ["0.png"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"rowscan.db: unable to open"):
        Store(tmp_path / "none")
    (tmp_path / "rowscan.db").write_bytes(b"not a database" * 100)
    with pytest.raises(OutputError, match="not a database"):
        Store(tmp_path)


# Several writers, and a crash --------------------------------------------------------------------


def write(folder: Path, name: str, times: int) -> None:
    store = Store(folder)
    for number in range(times):
        change = Change(1, "0", "typed", f"{number}", BOX, event=f"{name} {number}")
        store.correct(Author(name, name), f"{name} {number}", [change])


def write_and_crash(folder: Path, ready: Any) -> None:
    write(folder, "crashed", 5)
    ready.set()
    signal.pause()


def test_a_folder_that_was_not_reviewed_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no rowscan\.db"):
        export(tmp_path, tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_write_at_once_and_one_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    store = fill(tmp_path, reading("12"))
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    killed = context.Process(target=write_and_crash, args=(tmp_path, ready))
    writers = [context.Process(target=write, args=(tmp_path, name, 40)) for name in "ab"]
    for process in (killed, *writers):
        process.start()
    assert ready.wait(60)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    for process in (killed, *writers):
        process.join()
    events = [row["event"] for row in store.history(1)]
    assert len(events) == 85
    for name, times in (("a", 40), ("b", 40), ("crashed", 5)):
        mine = [event for event in events if event.startswith(name)]
        assert mine == [f"{name} {number}" for number in range(times)]
