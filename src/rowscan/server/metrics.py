"""Metrics: what the service has done, in Prometheus' text format."""

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counters of one application; each has its own, so that two in a process do not clash."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, *, pending: Callable[[], float], held: Callable[[], float]) -> None:
        """Start at zero.

        Args:
            pending: how many pictures are being read or wait for it.
            held: how many bytes of bodies are in memory.
        """
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "rowscan_requests",
            "Requests answered",
            ("method", "path", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "rowscan_request_seconds",
            "Time from a request's head to the end of its answer",
            ("path",),
            registry=self._registry,
            buckets=_SECONDS,
        )
        for name, text, value in (
            ("rowscan_pictures_pending", "Pictures being read or waiting for it", pending),
            ("rowscan_body_bytes_held", "Bytes of request bodies in memory", held),
        ):
            Gauge(name, text, registry=self._registry).set_function(value)

    def count(self, *, method: str, path: str, status: int, seconds: float) -> None:
        """A request has been answered.

        Args:
            method: what the client asked with.
            path: the path of the route, never one that a client made up: each would be kept.
            status: of the answer.
            seconds: that it took.
        """
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """All counters, to be scraped."""
        return generate_latest(self._registry)
