"""App: the routes of the page for a new form. What is kept is up to `draft`."""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import FastAPI, Response
from pydantic import BaseModel
from starlette.responses import FileResponse, JSONResponse

import rowscan
from rowscan.designer.draft import Draft
from rowscan.server.errors import HANDLERS
from rowscan.server.guard import Guard
from rowscan.server.metrics import Metrics
from rowscan.server.pages import add_pages


class FormBody(BaseModel):
    """What the page says of the form."""

    name: str
    fields: list[dict[str, Any]]


def create_designer_app(draft: Draft, *, hosts: Sequence[str] | None = None) -> FastAPI:
    """The page for a new form as an ASGI application.

    Args:
        draft: the form.
        hosts: names that requests may have in `Host`; by default any.
    """
    metrics = Metrics(pending=lambda: 0, held=lambda: 0)
    writing = threading.Lock()
    app = FastAPI(
        title="Rowscan form",
        version=rowscan.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers=HANDLERS,
    )
    app.add_middleware(Guard, metrics=metrics, hosts=hosts)

    @app.get("/v1/form")
    def get_form() -> Response:
        sizes = [{"width": width, "height": height} for width, height in draft.sizes()]
        values = msgspec.to_builtins(draft.form)
        return JSONResponse(values | {"file": str(draft.path), "sizes": sizes})

    @app.put("/v1/form")
    def put_form(body: FormBody) -> Response:
        with writing:
            draft.change(body.model_dump())
        return Response(status_code=204)

    @app.get("/v1/form/pages/{number}")
    def get_page(number: int) -> Response:
        return FileResponse(draft.page(number))

    packages = ["rowscan.server", "rowscan.review", "rowscan.designer"]
    add_pages(app, packages, {"/": "designer.html"})
    return app
