"""Reading: the text of a picture, with boxes and confidences. These are values: no model is here.

A box is x, y, width and height in pixels of the picture, upright, as a viewer shows it.
"""

from dataclasses import dataclass, replace

Box = tuple[int, int, int, int]

UNSURE = "?"
"""Stands for a digit of lower confidence than `min_confidence`."""


@dataclass(frozen=True)
class Digit:
    """One digit of a line."""

    digit: str
    """"0" to "9", or "?" where the confidence is too low."""
    confidence: float
    """The probability of this digit in its place, 0 to 1, given the rest of the line."""
    box: Box
    runner_up: tuple[str, float] | None
    """The second likeliest digit and its probability; None where that is less than 2%."""

    def to_dict(self) -> dict[str, object]:
        """The object that JSON output has."""
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
    """The probability that exactly this text is written there, 0 to 1."""
    box: Box

    @property
    def text(self) -> str:
        """The digits, without gaps."""
        return "".join(digit.digit for digit in self.digits)

    def to_dict(self) -> dict[str, object]:
        """The object that JSON output has."""
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
    """From top to bottom; lines side by side from left to right."""
    confidence: float
    """The probability that exactly these digits are written there and no others, 0 to 1."""
    page: int = 1

    @property
    def text(self) -> str:
        """The lines' texts, joined by " / "; empty if there are no digits."""
        return " / ".join(line.text for line in self.lines)

    def to_dict(self) -> dict[str, object]:
        """The object that JSON output has."""
        return {
            "page": self.page,
            "width": self.width,
            "height": self.height,
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "lines": [line.to_dict() for line in self.lines],
        }

    def at_least(self, confidence: float) -> "Reading":
        """The same reading with "?" for each digit of lower confidence."""
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
