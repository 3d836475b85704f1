"""Data sets from real files, servers and package clients, compared with known contents."""

import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import filelock
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rowscan.datasets.digits import Digits, Split, find, load_digits, load_test_digits
from rowscan.datasets.downloads import NamedDataset, Package, obtain
from rowscan.errors import DataError
from rowscan.segmentation.digit import normalise_digit

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")


def idx(array: np.ndarray) -> bytes:
    """An idx file as its format describes it, written apart from the code under test."""
    return (
        bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


def some(n: int, height: int = 28, width: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """`n` images and labels; pixel 0 is the label and pixel 1 the index, so that pairs show."""
    images = np.random.default_rng(n).integers(0, 256, (n, height, width), np.uint8)
    labels = np.arange(n, dtype=np.uint8) % 10
    images[:, 0, 0], images[:, 0, 1] = labels, np.arange(n)
    return images, labels


TINY = {
    name: idx(array) for name, array in zip(NAMES, (*some(12, 3, 2), *some(5, 3, 2)), strict=True)
}


def tiny(*mirrors: str, package: Package | None = None) -> NamedDataset:
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in TINY.items()}
    return NamedDataset("tiny", "TINY", checksums, mirrors, package)


def put(folder: Path, files: dict[str, bytes], *, gz: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}{'.gz' if gz else ''}").write_bytes(gzip.compress(data) if gz else data)
    return folder


def damaged(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder of MNIST for this user."""
    return find("mnist")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache of a user without any data."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ROWSCAN_DATA", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "root"


class Mirror:
    """A local server of `files` that records the requests."""

    def __init__(self, files: dict[str, bytes], cut: int = 0) -> None:
        self.asked: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/")
                mirror.asked.append(name)
                if name not in files:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(files[name]) + cut))
                self.end_headers()
                self.wfile.write(files[name])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def serve() -> Iterator[type[Mirror]]:
    started: list[Mirror] = []

    class Started(Mirror):
        def __init__(self, files: dict[str, bytes], cut: int = 0) -> None:
            super().__init__(files, cut)
            started.append(self)

    yield Started
    for mirror in started:
        mirror.server.shutdown()
        mirror.server.server_close()


GZ = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in TINY.items()}


# Named data sets


def test_mnist_is_what_was_published(mnist: Path) -> None:
    digits = load_digits("mnist")
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(digits.trainval.labels).tolist() == counts
    assert digits.trainval.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert digits.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # The mean and deviation that every tutorial normalises by, and one row of the first 5.
    assert digits.trainval.images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert digits.trainval.images.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    row = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 18, 18, 18, 126, 136, 175, 26, 166, 255, 247, 127]
    assert digits.trainval.images[0, 5].tolist() == [*row, 0, 0, 0, 0]
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (55000, 5000, 10000)
    md5 = (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    )
    content = obtain_mnist(mnist)
    assert tuple(hashlib.md5(content[name]).hexdigest() for name in NAMES) == md5


def obtain_mnist(folder: Path) -> dict[str, bytes]:
    found = {}
    for name in NAMES:
        plain = folder / name
        found[name] = (
            plain.read_bytes()
            if plain.exists()
            else gzip.decompress((folder / f"{name}.gz").read_bytes())
        )
    return found


def test_validation_is_the_first_5000_and_nothing_is_copied() -> None:
    digits = load_digits("mnist")
    np.testing.assert_array_equal(digits.validation.images, digits.trainval.images[:5000])
    np.testing.assert_array_equal(digits.train.images, digits.trainval.images[5000:])
    np.testing.assert_array_equal(digits.train.labels, digits.trainval.labels[5000:])
    for part in (digits.train, digits.validation):
        assert np.shares_memory(part.images, digits.trainval.images)
        assert np.shares_memory(part.labels, digits.trainval.labels)


def test_torch_takes_the_arrays_without_a_warning() -> None:
    torch = pytest.importorskip("torch")
    assert torch.from_numpy(load_digits("mnist").validation.labels)[0] == 5


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_two_processes_download_mnist_once(root: Path) -> None:
    code = "from rowscan import load_digits; print(load_digits('mnist').test.labels.sum())"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    expected = sum(digit * count for digit, count in enumerate(counts))
    assert [int(out) for out, _ in said] == [expected, expected]
    lines = "".join(err for _, err in said).splitlines()
    assert sum("amazonaws" in x and "downloading" in x and NAMES[0] in x for x in lines) == 1
    assert listing(root / "mnist") == sorted([".lock", *NAMES])


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs Debian's apt-get")
def test_fashion_mnist_is_what_was_published() -> None:
    try:
        digits = load_digits("fashion-mnist")
    except DataError as error:
        if "apt-get download" in str(error) and "E: " in str(error):
            pytest.skip(f"no mirror, and this system's package lists do not have it: {error}")
        raise
    assert np.bincount(digits.trainval.labels).tolist() == [6000] * 10
    assert np.bincount(digits.test.labels).tolist() == [1000] * 10
    assert digits.trainval.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert digits.trainval.images.mean() / 255 == pytest.approx(0.2860, abs=5e-5)


# Search folders


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("place", ["root/tiny", "root/TINY/raw", "data/TINY/raw"])
def test_existing_files_are_used_and_nothing_is_written(root: Path, place: str, gz: bool) -> None:
    folder = put(root.parent / place, TINY, gz=gz)
    before = listing(root.parent)
    found, files = obtain(tiny())
    assert found.resolve() == folder.resolve()
    assert files == TINY
    assert listing(root.parent) == before


def test_the_folder_of_torchvision_is_used(root: Path, mnist: Path) -> None:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for path in mnist.glob("*-ubyte*"):
        (folder / path.name).symlink_to(path)
    assert find("mnist", offline=True) == folder
    assert load_digits("mnist", offline=True).test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_a_damaged_plain_file_beside_its_good_gzip_is_not_used(root: Path) -> None:
    put(root / "tiny", TINY, gz=True)
    put(root / "tiny", {NAMES[0]: damaged(TINY[NAMES[0]])})
    assert obtain(tiny(), offline=True)[1] == TINY


def test_existing_files_need_no_lock(root: Path) -> None:
    put(root / "tiny", TINY)
    with filelock.FileLock(root / "tiny" / ".lock"):
        assert obtain(tiny())[1] == TINY


READ_ONLY = """
import json, os, sys
import filelock, platformdirs
from rowscan.datasets.downloads import NamedDataset, obtain
from rowscan.errors import DataError
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere; nobody may not
source = NamedDataset("tiny", "TINY", json.loads(sys.argv[1]))
try:
    print(sorted(obtain(source)[1]))
except DataError as error:
    sys.exit(f"DataError: {error}")
"""


@POSIX
def test_a_read_only_cache_is_used_and_named_if_a_file_is_missing() -> None:
    command = [sys.executable, "-c", READ_ONLY, json.dumps(dict(tiny().sha256))]
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o755)
        folder = put(Path(temporary, "tiny"), TINY)
        folder.chmod(0o555)
        there = os.environ | {"ROWSCAN_DATA": temporary, "HOME": temporary}
        whole = subprocess.run(command, capture_output=True, text=True, check=False, env=there)
        folder.chmod(0o755)
        (folder / NAMES[3]).unlink()
        folder.chmod(0o555)
        lacking = subprocess.run(command, capture_output=True, text=True, check=False, env=there)
        folder.chmod(0o755)
    assert (whole.stdout.strip(), whole.stderr) == (str(sorted(NAMES)), "")
    line = f"DataError: {folder}: tiny cannot be stored there: Permission denied;"
    assert lacking.stderr.startswith(line)
    assert lacking.stderr.count("\n") == 1


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_damage_is_ever_used(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    gz = data.draw(st.booleans())
    content = gzip.compress(TINY[name], mtime=0) if gz else TINY[name]
    at = data.draw(st.integers(0, len(content) - 1))
    flip = data.draw(st.integers(1, 255))
    broken = content[:at] + bytes((content[at] ^ flip,)) + content[at + 1 :]
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROWSCAN_DATA", temporary)
        folder = put(Path(temporary, "tiny"), {k: v for k, v in TINY.items() if k != name})
        (folder / f"{name}{'.gz' if gz else ''}").write_bytes(broken)
        try:
            assert obtain(tiny(), offline=True)[1] == TINY  # a gzip header has idle bytes
        except DataError as error:
            reason = f"{name}.gz: " if gz else f"{name}: wrong SHA-256"
            assert reason in str(error)  # noqa: PT017 - most damage is refused, not all


# Errors when no supplier works


def test_the_error_names_the_folders_and_what_to_do(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_digits("mnist", offline=True)
    message = str(caught.value)
    assert "\n" not in message
    for place in (f"{root}/mnist (no {NAMES[0]})", f"{root}/MNIST/raw", "data/MNIST/raw"):
        assert place in message
    assert "offline" in message
    by_hand = message[message.index("By hand") :]
    assert all(name in by_hand for name in NAMES)
    assert by_hand.endswith(f"into {root}/mnist")
    assert not root.exists()


def test_the_instructions_in_the_error_work(root: Path, mnist: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_digits("mnist", offline=True)
    folder = Path(str(caught.value).rsplit("into ")[-1])
    put(folder, obtain_mnist(mnist))
    assert find("mnist", offline=True) == folder


def test_the_error_names_each_supplier_with_its_reason(root: Path, serve: type[Mirror]) -> None:
    dead = serve({})
    dead.server.shutdown()
    dead.server.server_close()
    empty, cut = serve({}), serve({name: data[:-9] for name, data in GZ.items()})
    package = Package(("no-such-program", "get"), "*", ("tar",), ".")
    with pytest.raises(DataError) as caught:
        obtain(tiny(dead.url, empty.url, cut.url, package=package))
    message = str(caught.value)
    assert f"{dead.url} ({NAMES[0]}.gz: download failed, ConnectionError)" in message
    assert f"{empty.url} ({NAMES[0]}.gz: download failed, HTTP 404)" in message
    assert f"{cut.url} ({NAMES[0]}: damaged gzip)" in message
    assert "no-such-program get (no-such-program is not installed)" in message


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(DataError, match="emnist: unknown data set, expected one of mnist, fashion"):
        find("emnist")


# Mirrors.


def test_a_mirror_fills_the_cache(
    root: Path, serve: type[Mirror], capfd: pytest.CaptureFixture[str]
) -> None:
    mirror = serve(GZ)
    assert obtain(tiny(mirror.url)) == (root / "tiny", TINY)
    assert mirror.asked == [f"{name}.gz" for name in NAMES]
    assert {name: (root / "tiny" / name).read_bytes() for name in NAMES} == TINY
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [f"downloading {mirror.url}{name}.gz" for name in NAMES]
    assert obtain(tiny(mirror.url), offline=True)[1] == TINY
    assert len(mirror.asked) == 4


def test_a_damaged_file_is_replaced_and_only_that(root: Path, serve: type[Mirror]) -> None:
    put(root / "tiny", TINY | {NAMES[2]: damaged(TINY[NAMES[2]])})
    mirror = serve(GZ)
    assert obtain(tiny(mirror.url))[1] == TINY
    assert mirror.asked == [f"{NAMES[2]}.gz"]
    assert (root / "tiny" / NAMES[2]).read_bytes() == TINY[NAMES[2]]


def test_after_a_corrupted_copy_the_next_mirror_is_used(root: Path, serve: type[Mirror]) -> None:
    bad = serve(GZ | {f"{NAMES[1]}.gz": gzip.compress(damaged(TINY[NAMES[1]]))})
    good = serve(GZ)
    assert obtain(tiny(bad.url, good.url))[1] == TINY
    assert bad.asked == [f"{name}.gz" for name in NAMES[:2]]
    assert good.asked == [f"{name}.gz" for name in NAMES[1:]]
    assert {name: (root / "tiny" / name).read_bytes() for name in NAMES} == TINY


def test_after_a_lost_connection_the_next_mirror_is_used(root: Path, serve: type[Mirror]) -> None:
    short, good = serve(GZ, cut=100), serve(GZ)
    assert obtain(tiny(short.url, good.url))[1] == TINY
    assert short.asked == [f"{NAMES[0]}.gz"]


def test_offline_sends_no_requests(root: Path, serve: type[Mirror]) -> None:
    mirror = serve(GZ)
    with pytest.raises(DataError, match="offline"):
        obtain(tiny(mirror.url), offline=True)
    assert mirror.asked == []


@pytest.mark.parametrize("gz", [False, True])
def test_a_package_is_the_last_resort(root: Path, gz: bool) -> None:
    files = put(root.parent / "made" / "package" / "data", TINY, gz=gz)
    with tarfile.open(root.parent / "kept.tgz", "w:gz") as archive:
        archive.add(files, "package/data")
    copy = "import shutil, sys; shutil.copy(sys.argv[1], '.')"
    package = Package(
        fetch=(sys.executable, "-c", copy, str(root.parent / "kept.tgz")),
        archive="*.tgz",
        unpack=("tar", "-xzf", "{archive}"),
        folder="package/data",
    )
    assert obtain(tiny(package=package)) == (root / "tiny", TINY)
    shutil.rmtree(root)
    with pytest.raises(DataError, match=rf"no {NAMES[0]}"):
        obtain(tiny(package=replace(package, folder="elsewhere")))
    failing = replace(package, fetch=(sys.executable, "-c", "import sys; sys.exit('E: no such')"))
    with pytest.raises(DataError, match=r"\(E: no such\)"):
        obtain(tiny(package=failing))


# A cache that cannot be written


def test_a_cache_that_cannot_be_created_gives_one_line(
    root: Path, serve: type[Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    (root.parent / "file").touch()
    monkeypatch.setenv("ROWSCAN_DATA", str(root.parent / "file" / "below"))
    mirror = serve(GZ)
    with pytest.raises(DataError, match=r"file/below/tiny: tiny cannot be stored there: Not a dir"):
        obtain(tiny(mirror.url))
    assert mirror.asked == []


FETCH = """
import json, sys
from rowscan.datasets.downloads import NamedDataset, obtain
from rowscan.errors import DataError
if sys.argv[2]:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    obtain(NamedDataset("tiny", "TINY", json.loads(sys.argv[3]), (sys.argv[1],)))
except DataError as error:
    sys.exit(f"DataError: {error}")
"""


def fetch_command(url: str, limit: str = "") -> list[str]:
    return [sys.executable, "-c", FETCH, url, limit, json.dumps(dict(tiny().sha256))]


@POSIX
def test_a_full_disk_gives_one_line(root: Path, serve: type[Mirror]) -> None:
    command = fetch_command(serve(GZ).url, limit="50")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"DataError: {root}/tiny/{NAMES[0]}: cannot be written: File too large")
    assert "ROWSCAN_DATA" in last
    assert listing(root / "tiny") == [".lock"]


@POSIX
def test_a_terminal_shows_a_progress_bar(
    root: Path, serve: type[Mirror], shown: Callable[[int], str]
) -> None:
    import fcntl
    import termios

    terminal, ours = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.run(fetch_command(serve(GZ).url), stderr=ours, check=False)
    os.close(ours)
    bars = shown(terminal)
    assert done.returncode == 0, bars
    assert bars.count("100%|") >= 4


# Your own files


def normalised(images: Iterable[np.ndarray]) -> np.ndarray:
    return np.stack([normalise_digit(image) for image in images])


def pairs(split: Split) -> list[tuple[int, int]]:
    """(index, label) of images made by `some`; fails if images and labels do not match."""
    np.testing.assert_array_equal(split.images[:, 0, 0], split.labels)
    return list(zip(split.images[:, 0, 1].tolist(), split.labels.tolist(), strict=True))


@given(
    images=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)),
    data=st.data(),
)
@settings(max_examples=50, deadline=None)
def test_any_pair_of_idx_files_is_read_as_written(images: np.ndarray, data: st.DataObject) -> None:
    labels = data.draw(hnp.arrays(np.uint8, len(images), elements=st.integers(0, 9)))
    with tempfile.TemporaryDirectory() as temporary:
        files = {"my-images-idx3-ubyte": idx(images), "my-labels-idx1-ubyte": idx(labels)}
        folder = Path(temporary)
        for name, content in files.items():
            put(folder, {name: content}, gz=data.draw(st.booleans()))
        for path in (folder, next(folder.glob("my-images*"))):
            split = load_test_digits(path)
            np.testing.assert_array_equal(split.images, normalised(images))
            np.testing.assert_array_equal(split.labels, labels)


@given(at=st.integers(0, len(TINY[NAMES[0]]) - 1))
@settings(max_examples=40, deadline=None)
def test_every_truncation_of_an_idx_file_is_refused(at: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = put(Path(temporary), TINY | {NAMES[0]: TINY[NAMES[0]][:at]})
        with pytest.raises(DataError, match=rf"{NAMES[0]}: (damaged|truncated|not an idx file)"):
            load_digits(folder)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (NAMES[0], idx(some(12, 3, 2)[1]), "not an idx file of images: begins with 00 00 08 01"),
        (NAMES[1], idx(some(12, 3, 2)[0]), "not an idx file of labels: begins with 00 00 08 03"),
        (NAMES[0], b"", "begins with nothing"),
        (
            NAMES[0],
            TINY[NAMES[0]] + b"x",
            "damaged or truncated: expected 12 x 3 x 2 bytes, got 73",
        ),
        (NAMES[1], idx(some(11)[1]), "got 12 images and 11 labels"),
        (NAMES[0], idx(some(0, 3, 2)[0]), "no images in it"),
        (NAMES[1], idx(np.arange(12, dtype=np.uint8)), "got 10 at index 10"),
        (NAMES[1], gzip.compress(TINY[NAMES[1]], mtime=0)[:-4], "damaged gzip"),
    ],
)
def test_wrong_idx_files_are_refused(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    folder = put(tmp_path, TINY | {name: content})
    with pytest.raises(DataError) as caught:
        load_digits(folder)
    assert reason in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_folder_of_idx_files_keeps_its_order_and_its_test_part(tmp_path: Path) -> None:
    train, test = some(24), some(7)
    arrays = dict(zip(NAMES, map(idx, (*train, *test)), strict=True))
    digits = load_digits(put(tmp_path, arrays, gz=True))
    assert digits.name == str(tmp_path)
    np.testing.assert_array_equal(digits.trainval.images, train[0])
    np.testing.assert_array_equal(digits.validation.images, train[0][:2])
    np.testing.assert_array_equal(digits.train.images, train[0][2:])
    np.testing.assert_array_equal(digits.test.images, test[0])
    np.testing.assert_array_equal(load_test_digits(tmp_path).images, normalised(test[0]))
    (tmp_path / f"{NAMES[1]}.gz").unlink()
    with pytest.raises(DataError, match=rf"{NAMES[1]}.*No such file"):
        load_digits(tmp_path)


def test_the_split_without_a_test_part_never_changes(tmp_path: Path) -> None:
    images, labels = some(60)
    np.savez(tmp_path / "a.npz", images=images, labels=labels.astype(np.int64))
    digits = load_digits(tmp_path / "a.npz")
    parts = (digits.validation, digits.train, digits.test)
    assert [len(part) for part in parts] == [4, 46, 10]
    everything = [pair for part in parts for pair in pairs(part)]
    assert sorted(everything) == [(i, i % 10) for i in range(60)]
    assert [index for index, _ in pairs(digits.test)] == TEST_OF_60
    np.testing.assert_array_equal(load_test_digits(tmp_path / "a.npz").images, normalised(images))


TEST_OF_60 = [12, 16, 52, 37, 45, 5, 38, 9, 27, 26]


def test_the_four_arrays_of_keras(tmp_path: Path) -> None:
    train, test = some(20), some(6)
    np.savez_compressed(
        tmp_path / "a.npz", x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1]
    )
    digits = load_digits(tmp_path / "a.npz")
    assert pairs(digits.trainval) == [(i, i % 10) for i in range(20)]
    assert pairs(digits.test) == [(i, i) for i in range(6)]
    assert len(load_test_digits(tmp_path / "a.npz")) == 6


IMAGES, LABELS = some(6)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"images": IMAGES}, "no 'labels' in it, only images"),
        ({"pixels": IMAGES}, "no 'images' in it, only pixels"),
        ({"x_train": IMAGES, "y_train": LABELS}, "no 'x_test' in it"),
        (
            {"images": IMAGES / 255, "labels": LABELS},
            "images: expected uint8 (n, height, width), got float64 (6, 28, 28)",
        ),
        ({"images": IMAGES[..., None], "labels": LABELS}, "got uint8 (6, 28, 28, 1)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "no images in it"),
        ({"images": IMAGES[:, :0], "labels": LABELS}, "no images in it"),
        ({"images": IMAGES, "labels": LABELS[:5]}, "got 6 images and 5 labels"),
        (
            {"images": IMAGES, "labels": LABELS.astype(float)},
            "labels: expected integers (n,), got float64 (6,)",
        ),
        ({"images": IMAGES, "labels": LABELS.astype("m8[s]")}, "got timedelta64[s] (6,)"),
        ({"images": IMAGES, "labels": LABELS.astype(str)}, "labels: expected integers"),
        ({"images": IMAGES, "labels": np.eye(10)[LABELS].astype(int)}, "got int64 (6, 10)"),
        ({"images": IMAGES, "labels": LABELS.astype(int) - 2}, "got -2 at index 0"),
        ({"images": IMAGES, "labels": LABELS.astype("u8") + 5}, "got 10 at index 5"),
        ({"images": IMAGES, "labels": np.uint8(3)}, "got uint8 ()"),
        ({"images": IMAGES.astype(object), "labels": LABELS}, "Object arrays cannot be loaded"),
        ({"images": IMAGES[:2], "labels": LABELS[:2]}, "too few images"),
    ],
)
def test_wrong_arrays_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], reason: str
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, allow_pickle=True, **arrays)
    with pytest.raises(DataError) as caught:
        load_digits(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def npz_bytes() -> bytes:
    file = io.BytesIO()
    images, labels = some(3, 2, 2)
    np.savez_compressed(file, images=images, labels=labels)
    return file.getvalue()


NPZ = npz_bytes()


@given(at=st.integers(0, len(NPZ) - 1), flip=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_damaged_npz_is_refused_or_harmless(at: int, flip: int, cut: bool) -> None:
    content = NPZ[:at] if cut else NPZ[:at] + bytes((NPZ[at] ^ flip,)) + NPZ[at + 1 :]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "a.npz")
        path.write_bytes(content)
        try:
            split = load_test_digits(path)
        except DataError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 - most damage is refused, not all
        else:
            np.testing.assert_array_equal(split.images, normalised(some(3, 2, 2)[0]))
            np.testing.assert_array_equal(split.labels, some(3, 2, 2)[1])


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no zip")
    (tmp_path / "notes.txt").write_text("hello")
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("images.npy", "x" * 100)
        archive.writestr("labels.npy", "")
    (tmp_path / "empty").mkdir()
    put(tmp_path / "lone", {"digits": TINY[NAMES[0]], "a-images": TINY[NAMES[0]]})
    put(tmp_path / "two", {"a-images-idx3": b"", "b-images-idx3": b""})
    put(tmp_path / "tested", {name: TINY[name] for name in NAMES[2:]})
    for name, reason in {
        "text.npz": "cannot be read: File is not a zip file",
        "zip.npz": "got |S100 ()",
        "notes.txt": "not an idx file of images: begins with 68 65 6c 6c, expected 00 00 08 03",
        "empty": "no labels.csv, no idx files and no images by class in folders 0 to 9",
        "missing": "not found, and not one of the data sets mnist, fashion-mnist",
        "lone/digits": "expected 'images' or 'idx3' in its name",
        "lone/a-images": "a-labels: No such file",
        "two": "both a-images-idx3 and b-images-idx3",
        "tested": "only a test part",
    }.items():
        with pytest.raises(DataError) as caught:
            load_digits(tmp_path / name)
        assert reason in str(caught.value)
        assert str(caught.value).startswith(str(tmp_path / name.partition("/")[0]))


def classes(folder: Path, images: np.ndarray, labels: np.ndarray, suffix: str = ".png") -> None:
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{index:04}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(path)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_table_of_labels_and_pixels(header: bool, zipped: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (12, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, 12)
    rows = [
        f"{label},{','.join(map(str, image.ravel()))}"
        for label, image in zip(labels, images, strict=True)
    ]
    first = [",".join(["label", *(f"pixel{n}" for n in range(784))])] if header else []
    content = "\n".join(first + rows).encode() + b"\n"
    path = tmp_path / ("train.csv.gz" if zipped else "train.csv")
    path.write_bytes(gzip.compress(content) if zipped else content)
    split = load_test_digits(path, normalise=False)
    np.testing.assert_array_equal(split.images, images)
    np.testing.assert_array_equal(split.labels, labels)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no images in it"),
        ("label,pixel0\n", "no images in it"),
        ("filename,label\na.png,7\n", "expected a table of digits: label,pixel0,pixel1,..."),
        ("label,p,q\n1,2,3\n", "expected a label and the pixels of a square, got 3 columns"),
        ("7,0,1,2,256\n", "expected pixels of 0 to 255, got 0 to 256"),
        ("7,0,1,2,x\n", "expected whole numbers: "),
        ("10,0,1,2,3\n", "labels: expected 0 to 9, got 10 at index 0"),
    ],
)
def test_other_tables_are_refused(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "digits.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        load_test_digits(path, normalise=False)
    assert str(caught.value).startswith(f"{path}: {reason}")
    assert "\n" not in str(caught.value)


def test_a_folder_by_class(tmp_path: Path) -> None:
    classes(tmp_path, *some(60))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "3" / "notes.txt").write_text("no image")
    (tmp_path / "3" / "._0003.png").write_bytes(b"left by an archive")
    digits = load_digits(tmp_path)
    assert isinstance(digits, Digits)
    assert [len(part) for part in (digits.validation, digits.train, digits.test)] == [4, 46, 10]
    everything = [*pairs(digits.trainval), *pairs(digits.test)]
    assert sorted(everything) == [(i, i % 10) for i in range(60)]
    assert len(set(digits.trainval.labels[:20].tolist())) > 5  # classes are mixed
    assert sorted(load_test_digits(tmp_path).labels.tolist()) == sorted(i % 10 for i in range(60))


def test_folders_by_class_under_train_and_test(tmp_path: Path) -> None:
    train, test = some(24), some(7)
    classes(tmp_path / "train", *train)
    classes(tmp_path / "test", *test)
    digits = load_digits(tmp_path)
    assert sorted(pairs(digits.trainval)) == [(i, i % 10) for i in range(24)]
    assert sorted(pairs(digits.test)) == [(i, i) for i in range(7)]
    assert len(set(digits.validation.labels.tolist())) == 2
    assert sorted(load_test_digits(tmp_path).labels.tolist()) == list(range(7))


def test_pictures_of_another_size_are_normalised(tmp_path: Path, mnist: Path) -> None:
    originals = load_digits("mnist").test
    photos = [255 - np.kron(image, np.ones((3, 3), np.uint8)) for image in originals.images[:12]]
    classes(tmp_path, np.stack(photos), originals.labels[:12])
    split = load_test_digits(tmp_path)
    expected = {
        normalise_digit(photo).tobytes(): label
        for photo, label in zip(photos, originals.labels[:12], strict=True)
    }
    assert {
        image.tobytes(): label for image, label in zip(split.images, split.labels, strict=True)
    } == expected

    np.savez(tmp_path / "a.npz", images=np.stack(photos), labels=originals.labels[:12])
    np.testing.assert_array_equal(load_test_digits(tmp_path / "a.npz").images, normalised(photos))
    digits = load_digits(tmp_path / "a.npz")
    together = np.concatenate([digits.trainval.images, digits.test.images])
    assert {image.tobytes() for image in together} == set(expected)


def test_wrong_folders_by_class_are_refused(tmp_path: Path) -> None:
    classes(tmp_path / "a", *some(12))
    (tmp_path / "a" / "10").mkdir()
    with pytest.raises(
        DataError, match=r"a/10: expected folders of images by digit, named 0 to 9: "
    ):
        load_digits(tmp_path / "a")
    classes(tmp_path / "b", *some(12))
    (tmp_path / "b" / "0" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"b/0/broken\.png: "):
        load_digits(tmp_path / "b")


def test_a_device_and_a_picture_are_no_labelled_digits(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"picture")
    with pytest.raises(DataError, match="one picture; expected labelled digits"):
        load_test_digits(tmp_path / "one.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="a device or a pipe"):
            load_test_digits(tmp_path / "pipe")


def test_millions_of_images_in_a_few_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "digits.npz"
    images, labels = np.zeros((200_000, 1, 1), np.uint8), np.zeros(200_000, np.uint8)
    np.savez_compressed(path, images=images, labels=labels)
    with pytest.raises(DataError, match=r"200,000 images in [\d,]+ bytes"):
        load_test_digits(path)
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(b"7,0\n" * 100_000))
    with pytest.raises(DataError, match=r"100,000 images in [\d,]+ bytes"):
        load_test_digits(path)
