"""Signs and symbols as pen strokes: the marks of `alphabet.SIGNS` in the shapes that people write.

Lengths are in heights of a digit: y is 0 at the top of a digit and 1 at the base line, x starts at
0. A stroke is an array (points, 2). All random numbers come from the given generator.
"""

import itertools
import math
from functools import cache
from random import Random

import numpy as np

from rowscan.arrays import Float64

Stroke = Float64[np.ndarray, "_ 2"]
Strokes = list[Stroke]


def curve(*points: tuple[float, float], samples: int = 8) -> Stroke:
    """A Catmull-Rom spline through the points; a repeated point is a corner."""
    path = np.array(points, float)
    corners = tuple(a == b for a, b in itertools.pairwise(points))
    stroke: Stroke = _basis(corners, samples) @ path
    return stroke


@cache
def _basis(corners: tuple[bool, ...], samples: int) -> Float64[np.ndarray, "samples points"]:
    """Matrix from control points to places along the spline.

    Catmull and Rom, "A class of local interpolating splines", 1974, with tension 1/2.

    Args:
        corners: whether each point is the next one, too.
        samples: places in each segment.
    """
    n = len(corners) + 1
    t = np.linspace(0, 1, samples, endpoint=False)
    rows = []
    for start, corner in enumerate(corners):
        if corner:
            continue
        end = start + 1
        # A corner or an end is its own neighbour.
        before = start if start == 0 or corners[start - 1] else start - 1
        after = end if end == n - 1 or corners[end] else end + 1
        part = np.zeros((samples, n))
        part[:, before] += (-t + 2 * t**2 - t**3) / 2
        part[:, start] += (2 - 5 * t**2 + 3 * t**3) / 2
        part[:, end] += (t + 4 * t**2 - 3 * t**3) / 2
        part[:, after] += (-(t**2) + t**3) / 2
        rows.append(part)
    return np.concatenate([*rows, np.eye(n)[n - 1 :]])


def line(x0: float, y0: float, x1: float, y1: float) -> Stroke:
    """A straight stroke."""
    return np.array([(x0, y0), (x1, y1)])


def ring(x: float, y: float, across: float, up: float, start: float = 0.0) -> Stroke:
    """A closed ellipse with these radii, from an angle on and a little further than around."""
    t = start + np.linspace(0, 2 * math.pi + 0.3, 22)
    return np.stack([x + across * np.cos(t), y - up * np.sin(t)], 1)


def draw_sign(character: str, r: Random) -> Strokes:
    """Strokes of a sign in a random shape."""
    return _SIGNS[character](r)


def _dot(r: Random) -> Strokes:
    y = 0.97 + r.gauss(0, 0.02)
    return [line(0.0, y, r.uniform(0, 0.06), y + r.uniform(-0.02, 0.05))]


def _comma(r: Random) -> Strokes:
    y, lean, length = 0.93 + r.gauss(0, 0.02), r.uniform(-0.02, 0.14), r.uniform(0.13, 0.3)
    if r.random() < 0.5:
        return [line(lean, y, 0.0, y + length)]
    return [curve((lean, y), (lean + 0.05, y + length / 2), (lean - 0.06, y + length))]


def _minus(r: Random) -> Strokes:
    y, length, rise = r.uniform(0.42, 0.66), r.uniform(0.2, 0.65), r.gauss(0, 0.035)
    if r.random() < 0.3:
        bend = r.gauss(0, 0.05)
        return [curve((0.0, y + rise), (length / 2, y + bend), (length, y - rise))]
    return [line(0.0, y + rise, length, y - rise)]


