"""Documents of many kinds, composed of MNIST's test digits, and how well each kind is read.

    python benchmarks/documents.py [--per-kind 12] [--seed 1] [--kinds a,b] [--save FOLDER]

A picture is right when all its lines are, and nothing else is read; lines are compared by their
digits. The drawing is that of the training's pages, the kinds and the digits are not.
"""

import argparse
import collections
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

import rowscan
from rowscan.arrays import UInt8
from rowscan.reader import Reader
from rowscan.training.runs import environment
from rowscan.training.synthesis import layouts, writing
from rowscan.training.synthesis.canvas import Canvas, LineStyle
from rowscan.training.synthesis.glyphs import DigitMaps
from rowscan.training.synthesis.photo import photograph

Picture = UInt8[np.ndarray, "height width 3"]
Kind = Callable[[Canvas], list[str]]
"""Fills a canvas of 900 × 600 pixels; the lines in reading order."""

_SIZE = 600, 900
_HEIGHT = 56.0
_GREY, _RED, _GREEN = (
    np.array(c, np.float32) for c in ((0.4,) * 3, (0.1, 0.5, 0.5), (0.5, 0.2, 0.5))
)


class Score(NamedTuple):
    """What was read of some pictures."""

    pictures: int = 0
    right: int = 0
    lines: int = 0
    lines_right: int = 0
    wrong_and_sure: int = 0

    def plus(self, other: "Score") -> "Score":
        """Both together."""
        return Score(*(a + b for a, b in zip(self, other, strict=True)))


