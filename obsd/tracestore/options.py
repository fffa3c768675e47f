"""What can be set about a span engine."""

from __future__ import annotations

from dataclasses import dataclass

from obsd.segments.writer import FlushLimits


@dataclass(frozen=True, slots=True)
class SpanOptions:
    """Limits and intervals of one project's span engine.

    Attributes:
        retention_ms: how far back every trace is kept; None keeps everything.
        sampled_retention_ms: how far back the traces that tell most are kept, and spans accepted;
            never less than `retention_ms`.
        max_span_bytes: of one span, encoded.
        max_attributes: of one span, those of its events and links among them.
        flush_spans: a memtable with this many spans is due for a flush. Replay after a crash reads
            that many again, so this bounds the time to ready.
        flush_bytes: a memtable of this size is due for a flush.
        flush_wal_bytes: a WAL of this size is due for a flush.
        flush_interval_ms: a memtable of this age is due for a flush.
        max_memtable_bytes: writes are refused (503) while memtables take this much memory.
        granule_spans: spans of a full granule.
        max_cache_bytes: columns that searches have read lately are kept in so much memory, of all
            engines of the process together; it is what the last one says.
        sampled_share: of the traces past `retention_ms`, how many are kept whatever they are.
        sampled_slowest: and of a day how many of the slowest of each root operation.
        merge_run: segments of like size in a day that make a merge worthwhile.
    """

    retention_ms: int | None = 86_400_000
    sampled_retention_ms: int | None = 7 * 86_400_000
    max_span_bytes: int = 1 << 20
    max_attributes: int = 1024
    flush_spans: int = 400_000
    flush_bytes: int = 128 << 20
    flush_wal_bytes: int = 512 << 20
    flush_interval_ms: int = 300_000
    max_memtable_bytes: int = 512 << 20
    granule_spans: int = 8192
    max_cache_bytes: int = 64 << 20
    sampled_share: float = 0.05
    sampled_slowest: int = 20
    merge_run: int = 8

    @property
    def kept_ms(self) -> int | None:
        """How far back anything is kept."""
        if self.retention_ms is None or self.sampled_retention_ms is None:
            return None
        return max(self.retention_ms, self.sampled_retention_ms)

    @property
    def flush_limits(self) -> FlushLimits:
        """What makes a flush due beside the number of spans."""
        return FlushLimits(
            size_bytes=self.flush_bytes,
            wal_bytes=self.flush_wal_bytes,
            interval_ms=self.flush_interval_ms,
            max_memory_bytes=self.max_memtable_bytes,
        )
