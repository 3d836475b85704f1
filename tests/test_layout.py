"""Tables keep their rows and columns on a terminal and in a workbook."""

import io
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowscan.batch.items import Job
from rowscan.batch.layout import blocks
from rowscan.batch.local import read_to
from rowscan.batch.terminal import Listing, to_lines, width
from rowscan.batch.workbook import SheetNames, Workbook
from rowscan.errors import UsageError
from rowscan.reading import Cell, Character, Line, Reading, Rejected

EXAMPLES = Path(__file__).parent.parent / "examples"
SPREADSHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def line(
    text: str, x: int, y: int, cell: tuple[int, int] | None = None, sure: float = 0.99
) -> Line:
    box = (x, y, 8 * len(text), 10)
    characters = tuple(Character(c, sure, box, None) for c in text)
    return Line(characters, sure, box, *(cell or (None, None)))


def cells(rows: int, columns: int, *, above: int = 0, table: int = 1) -> list[Cell]:
    return [
        Cell(above + i + 1, j + 1, (100 * j, 30 * (above + i) + 100, 100, 30), table=table)
        for i in range(rows)
        for j in range(columns)
    ]


def page(lines: list[Line], of: list[Cell], left_out: list[Rejected] | None = None) -> Reading:
    return Reading(
        width=400,
        height=400,
        lines=tuple(lines),
        confidence=0.9,
        cells=tuple(of),
        rejected=tuple(left_out or []),
    )


def test_a_page_with_two_tables_and_lines_around_them() -> None:
    reading = page(
        [
            line("2026", 10, 20),
            line("12", 10, 110, (1, 1)),
            line("4071", 110, 110, (1, 2)),
            line("9", 110, 140, (2, 2)),
            line("1)", 10, 165),
            line("88", 60, 165),
            line("5", 10, 200, (3, 1)),
        ],
        [*cells(2, 2), Cell(3, 1, (0, 180, 100, 30), table=2)],
        [
            Rejected((10, 140, 8, 10), "7", 0.6, "unsure"),
            Rejected((0, 0, 9, 9), "1", 0.2, "unsure"),
        ],
    )
    assert to_lines(reading) == [
        "2026",
        "┌────┬──────┐",
        "│ 12 │ 4071 │",
        "│  ? │    9 │",
        "└────┴──────┘",
        "1)  88",
        "┌───┐",
        "│ 5 │",
        "└───┘",
    ]


def test_a_cell_may_span_columns_and_rows() -> None:
    grid = [Cell(1, 1, (0, 0, 200, 30), columns=2), Cell(1, 3, (200, 0, 100, 60), rows=2)]
    grid += [Cell(2, 1, (0, 30, 100, 30)), Cell(2, 2, (100, 30, 100, 30))]
    lines = [
        line("123456789", 50, 10, (1, 1)),
        line("7", 210, 10, (1, 3)),
        line("1", 5, 40, (2, 1)),
    ]
    assert to_lines(page(lines, grid)) == [
        "┌───┬───────┬───┐",
        "│ 123456789 │ 7 │",
        "│ 1 │       │   │",
        "└───┴───────┴───┘",
    ]


@given(
    st.lists(st.lists(st.text("0123456789.□漢€", max_size=6), min_size=3, max_size=3), min_size=1)
)
def test_all_rows_of_a_frame_are_equally_wide(texts: list[list[str]]) -> None:
    lines = [
        line(text, 100 * j + 1, 30 * i + 101, (i + 1, j + 1))
        for i, row in enumerate(texts)
        for j, text in enumerate(row)
    ]
    rows = to_lines(page(lines, cells(len(texts), 3)))
    assert len({width(row) for row in rows}) == 1
    assert [[part.strip() for part in row.split("│")[1:-1]] for row in rows[1:-1]] == texts


def test_every_cell_has_an_entry() -> None:
    (block,) = blocks(page([], cells(9, 9)))
    assert block.shape == (9, 9)
    assert [(entry.row, entry.column, entry.text) for entry in block.entries] == [
        (row, column, "") for row in range(9) for column in range(9)
    ]


