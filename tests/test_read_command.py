"""`rowscan read` from outside: whole folders, bad files, crashes, Ctrl-C."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from conftest import Command, Each
from rowscan.batch.items import Job
from rowscan.batch.local import read_to
from rowscan.errors import UsageError
from rowscan.io.progress import ReadingProgress

EXAMPLES = Path(__file__).parent.parent / "examples" / "digits"
READ = [sys.executable, "-m", "rowscan", "read"]

SEVEN = PIL.Image.open(EXAMPLES / "7-13.png").convert("RGB")
ZERO = PIL.Image.open(EXAMPLES / "0-00.png").convert("RGB")


def _sevens(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        shutil.copy(EXAMPLES / "7-13.png", folder / f"{number:03}.png")
    return folder


# Inputs


def test_the_sample_digits(rowscan: Command, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "digits")
    done = rowscan("read", "digits")
    assert done.returncode == 0
    summary, left_out = done.stderr.splitlines()
    assert re.fullmatch(
        r"19 pictures: \d+ numbers, 0 empty, \d+ unsure, 0 errors, [\d.]+ s", summary
    )
    assert left_out == "left out: 1 .csv"
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == sorted(
        f"digits/{path.name}" for path in EXAMPLES.glob("*.png")
    )
    right = sum(line.split(": ")[1] == Path(line).name[0] for line in lines)
    assert right >= len(lines) - 2


def test_the_name_of_the_output_says_the_format(rowscan_each: Each, tmp_path: Path) -> None:
    picture = str(EXAMPLES / "7-13.png")
    beginnings = {"a.csv": "path,page,", "a.JSONL": '{"path": "', "a.txt": f"{picture}: 7"}
    done = rowscan_each([["read", picture, "--output", name] for name in beginnings])
    for (name, beginning), (status, _, said) in zip(beginnings.items(), done, strict=True):
        assert status == 0, said
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(beginning)


def test_standard_input(tmp_path: Path) -> None:
    command = [*READ, "-", "--format", "jsonl"]
    content = (EXAMPLES / "7-13.png").read_bytes()
    done = subprocess.run(command, input=content, capture_output=True, check=True, cwd=tmp_path)
    reading = json.loads(done.stdout)
    assert (reading["path"], reading["text"], reading["width"]) == ("-", "7", SEVEN.width)
    done = subprocess.run(command, input=b"", capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (1, "error")
    assert done.stderr == b"rowscan: -: empty file\n"
    closed = ["sh", "-c", 'exec "$0" "$@" <&-', *command]
    done = subprocess.run(closed, capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["error"]) == (1, "empty file")
    assert done.stderr == b"rowscan: -: empty file\n"


def test_standard_input_is_another_picture_each_time(tmp_path: Path) -> None:
    for name in ("7-13.png", "4-08.png", "2-04.png"):
        content = (EXAMPLES / name).read_bytes()
        command = [*READ, "-", "--output", "out.txt"]
        subprocess.run(command, input=content, capture_output=True, check=True, cwd=tmp_path)
    assert (tmp_path / "out.txt").read_text() == "-: 7\n-: 4\n-: 2\n"


WRONG = [
    ([], 2, "Missing argument"),
    (["x.png", "--min-confidence", "1.1"], 2, "--min-confidence"),
    (["x.png", "--min-confidence", "90%"], 2, "'90%' is not a valid number from 0 to 1"),
    (["x.png", "--output", "a.xls"], 2, "a.xls: expected a name that ends in .txt, .csv, "),
    (["x.png", "--format", "xml"], 2, "xml"),
    (["x.png", "--jobs", "0"], 2, "--jobs"),
    (["missing.png"], 1, "rowscan: missing.png: No such file or directory\n"),
    (["empty"], 1, "rowscan: empty: no pictures in this folder\n"),
    (["x.png", "--model", "none.onnx"], 1, "rowscan: none.onnx: No such file or directory\n"),
]


def test_wrong_calls(rowscan_each: Each, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    SEVEN.save(tmp_path / "x.png")
    done = rowscan_each([["read", *arguments] for arguments, _, _ in WRONG])
    for (arguments, status, reason), (ended, printed, said) in zip(WRONG, done, strict=True):
        assert ended == status, arguments
        assert printed == ("missing.png: error\n" if "missing.png" in arguments else "")
        assert reason in said, arguments
        if reason.startswith("rowscan: "):
            assert said == reason


def test_an_alphabet_and_a_pattern(rowscan_each: Each, tmp_path: Path) -> None:
    SEVEN.save(tmp_path / "x.png")
    right = {
        ("--alphabet", "digits"): "7",
        ("--alphabet", "79"): "7",
        ("--pattern", r"[0-9]"): "7",
        ("--pattern", r"\d{4}"): "?",  # a number, but not one of these
    }
    wrong = {
        ("--alphabet", "7x"): "alphabet '7x': the model does not know 'x'",
        ("--pattern", "(7"): "pattern '(7': a group is not closed",
    }
    done = rowscan_each([["read", "x.png", *options] for options in right])
    for text, (status, printed, said) in zip(right.values(), done, strict=True):
        assert (status, printed) == (0, f"x.png: {text}\n"), said
    done = rowscan_each([["read", *4 * ["x.png"], *options] for options in wrong])
    for reason, (status, printed, said) in zip(wrong.values(), done, strict=True):
        assert (status, printed) == (2, "")
        assert said.startswith(f"rowscan: {reason}")
        assert said.count("\n") == 1


def test_digits_below_the_minimum_confidence_become_question_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SEVEN.save(tmp_path / "x.png")
    assert read_to(None, [str(tmp_path / "x.png")], Job(min_confidence=1.0))
    assert capsys.readouterr().out == f"{tmp_path}/x.png: ?\n"


# Bad files among good ones


def _nasty(folder: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Good pictures and the texts of their pages; bad ones and the errors about them."""
    folder.mkdir()
    grey = SEVEN.convert("L")
    wide = PIL.Image.fromarray(np.asarray(grey, np.uint16) * 257)
    clear = SEVEN.convert("RGBA")
    clear.putalpha(PIL.Image.fromarray(255 - np.asarray(grey)))
    long = PIL.Image.new("L", (20_000, 20), 255)
    long.paste(grey.resize((18, 18)), (9_000, 1))
    black = PIL.Image.new("RGB", SEVEN.size)

    SEVEN.save(folder / "good.PNG")
    SEVEN.convert("CMYK").save(folder / "cmyk.jpg")
    SEVEN.quantize(16).save(folder / "palette.png")
    SEVEN.save(folder / "animated.gif", save_all=True, append_images=[black])
    SEVEN.save(folder / "animated.webp", save_all=True, append_images=[black])
    SEVEN.save(folder / "pages.tif", save_all=True, append_images=[black, ZERO])
    SEVEN.save(folder / "new\nline, and more.bmp")
    wide.save(folder / "sixteen.png")
    wide.save(folder / "sixteen.tif")
    clear.save(folder / "transparent.png")
    long.save(folder / "long.png")
    PIL.Image.new("L", (1, 1), 255).save(folder / "one.png")
    good = {path.name: ["7"] for path in folder.iterdir()}
    good |= {"one.png": [""], "pages.tif": ["7", "", "0"]}

    png = (folder / "good.PNG").read_bytes()
    (folder / "truncated.png").write_bytes(png[: len(png) // 2])
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(range(256)))
    (folder / "empty.tif").touch()
    (folder / "text.gif").write_text("not a picture")
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    chunk = struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + png[33:])
    bad = {
        "truncated.png": "damaged or unsupported image: ",
        "broken.jpg": "",
        "empty.tif": "empty file",
        "text.gif": "not an image",
        "huge.png": "more than 100 megapixels",
    }
    return good, bad


