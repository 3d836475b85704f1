"""A note is read the same on any table, and with anything on it beside the numbers."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rowscan import read
from rowscan.io.pictures import open_image

NOTE = Path(__file__).parent.parent / "examples" / "numbers" / "note.jpg"
TEXT = "4071 / 90210 / 86 35"
Scene = Callable[[np.ndarray], np.ndarray]


def _note() -> np.ndarray:
    return open_image(NOTE, colour=True)


def _on(note: np.ndarray, ground: float | np.ndarray, margins: tuple[int, ...]) -> np.ndarray:
    """The note with margins of the ground above, below, to the left and to the right."""
    top, bottom, left, right = margins
    height, width = note.shape[:2]
    table = np.zeros((height + top + bottom, width + left + right, 3)) + ground
    table[top : top + height, left : left + width] = note
    return table


def _table(level: int, *margins: int) -> Scene:
    return lambda note: _on(note, level, margins)


def _wood(note: np.ndarray) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, 60, (note.shape[0] + 300, note.shape[1] + 300))
    grain = cv2.GaussianBlur(grain, (0, 0), 3) + 15 * np.sin(np.arange(len(grain)) / 9)[:, None]
    return _on(note, np.array([170, 130, 90]) + grain[..., None], (150, 150, 150, 150))


def _below(height: int, draw: Scene) -> Scene:
    """More paper at the foot, with something on it."""

    def scene(note: np.ndarray) -> np.ndarray:
        longer = cv2.copyMakeBorder(note, 0, height, 0, 0, cv2.BORDER_REPLICATE)
        longer[-height:] = draw(longer[-height:].copy())
        return longer

    return scene


def _blot(paper: np.ndarray) -> np.ndarray:
    return cv2.circle(paper, (300, 100), 70, (60, 50, 110), -1)


def _logo(paper: np.ndarray) -> np.ndarray:
    return cv2.rectangle(paper, (200, 40), (560, 150), (30, 30, 30), -1)


def _portrait(paper: np.ndarray) -> np.ndarray:
    grey = np.random.default_rng(0).uniform(40, 200, (150, 120, 3))
    paper[20:170, 400:520] = cv2.GaussianBlur(grey, (0, 0), 6)
    return paper


def _code(paper: np.ndarray) -> np.ndarray:
    squares = np.random.default_rng(0).integers(0, 2, (25, 25))
    paper[20:170, 400:550] = np.where(np.kron(squares, np.ones((6, 6)))[..., None], 20, 240)
    return paper


def _thumb(paper: np.ndarray) -> np.ndarray:
    end = (paper.shape[1] - 20, paper.shape[0])
    return cv2.ellipse(paper, end, (140, 110), 0, 0, 360, (150, 100, 80), -1)


def _header(paper: np.ndarray) -> np.ndarray:
    paper[50:100, 40:600] = 40, 70, 140
    return paper


def _lamp(note: np.ndarray) -> np.ndarray:
    spot = cv2.circle(np.zeros(note.shape[:2]), (320, 450), 150, 1, -1)
    return 0.5 * note + 110 * cv2.GaussianBlur(spot, (0, 0), 60)[..., None]


def _highlighted(note: np.ndarray) -> np.ndarray:
    marked = note.astype(float)
    marked[330:560] *= 1, 0.95, 0.3
    return marked


SCENES: dict[str, Scene] = {
    "as it is": lambda note: note,
    "black table": _table(5, 60, 60, 60, 60),
    "dark table": _table(60, 150, 150, 150, 150),
    "grey table": _table(120, 300, 300, 300, 300),
    "grey table on three sides": _table(120, 150, 0, 150, 150),
    "light table": _table(205, 100, 100, 150, 150),
    "wood": _wood,
    "narrow black strip on the left": _table(0, 0, 0, 10, 0),
    "black strip on the left": _table(0, 0, 0, 40, 0),
    "black strip at the foot": _table(0, 0, 40, 0, 0),
    "black strips on all sides": _table(0, 30, 30, 30, 30),
    "black strip beside the numbers": lambda note: _on(note[:, 60:], 0, (0, 0, 110, 0)),
    "blot": _below(200, _blot),
    "logo": _below(200, _logo),
    "portrait": _below(200, _portrait),
    "code": _below(200, _code),
    "thumb": _below(200, _thumb),
    "header": _below(150, _header),
    "lamp": _lamp,
    "highlighter": _highlighted,
}


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("scene", SCENES)
def test_a_note_is_read_whatever_is_around_it(scene: str, *, negative: bool) -> None:
    picture = SCENES[scene](_note()).astype(float)
    picture += np.random.default_rng(1).normal(0, 3, picture.shape)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    assert read(255 - picture if negative else picture).text == TEXT


@pytest.mark.parametrize("size", [1.0, 1.5, 2.0])
def test_a_number_beside_a_larger_one_is_read(size: float) -> None:
    note = _note()
    larger = cv2.resize(note[:330], None, fx=size, fy=size)  # its first line
    picture = np.full((len(larger) + 300, max(larger.shape[1], 640), 3), 235, np.uint8)
    picture[: len(larger), : larger.shape[1]] = larger
    assert read(picture).text.split(" / ")[0] == "4071"


@pytest.mark.parametrize(
    ("paper", "grain"),
    [(0, 4), (12, 1), (12, 4), (35, 4), (128, 9), (220, 4), (238, 9), (250, 1), (250, 9), (255, 9)],
)
def test_paper_without_writing_is_empty(paper: int, grain: int) -> None:
    noise = np.random.default_rng(0).normal(0, grain, (700, 900, 3)).astype(np.float32)
    for blur in (0.1, 0.7, 1.5):
        blurred = paper + cv2.GaussianBlur(noise, (0, 0), blur)
        assert read(np.clip(blurred, 0, 255).astype(np.uint8)).text == ""
