"""What an engine says about itself: plain numbers, for metrics and status pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from obsd import _native


@dataclass(frozen=True, slots=True)
class LevelStats:
    """The parts of one level of the merge tree; 0 is fresh from the head."""

    level: int
    parts: int
    size_bytes: int
    samples: int
    series: int
    chunks: int


def level_stats(parts: Iterable[_native.PartStats]) -> tuple[LevelStats, ...]:
    """Sums by level, lowest first."""
    levels: defaultdict[int, list[_native.PartStats]] = defaultdict(list)
    for part in parts:
        levels[part.level].append(part)
    return tuple(
        LevelStats(
            level,
            parts=len(members),
            size_bytes=sum(part.size_bytes for part in members),
            samples=sum(part.samples for part in members),
            series=sum(part.series for part in members),
            chunks=sum(part.chunks for part in members),
        )
        for level, members in sorted(levels.items())
    )


@dataclass(frozen=True, slots=True)
class EngineStats:
    """One moment of an engine.

    Attributes:
        registered_series: series in the registry.
        active_series: series with samples in the head.
        head_samples, head_bytes: in memory, not in parts yet.
        head_min_time_ms, head_max_time_ms: their range; None without samples.
        min_time_ms, max_time_ms: the range of everything stored; None when nothing is.
        registry_bytes: memory of the registry without its postings.
        wal_bytes, wal_segments: on disk.
        wal_sync_bounds_s, wal_sync_counts, wal_sync_sum_s: a histogram of sync times; the counts
            are per bucket, the last one being over all bounds.
        levels: parts by level.
        quarantined_parts: parts set aside as damaged, before or since the start.
        samples, out_of_order_samples, duplicate_samples, overwritten_samples, histograms,
            exemplars, exemplars_dropped, rejected: write totals since the start.
        flushes, flush_seconds, merges, merge_seconds: work totals since the start.
    """

    registered_series: int
    active_series: int
    head_samples: int
    head_bytes: int
    head_min_time_ms: int | None
    head_max_time_ms: int | None
    min_time_ms: int | None
    max_time_ms: int | None
    registry_bytes: int
    wal_bytes: int
    wal_segments: int
    wal_sync_bounds_s: tuple[float, ...]
    wal_sync_counts: tuple[int, ...]
    wal_sync_sum_s: float
    levels: tuple[LevelStats, ...]
    quarantined_parts: int
    samples: int
    out_of_order_samples: int
    duplicate_samples: int
    overwritten_samples: int
    histograms: int
    exemplars: int
    exemplars_dropped: int
    rejected: dict[str, int]
    flushes: int
    flush_seconds: float
    merges: int
    merge_seconds: float


@dataclass(frozen=True, slots=True)
class Cardinality:
    """Where series come from; each list is (name, count), largest first.

    Attributes:
        series: in the registry.
        label_pairs: distinct name and value pairs.
        by_metric: series of each metric name.
        values_by_label: distinct values of each label.
        bytes_by_label: text of the distinct values of each label, in bytes.
        by_pair: series of each `name=value`.
    """

    series: int
    label_pairs: int
    by_metric: list[tuple[str, int]]
    values_by_label: list[tuple[str, int]]
    bytes_by_label: list[tuple[str, int]]
    by_pair: list[tuple[str, int]]
