"""Distractors: ink in a line that is not to be read, and what strikes a number out.

Strokes are in rows and columns of the sheet that a line is set on, where a digit is `CAP` tall.
"""

import math
from random import Random

import cv2
import numpy as np

from rowscan.arrays import Float32, UInt8
from rowscan.scans import LINE_HEIGHT
from rowscan.training.synthesis.shapes import CAP

Sheet = UInt8[np.ndarray, "rows columns"]


def strike(sheet: Sheet, box: tuple[int, int, int, int], pen: float, r: Random) -> None:
    """Strike out what is in the box (left, top, right, bottom), in place."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    kind = r.random()
    if kind < 0.35:
        paths = [_across(box, r.uniform(0.3, 0.7), r)]
    elif kind < 0.6:
        count = r.randint(2, 4)
        first, last = r.uniform(0.1, 0.35), r.uniform(0.65, 0.9)
        paths = [_across(box, first + (last - first) * k / (count - 1), r) for k in range(count)]
    elif kind < 0.82:
        turns = max(2.0, width / CAP * r.uniform(1.2, 3.2))
        t = np.linspace(0, 1, int(24 * turns))
        x = left + width * t + r.uniform(0.05, 0.35) * height * np.cos(2 * math.pi * turns * t)
        y = (top + bottom) / 2 + r.uniform(0.3, 0.5) * height * np.sin(2 * math.pi * turns * t)
        paths = [np.stack([x, y], 1)]
    elif kind < 0.9:  # a cross
        paths = [
            np.array([(left, top), (right, bottom)]),
            np.array([(left, bottom), (right, top)]),
        ]
    else:  # to and fro
        turns = max(4, round(width / CAP * r.uniform(4, 8)))
        xs = np.linspace(left, right, turns)
        ys = [(top if k % 2 else bottom) + r.gauss(0, 0.1) * height for k in range(turns)]
        paths = [np.stack([xs, ys], 1)]
    polylines(sheet, paths, pen * r.uniform(0.8, 1.4))


def _across(box: tuple[int, int, int, int], at: float, r: Random) -> np.ndarray:
    left, top, right, bottom = box
    y, over = top + at * (bottom - top), CAP * 0.2
    rise = r.gauss(0, 0.06) * CAP
    start, end = left - r.uniform(-0.1, 1) * over, right + r.uniform(-0.1, 1) * over
    return np.array([(start, y + rise), ((start + end) / 2, y + r.gauss(0, 2)), (end, y - rise)])


def polylines(sheet: Sheet, paths: list[np.ndarray], pen: float, level: int = 255) -> None:
    """Strokes with a round pen, in place."""
    scaled = [np.rint(path * 8).astype(np.int32) for path in paths]
    cv2.polylines(sheet, scaled, False, level, max(1, round(pen)), cv2.LINE_AA, 3)


def frame_remains(
    box: tuple[int, int, int, int], r: Random, *, both: bool = False
) -> list[np.ndarray]:
    """Straight strokes of a cell's frame, taller than the digits, beside what is in the box."""
    left, top, right, bottom = box
    sides = (True, True) if both or r.random() < 0.2 else r.choice(((True, False), (False, True)))
    paths = []
    for side, present in zip((-1, 1), sides, strict=True):
        if not present:
            continue
        away = CAP * r.uniform(0.12, 1.0)
        x = (left - away) if side < 0 else (right + away)
        above, below = (CAP * r.uniform(-0.1, 0.45) for _ in range(2))
        if above + below < 0.25 * CAP:
            above += 0.3 * CAP
        lean = r.gauss(0, 0.03) * CAP
        paths.append(np.array([(x + lean, top - above), (x - lean, bottom + below)]))
    if r.random() < 0.25:
        away = CAP * r.uniform(0.05, 0.3)
        y = top - away if r.random() < 0.5 else bottom + away
        paths.append(np.array([(left - CAP * r.random(), y), (right + CAP * r.random(), y)]))
    return paths


