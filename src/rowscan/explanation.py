"""Explain: the probabilities after each step of the scan, as a picture or as text.

They are the belief that the model computes; here it is shown. It is no saliency map.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rowscan import scans
from rowscan.arrays import Float, Float32, Int64, UInt8
from rowscan.errors import UsageError, requires
from rowscan.io.atomic import write_atomically
from rowscan.io.pictures import Source, open_image
from rowscan.reader import Reader
from rowscan.segmentation.digit import normalise_digit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

_INK = "#1d2733"
_QUIET = "#7b8794"
_LEADER = "#d9480f"
_BELIEF = ("#ffffff", "#d5e5f4", "#8fbbe0", "#3d86c2", "#123f6d")
_BLOCKS = " ░▒▓█"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A reading of one digit, step by step."""

    picture: UInt8[np.ndarray, "28 28"]
    """The input of the network."""
    scan: str
    """The order in which it saw the pixels, a name from `rowscan.scans`; `rows` for a network that
    sees all pixels at once: for it the picture is uncovered row by row."""
    belief: Float32[np.ndarray, "time 10"]
    """Probabilities of the ten digits after each step."""
    digit: int
    """The answer, the likeliest digit after the last step."""
    confidence: float
    """Its probability."""


def explain(image: Source, reader: Reader | None = None) -> Explanation:
    """Read one digit, of any size and polarity, and keep the belief after each step.

    Args:
        image: a path, the content of a file, a Pillow image or an array, as `Reader.read` takes it.
        reader: reads it; by default with the model that ships.

    Raises:
        DataError: not a picture, or one without pixels.
    """
    reader = reader or Reader()
    picture = normalise_digit(open_image(image))
    belief = reader.belief(picture[None])[0]
    digit = int(belief[-1].argmax())
    return Explanation(
        picture=picture,
        scan=reader.digit_model.belief_scan,
        belief=belief,
        digit=digit,
        confidence=float(belief[-1, digit]),
    )