def _plus(r: Random) -> Strokes:
    y, arm, up = r.uniform(0.45, 0.62), r.uniform(0.16, 0.32), r.uniform(0.9, 1.35)
    lean, rise = r.gauss(0, 0.04), r.gauss(0, 0.03)
    x = arm * r.uniform(0.8, 1.2)
    if r.random() < 0.12:  # in one stroke
        return [
            curve(
                (x + lean, y - arm * up),
                (x - lean, y + arm * up),
                (x - lean, y + arm * up),
                (0.0, y),
                (0.0, y),
                (2 * arm, y - rise),
            )
        ]
    return [
        line(0.0, y + rise, 2 * arm, y - rise),
        line(x + lean, y - arm * up, x - lean, y + arm * up),
    ]


def _slash(r: Random) -> Strokes:
    top, bottom = r.uniform(-0.25, 0.05), r.uniform(0.95, 1.3)
    lean = r.uniform(0.2, 0.75)  # an upright one would be a 1
    if r.random() < 0.25:
        bend = r.gauss(0, 0.05)
        return [curve((lean, top), (lean / 2 + bend, (top + bottom) / 2), (0.0, bottom))]
    return [line(lean, top, 0.0, bottom)]


def _colon(r: Random) -> Strokes:
    shift, upper = r.gauss(0, 0.03), r.uniform(0.3, 0.55)
    lower = max(upper + 0.25, r.uniform(0.75, 1.0))
    one, two = r.uniform(0, 0.05), r.uniform(0, 0.05)
    return [
        line(0.04, upper, 0.04 + one, upper + 0.02),
        line(shift, lower, shift + two, lower + 0.02),
    ]


def _open(r: Random) -> Strokes:
    top, bottom, deep = r.uniform(-0.2, 0.05), r.uniform(0.95, 1.25), r.uniform(0.1, 0.36)
    bulge = r.uniform(0.2, 0.45)
    a, b = top + bulge * (bottom - top) * 0.8, bottom - bulge * (bottom - top) * 0.8
    end = deep * r.uniform(0.6, 1.1)
    return [curve((deep, top), (0.02, a), (0.0, b), (end, bottom))]


def _close(r: Random) -> Strokes:
    (stroke,) = _open(r)
    return [stroke * (-1, 1) + (stroke[:, 0].max(), 0)]


def _percent(r: Random) -> Strokes:
    w, small = r.uniform(0.55, 0.95), r.uniform(0.09, 0.17)
    up = small * r.uniform(1.0, 1.4)
    slash = line(w * r.uniform(0.75, 0.95), r.uniform(-0.05, 0.1), w * r.uniform(0.05, 0.25), 1.02)
    start = r.uniform(0, 6)
    left = ring(small, r.uniform(0.15, 0.32), small, up, start)
    right = ring(w - small, r.uniform(0.68, 0.85), small, up, start)
    return [left, slash, right]


def _dollar(r: Random) -> Strokes:
    w, lean = r.uniform(0.4, 0.65), r.gauss(0, 0.05)
    s = curve(
        (w, r.uniform(0.1, 0.22)),
        (w / 2, 0.03),
        (0.02, 0.22),
        (w / 2, 0.48),
        (w, 0.75),
        (w / 2, 0.98),
        (0.0, r.uniform(0.78, 0.9)),
    )
    top, bottom = r.uniform(-0.25, -0.02), r.uniform(1.02, 1.25)
    x = w / 2 + r.gauss(0, 0.03)
    draw = r.random()
    if draw < 0.65:
        return [s, line(x + lean, top, x - lean, bottom)]
    if draw < 0.85:
        return [s, line(x - 0.06, top, x - 0.06, bottom), line(x + 0.06, top, x + 0.06, bottom)]
    return [s, line(x, top - 0.05, x, 0.06), line(x, 0.95, x, bottom + 0.05)]


def _euro(r: Random) -> Strokes:
    w, back = r.uniform(0.5, 0.75), r.uniform(0.08, 0.2)
    c = curve(
        (w, r.uniform(0.1, 0.22)),
        (w * 0.65, 0.0),
        (back, 0.35),
        (back, 0.68),
        (w * 0.65, 1.0),
        (w, r.uniform(0.8, 0.92)),
    )
    y, apart, end = r.uniform(0.36, 0.46), r.uniform(0.14, 0.24), r.uniform(0.55, 0.85) * w
    rise = r.gauss(0, 0.02)
    bars = [
        line(-0.06, y + rise, end, y - rise),
        line(-0.06, y + apart + rise, end, y + apart - rise),
    ]
    return [c, *bars] if r.random() < 0.9 else [c, bars[0]]


