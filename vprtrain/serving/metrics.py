"""What the service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "vprtrain_requests",
            "Answered requests",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "vprtrain_request_seconds",
            "Time from a request to the end of its answer",
            ["route"],
            registry=self._registry,
        )
        self.audio_seconds = Counter(
            "vprtrain_audio_seconds", "Seconds of audio that were decoded", registry=self._registry
        )
        self.batch_size = Histogram(
            "vprtrain_batch_size",
            "Recordings that were embedded together",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )
        self.streams = Gauge("vprtrain_streams", "Open streams", registry=self._registry)

    def text(self) -> bytes:
        """All of them in Prometheus's text format, of the type :data:`CONTENT_TYPE`."""
        return generate_latest(self._registry)
