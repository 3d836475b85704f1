"""Annotate: draws a reading on a copy of its picture. It never changes the picture itself.

The cells of tables have thin frames, with row and column in a corner, empty ones too.

The text of a line stands above it, or beside it where another line is close above. Each character
has the colour of its box: green for high confidence, amber for medium, red for low. The colours can
be distinguished without red-green vision (Okabe and Ito: Color universal design, 2008). Boxes below
high confidence are thicker.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import PIL.PngImagePlugin

from rowscan.alphabet import SPACE
from rowscan.arrays import UInt8
from rowscan.batch.items import COPY_MARK
from rowscan.errors import OutputError, reason_of
from rowscan.io.atomic import write_atomically
from rowscan.io.pictures import MANY_PAGES
from rowscan.reading import Box, Cell, Line, Reading

GREEN = (0, 158, 115)
AMBER = (230, 159, 0)
RED = (213, 94, 0)
BLUE = (0, 114, 178)  # boxes of lines
PURPLE = (204, 121, 167)  # cells

HIGH = 0.95
"""Characters of at least this confidence are green."""

LOW = 0.6
"""Characters below this confidence are red."""

_MIN_DIGIT_HEIGHT = 40  # pixels; a copy with smaller characters is enlarged,
_MAX_ENLARGED = 4_000_000  # up to this number of pixels
_MIN_FONT = 14  # pixels
_MIN_PLACE = 9  # pixels: of row and column
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class _Label:
    """The text above or beside a line, and the plate behind it."""

    line: Line
    font: PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont
    box: Box
    text: tuple[float, float]  # its origin


def colour(confidence: float) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, for a character of this confidence."""
    if confidence >= HIGH:
        return GREEN
    return AMBER if confidence >= LOW else RED


def draw(picture: UInt8[np.ndarray, "height width *rgb"], reading: Reading) -> PIL.Image.Image:
    """A copy with boxes and text, enlarged if the characters are too small.

    Args:
        picture: grey, or red, green and blue.
        reading: what was read in it.

    Returns:
        An RGB image: the picture, enlarged by a whole number, with a white margin above and on the
        right where a text needs it.
    """
    factor = _enlargement(reading)
    labels = _labels(reading, factor)
    above = max([0, *(-label.box[1] for label in labels)])
    width, height = reading.width * factor, reading.height * factor
    right = max([width, *(label.box[0] + label.box[2] for label in labels)])
    copy = PIL.Image.new("RGB", (right, height + above), "white")
    source = PIL.Image.fromarray(picture)
    if factor > 1:
        source = source.resize((width, height), PIL.Image.Resampling.NEAREST)
    copy.paste(source.convert("RGB"), (0, above))
    canvas = PIL.ImageDraw.Draw(copy)
    for cell in reading.cells:
        _draw_cell(canvas, cell, factor, above)
    for label in labels:
        _draw_line(canvas, label, factor, above)
    return copy


def annotated_path(path: str, folder: Path, *, base: Path, page: int) -> Path:
    """The path of the annotated copy of a picture.

    Args:
        path: the picture, or "-".
        folder: the folder for copies.
        base: the picture's folder or one above it; the path below it is kept.
        page: the number of the page.

    Returns:
        The same name below `folder` for PNG and JPEG; for others with ".png" added, after the
        number of the page if the format can have several.
    """
    if path == "-":
        return folder / f"standard-input-{page}.png"
    target = folder / os.path.relpath(path, base)
    suffix = target.suffix.lower()
    if suffix in {".png", ".jpg", ".jpeg"}:
        return target
    number = f"-{page}" if suffix in MANY_PAGES else ""
    return target.with_name(f"{target.name}{number}.png")


def save(image: PIL.Image.Image, path: Path) -> None:
    """Write a PNG or, by its name, a JPEG; whole or not at all.

    Raises:
        OutputError: it cannot be encoded or written.
    """
    buffer = io.BytesIO()
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    try:
        mark = PIL.PngImagePlugin.PngInfo()
        mark.add_text("Comment", COPY_MARK.decode())
        image.save(buffer, kind, quality=_JPEG_QUALITY, comment=COPY_MARK, pnginfo=mark)
    except (OSError, ValueError) as error:  # such as too wide for JPEG
        raise OutputError(path, f"cannot be encoded: {reason_of(error)}") from None
    write_atomically(path, buffer.getvalue())


