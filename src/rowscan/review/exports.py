"""Exports: the state of a review as CSV, JSON Lines, XLSX or `labels.csv`, at any time.

Where forms are reviewed, a table has a row for each form and a column for each field, as
`rowscan read --form` writes it.
"""

import base64
import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rowscan.batch import form_tables
from rowscan.batch.formats import FORMATS, json_line
from rowscan.batch.forms import marked
from rowscan.batch.journal import Row as FormRow
from rowscan.datasets.reviewed import DATABASE
from rowscan.errors import DataError, UsageError, requires
from rowscan.forms.results import FormReading
from rowscan.forms.rules import Seen
from rowscan.io.atomic import write_atomically
from rowscan.review.fields import AS_TEXT, DECIDED, Line, ReviewedForms, form_row
from rowscan.review.store import Store

COLUMNS = (
    "path",
    "page",
    "status",
    "line",
    "text",
    "confidence",
    "x",
    "y",
    "width",
    "height",
    "read",
    "state",
    "page_state",
    "user",
    "time",
)
"""Those of `rowscan read --format csv`, then what the model read and what became of it."""
Row = dict[str, object]


def to_csv(store: Store) -> Iterator[bytes]:
    """A row for each form; or for each line of writing, or one for a page without any."""
    if forms := ReviewedForms.of(store):
        names = form_tables.columns(forms.specifications, form_tables.REVIEWED)
        table = "".join(form_tables.csv_rows(names, form_rows(store, forms)))
        yield (("" if table.isascii() else FORMATS["csv"].mark) + table).encode()
        return
    yield from _csv(COLUMNS, (tuple(row[c] for c in COLUMNS) for row in rows(store)))


def to_labels(store: Store) -> Iterator[bytes]:
    """`filename,label` of the pictures that are done: what `rowscan train` and `evaluate` take.

    Of a document with several pages only the first: the format does not know pages.
    """
    yield from _csv(("filename", "label"), _labels(store))


def to_jsonl(store: Store) -> Iterator[bytes]:
    """An object for each page or form, as `rowscan read` writes it, with the state of each."""
    if forms := ReviewedForms.of(store):
        yield from (json_line(row).encode() for row in form_rows(store, forms))
        return
    for entry in store.entries():
        lines = [line for line in _ordered(store, entry["id"]) if line["state"] != "deleted"]
        whole = json.loads(store.entry(entry["id"])["content"])
        page = {"path": entry["path"]} | whole | {"state": entry["state"], "lines": lines}
        page["text"] = " / ".join(str(line["text"]) for line in lines)
        if page["status"] != "error" or lines:
            page["status"] = "read" if lines else "empty"
        yield json.dumps(page, ensure_ascii=False).encode() + b"\n"


def to_xlsx(store: Store) -> Iterator[bytes]:
    """The table of `to_csv`, with a header that stays; texts stay texts, with leading zeros.

    Raises:
        MissingExtraError: XlsxWriter is not installed.
    """
    if forms := ReviewedForms.of(store):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "readings.xlsx"
            found = list(form_rows(store, forms, pictures=Path(folder)))
            form_tables.to_xlsx(
                path, forms.specifications, lambda: found, more=form_tables.REVIEWED
            )
            yield path.read_bytes()
        return
    with requires("xlsx", "writing XLSX"):
        import xlsxwriter
    buffer = io.BytesIO()
    # A text that begins with = is writing, not a formula.
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(buffer, options) as book:
        sheet = book.add_worksheet("Rowscan")
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, 0, 30)
        sheet.write_row(0, 0, COLUMNS, book.add_format({"bold": True}))
        last = 0
        for last, row in enumerate(rows(store), start=1):
            for column, name in enumerate(COLUMNS):
                if row[name] is not None:
                    sheet.write(last, column, row[name])
        sheet.autofilter(0, 0, last, len(COLUMNS) - 1)
    yield buffer.getvalue()


