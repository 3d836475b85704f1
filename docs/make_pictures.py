"""Draw the pictures of the documents: `make docs`, about a minute.

Each picture shows what a network of this repository does with an image of MNIST's test set.
Trainings, orders and choices are seeded, so the same versions draw the same pictures.
"""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from safetensors.numpy import load_file

import rowscan
from rowscan.explanation import draw, explain
from rowscan.io.atomic import write_atomically
from rowscan.recipes import LSTMRecipe, MLPRecipe, change, find
from rowscan.scans import scan
from rowscan.training.engines import by_hand
from rowscan.training.engines.by_hand import Weights
from rowscan.training.engines.seeding import initial_weights

PICTURES = Path(__file__).parent / "pictures"

INK, QUIET, PALE, ACCENT, BLUE = "#1d2733", "#7b8794", "#e4e8ec", "#d9480f", "#3d86c2"
HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff", "#8fbbe0", "#3d86c2", "#123f6d"])
SIGNED = LinearSegmentedColormap.from_list(
    "signed", [ACCENT, "#f7b08f", "#ffffff", "#8fbbe0", BLUE]
)


NETWORK = change(
    find("lstm-rows", LSTMRecipe), {"batch_size": 128, "learning_rate": 0.01, "epochs": 4}
)
"""The network in the pictures: `lstm-rows`, trained for longer."""


def main() -> None:
    """Draw all of them."""
    PICTURES.mkdir(exist_ok=True)
    test = rowscan.load_digits("mnist").test
    with tempfile.TemporaryDirectory() as folder:
        recipes = {
            "rows": NETWORK,
            "columns": change(NETWORK, {"scan": "columns"}),
            "mlp": find("mlp-numpy", MLPRecipe),
        }
        runs = {
            name: rowscan.train(recipe, output=Path(folder) / name, quiet=True)
            for name, recipe in recipes.items()
        }
        readers = {name: rowscan.Reader(runs[name].directory) for name in ("rows", "columns")}
        weights = {
            name: load_file(run.directory / "weights.safetensors") for name, run in runs.items()
        }
    belief = readers["rows"].belief(test.images)
    digit = best_story(belief, test.labels)
    image = test.images[digit]
    draw_reading(image, belief[digit])
    draw_scans(image)
    for name, reader in readers.items():
        draw_belief(name, image, reader)
    draw_gates(image, weights["rows"])
    draw_reach(test.images[:500], test.labels[:500], weights["rows"])
    draw_hidden_units(weights["mlp"])


# --- What the pictures show ----------------------------------------------------------------------


def best_story(belief: np.ndarray, labels: np.ndarray) -> int:
    """The image that is taken for four other digits on the way, with the highest confidence.

    Its final answer is right. `belief` is (n, time, 10), `labels` (n,).
    """
    best, chosen = 0.0, 0
    right = (belief[:, -1].argmax(1) == labels) & (belief[:, -1].max(1) > 0.98)
    for i in np.flatnonzero(right).tolist():
        taken_for = belief[i, moments(belief[i])]
        if len(taken_for) == len(set(taken_for.argmax(1).tolist())) == 5:
            best, chosen = max((best, chosen), (float(taken_for.max(1).min()), i))
    return chosen


def moments(belief: np.ndarray) -> list[int]:
    """The step of highest confidence for each digit that leads for three steps or more, in order.

    The last entry is always the last step. `belief` is (time, 10).
    """
    leader = belief.argmax(1)
    starts = [0, *(np.flatnonzero(np.diff(leader)) + 1).tolist()]
    found: list[int] = []
    for start, end in zip(starts, [*starts[1:], len(leader)], strict=True):
        surest = start + int(belief[start:end].max(1).argmax())
        if end - start >= 3 and end < len(leader) and belief[surest].max() > 0.6:
            found.append(surest)
    return [*found, len(leader) - 1]


def sequence(images: np.ndarray, recipe: LSTMRecipe) -> np.ndarray:
    """The input of a network with pixels in 0..1: (time, n, feature) float64."""
    flat = images.reshape(len(images), -1).astype(np.float64) / 255
    return np.ascontiguousarray(flat[:, scan(recipe.scan)].swapaxes(0, 1))


