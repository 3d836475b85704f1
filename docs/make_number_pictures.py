"""Draw the pictures of docs/reading-a-photo.md: part of `make docs`, seconds.

One photo on its way from pixels to numbers, composed lines, and digits of simulated writers.
"""

import io
from pathlib import Path
from random import Random

import numpy as np
import PIL.Image
import torch
from make_pictures import BLUE, HEAT, INK, PICTURES, QUIET, bare, save, save_picture, tone
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import rowscan
from rowscan.batch import annotate
from rowscan.io.pictures import open_image
from rowscan.reader import Reader
from rowscan.segmentation import page
from rowscan.segmentation.binarize import (
    binarize,
    estimate_background,
    estimate_stroke_width,
    measure_contrast,
)
from rowscan.segmentation.line_image import LineImage
from rowscan.segmentation.ruled_lines import remove_ruled_lines
from rowscan.training.synthesis.inks import with_handwriting
from rowscan.training.synthesis.lines import compose
from rowscan.training.synthesis.pen_digits import BY_DIGIT, draw_allograph
from rowscan.training.synthesis.shapes import Style, draw

NUMBERS = Path(__file__).parent.parent / "examples" / "numbers"
MARKS = "–0123456789"


def main() -> None:
    """Draw all of them."""
    PICTURES.mkdir(exist_ok=True)
    photo = open_image(NUMBERS / "note.jpg", colour=True)
    draw_ink(photo)
    draw_steps(page.extract_lines(photo)[1])
    draw_result(photo)
    draw_composed()
    draw_allographs()


def draw_ink(photo: np.ndarray) -> None:
    """The photo, its contrast with the paper, the strokes, and the strokes without ruled lines."""
    contrast, noise = measure_contrast(photo, estimate_background(photo))
    foreground = binarize(contrast, noise)
    rest, _ = remove_ruled_lines(foreground, estimate_stroke_width(foreground))
    figure = Figure(figsize=(9.6, 7.2), facecolor="white")
    for place, (picture, title) in enumerate(
        (
            (photo, "the photo"),
            (contrast, "light and paper divided out"),
            (255 * foreground, "strokes"),
            (255 * rest, "without the ruled lines"),
        )
    ):
        axes = figure.add_subplot(2, 2, place + 1)
        axes.imshow(picture, cmap=tone(INK))  # the colour map applies to grey pictures only
        axes.set_title(title, color=INK, fontsize=11)
        bare(axes)
        if place == 3:
            for line in page.extract_lines(photo):
                x, y, width, height = line.box
                box = Rectangle((x, y), width, height, fill=False, edgecolor=BLUE, linewidth=1.2)
                axes.add_patch(box)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=84)
    with PIL.Image.open(buffer) as drawn:
        few = drawn.convert("RGB").quantize(40, dither=PIL.Image.Dither.NONE)
    save_picture(few, PICTURES / "photo-ink.png")


def draw_steps(line: LineImage) -> None:
    """A text line, and the answer of the network at each step."""
    probabilities = Reader().line_model.probabilities(line.ink[None])[0]
    width = line.ink.shape[1]
    figure = Figure(figsize=(9.6, 4.4), facecolor="white")
    above, below = figure.subplots(2, 1, gridspec_kw={"height_ratios": [1, 2.6]})
    above.imshow(line.ink, cmap=tone(INK), extent=(0, width, 32, 0), aspect="auto")
    above.set_title("a line of ink, 32 pixels high", color=INK, fontsize=11)
    bare(above)
    steps = len(probabilities)
    below.imshow(
        probabilities[:, :11].T,  # blank and the digits, without signs
        cmap=HEAT,
        vmin=0,
        vmax=1,
        aspect="auto",
        extent=(0, 2 * steps, 10.5, -0.5),
        interpolation="nearest",
    )
    below.set_yticks(range(11), MARKS)
    below.set_xlim(0, width)
    below.set_xticks([])
    below.set_title("what the network answers every two pixels", color=INK, fontsize=11)
    for step in np.flatnonzero(probabilities.argmax(1)):
        digit = int(probabilities[step].argmax())
        below.text(
            2 * step + 1, digit, MARKS[digit], color="white", ha="center", va="center", fontsize=7
        )
    below.tick_params(colors=QUIET, length=0)
    for side in below.spines.values():
        side.set_visible(False)
    figure.tight_layout()
    save(figure, "photo-steps")


def draw_result(photo: np.ndarray) -> None:
    """The photo as `rowscan read --annotate` draws it."""
    drawn = annotate.draw(photo, Reader().read(photo))
    drawn.thumbnail((700, 700))
    save_picture(drawn.quantize(64, dither=PIL.Image.Dither.NONE), PICTURES / "photo-read.png")


def draw_composed() -> None:
    """Composed lines, as in the training."""
    train = rowscan.load_digits("mnist").train
    inks = with_handwriting(train.images, train.labels)
    generator = torch.Generator().manual_seed(8)
    rows, wide, gap = 12, 700, 6
    sheet = np.full((rows * (32 + gap), wide), 235, np.uint8)
    for row in range(rows):
        left = 0
        while True:
            lines = compose(1, inks, generator)
            width = lines.widths[0]
            if left + width > wide:
                break
            top = row * (32 + gap)
            sheet[top : top + 32, left : left + width] = 255 - 255 * lines.ink[0, :, :width].numpy()
            left += width + gap
    picture = PIL.Image.fromarray(sheet).quantize(12, dither=PIL.Image.Dither.NONE)
    save_picture(picture, PICTURES / "composed-lines.png")


def draw_allographs() -> None:
    """Each digit as sixteen simulated writers draw it."""
    writers, side, r = 16, 56, Random(1)
    sheet = np.full((10 * side, writers * side), 255, np.uint8)
    for digit in range(10):
        for writer in range(writers):
            strokes = draw_allograph(r.choice(BY_DIGIT[digit]), r, width=0.62, spread=0.03)
            ink = draw(strokes, Style(pen=4.5, size=0.9)).ink[: side - 4, : side - 4]
            rows, columns = ink.shape
            top, left = digit * side + (side - rows) // 2, writer * side + (side - columns) // 2
            sheet[top : top + rows, left : left + columns] = 255 - ink
    picture = PIL.Image.fromarray(sheet)
    save_picture(picture.quantize(12, dither=PIL.Image.Dither.NONE), PICTURES / "allographs.png")


if __name__ == "__main__":
    main()
