"""Reading: what was read in a picture, with places and confidences. Values, no behaviour.

A box is x, y, width and height in pixels of the picture, upright, as a viewer shows it.
"""

from dataclasses import dataclass, replace
from typing import Any

Box = tuple[int, int, int, int]

UNSURE = "?"
"""Stands for a digit that is less sure than was asked for."""


@dataclass(frozen=True)
class Digit:
    """One digit of a line."""

    digit: str
    """"0" to "9", or "?" for one that is not sure enough."""
    confidence: float
    """How probable this digit is in its place, 0 to 1, given the rest of the line."""
    box: Box
    runner_up: tuple[str, float] | None
    """The next likeliest digit and how probable it is; None where it is not close."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        second = self.runner_up
        return {
            "digit": self.digit,
            "confidence": round(self.confidence, 4),
            "box": list(self.box),
            "runner_up": second and {"digit": second[0], "confidence": round(second[1], 4)},
        }


@dataclass(frozen=True)
class Line:
    """One line of writing."""

    digits: tuple[Digit, ...]
    confidence: float
    """How probable it is that exactly this stands there, 0 to 1."""
    box: Box

    @property
    def text(self) -> str:
        """The digits alone, without gaps."""
        return "".join(digit.digit for digit in self.digits)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "box": list(self.box),
            "digits": [digit.to_dict() for digit in self.digits],
        }


@dataclass(frozen=True)
class Reading:
    """One picture, or one page of a document."""

    width: int
    height: int
    lines: tuple[Line, ...]
    """From top to bottom, and from left to right what stands side by side."""
    confidence: float
    """How probable it is that exactly this stands there and no other digits, 0 to 1."""
    page: int = 1

    @property
    def text(self) -> str:
        """The lines' texts, joined by " / "; empty if there are no digits."""
        return " / ".join(line.text for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "page": self.page,
            "width": self.width,
            "height": self.height,
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "lines": [line.to_dict() for line in self.lines],
        }

    def at_least(self, confidence: float) -> "Reading":
        """The same reading with "?" for each digit that is less sure than `confidence`."""
        lines = (
            replace(
                line,
                digits=tuple(
                    digit if digit.confidence >= confidence else replace(digit, digit=UNSURE)
                    for digit in line.digits
                ),
            )
            for line in self.lines
        )
        return replace(self, lines=tuple(lines))