def boxes(columns: list[tuple[int, int]], r: Random) -> list[np.ndarray]:
    """Straight strokes of the boxes or the comb that characters were written into.

    Args:
        columns: first and last column of each character.
        r: source of all random numbers.
    """
    middles = [(a + b) / 2 for a, b in columns]
    pitch = float(np.median(np.diff(middles)))
    half = pitch / 2 * (1.0 if r.random() < 0.6 else r.uniform(0.7, 0.92))
    top, bottom = CAP * r.uniform(-0.35, 0.12), CAP * r.uniform(0.88, 1.35)
    edges = {round(m + side * half) for m in middles for side in (-1, 1)}
    kept = [e for e in sorted(edges) if r.random() < 0.9]
    if half == pitch / 2:  # boxes side by side share an edge
        kept = [e for i, e in enumerate(kept) if not i or e - kept[i - 1] > 0.2 * pitch]
    paths = [np.array([(e, top), (e, bottom)], float) for e in kept]
    level = r.random()
    if level < 0.7:
        paths += [
            np.array([(middles[0] - half, y), (middles[-1] + half, y)]) for y in (top, bottom)
        ]
    elif level < 0.9:  # a comb
        paths.append(np.array([(middles[0] - half, bottom), (middles[-1] + half, bottom)]))
    return paths


def circle(box: tuple[int, int, int, int], r: Random) -> np.ndarray:
    """A ring that someone drew around what is in the box."""
    left, top, right, bottom = box
    t = np.linspace(0, 2 * math.pi * r.uniform(0.94, 1.06), 60) + r.uniform(0, 6)
    across = (right - left) / 2 + CAP * r.uniform(0.15, 0.5)
    up = (bottom - top) / 2 + CAP * r.uniform(0.12, 0.35)
    wobble = 1 + 0.05 * np.sin(2 * t + r.uniform(0, 6))
    x, y = (left + right) / 2 + across * wobble * np.cos(t), (top + bottom) / 2 + up * np.sin(t)
    return np.stack([x, y], 1)


def add_residue(
    ink: Float32[np.ndarray, "32 width"], r: Random, noise: np.random.Generator
) -> None:
    """What page segmentation leaves of ruled lines and of writing above and below, in place."""
    width = ink.shape[1]
    for share, low, high in ((0.2, 24.0, 31.0), (0.09, 0.0, 6.0), (0.03, 8.0, 24.0)):
        if r.random() < share:
            _add_rule(ink, r.uniform(low, high), r, noise)
    if r.random() < 0.03:  # a dotted line to write on
        y, step = r.uniform(25, 31), r.randint(4, 9)
        rule = np.zeros_like(ink)
        start = r.randrange(-step, max(1, width // 2))
        for x in range(max(0, start), width, step):
            cv2.circle(rule, (x, round(y)), 0, 1.0, -1)
        np.maximum(ink, cv2.GaussianBlur(rule, (3, 3), 0.7) * r.uniform(0.6, 2.0), out=ink)
        np.minimum(ink, 1, out=ink)
    if r.random() < 0.08:
        for _ in range(r.randint(1, 3)):
            _add_neighbour(ink, r)


def _add_rule(
    ink: Float32[np.ndarray, "32 width"], y: float, r: Random, noise: np.random.Generator
) -> None:
    """A ruled line, in the runs of it that were not found and removed."""
    width = ink.shape[1]
    rows = np.arange(LINE_HEIGHT, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    middle = y + r.gauss(0, 0.7) * x
    drawn = np.clip(r.uniform(0.6, 2.2) / 2 + 0.5 - np.abs(rows - middle), 0, 1)
    runs = noise.standard_normal((1, max(4, width // 12))).astype(np.float32)
    along = cv2.resize(runs, (width, 1), interpolation=cv2.INTER_CUBIC)
    kept = np.clip(2 * along + r.uniform(-2.0, 3.0), 0, 1)
    np.maximum(ink, drawn * kept * r.uniform(0.3, 1.0), out=ink)


def _add_neighbour(ink: Float32[np.ndarray, "32 width"], r: Random) -> None:
    """The ends of strokes from the line above or below: rows of the line itself, elsewhere."""
    width = ink.shape[1]
    shown, size = r.randint(2, 6), r.randint(10, 40)
    source = r.randrange(max(1, width - size))
    rows = np.flatnonzero((ink[:, source : source + size] > 0.3).any(1))
    if not len(rows):
        return
    at = r.randrange(max(1, width - size))
    if r.random() < 0.5:
        part = ink[max(0, rows[-1] + 1 - shown) : rows[-1] + 1, source : source + size].copy()
        target = ink[: len(part), at : at + size]
    else:
        part = ink[rows[0] : rows[0] + shown, source : source + size].copy()
        target = ink[LINE_HEIGHT - len(part) :, at : at + size]
    np.maximum(target, part[:, : target.shape[1]], out=target)
