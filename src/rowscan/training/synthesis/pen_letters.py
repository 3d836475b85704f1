"""Words beside numbers, which a number reader must ignore: letters, pseudo-characters, scrawls.

Letters are drawn along splines like the digits of `pen_digits`. Pseudo-characters are random
strokes that look like Chinese ones and mean nothing; scrawls are loops and waves.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Generator
from torch.nn import functional as fn

from rowscan.arrays import Float32
from rowscan.scans import LINE_HEIGHT
from rowscan.training.synthesis.augmentation import uniform
from rowscan.training.synthesis.pen_digits import Allograph, SplineTable, render_pen

_FRAME = 48  # columns of the image that a letter is drawn in
_MAX_HEIGHT = 30.0  # rows
_SCRAWL_SHARE = 0.12
_SAMPLES_PER_TURN = 80  # pen positions in a turn of a scrawl: fewer would leave dots

# (x, y) in cap heights: y is 0 at the cap line, 0.4 at the x-height, 1 at the baseline.
# fmt: off
_LETTERS: dict[str, Allograph] = {
    "a": (((.38, .45), (.15, .42), (.02, .7), (.15, .98), (.36, .85), (.4, .45), (.4, .45),
           (.4, .85), (.5, 1.)),),
    "b": (((.05, 0.), (.05, .95), (.05, .6), (.25, .42), (.4, .7), (.25, 1.), (.05, .9)),),
    "c": (((.4, .5), (.22, .4), (.03, .7), (.2, 1.), (.42, .9)),),
    "d": (((.4, .5), (.2, .42), (.03, .7), (.18, 1.), (.38, .85), (.42, 0.), (.42, 0.), (.42, .9),
           (.5, 1.)),),
    "e": (((.05, .7), (.38, .65), (.3, .42), (.08, .5), (.05, .85), (.25, 1.), (.42, .9)),),
    "f": (((.42, .08), (.28, 0.), (.2, .2), (.2, 1.)), ((.03, .42), (.38, .4))),
    "g": (((.38, .48), (.18, .4), (.03, .65), (.18, .9), (.38, .75), (.4, .45), (.4, .45),
           (.38, 1.15), (.15, 1.3), (0., 1.18)),),
    "h": (((.05, 0.), (.05, 1.), (.05, 1.), (.08, .6), (.28, .42), (.38, .6), (.38, 1.)),),
    "i": (((.05, .42), (.05, 1.)), ((.05, .2), (.06, .22))),
    "j": (((.2, .42), (.2, 1.1), (.08, 1.28), (-.05, 1.2)), ((.2, .2), (.21, .22))),
    "k": (((.05, 0.), (.05, 1.)), ((.35, .42), (.06, .72), (.06, .72), (.38, 1.))),
    "l": (((.05, 0.), (.05, .9), (.15, 1.)),),
    "m": (((.03, .42), (.03, 1.), (.03, 1.), (.06, .6), (.2, .42), (.28, .6), (.28, 1.), (.28, 1.),
           (.32, .6), (.45, .42), (.54, .6), (.54, 1.)),),
    "n": (((.03, .42), (.03, 1.), (.03, 1.), (.08, .6), (.25, .42), (.36, .6), (.36, 1.)),),
    "o": (((.2, .42), (.03, .7), (.2, 1.), (.38, .7), (.2, .42)),),
    "p": (((.05, .42), (.05, 1.3)), ((.05, .6), (.25, .42), (.4, .7), (.25, 1.), (.05, .88))),
    "q": (((.38, .48), (.18, .4), (.03, .7), (.18, 1.), (.38, .85), (.4, .45), (.4, .45),
           (.4, 1.3)),),
    "r": (((.05, .42), (.05, 1.), (.05, 1.), (.1, .6), (.3, .42)),),
    "s": (((.33, .48), (.15, .42), (.07, .58), (.3, .78), (.28, .98), (.03, .93)),),
    "t": (((.15, .1), (.15, .9), (.25, 1.), (.35, .95)), ((0., .42), (.32, .4))),
    "u": (((.03, .42), (.05, .9), (.2, 1.), (.36, .85), (.38, .42), (.38, .42), (.38, 1.)),),
    "v": (((0., .42), (.18, 1.), (.18, 1.), (.38, .42)),),
    "w": (((0., .42), (.13, 1.), (.13, 1.), (.27, .5), (.27, .5), (.4, 1.), (.4, 1.),
           (.54, .42)),),
    "x": (((.03, .42), (.36, 1.)), ((.36, .42), (.02, 1.))),
    "y": (((.02, .42), (.2, .95)), ((.38, .42), (.2, .95), (.08, 1.3))),
    "z": (((.03, .45), (.35, .43), (.35, .43), (.02, .98), (.02, .98), (.38, .96)),),
    "A": (((0., 1.), (.25, 0.), (.25, 0.), (.5, 1.)), ((.08, .65), (.42, .65))),
    "B": (((.05, 0.), (.05, 1.)), ((.05, .02), (.35, .1), (.3, .42), (.06, .47), (.06, .47),
           (.42, .6), (.38, .95), (.05, 1.))),
    "C": (((.48, .15), (.28, 0.), (.03, .4), (.1, .85), (.3, 1.), (.5, .88)),),
    "D": (((.05, 0.), (.05, 1.)), ((.05, 0.), (.35, .1), (.5, .5), (.35, .92), (.05, 1.))),
    "E": (((.45, .02), (.05, .02), (.05, .02), (.05, 1.), (.05, 1.), (.47, .98)),
          ((.05, .48), (.38, .47))),
    "F": (((.45, .02), (.05, .02), (.05, .02), (.05, 1.)), ((.05, .48), (.36, .47))),
    "G": (((.48, .15), (.28, 0.), (.03, .4), (.1, .85), (.3, 1.), (.5, .8), (.5, .55), (.5, .55),
           (.3, .55)),),
    "H": (((.05, 0.), (.05, 1.)), ((.47, 0.), (.47, 1.)), ((.05, .5), (.47, .48))),
    "I": (((.05, 0.), (.05, 1.)),),
    "J": (((.3, 0.), (.3, .8), (.15, 1.), (0., .85)),),
    "K": (((.05, 0.), (.05, 1.)), ((.45, 0.), (.06, .55), (.06, .55), (.48, 1.))),
    "L": (((.05, 0.), (.05, 1.), (.05, 1.), (.45, .98)),),
    "M": (((.03, 1.), (.06, 0.), (.06, 0.), (.3, .65), (.3, .65), (.55, 0.), (.55, 0.),
           (.58, 1.)),),
    "N": (((.05, 1.), (.05, 0.), (.05, 0.), (.45, 1.), (.45, 1.), (.45, 0.)),),
    "O": (((.27, 0.), (.03, .5), (.27, 1.), (.5, .5), (.27, 0.)),),
    "P": (((.05, 0.), (.05, 1.)), ((.05, .02), (.4, .1), (.38, .45), (.06, .55))),
    "R": (((.05, 0.), (.05, 1.)), ((.05, .02), (.4, .1), (.36, .42), (.06, .5), (.06, .5),
           (.45, 1.))),
    "S": (((.42, .12), (.2, 0.), (.06, .2), (.25, .45), (.43, .75), (.22, 1.), (.02, .88)),),
    "T": (((0., .03), (.5, 0.)), ((.25, 0.), (.25, 1.))),
    "U": (((.04, 0.), (.06, .8), (.25, 1.), (.44, .8), (.46, 0.)),),
    "V": (((0., 0.), (.24, 1.), (.24, 1.), (.5, 0.)),),
    "W": (((0., 0.), (.17, 1.), (.17, 1.), (.34, .2), (.34, .2), (.5, 1.), (.5, 1.), (.68, 0.)),),
    "X": (((.03, 0.), (.45, 1.)), ((.45, 0.), (.02, 1.))),
    "Y": (((0., 0.), (.22, .5)), ((.46, 0.), (.22, .5), (.22, .5), (.2, 1.))),
    "Z": (((.03, .02), (.45, 0.), (.45, 0.), (.02, .98), (.02, .98), (.48, .97)),),
}
# fmt: on
_DIGIT_LIKE = set("beghijlopqrstyzBGIJOPSZ")
"""Letters that may look like a digit. At least half of the letters of a word are others."""

_CHARACTER_STROKES: tuple[Allograph, ...] = (
    (((0.0, 0.05), (0.95, 0.0)),),
    (((0.1, 0.5), (0.9, 0.47)),),
    (((0.0, 0.97), (1.0, 0.95)),),
    (((0.5, -0.05), (0.5, 1.0)),),
    (((0.12, 0.1), (0.1, 1.0)),),
    (((0.15, 0.1), (0.9, 0.08), (0.9, 0.08), (0.88, 1.0)),),
    (((0.5, 0.0), (0.35, 0.6), (0.0, 1.0)),),
    (((0.45, 0.3), (0.65, 0.75), (1.0, 1.0)),),
    (((0.2, 0.2), (0.3, 0.35)),),
)
"""The strokes that pseudo-characters are made of."""


def draw_word(height: float, width: float, g: Generator) -> Float32[np.ndarray, "32 columns"]:
    """Ink of a random word in small letters, capitals or both, of pseudo-characters, or a scrawl.

    Args:
        height: of the digits beside it, in rows.
        width: of the pen, in pixels.
        g: source of all random numbers.
    """
    kind = float(torch.rand((), generator=g))
    count = int(torch.randint(3, 9, (), generator=g))
    size = height * float(uniform(1, 0.75, 1.1, g))
    if float(torch.rand((), generator=g)) < _SCRAWL_SHARE:
        return _draw_scrawl(size, width, g)
    if kind < 0.12:
        return _spaced([_draw_character(size, width, g) for _ in range(count // 2)], 0.15 * size, g)
    letters = _choose_letters(count, kind, g)
    table, indices = _alphabet()
    index = torch.tensor([indices[letter] for letter in letters])
    points = table.points[index]
    low, high = min(0.42, float(points[:, :, 1].min())), max(1.0, float(points[:, :, 1].max()))
    if low > 0.3:  # x-height letters only, which may be written as tall as digits
        size *= float(uniform(1, 1.0, 1.7, g))
    size = min(size, (_MAX_HEIGHT - width) / (high - low))
    jitter = float(uniform(1, 0.01, 0.04, g))
    points = points + jitter * torch.randn(points.shape, generator=g)
    centre = torch.tensor([0.27, (low + high) / 2])
    samples = (table.bases[index] @ (points - centre)) * size
    ink = render_pen(samples, width, (LINE_HEIGHT, _FRAME))
    return _spaced(list(ink.numpy()), float(uniform(1, -0.05, 0.25, g)) * size, g)


def _draw_scrawl(size: float, width: float, g: Generator) -> Float32[np.ndarray, "32 columns"]:
    """Many loops or waves of varying size in one stroke; joined zeros never go on for so long."""
    rounds, shape, drift, swell, turned = uniform(5, 0.0, 1.0, g).tolist()
    turns = 4.5 + 6 * rounds
    t = torch.linspace(0, 2 * math.pi * turns, int(_SAMPLES_PER_TURN * turns))
    radius = 0.5 * size * (1 - 0.4 * swell * (1 + torch.sin(t * drift / 2 + 6 * shape)) / 2)
    forward = size * (0.08 + 0.2 * shape)  # columns per radian: loops where `across` is larger
    across = radius * float(uniform(1, 0.2, 1.0, g))
    side = 1.0 if turned < 0.5 else -1.0  # loops below, or above
    samples = torch.stack([forward * t + across * t.cos(), side * radius * t.sin()], 1)
    noise = torch.randn(1, 2, int(3 * turns), generator=g) * 0.06 * size
    samples = samples + fn.interpolate(noise, size=len(t), mode="linear", align_corners=True)[0].T
    samples = samples - (samples.amin(0) + samples.amax(0)) / 2
    columns = math.ceil(float(2 * samples[:, 0].abs().max()) + 2 * width + 2)
    ink: np.ndarray = render_pen(samples[None], width, (LINE_HEIGHT, columns))[0].numpy()
    return ink


def _choose_letters(count: int, kind: float, g: Generator) -> list[str]:
    """Small letters, a capital and small letters, or capitals."""
    small = [letter for letter in _LETTERS if letter.islower()]
    capitals = [letter for letter in _LETTERS if letter.isupper()]
    letters = []
    for position in range(count):
        choices = capitals if kind > 0.82 or (kind > 0.6 and position == 0) else small
        if position % 2 == 0:
            choices = [letter for letter in choices if letter not in _DIGIT_LIKE]
        letters.append(choices[int(torch.randint(0, len(choices), (), generator=g))])
    return letters


def _draw_character(size: float, width: float, g: Generator) -> Float32[np.ndarray, "32 48"]:
    table = _character_strokes()
    count = int(torch.randint(4, 9, (), generator=g))
    index = torch.randint(0, len(table.points), (count,), generator=g)
    points = table.points[index]
    # Each stroke fills a part of the box, as the components of a character do.
    scale = uniform(count, 0.35, 1.0, g)[:, None, None]
    shift = torch.rand(count, 1, 2, generator=g) * (1 - scale)
    points = points * scale + shift + 0.02 * torch.randn(points.shape, generator=g)
    samples = (table.bases[index] @ (points - 0.5)) * size
    return render_pen(samples, 0.8 * width, (LINE_HEIGHT, _FRAME)).amax(0).numpy()


def _spaced(
    glyphs: list[Float32[np.ndarray, "32 48"]], space: float, g: Generator
) -> Float32[np.ndarray, "32 columns"]:
    """The glyphs side by side, `space` columns apart, give or take one."""
    strip = np.zeros((LINE_HEIGHT, (_FRAME + 16) * len(glyphs)), np.float32)
    end = 0.0
    for glyph in glyphs:
        columns = np.flatnonzero((glyph > 0.3).any(0))
        if not len(columns):
            continue
        left = max(0, round(end)) - int(columns[0]) + 8
        hidden = max(0, -left)
        target = strip[:, left + hidden : left + _FRAME]
        np.maximum(target, glyph[:, hidden:][:, : target.shape[1]], out=target)
        end += float(columns[-1] - columns[0] + 1) + space + float(torch.randn((), generator=g))
    return strip[:, : round(end) + 16]


@cache
def _alphabet() -> tuple[SplineTable, dict[str, int]]:
    return SplineTable.of(_LETTERS.values()), {letter: i for i, letter in enumerate(_LETTERS)}


@cache
def _character_strokes() -> SplineTable:
    return SplineTable.of(_CHARACTER_STROKES)
