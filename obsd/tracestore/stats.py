"""What a span engine says about itself: plain numbers, for metrics and status pages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpanStats:
    """One moment of a span engine.

    Attributes:
        memtable_spans, memtable_bytes: in memory, not in segments yet.
        segments, segment_spans, segment_traces, segment_bytes, granules: on disk; a trace that is
            in several segments counts for each.
        wal_bytes, wal_segments: on disk.
        wal_sync_bounds_s, wal_sync_counts, wal_sync_sum_s: a histogram of sync times; the counts
            are per bucket, the last one being over all bounds.
        quarantined_segments: segments set aside as damaged, before or since the start.
        spans, rejected: write totals since the start.
        sampled_out: spans that retention left out, since the start.
        flushes, flush_seconds, merges, merge_seconds: work totals since the start.
    """

    memtable_spans: int
    memtable_bytes: int
    segments: int
    segment_spans: int
    segment_traces: int
    segment_bytes: int
    granules: int
    wal_bytes: int
    wal_segments: int
    wal_sync_bounds_s: tuple[float, ...]
    wal_sync_counts: tuple[int, ...]
    wal_sync_sum_s: float
    quarantined_segments: int
    spans: int
    rejected: dict[str, int]
    sampled_out: int
    flushes: int
    flush_seconds: float
    merges: int
    merge_seconds: float
