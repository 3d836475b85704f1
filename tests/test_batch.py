"""Many pictures: finding them, writing results, resuming, and worker processes that crash."""

import csv
import io
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PosixPath

import PIL.Image
import PIL.TiffImagePlugin
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rowscan.batch.find import find_pictures
from rowscan.batch.formats import FORMATS, Format
from rowscan.batch.items import End, Job, Page, Picture
from rowscan.batch.local import read_all, read_to
from rowscan.batch.pool import ReaderPool
from rowscan.batch.tables import Table
from rowscan.errors import ModelError, RowscanError, UsageError
from rowscan.reading import Character, Line, Reading, Rejected

EXAMPLES = Path(__file__).parent.parent / "examples" / "digits"


# Finding


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    names = ["b.png", "a.JPG", "c/z.tif", "c/a.webp", "c/d/e.PDF", "a/x.bmp", "B.gif", "notes.txt"]
    hidden = [".h.png", ".git/x.png", "c/.x.png", "png"]
    for name in [*names, *hidden]:
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "tree"


def _found(*paths: object, exclude: Path | None = None) -> list[str]:
    items = list(find_pictures([str(path) for path in paths], exclude=exclude))
    assert all(isinstance(item, Picture) for item in items), items
    return [item.path for item in items]


def test_a_folder_is_searched_recursively_in_a_fixed_order(tree: Path) -> None:
    # In the order of code points, capitals come first.
    names = ["B.gif", "a/x.bmp", "a.JPG", "b.png", "c/a.webp", "c/d/e.PDF", "c/z.tif"]
    assert _found(tree) == [f"{tree}/{name}" for name in names]


def test_paths_begin_as_given(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert _found("c", "./c/d", "c/d/")[-2:] == ["./c/d/e.PDF", "c/d/e.PDF"]
    assert _found("c")[0] == "c/a.webp"


def test_a_path_that_is_given_is_taken_whatever_its_name(tree: Path) -> None:
    named = [tree / "notes.txt", tree / ".h.png", "-"]
    assert _found(*named) == [str(path) for path in named]


def test_the_folder_for_results_is_left_out(tree: Path) -> None:
    assert not [path for path in _found(tree, exclude=tree / "c") if "/c/" in path]


def test_links_to_files_are_followed_and_links_to_folders_are_not(tree: Path) -> None:
    (tree / "c" / "again").symlink_to(tree)
    (tree / "c" / "link.png").symlink_to(tree / "b.png")
    (tree / "c" / "broken.png").symlink_to(tree / "none.png")
    assert _found(tree / "c") == [
        f"{tree}/c/{name}" for name in ("a.webp", "broken.png", "d/e.PDF", "link.png", "z.tif")
    ]


def test_paths_that_cannot_be_listed_are_reported_and_the_rest_is_found(tree: Path) -> None:
    (tree / "empty" / "below").mkdir(parents=True)
    paths = [str(tree / "none"), str(tree / "empty"), "a\0b", str(tree / "a")]
    none, empty, zero, picture = find_pictures(paths)
    assert none == End(paths[0], "No such file or directory", page=1)
    assert empty == End(paths[1], "no pictures in this folder")
    assert isinstance(zero, End)
    assert zero.error == "embedded null byte"
    assert picture == Picture(f"{tree}/a/x.bmp")


# Writing


def _page(text: str, page: int = 1) -> Reading:
    """A reading of this text, every digit ten pixels wide."""
    lines = []
    for number, line in enumerate(text.split(" / ") if text else []):
        digits = tuple(
            Character(digit, 0.987654, (10 * place, 20 * number, 8, 18), None)
            for place, digit in enumerate(line)
        )
        lines.append(Line(digits, 0.912345, (0, 20 * number, 10 * len(line), 18)))
    return Reading(width=200, height=100, lines=tuple(lines), confidence=0.9, page=page)


# All names that a file system can hold and more; they need not be Unicode.
names = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | st.sampled_from("\n\r\t\x1b\"',:/ \\\udcff\u2028"),
    min_size=1,
)
texts = st.lists(st.text("0123456789?.,-+:%$€×", min_size=1, max_size=12), max_size=4).map(
    " / ".join
)


