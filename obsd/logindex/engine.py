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
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from obsd import _native
from obsd.durable.files import make_directory
from obsd.durable.wal import OnDurable, Wal
from obsd.logindex import filenames
from obsd.logindex.aggregates import Aggregates, GroupCounts, Keep, minute_counts
from obsd.logindex.catalog import Catalog, Live, NumberedMemtable, SegmentFile
from obsd.logindex.compaction import choose_merge, merge
from obsd.logindex.deletions import Deletions, Encoded
from obsd.logindex.duplicates import Duplicates
from obsd.logindex.erasure import erase_from_quarantine, erase_from_segment
from obsd.logindex.options import LogOptions
from obsd.logindex.patterns import PatternIndex
from obsd.logindex.predicates import encode_predicate
from obsd.logindex.stats import LogStats
from obsd.logindex.tail import LogTail
from obsd.logindex.wal_record import MAGIC, WalRecord
from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.errors import (
    BadInputError,
    CorruptDataError,
    OverloadedError,
    QueryError,
    StorageUnavailableError,
    TooLargeError,
    UndecodableError,
)
from obsd.model.field_statistics import FieldStatistics
from obsd.model.head_memory import HeadMemory
from obsd.model.log_deletion import LogDeletion
from obsd.model.log_lines import LogLines
from obsd.model.log_pattern import LogPattern, PatternValues
from obsd.model.log_predicate import Predicate
from obsd.model.log_record import LogRecord
from obsd.model.log_sighting import LogSighting
from obsd.model.resource_logs import LogAmount, ResourceLogs
from obsd.model.samples import IntArray

log = logging.getLogger(__name__)

T = TypeVar("T")
Groups = list[tuple[tuple[str, ...], NDArray[np.uint64]]]
Weight = Literal["records", "bytes"]

FIRST_SCAN_LINES: Final = 128
SCAN_LINES: Final = 4096
"""Lines of a scan's batches: the first are small, since many a query needs no more."""

_MS: Final = 1_000_000
_NAN: Final = float("nan")
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


@dataclass(frozen=True, slots=True)
class LogPage:
    """Records of a search, in order.

    Attributes:
        total: how many match in all, on every page.
        total_exact: false where it is a lower bound.
        next_cursor: what asks for the next page; None when this is the last one.
    """

    records: list[LogRecord]
    total: int
    total_exact: bool
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class LogEntries:
    """The same, its records as a list in JSON: docs/api/logs.md."""

    entries: bytes
    total: int
    total_exact: bool
    next_cursor: str | None


@dataclass(slots=True)
class _Work:
    """Background work since the start. Written under the flush lock and the merge lock."""

    flushes: int = 0
    flush_s: float = 0.0
    merges: int = 0
    merge_s: float = 0.0


