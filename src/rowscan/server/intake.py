"""Intake: from a request to the bytes of one picture, within the limits. It decodes nothing."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from rowscan.server.errors import Busy
from rowscan.server.limits import Limits


class Intake:
    """Receives request bodies and counts their bytes in memory.

    Attributes:
        held: bytes of the bodies that are being received or read.
    """

    def __init__(self, limits: Limits) -> None:
        self.held = 0
        self._limits = limits

    @asynccontextmanager
    async def picture(self, request: Request) -> AsyncIterator[bytes]:
        """The picture in a request: its body, or the part `file` of a form.

        Its bytes count as held until the context ends.

        Raises:
            HTTPException: 400 no picture or a malformed form; 408 too slow; 413 too large.
            Busy: too many bytes in memory.
        """
        share = _Share(self, self._limits)
        try:
            yield await self._in_time(request, share)
        finally:
            self.held -= share.size

    async def _in_time(self, request: Request, share: "_Share") -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await _receive(request, share.counted(request), self._limits)
        except TimeoutError:
            # The rest of the body would be taken for the next request.
            raise HTTPException(
                408,
                f"the body took longer than {self._limits.body_seconds:g} seconds",
                {"Connection": "close"},
            ) from None


class _Share:
    """The bytes that one request adds to those held."""

    def __init__(self, intake: Intake, limits: Limits) -> None:
        self.size = 0
        self._intake = intake
        self._limits = limits

    async def counted(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The body as it arrives; an error once it is too large."""
        limit = self._limits.body
        too_large = HTTPException(413, f"the body is larger than {limit:,} bytes")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise too_large
        async for chunk in request.stream():
            if self.size + len(chunk) > limit:
                raise too_large
            if self._intake.held + len(chunk) > self._limits.held:
                raise Busy("too many pictures are being sent")
            self.size += len(chunk)
            self._intake.held += len(chunk)
            yield chunk


async def _receive(request: Request, body: AsyncGenerator[bytes, None], limits: Limits) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        content = b"".join([chunk async for chunk in body])
    else:
        parser = MultiPartParser(request.headers, body, max_files=1, max_fields=10)
        parser.spool_max_size = limits.body + 1  # keep it in memory
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise HTTPException(400, f"not a form: {error.message}") from None
        try:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise HTTPException(400, "the form has no file named 'file'")
            content = await file.read()
        finally:
            await form.close()
    if not content:
        raise HTTPException(400, "no picture: the body is empty")
    return content
