"""A folder of parts: blocks are always the same, and a part is complete or absent."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rowscan.batch.items import End, Page, Picture
from rowscan.batch.output_parts import BLOCK, PART_FORMATS, Block, Parts, blocks, part_of
from rowscan.errors import UsageError
from rowscan.reading import Character, Line, Reading, unreadable

RUN = {"version": "1", "min_confidence": 0.0, "paths": ["in"]}


def _reading(text: str, page: int = 1) -> Reading:
    digits = tuple(
        Character(digit, 0.987654, (10 * place, 0, 8, 18), ("1", 0.1))
        for place, digit in enumerate(text)
    )
    lines = (Line(digits, 0.912345, (0, 0, 10 * len(text), 18)),) if text else ()
    return Reading(width=200, height=100, lines=lines, confidence=0.9, page=page)


PATHS = ("a.png", "bad,\n.png", "c.tif", "ä\udcff.png")
EVENTS: list[Page | End] = [
    Page("a.png", _reading("40")),
    End("a.png"),
    End("bad,\n.png", "not an image", page=1),
    Page("c.tif", _reading("", 1)),
    Page("c.tif", _reading("7", 2)),
    End("c.tif"),
    Page("ä\udcff.png", _reading("8")),
    End("ä\udcff.png"),
]


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# Blocks


def test_blocks_have_each_picture_once_and_a_shard_is_one_block() -> None:
    names = [f"{number:04}.png" for number in range(2 * BLOCK + 3)]
    names.insert(BLOCK + 10, "shard.tar")
    items: list[Picture | End] = [Picture(name) for name in names]
    items.insert(5, End("gone", "No such file or directory"))
    found = list(blocks(items))
    assert found[0] == End("gone", "No such file or directory")
    cut = [block for block in found if isinstance(block, Block)]
    assert [name for block in cut for name in block.paths] == names
    assert [block.number for block in cut] == [0, 1, 2, 3]
    assert [len(block.paths) for block in cut] == [BLOCK, 10, 1, BLOCK - 7]
    assert cut[2].paths == ("shard.tar",)
    assert len({block.digest for block in cut}) == len(cut)


def test_no_block_is_too_long_or_empty() -> None:
    for count in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1):
        cut = list(blocks(Picture(str(n)) for n in range(count)))
        lengths = [len(block.paths) for block in cut if isinstance(block, Block)]
        assert sum(lengths) == count
        assert all(0 < length <= BLOCK for length in lengths)


def test_names_are_taken_when_they_are_needed() -> None:
    def endless() -> Iterator[Picture]:
        while True:
            yield Picture("x.png")

    assert isinstance(next(blocks(endless())), Block)


# Writing


def test_jsonl_and_csv_have_the_rows_of_the_command() -> None:
    block = Block(0, PATHS)
    part = part_of(block, EVENTS, "jsonl")
    rows = [json.loads(line) for line in part.readings.splitlines()]
    bad = {"path": "bad,\n.png", **unreadable(1, "not an image")}
    first, *others = (
        {"path": event.path, **event.reading.to_dict()}
        for event in EVENTS
        if isinstance(event, Page)
    )
    assert rows == [first, bad, *others]
    assert (part.pictures, part.errors) == (4, (End("bad,\n.png", "not an image", page=1),))
    text = part_of(block, EVENTS, "csv").readings.decode("utf-8", "surrogateescape")
    table = [(row["status"], row["text"]) for row in csv.DictReader(text.splitlines(True))]
    assert table == [("read", "40"), ("error", ""), ("empty", ""), ("read", "7"), ("read", "8")]


def test_parquet_has_the_rows_of_jsonl(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    parts = Parts(str(tmp_path / "out"), "parquet", RUN)
    parts.begin()
    parts.add(part_of(Block(0, PATHS), EVENTS, "parquet"))
    rows = parquet.read_table(tmp_path / "out" / "readings" / "part-000000.parquet").to_pylist()
    lines = part_of(Block(0, PATHS), EVENTS, "jsonl").readings.splitlines()
    expected = [{"error": None, **json.loads(line)} for line in lines]
    expected[-1]["path"] = "ä\\xff.png"  # texts of Parquet are Unicode
    assert rows == expected
    errors = parquet.read_table(tmp_path / "out" / "errors" / "part-000000.parquet").to_pylist()
    assert errors == [{"path": "bad,\n.png", "error": "not an image"}]


@pytest.mark.parametrize("output_format", PART_FORMATS)
def test_a_part_without_pages_is_written(output_format: str, tmp_path: Path) -> None:
    if output_format == "parquet":
        pytest.importorskip("pyarrow")
    parts = Parts(str(tmp_path / "out"), output_format, RUN)
    parts.begin()
    parts.add(part_of(Block(3, ("x.png",)), [End("x.png", "empty file")], output_format))
    assert (parts.pictures, parts.unreadable, list(parts.done)) == (1, 1, [3])
    assert (tmp_path / "out" / "readings" / f"part-000003.{output_format}").exists()


# Resuming


def test_a_run_interrupted_after_any_file_is_completed_to_the_same_files(tmp_path: Path) -> None:
    two = [Block(0, PATHS), Block(1, ("d.png",))]
    events: dict[int, list[Page | End]] = {
        0: EVENTS,
        1: [Page("d.png", _reading("9")), End("d.png")],
    }

    def fill(folder: Path) -> None:
        parts = Parts(str(folder), "csv", RUN)
        parts.begin()
        for block in two:
            if parts.done.get(block.number) != block.digest:
                parts.add(part_of(block, events[block.number], "csv"))
        parts.add_missing([])
        assert (parts.pictures, parts.unreadable) == (5, 1)

    fill(tmp_path / "whole")
    whole = _files(tmp_path / "whole")
    # Files appear in this order, so a run can have ended after any of them.
    order = ["run.json", "errors/part-000000.csv", "readings/part-000000.csv"]
    marks = sorted(name for name in whole if name.startswith("done/"))
    order += [marks[0], "readings/part-000001.csv", marks[1]]
    assert sorted(order) == sorted(whole)
    for length in range(len(order) + 1):
        folder = tmp_path / f"cut-{length}"
        for name in order[:length]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / "whole" / name, folder / name)
        fill(folder)
        assert _files(folder) == whole, length


def test_temporary_files_of_a_crash_are_ignored(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".run.json.abcd").write_text("{")
    parts = Parts(str(folder), "csv", RUN)
    parts.begin()
    block = Block(0, ("x.png",))
    parts.add(part_of(block, [Page("x.png", _reading("7")), End("x.png")], "csv"))
    (mark,) = (folder / "done").iterdir()
    (folder / "done" / f".{mark.name}.k3j2_abc").touch()
    (folder / "done" / ".DS_Store").touch()
    again = Parts(str(folder), "csv", RUN)
    assert (again.done, again.pictures) == ({0: block.digest}, 1)


def test_the_errors_of_an_earlier_attempt_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    parts = Parts(str(folder), "csv", RUN)
    parts.begin()
    block = Block(0, ("x.png",))
    parts.add(part_of(block, [End("x.png", "Connection reset")], "csv"))
    for mark in (folder / "done").iterdir():
        mark.unlink()
    parts = Parts(str(folder), "csv", RUN)
    parts.begin()
    parts.add(part_of(block, [Page("x.png", _reading("7")), End("x.png")], "csv"))
    assert not list((folder / "errors").iterdir())


@pytest.mark.parametrize("change", [{"version": "2"}, {"min_confidence": 0.5}, {"paths": ["x"]}])
def test_a_folder_of_another_run_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    Parts(str(tmp_path), "csv", RUN).begin()
    (name,) = change
    with pytest.raises(UsageError, match=f"the run in this folder differs in {name}; name"):
        Parts(str(tmp_path), "csv", {**RUN, **change})
    with pytest.raises(UsageError, match="differs in format"):
        Parts(str(tmp_path), "jsonl", RUN)


def test_a_folder_with_other_files_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(UsageError, match="the folder holds other files"):
        Parts(str(tmp_path), "csv", RUN)
    (tmp_path / "run.json").write_text("[1, 2]")
    with pytest.raises(UsageError, match="not a run of Rowscan"):
        Parts(str(tmp_path), "csv", RUN)
    assert len(list(tmp_path.iterdir())) == 2
