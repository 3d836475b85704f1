"""App: the routes of a review. What is kept is up to `store`, what is read up to `intake`."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

import rowscan
from rowscan.errors import DataError, MissingExtraError
from rowscan.review.exports import EXPORTS
from rowscan.review.intake import Intake
from rowscan.review.learning import Learning
from rowscan.review.pictures import Pictures
from rowscan.review.store import Author, Change, Store
from rowscan.server.errors import on_data, on_http, on_parameter
from rowscan.server.executor import BoundedExecutor
from rowscan.server.guard import Guard
from rowscan.server.metrics import Metrics
from rowscan.server.pages import add_pages

_THREADS = 4  # requests that touch the database or a picture at a time
_WAITING = 256
_YEAR = 31_536_000  # seconds

T = TypeVar("T")
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
    hosts: Sequence[str] | None = None,
) -> FastAPI:
    """The review of a folder as an ASGI application.

    Args:
        folder: the pictures.
        store: its database.
        intake: reads it; `start` was called.
        learning: learns from it.
        user: who corrects, until the page is told another name.
        hosts: names that requests may have in `Host`; by default any.
    """
    executor = BoundedExecutor(_THREADS, _WAITING)
    metrics = Metrics(pending=lambda: executor.pending, held=lambda: 0)
    pictures = Pictures(folder)

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

    database = store.name

    def author(body: AuthorBody) -> Author:
        if body.database != database:
            raise HTTPException(409, "another folder is served here now; open the page again")
        return Author(body.user, body.session)

    async def run(function: Callable[..., T], *arguments: object) -> T:
        return await executor.run(function, *arguments)

    @app.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse({"status": "ok", "version": rowscan.__version__})

    @app.get("/v1/review")
    async def news(readings: int = 0, corrections: int = 0) -> Response:
        """The pages, or those with news since these numbers, and how far everything is."""

        def answer() -> dict[str, Any]:
            newest = store.newest()  # before the rows: what comes between is sent twice
            rows = store.entries(readings=readings, corrections=corrections)
            return {
                "database": database,
                "folder": folder.resolve().name,
                "user": user,
                "readings": newest[0],
                "corrections": newest[1],
                "pages": [list(row) for row in rows],
                "progress": vars(intake.progress),
                "learning": learning.to_dict(),
            }

        return JSONResponse(await run(answer))

    @app.get("/v1/review/pages/{page}")
    async def get_page(page: int) -> Response:
        return JSONResponse(await run(_page, store, page))

    @app.get("/v1/review/pages/{page}/picture")
    async def get_picture(page: int) -> Response:
        def draw() -> bytes:
            entry = store.entry(page)
            return pictures.jpeg(entry["path"], entry["hash"], entry["number"])

        # The page asks for it with the hash of the content.
        kept = {"Cache-Control": f"private, max-age={_YEAR}, immutable"}
        return Response(await run(draw), media_type="image/jpeg", headers=kept)

    @app.post("/v1/review/corrections")
    async def correct(body: GestureBody) -> Response:
        changes = [Change(**change.model_dump()) for change in body.changes]
        await run(store.correct, author(body), body.gesture, changes)
        return Response(status_code=204)

    @app.post("/v1/review/pages/{page}/look")
    async def look(page: int, body: AuthorBody) -> Response:
        await run(store.look, author(body), page)
        return Response(status_code=204)

    @app.post("/v1/review/{way}")
    async def revert(way: Literal["undo", "redo"], body: AuthorBody) -> Response:
        pages = await run(store.undo if way == "undo" else store.redo, author(body))
        return JSONResponse({"pages": pages})

    @app.get("/v1/review/files/{name}")
    async def get_file(name: str) -> Response:
        if name not in EXPORTS:
            raise HTTPException(404, "Not Found")
        write, kind = EXPORTS[name]
        try:
            content = await run(lambda: b"".join(write(store)))
        except MissingExtraError as error:
            raise HTTPException(501, str(error)) from None
        attached = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=kind, headers=attached)

    @app.post("/v1/review/learning/{what}")
    async def learn(what: Literal["start", "stop", "use"], body: AuthorBody) -> Response:
        user = author(body).user
        if what == "use":
            await run(learning.use, user)
        else:
            await run(learning.start if what == "start" else learning.stop)
        return JSONResponse(learning.to_dict())

    add_pages(app, ["rowscan.server", "rowscan.review"], {"/": "review.html"})
    return app


def _page(store: Store, page: int) -> dict[str, Any]:
    import json

    entry = store.entry(page)
    content = json.loads(entry["content"])
    return {
        "id": page,
        "path": entry["path"],
        "number": entry["number"],
        "status": entry["status"],
        "state": entry["state"],
        "confidence": entry["confidence"],
        "width": content["width"],
        "height": content["height"],
        "error": content.get("error"),
        "lines": [{**line, "digits": None} for line in store.lines(page)],
    }
