"""What the counting of spans says about itself, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from obsd.services.span_metrics.span_metrics import SpanMetrics

_GAUGES: Final = (
    ("obsd_span_metrics_series", "Series that spans make now.", "series"),
    (
        "obsd_span_metrics_pending",
        "Spans that wait for the span of their call's other side.",
        "pending",
    ),
)
_COUNTERS: Final = (
    ("obsd_span_metrics_spans_total", "Spans that were counted.", "spans"),
    ("obsd_span_metrics_repeated_total", "Spans that had been counted before.", "repeated"),
    (
        "obsd_span_metrics_unpaired_total",
        "Spans whose call's other side did not come, and which do not name it.",
        "unpaired",
    ),
    (
        "obsd_span_metrics_dropped_total",
        "Spans that found no room to wait for their call's other side.",
        "dropped",
    ),
    (
        "obsd_span_metrics_overflowed_total",
        "Spans, calls and resources beyond the limit of series.",
        "overflowed",
    ),
)


class SpanMetricsCollector(Collector):
    """Every project's numbers, labeled by project."""

    def __init__(self, spans: SpanMetrics) -> None:
        self._spans = spans

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        totals = list(self._spans.totals())
        for name, text, key in _GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=["project"])
            for project, each in totals:
                gauge.add_metric([project], each[key])
            yield gauge
        for name, text, key in _COUNTERS:
            counter = CounterMetricFamily(name, text, labels=["project"])
            for project, each in totals:
                counter.add_metric([project], each[key])
            yield counter
