"""Draw three blank forms with their form.toml: `python examples/forms/make_forms.py [FOLDER]`.

An exam cover, a meter card and a score sheet, at 150 dots an inch. Nothing is random.
"""

import sys
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from rowscan.forms.specification import (
    CheckDigit,
    Field,
    Kind,
    Rule,
    Specification,
    Sum,
    Unique,
    to_toml,
)

DPI = 150
Box = tuple[int, int, int, int]


def px(millimetres: float) -> int:
    """Pixels of the blank."""
    return round(millimetres * DPI / 25.4)


class Sheet:
    """A blank form that is being drawn, and its fields; lengths are millimetres."""

    def __init__(self, name: str, width: float, height: float) -> None:
        self.name = name
        self.picture = PIL.Image.new("L", (px(width), px(height)), 255)
        self.pen = PIL.ImageDraw.Draw(self.picture)
        self.fields: list[Field] = []

    def words(self, x: float, y: float, text: str, size: float = 3.4) -> None:
        """Printed text; y is its top."""
        font = PIL.ImageFont.load_default(px(size))
        self.pen.text((px(x), px(y)), text, fill=20, font=font)

    def frame(self, x: float, y: float, width: float, height: float, line: int = 2) -> Box:
        """A frame; what it encloses."""
        left, top, right, bottom = px(x), px(y), px(x + width), px(y + height)
        self.pen.rectangle((left, top, right, bottom), outline=40, width=line)
        return left, top, right - left, bottom - top

    def boxes(self, x: float, y: float, count: int, side: float, high: float) -> tuple[Box, ...]:
        """Boxes side by side."""
        return tuple(self.frame(x + i * side, y, side, high) for i in range(count))

    def comb(self, x: float, y: float, count: int, side: float, high: float) -> tuple[Box, ...]:
        """A comb: a line with teeth."""
        left, right, foot = px(x), px(x + count * side), px(y + high)
        self.pen.line((left, foot, right, foot), fill=40, width=2)
        for i in range(count + 1):
            tooth = px(x + i * side)
            self.pen.line((tooth, foot - px(2.5), tooth, foot), fill=40, width=2)
        return tuple((px(x + i * side), px(y), px(side), px(high)) for i in range(count))

    def dots(self, x: float, y: float, width: float, high: float) -> Box:
        """A dotted line to write on, and the room above it."""
        for at in range(px(x), px(x + width), 6):
            self.pen.ellipse((at, px(y), at + 2, px(y) + 2), fill=60)
        return px(x), px(y - high), px(width), px(high)

    def field(self, name: str, kind: Kind, *boxes: Box, **more: object) -> None:
        """Name what is written in some boxes."""
        self.fields.append(Field(name=name, kind=kind, boxes=boxes, **more))  # type: ignore[arg-type]

    def save(self, folder: Path, rules: tuple[Rule, ...] = ()) -> None:
        """Write the picture and the form.toml."""
        folder.mkdir(parents=True, exist_ok=True)
        self.picture.save(folder / f"{self.name}.png")
        form = Specification(
            name=self.name, pages=(f"{self.name}.png",), fields=tuple(self.fields), rules=rules
        )
        (folder / f"{self.name}.toml").write_text(to_toml(form), "utf-8")


def exam_cover(folder: Path) -> None:
    """A4: who writes which exam, when, and the points of six questions."""
    sheet = Sheet("exam-cover", 210, 297)
    sheet.frame(12, 12, 186, 273, line=3)
    sheet.words(20, 20, "EXAMINATION COVER SHEET", 7)
    sheet.words(20, 31, "Faculty of Engineering. Write one digit in each box, with a dark pen.")
    sheet.words(20, 48, "Student number")
    sheet.field("student_id", "digits", *sheet.boxes(70, 44, 8, 8, 10), digits=8, required=True)
    sheet.words(20, 64, "Name")
    sheet.field("name", "text", sheet.dots(70, 68, 110, 9))
    sheet.words(20, 80, "Date of the exam")
    day = sheet.boxes(70, 76, 2, 8, 10)
    month = sheet.boxes(92, 76, 2, 8, 10)
    year = sheet.boxes(114, 76, 4, 8, 10)
    sheet.words(87.5, 81, ".", 5)
    sheet.words(109.5, 81, ".", 5)
    sheet.field("date", "date", *day, *month, *year)
    sheet.words(20, 98, "Course number")
    sheet.field("course", "digits", *sheet.comb(70, 93, 8, 8, 10), digits=8)
    sheet.words(20, 116, "Version of the questions")
    options = ("A", "B", "C", "D")
    marks = []
    for i, option in enumerate(options):
        sheet.words(74 + 22 * i, 116, option, 4)
        marks.append(sheet.frame(80 + 22 * i, 115, 6, 6))
    sheet.field("version", "choice", *marks, options=options)
    for i, (name, text) in enumerate(
        [
            ("calculator", "A calculator was used"),
            ("second", "This is the second attempt"),
            ("extra", "Extra sheets are attached"),
        ]
    ):
        sheet.field(name, "tick", sheet.frame(20, 132 + 11 * i, 6, 6))
        sheet.words(30, 133 + 11 * i, text)
    sheet.words(20, 176, "Points (filled in by the examiner)", 4.5)
    names = []
    for i in range(6):
        x = 20 + 24 * i
        sheet.frame(x, 186, 24, 8)
        sheet.words(x + 9, 188, f"Q{i + 1}", 4)
        names.append(f"q{i + 1}")
        sheet.field(names[-1], "number", sheet.frame(x, 194, 24, 14), range=(0, 20))
    sheet.frame(164, 186, 28, 8, line=3)
    sheet.words(171, 188, "Total", 4)
    sheet.field("total", "number", sheet.frame(164, 194, 28, 14, line=3), range=(0, 120))
    sheet.words(20, 230, "Regulations", 4.5)
    for i, text in enumerate(
        [
            "1. Bags, telephones and watches stay at the wall of the room.",
            "2. Nobody leaves during the first thirty minutes or the last ten.",
            "3. A blank sheet is handed in too, with the student number on it.",
        ]
    ):
        sheet.words(20, 240 + 7 * i, text, 3.6)
    sheet.words(150, 277, "Form EC-7, edition 3", 2.8)
    sheet.save(folder, (Sum("total", tuple(names)), Unique("student_id")))


