"""Intake: from a request to the bytes of its pictures, within the limits. It decodes nothing."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from rowscan.server.errors import Busy
from rowscan.server.limits import Limits


@dataclass(frozen=True)
class File:
    """A picture that was sent."""

    name: str
    """As the client calls it: never a path to open."""
    content: bytes


@dataclass(frozen=True)
class Upload:
    """What was sent."""

    files: list[File]
    """At least one."""
    fields: Mapping[str, str]
    """The other fields of the form, if it was one."""


class Intake:
    """Receives request bodies and counts their bytes in memory.

    Attributes:
        held: bytes of the bodies that are being received or read.
    """

    def __init__(self, limits: Limits) -> None:
        self.held = 0
        self._limits = limits

    @asynccontextmanager
    async def pictures(self, request: Request) -> AsyncIterator[Upload]:
        """The pictures in a request: its body, or the parts `file` of a form, with other fields.

        Their bytes count as held until the context ends.

        Raises:
            HTTPException: 400 no picture or a malformed form; 408 too slow; 413 too large.
            Busy: too many bytes in memory.
        """
        size = 0

        async def counted() -> AsyncGenerator[bytes, None]:
            nonlocal size
            too_large = HTTPException(413, f"the body is larger than {self._limits.body:,} bytes")
            declared = request.headers.get("content-length", "")
            if declared.isdecimal() and int(declared) > self._limits.body:
                raise too_large
            async for chunk in request.stream():
                if size + len(chunk) > self._limits.body:
                    raise too_large
                if self.held + len(chunk) > self._limits.held:
                    raise Busy("too many pictures are being sent")
                size += len(chunk)
                self.held += len(chunk)
                yield chunk

        try:
            yield await self._in_time(_receive(request, counted(), self._limits))
        finally:
            self.held -= size

    async def _in_time(self, receiving: Awaitable[Upload]) -> Upload:
        seconds = self._limits.body_seconds
        try:
            async with asyncio.timeout(seconds):
                return await receiving
        except TimeoutError:
            # Without closing, the rest of the body would be taken for the next request.
            close = {"Connection": "close"}
            detail = f"the body took longer than {seconds:g} seconds"
            raise HTTPException(408, detail, close) from None


async def _receive(request: Request, body: AsyncGenerator[bytes, None], limits: Limits) -> Upload:
    fields: dict[str, str] = {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        files = [File("-", b"".join([chunk async for chunk in body]))]
    else:
        parser = MultiPartParser(request.headers, body, max_files=limits.files, max_fields=10)
        parser.spool_max_size = limits.body + 1  # keep it in memory
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise HTTPException(400, f"not a form: {error.message}") from None
        try:
            sent = [part for part in form.getlist("file") if isinstance(part, UploadFile)]
            if not sent:
                raise HTTPException(400, "the form has no file named 'file'")
            files = [File(part.filename or "-", await part.read()) for part in sent]
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
        finally:
            await form.close()
    if not any(file.content for file in files):
        raise HTTPException(400, "no picture: the body is empty")
    return Upload(files, fields)
