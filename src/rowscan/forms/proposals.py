"""Proposals: the fields that a blank form seems to have: boxes, combs, table cells, dotted lines.

They are read off the printed lines alone; a person names them and says what they hold.
"""

import itertools

import cv2
import numpy as np

from rowscan.arrays import UInt8
from rowscan.forms.blank import Grey, page_contrast
from rowscan.forms.specification import Field, Kind
from rowscan.forms.tables import PrintedLines
from rowscan.reading import Box

_GAP = 1 / 250  # of the width: dots that are nearer than this make a line
_SMALLEST = 1 / 70  # of the width: the side of a box that one can write in
_TICK = 1 / 22  # of the width: a square up to this size is ticked, not written in
_PRINTED = 0.001  # of the inside of a frame: with more print in it, it is not empty
_LARGEST = 0.12  # of the page's height: a higher frame goes around several fields
_WRITING = 1 / 28  # of the width: the room above a line for one to write on
_HIGH = 2.5  # times that room: in a higher frame one signs, or writes several lines
_COMB = 3  # teeth at the least


def propose(picture: Grey) -> list[Field]:
    """The fields that a blank seems to have, from top to bottom, named by their numbers.

    Frames side by side that are as wide as high are the boxes of one number; a small square alone
    is a tick; another empty frame, or a cell of a table, is a number, or a text if it is high; a
    dotted line or a rule is a text.
    """
    lines = PrintedLines.of(page_contrast(picture))
    width = picture.shape[1]
    frames = _frames(lines, picture.shape)
    found: Found = []
    for row in _rows(frames):
        narrow = all(box[2] < 1.3 * box[3] for box in row)
        if len(row) >= 2 and narrow:
            found.append(("digits", tuple(row)))
        else:
            for box in row:
                small = max(box[2:]) <= _TICK * width and box[2] < 1.5 * box[3]
                high = box[3] > _HIGH * _WRITING * width
                found.append(("tick" if small else "text" if high else "number", (box,)))
    taken = [box for _, boxes in found for box in boxes]
    combs = [comb for comb in _combs(lines, width) if not _overlaps(comb, taken)]
    found += [("digits", comb) for comb in combs]
    taken += [box for comb in combs for box in comb]
    rules = _rules(picture, lines)
    found += [("text", (rule,)) for rule in rules if not _overlaps((rule,), taken)]
    found = _dates(_choices(found))
    found.sort(key=lambda field: (field[1][0][1] // max(width // 60, 1), field[1][0][0]))
    return [
        Field(
            name=f"{kind}_{number}",
            kind=kind,
            boxes=boxes,
            digits=len(boxes) if kind == "digits" else None,
            format="yyyy-mm-dd" if kind == "date" and _year_first(boxes) else "dd.mm.yyyy",
        )
        for number, (kind, boxes) in enumerate(found, start=1)
    ]


Found = list[tuple[Kind, tuple[Box, ...]]]


def _level(one: Box, other: Box) -> bool:
    """Whether two boxes stand beside each other."""
    return abs(one[1] + one[3] / 2 - other[1] - other[3] / 2) < 0.3 * max(one[3], other[3])


def _choices(found: Found) -> Found:
    """Three ticks or more at one distance are the options of one choice."""
    ticks = [boxes[0] for kind, boxes in found if kind == "tick"]
    rest = [field for field in found if field[0] != "tick"]
    while ticks:
        row = sorted(box for box in ticks if _level(box, ticks[0]))
        ticks = [box for box in ticks if box not in row]
        steps = np.diff([box[0] for box in row])
        if len(row) >= 3 and steps.max() <= 1.15 * steps.min():
            rest.append(("choice", tuple(row)))
        else:
            rest += [("tick", (box,)) for box in row]
    return rest


def _dates(found: Found) -> Found:
    """Three rows of two, two and four boxes beside each other are a day."""
    rows = sorted((boxes for kind, boxes in found if kind == "digits"), key=lambda row: row[0][0])
    rest = list(found)
    for first in rows:
        beside = [row for row in rows if row[0][0] >= first[0][0] and _level(first[0], row[0])]
        near = all(b[0][0] - a[-1][0] < 4 * first[0][2] for a, b in itertools.pairwise(beside[:3]))
        if near and [len(row) for row in beside[:3]] in ([2, 2, 4], [4, 2, 2]):
            rest = [field for field in rest if field[1] not in beside[:3]]
            rest.append(("date", tuple(box for row in beside[:3] for box in row)))
    return rest


def _frames(lines: PrintedLines, shape: tuple[int, ...]) -> list[Box]:
    """The insides of closed frames in which nothing is printed, with half of their lines."""
    height, width = shape
    walls = cv2.dilate(lines.across | lines.down, np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(1 - np.asarray(walls), connectivity=4)
    found = []
    for x, y, w, h, area in stats[1:].tolist():
        square = area >= 0.9 * w * h
        large = min(w, h) >= _SMALLEST * width and h <= _LARGEST * height and w < 0.9 * width
        inside = lines.other[y + h // 8 : y + h - h // 8, x + w // 16 : x + w - w // 16]
        if square and large and inside.mean() < _PRINTED:
            found.append((x - 2, y - 2, w + 4, h + 4))
    return found


def _rows(frames: list[Box]) -> list[list[Box]]:
    """Frames of one size that touch, side by side."""
    rows: list[list[Box]] = []
    for box in sorted(frames, key=lambda box: (box[1] + box[3] // 2, box[0])):
        for row in rows:
            x, y, width, height = row[-1]
            level = abs(box[1] - y) <= 0.1 * height and abs(box[3] - height) <= 0.1 * height
            beside = 0 <= box[0] - x - width + 4 <= 0.12 * height
            if level and beside and abs(box[2] - width) <= 0.2 * width:
                row.append(box)
                break
        else:
            rows.append([box])
    return rows


def _combs(lines: PrintedLines, width: int) -> list[tuple[Box, ...]]:
    """Rules with teeth at one distance: the room between two teeth is a box."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(lines.across, connectivity=8)
    found = []
    for x, y, w, h, _ in stats[1:].tolist():
        if w < 2 * _SMALLEST * width or h > 6:
            continue
        high = max(3, round(_SMALLEST * width / 2))
        teeth = _teeth(lines, (x, y, w, high))
        steps = np.diff(teeth)
        if len(teeth) < _COMB + 1 or steps.max() > 1.25 * steps.min():
            continue
        step = float(np.median(steps))
        if not _SMALLEST * width <= step <= 3 * _WRITING * width:
            continue
        top = max(y - round(1.25 * step), 0)
        found.append(tuple((a, top, b - a, y - top) for a, b in itertools.pairwise(teeth)))
    return found


def _teeth(lines: PrintedLines, rule: Box) -> list[int]:
    """Where short strokes stand on a rule."""
    x, y, width, high = rule
    above = (lines.other | lines.down)[max(y - high, 0) : max(y - 3, 1), x : x + width]
    columns = np.flatnonzero(above.mean(0) > 0.7)
    if not len(columns):
        return []
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > 2) + 1)
    return [int(x + run.mean()) for run in runs]


def _rules(picture: Grey, lines: PrintedLines) -> list[Box]:
    """Dotted lines, and rules that stand alone, with the room above them."""
    width = picture.shape[1]
    room = round(_WRITING * width)
    gap = max(3, round(2 * _GAP * width)) | 1
    specks = _specks(lines.other, width)
    dotted = cv2.morphologyEx(specks, cv2.MORPH_CLOSE, np.ones((1, gap), np.uint8))
    alone = np.asarray(dotted) | _alone(lines)
    _, _, stats, _ = cv2.connectedComponentsWithStats(alone, connectivity=8)
    found = []
    for x, y, w, h, _ in stats[1:].tolist():
        if w >= 4 * room and h <= 8 and y > room:
            top = y - room
            if lines.other[top + room // 4 : y - 2, x : x + w].mean() < 10 * _PRINTED:
                found.append((x, top, w, room))
    return [rule for rule in found if not _parts_page(rule, found, lines)]


def _parts_page(rule: Box, rules: list[Box], lines: PrintedLines) -> bool:
    """Whether a rule goes from one margin of the print to the other, and no like one is near."""
    x, y, width, room = rule
    columns = np.flatnonzero((lines.other | lines.across | lines.down).any(0))
    whole = x - columns[0] < room and columns[-1] - x - width < room
    near = (other for other in rules if other is not rule and abs(other[1] - y) < 3 * room)
    return bool(whole and not any(abs(a[0] - x) + abs(a[2] - width) < room for a in near))


def _specks(
    other: UInt8[np.ndarray, "height width"], width: int
) -> UInt8[np.ndarray, "height width"]:
    """Dots and dashes: print that is lower than any letter."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(other, connectivity=8)
    low = stats[:, cv2.CC_STAT_HEIGHT] <= max(3, width // 250)
    low[0] = False
    specks: UInt8[np.ndarray, "height width"] = low[labels].astype(np.uint8)
    return specks


def _alone(lines: PrintedLines) -> UInt8[np.ndarray, "height width"]:
    """Rules that no vertical line touches."""
    _, labels = cv2.connectedComponents(lines.across | lines.down, connectivity=8)
    crossed = np.zeros(int(np.max(labels)) + 1, bool)
    crossed[np.unique(np.asarray(labels)[lines.down > 0])] = True
    alone: UInt8[np.ndarray, "height width"] = (lines.across & ~crossed[labels]).astype(np.uint8)
    return alone


def _year_first(boxes: tuple[Box, ...]) -> bool:
    """Whether the widest gap between the boxes of a date comes after four of them."""
    gaps = [b[0] - a[0] - a[2] for a, b in itertools.pairwise(boxes)]
    return gaps[3] > 2 * max(gaps[1], 1)


def _overlaps(boxes: tuple[Box, ...], taken: list[Box]) -> bool:
    """Whether any of some boxes covers much of one that is taken, or the other way round."""
    for (x, y, w, h), (a, b, c, d) in itertools.product(boxes, taken):
        across, down = min(x + w, a + c) - max(x, a), min(y + h, b + d) - max(y, b)
        if across > 0 and down > 0 and across * down > 0.25 * min(w * h, c * d):
            return True
    return False
