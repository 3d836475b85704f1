"""Parts: a folder of readings in numbered files, each there as a whole or not at all.

The pictures of a run are cut into blocks, always the same. Of a block the folder gets

    errors/part-000012.csv      what could not be read, if there is any
    readings/part-000012.csv    what was read
    done/000012-…               last of all: its name says whose block it was, and how many pictures

and a run that is taken up leaves out the blocks that are done. One process writes. It knows nothing
of how pictures are read.
"""

import csv
import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rowscan.batch.pool import End, Page, Picture
from rowscan.batch.shards import is_shard
from rowscan.batch.tables import FORMATS
from rowscan.errors import DataError, OutputError, RowscanError, UsageError
from rowscan.io.storage import entries, join, read_bytes, remove, write

LAYOUTS = ("parquet", "csv", "jsonl")
"""What parts may be written as."""

BLOCK = 500
"""Pictures in a block. A shard is a block of its own, whatever it holds."""

_RUN = "run.json"
_MARK = re.compile(r"\d{6,}-[0-9a-f]{16}-\d+-\d+")


@dataclass(frozen=True)
class Block:
    """Pictures that are read by one worker and whose readings are written together."""

    number: int
    paths: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Stands for the names of its pictures."""
        return hashlib.sha256(json.dumps(self.paths).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Part:
    """What became of a block."""

    number: int
    digest: str
    pictures: int
    """How many it had, with those that could not be read."""
    readings: bytes
    """The file."""
    errors: tuple[End, ...]


def blocks(items: Iterable[Picture | End]) -> Iterator[Block | End]:
    """Cut what was found into blocks; the ends of paths without pictures pass through.

    Args:
        items: as `batch.find_pictures` gives them, none with content.
    """
    number = 0
    paths: list[str] = []
    for item in items:
        if isinstance(item, End):
            yield item
            continue
        alone = is_shard(item.path)
        if paths and (alone or len(paths) == BLOCK):
            yield Block(number, tuple(paths))
            number += 1
            paths = []
        paths.append(item.path)
        if alone:
            yield Block(number, tuple(paths))
            number += 1
            paths = []
    if paths:
        yield Block(number, tuple(paths))


def part_of(block: Block, events: Iterable[Page | End], layout: str) -> Part:
    """What became of a block, from what the workers said of its pictures.

    Args:
        block: the block.
        events: the pages of its pictures, and their ends.
        layout: one of `LAYOUTS`.
    """
    pages: list[Page] = []
    errors: list[End] = []
    pictures = 0
    for event in events:
        if isinstance(event, Page):
            pages.append(event)
        else:
            pictures += 1
            if event.error is not None:
                errors.append(event)
    return Part(block.number, block.digest, pictures, _readings(pages, layout), tuple(errors))


class Parts:
    """The folder of a run, which goes on where it was interrupted.

    Attributes:
        done: the digests of the blocks that are done, by their numbers.
        pictures: how many are done, with those that could not be read.
        unreadable: how many could not be read.
    """

    def __init__(self, folder: str, layout: str, run: Mapping[str, object]) -> None:
        """Look at the folder; `begin` makes it.

        Args:
            folder: a path or an address.
            layout: one of `LAYOUTS`.
            run: all that decides what is read, and into which blocks: it must be the same when
                the run is taken up.

        Raises:
            UsageError: a folder of another run, or of something else.
            RowscanError: it cannot be read.
        """
        self._folder = folder
        self._layout = layout
        self.done: dict[int, str] = {}
        self.pictures = 0
        self.unreadable = 0
        try:
            found = {name for name, _ in entries(folder) if not name.startswith(".")}
        except DataError as error:
            if error.reason != os.strerror(errno.ENOENT):
                raise
            found = set()
        self._run = {**run, "format": layout, "block": BLOCK}
        self._begun = _RUN in found
        if self._begun:
            self._check()
        elif found:
            raise UsageError(f"{folder}: it holds something else; name another folder")
        if "done" in found:
            for name, _ in entries(join(folder, "done")):
                self._count(name)

    def begin(self) -> None:
        """Write down what run it is, if that is not there.

        Raises:
            RowscanError: it cannot be written.
        """
        if not self._begun:
            write(join(self._folder, _RUN), json.dumps(self._run, indent=1).encode())
            self._begun = True

    def add(self, part: Part) -> None:
        """Write a part. A run that ends in the middle of it will read its block again.

        Raises:
            RowscanError: it cannot be written.
        """
        name = f"part-{part.number:06}.{self._layout}"
        errors = join(join(self._folder, "errors"), name)
        if part.errors:
            write(errors, _errors(part.errors, self._layout))
        else:
            remove(errors)  # of a run that ended before the block was done
        write(join(join(self._folder, "readings"), name), part.readings)
        mark = f"{part.number:06}-{part.digest}-{part.pictures}-{len(part.errors)}"
        write(join(join(self._folder, "done"), mark), b"")
        self._count(mark)

    def add_missing(self, ends: Iterable[End]) -> None:
        """Write what is said of paths without pictures, in the place of what was said before.

        Raises:
            RowscanError: it cannot be written.
        """
        place = join(join(self._folder, "errors"), f"paths.{self._layout}")
        ends = tuple(ends)
        if ends:
            write(place, _errors(ends, self._layout))
        else:
            remove(place)

    def _count(self, mark: str) -> None:
        if not _MARK.fullmatch(mark):  # of a file that was being written when the machine stopped
            return
        number, digest, pictures, unreadable = mark.split("-")
        self.done[int(number)] = digest
        self.pictures += int(pictures)
        self.unreadable += int(unreadable)

    def _check(self) -> None:
        run = self._run
        place = join(self._folder, _RUN)
        try:
            there = json.loads(read_bytes(place))
            other = [key for key in run.keys() | there.keys() if run.get(key) != there.get(key)]
        except (ValueError, AttributeError):
            raise UsageError(f"{place}: not of a run of Rowscan; name another folder") from None
        if other:
            raise UsageError(
                f"{self._folder}: of another run, which differs in {', '.join(sorted(other))}; "
                "name another folder"
            )


def changed(folder: str) -> RowscanError:
    """The pictures are not those that a run was begun with."""
    return OutputError(
        folder, "the pictures have changed since this run was begun; name another folder"
    )


def _readings(pages: list[Page], layout: str) -> bytes:
    if layout != "parquet":
        style = FORMATS[layout]
        rows = (row for page in pages for row in style.records(page.path, page.reading))
        return (style.header + "".join(rows)).encode("utf-8", "surrogateescape")
    rows_ = [{"path": _unicode(page.path), **page.reading.to_dict()} for page in pages]
    return _parquet(rows_, _readings_schema())


def _errors(ends: tuple[End, ...], layout: str) -> bytes:
    if layout == "parquet":
        import pyarrow

        schema = pyarrow.schema({"path": pyarrow.string(), "error": pyarrow.string()})
        rows = [{"path": _unicode(end.path), "error": _unicode(end.error or "")} for end in ends]
        return _parquet(rows, schema)
    if layout == "jsonl":
        text = "".join(json.dumps({"path": end.path, "error": end.error}) + "\n" for end in ends)
        return text.encode()
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["path", "error"])
    table.writerows([end.path, end.error] for end in ends)
    return buffer.getvalue().encode("utf-8", "surrogateescape")


def _readings_schema() -> Any:
    """The object of JSON Lines, as Arrow has it."""
    import pyarrow as pa

    box = pa.list_(pa.int32(), 4)
    runner_up = pa.struct({"digit": pa.string(), "confidence": pa.float64()})
    digit = pa.struct(
        {"digit": pa.string(), "confidence": pa.float64(), "box": box, "runner_up": runner_up}
    )
    line = pa.struct(
        {"text": pa.string(), "confidence": pa.float64(), "box": box, "digits": pa.list_(digit)}
    )
    return pa.schema(
        {
            "path": pa.string(),
            "page": pa.int32(),
            "width": pa.int32(),
            "height": pa.int32(),
            "text": pa.string(),
            "confidence": pa.float64(),
            "lines": pa.list_(line),
        }
    )


def _parquet(rows: list[dict[str, Any]], schema: Any) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), buffer)
    return buffer.getvalue()


def _unicode(text: str) -> str:
    """The text, with the bytes of a name that is no Unicode as backslash escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
