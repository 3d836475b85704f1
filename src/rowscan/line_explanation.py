"""Line explanation: what the line model believed at each step along a line, and its digits alone.

The network sees the whole line before it answers; its answers follow the line from left to right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rowscan.alphabet import SPACE
from rowscan.arrays import Float32, Float64, UInt8
from rowscan.errors import DataError, UsageError
from rowscan.explanation import Explanation, explain
from rowscan.io.pictures import Source, open_reduced
from rowscan.reader import Reader
from rowscan.reading import Line
from rowscan.recognition.ctc import align
from rowscan.recognition.strokes import Span, assign, character_columns
from rowscan.scans import LINE_HEIGHT, PATCH, STEPS_PER_PATCH
from rowscan.segmentation.binarize import WORKING_PIXELS, Mask, Picture
from rowscan.segmentation.line_image import LineImage

_STEP = PATCH / STEPS_PER_PATCH  # columns
Opened = tuple[Picture, tuple[int, int]]
"""A page, and the width and height of the original, as `open_reduced` gives them."""


@dataclass(frozen=True, kw_only=True)
class LineExplanation:
    """A line of a reading, step by step."""

    line: Line
    picture: UInt8[np.ndarray, "32 width"]
    """The input of the line model."""
    alphabet: str
    """The characters that it knows."""
    belief: Float32[np.ndarray, "time classes"]
    """Probabilities at each step: of no new character, then of each in the alphabet (see CTC in
    `recognition.ctc`)."""
    places: Float64[np.ndarray, "time 4"]
    """Where each step is in the picture: x and y of its upper and of its lower end."""
    steps: tuple[int, ...]
    """The step, from 0, at which each character of the line ends."""


def explain_line(
    source: Source | Opened, number: int, reader: Reader | None = None, *, page: int = 1
) -> LineExplanation:
    """What the line model believed along one line of a reading.

    Args:
        source: as `Reader.read` takes it; or a page that is open.
        number: of the line in the reading, from 1.
        reader: reads it; by default with the models that ship.
        page: of a document, from 1.

    Raises:
        DataError: not a picture, or no such page.
        UsageError: no such line.
    """
    reader = reader or Reader()
    line, image = _find(source, number, reader, page)
    belief = reader.line_model.predict_lines([image.ink])[0][: _steps(image)]
    return LineExplanation(
        line=line,
        picture=image.ink,
        alphabet=reader.line_model.alphabet,
        belief=belief,
        places=_places(image, len(belief)),
        steps=tuple(last for _, last in _spans(reader, line, image)),
    )


def explain_character(
    source: Source | Opened,
    number: int,
    place: int,
    reader: Reader | None = None,
    digits: Reader | None = None,
    *,
    page: int = 1,
) -> Explanation:
    """What the digit model believes of one character of a reading, cut out of its line.

    Args:
        source: as `Reader.read` takes it; or a page that is open.
        number: of the line in the reading, from 1.
        place: of the character in the line's text, from 1.
        reader: reads the picture; by default with the models that ship.
        digits: explains the character; by default the same reader.
        page: of a document, from 1.

    Raises:
        DataError: not a picture, or no such page.
        UsageError: no such line, or no such character.
    """
    reader = reader or Reader()
    line, image = _find(source, number, reader, page)
    if not 1 <= place <= len(line.text) or line.text[place - 1] == SPACE:
        raise UsageError(f"line {number} has no character {place}")
    spans = _spans(reader, line, image)
    inked = [i for i, character in enumerate(line.text) if character != SPACE]
    inks = cut_out(image.ink, [(spans[i][0] * _STEP, (spans[i][1] + 1) * _STEP) for i in inked])
    return explain(inks[inked.index(place - 1)], digits or reader)


def cut_out(
    ink: UInt8[np.ndarray, "32 width"], spans: Sequence[Span]
) -> list[UInt8[np.ndarray, "32 _"]]:
    """Each character of a line with its own ink alone, also where boxes overlap.

    Args:
        ink: the line.
        spans: first and last column of each character's steps, the last exclusive.
    """
    owners = assign(ink, spans)
    found = []
    for number, (first, last) in enumerate(character_columns(ink, spans)):
        own = (owners == number).astype(np.uint8)
        others = (owners >= 0).astype(np.uint8) - own
        alone = np.where((own > 0) | (_dilate(own) > _dilate(others)), ink, np.uint8(0))
        part = alone[:, max(first - 1, 0) : last + 1]  # with the soft rim
        found.append(np.pad(part, ((0, 0), (LINE_HEIGHT // 4, LINE_HEIGHT // 4))))
    return found


def _dilate(mask: Mask) -> Mask:
    return cv2.dilate(mask, np.ones((3, 3), np.uint8))


def _find(
    source: Source | Opened, number: int, reader: Reader, page: int
) -> tuple[Line, LineImage]:
    opened = source
    if not isinstance(opened, tuple):
        first = next(open_reduced(opened, WORKING_PIXELS, first=page), None)
        if first is None:
            raise DataError("image", f"it has no page {page}")
        opened = first
    found = reader.read_images(*opened)
    if not 1 <= number <= len(found):
        raise UsageError(f"the reading has no line {number}: {len(found)} were read")
    return found[number - 1]


def _spans(reader: Reader, line: Line, image: LineImage) -> tuple[tuple[int, int], ...]:
    """First and last step of each character of the text that was read."""
    alphabet = reader.line_model.alphabet
    gap = alphabet.index(SPACE) if SPACE in line.text else None
    probabilities = reader.line_model.predict_lines([image.ink])[0][: _steps(image)]
    return align(probabilities, tuple(alphabet.index(c) for c in line.text), gap)


def _steps(image: LineImage) -> int:
    """Steps of the network on a line, without its padding."""
    width: int = image.ink.shape[1]
    return STEPS_PER_PATCH * -(-width // PATCH)


def _places(image: LineImage, time: int) -> Float64[np.ndarray, "time 4"]:
    """The middle of each step, at the upper and the lower edge of the line, in the picture."""
    columns = np.minimum((np.arange(time) + 0.5) * _STEP, image.ink.shape[1] - 1)
    if image.columns is not None:
        columns = np.interp(columns, np.arange(len(image.columns)), image.columns)
    ends = [np.stack([columns, np.full(time, row), np.ones(time)]) for row in (0.0, LINE_HEIGHT)]
    places: np.ndarray = np.concatenate([image.to_image @ end for end in ends]).T
    return places
