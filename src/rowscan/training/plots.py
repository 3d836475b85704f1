"""Plots for the report, as SVG in the report's light or dark colours; the page is in `report`.

Matplotlib writes fixed colours, so each part is drawn in a placeholder colour, which is then
replaced by a CSS variable of the page.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from rowscan.metrics import Bin
from rowscan.recipes import Published

_TEXT, _RULE, _TRAIN, _HELD = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {_TEXT: "--quiet", _RULE: "--rule", _TRAIN: "--train", _HELD: "--held"}

_STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _TEXT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _RULE,
    "grid.linewidth": 0.7,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
    "legend.frameon": False,
    "legend.labelcolor": _TEXT,
}


@dataclass(frozen=True)
class Plot:
    """An SVG element and its text alternative."""

    svg: str
    alt: str


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
    with mpl.rc_context(_STYLE | {"svg.hashsalt": quantity}):
        figure = Figure(figsize=(4.0, 2.9), layout="constrained")
        axes = figure.subplots()
        for end in _epoch_ends(records)[:-1]:
            axes.axvline(end, color=_RULE, linewidth=0.7, linestyle=(0, (2, 2)))
        for kind, colour, name in (("step", _TRAIN, "training"), ("monitor", _HELD, held_name)):
            few = len(lines[kind]) <= 20
            if lines[kind]:
                axes.plot(
                    *zip(*lines[kind], strict=True),
                    color=colour,
                    linewidth=1.8,
                    marker="o" if few else "",
                    markersize=4,
                    label=name,
                )
        if quantity == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1, symbol="%"))
            _draw_claim(axes, published, _epoch_ends(records))
            axes.legend(loc="lower right")
        else:
            axes.set_ylim(bottom=0)
            axes.legend(loc="upper right")
        axes.set_xlabel("step")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
        axes.grid(visible=False, axis="x")
        svg = _svg(figure)
    ends = [
        f"{name} from {_format(values[0][1], quantity)} to {_format(values[-1][1], quantity)}"
        for name, values in (("training", lines["step"]), (held_name, lines["monitor"]))
        if values
    ]
    return Plot(svg, f"{quantity.capitalize()} while learning: {'; '.join(ends)}")


def reliability(bins: Sequence[Bin]) -> Plot:
    """Reliability diagram: accuracy against confidence, above the number of answers per bin."""
    full = [bar for bar in bins if bar.accuracy is not None]
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "reliability"}):
        figure = Figure(figsize=(4.0, 3.5), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        width = 1 / len(bins)
        middles = [(bar.low + bar.high) / 2 for bar in full]
        heights = [bar.accuracy or 0.0 for bar in full]
        upper.plot(
            [0, 1], [0, 1], color=_TEXT, linewidth=1, linestyle=(0, (4, 3)), label="ideal", zorder=3
        )
        upper.bar(middles, heights, 0.88 * width, color=_HELD, alpha=0.85, label="measured")
        upper.set(ylabel="correct", ylim=(0, 1.02), xlim=(0, 1))
        upper.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        upper.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
        lower.bar(middles, [bar.n for bar in full], 0.88 * width, color=_TRAIN, alpha=0.85)
        lower.set_yscale("log")
        lower.set_ylim(bottom=0.7)
        lower.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
        lower.yaxis.set_minor_locator(mpl.ticker.NullLocator())
        lower.set(xlabel="confidence of the answer", ylabel="images")
        lower.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        svg = _svg(figure)
    points = ", ".join(f"{bar.accuracy:.0%} of {bar.n:,} at {bar.confidence:.0%}" for bar in full)
    return Plot(svg, f"Reliability diagram, share correct at each mean confidence: {points}")


def as_published(share: float) -> str:
    """A published accuracy with its published digits: 96%, 96.23%."""
    return f"{100 * share:.6g}%"


def _draw_claim(axes: Axes, published: Published | None, ends: Sequence[int]) -> None:
    if published is None or published.accuracy is None:
        return
    table = list(zip(ends, published.by_epoch, strict=False))
    if table:
        axes.plot(
            *zip(*table, strict=True),
            color=_TEXT,
            linestyle="",
            marker="D",
            markersize=4,
            fillstyle="none",
            label="published",
        )
    else:
        axes.axhline(
            published.accuracy,
            color=_TEXT,
            linewidth=1,
            linestyle=(0, (4, 3)),
            label=f"published {as_published(published.accuracy)}",
        )


def _epoch_ends(records: Sequence[Mapping[str, Any]]) -> list[int]:
    """The last recorded step of each epoch."""
    last: dict[int, int] = {}
    for record in records:
        if "epoch" in record and "step" in record:
            last[record["epoch"]] = max(record["step"], last.get(record["epoch"], 0))
    return [last[epoch] for epoch in sorted(last)]


def _format(value: float, quantity: str) -> str:
    return f"{value:.2%}" if quantity == "accuracy" else f"{value:.3f}"


def _svg(figure: Figure) -> str:
    """The figure as an SVG element to embed in a page: without ids and external namespaces."""
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*pt"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?) height="[^"]*pt"', r"\1", svg, count=1)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, f"var({variable})")
    return svg.strip()