def _pound(r: Random) -> Strokes:
    w, x = r.uniform(0.5, 0.75), r.uniform(0.16, 0.26)
    draw = r.random()
    foot = ((x, 0.85), (0.02, 0.98), (0.05, 0.86), (w * 0.5, 0.97), (w, 0.9))
    if draw < 0.4:
        foot = ((x, 0.88), (0.0, 1.0), (0.0, 1.0), (w * 0.6, 0.99), (w, 0.97))
    stem = curve(
        (w * 0.85, r.uniform(0.12, 0.25)), (w * 0.6, 0.0), (x, 0.18), (x + 0.02, 0.55), *foot
    )
    y = r.uniform(0.45, 0.6)
    return [stem, line(-0.02, y, r.uniform(0.55, 0.8) * w, y + r.gauss(0, 0.02))]


def _yen(r: Random) -> Strokes:
    w, fork = r.uniform(0.5, 0.75), r.uniform(0.4, 0.52)
    x = w / 2 + r.gauss(0, 0.02)
    y, apart, arm = r.uniform(0.52, 0.6), r.uniform(0.14, 0.22), r.uniform(0.2, 0.3)
    bars = [line(x - arm, y, x + arm, y), line(x - arm, y + apart, x + arm, y + apart)]
    strokes = [
        line(0.0, 0.0, x, fork),
        line(w, 0.0, x, fork),
        line(x, fork, x + r.gauss(0, 0.02), 1.0),
    ]
    return strokes + (bars if r.random() < 0.85 else bars[:1])


def _equals(r: Random) -> Strokes:
    y, apart, w = r.uniform(0.36, 0.52), r.uniform(0.16, 0.34), r.uniform(0.3, 0.65)
    a, b = r.gauss(0, 0.03), r.gauss(0, 0.03)
    return [
        line(0.0, y + a, w, y - a),
        line(r.gauss(0, 0.03), y + apart + b, w * r.uniform(0.85, 1.1), y + apart - b),
    ]


def _times(r: Random) -> Strokes:
    size = r.uniform(0.3, 0.6)
    y = r.uniform(0.98 - size, 1.0 - size) if r.random() < 0.5 else 0.5 - size / 2
    w, jitter = size * r.uniform(0.75, 1.1), r.gauss(0, 0.03)
    if r.random() < 0.25:  # as the letter x
        return [
            curve((0.0, y), (w * 0.4, y + size * 0.4), (w * 0.6, y + size * 0.7), (w, y + size)),
            line(w, y + jitter, 0.0, y + size),
        ]
    return [line(0.0, y, w, y + size + jitter), line(w, y + jitter, 0.0, y + size)]


_SIGNS = {
    ".": _dot, ",": _comma, "-": _minus, "+": _plus, "/": _slash, ":": _colon, "(": _open,
    ")": _close, "%": _percent, "$": _dollar, "€": _euro, "£": _pound, "¥": _yen, "=": _equals,
    "×": _times,
}  # fmt: skip


def draw_symbol(r: Random) -> Strokes:
    """Something that is neither a letter nor a figure: a star, a heart, a tick, a scrawl."""
    return r.choice(_SYMBOLS)(r)


def _star(r: Random) -> Strokes:
    n, start = r.choice((5, 5, 6)), r.uniform(0, 6)
    if r.random() < 0.4:  # an asterisk
        return [
            line(
                0.4 - 0.4 * math.cos(t),
                0.5 - 0.4 * math.sin(t),
                0.4 + 0.4 * math.cos(t),
                0.5 + 0.4 * math.sin(t),
            )
            for t in (start + math.pi * k / 3 for k in range(3))
        ]
    t = start + np.arange(n + 1) * (4 * math.pi / 5 if n == 5 else 2 * math.pi / 3)
    return [np.stack([0.5 + 0.5 * np.cos(t), 0.5 + 0.5 * np.sin(t)], 1)]