def test_each_bad_file_gives_one_line_and_good_ones_are_read(
    rowscan: Command, tmp_path: Path
) -> None:
    good, bad = _nasty(tmp_path / "in")
    done = rowscan("read", "in", "nowhere", "--format", "jsonl", "--output", "out.jsonl")
    assert (done.returncode, done.stdout) == (1, "")

    entries = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    every = [f"in/{name}" for name in sorted(good | bad) for _ in good.get(name, [""])]
    assert [entry["path"] for entry in entries] == [*every, "nowhere"]
    readings = [entry for entry in entries if entry["status"] != "error"]
    assert [entry["path"] for entry in entries if entry["status"] == "error"] == [
        *(f"in/{name}" for name in sorted(bad)),
        "nowhere",
    ]
    for name, texts in good.items():
        pages = [reading for reading in readings if reading["path"] == f"in/{name}"]
        assert [page["text"] for page in pages] == texts
        assert [page["page"] for page in pages] == list(range(1, len(texts) + 1))
        assert [page["status"] for page in pages] == ["read" if text else "empty" for text in texts]

    *said, summary = done.stderr.splitlines()
    assert summary.startswith(f"{len(good) + len(bad) + 1} pictures: ")
    assert f", {len(bad) + 1} errors, " in summary
    expected = [(f"in/{name}", bad[name]) for name in sorted(bad)]
    for line, (path, reason) in zip(
        said, [*expected, ("nowhere", "No such file or directory")], strict=True
    ):
        assert line.startswith(f"rowscan: {path}: {reason}")

    # The same as text and as a table.
    text = rowscan("read", "in").stdout.splitlines()
    for line, entry in zip(text, entries, strict=False):
        number = f"[{entry['page']}]" if entry["page"] > 1 else ""
        written = entry["text"] if entry["status"] != "error" else "error"
        assert line == entry["path"].replace("\n", "\\n") + f"{number}: {written}"
    assert len(text) == len(entries) - 1  # "nowhere" was not named
    table = list(csv.DictReader(io.StringIO(rowscan("read", "in", "--format", "csv").stdout)))
    lines = [(page, line) for page in entries[:-1] for line in page["lines"] or [None]]
    for row, (page, line) in zip(table, lines, strict=True):
        start = [row["path"], int(row["page"]), row["status"]]
        assert start == [page["path"], page["page"], page["status"]]
        if line is None:
            assert (row["line"], row["text"], row["x"]) == ("", "", "")
            continue
        assert row["text"] == line["text"]
        assert [int(row[key]) for key in ("x", "y", "width", "height")] == line["box"]
        assert float(row["confidence"]) == line["confidence"]


