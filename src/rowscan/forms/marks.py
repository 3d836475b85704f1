"""Marks: ticks and choices, by how much ink is in a box."""

import math
from collections.abc import Sequence

from rowscan.forms.ink import Ink, share
from rowscan.forms.results import FieldReading, FieldStatus
from rowscan.forms.specification import Field
from rowscan.reading import Box

_MIDDLE = 0.05
"""Of a box: as likely marked as not. Of 47 ticks in simulated photos the marked ones had ink on
0.096 of their box at the least, the others on none; this is half of it."""
_SLOPE = 3.0  # of the logarithm of the amount: the least mark of those is 0.88 sure


def marked(ink: Ink, box: Box) -> float:
    """The probability that a box is marked, by how much of it and its rim is ink."""
    amount = share(ink, box)
    return 1 / (1 + math.exp(-_SLOPE * math.log(max(amount, 1e-4) / _MIDDLE)))


def read_tick(field: Field, ink: Ink, box: Box, place: Box) -> FieldReading:
    """Whether a box is marked."""
    probability = marked(ink, box)
    yes = probability >= 0.5
    sure = max(probability, 1 - probability)
    return FieldReading(field.name, "yes" if yes else "no", sure, "read", place, yes)


def read_choice(field: Field, ink: Ink, boxes: Sequence[Box], place: Box) -> FieldReading:
    """Which one of several boxes is marked; unsure, as only one can be, where more seem to be."""
    probabilities = [marked(ink, box) for box in boxes]
    sure = math.prod(max(p, 1 - p) for p in probabilities)
    chosen = [o for o, p in zip(field.choices, probabilities, strict=True) if p >= 0.5]
    status: FieldStatus = "empty" if not chosen else "read" if len(chosen) == 1 else "unsure"
    text = ", ".join(chosen)
    if status == "unsure":
        return FieldReading(field.name, text, 0.0, status, place)
    return FieldReading(field.name, text, sure, status, place, text or None)