@pytest.mark.parametrize("output_format", FORMATS)
@given(path=names, text=texts, page=st.integers(1, 999))
@example(path="a: 12 / 3\n", text="", page=1)
@example(path="a[2]", text="7", page=1)
@settings(max_examples=60, deadline=None)
def test_the_path_of_a_record_is_found_for_any_name(
    output_format: str, path: str, text: str, page: int
) -> None:
    style = FORMATS[output_format]
    records = style.records(path, _page(text, page))
    assert len(records) == (text.count("/") + 1 if output_format == "csv" else 1)
    failure = style.failure(path, page, "not an image")
    assert style.is_failure(failure)
    assert not any(map(style.is_failure, records))
    for record in [*records, failure]:
        assert record.endswith("\n")
        assert style.path_of(record) == style.written_path(path)
    if output_format != "csv":
        assert records[0].count("\n") == 1
        if output_format != "text" or page == 1:
            assert (style.header + records[0]).startswith(style.opening(path))


def test_text_is_one_line_for_each_page_that_splits_at_the_last_colon() -> None:
    style = FORMATS["text"]
    assert style.records("a b.png", _page("4071 / 22")) == ["a b.png: 4071 / 22\n"]
    assert style.records("blank.png", _page("")) == ["blank.png: \n"]
    assert style.records("a: 1\n.png", _page("7")) == ["a: 1\\n.png: 7\n"]
    assert style.records("a.tif", _page("12: 30", page=2)) == ["a.tif[2]: 12:30\n"]
    assert style.path_of("a.tif[2]: 7\n") == "a.tif"
    assert style.records("a[2]", _page("7")) == ["a[2][1]: 7\n"]
    assert style.failure("a.png", 1, "not an image") == "a.png: error\n"


def test_text_has_a_question_mark_for_a_line_that_is_likely_a_number() -> None:
    likely, unlikely = (Rejected((0, 30, 40, 18), "11", sure, "unsure") for sure in (0.6, 0.4))
    style = FORMATS["text"]
    page = replace(_page("4071 / 22 / 5"), rejected=(unlikely, likely))
    assert style.records("a", page) == ["a: 4071 / 22 / ? / 5\n"]
    assert style.records("a", replace(_page("7"), rejected=(likely,))) == ["a: 7 / ?\n"]
    assert style.records("a", replace(_page(""), rejected=(likely,))) == ["a: ?\n"]
    beside = replace(likely, box=(15, 2, 10, 18))
    assert style.records("a", replace(_page("7 / 5"), rejected=(beside,))) == ["a: 7 / ? / 5\n"]
    assert style.records("a", replace(_page("7"), rejected=(unlikely,))) == ["a: 7\n"]


@given(path=names, text=texts)
@settings(max_examples=60, deadline=None)
def test_csv_can_be_read_back(path: str, text: str) -> None:
    style = FORMATS["csv"]
    table = style.header + "".join(style.records(path, _page(text)))
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert list(rows[0]) == (
        [
            "path",
            "page",
            "status",
            "line",
            "text",
            "confidence",
            "x",
            "y",
            "width",
            "height",
            "row",
            "column",
        ]
    )
    assert [row["text"] for row in rows] == text.split(" / ")
    if not text:
        assert list(rows[0].values()) == [path, "1", "empty", "", "", "0.9000", *[""] * 6]
        return
    for number, row in enumerate(rows, start=1):
        start = [row[key] for key in ("path", "page", "status", "line")]
        assert start == [path, "1", "read", str(number)]
        assert (row["confidence"], row["row"], row["column"]) == ("0.9123", "", "")
        box = [int(row[key]) for key in ("x", "y", "width", "height")]
        assert box == [0, 20 * (number - 1), 10 * len(row["text"]), 18]


