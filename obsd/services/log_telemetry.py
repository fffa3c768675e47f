"""What the log engines say about themselves, read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from obsd.services.engine_telemetry import counters, gauges, rejected, wal_sync
from obsd.services.log_store import LogStore

Stores = Iterable[tuple[str, LogStore]]

_GAUGES: Final[tuple[tuple[str, str, Callable[[Any], float]], ...]] = (
    ("obsd_log_memtable_records", "Log records in memory.", lambda s: s.memtable_records),
    ("obsd_log_memtable_bytes", "Memory of the log records in memory.", lambda s: s.memtable_bytes),
    ("obsd_log_wal_bytes", "Write-ahead log of logs on disk.", lambda s: s.wal_bytes),
    ("obsd_log_segments", "Log segments on disk.", lambda s: s.segments),
    ("obsd_log_segment_bytes", "Size of the log segments.", lambda s: s.segment_bytes),
    ("obsd_log_segment_records", "Log records in segments.", lambda s: s.segment_records),
    (
        "obsd_log_quarantined_segments",
        "Damaged log segments set aside.",
        lambda s: s.quarantined_segments,
    ),
)
_COUNTERS: Final[tuple[tuple[str, str, Callable[[Any], float]], ...]] = (
    ("obsd_log_records_total", "Log records stored.", lambda s: s.records),
    (
        "obsd_log_duplicate_records_total",
        "Log records passed over: they had come before.",
        lambda s: s.duplicates,
    ),
    ("obsd_log_flushes_total", "Memtables turned into segments.", lambda s: s.flushes),
    (
        "obsd_log_flush_seconds_total",
        "Time spent on flushes of memtables.",
        lambda s: s.flush_seconds,
    ),
    ("obsd_log_merges_total", "Merges of log segments.", lambda s: s.merges),
    (
        "obsd_log_merge_seconds_total",
        "Time spent on merges of log segments.",
        lambda s: s.merge_seconds,
    ),
)


class LogCollector(Collector):
    """Every open project's numbers, labeled by project."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def describe(self) -> Iterable[Metric]:
        return []  # Registering must not ask the engines, which may still replay.

    def collect(self) -> Iterator[Metric]:
        stats = [(project, store.stats()) for project, store in self._stores]
        yield from gauges(_GAUGES, stats)
        yield from counters(_COUNTERS, stats)
        yield rejected("obsd_log_rejected_records_total", "Log records that were refused.", stats)
        yield wal_sync("obsd_log_wal_sync_duration_seconds", "the write-ahead log of logs", stats)
