"""Writing: what is written on a page, how large, in which ink and by whom, all drawn at random."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from rowscan.arrays import Float32
from rowscan.training.synthesis.canvas import Canvas, LineStyle
from rowscan.training.synthesis.glyphs import Handwriting, Number

T = TypeVar("T")

_ONES = 0.2  # share of numbers with more 1s
_SMALLEST, _LARGEST = 7.0, 84.0  # pixels: heights of digits
# fmt: off
_WORDS = (
    "Amount", "Total", "Date", "Name", "No.", "Ref", "Sum", "Nr", "Page", "Room", "kg", "EUR",
    "Account", "Code", "Box", "Item", "Price", "Paid", "2024", "Form", "12", "Street", "Phone",
    "Zip", "City", "Signature", "Class", "Score", "Points", "Question", "1.", "2.", "3.", "A)",
    "due:", "the", "of", "and", "with", "per", "cent", "received", "invoice", "30", "number", "VAT",
)
# fmt: on
PENS = (
    ((0.97, 0.97, 0.95), 0.34),
    ((0.9, 0.85, 0.6), 0.22),
    ((0.85, 0.7, 0.3), 0.18),
    ((0.2, 0.85, 0.85), 0.1),
    ((0.8, 0.35, 0.75), 0.03),
    ((0.6, 0.6, 0.58), 0.13),
)
"""Colours of pens: how much red, green and blue they absorb, and how often they are drawn."""
INKS = (*PENS, ((0.45, 0.2, 0.08), 0.15), ((0.08, 0.4, 0.38), 0.12), ((0.4, 0.15, 0.4), 0.08))
"""Colours of pens, stamps and print."""


def style(rng: np.random.Generator) -> LineStyle:
    """One writer with one pen."""
    hand = Handwriting(
        slant=rng.normal(0.05, 0.15),
        aspect=rng.uniform(0.78, 1.22),
        pen=math.exp(rng.uniform(math.log(0.03), math.log(0.17))),
        own=one_of(rng, (0.0, 0.35, 0.7)),
        drawn=one_of(rng, (0.0, 0.0, 0.1, 0.2, 0.7)),
    )
    return LineStyle(
        hand=hand,
        colour=colour(rng, PENS, 0.4),
        vary=one_of(rng, (0.03, 0.08, 0.2)),
        hop=one_of(rng, (0.02, 0.05, 0.1)),
    )


def colour(
    rng: np.random.Generator,
    choices: tuple[tuple[tuple[float, float, float], float], ...] = INKS,
    faintest: Number = 0.12,
) -> Float32[np.ndarray, " 3"]:
    """What an ink absorbs: its colour and how much of it there is."""
    weights = np.cumsum([weight for _, weight in choices])
    chosen = int(np.searchsorted(weights, rng.random() * weights[-1]))
    strength = math.exp(rng.uniform(math.log(faintest), 0))
    absorbed: Float32[np.ndarray, " 3"] = np.array(choices[chosen][0], np.float32) * np.float32(
        strength
    )
    return absorbed


def digits(rng: np.random.Generator, fewest: int, most: int) -> str:
    """A random number of `fewest` to `most` digits; one in five has more 1s, like rules."""
    count = int(rng.integers(fewest, most + 1))
    text = "".join(map(str, rng.integers(0, 10, count)))
    if rng.random() < _ONES:
        text = "".join("1" if rng.random() < 0.5 else digit for digit in text)
    return text


def number(rng: np.random.Generator) -> str:
    """A number as people write it, with signs or without."""
    if rng.random() < 0.5:
        return digits(rng, 1, 8)
    forms: tuple[Callable[[], str], ...] = (
        lambda: one_of(rng, "/-.").join((digits(rng, 1, 2), digits(rng, 1, 2), digits(rng, 2, 4))),
        lambda: digits(rng, 1, 2) + ":" + digits(rng, 2, 2),
        lambda: digits(rng, 1, 3) + one_of(rng, ".,") + digits(rng, 2, 3),
        lambda: (
            digits(rng, 1, 3) + "." + digits(rng, 3, 3) + one_of(rng, ("", ",-", ".", "=", ",00"))
        ),
        lambda: one_of(rng, "+-") + digits(rng, 1, 4),
        lambda: "(" + digits(rng, 2, 3) + ")" + digits(rng, 2, 3) + "-" + digits(rng, 3, 4),
        lambda: digits(rng, 1, 3) + "/" + digits(rng, 1, 3),
        lambda: one_of(rng, "$€£¥") + digits(rng, 1, 4),
        lambda: digits(rng, 1, 3) + one_of(rng, "%€£"),
        lambda: (
            digits(rng, 1, 2) + one_of(rng, "+-×/") + digits(rng, 1, 2) + "=" + digits(rng, 1, 3)
        ),
        lambda: " ".join((digits(rng, 2, 3), digits(rng, 2, 3), digits(rng, 2, 4))),
        lambda: digits(rng, 1, 2) + one_of(rng, (" - ", " + ", " × ")) + digits(rng, 1, 2),
        lambda: f"({digits(rng, 1, 2)}{one_of(rng, '+-×')}{digits(rng, 1, 2)})×{digits(rng, 1, 2)}",
        lambda: digits(rng, 1, 2) + " " + digits(rng, 1, 1) + "/" + digits(rng, 1, 1),
    )
    return forms[rng.integers(len(forms))]()


def height(canvas: Canvas, most: Number = 0.7) -> float:
    """A height of digits, small ones as often as large ones, that fits."""
    chosen = math.exp(canvas.rng.uniform(math.log(_SMALLEST + 1), math.log(_LARGEST)))
    return float(np.clip(chosen, _SMALLEST, most * min(canvas.height, canvas.width)))


def amount(rng: np.random.Generator) -> str:
    """An amount of money: groups of three digits, and what people write around them."""
    whole = digits(rng, 1, 3) + "".join(
        one_of(rng, (".", ".", ",", " ", "")) + digits(rng, 3, 3) for _ in range(rng.integers(0, 3))
    )
    before = one_of(rng, ("", "", "", "", "$", "=", "£", "-", "€"))
    after = one_of(rng, ("", "", "", ".", "=", ",-", ".-", "-", ",00", ".00"))
    return before + whole + after


def words(rng: np.random.Generator, fewest: int, most: int) -> str:
    """Printed words, joined by spaces."""
    count = int(rng.integers(fewest, most + 1))
    return " ".join(_WORDS[rng.integers(len(_WORDS))] for _ in range(count)) + one_of(
        rng, ("", ":", ".")
    )


def one_of(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """Any of them."""
    return choices[int(rng.integers(len(choices)))]


def chance(canvas: Canvas, probability: Number) -> bool:
    """Whether something of this probability happens."""
    return bool(canvas.rng.random() < probability)