def test_jsonl_is_the_reading_with_its_path() -> None:
    (record,) = FORMATS["jsonl"].records("ü\udcff.png", _page("40 / 7", page=3))
    assert json.loads(record) == {"path": "ü\udcff.png", **_page("40 / 7", page=3).to_dict()}
    assert record.startswith('{"path": "ü\\udcff.png", ')
    separators = {f"{chr(code)}.png" for code in (0x0A, 0x7F, 0x85, 0x2028, 0x2029)}
    for name in separators:  # no program takes one for the end of a line
        (record,) = FORMATS["jsonl"].records(name, _page("40"))
        assert len(record.splitlines()) == 1
        assert json.loads(record)["path"] == name
    failure = json.loads(FORMATS["jsonl"].failure("ü\udcff.png", 2, "not an image"))
    assert failure == {
        **{"path": "ü\udcff.png", "page": 2, "status": "error", "width": 0, "height": 0},
        **{"text": "", "confidence": 0.0, "lines": [], "rejected": [], "error": "not an image"},
    }
    assert failure.keys() - {"error"} == json.loads(record).keys()


# Resuming an interrupted table

# Some pictures without digits, some with several lines or pages, some that cannot be read.
FAILURES = {"b.png": 1, "f.tif": 2}  # the pages
RESULTS: dict[str, list[Reading]] = {
    "a.png": [_page("40")],
    "b.png": [],  # its first page cannot be read
    'c\n".png': [_page("1 / 22 / 333")],
    "d.png": [_page("")],
    "e.tif": [_page("5", 1), _page("", 2), _page("66 / 7", 3)],
    "e.tif[4]": [_page("1")],
    "f.tif": [_page("7", 1)],  # its second page cannot be read
    "ä\udcff: 1.png": [_page("98")],
    "h.tif": [_page("1 / 2", 1), _page("3", 2)],
    "i.png": [_page("")],
}


def _fill(path: Path, style: Format) -> Table:
    """Write the results that the table does not hold, as a run does."""
    table = Table(path, style, names=lambda: list(RESULTS))
    for name, pages in RESULTS.items():
        if not table.has(name, pages=name.endswith(".tif")):
            for page in pages:
                table.write(name, page)
            if name in FAILURES:
                table.write_failure(name, FAILURES[name], "damaged, or not an image")
    table.close()
    return table


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_table_cut_anywhere_is_completed_to_the_same_bytes(
    output_format: str, tmp_path: Path
) -> None:
    style = FORMATS[output_format]
    path = tmp_path / "deep" / "table"
    _fill(path, style)
    whole = path.read_bytes()
    assert whole.startswith((style.mark + style.header).encode())
    for cut in range(0, len(whole) + 1, 7 if output_format == "jsonl" else 1):  # objects are long
        path.write_bytes(whole[:cut])
        _fill(path, style)
        assert path.read_bytes() == whole, cut


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_table_that_is_complete_is_not_touched(output_format: str, tmp_path: Path) -> None:
    path = tmp_path / "table"
    _fill(path, FORMATS[output_format])
    os.utime(path, ns=(1, 1))
    table = _fill(path, FORMATS[output_format])
    assert path.stat().st_mtime_ns == 1
    assert (table.resumed, table.failed) == (len(RESULTS), len(FAILURES))


def test_only_a_table_with_more_than_ascii_has_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table = Table(path, FORMATS["csv"])
    table.write("a.png", _page("1"))
    before = path.read_bytes()
    assert before.startswith(b"path,")
    table.write("数.png", _page("2"))
    table.write("c.png", _page("3"))
    table.close()
    after = path.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf" + before)
    rows = list(csv.DictReader(after.decode("utf-8-sig").splitlines()))
    assert [(row["path"], row["text"]) for row in rows] == [
        ("a.png", "1"),
        ("数.png", "2"),
        ("c.png", "3"),
    ]


