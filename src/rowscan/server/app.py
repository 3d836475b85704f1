"""App: the routes of the service. What it reads, the reader reads; limits and headers stand beside.

Nothing that a client sends becomes a path: the files of the page are in memory under their names.
"""

import hashlib
import io
import mimetypes
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import Annotated, Any

import numpy as np
import PIL.Image
from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import rowscan
from rowscan.errors import DataError
from rowscan.explanation import Explanation, explain
from rowscan.io.pictures import open_image
from rowscan.reader import Reader
from rowscan.reading import Reading
from rowscan.server import schemas
from rowscan.server.errors import on_data, on_http, on_parameter
from rowscan.server.guard import Guard
from rowscan.server.intake import Intake
from rowscan.server.limits import Limits
from rowscan.server.metrics import Metrics
from rowscan.server.workers import Workers

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What is tried on a picture. Pillow knows more, and some of those start other programs."""

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.Error, "description": "No picture"},
    408: {"model": schemas.Error, "description": "The body came too slowly"},
    413: {"model": schemas.Error, "description": "Too many bytes, pixels or lines"},
    415: {"model": schemas.Error, "description": "Not an image"},
    422: {"model": schemas.Error, "description": "A damaged image, or a wrong parameter"},
    503: {"model": schemas.Error, "description": "Busy; Retry-After says when to come again"},
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
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        numbers: reads pictures.
        digits: explains single digits; by default the same reader.
        limits: what it takes on.
        threads: pictures that are read at a time; by default one a core.
        allow_origins: origins of other pages that may ask; none by default.
    """
    limits = limits or Limits()
    workers = Workers(threads or _cores(), limits.waiting)
    intake = Intake(limits)
    metrics = Metrics(pending=lambda: workers.pending, held=lambda: intake.held)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        workers.close()

    app = FastAPI(
        title="Rowscan",
        summary="Reads handwritten numbers.",
        version=rowscan.__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers={
            HTTPException: on_http,
            RequestValidationError: on_parameter,
            DataError: on_data,
        },
    )
    if allow_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(allow_origins), allow_methods=["GET", "POST"]
        )
    app.add_middleware(Guard, metrics=metrics)

    def read_picture(content: bytes, min_confidence: float) -> Reading:
        with _open(content, limits) as image:
            reading = numbers.read(image, min_confidence=min_confidence)
        if len(reading.lines) > limits.lines:
            raise HTTPException(413, f"the picture has more than {limits.lines} lines of writing")
        return reading

    def explain_picture(content: bytes) -> Explanation:
        with _open(content, limits) as image:
            return explain(open_image(image), digits or numbers)

    @app.post(
        "/v1/read",
        summary="Read the numbers in a picture",
        responses={200: {"model": schemas.Reading}, **_ERRORS},
        openapi_extra=_PICTURE,
    )
    async def read(
        request: Request,
        min_confidence: Annotated[
            float, Query(ge=0, le=1, description="a digit that is less sure is written ?")
        ] = 0.0,
    ) -> Response:
        """Send the picture as the body itself, or as the part `file` of a form.

        PNG, JPEG, TIFF, WebP, BMP or GIF; of several frames the first is read.
        """
        async with intake.picture(request) as content:
            reading = await workers.run(read_picture, content, min_confidence)
        # As `rowscan read --format jsonl` has it for a picture from standard input.
        return JSONResponse({"path": "-"} | reading.to_dict())

    @app.post(
        "/v1/explain",
        summary="Read one digit step by step",
        responses={200: {"model": schemas.Explanation}, **_ERRORS},
        openapi_extra=_PICTURE,
    )
    async def explain_digit(request: Request) -> Response:
        """What the network believes after each row of the digit.

        Send a picture of one digit, as for `/v1/read`.
        """
        async with intake.picture(request) as content:
            explanation = await workers.run(explain_picture, content)
        return JSONResponse(_explanation(explanation))

    @app.get("/healthz", summary="Is the service there?", response_model=schemas.Health)
    async def healthz() -> Response:
        return JSONResponse({"status": "ok", "version": rowscan.__version__})

    @app.get("/metrics", summary="What it has done, for Prometheus", response_class=Response)
    async def get_metrics() -> Response:
        return Response(metrics.text(), media_type=metrics.content_type)

    _add_page(app)
    return app


def _add_page(app: FastAPI) -> None:
    """The page at `/`, the description of the service at `/docs`, and what they load."""
    folder = resources.files("rowscan.server").joinpath("static")
    files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}

    async def get(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "Not Found")
        content = files[name]
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        # The browser asks each time whether its copy is still good: an update is there at once.
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(content, media_type=kind, headers=headers)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        return await get(request, "index.html")

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    async def docs(request: Request) -> Response:
        return await get(request, "docs.html")

    @app.api_route("/static/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def static(request: Request, name: str) -> Response:
        return await get(request, name)


def _open(content: bytes, limits: Limits) -> PIL.Image.Image:
    """The picture, not yet decoded, if it is one and not too large.

    Raises:
        HTTPException: 413 too many pixels; 415 not an image; 422 a damaged one.
    """
    try:
        image = PIL.Image.open(io.BytesIO(content), formats=FORMATS)
    except PIL.UnidentifiedImageError:
        raise HTTPException(
            415, f"not an image of one of the formats {', '.join(FORMATS)}"
        ) from None
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        raise HTTPException(413, _too_many(limits)) from None
    except Exception as error:  # a decoder raises whatever damaged bytes lead it to
        raise HTTPException(422, f"damaged image: {' '.join(str(error).split())}") from None
    if image.width * image.height > limits.pixels:
        raise HTTPException(413, f"{image.width} x {image.height} pixels: {_too_many(limits)}")
    return image


def _too_many(limits: Limits) -> str:
    return f"more than {limits.pixels / 1e6:g} megapixels"


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "digit": explanation.digit,
        "confidence": round(explanation.confidence, 4),
        "scan": explanation.scan,
        "belief": np.round(explanation.belief.astype(float), 4).tolist(),
        "picture": explanation.picture.tolist(),
    }


def _cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
