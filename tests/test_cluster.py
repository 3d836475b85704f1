"""`rowscan read --on ray` as a user meets it: two workers on this machine, killed and taken up."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray")

Command = Callable[..., subprocess.CompletedProcess[str]]

EXAMPLES = Path(__file__).parent.parent / "examples" / "digits"
READ = [sys.executable, "-m", "rowscan", "read"]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster that all tests use; so each command need not start one."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    options = ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", "--port=0"]
    start = [*RAY, "start", "--head", *options]
    subprocess.run(start, check=True, capture_output=True, env=environment)
    yield
    subprocess.run([*RAY, "stop", "--force"], check=True, capture_output=True)


def _pictures(folder: Path, count: int) -> Path:
    """So many pictures, three of them damaged, and a shard's worth of names of other kinds."""
    folder.mkdir()
    samples = sorted(EXAMPLES.glob("*.png"))
    for number in range(count):
        shutil.copy(samples[number % len(samples)], folder / f"{number:05}.png")
    for number in {3, 17, 31} & set(range(count)):
        (folder / f"{number:05}.png").write_bytes(b"bad")
    return folder


def _rows(folder: Path) -> list[str]:
    parts = sorted((folder / "readings").glob("part-*.jsonl"))
    return [line for part in parts for line in part.read_text().splitlines()]


def _errors(folder: Path) -> list[tuple[str, str]]:
    parts = sorted((folder / "errors").glob("*.jsonl"))
    found = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    return sorted((row["path"], row["error"]) for row in found)


@pytest.mark.usefixtures("cluster")
def test_the_rows_are_those_of_one_machine(rowscan: Command, tmp_path: Path) -> None:
    _pictures(tmp_path / "in", 1100)
    arguments = ("read", "in", "nowhere", "--format", "jsonl")
    alone = rowscan(*arguments)
    done = rowscan(*arguments, "--on", "ray", "--jobs", "2", "--output", "out")
    assert (done.returncode, done.stdout) == (1, "")
    assert _rows(tmp_path / "out") == alone.stdout.splitlines()
    said = [line.removeprefix("rowscan: ") for line in alone.stderr.splitlines()]
    assert [f"{path}: {error}" for path, error in _errors(tmp_path / "out")] == sorted(said)
    # Again: nothing is left to be done, and what could not be read is not forgotten.
    again = rowscan(*arguments, "--on", "ray", "--jobs", "2", "--output", "out")
    assert again.returncode == 1
    assert "out: 1,100 pictures already read" in again.stderr
    assert _rows(tmp_path / "out") == alone.stdout.splitlines()
    # Other pictures than it was begun with.
    shutil.copy(EXAMPLES / "7-13.png", tmp_path / "in" / "00000a.png")
    other = rowscan(*arguments, "--on", "ray", "--jobs", "2", "--output", "out")
    assert other.returncode == 1
    assert other.stderr.endswith(
        "rowscan: out: the pictures have changed since this run began; name another folder\n"
    )


@pytest.mark.usefixtures("cluster")
def test_results_among_the_pictures_are_no_pictures(rowscan: Command, tmp_path: Path) -> None:
    _pictures(tmp_path / "in", 2)
    arguments = ("read", "in", "--on", "ray", "--output", "in/0read")
    first, again = rowscan(*arguments), rowscan(*arguments)
    assert (first.returncode, again.returncode) == (0, 0)
    assert "in/0read: 2 pictures already read" in again.stderr
    assert len(list((tmp_path / "in" / "0read" / "readings").iterdir())) == 1


@pytest.mark.usefixtures("cluster")
def test_a_run_that_is_killed_is_resumed(rowscan: Command, tmp_path: Path) -> None:
    _pictures(tmp_path / "in", 2200)
    command = [*READ, "in", "--on", "ray", "--format", "jsonl", "--output", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: len(list((tmp_path / "out" / "done").glob("*"))) >= 2, process)
    process.kill()
    process.communicate()
    assert len(list((tmp_path / "out" / "done").glob("*"))) < 5
    done = rowscan("read", "in", "--on", "ray", "--format", "jsonl", "--output", "out")
    assert done.returncode == 1
    assert (
        _rows(tmp_path / "out")
        == rowscan(*READ[3:], "in", "--format", "jsonl").stdout.split("\n")[:-1]
    )


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", ["ray::MapWorker", "multiprocessing.spawn"])
def test_a_worker_that_is_killed_costs_nothing(name: str, rowscan: Command, tmp_path: Path) -> None:
    _pictures(tmp_path / "in", 2200)
    command = [*READ, "in", "--on", "ray", "--format", "jsonl", "--output", "out"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for(lambda: any((tmp_path / "out" / "done").glob("*")), process)
    victims = _below(name)
    assert victims
    os.kill(victims[0], signal.SIGKILL)
    printed, _ = process.communicate()
    assert (process.returncode, printed) == (1, "")
    alone = rowscan("read", "in", "--format", "jsonl")
    assert _rows(tmp_path / "out") == alone.stdout.splitlines()
    assert len(_errors(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in", "--on", "ray"], "expected --output with a folder"),
        (["in", "--on", "spark", "--output", "o"], "--on: expected ray or ray://HOST:PORT"),
        (["in", "--format", "parquet"], "--format parquet needs --on ray"),
        (["in", "--on", "ray", "--output", "o", "--format", "text"], "parquet, csv, jsonl"),
        (["-", "--on", "ray", "--output", "o"], "--on does not support standard input"),
        (
            ["in", "--on", "ray", "--output", "o", "--annotate", "a"],
            "--on does not support --annotate",
        ),
        (["in", "--output", "memory://o"], "writing to an address needs --on ray"),
    ],
)
def test_wrong_calls(arguments: list[str], said: str, rowscan: Command, tmp_path: Path) -> None:
    done = rowscan("read", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_is_not_there_gets_a_line(rowscan: Command, tmp_path: Path) -> None:
    _pictures(tmp_path / "in", 40)
    done = rowscan("read", "in", "--on", "ray://127.0.0.1:9", "--output", "out")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("rowscan: ray://127.0.0.1:9: cannot be reached: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _below(name: str) -> list[int]:
    """Processes of the pool whose command has this in it."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            above = Path("/proc", parent, "cmdline").read_bytes().decode()
        except OSError:
            continue
        if name in command and "ray" in above:
            found.append(int(folder.name))
    return found
