"""Photo: a composed sheet as a camera or scanner sees it; to turn it is the work of `pages`."""

import math
from functools import cache

import cv2
import numpy as np

from rowscan.arrays import Float32, UInt8

RenderedSheet = Float32[np.ndarray, "height width 3"]
"""Reflectance, 1 is white."""

_DRAWN_ON_SCREEN = 0.08
_COARSE = 16  # pixels: light and shadow are drawn on a grid of these


def photograph(
    sheet: RenderedSheet, rng: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """Paper, light and shadow, folds, blur, noise and JPEG, each as often as in real pictures.

    A few are not photographed: they were drawn on a screen.
    """
    if rng.random() < _DRAWN_ON_SCREEN:
        drawn: np.ndarray = np.clip(255 * sheet, 0, 255).astype(np.uint8)
        return drawn
    height, width = sheet.shape[:2]
    scan = rng.random() < 0.3  # even light, white paper, little blur
    light = (
        _paper_colour(rng, scan=scan)[None, None] * _light(rng, height, width, scan=scan)[..., None]
    )
    picture = sheet * (250 * light)
    if rng.random() < 0.35:
        picture *= 1 + _texture(rng, height, width)[..., None]
    if rng.random() < 0.75:
        sigma = rng.uniform(0.3, 0.7 if scan else 1.2)
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    if not scan or rng.random() < 0.5:
        strength = np.float32(rng.uniform(0.3, 5))
        coloured = rng.random() < 0.5
        noise = _noise(rng, height, width)
        picture += strength * (noise if coloured else noise[..., :1])
    levels = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:  # grey scans
        levels = cv2.cvtColor(cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        levels = cv2.imdecode(cv2.imencode(".jpg", levels, quality)[1], cv2.IMREAD_COLOR)
    result: np.ndarray = levels
    return result


def _paper_colour(rng: np.random.Generator, *, scan: bool) -> Float32[np.ndarray, " 3"]:
    if scan:
        return np.full(3, rng.uniform(0.9, 1.02), np.float32)
    tint = rng.uniform(0, 0.12 if rng.random() < 0.85 else 0.5) * rng.random(3)
    return (rng.uniform(0.55, 1.0) * (1 - tint)).astype(np.float32)


def _light(
    rng: np.random.Generator, height: int, width: int, *, scan: bool
) -> Float32[np.ndarray, "height width"]:
    """A gradient; shadows with soft or sharp edges; folds."""
    y, x = np.mgrid[0 : height // _COARSE + 2, 0 : width // _COARSE + 2].astype(np.float32)
    y, x = y * _COARSE / height - 0.5, x * _COARSE / width - 0.5
    light = np.ones_like(y)
    if not scan:
        slope = rng.uniform(-0.4, 0.4, 2) * rng.random()
        light *= 1 + slope[0] * x + slope[1] * y - rng.uniform(0, 0.3) * (x * x + y * y)
        for _ in range(int(rng.random() < 0.3) + int(rng.random() < 0.1)):
            away, soft = _from_line(rng, x, y), rng.uniform(0.03, 0.4)
            light *= 1 - rng.uniform(0.1, 0.55) / (1 + np.exp(np.clip(-away / soft * 4, -30, 30)))
    full: np.ndarray = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.12:
        ys, xs = np.ogrid[0:height, 0:width]
        away = _from_line(rng, (xs / width - 0.5), (ys / height - 0.5)) * max(height, width)
        depth, wide = rng.uniform(0.03, 0.25), rng.uniform(0.8, 6)
        fold = depth * np.exp(-np.square(away / wide)) + 0.5 * depth * (away > 0) * np.exp(
            -np.abs(away) / 40
        )
        full = full * (1 - fold.astype(np.float32))
    return full.astype(np.float32)


def _from_line(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance from a random straight line, in sides of the picture."""
    angle = rng.uniform(0, 2 * math.pi)
    away: np.ndarray = x * math.cos(angle) + y * math.sin(angle) - rng.uniform(-0.4, 0.4)
    return away


def _texture(
    rng: np.random.Generator, height: int, width: int
) -> Float32[np.ndarray, "height width"]:
    """The grain of paper, at a random scale."""
    scale = rng.uniform(1.5, 8)
    rows, columns = int(height / scale) + 2, int(width / scale) + 2
    grain = _noise(rng, rows, columns)[..., 0] * np.float32(rng.uniform(0.01, 0.05))
    large: np.ndarray = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
    return large


def _noise(
    rng: np.random.Generator, height: int, width: int
) -> Float32[np.ndarray, "height width 3"]:
    """Gaussian noise, a random part of what was drawn once."""
    bank = _noise_bank()
    y, x = rng.integers(bank.shape[0] - height), rng.integers(bank.shape[1] - width)
    return bank[y : y + height, x : x + width]


@cache
def _noise_bank() -> Float32[np.ndarray, "rows columns 3"]:
    return np.random.default_rng(0).standard_normal((1152, 1152, 3), np.float32)
