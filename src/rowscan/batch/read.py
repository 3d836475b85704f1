"""Read: one picture, in the process that asks. Whatever fails becomes one line, never an exception.

How a page is read is up to `rowscan.reader`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from rowscan.arrays import UInt8
from rowscan.batch.items import COPY_MARK, HEAD, End, Filled, Job, Page, Picture
from rowscan.errors import RowscanError, TooLargeError
from rowscan.io.pictures import open_pages
from rowscan.io.storage import open_binary
from rowscan.reading import Reading

if TYPE_CHECKING:
    from rowscan.forms.form import Forms
    from rowscan.forms.results import FormReading
    from rowscan.reader import Reader

_R = TypeVar("_R", Reading, "FormReading")
_NOTHING = Reading(width=0, height=0, lines=(), confidence=0.0)


def open_reader(job: Job, threads: int = 1) -> "Reader | Forms":
    """A reader whose line model has been loaded; of the forms of the job, if it has any.

    Raises:
        ModelError: the model cannot be opened, or does not read lines.
        UsageError: it cannot read the alphabet or the pattern of the job.
        DataError: a form cannot be opened.
    """
    if job.forms:
        from rowscan.forms.form import Forms

        return Forms.open(job.forms, job.model, threads)
    from rowscan.reader import Reader  # here, because the parent of workers needs no reader

    reader = Reader(job.model, alphabet=job.alphabet, pattern=job.pattern, threads=threads)
    reader.constraint()  # loads the line model, and checks the alphabet and the pattern
    return reader


def read_picture(picture: Picture, reader: "Reader | Forms", job: Job) -> Iterator[Page | End]:
    """Yield the pages of one picture, then its `End`, with one line about what went wrong."""
    from rowscan.reader import Reader

    if _is_copy(picture):
        yield End(picture.path, left_out="annotated copies")
        return
    error, failed, page = None, None, 1
    source = picture.path if picture.content is None else picture.content
    try:
        if not isinstance(reader, Reader):
            for form in _up_to(job.max_pages, reader.read_all(source)):
                yield Filled(picture.path, _NOTHING, form)
                page = form.page + 1
        else:
            readings = _up_to(
                job.max_pages,
                reader.read_pages(
                    source, min_confidence=job.min_confidence, show_other=job.show_other
                ),
            )
            if job.annotate is None:
                for reading in readings:
                    yield Page(picture.path, reading)
                    page += 1
            else:
                for reading, pixels in zip(readings, open_pages(source, colour=True), strict=True):
                    error = _save_copy(picture.path, pixels, reading, job) or error
                    yield Page(picture.path, reading)
                    page += 1
    except RowscanError as problem:
        error, failed = problem.reason, page
    except MemoryError:
        error, failed = "not enough memory", page
    except Exception as problem:  # a bug must not stop the other pictures
        error, failed = f"internal error: {type(problem).__name__}: {problem}", page
    yield End(picture.path, error and " ".join(error.split()), failed)


def _up_to(pages: int, readings: Iterator[_R]) -> Iterator[_R]:
    """The first pages of a document.

    Raises:
        TooLargeError: it has more.
    """
    for reading in readings:
        if reading.page > pages:
            raise TooLargeError(None, f"more than {pages:,} pages; --max-pages reads more")
        yield reading


def _is_copy(picture: Picture) -> bool:
    """Whether it is an annotated copy, which an earlier run has written."""
    head = picture.content
    if head is None:
        try:
            with open_binary(picture.path) as file:
                head = file.read(HEAD)
        except RowscanError:
            return False
    return COPY_MARK in head[:HEAD]


def _save_copy(
    path: str, pixels: UInt8[np.ndarray, "height width *rgb"], reading: Reading, job: Job
) -> str | None:
    """Save an annotated copy; what went wrong, which does not affect the reading."""
    from rowscan.batch.annotate import annotated_path, draw, save

    assert job.annotate is not None
    try:
        save(
            draw(pixels, reading),
            annotated_path(path, job.annotate, base=job.base, page=reading.page),
        )
    except RowscanError as error:
        return str(error)
    return None
