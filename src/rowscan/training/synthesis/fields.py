"""Fields: small pictures that show one number, cut out of a form, a cheque, a register or a table.

Each is a function that fills a canvas of the size of the picture.
"""

import math

import numpy as np

from rowscan.training.synthesis import paper
from rowscan.training.synthesis.canvas import Box, Canvas, LineStyle
from rowscan.training.synthesis.glyphs import Number, pen_width
from rowscan.training.synthesis.layouts import Layout
from rowscan.training.synthesis.writing import (
    PENS,
    amount,
    chance,
    colour,
    digits,
    number,
    one_of,
    style,
    words,
)

SHAPES: tuple[tuple[int, int], ...] = (
    (64, 64),
    (112, 112),
    (56, 104),
    (80, 144),
    (80, 208),
    (88, 264),
    (112, 320),
    (208, 128),
)
"""Heights and widths of the fields of a batch, with the paper around them."""
SHARES = np.cumsum((0.18, 0.18, 0.12, 0.12, 0.16, 0.08, 0.04, 0.12))

_WIDTH = 0.72  # of a digit and the gap after it, in heights


def _fitting(canvas: Canvas, h: Number, *, money: bool) -> tuple[str, float]:
    """A number, and how high it is written: at most `h`, so that it fits into the width."""
    rng = canvas.rng
    for _ in range(6):
        text = amount(rng) if money else number(rng)
        fitting = min(h, canvas.width / (_WIDTH * len(text)))
        if fitting > 0.6 * h:
            return text, float(fitting)
    return digits(rng, 1, max(1, int(canvas.width / (_WIDTH * h)))), float(h)


def _write(  # noqa: PLR0917 (the order of `Canvas.write`)
    canvas: Canvas, text: str, x: Number, y: Number, h: Number, s: LineStyle
) -> list[Box]:
    rng = canvas.rng
    slope = rng.normal(0, 0.04)
    boxes, _ = canvas.write(text, x, y, h, s, gap=rng.uniform(-0.08, 0.25), slope=slope)
    canvas.mark_line(boxes, h, slope)
    return boxes


def _start(canvas: Canvas, text: str, h: Number) -> float:
    """Where a line of text begins: at the left edge, or with as much paper as there is."""
    room = max(canvas.width - _WIDTH * h * len(text), 0)
    return float(canvas.rng.uniform(-0.03 * h, max(0.5 * h, 0.8 * room)))


def amounts(canvas: Canvas) -> None:
    """The amount on a cheque: patterned paper, rules above and below."""
    rng, s = canvas.rng, style(canvas.rng)
    if chance(canvas, 0.85):
        paper.patterned_paper(canvas)
    text, h = _fitting(canvas, canvas.height * rng.uniform(0.45, 0.85), money=True)
    y = rng.uniform(h, max(canvas.height - 0.02 * h, 1.02 * h))
    rule, width = colour(rng), rng.uniform(0.7, 3)
    low, high = y + rng.uniform(-0.1, 0.25) * h, y - h * rng.uniform(1.05, 1.5)
    if chance(canvas, 0.6):
        canvas.rules([(0, low, canvas.width, low + rng.normal(0, 1.5))], width, rule)
    if chance(canvas, 0.35):
        canvas.rules([(0, high, canvas.width, high + rng.normal(0, 1.5))], width, rule)
    if chance(canvas, 0.2):
        _frame(canvas, rule, width)
    _write(canvas, text, _start(canvas, text, h), y, h, s)


def numbers(canvas: Canvas) -> None:
    """A number, large or small, on plain or ruled paper."""
    rng, s = canvas.rng, style(canvas.rng)
    if chance(canvas, 0.15):
        paper.ruled_paper(canvas)
    text, h = _fitting(canvas, canvas.height * rng.uniform(0.3, 0.9), money=False)
    if chance(canvas, 0.5):
        text = digits(rng, 1, max(1, int(canvas.width / (_WIDTH * h))))[:8]
    y = rng.uniform(h, max(canvas.height - 0.02 * h, 1.02 * h))
    if chance(canvas, 0.25):
        low = y + rng.uniform(-0.1, 0.25) * h
        canvas.rules([(0, low, canvas.width, low)], rng.uniform(0.7, 2.5), colour(rng))
    if chance(canvas, 0.15):
        _frame(canvas, colour(rng), rng.uniform(0.7, 3))
    _write(canvas, text, _start(canvas, text, h), y, h, s)
    if chance(canvas, 0.1):
        _neighbours(canvas, h)


