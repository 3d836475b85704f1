"""`rowscan read --on ray` from outside: two workers on this machine, killed and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import PIL.Image
import pytest

from conftest import Command, Each
from rowscan.batch.output_parts import BLOCK

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray")

EXAMPLES = Path(__file__).parent.parent / "examples" / "digits"
READ = [sys.executable, "-m", "rowscan", "read"]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


@pytest.fixture(scope="module", autouse=True)
def unreachable(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Begun before all tests, in a folder of its own: Ray tries for half a minute."""
    folder = tmp_path_factory.mktemp("unreachable")
    shutil.copytree(EXAMPLES, folder / "in")
    address = "ray://127.0.0.1:9"
    command = [*READ, "in", "--on", address, "--output", "out"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True) as process:
        yield process, folder
        process.kill()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster for all tests, so that commands need not start one."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    options = ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", "--port=0"]
    start = [*RAY, "start", "--head", *options]
    try:
        subprocess.run(start, check=True, capture_output=True, env=environment)
        yield
    finally:  # half of it may have started
        subprocess.run([*RAY, "stop", "--force"], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `in` with more pictures than a block, three of them damaged, and four shards.

    So one of its six blocks is large. Beside it is the output of `rowscan read` on one machine.
    """
    folder = tmp_path_factory.mktemp("cluster") / "in"
    folder.mkdir()
    samples = sorted(EXAMPLES.glob("*.png"))
    PIL.Image.new("L", (40, 30), "white").save(white := folder.parent / "white.png")
    for number in range(BLOCK + 10):  # most are empty: these take little time
        picture = white if number % 5 > 1 else samples[number % len(samples)]
        shutil.copy(picture, folder / f"{number:03}.png")
    for number in (3, 17, BLOCK + 2):
        (folder / f"{number:03}.png").write_bytes(b"bad")
    for number in range(4):
        with tarfile.open(folder / f"s{number}.tar", "w") as shard:
            for path in samples[number : number + 5]:
                shard.add(path, path.name)
    command = [*READ, "in", "nowhere", "--format", "jsonl"]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    *rows, nowhere = done.stdout.splitlines(keepends=True)
    assert json.loads(nowhere)["status"] == "error"  # on a cluster it is only among the errors
    (folder.parent / "rows").write_text("".join(rows))
    (folder.parent / "errors").write_text(done.stderr)
    return folder


def _rows(folder: Path) -> list[str]:
    parts = sorted((folder / "readings").glob("part-*.jsonl"))
    return [line for part in parts for line in part.read_text().splitlines()]


def _errors(folder: Path) -> list[tuple[str, str]]:
    parts = sorted((folder / "errors").glob("*.jsonl"))
    found = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    return sorted((row["path"], row["error"]) for row in found)


ON_RAY = ("read", "in", "--on", "ray", "--format", "jsonl", "--output", "out")


@pytest.mark.usefixtures("cluster")
def test_the_rows_are_those_of_one_machine(
    pictures: Path, rowscan: Command, tmp_path: Path
) -> None:
    shutil.copytree(pictures, tmp_path / "in")
    folder = tmp_path / "in" / "0read"  # results are not read as pictures
    arguments = ("read", "in", "nowhere", "--format", "jsonl", "--on", "ray", "--jobs", "2")
    done = rowscan(*arguments, "--output", "in/0read")
    assert (done.returncode, done.stdout) == (1, "")
    rows = (pictures.parent / "rows").read_text().splitlines()
    assert _rows(folder) == rows
    alone = (pictures.parent / "errors").read_text().splitlines()
    expected = [line for line in alone if line.startswith("rowscan: ")]  # not its progress
    said = [f"rowscan: {path}: {error}" for path, error in _errors(folder)]
    assert said == sorted(expected)
    # Again: nothing is left to do, but the errors still count.
    again = rowscan(*arguments, "--output", "in/0read")
    assert again.returncode == 1
    assert f"in/0read: {BLOCK + 30} pictures already read" in again.stderr
    assert _rows(folder) == rows
    # Other pictures than at the beginning.
    shutil.copy(EXAMPLES / "7-13.png", tmp_path / "in" / "000a.png")
    other = rowscan(*arguments, "--output", "in/0read")
    assert other.returncode == 1
    assert other.stderr.endswith(
        "rowscan: in/0read: the pictures have changed since this run began; name another folder\n"
    )


def _begun(folder: Path) -> subprocess.Popen[str]:
    """A run with some blocks done, but not the large one."""
    process = subprocess.Popen(
        [*READ[:-1], *ON_RAY],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any((folder / "out" / "done").glob("*")):
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.usefixtures("cluster")
def test_a_run_that_is_killed_is_resumed(pictures: Path, rowscan: Command, tmp_path: Path) -> None:
    (tmp_path / "in").symlink_to(pictures)
    process = _begun(tmp_path)
    process.kill()
    process.communicate()
    assert len(list((tmp_path / "out" / "done").glob("*"))) < 6
    assert rowscan(*ON_RAY).returncode == 1
    assert _rows(tmp_path / "out") == (pictures.parent / "rows").read_text().splitlines()


@pytest.mark.usefixtures("cluster")
def test_workers_that_are_killed_cost_nothing(pictures: Path, tmp_path: Path) -> None:
    """Those of Ray, and those that they start for pictures."""
    (tmp_path / "in").symlink_to(pictures)
    process = _begun(tmp_path)
    for name in ("multiprocessing.spawn", "ray::MapWorker"):
        victims = _below(name)
        assert victims, name
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
    printed, _ = process.communicate()
    assert (process.returncode, printed) == (1, "")
    assert _rows(tmp_path / "out") == (pictures.parent / "rows").read_text().splitlines()
    assert len(_errors(tmp_path / "out")) == 3


WRONG = [
    (["in", "--on", "ray"], "expected --output with a folder"),
    (["in", "--on", "spark", "--output", "o"], "--on: expected ray or ray://HOST:PORT"),
    (["in", "--format", "parquet"], "--format parquet needs --on ray"),
    (["in", "--on", "ray", "--output", "o", "--format", "text"], "parquet, csv, jsonl"),
    (["-", "--on", "ray", "--output", "o"], "--on does not support standard input"),
    (["in", "--on", "ray", "--output", "o", "--annotate", "a"], "--on does not support --annotate"),
    (["in", "--output", "memory://o"], "writing to an address needs --on ray"),
]


def test_wrong_calls(rowscan_each: Each, tmp_path: Path) -> None:
    done = rowscan_each([["read", *arguments] for arguments, _ in WRONG])
    for (arguments, reason), (status, printed, said) in zip(WRONG, done, strict=True):
        assert (status, printed) == (2, ""), arguments
        assert reason in said, arguments
        assert said.count("\n") == 1, arguments
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_is_not_there_gets_a_line(
    unreachable: tuple[subprocess.Popen[str], Path],
) -> None:
    process, folder = unreachable
    printed, said = process.communicate()
    assert (process.returncode, printed) == (1, "")
    assert said.startswith("rowscan: ray://127.0.0.1:9: cannot be reached: ")
    assert said.count("\n") == 1
    assert not (folder / "out").exists()


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
