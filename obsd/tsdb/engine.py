"""The metrics engine of one project: takes remote write requests, keeps them, and reads them.

A request is decoded, appended to the WAL and to the head, and acknowledged when the WAL is synced.
A flush turns the head into a part and lets go of the WAL. Queries read parts, the head that is
being flushed, and the head.

Concurrency: every method may be called from any thread. One lock orders appends to the WAL and
the head, so that replay repeats what happened; a second one makes flushes and merges take turns.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from obsd import _native
from obsd.durable.files import make_directory
from obsd.durable.wal import OnDurable, Wal
from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.errors import (
    CorruptDataError,
    OverloadedError,
    StorageUnavailableError,
)
from obsd.model.exemplar import Exemplar
from obsd.model.head_memory import HeadMemory
from obsd.model.labels import Labels
from obsd.model.matcher import Matcher
from obsd.model.metadata import Metadata
from obsd.model.samples import Columns, Matrix, RollupSpec
from obsd.tsdb import filenames
from obsd.tsdb.compaction import FLUSHED, CompactionOptions, compact_once
from obsd.tsdb.metadata_file import MetadataFile
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.parts import PartSet
from obsd.tsdb.reader import Reader, Source
from obsd.tsdb.replay import replay
from obsd.tsdb.retention import apply_retention, drop_before_ms
from obsd.tsdb.series_log import SeriesLog
from obsd.tsdb.stats import Cardinality, EngineStats, level_stats
from obsd.tsdb.wal_record import MAGIC, WalRecord
from obsd.tsdb.write import (
    Wire,
    WorkCounters,
    WriteCounters,
    WriteOutcome,
    decode,
    limits_now,
)

log = logging.getLogger(__name__)

_FOREVER_MS = 1 << 62

T = TypeVar("T")

_FORGET_BELOW = 0.75
"""The share of registered series still in use below which the others are forgotten."""


class MetricsEngine:
    """One project's samples."""

    def __init__(
        self, directory: Path, options: EngineOptions, clock: Clock, memory: HeadMemory
    ) -> None:
        """Use `open`."""
        make_directory(directory)
        self._directory = directory
        self._options = options
        self._clock = clock
        self._parts = PartSet.open(
            directory / filenames.PARTS_DIRECTORY, directory / filenames.QUARANTINE_DIRECTORY
        )
        self._series = SeriesLog(directory / filenames.SERIES, self._parts.last_series_id())
        self._registry = self._series.registry
        self._metadata = MetadataFile(directory / filenames.METADATA, self._registry)
        self._wal = Wal(directory / filenames.WAL_DIRECTORY, MAGIC)
        self._closed = False  # Written under the write lock.
        self._write_lock = threading.Lock()
        self._flush_lock = threading.Lock()
        self._merge_lock = threading.Lock()
        # Oldest first, the last one takes writes. Changed under the write lock; read without, as
        # one reference.
        self._heads: tuple[_native.Head, ...] = (_native.Head(),)
        self._head_since_ms = clock.now_ms()
        self._memory = memory
        memory.add(id(self), self._head_bytes)
        self.counters = WriteCounters()
        self._work = WorkCounters()
        self._compaction = CompactionOptions(partition_ms=options.partition_ms)
        self._flushed_series = 0
        self._reader = Reader(self._registry)

    @staticmethod
    def open(
        directory: Path, options: EngineOptions, clock: Clock, memory: HeadMemory | None = None
    ) -> MetricsEngine:
        """Open a directory, making it if need be, and replay its WAL.

        Engines with one `memory` share the limit of their heads' size.
        """
        engine = MetricsEngine(directory, options, clock, memory or HeadMemory())
        try:
            engine._replay()
        except BaseException:
            engine._release()
            raise
        return engine

    # Writing

    def write(self, body: bytes, wire: Wire, on_durable: OnDurable) -> WriteOutcome:
        """Take a snappy-compressed remote write request.

        When this returns, queries see its samples. `on_durable(None)` is called from another
        thread once the disk has them, or with the error that prevents that; only then may the
        request be acknowledged. Where nothing is to be stored, it is called from this thread.

        Raises:
            UndecodableError: it is not such a request; nothing was stored.
            TooLargeError: it decompresses to more than the limit.
            OverloadedError: the head is full, or the engine is closed; nothing was stored.
            StorageUnavailableError: the disk refuses; nothing was stored.
        """
        now_ms = self._clock.now_ms()
        if self._memory.total_bytes() > self._options.max_head_bytes:
            raise OverloadedError("the metrics head is full: flushing does not keep up")
        min_ts_ms, max_ts_ms = self.acceptable_times(now_ms)
        version_2 = wire is Wire.REMOTE_WRITE_2
        request = WalRecord(version_2, now_ms, min_ts_ms, max_ts_ms, (), body)
        batch = self._decode(request)
        with self._write_lock:
            if self._closed:
                raise OverloadedError("the metrics engine is closed")
            if batch.generation != self._registry.generation:
                # Series were removed since: some that the batch names may be gone.
                batch = self._decode(request)
            if batch.refused:
                request = dataclasses.replace(request, refused=tuple(batch.refused))
            if batch.samples or batch.blobs or batch.metadata:
                self._wal.append(request.encode(), on_durable)
                return self._apply(batch)
            outcome = self._apply(batch)
        on_durable(None)
        return outcome

    def acceptable_times(self, now_ms: int) -> tuple[int, int]:
        """The oldest and the newest time of samples that are taken now."""
        retention_ms = self._options.retention_ms
        oldest_ms = _FOREVER_MS if retention_ms is None else retention_ms - now_ms
        return -min(oldest_ms, _FOREVER_MS), now_ms + self._options.max_future_ms

    def _active_series(self) -> int:
        """Series with samples in the head, or in the last one while the new one fills up."""
        return max(self._flushed_series, *(head.series for head in self._heads))

    def _head_bytes(self) -> int:
        return sum(head.size_bytes for head in self._heads)

    def _decode(self, request: WalRecord) -> _native.Batch:
        return decode(self._registry, request, limits_now(self._options, self._active_series()))

    def _apply(self, batch: _native.Batch) -> WriteOutcome:
        """Put a batch into the head. Under the write lock."""
        appended = self._heads[-1].append(self._registry, batch)
        return self.counters.add(batch, appended)

    def _replay(self) -> None:
        """Put what the WAL holds into the head, decoding on every core."""
        started_s = time.perf_counter()

        replay(self._wal, self._registry, self._apply, self._directory)
        samples = self._heads[-1].samples
        self.counters = WriteCounters()
        if samples:
            seconds = time.perf_counter() - started_s
            log.info("WAL replayed", extra={"samples": samples, "seconds": round(seconds, 3)})

    # Storing

    def flush_due(self) -> bool:
        """Whether the head or the WAL is large or old enough for a flush."""
        head, options = self._heads[-1], self._options
        if len(self._heads) > 1:  # A flush has failed.
            return True
        # The WAL may hold metadata alone.
        wal_bytes = self._wal.size_bytes
        return not (head.is_empty and wal_bytes == 0) and (
            wal_bytes >= options.flush_wal_bytes
            or head.samples >= options.flush_samples
            or head.size_bytes >= options.flush_bytes
            or self._clock.now_ms() - self._head_since_ms >= options.flush_interval_ms
            or self._crowds_others()
        )

    def _crowds_others(self) -> bool:
        """Whether the heads of all engines take half of what they may, and this one much of it."""
        if self._memory.total_bytes() < self._options.max_head_bytes // 2:
            return False
        return self._head_bytes() >= self._memory.mean_bytes()

    def flush(self) -> None:
        """Turn what has been written so far into a part, and delete the WAL that it covers.

        Raises:
            StorageUnavailableError: the disk refuses. Nothing is lost: the head stays readable and
                its WAL stays on disk, and the next flush tries again.
        """
        with self._flush_lock:
            started_s = time.perf_counter()
            covered = self._begin_flush()
            try:
                self._series.sync()
                self._metadata.sync()
                for head in self._heads[:-1]:
                    self._flush_head(head)
                self._wal.delete_through(covered)
            except OSError as error:
                raise StorageUnavailableError(f"cannot flush the head: {error}") from error
            self._work.flushes += 1
            self._work.flush_s += time.perf_counter() - started_s

    def _begin_flush(self) -> int:
        """Give writes an empty head; returns the last WAL segment that the older ones need."""
        with self._write_lock:
            if not self._heads[-1].is_empty:
                self._heads = (*self._heads, _native.Head())
            self._head_since_ms = self._clock.now_ms()
            return self._wal.rotate()

    def _flush_head(self, head: _native.Head) -> None:
        """Write the oldest head as a part; queries read one or the other, or both at once."""
        sequence = self._parts.next_sequence()
        path = self._parts.directory / filenames.flushed_part(sequence)
        head.write_part(path, (sequence, sequence, FLUSHED, None))
        self._parts.add(path)
        self._flushed_series = head.series
        with self._write_lock:
            self._heads = tuple(h for h in self._heads if h is not head)

    def compact(self) -> bool:
        """Do one merge of parts that is due; False when none is.

        Raises:
            StorageUnavailableError: the disk refuses; the parts are as before.
        """
        return self._compact(self._compaction)

    def settle(self) -> None:
        """Flush, and merge until the parts are as few as they can be now.

        Raises:
            StorageUnavailableError: the disk refuses; nothing is lost.
        """
        self.flush()
        eager = dataclasses.replace(self._compaction, flushed_run=1, merged_run=2, smallest=True)
        while self._compact(eager):
            continue

    def _compact(self, options: CompactionOptions) -> bool:
        with self._merge_lock:
            started_s = time.perf_counter()
            try:
                merged = compact_once(self._parts, self._clock.now_ms(), options, self._oldest_ms())
            except OSError as error:
                raise StorageUnavailableError(f"cannot merge parts: {error}") from error
            if merged:
                self._work.merges += 1
                self._work.merge_s += time.perf_counter() - started_s
            return merged

    def apply_retention(self) -> int:
        """Delete the parts that are wholly too old; returns how many.

        Series that nothing refers to any more are forgotten along with them, and when there are
        many: some never had a sample that was kept.
        """
        with self._flush_lock, self._merge_lock:
            now_ms, retention_ms = self._clock.now_ms(), self._options.retention_ms
            removed = apply_retention(self._parts, now_ms, retention_ms)
            crowded = 2 * self._registry.series_count > self._options.max_registered_series
            if removed or crowded:
                self._forget_unused_series()
            return removed

    def _oldest_ms(self) -> int | None:
        retention_ms = self._options.retention_ms
        return drop_before_ms(self._clock.now_ms(), retention_ms)

    def _forget_unused_series(self) -> None:
        """Under the locks of flushes and merges, so that no part is added meanwhile."""
        in_parts = self._read_parts_ids()
        with self._write_lock:
            ids = np.unique(np.concatenate([in_parts, *(head.ids() for head in self._heads)]))
            # Rewriting the log costs as much as what stays: worth it for a good share only.
            if len(ids) < _FORGET_BELOW * self._registry.series_count:
                self._series.forget_all_but(ids)

    def _read_parts_ids(self) -> npt.NDArray[np.uint32]:
        """Ids of the series in any part."""
        ids = np.empty(0, np.uint32)
        for file in self._parts.files:
            ids = np.union1d(ids, np.array(file.part.series_ids(), np.uint32))
        return ids

    # Reading

    def _sources(self) -> list[Source]:
        """What samples are read from now, oldest first.

        Heads are listed before parts: a head that is flushed in between is then read twice, which
        changes nothing, and never missed.
        """
        heads = self._heads
        return [*(file.part for file in self._parts.files), *heads]

    def _read(self, read: Callable[[list[Source]], T]) -> T:
        """Call `read` with the sources; a part that turns out to be damaged is set aside.

        Raises:
            CorruptDataError: damage that no part is to blame for.
        """
        while True:
            generation = self._registry.generation
            try:
                result = read(self._sources())
                # Where series were forgotten meanwhile, ids may have lost their labels.
                if generation == self._registry.generation:
                    return result
            except _native.CorruptError as error:
                path, detail = error.args
                if not self._parts.quarantine(Path(path), detail):
                    raise CorruptDataError(path, detail) from error

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, budget: QueryBudget
    ) -> Columns:
        """Samples of the matching series in [start_ms, end_ms]; series without any left out."""
        return self._read(lambda s: self._reader.select(s, matchers, start_ms, end_ms, budget))

    def rollup(self, matchers: Sequence[Matcher], spec: RollupSpec, budget: QueryBudget) -> Matrix:
        """A function over a sliding window of each matching series."""
        return self._read(lambda s: self._reader.rollup(s, matchers, spec, budget))

    def rollup_columns(self, columns: Columns, spec: RollupSpec, budget: QueryBudget) -> Matrix:
        """The same over samples that the caller has made, as subqueries do."""
        return self._reader.rollup_columns(columns, spec, budget)

    def series(
        self,
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
        budget: QueryBudget | None = None,
    ) -> list[Labels]:
        """Label sets, sorted, of series with samples in the range that any selector matches."""
        spend = budget or QueryBudget()
        return self._read(
            lambda s: self._reader.series(s, matcher_sets, start_ms, end_ms, limit, spend)
        )

    def label_names(
        self,
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
        budget: QueryBudget | None = None,
    ) -> list[str]:
        """Label names, sorted, of those series."""
        spend = budget or QueryBudget()
        names = self._read(
            lambda s: self._reader.label_names(s, matcher_sets, start_ms, end_ms, spend)
        )
        return names[:limit]

    def label_values(
        self,
        name: str,
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
        budget: QueryBudget | None = None,
    ) -> list[str]:
        """Values, sorted, of one label on those series."""
        spend = budget or QueryBudget()
        values = self._read(
            lambda s: self._reader.label_values(s, name, matcher_sets, start_ms, end_ms, spend)
        )
        return values[:limit]

    def exemplars(
        self,
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        budget: QueryBudget | None = None,
    ) -> list[tuple[Labels, list[Exemplar]]]:
        """Exemplars, by time, of each series that any selector matches and that has some."""
        spend = budget or QueryBudget()
        return self._read(
            lambda s: self._reader.exemplars(s, matcher_sets, start_ms, end_ms, spend)
        )

    def metadata(self, metric: str | None = None) -> dict[str, Metadata]:
        """What senders said about metric families, or about one."""
        return self._reader.metadata(metric)

    def cardinality(self, limit: int) -> Cardinality:
        """Where series come from: the `limit` largest of each kind."""
        return self._reader.cardinality(limit)

    def stats(self) -> EngineStats:
        """This moment in numbers."""
        heads, files, sync = self._heads, self._parts.files, self._wal.sync_times
        ranges = [r for r in (head.time_range for head in heads) if r]
        stored = ranges + [(file.stats.min_ts, file.stats.max_ts) for file in files]
        counters, work = self.counters, self._work
        return EngineStats(
            registered_series=self._registry.series_count,
            active_series=self._active_series(),
            head_samples=sum(head.samples for head in heads),
            head_bytes=self._head_bytes(),
            head_min_time_ms=min((r[0] for r in ranges), default=None),
            head_max_time_ms=max((r[1] for r in ranges), default=None),
            min_time_ms=min((r[0] for r in stored), default=None),
            max_time_ms=max((r[1] for r in stored), default=None),
            registry_bytes=self._registry.size_bytes,
            wal_bytes=self._wal.size_bytes,
            wal_segments=self._wal.segment_count,
            wal_sync_bounds_s=sync.BOUNDS_S,
            wal_sync_counts=tuple(sync.counts),
            wal_sync_sum_s=sync.sum_s,
            levels=level_stats([file.stats for file in files]),
            quarantined_parts=self._parts.quarantined,
            samples=counters.samples,
            out_of_order_samples=counters.out_of_order,
            duplicate_samples=counters.duplicates,
            overwritten_samples=counters.overwrites,
            histograms=counters.histograms,
            exemplars=counters.exemplars,
            exemplars_dropped=counters.exemplars_dropped,
            rejected=dict(counters.rejected),
            flushes=work.flushes,
            flush_seconds=work.flush_s,
            merges=work.merges,
            merge_seconds=work.merge_s,
        )

    def close(self) -> None:
        """Flush and stop. Where the disk refuses, the WAL keeps what is in the head."""
        try:
            if not self._heads[-1].is_empty:
                self.flush()
        except StorageUnavailableError as error:
            log.warning("closing without a flush", extra={"error": str(error)})
        with self._write_lock:
            self._closed = True
        self._release()

    def _release(self) -> None:
        """Let go of the files."""
        self._memory.remove(id(self))
        self._wal.close()
        with self._flush_lock:
            self._series.close()
