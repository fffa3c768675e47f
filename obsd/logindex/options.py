"""What can be set about a log engine."""

from __future__ import annotations

from dataclasses import dataclass

from obsd.segments.writer import FlushLimits


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Limits and intervals of one project's log engine.

    Attributes:
        retention_ms: how far back records are kept and accepted; None keeps everything.
        aggregate_retention_ms: how far back the counts of records are kept; None keeps them all.
        max_future_ms: how far ahead of now a record may be.
        max_body_bytes: of one record's body.
        max_metadata_bytes: of one record's attributes, ids and severity text together.
        max_attributes: of one record, apart from its resource's and its scope's.
        flush_records: a memtable with this many records is due for a flush. Replay after a crash
            reads that many again, so this bounds the time to ready.
        flush_bytes: a memtable of this size is due for a flush.
        flush_wal_bytes: a WAL of this size is due for a flush.
        flush_interval_ms: a memtable of this age is due for a flush.
        max_memtable_bytes: writes are refused (503) while memtables take this much memory.
        granule_rows: records of a full granule. More compress better; each one that a page shows a
            record of is read whole.
        max_cache_bytes: columns that searches have read lately are kept in so much memory, of all
            engines of the process together; it is what the last one says.
        merge_run: segments of like size in a day that make a merge worthwhile.
    """

    retention_ms: int | None = 7 * 86_400_000
    aggregate_retention_ms: int | None = 30 * 86_400_000
    max_future_ms: int = 600_000
    max_body_bytes: int = 1 << 20
    max_metadata_bytes: int = 64 << 10
    max_attributes: int = 128
    flush_records: int = 500_000
    flush_bytes: int = 128 << 20
    flush_wal_bytes: int = 512 << 20
    flush_interval_ms: int = 300_000
    max_memtable_bytes: int = 512 << 20
    granule_rows: int = 8192
    max_cache_bytes: int = 64 << 20
    merge_run: int = 8

    @property
    def flush_limits(self) -> FlushLimits:
        """What makes a flush due beside the number of records."""
        return FlushLimits(
            size_bytes=self.flush_bytes,
            wal_bytes=self.flush_wal_bytes,
            interval_ms=self.flush_interval_ms,
            max_memory_bytes=self.max_memtable_bytes,
        )
