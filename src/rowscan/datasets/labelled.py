"""Labelled: a folder of pictures with a `labels.csv`. It opens no picture.

What spreadsheets make of such a table is undone where it is clear, and refused where it is not.
"""

import codecs
import contextlib
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from rowscan.alphabet import DIGITS
from rowscan.errors import DataError, reason_of

LABELS = "labels.csv"
_COLUMNS = ["filename", "label"]
_DELIMITERS = ",;\t"
_ENCODINGS = [
    *("utf_16_le", "utf_16_be", "cp1252", "cp1250", "cp1251"),
    *("gb18030", "big5", "cp932", "cp949"),
]
"""Of tables that are not UTF-8: what spreadsheets write in Europe and East Asia."""

_PLAIN = {0xFF01 + i: 0x21 + i for i in range(94)} | {0x3000: 0x20}
_PLAIN |= str.maketrans("−–—", "---")
"""Full-width characters and long dashes, and what they stand for."""
_AS_TEXT = re.compile(r'\s*(?:\'|="(?P<quoted>[^"]*)"\s*$)')
"""How people keep a spreadsheet from changing a number: '00565 and ="00565"."""
_ROUNDED = re.compile(r"[+-]?\d+([.,]\d+)?[eE][+-]?\d+")
_WHOLE = re.compile(r"\d+\.0")


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
    row: int = 0
    """Its row in the table, from 1, the header included."""


@dataclass(frozen=True)
class Doubt:
    """A picture that the reader is sure shows another number than its label."""

    row: int
    """In the table of labels, from 1, the header included."""
    label: str
    read: str
    confidence: float
    lost_zeros: bool
    """Whether zeros in front are all that the label lacks: spreadsheets drop them."""

    def __str__(self) -> str:
        """One line for people."""
        return f"row {self.row}: labelled {self.label}, reads {self.read}, {self.confidence:.0%}"


def has_labels(path: str | Path) -> bool:
    """Whether the path is a folder with a `labels.csv`."""
    return (Path(path) / LABELS).is_file()


def load_labels(folder: str | Path) -> list[LabelledPicture]:
    """The pictures in a folder's `labels.csv`, in its order.

    The file has the columns `filename` and `label`, perhaps with more, of which `full` holds what
    is written where labels hold digits alone; file names are relative to the folder. A slash
    between spaces separates lines. Commas, semicolons or tabs separate columns. Full-width digits
    are digits, and 675.0 is 675 where all labels end like that, as in a column of floating-point
    numbers.

    Raises:
        DataError: the file does not exist, is not such a table, or has no rows; or a label is no
            number, or one that a spreadsheet has rounded.
    """
    path = Path(folder) / LABELS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(path, reason_of(error)) from None
    table = _Table.parse(_decoded(content, path), path)
    if not table.rows:
        raise DataError(path, "no pictures in it")
    labels = [_cleaned(row[table.label]) for _, row in table.rows]
    if any(labels) and all(map(_WHOLE.fullmatch, filter(None, labels))):
        labels = [label.removesuffix(".0") for label in labels]
    whole = all(map(re.compile(r"\d*(\.0)?").fullmatch, labels))
    return [
        table.picture(number, row, label, whole=whole)
        for (number, row), label in zip(table.rows, labels, strict=True)
    ]


@dataclass(frozen=True)
class _Table:
    path: Path
    filename: int
    """The numbers of the columns."""
    label: int
    full: int | None
    rows: list[tuple[int, list[str]]]
    """Those that are not empty, with their numbers."""

    @classmethod
    def parse(cls, text: str, path: Path) -> "_Table":
        """The table of a text.

        Raises:
            DataError: it is none, or lacks a column or a cell.
        """
        first = text.splitlines()[0] if text.strip() else ""
        delimiter = max(_DELIMITERS, key=first.count)
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error as error:
            raise DataError(path, f"not a table: {error}") from None
        names = [name.strip().lower() for name in rows[0]] if rows else []
        if not set(_COLUMNS) <= set(names):
            found = first[:80] or "an empty line"
            raise DataError(path, f"expected {','.join(_COLUMNS)} in the first line, got {found}")
        filename, label = map(names.index, _COLUMNS)
        filled = []
        for number, row in enumerate(rows[1:], start=2):
            if not any(map(str.strip, row)):
                continue
            if len(row) <= max(filename, label) or not row[filename].strip():
                raise DataError(path, f"row {number}: expected a file name and a label")
            filled.append((number, row))
        return cls(path, filename, label, names.index("full") if "full" in names else None, filled)

    def picture(self, number: int, row: list[str], label: str, *, whole: bool) -> LabelledPicture:
        """A row, from its number, its cells and its label; whether all labels are whole numbers.

        Raises:
            DataError: its label is not clear.
        """
        if _ROUNDED.fullmatch(label):
            raise self._unclear(number, label, "rounded by a spreadsheet; write all its digits")
        if label and not set(label) & set(DIGITS):
            reason = "no digits 0 to 9; leave it empty for a picture without any"
            raise self._unclear(number, label, reason)
        if whole and _WHOLE.fullmatch(label):
            raise self._unclear(number, label, f"write {label[:-2]} if .0 is not in the picture")
        full = None if self.full is None or self.full >= len(row) else row[self.full]
        return LabelledPicture(
            path=self.path.parent / row[self.filename].strip(),
            label=_digits(label),
            text=_text(label),
            full=None if full is None else _text(full.translate(_PLAIN)),
            row=number,
        )

    def _unclear(self, number: int, label: str, reason: str) -> DataError:
        return DataError(self.path, f"row {number}: label {label!r}: {reason}")

    def known(self) -> int:
        """How many of its files exist, and how many labels have digits."""
        return sum(
            (self.path.parent / row[self.filename].strip()).is_file()
            + bool(set(_cleaned(row[self.label])) & set(DIGITS))
            for _, row in self.rows
        )


def _decoded(content: bytes, path: Path) -> str:
    """The text of a table: of what its encoding can be, the likeliest with which its files exist.

    Valid UTF-8 may be something else: the GBK of 图片, picture, is.
    """
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    utf_16 |= content[1:2] == b"\0"  # without a byte order mark
    found = list[tuple[int, str]]()
    try:
        text = content.decode("utf-16" if utf_16 else "utf-8-sig")
        if text.isascii() or utf_16 or content.startswith(codecs.BOM_UTF8):
            return text
        table = _Table.parse(text, path)
        if table.known() == 2 * len(table.rows):
            return text
        found.append((table.known(), text))
    except UnicodeDecodeError:
        pass
    from charset_normalizer import from_bytes

    for guess in from_bytes(content, cp_isolation=_ENCODINGS):  # the likeliest first
        with contextlib.suppress(DataError):
            found.append((_Table.parse(str(guess), path).known(), str(guess)))
    if not found:
        raise DataError(path, "not a table in a known encoding; save it as UTF-8")
    return max(found, key=lambda one: one[0])[1]


def _cleaned(label: str) -> str:
    """A label without what keeps a spreadsheet from changing it, in usual characters."""
    label = label.translate(_PLAIN)
    if marked := _AS_TEXT.match(label):
        label = marked["quoted"] if marked["quoted"] is not None else label[marked.end() :]
    return label.strip()


def _digits(label: str) -> str:
    lines = (re.sub("[^0-9]", "", line) for line in re.split(r"\s/\s", label))
    return " / ".join(line for line in lines if line)


def _text(label: str) -> str:
    lines = (line.strip() for line in re.split(r"\s/\s", label))
    return " / ".join(line for line in lines if line)