def meter_card(folder: Path) -> None:
    """A postcard: the reading of a water meter."""
    sheet = Sheet("meter-card", 148, 105)
    sheet.frame(4, 4, 140, 97)
    sheet.words(10, 9, "Municipal Waterworks", 5.5)
    sheet.words(10, 17, "Please read your meter and send this card back within two weeks.", 3)
    sheet.words(10, 29, "Meter number")
    sheet.field("meter", "digits", *sheet.boxes(46, 26, 8, 8, 10), digits=8, required=True)
    sheet.words(10, 45, "Reading, cubic metres")
    sheet.field("reading", "digits", *sheet.boxes(62, 42, 6, 8, 10), digits=6, required=True)
    sheet.words(10, 61, "Read on")
    sheet.field("read_on", "date", *sheet.comb(46, 57, 8, 8, 10), format="ddmmyyyy")
    sheet.field("moved", "tick", sheet.frame(10, 74, 6, 6))
    sheet.words(19, 75, "I have moved house")
    sheet.field("broken", "tick", sheet.frame(74, 74, 6, 6))
    sheet.words(83, 75, "The meter is broken")
    sheet.words(10, 90, "Signature")
    sheet.field("signature", "text", sheet.dots(46, 94, 80, 9))
    sheet.save(folder, (CheckDigit("meter"), Unique("meter")))


def score_sheet(folder: Path) -> None:
    """A4: a table of twelve teams with three rounds each."""
    sheet = Sheet("score-sheet", 210, 297)
    sheet.words(20, 16, "Regional Quiz League", 8)
    sheet.words(20, 28, "Score sheet. One row a team; write the points of each round.", 3.6)
    sheet.words(20, 42, "Event number")
    sheet.field("event", "digits", *sheet.boxes(60, 38, 8, 8, 10), digits=8, required=True)
    columns = [("Team", 30.0), ("Round 1", 32.0), ("Round 2", 32.0), ("Round 3", 32.0)]
    columns.append(("Total", 40.0))
    rules = []
    x = 20.0
    for text, width in columns:
        sheet.frame(x, 58, width, 9)
        sheet.words(x + 4, 60.5, text, 4)
        x += width
    for row in range(12):
        y = 67 + 15 * row
        x = 20.0
        sheet.frame(x, y, 30, 15)
        sheet.words(x + 10, y + 5, f"{row + 1}", 5)
        x += 30
        of = []
        for column in range(3):
            of.append(f"r{row + 1}_{column + 1}")
            sheet.field(of[-1], "number", sheet.frame(x, y, 32, 15), range=(0, 99))
            x += 32
        sheet.field(f"total_{row + 1}", "number", sheet.frame(x, y, 40, 15), range=(0, 297))
        rules.append(Sum(f"total_{row + 1}", tuple(of)))
    sheet.field("final", "tick", sheet.frame(20, 258, 6, 6))
    sheet.words(30, 259, "These scores are final")
    sheet.field("protest", "tick", sheet.frame(110, 258, 6, 6))
    sheet.words(120, 259, "A protest was lodged")
    sheet.words(20, 280, "Referee")
    sheet.field("referee", "text", sheet.dots(50, 284, 90, 9))
    sheet.save(folder, tuple(rules))


def make(folder: Path) -> list[Path]:
    """Draw all three; their form.toml files."""
    for draw in (exam_cover, meter_card, score_sheet):
        draw(folder)
    return [folder / f"{name}.toml" for name in ("exam-cover", "meter-card", "score-sheet")]


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