def _heart(_: Random) -> Strokes:
    return [
        curve(
            (0.45, 0.3),
            (0.2, 0.0),
            (0.0, 0.3),
            (0.45, 1.0),
            (0.45, 1.0),
            (0.9, 0.3),
            (0.7, 0.0),
            (0.45, 0.3),
        )
    ]


def _tick(r: Random) -> Strokes:
    return [
        curve(
            (0.0, r.uniform(0.5, 0.7)),
            (0.25, 1.0),
            (0.25, 1.0),
            (r.uniform(0.7, 1.2), r.uniform(-0.1, 0.3)),
        )
    ]


def _arrow(r: Random) -> Strokes:
    y, long = 0.5 + r.gauss(0, 0.05), r.uniform(0.7, 1.3)
    head = curve((long - 0.25, y - 0.25), (long, y), (long, y), (long - 0.25, y + 0.25))
    return [line(0.0, y, long, y), head]


def _polygon(r: Random) -> Strokes:
    n, start = r.choice((3, 3, 4)), r.uniform(0, 2)
    t = start + np.linspace(0, 2 * math.pi, n + 1)
    return [np.stack([0.5 + 0.55 * np.cos(t), 0.5 + 0.5 * np.sin(t)], 1)]


def _face(r: Random) -> Strokes:
    smile = curve((0.25, 0.62), (0.5, r.uniform(0.5, 0.85)), (0.75, 0.62))
    return [
        ring(0.5, 0.5, 0.5, 0.5),
        line(0.33, 0.35, 0.34, 0.4),
        line(0.66, 0.35, 0.67, 0.4),
        smile,
    ]


def _spiral(r: Random) -> Strokes:
    t = np.linspace(0, r.uniform(4, 7) * math.pi, 90)
    return [np.stack([0.5 + 0.5 * np.cos(t) * t / t[-1], 0.5 + 0.5 * np.sin(t) * t / t[-1]], 1)]


def _scrawl(r: Random) -> Strokes:
    """Loops or waves in one stroke; joined zeros never go on for so long."""
    turns = r.uniform(4.5, 10.5)
    t = np.linspace(0, 2 * math.pi * turns, int(16 * turns))
    radius = 0.5 * (1 - 0.3 * (1 + np.sin(t * r.uniform(0, 0.5) + 6 * r.random())))
    forward, across = r.uniform(0.06, 0.24), r.uniform(0.1, 0.5)
    side = r.choice((-1, 1))
    wander = np.interp(t, np.linspace(0, t[-1], 12), [r.gauss(0, 0.08) for _ in range(12)])
    return [
        np.stack([forward * t + across * np.cos(t), 0.5 + side * radius * np.sin(t) + wander], 1)
    ]


def _zigzag(r: Random) -> Strokes:
    """More turns than any figure has."""
    n = r.randint(5, 11)
    across = r.uniform(0.02, 0.25)
    return [
        np.array(
            [
                (k * across + r.gauss(0, 0.06), r.uniform(0, 0.25) + (k % 2) * r.uniform(0.4, 0.8))
                for k in range(n)
            ]
        )
    ]


