"""Pages: files that browsers load. They are in memory by their names; no name is used as a path."""

import hashlib
import mimetypes
from collections.abc import Mapping, Sequence
from importlib import resources

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


def add_pages(app: FastAPI, packages: Sequence[str], pages: Mapping[str, str]) -> None:
    """Serve the files in the folders `static` of some packages, below `/static/`.

    Args:
        app: gets the routes.
        packages: of files with the same name, that of the last package counts.
        pages: the file at each path, such as `index.html` at `/`.
    """
    files = {
        entry.name: entry.read_bytes()
        for package in packages
        for entry in resources.files(package).joinpath("static").iterdir()
        if entry.is_file()
    }

    async def get(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "Not Found")
        content = files[name]
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        # The browser checks its copy each time, so an update is visible at once.
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(content, media_type=kind, headers=headers)

    async def page(request: Request) -> Response:
        return await get(request, pages[request.url.path])

    async def static(request: Request) -> Response:
        return await get(request, request.path_params["name"])

    methods = ["GET", "HEAD"]
    for path in pages:
        app.add_api_route(path, page, methods=methods, include_in_schema=False)
    app.add_api_route("/static/{name}", static, methods=methods, include_in_schema=False)
