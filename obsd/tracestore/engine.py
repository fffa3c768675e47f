"""The span engine of one project: takes OTLP traces requests, keeps them, and finds traces in them.

A request is decoded, appended to the WAL and to the memtable, and acknowledged when the WAL is
synced. A flush turns the memtable into segments, and lets go of the WAL. A segment has the spans of
a trace together, whole traces by their start; reads join what segments and memtables have of a
trace. Of the same trace, span and kind the span that was written last counts. Why it is built so:
docs/decisions, 0030.

How appends, flushes and merges take turns, `obsd.segments` says. Concurrency: every method may be
called from any thread.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from obsd import _native
from obsd.durable.files import make_directory
from obsd.durable.wal import OnDurable, Wal
from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.deletion import Deletion
from obsd.model.errors import (
    BadInputError,
    OverloadedError,
    StorageUnavailableError,
    TooLargeError,
    UndecodableError,
)
from obsd.model.head_memory import HeadMemory
from obsd.model.span_predicate import SpanPredicate
from obsd.segments.catalog import Catalog
from obsd.segments.compaction import MERGE_LEVEL, Merger
from obsd.segments.deletions import Deletions, Pending
from obsd.segments.erasure import Eraser, Erasing
from obsd.segments.reader import FOREVER_NS, MS_NS
from obsd.segments.writer import Writer
from obsd.tracestore import filenames
from obsd.tracestore.catalog import span_kind
from obsd.tracestore.hidden import MAX_TRACES, check_traces, encode_traces, trace_set
from obsd.tracestore.options import SpanOptions
from obsd.tracestore.predicates import Encoded
from obsd.tracestore.reader import SpanReader
from obsd.tracestore.sampling import Pinned, Sampling
from obsd.tracestore.stats import SpanStats
from obsd.tracestore.wal_record import MAGIC, WalRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SpanOutcome:
    """What became of a request.

    Attributes:
        accepted: spans stored.
        rejected: refused spans by reason; empty when all were stored.
        messages: the first few cases in words.
    """

    accepted: int
    rejected: dict[str, int]
    messages: list[str]


class Follower(Protocol):
    """Who is given every request's spans as they come, in sequence, those of a replay, too."""

    def take(self, batch: _native.SpanBatch, first_row: int, now_ns: int, size_bytes: int) -> None:
        """Note a batch, the number of its first span and when it came.

        Under the writer's lock, so nothing is to be done yet.
        """

    def relieve(self) -> None:
        """After a write: work off what would take too much memory."""


