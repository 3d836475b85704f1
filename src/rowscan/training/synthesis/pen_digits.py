"""Digits as hands of other countries write them, drawn with a pen along paths.

MNIST was written in one country. The garland of flat zeros, the 1 with a long upstroke, the 2 that
begins with a curl, the 5 made like a tick, the 7 made like a t, the 9 made like a P are not in it,
so they are described here: by points that the pen passes through, each a little elsewhere every
time.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor

from rowscan.arrays import Bool, Float32, Int64
from rowscan.segmentation.digit import BOX, SIZE
from rowscan.training.synthesis.augmentation import Ink, uniform

Path = tuple[tuple[float, float], ...]
"""Points (across, down) in a digit's box of 1 by 1. One that comes twice is a sharp corner."""

Drawing = tuple[Path, ...]
"""Strokes, each without lifting the pen."""

_STEPS = 16  # places of the pen from one point to the next: no further apart than its width
_PEN = 2.6  # pixels

# fmt: off
_WAYS: tuple[tuple[int, Drawing], ...] = (
    # Closed with a tail to the next digit, or open above.
    (0, (((.55, .03), (.15, .25), (.1, .7), (.45, 1.), (.82, .7), (.8, .25), (.5, .04), (.6, .14),
          (1.15, .06)),)),
    (0, (((.35, .1), (.06, .45), (.2, .9), (.55, 1.), (.86, .65), (.8, .2), (.58, .02)),)),
    (0, (((.7, .1), (.3, .08), (.08, .5), (.3, .95), (.65, .92), (.85, .5), (.6, .05),
          (.2, -.02)),)),
    # Flat, one of a garland, joined above or below; not closed at the left; with a loop inside.
    (0, (((-.1, .3), (.3, .28), (.02, .5), (.4, .74), (.95, .6), (.9, .35), (.5, .27), (.7, .38),
          (1.3, .3)),)),
    (0, (((.6, .28), (.1, .35), (.08, .62), (.5, .74), (.95, .58), (.85, .34), (.4, .26)),)),
    (0, (((-.15, .68), (.2, .6), (.7, .32), (.35, .25), (.02, .45), (.25, .72), (.75, .68),
          (1.3, .66)),)),
    (0, (((.1, .42), (.35, .24), (.85, .3), (.95, .55), (.6, .76), (.2, .7), (.08, .45)),)),
    (0, (((.02, .3), (.4, .12), (.9, .3), (.85, .7), (.45, .9), (.1, .78)),)),
    (0, (((.15, .2), (.6, .1), (.92, .45), (.6, .88), (.2, .75), (.25, .4), (.5, .3)),)),
    (0, (((.35, .3), (.6, .08), (.15, .25), (.1, .75), (.5, .95), (.85, .6), (.7, .15), (.35, .1),
          (.45, .35)),)),
    # A long upstroke, straight or hollow; a foot; a swing that begins on the line.
    (1, (((0., .55), (.55, 0.), (.55, 0.), (.5, 1.)),)),
    (1, (((-.15, .9), (.3, .5), (.6, 0.), (.6, 0.), (.5, 1.)),)),
    (1, (((.1, .4), (.35, .25), (.55, 0.), (.55, 0.), (.52, 1.)), ((.15, 1.), (.9, .97)))),
    (1, (((.1, .15), (.35, .2), (.55, 0.), (.55, 0.), (.5, 1.)), ((.15, 1.), (.9, .97)))),
    (1, (((.05, .45), (.4, .2), (.6, 0.), (.6, 0.), (.55, 1.)),)),
    (1, (((0., .5), (.25, .4), (.55, 0.), (.55, 0.), (.5, 1.)),)),
    (1, (((-.1, .32), (.2, .22), (.62, 0.), (.62, 0.), (.5, 1.)),)),
    (1, (((.0, .3), (.55, 0.), (.55, 0.), (.52, 1.)), ((-.25, 1.), (.6, .97)))),
    (1, (((.25, .22), (.58, 0.), (.58, 0.), (.52, 1.)), ((-.1, .98), (.55, 1.)))),
    (1, (((.15, .75), (.6, .35), (.62, .02), (.42, .08), (.42, .6), (.55, 1.)),)),
    # Hooked below; with a flag that hangs.
    (1, (((.2, .2), (.55, .02), (.55, .02), (.55, .8), (.35, 1.), (.05, .9)),)),
    (1, (((.15, .3), (.2, .12), (.55, .02), (.55, .02), (.48, 1.)),)),
    # A curl before the arch; a wide loop below; a swan's neck on a straight foot.
    (2, (((.4, .4), (.15, .28), (.25, .04), (.65, .02), (.8, .3), (.5, .65), (.05, 1.), (.05, 1.),
          (.45, .93), (1., 1.)),)),
    (2, (((.5, .32), (.22, .42), (.08, .2), (.4, -.02), (.78, .18), (.6, .6), (.1, 1.), (.1, 1.),
          (.9, .95)),)),
    (2, (((.6, .52), (.2, .48), (.1, .12), (.6, 0.), (.85, .3), (.5, .7), (.1, 1.), (.1, 1.),
          (1., .97)),)),
    (2, (((.1, .3), (.3, .02), (.75, .08), (.75, .4), (.4, .75), (.08, .98), (.05, .82), (.35, .82),
          (.7, 1.), (1.05, .9)),)),
    (2, (((.1, .2), (.5, 0.), (.8, .25), (.45, .65), (0., 1.), (0., 1.), (.9, .97)),)),
    # Begun with a ring; like a Q; with a ring at the foot.
    (2, (((.7, .2), (.45, .35), (.25, .18), (.5, 0.), (.78, .2), (.5, .65), (.05, .95), (.2, .85),
          (1., 1.)),)),
    (2, (((.55, .4), (.2, .35), (.15, .1), (.55, -.02), (.8, .3), (.55, .75), (.1, 1.), (.05, .85),
          (.4, .88), (1.1, 1.02)),)),
    (2, (((.45, .45), (.12, .3), (.35, 0.), (.75, .12), (.65, .55), (.2, .98), (.2, .98),
          (.6, .9), (.95, 1.02)),)),
    (2, (((.1, .15), (.45, 0.), (.75, .2), (.55, .6), (.2, .95), (.1, .8), (.3, .72), (.55, .95),
          (1., .92)),)),
    # A closed ring, most of its height, on a short foot.
    (2, (((.6, .58), (.25, .66), (.05, .35), (.3, .02), (.72, .08), (.78, .4), (.58, .75),
          (.25, .97), (.25, .97), (.6, .92), (1., 1.)),)),
    (2, (((.6, .5), (.25, .6), (.1, .28), (.4, 0.), (.75, .1), (.74, .45), (.45, .85), (.12, 1.),
          (.12, 1.), (.5, .92), (.85, 1.)),)),
    (2, (((.58, .55), (.22, .6), (.08, .25), (.4, 0.), (.8, .15), (.72, .55), (.35, .92),
          (.1, .97), (.2, .84), (.55, .92), (1., 1.03)),)),
    (2, (((.58, .42), (.22, .45), (.12, .14), (.5, 0.), (.78, .2), (.6, .62), (.25, 1.),
          (.25, 1.), (.7, .97)),)),
    # Flat above; with a curl in the middle.
    (3, (((.1, .05), (.85, .02), (.85, .02), (.4, .42), (.4, .42), (.82, .58), (.78, .9), (.35, 1.),
          (.02, .86)),)),
    (3, (((.1, .15), (.5, 0.), (.75, .2), (.45, .45), (.3, .42), (.45, .38), (.8, .65), (.5, 1.),
          (.05, .85)),)),
    # Open above; like lightning; in one go with a corner; pointed; like a y.
    (4, (((.15, .02), (.05, .45), (.25, .6), (.75, .48)), ((.8, .02), (.72, .5), (.65, 1.)))),
    (4, (((.5, 0.), (.02, .62), (.02, .62), (.98, .58)), ((.62, .3), (.55, 1.)))),
    (4, (((.45, 0.), (0., .7), (0., .7), (.85, .6)), ((.62, .45), (.5, 1.)))),
    (4, (((.35, 0.), (.05, .6), (.05, .6), (.9, .55)), ((.75, .1), (.6, 1.)))),
    (4, (((.35, 0.), (.12, .48), (.2, .56), (.85, .38), (.85, .38), (.55, 1.)),)),
    (4, (((.95, .62), (.02, .64), (.02, .64), (.7, 0.), (.7, 0.), (.66, 1.)),)),
    (4, (((.7, 0.), (0., .6), (0., .6), (1.1, .56)), ((.68, .35), (.5, 1.)))),
    (4, (((.32, 0.), (.05, .62), (.05, .62), (.98, .58)), ((.62, .42), (.55, .85)))),
    (4, (((.3, 0.), (.1, .52), (.2, .62), (.6, .45), (.75, .55), (.7, 1.)),)),
    # Like an h, its stem longer or shorter; like an L with a stroke through its foot; like a y.
    (4, (((.3, 0.), (.12, .7), (.12, .7), (.35, .5), (.68, .5), (.72, .7), (.62, 1.)),)),
    (4, (((.35, -.02), (.08, .85), (.08, .85), (.3, .6), (.62, .55), (.68, .75), (.6, 1.)),)),
    (4, (((.45, 0.), (.02, .68), (.02, .68), (.75, .66)), ((.55, .5), (.5, .95)))),
    (4, (((.4, 0.), (0., .8), (0., .8), (.95, .76)), ((.62, .58), (.55, 1.)))),
    (4, (((.2, .05), (.12, .4), (.35, .52), (.7, .3), (.8, .02), (.8, .02), (.6, 1.)),)),
    # Begun at the right, in one go.
    (4, (((.7, 0.), (.25, .3), (.1, .52), (.4, .56), (.9, .42), (.9, .42), (.6, 1.)),)),
    # A tick, an r, with the bowl almost gone; the bar apart from the rest; like an s.
    (5, (((.1, .45), (.25, 1.), (.25, 1.), (.42, .3), (.65, .08), (1.05, .06)),)),
    (5, (((.3, .1), (.22, .55), (.25, 1.), (.25, 1.), (.35, .35), (.65, .12), (.95, .18)),)),
    (5, (((.35, .12), (.25, .5), (.5, .55), (.55, .85), (.2, 1.), (0., .85)),
         ((.35, .1), (1.1, .02)))),
    (5, (((.35, .15), (.25, .48), (.65, .5), (.72, .82), (.35, 1.), (.02, .9)),
         ((.45, .02), (1., -.02)))),
    (5, (((.95, .03), (.4, .05), (.28, .42), (.28, .42), (.66, .5), (.72, .8), (.4, 1.),
          (.02, .92)),)),
    (5, (((.9, .1), (.5, .02), (.25, .25), (.5, .5), (.7, .75), (.45, 1.), (.05, .92)),)),
    # Like a J with a roof; a tick with a short first stroke.
    (5, (((1.05, .03), (.45, .06), (.45, .06), (.42, .8), (.25, 1.), (0., .85)),)),
    (5, (((.45, .08), (.4, .7), (.3, .98), (.05, .85)), ((.42, .08), (1.1, .0)))),
    (5, (((.05, .65), (.2, .95), (.2, .95), (.5, .05), (.5, .05), (1.1, .1)),)),
    # A straight stem; a bowl that does not close.
    (6, (((.45, 0.), (.15, .55), (.2, .95), (.6, 1.), (.78, .75), (.5, .58), (.15, .78)),)),
    (6, (((.75, .05), (.35, .25), (.1, .7), (.4, 1.), (.8, .85), (.65, .6), (.45, .68)),)),
    # A bar through it, with and without much above the bar.
    (7, (((.05, .1), (.9, .05), (.9, .05), (.45, 1.)), ((.25, .5), (1., .46)))),
    (7, (((0., .25), (.12, .08), (.85, .05), (.85, .05), (.6, .5), (.45, 1.)),
         ((.15, .55), (1., .48)))),
    (7, (((.15, .15), (.4, .02), (.65, .1), (.65, .1), (.5, 1.)), ((0., .52), (1.1, .46)))),
    (7, (((.3, .12), (.55, 0.), (.55, 0.), (.5, 1.)), ((.05, .52), (1.05, .44)))),
    (7, (((0., .12), (.35, .08), (.95, .12), (.95, .12), (.4, 1.)),)),
    (7, (((.15, .05), (.15, .2), (.15, .05), (.9, .05), (.9, .05), (.5, 1.)),)),
    # Nearly a cross, or a t; waved above and barred, as a 2 without its foot.
    (7, (((.48, 0.), (.5, .5), (.42, 1.)), ((.02, .42), (1., .36)))),
    (7, (((.4, .1), (.58, .02), (.58, .02), (.4, 1.)), ((.05, .5), (1.05, .4)))),
    (7, (((.55, 0.), (.35, .95), (.5, .98)), ((.08, .45), (.98, .42)))),
    (7, (((.02, .25), (.2, .05), (.6, .12), (.85, .02), (.7, .4), (.4, 1.)),
         ((.2, .55), (.95, .5)))),
    (7, (((.05, .2), (.35, .0), (.75, .12), (.65, .5), (.45, 1.)), ((.15, .58), (1., .5)))),
    # Open above; crossing itself; two rings; with a first stroke that stays apart.
    (8, (((.85, .1), (.45, 0.), (.18, .25), (.5, .5), (.82, .75), (.5, 1.), (.12, .78), (.5, .48),
          (.8, .18)),)),
    (8, (((.08, .05), (.5, .5), (.75, .85), (.48, 1.), (.25, .85), (.5, .5), (.9, 0.)),)),
    (8, (((.8, 0.), (.4, .12), (.5, .38), (.72, .65), (.5, 1.), (.22, .75), (.55, .38),
          (.85, .12)),)),
    (8, (((.5, .45), (.2, .25), (.5, 0.), (.78, .22), (.5, .45)),
         ((.5, .45), (.08, .72), (.5, 1.), (.9, .72), (.5, .45)))),
    (8, (((.5, .5), (.85, .22), (.5, 0.), (.15, .22), (.5, .5), (.85, .78), (.5, 1.), (.12, .76),
          (.5, .5)),)),
    # Like a B; like a 3 that is closed at the left.
    (8, (((.2, .02), (.18, .98)), ((.2, .05), (.72, .08), (.68, .4), (.25, .48), (.8, .6),
          (.72, .95), (.18, .98)))),
    (8, (((.2, .12), (.6, 0.), (.72, .25), (.4, .47), (.8, .7), (.5, 1.), (.15, .85), (.22, .5),
          (.2, .12)),)),
    (8, (((.7, .12), (.3, .02), (.15, .25), (.45, .45), (.8, .7), (.5, 1.), (.15, .8), (.35, .5),
          (.72, .3), (.75, .05)),)),
    # Like a P, an e, a g, a koppa, a ribbon; an open loop.
    (9, (((.15, .62), (.5, .42), (.82, .12), (.45, 0.), (.18, .22), (.5, .6), (.95, 1.)),)),
    (9, (((.3, .5), (.7, .5), (.95, .25), (.7, 0.), (.32, .08), (.32, .5), (.38, 1.)),)),
    (9, (((.25, .25), (.55, 0.), (.9, .15), (.75, .45), (.4, .42), (.3, .12), (.3, .12),
          (.35, 1.)),)),
    (9, (((.2, .42), (.75, .4), (.7, .05), (.3, .03), (.12, .4), (.4, .75), (.8, 1.)),)),
    (9, (((.8, .2), (.4, 0.), (.1, .25), (.4, .48), (.8, .2), (.82, .7), (.5, 1.), (.08, .9)),)),
    (9, (((.5, .45), (.15, .3), (.4, 0.), (.82, .12), (.75, .4), (.5, .46), (.5, .46),
          (.52, 1.)),)),
    (9, (((.85, .05), (.4, .02), (.12, .3), (.45, .5), (.85, .25), (.85, .25), (.75, 1.)),)),
    (9, (((.6, 0.), (.15, .1), (.2, .42), (.65, .35), (.8, .05), (.8, .05), (.72, 1.)),)),
    # A ring with a tail that swings to the left; a small ring on a long stem.
    (9, (((.75, .1), (.35, .0), (.15, .28), (.5, .42), (.78, .12), (.7, .6), (.35, 1.), (.2, .75),
          (.9, .6)),)),
    (9, (((.5, .38), (.25, .2), (.5, 0.), (.75, .15), (.55, .38), (.35, .4), (.5, .42), (.62, .7),
          (.5, 1.)),)),
    (9, (((.3, .45), (.65, .38), (.72, .08), (.4, 0.), (.28, .3), (.34, 1.)),)),
)
# fmt: on


