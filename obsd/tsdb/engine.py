"""The metrics engine of one project: takes remote write requests, keeps them, and reads them.

A request is decoded, appended to the WAL and to the head, and acknowledged when the WAL is synced.
A flush turns the head into a part and lets go of the WAL. Queries read parts, the head that is
being flushed, and the head.

Concurrency: every method may be called from any thread. One lock orders appends to the WAL and
the head, so that replay repeats what happened; a second one makes flushes and merges take turns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from obsd import _native
from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.errors import OverloadedError, TooLargeError, UndecodableError
from obsd.model.exemplar import Exemplar
from obsd.model.labels import Labels
from obsd.model.matcher import Matcher
from obsd.model.metadata import Metadata
from obsd.model.samples import Columns, Matrix, RollupSpec
from obsd.tsdb import filenames
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.reader import Reader, Source
from obsd.tsdb.series_log import SeriesLog
from obsd.tsdb.stats import Cardinality
from obsd.tsdb.wal import OnDurable, Wal, WalRecord

log = logging.getLogger(__name__)

_FOREVER_MS = 1 << 62


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


class MetricsEngine:
    """One project's samples."""

    def __init__(self, directory: Path, options: EngineOptions, clock: Clock) -> None:
        """Use `open`."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._options = options
        self._clock = clock
        self._series = SeriesLog(directory / filenames.SERIES)
        self._registry = self._series.registry
        self._wal = Wal(directory / filenames.WAL_DIRECTORY)
        self._write_lock = threading.Lock()
        self._flush_lock = threading.Lock()
        # Changed under both locks; read without, as one reference.
        self._heads: tuple[_native.Head, ...] = (_native.Head(),)
        self.counters = WriteCounters()
        self._reader = Reader(self._registry)

    @staticmethod
    def open(directory: Path, options: EngineOptions, clock: Clock) -> MetricsEngine:
        """Open a directory, making it if need be, and replay its WAL."""
        engine = MetricsEngine(directory, options, clock)
        engine._replay()
        return engine

    # Writing

    def write(self, body: bytes, wire: Wire, on_durable: OnDurable) -> WriteOutcome:
        """Take a snappy-compressed remote write request.

        When this returns, queries see its samples. `on_durable(None)` is called from another
        thread once the disk has them, or with the error that prevents that; only then may the
        request be acknowledged.

        Raises:
            UndecodableError: it is not such a request; nothing was stored.
            TooLargeError: it decompresses to more than the limit.
            OverloadedError: the head is full; nothing was stored.
            StorageUnavailableError: the disk refuses; nothing was stored.
        """
        now_ms = self._clock.now_ms()
        if self._head_bytes() > self._options.max_head_bytes:
            raise OverloadedError("the metrics head is full: flushing does not keep up")
        min_ts_ms, max_ts_ms = self._acceptable_times(now_ms)
        version_2 = wire is Wire.REMOTE_WRITE_2
        batch = self._decode(body, version_2, min_ts_ms, max_ts_ms, self._series_room())
        record = WalRecord(version_2, batch.hit_series_limit, now_ms, min_ts_ms, max_ts_ms, body)
        with self._write_lock:
            if batch.generation != self._registry.generation:
                # Series were removed since: some that the batch names may be gone.
                batch = self._decode(body, version_2, min_ts_ms, max_ts_ms, self._series_room())
            self._wal.append(record, on_durable)
            return self._apply(batch)

    def _acceptable_times(self, now_ms: int) -> tuple[int, int]:
        retention_ms = self._options.retention_ms
        oldest_ms = -_FOREVER_MS if retention_ms is None else now_ms - retention_ms
        return oldest_ms, now_ms + self._options.max_future_ms

    def _series_room(self) -> int:
        active = max(head.series for head in self._heads)
        return max(0, self._options.max_active_series - active)

    def _head_bytes(self) -> int:
        return sum(head.size_bytes for head in self._heads)

    def _decode(
        self, body: bytes, version_2: bool, min_ts_ms: int, max_ts_ms: int, room: int
    ) -> _native.Batch:
        options = self._options
        try:
            return self._registry.decode(
                body,
                version_2,
                options.max_decompressed_bytes,
                options.max_labels,
                options.max_label_name_bytes,
                options.max_label_value_bytes,
                room,
                min_ts_ms,
                max_ts_ms,
            )
        except _native.TooLargeError as error:
            raise TooLargeError("decompressed body", options.max_decompressed_bytes) from error
        except ValueError as error:
            raise UndecodableError(str(error)) from error

    def _apply(self, batch: _native.Batch) -> WriteOutcome:
        """Put a batch into the head. Under the write lock."""
        late, duplicates, overwrites, histograms, exemplars, exemplars_late, exemplars_over = (
            self._heads[-1].append(self._registry, batch)
        )
        counters = self.counters
        counters.samples += batch.samples
        counters.out_of_order += late
        counters.duplicates += duplicates
        counters.overwrites += overwrites
        counters.histograms += histograms
        counters.exemplars += exemplars
        counters.exemplars_dropped += exemplars_late + exemplars_over
        rejected = batch.rejected
        for reason, count in rejected.items():
            counters.rejected[reason] = counters.rejected.get(reason, 0) + count
        if exemplars_late:
            rejected["out_of_order_exemplar"] = exemplars_late
        return WriteOutcome(
            batch.samples, histograms, exemplars, batch.metadata, rejected, batch.messages
        )

    def _replay(self) -> None:
        """Put what the WAL holds into the head, decoding on every core."""
        started_s = time.perf_counter()

        def decode(record: WalRecord) -> _native.Batch | UndecodableError:
            room = 0 if record.limited else _FOREVER_MS
            times_ms = (record.min_ts_ms, record.max_ts_ms)
            try:
                return self._decode(record.body, record.version_2, *times_ms, room)
            except UndecodableError as error:
                return error

        with ThreadPoolExecutor(2, thread_name_prefix="wal-replay") as pool:
            for batch in pool.map(decode, self._wal.replay()):
                if isinstance(batch, UndecodableError):
                    log.error("WAL record does not decode", extra={"data": {"error": str(batch)}})
                else:
                    self._apply(batch)
        samples = self._heads[-1].samples
        self.counters = WriteCounters()
        if samples:
            seconds = time.perf_counter() - started_s
            log.info(
                "WAL replayed", extra={"data": {"samples": samples, "seconds": round(seconds, 3)}}
            )

    # Reading

    def _sources(self) -> list[Source]:
        """What samples are read from now, oldest first."""
        return list(self._heads)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, budget: QueryBudget
    ) -> Columns:
        """Samples of the matching series in [start_ms, end_ms]; series without any left out."""
        return self._reader.select(self._sources(), matchers, start_ms, end_ms, budget)

    def rollup(self, matchers: Sequence[Matcher], spec: RollupSpec, budget: QueryBudget) -> Matrix:
        """A function over a sliding window of each matching series."""
        return self._reader.rollup(self._sources(), matchers, spec, budget)

    def rollup_columns(self, columns: Columns, spec: RollupSpec, budget: QueryBudget) -> Matrix:
        """The same over samples that the caller has made, as subqueries do."""
        return self._reader.rollup_columns(columns, spec, budget)

    def series(
        self,
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
    ) -> list[Labels]:
        """Label sets, sorted, of series with samples in the range that any selector matches."""
        return self._reader.series(self._sources(), matcher_sets, start_ms, end_ms, limit)

    def label_names(
        self,
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
    ) -> list[str]:
        """Label names, sorted, of those series."""
        names = self._reader.label_names(self._sources(), matcher_sets, start_ms, end_ms)
        return names[:limit]

    def label_values(
        self,
        name: str,
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
    ) -> list[str]:
        """Values, sorted, of one label on those series."""
        sources = self._sources()
        values = self._reader.label_values(sources, name, matcher_sets, start_ms, end_ms)
        return values[:limit]

    def exemplars(
        self, matcher_sets: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[tuple[Labels, list[Exemplar]]]:
        """Exemplars, by time, of each series that any selector matches and that has some."""
        return self._reader.exemplars(self._sources(), matcher_sets, start_ms, end_ms)

    def metadata(self, metric: str | None = None) -> dict[str, Metadata]:
        """What senders said about metric families, or about one."""
        return self._reader.metadata(metric)

    def cardinality(self, limit: int) -> Cardinality:
        """Where series come from: the `limit` largest of each kind."""
        return self._reader.cardinality(limit)

    def close(self) -> None:
        """Stop; what is in the head stays in the WAL."""
        self._wal.close()
        self._series.close()
