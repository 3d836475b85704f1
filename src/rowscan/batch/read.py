"""Batch: what `rowscan read` does. Finds the pictures and takes what is read in them to its table.

Names are looked up while pictures are read, so that the size of a folder costs no memory.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path

from rowscan.batch.pool import STANDARD_INPUT, End, Job, Page, Picture, read_all
from rowscan.batch.shards import is_shard, unpacked
from rowscan.batch.tables import FORMATS, Table, escaped
from rowscan.errors import RowscanError, UsageError
from rowscan.io.pictures import has_suffix_of_picture
from rowscan.io.progress import Progress
from rowscan.io.storage import entries, is_address, is_folder, join


def read_to(
    output: Path | None,
    paths: Sequence[str],
    job: Job,
    *,
    layout: str = "text",
    jobs: int | None = None,
) -> bool:
    """Read pictures and write what is read as soon as it is there; the rest goes to standard error.

    Args:
        output: a file, which an interrupted run may have begun; None for standard output.
        paths: files and folders, of this machine or as addresses, or "-" for standard input.
        job: what is to be done with each picture.
        layout: `text`, `csv` or `jsonl`.
        jobs: processes to read with, by default one a core.

    Returns:
        Whether everything could be read.

    Raises:
        UsageError: a file that is no such table, or a place for copies where pictures are.
        RowscanError: nothing can be read at all, or the output cannot be written.
    """
    if job.annotate is not None:
        _prepare(job.annotate, paths)
        job = replace(job, base=_common_folder(paths))

    def find() -> Iterator[Picture | End]:
        return find_pictures(paths, without=job.annotate)

    def names(items: Iterator[Picture | End]) -> Iterator[str]:
        return (item.path for item in items if isinstance(item, Picture))

    all_well = True
    with closing(Table(output, FORMATS[layout], names=lambda: names(unpacked(find())))) as table:
        left = (
            item
            for item in unpacked(find())
            if isinstance(item, End)
            or item.path == STANDARD_INPUT  # where another picture may come than the last time
            or not table.has(item.path, pages=item.may_have_pages)
        )
        progress = Progress(
            results_shown=table.on_terminal,
            done=table.taken_up,
            count=lambda: sum(1 for _ in names(find())),
        )
        with closing(progress), closing(read_all(left, job, jobs=jobs)) as events:
            for event in events:
                if isinstance(event, Page):
                    table.write(event.path, event.reading, anew=event.path == STANDARD_INPUT)
                    continue
                if event.error is not None:
                    all_well = False
                    progress.say(f"rowscan: {escaped(event.path)}: {escaped(event.error)}")
                progress.step()
        if table.taken_up:
            now = f"{table.written:,} added" if table.written else "nothing to add"
            progress.say(f"{output}: {table.taken_up:,} pictures were there already, {now}")
    return all_well


def find_pictures(
    paths: Sequence[str], *, without: str | Path | None = None
) -> Iterator[Picture | End]:
    """The pictures that are named, and those in folders that are named.

    A folder is looked through with all below it, sorted by name, one folder at a time. In it count
    files whose names end like a picture's or a shard's; hidden ones, and folders that are only
    linked to, are left out. What is named itself is taken whatever its name.

    Args:
        paths: files and folders, of this machine or as addresses, or "-".
        without: a folder that is left out, because results go there.

    Yields:
        A `Picture` each, also for a shard; an `End` for a path that is not there, cannot be looked
        into, or is a folder without pictures.
    """
    left_out = None if without is None else _name_of(str(without))
    for path in paths:
        try:
            folder = path != STANDARD_INPUT and is_folder(path)
        except RowscanError as error:
            yield End(path, error.reason)
            continue
        if not folder:
            yield Picture(path)
            continue
        found = _in_folder(path, left_out)
        first = next(found, None)
        yield from chain([first or End(path, "no pictures in this folder")], found)


def _in_folder(folder: str, left_out: str | None) -> Iterator[Picture | End]:
    if left_out is not None and _name_of(folder) == left_out:
        return
    try:
        found = [
            (name, is_below)
            for name, is_below in entries(folder)
            if not name.startswith(".")
            and (is_below or has_suffix_of_picture(name) or is_shard(name))
        ]
    except RowscanError as error:
        yield End(folder, error.reason)
        return
    for name, is_below in found:
        path = join(folder, name)
        if is_below:
            yield from _in_folder(path, left_out)
        else:
            yield Picture(path)


def _name_of(folder: str) -> str:
    """The one name of a folder that may have several."""
    return folder.rstrip("/") if is_address(folder) else os.path.realpath(folder)


def _common_folder(paths: Sequence[str]) -> Path:
    """The folder that is above all pictures: a folder that was given is, and a file's own.

    Names relative to it are different for different pictures.
    """
    folders = [
        os.path.abspath(path if Path(path).is_dir() else Path(path).parent)  # noqa: PTH100
        for path in paths
        if path != STANDARD_INPUT
    ]
    return Path(os.path.commonpath(folders) if folders else ".")


def _prepare(folder: Path, paths: Sequence[str]) -> None:
    """Make the folder for copies; none of the pictures may lie in it, to be overwritten."""
    for path in paths:
        if is_address(path):
            raise UsageError(f"{path}: annotated copies are made only of pictures on this machine")
        if path != STANDARD_INPUT and Path(path).resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{folder}: copies would overwrite pictures; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror or error}") from None
