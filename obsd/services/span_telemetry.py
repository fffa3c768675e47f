"""What the span engines say about themselves, read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from obsd.services.engine_telemetry import counters, gauges, rejected, wal_sync
from obsd.services.span_store import SpanStore

Stores = Iterable[tuple[str, SpanStore]]

_GAUGES: Final[tuple[tuple[str, str, Callable[[Any], float]], ...]] = (
    ("obsd_span_memtable_spans", "Spans in memory.", lambda s: s.memtable_spans),
    ("obsd_span_memtable_bytes", "Memory of the spans in memory.", lambda s: s.memtable_bytes),
    ("obsd_span_wal_bytes", "Write-ahead log of spans on disk.", lambda s: s.wal_bytes),
    ("obsd_span_segments", "Span segments on disk.", lambda s: s.segments),
    ("obsd_span_segment_bytes", "Size of the span segments.", lambda s: s.segment_bytes),
    ("obsd_span_segment_spans", "Spans in segments.", lambda s: s.segment_spans),
    (
        "obsd_span_segment_traces",
        "Traces in segments; one that is in several counts for each.",
        lambda s: s.segment_traces,
    ),
    (
        "obsd_span_quarantined_segments",
        "Damaged span segments set aside.",
        lambda s: s.quarantined_segments,
    ),
)
_COUNTERS: Final[tuple[tuple[str, str, Callable[[Any], float]], ...]] = (
    ("obsd_span_spans_total", "Spans stored.", lambda s: s.spans),
    (
        "obsd_span_sampled_out_total",
        "Spans of traces that sampling did not keep when they were old.",
        lambda s: s.sampled_out,
    ),
    ("obsd_span_flushes_total", "Memtables turned into span segments.", lambda s: s.flushes),
    (
        "obsd_span_flush_seconds_total",
        "Time spent on flushes of memtables of spans.",
        lambda s: s.flush_seconds,
    ),
    ("obsd_span_merges_total", "Merges of span segments.", lambda s: s.merges),
    (
        "obsd_span_merge_seconds_total",
        "Time spent on merges of span segments.",
        lambda s: s.merge_seconds,
    ),
)


class SpanCollector(Collector):
    """Every open project's numbers, labeled by project."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def describe(self) -> Iterable[Metric]:
        return []  # Registering must not ask the engines, which may still replay.

    def collect(self) -> Iterator[Metric]:
        stats = [(project, store.stats()) for project, store in self._stores]
        yield from gauges(_GAUGES, stats)
        yield from counters(_COUNTERS, stats)
        yield rejected("obsd_span_rejected_spans_total", "Spans that were refused.", stats)
        yield wal_sync("obsd_span_wal_sync_duration_seconds", "the write-ahead log of spans", stats)
