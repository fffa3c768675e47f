"""What a log engine says about itself: plain numbers, for metrics and status pages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogStats:
    """One moment of a log engine.

    Attributes:
        memtable_records, memtable_bytes: in memory, not in segments yet.
        segments, segment_records, segment_bytes, granules: on disk.
        min_time_ns, max_time_ns: the range of everything stored; None when nothing is.
        wal_bytes, wal_segments: on disk.
        wal_sync_bounds_s, wal_sync_counts, wal_sync_sum_s: a histogram of sync times; the counts
            are per bucket, the last one being over all bounds.
        quarantined_segments: segments set aside as damaged, before or since the start.
        records, duplicates, rejected: write totals since the start.
        flushes, flush_seconds, merges, merge_seconds: work totals since the start.
    """

    memtable_records: int
    memtable_bytes: int
    segments: int
    segment_records: int
    segment_bytes: int
    granules: int
    min_time_ns: int | None
    max_time_ns: int | None
    wal_bytes: int
    wal_segments: int
    wal_sync_bounds_s: tuple[float, ...]
    wal_sync_counts: tuple[int, ...]
    wal_sync_sum_s: float
    quarantined_segments: int
    records: int
    duplicates: int
    rejected: dict[str, int]
    flushes: int
    flush_seconds: float
    merges: int
    merge_seconds: float
