"""Labelled: a folder of pictures with a `labels.csv`. It opens no picture."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from rowscan.errors import DataError, reason_of

LABELS = "labels.csv"
_DASHES = str.maketrans("−–—", "---")
_COLUMNS = ["filename", "label"]


@dataclass(frozen=True)
class LabelledPicture:
    """A picture and its text."""

    path: Path
    label: str
    """Only digits, those of several lines joined by " / "; empty for a picture without digits."""
    text: str
    """The label with its signs."""
    full: str | None = None
    """What is written, of the column `full`, if there is one."""


def has_labels(path: str | Path) -> bool:
    """Whether the path is a folder with a `labels.csv`."""
    return (Path(path) / LABELS).is_file()


def load_labels(folder: str | Path) -> list[LabelledPicture]:
    """The pictures in a folder's `labels.csv`, in its order.

    The file has the header `filename,label`, perhaps with more columns, of which `full` holds what
    is written where labels hold digits alone; file names are relative to the folder. A slash
    between spaces separates lines.

    Raises:
        DataError: the file does not exist, is not such a table, or has no rows.
    """
    path = Path(folder) / LABELS
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise DataError(path, reason_of(error)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(path, f"not a table in UTF-8: {error}") from None
    if not rows or [name.strip().lower() for name in rows[0][:2]] != _COLUMNS:
        found = ",".join(rows[0][:2]) if rows else "an empty file"
        raise DataError(path, f"expected {','.join(_COLUMNS)} in the first line, got {found}")
    names = [name.strip().lower() for name in rows[0]]
    full = names.index("full") if "full" in names else None
    pictures = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) < 2 or not row[0]:
            raise DataError(path, f"line {number}: expected a file name and a label")
        written = None if full is None or full >= len(row) else _text(row[full])
        pictures.append(
            LabelledPicture(path.parent / row[0], _digits(row[1]), _text(row[1]), written)
        )
    if not pictures:
        raise DataError(path, "no pictures in it")
    return pictures


def _digits(label: str) -> str:
    lines = (re.sub("[^0-9]", "", line) for line in re.split(r"\s/\s", label))
    return " / ".join(line for line in lines if line)


def _text(label: str) -> str:
    lines = (line.strip() for line in re.split(r"\s/\s", label.translate(_DASHES)))
    return " / ".join(line for line in lines if line)
