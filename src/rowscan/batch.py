"""Batch: what `rowscan read` does. Finds the pictures and takes what is read in them to its table.

Names are looked up while pictures are read, so that the size of a folder costs no memory.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path

from rowscan.errors import UsageError
from rowscan.pictures import SUFFIXES
from rowscan.progress import Progress
from rowscan.tables import FORMATS, Table, escaped
from rowscan.workers import STANDARD_INPUT, End, Job, Page, Picture, read_all


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
        paths: files, folders, or "-" for standard input.
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

    def names() -> Iterator[str]:
        return (item.path for item in find() if isinstance(item, Picture))

    all_well = True
    with closing(Table(output, FORMATS[layout], names=names)) as table:
        left = (
            item
            for item in find()
            if isinstance(item, End) or not table.has(item.path, pages=item.may_have_pages)
        )
        progress = Progress(
            results_shown=table.on_terminal,
            done=table.taken_up,
            count=lambda: sum(1 for _ in names()),
        )
        with closing(progress), closing(read_all(left, job, jobs=jobs)) as events:
            for event in events:
                if isinstance(event, Page):
                    table.write(event.path, event.reading)
                    continue
                if event.error is not None:
                    all_well = False
                    progress.say(f"rowscan: {escaped(event.path)}: {escaped(event.error)}")
                progress.step()
        if table.taken_up:
            now = f"{table.written:,} added" if table.written else "nothing to add"
            progress.say(f"{output}: {table.taken_up:,} pictures were there already, {now}")
    return all_well


def find_pictures(paths: Sequence[str], *, without: Path | None = None) -> Iterator[Picture | End]:
    """The pictures that are named, and those in folders that are named.

    A folder is looked through with all below it, sorted by name, one folder at a time. In it count
    files whose names end like a picture's; hidden ones, and folders that are only linked to, are
    left out. What is named itself is taken whatever its name.

    Args:
        paths: files, folders, or "-".
        without: a folder that is left out, because results go there.

    Yields:
        A `Picture` each; an `End` for a path that is not there, cannot be looked into, or is a
        folder without pictures.
    """
    left_out = None if without is None else os.path.realpath(without)
    for path in paths:
        try:
            is_folder = path != STANDARD_INPUT and stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
        except (OSError, ValueError) as error:
            yield End(path, getattr(error, "strerror", None) or str(error))
            continue
        if not is_folder:
            yield Picture(path)
            continue
        found = _in_folder(path, left_out)
        first = next(found, None)
        yield from chain([first or End(path, "no pictures in this folder")], found)


def _in_folder(folder: str, left_out: str | None) -> Iterator[Picture | End]:
    if left_out is not None and os.path.realpath(folder) == left_out:
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in entries
                if not entry.name.startswith(".")
                and (entry.is_dir(follow_symlinks=False) or _is_picture(entry))
            )
    except OSError as error:
        yield End(folder, error.strerror or str(error))
        return
    for name, is_folder in found:
        path = os.path.join(folder, name)  # noqa: PTH118 - a Path would change what was given
        if is_folder:
            yield from _in_folder(path, left_out)
        else:
            yield Picture(path)


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return _suffix(entry.name) in SUFFIXES and entry.is_file()


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


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
        if path != STANDARD_INPUT and Path(path).resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{folder}: copies would overwrite pictures; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror or error}") from None
