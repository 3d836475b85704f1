"""Connection: uvicorn's HTTP/1.1 with limits on connections. Limits on requests are elsewhere."""

import asyncio
from typing import ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from rowscan.server.limits import ServerLimits

BACKLOG = 512
"""Connections that wait to be accepted."""

_DETAIL = b'{"detail":"busy: too many open connections; try again in a second"}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
) % (len(_DETAIL), _DETAIL)


class LimitedConnection(H11Protocol):
    """One client's connection.

    uvicorn limits the time between requests and expects a proxy to limit the rest. Rowscan is also
    used without one, so it limits the number of connections and the time for the head of a request.
    """

    limits: ClassVar[ServerLimits] = ServerLimits()
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, or refuse the connection if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.write(_FULL)
            transport.close()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Handle bytes of a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Run the timer while no request is being answered; more bytes do not restart it."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            self._forget()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.head_seconds, self.transport.close)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def limited_server(app: ASGIApp, limits: ServerLimits) -> uvicorn.Server:
    """A server for the application that observes all of the limits."""
    config = uvicorn.Config(
        app,
        http=type("_Connection", (LimitedConnection,), {"limits": limits}),
        ws="none",
        backlog=BACKLOG,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )
    return uvicorn.Server(config)