def main() -> None:
    """Print a line for each kind, then one for all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--per-kind", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--save", type=Path, help="keep the pictures here")
    arguments = parser.parse_args()
    print(environment(), end="\n\n")
    test = rowscan.load_digits("mnist").test
    digits = DigitMaps.of(test.images[:3000], test.labels[:3000])
    reader, total = Reader(), Score()
    print(f"{'kind':18}{'pictures right':>16}{'lines right':>16}{'wrong and sure':>16}")
    for name in arguments.kinds.split(","):
        number, found = list(KINDS).index(name), Score()
        for n in range(arguments.per_kind):
            rng = np.random.default_rng((arguments.seed, number, n))
            picture, truth = compose(name, rng, digits)
            if arguments.save:
                arguments.save.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(arguments.save / f"{name}-{n:02}.jpg"), picture[..., ::-1])
            found = found.plus(score(reader, picture, truth))
        show(name, found)
        total = total.plus(found)
    show("all", total)


def show(name: str, found: Score) -> None:
    """A line of the table."""
    lines = f"{found.lines_right}/{found.lines}"
    print(
        f"{name:18}{found.right:>10}/{found.pictures:<5}{lines:>16}"
        f"{found.wrong_and_sure:>10}/{found.pictures}"
    )


def score(reader: Reader, picture: Picture, truth: list[str]) -> Score:
    """Compare what is read with the lines that are written, by their digits."""
    reading = reader.read(picture)
    wanted = [text for line in truth if (text := re.sub(r"\D", "", line))]
    got = [text for line in reading.lines if (text := re.sub(r"\D", "", line.text))]
    same = sum((collections.Counter(wanted) & collections.Counter(got)).values())
    right = same == len(wanted) == len(got)
    return Score(1, int(right), len(wanted), same, int(not right and reading.confidence >= 0.9))


def compose(name: str, rng: np.random.Generator, digits: DigitMaps) -> tuple[Picture, list[str]]:
    """A picture of a kind, and its lines."""
    canvas = Canvas(rng, *_SIZE, digits)
    truth = KINDS[name](canvas)
    return photograph(canvas.picture, rng), truth


def writer(canvas: Canvas) -> LineStyle:
    """One hand with an ordinary dark pen."""
    style = writing.style(canvas.rng)
    style.colour = np.array((0.9, 0.87, 0.65), np.float32)
    style.hop = min(style.hop, 0.05)
    return style


def rows(text: Callable[[np.random.Generator], str], gap: float = 0.18, step: float = 2.4) -> Kind:
    """Three numbers below each other."""

    def kind(canvas: Canvas) -> list[str]:
        style, truth = writer(canvas), [text(canvas.rng) for _ in range(3)]
        for i, line in enumerate(truth):
            x = canvas.rng.uniform(40, 160)
            canvas.write(line, x, 110 + i * step * _HEIGHT, _HEIGHT, style, gap=gap)
        return truth

    return kind


def number(rng: np.random.Generator) -> str:
    """One to seven digits."""
    return writing.digits(rng, 1, 7)


def grid(side: int, cell: float, ink: np.ndarray, width: float, heavy: int = 0) -> Kind:
    """Single digits in some of the cells of a square grid."""

    def kind(canvas: Canvas) -> list[str]:
        style, truth, end = writer(canvas), list[str](), 20 + side * cell
        for i in range(side + 1):
            at = 20 + i * cell
            wide = width + (2 if heavy and i % heavy == 0 else 0)
            canvas.rules([(20, at, end, at), (at, 20, at, end)], wide, ink)
        for i, j in np.argwhere(canvas.rng.random((side, side)) < 0.5).tolist():
            truth.append(writing.digits(canvas.rng, 1, 1))
            x, y = 20 + j * cell + 0.28 * cell, 20 + (i + 0.8) * cell
            canvas.write(truth[-1], x + canvas.rng.normal(0, 2), y, 0.6 * cell, style, gap=0)
        return truth

    return kind


def table(ink: np.ndarray, *, touching: bool) -> Kind:
    """Numbers of two to four digits in a table; they may touch its rules."""

    def kind(canvas: Canvas) -> list[str]:
        style, truth = writer(canvas), list[str]()
        across = [(30, 30 + i * 80, 850, 30 + i * 80) for i in range(7)]
        canvas.rules(across + [(30 + j * 205, 30, 30 + j * 205, 510) for j in range(5)], 2, ink)
        for i in range(6):
            for j in range(4):
                truth.append(writing.digits(canvas.rng, 2, 4))
                low = canvas.rng.uniform(-4, 8) if touching else -12
                x = 45 + j * 205 + canvas.rng.uniform(0, 30)
                canvas.write(truth[-1], x, 110 + i * 80 + low, 44, style, gap=0.12)
        return truth

    return kind


def boxes(ink: np.ndarray, *, apart: float, high: float) -> Kind:
    """Eight digits, each in its box, `high` boxes high."""

    def kind(canvas: Canvas) -> list[str]:
        style, truth = writer(canvas), [writing.digits(canvas.rng, 8, 8) for _ in range(3)]
        for line, text in enumerate(truth):
            top = 60 + 170 * line
            for i, digit in enumerate(text):
                x = 50 + i * (70 + apart)
                frame = [(x, top, x + 70, top), (x, top + 90, x + 70, top + 90)]
                canvas.rules(
                    [*frame, (x, top, x, top + 90), (x + 70, top, x + 70, top + 90)], 3, ink
                )
                y = top + 45 + 45 * high + canvas.rng.normal(0, 3)
                canvas.write(digit, x + 35 - 30 * high, y, 90 * high, style, gap=0)
        return truth

    return kind


def squared(ink: np.ndarray, step: int) -> Kind:
    """Numbers on squared paper."""
    plain = rows(number)

    def kind(canvas: Canvas) -> list[str]:
        lines = [(x, 0, x, 600) for x in range(7, 900, step)]
        canvas.rules([*lines, *((0, y, 900, y) for y in range(11, 600, step))], 2, ink)
        return plain(canvas)

    return kind


def singles(canvas: Canvas) -> list[str]:
    """Columns of single digits."""
    style, truth = writer(canvas), list[str]()
    for i in range(5):
        for j in range(3):
            truth.append(writing.digits(canvas.rng, 1, 1))
            canvas.write(truth[-1], 60 + 200 * j, 90 + 110 * i, _HEIGHT, style, gap=0)
    return truth


def listed(canvas: Canvas) -> list[str]:
    """1) 4071, and so on."""
    style, truth = writer(canvas), list[str]()
    for i in range(5):
        truth += [f"{i + 1})", writing.digits(canvas.rng, 2, 4)]
        canvas.write(truth[-2], 50, 90 + 110 * i, _HEIGHT, style, gap=0.15)
        canvas.write(truth[-1], 260, 90 + 110 * i, _HEIGHT, style, gap=0.15)
    return truth


def form(canvas: Canvas) -> list[str]:
    """Words in print, a number after each."""
    style, truth = writer(canvas), list[str]()
    for i, word in enumerate(("Amount due:", "Reference:", "Total kg:", "Room:")):
        canvas.print_words(word, 40, 90 + 120 * i, 36, np.full(3, 0.85, np.float32))
        truth.append(writing.digits(canvas.rng, 2, 5))
        canvas.write(truth[-1], 340, 90 + 120 * i, _HEIGHT, style, gap=0.15)
    return truth


def circled(canvas: Canvas) -> list[str]:
    """Numbers with a circle around each."""
    style, truth = writer(canvas), list[str]()
    for x, y in ((150, 200), (450, 200), (250, 450), (600, 450)):
        truth.append(writing.digits(canvas.rng, 1, 2))
        found, _ = canvas.write(truth[-1], x, y, _HEIGHT, style, gap=0.12)
        t = np.linspace(0, 6.1, 60)
        middle = (found[0][0] + found[-1][2]) / 2
        reach = (found[-1][2] - found[0][0]) / 2 + 32
        ring = np.column_stack([middle + reach * np.cos(t), y - 28 + 62 * np.sin(t)])
        canvas.strokes([ring], 4, np.array((0.2, 0.85, 0.8), np.float32))
    return truth


def struck(canvas: Canvas) -> list[str]:
    """A number struck out, and the right one beside it."""
    style, truth = writer(canvas), list[str]()
    for y in (120, 280, 440):
        found, end = canvas.write(
            writing.digits(canvas.rng, 3, 4), 60, y, _HEIGHT, style, gap=0.15, layer="other"
        )
        for share in canvas.rng.uniform(0.3, 0.7, canvas.rng.integers(1, 4)):
            high = y - share * _HEIGHT
            line = np.array([[found[0][0] - 10, high], [end, high + canvas.rng.normal(0, 6)]])
            canvas.strokes([line], 5, style.colour)
        truth.append(writing.digits(canvas.rng, 3, 4))
        canvas.write(truth[-1], end + 80, y, _HEIGHT, style, gap=0.15)
    return truth


def faint(canvas: Canvas) -> list[str]:
    """Writing that is hardly darker than the paper."""
    style, truth = writer(canvas), [number(canvas.rng) for _ in range(2)]
    style.colour = np.full(3, 0.1, np.float32)
    for i, text in enumerate(truth):
        canvas.write(text, 60, 140 + 180 * i, 80, style, gap=0.18)
    return truth


def empty(canvas: Canvas) -> list[str]:
    """Frames, rules, print and scrawls."""
    layouts.empty(canvas)
    return []


def turned(degrees: float, spread: float = 0.0) -> Kind:
    """Numbers on a sheet that was not held upright."""
    plain = rows(lambda rng: writing.digits(rng, 3, 7))

    def kind(canvas: Canvas) -> list[str]:
        truth = plain(canvas)
        angle = degrees + canvas.rng.uniform(0.4, 1) * spread * canvas.rng.choice((-1, 1))
        height, width = _SIZE
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), -angle, 1)
        cos, sin = np.abs(turn[0, :2])
        size = int(width * cos + height * sin), int(height * cos + width * sin)
        turn[:, 2] += (np.subtract(size, (width, height)) / 2).astype(turn.dtype)
        canvas.picture = cv2.warpAffine(canvas.picture, turn, size, borderValue=(1, 1, 1))
        return truth

    return kind


KINDS: dict[str, Kind] = {
    "numbers": rows(number),
    "signs": rows(writing.number),
    "amounts": rows(writing.amount),
    "wide-0.9": rows(lambda rng: writing.digits(rng, 6, 8), 0.9, 3.5),
    "wide-1.6": rows(lambda rng: writing.digits(rng, 5, 6), 1.6, 3.5),
    "sudoku": grid(9, 62, np.full(3, 0.88, np.float32), 2, heavy=3),
    "grid-grey": grid(6, 90, _GREY, 2),
    "table": table(np.full(3, 0.85, np.float32), touching=False),
    "table-touching": table(np.full(3, 0.85, np.float32), touching=True),
    "table-red": table(_RED, touching=True),
    "comb": boxes(np.full(3, 0.9, np.float32), apart=0, high=0.6),
    "boxes": boxes(np.full(3, 0.9, np.float32), apart=25, high=0.6),
    "boxes-crossing": boxes(_GREEN, apart=25, high=0.95),
    "squared": squared(np.array((0.5, 0.25, 0.1), np.float32), 30),
    "squared-grey": squared(_GREY, 40),
    "singles": singles,
    "list": listed,
    "form": form,
    "circled": circled,
    "struck": struck,
    "faint": faint,
    "tilted": turned(0, 20),
    "turned-90": turned(90),
    "turned-180": turned(180),
    "turned-270": turned(270),
    "empty": empty,
}


if __name__ == "__main__":
    main()
