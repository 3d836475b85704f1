"""Fill the blank forms with MNIST's digits and photograph them, by simulation.

`python examples/forms/photograph_forms.py FOLDER [N]` draws the blanks of `make_forms.py` into
FOLDER, and N photos of each into FOLDER/photos with a truth.json. A seed decides everything.
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from make_forms import make

import rowscan
from rowscan.forms.rules import has_check_digit
from rowscan.forms.specification import CheckDigit, Field, Specification, Sum, date_parts, load

Image = np.ndarray
"""uint8 (height, width)."""

FINE = 2  # the filled form is drawn this much larger than the blank
INK = 60


@dataclass(frozen=True)
class Writer:
    """Someone who fills in a form: which images of each digit, and how dark."""

    images: dict[str, Image]  # (n, 28, 28) by digit
    rng: np.random.Generator

    def digit(self, page: Image, character: str, x: float, y: float, high: float) -> float:
        """Write a digit whose ink is `high` pixels high around (x, y); its width."""
        choice = self.images[character]
        image = choice[self.rng.integers(len(choice))]
        rows, columns = np.flatnonzero(image.max(1) > 60), np.flatnonzero(image.max(0) > 60)
        ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        wide = max(2, round(high * ink.shape[1] / ink.shape[0]))
        large = cv2.resize(ink, (wide, round(high)), interpolation=cv2.INTER_CUBIC)
        darken(page, large.astype(np.float32) / 255, x - wide / 2, y - high / 2)
        return float(wide)


def darken(page: Image, coverage: Image, left: float, top: float) -> None:
    """Lay ink on a page."""
    row, column = max(0, round(top)), max(0, round(left))
    part = page[row : row + coverage.shape[0], column : column + coverage.shape[1]]
    coverage = coverage[: part.shape[0], : part.shape[1]]
    part[:] = np.minimum(part, 255 - coverage * (255 - INK)).astype(np.uint8)


def fill(form: Specification, folder: Path, writer: Writer) -> tuple[Image, dict[str, str]]:
    """A filled form, `FINE` times as large as its blank, and what is written in each field."""
    blank = rowscan.open_image(folder / form.pages[0])
    page = cv2.resize(blank, None, fx=FINE, fy=FINE, interpolation=cv2.INTER_CUBIC)
    truth: dict[str, str] = {}
    for field in form.fields:
        truth[field.name] = write(page, field, writer, ruled(form, field, truth, writer.rng))
    return page, truth


def ruled(
    form: Specification, field: Field, truth: dict[str, str], rng: np.random.Generator
) -> str | None:
    """What must be written for the rules to hold; None for anything."""
    for rule in form.rules:
        if rule.field == field.name and isinstance(rule, Sum):
            return str(sum(int(truth[name]) for name in rule.of))
        if rule.field == field.name and isinstance(rule, CheckDigit):
            text = "".join(map(str, rng.integers(0, 10, len(field.boxes) - 1)))
            return next(text + d for d in "0123456789" if has_check_digit(text + d, rule.method))
    return None


def write(page: Image, field: Field, writer: Writer, wanted: str | None) -> str:
    """Write something into a field; what it is."""
    rng = writer.rng
    if field.kind == "tick":
        marked = bool(rng.random() < 0.5)
        if marked:
            mark(page, field.boxes[0], rng)
        return "yes" if marked else "no"
    if field.kind == "choice":
        chosen = int(rng.integers(len(field.boxes)))
        mark(page, field.boxes[chosen], rng)
        return field.options[chosen]
    if field.kind == "text":
        scribble(page, field.boxes[0], rng)
        return ""
    if field.kind == "date":
        day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(2019, 2027)
        values = {"dd": f"{day:02}", "mm": f"{month:02}", "yyyy": f"{year}", "yy": f"{year % 100}"}
        text = "".join(values[part] for part in date_parts(field.format) or ())
    elif field.kind == "number":
        assert field.range is not None
        text = str(int(rng.integers(0, int(field.range[1]) + 1)))
    else:
        text = "".join(map(str, rng.integers(0, 10, len(field.boxes))))
    text = wanted or text
    if len(field.boxes) > 1:
        for character, box in zip(text, field.boxes, strict=True):
            in_box(page, character, box, writer)
    else:
        in_frame(page, text, field.boxes[0], writer)
    return text


def in_box(page: Image, character: str, box: tuple[int, ...], writer: Writer) -> None:
    """One digit in a box, some of them over its border."""
    x, y, width, height = (FINE * side for side in box)
    high = writer.rng.uniform(0.5, 0.85) * height
    away = writer.rng.normal(0, 0.06, 2)
    writer.digit(page, character, x + width * (0.5 + away[0]), y + height * (0.5 + away[1]), high)


def in_frame(page: Image, text: str, box: tuple[int, ...], writer: Writer) -> None:
    """A number in a wide frame."""
    x, y, width, height = (FINE * side for side in box)
    high = writer.rng.uniform(0.45, 0.7) * height
    at = x + writer.rng.uniform(0.15, 0.4) * width
    middle = y + height * writer.rng.normal(0.5, 0.04)
    for character in text:
        wide = writer.digit(page, character, at, middle, high * writer.rng.uniform(0.9, 1.05))
        at += wide / 2 + 0.45 * high


def mark(page: Image, box: tuple[int, ...], rng: np.random.Generator) -> None:
    """A cross or a check mark."""
    x, y, width, height = (FINE * side for side in box)
    ways = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]]
    if rng.random() < 0.4:
        ways = [[(0.15, 0.5), (0.4, 0.85), (1.0, -0.1)]]
    for way in ways:
        points = np.array(way) + rng.normal(0, 0.07, (len(way), 2))
        stroke = np.round(points * [width, height] + [x, y]).astype(np.int32)
        cv2.polylines(page, [stroke], False, INK, int(rng.integers(4, 8)), cv2.LINE_AA)


def scribble(page: Image, box: tuple[int, ...], rng: np.random.Generator) -> None:
    """Something that looks like a name."""
    x, y, width, height = (FINE * side for side in box)
    t = np.linspace(0, rng.uniform(8, 16) * math.pi, 300)
    across = x + 0.05 * width + t / t[-1] * 0.6 * width + 0.15 * height * np.cos(t)
    down = y + 0.6 * height + 0.25 * height * np.sin(t) * (1 + 0.5 * np.sin(0.37 * t))
    stroke = np.round(np.stack([across, down], 1)).astype(np.int32)
    cv2.polylines(page, [stroke], False, INK, 5, cv2.LINE_AA)


@dataclass(frozen=True)
class Shot:
    """How a form is photographed; drawn at random by `Shot.draw`."""

    dpi: float
    degrees: float
    tilt: float  # how far corners move, as a share of the page
    bend: float  # millimetres
    hidden: float  # share of the page
    scan: bool

    @staticmethod
    def draw(rng: np.random.Generator) -> "Shot":
        """A scan on a glass, three in ten, or a photo."""
        turned = float(rng.integers(4) * 90)
        hidden = float(rng.uniform(0.02, 0.1)) if rng.random() < 0.3 else 0.0
        if rng.random() < 0.3:
            dpi = float(rng.choice([100, 150, 200, 300, 300, 400, 600]))
            return Shot(dpi, turned + rng.normal(0, 1.5), 0, 0, hidden, scan=True)
        dpi = float(np.exp(rng.uniform(math.log(110), math.log(300))))
        degrees = turned + rng.normal(0, 6) if rng.random() < 0.8 else rng.uniform(0, 360)
        bend = float(rng.uniform(0, 2.5)) if rng.random() < 0.5 else 0.0
        return Shot(dpi, float(degrees), float(rng.uniform(0, 0.08)), bend, hidden, scan=False)


def photograph(page: Image, shot: Shot, rng: np.random.Generator) -> tuple[Image, np.ndarray]:
    """The picture, and which pixels of the page are hidden in it (at the scale of the page)."""
    height, width = page.shape
    scale = shot.dpi / (150 * FINE)
    matrix, size = _view(width, height, scale, shot, rng)
    hidden = np.zeros(page.shape, np.uint8)
    if shot.hidden:
        _hide(hidden, shot.hidden, rng)
        page = np.where(hidden > 0, np.uint8(rng.integers(20, 120)), page)
    if scale < 0.7:  # a camera averages
        page = cv2.GaussianBlur(page, (0, 0), 0.35 / scale)
    down, right = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    back = np.linalg.inv(matrix).astype(np.float32)
    w = back[2, 0] * right + back[2, 1] * down + back[2, 2]
    x = (back[0, 0] * right + back[0, 1] * down + back[0, 2]) / w
    y = (back[1, 0] * right + back[1, 1] * down + back[1, 2]) / w
    if shot.bend:
        reach = shot.bend * 150 * FINE / 25.4
        phase, waves = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.6)
        along, across = (x / width, y / height) if rng.random() < 0.5 else (y / height, x / width)
        y = y + reach * np.sin(2 * math.pi * waves * along + phase).astype(np.float32)
        x = x + 0.4 * reach * np.sin(2 * math.pi * waves * across + phase).astype(np.float32)
    table = np.float32(250 if shot.scan else rng.uniform(30, 200))
    levels = cv2.remap(page, x, y, cv2.INTER_LINEAR, borderValue=float(table)).astype(np.float32)
    if not shot.scan:
        outside = (x < 0) | (y < 0) | (x >= width) | (y >= height)
        grain = rng.normal(0, 12, (size[1] // 8 + 2, size[0] // 8 + 2)).astype(np.float32)
        levels[outside] += cv2.resize(grain, size)[outside]
        slope = rng.uniform(-0.25, 0.25, 2)
        light = 0.85 + slope[0] * (right / size[0] - 0.5) + slope[1] * (down / size[1] - 0.5)
        if rng.random() < 0.4:
            edge = right / size[0] * rng.uniform(0.3, 1) + down / size[1] - rng.uniform(0.5, 1.2)
            light = light * (1 - rng.uniform(0.2, 0.5) / (1 + np.exp(-edge * 40)))
        levels = levels * light
        levels = cv2.GaussianBlur(levels, (0, 0), float(rng.uniform(0.4, 1.0)))
    levels = levels + rng.normal(0, rng.uniform(1, 6), levels.shape)
    return np.clip(levels, 0, 255).astype(np.uint8), hidden


def _view(
    width: int, height: int, scale: float, shot: Shot, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[int, int]]:
    """From the page to the picture, and the size of the picture."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-1, 1, (4, 2)) * shot.tilt * width
    turn = math.radians(shot.degrees)
    cos, sin = math.cos(turn), math.sin(turn)
    moved = (moved - [width / 2, height / 2]) @ np.array([[cos, sin], [-sin, cos]]) * scale
    around = (0.0 if shot.scan else rng.uniform(0.02, 0.12)) * width * scale
    low, high = moved.min(0) - around, moved.max(0) + around
    target = (moved - low).astype(np.float32)
    size = np.ceil(high - low).astype(int)
    return cv2.getPerspectiveTransform(corners, target), (int(size[0]), int(size[1]))