def table(explanation: Explanation) -> str:
    """The explanation as text: a line for each row of the image, with the leading digit beside it.

    With the scan `rows`, the digit beside a row was believed when that row had been read. With
    other scans the lines go through the steps at an even pace.
    """
    belief = explanation.belief
    heading = "row" if explanation.scan == "rows" else "step"
    lines = [
        f"{explanation.digit}, {_percent(explanation.confidence)}",
        "",
        f"{'':56}  {heading:>4}  digit",
    ]
    shown = 0
    for row, pixels in enumerate(explanation.picture):
        drawn = "".join(_BLOCKS[-(-int(pixel) * 4 // 255)] * 2 for pixel in pixels)
        steps = (row + 1) * len(belief) // len(explanation.picture)
        if steps > shown:
            shown = steps
            leader = int(belief[steps - 1].argmax())
            sure = float(belief[steps - 1, leader])
            drawn += f"  {steps:>4}  {leader} {'█' * round(10 * sure):10} {_percent(sure):>4}"
        lines.append(drawn.rstrip())
    return "\n".join(lines)


def draw(explanation: Explanation, path: Path) -> None:
    """Draw the explanation into `path`, a `.png` or `.svg`.

    Raises:
        UsageError: another suffix.
        MissingExtraError: matplotlib is not installed.
        RowscanError: the file cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise UsageError(f"{path}: expected a .png or .svg file, got {path.suffix or 'no suffix'}")
    with requires("plots", "drawing"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(9.6, 6.0), facecolor="white")
    # Of equal height, so that with `rows` a row of the image is beside its belief.
    bottom, height = 0.1, 0.75
    picture = figure.add_axes((0.06, bottom, height * 6.0 / 9.6, height))
    belief = figure.add_axes((0.565, bottom, 0.245, height))
    scale = figure.add_axes((0.835, 0.945, 0.09, 0.018))
    title = f"{explanation.digit}, {_percent(explanation.confidence)}"
    figure.text(0.06, 0.925, title, fontsize=22, fontweight="bold", color=_INK)
    if explanation.scan == "rows":
        _draw_rows(picture, explanation)
    else:
        _draw_order(picture, explanation)
    _draw_belief(belief, explanation)
    _draw_scale(scale)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    write_atomically(path, buffer.getvalue())


def _draw_rows(axes: "Axes", explanation: Explanation) -> None:
    axes.imshow(explanation.picture, cmap="gray_r", vmin=0, vmax=255)
    for edge in np.arange(0.5, scans.SIDE - 1):
        axes.axhline(edge, color=_QUIET, linewidth=0.4, alpha=0.35)
    axes.set_yticks([0, 6, 13, 20, 27], ["1", "7", "14", "21", "28"])
    axes.set_xticks([])
    axes.set_ylabel("row, read from top to bottom", color=_QUIET)
    _title(axes, "What the network saw")


def _draw_order(axes: "Axes", explanation: Explanation) -> None:
    """The image in the colours of time, strong where there is ink and pale on paper."""
    steps = _first_steps(explanation.scan).reshape(scans.SIDE, scans.SIDE)
    strength = 0.15 + 0.85 * explanation.picture[..., None] / 255
    axes.imshow(1 - strength * (1 - _time_colours(steps / max(1, len(explanation.belief) - 1))))
    axes.set_yticks([])
    axes.set_xticks([])
    axes.set_xlabel("each pixel has the colour of the step at which it was read", color=_QUIET)
    _title(axes, f"What the network saw, in the order “{explanation.scan}”")


def _draw_belief(axes: "Axes", explanation: Explanation) -> None:
    belief = explanation.belief
    time = len(belief)
    by_rows = explanation.scan == "rows"
    axes.imshow(belief, cmap=_belief_colours(), vmin=0, vmax=1, aspect="auto")
    for edge in np.arange(0.5, 9):
        axes.axvline(edge, color=_QUIET, linewidth=0.4, alpha=0.35)
    for edge in np.arange(0.5, scans.SIDE - 1) if by_rows else ():
        axes.axhline(edge, color=_QUIET, linewidth=0.4, alpha=0.35)
    leader = belief.argmax(1)
    edges = np.repeat(np.arange(time + 1) - 0.5, 2)[1:-1]
    axes.plot(np.repeat(leader, 2), edges, color=_LEADER, linewidth=1.6, solid_joinstyle="round")
    axes.set_xticks(range(10))
    axes.set_xlabel("digit", color=_QUIET)
    axes.tick_params(axis="y", left=False, labelleft=False)
    if not by_rows:
        ribbon = axes.inset_axes((-0.07, 0, 0.04, 1))
        ribbon.imshow(_time_colours(np.linspace(0, 1, max(time, 2))[:, None]), aspect="auto")
        ribbon.set_axis_off()
    unit = "row" if by_rows else "step"
    _title(axes, f"What it believed after each {unit}")
    labelled = sorted({*_changes(leader), time - 1})
    for step, height in zip(labelled, _spread(labelled, time), strict=True):
        digit = int(leader[step])
        sure = _percent(float(belief[step, digit]))
        axes.annotate(
            f"{unit} {step + 1}: {digit}, {sure}",
            xy=(9.5, step),
            xytext=(10.6, height),
            fontsize=9,
            fontweight="bold" if step == time - 1 else "normal",
            color=_LEADER,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": _LEADER, "linewidth": 0.6},
        )


def _draw_scale(axes: "Axes") -> None:
    axes.imshow(np.linspace(0, 1, 100)[None], cmap=_belief_colours(), aspect="auto")
    axes.set_xticks([0, 99], ["0%", "100%"])
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=8, labelcolor=_QUIET)
    axes.set_title("probability", fontsize=8, color=_QUIET, pad=3)
    for spine in axes.spines.values():
        spine.set_color(_QUIET)


def _title(axes: "Axes", text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11, color=_INK, pad=8)
    axes.tick_params(length=0, labelcolor=_INK)
    for spine in axes.spines.values():
        spine.set_color(_QUIET)


def _belief_colours() -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("belief", _BELIEF)


def _time_colours(share: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns 3"]:
    """Early is 0, late is 1."""
    from matplotlib import colormaps

    colours: np.ndarray = colormaps["plasma"](0.9 * share)[..., :3]
    return colours


def _first_steps(name: str) -> Int64[np.ndarray, " pixels"]:
    """For each pixel the step at which it is first read."""
    order = scans.scan(name)
    steps = np.zeros(scans.SIDE**2, np.int64)
    backwards = order[::-1].ravel()  # of several values for a pixel the last one assigned stays
    steps[backwards] = np.repeat(np.arange(len(order))[::-1], order.shape[1])
    return steps


def _changes(leader: Int64[np.ndarray, " time"]) -> list[int]:
    """The steps at which a digit takes the lead and keeps it for at least a 28th of all steps."""
    starts = [0, *(np.flatnonzero(np.diff(leader)) + 1).tolist()]
    ends = [*starts[1:], len(leader)]
    lasting = [
        start for start, end in zip(starts, ends, strict=True) if end - start >= len(leader) / 28
    ]
    return [
        start
        for before, start in zip([None, *lasting], lasting, strict=False)
        if before is None or leader[before] != leader[start]
    ]


def _spread(steps: list[int], time: int) -> list[float]:
    """Heights for the labels of `steps`: near them, but far enough apart to be legible."""
    gap = min(time / 22, time / len(steps))
    heights: list[float] = []
    for step in steps:
        heights.append(max(float(step), heights[-1] + gap if heights else 0.0))
    lowest = time - 1.0
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], lowest)
        lowest = heights[i] - gap
    return heights


def _percent(probability: float) -> str:
    """Whole percents, but 100% only for certainty."""
    return ">99%" if 0.995 <= probability < 1 else f"{probability:.0%}"
