"""Fields: what is written in each field of a page that is laid upon its blank."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import cast

import cv2
import numpy as np

from rowscan.alphabet import ALPHABETS, DIGITS
from rowscan.arrays import Float64, UInt8
from rowscan.forms.ink import Ink, quantile, share, written
from rowscan.forms.lines import join_boxes, line_image, owned
from rowscan.forms.marks import read_choice, read_tick
from rowscan.forms.registration import Laid, align, around, cut, print_found
from rowscan.forms.results import FieldReading, FieldStatus
from rowscan.forms.specification import DATE_PARTS, Field, date_parts
from rowscan.reader import Reader, shipped
from rowscan.reading import Box, Line
from rowscan.recognition.characters import read_lines
from rowscan.recognition.constraint import Constraint, constraint
from rowscan.segmentation.digit import normalise_ink
from rowscan.segmentation.line_image import LineImage

MIN_CORRELATION = 0.58
"""Of the print around a field. In 60 simulated photos 99% of the fields that were laid right had
0.73 at the least; laid 3 or 4 mm beside their place 99% had 0.43 at most; this is the middle."""
_SURROUNDINGS = 12  # pixels around a field whose print is compared
_ALPHABETS = {"digits": "digits", "number": "0123456789.,-", "date": "date"}
_FLOOR = 1e-4  # the least probability of a digit
_ALONE = 0.7  # the weight of the digit model: the likelihood of those fields was highest with it
_FULL = 0.8  # of the pixels of a digit: those below have less than full ink
_EMPTY = 0.004  # of a frame: less ink than that is a speck


@dataclass(frozen=True, eq=False)
class Part:
    """A field cut out of a page."""

    field: Field
    box: Box
    """In pixels of the blank as it is worked with, with its surroundings."""
    boxes: tuple[Box, ...]
    """Those of the field, in pixels of the part."""
    place: Float64[np.ndarray, "2 3"]
    """From pixels of the blank to those of the page."""
    printed: np.ndarray
    found: np.ndarray
    """Contrast of the blank and of the page."""
    score: float
    """The correlation of the print."""

    @property
    def is_there(self) -> bool:
        """Whether the form's own print is around it."""
        return self.score >= MIN_CORRELATION


def cut_out(laid: Laid, field: Field) -> Part:
    """A field of a page, with its local alignment."""
    scaled = [tuple(round(side * laid.blank.scale) for side in box) for box in field.boxes]
    low = np.min([box[:2] for box in scaled], axis=0)
    high = np.max([(box[0] + box[2], box[1] + box[3]) for box in scaled], axis=0)
    whole = (int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))
    box = around(whole, _SURROUNDINGS, laid.contrast.shape)
    x, y, width, height = box
    place = align(laid, box)
    printed, found = laid.blank.contrast[y : y + height, x : x + width], cut(laid, box, place)
    is_moved = any(_overlap(whole, table) for table in laid.moved_tables)
    score = 0.0 if is_moved else print_found(laid, box, found)
    boxes = tuple((a - x, b - y, w, h) for a, b, w, h in cast("list[Box]", scaled))
    return Part(field, box, boxes, place, printed, found, score)


def _overlap(box: Box, other: Box) -> bool:
    (x, y, width, height), (left, top, wide, high) = box, other
    return x < left + wide and left < x + width and y < top + high and top < y + height


def words_found(laid: Laid) -> float:
    """Of the printed words of the blank that the picture shows, the share that is in its place.

    A table that is one row lower than on the blank looks right around each field; its words do not.
    """
    found = []
    for word in laid.blank.words:
        box = around(word, 3, laid.contrast.shape)
        if laid.shows(box):
            found.append(print_found(laid, box, cut(laid, box, align(laid, box))))
    return float(np.mean([score >= MIN_CORRELATION for score in found])) if found else 1.0


@dataclass(frozen=True, eq=False)
class _Written:
    """Something to read in a field."""

    part: Part
    image: LineImage
    glyphs: Sequence[Ink]
    """Of boxes with one digit each, each digit alone."""
    pattern: str
    full: bool
    """Whether all boxes have ink."""


def read_parts(parts: Sequence[Part], laid: Laid, reader: Reader) -> dict[str, FieldReading]:
    """What is written in each field, by its name.

    Args:
        parts: as `cut_out` gives them.
        laid: the page.
        reader: reads lines and digits.
    """
    readings: dict[str, FieldReading] = {}
    waiting: list[_Written] = []
    for part in parts:
        box = _in_picture(part, laid)
        if not part.is_there and part.field.kind != "text":  # a picture misleads nobody
            name = part.field.name
            readings[name] = FieldReading(name, "", 0.0, "unreadable", box, picture=_picture(part))
            continue
        ink = written(part.printed, part.found)
        if part.field.kind == "tick":
            readings[part.field.name] = read_tick(part.field, ink, part.boxes[0], box)
        elif part.field.kind == "choice":
            readings[part.field.name] = read_choice(part.field, ink, part.boxes, box)
        elif part.field.kind == "text":
            readings[part.field.name] = _as_picture(part, ink, box)
        elif (found := _to_read(part, ink)) is not None:
            waiting.append(found)
        else:
            readings[part.field.name] = _empty(part.field, box)
    for item, line in _read(waiting, reader):
        field = item.part.field
        readings[field.name] = _interpreted(item, line, _in_picture(item.part, laid))
    return readings