def reach(
    images: np.ndarray, labels: np.ndarray, recipe: LSTMRecipe, weights: Weights
) -> np.ndarray:
    """The gradient of the loss at each step: the norm of d_z, mean over images."""
    weights = {name: array.astype(np.float64) for name, array in weights.items()}
    memory = by_hand._layer_forward(weights, 0, sequence(images, recipe))
    y = by_hand.lstm_logits(weights, memory.x)[-1]
    _, _, d_y = by_hand.cross_entropy(y, labels)
    d_h = np.zeros_like(memory.h[1:])
    d_h[-1] = d_y @ weights["head.weight"]
    d_z = by_hand._layer_backward(weights, 0, memory, d_h)
    lengths: np.ndarray = np.linalg.norm(d_z, axis=2).mean(1)
    return lengths


# --- The pictures --------------------------------------------------------------------------------


def draw_reading(image: np.ndarray, belief: np.ndarray) -> None:
    """The digit as far as it has been read, and the prediction, at each change of the answer."""
    steps = moments(belief)
    figure = Figure(figsize=(2.0 * len(steps), 4.1), facecolor="white")
    grid = figure.add_gridspec(
        2, len(steps), height_ratios=(1.75, 1), hspace=0.3, wspace=0.16,
        left=0.02, right=0.98, top=0.82, bottom=0.085,
    )  # fmt: skip
    for column, step in enumerate(steps):
        leader = int(belief[step].argmax())
        last = step == len(belief) - 1
        picture = figure.add_subplot(grid[0, column])
        shown = np.where(np.arange(28)[:, None] <= step, image / 255.0, 0.09 * image / 255)
        picture.imshow(shown, cmap=tone(INK), vmin=0, vmax=1)
        picture.axhspan(-0.5, step + 0.5, facecolor=BLUE, alpha=0.06)
        if not last:
            picture.axhline(step + 0.5, color=ACCENT, linewidth=2)
        bare(picture)
        middle = picture.get_position().x0 + picture.get_position().width / 2
        figure.text(
            middle, 0.905, str(leader), fontsize=25, fontweight="bold", ha="center", va="center",
            color=ACCENT if last else INK,
        )  # fmt: skip
        rows = f"row {step + 1}" if not last else f"all {step + 1} rows"
        picture.set_title(rows, fontsize=9.5, color=QUIET, pad=5)
        bars = figure.add_subplot(grid[1, column])
        colours = [ACCENT if digit == leader else "#8fbbe0" for digit in range(10)]
        bars.bar(range(10), belief[step], color=colours, width=0.82)
        bars.set_ylim(0, 1.2)
        bars.set_xlim(-0.6, 9.6)
        bars.set_xticks(range(10))
        bars.set_yticks([])
        bars.tick_params(length=0, labelsize=8.5, labelcolor=QUIET, pad=2)
        bars.get_xticklabels()[leader].set_color(ACCENT)
        bars.get_xticklabels()[leader].set_fontweight("bold")
        for side in ("left", "right", "top"):
            bars.spines[side].set_visible(False)
        bars.spines["bottom"].set_color(QUIET)
        likely = float(belief[step, leader])
        sure = ">99%" if likely >= 0.995 else f"{likely:.0%}"
        bars.text(leader, likely + 0.04, sure, fontsize=9, ha="center", color=ACCENT)
    save(figure, "reading")