def cells(canvas: Canvas) -> None:
    """A cell of a table: a digit or two, and what is left of its frame."""
    rng, s = canvas.rng, style(canvas.rng)
    h = min(canvas.height, canvas.width) * rng.uniform(0.35, 0.85)
    if chance(canvas, 0.75):
        _frame(canvas, colour(rng, faintest=0.3), rng.uniform(0.7, 3.5))
    if chance(canvas, 0.08):
        return
    text = digits(rng, 1, 1 if chance(canvas, 0.8) else 2)
    room = max(canvas.width - _WIDTH * h * len(text), 0)
    x = room * rng.uniform(0.15, 0.85)
    y = h + max(canvas.height - h, 0) * rng.uniform(0.1, 0.9)
    _write(canvas, text, x, y, h, s)
    if chance(canvas, 0.1):
        _neighbours(canvas, h)


def registers(canvas: Canvas) -> None:
    """A cell of an old book: much paper, a small number, and what stands in the cells around."""
    rng, s = canvas.rng, style(canvas.rng)
    rule = colour(rng)
    xs = [rng.uniform(0.03, 0.4), rng.uniform(0.75, 1)][: int(rng.integers(0, 3))]
    lean = rng.normal(0, 2)
    canvas.rules(
        [(x * canvas.width, 0, x * canvas.width + lean, canvas.height) for x in xs],
        rng.uniform(0.7, 2.5),
        rule,
    )
    if chance(canvas, 0.45):
        step = rng.uniform(0.12, 0.35) * canvas.height
        ys = np.arange(rng.uniform(0, step), canvas.height, step)
        canvas.rules([(0, y, canvas.width, y) for y in ys], rng.uniform(0.7, 1.5), colour(rng))
    h = math.exp(rng.uniform(math.log(8), math.log(32)))
    if chance(canvas, 0.85):
        text = digits(rng, 1, one_of(rng, (1, 1, 2, 3, 3, 4))) + one_of(rng, ("", "", "."))
        x = rng.uniform(0.25, 0.75) * canvas.width
        y = rng.uniform(0.12, 0.85) * canvas.height
        boxes = _write(canvas, text, min(x, canvas.width - 0.7 * h * len(text)), y, h, s)
        if boxes:
            _remarks(canvas, (boxes[0][0], y - h, boxes[-1][2], y), h, s)
    if chance(canvas, 0.5):
        _neighbours(canvas, max(h, 10))
    if chance(canvas, 0.7):
        paper.surroundings(canvas, book=True)


def _remarks(canvas: Canvas, box: Box, h: Number, s: LineStyle) -> None:
    """A line under a number, a cross or a tick below it."""
    rng, pen = canvas.rng, pen_width(s.hand, h)
    left, _, right, low = box
    if chance(canvas, 0.25):
        at = low + rng.uniform(0.1, 0.35) * h
        ends = np.array([[left - 0.1 * h, at], [right, at + rng.normal(0, 0.08) * h]])
        canvas.strokes([ends], pen, s.colour)
    if chance(canvas, 0.15):
        cross = np.array([[-1, -1], [1, 1], [-1, 1], [1, -1]]) * 0.25 * h
        cross += np.array([(left + right) / 2, low + rng.uniform(0.5, 1.2) * h])
        canvas.strokes([cross[:2], cross[2:]][: int(rng.integers(1, 3))], pen, s.colour)