# Interrupted runs


def _wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.001)


def test_a_run_that_is_killed_several_times_gives_the_same_file(
    rowscan: Command, tmp_path: Path
) -> None:
    # csv keeps the least information about finished pictures; test_batch.py cuts the others.
    folder = _sevens(tmp_path / "in", 40)
    for number in (3, 17, 31):
        (folder / f"{number:03}.png").write_bytes(b"bad")
    SEVEN.save(folder / "020a.tif", save_all=True, append_images=[ZERO] * 3)
    PIL.Image.new("L", (50, 50), 255).save(folder / "010a.png")
    whole = rowscan("read", "in", "--format", "csv", "--output", "whole")
    assert whole.returncode == 1

    command = [*READ, "in", "--format", "csv", "--output", "parts"]
    ends = []
    for lines in (5, 21):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        _wait_for_lines(tmp_path / "parts", lines, process)
        process.kill()
        process.communicate()
        ends.append(process.returncode)
        assert (tmp_path / "whole").read_bytes().startswith((tmp_path / "parts").read_bytes())
    assert ends == [-signal.SIGKILL] * 2
    last = rowscan("read", "in", "--format", "csv", "--output", "parts")
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()

    # Pictures that could not be read are not tried again, but count.
    assert last.returncode == 1
    *errors, summary, counts = last.stderr.splitlines()
    assert errors == whole.stderr.splitlines()[-2:-1]
    assert ", 1 errors, " in counts
    done, added = (int(part.split()[0]) for part in summary.removeprefix("parts: ").split(", "))
    assert " pictures already read (2 could not be), " in summary
    assert done + added == 42
    again = rowscan("read", "in", "--format", "csv", "--output", "parts")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert again.stderr == ("parts: 42 pictures already read (3 could not be), nothing to add\n")


def test_a_complete_file_is_not_changed(rowscan: Command, tmp_path: Path) -> None:
    _sevens(tmp_path / "in", 3)
    call = ("read", "in", "--format", "csv", "--output", "out")
    assert rowscan(*call).returncode == 0
    before = (tmp_path / "out").stat()
    done = rowscan(*call)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "out: 3 pictures already read, nothing to add\n"
    other = rowscan("read", "in", "--format", "text", "--output", "out")
    assert other.returncode == 2
    assert other.stderr.startswith("rowscan: out: not the text of an interrupted run")
    assert other.stderr.count("\n") == 1
    after = (tmp_path / "out").stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)


def test_ctrl_c_ends_at_once_and_keeps_the_results(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number:04}.png").symlink_to(EXAMPLES / "7-13.png")
    process = subprocess.Popen(
        [*READ, "in", "--output", "out"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches the workers but not this process
    )
    _wait_for_lines(tmp_path / "out", 10, process)
    os.killpg(process.pid, signal.SIGSTOP)
    before = (tmp_path / "out").read_text().count("\n")
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGCONT)
    _, said = process.communicate()
    assert (process.returncode, said.strip()) == (130, "")
    lines = (tmp_path / "out").read_text().split("\n")
    # Not all that it had begun; the page that it was writing may be taken back.
    assert 10 <= before <= len(lines) <= before + 20
    assert lines == [f"in/{number:04}.png: 7" for number in range(len(lines) - 1)] + [""]


