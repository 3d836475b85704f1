"""Notebook: a few readings as a list, the doubtful ones first, in Jupyter or as text. No server."""

import base64
import html
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import PIL.Image

from rowscan.arrays import UInt8
from rowscan.io.pictures import Source, open_image
from rowscan.reader import Reader
from rowscan.reading import Character, Line, Reading

_DOUBTFUL = 0.9  # as on the page of `rowscan review`
_CROP_HEIGHT = 48  # pixels
_MARGIN = 0.25  # of a line's height, around its crop
_HOW = "To correct readings and learn from them, open the page: rowscan review FOLDER"

Item = Reading | Source | tuple[Source, Reading]
"""What is shown: a reading; a picture, which is read; or a picture with its reading."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One reading."""

    name: str
    reading: Reading
    picture: Source | None
    """What was read, where that is known."""


@dataclass(frozen=True, eq=False, repr=False)
class ReviewList:
    """Readings, the least sure ones first. Jupyter shows it as HTML, everything else as text."""

    entries: tuple[Entry, ...]

    def __repr__(self) -> str:
        lines = []
        for entry in self.entries:
            read = " / ".join(_marked(line) for line in entry.reading.lines) or "nothing read"
            lines.append(f"{entry.reading.confidence:4.0%}  {entry.name}: {read}")
        return "\n".join([*lines, _HOW])

    def _repr_html_(self) -> str:
        rows = "".join(map(_row, self.entries))
        style = "border-collapse:collapse;font-variant-numeric:tabular-nums"
        return f'<table style="{style}">{rows}</table><p>{html.escape(_HOW)}</p>'


def review(
    readings: Item | Iterable[Item] | ReviewList, *, reader: Reader | None = None
) -> ReviewList:
    """A list of a few readings, the least sure ones first, with each line cut out beside its text.

    In a notebook it is a table; elsewhere it is text. Characters under 90% are marked. To correct
    readings there is the page: `rowscan review FOLDER`.

    Args:
        readings: one or several, each a reading, a picture, or a picture with its reading; only
            with their pictures are lines cut out. The pictures of a folder are those in it.
        reader: reads pictures that come without a reading; by default the models that ship.

    Raises:
        DataError: a picture that cannot be read.
    """
    if isinstance(readings, ReviewList):
        return readings
    entries = [
        _entry(item, number, reader or Reader())
        for number, item in enumerate(_items(readings), start=1)
    ]
    return ReviewList(tuple(sorted(entries, key=lambda entry: entry.reading.confidence)))


def _items(readings: Item | Iterable[Item]) -> Iterator[Item]:
    single = (Reading, str, Path, bytes, PIL.Image.Image, np.ndarray)
    if _is_pair(readings) or isinstance(readings, single):
        if isinstance(readings, (str, Path)) and Path(readings).is_dir():
            from rowscan.batch.find import find_pictures
            from rowscan.batch.items import Picture

            found = find_pictures([str(readings)])
            yield from (item.path for item in found if isinstance(item, Picture))
        else:
            yield cast(Item, readings)
    else:
        yield from readings


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], Reading)


def _entry(item: Item, number: int, reader: Reader) -> Entry:
    if isinstance(item, Reading):
        return Entry(f"reading {number}", item, None)
    picture, reading = item if isinstance(item, tuple) else (item, reader.read(item))
    name = str(picture) if isinstance(picture, (str, Path)) else f"picture {number}"
    return Entry(name, reading, picture)


def _marked(line: Line) -> str:
    """The text, with brackets around characters that are doubtful."""
    return "".join(f"[{c.character}]" if _doubtful(c) else c.character for c in line.characters)


def _doubtful(character: Character) -> bool:
    return character.confidence < _DOUBTFUL


def _row(entry: Entry) -> str:
    picture = None if entry.picture is None else open_image(entry.picture, colour=True)
    lines = "".join(
        f"<div>{_crop(picture, line)} {_text(line)}</div>" for line in entry.reading.lines
    )
    cells = (
        html.escape(entry.name),
        lines or "<i>nothing read</i>",
        f"{entry.reading.confidence:.0%}",
    )
    style = 'style="text-align:left;vertical-align:middle;padding:4px 12px"'
    return "<tr>" + "".join(f"<td {style}>{cell}</td>" for cell in cells) + "</tr>"


def _text(line: Line) -> str:
    shown = "".join(map(_character, line.characters))
    return f'<span style="font-size:1.3em;vertical-align:middle">{shown}</span>'


def _character(character: Character) -> str:
    written = html.escape(character.character)
    if not _doubtful(character):
        return written
    said = f"{character.character}, {character.confidence:.0%}"
    if character.runner_up is not None:
        said += f"; or {character.runner_up[0]}, {character.runner_up[1]:.0%}"
    return f'<mark title="{html.escape(said, quote=True)}">{written}</mark>'


def _crop(picture: UInt8[np.ndarray, "height width *rgb"] | None, line: Line) -> str:
    """The line as an image, if its picture is known."""
    if picture is None:
        return ""
    x, y, width, height = line.box
    margin = round(_MARGIN * height)
    part = picture[
        max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin
    ]
    if part.size == 0:
        return ""
    image = PIL.Image.fromarray(np.ascontiguousarray(part))
    image.thumbnail((image.width, 2 * _CROP_HEIGHT))  # for screens of two pixels to one
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    content = base64.b64encode(buffer.getvalue()).decode()
    alt = html.escape(f"{line.text} as it is written", quote=True)
    return (
        f'<img src="data:image/jpeg;base64,{content}" alt="{alt}" '
        f'style="height:{_CROP_HEIGHT}px;width:auto;display:inline;vertical-align:middle">'
    )
