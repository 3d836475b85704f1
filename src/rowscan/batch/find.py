"""Find: the pictures that paths name, and those in folders. It opens no picture.

Names are listed while pictures are read, so memory does not grow with the size of a folder tree.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path

from rowscan.batch.form_tables import PICTURES, WRITERS
from rowscan.batch.items import STANDARD_INPUT, End, Picture
from rowscan.batch.shards import is_shard
from rowscan.errors import RowscanError
from rowscan.io.pictures import is_picture_name, suffix
from rowscan.io.storage import entries, is_address, is_folder, join

_FIELDS = tuple(f".{name}{PICTURES}" for name in WRITERS)
"""How folders end that are beside a table of forms."""


def find_pictures(
    paths: Sequence[str],
    *,
    exclude: str | Path | None = None,
    blanks: Collection[Path] = (),
    left_out: Counter[str] | None = None,
) -> Iterator[Picture | End]:
    """The pictures that are named, and those in folders that are named.

    Folders are searched recursively, in the order of their names. In a folder, files count whose
    names end like those of pictures or shards; hidden files, links to folders and the pictures of
    fields beside a table of forms do not. A path that is given itself counts whatever its name.

    Args:
        paths: files and folders, local or addresses, or "-".
        exclude: a folder to leave out, because results are written there.
        blanks: pictures of blank forms, left out of folders that have them among the scans.
        left_out: counts the files of folders that are no inputs, by how their names end or by what
            they are.

    Yields:
        A `Picture` for each picture or shard; an `End` for a path that does not exist, cannot be
        listed, or is a folder without pictures.
    """
    excluded = None if exclude is None else _canonical(str(exclude))
    empty = {_canonical(str(path)) for path in blanks}
    left_out = Counter() if left_out is None else left_out
    for path in paths:
        try:
            folder = path != STANDARD_INPUT and is_folder(path)
        except RowscanError as error:
            yield End(path, error.reason, page=1)
            continue
        if not folder:
            yield Picture(path)
            continue
        found = _in_folder(path, excluded, empty, left_out)
        first = next(found, None)
        yield from chain([first or End(path, "no pictures in this folder")], found)


def _in_folder(
    folder: str, excluded: str | None, empty: Collection[str], left_out: Counter[str]
) -> Iterator[Picture | End]:
    if excluded is not None and _canonical(folder) == excluded:
        return
    try:
        visible = [entry for entry in entries(folder) if not entry[0].startswith(".")]
    except RowscanError as error:
        yield End(folder, error.reason)
        return
    for name, is_below in visible:
        path = join(folder, name)
        if is_below and name.endswith(_FIELDS):
            left_out["with pictures of fields"] += 1
        elif is_below:
            yield from _in_folder(path, excluded, empty, left_out)
        elif not (is_picture_name(name) or is_shard(name)):
            left_out[suffix(name) or "without an ending"] += 1
        elif empty and _canonical(path) in empty:
            left_out["of a blank form"] += 1
        else:
            yield Picture(path)


def _canonical(folder: str) -> str:
    """One name for a folder that can be written in several ways."""
    return folder.rstrip("/") if is_address(folder) else os.path.realpath(folder)
