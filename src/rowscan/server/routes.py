"""Routes: what each address of the service answers. Reading is up to `rowscan.reader`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import rowscan
from rowscan.forms.form import Form
from rowscan.server import schemas
from rowscan.server.executor import BoundedExecutor
from rowscan.server.explanations import explanation_json
from rowscan.server.intake import File, Intake
from rowscan.server.metrics import Metrics
from rowscan.server.picture_reader import Options, PictureReader
from rowscan.server.samples import Keeper

router = APIRouter()
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.Error, "description": "No picture in the request"},
    408: {"model": schemas.Error, "description": "The body took too long"},
    413: {
        "model": schemas.Error,
        "description": "Too many bytes, pixels, pages or lines; too much to decode",
    },
    415: {"model": schemas.Error, "description": "Not an image"},
    422: {"model": schemas.Error, "description": "A damaged image, or a wrong parameter"},
    503: {
        "model": schemas.Error,
        "description": "Busy; try again after the seconds in Retry-After",
    },
}
_PICTURES = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            },
        },
    }
}


class _Query(BaseModel):
    """The parameters of `/v1/read`."""

    model_config = ConfigDict(extra="forbid")

    min_confidence: Annotated[
        float,
        Field(ge=0, le=1, description="characters below this confidence are written ?"),
    ] = 0.0
    alphabet: Annotated[
        str | None,
        Field(
            max_length=100,
            description="the characters to read, or digits, amount, date, time, phone",
        ),
    ] = None
    pattern: Annotated[
        str | None,
        Field(max_length=100, description="a regular expression that each line must match"),
    ] = None
    show_other: Annotated[bool, Field(description="write □ for characters that are not known")] = (
        False
    )
    page: Annotated[
        int | None, Field(ge=1, le=100_000, description="read this page alone, from 1")
    ] = None


def _options(query: _Query, fields: Mapping[str, str]) -> Options:
    """The parameters; fields of the form come first.

    Raises:
        RequestValidationError: a field that is none.
    """
    known = {name: value for name, value in fields.items() if name in _Query.model_fields}
    try:
        values = _Query.model_validate({**query.model_dump(), **known}).model_dump()
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
    return Options(**{name: value for name, value in values.items() if value})


def _only(files: Sequence[File]) -> File:
    """The file of a request that takes one."""
    if len(files) > 1:
        raise HTTPException(400, f"expected one file, got {len(files)}")
    return files[0]


@dataclass(frozen=True)
class Service:
    """What the routes share."""

    executor: BoundedExecutor
    pictures: PictureReader
    intake: Intake
    metrics: Metrics
    samples: Keeper | None
    forms: Mapping[str, Form]
    """By name."""


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(_service)]


@router.post(
    "/v1/read",
    summary="Read the numbers in pictures",
    responses={200: {"model": schemas.ReadingSchema | schemas.PagesSchema}, **_ERRORS},
    openapi_extra=_PICTURES,
)
async def read(request: Request, service: Shared, query: Annotated[_Query, Query()]) -> Response:
    """Send a picture or a document as the body itself, or files as parts `file` of a form.

    All formats of `rowscan read`. A file with several pages, or several files, are answered
    with an array of `pages`. The parameters may also be fields of the form.
    """
    async with service.intake.pictures(request) as upload:
        options = _options(query, upload.fields)
        answer = await service.executor.run(service.pictures.read, upload.files, options)
    return JSONResponse(answer)  # as `rowscan read --format jsonl` writes it


@router.post(
    "/v1/forms/{name}",
    summary="Read the fields of a filled form",
    responses={404: {"model": schemas.Error, "description": "No such form"}, **_ERRORS},
    openapi_extra=_PICTURES,
)
async def read_form(request: Request, service: Shared, name: str) -> Response:
    """Send a picture as for `/v1/read`. The forms are those given to `rowscan serve --form`.

    A picture that does not show the form is answered with the status `error` and the reason.
    """
    if name not in service.forms:
        known = ", ".join(service.forms) or "none"
        raise HTTPException(404, f"no form is named {name!r}; forms: {known}")
    async with service.intake.pictures(request) as upload:
        found = await service.executor.run(
            service.pictures.read_form, _only(upload.files), service.forms[name]
        )
    return JSONResponse(found)


@router.post(
    "/v1/explain",
    summary="Read step by step",
    responses={
        200: {"model": schemas.ExplanationSchema | schemas.LineExplanationSchema},
        **_ERRORS,
    },
    openapi_extra=_PICTURES,
)
async def explain_reading(
    request: Request,
    service: Shared,
    line: Annotated[int | None, Query(ge=1, description="a line of the reading, from 1")] = None,
    character: Annotated[
        int | None, Query(ge=1, description="a character of that line, from 1")
    ] = None,
) -> Response:
    """The probabilities of the ten digits after each row of a picture of one digit.

    With `line`, the probabilities of the line model at each step along a line of what
    `/v1/read` reads in the picture; with `character` too, those of the digit model after each
    row of this character alone. Send a picture as for `/v1/read`.
    """
    async with service.intake.pictures(request) as upload:
        found = await service.executor.run(
            service.pictures.explain, _only(upload.files), line, character
        )
    return JSONResponse(explanation_json(found))


@router.post(
    "/v1/picture",
    summary="Draw a page as a browser can show it",
    responses={
        200: {"content": {"image/jpeg": {}}},
        204: {"description": "The file has no such page"},
        **_ERRORS,
    },
    response_class=Response,
    openapi_extra=_PICTURES,
)
async def draw_page(
    request: Request,
    service: Shared,
    page: Annotated[int, Query(ge=1, le=100_000, description="from 1")] = 1,
) -> Response:
    """A page of a PDF, a TIFF or another file as JPEG, at the size at which it is read."""
    async with service.intake.pictures(request) as upload:
        drawn = await service.executor.run(service.pictures.draw, _only(upload.files), page)
    return Response(drawn, 200 if drawn else 204, media_type="image/jpeg" if drawn else None)


@router.get("/v1/samples", include_in_schema=False)
async def where_samples_are(service: Shared) -> Response:
    """The folder of samples; null where none are kept."""
    folder = str(service.samples.folder.resolve()) if service.samples else None
    return JSONResponse({"folder": folder})


@router.post("/v1/samples", include_in_schema=False)
async def keep_sample(request: Request, service: Shared) -> Response:
    """Keep the picture in the part `file` of a form, with the field `text`."""
    if service.samples is None:
        raise HTTPException(403, "no samples are kept here")
    async with service.intake.pictures(request) as upload:
        text, file = upload.fields.get("text"), _only(upload.files)
        if text is None:
            raise HTTPException(400, "the form has no field 'text'")
        reading = await service.executor.run(service.pictures.read_first, file)
        kept = await service.executor.run(service.samples.keep, file.content, reading, text)
    return JSONResponse({"kept": kept})


@router.get("/healthz", summary="Check that the service runs", response_model=schemas.Health)
async def healthz() -> Response:
    """Answers with its version while the service runs."""
    return JSONResponse({"status": "ok", "version": rowscan.__version__})


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def get_metrics(service: Shared) -> Response:
    """Counters and times in Prometheus's text format."""
    return Response(service.metrics.text(), media_type=service.metrics.content_type)
