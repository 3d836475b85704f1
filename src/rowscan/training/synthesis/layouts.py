"""Layouts: the kinds of pages that people write numbers on, each a function that fills a canvas.

What is one line and what are several: boxes of one row are a line, and so are digits set wide; the
cells of a grid or table are each their own, and so are numbers far apart in a row.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rowscan.arrays import Float32
from rowscan.training.synthesis.canvas import Box, Canvas, LineStyle
from rowscan.training.synthesis.glyphs import Number, pen_width
from rowscan.training.synthesis.paper import patterned_paper, surroundings
from rowscan.training.synthesis.writing import (
    INKS,
    PENS,
    amount,
    chance,
    colour,
    digits,
    height,
    number,
    one_of,
    style,
    words,
)

Layout = Callable[[Canvas], None]


def _line(  # noqa: PLR0917 (the order of `Canvas.write`)
    canvas: Canvas,
    text: str,
    x: Number,
    y: Number,
    h: Number,
    s: LineStyle,
    gap: Number,
    slope: Number = 0.0,
) -> tuple[list[Box], float]:
    """Write a number and mark it as a line."""
    boxes, end = canvas.write(text, x, y, h, s, gap=gap, slope=slope)
    canvas.mark_line(boxes, h, slope)
    return boxes, end


def free(canvas: Canvas) -> None:
    """Numbers anywhere, in rows; some underlined, some on a dotted line."""
    rng, s, h = canvas.rng, style(canvas.rng), height(canvas)
    gap = rng.uniform(0.0, 0.3) if chance(canvas, 0.8) else rng.uniform(0.3, 0.9)
    slope = rng.normal(0, 0.03) if chance(canvas, 0.4) else 0.0
    under, row = int(rng.integers(0, 10)), h * rng.uniform(1.25, 2.6)
    rule = colour(rng)
    y = h * rng.uniform(1.1, 1.6)
    while y < canvas.height + 0.4 * h:
        x = (
            rng.uniform(-0.3, 0.5) * canvas.width
            if chance(canvas, 0.5)
            else rng.uniform(0.2, 1.2) * h
        )
        while x < canvas.width:
            _, end = _line(canvas, number(rng), x, y, h, s, gap, slope)
            if under < 2:
                _underline(canvas, x, y + 0.12 * h, end, rule, dotted=under == 1)
            if chance(canvas, 0.5):
                break
            x = end + h * (2 * gap + rng.uniform(1.3, 3))
        y += row * rng.uniform(0.9, 1.1)


def _underline(
    canvas: Canvas,
    x: Number,
    y: Number,
    end: Number,
    ink: Float32[np.ndarray, " 3"],
    *,
    dotted: bool,
) -> None:
    if not dotted:
        canvas.rules([(x - 8, y, end + 5, y)], canvas.rng.uniform(0.7, 3), ink)
        return
    step, side = canvas.rng.uniform(4, 9), canvas.rng.uniform(1, 2.5)
    canvas.rules([(a, y, a + side / 2, y) for a in np.arange(x - 8, end + 20, step)], side, ink)


def wide(canvas: Canvas) -> None:
    """Numbers in a row each, their digits far apart."""
    rng, s = canvas.rng, style(canvas.rng)
    h = min(height(canvas, 0.6), canvas.width / 4.5)
    s.hop, gap = min(s.hop, 0.05), rng.uniform(0.5, 2.5)
    y = h * rng.uniform(1.2, 2)
    while y < canvas.height + 0.3 * h:
        text = digits(rng, 10, 12) if chance(canvas, 0.4) else digits(rng, 3, 9)
        _line(canvas, text, rng.uniform(-0.1, 0.2) * canvas.width, y, h, s, gap)
        if chance(canvas, 0.4):
            break
        y += h * (2 + gap) * rng.uniform(1.2, 1.8)  # rows are farther apart than digits


def singles(canvas: Canvas) -> None:
    """Columns of single digits, each its own line."""
    rng, s = canvas.rng, style(canvas.rng)
    h = min(height(canvas, 0.5), 70)
    step, apart = h * rng.uniform(1.25, 2.3), h * rng.uniform(2.6, 5)
    for x in np.arange(rng.uniform(0.2, 1.5) * h, canvas.width, apart):
        for y in np.arange(h * rng.uniform(1.1, 1.5), canvas.height + 0.3 * h, step):
            _line(canvas, digits(rng, 1, 1), x + rng.normal(0, 0.12 * h), y, h, s, 0)
        if chance(canvas, 0.3):
            break


def cells(canvas: Canvas) -> None:
    """A grid of single digits or a table of numbers; the writing may touch the rules."""
    rng, s, single = canvas.rng, style(canvas.rng), chance(canvas, 0.55)
    high = float(
        np.clip(math.exp(rng.uniform(math.log(18), math.log(115))), 16, canvas.height / 1.7)
    )
    broad = high * (rng.uniform(0.9, 1.15) if single else rng.uniform(1.5, 3.6))
    left, top = (
        rng.uniform(4, 30, 2) if chance(canvas, 0.5) else rng.uniform(-1, 0.6, 2) * (broad, high)
    )
    columns = max(math.ceil((canvas.width - left) / broad) - int(chance(canvas, 0.5)), 1 + single)
    rows = max(math.ceil((canvas.height - top) / high) - int(chance(canvas, 0.5)), 2)
    ink = s.colour if chance(canvas, 0.3) else colour(rng)
    _grid(canvas, (left, top, broad, high), (rows, columns), ink)
    h = high * rng.uniform(0.42, 0.85 if single else 0.7)
    share, jitter, low = rng.uniform(0.25, 1), rng.uniform(0.02, 0.08), rng.normal(0, 0.08)
    for i in range(rows):
        for j in range(columns):
            if not chance(canvas, share):
                continue
            most = 1 if single else max(1, min(4, int(broad / h / 0.75)))
            text = digits(rng, 1, most)
            if not single and chance(canvas, 0.08):
                text = "-" + text[1:] if most > 1 else text
            room = max(broad - len(text) * h * 0.75, 2)
            x = (
                left
                + j * broad
                + room * (rng.uniform(0.35, 0.65) if single else rng.uniform(0.08, 0.8))
            )
            y = top + (i + 0.5 + low + rng.normal(0, jitter)) * high + h / 2
            _line(
                canvas,
                text,
                x + single * rng.normal(0, jitter) * broad,
                y,
                h,
                s,
                rng.uniform(0.05, 0.2),
            )


def _grid(
    canvas: Canvas,
    cell: tuple[Number, Number, Number, Number],
    count: tuple[int, int],
    ink: Float32[np.ndarray, " 3"],
) -> None:
    """Rules around cells; every third or so may be heavier, or only one direction be drawn."""
    rng = canvas.rng
    left, top, broad, high = cell
    rows, columns = count
    width = rng.uniform(0.7, 2 + (high > 35) + (high > 55))
    heavy = one_of(rng, (0, 0, 0, 3, 3, 2, 5))
    kind = rng.random()
    across = [
        (left, top + i * high, left + columns * broad, top + i * high) for i in range(rows + 1)
    ]
    down = [
        (left + j * broad, top, left + j * broad, top + rows * high) for j in range(columns + 1)
    ]
    some = (across if kind > 0.06 else []) + (down if kind < 0.9 else [])
    canvas.rules(some, width, ink)
    if heavy:
        canvas.rules(across[::heavy] + down[::heavy], width + 2, ink)


def boxes(canvas: Canvas) -> None:
    """Fields with a box, a comb or a foot line for each digit; a field is one line."""
    rng, s = canvas.rng, style(canvas.rng)
    s.vary, s.hop = min(s.vary, 0.1), 0.03
    high = float(
        np.clip(math.exp(rng.uniform(math.log(16), math.log(105))), 16, canvas.height / 1.5)
    )
    broad = high * rng.uniform(0.65, 1.1)
    space = broad * rng.uniform(0.12, 0.7) if chance(canvas, 0.55) else 0.0
    h = high * (rng.uniform(0.5, 0.8) if chance(canvas, 0.6) else rng.uniform(0.8, 1.15))
    jitter, kind = rng.uniform(0.02, 0.1), rng.random()
    ink = s.colour if chance(canvas, 0.3) else colour(rng)
    width = rng.uniform(0.7, 2 + (high > 30) + (high > 55))
    y = rng.uniform(0.1, 1) * high
    while y < canvas.height:
        first = rng.uniform(0.1, 1.5) * broad if chance(canvas, 0.7) else rng.uniform(-3, 0) * broad
        n, group = int(rng.integers(2, 11)), one_of(rng, (0, 0, 0, 0, 2, 4))
        xs = [
            first + i * (broad + space) + (broad * 0.5 * (i // group) if group else 0)
            for i in range(n)
        ]
        for x in xs:
            canvas.rules(_box_rules(kind, (x, y, x + broad, y + high)), width, ink)
        found: list[Box] = []
        for x in xs[: n if chance(canvas, 0.75) else int(rng.integers(0, n + 1))]:
            middle = x + (broad - 0.62 * h) / 2 + rng.normal(0, jitter) * broad
            base = y + high / 2 + h / 2 + rng.normal(0, jitter) * high / 2
            found += canvas.write(digits(rng, 1, 1), middle, base, h, s, gap=0)[0]
        canvas.mark_line(found, h)
        if chance(canvas, 0.25):
            return
        y += high * rng.uniform(1.35, 2.5)


def _box_rules(kind: Number, box: Box) -> list[Box]:
    a, b, c, d = box
    if kind < 0.75:
        return [(a, b, c, b), (a, d, c, d), (a, b, a, d), (c, b, c, d)]
    if kind < 0.9:  # a comb
        middle = b + 0.55 * (d - b)
        return [(a, middle, a, d), (c, middle, c, d), (a, d, c, d)]
    return [(a, d, c, d)]


def listed(canvas: Canvas) -> None:
    """1) 4071: the number of the entry and what is entered are two lines."""
    rng, s, h = canvas.rng, style(canvas.rng), height(canvas, 0.4)
    y, step, n = h * rng.uniform(1.2, 1.6), h * rng.uniform(1.4, 2.4), int(rng.integers(1, 6))
    tab, after = h * rng.uniform(2.8, 4.5), one_of(rng, ").:")
    while y < canvas.height + 0.3 * h:
        _, end = _line(
            canvas, f"{n}{after}", rng.uniform(0.3, 0.8) * h, y, h * rng.uniform(0.85, 1), s, 0.15
        )
        x = max(tab, end + 0.9 * h) + rng.normal(0, 0.1) * h
        _line(canvas, number(rng), x, y, h, s, rng.uniform(0.02, 0.3))
        y, n = y + step, n + 1


def form(canvas: Canvas) -> None:
    """Print, and a number beside or below it."""
    rng, s, h = canvas.rng, style(canvas.rng), height(canvas, 0.35)
    print_ink, y = colour(rng, PENS, 0.35), h * rng.uniform(1.1, 1.6)
    while y < canvas.height + 0.3 * h:
        x = rng.uniform(2, 20)
        size = h * rng.uniform(0.35, 0.9)
        if chance(canvas, 0.2):  # a paragraph of print
            for line in range(int(rng.integers(2, 6))):
                canvas.print_words(words(rng, 6, 14), x, y + line * size * 1.3, size, print_ink)
            y += size * 1.3 * 5 + h
            continue
        x = (
            canvas.print_words(words(rng, 1, 3), x, y, size, print_ink)
            + x
            + h * rng.uniform(0.3, 1.5)
        )
        if chance(canvas, 0.3):
            canvas.rules([(x, y + 0.1 * h, canvas.width - 5, y + 0.1 * h)], 1, colour(rng))
        if chance(canvas, 0.85):
            _line(canvas, number(rng), x, y, h, s, rng.uniform(0.02, 0.3))
        y += h * rng.uniform(1.4, 2.6)


def struck(canvas: Canvas) -> None:
    """Numbers struck out, and others that are not."""
    rng, s, h = canvas.rng, style(canvas.rng), height(canvas, 0.5)
    y = h * rng.uniform(1.2, 1.7)
    while y < canvas.height + 0.3 * h:
        x = rng.uniform(-0.5, 1.5) * h
        while x < canvas.width:
            text, gap = digits(rng, 1, 5), rng.uniform(0.02, 0.25)
            if chance(canvas, 0.55):
                found, end = canvas.write(text, x, y, h, s, gap=gap, layer="other")
                if found:
                    _strike(canvas, (found[0][0], y - h, found[-1][2], y), h, s)
            else:
                _, end = _line(canvas, text, x, y, h, s, gap)
            x = end + h * rng.uniform(0.6, 1.8)
        y += h * rng.uniform(1.5, 2.5)


def _strike(canvas: Canvas, box: Box, h: Number, s: LineStyle) -> None:
    rng = canvas.rng
    left, top, right, bottom = box
    pen = float(np.clip(h * s.hand.pen, 1, 7))

    def line(a: Number, b: Number) -> np.ndarray:
        reach = rng.uniform(-0.05, 0.3, 2) * h
        high = bottom - top
        return np.array([[left - reach[0], top + a * high], [right + reach[1], top + b * high]])

    kind = rng.random()
    if kind < 0.35:
        at = rng.uniform(0.35, 0.65)
        paths = [line(at + rng.normal(0, 0.08), at + rng.normal(0, 0.08))]
    elif kind < 0.6:
        paths = [
            line(at, at + rng.normal(0, 0.06))
            for at in np.linspace(0.25, 0.75, int(rng.integers(2, 5)))
        ]
    elif kind < 0.7:
        paths = [line(0, 1), line(1, 0)]
    else:
        turns = max(2.0, (right - left) / (h * rng.uniform(0.1, 0.35)))
        t = np.linspace(0, 1, int(turns * (14 if kind < 0.9 else 2)) + 2)
        wave = (
            np.sin(2 * np.pi * turns * t) if kind < 0.9 else np.where(np.arange(len(t)) % 2, 1, -1)
        )
        x = left + (right - left) * t + (kind < 0.9) * 0.2 * h * np.cos(2 * np.pi * turns * t)
        y = (top + bottom) / 2 + (bottom - top) * rng.uniform(0.25, 0.5) * wave
        paths = [np.column_stack([x, y])]
    canvas.strokes(paths, pen, s.colour)


def circled(canvas: Canvas) -> None:
    """Numbers in circles or frames of their own."""
    rng, s, h = canvas.rng, style(canvas.rng), height(canvas, 0.4)
    y, ink = h * rng.uniform(1.5, 2), colour(rng, PENS, 0.35)
    while y < canvas.height + 0.3 * h:
        x = rng.uniform(0.6, 2.0) * h
        while x < canvas.width:
            found, end = _line(canvas, digits(rng, 1, 3), x, y, h, s, rng.uniform(0.05, 0.25))
            if found and chance(canvas, 0.75):
                _circle(canvas, (found[0][0], y - h, found[-1][2], y), h, ink)
            x = end + h * rng.uniform(1.6, 3)
        y += h * rng.uniform(2.2, 3)


def _circle(canvas: Canvas, box: Box, h: Number, ink: Float32[np.ndarray, " 3"]) -> None:
    rng = canvas.rng
    left, top, right, bottom = box
    x, y = (left + right) / 2, (top + bottom) / 2
    a, b = (right - left) / 2 + h * rng.uniform(0.1, 0.6), h * rng.uniform(0.62, 1.1)
    pen = rng.uniform(0.9, max(1.5, min(6.0, 0.12 * h)))
    if chance(canvas, 0.2):
        canvas.rules(_box_rules(0, (x - a, y - b, x + a, y + b)), pen, ink)
        return
    start, lean = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.1)
    t = np.linspace(start, start + 2 * np.pi * rng.uniform(0.93, 1.15), 60)
    swell = 1 + 0.06 * np.sin(t * 0.9 + start)
    canvas.strokes(
        [
            np.column_stack(
                [x + swell * a * np.cos(t) - lean * b * np.sin(t), y + swell * b * np.sin(t)]
            )
        ],
        pen,
        ink,
    )


def letters(canvas: Canvas) -> None:
    """Letters and words by hand, and numbers among them here and there."""
    rng, s, h = canvas.rng, style(canvas.rng), height(canvas, 0.6)
    y, share = h * rng.uniform(1.1, 1.6), 0.45 if chance(canvas, 0.6) else 0.0
    while y < canvas.height + 0.3 * h:
        x = rng.uniform(0, 1) * h
        while x < canvas.width:
            if chance(canvas, share):
                _, x = _line(canvas, number(rng), x, y, h, s, rng.uniform(0.02, 0.3))
            else:
                count = 1 if chance(canvas, 0.2) else int(rng.integers(2, 9))
                x = canvas.write_word(count, x, y, h * rng.uniform(0.8, 1.1), s)
            x += h * rng.uniform(1.2, 2.5)
        y += h * rng.uniform(1.4, 2.4)


def register(canvas: Canvas) -> None:
    """A cell of an old book: cursive and rules, and a small number, underlined or ticked off."""
    rng, s = canvas.rng, style(canvas.rng)
    s.hand = replace(s.hand, pen=min(s.hand.pen, 0.1), slant=s.hand.slant + 0.15)
    h, rule = float(rng.uniform(10, 44)), colour(rng, INKS, 0.15)
    upright = [
        (x, 0, x + rng.normal(0, 4), canvas.height)
        for x in rng.uniform(0, canvas.width, rng.integers(1, 5))
    ]
    canvas.rules(upright, rng.uniform(0.7, 2.5), rule)
    lines = np.arange(rng.uniform(0.8, 2.5) * h, canvas.height, h * rng.uniform(1.3, 3.5))
    if chance(canvas, 0.6):
        canvas.rules([(0, a, canvas.width, a) for a in lines], rng.uniform(0.7, 2), rule)
    for base in lines:
        x = rng.uniform(-0.05, 0.9) * canvas.width
        if chance(canvas, 0.55):
            slope = rng.normal(0, 0.06)
            found, end = _line(
                canvas, digits(rng, 1, 4), x, base - 0.1 * h, h, s, rng.uniform(-0.02, 0.2), slope
            )
            if found and chance(canvas, 0.4):
                low = base + rng.uniform(0.02, 0.25) * h
                ends = np.array([[x - 0.1 * h, low], [end, low + rng.normal(0, 0.1) * h]])
                canvas.strokes([ends], pen_width(s.hand, h), s.colour)
            if found and chance(canvas, 0.25):
                cross = np.array([[-1, -1], [1, 1], [-1, 1], [1, -1]]) * 0.2 * h
                cross += rng.normal(0, 0.05 * h, cross.shape)
                cross += np.array([(x + end) / 2, base + 0.55 * h])
                canvas.strokes([cross[:2], cross[2:]], pen_width(s.hand, h), s.colour)
        elif chance(canvas, 0.3):
            canvas.write_word(int(rng.integers(2, 8)), x - 2 * h, base, 0.8 * h, s)
        elif chance(canvas, 0.6):
            canvas.scrawl(x - 2 * h, base - 0.4 * h, h * rng.uniform(0.5, 1.2), s.colour)
    for _ in range(int(chance(canvas, 0.3)) * int(rng.integers(1, 4))):  # ticks lean backwards
        x, y, tick = (
            *rng.uniform(0, 1, 2) * (canvas.width, canvas.height),
            rng.uniform(0.3, 0.7) * h,
        )
        ends = np.array([[x, y], [x + tick * rng.uniform(0.4, 1.1), y + tick]])
        canvas.strokes([ends], pen_width(s.hand, h), s.colour)
    if chance(canvas, 0.5):
        surroundings(canvas, book=True)


def one(canvas: Canvas) -> None:
    """A single number, large or small, in the middle of much or little paper."""
    rng, s, h = canvas.rng, style(canvas.rng), height(canvas, 0.8)
    text = number(rng) if chance(canvas, 0.4) else digits(rng, 1, 6)
    x = rng.uniform(0.02, 0.6) * max(canvas.width - 0.75 * h * len(text), 10)
    y = h + rng.uniform(0.05, 0.95) * max(canvas.height - 1.2 * h, 1)
    _, end = _line(canvas, text, x, y, h, s, rng.uniform(-0.03, 0.35))
    if chance(canvas, 0.25):
        _underline(
            canvas, x, y + rng.uniform(0, 0.25) * h, end, colour(rng), dotted=chance(canvas, 0.4)
        )


def amounts(canvas: Canvas) -> None:
    """Fields of cheques: an amount each, on patterned paper, often on a rule or in a frame."""
    rng, s = canvas.rng, style(canvas.rng)
    h = min(math.exp(rng.uniform(math.log(16), math.log(64))), 0.6 * canvas.height)
    patterned_paper(canvas)
    rule, width, kind = colour(rng), rng.uniform(0.7, 3), rng.random()
    y = h * rng.uniform(1.2, 1.8)
    while y < canvas.height + 0.3 * h:
        text = amount(rng)
        x = rng.uniform(0.1, 0.8) * h
        low, high = y + rng.uniform(-0.1, 0.3) * h, y - h * rng.uniform(1.1, 1.5)
        if kind < 0.7:
            canvas.rules([(0, low, canvas.width, low + rng.normal(0, 2))], width, rule)
        if kind < 0.3:
            canvas.rules(
                [(0, high, canvas.width, high), (0.3 * x, high, 0.3 * x, low)], width, rule
            )
        s.hand.shapes.clear()
        _line(canvas, text, x, y, h, s, rng.uniform(-0.1, 0.2), rng.normal(0, 0.03))
        y += h * rng.uniform(1.6, 2.3)


def empty(canvas: Canvas) -> None:
    """Frames, rules, crosses, print and scrawls; no number."""
    rng = canvas.rng
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(-0.2, 0.8, 2) * (canvas.width, canvas.height)
        w, h, ink = rng.uniform(15, 200), rng.uniform(12, 120), colour(rng)
        lines = _box_rules(0, (x, y, x + w, y + h))
        if chance(canvas, 0.5):
            lines.append((x + w / 2, y - 6, x + w / 2, y + h + 6))
        if chance(canvas, 0.2):
            lines.append((x, y, x + w, y + h))
        canvas.rules(lines, rng.uniform(0.7, 4), ink)
    for _ in range(int(rng.integers(0, 3))):
        x, y = rng.uniform(0, 0.6) * canvas.width, rng.uniform(0.1, 1) * canvas.height
        canvas.print_words(words(rng, 1, 4), x, y, rng.uniform(9, 45), colour(rng, PENS, 0.3))
    for _ in range(int(rng.integers(0, 3))):
        canvas.scrawl(
            rng.uniform(-0.1, 0.8) * canvas.width,
            rng.uniform(0, 1) * canvas.height,
            rng.uniform(8, 50),
            colour(rng, PENS, 0.3),
        )


LAYOUTS: tuple[tuple[Layout, float], ...] = (
    (free, 0.17),
    (wide, 0.09),
    (singles, 0.06),
    (cells, 0.18),
    (boxes, 0.14),
    (listed, 0.05),
    (form, 0.06),
    (struck, 0.06),
    (circled, 0.05),
    (letters, 0.07),
    (register, 0.08),
    (one, 0.12),
    (amounts, 0.2),
    (empty, 0.05),
)
"""The kinds of pages, and how often each is composed."""


def see_through(canvas: Canvas) -> None:
    """The other side of the sheet, faint and mirrored."""
    rng = canvas.rng
    other = Canvas(rng, canvas.height, canvas.width, canvas.digits)
    (free if chance(canvas, 0.5) else letters)(other)
    dark = np.maximum(other.ink, other.other)[:, ::-1]
    canvas.put(
        np.ascontiguousarray(dark), 0, 0, np.full(3, rng.uniform(0.03, 0.2), np.float32), "other"
    )