def _hide(hidden: Image, share: float, rng: np.random.Generator) -> None:
    """Something lies over a border of the page: a thumb, a cup, a corner folded over."""
    height, width = hidden.shape
    radius = math.sqrt(share * height * width / math.pi * 2)
    side = int(rng.integers(4))
    at = rng.uniform(0, 1)
    centre = [(at * width, 0), (width, at * height), (at * width, height), (0, at * height)][side]
    cv2.circle(hidden, (round(centre[0]), round(centre[1])), round(radius), 1, -1)


def hidden_fields(form: Specification, hidden: Image) -> list[str]:
    """The fields of which some is hidden."""
    names = []
    for field in form.fields:
        for x, y, width, height in field.boxes:
            part = hidden[FINE * y : FINE * (y + height), FINE * x : FINE * (x + width)]
            if part.any():
                names.append(field.name)
                break
    return names


def writer(part: str, seed: int) -> Writer:
    """Someone who writes digits of a part of MNIST."""
    digits = getattr(rowscan.load_digits("mnist"), part)
    images = {str(d): digits.images[digits.labels == d] for d in range(10)}
    return Writer(images, np.random.default_rng(seed))


def main(folder: Path, count: int) -> None:
    """Blanks, photos and what is written on them."""
    truths = {}
    hand = writer("test", 1)
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for path in make(folder):
        form = load(path)
        for number in range(count):
            page, truth = fill(form, folder, hand)
            picture, hidden = photograph(page, Shot.draw(hand.rng), hand.rng)
            name = f"{form.name}-{number + 1:03}.jpg"
            cv2.imwrite(str(folder / "photos" / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
            truths[name] = truth | dict.fromkeys(hidden_fields(form, hidden), "")
    (folder / "photos" / "truth.json").write_text(json.dumps(truths, indent=1), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4)
