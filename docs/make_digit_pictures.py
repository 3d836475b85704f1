"""Draw the pictures of docs/digit-model.md: part of `make docs`, seconds.

Augmented images, negatives, what a patch has seen, and the confidence of the shipped model.
"""

import numpy as np
import PIL.Image
import torch
from make_pictures import ACCENT, BLUE, HEAT, INK, PICTURES, QUIET, bare, save, save_picture, tone
from matplotlib.figure import Figure

import rowscan
from rowscan.datasets.digits import Split
from rowscan.segmentation.digit import normalise_digit
from rowscan.training.synthesis.augmentation import augment
from rowscan.training.synthesis.negatives import draw_negatives

COLUMNS = 14


def main() -> None:
    """Draw all of them."""
    PICTURES.mkdir(exist_ok=True)
    digits = rowscan.load_digits("mnist")
    draw_augmentation(digits.train)
    draw_negatives_sheet(digits.train)
    draw_sweeps(digits.test.images[0])
    draw_confidence(digits.test)


def draw_augmentation(train: Split) -> None:
    """One image of each digit, and augmented copies of it."""
    first = [int(np.flatnonzero(train.labels == digit)[0]) for digit in range(10)]
    images = torch.from_numpy(train.images[first]).repeat_interleave(COLUMNS - 1, 0)
    labels = torch.arange(10).repeat_interleave(COLUMNS - 1)
    drawn = augment(images, labels, torch.Generator().manual_seed(1)).numpy()
    rows = drawn.reshape(10, COLUMNS - 1, 28, 28)
    shown = np.concatenate([train.images[first, None] / 255, rows], 1)
    save_sheet(shown, "augmentation")


def draw_negatives_sheet(train: Split) -> None:
    """Some of the negatives that the training shows to the network."""
    images = torch.from_numpy(train.images[:500].copy())
    labels = torch.from_numpy(train.labels[:500].astype(np.int64))
    n = 4 * COLUMNS
    drawn = draw_negatives(n, images, labels, torch.Generator().manual_seed(4)).numpy()
    save_sheet(drawn.reshape(4, COLUMNS, 28, 28), "negatives")


def save_sheet(ink: np.ndarray, name: str) -> None:
    """Save pictures (rows, columns, 28, 28) of ink 0 to 1, each in a frame, in few greys."""
    framed = np.pad(ink, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=0.25)
    framed = np.pad(framed[:, :, 1:-1, 1:-1], ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows, columns, side, _ = framed.shape
    sheet = framed.transpose(0, 2, 1, 3).reshape(rows * side, columns * side).repeat(3, 0)
    grey = 255 - 16 * np.round(15 * sheet.repeat(3, 1)).astype(np.uint8)
    picture = PIL.Image.fromarray(grey).convert("P", palette=PIL.Image.Palette.ADAPTIVE, colors=16)
    save_picture(picture, PICTURES / f"{name}.png")


def draw_sweeps(image: np.ndarray) -> None:
    """What one patch has seen after each layer."""
    figure = Figure(figsize=(9.6, 3.5), facecolor="white")
    titles = ("the image in 49 patches", "a patch after one layer", "after two layers")
    row, column = 2, 4
    for place, title in enumerate(titles):
        axes = figure.add_subplot(1, 3, place + 1)
        known = np.zeros((7, 7))
        if place == 1:
            known[row], known[:, column] = 1, 1
        elif place == 2:
            known[:] = 1
        axes.imshow(known.repeat(4, 0).repeat(4, 1) * 0.35, cmap=HEAT, vmin=0, vmax=1)
        axes.imshow(np.ma.masked_less(image, 40), cmap=tone(INK), vmin=0, vmax=255)
        for edge in np.arange(0, 29, 4) - 0.5:
            axes.axhline(edge, color=QUIET, linewidth=0.5)
            axes.axvline(edge, color=QUIET, linewidth=0.5)
        if place:
            x, y = 4 * column - 0.5, 4 * row - 0.5
            axes.plot([x, x + 4, x + 4, x, x], [y, y, y + 4, y + 4, y], color=ACCENT, linewidth=2.5)
        if place == 1:
            style = {"arrowstyle": "->", "color": ACCENT, "linewidth": 1.8}
            centre = (x + 2, y + 2)
            for start in ((centre[0], 0), (centre[0], 27), (0, centre[1]), (27, centre[1])):
                near = (0.7 * centre[0] + 0.3 * start[0], 0.7 * centre[1] + 0.3 * start[1])
                axes.annotate("", near, start, arrowprops=style)
        axes.set_title(title, fontsize=11, color=INK)
        bare(axes)
    figure.subplots_adjust(0.02, 0.02, 0.98, 0.9, 0.06)
    save(figure, "sweeps")


def draw_confidence(test: Split) -> None:
    """The confidence of the shipped model for digits, for clothes, and for drawn negatives."""
    reader = rowscan.Reader()
    material = torch.from_numpy(test.images[:2000].copy())
    labels = torch.from_numpy(test.labels[:2000].astype(np.int64))
    drawn = draw_negatives(5000, material, labels, torch.Generator().manual_seed(5))
    clothes = rowscan.load_digits("fashion-mnist").test.images[:5000]
    groups = {
        "handwritten digits": test.images,
        "clothes": np.stack([normalise_digit(image) for image in clothes]),
        "drawn negatives": (255 * drawn).round().to(torch.uint8).numpy(),
    }
    figure = Figure(figsize=(9.6, 2.7), facecolor="white")
    for place, (name, images) in enumerate(groups.items()):
        axes = figure.add_subplot(1, 3, place + 1)
        sure = reader.predict_proba(images).max(1)
        shares = np.histogram(sure, np.linspace(0, 1, 21))[0] / len(sure)
        axes.bar(np.arange(20) / 20 + 0.025, shares, 0.045, color=ACCENT if place else BLUE)
        axes.set_title(name, fontsize=11, color=INK)
        axes.set_xlabel("confidence", fontsize=9, color=QUIET)
        axes.set_ylim(0, 1)
        axes.tick_params(labelsize=8, colors=QUIET)
        axes.spines[["top", "right"]].set_visible(False)
        over = (sure > 0.9).mean()
        axes.text(0.5, 0.85, f"{over:.1%} over 0.9", ha="center", color=INK, fontsize=10)
    figure.subplots_adjust(0.05, 0.2, 0.99, 0.88, 0.15)
    save(figure, "confidence")


if __name__ == "__main__":
    main()
