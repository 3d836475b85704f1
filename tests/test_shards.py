"""Shards: pictures in a tar or Parquet file are read like those in a folder."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from conftest import without_seconds
from rowscan.batch import shards
from rowscan.batch.items import End, Job, Picture
from rowscan.batch.local import read_to
from rowscan.batch.shards import is_shard, pictures_in, unpacked

EXAMPLES = Path(__file__).parent.parent / "examples" / "digits"
SEVEN = (EXAMPLES / "7-13.png").read_bytes()
ZERO = (EXAMPLES / "0-00.png").read_bytes()


def _tar(path: Path, members: Sequence[tuple[str, bytes]], mode: str = "w:") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


MEMBERS = [
    ("b.png", SEVEN),
    ("b.cls", b"7"),
    ("./a/0.PNG", ZERO),
    (".hidden/c.png", SEVEN),
    ("a/._0.png", b"of a Mac"),
    ("bad.jpg", b"bad"),
]


@pytest.mark.parametrize(
    ("name", "mode"), [("x.tar", "w:"), ("x.tar.gz", "w:gz"), ("x.TGZ", "w:gz")]
)
def test_the_pictures_of_a_tar_file_come_in_order(name: str, mode: str, tmp_path: Path) -> None:
    shard = str(_tar(tmp_path / name, MEMBERS, mode))
    assert is_shard(shard)
    assert list(pictures_in(shard)) == [
        Picture(f"{shard}/b.png", SEVEN),
        Picture(f"{shard}/a/0.PNG", ZERO),
        Picture(f"{shard}/bad.jpg", b"bad"),
    ]


@pytest.mark.parametrize("damage", ["cut", "cut in a header", "flipped", "without an end"])
def test_a_damaged_tar_file_gives_the_pictures_before_the_damage_and_an_error(
    damage: str, tmp_path: Path
) -> None:
    path = _tar(tmp_path / "x.tar", [(f"{i}.png", SEVEN) for i in range(6)])
    content = bytearray(path.read_bytes())
    third = content.index(b"2.png")  # a header begins with the name
    end = content.index(b"5.png") + 512 + -(-len(SEVEN) // 512) * 512
    if damage == "flipped":
        content[third + 30] ^= 1
    else:
        del content[{"cut": third, "cut in a header": third + 100}.get(damage, end) :]
    path.write_bytes(content)
    *pictures, last = pictures_in(str(path))
    before = 6 if damage == "without an end" else 2
    assert pictures == [Picture(f"{path}/{i}.png", SEVEN) for i in range(before)]
    assert isinstance(last, End)
    assert last.error is not None
    assert last.error.endswith(": expected a member or the end of the file")


@pytest.mark.parametrize("struct", [False, True])
def test_the_rows_of_a_parquet_file_are_numbered(struct: bool, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    contents = [SEVEN, None, ZERO] * 20  # more than one batch
    images = [{"bytes": c, "path": "same.png"} for c in contents] if struct else contents
    shard = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"label": [7] * 60, "image": images}), shard)
    assert list(pictures_in(str(shard))) == [
        Picture(f"{shard}/{row}", content or b"") for row, content in enumerate(contents)
    ]


def test_a_file_that_is_not_a_shard_gives_one_line(tmp_path: Path) -> None:
    for name in ("text.tar", "text.parquet"):
        (tmp_path / name).write_text("Dear all, " * 100)
    _tar(tmp_path / "empty.tar", [("a.txt", b"text")])
    whole = _tar(tmp_path / "whole.tar", [("a.png", SEVEN), ("b.png", SEVEN)]).read_bytes()
    (tmp_path / "torn.tar").write_bytes(whole[: 512 + len(SEVEN) + 1200])
    said = {}
    for path in [*tmp_path.iterdir(), tmp_path / "none.tar"]:
        last = list(pictures_in(str(path)))[-1]
        said[path.name] = last.error if isinstance(last, End) else None
    assert said.pop("whole.tar") is None
    assert said.pop("empty.tar") == "no pictures in this shard"
    assert said.pop("none.tar") == "No such file or directory"
    parquet = said.pop("text.parquet") or ""
    assert parquet.startswith(("damaged or unsupported shard: ", "reading Parquet needs pyarrow"))
    for reason in said.values():
        assert reason is not None
        assert reason.startswith("damaged or unsupported shard: ")


def test_a_parquet_file_without_pictures_gives_one_line(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    shard = str(tmp_path / "x.parquet")
    parquet.write_table(pyarrow.table({"price": [1.5]}), shard)
    assert list(pictures_in(shard)) == [End(shard, "no column 'image'")]
    parquet.write_table(pyarrow.table({"image": [1.5]}), shard)
    assert list(pictures_in(shard)) == [
        End(shard, "column 'image': expected the content of files, got double")
    ]


def test_other_items_are_left_in_place() -> None:
    given: list[Picture | End] = [Picture("a.png"), End("b", "not there"), Picture("-")]
    assert list(unpacked(iter(given))) == given


def test_a_folder_with_a_shard_is_read_and_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(SEVEN)
    _tar(folder / "b.tar", MEMBERS)
    (folder / "c.png").write_bytes(ZERO)
    output = tmp_path / "out"
    assert not read_to(output, [str(folder)], Job())
    whole = output.read_text()
    names = ["a.png: 7", "b.tar/b.png: 7", "b.tar/a/0.PNG: 0", "b.tar/bad.jpg: error", "c.png: 0"]
    assert whole == "".join(f"{folder}/{name}\n" for name in names)
    assert without_seconds(capsys.readouterr().err) == (
        f"rowscan: {folder}/b.tar/bad.jpg: not an image\n"
        "5 pictures: 4 numbers, 0 empty, 0 unsure, 1 errors\n"
    )
    for cut in (3, len(whole) // 2, len(whole) - 3):
        output.write_text(whole[:cut])
        assert not read_to(output, [str(folder)], Job())
        assert output.read_text() == whole


def test_what_an_archive_unpacks_to_is_limited(tmp_path: Path) -> None:
    """A member, or the name before one, of more bytes than a picture may have."""

    class Zeros(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    for kind, reason in ((tarfile.REGTYPE, "more than 250 MB"), (tarfile.XHDTYPE, "too long")):
        shard = tmp_path / "shard.tar.gz"
        with tarfile.open(shard, "w:gz", compresslevel=1) as tar:
            member = tarfile.TarInfo("a.png")
            member.type, member.size = kind, 251_000_000
            tar.addfile(member, Zeros())
        (end,) = pictures_in(str(shard))
        assert isinstance(end, End)
        assert reason in str(end.error)


def test_a_tar_file_is_not_unpacked_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive of a few kB must not unpack to thousands of pictures or to gigabytes."""
    monkeypatch.setattr(shards, "_BYTES", 3_000_000)
    for name, size, count in (("a.txt", 10**6, 9), ("a.png", 10**6, 9), ("a.png", 0, 2000)):
        members = [(name, bytes(size))] * count
        shard = str(_tar(tmp_path / "s.tar.gz", [("first.png", SEVEN), *members], "w:gz"))
        first, *pictures, end = pictures_in(shard)
        assert first == Picture(f"{shard}/first.png", SEVEN)
        assert len(pictures) < count
        assert isinstance(end, End)
        assert "the rest is not read" in str(end.error)


