"""Schemas: the form of the answers, only for the description at `/openapi.json`.

The answers themselves come from `rowscan.reading`; a test compares both.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Box = Annotated[
    tuple[int, int, int, int],
    Field(description="x, y, width and height, in pixels of the upright picture"),
]


class RunnerUp(BaseModel):
    """The second most probable character, if it is close."""

    character: str
    confidence: Probability


class CharacterSchema(BaseModel):
    """One character and its place."""

    character: Annotated[str, Field(description="a digit, a sign, or ? below min_confidence")]
    confidence: Probability
    box: Box
    runner_up: RunnerUp | None = None


class DigitRunnerUp(RunnerUp):
    """As in version 0.1."""

    digit: str


class DigitSchema(CharacterSchema):
    """A character, as in version 0.1."""

    digit: str
    runner_up: DigitRunnerUp | None = None


class LineSchema(BaseModel):
    """One line of writing."""

    text: Annotated[str, Field(description="what is written, signs included")]
    digits_only: Annotated[str, Field(description="its digits alone")]
    confidence: Probability
    box: Box
    row: Annotated[int | None, Field(description="in a grid or table, from 1")] = None
    column: int | None = None
    characters: list[CharacterSchema]
    digits: Annotated[
        list[DigitSchema],
        Field(description="the characters, as version 0.1 called them", deprecated=True),
    ]


class RejectedSchema(BaseModel):
    """A line that was found and is not in the reading."""

    box: Box
    text: Annotated[str, Field(description="its likeliest text; empty if nothing was read in it")]
    confidence: Annotated[Probability, Field(description="that it belongs to the reading")]
    reason: str


class ReadingSchema(BaseModel):
    """A picture, read."""

    path: Annotated[str, Field(description="'-'; of several files, their names as they were sent")]
    page: Annotated[int, Field(ge=1)]
    status: Annotated[Literal["read", "empty"], Field(description="whether there was a number")]
    width: int
    height: int
    text: Annotated[str, Field(description="lines joined by ' / '; empty without numbers")]
    confidence: Annotated[Probability, Field(description="that all of this is right and complete")]
    lines: list[LineSchema]
    rejected: list[RejectedSchema]


class UnreadableSchema(ReadingSchema):
    """A page that could not be read, among others."""

    status: Literal["error"]  # type: ignore[assignment]
    error: str


class PagesSchema(BaseModel):
    """Several pages or files."""

    pages: list[ReadingSchema | UnreadableSchema]


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


class LineExplanationSchema(BaseModel):
    """One line of a reading, step by step."""

    text: Annotated[str, Field(description="what is read in the line")]
    confidence: Probability
    box: Box
    alphabet: Annotated[list[str], Field(description="the characters that the line model knows")]
    belief: Annotated[
        list[list[Probability]],
        Field(
            description="at each step along the line, the probability of no new character, then of "
            "each of the alphabet"
        ),
    ]
    places: Annotated[
        list[tuple[float, float, float, float]],
        Field(description="of each step, x and y of its upper and of its lower end in the picture"),
    ]
    steps: Annotated[
        list[int], Field(description="the step, from 0, at which each character of the text ends")
    ]
    picture: Annotated[
        list[list[Annotated[int, Field(ge=0, le=255)]]],
        Field(description="the input of the network: 32 rows, 0 paper, 255 ink"),
    ]


class Health(BaseModel):
    """The service runs."""

    status: str
    version: str


class Error(BaseModel):
    """What went wrong."""

    detail: str
