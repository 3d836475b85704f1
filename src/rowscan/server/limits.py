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
    """Lines of writing that are found on a page; more are refused before any is read."""
    pages: int = 20
    """Pages in a request, of all its files together; more are refused."""
    files: int = 20
    """Files in a form; more are answered with 400."""
    seconds: float = 15.0
    """Time to decode and read a request's pictures; pages that are not decoded then are refused."""
    memory: int = 450_000_000
    """Bytes of data for decoding a picture, in the process that does it; then it is refused."""
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
