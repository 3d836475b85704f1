"""App: the routes of a review. What they answer is up to `desk`, what is kept up to `store`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

import rowscan
from rowscan.errors import DataError, MissingExtraError
from rowscan.review.changes import Author, Change
from rowscan.review.desk import Desk
from rowscan.review.exports import EXPORTS
from rowscan.review.fields import ReviewedForms
from rowscan.review.intake import Intake
from rowscan.review.learning import Learning
from rowscan.review.pictures import Pictures
from rowscan.review.store import Store
from rowscan.server.errors import on_data, on_http, on_parameter
from rowscan.server.executor import BoundedExecutor
from rowscan.server.guard import Guard
from rowscan.server.metrics import Metrics
from rowscan.server.pages import add_pages

_THREADS = 4  # requests that touch the database or a picture at a time
_WAITING = 256
_YEAR = 31_536_000  # seconds

Name = Annotated[str, Field(min_length=1, max_length=100)]
Pixel = Annotated[int, Field(ge=0, le=1_000_000)]


class ChangeBody(BaseModel):
    """As `Change`."""

    event: Name
    page: int
    line: Annotated[str, Field(max_length=100)]
    state: Name
    text: Annotated[str, Field(max_length=1000)] = ""
    box: tuple[Pixel, Pixel, Pixel, Pixel] = (0, 0, 0, 0)


class AuthorBody(BaseModel):
    """As `Author`."""

    user: Name
    session: Name
    database: Name
    """The one that the page was opened for: another folder may be served here now."""


class GestureBody(AuthorBody):
    """Changes that are undone together."""

    gesture: Name
    changes: Annotated[list[ChangeBody], Field(min_length=1, max_length=1000)]


def create_review_app(
    folder: Path,
    store: Store,
    intake: Intake,
    learning: Learning,
    *,
    user: str,
    forms: ReviewedForms | None = None,
    hosts: Sequence[str] | None = None,
) -> FastAPI:
    """The review of a folder as an ASGI application.

    Args:
        folder: the pictures.
        store: its database.
        intake: reads it; `start` was called.
        learning: learns from it.
        user: who corrects, until the page is told another name.
        forms: what the pictures are laid upon.
        hosts: names that requests may have in `Host`; by default any.
    """
    executor = BoundedExecutor(_THREADS, _WAITING)
    metrics = Metrics(pending=lambda: executor.pending, held=lambda: 0)
    known = forms or ReviewedForms(())
    desk = Desk(folder, store, intake, learning, known, user, Pictures(folder))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        executor.close()
        learning.stop()
        intake.stop()

    app = FastAPI(
        title="Rowscan review",
        version=rowscan.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        exception_handlers={
            HTTPException: on_http,
            RequestValidationError: on_parameter,
            DataError: on_data,
        },
    )
    app.add_middleware(Guard, metrics=metrics, hosts=hosts)
    _add_views(app, desk, executor)
    _add_changes(app, desk, executor)
    add_pages(app, ["rowscan.server", "rowscan.review"], {"/": "review.html"})
    return app


def _add_views(app: FastAPI, desk: Desk, executor: BoundedExecutor) -> None:
    """What the page shows."""

    @app.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse({"status": "ok", "version": rowscan.__version__})

    @app.get("/v1/review")
    async def news(readings: int = 0, corrections: int = 0) -> Response:
        return JSONResponse(await executor.run(desk.news, readings, corrections))

    @app.get("/v1/review/pages/{page}")
    async def get_page(page: int) -> Response:
        return JSONResponse(await executor.run(desk.page, page))

    @app.get("/v1/review/pages/{page}/picture")
    async def get_picture(page: int, number: int | None = None) -> Response:
        # The page asks for it with the hash of the content.
        kept = {"Cache-Control": f"private, max-age={_YEAR}, immutable"}
        content = await executor.run(desk.picture, page, number)
        return Response(content, media_type="image/jpeg", headers=kept)

    @app.get("/v1/review/files/{name}")
    async def get_file(name: str) -> Response:
        if name not in EXPORTS:
            raise HTTPException(404, "Not Found")
        try:
            content = await executor.run(desk.file, name)
        except MissingExtraError as error:
            raise HTTPException(501, str(error)) from None
        attached = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=EXPORTS[name][1], headers=attached)


def _add_changes(app: FastAPI, desk: Desk, executor: BoundedExecutor) -> None:
    """What people do."""
    store, learning = desk.store, desk.learning
    database = store.name

    def author(body: AuthorBody) -> Author:
        if body.database != database:
            raise HTTPException(409, "another folder is served here now; open the page again")
        return Author(body.user, body.session)

    @app.post("/v1/review/corrections")
    async def correct(body: GestureBody) -> Response:
        changes = [Change(**change.model_dump()) for change in body.changes]
        await executor.run(store.correct, author(body), body.gesture, changes)
        return Response(status_code=204)

    @app.post("/v1/review/pages/{page}/look")
    async def look(page: int, body: AuthorBody) -> Response:
        await executor.run(store.look, author(body), page)
        return Response(status_code=204)

    @app.post("/v1/review/{way}")
    async def revert(way: Literal["undo", "redo"], body: AuthorBody) -> Response:
        pages = await executor.run(store.undo if way == "undo" else store.redo, author(body))
        return JSONResponse({"pages": pages})

    @app.post("/v1/review/learning/{what}")
    async def learn(what: Literal["start", "stop", "use"], body: AuthorBody) -> Response:
        user = author(body).user
        if what == "use":
            await executor.run(learning.use, user)
        else:
            await executor.run(learning.start if what == "start" else learning.stop)
        return JSONResponse(learning.to_dict())