def redraw_as_allographs(
    ink: Float32[Tensor, "n 28 28"],
    labels: Int64[Tensor, " n"],
    hands: Int64[Tensor, " n"],
    chosen: Bool[Tensor, " n"],
    generator: Generator,
) -> Ink:
    """Where chosen, another shape of the same digit.

    Args:
        ink: digits in MNIST's frame, 0 paper to 1 ink.
        labels: which they are.
        hands: whose they are, from 0: a hand makes a digit the same way each time.
        chosen: which of them to draw anew.
        generator: where the random numbers come from.
    """
    table, first = _table()
    points, curves = table.points, table.curves
    count = int(hands.max()) + 1 if len(hands) else 0
    way = torch.rand(count, 10, generator=generator)
    loose = uniform(count, 0.01, 0.06, generator)
    habit = torch.randn(count, *points.shape[1:], generator=generator)
    index = torch.nonzero(chosen).flatten()
    if not len(index):
        return ink
    hand, digit = hands[index], labels[index]
    ways = first.diff()[digit]
    drawn = first[digit] + (way[hand, digit] * ways).long().clamp(max=ways - 1)
    once = torch.randn(len(index), *points.shape[1:], generator=generator)
    path = points[drawn] + loose[hand, None, None] * (habit[hand] + 0.6 * once)
    pen = curves[drawn] @ ((path - 0.5) * (BOX - _PEN))
    ink = ink.clone()
    ink[index] = stroked(pen, _PEN, (SIZE, SIZE))
    return ink


