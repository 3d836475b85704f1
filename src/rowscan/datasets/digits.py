"""Digits: labelled digits as arrays, and their split into train, validation and test.

`rowscan.datasets.downloads` finds, downloads and checks the named data sets;
`rowscan.segmentation.digit` normalises images that are not 28 by 28.
"""

import math
import struct
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from rowscan.arrays import Int64, Shaped, UInt8
from rowscan.datasets.downloads import DATASETS, MAX_UNPACKED, find, obtain, read
from rowscan.errors import DataError, reason_of

__all__ = ["Digits", "Split", "find", "load_digits", "load_test_digits"]

_IMAGES = 1000
"""Images that every file may hold, with one more for each byte that it has."""
_NPZ = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, 0 to 9, in the same order."""

    images: UInt8[np.ndarray, "n height width"]
    labels: UInt8[np.ndarray, " n"]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Digits:
    """A data set of 28 by 28 images. Test images are only for the final evaluation."""

    name: str
    """The name or path that it was loaded by."""
    trainval: Split
    """Train and validation images in their published order: 60,000 of MNIST."""
    test: Split
    """10,000 of MNIST."""

    @property
    def validation(self) -> Split:
        """The first twelfth of `trainval`, at least one image: 5,000 of MNIST, a view.

        These are the validation images of TensorFlow's MNIST tutorials.
        """
        count = self._validation_count
        return Split(self.trainval.images[:count], self.trainval.labels[:count])

    @property
    def train(self) -> Split:
        """The rest of `trainval`: 55,000 of MNIST, a view."""
        count = self._validation_count
        return Split(self.trainval.images[count:], self.trainval.labels[count:])

    @property
    def _validation_count(self) -> int:
        return max(1, round(len(self.trainval) / 12))


def load_digits(name: str | Path = "mnist", *, offline: bool = False) -> Digits:
    """The digits of a named data set, or of your own files, as images of 28 by 28.

    A path can be one of these:

    - a folder of idx files with the names of MNIST's, gzip or not;
    - an idx file of images, with its labels beside it (`labels`, `idx1` in the name instead of
      `images`, `idx3`);
    - an `.npz` with `images` and `labels`, or with `x_train`, `y_train`, `x_test`, `y_test`: images
      uint8 (n, height, width), labels integers (n,) from 0 to 9;
    - a table (`.csv`, also `.csv.gz`) with a row for each image: its label and the pixels of a
      square row by row, with or without the header `label,pixel0,...`;
    - a folder of images by class, `0/` to `9/`, or the same in `train/` and `test/`.

    Without a separate test part, it is the last sixth after a fixed shuffle. Images by class are
    always shuffled. Images that are not 28 by 28 are normalised like a photo of a digit; 28 by 28
    images are used as they are, with 0 for paper.

    Args:
        name: `mnist`, `fashion-mnist` or a path.
        offline: do not download a named data set.

    Raises:
        DataError: the data cannot be found or downloaded, are damaged, or of another kind.
    """
    if isinstance(name, str) and name in DATASETS:
        folder, files = obtain(DATASETS[name], offline=offline)
        trainval, test = (
            _split(
                _idx(folder / images, files[images], 3),
                _idx(folder, files[_labels(images)], 1),
                folder,
            )
            for images in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")
        )
        return Digits(name, trainval, test)
    path = Path(name)
    parts = _parts(path)
    if "train" not in parts:
        raise DataError(path, "only a test part, expected also a training part")
    trainval = parts["train"]
    if "test" in parts:
        test = parts["test"]
    else:
        order = _shuffle(len(trainval))
        cut = len(trainval) - max(1, round(len(trainval) / 6))
        trainval, test = _take(trainval, order[:cut]), _take(trainval, order[cut:])
    if len(trainval) < 2:
        raise DataError(path, "too few images: expected at least 3, or 2 beside a test part")
    return Digits(str(path), _fitted(trainval), _fitted(test))


def load_test_digits(path: str | Path, *, offline: bool = False, normalise: bool = True) -> Split:
    """Labelled digits to evaluate a model on: the test part if there is one, otherwise all.

    Args:
        path: a name or path as for [`load_digits`][rowscan.datasets.digits.load_digits].
        offline: do not download a named data set.
        normalise: normalise the images of a path like photos of digits, whatever their size and
            polarity. Those of named data sets are never changed.

    Raises:
        DataError: the data cannot be found or downloaded, are damaged, or of another kind.
    """
    if isinstance(path, str) and path in DATASETS:
        return load_digits(path, offline=offline).test
    parts = _parts(Path(path))
    split = parts["test"] if "test" in parts else parts["train"]
    if not normalise:
        return split
    from rowscan.segmentation.digit import normalise_digit

    return Split(np.stack([normalise_digit(image) for image in split.images]), split.labels)


def _parts(path: Path) -> dict[str, Split]:
    """The data at `path`: `train` (also if its use is unspecified), `test`, or both."""
    try:
        if path.is_dir():
            files = _idx_files(path)
            if files:
                return {part: _read_idx(file) for part, file in files.items()}
            return _read_classes(path)
        if not path.exists():
            known = ", ".join(DATASETS)
            raise DataError(path, f"not found, and not one of the data sets {known}")
        if not path.is_file():
            raise DataError(path, "not a file but a device or a pipe")
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff"):
            raise DataError(
                path,
                "one picture; expected labelled digits: folders of images named 0 to 9, an .npz, "
                ".csv or idx file",
            )
        if path.suffix == ".npz":
            parts = _read_npz(path)
        else:
            is_table = ".csv" in path.suffixes[-2:]
            parts = {"train": _read_table(path) if is_table else _read_idx(path)}
        count, size = sum(map(len, parts.values())), path.stat().st_size
        if count > _IMAGES + size:
            raise DataError(path, f"{count:,} images in {size:,} bytes: they show nothing")
        return parts
    except OSError as error:
        raise DataError(error.filename or path, reason_of(error)) from None


def _idx_files(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):  # a file comes before its .gz
        if "images" not in file.name or "idx3" not in file.name:
            continue
        part = "test" if "t10k" in file.name or "test" in file.name else "train"
        first = files.setdefault(part, file)
        if file.name.removesuffix(".gz") != first.name.removesuffix(".gz"):
            raise DataError(
                folder, f"both {first.name} and {file.name} in it; give the path of one"
            )
    return files


def _read_idx(images: Path) -> Split:
    pixels = _idx(images, read(images), 3)
    if _labels(images.name) == images.name:
        raise DataError(images, "expected 'images' or 'idx3' in its name, to find its labels")
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
        raise DataError(
            path, f"not an idx file of {what}: begins with {found}, expected {magic.hex(' ')}"
        )
    if len(data) < start:
        raise DataError(path, "truncated: it ends within its header")
    shape = struct.unpack_from(f">{axes}I", data, len(magic))
    if len(data) - start != math.prod(shape):
        expected = " x ".join(map(str, shape))
        raise DataError(
            path, f"damaged or truncated: expected {expected} bytes, got {len(data) - start}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def _read_npz(path: Path) -> dict[str, Split]:
    try:
        # np.load would try to unpickle other files, and leaves damaged ones open.
        with path.open("rb") as file, NpzFile(file, allow_pickle=False) as archive:
            held = archive.files
            assert archive.zip is not None
            packed = (info for info in archive.zip.infolist() if info.compress_type)
            if sum(info.file_size for info in packed) > MAX_UNPACKED:
                reason = (
                    f"more than {MAX_UNPACKED // 1_000_000} MB compressed; save it uncompressed"
                )
                raise DataError(path, reason)
            keys = _NPZ if "x_train" in held else {"train": ("images", "labels")}
            for key in chain(*keys.values()):
                if key not in held:
                    raise DataError(path, f"no {key!r} in it, only {', '.join(held)}")
            arrays = {
                part: (np.asarray(archive[images]), np.asarray(archive[labels]))
                for part, (images, labels) in keys.items()
            }
    except DataError:
        raise
    except Exception as error:  # damaged bytes can cause any kind
        raise DataError(path, f"cannot be read: {reason_of(error)}") from None
    return {part: _split(images, labels, path) for part, (images, labels) in arrays.items()}


def _read_table(path: Path) -> Split:
    """A CSV with a row for each image: its label, then its pixels row by row; perhaps a header."""
    lines = read(path).decode("utf-8-sig", "replace").splitlines()
    header = int(bool(lines) and not lines[0].split(",")[0].strip().isdigit())
    if header and lines[0].split(",")[0].strip().lower() != "label":
        raise DataError(path, "expected a table of digits: label,pixel0,pixel1,...")
    if len(lines) <= header:
        raise DataError(path, "no images in it")
    try:
        table = np.loadtxt(lines[header:], np.int64, delimiter=",", ndmin=2)
    except ValueError as error:
        raise DataError(path, f"expected whole numbers: {reason_of(error)}") from None
    side = math.isqrt(max(0, table.shape[1] - 1))
    if side == 0 or table.shape[1] != 1 + side**2:
        raise DataError(
            path, f"expected a label and the pixels of a square, got {table.shape[1]} columns"
        )
    pixels = table[:, 1:]
    if pixels.min() < 0 or pixels.max() > 255:
        raise DataError(path, f"expected pixels of 0 to 255, got {pixels.min()} to {pixels.max()}")
    return _split(pixels.astype(np.uint8).reshape(-1, side, side), table[:, 0], path)


def _read_classes(folder: Path) -> dict[str, Split]:
    parts = [part for part in ("train", "test") if (folder / part).is_dir()]
    if parts:
        return {part: _read_pictures(folder / part) for part in parts}
    return {"train": _read_pictures(folder)}


def _read_pictures(folder: Path) -> Split:
    from rowscan.io.pictures import SUFFIXES, open_image, suffix

    images, labels = [], []
    for kind in sorted(folder.iterdir()):
        if not kind.is_dir() or kind.name.startswith((".", "_")):
            continue
        if kind.name not in tuple("0123456789"):
            raise DataError(
                kind,
                "expected folders of images by digit, named 0 to 9: rename or move this one; "
                "pictures of numbers need a labels.csv",
            )
        files = [
            file
            for file in sorted(kind.iterdir())
            if suffix(file.name) in SUFFIXES - {".pdf"} and not file.name.startswith(".")
        ]
        if not files:
            raise DataError(kind, "no images in it: add some, or remove the folder")
        images += [_fit(open_image(file)) for file in files]
        labels += [int(kind.name)] * len(files)
    if not images:
        raise DataError(
            folder, "no labels.csv, no idx files and no images by class in folders 0 to 9"
        )
    split = _split(np.stack(images), np.array(labels), folder)
    return _take(split, _shuffle(len(split)))


def _split(
    images: Shaped[np.ndarray, "..."], labels: Shaped[np.ndarray, "..."], path: Path
) -> Split:
    """Both as a `Split`, after checking their types and shapes; errors name `path`."""
    if images.dtype != np.uint8 or images.ndim != 3:
        raise DataError(
            path, f"images: expected uint8 (n, height, width), got {images.dtype} {images.shape}"
        )
    if images.size == 0:
        raise DataError(path, "no images in it")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(path, f"labels: expected integers (n,), got {labels.dtype} {labels.shape}")
    if len(images) != len(labels):
        raise DataError(
            path,
            f"expected as many labels as images, got {len(images)} images and {len(labels)} labels",
        )
    if labels.min() < 0 or labels.max() > 9:
        index = int(np.flatnonzero((labels < 0) | (labels > 9))[0])
        raise DataError(path, f"labels: expected 0 to 9, got {labels[index]} at index {index}")
    return Split(images, labels.astype(np.uint8))


def _fitted(split: Split) -> Split:
    if split.images.shape[1:] == (28, 28):
        return split
    return Split(np.stack([_fit(image) for image in split.images]), split.labels)


def _fit(image: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "28 28"]:
    from rowscan.segmentation.digit import normalise_digit

    return image if image.shape == (28, 28) else normalise_digit(image)


def _shuffle(n: int) -> Int64[np.ndarray, " n"]:
    """A fixed permutation of `n` items: NumPy guarantees the raw stream of a bit generator."""
    return np.argsort(np.random.PCG64(0).random_raw(n), kind="stable")


def _take(split: Split, order: Int64[np.ndarray, " m"]) -> Split:
    return Split(split.images[order], split.labels[order])
