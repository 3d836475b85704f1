"""A user's labelled pictures as text lines for fine-tuning; training and scoring are elsewhere.

Lines are segmented exactly as `Reader` does it. One picture in five is held out, to measure the
gain on pictures that the training has not seen; of a document with several pages only the first
page can be.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as fn

from rowscan.alphabet import ALPHABET, DIGITS, OTHER
from rowscan.arrays import Float32, UInt8
from rowscan.datasets.labelled import Doubt, LabelledPicture, has_labels, load_labels
from rowscan.datasets.reviewed import ReviewedLine, ReviewedPage, load_reviewed
from rowscan.errors import DataError
from rowscan.evaluation import comparable
from rowscan.io.pictures import open_image, open_reduced
from rowscan.io.raster import MAX_PIXELS
from rowscan.reader import Reader
from rowscan.reading import SURE, Box
from rowscan.recognition.ctc import BLANK, align, best_path, text_probability
from rowscan.scans import PATCH, STEPS_PER_PATCH
from rowscan.segmentation.line_image import LineImage
from rowscan.training.synthesis.augmentation import (
    jitter_contrast,
    pixelwise,
    set_stroke_width,
    stroke_width,
    uniform,
)
from rowscan.training.synthesis.lines import LineBatch

_HELD_OUT = 5  # one picture in five
_MIN_PROBABILITY = 1e-30  # a line that gives its label less is another one, or mislabelled
_MIN_LINES = 10
_DISPLACEMENT = 0.9  # pixels
_SPLICED = 0.5  # share of the lines that join the start of one and the end of another
_GAP_LEVEL = 64  # of 255: a column with less ink everywhere is a gap
_WITHOUT_SIGNS = 0.1  # a label with signs whose digits alone are meant is as rare as that
_ALIGNED = 0.1  # a less probable label cannot be aligned with its digits reliably
_ACCEPTED = 0.5
"""How often a line that was accepted is drawn, for one that was typed: it may not have been looked
at closely, and the model knows it already."""
_SAME = 0.5  # of the union of two boxes, as detections are usually matched (PASCAL VOC)
_MARGIN = 0.5  # around a line that was not found by itself, in its heights


@dataclass(frozen=True)
class LabelledLine:
    """A text line of a user's document."""

    ink: UInt8[np.ndarray, "32 _"]
    text: tuple[int, ...]
    """Indices in the alphabet."""
    cuts: tuple[tuple[int, int], ...] = ()
    """Gaps between characters: (characters before it, column)."""
    weight: float = 1.0
    """How often it is drawn, for one of weight 1."""


@dataclass(frozen=True)
class Documents:
    """Labelled or reviewed pictures, split into training lines and held-out pictures."""

    folder: str
    """Where the pictures are."""
    lines: tuple[LabelledLine, ...]
    """Training lines."""
    left_out: int
    """Number of training pictures without a line that fits their label."""
    held_out: tuple[LabelledPicture, ...]
    """Pictures for evaluation only."""
    fields_held_out: tuple[ReviewedLine, ...] = ()
    """Those of the forms that are for evaluation only."""
    doubts: tuple[Doubt, ...] = ()
    """Rows of `labels.csv` whose picture the reader is sure shows another number."""

    def sample(self, n: int, g: Generator) -> LineBatch:
        """`n` augmented lines, drawn with replacement."""
        lines = [self._line(g) for _ in range(n)]
        ink = [torch.from_numpy(line.ink).float() / 255 for line in lines]
        widths = tuple(round(1.15 * line.shape[1]) + 20 for line in ink)
        padded = torch.stack([fn.pad(line, (6, max(widths) - 6 - line.shape[1])) for line in ink])
        return LineBatch(_augment(padded, g), widths, tuple(line.text for line in lines))

    def _line(self, g: Generator) -> LabelledLine:
        """A line, or two lines spliced at gaps, so that whole numbers are not memorised."""
        drawn: list[int] = torch.multinomial(self._weights, 2, True, generator=g).tolist()
        first, second = (self.lines[i] for i in drawn)
        if not (first.cuts and second.cuts) or torch.rand((), generator=g) >= _SPLICED:
            return first
        before, left = first.cuts[_integers(len(first.cuts), 1, g)[0]]
        after, right = second.cuts[_integers(len(second.cuts), 1, g)[0]]
        ink = np.concatenate([first.ink[:, :left], second.ink[:, right:]], 1)
        return LabelledLine(ink, first.text[:before] + second.text[after:])

    @cached_property
    def _weights(self) -> Float32[Tensor, " lines"]:
        return torch.tensor([line.weight for line in self.lines])