def _neighbours(canvas: Canvas, h: Number) -> None:
    """Words by hand or in print that reach into the picture from above or below."""
    rng, s = canvas.rng, style(canvas.rng)
    above = chance(canvas, 0.3)
    y = h * rng.uniform(-0.1, 0.7) if above else canvas.height + h * rng.uniform(-0.3, 0.8)
    x = rng.uniform(-1, 0.5) * canvas.width
    kind = rng.random()
    if kind < 0.5:
        canvas.write_word(int(rng.integers(2, 9)), x, y, h * rng.uniform(0.8, 1.3), s)
    elif kind < 0.8:
        size = rng.uniform(6, 14)
        at = size if above else canvas.height - rng.uniform(0, 0.5) * size
        canvas.print_words(words(rng, 1, 4), x, at, size, colour(rng, PENS, 0.3))
    else:
        canvas.scrawl(x, y - h / 2, h, s.colour)


def _frame(canvas: Canvas, ink: np.ndarray, width: Number) -> None:
    """Some sides of a frame, near the edges of the picture, whole or in part."""
    rng = canvas.rng
    w, h = canvas.width, canvas.height
    inset = rng.uniform(-0.02, 0.16, 4) * (w, h, w, h)
    lean = rng.normal(0, 0.01, 4) * (h, w, h, w)
    left, top, right, bottom = inset[0], inset[1], w - inset[2], h - inset[3]
    sides = [
        (left, 0, left + lean[0], h),
        (0, top, w, top + lean[1]),
        (right, 0, right + lean[2], h),
        (0, bottom, w, bottom + lean[3]),
    ]
    closed = [(left, top, left, bottom), (left, top, right, top)]
    closed += [(right, top, right, bottom), (left, bottom, right, bottom)]
    some = closed if chance(canvas, 0.35) else sides
    kept = [side for side in some if chance(canvas, 0.55)]
    if chance(canvas, 0.3):  # a scan has lost parts of them
        kept = [_part(rng, side) for side in kept]
    canvas.rules(kept, width, ink)


def _part(rng: np.random.Generator, side: Box) -> Box:
    a, b, c, d = side
    start, end = np.sort(rng.uniform(0, 1, 2))
    return a + start * (c - a), b + start * (d - b), a + end * (c - a), b + end * (d - b)


def others(canvas: Canvas) -> None:
    """A letter or two, a word, print or a scrawl: no number."""
    rng, s = canvas.rng, style(canvas.rng)
    h = min(canvas.height, canvas.width) * rng.uniform(0.4, 0.85)
    y = h + max(canvas.height - h, 0) * rng.uniform(0.1, 0.9)
    if chance(canvas, 0.3):
        _frame(canvas, colour(rng), rng.uniform(0.7, 3))
    kind = rng.random()
    if kind < 0.65:
        count = int(rng.integers(1, 3) if chance(canvas, 0.5) else rng.integers(3, 8))
        high = min(h, canvas.width / (_WIDTH * count))
        canvas.write_word(count, rng.uniform(0, 0.4) * high, y, high, s)
    elif kind < 0.8:
        canvas.print_words(words(rng, 1, 2), rng.uniform(0, 8), y, 0.8 * h, colour(rng, PENS, 0.3))
    else:
        canvas.scrawl(rng.uniform(0, 0.5) * canvas.width, y - h / 2, h, s.colour)


def singles(canvas: Canvas) -> None:
    """One digit, of any size, on plain paper."""
    rng, s = canvas.rng, style(canvas.rng)
    h = min(canvas.height, canvas.width) * rng.uniform(0.25, 0.95)
    y = h + max(canvas.height - h, 0) * rng.uniform(0, 1)
    x = max(canvas.width - _WIDTH * h, 0) * rng.uniform(0.05, 0.95)
    _write(canvas, digits(rng, 1, 1), x, y, h, s)


_WIDE = ((amounts, 0.5), (numbers, 0.42), (others, 0.08))
_SQUARE = ((cells, 0.38), (singles, 0.38), (numbers, 0.14), (others, 0.1))
_TALL = ((registers, 0.85), (cells, 0.1), (others, 0.05))


def layout(rng: np.random.Generator, shape: tuple[int, int]) -> Layout:
    """A kind of field that has pictures of such a shape."""
    height, width = shape
    kinds = _TALL if height > width else _SQUARE if height == width else _WIDE
    weights = np.cumsum([weight for _, weight in kinds])
    return kinds[int(np.searchsorted(weights, rng.random() * weights[-1]))][0]
