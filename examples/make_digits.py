"""Draw the sample digits: `python examples/make_digits.py [FOLDER]`.

Each digit is one or more pen strokes: smooth curves through a few points chosen by hand. A seed
decides the random variation, so every run writes the same files.
"""

import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

# Points (right, down) in a frame one unit high. A curve is drawn through the points of a stroke.
Stroke = tuple[tuple[float, float], ...]

SHAPES: dict[str, tuple[Stroke, ...]] = {
    "0": (
        (
            (0.44, 0.03), (0.22, 0.12), (0.10, 0.45), (0.17, 0.83), (0.36, 0.98),
            (0.57, 0.86), (0.66, 0.52), (0.60, 0.17), (0.42, 0.02), (0.34, 0.06),
        ),
    ),
    "1": (((0.16, 0.24), (0.27, 0.13), (0.36, 0.01), (0.355, 0.35), (0.35, 0.98)),),
    "1 bare": (((0.35, 0.0), (0.34, 0.35), (0.32, 0.7), (0.31, 1.0)),),
    "2": (
        (
            (0.10, 0.25), (0.20, 0.06), (0.42, 0.01), (0.58, 0.15), (0.55, 0.38),
            (0.36, 0.65), (0.10, 0.96), (0.12, 0.97), (0.40, 0.93), (0.68, 0.95),
        ),
    ),
    "2 looped": (
        (
            (0.10, 0.22), (0.25, 0.04), (0.47, 0.03), (0.57, 0.22), (0.47, 0.50), (0.25, 0.83),
            (0.11, 0.96), (0.06, 0.86), (0.18, 0.79), (0.38, 0.92), (0.56, 0.98), (0.72, 0.88),
        ),
    ),
    "3": (
        (
            (0.12, 0.14), (0.28, 0.02), (0.50, 0.07), (0.55, 0.24), (0.43, 0.40), (0.27, 0.46),
            (0.44, 0.49), (0.60, 0.64), (0.56, 0.86), (0.34, 0.99), (0.08, 0.90),
        ),
    ),
    "4": (
        ((0.30, 0.02), (0.22, 0.25), (0.08, 0.60), (0.11, 0.62), (0.40, 0.58), (0.70, 0.57)),
        ((0.52, 0.25), (0.50, 0.55), (0.46, 0.99)),
    ),
    "5": (
        (
            (0.22, 0.05), (0.18, 0.25), (0.15, 0.43), (0.19, 0.44), (0.36, 0.38), (0.55, 0.50),
            (0.58, 0.72), (0.43, 0.93), (0.20, 0.98), (0.07, 0.90),
        ),
        ((0.22, 0.05), (0.40, 0.05), (0.62, 0.02)),
    ),
    "6": (
        (
            (0.52, 0.01), (0.30, 0.22), (0.14, 0.52), (0.13, 0.80), (0.29, 0.98), (0.50, 0.91),
            (0.57, 0.71), (0.44, 0.56), (0.26, 0.61), (0.15, 0.78),
        ),
    ),
    "7": (((0.08, 0.09), (0.30, 0.06), (0.62, 0.05), (0.62, 0.08), (0.45, 0.45), (0.28, 0.99)),),
    "7 barred": (
        ((0.07, 0.12), (0.28, 0.06), (0.64, 0.04), (0.64, 0.07), (0.46, 0.45), (0.32, 0.98)),
        ((0.23, 0.50), (0.42, 0.48), (0.62, 0.46)),
    ),
    "8": (
        (
            (0.55, 0.12), (0.37, 0.01), (0.17, 0.13), (0.22, 0.34), (0.42, 0.50), (0.60, 0.72),
            (0.52, 0.93), (0.30, 0.99), (0.13, 0.82), (0.24, 0.60), (0.44, 0.43), (0.58, 0.26),
            (0.53, 0.10),
        ),
    ),
    "9": (
        (
            (0.55, 0.14), (0.38, 0.02), (0.18, 0.12), (0.13, 0.34), (0.27, 0.48), (0.46, 0.40),
            (0.56, 0.17), (0.55, 0.45), (0.52, 0.70), (0.50, 0.99),
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One file: what is drawn and how."""

    shape: str
    height: int
    pen: float  # width of the stroke in pixels
    slant: float  # how far the top leans to the right, as a share of the height
    ink: tuple[int, int, int] = (26, 38, 92)
    paper: tuple[int, int, int] = (247, 245, 239)
    size: tuple[int, int] = (128, 128)
    at: tuple[float, float] = (0.5, 0.5)  # centre of the digit, as a share of the size

    @property
    def label(self) -> str:
        """The digit that the shape shows."""
        return self.shape[0]


_BLACK, _CHALK, _BOARD = (22, 22, 24), (240, 240, 234), (24, 26, 28)

SAMPLES = (
    Sample("0", 84, 5.5, 0.12),
    Sample("0", 60, 4.0, 0.02, ink=_BLACK, at=(0.42, 0.55)),
    Sample("1", 84, 6.0, 0.10),
    Sample("1 bare", 76, 4.5, 0.16, ink=_BLACK, at=(0.6, 0.45)),
    Sample("2", 80, 6.0, 0.08),
    Sample("2 looped", 88, 4.5, 0.18, size=(140, 120)),
    Sample("3", 86, 5.0, 0.06),
    Sample("3", 90, 9.0, 0.0, ink=_CHALK, paper=_BOARD),
    Sample("4", 82, 5.5, 0.08),
    Sample("4", 58, 3.5, 0.15, ink=(40, 44, 58), at=(0.55, 0.4)),
    Sample("5", 84, 6.0, 0.10),
    Sample("5", 92, 8.0, 0.04, ink=_CHALK, paper=_BOARD, size=(120, 140)),
    Sample("6", 84, 5.0, 0.05),
    Sample("7", 82, 6.5, 0.06),
    Sample("7 barred", 84, 5.0, 0.10, size=(140, 128)),
    Sample("8", 86, 5.0, 0.10),
    Sample("8", 96, 9.5, 0.02, ink=_BLACK),
    Sample("9", 84, 5.5, 0.08),
    Sample("9", 62, 4.0, 0.20, at=(0.45, 0.5)),
)

_FINE = 4  # strokes are drawn four times as large, then averaged


def draw(sample: Sample, rng: np.random.Generator) -> PIL.Image.Image:
    """The picture of a sample: ink on slightly uneven paper."""
    width, height = sample.size
    coverage = np.zeros((height * _FINE, width * _FINE), np.float32)
    for points, pen in _by_hand(sample, rng):
        trace(coverage, points * _FINE, pen * _FINE)
    coverage = coverage.reshape(height, _FINE, width, _FINE).mean((1, 3))
    # The ink of a pen is not equally dark everywhere.
    density = 0.93 + 0.07 * np.clip(_grain(sample.size, 6, rng), -1, 1)
    ink = (coverage * density)[..., None]
    down, right = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = rng.uniform(-7, 7) * (down - 0.5) + rng.uniform(-7, 7) * (right - 0.5)
    texture = light + 1.6 * _grain(sample.size, 2, rng)
    paper = np.array(sample.paper) + texture[..., None]
    picture = (1 - ink) * paper + ink * np.array(sample.ink)
    image = PIL.Image.fromarray(np.clip(np.round(picture), 0, 255).astype(np.uint8))
    # A palette keeps the files small without a visible difference.
    return image.quantize(24, dither=PIL.Image.Dither.NONE)


def _by_hand(sample: Sample, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """The strokes of a sample in pixels: points (n, 2) on each, and the pen's width there (n,)."""
    centre = np.array(sample.size) * np.array(sample.at)
    strokes = by_hand_points(sample.shape, sample.height, sample.pen, sample.slant, rng)
    return [(points + centre, pen) for points, pen in strokes]


def by_hand_points(
    shape: str, height: float, pen: float, slant: float, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Strokes around (0, 0): points (n, 2) in pixels on each, and the pen's width there (n,)."""
    strokes = [np.array(stroke) for stroke in SHAPES[shape]]
    middle = (np.concatenate(strokes).max(0) + np.concatenate(strokes).min(0)) / 2
    stretch, turn = rng.uniform(0.9, 1.1), rng.normal(0, 0.03)
    result = []
    for stroke in strokes:
        points = stroke + rng.normal(
            0, 0.012, stroke.shape
        )  # each point misses its target a little
        points = _curve(points) - middle
        points[:, 0] *= stretch
        points[:, 0] -= (slant + turn) * points[:, 1]
        points[:, 1] += turn * points[:, 0]
        along = np.linspace(0, 1, len(points))
        tremble = np.cumsum(rng.normal(0, 1, (len(points), 2)), 0) / np.sqrt(len(points))
        points = points * height + 0.6 * (tremble - np.outer(along, tremble[-1]))
        pressure = 1 + 0.12 * np.sin(2 * np.pi * (rng.uniform(0.6, 1.6) * along + rng.random()))
        lift = 1 - 0.45 * np.clip((along - 0.85) / 0.15, 0, 1) ** 2
        result.append((points, pen * pressure * lift))
    return result


def _curve(points: np.ndarray, steps: int = 40) -> np.ndarray:
    """A smooth curve through the points, made of cubic Hermite pieces.

    The tangent at a point is that of the parabola through it and its neighbours, with the distance
    between them as time.
    """
    chord = np.linalg.norm(np.diff(points, axis=0), axis=1)[:, None]
    speed = np.diff(points, axis=0) / chord
    inner = (chord[1:] * speed[:-1] + chord[:-1] * speed[1:]) / (chord[1:] + chord[:-1])
    tangents = np.concatenate([speed[:1], inner, speed[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    start, end = 2 * t**3 - 3 * t**2 + 1, 3 * t**2 - 2 * t**3
    leave, arrive = t**3 - 2 * t**2 + t, t**3 - t**2
    pieces = [
        start * points[i]
        + end * points[i + 1]
        + chord[i] * (leave * tangents[i] + arrive * tangents[i + 1])
        for i in range(len(points) - 1)
    ]
    return np.concatenate([*pieces, points[-1:]])


def trace(coverage: np.ndarray, points: np.ndarray, pen: np.ndarray) -> None:
    """Set the pixels under a round pen to 1 while it moves along the points."""
    for (right, down), width in zip(points, pen, strict=True):
        radius = width / 2
        top, left = max(0, int(down - radius)), max(0, int(right - radius))
        window = coverage[top : int(down + radius) + 2, left : int(right + radius) + 2]
        rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
        window[(rows + top - down) ** 2 + (columns + left - right) ** 2 <= radius**2] = 1


def _grain(size: tuple[int, int], grain: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (height, width), mean 0, standard deviation 1; `grain` is its size in pixels."""
    shape = round(size[1] / grain), round(size[0] / grain)
    noise = PIL.Image.fromarray(rng.normal(0, 1, shape).astype(np.float32))
    smooth: np.ndarray = np.array(noise.resize(size, PIL.Image.Resampling.BICUBIC))
    smooth -= smooth.mean()
    return smooth / np.float32(smooth.std())


def main(folder: Path) -> None:
    """Write the pictures and their `labels.csv` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, sample in enumerate(SAMPLES):
        name = f"{sample.shape.replace(' ', '-')}-{number:02}.png"
        image = draw(sample, np.random.default_rng([2024, number]))
        image.save(folder / name, optimize=True)
        rows.append((name, sample.label))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("filename", "label"))
    writer.writerows(rows)
    (folder / "labels.csv").write_text(text.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "digits")
