"""Lines: the ink of a field as one line image, whether it is in one frame or in a row of boxes."""

from collections.abc import Sequence

import cv2
import numpy as np

from rowscan.arrays import Bool
from rowscan.forms.ink import Ink
from rowscan.reading import Box
from rowscan.segmentation.binarize import estimate_stroke_width
from rowscan.segmentation.line_image import LineImage
from rowscan.segmentation.page import extract_line
from rowscan.segmentation.text_lines import TextLine, connected_components

_GAP = 0.22
"""Of a digit's height: the paper between two digits that were in boxes. Lines that the line model
learnt from have about as much."""
_LEAST = 0.012  # of a box: less ink is a speck, or comes from the box beside it
_TAKEN = 0.03  # of a box: more ink of the next box's digit is a digit of its own that touches it
_TALL = 0.4  # of the highest component: what is lower is a dot, or a part


def owned(ink: Ink, boxes: Sequence[Box]) -> list[Ink | None]:
    """The ink of each box: components belong to the box that most of their pixels are in.

    What is mostly outside of all boxes is left out; None for a box without ink.
    """
    count, labels = cv2.connectedComponents(ink.mask.astype(np.uint8), connectivity=8)
    inside = np.zeros((len(boxes) + 1, count))
    total = np.bincount(labels.ravel(), minlength=count)
    for number, (x, y, width, height) in enumerate(boxes):
        part = labels[max(y, 0) : y + height, max(x, 0) : x + width]
        inside[number] = np.bincount(part.ravel(), minlength=count)
    inside[-1] = total - inside[:-1].sum(0)
    owner = inside.argmax(0)
    owner[0] = -1
    masks = [(owner == number)[labels] for number in range(len(boxes))]
    _share(ink, masks, boxes)
    found: list[Ink | None] = []
    for mask, (_, _, width, height) in zip(masks, boxes, strict=True):
        enough = mask.sum() >= _LEAST * width * height
        soft = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
        found.append(Ink(ink.grey * soft, mask) if enough else None)
    return found


def _share(ink: Ink, masks: list[Bool[np.ndarray, "rows columns"]], boxes: Sequence[Box]) -> None:
    """Where two digits touch, one box has the ink of both: part it at the border of the boxes."""
    for number, (x, y, width, height) in enumerate(boxes):
        if masks[number].sum() >= _LEAST * width * height:
            continue
        own = np.zeros_like(ink.mask)
        own[max(y - height // 4, 0) : y + height + height // 4, max(x, 0) : x + width] = True
        own &= ink.mask
        inner = own[max(y, 0) : y + height, max(x, 0) : x + width]
        columns = np.flatnonzero(inner.any(0))
        if inner.sum() < _TAKEN * width * height or not len(columns):
            continue
        if inner.any(1).sum() < _TALL * height:  # the end of a long stroke
            continue
        for other, mask in enumerate(masks):
            if other != number:
                masks[other] = mask & ~own
        masks[number] = own


def join_boxes(glyphs: Sequence[Ink]) -> LineImage | None:
    """The digits of boxes as one line, as near to each other as one writes them."""
    highs, parts = [], []
    for glyph in glyphs:
        rows, columns = np.flatnonzero(glyph.mask.any(1)), np.flatnonzero(glyph.mask.any(0))
        highs.append(rows[-1] + 1 - rows[0])
        span = slice(max(columns[0] - 1, 0), columns[-1] + 2)
        parts.append((glyph.grey[:, span], glyph.mask[:, span]))
    gap = max(2, round(_GAP * float(np.median(highs))))
    space = np.zeros((len(glyphs[0].mask), gap))
    grey = np.hstack([x for part in parts for x in (space.astype(np.uint8), part[0])])
    mask = np.hstack([x for part in parts for x in (space > 0, part[1])])
    return line_image(Ink(grey, mask))


def line_image(ink: Ink) -> LineImage | None:
    """The ink at the height that the line model reads; None where no stroke is left.

    Its boxes are in pixels of the part.
    """
    rows, columns = np.flatnonzero(ink.mask.any(1)), np.flatnonzero(ink.mask.any(0))
    if not len(rows):
        return None
    pad = 4
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    sides = (pad, pad, pad, pad)
    mask = cv2.copyMakeBorder(ink.mask[part].astype(np.uint8), *sides, cv2.BORDER_CONSTANT)
    grey = cv2.copyMakeBorder(ink.grey[part], *sides, cv2.BORDER_CONSTANT)
    width = estimate_stroke_width(mask)
    components = connected_components(mask, width)
    if not components.area.size:
        return None
    members = np.arange(len(components.area))
    tall = members[components.height >= _TALL * components.height.max()]
    return extract_line(
        TextLine(tall, members, 1.0),
        components,
        grey,
        stroke_width=width,
        to_image=np.array([[1.0, 0, columns[0] - pad], [0, 1, rows[0] - pad]]),
        limits=(0, 0, ink.mask.shape[1], ink.mask.shape[0]),
    )