class LogEngine:
    """One project's log records."""

    def __init__(
        self, directory: Path, options: LogOptions, clock: Clock, memory: HeadMemory
    ) -> None:
        """Use `open`."""
        make_directory(directory)
        self._directory = directory
        self._options = options
        self._clock = clock
        self._catalog = Catalog.open(
            directory / filenames.SEGMENTS_DIRECTORY,
            directory / filenames.QUARANTINE_DIRECTORY,
            options.granule_rows,
        )
        self._deletions = Deletions.open(
            directory / filenames.DELETIONS, directory / filenames.QUARANTINE_DIRECTORY
        )
        self._aggregates = Aggregates(directory / filenames.AGGREGATES_DIRECTORY)
        self._patterns = PatternIndex(directory / filenames.PATTERNS)
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

    def _oldest_ns(self, now_ms: int) -> int:
        retention_ms = self._options.retention_ms
        if retention_ms is None:
            return -_FOREVER_NS
        return max((now_ms - retention_ms) * _MS, -_FOREVER_NS)

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
                    self._aggregates.write(file.name, self._minute_counts(file))
                if old:
                    self._catalog.replace(old, ())
                if (kept_ms := self._options.aggregate_retention_ms) is not None:
                    self._aggregates.apply_retention((now_ms - kept_ms) * _MS)
            except OSError as error:
                raise StorageUnavailableError(f"cannot apply log retention: {error}") from error
            return len(old)

    def _minute_counts(self, file: SegmentFile) -> list[GroupCounts]:
        """How many records of a segment each minute has; none where it turns out to be damaged."""
        try:
            return minute_counts(file, self._visible(("everything",)))
        except _native.CorruptError as error:
            log.error("a damaged segment leaves no counts", extra={"error": str(error.args)})
            return []

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

    def _visible(self, encoded: Encoded) -> Encoded:
        """The predicate without what is deleted; to be made before the sources are read."""
        pending = self._deletions.pending
        if not pending:
            return encoded
        return ("and", [encoded, *(("not", each.gone) for each in pending)])

    def _encode(self, predicate: Predicate) -> Encoded:
        return self._visible(encode_predicate(predicate))

    def _read(self, read: Callable[[list[_native.LogSegment | _native.LogMemtable]], T]) -> T:
        """Call `read` with the sources; a segment that turns out to be damaged is set aside.

        Raises:
            CorruptDataError: damage that no segment is to blame for.
        """
        while True:
            try:
                return read(self._catalog.live.sources)
            except _native.CorruptError as error:
                path, detail = error.args
                self._set_aside(path, detail, error)
            except OverflowError as error:
                raise QueryError(f"{error}: narrow the search, or choose another field") from error
            except ValueError as error:
                raise BadInputError(str(error)) from error

    def _set_aside(self, path: str, detail: str, error: Exception) -> None:
        """Go on without a damaged segment.

        Raises:
            CorruptDataError: it is none of those that are live.
        """
        if not self._catalog.quarantine(Path(path), detail):
            raise CorruptDataError(path, detail) from error
        with self._write_lock:
            self._duplicates.notice_damage(self._catalog.lost + self._wal_lost)

    def _range(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """The range without what is past retention, as far as there are times."""
        oldest_ns = self._oldest_ns(self._clock.now_ms())
        return max(start_ns, oldest_ns, -_FOREVER_NS), min(end_ns, _FOREVER_NS)

    def search(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        cursor: str | None,
        budget: QueryBudget,
        *,
        newest_first: bool = True,
    ) -> LogPage:
        """Records from `start_ns` to before `end_ns` that match, and how many there are.

        Raises:
            BadInputError: the cursor is none of this engine's.
            QueryTimeoutError, QueryCanceledError: the budget says so.
        """
        after = _parse_cursor(cursor)
        encoded, span = self._encode(predicate), self._range(start_ns, end_ns)
        total, rows, last = self._read(
            lambda sources: _native.log_page(
                sources, encoded, span, limit, newest_first, after, budget.check
            )
        )
        return LogPage([LogRecord(*row) for row in rows], total, True, _cursor(last))

    def search_entries(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        cursor: str | None,
        budget: QueryBudget,
        *,
        newest_first: bool = True,
    ) -> LogEntries:
        """The same page in JSON; one of more than 64 MiB has fewer records.

        Raises:
            BadInputError, QueryTimeoutError, QueryCanceledError: as `search`.
        """
        after = _parse_cursor(cursor)
        encoded, span = self._encode(predicate), self._range(start_ns, end_ns)
        total, entries, last = self._read(
            lambda sources: _native.log_entries(
                sources, encoded, span, limit, newest_first, after, budget.check
            )
        )
        return LogEntries(entries, total, True, _cursor(last))

    def scan(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        budget: QueryBudget,
        *,
        newest_first: bool = True,
        names: Collection[str] | None = None,
    ) -> Iterator[LogLines]:
        """The lines of all matching records in order of time, a batch at a time.

        Of structured metadata there is what `names` has, or everything. What arrives meanwhile may
        be among them or not.

        Raises:
            BadInputError: the predicate cannot be evaluated.
            QueryTimeoutError, QueryCanceledError: the budget says so.
        """
        encoded, span = self._encode(predicate), self._range(start_ns, end_ns)
        after: tuple[int, int] | None = None

        def read(sources: list[_native.LogSegment | _native.LogMemtable]) -> _native.LogScan:
            return _native.log_scan(sources, encoded, span, newest_first, after)

        running = self._read(read)
        wanted = None if names is None else set(names)
        lines = FIRST_SCAN_LINES
        while True:
            try:
                times, texts, streams, metadata, size_bytes, last = running.next(
                    lines, wanted, budget.check
                )
            except _native.CorruptError as error:
                path, detail = error.args
                self._set_aside(path, detail, error)
                running = self._read(read)  # From behind the last line on, without the segment.
                continue
            if last is None:
                return
            after = last
            lines = min(2 * lines, SCAN_LINES)
            yield LogLines(times.tolist(), texts, streams, metadata, size_bytes)

    def last_row(self) -> int:
        """The number of the record that arrived last; -1 before the first."""
        return self._next_row - 1

    def arrived(
        self, after_row: int, limit: int, predicate: Predicate, budget: QueryBudget
    ) -> tuple[list[LogRecord], int]:
        """The first matching records numbered above `after_row`, in order of arrival.

        Returns the last number that was looked at, too: where the next call goes on. Below
        `last_row()` only when there are `limit` records. Numbers survive a restart, but those of
        records that were never acknowledged may be given again after a crash; who keeps one on disk
        begins at `min(kept, last_row())`.

        Raises:
            BadInputError: the predicate cannot be evaluated.
            QueryTimeoutError, QueryCanceledError: the budget says so.
        """
        # Read before the sources are: these have every record that is numbered by then.
        through = self.last_row()
        if through <= after_row:
            return [], after_row
        oldest_ns = self._oldest_ns(self._clock.now_ms())
        encoded = (
            "and",
            [self._encode(predicate), ("range", "time", oldest_ns, True, None, False)],
        )
        rows, last = self._read(
            lambda sources: _native.log_arrived(
                sources, encoded, after_row, through, limit, budget.check
            )
        )
        return [LogRecord(*row) for row in rows], last

    def count_arrived(
        self,
        after_row: int,
        through_row: int,
        predicate: Predicate,
        by: Sequence[str],
        budget: QueryBudget,
    ) -> list[tuple[tuple[str, ...], int]]:
        """Matching records numbered above `after_row`, up to `through_row`, by texts of fields.

        Of whatever time; a field that a record lacks is "".

        Raises:
            QueryError: the fields have too many values.
        """
        encoded = ("and", [("rows", after_row + 1, through_row), self._encode(predicate)])
        groups = self._read(
            lambda sources: _native.log_histogram(
                sources,
                encoded,
                (-_FOREVER_NS, _FOREVER_NS),
                _FOREVER_NS,
                list(by),
                "records",
                budget.check,
            )
        )
        return [(labels, int(counts.sum())) for labels, counts in groups if counts.any()]

    def sightings(
        self,
        after_row: int,
        through_row: int,
        predicate: Predicate,
        by: Sequence[str],
        shapes: Sequence[str],
        step_ns: int,
        budget: QueryBudget,
    ) -> list[LogSighting]:
        """Matching records numbered above `after_row`, up to `through_row`, by kind.

        Records of one kind have the same texts of the fields `by`, the same texts but for their
        digits of `shapes`, and times of the same step. A kind may be told several times.
        """
        encoded = self._encode(predicate)
        found = self._read(
            lambda sources: _native.log_sightings(
                sources,
                encoded,
                (after_row, through_row),
                list(by),
                list(shapes),
                step_ns,
                budget.check,
            )
        )
        return [LogSighting(*kind[:-1], LogRecord(*kind[-1])) for kind in found]

    def count_over_time(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str],
        budget: QueryBudget,
        weight: Weight = "records",
    ) -> list[tuple[tuple[str, ...], IntArray]]:
        """Matching records in each step by the texts of fields, sorted by these.

        Step i begins at `start_ns + i * step_ns`; the last one ends at `end_ns`. A field that a
        record lacks is "". Without fields there is one row, of (), also when nothing matches. By
        `weight` a record counts for one, or for the UTF-8 bytes of its body's text, that of a map
        or list being its compact JSON.

        Raises:
            QueryError: the fields have too many values.
        """
        if step_ns <= 0 or end_ns <= start_ns:
            raise BadInputError("the step must be positive and the end after the start")
        steps = -((start_ns - end_ns) // step_ns)
        budget.reserve(steps)
        encoded = self._encode(predicate)
        oldest_ns = self._oldest_ns(self._clock.now_ms())
        if oldest_ns > start_ns:  # The first step begins where it was asked for all the same.
            encoded = ("and", [encoded, ("range", "time", oldest_ns, True, None, False)])
        groups = self._read(
            lambda sources: _native.log_histogram(
                sources, encoded, (start_ns, end_ns), step_ns, list(by), weight, budget.check
            )
        )
        if not by and not groups:
            return [((), np.zeros(steps, np.int64))]
        return [(labels, counts.astype(np.int64)) for labels, counts in groups]

    def count_kept(
        self,
        predicate: Predicate,
        keep: Keep,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str],
        budget: QueryBudget,
    ) -> list[tuple[tuple[str, ...], IntArray]]:
        """As `count_over_time`, and further back: by the counts of records that are gone.

        `by` is of "service" and "level"; `keep` says of these what `predicate` does of records.
        """
        if step_ns <= 0 or end_ns <= start_ns:
            raise BadInputError("the step must be positive and the end after the start")
        steps = -((start_ns - end_ns) // step_ns)
        budget.reserve(steps)
        encoded, span = self._encode(predicate), (start_ns, end_ns)
        there: set[str] = set()

        def count(sources: list[_native.LogSegment | _native.LogMemtable]) -> Groups:
            there.clear()
            there.update(s.path.name for s in sources if isinstance(s, _native.LogSegment))
            return _native.log_histogram(
                sources, encoded, span, step_ns, list(by), "records", budget.check
            )

        found = self._read(count)
        totals = {labels: counts.astype(np.int64) for labels, counts in found}
        self._aggregates.add_counts(totals, there, span, step_ns, by, keep)
        if not by and not totals:
            return [((), np.zeros(steps, np.int64))]
        return sorted(totals.items(), key=lambda item: item[0])

    def resources(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        budget: QueryBudget,
        *,
        weigh: bool = False,
    ) -> list[ResourceLogs]:
        """What produced the matching records, each resource once, with its records in each step.

        Steps are those of `count_over_time`. `weigh` counts the bytes of bodies, too.

        Raises:
            QueryError: there are too many resources.
        """
        if step_ns <= 0 or end_ns <= start_ns:
            raise BadInputError("the step must be positive and the end after the start")
        encoded = self._encode(predicate)
        oldest_ns = self._oldest_ns(self._clock.now_ms())
        if oldest_ns > start_ns:
            encoded = ("and", [encoded, ("range", "time", oldest_ns, True, None, False)])
        found = self._read(
            lambda sources: _native.log_resources(
                sources, encoded, (start_ns, end_ns), step_ns, weigh, budget.check
            )
        )
        return [
            ResourceLogs(resource, [LogAmount(*amount) for amount in amounts])
            for resource, amounts in found
        ]

    def patterns(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        samples: int,
        budget: QueryBudget,
    ) -> list[LogPattern]:
        """The matching records by the template of their bodies, the most frequent first.

        Steps are those of `count_over_time`; all records are counted. The first `samples` patterns
        have a sample.

        Raises:
            QueryError: there are too many patterns for so many steps.
        """
        if step_ns <= 0 or end_ns <= start_ns:
            raise BadInputError("the step must be positive and the end after the start")
        encoded = self._encode(predicate)
        oldest_ns = self._oldest_ns(self._clock.now_ms())
        if oldest_ns > start_ns:
            encoded = ("and", [encoded, ("range", "time", oldest_ns, True, None, False)])
        return self._read(
            lambda sources: self._patterns.search(
                sources, encoded, (start_ns, end_ns), step_ns, samples, budget.check
            )
        )

    def pattern_values(
        self,
        pattern_id: str,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> PatternValues | None:
        """What the newest matching records of a pattern have in its holes; None for no pattern."""
        encoded, span = self._encode(predicate), self._range(start_ns, end_ns)
        return self._read(
            lambda sources: self._patterns.values(
                pattern_id, sources, encoded, span, limit, budget.check
            )
        )

    def pattern_ids(self, bodies: Sequence[str]) -> list[str]:
        """The id of each line's pattern, as searches find it; lines of a new one are learnt."""
        return self._patterns.ids_of(bodies)

    def pattern_template(self, pattern_id: str) -> tuple[str, str] | None:
        """What a pattern is called by now, and its template; None where it is not known."""
        return self._patterns.template_of(pattern_id)

    def field_statistics(
        self,
        predicate: Predicate,
        field: str,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str],
        quantiles: Sequence[float],
        budget: QueryBudget,
    ) -> list[tuple[tuple[str, ...], dict[int, FieldStatistics]]]:
        """What a field's values come to, by the texts of other fields, in each step that has any.

        Steps are as those of `count_over_time`.

        Raises:
            QueryError: there are too many groups and steps.
        """
        if step_ns <= 0 or end_ns <= start_ns:
            raise BadInputError("the step must be positive and the end after the start")
        encoded = self._encode(predicate)
        oldest_ns = self._oldest_ns(self._clock.now_ms())
        if oldest_ns > start_ns:
            encoded = ("and", [encoded, ("range", "time", oldest_ns, True, None, False)])
        span, shares = (start_ns, end_ns), list(quantiles)
        groups = self._read(
            lambda sources: _native.log_statistics(
                sources, encoded, span, step_ns, field, list(by), shares, budget.check
            )
        )
        return [
            (
                labels,
                {
                    step: FieldStatistics(
                        records, *unique, count, total, low, high, tuple(found), exact
                    )
                    if count
                    else FieldStatistics(records, *unique, 0, _NAN, _NAN, _NAN, tuple(found), exact)
                    for step, records, unique, (count, total, low, high), found, exact in steps
                },
            )
            for labels, steps in groups
        ]

    def field_values(
        self,
        predicate: Predicate,
        field: str,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> list[tuple[str, int]]:
        """The most frequent values of a field, as texts, with how many records have them.

        Raises:
            QueryError: the field has too many values.
        """
        return self._counts(predicate, field, start_ns, end_ns, limit, budget)

    def field_names(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> list[tuple[str, int]]:
        """The attributes, of records or their resources, that most matching records have."""
        return self._counts(predicate, None, start_ns, end_ns, limit, budget)

    def _counts(
        self,
        predicate: Predicate,
        field: str | None,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> list[tuple[str, int]]:
        encoded, span = self._encode(predicate), self._range(start_ns, end_ns)
        counts = self._read(
            lambda sources: _native.log_values(sources, encoded, span, field, budget.check)
        )
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]

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


def _cursor(last: tuple[int, int] | None) -> str | None:
    return None if last is None else f"{last[0]}_{last[1]}"


def _parse_cursor(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    time_ns, _, row = cursor.partition("_")
    try:
        place = int(time_ns), int(row)
    except ValueError as error:
        raise BadInputError(f"invalid cursor {cursor[:80]!r}") from error
    if max(map(abs, place)) > _FOREVER_NS:
        raise BadInputError(f"invalid cursor {cursor[:80]!r}")
    return place
