"""Data: labelled digits as arrays, and the one split into train, validation and test.

Named data sets are found, fetched and checked by `rowscan.datasets.downloads`; a picture that is
not 28 by 28 is normalised by `rowscan.segmentation.digit`.
"""

import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from rowscan.arrays import Int64, Shaped, UInt8
from rowscan.datasets.downloads import SOURCES, find, obtain, read
from rowscan.errors import DataError

__all__ = ["Digits", "Split", "find", "load_digits", "load_labelled"]

_PICTURES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_NPZ = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}
_DAMAGED_NPZ = (
    ArithmeticError,
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Split:
    """Images and what they show, in step."""

    images: UInt8[np.ndarray, "n height width"]
    labels: UInt8[np.ndarray, " n"]

    def __len__(self) -> int:
        """How many images."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Digits:
    """A data set of 28 by 28 images: what is learnt from, and what is touched once at the end."""

    name: str
    """What it was asked for by."""
    training: Split
    """All training images in their published order: 60,000 of MNIST."""
    test: Split
    """10,000 of MNIST."""

    @property
    def validation(self) -> Split:
        """The first twelfth of `training`, at least one image: 5,000 of MNIST, a view.

        The held-out images of TensorFlow's MNIST tutorials, which the published systems used.
        """
        held_back = self._held_back
        return Split(self.training.images[:held_back], self.training.labels[:held_back])

    @property
    def train(self) -> Split:
        """The rest of `training`: 55,000 of MNIST, a view."""
        held_back = self._held_back
        return Split(self.training.images[held_back:], self.training.labels[held_back:])

    @property
    def _held_back(self) -> int:
        return max(1, round(len(self.training) / 12))


def load_digits(name: str | Path = "mnist", *, offline: bool = False) -> Digits:
    """The digits of a named data set, or of files of one's own, as images of 28 by 28.

    A path may lead to one of these:

    - a folder of idx files, named as MNIST's are, gzip or not;
    - an idx file of images, whose labels lie beside it (`images`, `idx3` in the one name are
      `labels`, `idx1` in the other);
    - an `.npz` with `images` and `labels`, or with `x_train`, `y_train`, `x_test`, `y_test`: images
      (n, height, width) uint8, labels (n,) whole numbers 0 to 9;
    - a folder of images by class, `0/` to `9/`, or the same under `train/` and `test/`.

    If nothing says what is for the test, it is the last sixth after a shuffle that is always the
    same. Images by class are shuffled in any case. Images that are not 28 by 28 are normalised as
    a photo of a digit is; those that are stay as they are, 0 being paper.

    Args:
        name: `mnist`, `fashion-mnist` or a path.
        offline: never look for a named data set outside this machine.

    Raises:
        DataError: the data cannot be had, are damaged, or are of another kind.
    """
    if isinstance(name, str) and name in SOURCES:
        folder, files = obtain(SOURCES[name], offline=offline)
        training, test = (
            _split(
                _idx(folder / images, files[images], 3),
                _idx(folder, files[_labels(images)], 1),
                folder,
            )
            for images in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")
        )
        return Digits(name, training, test)
    path = Path(name)
    parts = _parts(path)
    if "train" not in parts:
        raise DataError(path, "a test part only, nothing to train on")
    training = parts["train"]
    if "test" in parts:
        test = parts["test"]
    else:
        order = _shuffle(len(training))
        cut = len(training) - max(1, round(len(training) / 6))
        training, test = _take(training, order[:cut]), _take(training, order[cut:])
    if len(training) < 2:
        raise DataError(path, "too few images to train on, validate and test")
    return Digits(str(path), _fitted(training), _fitted(test))


def load_labelled(path: str | Path, *, offline: bool = False) -> Split:
    """Labelled single digits to evaluate on: the test part if there is one, otherwise all.

    Images of a path are normalised as a photo of a digit is, whatever their size and polarity; the
    named data sets stay as they are.

    Args:
        path: all that [`load_digits`][rowscan.datasets.digits.load_digits] takes.
        offline: never look for a named data set outside this machine.

    Raises:
        DataError: the data cannot be had, are damaged, or are of another kind.
    """
    split = load_raw(path, offline=offline)
    if isinstance(path, str) and path in SOURCES:
        return split
    from rowscan.segmentation.digit import normalise_digit

    return Split(np.stack([normalise_digit(image) for image in split.images]), split.labels)


def load_raw(path: str | Path, *, offline: bool = False) -> Split:
    """As `load_labelled`, but images of a path are left as they are: pictures of a digit."""
    if isinstance(path, str) and path in SOURCES:
        return load_digits(path, offline=offline).test
    parts = _parts(Path(path))
    return parts["test"] if "test" in parts else parts["train"]


def _parts(path: Path) -> dict[str, Split]:
    """What lies at `path`: `train` (also what nobody says the use of), `test`, or both."""
    try:
        if path.is_dir():
            files = _idx_files(path)
            if files:
                return {part: _read_idx(file) for part, file in files.items()}
            return _read_classes(path)
        if not path.exists():
            known = ", ".join(SOURCES)
            raise DataError(path, f"no such file or folder, nor one of the data sets {known}")
        return _read_npz(path) if path.suffix == ".npz" else {"train": _read_idx(path)}
    except OSError as error:
        raise DataError(error.filename or path, error.strerror or str(error)) from None


def _idx_files(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):  # a file comes before its own .gz
        if "images" not in file.name or "idx3" not in file.name:
            continue
        part = "test" if "t10k" in file.name or "test" in file.name else "train"
        first = files.setdefault(part, file)
        if file.name.removesuffix(".gz") != first.name.removesuffix(".gz"):
            raise DataError(folder, f"both {first.name} and {file.name}; give one file as path")
    return files


def _read_idx(images: Path) -> Split:
    pixels = _idx(images, read(images), 3)
    if _labels(images.name) == images.name:
        raise DataError(
            images, "neither 'images' nor 'idx3' in its name, so its labels cannot be found"
        )
    labels = images.with_name(_labels(images.name.removesuffix(".gz")))
    zipped = labels.with_name(f"{labels.name}.gz")
    if zipped.exists() and not labels.exists():
        labels = zipped
    return _split(pixels, _idx(labels, read(labels), 1), images)


def _labels(images: str) -> str:
    return images.replace("images", "labels").replace("idx3", "idx1")


def _idx(path: Path, data: bytes, axes: int) -> UInt8[np.ndarray, "..."]:
    """The array of an idx file (http://yann.lecun.com/exdb/mnist, "the IDX file format")."""
    magic = bytes((0, 0, 8, axes))
    start = len(magic) + 4 * axes
    if data[:4] != magic:
        what = "images" if axes == 3 else "labels"
        found = data[:4].hex(" ") or "nothing"
        raise DataError(path, f"no idx file of {what}: begins {found}, not {magic.hex(' ')}")
    if len(data) < start:
        raise DataError(path, "truncated: the file ends within its header")
    shape = struct.unpack_from(f">{axes}I", data, len(magic))
    if len(data) - start != math.prod(shape):
        wanted = " x ".join(map(str, shape))
        raise DataError(
            path, f"damaged or truncated: {len(data) - start} bytes where {wanted} are promised"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def _read_npz(path: Path) -> dict[str, Split]:
    try:
        # Not np.load, which takes what is no .npz for a pickle, and leaves damaged files open.
        with path.open("rb") as file, NpzFile(file, allow_pickle=False) as archive:
            held = archive.files
            keys = _NPZ if "x_train" in held else {"train": ("images", "labels")}
            for key in chain(*keys.values()):
                if key not in held:
                    raise DataError(path, f"no {key!r} in it; it holds: {', '.join(held)}")
            arrays = {
                part: (np.asarray(archive[images]), np.asarray(archive[labels]))
                for part, (images, labels) in keys.items()
            }
    except _DAMAGED_NPZ as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(path, f"cannot be read: {reason}") from None
    return {part: _split(images, labels, path) for part, (images, labels) in arrays.items()}


def _read_classes(folder: Path) -> dict[str, Split]:
    parts = [part for part in ("train", "test") if (folder / part).is_dir()]
    if parts:
        return {part: _read_pictures(folder / part) for part in parts}
    return {"train": _read_pictures(folder)}


def _read_pictures(folder: Path) -> Split:
    from rowscan.io.pictures import open_image

    images, labels = [], []
    for kind in sorted(folder.iterdir()):
        if not kind.is_dir() or kind.name.startswith((".", "_")):
            continue
        if kind.name not in tuple("0123456789"):
            raise DataError(kind, "folders of images by class are called 0 to 9")
        for file in sorted(kind.iterdir()):
            if file.suffix.lower() in _PICTURES and not file.name.startswith("."):
                images.append(_fit(open_image(file)))
                labels.append(int(kind.name))
    if not images:
        raise DataError(folder, "no idx files and no images by class in folders 0 to 9")
    split = _split(np.stack(images), np.array(labels), folder)
    return _take(split, _shuffle(len(split)))


def _split(
    images: Shaped[np.ndarray, "..."], labels: Shaped[np.ndarray, "..."], path: Path
) -> Split:
    """Both as a `Split`, if that is what they are; `path` is to blame if not."""
    if images.dtype != np.uint8 or images.ndim != 3:
        raise DataError(
            path, f"images are {images.dtype} {images.shape}, not uint8 (n, height, width)"
        )
    if images.size == 0:
        raise DataError(path, "no images in it")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(path, f"labels are {labels.dtype} {labels.shape}, not whole numbers (n,)")
    if len(images) != len(labels):
        raise DataError(path, f"{len(images)} images but {len(labels)} labels")
    if labels.min() < 0 or labels.max() > 9:
        index = int(np.flatnonzero((labels < 0) | (labels > 9))[0])
        raise DataError(path, f"labels are 0 to 9; number {index} (from 0) is {labels[index]}")
    return Split(images, labels.astype(np.uint8))


def _fitted(split: Split) -> Split:
    if split.images.shape[1:] == (28, 28):
        return split
    return Split(np.stack([_fit(image) for image in split.images]), split.labels)


def _fit(image: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "28 28"]:
    from rowscan.segmentation.digit import normalise_digit

    return image if image.shape == (28, 28) else normalise_digit(image)


def _shuffle(n: int) -> Int64[np.ndarray, " n"]:
    """The same order of `n` things for ever: NumPy promises a bit generator's raw stream."""
    return np.argsort(np.random.PCG64(0).random_raw(n), kind="stable")


def _take(split: Split, order: Int64[np.ndarray, " m"]) -> Split:
    return Split(split.images[order], split.labels[order])