def test_pictures_of_other_runs_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "table"
    for name in ("old.png", "new.png"):
        table = Table(path, FORMATS["csv"])
        table.write(name, _page("1 / 2"))
        table.close()
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["path"] for row in rows] == ["old.png"] * 2 + ["new.png"] * 2


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "content",
    [
        b"shopping list",
        b"shopping\nlist\n",
        b"name,label\na.png,7\n",
        b"path,page,line,text,confidence,x,y,width,height\na.png,1,1,7,0.9,1,2,3,4\n",
        b"\xff\xd8\xff\xe0 not a table",
        b'{"path": "a.png"}\n',
        b'"no end\n',
        b"\0" * 100,
    ],
)
def test_a_file_of_another_kind_is_refused_and_unchanged(
    output_format: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"file: not the \w+ of an interrupted run \(.*\)"):
        _fill(path, FORMATS[output_format])
    assert path.read_bytes() == content


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_of_another_format_is_refused(output_format: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    _fill(path, FORMATS[output_format])
    content = path.read_bytes()
    for other in FORMATS.keys() - {output_format}:
        with pytest.raises(UsageError, match=f"not the {other} of an interrupted run"):
            _fill(path, FORMATS[other])
    assert path.read_bytes() == content


def test_an_output_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: Is a directory"):
        Table(tmp_path, FORMATS["text"])


# Worker processes


def _sevens(folder: Path, count: int) -> list[str]:
    folder.mkdir()
    content = (EXAMPLES / "7-13.png").read_bytes()
    for number in range(count):
        (folder / f"{number:03}.png").write_bytes(content)
    return sorted(map(str, folder.iterdir()))


def _broken_model(path: Path) -> Path:
    """A file with the metadata of a line model whose graph can be opened but not run."""
    import onnx
    from onnx import TensorProto, helper

    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 32, "width"])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", "time", 11])
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [1, 1_000_003, 11])
    nodes = [
        helper.make_node("Cast", ["images"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["grey", "shape"], ["probabilities"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "broken", [images], [answer], [shape]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    metadata = {
        "kind": "line",
        "labels": json.dumps([str(digit) for digit in range(10)]),
        "recipe": json.dumps({"name": "line", "scan": "columns"}),
        "calibration": "{}",
        "report": "{}",
        "version": "0",
    }
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def test_results_are_complete_and_in_order_when_a_worker_is_killed(tmp_path: Path) -> None:
    paths = _sevens(tmp_path / "in", 40)
    events = read_all(map(Picture, paths), Job(), jobs=2)
    seen: list[Page | End] = [next(events)]
    victim = multiprocessing.active_children()[0]
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    seen += events
    assert [event for event in seen if isinstance(event, End)] == [End(path) for path in paths]
    assert [event.path for event in seen if isinstance(event, Page)] == paths
    assert multiprocessing.active_children() == []


def test_a_worker_that_is_killed_before_it_is_ready_is_replaced(tmp_path: Path) -> None:
    paths = _sevens(tmp_path / "in", 6)
    with ReaderPool(Job(), 2) as pool:
        for process in multiprocessing.active_children():
            process.kill()
        events = list(pool.read(map(Picture, paths)))
    assert [event for event in events if isinstance(event, End)] == [End(path) for path in paths]
    assert [event.path for event in events if isinstance(event, Page)] == paths


def test_a_picture_that_could_not_be_sent_to_a_dead_worker_is_read(tmp_path: Path) -> None:
    paths = _sevens(tmp_path / "in", 4)

    def deadly() -> Iterator[Picture]:
        for path in paths:
            for process in multiprocessing.active_children():
                process.kill()
                process.join()
            yield Picture(path)

    with ReaderPool(Job(), 1) as pool:
        ends = [event for event in pool.read(deadly()) if isinstance(event, End)]
    assert ends == [End(path) for path in paths]


class _DeadlyPath(PosixPath):
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (3,)


class _DeadlyContent(bytes):
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (3,)


def test_workers_that_never_become_ready_are_given_up(tmp_path: Path) -> None:
    job = Job(model=_DeadlyPath())
    paths = _sevens(tmp_path / "in", 3)
    with pytest.raises(RowscanError, match=r"end before they are ready \(exit status 3\)"):
        list(read_all(map(Picture, paths), job, jobs=2))
    assert multiprocessing.active_children() == []


def test_a_picture_that_ends_two_workers_is_given_up(tmp_path: Path) -> None:
    first, second, third = _sevens(tmp_path / "in", 3)
    pictures = [Picture(first), Picture(second, _DeadlyContent()), Picture(third)]
    with ReaderPool(Job(), 1) as pool:
        seen = list(pool.read(iter(pictures)))
    reason = "the process that read it ended (exit status 3)"
    assert [event for event in seen if isinstance(event, End)] == [
        End(first),
        End(second, reason, page=1),
        End(third),
    ]
    assert [event.path for event in seen if isinstance(event, Page)] == [first, third]


def test_pictures_are_taken_when_they_are_needed(tmp_path: Path) -> None:
    paths = _sevens(tmp_path / "in", 1)
    taken = 0

    def endless() -> Iterator[Picture]:
        nonlocal taken
        while True:
            taken += 1
            yield Picture(paths[0])

    events = read_all(endless(), Job(), jobs=3)
    for _ in range(40):
        next(events)
    assert len(multiprocessing.active_children()) == 3
    assert 20 <= taken < 80
    events.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_many_paths_without_pictures_do_not_block_the_pool(place: str, tmp_path: Path) -> None:
    ends = [End(f"{number}", "No such file or directory") for number in range(100)]
    sevens = [Picture(path) for path in _sevens(tmp_path / "in", 4)]
    at = {"before": 0, "between": 2, "after": 4}[place]
    items: list[Picture | End] = [*sevens[:at], *ends, *sevens[at:]]
    events = list(read_all(iter(items), Job(), jobs=1))
    assert [event for event in events if isinstance(event, End) and event.error] == ends
    assert sum(isinstance(event, Page) for event in events) == 4
    done = [event.path for event in events if isinstance(event, End)]
    assert done == [item.path for item in items]


@pytest.mark.parametrize("count", [1, 5])  # in this process, and by workers
def test_a_missing_model_is_one_error(count: int, tmp_path: Path) -> None:
    paths = _sevens(tmp_path / "in", count)
    job = Job(model=tmp_path / "none.onnx")
    with pytest.raises(ModelError, match=r"none\.onnx: No such file"):
        list(read_all(map(Picture, paths), job, jobs=2))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("count", [1, 5])
def test_a_model_that_cannot_be_run_is_reported_for_each_picture(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    job = Job(model=_broken_model(tmp_path / "broken.onnx"))
    paths = _sevens(tmp_path / "in", count)
    assert not read_to(None, paths, job, jobs=1)
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{path}: error" for path in paths]
    lines = err.splitlines()[:count]
    for line, path in zip(lines, paths, strict=True):
        assert line.startswith(f"rowscan: {path}: cannot be run: ")


def test_pages_before_a_damaged_one_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (PIL.Image.open(EXAMPLES / name) for name in ("7-13.png", "0-00.png"))
    path = tmp_path / "pages.tif"
    first.save(path, save_all=True, append_images=[second])
    with PIL.Image.open(path) as image:
        assert isinstance(image, PIL.TiffImagePlugin.TiffImageFile)
        image.seek(1)
        os.truncate(path, image.tag_v2[273][0])  # the pixels of the second page
    assert not read_to(None, [str(path)], Job())
    out, err = capsys.readouterr()
    assert out == f"{path}: 7\n{path}[2]: error\n"
    assert err.startswith(f"rowscan: {path}: damaged or unsupported image: ")
    assert err.count("\n") == 1
