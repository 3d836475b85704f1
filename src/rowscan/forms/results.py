"""Results: what was read on a form. These are values: no picture is opened here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rowscan.arrays import UInt8
from rowscan.errors import DataError
from rowscan.reading import SURE, Box, Character

Corners = tuple[tuple[float, float], ...]
"""Top left, top right, bottom right and bottom left of a field in pixels of the picture, which may
show the form turned and tilted."""

FieldStatus = Literal["read", "empty", "unsure", "incomplete", "invalid", "unreadable", "picture"]
"""`read`, or `empty`: nothing is written there. `unsure`: nothing that may be there fits what is
written. `incomplete`: fewer digits than there are boxes. `invalid`: out of range, or no such day.
`unreadable`: the form's own print is not found around it: it is hidden, or moved. `picture`: of
`text`."""

FormStatus = Literal["read", "unsure", "check", "error"]
"""`check`: something on it breaks a rule, or was not read. `unsure`: nothing does, but a field has
less confidence than `SURE`. `error`: no form was found."""


@dataclass(frozen=True, eq=False)
class FieldReading:
    """What is written in one field."""

    name: str
    text: str
    """As it is written; of a `choice` the option, of a `tick` `yes` or `no`."""
    confidence: float
    """The probability that exactly this is written there, 0 to 1."""
    status: FieldStatus
    box: Box
    """Where it is in the picture."""
    value: str | float | bool | None = None
    """The text as a value: a number, a day as 2026-11-26, whether a box is marked."""
    page: int = 1
    """Of the document, from 1."""
    picture: UInt8[np.ndarray, "rows columns"] | None = None
    """The field cut out of the page, upright; of `text` always."""
    corners: Corners = ()
    """Of the field with its surroundings; none on a page that is missing."""
    characters: tuple[Character, ...] = ()
    """Of what was read as text, with their boxes in the picture."""
    ink: UInt8[np.ndarray, "32 width"] | None = None
    """What is written without what is printed, as the line model reads it."""
    filled: int | None = None
    """How many boxes have ink, where each has one character."""

    def to_dict(self) -> dict[str, object]:
        """The object that JSON output has."""
        return {
            "text": self.text,
            "value": self.value,
            "confidence": round(self.confidence, 4),
            "status": self.status,
            "page": self.page,
            "box": list(self.box),
        }


@dataclass(frozen=True)
class Broken:
    """A rule that a form breaks, or that a field was not read; `str` makes a line of it."""

    field: str
    """The name of the field that it is about."""
    reason: str

    def __str__(self) -> str:
        """The line that tables and JSON have."""
        return f"{self.field}: {self.reason}"


@dataclass(frozen=True, eq=False)
class FormReading:
    """One filled form, or a page on which none was found."""

    form: str
    """The name of the form; empty where none was found."""
    page: int
    """The first page of it in the document, from 1."""
    fields: Mapping[str, FieldReading] = field(default_factory=dict)
    """In the order of `form.toml`."""
    broken: tuple[Broken, ...] = ()
    """The rules that it breaks."""
    error: str | None = None
    """Why no form was read: one line."""
    sizes: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Width and height of its pages in pixels, by their numbers in the document."""

    def __getitem__(self, name: str) -> FieldReading:
        """A field by its name.

        Raises:
            DataError: no form was found.
        """
        if self.error is not None:
            raise DataError(None, self.error)
        return self.fields[name]

    @property
    def status(self) -> FormStatus:
        """What became of it."""
        if self.error is not None:
            return "error"
        if self.broken:
            return "check"
        return "read" if self.confidence >= SURE else "unsure"

    @property
    def confidence(self) -> float:
        """The lowest of its fields; 0 where no form was found."""
        return min((one.confidence for one in self.fields.values()), default=0.0)

    def to_dict(self) -> dict[str, object]:
        """The object that JSON output has."""
        return {
            "page": self.page,
            "form": self.form,
            "status": self.status,
            "confidence": round(self.confidence, 4),
            "broken": [str(rule) for rule in self.broken],
            "error": self.error,
            "fields": {name: one.to_dict() for name, one in self.fields.items()},
        }