def _enlargement(reading: Reading) -> int:
    heights = sorted(character.box[3] for line in reading.lines for character in line.characters)
    if not heights:
        return 1
    wanted = -(-_MIN_DIGIT_HEIGHT // heights[len(heights) // 2])
    possible = int((_MAX_ENLARGED / (reading.width * reading.height)) ** 0.5)
    return max(1, min(wanted, possible))


def _labels(reading: Reading, factor: int) -> list[_Label]:
    """A label for each line, clear of other lines and labels if possible."""
    boxes = [_enlarged(line.box, factor) for line in reading.lines]
    labels: list[_Label] = []
    for number, line in enumerate(reading.lines):
        others = [*boxes[:number], *boxes[number + 1 :], *(label.box for label in labels)]
        labels.append(_label(line, others, factor))
    return labels


def _label(line: Line, others: list[Box], factor: int) -> _Label:
    x, y, line_width, line_height = _enlarged(line.box, factor)
    heights = sorted(character.box[3] * factor for character in line.characters)
    size = max(_MIN_FONT, round(0.6 * heights[len(heights) // 2]))
    font = PIL.ImageFont.load_default(size)
    pad = max(2, size // 6)
    left, top, right, bottom = font.getbbox(line.text)
    width, height = round(right - left) + 2 * pad, round(bottom - top) + 2 * pad
    middle = y + (line_height - height) // 2
    places = [
        (x, y - height - pad),
        (x + line_width + 2 * pad, middle),
        (x - width - 2 * pad, middle),
    ]
    free = (
        (*corner, width, height)
        for corner in places
        if corner[0] >= 0 and not any(_overlap((*corner, width, height), other) for other in others)
    )
    box = next(free, (*places[0], width, height))
    text = float(box[0] + pad - left), float(box[1] + pad - top)
    return _Label(line, font, box, text)


def _overlap(one: Box, other: Box) -> bool:
    """Whether two boxes overlap."""
    return all(
        one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2]
        for axis in (0, 1)
    )


def _draw_cell(canvas: PIL.ImageDraw.ImageDraw, cell: Cell, factor: int, above: int) -> None:
    """A frame, with row and column in the corner where a cell of a table has room."""
    frame = _frame(_enlarged(cell.box, factor), above, 0)
    canvas.rectangle(frame, outline=PURPLE)
    font = PIL.ImageFont.load_default(max(_MIN_PLACE, cell.box[3] * factor // 6))
    corner = frame[2] - 3, frame[3] - 3
    canvas.text(corner, f"{cell.row},{cell.column}", PURPLE, font, anchor="rs")


def _draw_line(canvas: PIL.ImageDraw.ImageDraw, label: _Label, factor: int, above: int) -> None:
    pen = max(1, label.box[3] // 16)
    line = _frame(_enlarged(label.line.box, factor), above, 2 * pen)
    canvas.rectangle(line, outline=BLUE, width=pen)
    for character in label.line.characters:
        if character.character == SPACE:
            continue
        thick = pen if character.confidence >= HIGH else 2 * pen
        box = _frame(_enlarged(character.box, factor), above, thick)
        canvas.rectangle(box, outline=colour(character.confidence), width=thick)
    canvas.rectangle(_frame(label.box, above, 0), fill="white", outline=BLUE, width=pen)
    x, y = label.text
    for character in label.line.characters:
        red, green, blue = colour(character.confidence)
        dark = round(0.8 * red), round(0.8 * green), round(0.8 * blue)  # on white
        canvas.text((x, y + above), character.character, fill=dark, font=label.font)
        x += label.font.getlength(character.character)


def _enlarged(box: Box, factor: int) -> Box:
    x, y, width, height = box
    return x * factor, y * factor, width * factor, height * factor


def _frame(box: Box, above: int, around: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a frame around the box."""
    x, y, width, height = box
    return x - around, y + above - around, x + width - 1 + around, y + above + height - 1 + around