def test_parquet_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    """A page whose size the footer hides; a value for thousands of rows."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    shard = tmp_path / "s.parquet"
    pictures = pyarrow.array([bytes(300_000_000)], pyarrow.large_binary())
    table = pyarrow.table({"image": pictures})
    parquet.write_table(table, shard, compression="zstd", use_dictionary=False)
    said = parquet.ParquetFile(shard).metadata.row_group(0).column(0).total_uncompressed_size
    hidden = shard.read_bytes()
    assert hidden.count(_varint(said)) == 2  # of the column and of the row group
    shard.write_bytes(hidden.replace(_varint(said), _varint(1000, len(_varint(said)))))
    (end,) = pictures_in(str(shard))
    assert isinstance(end, End)
    assert "too much memory" in str(end.error)

    parquet.write_table(pyarrow.table({"image": [SEVEN] * 1_500}), shard)
    *rows, end = pictures_in(str(shard))
    assert len(rows) < 2_000
    assert isinstance(end, End)
    assert "the rest is not read" in str(end.error)


def _varint(number: int, length: int = 1) -> bytes:
    """A number in Thrift's compact protocol, padded to at least `length` bytes."""
    number *= 2  # zigzag
    content = bytearray()
    while number or len(content) < length:
        content.append(128 | number & 127)
        number >>= 7
    content[-1] &= 127
    return bytes(content)