def _empty(field: Field, box: Box) -> FieldReading:
    return FieldReading(field.name, "", 0.99, "empty", box)


def _as_picture(part: Part, ink: Ink, box: Box) -> FieldReading:
    inked = share(ink, part.boxes[0]) >= _EMPTY
    status: FieldStatus = "picture" if inked else "empty"
    return FieldReading(part.field.name, "", 1.0, status, box, picture=_picture(part))


def _picture(part: Part) -> np.ndarray:
    """The field without its shadows, dark ink on white paper."""
    x, y, width, height = (
        min(b[0] for b in part.boxes),
        min(b[1] for b in part.boxes),
        max(b[0] + b[2] for b in part.boxes),
        max(b[1] + b[3] for b in part.boxes),
    )
    shown: np.ndarray = 255 - part.found[y:height, x:width]
    return shown


def _to_read(part: Part, ink: Ink) -> _Written | None:
    """The line of ink of a field; None where nothing is written."""
    boxes = part.boxes
    if len(boxes) > 1:
        glyphs = owned(ink, boxes)
        filled = [glyph for glyph in glyphs if glyph is not None]
        if not filled:
            return None
        image = join_boxes(filled)
        full = len(filled) == len(boxes)
        pattern = _pattern(part.field, len(boxes)) if full else rf"\d{{{len(filled)}}}"
        return None if image is None else _Written(part, image, filled, pattern, full)
    (only,) = owned(ink, boxes)
    if only is None or only.mask.sum() < _EMPTY * boxes[0][2] * boxes[0][3]:
        return None
    image = line_image(only)
    if image is None:
        return None
    return _Written(part, image, (), _pattern(part.field, None), True)


def _pattern(field: Field, boxes: int | None) -> str:
    """What the text of a field looks like; `boxes` is their number where each has one character."""
    if field.pattern is not None:
        return field.pattern
    if field.kind == "date":
        return _date_pattern(field.format, boxed=boxes is not None)
    if boxes is not None:
        return rf"\d{{{boxes}}}"
    if field.kind == "digits":
        return rf"\d{{{field.digits}}}" if field.digits else r"\d+"
    most = field.digits
    if most is None and field.range is not None:
        most = max(len(str(int(abs(limit)))) for limit in field.range)
    whole = rf"\d{{1,{most}}}" if most else r"\d+"
    sign = "-?" if field.range is not None and field.range[0] < 0 else ""
    return f"{sign}{whole}" + (rf"([.,]\d{{1,{field.decimals}}})?" if field.decimals else "")


def _date_pattern(form: str, *, boxed: bool) -> str:
    known = {
        "dd": r"(0[1-9]|[12]\d|3[01])" if boxed else r"(0?[1-9]|[12]\d|3[01])",
        "mm": r"(0[1-9]|1[0-2])" if boxed else r"(0?[1-9]|1[0-2])",
        "yyyy": r"(19|20)\d\d",
        "yy": r"\d\d",
    }
    parts = [known[part] for part in date_parts(form) or ()]
    return ("" if boxed else "[-./ ]*").join(parts)


def _read(waiting: Sequence[_Written], reader: Reader) -> Iterator[tuple[_Written, Line]]:
    """The likeliest line of each: those with one pattern together, the digits of all boxes too."""

    def key(item: _Written) -> tuple[str, str]:
        return _ALPHABETS[item.part.field.kind], item.pattern

    lines: list[tuple[_Written, Line]] = []
    for (alphabet, pattern), group in itertools.groupby(sorted(waiting, key=key), key=key):
        items = list(group)
        allowed = _allowed(reader.line_model.alphabet, alphabet, pattern)
        found = read_lines(reader.line_model, [item.image for item in items], allowed)
        lines += [(item, candidate.line) for item, candidate in zip(items, found, strict=True)]
    return zip((item for item, _ in lines), _with_digit_model(lines, reader), strict=True)


@lru_cache(256)
def _allowed(known: str, alphabet: str, pattern: str) -> Constraint:
    """What may be read, of the characters that a model knows.

    Where no sign can be, a slanted stroke is a 1: passed over, it made 22 of 212, and surely so.
    """
    characters = "".join(c for c in ALPHABETS.get(alphabet, alphabet) if c in known)
    return constraint(known, alphabet=characters, pattern=pattern).taking("/", "1", known)


