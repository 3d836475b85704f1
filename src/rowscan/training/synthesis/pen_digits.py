"""Digit allographs from outside MNIST, drawn with a pen along splines; also the pen's renderer.

An allograph is one of the shapes that writers give a character. MNIST's US writers lack many: flat
joined zeros, a 1 with a long upstroke, a 2 that begins with a curl, a 5 like a tick, a 7 like a t,
a 9 like a P. The table holds their control points, which are jittered at each drawing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor

from rowscan.arrays import Bool, Float32, Int64
from rowscan.segmentation.digit import BOX, SIZE
from rowscan.training.synthesis.augmentation import Ink, uniform

Stroke = tuple[tuple[float, float], ...]
"""Control points (x, y) in a digit's box of 1 by 1. A repeated point is a sharp corner."""

Allograph = tuple[Stroke, ...]
"""One shape of a character: strokes, with the pen lifted between them."""

_SAMPLES = 16  # per spline segment: samples lie no further apart than the pen is wide
_PEN_WIDTH = 2.6  # pixels

# fmt: off
_ALLOGRAPHS: tuple[tuple[int, Allograph], ...] = (
    # Closed, with a tail to the next digit, or open at the top.
    (0, (((.55, .03), (.15, .25), (.1, .7), (.45, 1.), (.82, .7), (.8, .25), (.5, .04), (.6, .14),
          (1.15, .06)),)),
    (0, (((.35, .1), (.06, .45), (.2, .9), (.55, 1.), (.86, .65), (.8, .2), (.58, .02)),)),
    (0, (((.7, .1), (.3, .08), (.08, .5), (.3, .95), (.65, .92), (.85, .5), (.6, .05),
          (.2, -.02)),)),
    # Flat and joined to the next one, above or below; open at the left; with a loop inside.
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
    # A long upstroke, straight or concave; a base; a curve that starts on the baseline.
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
    # Hooked at the bottom; with a hanging flag.
    (1, (((.2, .2), (.55, .02), (.55, .02), (.55, .8), (.35, 1.), (.05, .9)),)),
    (1, (((.15, .3), (.2, .12), (.55, .02), (.55, .02), (.48, 1.)),)),
    # A curl before the arch; a wide loop at the bottom; a curved neck on a straight base.
    (2, (((.4, .4), (.15, .28), (.25, .04), (.65, .02), (.8, .3), (.5, .65), (.05, 1.), (.05, 1.),
          (.45, .93), (1., 1.)),)),
    (2, (((.5, .32), (.22, .42), (.08, .2), (.4, -.02), (.78, .18), (.6, .6), (.1, 1.), (.1, 1.),
          (.9, .95)),)),
    (2, (((.6, .52), (.2, .48), (.1, .12), (.6, 0.), (.85, .3), (.5, .7), (.1, 1.), (.1, 1.),
          (1., .97)),)),
    (2, (((.1, .3), (.3, .02), (.75, .08), (.75, .4), (.4, .75), (.08, .98), (.05, .82), (.35, .82),
          (.7, 1.), (1.05, .9)),)),
    (2, (((.1, .2), (.5, 0.), (.8, .25), (.45, .65), (0., 1.), (0., 1.), (.9, .97)),)),
    # Starting with a ring; like a Q; with a ring at the base.
    (2, (((.7, .2), (.45, .35), (.25, .18), (.5, 0.), (.78, .2), (.5, .65), (.05, .95), (.2, .85),
          (1., 1.)),)),
    (2, (((.55, .4), (.2, .35), (.15, .1), (.55, -.02), (.8, .3), (.55, .75), (.1, 1.), (.05, .85),
          (.4, .88), (1.1, 1.02)),)),
    (2, (((.45, .45), (.12, .3), (.35, 0.), (.75, .12), (.65, .55), (.2, .98), (.2, .98),
          (.6, .9), (.95, 1.02)),)),
    (2, (((.1, .15), (.45, 0.), (.75, .2), (.55, .6), (.2, .95), (.1, .8), (.3, .72), (.55, .95),
          (1., .92)),)),
    # A closed ring over most of the height, on a short base.
    (2, (((.6, .58), (.25, .66), (.05, .35), (.3, .02), (.72, .08), (.78, .4), (.58, .75),
          (.25, .97), (.25, .97), (.6, .92), (1., 1.)),)),
    (2, (((.6, .5), (.25, .6), (.1, .28), (.4, 0.), (.75, .1), (.74, .45), (.45, .85), (.12, 1.),
          (.12, 1.), (.5, .92), (.85, 1.)),)),
    (2, (((.58, .55), (.22, .6), (.08, .25), (.4, 0.), (.8, .15), (.72, .55), (.35, .92),
          (.1, .97), (.2, .84), (.55, .92), (1., 1.03)),)),
    (2, (((.58, .42), (.22, .45), (.12, .14), (.5, 0.), (.78, .2), (.6, .62), (.25, 1.),
          (.25, 1.), (.7, .97)),)),
    # Flat at the top; with a curl in the middle.
    (3, (((.1, .05), (.85, .02), (.85, .02), (.4, .42), (.4, .42), (.82, .58), (.78, .9), (.35, 1.),
          (.02, .86)),)),
    (3, (((.1, .15), (.5, 0.), (.75, .2), (.45, .45), (.3, .42), (.45, .38), (.8, .65), (.5, 1.),
          (.05, .85)),)),
    # Open at the top; like lightning; one stroke with a corner; pointed; like a y.
    (4, (((.15, .02), (.05, .45), (.25, .6), (.75, .48)), ((.8, .02), (.72, .5), (.65, 1.)))),
    (4, (((.5, 0.), (.02, .62), (.02, .62), (.98, .58)), ((.62, .3), (.55, 1.)))),
    (4, (((.45, 0.), (0., .7), (0., .7), (.85, .6)), ((.62, .45), (.5, 1.)))),
    (4, (((.35, 0.), (.05, .6), (.05, .6), (.9, .55)), ((.75, .1), (.6, 1.)))),
    (4, (((.35, 0.), (.12, .48), (.2, .56), (.85, .38), (.85, .38), (.55, 1.)),)),
    (4, (((.95, .62), (.02, .64), (.02, .64), (.7, 0.), (.7, 0.), (.66, 1.)),)),
    (4, (((.7, 0.), (0., .6), (0., .6), (1.1, .56)), ((.68, .35), (.5, 1.)))),
    (4, (((.32, 0.), (.05, .62), (.05, .62), (.98, .58)), ((.62, .42), (.55, .85)))),
    (4, (((.3, 0.), (.1, .52), (.2, .62), (.6, .45), (.75, .55), (.7, 1.)),)),
    # Like an h with a longer or shorter stem; like an L with its base crossed; like a y.
    (4, (((.3, 0.), (.12, .7), (.12, .7), (.35, .5), (.68, .5), (.72, .7), (.62, 1.)),)),
    (4, (((.35, -.02), (.08, .85), (.08, .85), (.3, .6), (.62, .55), (.68, .75), (.6, 1.)),)),
    (4, (((.45, 0.), (.02, .68), (.02, .68), (.75, .66)), ((.55, .5), (.5, .95)))),
    (4, (((.4, 0.), (0., .8), (0., .8), (.95, .76)), ((.62, .58), (.55, 1.)))),
    (4, (((.2, .05), (.12, .4), (.35, .52), (.7, .3), (.8, .02), (.8, .02), (.6, 1.)),)),
    # One stroke, starting at the right.
    (4, (((.7, 0.), (.25, .3), (.1, .52), (.4, .56), (.9, .42), (.9, .42), (.6, 1.)),)),
    # A tick; an r, almost without bowl; a detached bar; like an s.
    (5, (((.1, .45), (.25, 1.), (.25, 1.), (.42, .3), (.65, .08), (1.05, .06)),)),
    (5, (((.3, .1), (.22, .55), (.25, 1.), (.25, 1.), (.35, .35), (.65, .12), (.95, .18)),)),
    (5, (((.35, .12), (.25, .5), (.5, .55), (.55, .85), (.2, 1.), (0., .85)),
         ((.35, .1), (1.1, .02)))),
    (5, (((.35, .15), (.25, .48), (.65, .5), (.72, .82), (.35, 1.), (.02, .9)),
         ((.45, .02), (1., -.02)))),
    (5, (((.95, .03), (.4, .05), (.28, .42), (.28, .42), (.66, .5), (.72, .8), (.4, 1.),
          (.02, .92)),)),
    (5, (((.9, .1), (.5, .02), (.25, .25), (.5, .5), (.7, .75), (.45, 1.), (.05, .92)),)),
    # Like a J with a bar on top; a tick with a short first stroke.
    (5, (((1.05, .03), (.45, .06), (.45, .06), (.42, .8), (.25, 1.), (0., .85)),)),
    (5, (((.45, .08), (.4, .7), (.3, .98), (.05, .85)), ((.42, .08), (1.1, .0)))),
    (5, (((.05, .65), (.2, .95), (.2, .95), (.5, .05), (.5, .05), (1.1, .1)),)),
    # A straight stem; an open bowl.
    (6, (((.45, 0.), (.15, .55), (.2, .95), (.6, 1.), (.78, .75), (.5, .58), (.15, .78)),)),
    (6, (((.75, .05), (.35, .25), (.1, .7), (.4, 1.), (.8, .85), (.65, .6), (.45, .68)),)),
    # Barred, with the bar low or high.
    (7, (((.05, .1), (.9, .05), (.9, .05), (.45, 1.)), ((.25, .5), (1., .46)))),
    (7, (((0., .25), (.12, .08), (.85, .05), (.85, .05), (.6, .5), (.45, 1.)),
         ((.15, .55), (1., .48)))),
    (7, (((.15, .15), (.4, .02), (.65, .1), (.65, .1), (.5, 1.)), ((0., .52), (1.1, .46)))),
    (7, (((.3, .12), (.55, 0.), (.55, 0.), (.5, 1.)), ((.05, .52), (1.05, .44)))),
    (7, (((0., .12), (.35, .08), (.95, .12), (.95, .12), (.4, 1.)),)),
    (7, (((.15, .05), (.15, .2), (.15, .05), (.9, .05), (.9, .05), (.5, 1.)),)),
    # Nearly a cross or a t; with a wavy top and a bar, like a 2 without base.
    (7, (((.48, 0.), (.5, .5), (.42, 1.)), ((.02, .42), (1., .36)))),
    (7, (((.4, .1), (.58, .02), (.58, .02), (.4, 1.)), ((.05, .5), (1.05, .4)))),
    (7, (((.55, 0.), (.35, .95), (.5, .98)), ((.08, .45), (.98, .42)))),
    (7, (((.02, .25), (.2, .05), (.6, .12), (.85, .02), (.7, .4), (.4, 1.)),
         ((.2, .55), (.95, .5)))),
    (7, (((.05, .2), (.35, .0), (.75, .12), (.65, .5), (.45, 1.)), ((.15, .58), (1., .5)))),
    # Open at the top; crossing itself; two rings; with a detached first stroke.
    (8, (((.85, .1), (.45, 0.), (.18, .25), (.5, .5), (.82, .75), (.5, 1.), (.12, .78), (.5, .48),
          (.8, .18)),)),
    (8, (((.08, .05), (.5, .5), (.75, .85), (.48, 1.), (.25, .85), (.5, .5), (.9, 0.)),)),
    (8, (((.8, 0.), (.4, .12), (.5, .38), (.72, .65), (.5, 1.), (.22, .75), (.55, .38),
          (.85, .12)),)),
    (8, (((.5, .45), (.2, .25), (.5, 0.), (.78, .22), (.5, .45)),
         ((.5, .45), (.08, .72), (.5, 1.), (.9, .72), (.5, .45)))),
    (8, (((.5, .5), (.85, .22), (.5, 0.), (.15, .22), (.5, .5), (.85, .78), (.5, 1.), (.12, .76),
          (.5, .5)),)),
    # Like a B; like a 3 closed at the left.
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
    # A ring with a tail to the left; a small ring on a long stem.
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
    writers: Int64[Tensor, " n"],
    chosen: Bool[Tensor, " n"],
    generator: Generator,
) -> Ink:
    """Replace the chosen images by a random allograph of the same digit.

    Args:
        ink: digits in MNIST's frame, 0 paper to 1 ink.
        labels: their classes, 0 to 9.
        writers: their writers, from 0; a writer keeps one allograph and one style per digit.
        chosen: the images to replace.
        generator: source of all random numbers.
    """
    table, first = _allograph_table()
    points, bases = table.points, table.bases
    count = int(writers.max()) + 1 if len(writers) else 0
    choice = torch.rand(count, 10, generator=generator)
    spread = uniform(count, 0.01, 0.06, generator)
    style = torch.randn(count, *points.shape[1:], generator=generator)
    index = torch.nonzero(chosen).flatten()
    if not len(index):
        return ink
    writer, digit = writers[index], labels[index]
    shapes = first.diff()[digit]
    drawn = first[digit] + (choice[writer, digit] * shapes).long().clamp(max=shapes - 1)
    jitter = torch.randn(len(index), *points.shape[1:], generator=generator)
    path = points[drawn] + spread[writer, None, None] * (style[writer] + 0.6 * jitter)
    samples = bases[drawn] @ ((path - 0.5) * (BOX - _PEN_WIDTH))
    ink = ink.clone()
    ink[index] = render_pen(samples, _PEN_WIDTH, (SIZE, SIZE))
    return ink