def load_documents(folder: str | Path, reader: Reader) -> Documents:
    """Read labelled or reviewed pictures, split them, and segment the training lines.

    Args:
        folder: pictures and `labels.csv`; or a folder that `rowscan review` has read, or its
            database.
        reader: recognizer that finds the labelled line in a picture with several.

    Raises:
        DataError: folder not found, a damaged picture, or fewer than ten usable pictures.
    """
    doubts, fields = list[Doubt](), tuple[ReviewedLine, ...]()
    if has_labels(folder):
        pictures = sorted(load_labels(folder), key=lambda picture: str(picture.path))
        held = _held_out(len(pictures))
        training, found = set(held.training), []
        for number, picture in enumerate(pictures):
            seen = _see(picture, reader)
            doubt = _doubt(picture, seen, reader)
            doubts += [] if doubt is None else [doubt]
            if number in training:
                lost = doubt is not None and doubt.lost_zeros
                found.append([] if lost else _labelled_lines(picture, seen, reader))
    else:
        pages = load_reviewed(folder)
        if not pages:
            raise DataError(folder, "no picture in it is done: check some with `rowscan review`")
        held = _held_out_by_content(pages)
        fields = tuple(line for i in held.out if pages[i].is_form for line in pages[i].lines)
        held.out[:] = [i for i in held.out if not pages[i].is_form]
        pictures = [_as_labelled(page) for page in pages]
        found = [_reviewed_lines(pages[i], reader) for i in held.training if pages[i].lines]
    lines = tuple(itertools.chain(*found))
    left_out = sum(not some for some in found)
    out = tuple(pictures[i] for i in held.out)
    if len(lines) < _MIN_LINES or not (out or fields):
        raise DataError(
            folder,
            f"expected at least {_MIN_LINES} pictures to train on, got {len(lines)} "
            f"({len(out) + len(fields)} held out, {left_out} without a line that fits their label)",
        )
    doubts.sort(key=lambda doubt: doubt.row)
    return Documents(str(folder), lines, left_out, out, fields, tuple(doubts))


@dataclass(frozen=True)
class _Split:
    """Numbers of pictures."""

    training: list[int]
    out: list[int]


