"""What error tracking says about itself, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from obsd.services.error_tracking.tracker import ErrorTracker


class ErrorCollector(Collector):
    """How many errors there were, and how far behind the tracker is."""

    def __init__(self, tracker: ErrorTracker) -> None:
        self._tracker = tracker

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "obsd_error_records_total",
            "Log records and exceptions of spans that were counted as errors since the start.",
            value=self._tracker.seen,
        )
        yield GaugeMetricFamily(
            "obsd_error_tracking_lag_records",
            "Log records and spans that error tracking has still to look at.",
            value=self._tracker.lag_records,
        )
