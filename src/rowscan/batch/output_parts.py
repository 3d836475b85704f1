"""Parts: a folder of readings in numbered files, each complete or absent. It reads no pictures.

The pictures of a run are divided into blocks, always in the same way. For a block, the folder gets

    errors/part-000012.csv      the pictures that could not be read, if any
    readings/part-000012.csv    what was read
    done/000012-…               last: its name holds a digest of the block and its counts

A resumed run skips the blocks that are done. Only one process writes.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rowscan.batch.formats import FORMATS, Format
from rowscan.batch.items import End, Page, Picture
from rowscan.batch.shards import is_shard
from rowscan.errors import UsageError
from rowscan.io.storage import entries, join, read_bytes, remove, write
from rowscan.reading import unreadable

PART_FORMATS = ("parquet", "csv", "jsonl")
"""The formats of parts."""

BLOCK = 500
"""Pictures in a block. A shard is always one block."""

_RUN = "run.json"
_MARK = re.compile(r"\d{6,}-[0-9a-f]{16}-\d+-\d+")


@dataclass(frozen=True)
class Block:
    """Pictures that one worker reads and whose readings are written together."""

    number: int
    paths: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Identifies the names of the pictures: 16 hexadecimal digits of SHA-256."""
        return hashlib.sha256(json.dumps(self.paths).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Part:
    """The results of a block."""

    number: int
    digest: str
    pictures: int
    """The number of pictures, including those that could not be read."""
    readings: bytes
    """The content of the file."""
    errors: tuple[End, ...]


def blocks(items: Iterable[Picture | End]) -> Iterator[Block | End]:
    """Divide pictures into blocks; the ends of paths without pictures pass through.

    Args:
        items: from `find_pictures`, without content.
    """
    number = 0
    paths: list[str] = []
    for item in items:
        if isinstance(item, End):
            yield item
            continue
        if paths and (is_shard(item.path) or is_shard(paths[-1]) or len(paths) == BLOCK):
            yield Block(number, tuple(paths))
            number += 1
            paths = []
        paths.append(item.path)
    if paths:
        yield Block(number, tuple(paths))


def part_of(block: Block, events: Iterable[Page | End], output_format: str) -> Part:
    """The results of a block, encoded.

    Args:
        block: the block.
        events: the pages and ends of its pictures.
        output_format: one of `PART_FORMATS`.
    """
    pages: list[Page | End] = []  # each has an entry, whether it could be read or not
    errors: list[End] = []
    pictures = 0
    for event in events:
        if isinstance(event, Page) or event.page is not None:
            pages.append(event)
        if isinstance(event, End):
            pictures += 1
            if event.error is not None:
                errors.append(event)
    return Part(
        block.number, block.digest, pictures, _readings(pages, output_format), tuple(errors)
    )


class Parts:
    """The folder of a run, which can be resumed.

    Attributes:
        done: the digests of the blocks that are done, by their numbers.
        pictures: the number of pictures in them, including unreadable ones.
        unreadable: the number of pictures that could not be read.
    """

    def __init__(self, folder: str, output_format: str, run: Mapping[str, object]) -> None:
        """Inspect the folder; `begin` creates it.

        Args:
            folder: a path or an address.
            output_format: one of `PART_FORMATS`.
            run: the settings that determine the readings and blocks; a resumed run must have the
                same.

        Raises:
            UsageError: the folder belongs to another run or holds other files.
            DataError: it cannot be read.
        """
        self._folder = folder
        self._format = output_format
        self.done: dict[int, str] = {}
        self.pictures = 0
        self.unreadable = 0
        names = (name for name, _ in entries(folder, missing_ok=True))
        found = {name for name in names if not name.startswith(".")}
        self._run = {**run, "format": output_format, "block": BLOCK}
        self._begun = _RUN in found
        if self._begun:
            self._check()
        elif found:
            raise UsageError(f"{folder}: the folder holds other files; name another folder")
        if "done" in found:
            for name, _ in entries(join(folder, "done")):
                self._count(name)

    def begin(self) -> None:
        """Write the settings of the run, if that has not been done.

        Raises:
            OutputError: they cannot be written.
        """
        if not self._begun:
            write(join(self._folder, _RUN), json.dumps(self._run, indent=1).encode())
            self._begun = True

    def add(self, part: Part) -> None:
        """Write a part. If the run is interrupted meanwhile, the next one reads its block again.

        Raises:
            OutputError: it cannot be written.
        """
        name = f"part-{part.number:06}.{self._format}"
        errors = join(join(self._folder, "errors"), name)
        if part.errors:
            write(errors, _errors(part.errors, self._format))
        else:
            remove(errors)  # of a run that was interrupted before the block was done
        write(join(join(self._folder, "readings"), name), part.readings)
        mark = f"{part.number:06}-{part.digest}-{part.pictures}-{len(part.errors)}"
        write(join(join(self._folder, "done"), mark), b"")
        self._count(mark)

    def add_missing(self, ends: Iterable[End]) -> None:
        """Replace the list of paths without pictures.

        Raises:
            OutputError: it cannot be written.
        """
        path = join(join(self._folder, "errors"), f"paths.{self._format}")
        ends = tuple(ends)
        if ends:
            write(path, _errors(ends, self._format))
        else:
            remove(path)

    def _count(self, mark: str) -> None:
        if not _MARK.fullmatch(mark):  # a temporary file of a crash, or one of the system's
            return
        number, digest, pictures, unreadable = mark.split("-")
        self.done[int(number)] = digest
        self.pictures += int(pictures)
        self.unreadable += int(unreadable)

    def _check(self) -> None:
        run = self._run
        path = join(self._folder, _RUN)
        try:
            found = json.loads(read_bytes(path))
            other = [key for key in run.keys() | found.keys() if run.get(key) != found.get(key)]
        except (ValueError, AttributeError):
            raise UsageError(f"{path}: not a run of Rowscan; name another folder") from None
        if other:
            raise UsageError(
                f"{self._folder}: the run in this folder differs in {', '.join(sorted(other))}; "
                "name another folder"
            )


def _readings(pages: list[Page | End], output_format: str) -> bytes:
    if output_format != "parquet":
        style = FORMATS[output_format]
        rows = (row for page in pages for row in _records(page, style))
        return (style.header + "".join(rows)).encode("utf-8", "surrogateescape")
    records = [{"path": _unicode(page.path), **_object(page)} for page in pages]
    return _parquet(records, _readings_schema())


def _records(page: Page | End, style: Format) -> list[str]:
    if isinstance(page, Page):
        return style.records(page.path, page.reading)
    return [style.failure(page.path, page.page or 1, page.error or "")]


def _object(page: Page | End) -> dict[str, object]:
    if isinstance(page, Page):
        return page.reading.to_dict()
    return unreadable(page.page or 1, _unicode(page.error or ""))


def _errors(ends: tuple[End, ...], output_format: str) -> bytes:
    if output_format == "parquet":
        import pyarrow

        schema = pyarrow.schema({"path": pyarrow.string(), "error": pyarrow.string()})
        rows = [{"path": _unicode(end.path), "error": _unicode(end.error or "")} for end in ends]
        return _parquet(rows, schema)
    if output_format == "jsonl":
        text = "".join(json.dumps({"path": end.path, "error": end.error}) + "\n" for end in ends)
        return text.encode()
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["path", "error"])
    table.writerows([end.path, end.error] for end in ends)
    return buffer.getvalue().encode("utf-8", "surrogateescape")


