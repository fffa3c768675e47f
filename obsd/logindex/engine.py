"""The log engine of one project: takes OTLP logs requests, keeps them, and searches them.

A request is decoded, appended to the WAL and to the memtable, and acknowledged when the WAL is
synced. A flush turns the memtable into segments, one for each day, and lets go of the WAL. Searches
read segments and memtables alike: both are granules, some thousand records as columns behind a
filter of their tokens.

Each record has a number, in the order of arrival. Results are ordered by time and, of one time, by
number; a cursor names the last record of a page by both, so pages neither repeat nor leave out a
record that was there when the first one was asked for.

Concurrency: every method may be called from any thread. One lock orders appends to the WAL and the
memtable, so that replay repeats what happened; others make flushes and merges take turns.
"""

from __future__ import annotations

import logging
import threading
import time
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
from obsd.logindex.catalog import Catalog, Live, NumberedMemtable, SegmentFile
from obsd.logindex.compaction import choose_merge, merge
from obsd.logindex.deletions import Deletions, Encoded
from obsd.logindex.duplicates import Duplicates
from obsd.logindex.erasure import erase_from_quarantine, erase_from_segment
from obsd.logindex.options import LogOptions
from obsd.logindex.patterns import PatternIndex
from obsd.logindex.predicates import encode_predicate
from obsd.logindex.reader import LogReader
from obsd.logindex.stats import LogStats
from obsd.logindex.tail import LogTail
from obsd.logindex.wal_record import MAGIC, WalRecord
from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.errors import (
    CorruptDataError,
    OverloadedError,
    StorageUnavailableError,
    TooLargeError,
    UndecodableError,
)
from obsd.model.head_memory import HeadMemory
from obsd.model.log_deletion import LogDeletion
from obsd.model.log_predicate import Predicate

log = logging.getLogger(__name__)

_MS: Final = 1_000_000
_FOREVER_NS: Final = (1 << 63) - 1
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


@dataclass(slots=True)
class _Work:
    """Background work since the start. Written under the flush lock and the merge lock."""

    flushes: int = 0
    flush_s: float = 0.0
    merges: int = 0
    merge_s: float = 0.0