@dataclass(frozen=True)
class SplineTable:
    """Splines of several allographs, padded to one size so that they can be indexed as a batch.

    Attributes:
        points: control points; zeros after the last one of an allograph.
        bases: spline bases: `bases @ points` are pen positions; the last one is repeated.
    """

    points: Float32[Tensor, "allographs points 2"]
    bases: Float32[Tensor, "allographs samples points"]

    @staticmethod
    def of(allographs: Collection[Allograph]) -> "SplineTable":
        """Build the table."""
        points = torch.zeros(len(allographs), max(sum(map(len, a)) for a in allographs), 2)
        matrices = [_basis(strokes) for strokes in allographs]
        bases = torch.zeros(len(allographs), max(map(len, matrices)), points.shape[1])
        for i, (strokes, matrix) in enumerate(zip(allographs, matrices, strict=True)):
            path = torch.tensor([point for stroke in strokes for point in stroke])
            points[i, : len(path)] = path
            bases[i, :, : len(path)] = matrix[-1]
            bases[i, : len(matrix), : len(path)] = matrix
        return SplineTable(points, bases)


def render_pen(
    samples: Float32[Tensor, "n samples 2"], width: float, size: tuple[int, int]
) -> Float32[Tensor, "n height width"]:
    """Ink of a round pen at these positions; overlapping positions make strokes.

    Args:
        samples: pen positions (x, y) from the image centre, in pixels.
        width: diameter of the pen, in pixels.
        size: height and width of the image.
    """
    return (width / 2 + 0.5 - _distance(samples, size)).clamp(0, 1)


