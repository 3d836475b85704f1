"""Errors over HTTP: always JSON, always `{"detail": one sentence}`."""

from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

RETRY = {"Retry-After": "1"}
"""Seconds; a reading takes some milliseconds, so a queue is gone in less."""


class Busy(HTTPException):
    """More is asked for at once than the service takes on."""

    def __init__(self, reason: str) -> None:
        super().__init__(503, f"busy: {reason}; try again in a second", dict(RETRY))


def answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as the client sees it."""
    return JSONResponse({"detail": detail}, status, headers)


async def on_http(request: Request, error: Exception) -> JSONResponse:
    """What Starlette and this package raise: a path or method that is none, a limit."""
    assert isinstance(error, HTTPException)
    return answer(error.status_code, str(error.detail), error.headers)


async def on_data(request: Request, error: Exception) -> JSONResponse:
    """An image that turns out to be damaged when it is decoded."""
    return answer(422, str(error))


async def on_parameter(request: Request, error: Exception) -> JSONResponse:
    """A query parameter that cannot be understood."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return answer(422, f"{first['loc'][-1]}: {first['msg']}")
