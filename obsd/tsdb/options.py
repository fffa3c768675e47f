"""What can be set about a metrics engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Limits and intervals of one project's engine.

    Attributes:
        retention_ms: how far back samples are kept and accepted; None keeps everything.
        max_future_ms: how far ahead of now a sample may be.
        max_active_series: series with samples in the head at one time. No more than four times as
            many are ever registered, in parts and in the head together: a series that ended is
            registered until its last part is past the retention.
        max_labels: labels of one series, its name included.
        max_label_name_bytes, max_label_value_bytes: of one label, in UTF-8.
        max_decompressed_bytes: of one request.
        flush_wal_bytes: a WAL of this size is due for a flush, however little was stored of it.
        flush_samples: a head with this many samples is due for a flush. Replay after a crash reads
            that many again, so this bounds the time to ready.
        flush_bytes: a head of this size is due for a flush.
        flush_interval_ms: a head of this age is due for a flush.
        max_head_bytes: writes wait outside (503) while heads take this much memory, those of all
            engines together. The registry of one may take as much again, beyond which it registers
            no series.
        partition_ms: the time that one partition of parts covers.
    """

    retention_ms: int | None = 30 * 86_400_000
    max_future_ms: int = 600_000
    max_active_series: int = 2_000_000
    max_labels: int = 64
    max_label_name_bytes: int = 1024
    max_label_value_bytes: int = 8192
    max_decompressed_bytes: int = 128 << 20
    flush_samples: int = 3_000_000
    flush_bytes: int = 512 << 20
    flush_interval_ms: int = 300_000
    flush_wal_bytes: int = 512 << 20
    max_head_bytes: int = 2 << 30
    partition_ms: int = 7_200_000

    @property
    def max_registered_series(self) -> int:
        """Series in the registry, with samples in the head or not."""
        return 4 * self.max_active_series

    @property
    def max_registry_bytes(self) -> int:
        """Memory of the registry."""
        return self.max_head_bytes
