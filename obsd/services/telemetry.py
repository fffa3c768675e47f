"""obsd's own metrics: what `/metrics` answers and self-monitoring stores.

Every name is in docs/operations.md; a test holds the two together.
"""

from __future__ import annotations

import platform
import threading
import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.registry import Collector

from obsd import __version__
from obsd.services.receiver_telemetry import ReceiverTelemetry

_LATENCY_BOUNDS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0),
)
_LAG_BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
# Whatever else a client may send as a method would be a label value of its choosing.
_METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"})
_QUERY_KINDS: Final = {
    f"{prefix}/api/v1/{name}": kind
    for prefix in ("", "/prometheus")
    for name, kind in (("query", "instant"), ("query_range", "range"), ("read", "remote_read"))
}


class Telemetry:
    """The registry and what is counted while serving. Thread-safe."""

    CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        # Without it, each counter has a second series for its birth, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge(
            "obsd_build_info",
            "What runs: always 1, labeled by version.",
            ["version", "python_version"],
            registry=registry,
        )
        build.labels(__version__, platform.python_version()).set(1)
        Gauge(
            "obsd_start_time_seconds", "When this process started, in Unix time.", registry=registry
        ).set(time.time())
        Gauge("obsd_threads", "Python threads of the process.", registry=registry).set_function(
            threading.active_count
        )
        self.ready = Gauge(
            "obsd_ready", "1 while queries and writes are served, else 0.", registry=registry
        )
        self.event_loop_lag = Histogram(
            "obsd_event_loop_lag_seconds",
            "How late the event loop ran a timer.",
            buckets=_LAG_BOUNDS_S,
            registry=registry,
        )
        self._requests = Counter(
            "obsd_http_requests_total",
            "Requests answered, remote write aside.",
            ["method", "route", "code"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "obsd_http_request_duration_seconds",
            "Time from a request's headers to its answer, remote write aside.",
            ["route"],
            buckets=_LATENCY_BOUNDS_S,
            registry=registry,
        )
        self._queries = Counter(
            "obsd_queries_total", "Queries answered.", ["kind", "code"], registry=registry
        )
        self._query_seconds = Histogram(
            "obsd_query_duration_seconds",
            "Time from a query's request to its answer.",
            ["kind"],
            buckets=_LATENCY_BOUNDS_S,
            registry=registry,
        )
        self._writes = Counter(
            "obsd_write_requests_total",
            "Remote write requests answered.",
            ["code"],
            registry=registry,
        )
        self._write_seconds = Histogram(
            "obsd_write_duration_seconds",
            "Time from a remote write request's headers to its answer, the sync of the log"
            " included.",
            buckets=_LATENCY_BOUNDS_S,
            registry=registry,
        )
        self.collections = Counter(
            "obsd_self_monitoring_runs_total",
            "Collections of this host's and obsd's own metrics.",
            ["result"],
            registry=registry,
        )
        self.receivers = ReceiverTelemetry(registry)
        # A code's counter once found is kept: looking it up costs more than counting.
        self._write_counters: dict[int, Counter] = {}

    def register(self, collector: Collector) -> None:
        """Add what is read at the time of a collection."""
        self.registry.register(collector)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        known_method = method if method in _METHODS else "other"
        self._requests.labels(known_method, route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)
        kind = _QUERY_KINDS.get(route)
        if kind is not None:
            self._queries.labels(kind, str(status)).inc()
            self._query_seconds.labels(kind).observe(seconds)

    def observe_write(self, status: int, seconds: float) -> None:
        """Count an answered remote write request."""
        counter = self._write_counters.get(status)
        if counter is None:
            counter = self._write_counters[status] = self._writes.labels(str(status))
        counter.inc()
        self._write_seconds.observe(seconds)

    def render(self) -> bytes:
        """Everything as exposition text 0.0.4. Blocks: engines are asked for their numbers."""
        return generate_latest(self.registry)
