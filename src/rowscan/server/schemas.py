"""Schemas: the form of the answers, only for the description at `/openapi.json`.

The answers themselves come from `rowscan.reading`; a test compares both.
"""

from typing import Annotated

from pydantic import BaseModel, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Box = Annotated[
    tuple[int, int, int, int],
    Field(description="x, y, width and height, in pixels of the upright picture"),
]


class RunnerUp(BaseModel):
    """The second most probable digit, if it is close."""

    digit: str
    confidence: Probability


class DigitSchema(BaseModel):
    """One digit and its place."""

    digit: Annotated[str, Field(description="0 to 9, or ? below min_confidence")]
    confidence: Probability
    box: Box
    runner_up: RunnerUp | None = None


class LineSchema(BaseModel):
    """One line of writing."""

    text: str
    confidence: Probability
    box: Box
    digits: list[DigitSchema]


class ReadingSchema(BaseModel):
    """A picture, read."""

    path: Annotated[str, Field(description="always '-': the request has no file name")]
    page: Annotated[int, Field(ge=1)]
    width: int
    height: int
    text: Annotated[str, Field(description="lines joined by ' / '; empty without digits")]
    confidence: Probability
    lines: list[LineSchema]


class ExplanationSchema(BaseModel):
    """One digit, read step by step."""

    digit: Annotated[int, Field(ge=0, le=9)]
    confidence: Probability
    scan: Annotated[str, Field(description="the order in which the pixels are read: rows, …")]
    belief: Annotated[
        list[list[Probability]],
        Field(description="the probabilities of 0 to 9 after each step"),
    ]
    picture: Annotated[
        list[list[Annotated[int, Field(ge=0, le=255)]]],
        Field(description="the input of the network: 28 rows of 28 pixels, 0 paper, 255 ink"),
    ]


class Health(BaseModel):
    """The service runs."""

    status: str
    version: str


class Error(BaseModel):
    """What went wrong."""

    detail: str