@dataclass(frozen=True)
class Drawings:
    """Several drawings, filled up to one number of points and of places of the pen.

    Attributes:
        points: that the pen passes through; after a drawing's own come zeros.
        curves: matrices from points to the places of the pen.
    """

    points: Float32[Tensor, "drawings points 2"]
    curves: Float32[Tensor, "drawings places points"]

    @staticmethod
    def of(drawings: Collection[Drawing]) -> "Drawings":
        """The tables of these."""
        points = torch.zeros(len(drawings), max(sum(map(len, d)) for d in drawings), 2)
        matrices = [_curves(strokes) for strokes in drawings]
        curves = torch.zeros(len(drawings), max(map(len, matrices)), points.shape[1])
        for way, (strokes, matrix) in enumerate(zip(drawings, matrices, strict=True)):
            path = torch.tensor([point for stroke in strokes for point in stroke])
            points[way, : len(path)] = path
            curves[way, :, : len(path)] = matrix[-1]  # what is left stays at the end
            curves[way, : len(matrix), : len(path)] = matrix
        return Drawings(points, curves)


def stroked(
    places: Float32[Tensor, "n places 2"], width: float, size: tuple[int, int]
) -> Float32[Tensor, "n height width"]:
    """The ink of a pen of this width that passes these places, counted from the centre.

    Args:
        places: across and down, in pixels.
        width: of the pen, in pixels.
        size: height and width of the ink.
    """
    return (width / 2 + 0.5 - _distance(places, size)).clamp(0, 1)