def _with_digit_model(lines: Sequence[tuple[_Written, Line]], reader: Reader) -> Iterator[Line]:
    """Each line; of digits in boxes with what the model of single digits sees in each box."""
    boxed = [_is_boxed(item, line) for item, line in lines]
    images = [
        _normalised(glyph)
        for (item, _), is_boxed in zip(lines, boxed, strict=True)
        if is_boxed
        for glyph in item.glyphs
    ]
    alone = iter(_digit_reader(reader).predict_proba(np.stack(images)) if images else ())
    for (_, line), is_boxed in zip(lines, boxed, strict=True):
        if is_boxed:
            rows = np.array(list(itertools.islice(alone, len(line.characters))), np.float64)
            yield _mixed(line, rows)
        else:
            yield line


def _is_boxed(item: _Written, line: Line) -> bool:
    return len(item.glyphs) == len(line.text) > 0 and set(line.text) <= set(DIGITS)


def _mixed(line: Line, alone: Float64[np.ndarray, "n 10"]) -> Line:
    """A line with what the model of single digits sees in each box.

    The mean of both models' probabilities: a product is too sure, as both learnt from the same
    digits. On 136 fields in 60 simulated photos with MNIST's validation digits the line model read
    124, the digit model 128, the mean 129, with one wrong at 0.9 and more; the product 128, with 3.
    """
    beside = np.full((len(alone), 10), _FLOOR)
    for row, character in zip(beside, line.characters, strict=True):
        if character.runner_up is not None and character.runner_up[0] in DIGITS:
            row[int(character.runner_up[0])] += character.runner_up[1]
        row[int(character.character)] += character.confidence
    both = _ALONE * alone + (1 - _ALONE) * beside / beside.sum(1, keepdims=True)
    best = both.argmax(1)
    characters = tuple(
        replace(character, character=str(digit), confidence=float(row[digit]))
        for character, digit, row in zip(line.characters, best, both, strict=True)
    )
    return replace(line, characters=characters, confidence=float(both.max(1).prod()))


def _digit_reader(reader: Reader) -> Reader:
    """The reader itself, or the one that ships where its model reads lines alone."""
    return shipped() if reader.kind == "line" else reader


def _normalised(glyph: Ink) -> UInt8[np.ndarray, "28 28"]:
    """The digit of a box in MNIST's frame."""
    rows, columns = np.flatnonzero(glyph.mask.any(1)), np.flatnonzero(glyph.mask.any(0))
    grey = glyph.grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    full = max(quantile(grey[grey > 0], _FULL), 1)
    return normalise_ink(np.clip((np.pad(grey, 2) / np.float32(full) - 0.2) / 0.7, 0, 1))


def _interpreted(item: _Written, line: Line, box: Box) -> FieldReading:
    """The reading of a field, its value, and whether that can be."""
    field, text = item.part.field, line.text
    status: FieldStatus = "read" if text else "unsure"
    value: str | float | None = None
    if text and not item.full and (field.kind == "date" or field.required or field.digits):
        status = "incomplete"
    elif text and field.kind == "date":
        value = iso_date(text, field.format)
        status = "read" if value else "invalid"
    elif text and field.kind == "number":
        value = number(text, field.decimals)
    if text and field.range is not None and field.kind != "date":
        low, high = field.range
        amount = value if isinstance(value, float) else number(text, 0)
        if amount is None or not low <= amount <= high:
            status = "invalid"
    return FieldReading(
        field.name,
        text,
        float(line.confidence if text else 0.0),
        status,
        box,
        value,
        picture=_picture(item.part),
    )


def number(text: str, decimals: int) -> float | None:
    """The value of a number as it is written; None if it is none.

    Args:
        text: without a decimal sign,
        decimals: how many digits follow it.
    """
    plain = text.replace(" ", "").replace(",", ".")
    try:
        value = float(plain)
    except ValueError:
        return None
    return value if "." in plain or not decimals else value / 10**decimals


def iso_date(text: str, form: str) -> str | None:
    """A day that is written in a format, as 2026-11-26; None if there is no such day."""
    parts = date_parts(form) or []
    groups = re.findall(r"\d+", text)
    if len(groups) == 1:
        ends = list(itertools.accumulate((DATE_PARTS[part] for part in parts), initial=0))
        groups = [text[a:b] for a, b in itertools.pairwise(ends)]
    if len(groups) != 3:
        return None
    values = {part[0]: int(group or 0) for part, group in zip(parts, groups, strict=True)}
    if "yy" in parts:
        values["y"] += 2000
    try:
        return date(values["y"], values["m"], values["d"]).isoformat()
    except ValueError:
        return None


def _in_picture(part: Part, laid: Laid) -> Box:
    """X, y, width and height of a field in pixels of the picture."""
    x, y, width, height = part.box
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], float)
    mapped = cv2.perspectiveTransform(corners[:, None], laid.to_picture)[:, 0]
    (left, top), (right, bottom) = np.rint(mapped.min(0)), np.rint(mapped.max(0))
    return max(int(left), 0), max(int(top), 0), max(int(right - left), 1), max(int(bottom - top), 1)
