"""A folder of pictures of numbers whose `labels.csv` says what stands in each."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from rowscan.errors import DataError

LABELS = "labels.csv"
_COLUMNS = ["filename", "label"]


@dataclass(frozen=True)
class LabelledPicture:
    """A picture and what is written in it."""

    path: Path
    label: str
    """Digits alone, those of several lines joined by " / "; empty where there are none."""


def is_labelled(path: str | Path) -> bool:
    """Whether there is a folder with a `labels.csv` in it."""
    return (Path(path) / LABELS).is_file()


def load_labels(folder: str | Path) -> list[LabelledPicture]:
    """The pictures that a folder's `labels.csv` names, in its order.

    It begins with the header `filename,label`, more columns may follow, and names are relative to
    the folder. Of a label only the digits count: "1,250.-" is read "1250", "12/05" is read "1205".
    A slash between spaces parts the lines of a page.

    Raises:
        DataError: no such file, not a table like this, or no row in it.
    """
    path = Path(folder) / LABELS
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise DataError(path, error.strerror or str(error)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(path, f"not a table in UTF-8: {error}") from None
    if not rows or [name.strip().lower() for name in rows[0][:2]] != _COLUMNS:
        raise DataError(path, f"the first line is not {','.join(_COLUMNS)}")
    pictures = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) < 2 or not row[0]:
            raise DataError(path, f"line {number} has no file name and label")
        pictures.append(LabelledPicture(path.parent / row[0], _digits(row[1])))
    if not pictures:
        raise DataError(path, "it names no picture")
    return pictures


def _digits(label: str) -> str:
    lines = (re.sub("[^0-9]", "", line) for line in re.split(r"\s/\s", label))
    return " / ".join(line for line in lines if line)
