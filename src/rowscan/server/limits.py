"""Limits: how much the service takes on before it says no. Values, no behaviour."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client may send, and what all of them together may ask for at a time."""

    body: int = 20_000_000
    """Bytes of a request's body; more is answered with 413."""
    pixels: int = 50_000_000
    """Pixels of a picture, as its header says, so it is not decoded; more is answered with 413."""
    lines: int = 200
    """Lines of writing in a picture; more is answered with 413."""
    head_seconds: float = 10.0
    """From the first byte, or the opening of a connection, to the end of a request's head; the
    connection is closed."""
    body_seconds: float = 30.0
    """From the head to the end of the body; answered with 408."""
    idle_seconds: int = 5
    """Between an answer and the next request on the same connection; then it is closed."""
    shutdown_seconds: int = 20
    """What is running when the service is told to end has so long to finish."""
    waiting: int = 128
    """Pictures that wait until a core is free; with more the answer is 503."""
    held: int = 200_000_000
    """Bytes of all bodies that lie in memory; with more the answer is 503."""
    connections: int = 500
    """Open connections; one more is answered with 503 and closed."""
