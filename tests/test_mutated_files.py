"""Files with changed, missing or additional bytes: read, or refused with one line; nothing else."""

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from rowscan.batch.shards import pictures_in
from rowscan.datasets.digits import load_test_digits
from rowscan.datasets.labelled import load_labels
from rowscan.errors import RowscanError
from rowscan.io.pictures import open_pages
from rowscan.recipes import load
from rowscan.recognition.model import open_model

EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURE = PIL.Image.open(EXAMPLES / "digits" / "7-13.png").convert("RGB")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF", "DIB", "JPEG2000", "PCX")
PAGES = 20  # of a file: a damaged TIFF can count many


def picture(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    PICTURE.save(buffer, kind, **options)
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=np.zeros((9, 28, 28), np.uint8), labels=np.arange(9))
    return buffer.getvalue()


def tar() -> bytes:
    buffer, content = io.BytesIO(), picture("PNG")
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for number in range(3):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


TABLE = "\n".join(["label," + ",".join(map(str, range(16))), *["7" + ",0" * 16] * 3]).encode()
LABELS = ("filename;label\n" + "".join(f"{n}.png;{n:05}\n" for n in range(9))).encode("utf-16")
MODEL = Path(__file__).parent.parent / "src" / "rowscan" / "models" / "digit.onnx"
RECIPE = b'base = "lstm-rows"\nscan = "columns"\nhidden = 96\nepochs = 6\nlearning_rate = 5e-3\n'
OTHERS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "digits.npz": (npz(), load_test_digits),
    "digits.csv": (TABLE, load_test_digits),
    "digits.csv.gz": (gzip.compress(TABLE), load_test_digits),
    "labels.csv": (LABELS, lambda path: load_labels(path.parent)),
    "shard.tar.gz": (tar(), lambda path: list(pictures_in(str(path)))),
    "recipe.toml": (RECIPE, load),
    "model.onnx": (MODEL.read_bytes(), open_model),
}
EXTREMES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff")


def mutated(content: bytes, rng: random.Random) -> bytes:
    """One to five changes, more of them near the start, where the headers are."""
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(min(len(changed), rng.choice([32, 256, 2048, len(changed)])))
        match rng.randrange(5):
            case 0:
                changed[place : place + 4] = rng.choice(EXTREMES)
            case 1:
                del changed[max(1, rng.randrange(len(changed))) :]
            case 2:
                changed[place:place] = rng.randbytes(rng.randrange(9))
            case _:
                changed[place] = rng.randrange(256)
    return bytes(changed)


def check(use: Callable[[bytes], object], seeds: list[bytes], number: int) -> None:
    rng = random.Random(number)
    content = mutated(seeds[number % len(seeds)], rng)
    said = ""
    try:
        use(content)
    except RowscanError as error:
        said = str(error)
    assert "\n" not in said


def pages(content: bytes) -> None:
    for number, page in enumerate(open_pages(content), start=1):
        assert page.size
        if number == PAGES:
            break


HOW_MANY = [200, pytest.param(2000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", HOW_MANY)
def test_pictures(count: int) -> None:
    seeds = [*map(picture, FORMATS), picture("JPEG", progressive=True)]
    seeds += [picture("TIFF", compression=kind) for kind in ("tiff_lzw", "jpeg", "packbits")]
    for number in range(count):
        check(pages, seeds, number)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("count", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_other_files(name: str, count: int, tmp_path: Path) -> None:
    content, use = OTHERS[name]
    path = tmp_path / name

    def write_and_use(changed: bytes) -> None:
        path.write_bytes(changed)
        use(path)

    for number in range(count):
        check(write_and_use, [content], number)