EXPORTS: Mapping[str, tuple[Callable[[Store], Iterator[bytes]], str]] = {
    "readings.csv": (to_csv, "text/csv; charset=utf-8"),
    "readings.jsonl": (to_jsonl, "application/jsonl; charset=utf-8"),
    "readings.xlsx": (
        to_xlsx,
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    "labels.csv": (to_labels, "text/csv; charset=utf-8"),
}
"""What writes each file, and its media type."""


def export(folder: Path, output: Path) -> int:
    """Write what is known of a reviewed folder into a file; the number of its pages.

    The name says the format: `.csv`, `.jsonl`, `.xlsx`, or `labels.csv`.

    Raises:
        UsageError: another name.
        DataError: the folder was never reviewed.
        OutputError: the folder or the file cannot be written.
    """
    name = "labels.csv" if output.name == "labels.csv" else f"readings{output.suffix}"
    if name not in EXPORTS:
        known = ".csv, .jsonl, .xlsx or labels.csv"
        raise UsageError(f"{output}: expected a file named {known}")
    if not (folder / DATABASE).is_file():
        raise DataError(folder, f"has no {DATABASE}: `rowscan review` has not read it yet")
    store = Store(folder)
    write, _ = EXPORTS[name]
    write_atomically(output, b"".join(write(store)))
    return len(store.entries())


def rows(store: Store) -> Iterator[Row]:
    """The rows of the table, with the names of `COLUMNS`; the order is that of the paths."""
    for entry in sorted(store.entries(), key=lambda entry: (entry["path"], entry["number"])):
        page = {
            "path": entry["path"],
            "page": entry["number"],
            "status": entry["status"],
            "page_state": entry["state"],
        }
        empty: Row = dict.fromkeys(COLUMNS) | page
        kept = [line for line in _ordered(store, entry["id"]) if line["state"] != "deleted"]
        if not kept:
            yield empty | {"status": "error" if entry["status"] == "error" else "empty"}
        for number, line in enumerate(kept, start=1):
            said = {key: line.get(key) for key in ("text", "read", "state", "user", "time")}
            confidence = None if line["state"] in DECIDED else line["confidence"]
            box = line["box"]
            assert isinstance(box, list)
            place = dict(zip(("x", "y", "width", "height"), box, strict=True))
            row = {"status": "read", "line": number, "confidence": confidence}
            yield empty | row | said | place


def form_rows(
    store: Store, forms: ReviewedForms, *, pictures: Path | None = None
) -> Iterator[FormRow]:
    """A row for each form as it stands now, with the rules that it breaks, alone and with others.

    Pages that show no form have the status `error`.

    Args:
        store: what was read and corrected.
        forms: what the pictures were laid upon.
        pictures: a folder for the fields that are kept as pictures.
    """
    named = {form.name: form for form in forms.specifications}
    seen, found = Seen(), []
    for entry in sorted(store.entries(), key=lambda entry: (entry["path"], entry["number"])):
        content = json.loads(store.entry(entry["id"])["content"])
        lines = store.lines(entry["id"])
        if "form" in content:
            row = form_row(forms.reading(content, lines), lines)
            if pictures is not None:
                _save_pictures(row, lines, pictures, str(entry["id"]))
        else:
            reason = content.get("error") or "its lines were corrected before there was a form"
            row = form_row(FormReading("", entry["number"], error=reason), lines)
        found.append({"path": entry["path"]} | row | {"page_state": entry["state"]})
        marked(found[-1], named, seen)  # the first of two that have the same value is marked too
    return (marked(row, named, seen) for row in found)


def _save_pictures(row: FormRow, lines: Sequence[Line], folder: Path, stem: str) -> None:
    """Save the pictures of a form's fields, and say so in its row."""
    for line in lines:
        if line.get("picture") and line["field"] in row["fields"]:
            name = f"{stem}-{line['line']}.jpg"
            (folder / name).write_bytes(base64.b64decode(line["picture"]))
            row["fields"][line["field"]]["embedded"] = name


def _labels(store: Store) -> Iterator[tuple[object, ...]]:
    for entry in sorted(store.entries(), key=lambda entry: str(entry["path"])):
        if entry["state"] in ("done", "none") and entry["number"] == 1:
            lines = _ordered(store, entry["id"])
            read = [line for line in lines if line.get("kind", AS_TEXT[0]) in AS_TEXT]
            texts = [str(line["text"]) for line in read if line["state"] in DECIDED]
            yield entry["path"], " / ".join(filter(None, texts))


def _ordered(store: Store, page: int) -> list[Row]:
    """Lines from top to bottom, as a reading has them: drawn ones among the others."""
    lines = store.lines(page)
    if all(str(line["line"]).isdecimal() for line in lines):
        return lines
    boxes = {id(line): line["box"] for line in lines}

    def place(line: Row) -> tuple[int, int]:
        box = boxes[id(line)]
        assert isinstance(box, list)
        return box[1] + box[3] // 2, box[0]

    return sorted(lines, key=place)


def _csv(header: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if value is None else value for value in row])
        if buffer.tell() > 1 << 16:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()