def _character(r: Random) -> Strokes:
    """Strokes in a square, as of a Chinese character, which mean nothing."""
    parts = (
        ((0.05, 0.05), (0.95, 0.0)), ((0.1, 0.5), (0.9, 0.47)), ((0.0, 0.97), (1.0, 0.95)),
        ((0.5, -0.05), (0.5, 1.0)), ((0.12, 0.1), (0.1, 1.0)),
        ((0.15, 0.1), (0.9, 0.08), (0.9, 0.08), (0.88, 1.0)), ((0.5, 0.0), (0.35, 0.6), (0.0, 1.0)),
        ((0.45, 0.3), (0.65, 0.75), (1.0, 1.0)), ((0.2, 0.2), (0.3, 0.35)),
    )  # fmt: skip
    strokes = []
    for _ in range(r.randint(4, 8)):
        scale = r.uniform(0.35, 1.0)
        shift = (r.random() * (1 - scale), r.random() * (1 - scale))
        strokes.append(curve(*r.choice(parts)) * scale + shift)
    return strokes


def _blot(r: Random) -> Strokes:
    """A stain, a thick bar, the corner of a dark edge: filled with strokes."""
    w, h = r.uniform(0.3, 1.2), r.uniform(0.5, 1.1)
    rows = np.linspace(0, h, max(3, round(12 * h)))
    left = np.cumsum([r.gauss(0, 0.03) for _ in rows]) if r.random() < 0.6 else 0 * rows
    right = w + np.cumsum([r.gauss(0, 0.04) for _ in rows])
    if r.random() < 0.3:  # a corner
        right = np.where(rows < h * r.uniform(0.2, 0.5), right, left + 0.3 * w)
    ends = np.stack([left, right], 1)
    ends[1::2] = ends[1::2, ::-1]
    return [np.stack([ends.ravel(), np.repeat(rows, 2)], 1)]


def _hash(r: Random) -> Strokes:
    lean = r.uniform(0, 0.15)
    rows = [line(0.0, y, 0.8, y - r.uniform(0, 0.05)) for y in (0.35, 0.68)]
    return [*rows, line(0.3 + lean, 0.0, 0.25, 1.0), line(0.58 + lean, 0.0, 0.52, 1.0)]


def _root(r: Random) -> Strokes:
    """The sign of a square root, its bar long or short."""
    low, end, high = r.uniform(0.2, 0.4), r.uniform(0.45, 0.7), r.uniform(-0.05, 0.1)
    bar, start = end + r.uniform(0.2, 1.2), r.uniform(0.45, 0.7)
    hook = [(0.0, start + r.uniform(0.0, 0.12)), (0.4 * low, start)]
    bottom, top = (low, 1.0), (end, high)
    return [np.array([*hook, bottom, top, (bar, high + r.gauss(0, 0.04))])]


def _bracket(r: Random) -> Strokes:
    """Square or angled, open to the left or to the right."""
    w, top, bottom = r.uniform(0.15, 0.4), r.uniform(-0.15, 0.1), r.uniform(0.95, 1.2)
    corners = [(0.0, top), (0.0, bottom)] if r.random() < 0.6 else [(0.0, (top + bottom) / 2)]
    path = np.array([(w, top), *corners, (w, bottom)])
    return [path * (r.choice((-1, 1)), 1)]


def _integral(r: Random) -> Strokes:
    """Tall, with a hook at either end."""
    w = r.uniform(0.25, 0.45)
    above = ((w, 0.05), (0.75 * w, -0.1), (0.5 * w, 0.2))
    return [curve(*above, (0.5 * w, 0.9), (0.2 * w, 1.15), (0.0, 1.0))]


def _greek(r: Random) -> Strokes:
    """A capital sigma, or pi."""
    if r.random() < 0.5:
        return [np.array([(0.7, 0.05), (0.0, 0.0), (0.4, 0.5), (0.0, 1.0), (0.75, 0.95)])]
    y = r.uniform(0.0, 0.4)
    return [line(0.0, y, 0.9, y), line(0.25, y, 0.2, 1.0), line(0.62, y, 0.68, 1.0)]


_SYMBOLS = (
    _root, _root, _bracket, _bracket, _integral, _greek, _star, _heart, _tick, _arrow, _polygon,
    _face, _spiral, _scrawl, _scrawl, _zigzag, _zigzag, _character, _character, _hash, _blot, _blot,
)  # fmt: skip