def _held_out(n: int) -> _Split:
    """One picture in five; the same at every call."""
    order = np.argsort(np.random.PCG64(0).random_raw(n), kind="stable")
    out = set(order[: n // _HELD_OUT].tolist())
    return _Split([i for i in range(n) if i not in out], sorted(out))


def _held_out_by_content(pages: Sequence[ReviewedPage]) -> _Split:
    """About one picture in five, by the hash of its content.

    A review grows, and is learned from again: what was held out before must stay so, or a model
    would be measured on pictures that the one it started from was trained on.
    """
    firsts = [i for i, page in enumerate(pages) if page.number == 1 or page.is_form]
    digests = {i: hashlib.sha256(pages[i].content_hash.encode()).digest() for i in firsts}
    out = {i for i in firsts if int.from_bytes(digests[i][:4]) % _HELD_OUT == 0}
    if not out and len(firsts) >= _HELD_OUT:
        out = {min(firsts, key=digests.__getitem__)}
    return _Split([i for i in range(len(pages)) if i not in out], sorted(out))


def _as_labelled(page: ReviewedPage) -> LabelledPicture:
    return LabelledPicture(page.path, page.text, page.text)


def _reviewed_lines(page: ReviewedPage, reader: Reader) -> list[LabelledLine]:
    """The lines of a page, each found again by its box; of a form as its fields were read."""
    if page.is_form:
        inks = ((line, line.ink) for line in page.lines)
        return [_reviewed_line(line, ink, reader) for line, ink in inks if ink is not None]
    opened = next(open_reduced(page.path, MAX_PIXELS, first=page.number), None)
    if opened is None:
        raise DataError(page.path, f"it has no page {page.number}")
    picture, _ = opened
    found = reader.find_lines(picture)
    labelled = []
    for line in page.lines:
        ink = _ink_at(line.box, found, picture, reader)
        if ink is not None:
            labelled.append(_reviewed_line(line, ink, reader))
    return labelled


def _reviewed_line(
    line: ReviewedLine, ink: UInt8[np.ndarray, "32 width"], reader: Reader
) -> LabelledLine:
    other = ALPHABET.index(OTHER)
    text = tuple(ALPHABET.index(c) if c in ALPHABET else other for c in line.text)
    weight = 1.0 if line.typed else _ACCEPTED
    probabilities = reader.line_model.probabilities(ink[None])[0]
    known = max(text) + 1 < probabilities.shape[1]  # a model of version 0.1 knows digits alone
    aligned = known and text_probability(probabilities, text) >= _ALIGNED
    return LabelledLine(
        ink, text, _cuts(ink, align(probabilities, text)) if aligned else (), weight
    )


def _ink_at(
    box: Box,
    found: Sequence[LineImage],
    picture: UInt8[np.ndarray, "height width *rgb"],
    reader: Reader,
) -> UInt8[np.ndarray, "32 _"] | None:
    """The line in a box: one that was found on the page, or else in this part of it alone."""
    for line in found:
        if _overlap(box, line.box) >= _SAME:
            return line.ink
    x, y, width, height = box
    margin = round(_MARGIN * height)
    left, top = max(0, x - margin), max(0, y - margin)
    part = picture[top : y + height + margin, left : x + width + margin]
    if part.size == 0:
        return None
    inside = (x - left, y - top, width, height)
    lines = reader.find_lines(np.ascontiguousarray(part))
    best = max(lines, key=lambda line: _overlap(inside, line.box), default=None)
    return best.ink if best is not None and _overlap(inside, best.box) > 0 else None


def _overlap(one: Box, other: Box) -> float:
    """The share that two boxes have in common, of what they cover together."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(0, width) * max(0, height)
    return common / max(1, one[2] * one[3] + other[2] * other[3] - common)


_Seen = list[tuple[LineImage, Float32[np.ndarray, "_ _"]]]
"""The lines of a picture, each with the probabilities of its characters."""


def _see(picture: LabelledPicture, reader: Reader) -> _Seen:
    found = reader.find_lines(open_image(picture.path, colour=True))
    return [(line, reader.line_model.probabilities(line.ink[None])[0]) for line in found]


def _doubt(picture: LabelledPicture, seen: _Seen, reader: Reader) -> Doubt | None:
    """Whether the reader is sure that a line of a label is none of the lines of its picture."""
    sure = (text_probability(steps, best_path(steps)) >= SURE for _, steps in seen)
    if not picture.label or not any(sure):
        return None
    reading = reader.read(picture.path)
    if reading.confidence < SURE:
        return None
    read, true = (text.split(" / ") for text in comparable(reading, picture.text, reader.readable))
    missing = set(true) - set(read)
    if not missing:
        return None
    zeros = all(any(_lacks_zeros(text, line) for line in read) for text in missing)
    return Doubt(picture.row, picture.text, reading.text, reading.confidence, zeros)


def _lacks_zeros(text: str, line: str) -> bool:
    """Whether a text is what was read without the zeros in front."""
    return line.endswith(text) and not line.removesuffix(text).strip("0")


@dataclass(frozen=True, eq=False)
class _Match:
    """A line of a picture, and one of the texts that its label allows for it."""

    probability: float
    """Of the text, and"""
    weighed: float
    """the same, less if signs of the label are left out."""
    part: int
    """Which line of the label it is."""
    line: LineImage
    probabilities: Float32[np.ndarray, "time classes"]
    text: tuple[int, ...]
    alone: bool
    """Whether the digits of the label alone are compared."""


def _labelled_lines(picture: LabelledPicture, seen: _Seen, reader: Reader) -> list[LabelledLine]:
    """The lines of a picture that show the lines of its label, the likeliest matched first.

    Lines that fit none are left out.
    """
    alphabet = reader.line_model.alphabet
    matches = [match for line in seen for match in _matches(picture, line, alphabet)]
    lines, taken = list[LabelledLine](), set[int]()
    for match in sorted(matches, key=lambda match: -match.weighed):
        if match.weighed > _MIN_PROBABILITY and not taken & {id(match.line), match.part}:
            taken |= {id(match.line), match.part}
            lines.append(_matched(match))
    return lines


def _matches(
    picture: LabelledPicture,
    seen: tuple[LineImage, Float32[np.ndarray, "_ _"]],
    alphabet: str,
) -> Iterator[_Match]:
    """How likely a line of a picture shows each of the lines of its label."""
    line, probabilities = seen
    parts = picture.label.split(" / ") if picture.label else []
    written = (picture.full or picture.text).split(" / ")
    if len(written) != len(parts):  # some have no digits
        written = parts
    for number, (digits, full) in enumerate(zip(parts, written, strict=True)):
        signs = full != digits and set(full) <= set(alphabet)
        for label, alone in [(digits, True), (full, False)][: 1 + signs]:
            text = tuple(map(alphabet.index, label))
            compared = digits_alone(probabilities) if alone else probabilities
            probability = text_probability(compared, text)
            weighed = probability * (_WITHOUT_SIGNS if alone and signs else 1)
            yield _Match(probability, weighed, number, line, probabilities, text, alone)


def _matched(match: _Match) -> LabelledLine:
    text, probabilities, ink = match.text, match.probabilities, match.line.ink
    spans = align(digits_alone(probabilities) if match.alone else probabilities, text)
    if match.alone:
        text, spans = add_signs(probabilities, text, spans)
    return LabelledLine(ink, text, _cuts(ink, spans) if match.probability >= _ALIGNED else ())


def digits_alone(
    probabilities: Float32[np.ndarray, "time classes"],
) -> Float32[np.ndarray, "time digits"]:
    """The probabilities of blank and of the ten digits, all other characters counted as blank."""
    digits = len(DIGITS) + 1
    merged: np.ndarray = probabilities[:, :digits].copy()
    merged[:, BLANK] += probabilities[:, digits:].sum(1)
    return merged


def add_signs(
    probabilities: Float32[np.ndarray, "time classes"],
    digits: tuple[int, ...],
    spans: tuple[tuple[int, int], ...],
) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """A text with the signs that the model sees between its digits, where a label has digits alone.

    Without them the training would unlearn signs.

    Args:
        probabilities: of the line, at each step.
        digits: the label.
        spans: first and last step of each digit.
    """
    path = probabilities.argmax(1)
    path[(path > BLANK) & (path <= len(DIGITS))] = BLANK
    for first, last in spans:
        path[first : last + 1] = BLANK
    begins = np.flatnonzero((np.diff(path, prepend=BLANK) != 0) & (path != BLANK)).tolist()
    signs = [((at, at), int(path[at]) - 1) for at in begins]
    whole = sorted([*zip(spans, digits, strict=True), *signs])
    return tuple(character for _, character in whole), tuple(span for span, _ in whole)


def _cuts(
    ink: UInt8[np.ndarray, "32 width"], spans: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Gaps between characters, from `spans`: the steps at which the network emits each."""
    gap = ink.max(0) < _GAP_LEVEL
    step = PATCH // STEPS_PER_PATCH
    found = []
    for number, ((_, last), (first, _)) in enumerate(itertools.pairwise(spans), start=1):
        start = (last + 1) * step
        between = start + np.flatnonzero(gap[start : first * step])
        if len(between):
            found.append((number, int(between[len(between) // 2])))
    return tuple(found)


def concatenate(parts: Sequence[LineBatch]) -> LineBatch:
    """One batch of all the lines, padded to one width."""
    width = max(part.ink.shape[2] for part in parts)
    return LineBatch(
        torch.cat([fn.pad(part.ink, (0, width - part.ink.shape[2])) for part in parts]),
        tuple(width for part in parts for width in part.widths),
        tuple(label for part in parts for label in part.labels),
    )


def _augment(ink: Float32[Tensor, "n 32 width"], g: Generator) -> Float32[Tensor, "n 32 width"]:
    """Affine jitter, elastic deformation, and jitter of stroke width and contrast."""
    n, height, width = ink.shape
    scale_x, scale_y = (torch.exp(0.06 * _clipped_normal(n, g)) for _ in range(2))
    slant = 0.12 * _clipped_normal(n, g)
    rise = torch.randn(n, generator=g) * 0.01
    down, right = uniform(n, -1.5, 1.5, g), uniform(n, -2.0, 2.0, g)
    # Positions in the source for those in the result, both -1 to 1 over the whole image. Scaling
    # starts at the left edge; shear and rotation are about the centre.
    rows = [scale_x, slant * height / width, scale_x - 1 - 2 * right / width]
    rows += [rise * width / height, scale_y, -2 * down / height]
    source = fn.affine_grid(
        torch.stack(rows, 1).view(n, 2, 3), [n, 1, height, width], align_corners=False
    )
    # Displacements of about a pixel, which vary over half the height of a line.
    noise = torch.randn(n, 2, 4, max(4, width // 12), generator=g) * _DISPLACEMENT
    offsets = fn.interpolate(noise, size=(height, width), mode="bicubic", align_corners=True)
    pixel = torch.tensor([2 / width, 2 / height])
    source = source + offsets.clamp(-2, 2).permute(0, 2, 3, 1) * pixel
    moved = fn.grid_sample(ink[:, None], source, align_corners=False)[:, 0]
    changed = set_stroke_width(moved, stroke_width(moved) + torch.randn(n, generator=g) * 0.3)
    draw = pixelwise(uniform(n, 0.0, 1.0, g))
    return torch.where(draw < 0.5, jitter_contrast(changed, g), changed)


def _clipped_normal(n: int, g: Generator) -> Float32[Tensor, " n"]:
    """Standard normal, clipped to ±2: `sample` pads the lines for no more."""
    return torch.randn(n, generator=g).clamp(-2, 2)


def _integers(below: int, n: int, g: Generator) -> list[int]:
    drawn: list[int] = torch.randint(0, below, (n,), generator=g).tolist()
    return drawn