def _distance(
    samples: Float32[Tensor, "n samples 2"], size: tuple[int, int]
) -> Float32[Tensor, "n height width"]:
    """Distance of each pixel to the nearest sample, both measured from the image centre."""
    y, x = (torch.arange(side) - (side - 1) / 2 for side in size)
    pixels = torch.cartesian_prod(y, x).flip(1)
    # |p - q|^2 = |q|^2 + (|p|^2 - 2 pq): one matrix product, minimised over the samples p.
    rows = torch.cat([samples.square().sum(2, keepdim=True), -2 * samples], 2)
    columns = torch.cat([torch.ones(len(pixels), 1), pixels], 1)
    nearest = (rows @ columns.T).amin(1) + pixels.square().sum(1)
    return nearest.clamp(min=0).sqrt().view(-1, *size)


@cache
def _allograph_table() -> tuple[SplineTable, Int64[Tensor, "11"]]:
    """All allographs, and the index of each digit's first one, followed by their number."""
    digits = torch.tensor([digit for digit, _ in _ALLOGRAPHS])
    table = SplineTable.of([allograph for _, allograph in _ALLOGRAPHS])
    return table, torch.searchsorted(digits, torch.arange(11))


def _basis(strokes: Allograph) -> Float32[Tensor, "samples points"]:
    """Matrix from the control points of all strokes to samples along them."""
    matrices = [_stroke_basis(stroke) for stroke in strokes]
    basis: Tensor = torch.block_diag(*matrices)  # type: ignore[no-untyped-call]
    return basis


def _stroke_basis(stroke: Stroke) -> Float32[Tensor, "samples points"]:
    """Matrix from the control points of a stroke to samples of a Catmull-Rom spline.

    Catmull and Rom, "A class of local interpolating splines", 1974, with tension 1/2. The two
    points of a corner are jittered apart, like a pen that turns.
    """
    n = len(stroke)
    rows = []
    for start in range(n - 1):
        corner = stroke[start] == stroke[start + 1]
        # A corner or an end is its own neighbour.
        before = start if start == 0 or stroke[start - 1] == stroke[start] else start - 1
        end = start + 1
        after = end if end == n - 1 or stroke[end] == stroke[end + 1] else end + 1
        for step in range(_SAMPLES):
            t = step / _SAMPLES
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
