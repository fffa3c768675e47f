"""The log engine of one project: takes OTLP logs requests, keeps them, and searches them.

A request is decoded, appended to the WAL and to the memtable, and acknowledged when the WAL is
synced. A flush turns the memtable into segments, one for each day, and lets go of the WAL. Searches
read segments and memtables alike: both are granules, some thousand records as columns behind a
filter of their tokens.

Each record has a number, in the order of arrival. Results are ordered by time and, of one time, by
number; a cursor names the last record of a page by both, so pages neither repeat nor leave out a
record that was there when the first one was asked for.

How appends, flushes and merges take turns, `obsd.segments` says. Concurrency: every method may be
called from any thread.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from obsd import _native
from obsd.durable.files import make_directory
from obsd.durable.wal import OnDurable, Wal
from obsd.logindex import filenames
from obsd.logindex.aggregates import Aggregates, SegmentCounts, minute_counts, pattern_counts
from obsd.logindex.catalog import LogFile, log_kind, merge_log_segments
from obsd.logindex.duplicates import Duplicates
from obsd.logindex.options import LogOptions
from obsd.logindex.patterns import PatternIndex
from obsd.logindex.predicates import check_encoded, encode_predicate
from obsd.logindex.reader import LogReader
from obsd.logindex.stats import LogStats
from obsd.logindex.tail import LogTail
from obsd.logindex.wal_record import MAGIC, WalRecord
from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.deletion import Deletion
from obsd.model.errors import (
    StorageUnavailableError,
    TooLargeError,
    UndecodableError,
)
from obsd.model.head_memory import HeadMemory
from obsd.model.log_predicate import Predicate
from obsd.segments.catalog import Catalog
from obsd.segments.compaction import MERGE_LEVEL, Merger
from obsd.segments.deletions import Deletions, Encoded, Pending
from obsd.segments.erasure import Eraser, Erasing
from obsd.segments.reader import FOREVER_NS, MS_NS
from obsd.segments.writer import Writer

log = logging.getLogger(__name__)

_NOTHING: Final = bytes.fromhex("28b52ffd2000010000")
"""An empty request, compressed with zstd."""


@dataclass(frozen=True, slots=True)
class LogWriteOutcome:
    """What became of a request.

    Attributes:
        accepted: records stored, now or before.
        rejected: refused records by reason; empty when all were stored.
        messages: the first few refusals in words.
    """

    accepted: int
    rejected: dict[str, int]
    messages: list[str]


class LogEngine(LogReader):
    """One project's log records."""

    def __init__(
        self, directory: Path, options: LogOptions, clock: Clock, memory: HeadMemory
    ) -> None:
        """Use `open`."""
        make_directory(directory)
        quarantine = directory / filenames.QUARANTINE_DIRECTORY
        catalog = Catalog.open(
            directory / filenames.SEGMENTS_DIRECTORY, quarantine, log_kind(options.granule_rows)
        )
        deletions = Deletions.open(directory / filenames.DELETIONS, quarantine, check_encoded)
        super().__init__(
            catalog,
            deletions,
            Aggregates(directory / filenames.AGGREGATES_DIRECTORY),
            PatternIndex(directory / filenames.PATTERNS),
            options,
            clock,
        )
        _native.bound_log_columns(options.max_cache_bytes)
        self._quarantine = quarantine
        self._duplicates = Duplicates(directory / filenames.SEEN, clock.now_ms())
        self._writer = Writer(
            catalog,
            Wal(directory / filenames.WAL_DIRECTORY, MAGIC),
            options.flush_limits,
            clock,
            memory,
            # Deletions reach only what was there: what comes now must be numbered above that, even
            # if records that were lost before they were durable had those numbers.
            next_row=max(catalog.next_row, deletions.last_row + 1),
        )
        self._merger = Merger(
            catalog,
            clock,
            options.merge_run,
            lambda segments, path: merge_log_segments(segments, path, options.granule_rows),
        )
        self._eraser = Eraser(
            catalog,
            self._writer,
            self._merger,
            deletions,
            quarantine,
            clock,
            Erasing(_rewrite, _is_clean, self._patterns.forget),
        )
        self._tails_lock = threading.Lock()
        self._tails: tuple[LogTail, ...] = ()  # Replaced under its lock; read without.
        # Under the writer's lock.
        self._accepted = 0
        self._duplicated = 0
        self._rejected: Counter[str] = Counter()

    @staticmethod
    def open(
        directory: Path, options: LogOptions, clock: Clock, memory: HeadMemory | None = None
    ) -> LogEngine:
        """Open a directory, making it if need be, and replay its WAL.

        `options.max_memtable_bytes` is for all engines that share a `memory` together.
        """
        engine = LogEngine(directory, options, clock, memory or HeadMemory())
        engine._writer.replay(engine._quarantine, engine._replay_record)
        engine._notice_damage()
        return engine

    # Writing

    def write(
        self, body: bytes, on_durable: OnDurable, *, distinct: bool = False
    ) -> LogWriteOutcome:
        """Take an OTLP `ExportLogsServiceRequest`, uncompressed.

        Records that have come before are passed over, and count as accepted: see
        `obsd.logindex.duplicates`. With `distinct` none is taken to have, for senders that never
        send anything again and whose clocks are coarse.

        When this returns, searches see its records. `on_durable(None)` is called from another
        thread once the disk has them, or with the error that prevents that; only then may the
        request be acknowledged. Where nothing is to be stored, it is called from this thread.

        Raises:
            UndecodableError: it is not such a request; nothing was stored.
            TooLargeError: it has too many parts; nothing was stored.
            OverloadedError: the memtables are full, or the engine is closed; nothing was stored.
            StorageUnavailableError: the disk refuses; nothing was stored.
        """
        self._writer.check_room()
        limits = self._limits(self._clock.now_ms())
        try:
            batch = _native.LogBatch.decode(body, limits)
        except ValueError as error:
            raise UndecodableError(str(error)) from error
        except _native.TooLargeError as error:
            raise TooLargeError("logs request in memory", _native.LogBatch.MAX_BYTES) from error
        if not batch.records:
            with self._writer.lock:
                self._rejected.update(batch.rejected)
            on_durable(None)
            return LogWriteOutcome(0, batch.rejected, batch.messages)
        packed = batch.packed()
        with self._writer.lock:
            self._writer.check_open()
            received, rejected, messages = batch.records, batch.rejected, batch.messages
            self._duplicates.notice_damage(self._catalog.lost + self._writer.lost)
            dropped = () if distinct else self._duplicates.admit(batch)
            if dropped:
                batch = _native.LogBatch.decode(body, limits, dropped)
                if not batch.records:  # Nothing to keep but what was kept before; wait for that.
                    packed, body, dropped = _NOTHING, b"", ()
            self._store(batch, len(body), packed, limits, dropped, on_durable)
            self._rejected.update(rejected)
            self._duplicated += received - batch.records
        return LogWriteOutcome(received, rejected, messages)

    def _store(
        self,
        batch: _native.LogBatch,
        size_bytes: int,
        packed: bytes,
        limits: tuple[int, int, int, int, int, int],
        dropped: Sequence[int],
        on_durable: OnDurable,
    ) -> None:
        """Under the writer's lock."""
        sequence, first_row = self._writer.memtable().sequence, self._writer.next_row
        record = WalRecord(sequence, first_row, *limits, size_bytes, packed, dropped)
        relies = bool(dropped) or not batch.records

        def take(memtable: _native.LogMemtable, first_row: int) -> int:
            memtable.append(batch, first_row)
            return batch.records

        try:
            on_durable = self._duplicates.watch(on_durable, relies=relies)
            self._writer.append(record.encode(), on_durable, take)
        except StorageUnavailableError:
            self._duplicates.forget()
            raise
        for tail in self._tails:
            tail.add(batch, first_row, size_bytes)
        self._accepted += batch.records

    def _limits(self, now_ms: int) -> tuple[int, int, int, int, int, int]:
        options = self._options
        return (
            now_ms * MS_NS,
            self._oldest_ns(now_ms),
            min((now_ms + options.max_future_ms) * MS_NS, FOREVER_NS),
            options.max_body_bytes,
            options.max_metadata_bytes,
            options.max_attributes,
        )

    def _replay_record(self, payload: bytes) -> int:
        """Under the writer's lock."""
        record = WalRecord.decode(payload)
        memtable = self._writer.replayed_memtable(record.sequence)
        batch = _native.LogBatch.unpack(
            record.packed, record.size_bytes, record.limits, record.dropped
        )
        # What is in segments, too: the flush that wrote them may not have come to storing these.
        self._duplicates.admit(batch)
        if memtable is None:
            return 0
        memtable.append(batch, record.first_row)
        self._writer.replayed_through(record.first_row + batch.records - 1)
        return batch.records

    def open_tail(self, max_bytes: int) -> LogTail:
        """What is written from now on, until `close_tail`."""
        tail = LogTail(max_bytes, self._options.granule_rows)
        with self._tails_lock:
            self._tails = (*self._tails, tail)
        return tail

    def close_tail(self, tail: LogTail) -> None:
        """Give no more to it."""
        with self._tails_lock:
            self._tails = tuple(each for each in self._tails if each is not tail)

    # Storing

    def flush_due(self) -> bool:
        """Whether the memtable is large or old enough for a flush."""
        self._duplicates.rotate_due(self._clock.now_ms())
        most = self._options.flush_records
        return self._writer.flush_due(lambda memtable: memtable.records >= most)

    def flush(self) -> None:
        """Turn what has been written so far into segments, and delete the WAL that they cover.

        Raises:
            StorageUnavailableError: the disk refuses. Nothing is lost: the memtable stays readable
                and its WAL stays on disk, and the next flush tries again.
        """
        self._writer.flush(rotated=self._duplicates.snapshot)
        self._patterns.save()

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
        """Delete the segments that are wholly too old, keeping their counts; returns how many.

        Raises:
            StorageUnavailableError: the disk refuses; the segments are as before.
        """
        with self._merger.lock:
            now_ms = self._clock.now_ms()
            oldest_ns = self._oldest_ns(now_ms)
            old = [f for f in self._catalog.live.segments if f.segment.stats.max_ns < oldest_ns]
            try:
                for file in old:
                    self._aggregates.write(file.name, self._counts_of(file))
                    self._drop(file)
                if (kept_ms := self._options.aggregate_retention_ms) is not None:
                    self._aggregates.apply_retention((now_ms - kept_ms) * MS_NS)
            except OSError as error:
                raise StorageUnavailableError(f"cannot apply log retention: {error}") from error
            return len(old)

    def _drop(self, file: LogFile) -> None:
        try:
            self._catalog.replace([file], ())
        except ValueError:
            log.info("a search has set it aside meanwhile", extra={"path": str(file.path)})

    def _counts_of(self, file: LogFile) -> SegmentCounts:
        """How many records of a segment each minute has; none where it turns out to be damaged."""
        everything = self._visible(("everything",))
        try:
            groups = minute_counts(file, everything)
            return SegmentCounts(groups, pattern_counts(file, everything, self._patterns))
        except _native.CorruptError as error:
            log.error("a damaged segment leaves no counts", extra={"error": str(error.args)})
            return SegmentCounts()

    # Deleting

    def count_deletable(
        self, predicate: Predicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> int:
        """How many records `delete` would delete now.

        Raises:
            BadInputError: the predicate cannot be evaluated.
            QueryTimeoutError, QueryCanceledError: the budget says so.
        """
        gone = _gone(predicate, start_ns, end_ns, self.last_row())
        return self._count_gone(gone, budget)

    def _count_gone(self, gone: Encoded, budget: QueryBudget) -> int:
        # Without `_range`: files hold records past retention, too.
        visible, span = self._visible(gone), (-FOREVER_NS, FOREVER_NS)
        return self._read(
            lambda sources: _native.log_page(sources, visible, span, 0, True, None, budget.check)
        )[0]

    def delete(
        self, predicate: Predicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> Deletion:
        """Delete the matching records from `start_ns` to before `end_ns` that are there now.

        When this returns no search shows them any more, after a crash neither; `erase` then takes
        them out of every file. Who follows logs may still be shown one that has just come.

        Raises:
            BadInputError: the predicate cannot be evaluated.
            OverloadedError: too many deletions are not done yet.
            StorageUnavailableError: the disk refuses; nothing is deleted.
            QueryTimeoutError, QueryCanceledError: the budget says so, and nothing is deleted.
        """
        self._deletions.check_room()
        with self._writer.lock:
            through_row = self.last_row()
        gone = _gone(predicate, start_ns, end_ns, through_row)
        matched = self._count_gone(gone, budget)
        asked = Deletion("", self._clock.now_ms(), start_ns, end_ns, through_row, matched)
        return self._deletions.add(asked, gone)

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
        """The number of the record that arrived last; -1 before the first."""
        return self._writer.next_row - 1

    def _notice_damage(self) -> None:
        with self._writer.lock:
            self._duplicates.notice_damage(self._catalog.lost + self._writer.lost)

    def stats(self) -> LogStats:
        """This moment in numbers."""
        live, writer, merger = self._catalog.live, self._writer, self._merger
        wal, sync = writer.wal, writer.wal.sync_times
        stats = [file.segment.stats for file in live.segments]
        ranges = [r for m in live.memtables if (r := m.memtable.time_range)]
        ranges += [(s.min_ns, s.max_ns) for s in stats]
        return LogStats(
            memtable_records=sum(m.memtable.records for m in live.memtables),
            memtable_bytes=live.memtable_bytes,
            segments=len(stats),
            segment_records=sum(s.records for s in stats),
            segment_bytes=sum(s.size_bytes for s in stats),
            granules=sum(s.granules for s in stats),
            min_time_ns=min((r[0] for r in ranges), default=None),
            max_time_ns=max((r[1] for r in ranges), default=None),
            wal_bytes=wal.size_bytes,
            wal_segments=wal.segment_count,
            wal_sync_bounds_s=sync.BOUNDS_S,
            wal_sync_counts=tuple(sync.counts),
            wal_sync_sum_s=sync.sum_s,
            quarantined_segments=self._catalog.quarantined,
            records=self._accepted,
            duplicates=self._duplicated,
            rejected=dict(self._rejected),
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
        self._patterns.save()
        self._writer.close()
        self._duplicates.close()


def _gone(predicate: Predicate, start_ns: int, end_ns: int, through_row: int) -> Encoded:
    """What finds the records of a deletion."""
    inside = ("range", "time", max(start_ns, -FOREVER_NS), True, min(end_ns, FOREVER_NS), False)
    return ("and", [("rows", -1, through_row), inside, encode_predicate(predicate)])


def _all_gone(pending: Sequence[Pending]) -> Encoded:
    return ("or", [each.gone for each in pending])


def _rewrite(
    segment: _native.LogSegment, pending: tuple[Pending, ...], path: Path
) -> tuple[bool, bool]:
    erased = _native.erase_log_records(segment, _all_gone(pending), path, MERGE_LEVEL)
    return erased > 0, erased < segment.stats.records


def _is_clean(segment: _native.LogSegment, pending: tuple[Pending, ...]) -> bool:
    return segment.count(_all_gone(pending)) == 0
