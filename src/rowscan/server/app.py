"""App: the service as an ASGI application. What each address answers is in `routes`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import rowscan
from rowscan.forms.form import Form
from rowscan.io.cores import available_cores
from rowscan.reader import Reader
from rowscan.server.errors import HANDLERS
from rowscan.server.executor import BoundedExecutor
from rowscan.server.guard import Guard
from rowscan.server.intake import Intake
from rowscan.server.limits import Limits
from rowscan.server.metrics import Metrics
from rowscan.server.pages import add_pages
from rowscan.server.picture_reader import PictureReader
from rowscan.server.routes import Service, router
from rowscan.server.samples import Keeper


def create_app(
    numbers: Reader,
    digits: Reader | None = None,
    *,
    limits: Limits | None = None,
    threads: int | None = None,
    allow_origins: Sequence[str] = (),
    allow_hosts: Sequence[str] | None = None,
    samples: Keeper | None = None,
    forms: Sequence[Form] = (),
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
        samples: keeps pictures with corrected texts, where a user of the page says so; by default
            nothing is ever kept.
        forms: those that `/v1/forms/NAME` reads.
    """
    service = _service(
        numbers=numbers,
        digits=digits or numbers,
        limits=limits or Limits(),
        threads=threads or available_cores(),
        samples=samples,
        forms=forms,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.executor.close()
        service.pictures.close()

    app = FastAPI(
        title="Rowscan",
        summary="Reads handwritten numbers.",
        version=rowscan.__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to whatever is in Host
        lifespan=lifespan,
        exception_handlers=HANDLERS,
    )
    app.state.service = service
    if allow_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(allow_origins), allow_methods=["GET", "POST"]
        )
    app.add_middleware(Guard, metrics=service.metrics, hosts=allow_hosts, origins=allow_origins)
    app.include_router(router)
    add_pages(app, ["rowscan.server"], {"/": "index.html", "/docs": "docs.html"})
    return app


def _service(
    *,
    numbers: Reader,
    digits: Reader,
    limits: Limits,
    threads: int,
    samples: Keeper | None,
    forms: Sequence[Form],
) -> Service:
    executor, intake = BoundedExecutor(threads, limits.waiting), Intake(limits)
    return Service(
        executor=executor,
        pictures=PictureReader(numbers, digits, limits, threads),
        intake=intake,
        metrics=Metrics(pending=lambda: executor.pending, held=lambda: intake.held),
        samples=samples,
        forms={form.name: form for form in forms},
    )
