"""Limits: how much the service accepts before it refuses. Values without behaviour."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the application, under any ASGI server."""

    body: int = 20_000_000
    """Bytes of a request body; a larger one is answered with 413."""
    pixels: int = 50_000_000
    """Pixels of a picture, by its header, before it is decoded; more are answered with 413."""
    lines: int = 200
    """Lines of writing in a picture; more are answered with 413."""
    body_seconds: float = 30.0
    """Time from the head of a request to the end of its body; then it is answered with 408."""
    waiting: int = 128
    """Pictures that wait for a free core; further ones are answered with 503."""
    held: int = 200_000_000
    """Bytes of all request bodies in memory; more are answered with 503."""


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Limits of connections, in `serve`. Another ASGI server has its own settings for these."""

    head_seconds: float = 10.0
    """Time from the first byte, or the start of a connection, to the end of a request's head; then
    the connection is closed."""
    idle_seconds: int = 5
    """Time between an answer and the next request; then the connection is closed."""
    connections: int = 500
    """Open connections; a further one is answered with 503 and closed."""
    shutdown_seconds: int = 20
    """Time for requests in progress when the service is told to stop."""
