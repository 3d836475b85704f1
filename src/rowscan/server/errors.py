"""Errors over HTTP: always JSON, always `{"detail": one sentence}`."""

from collections.abc import Callable, Coroutine, Mapping

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rowscan.errors import (
    DataError,
    MissingExtraError,
    OutputError,
    TooLargeError,
    UnsupportedFormatError,
    UsageError,
)

Handler = Callable[[Request, Exception], Coroutine[object, object, Response]]

RETRY = {"Retry-After": "1"}
"""Seconds: reading takes some milliseconds, so a queue is short-lived."""


class Busy(HTTPException):
    """The service is at one of its limits for all clients together."""

    def __init__(self, reason: str) -> None:
        super().__init__(503, f"busy: {reason}; try again in a second", dict(RETRY))


def answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as the client receives it."""
    return JSONResponse({"detail": detail}, status, headers)


async def on_http(request: Request, error: Exception) -> JSONResponse:
    """Errors of Starlette and this package: an unknown path or method, a limit."""
    assert isinstance(error, HTTPException)
    return answer(error.status_code, str(error.detail), error.headers)


async def on_data(request: Request, error: Exception) -> JSONResponse:
    """A body that is not a picture, or a damaged or too large one."""
    assert isinstance(error, DataError)
    status = 422
    if isinstance(error, TooLargeError):
        status = 413
    elif isinstance(error, UnsupportedFormatError):
        status = 415
    return answer(status, error.reason)


async def on_missing(request: Request, error: Exception) -> JSONResponse:
    """A format whose package is not installed here."""
    assert isinstance(error, MissingExtraError)
    return answer(415, error.reason)


async def on_usage(request: Request, error: Exception) -> JSONResponse:
    """An alphabet or a pattern that cannot be read."""
    assert isinstance(error, UsageError)
    return answer(422, str(error))


async def on_output(request: Request, error: Exception) -> JSONResponse:
    """A file of this machine that cannot be written."""
    assert isinstance(error, OutputError)
    return answer(507, str(error))


async def on_parameter(request: Request, error: Exception) -> JSONResponse:
    """A query parameter with an invalid value."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return answer(422, f"{first['loc'][-1]}: {first['msg']}")


HANDLERS: dict[int | type[Exception], Handler] = {
    HTTPException: on_http,
    RequestValidationError: on_parameter,
    DataError: on_data,
    MissingExtraError: on_missing,
    UsageError: on_usage,
    OutputError: on_output,
}
"""What answers each exception."""