class SpanEngine(SpanReader):
    """One project's spans."""

    def __init__(
        self,
        directory: Path,
        options: SpanOptions,
        clock: Clock,
        memory: HeadMemory,
        follower: Follower | None = None,
    ) -> None:
        """Use `open`."""
        make_directory(directory)
        quarantine = directory / filenames.QUARANTINE_DIRECTORY
        catalog = Catalog.open(
            directory / filenames.SEGMENTS_DIRECTORY, quarantine, span_kind(options.granule_spans)
        )
        deletions = Deletions.open(directory / filenames.DELETIONS, quarantine, check_traces)
        super().__init__(catalog, deletions, clock, options.kept_ms)
        _native.bound_span_columns(options.max_cache_bytes)
        self._options = options
        self._follower = follower
        self._quarantine = quarantine
        self._writer = Writer(
            catalog,
            Wal(directory / filenames.WAL_DIRECTORY, MAGIC),
            options.flush_limits,
            clock,
            memory,
            # Deletions reach only what was there: what comes now must be numbered above that, even
            # if spans that were lost before they were durable had those numbers.
            next_row=max(catalog.next_row, deletions.last_row + 1),
        )
        self._merger = Merger(catalog, clock, options.merge_run, self._merge)
        self._sampling = Sampling(directory / filenames.SAMPLED, catalog, options)
        self._eraser = Eraser(
            catalog,
            self._writer,
            self._merger,
            deletions,
            quarantine,
            clock,
            Erasing(_rewrite, _is_clean, forget=lambda: None),
        )
        self.before_flush: list[Callable[[int], None]] = []
        """Called with the last span's number before a flush takes spans up to it out of memory:
        whoever follows arrivals reads them then, and an OSError puts the flush off. To be added to
        before the engine is used."""
        # Under the writer's lock.
        self._accepted = 0
        self._rejected: Counter[str] = Counter()

    @staticmethod
    def open(
        directory: Path,
        options: SpanOptions,
        clock: Clock,
        memory: HeadMemory | None = None,
        follower: Follower | None = None,
    ) -> SpanEngine:
        """Open a directory, making it if need be, and replay its WAL.

        `options.max_memtable_bytes` is for all engines that share a `memory` together.
        """
        engine = SpanEngine(directory, options, clock, memory or HeadMemory(), follower)
        engine._writer.replay(engine._quarantine, engine._replay_record)
        return engine

    # Writing

    def write(self, body: bytes, on_durable: OnDurable) -> SpanOutcome:
        """Take an OTLP `ExportTraceServiceRequest`, uncompressed.

        When this returns, searches see its spans. `on_durable(None)` is called from another thread
        once the disk has them, or with the error that prevents that; only then may the request be
        acknowledged. Where nothing is to be stored, it is called from this thread.

        Raises:
            UndecodableError: it is not such a request; nothing was stored.
            TooLargeError: it has too many parts; nothing was stored.
            OverloadedError: the memtables are full, or the engine is closed; nothing was stored.
            StorageUnavailableError: the disk refuses; nothing was stored.
        """
        self._writer.check_room()
        limits = self._limits()
        try:
            batch = _native.SpanBatch.decode(body, limits)
        except ValueError as error:
            raise UndecodableError(str(error)) from error
        except _native.TooLargeError as error:
            raise TooLargeError("traces request in memory", _native.SpanBatch.MAX_BYTES) from error
        outcome = SpanOutcome(batch.spans, batch.rejected, batch.messages)
        packed = batch.packed() if batch.spans else b""
        with self._writer.lock:
            if batch.spans:
                self._store(batch, len(body), packed, limits, on_durable)
            self._rejected.update(outcome.rejected)
        if self._follower is not None:
            self._follower.relieve()
        if not batch.spans:
            on_durable(None)
        return outcome

    def _store(
        self,
        batch: _native.SpanBatch,
        size_bytes: int,
        packed: bytes,
        limits: tuple[int, int, int, int],
        on_durable: OnDurable,
    ) -> None:
        """Under the writer's lock."""

        def take(memtable: _native.SpanMemtable, first_row: int) -> int:
            memtable.append(batch, first_row)
            return batch.spans

        self._writer.check_open()
        sequence, first_row = self._writer.memtable().sequence, self._writer.next_row
        record = WalRecord(sequence, first_row, *limits, size_bytes, packed)
        self._writer.append(record.encode(), on_durable, take)
        self._accepted += batch.spans
        if self._follower is not None:
            self._follower.take(batch, first_row, record.now_ns, size_bytes)

    def _limits(self) -> tuple[int, int, int, int]:
        now_ms, options = self._clock.now_ms(), self._options
        oldest_ns = self._oldest_ns(now_ms)
        return now_ms * MS_NS, oldest_ns, options.max_span_bytes, options.max_attributes

    def _replay_record(self, payload: bytes) -> int:
        """Under the writer's lock."""
        record = WalRecord.decode(payload)
        if (memtable := self._writer.replayed_memtable(record.sequence)) is None:
            return 0
        batch = _native.SpanBatch.unpack(record.packed, record.size_bytes, record.limits)
        memtable.append(batch, record.first_row)
        if self._follower is not None:
            self._follower.take(batch, record.first_row, record.now_ns, record.size_bytes)
            self._follower.relieve()
        self._writer.replayed_through(record.first_row + batch.spans - 1)
        return batch.spans

    # Storing

    def flush_due(self) -> bool:
        """Whether the memtable is large or old enough for a flush."""
        most = self._options.flush_spans
        return self._writer.flush_due(lambda memtable: memtable.spans >= most)

    def flush(self) -> None:
        """Turn what has been written so far into segments, and delete the WAL that they cover.

        Raises:
            StorageUnavailableError: the disk refuses. Nothing is lost: the memtable stays readable
                and its WAL stays on disk, and the next flush tries again.
        """
        self._writer.flush(self._tell_followers)

    def _tell_followers(self, last_row: int) -> None:
        for follow in self.before_flush:
            try:
                follow(last_row)
            except OSError:
                raise  # What follows is to be durable first, and a flush wants room as well.
            except Exception:
                # A flush that waited for it would end in memtables that are full.
                log.exception("whoever follows spans has missed some")

    def _merge(self, segments: Sequence[_native.SpanSegment], path: Path) -> bool:
        """Under the merger's lock."""
        oldest_ns = self._oldest_ns(self._clock.now_ms())
        kept, _ = _native.merge_span_segments(
            segments, path, self._options.granule_spans, oldest_ns, None, MERGE_LEVEL
        )
        return kept > 0

    def compact(self) -> bool:
        """Erase what is deleted, or do one merge of segments that is due; False when none is.

        Raises:
            StorageUnavailableError: the disk refuses; the segments are as before.
        """
        return self._merger.compact_unless(self.erase)

    def settle(self) -> None:
        """Flush, erase what is deleted, and merge until there is one segment a day.

        Raises:
            StorageUnavailableError: the disk refuses; nothing is lost.
        """
        if not self.erase():
            self.flush()
        while self._merger.compact(eager=True):
            continue

    def apply_retention(self) -> int:
        """Delete the segments that are wholly too old, and sample those of a day that is old.

        Returns how many were deleted or replaced.

        Raises:
            StorageUnavailableError: the disk refuses; segments are as before.
        """
        now_ms = self._clock.now_ms()
        oldest_ns = self._oldest_ns(now_ms)
        with self._merger.lock:
            old = [f for f in self._catalog.live.segments if f.segment.stats.max_ns < oldest_ns]
            try:
                if old:
                    self._catalog.replace(old, ())
            except OSError as error:
                raise StorageUnavailableError(f"cannot apply span retention: {error}") from error
        return len(old) + self._sample(now_ms, oldest_ns)

    def _sample(self, now_ms: int, oldest_ns: int) -> int:
        if self._options.kept_ms == self._options.retention_ms:
            return 0
        assert self._options.retention_ms is not None
        before_ns = (now_ms - self._options.retention_ms) * MS_NS
        sampled = 0
        while not self._writer.is_closed:
            with self._merger.lock:
                files = self._sampling.due(before_ns)
                if not files:
                    break
                try:
                    self._sampling.sample(files, before_ns, oldest_ns)
                except OSError as error:
                    raise StorageUnavailableError(f"cannot sample traces: {error}") from error
                except _native.CorruptError as error:
                    self._catalog.set_aside(error, files)
                except ValueError:
                    # A search has set one of them aside meanwhile; the others are still due.
                    log.info("sampling given up: a segment is gone")
                else:
                    sampled += len(files)
        return sampled

    @property
    def pinned(self) -> list[Pinned]:
        """What names traces that sampling must keep. To be added to before the engine is used."""
        return self._sampling.pinned

    # Deleting

    def count_deletable(
        self, predicate: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> int:
        """How many spans `delete` would delete now.

        Raises:
            BadInputError: the predicate cannot be read, or matches too many traces.
            QueryTimeoutError, QueryCanceledError: the budget says so.
        """
        return self._count_spans(self._deletable(predicate, start_ns, end_ns, budget), budget)

    def _deletable(
        self, predicate: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> list[bytes]:
        """The ids of traces with a span that matches; of whatever age."""
        encoded = self._encode(predicate)
        span = max(start_ns, -FOREVER_NS), min(end_ns, FOREVER_NS)
        found = self._read(
            lambda sources: _native.span_trace_ids(
                sources, encoded, span, MAX_TRACES + 1, budget.check
            )
        )
        if len(found) > MAX_TRACES:
            raise BadInputError(
                f"more than {MAX_TRACES} traces match: delete them in several steps, by time"
            )
        return found

    def _count_spans(self, trace_ids: Sequence[bytes], budget: QueryBudget) -> int:
        """How many spans traces have."""
        wanted: Encoded = ("traces", _native.SpanTraceSet(trace_ids))
        ever = (-FOREVER_NS, FOREVER_NS)
        running = self._read(lambda sources: _native.span_scan(sources, wanted, [], ever, False))
        count = 0
        while (turn := running.next(budget.check)) is not None:
            count += len(turn[0])
        return count

    def delete(
        self, predicate: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> Deletion:
        """Delete the traces that have a span that matches and starts in the range.

        When this returns no search shows them any more, after a crash neither; `erase` then takes
        them out of every file, and with them what has come of them until then.

        Raises:
            BadInputError: the predicate cannot be read, or matches too many traces.
            OverloadedError: too many deletions, or deleted traces, are not erased yet.
            StorageUnavailableError: the disk refuses; nothing is deleted.
            QueryTimeoutError, QueryCanceledError: the budget says so, and nothing is deleted.
        """
        self._deletions.check_room()
        with self._writer.lock:
            through_row = self.last_row()
        trace_ids = self._deletable(predicate, start_ns, end_ns, budget)
        hidden = self._hidden.traces
        if hidden is not None and len(hidden) + len(trace_ids) > MAX_TRACES:
            raise OverloadedError("too many traces are deleted and not erased yet", 60)
        matched = self._count_spans(trace_ids, budget)
        asked = Deletion("", self._clock.now_ms(), start_ns, end_ns, through_row, matched)
        return self._deletions.add(asked, encode_traces(trace_ids))

    def deletions(self) -> list[Deletion]:
        """Those that are not done, and the last ones that are; oldest first."""
        return self._deletions.list()

    def erase(self) -> bool:
        """Take what is deleted out of every file, and prove it; False when there is nothing to do.

        Raises:
            StorageUnavailableError: the disk refuses; what is deleted stays hidden, and the next
                call goes on.
        """
        return self._eraser.erase(self.flush)

    # Reading

    def last_row(self) -> int:
        """The number of the span that arrived last; -1 before the first."""
        return self._writer.next_row - 1

    def stats(self) -> SpanStats:
        """This moment in numbers."""
        live, writer, merger = self._catalog.live, self._writer, self._merger
        wal, sync = writer.wal, writer.wal.sync_times
        stats = [file.segment.stats for file in live.segments]
        return SpanStats(
            memtable_spans=sum(m.memtable.spans for m in live.memtables),
            memtable_bytes=live.memtable_bytes,
            segments=len(stats),
            segment_spans=sum(s.spans for s in stats),
            segment_traces=sum(s.traces for s in stats),
            segment_bytes=sum(s.size_bytes for s in stats),
            granules=sum(s.granules for s in stats),
            wal_bytes=wal.size_bytes,
            wal_segments=wal.segment_count,
            wal_sync_bounds_s=sync.BOUNDS_S,
            wal_sync_counts=tuple(sync.counts),
            wal_sync_sum_s=sync.sum_s,
            quarantined_segments=self._catalog.quarantined,
            spans=self._accepted,
            rejected=dict(self._rejected),
            sampled_out=self._sampling.sampled_out,
            flushes=writer.flushes,
            flush_seconds=writer.flush_s,
            merges=merger.merges,
            merge_seconds=merger.merge_s,
        )

    def close(self) -> None:
        """Flush and stop; writes are refused then.

        Where the disk refuses, the WAL keeps what is in the memtable.
        """
        self._writer.refuse()
        self._eraser.wait()
        try:
            if self._catalog.live.memtables:
                self.flush()
        except StorageUnavailableError as error:
            log.warning("closing without a flush", extra={"error": str(error)})
        self._writer.close()


def _rewrite(
    segment: _native.SpanSegment, pending: tuple[Pending, ...], path: Path
) -> tuple[bool, bool]:
    erased = _native.erase_span_traces(segment, trace_set(pending), path, MERGE_LEVEL)
    return erased > 0, erased < segment.stats.spans


def _is_clean(segment: _native.SpanSegment, pending: tuple[Pending, ...]) -> bool:
    wanted: Encoded = ("traces", trace_set(pending))
    ever = (-FOREVER_NS, FOREVER_NS)
    segment.verify()
    return not _native.span_trace_ids([segment], wanted, ever, 1, lambda: None)