def _distance(
    places: Float32[Tensor, "n places 2"], size: tuple[int, int]
) -> Float32[Tensor, "n height width"]:
    """From each pixel to the nearest place, places and pixels being counted from the centre."""
    y, x = (torch.arange(side) - (side - 1) / 2 for side in size)
    pixels = torch.cartesian_prod(y, x).flip(1)
    # |p - q|^2 = |q|^2 + (|p|^2 - 2 pq): one matrix product, and the nearest place has the least.
    rows = torch.cat([places.square().sum(2, keepdim=True), -2 * places], 2)
    columns = torch.cat([torch.ones(len(pixels), 1), pixels], 1)
    nearest = (rows @ columns.T).amin(1) + pixels.square().sum(1)
    return nearest.clamp(min=0).sqrt().view(-1, *size)


@cache
def _table() -> tuple[Drawings, Int64[Tensor, "11"]]:
    """All ways; and where the ways of each digit begin, and where those of 9 end."""
    digits = torch.tensor([digit for digit, _ in _WAYS])
    return Drawings.of([way for _, way in _WAYS]), torch.searchsorted(digits, torch.arange(11))


def _curves(strokes: Drawing) -> Float32[Tensor, "places points"]:
    """From the points of all strokes to places along them."""
    matrices = [_curve(path) for path in strokes]
    joined: Tensor = torch.block_diag(*matrices)  # type: ignore[no-untyped-call]
    return joined


def _curve(path: Path) -> Float32[Tensor, "places points"]:
    """From the points of a path to places along a Catmull-Rom spline through them.

    Catmull and Rom, "A class of local interpolating splines", 1974, with tension 1/2. A corner's
    two points part when they are moved, as a pen that turns does.
    """
    n = len(path)
    rows = []
    for start in range(n - 1):
        corner = path[start] == path[start + 1]
        # Beyond a corner and an end the path is taken to stand still.
        before = start if start == 0 or path[start - 1] == path[start] else start - 1
        end = start + 1
        after = end if end == n - 1 or path[end] == path[end + 1] else end + 1
        for step in range(_STEPS):
            t = step / _STEPS
            weights = (
                (before, -t + 2 * t**2 - t**3),
                (start, 2 - 5 * t**2 + 3 * t**3),
                (end, t + 4 * t**2 - 3 * t**3),
                (after, -(t**2) + t**3),
            )
            row = torch.zeros(n)
            if corner:
                row[start], row[end] = 1 - t, t
            else:
                for point, weight in weights:
                    row[point] += weight / 2
            rows.append(row)
    rows.append(torch.eye(n)[n - 1])
    return torch.stack(rows)