def draw_scans(image: np.ndarray) -> None:
    """Each reading order: the image in the colours of time, and the resulting sequence."""
    names = ("rows", "columns", "patches", "pixels", "snake", "permuted")
    figure = Figure(figsize=(10, 7.3), facecolor="white")
    outer = figure.add_gridspec(
        2, 3, left=0.03, right=0.97, top=0.94, bottom=0.05, hspace=0.24, wspace=0.14
    )
    for place, name in enumerate(names):
        order = scan(name)
        time, feature = order.shape
        steps = np.empty(784)
        steps[order.ravel()] = np.repeat(np.arange(time), feature)
        inner = outer[place // 3, place % 3].subgridspec(2, 1, height_ratios=(3.2, 1), hspace=0.13)
        picture = figure.add_subplot(inner[0])
        picture.imshow(coloured(image.reshape(-1), steps / (time - 1)).reshape(28, 28, 3))
        step_lines(picture, steps.reshape(28, 28), order)
        bare(picture)
        plural = f"{feature} pixels" if feature > 1 else "1 pixel"
        picture.set_title(name, fontsize=13, fontweight="bold", color=INK, pad=7)
        strip = figure.add_subplot(inner[1])
        seen = coloured(
            image.reshape(-1)[order], np.linspace(0, 1, time)[:, None].repeat(feature, 1)
        )
        strip.imshow(
            seen.swapaxes(0, 1),
            aspect="auto",
            interpolation="nearest" if time < 100 else "antialiased",
        )
        bare(strip)
        strip.set_xlabel(f"{time} steps of {plural}  →", fontsize=9.5, color=QUIET, labelpad=4)
    save(figure, "scans")


def draw_belief(name: str, image: np.ndarray, reader: rowscan.Reader) -> None:
    """The picture that `rowscan explain` draws."""
    path = PICTURES / f"belief-{name}.png"
    draw(explain(image, reader), path)
    with PIL.Image.open(path) as picture:
        save_picture(picture.convert("RGB"), path)


def draw_gates(image: np.ndarray, weights: Weights) -> None:
    """The complete state of the network while it reads one digit, one line for each image row."""
    memory = by_hand._layer_forward(
        {name: array.astype(np.float64) for name, array in weights.items()},
        0,
        sequence(image[None], NETWORK),
    )
    gates, c, h = memory.gates[:, 0], memory.c[1:, 0], memory.h[1:, 0]
    # Sorted by the mean forget gate, so that units with similar memory are side by side.
    order = gates[:, 1].mean(0).argsort()
    belief = by_hand.softmax(h @ weights["head.weight"].T + weights["head.bias"])
    panels = (
        ("x", "the image", image / 255.0, tone(INK), 0, 1),
        ("i", "input gate", gates[:, 0, order], HEAT, 0, 1),
        ("f", "forget gate", gates[:, 1, order], HEAT, 0, 1),
        ("g", "candidate", gates[:, 2, order], SIGNED, -1, 1),
        ("o", "output gate", gates[:, 3, order], HEAT, 0, 1),
        ("c", "cell, as tanh c", np.tanh(c[:, order]), SIGNED, -1, 1),
        ("h", "output", h[:, order], SIGNED, -1, 1),
        ("p", "belief", belief, HEAT, 0, 1),
    )
    widths = [44, 30, 30, 30, 30, 30, 30, 19]
    figure = Figure(figsize=(11, 3.5), facecolor="white")
    grid = figure.add_gridspec(
        1, 8, width_ratios=widths, left=0.045, right=0.985, top=0.8, bottom=0.1, wspace=0.12
    )
    for place, (symbol, words, values, colours, low, high) in enumerate(panels):
        axes = figure.add_subplot(grid[place])
        axes.imshow(
            values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest"
        )
        bare(axes)
        axes.set_title(
            symbol, fontsize=14, fontweight="bold", fontstyle="italic", color=INK, pad=20
        )
        axes.text(0.5, 1.035, words, transform=axes.transAxes, fontsize=9, color=QUIET, ha="center")
        if place == 0:
            axes.set_yticks(
                [0, 6, 13, 20, 27], ["1", "7", "14", "21", "28"], fontsize=8, color=QUIET
            )
            axes.set_ylabel("row", fontsize=9, color=QUIET)
        elif symbol == "p":
            axes.set_xticks(range(10))
            axes.tick_params(length=0, labelsize=6.5, labelcolor=QUIET, pad=2)
        else:
            axes.set_xlabel("64 units", fontsize=8, color=QUIET, labelpad=3)
    save(figure, "gates")


def draw_reach(images: np.ndarray, labels: np.ndarray, trained: Weights) -> None:
    """How far back the gradient reaches, by rows and by pixels, before and after training."""
    rows = NETWORK
    pixels = change(rows, {"scan": "pixels"})
    figure = Figure(figsize=(10, 3.6), facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    figure.subplots_adjust(left=0.075, right=0.98, top=0.87, bottom=0.16, wspace=0.16)
    before = reach(images, labels, rows, initial_weights(rows))
    after = reach(images, labels, rows, trained)
    curve(left, before, "before training", QUIET)
    curve(left, after, "after training", ACCENT)
    curve(
        right,
        reach(images[:100], labels[:100], pixels, initial_weights(pixels)),
        "before training",
        QUIET,
    )
    for axes, name, steps in ((left, "rows", 28), (right, "pixels", 784)):
        axes.set_yscale("log")
        axes.set_xlim(1, steps)
        axes.set_xlabel("step of the scan", fontsize=9.5, color=QUIET)
        axes.set_title(
            f"{name}: {steps} steps", loc="left", fontsize=12, fontweight="bold", color=INK
        )
        axes.tick_params(labelsize=8.5, labelcolor=QUIET, color=PALE)
        axes.grid(color=PALE, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(QUIET)
        axes.legend(frameon=False, fontsize=9.5, labelcolor=INK, loc="lower right")
    left.set_xticks([1, 7, 14, 21, 28])
    right.set_xticks([1, 196, 392, 588, 784])
    left.set_ylabel("gradient, last step = 1", fontsize=9.5, color=QUIET)
    save(figure, "reach")


def draw_hidden_units(weights: Weights) -> None:
    """What each of the perceptron's 50 hidden units has learnt: weights minus first weights."""
    first = initial_weights(find("mlp-numpy", MLPRecipe))["hidden.weight"]
    units = (weights["hidden.weight"] - first).reshape(-1, 28, 28)
    # Units that support the same digit are side by side.
    order = np.lexsort((-weights["head.weight"].max(0), weights["head.weight"].argmax(0)))
    figure = Figure(figsize=(7.8, 4.2), facecolor="white")
    grid = figure.add_gridspec(
        5, 10, left=0.01, right=0.99, top=0.97, bottom=0.03, wspace=0.1, hspace=0.28
    )
    for place, unit in enumerate(order.tolist()):
        axes = figure.add_subplot(grid[place // 10, place % 10])
        largest = np.abs(units[unit]).max()
        axes.imshow(
            units[unit],
            cmap=SIGNED.resampled(41),
            vmin=-largest,
            vmax=largest,
            interpolation="nearest",
        )
        bare(axes)
        axes.set_xlabel(
            str(weights["head.weight"][:, unit].argmax()), fontsize=8, color=QUIET, labelpad=1
        )
    save(figure, "hidden-units")


# --- Parts ---------------------------------------------------------------------------------------


def curve(axes: Axes, lengths: np.ndarray, label: str, colour: str) -> None:
    """One line, relative to the last step."""
    axes.plot(
        np.arange(len(lengths)) + 1, lengths / lengths[-1], color=colour, label=label, linewidth=2
    )


def coloured(pixels: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours of time, 0 early to 1 late: strong on ink, pale on paper."""
    strength = 0.13 + 0.87 * pixels[..., None] / 255
    colours: np.ndarray = 1 - strength * (1 - colormaps["plasma"](0.9 * share)[..., :3])
    return colours


def step_lines(axes: Axes, steps: np.ndarray, order: np.ndarray) -> None:
    """Borders between steps, or the path from pixel to pixel if it is continuous."""
    style: dict[str, Any] = {"color": "white", "linewidth": 1.1, "alpha": 0.9}
    if order.shape[1] > 1:
        for y, x in np.argwhere(np.diff(steps, axis=0)).tolist():
            axes.plot([x - 0.5, x + 0.5], [y + 0.5, y + 0.5], **style)
        for y, x in np.argwhere(np.diff(steps, axis=1)).tolist():
            axes.plot([x + 0.5, x + 0.5], [y - 0.5, y + 0.5], **style)
    elif np.median(np.abs(np.diff(order.ravel()))) == 1:
        axes.plot(order.ravel() % 28, order.ravel() // 28, color=INK, linewidth=0.5, alpha=0.45)


def tone(colour: str) -> LinearSegmentedColormap:
    """From white to a colour."""
    return LinearSegmentedColormap.from_list("tone", ["#ffffff", colour])


def bare(axes: Axes) -> None:
    """No ticks, a pale frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_color("#c3cad1")


def save(figure: Figure, name: str) -> None:
    """Write `name`.png."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=125)
    with PIL.Image.open(buffer) as picture:
        save_picture(picture.convert("RGB"), PICTURES / f"{name}.png")


def save_picture(picture: PIL.Image.Image, path: Path) -> None:
    """Write a small PNG: lossless and without a date."""
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    write_atomically(path, buffer.getvalue())
    print(f"{path.name:<20} {len(buffer.getvalue()) / 1000:5.0f} kB")


if __name__ == "__main__":
    main()
