"""Degradation: what pens, paper, cameras and binarization do to the ink of a line."""

import math
from random import Random

import cv2
import numpy as np

from rowscan.arrays import Float32, UInt8
from rowscan.scans import LINE_HEIGHT

LineInk = Float32[np.ndarray, "32 width"]


def degrade(ink: LineInk, r: Random, noise: np.random.Generator) -> LineInk:
    """Dry pens, low resolution, patterns and stains that show through, pale or full ink."""
    width = ink.shape[1]
    dry = r.uniform(0.2, 0.65) if r.random() < 0.1 else 0.0
    pattern = r.uniform(0.02, 0.25) if r.random() < 0.06 else 0.0
    blotch = None
    if dry or pattern:
        cells = noise.standard_normal((9, max(3, width // 4))).astype(np.float32)
        blotch = cv2.resize(cells, (width, LINE_HEIGHT), interpolation=cv2.INTER_CUBIC)
        ink = ink * (1 - np.float32(dry) * (blotch > 0.4))
    if r.random() < 0.28:
        ink = _coarse(ink, r)
    elif r.random() < 0.3:
        ink = cv2.GaussianBlur(ink, (0, 0), r.uniform(0.3, 1.2))
    if pattern:
        fine = noise.standard_normal(ink.shape).astype(np.float32)
        grain = blotch if blotch is not None and r.random() < 0.5 else fine
        ink = np.maximum(ink, np.float32(pattern) * np.clip(grain, 0, 1.5))
    # As segmentation does: clipped above the paper and below the usual darkness of the strokes.
    strong = ink[ink >= 0.4 * max(0.05, float(ink.max()))]
    core = float(np.sort(strong)[len(strong) // 2]) if len(strong) else 1.0
    low, high = r.uniform(-0.05, 0.2), r.uniform(0.65, 1.25)
    low = max(0.0, low) * core
    result: LineInk = np.clip((ink - low) / max(0.1, high * core - low), 0, 1).astype(np.float32)
    return result


def broad_nib(
    sheet: UInt8[np.ndarray, "rows columns"], r: Random
) -> UInt8[np.ndarray, "rows columns"]:
    """The sheet as written with a nib that is wider across one direction."""
    size, angle = r.choice((3, 5, 5, 7)), math.radians(r.uniform(15, 75))
    half = size // 2
    nib = np.zeros((size, size), np.uint8)
    ends = [
        (round(half + s * half * math.cos(angle)), round(half - s * half * math.sin(angle)))
        for s in (-1, 1)
    ]
    cv2.line(nib, ends[0], ends[1], 1)
    written: np.ndarray = cv2.dilate(sheet, nib)
    return written


def _coarse(ink: LineInk, r: Random) -> LineInk:
    """The line as from a picture of fewer pixels, its contrast stretched again."""
    kept = r.uniform(0.42, 0.9)
    few = (max(1, math.ceil(kept * ink.shape[1])), max(1, round(kept * LINE_HEIGHT)))
    small = cv2.resize(ink, few, interpolation=cv2.INTER_AREA)
    soft = cv2.resize(small, ink.shape[::-1], interpolation=cv2.INTER_CUBIC)
    low, high = r.uniform(0.03, 0.25), r.uniform(0.55, 0.95)
    clipped: LineInk = np.clip((soft - low) / (high - low), 0, 1)
    return clipped
