"""Metrics: counters and gauges of the service, in the text format of Prometheus."""

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
    """The metrics of one application, in a registry of its own: a process can have several."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, *, pending: Callable[[], float], held: Callable[[], float]) -> None:
        """Register the metrics.

        Args:
            pending: the number of pictures that are being read or wait.
            held: bytes of request bodies in memory.
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
            ("rowscan_pictures_pending", "Pictures being read or waiting", pending),
            ("rowscan_body_bytes_held", "Bytes of request bodies in memory", held),
        ):
            Gauge(name, text, registry=self._registry).set_function(value)

    def count(self, *, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that has been answered.

        Args:
            method: of the request.
            path: of the route, not of the request: each new value takes memory.
            status: of the answer.
            seconds: from the head of the request to the end of the answer.
        """
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """All metrics, for a scrape."""
        return generate_latest(self._registry)
