"""Fields: what is written in each field of a page that is laid upon its blank."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import cv2
import numpy as np

from rowscan.alphabet import ALPHABETS
from rowscan.arrays import Float64
from rowscan.forms.ink import Ink, share, without_stains, written
from rowscan.forms.lines import join_boxes, line_image, owned
from rowscan.forms.marks import read_choice, read_tick
from rowscan.forms.pooling import Seen, pooled
from rowscan.forms.registration import Laid, align, around, cut, print_found
from rowscan.forms.results import Corners, FieldReading, FieldStatus
from rowscan.forms.specification import Field
from rowscan.forms.values import ALPHABETS as FIELD_ALPHABETS
from rowscan.forms.values import interpreted, pattern
from rowscan.reader import Reader
from rowscan.reading import Box, Character, Line
from rowscan.recognition.characters import read_lines
from rowscan.recognition.constraint import Constraint, constraint
from rowscan.recognition.tta import Budget
from rowscan.segmentation.line_image import LineImage

MIN_CORRELATION = 0.58
"""Of the print around a field. In 60 simulated photos 99% of the fields that were laid right had
0.73 at the least; laid 3 or 4 mm beside their place 99% had 0.43 at most; this is the middle."""
_SURROUNDINGS = 12  # pixels around a field whose print is compared
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
        box = _box(_corners(part, laid))
        if not part.is_there and part.field.kind != "text":  # a picture misleads nobody
            name = part.field.name
            readings[name] = FieldReading(name, "", 0.0, "unreadable", box, picture=_picture(part))
            continue
        is_text = part.field.kind in FIELD_ALPHABETS  # a box that is filled is ticked
        found = without_stains(part.found) if is_text else part.found
        ink = written(part.printed, found)
        if part.field.kind == "tick":
            readings[part.field.name] = read_tick(part.field, ink, part.boxes[0], box)
        elif part.field.kind == "choice":
            readings[part.field.name] = read_choice(part.field, ink, part.boxes, box)
        elif part.field.kind == "text":
            readings[part.field.name] = _as_picture(part, ink, box)
        elif (todo := _to_read(part, ink)) is not None:
            waiting.append(todo)
        else:
            readings[part.field.name] = _empty(part.field, box)
    for item, line in _read(waiting, reader):
        field = item.part.field
        readings[field.name] = _interpreted(item, line, laid)
    return {
        part.field.name: replace(readings[part.field.name], corners=_corners(part, laid))
        for part in parts
    }


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
        expected = pattern(part.field, len(boxes)) if full else rf"\d{{{len(filled)}}}"
        return None if image is None else _Written(part, image, filled, expected, full)
    (only,) = owned(ink, boxes)
    if only is None or only.mask.sum() < _EMPTY * boxes[0][2] * boxes[0][3]:
        return None
    image = line_image(only)
    if image is None:
        return None
    return _Written(part, image, (), pattern(part.field, None), True)


def _read(waiting: Sequence[_Written], reader: Reader) -> Iterator[tuple[_Written, Line]]:
    """The likeliest line of each: those with one pattern together, the digits of all too."""

    def key(item: _Written) -> tuple[str, str]:
        return FIELD_ALPHABETS[item.part.field.kind], item.pattern

    items, seen, known = [], [], reader.line_model.alphabet
    for (alphabet, expected), group in itertools.groupby(sorted(waiting, key=key), key=key):
        alike = list(group)
        allowed = allowed_in(known, alphabet, expected)
        images = [item.image for item in alike]
        # The digit model is the second opinion of lines that are not read surely.
        found = read_lines(reader.line_model, images, allowed, budget=Budget(0))
        items += alike
        seen += [
            Seen(candidate, item.glyphs, allowed.automaton, known)
            for item, candidate in zip(alike, found, strict=True)
        ]
    return zip(items, pooled(seen, reader), strict=True)


@lru_cache(256)
def allowed_in(known: str, alphabet: str, expected: str) -> Constraint:
    """What may be read in a field, of the characters that a model knows.

    Where no sign can be, a slanted stroke is a 1: passed over, it made 22 of 212, and surely so.
    """
    characters = "".join(c for c in ALPHABETS.get(alphabet, alphabet) if c in known)
    return constraint(known, alphabet=characters, pattern=expected).taking("/", "1", known)


def _interpreted(item: _Written, line: Line, laid: Laid) -> FieldReading:
    """The reading of a field, its value, and whether that can be."""
    field, text = item.part.field, line.text
    status, value = interpreted(field, text, full=item.full)
    return FieldReading(
        field.name,
        text,
        float(line.confidence if text else 0.0),
        status,
        _box(_corners(item.part, laid)),
        value,
        picture=_picture(item.part),
        characters=_placed(item, line, laid),
        ink=item.image.ink,
        filled=len(item.glyphs) or None,
    )


def _placed(item: _Written, line: Line, laid: Laid) -> tuple[Character, ...]:
    """The characters of a line with their boxes in the picture."""
    boxes = [character.box for character in line.characters]
    if item.glyphs:
        boxes = [_ink_box(glyph) for glyph in item.glyphs]
    if len(boxes) != len(line.characters):
        return ()
    return tuple(
        replace(character, box=_box(_corners(item.part, laid, box)))
        for character, box in zip(line.characters, boxes, strict=True)
    )


def _ink_box(glyph: Ink) -> Box:
    rows, columns = np.flatnonzero(glyph.mask.any(1)), np.flatnonzero(glyph.mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


def _corners(part: Part, laid: Laid, inner: Box | None = None) -> Corners:
    """The corners of a field, or of a box inside of it, in pixels of the picture."""
    x, y, width, height = inner or (0, 0, *part.box[2:])
    x, y = part.box[0] + x, part.box[1] + y
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], float)
    aligned = corners @ part.place[:, :2].T + part.place[:, 2]
    mapped = cv2.perspectiveTransform(aligned[:, None], laid.to_picture)[:, 0]
    return tuple((float(right), float(down)) for right, down in mapped)


def _box(corners: Corners) -> Box:
    """X, y, width and height of what corners enclose."""
    (left, top), (right, bottom) = np.rint(np.min(corners, 0)), np.rint(np.max(corners, 0))
    return max(int(left), 0), max(int(top), 0), max(int(right - left), 1), max(int(bottom - top), 1)
