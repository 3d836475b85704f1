"""Paper: what lies under a layout, over it, and around the sheet."""

import math

import cv2
import numpy as np

from rowscan.training.synthesis.canvas import Canvas, Colour
from rowscan.training.synthesis.writing import INKS, PENS, chance, colour, style, words


def ruled_paper(canvas: Canvas) -> None:
    """Squared or ruled paper of any tint."""
    rng = canvas.rng
    step = rng.uniform(9, 62)
    width = rng.uniform(0.6, 1.2 if step < 18 else 3)
    y0, x0 = rng.uniform(0, step, 2)
    lines = [(0, y, canvas.width, y) for y in np.arange(y0, canvas.height, step)]
    if rng.random() < 0.7:
        lines += [(x, 0, x, canvas.height) for x in np.arange(x0, canvas.width, step)]
    canvas.rules(lines, width, colour(rng, faintest=0.08))


def patterned_paper(canvas: Canvas) -> None:
    """Fine lines printed under everything, as on cheques: waves, hatching, dots; often broken."""
    rng = canvas.rng
    before = canvas.picture.copy(), canvas.other.copy()
    ink = colour(rng, faintest=0.06) * np.float32(rng.uniform(0.5, 0.8))
    if chance(canvas, 0.75):
        _waves(canvas, ink)
    if chance(canvas, 0.3):
        _dots(canvas, ink)
    if chance(canvas, 0.4):  # a coarse scan has kept parts of them
        grain = rng.uniform(1, 3)
        rows, columns = (math.ceil(side / grain) for side in canvas.other.shape)
        kept = rng.random((rows, columns)) < rng.uniform(0.3, 0.8)
        at = [(np.arange(side) / grain).astype(int) for side in canvas.other.shape]
        lost = ~kept[np.ix_(*at)]
        canvas.picture[lost], canvas.other[lost] = before[0][lost], before[1][lost]


def _waves(canvas: Canvas, ink: Colour) -> None:
    rng = canvas.rng
    x = np.arange(0, canvas.width + 8, 6.0)
    step, kinds = rng.uniform(2.5, 12), int(rng.integers(1, 4))
    pen = rng.uniform(0.7, 1.8)
    for _ in range(kinds):
        high, fast, phase = rng.uniform(0, 14), rng.uniform(0.01, 0.12), rng.uniform(0, 6)
        high *= not chance(canvas, 0.3)
        lean = rng.uniform(-0.8, 0.8) if chance(canvas, 0.6) else 0.0
        wave = high * np.sin(fast * x + phase) + lean * x
        reach = abs(lean) * canvas.width + high
        starts = np.arange(-reach, canvas.height + reach, step * kinds)
        canvas.strokes([np.column_stack([x, start + wave]) for start in starts], pen, ink)


def _dots(canvas: Canvas, ink: Colour) -> None:
    """A raster of dots, or specks anywhere."""
    rng = canvas.rng
    step, side = rng.uniform(3, 7), int(rng.integers(1, 3))
    rows, columns = np.mgrid[0 : canvas.height : step, 0 : canvas.width : step]
    if chance(canvas, 0.5):
        rows, columns = (part + rng.uniform(-step, step, part.shape) for part in (rows, columns))
    coverage = np.zeros(canvas.other.shape, np.uint8)
    rows = np.clip(rows.astype(int), 0, canvas.height - 1)
    columns = np.clip(columns.astype(int), 0, canvas.width - 1)
    coverage[rows.ravel(), columns.ravel()] = 255
    canvas.put(cv2.dilate(coverage, np.ones((side, side), np.uint8)), 0, 0, ink, "other")


def remarks(canvas: Canvas) -> None:
    """A scrawl, printed or written words, a blot, a stamp, now and then."""
    rng, w, h = canvas.rng, canvas.width, canvas.height
    if chance(canvas, 0.1):
        canvas.scrawl(
            rng.uniform(-0.1, 0.8) * w,
            rng.uniform(0, 1) * h,
            rng.uniform(8, 50),
            colour(rng, PENS, 0.3),
        )
    if chance(canvas, 0.08):
        canvas.print_words(
            words(rng, 1, 3),
            rng.uniform(0, 0.7) * w,
            rng.uniform(0.05, 1.1) * h,
            rng.uniform(9, 40),
            colour(rng),
        )
    if chance(canvas, 0.07):
        canvas.write_word(
            int(rng.integers(2, 9)),
            rng.uniform(0, 0.8) * w,
            rng.uniform(0.1, 1.1) * h,
            rng.uniform(10, 50),
            style(rng),
        )
    for _ in range(int(chance(canvas, 0.08)) * int(rng.integers(1, 6))):
        x, y = rng.uniform(0, 1, 2) * (w, h)
        length = rng.uniform(0, 4)  # a longer one may be a 1
        canvas.strokes(
            [np.array([[x, y], [x + length, y + rng.normal(0, 3)]])],
            rng.uniform(1, 12),
            colour(rng),
        )
    if chance(canvas, 0.04):
        _stamp(canvas)


def _stamp(canvas: Canvas) -> None:
    rng = canvas.rng
    x, y = rng.uniform(0.1, 0.9, 2) * (canvas.width, canvas.height)
    radius, ink = rng.uniform(20, 70), colour(rng, INKS, 0.2)
    t = np.linspace(0, 2 * np.pi, 50)
    ring = np.column_stack([np.cos(t), np.sin(t)])
    canvas.strokes([[x, y] + radius * ring, [x, y] + 0.8 * radius * ring], rng.uniform(1, 3), ink)
    canvas.print_words(words(rng, 1, 2), x - 0.6 * radius, y, radius * 0.35, ink)


def surroundings(canvas: Canvas, *, book: bool = False) -> None:
    """What lies around the sheet: a table, or the black of a scanner beside a book."""
    rng = canvas.rng
    y, x = np.ogrid[0 : canvas.height, 0 : canvas.width]
    if book or chance(canvas, 0.5):  # straight along one side
        side, size = int(rng.integers(4)), (canvas.height, canvas.width)
        away = (y, x, canvas.height - 1 - y, canvas.width - 1 - x)[side] + rng.normal(0, 0.02) * (
            x if side % 2 == 0 else y
        )
        beyond = away < rng.uniform(0.03, 0.3) * size[side % 2]
        absorbed = np.full(3, rng.uniform(0.7, 0.99), np.float32)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        across = (x - canvas.width / 2) * math.cos(angle) + (y - canvas.height / 2) * math.sin(
            angle
        )
        reach = abs(math.cos(angle)) * canvas.width + abs(math.sin(angle)) * canvas.height
        beyond = across > rng.uniform(0.25, 0.48) * reach
        absorbed = (rng.uniform(0.15, 0.95) * rng.uniform(0.5, 1, 3)).astype(np.float32)
    beyond = np.broadcast_to(beyond, canvas.ink.shape)
    canvas.picture[beyond] = 1 - absorbed
    if chance(canvas, 0.5):  # grain of wood or cloth
        grain = rng.normal(0, 0.08, (canvas.height // 8 + 1, 1, 1)).astype(np.float32)
        canvas.picture[beyond] += np.broadcast_to(
            np.repeat(grain, 8, 0)[: canvas.height], canvas.picture.shape
        )[beyond]
    canvas.ink[beyond], canvas.other[beyond] = 0, 255
    canvas.lines[beyond[::2, ::2][: canvas.lines.shape[0], : canvas.lines.shape[1]]] = 0
