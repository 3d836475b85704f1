"""Answers: what was read on forms as a table: a row for each form, a column for each field."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rowscan.batch.formats import FORMATS, json_line
from rowscan.batch.journal import Row
from rowscan.batch.workbook import LONGEST_TEXT, SheetNames
from rowscan.errors import UsageError, requires
from rowscan.forms.specification import HEAD, Specification
from rowscan.reading import SURE

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet

_BATCH = 1000  # rows that are in memory at a time
_PICTURE_HEIGHT = 24  # pixels of a cut-out in a cell

Rows = Callable[[], Iterable[Row]]
"""Gives all rows, each time that it is called."""

PICTURES = ".pictures"
"""What the folder with pictures of fields has after the name of the table that it is beside."""
REVIEWED = ("corrected", "page_state", "user", "time")
"""The last columns of a table of forms that people have reviewed."""


def columns(forms: Sequence[Specification], more: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of all columns: the fields, the confidence and the status of each, then more."""
    names = list(dict.fromkeys(field.name for form in forms for field in form.fields))
    sure = [f"{name}_{more}" for name in names for more in ("confidence", "status")]
    return (*HEAD, *names, *sure, *more)


def cells(row: Row) -> dict[str, Any]:
    """The cells of a row, by their columns."""
    broken = [row["error"]] if row["error"] else row["broken"]
    found: dict[str, Any] = {name: row[name] for name in HEAD[:-1]}
    found[HEAD[-1]] = "; ".join(broken)
    found |= {name: row[name] for name in REVIEWED if name in row}
    for name, field in row["fields"].items():
        day = field["value"] if isinstance(field["value"], str) else None
        found[name] = field.get("picture") or day or field["text"]
        found[f"{name}_confidence"] = field["confidence"]
        found[f"{name}_status"] = field["status"]
    return found


def csv_rows(names: Sequence[str], rows: Iterable[Row], *, header: bool = True) -> Iterator[str]:
    """The lines of a CSV file."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="", extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    for row in rows:
        writer.writerow(cells(row))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def to_csv(path: Path, forms: Sequence[Specification], rows: Rows) -> None:
    """A row for each form; with a byte order mark if it has more than ASCII, as readings have."""
    names = columns(forms)
    plain = all(text.isascii() for text in csv_rows(names, rows()))
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write("" if plain else FORMATS["csv"].mark)
        file.writelines(csv_rows(names, rows()))


def to_jsonl(path: Path, forms: Sequence[Specification], rows: Rows) -> None:
    """An object for each form, on one line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json_line(row) for row in rows())


def to_parquet(path: Path, forms: Sequence[Specification], rows: Rows) -> None:
    """The table of `to_csv`.

    Raises:
        MissingExtraError: PyArrow is not installed.
    """
    with requires("remote", "writing Parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    names = columns(forms)
    kinds = {"page": pa.int32(), "confidence": pa.float64()}
    schema = pa.schema(
        [
            (name, kinds.get(name, pa.float64() if name.endswith("_confidence") else pa.string()))
            for name in names
        ]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for some in _batches(map(cells, rows())):
            found = [{name: row.get(name) for name in names} for row in some]
            writer.write_table(pa.Table.from_pylist(found, schema))


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == _BATCH:
            yield some
            some = []
    if some:
        yield some


class _Sheet:
    """One sheet, written from top to bottom."""

    def __init__(self, sheet: "Worksheet", names: Sequence[str], bold: object) -> None:
        self.sheet, self.names, self.row = sheet, names, 0
        sheet.freeze_panes(1, 1)
        sheet.set_column(0, 0, 30)
        sheet.set_column(5, 5, 40)
        sheet.write_row(0, 0, names, bold)

    def add(self, found: Mapping[str, Any], style: Callable[[str], object]) -> None:
        self.row += 1
        for column, name in enumerate(self.names):
            value = found.get(name)
            if isinstance(value, str):
                self.sheet.write_string(self.row, column, value[:LONGEST_TEXT], style(name))
            elif value is not None:
                self.sheet.write(self.row, column, value, style(name))


def to_xlsx(
    path: Path, forms: Sequence[Specification], rows: Rows, more: Sequence[str] = ()
) -> None:
    """A sheet for each form; in front one with what is to be checked, and why.

    Numbers are numbers; identifiers stay texts, with their leading zeros. What is unsure is yellow.

    Raises:
        MissingExtraError: XlsxWriter is not installed.
    """
    with requires("xlsx", "writing XLSX"):
        import xlsxwriter
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        bold, yellow = book.add_format({"bold": True}), book.add_format({"bg_color": "#FFEB9C"})
        check = _Sheet(book.add_worksheet("To check"), HEAD, bold)
        names = SheetNames("To check")
        sheets = {
            form.name: _Sheet(book.add_worksheet(names.new(form.name)), columns([form], more), bold)
            for form in forms
        }
        for row in rows():
            found = cells(row)
            if row["status"] != "read":
                check.add(found, lambda _: None)
            if row["form"] in sheets:
                sheet = sheets[row["form"]]
                sheet.add(found | _values(row), _style(row, yellow))
                _insert_pictures(sheet, row, path.parent)
        for sheet in (check, *sheets.values()):
            sheet.sheet.autofilter(0, 0, sheet.row, len(sheet.names) - 1)


def _values(row: Row) -> dict[str, Any]:
    """The numbers of a row, as numbers."""
    return {
        name: field["value"]
        for name, field in row["fields"].items()
        if isinstance(field["value"], float)
    }


def _style(row: Row, unsure: object) -> Callable[[str], object]:
    fields = row["fields"]

    def style(name: str) -> object:
        field = fields.get(name)
        if field is None:
            return None
        sure = field["confidence"] >= SURE and field["status"] in ("read", "empty", "picture")
        return None if sure else unsure

    return style


def _insert_pictures(sheet: _Sheet, row: Row, folder: Path) -> None:
    """Fields that are kept as pictures, in their cells."""
    for column, name in enumerate(sheet.names):
        field = row["fields"].get(name, {})
        picture = field.get("picture") or field.get("embedded")
        if picture and (folder / picture).is_file():
            import PIL.Image

            with PIL.Image.open(folder / picture) as image:
                scale = _PICTURE_HEIGHT / image.height
            shown = {"x_scale": scale, "y_scale": scale, "object_position": 1}
            sheet.sheet.insert_image(sheet.row, column, str(folder / picture), shown)


WRITERS: Mapping[str, Callable[[Path, Sequence[Specification], Rows], None]] = {
    "csv": to_csv,
    "jsonl": to_jsonl,
    "parquet": to_parquet,
    "xlsx": to_xlsx,
}
"""What writes each format."""


def format_of(output: Path | None, named: str | None) -> str:
    """The format of a file: as it is named, or by how the name of the file ends.

    Raises:
        UsageError: a format that forms do not have.
    """
    found = named or (output.suffix.lower().lstrip(".") if output else "csv")
    if found not in WRITERS:
        raise UsageError(
            f"--form writes {', '.join(WRITERS)}: expected one of these, got {found!r}"
        )
    if output is None and found not in ("csv", "jsonl"):
        raise UsageError(f"--format {found}: expected --output FILE")
    return found
