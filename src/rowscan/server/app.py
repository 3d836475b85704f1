"""App: the routes of the service. Reading is up to `rowscan.reader`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import rowscan
from rowscan.errors import DataError, UsageError
from rowscan.explanation import Explanation, explain
from rowscan.io.cores import available_cores
from rowscan.io.pictures import identify, open_image
from rowscan.reader import Reader
from rowscan.reading import Reading
from rowscan.server import schemas
from rowscan.server.errors import on_data, on_http, on_parameter, on_usage
from rowscan.server.executor import BoundedExecutor
from rowscan.server.guard import Guard
from rowscan.server.intake import Intake
from rowscan.server.limits import Limits
from rowscan.server.metrics import Metrics
from rowscan.server.pages import add_pages

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""The formats that are tried. Some others of Pillow's start programs."""

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.Error, "description": "No picture in the request"},
    408: {"model": schemas.Error, "description": "The body took too long"},
    413: {"model": schemas.Error, "description": "Too many bytes, pixels or lines"},
    415: {"model": schemas.Error, "description": "Not an image"},
    422: {"model": schemas.Error, "description": "A damaged image, or a wrong parameter"},
    503: {
        "model": schemas.Error,
        "description": "Busy; try again after the seconds in Retry-After",
    },
}
_PICTURE = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


def create_app(
    numbers: Reader,
    digits: Reader | None = None,
    *,
    limits: Limits | None = None,
    threads: int | None = None,
    allow_origins: Sequence[str] = (),
    allow_hosts: Sequence[str] | None = None,
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        numbers: reads pictures.
        digits: explains single digits; by default the same reader.
        limits: of requests and pictures.
        threads: pictures that are read at a time; by default one for each core.
        allow_origins: other origins whose pages may send requests.
        allow_hosts: names that requests may have in `Host`, beside `localhost` and any address; by
            default any name, since what forwards requests to this application knows its own.
    """
    limits = limits or Limits()
    executor = BoundedExecutor(threads or available_cores(), limits.waiting)
    intake = Intake(limits)
    metrics = Metrics(pending=lambda: executor.pending, held=lambda: intake.held)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        executor.close()

    app = FastAPI(
        title="Rowscan",
        summary="Reads handwritten numbers.",
        version=rowscan.__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to whatever is in Host
        lifespan=lifespan,
        exception_handlers={
            HTTPException: on_http,
            RequestValidationError: on_parameter,
            DataError: on_data,
            UsageError: on_usage,
        },
    )
    if allow_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(allow_origins), allow_methods=["GET", "POST"]
        )
    app.add_middleware(Guard, metrics=metrics, hosts=allow_hosts, origins=allow_origins)

    def read_picture(
        content: bytes, min_confidence: float, alphabet: str | None, pattern: str | None
    ) -> Reading:
        with identify(content, formats=FORMATS, max_pixels=limits.pixels) as image:
            reading = numbers.read(
                image, min_confidence=min_confidence, alphabet=alphabet, pattern=pattern
            )
        if len(reading.lines) > limits.lines:
            raise HTTPException(413, f"the picture has more than {limits.lines} lines of writing")
        return reading

    def explain_picture(content: bytes) -> Explanation:
        with identify(content, formats=FORMATS, max_pixels=limits.pixels) as image:
            return explain(open_image(image), digits or numbers)

    @app.post(
        "/v1/read",
        summary="Read the numbers in a picture",
        responses={200: {"model": schemas.ReadingSchema}, **_ERRORS},
        openapi_extra=_PICTURE,
    )
    async def read(
        request: Request,
        min_confidence: Annotated[
            float, Query(ge=0, le=1, description="characters below this confidence are written ?")
        ] = 0.0,
        alphabet: Annotated[
            str | None,
            Query(
                max_length=100,
                description="the characters to read, or digits, amount, date, time, phone",
            ),
        ] = None,
        pattern: Annotated[
            str | None,
            Query(max_length=100, description="a regular expression that each line must match"),
        ] = None,
    ) -> Response:
        """Send the picture as the body itself, or as the part `file` of a form.

        PNG, JPEG, TIFF, WebP, BMP or GIF; only the first of several frames is read.
        """
        async with intake.picture(request) as upload:
            alphabet = upload.fields.get("alphabet", alphabet)
            pattern = upload.fields.get("pattern", pattern)
            reading = await executor.run(
                read_picture, upload.content, min_confidence, alphabet or None, pattern or None
            )
        # As `rowscan read --format jsonl` writes it for standard input.
        return JSONResponse({"path": "-"} | reading.to_dict())

    @app.post(
        "/v1/explain",
        summary="Read one digit step by step",
        responses={200: {"model": schemas.ExplanationSchema}, **_ERRORS},
        openapi_extra=_PICTURE,
    )
    async def explain_digit(request: Request) -> Response:
        """The probabilities of the ten digits after each row.

        Send a picture of one digit, as for `/v1/read`.
        """
        async with intake.picture(request) as upload:
            explanation = await executor.run(explain_picture, upload.content)
        return JSONResponse(_explanation(explanation))

    @app.get("/healthz", summary="Check that the service runs", response_model=schemas.Health)
    async def healthz() -> Response:
        return JSONResponse({"status": "ok", "version": rowscan.__version__})

    @app.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def get_metrics() -> Response:
        return Response(metrics.text(), media_type=metrics.content_type)

    add_pages(app, ["rowscan.server"], {"/": "index.html", "/docs": "docs.html"})
    return app


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "digit": explanation.digit,
        "confidence": round(explanation.confidence, 4),
        "scan": explanation.scan,
        "belief": np.round(explanation.belief.astype(float), 4).tolist(),
        "picture": explanation.picture.tolist(),
    }