class LogEngine(LogReader):
    """One project's log records."""

    def __init__(
        self, directory: Path, options: LogOptions, clock: Clock, memory: HeadMemory
    ) -> None:
        """Use `open`."""
        make_directory(directory)
        quarantine = directory / filenames.QUARANTINE_DIRECTORY
        super().__init__(
            Catalog.open(
                directory / filenames.SEGMENTS_DIRECTORY, quarantine, options.granule_rows
            ),
            Deletions.open(directory / filenames.DELETIONS, quarantine),
            Aggregates(directory / filenames.AGGREGATES_DIRECTORY),
            PatternIndex(directory / filenames.PATTERNS),
            options,
            clock,
        )
        self._directory = directory
        _native.bound_log_columns(options.max_cache_bytes)
        self._wal = Wal(directory / filenames.WAL_DIRECTORY, MAGIC)
        self._wal_lost = 0  # Records of the WAL that could not be replayed.
        self._duplicates = Duplicates(directory / filenames.SEEN, clock.now_ms())
        self._write_lock = threading.Lock()
        self._flush_lock = threading.Lock()
        self._merge_lock = threading.Lock()
        self._erase_lock = threading.Lock()  # Taken before all others.
        self._tails_lock = threading.Lock()
        self._tails: tuple[LogTail, ...] = ()  # Replaced under its lock; read without.
        # Under the write lock: the memtable that takes writes, and the next record's number.
        self._memtable: NumberedMemtable | None = None
        # Deletions reach only what was there: what comes now must be numbered above that, even if
        # records that were lost before they were durable had those numbers.
        self._next_row = max(self._catalog.next_row, self._deletions.last_row + 1)
        self._memtable_since_ms = clock.now_ms()
        self._accepted = 0
        self._duplicated = 0
        self._rejected: Counter[str] = Counter()
        self._work = _Work()
        self._closed = False  # Under the write lock.
        self._memory = memory

    @staticmethod
    def open(
        directory: Path, options: LogOptions, clock: Clock, memory: HeadMemory | None = None
    ) -> LogEngine:
        """Open a directory, making it if need be, and replay its WAL.

        `options.max_memtable_bytes` is for all engines that share a `memory` together.
        """
        engine = LogEngine(directory, options, clock, memory or HeadMemory())
        engine._replay()
        engine._memory.add(id(engine), lambda: engine._memtable_bytes(engine._catalog.live))
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
        if self._memory.total_bytes() > self._options.max_memtable_bytes:
            raise OverloadedError("the log memtables are full: flushing does not keep up")
        limits = self._limits(self._clock.now_ms())
        try:
            batch = _native.LogBatch.decode(body, limits)
        except ValueError as error:
            raise UndecodableError(str(error)) from error
        except _native.TooLargeError as error:
            raise TooLargeError("logs request in memory", _native.LogBatch.MAX_BYTES) from error
        if not batch.records:
            with self._write_lock:
                self._rejected.update(batch.rejected)
            on_durable(None)
            return LogWriteOutcome(0, batch.rejected, batch.messages)
        packed = batch.packed()
        with self._write_lock:
            if self._closed:
                raise OverloadedError("the log engine is closed")
            received, rejected, messages = batch.records, batch.rejected, batch.messages
            self._duplicates.notice_damage(self._catalog.lost + self._wal_lost)
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
        limits: tuple[int, int, int, int, int],
        dropped: Sequence[int],
        on_durable: OnDurable,
    ) -> None:
        """Under the write lock."""
        memtable = self._memtable or self._begin_memtable()
        record = WalRecord(memtable.sequence, self._next_row, *limits, size_bytes, packed, dropped)
        relies = bool(dropped) or not batch.records
        try:
            self._wal.append(record.encode(), self._duplicates.watch(on_durable, relies=relies))
        except StorageUnavailableError:
            self._duplicates.forget()
            raise
        memtable.memtable.append(batch, self._next_row)
        for tail in self._tails:
            tail.add(batch, self._next_row, size_bytes)
        self._next_row += batch.records
        self._accepted += batch.records

    def _limits(self, now_ms: int) -> tuple[int, int, int, int, int]:
        options = self._options
        return (
            now_ms * _MS,
            self._oldest_ns(now_ms),
            min((now_ms + options.max_future_ms) * _MS, _FOREVER_NS),
            options.max_body_bytes,
            options.max_metadata_bytes,
        )

    @staticmethod
    def _memtable_bytes(live: Live) -> int:
        return sum(m.memtable.size_bytes for m in live.memtables)

    def _begin_memtable(self, sequence: int | None = None) -> NumberedMemtable:
        """Under the write lock."""
        memtable = self._catalog.begin_memtable(sequence)
        self._memtable = memtable
        self._memtable_since_ms = self._clock.now_ms()
        return memtable

    def _replay(self) -> None:
        """Put what the WAL holds, and segments do not, into memtables as they were.

        What cannot be read is reported, and the WAL's segments stay in the quarantine for whoever
        wants to rescue something from them: the next flush deletes the WAL.
        """
        started_s = time.perf_counter()
        flushed_through = self._catalog.flushed_through
        replayed = undecodable = 0
        with self._write_lock:
            for payload in self._wal.replay():
                try:
                    record = WalRecord.decode(payload)
                    if record.sequence > flushed_through:
                        replayed += self._replay_record(record)
                except (CorruptDataError, ValueError) as error:
                    undecodable += 1
                    log.error("log WAL record does not decode", extra={"error": str(error)})
        self._wal_lost = undecodable + self._wal.damage_count
        self._duplicates.notice_damage(self._catalog.lost + self._wal_lost)
        if self._wal_lost:
            self._wal.keep_copies(self._directory / filenames.QUARANTINE_DIRECTORY)
        if replayed:
            seconds = round(time.perf_counter() - started_s, 3)
            log.info("log WAL replayed", extra={"records": replayed, "seconds": seconds})

    def _replay_record(self, record: WalRecord) -> int:
        """Under the write lock."""
        batch = _native.LogBatch.unpack(
            record.packed, record.size_bytes, record.limits, record.dropped
        )
        self._duplicates.admit(batch)
        if self._memtable is None or self._memtable.sequence != record.sequence:
            self._begin_memtable(record.sequence)
        assert self._memtable is not None
        self._memtable.memtable.append(batch, record.first_row)
        self._next_row = max(self._next_row, record.first_row + batch.records)
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
        memtables, options = self._catalog.live.memtables, self._options
        self._duplicates.rotate_due(self._clock.now_ms())
        if not memtables:
            return False
        if len(memtables) > 1:  # A flush has failed.
            return True
        memtable = memtables[0].memtable
        return (
            memtable.records >= options.flush_records
            # A request is in the WAL as a whole, however little of it was stored.
            or self._wal.size_bytes >= options.flush_wal_bytes
            or memtable.size_bytes >= options.flush_bytes
            or self._clock.now_ms() - self._memtable_since_ms >= options.flush_interval_ms
            or self._crowds_others(memtable.size_bytes)
        )

    def _crowds_others(self, size_bytes: int) -> bool:
        """Whether all memtables take half of what they may, and this one much of it."""
        if self._memory.total_bytes() < self._options.max_memtable_bytes // 2:
            return False
        return size_bytes >= self._memory.mean_bytes()

    def flush(self) -> None:
        """Turn what has been written so far into segments, and delete the WAL that they cover.

        Raises:
            StorageUnavailableError: the disk refuses. Nothing is lost: the memtable stays readable
                and its WAL stays on disk, and the next flush tries again.
        """
        with self._flush_lock:
            started_s = time.perf_counter()
            with self._write_lock:
                self._memtable = None
                covered = self._wal.rotate()
                memtables, next_row = self._catalog.live.memtables, self._next_row
            try:
                self._duplicates.store()
                for memtable in memtables:
                    self._flush_memtable(memtable, next_row)
                self._wal.delete_through(covered)
            except OSError as error:
                raise StorageUnavailableError(f"cannot flush the log memtable: {error}") from error
            self._patterns.save()
            self._work.flushes += 1
            self._work.flush_s += time.perf_counter() - started_s

    def _flush_memtable(self, memtable: NumberedMemtable, next_row: int) -> None:
        sequence = memtable.sequence
        prefix = filenames.SegmentName(sequence, sequence, 0, 0).prefix
        paths = memtable.memtable.write_segments(self._catalog.directory / prefix)
        self._catalog.end_memtable(memtable, [Path(path) for path in paths], next_row)

    def compact(self) -> bool:
        """Erase what is deleted, or do one merge of segments that is due; False when none is.

        Raises:
            StorageUnavailableError: the disk refuses; the segments are as before.
        """
        return self.erase() or self._compact(eager=False)

    def settle(self) -> None:
        """Flush, erase what is deleted, and merge until there is one segment a day.

        Raises:
            StorageUnavailableError: the disk refuses; nothing is lost.
        """
        if not self.erase():
            self.flush()
        while self._compact(eager=True):
            continue

    def _compact(self, *, eager: bool) -> bool:
        options, now_ms = self._options, self._clock.now_ms()
        with self._merge_lock:
            started_s = time.perf_counter()
            segments = self._catalog.live.segments
            inputs = choose_merge(segments, now_ms, options.merge_run, eager=eager)
            if not inputs:
                return False
            try:
                merge(self._catalog, inputs, options.granule_rows)
            except OSError as error:
                raise StorageUnavailableError(f"cannot merge log segments: {error}") from error
            self._work.merges += 1
            self._work.merge_s += time.perf_counter() - started_s
            return True

    def apply_retention(self) -> int:
        """Delete the segments that are wholly too old, keeping their counts; returns how many.

        Raises:
            StorageUnavailableError: the disk refuses; the segments are as before.
        """
        with self._merge_lock:
            now_ms = self._clock.now_ms()
            oldest_ns = self._oldest_ns(now_ms)
            old = [f for f in self._catalog.live.segments if f.stats.max_ns < oldest_ns]
            try:
                for file in old:
                    self._aggregates.write(file.name, self._counts_of(file))
                if old:
                    self._catalog.replace(old, ())
                if (kept_ms := self._options.aggregate_retention_ms) is not None:
                    self._aggregates.apply_retention((now_ms - kept_ms) * _MS)
            except OSError as error:
                raise StorageUnavailableError(f"cannot apply log retention: {error}") from error
            return len(old)

    def _counts_of(self, file: SegmentFile) -> SegmentCounts:
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
        visible, span = self._visible(gone), (-_FOREVER_NS, _FOREVER_NS)
        return self._read(
            lambda sources: _native.log_page(sources, visible, span, 0, True, None, budget.check)
        )[0]

    def delete(
        self, predicate: Predicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> LogDeletion:
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
        with self._write_lock:
            through_row = self.last_row()
        gone = _gone(predicate, start_ns, end_ns, through_row)
        matched = self._count_gone(gone, budget)
        asked = LogDeletion("", self._clock.now_ms(), start_ns, end_ns, through_row, matched)
        return self._deletions.add(asked, gone)

    def deletions(self) -> list[LogDeletion]:
        """Those that are not done, and the last ones that are; oldest first."""
        return self._deletions.list()

    def erase(self) -> bool:
        """Take what is deleted out of every file, and prove it; False when there is nothing to do.

        Raises:
            StorageUnavailableError: the disk refuses; what is deleted stays hidden, and the next
                call goes on.
        """
        with self._erase_lock:
            pending = self._deletions.pending
            if not pending or self._closed:
                return False
            gone: Encoded = ("or", [each.gone for each in pending])
            try:
                # Memtables and the WAL hold nothing that came before, then.
                self.flush()
                files = self._erase_from_segments(gone)
                if files is None:
                    return False
                files += erase_from_quarantine(
                    self._directory / filenames.QUARANTINE_DIRECTORY, gone
                )
                self._patterns.forget()
                with self._flush_lock, self._merge_lock:
                    self._catalog.sweep()
                self._deletions.end(pending, self._clock.now_ms(), files)
            except OSError as error:
                self._deletions.note_failure(str(error))
                raise StorageUnavailableError(f"cannot erase log records: {error}") from error
            except StorageUnavailableError as error:
                self._deletions.note_failure(str(error))
                raise
            return True

    def _erase_from_segments(self, gone: Encoded) -> int | None:
        """Until every live segment was seen to be without; returns how many were not.

        None when the engine is closed before that.
        """
        clean: set[SegmentFile] = set()
        files = 0
        while not self._closed:
            left = [file for file in self._catalog.live.segments if file not in clean]
            if not left:
                return files
            with self._merge_lock:
                if left[0] in self._catalog.live.segments:
                    if erase_from_segment(self._catalog, left[0], gone):
                        files += 1
                    else:
                        clean.add(left[0])
        return None

    # Reading

    def last_row(self) -> int:
        """The number of the record that arrived last; -1 before the first."""
        return self._next_row - 1

    def _notice_damage(self) -> None:
        with self._write_lock:
            self._duplicates.notice_damage(self._catalog.lost + self._wal_lost)

    def stats(self) -> LogStats:
        """This moment in numbers."""
        live, sync = self._catalog.live, self._wal.sync_times
        stats = [file.stats for file in live.segments]
        ranges = [r for m in live.memtables if (r := m.memtable.time_range)]
        ranges += [(s.min_ns, s.max_ns) for s in stats]
        work = self._work
        return LogStats(
            memtable_records=sum(m.memtable.records for m in live.memtables),
            memtable_bytes=self._memtable_bytes(live),
            segments=len(stats),
            segment_records=sum(s.records for s in stats),
            segment_bytes=sum(s.size_bytes for s in stats),
            granules=sum(s.granules for s in stats),
            min_time_ns=min((r[0] for r in ranges), default=None),
            max_time_ns=max((r[1] for r in ranges), default=None),
            wal_bytes=self._wal.size_bytes,
            wal_segments=self._wal.segment_count,
            wal_sync_bounds_s=sync.BOUNDS_S,
            wal_sync_counts=tuple(sync.counts),
            wal_sync_sum_s=sync.sum_s,
            quarantined_segments=self._catalog.quarantined,
            records=self._accepted,
            duplicates=self._duplicated,
            rejected=dict(self._rejected),
            flushes=work.flushes,
            flush_seconds=work.flush_s,
            merges=work.merges,
            merge_seconds=work.merge_s,
        )

    def close(self) -> None:
        """Flush and stop; writes are refused then.

        Where the disk refuses, the WAL keeps what is in the memtable.
        """
        with self._write_lock:
            self._closed = True
        with self._erase_lock:  # It ends with the file that it is at.
            pass
        try:
            if self._catalog.live.memtables:
                self.flush()
        except StorageUnavailableError as error:
            log.warning("closing without a flush", extra={"error": str(error)})
        self._patterns.save()
        self._wal.close()
        self._memory.remove(id(self))
        self._duplicates.close()


def _gone(predicate: Predicate, start_ns: int, end_ns: int, through_row: int) -> Encoded:
    """What finds the records of a deletion."""
    inside = ("range", "time", max(start_ns, -_FOREVER_NS), True, min(end_ns, _FOREVER_NS), False)
    return ("and", [("rows", -1, through_row), inside, encode_predicate(predicate)])