def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    _sevens(tmp_path / "in", 60)
    command = [*READ, "in"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "in/000.png: 7\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 1


# Annotated copies


def test_annotated_copies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("in/a", "in/b"):
        (tmp_path / folder).mkdir(parents=True)
        SEVEN.save(tmp_path / folder / "x.png")
    SEVEN.save(tmp_path / "in" / "pages.tif", save_all=True, append_images=[ZERO])
    before = {path: path.read_bytes() for path in (tmp_path / "in").rglob("*.*")}
    out = tmp_path / "in" / "out"  # in the same folder, but not read
    for _ in range(2):
        assert read_to(None, [str(tmp_path / "in")], Job(annotate=out))
        names = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
        assert names == ["a/x.png", "b/x.png", "pages.tif-1.png", "pages.tif-2.png"]
        texts = [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()]
        assert texts == ["7", "7", "7", "0"]
    assert all(path.read_bytes() == content for path, content in before.items())
    with PIL.Image.open(out / "a" / "x.png") as copy:
        assert copy.mode == "RGB"
        shown = np.asarray(copy)
    green = (shown == (0, 158, 115)).all(2)
    amber = (shown == (230, 159, 0)).all(2)
    assert green.sum() + amber.sum() > 100


def test_copies_of_several_pictures_keep_their_folders(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        SEVEN.save(tmp_path / folder / "x.jpg")
    paths = [str(tmp_path / folder / "x.jpg") for folder in ("a", "b")]
    assert read_to(tmp_path / "t", paths[:1], Job(annotate=tmp_path / "one"))
    assert read_to(tmp_path / "u", paths, Job(annotate=tmp_path / "two"))
    assert (tmp_path / "one" / "x.jpg").is_file()
    assert (tmp_path / "two" / "a" / "x.jpg").is_file()
    assert (tmp_path / "two" / "b" / "x.jpg").is_file()


def test_copies_never_overwrite_pictures(tmp_path: Path) -> None:
    SEVEN.save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    for paths in ([str(tmp_path / "x.png")], [str(tmp_path)]):
        with pytest.raises(UsageError, match="copies would overwrite pictures"):
            read_to(None, paths, Job(annotate=tmp_path))
    assert (tmp_path / "x.png").read_bytes() == content


def test_a_reading_is_written_even_if_its_copy_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    SEVEN.save(tmp_path / "in" / "x.png")
    (tmp_path / "out" / "x.png").mkdir(parents=True)
    assert not read_to(None, [str(tmp_path / "in")], Job(annotate=tmp_path / "out"))
    out, err = capsys.readouterr()
    assert out == f"{tmp_path}/in/x.png: 7\n"
    assert err.startswith(f"rowscan: {tmp_path}/in/x.png: {tmp_path}/out/x.png: cannot be written")


# Progress


@contextmanager
def _terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Make standard error a terminal of 80 columns; the other side of it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(theirs, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        yield ours


def test_a_terminal_shows_a_bar(
    monkeypatch: pytest.MonkeyPatch, shown: Callable[[int], str]
) -> None:
    with _terminal(monkeypatch) as terminal:
        progress = ReadingProgress(results_shown=False, done=2, count=lambda: 4)
        time.sleep(0.6)
        progress.step()
        progress.say("rowscan: x.png: empty file")
        progress.step()
        progress.close()
    text = shown(terminal)
    assert "rowscan: x.png: empty file\r\n" in text
    assert "4/4" in text


def test_there_is_no_bar_beside_results_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, shown: Callable[[int], str]
) -> None:
    with _terminal(monkeypatch) as terminal:
        progress = ReadingProgress(results_shown=True, done=0, count=lambda: 4)
        progress.step()
        progress.say("end")
        progress.close()
    assert shown(terminal) == "end\r\n"


def test_without_a_terminal_a_long_run_prints_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = ReadingProgress(results_shown=False, done=0, count=lambda: 4)
    progress.step()
    assert capsys.readouterr().err == ""  # too short for one
    monkeypatch.setattr("rowscan.io.progress._INTERVAL", 0.0)
    progress.step()
    progress.close()
    said = capsys.readouterr().err
    assert said.startswith("2 pictures read, ")
    assert said.endswith(" a second\n")
