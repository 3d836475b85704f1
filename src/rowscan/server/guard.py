"""Guard: the outermost middleware: foreign pages, security headers, metrics, any exception.

A page on another site can reach a service on this machine in two ways. It sends a form or a script
request: its `Origin` is then another than the service's. Or its own name is made to resolve to this
machine ("DNS rebinding"): then its `Host` is a name that the service does not have. An address in
`Host` cannot be rebound.
"""

import ipaddress
import logging
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rowscan.server.errors import answer
from rowscan.server.metrics import Metrics

_log = logging.getLogger("uvicorn.error")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer. The page has no inline scripts or styles and loads no other hosts."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Guard:
    """ASGI middleware around everything but Starlette's own error middleware."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        hosts: Collection[str] | None = None,
        origins: Collection[str] = (),
    ) -> None:
        """Wrap an application.

        Args:
            app: answers the requests.
            metrics: count them.
            hosts: names of this service, besides `localhost` and IP addresses; None allows all.
            origins: other origins whose pages may send requests; "*" is any.
        """
        self._app = app
        self._metrics = metrics
        self._hosts = None if hosts is None else {"localhost", *(host.lower() for host in hosts)}
        self._origins = set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        start = time.perf_counter()
        try:
            app = self._refusal(scope) or self._app
            await app(scope, receive, send_guarded)
        except ClientDisconnect:
            return
        except Exception as error:
            _log.error("%s %s", scope["method"], scope["path"], exc_info=error)
            if status:  # the answer has begun already
                raise
            await answer(500, "internal error")(scope, receive, send_guarded)
        self._metrics.count(
            method=scope["method"] if scope["method"] in _METHODS else "other",
            path=getattr(scope.get("route"), "path", "other"),
            status=status,
            seconds=time.perf_counter() - start,
        )

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """The answer to a request that a page of another site may have sent."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        known = self._hosts is None or not host or _is_address(host) or _name(host) in self._hosts
        if not known:
            return answer(
                421, "the service does not have the name in Host; --allow-host gives it one"
            )
        origin = headers.get("origin")
        if (
            scope["method"] not in ("GET", "HEAD", "OPTIONS")
            and origin is not None
            and urlsplit(origin).netloc.lower() != host.lower()
            and not self._origins & {origin, "*"}
        ):
            return answer(
                403, "a page of another origin sent this; --allow-origin lets it send requests"
            )
        return None


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    return host.rpartition(":")[0].lower() if host.rpartition(":")[2].isdigit() else host.lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(_name(host).strip("[]"))
    except ValueError:
        return False
    return True
