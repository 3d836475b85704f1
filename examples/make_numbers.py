"""Draw the sample pictures of numbers: `python examples/make_numbers.py [FOLDER]`.

The digits are those of `make_digits.py`, varied at random; paper, light and camera are simulated. A
seed decides everything, so every run writes the same pictures.
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from make_digits import SHAPES, by_hand_points, trace

Picture = np.ndarray
"""float32 (height, width, 3), 0 to 255."""

_INK = (28, 40, 96)
_FINE = 2  # strokes are drawn twice as large, then averaged


@dataclass(frozen=True)
class Number:
    """One number: what is written, where, and how."""

    text: str  # digits, dots and gaps
    left: float
    foot: float  # y of the line that it stands on
    height: float
    pen: float
    slant: float = 0.1
    step: float = 0.86  # from one digit to the next, as a share of the height


def write(picture: Picture, number: Number, ink: tuple[int, int, int], seed: int) -> None:
    """Write a number into the picture."""
    rng = np.random.default_rng(seed)
    coverage = np.zeros((picture.shape[0] * _FINE, picture.shape[1] * _FINE), np.float32)
    x = number.left
    for sign in number.text:
        if sign == " ":
            x += 0.5 * number.height
            continue
        if sign == ".":
            dot = np.array([[x, number.foot], [x + 1.0, number.foot + 0.5]])
            trace(coverage, dot * _FINE, np.full(2, 1.4 * number.pen * _FINE))
            x += 0.3 * number.height
            continue
        ways = [name for name in SHAPES if name[0] == sign]
        way = ways[int(rng.integers(len(ways)))]
        size = number.height * rng.uniform(0.92, 1.05)
        for points, pen in by_hand_points(way, size, number.pen, number.slant, rng):
            wobble = rng.normal(0, 0.02, 2) * number.height
            middle = np.array([x + 0.35 * number.height, number.foot - size / 2])
            trace(coverage, (points + middle + wobble) * _FINE, pen * _FINE)
        x += number.step * number.height
    coverage = coverage.reshape(picture.shape[0], _FINE, picture.shape[1], _FINE).mean((1, 3))
    picture += 0.94 * coverage[:, :, None] * (np.array(ink, np.float32) - picture)


def paper(width: int, height: int, colour: tuple[int, int, int], seed: int) -> Picture:
    """Paper with slight grain."""
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 1.2)
    return np.array(colour, np.float32) + 5 * grain[:, :, None]


def photograph(picture: Picture, *, degrees: float, shadow: float, seed: int) -> Picture:
    """As a phone photographs it: slightly rotated, lit from one side, a shadow over a corner."""
    rng = np.random.default_rng(seed)
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    turned = cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    down, right = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = 1.0 - 0.25 * right - 0.1 * down
    edge = 1 / (1 + np.exp(-25 * (right + 0.6 * down - 1.15)))
    light = light * (1 - shadow * edge)
    noise = rng.normal(0, 2.5, picture.shape)
    result: Picture = turned * light[:, :, None] + noise
    return result


def note(seed: int) -> Picture:
    """Three numbers on ruled paper, photographed."""
    page = paper(900, 640, (244, 240, 228), seed)
    for y in range(90, 640, 110):
        page[y : y + 2] = page[y : y + 2] * 0.45 + np.array([150, 175, 205]) * 0.55
    for row, text in enumerate(("4071", "90210", "86 35")):
        number = Number(text, 130 + 40 * row, 196 + 110 * row, 78, 6.0, slant=0.12)
        write(page, number, _INK, seed + row)
    return photograph(page, degrees=2.2, shadow=0.35, seed=seed)


def form(seed: int) -> Picture:
    """A number in a form with one box for each digit."""
    page = paper(620, 150, (252, 252, 250), seed)
    for column in range(8):
        left = 40 + 66 * column
        cv2.rectangle(page, (left, 36), (left + 62, 116), (190, 120, 110), 2)
    number = Number("20251103", 50, 106, 62, 4.0, slant=0.02, step=66 / 62)
    write(page, number, (30, 30, 34), seed)
    return page


def cheque(seed: int) -> Picture:
    """An amount on patterned paper, with a dot as thousands separator."""
    page = paper(560, 170, (226, 233, 226), seed)
    down, right = np.mgrid[0:170, 0:560]
    waves = np.sin(right / 5 + 3 * np.sin(down / 17)) * np.sin(down / 4 + 2 * np.sin(right / 23))
    page -= 14 * np.clip(waves, 0, 1)[:, :, None] * np.array([1.0, 0.6, 0.9])
    write(page, Number("13.580", 60, 128, 80, 5.0, slant=0.25, step=0.75), (40, 44, 60), seed)
    return page


def board(seed: int) -> Picture:
    """Chalk on a blackboard."""
    page = paper(640, 300, (44, 66, 58), seed)
    write(page, Number("1729", 90, 220, 140, 11.0, slant=0.05), (232, 232, 222), seed)
    return photograph(page, degrees=-1.5, shadow=0.2, seed=seed)


def scrawl(seed: int) -> Picture:
    """A scrawl without any number."""
    page = paper(480, 160, (248, 247, 242), seed)
    rng = np.random.default_rng(seed)
    coverage = np.zeros((160 * _FINE, 480 * _FINE), np.float32)
    t = np.linspace(0, 1, 700)
    points = np.stack([70 + 330 * t + 16 * np.cos(46 * t), 88 + 20 * np.sin(46 * t)], 1)
    points += np.cumsum(rng.normal(0, 0.5, points.shape), 0) * 0.4
    trace(coverage, points * _FINE, np.full(len(points), 4.0 * _FINE))
    coverage = coverage.reshape(160, _FINE, 480, _FINE).mean((1, 3))
    page += 0.94 * coverage[:, :, None] * (np.array(_INK, np.float32) - page)
    return page


PICTURES = {
    "note.jpg": (note, "4071 / 90210 / 86 35"),
    "form.png": (form, "20251103"),
    "cheque.jpg": (cheque, "13.580"),
    "board.jpg": (board, "1729"),
    "scrawl.png": (scrawl, ""),
}


def main(folder: Path) -> None:
    """Write the pictures and their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, (draw, _)) in enumerate(PICTURES.items()):
        levels = np.clip(np.round(draw(100 * (seed + 1))), 0, 255).astype(np.uint8)
        image = PIL.Image.fromarray(levels)
        if name.endswith(".png"):
            image = image.quantize(32, dither=PIL.Image.Dither.NONE)
        image.save(folder / name, quality=82)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["filename", "label"])
        table.writerows((name, label) for name, (_, label) in PICTURES.items())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "numbers")
