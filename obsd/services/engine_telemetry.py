"""What the engines and the background tasks say about themselves, read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from obsd.services.supervisor import Supervisor, TaskState

if TYPE_CHECKING:
    from obsd.tsdb.engine import MetricsEngine
    from obsd.tsdb.stats import EngineStats

T = TypeVar("T")

Engines = Iterable[tuple[str, "MetricsEngine"]]

_GAUGES: Final[tuple[tuple[str, str, Callable[[EngineStats], float]], ...]] = (
    ("obsd_head_series", "Series with samples in memory.", lambda s: s.active_series),
    ("obsd_registered_series", "Series that were ever seen.", lambda s: s.registered_series),
    ("obsd_head_samples", "Samples in memory, not in parts yet.", lambda s: s.head_samples),
    ("obsd_head_bytes", "Memory of the samples in memory.", lambda s: s.head_bytes),
    ("obsd_registry_bytes", "Memory of the series registry.", lambda s: s.registry_bytes),
    ("obsd_wal_bytes", "Write-ahead log on disk.", lambda s: s.wal_bytes),
    ("obsd_wal_segments", "Files of the write-ahead log.", lambda s: s.wal_segments),
    ("obsd_quarantined_parts", "Damaged parts set aside.", lambda s: s.quarantined_parts),
)
_COUNTERS: Final[tuple[tuple[str, str, Callable[[EngineStats], float]], ...]] = (
    ("obsd_samples_total", "Samples stored.", lambda s: s.samples),
    ("obsd_native_histograms_total", "Native histograms stored.", lambda s: s.histograms),
    ("obsd_exemplars_total", "Exemplars stored.", lambda s: s.exemplars),
    ("obsd_exemplars_dropped_total", "Exemplars that were refused.", lambda s: s.exemplars_dropped),
    (
        "obsd_out_of_order_samples_total",
        "Samples stored that were older than their series' newest.",
        lambda s: s.out_of_order_samples,
    ),
    (
        "obsd_duplicate_samples_total",
        "Samples that were there already, with the same value.",
        lambda s: s.duplicate_samples,
    ),
    (
        "obsd_overwritten_samples_total",
        "Samples that replaced another value at their time.",
        lambda s: s.overwritten_samples,
    ),
    ("obsd_flushes_total", "Heads turned into parts.", lambda s: s.flushes),
    ("obsd_flush_seconds_total", "Time spent on flushes.", lambda s: s.flush_seconds),
    ("obsd_merges_total", "Merges of parts.", lambda s: s.merges),
    ("obsd_merge_seconds_total", "Time spent on merges.", lambda s: s.merge_seconds),
)


class EngineCollector(Collector):
    """Every open project's numbers, labeled by project."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def describe(self) -> Iterable[Metric]:
        return []  # Registering must not ask the engines, which may still replay.

    def collect(self) -> Iterator[Metric]:
        stats = [(project, engine.stats()) for project, engine in self._engines]
        yield from gauges(_GAUGES, stats)
        yield from counters(_COUNTERS, stats)
        yield rejected("obsd_rejected_samples_total", "Samples that were refused.", stats)
        yield from _levels(stats)
        yield wal_sync("obsd_wal_sync_duration_seconds", "the write-ahead log", stats)


Table = Sequence[tuple[str, str, Callable[[T], float]]]
"""Names of metrics, what they are, and how each is read."""

Stats = Sequence[tuple[str, T]]
"""The numbers of each project's engine."""


def gauges(table: Table[T], stats: Stats[T]) -> Iterator[Metric]:
    """A table of gauges, labeled by project."""
    for name, text, read in table:
        gauge = GaugeMetricFamily(name, text, labels=["project"])
        for project, each in stats:
            gauge.add_metric([project], read(each))
        yield gauge


def counters(table: Table[T], stats: Stats[T]) -> Iterator[Metric]:
    """A table of counters, labeled by project."""
    for name, text, read in table:
        counter = CounterMetricFamily(name, text, labels=["project"])
        for project, each in stats:
            counter.add_metric([project], read(each))
        yield counter


class Refusals(Protocol):
    """What an engine refused, by reason."""

    @property
    def rejected(self) -> Mapping[str, int]: ...


def rejected(name: str, text: str, stats: Iterable[tuple[str, Refusals]]) -> Metric:
    """What engines refused, by project and reason."""
    family = CounterMetricFamily(name, text, labels=["project", "reason"])
    for project, each in stats:
        for reason, count in sorted(each.rejected.items()):
            family.add_metric([project, reason], count)
    return family


def _levels(stats: list[tuple[str, EngineStats]]) -> Iterator[Metric]:
    labels = ["project", "level"]
    parts = GaugeMetricFamily("obsd_parts", "Parts on disk.", labels=labels)
    sizes = GaugeMetricFamily("obsd_part_bytes", "Size of the parts.", labels=labels)
    samples = GaugeMetricFamily("obsd_part_samples", "Samples in the parts.", labels=labels)
    chunks = GaugeMetricFamily("obsd_part_chunks", "Chunks in the parts.", labels=labels)
    for project, each in stats:
        for level in each.levels:
            where = [project, str(level.level)]
            parts.add_metric(where, level.parts)
            sizes.add_metric(where, level.size_bytes)
            samples.add_metric(where, level.samples)
            chunks.add_metric(where, level.chunks)
    yield from (parts, sizes, samples, chunks)


class WalStats(Protocol):
    """Times of syncs, as a histogram."""

    @property
    def wal_sync_bounds_s(self) -> tuple[float, ...]: ...

    @property
    def wal_sync_counts(self) -> tuple[int, ...]:
        """One more than there are bounds."""

    @property
    def wal_sync_sum_s(self) -> float: ...


def wal_sync(name: str, what: str, stats: Sequence[tuple[str, WalStats]]) -> Metric:
    """How long syncs took, of every project."""
    family = HistogramMetricFamily(name, f"How long syncs of {what} took.", labels=["project"])
    for project, each in stats:
        bounds = [*(f"{b:g}" for b in each.wal_sync_bounds_s), "+Inf"]
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(bounds, each.wal_sync_counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([project], buckets, sum_value=each.wal_sync_sum_s)
    return family


class TaskCollector(Collector):
    """The background tasks' states."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        running = GaugeMetricFamily(
            "obsd_task_running", "1 while a background task runs, else 0.", labels=["task"]
        )
        failures = CounterMetricFamily(
            "obsd_task_failures_total", "Failures of a background task.", labels=["task"]
        )
        for report in self._supervisor.reports():
            running.add_metric([report.name], report.state is TaskState.RUNNING)
            failures.add_metric([report.name], report.failures)
        yield running
        yield failures
