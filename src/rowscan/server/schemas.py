"""Schemas: what the answers look like, for the description at `/openapi.json` and nothing else.

The answers themselves come from the reader; a test holds them to these.
"""

from typing import Annotated

from pydantic import BaseModel, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Box = Annotated[
    tuple[int, int, int, int],
    Field(description="x, y, width and height, in pixels of the picture as it is looked at"),
]


class RunnerUp(BaseModel):
    """The next likeliest digit, where it is close."""

    digit: str
    confidence: Probability


class Digit(BaseModel):
    """One digit and where it stands."""

    digit: Annotated[str, Field(description="0 to 9, or ? below min_confidence")]
    confidence: Probability
    box: Box
    runner_up: RunnerUp | None = None


class Line(BaseModel):
    """One line of writing."""

    text: str
    confidence: Probability
    box: Box
    digits: list[Digit]


class Reading(BaseModel):
    """A picture, read."""

    path: Annotated[str, Field(description="'-': pictures come without a name")]
    page: Annotated[int, Field(ge=1)]
    width: int
    height: int
    text: Annotated[str, Field(description="lines joined by ' / '; empty if there is no digit")]
    confidence: Probability
    lines: list[Line]


class Explanation(BaseModel):
    """One digit, read step by step."""

    digit: Annotated[int, Field(ge=0, le=9)]
    confidence: Probability
    scan: Annotated[str, Field(description="the order in which the pixels are read: rows, …")]
    belief: Annotated[
        list[list[Probability]],
        Field(description="for each step the probabilities of 0 to 9 once it has been read"),
    ]
    picture: Annotated[
        list[list[Annotated[int, Field(ge=0, le=255)]]],
        Field(description="what the network saw: 28 rows of 28 pixels, 0 is paper, 255 ink"),
    ]


class Health(BaseModel):
    """The service answers."""

    status: str
    version: str


class Error(BaseModel):
    """What was wrong."""

    detail: str
