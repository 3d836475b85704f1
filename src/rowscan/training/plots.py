"""Plots for the report, as SVG in the report's light or dark colours; the page is in `report`."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rowscan.metrics import Bin
from rowscan.recipes import Published

_TEXT, _RULE, _TRAIN, _HELD = (f"var(--{name})" for name in ("quiet", "rule", "train", "held"))
_DASHES, _DOTS = "4 3", "2 2"
_WIDTH, _LEFT, _RIGHT = 288, 46, 272
_FONT = 10  # pixels of height, and of width about
_LETTER = 0.55 * _FONT
_FEW = 20  # records, of which each is marked
_MARGIN = 0.05  # of a range, beyond the values in it

Number = int | float
Point = tuple[Number, Number]
Range = tuple[Number, Number]


@dataclass(frozen=True)
class Plot:
    """An SVG element and its text alternative."""

    svg: str
    alt: str


@dataclass
class _Axes:
    """A rectangle of a plot, with a scale on each side, and what is drawn in it.

    Attributes:
        top, bottom: of the rectangle, in pixels.
        x, y: the values at its left and right, and at its bottom and top.
        log: whether y has a logarithmic scale.
    """

    top: Number
    bottom: Number
    x: Range
    y: Range
    log: bool = False
    parts: list[str] = field(default_factory=list)
    _legend: list[tuple[str, str]] = field(default_factory=list)

    def at(self, x: Number, y: Number) -> Point:
        """The pixel of a point."""
        low, high, value = map(math.log10, (*self.y, y)) if self.log else (*self.y, y)
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (value - low) / (high - low)
        return _LEFT + across * (_RIGHT - _LEFT), self.bottom - up * (self.bottom - self.top)

    def grid(self, ticks: Sequence[Number], name: Callable[[Number], str]) -> None:
        """Horizontal lines with their values, and the two axes."""
        for tick in ticks:
            _, y = self.at(self.x[0], tick)
            self.parts += [_line((_LEFT, y), (_RIGHT, y), _RULE)]
            self.parts += [_text(_LEFT - 5, y + 0.35 * _FONT, name(tick), "end")]
        corner = (_LEFT, self.bottom)
        self.parts += [_line((_LEFT, self.top), corner, _RULE)]
        self.parts += [_line(corner, (_RIGHT, self.bottom), _RULE)]

    def label(self, ticks: Sequence[Number], name: Callable[[Number], str], title: str) -> None:
        """The values along the x axis, and what they are."""
        for tick in ticks:
            x, _ = self.at(tick, self.y[0])
            self.parts += [_line((x, self.bottom), (x, self.bottom + 3), _RULE)]
            self.parts += [_text(x, self.bottom + 13, name(tick))]
        self.parts += [_text((_LEFT + _RIGHT) / 2, self.bottom + 27, title)]

    def line(
        self, points: Sequence[Point], colour: str, width: Number = 1.8, dashes: str = ""
    ) -> None:
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        self.parts += [f'<polyline points="{corners}" {_stroke(colour, width, dashes)}/>']

    def dots(self, points: Sequence[Point], colour: str) -> None:
        for x, y in (self.at(*point) for point in points):
            self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" style="fill: {colour}"/>']

    def diamonds(self, points: Sequence[Point]) -> None:
        self.parts += [_diamond(*self.at(*point)) for point in points]

    def bars(self, bins: Sequence[Bin], heights: Sequence[Number], colour: str) -> None:
        """A bar for each bin, from the bottom."""
        for one, height in zip(bins, heights, strict=True):
            (left, y), (right, _) = self.at(one.low, height), self.at(one.high, height)
            size = f'width="{0.88 * (right - left):.1f}" height="{self.bottom - y:.1f}"'
            place = f'x="{left + 0.06 * (right - left):.1f}" y="{y:.1f}"'
            self.parts += [f'<rect {place} {size} style="fill: {colour}; opacity: 0.85"/>']

    def name(self, mark: str, words: str) -> None:
        """An entry of the legend; its mark is drawn around (0, 0)."""
        self._legend += [(mark, words)]

    def legend(self, *, at_bottom: bool) -> None:
        """The names so far in a corner at the right, one below the other."""
        height, count = 1.4 * _FONT, len(self._legend)
        longest = max((len(words) for _, words in self._legend), default=0)
        left = _RIGHT - 6 - _LETTER * longest
        first = self.bottom - 8 - height * (count - 1) if at_bottom else self.top + 10
        for i, (mark, words) in enumerate(self._legend):
            y = first + height * i
            self.parts += [
                _moved(mark, left - 14, y),
                _text(left, y + 0.35 * _FONT, words, "start"),
            ]


def learning_curve(
    records: Sequence[Mapping[str, Any]], quantity: str, published: Published | None
) -> Plot | None:
    """`quantity` (`accuracy`, or `loss` in nats) over training steps; None without records.

    Training values are means since the previous record. Published accuracies by epoch are plotted
    at the last step of each epoch.
    """
    lines = {
        kind: [(r["step"], r[quantity]) for r in records if r["kind"] == kind and quantity in r]
        for kind in ("step", "monitor")
    }
    if not any(lines.values()):
        return None
    held = next((r for r in records if r["kind"] == "monitor"), {})
    held_name = f"{held['images']:,} {held['on']} images" if held else ""
    ends = _epoch_ends(records)
    claim = _claim(published, ends) if quantity == "accuracy" else []
    axes = _curve_axes([*lines["step"], *lines["monitor"], *claim], quantity)
    for end in ends[:-1]:
        axes.line([(end, axes.y[0]), (end, axes.y[1])], _RULE, 0.7, _DOTS)
    for kind, colour, name in (("step", _TRAIN, "training"), ("monitor", _HELD, held_name)):
        if lines[kind]:
            axes.line(lines[kind], colour)
            axes.dots(lines[kind] if len(lines[kind]) <= _FEW else [], colour)
            axes.name(_sample(colour), name)
    if claim and published is not None:
        _draw_claim(axes, published, claim)
    axes.legend(at_bottom=quantity == "accuracy")
    spans = [
        f"{name} from {_format(values[0][1], quantity)} to {_format(values[-1][1], quantity)}"
        for name, values in (("training", lines["step"]), (held_name, lines["monitor"]))
        if values
    ]
    return Plot(_svg(210, axes), f"{quantity.capitalize()} while learning: {'; '.join(spans)}")


def reliability(bins: Sequence[Bin]) -> Plot:
    """Reliability diagram: accuracy against confidence, above the number of answers per bin."""
    full = [bar for bar in bins if bar.accuracy is not None]
    most = max((bar.n for bar in full), default=1)
    upper = _Axes(22, 152, (0, 1), (0, 1.02))
    lower = _Axes(164, 216, (0, 1), (0.7, max(1.5 * most, 10)), log=True)
    upper.grid(_ticks(0, 1), "{:.0%}".format)
    lower.grid([10**i for i in range(len(str(most)))], "{:,.0f}".format)
    lower.label(_ticks(0, 1), "{:.0%}".format, "confidence of the answer")
    upper.bars(full, [bar.accuracy or 0.0 for bar in full], _HELD)
    upper.line([(0, 0), (1, 1)], _TEXT, 1, _DASHES)
    lower.bars(full, [bar.n for bar in full], _TRAIN)
    for axes, title in ((upper, "correct"), (lower, "images")):
        axes.parts += [_text(11, (axes.top + axes.bottom) / 2, title, turned=True)]
    bar = f'<rect x="-8" y="-4" width="16" height="8" style="fill: {_HELD}; opacity: 0.85"/>'
    for mark, words, x in ((_sample(_TEXT, 1, _DASHES), "ideal", 60), (bar, "measured", 130)):
        upper.parts += [_moved(mark, x, 10), _text(x + 14, 10 + 0.35 * _FONT, words, "start")]
    points = ", ".join(f"{bar.accuracy:.0%} of {bar.n:,} at {bar.confidence:.0%}" for bar in full)
    alt = f"Reliability diagram, share correct at each mean confidence: {points}"
    return Plot(_svg(252, upper, lower), alt)


def as_published(share: Number) -> str:
    """A published accuracy with its published digits: 96%, 96.23%."""
    return f"{100 * share:.6g}%"


def _curve_axes(points: Sequence[Point], quantity: str) -> _Axes:
    """Axes around all points, with their ticks."""
    steps, values = zip(*points, strict=True)
    x, y = _around(steps), _around(values)
    if quantity == "loss":
        y = (0, y[1])
    axes = _Axes(8, 172, x, y)
    ticks = _ticks(*y)
    if quantity == "accuracy":
        decimals = _decimals(100 * (ticks[1] - ticks[0]))
        axes.grid([tick for tick in ticks if tick < 1.001], lambda share: f"{share:.{decimals}%}")
    else:
        axes.grid(ticks, "{:g}".format)
    axes.label([tick for tick in _ticks(*x) if tick >= 0], "{:,.6g}".format, "step")
    return axes


def _claim(published: Published | None, ends: Sequence[int]) -> list[Point]:
    """The published accuracies after each epoch, or else the one after the last."""
    if published is None or published.accuracy is None or not ends:
        return []
    return list(zip(ends, published.by_epoch, strict=False)) or [(ends[-1], published.accuracy)]


def _draw_claim(axes: _Axes, published: Published, claim: Sequence[Point]) -> None:
    if published.by_epoch:
        axes.diamonds(claim)
        axes.name(_diamond(0, 0), "published")
    else:
        ((_, accuracy),) = claim
        axes.line([(axes.x[0], accuracy), (axes.x[1], accuracy)], _TEXT, 1, _DASHES)
        axes.name(_sample(_TEXT, 1, _DASHES), f"published {as_published(accuracy)}")


def _epoch_ends(records: Sequence[Mapping[str, Any]]) -> list[int]:
    """The last recorded step of each epoch."""
    last: dict[int, int] = {}
    for record in records:
        if "epoch" in record and "step" in record:
            last[record["epoch"]] = max(record["step"], last.get(record["epoch"], 0))
    return [last[epoch] for epoch in sorted(last)]


def _format(value: Number, quantity: str) -> str:
    return f"{value:.2%}" if quantity == "accuracy" else f"{value:.3f}"


# Scales


def _around(values: Sequence[Number]) -> Range:
    """A range that has all values, with a margin."""
    low, high = min(values), max(values)
    margin = _MARGIN * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin


def _ticks(low: Number, high: Number) -> list[float]:
    """Round values in a range, five or so: multiples of 1, 2 or 5 times a power of ten."""
    least = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * i for i in range(first, last + 1)]


def _decimals(step: Number) -> int:
    """How many a multiple of a step has."""
    return max(0, -math.floor(math.log10(step) + 1e-9))


# Elements


def _svg(height: int, *axes: _Axes) -> str:
    parts = "".join(part for one in axes for part in one.parts)
    style = f"font-size: {_FONT}px; fill: {_TEXT}"
    return f'<svg viewBox="0 0 {_WIDTH} {height}" style="{style}">{parts}</svg>'


def _stroke(colour: str, width: Number, dashes: str = "") -> str:
    dashed = f"; stroke-dasharray: {dashes}" if dashes else ""
    return f'style="fill: none; stroke: {colour}; stroke-width: {width}{dashed}"'


def _line(start: Point, end: Point, colour: str, width: Number = 0.7, dashes: str = "") -> str:
    (x1, y1), (x2, y2) = start, end
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f"<line {ends} {_stroke(colour, width, dashes)}/>"


def _sample(colour: str, width: Number = 1.8, dashes: str = "") -> str:
    return _line((-9, 0), (9, 0), colour, width, dashes)


def _diamond(x: Number, y: Number) -> str:
    corners = f"{x - 3:.1f},{y:.1f} {x:.1f},{y - 3:.1f} {x + 3:.1f},{y:.1f} {x:.1f},{y + 3:.1f}"
    return f'<polygon points="{corners}" {_stroke(_TEXT, 1)}/>'


def _moved(element: str, x: Number, y: Number) -> str:
    return f'<g transform="translate({x:.1f} {y:.1f})">{element}</g>'


def _text(x: Number, y: Number, words: str, anchor: str = "middle", *, turned: bool = False) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}"'
    if turned:
        place += f' transform="rotate(-90 {x:.1f} {y:.1f})"'
    return f'<text {place} style="text-anchor: {anchor}">{html.escape(words)}</text>'
