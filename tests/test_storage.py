"""Pictures behind addresses are read like local ones; each that fails gives one line."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import without_seconds
from rowscan.batch.find import find_pictures
from rowscan.batch.items import End, Job, Picture
from rowscan.batch.local import read_to
from rowscan.errors import DataError, UsageError
from rowscan.io import storage

Command = Callable[..., subprocess.CompletedProcess[str]]

EXAMPLES = Path(__file__).parent.parent / "examples" / "digits"
SEVEN = (EXAMPLES / "7-13.png").read_bytes()


@pytest.mark.parametrize(
    ("place", "remote"),
    [
        ("s3://bucket/a.png", True),
        ("https://example.org/a.png", True),
        ("abfss://c@a/x", True),
        ("a.png", False),
        ("/a/b.png", False),
        ("C:/a.png", False),
        ("C://a.png", False),
        ("a b://c", False),
        ("-", False),
    ],
)
def test_what_is_an_address(place: str, remote: bool) -> None:
    assert storage.is_address(place) == remote


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder in the memory file system of fsspec."""
    fsspec = pytest.importorskip("fsspec")
    system: Any = fsspec.filesystem("memory")
    for name in ("b.png", "a.JPG", "c/z.png", "c/d/e.png", "notes.txt", ".h.png", "c/.g/x.png"):
        system.pipe_file(f"/in/{name}", SEVEN)
    yield "memory://in"
    system.rm("/in", recursive=True)


def test_a_folder_behind_an_address_is_searched_like_a_local_one(memory: str) -> None:
    found = list(find_pictures([memory, f"{memory}/", f"{memory}/notes.txt", f"{memory}/none"]))
    names = ["a.JPG", "b.png", "c/d/e.png", "c/z.png"]
    assert found[:8] == [Picture(f"{memory}/{name}") for name in names] * 2
    assert found[8:] == [
        Picture(f"{memory}/notes.txt"),
        End(f"{memory}/none", "No such file or directory", page=1),
    ]


def test_a_remote_folder_is_read_in_order_and_resumed(
    memory: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    paths = [memory, f"{memory}/gone.png"]
    assert not read_to(output, paths, Job(), jobs=2)
    whole = output.read_text()
    assert whole.splitlines() == [
        *(f"{memory}/{name}: 7" for name in ("a.JPG", "b.png", "c/d/e.png", "c/z.png")),
        f"{memory}/gone.png: error",
    ]
    assert without_seconds(capsys.readouterr().err) == (
        f"rowscan: {memory}/gone.png: No such file or directory\n"
        "5 pictures: 4 numbers, 0 empty, 0 unsure, 1 errors\n"
        "left out: 1 .txt\n"
    )
    output.write_text(whole[: len(whole) // 2])
    assert not read_to(output, paths, Job(), jobs=2)
    assert output.read_text() == whole


def test_remote_files_are_written_and_removed(memory: str) -> None:
    place = storage.join(storage.join(memory, "new"), "x.json")
    storage.write(place, b"{}")
    assert storage.read_bytes(place) == b"{}"
    storage.remove(place)
    storage.remove(place)
    with pytest.raises(DataError, match=r"x\.json: No such file or directory"):
        storage.read_bytes(place)


def test_copies_are_made_only_of_local_pictures(memory: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="supports only local pictures"):
        read_to(None, [memory], Job(annotate=tmp_path))


def test_an_unknown_scheme_gives_one_line() -> None:
    pytest.importorskip("fsspec")
    (end,) = find_pictures(["gopher://hole/x.png"])
    assert isinstance(end, End)
    assert end.error == "Protocol not known: gopher"


def test_a_picture_on_the_web(rowscan: Command) -> None:
    pytest.importorskip("aiohttp")
    handler = partial(SimpleHTTPRequestHandler, directory=str(EXAMPLES))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        done = rowscan("read", f"{base}/7-13.png", f"{base}/none.png")
        server.shutdown()
    assert (done.returncode, done.stdout) == (1, f"{base}/7-13.png: 7\n{base}/none.png: error\n")
    assert without_seconds(done.stderr) == (
        f"rowscan: {base}/none.png: No such file or directory\n"
        "2 pictures: 1 numbers, 0 empty, 0 unsure, 1 errors\n"
    )


def test_pictures_in_s3_are_read_like_those_in_a_folder(rowscan: Command, tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    fill = """
import sys, s3fs
system = s3fs.S3FileSystem()
system.mkdir("scans")
system.put(sys.argv[1], "scans/digits", recursive=True)
"""
    command = [sys.executable, "-m", "rowscan", "read", "s3://scans/digits", "--format", "jsonl"]
    try:
        subprocess.run(
            [sys.executable, "-c", fill, EXAMPLES], env=environment, check=True, capture_output=True
        )
        done = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, cwd=tmp_path
        )
    finally:
        server.stop()
    alone = rowscan("read", EXAMPLES, "--format", "jsonl")
    assert done.stdout == alone.stdout.replace(f"{EXAMPLES}/", "s3://scans/digits/")
    assert without_seconds(done.stderr) == (
        "19 pictures: 19 numbers, 0 empty, 0 unsure, 0 errors\nleft out: 1 .csv\n"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_devices_and_pipes_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "a.png"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(DataError, match="not a file but a device or a pipe"):
            storage.read_bytes(path)
