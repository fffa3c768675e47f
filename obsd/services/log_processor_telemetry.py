"""What is done with log records before they are stored, in counts by project."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from obsd.services.log_processors import LogProcessors, ProcessorStats

_COUNTERS: Final[tuple[tuple[str, str, Callable[[ProcessorStats], int]], ...]] = (
    (
        "obsd_log_pipeline_changed_records_total",
        "Log records that were parsed or changed before they were stored.",
        lambda stats: stats.changed,
    ),
    (
        "obsd_log_pipeline_dropped_records_total",
        "Log records that a processor dropped.",
        lambda stats: stats.dropped,
    ),
    (
        "obsd_log_pipeline_joined_records_total",
        "Lines of stack traces that became part of the record before them.",
        lambda stats: stats.joined,
    ),
)


class ProcessorCollector(Collector):
    """Every project's counts, labeled by project."""

    def __init__(self, processors: LogProcessors) -> None:
        self._processors = processors

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        stats = self._processors.stats()
        for name, text, read in _COUNTERS:
            counter = CounterMetricFamily(name, text, labels=["project"])
            for project, each in stats:
                counter.add_metric([project], read(each))
            yield counter