def sheets(content: bytes) -> dict[str, dict[str, object]]:
    """The values of each sheet by cell, and its merged ranges under ''."""
    book = zipfile.ZipFile(io.BytesIO(content))

    def tree(name: str) -> ElementTree.Element:
        return ElementTree.fromstring(book.read(f"xl/{name}"))

    texts = [
        "".join(t.text or "" for t in e.iter(f"{SPREADSHEET}t")) for e in tree("sharedStrings.xml")
    ]
    found = {}
    for number, sheet in enumerate(tree("workbook.xml").iter(f"{SPREADSHEET}sheet"), start=1):
        root, values = tree(f"worksheets/sheet{number}.xml"), dict[str, object]()
        for cell in root.iter(f"{SPREADSHEET}c"):
            value = cell.find(f"{SPREADSHEET}v")
            if value is not None and value.text:
                is_text = cell.get("t") == "s"
                values[cell.attrib["r"]] = texts[int(value.text)] if is_text else float(value.text)
        values[""] = [e.get("ref") for e in root.iter(f"{SPREADSHEET}mergeCell")]
        found[sheet.attrib["name"]] = values
    return found


def test_a_workbook_lists_the_pictures_and_has_a_sheet_for_each_page(tmp_path: Path) -> None:
    grid = [Cell(1, 1, (0, 0, 200, 30), columns=2), *cells(2, 2)[2:]]
    lines = [
        line("42", 10, 5, (1, 1)),
        line("007", 10, 140, (2, 1)),
        line("=1+1", 110, 140, (2, 2)),
    ]
    book = Workbook(tmp_path / "new" / "x.xlsx")
    book.write("a/form: one?.png", page(lines, grid))
    book.write("b/form: one?.png", page([line("5", 0, 0), line("6", 50, 0)], []))
    book.write("c.pdf", page([], []))
    book.write_failure("bad.jpg", 1, "not an image")
    book.close()
    found = sheets((tmp_path / "new" / "x.xlsx").read_bytes())
    assert list(found) == ["Pictures", "form_ one_", "form_ one_ (2)", "c"]
    assert found["form_ one_"] == {"A1": 42.0, "A2": "007", "B2": "=1+1", "": ["A1:B1"]}
    assert found["form_ one_ (2)"] == {"A1": 5.0, "B1": 6.0, "": []}
    assert found["c"] == {"": []}
    listed = [[found["Pictures"].get(f"{c}{n}") for c in "ACDEG"] for n in range(2, 6)]
    assert listed == [
        ["a/form: one?.png", "read", 3.0, "42 / 007 / =1+1", "form_ one_"],
        ["b/form: one?.png", "read", 2.0, "5 / 6", "form_ one_ (2)"],
        ["c.pdf", "empty", 0.0, "", "c"],
        ["bad.jpg", "error", 0.0, "not an image", None],
    ]


@given(st.lists(st.text(min_size=1), max_size=5))
def test_names_of_sheets_are_such_as_excel_takes(paths: list[str]) -> None:
    found = SheetNames("Pictures")
    names = [found.new(path, end) for path in paths for end in ("", " 2")]
    assert "pictures" not in {name.lower() for name in names}
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert 1 <= len(name) <= 31
        assert not re.search(r"[\[\]:*?/\\]|^'|'$", name)
        assert name.lower() != "history"


def test_the_command_writes_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(EXAMPLES / "digits" / "7-13.png")
    assert read_to(None, [picture], Job(), output_format="table")
    assert capsys.readouterr().out == f"{picture}:\n7\n\n"
    target = tmp_path / "x.xlsx"
    assert read_to(target, [picture], Job(), output_format="xlsx")
    assert sheets(target.read_bytes())["7-13"]["A1"] == 7.0
    for output, style, reason in (
        (target, "xlsx", "the file exists"),
        (target, "table", "the file exists"),
        (None, "xlsx", "expected --output FILE"),
    ):
        with pytest.raises(UsageError, match=reason):
            read_to(output, [picture], Job(), output_format=style)


def test_a_listing_in_a_file(tmp_path: Path) -> None:
    listing = Listing(tmp_path / "x.txt")
    listing.write("a.pdf", page([line("5", 0, 0)], []))
    listing.write_failure("a.pdf", 2, "damaged")
    listing.close()
    assert (tmp_path / "x.txt").read_text() == "a.pdf:\n5\n\na.pdf[2]: error\n\n"
