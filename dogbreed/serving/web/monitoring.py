"""What the server counts, for Prometheus; and a log of requests that names nobody's data."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from dogbreed.serving.answers import Answer
from dogbreed.serving.errors import RequestError

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_PICTURES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128)
# Lines of the log wait so long for others, that writing costs nothing while the server is busy.
LOG_EVERY_S = 0.5


class Monitor:
    """Counters in a registry of their own; the threads of the server may call everything."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a further series for each, with the time of its beginning
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("dogbreed_requests", "Answered requests.", ["route", "status"], registry=registry)
        self._rejected = Counter("dogbreed_rejected", "Requests that were not taken in.", ["reason"], registry=registry)
        self._latency = Histogram(
            "dogbreed_request_seconds",
            "From a request's headers to its whole answer, of POST /invocations with status 200.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._pictures = Counter("dogbreed_pictures", "Pictures, by outcome.", ["outcome"], registry=registry)
        self._batch = Histogram(
            "dogbreed_batch_pictures", "Pictures in a forward pass.", buckets=_PICTURES, registry=registry
        )
        self._wait = Histogram(
            "dogbreed_batch_wait_seconds",
            "From a decoded picture to its forward pass.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._network = Counter("dogbreed_network_busy_seconds", "In forward passes.", registry=registry)
        self._decoding = Counter("dogbreed_decode_busy_seconds", "In reading and decoding.", registry=registry)
        self._rows: dict[tuple[str, int], Counter] = {}
        self._answered, self._failed = (self._pictures.labels(outcome) for outcome in ("answered", "failed"))

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Show a number as it is when somebody looks.

        Args:
            name: Of the gauge, behind ``dogbreed_``.
            help_text: One sentence.
            read: Returns the number.
        """
        Gauge(f"dogbreed_{name}", help_text, registry=self.registry).set_function(read)

    def decoded(self, seconds: float) -> None:
        """Count a piece of work in a thread that decodes."""
        self._decoding.inc(seconds)

    def batch_started(self, waits_s: Sequence[float]) -> None:
        """Count a batch; how long each of its pictures has waited for it."""
        self._batch.observe(len(waits_s))
        for wait_s in waits_s:
            self._wait.observe(wait_s)

    def batch_ended(self, seconds: float, outcomes: Sequence[Answer | RequestError]) -> None:
        """Count what came of a batch."""
        self._network.inc(seconds)
        num_failed = sum(isinstance(outcome, RequestError) for outcome in outcomes)
        self._answered.inc(len(outcomes) - num_failed)
        if num_failed:
            self._failed.inc(num_failed)

    def unreadable(self) -> None:
        """Count a picture that is none."""
        self._pictures.labels("unreadable").inc()

    def rejected(self, reason: str) -> None:
        """Count a request that was not taken in."""
        self._rejected.labels(reason).inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request.

        Args:
            route: One of ours, or ``other``: what clients ask for is no label.
            status: HTTP status.
            seconds: From its headers to its whole answer.
        """
        key = route, status
        if key not in self._rows:
            self._rows[key] = self._requests.labels(route, str(status))
        self._rows[key].inc()
        if status == 200 and route == "/invocations":
            self._latency.observe(seconds)

    def text(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self.registry)


class AccessLog:
    """A line per request: time, method, route, status, milliseconds, bytes; neither address, nor query, nor body.

    Args:
        stream: Where lines go, several at a time.
    """

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def note(self, method: str, route: str, status: int, seconds: float, num_bytes: int) -> None:
        """Note a request, on the event loop; it is written soon."""
        if not self._lines:
            asyncio.get_running_loop().call_later(LOG_EVERY_S, self.flush)
        now = time.strftime("%Y-%m-%dT%H:%M:%S")
        self._lines.append(f"{now} {method} {route} {status} {1000 * seconds:.1f} ms {num_bytes} bytes\n")

    def flush(self) -> None:
        """Write what was noted."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._stream.write("".join(lines))
            self._stream.flush()