def _readings_schema() -> Any:
    """The Arrow schema of an object of JSON Lines."""
    import pyarrow as pa

    box = pa.list_(pa.int32(), 4)
    text, probability = pa.string(), pa.float64()

    def character(*keys: str) -> Any:
        names = dict.fromkeys(keys, text)
        runner_up = pa.struct({**names, "confidence": probability})
        return pa.struct({**names, "confidence": probability, "box": box, "runner_up": runner_up})

    line = pa.struct(
        {
            "text": text,
            "digits_only": text,
            "confidence": probability,
            "box": box,
            "row": pa.int32(),
            "column": pa.int32(),
            "characters": pa.list_(character("character")),
            "digits": pa.list_(character("character", "digit")),
        }
    )
    rejected = pa.struct({"box": box, "text": text, "confidence": probability, "reason": text})
    return pa.schema(
        {
            "path": text,
            "page": pa.int32(),
            "status": text,
            "width": pa.int32(),
            "height": pa.int32(),
            "text": text,
            "confidence": probability,
            "lines": pa.list_(line),
            "rejected": pa.list_(rejected),
            "error": text,
        }
    )


def _parquet(rows: list[dict[str, Any]], schema: Any) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), buffer)
    return buffer.getvalue()


def _unicode(text: str) -> str:
    """The text, with bytes that are not Unicode as backslash escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
