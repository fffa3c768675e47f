"""What a write takes and gives: protocol versions, limits, decoding and outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from obsd import _native
from obsd.model.errors import TooLargeError, UndecodableError
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.wal_record import WalRecord


class Wire(Enum):
    """The protocol version of a remote write request."""

    REMOTE_WRITE_1 = 1
    REMOTE_WRITE_2 = 2


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """What became of a request.

    Attributes:
        samples, histograms, exemplars, metadata: how many were stored.
        rejected: refused samples by reason; empty when all was stored.
        messages: the first few refusals in words.
    """

    samples: int
    histograms: int
    exemplars: int
    metadata: int
    rejected: dict[str, int]
    messages: list[str]


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one request may hold."""

    decompressed_bytes: int
    labels: int
    name_bytes: int
    value_bytes: int
    new_series: int
    registered_series: int
    registry_bytes: int


NO_LIMITS = DecodeLimits(1 << 40, 1 << 30, 1 << 40, 1 << 40, 1 << 40, 1 << 40, 1 << 40)
"""For replay: the limits of the time when the request came are in its record."""


@dataclass(slots=True)
class WriteCounters:
    """Totals since the start. Written under the write lock."""

    samples: int = 0
    out_of_order: int = 0
    duplicates: int = 0
    overwrites: int = 0
    histograms: int = 0
    exemplars: int = 0
    exemplars_dropped: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    def add(self, batch: _native.Batch, appended: tuple[int, ...]) -> WriteOutcome:
        """Count what the head has made of a batch, and say it."""
        late, duplicates, overwrites, histograms, exemplars, late_exemplars, over = appended
        self.samples += batch.samples
        self.out_of_order += late
        self.duplicates += duplicates
        self.overwrites += overwrites
        self.histograms += histograms
        self.exemplars += exemplars
        self.exemplars_dropped += late_exemplars + over
        rejected = batch.rejected
        for reason, count in rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + count
        if late_exemplars:
            rejected["out_of_order_exemplar"] = late_exemplars
        return WriteOutcome(
            batch.samples, histograms, exemplars, batch.metadata, rejected, batch.messages
        )


@dataclass(slots=True)
class WorkCounters:
    """Background work since the start. Written under the flush lock and the merge lock."""

    flushes: int = 0
    flush_s: float = 0.0
    merges: int = 0
    merge_s: float = 0.0


def limits_now(options: EngineOptions, active_series: int) -> DecodeLimits:
    """What a request may hold while so many series are active."""
    return DecodeLimits(
        options.max_decompressed_bytes,
        options.max_labels,
        options.max_label_name_bytes,
        options.max_label_value_bytes,
        max(0, options.max_active_series - active_series),
        options.max_registered_series,
        options.max_registry_bytes,
    )


def decode(registry: _native.Registry, request: WalRecord, limits: DecodeLimits) -> _native.Batch:
    """Decode a request and register its new series.

    Raises:
        UndecodableError: it is no request.
        TooLargeError: it decompresses to more than the limit.
    """
    try:
        return registry.decode(
            request.body,
            request.version_2,
            limits.decompressed_bytes,
            limits.labels,
            limits.name_bytes,
            limits.value_bytes,
            limits.new_series,
            request.min_ts_ms,
            request.max_ts_ms,
            request.refused,
            limits.registered_series,
            limits.registry_bytes,
        )
    except _native.TooLargeError as error:
        raise TooLargeError("decompressed body", limits.decompressed_bytes) from error
    except ValueError as error:
        raise UndecodableError(str(error)) from error
