"""What an engine has taken in and has not put into segments yet: its WAL and its memtables.

Rows are numbered in the order of arrival. An append goes to the WAL and to the memtable under one
lock, so that replay repeats what happened; a flush turns memtables into segments and lets go of the
WAL that they cover.

Concurrency: every method may be called from any thread, those that say so under `lock`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from obsd.durable.wal import OnDurable, Wal
from obsd.model.clock import Clock
from obsd.model.errors import CorruptDataError, OverloadedError, StorageUnavailableError
from obsd.model.head_memory import HeadMemory
from obsd.segments.catalog import Catalog, NumberedMemtable
from obsd.segments.filenames import SegmentName
from obsd.segments.kind import M, S

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FlushLimits:
    """When a memtable is due for a flush.

    Attributes:
        size_bytes: of its memory.
        wal_bytes: of the WAL.
        interval_ms: of its age.
        max_memory_bytes: of all memtables that share a memory; more is refused.
    """

    size_bytes: int
    wal_bytes: int
    interval_ms: int
    max_memory_bytes: int


class Writer(Generic[S, M]):
    """The WAL and the memtables of one engine."""

    def __init__(
        self,
        catalog: Catalog[S, M],
        wal: Wal,
        limits: FlushLimits,
        clock: Clock,
        memory: HeadMemory,
        next_row: int,
    ) -> None:
        """`next_row` is the next row's number if the WAL has none."""
        self._catalog = catalog
        self._noun = catalog.kind.name
        self.wal = wal
        self._limits = limits
        self._clock = clock
        self._memory = memory
        self.lock = threading.Lock()
        """Orders appends."""
        self.flush_lock = threading.Lock()
        """Held by flushes. Taken before any other."""
        # Under the lock: the memtable that takes writes, and the next row's number.
        self._memtable: NumberedMemtable[M] | None = None
        self.next_row = next_row
        self._since_ms = clock.now_ms()
        self.is_closed = False  # Under the lock.
        self.lost = 0
        """Records of the WAL that could not be replayed."""
        # Under the flush lock.
        self.flushes = 0
        self.flush_s = 0.0

    # Writing

    def check_room(self) -> None:
        """See whether memtables may grow.

        Raises:
            OverloadedError: they may not.
        """
        if self._memory.total_bytes() > self._limits.max_memory_bytes:
            raise OverloadedError(f"the {self._noun} memtables are full: flushing does not keep up")

    def check_open(self) -> None:
        """Under the lock.

        Raises:
            OverloadedError: the engine is closed.
        """
        if self.is_closed:
            raise OverloadedError(f"the {self._noun} engine is closed")

    def memtable(self) -> NumberedMemtable[M]:
        """The one that takes writes. Under the lock."""
        return self._memtable or self._begin(None)

    def append(
        self,
        payload: Sequence[bytes],
        on_durable: OnDurable,
        take: Callable[[M, int], int],
    ) -> None:
        """Put a record in the WAL, and its rows in the memtable. Under the lock.

        `take` is given the memtable and the number of the first row, and says how many there are.

        Raises:
            StorageUnavailableError: the disk refuses; nothing was stored.
        """
        memtable = self.memtable()
        self.wal.append(payload, on_durable)
        self.next_row += take(memtable.memtable, self.next_row)

    def _begin(self, sequence: int | None) -> NumberedMemtable[M]:
        self._memtable = self._catalog.begin_memtable(sequence)
        self._since_ms = self._clock.now_ms()
        return self._memtable

    # Replaying

    def replay(self, quarantine: Path, replay_one: Callable[[bytes], int]) -> None:
        """Put what the WAL holds, and segments do not, into memtables as they were.

        `replay_one` puts one record's rows into `replayed_memtable`, under the lock, and says how
        many. What cannot be read is reported, and the WAL's segments stay in the quarantine for
        whoever wants to rescue something from them: the next flush deletes the WAL.
        """
        started_s = time.perf_counter()
        replayed = undecodable = 0
        with self.lock:
            for payload in self.wal.replay():
                try:
                    replayed += replay_one(payload)
                except (CorruptDataError, ValueError) as error:
                    undecodable += 1
                    log.error(
                        f"{self._noun} WAL record does not decode", extra={"error": str(error)}
                    )
        self.lost = undecodable + self.wal.damage_count
        if self.lost:
            self.wal.keep_copies(quarantine)
        if replayed:
            seconds = round(time.perf_counter() - started_s, 3)
            log.info(f"{self._noun} WAL replayed", extra={"rows": replayed, "seconds": seconds})
        self._memory.add(id(self), lambda: self._catalog.live.memtable_bytes)

    def replayed_memtable(self, sequence: int) -> M | None:
        """The memtable of this sequence; None when it is in segments. Under the lock."""
        if sequence <= self._catalog.flushed_through:
            return None
        if self._memtable is None or self._memtable.sequence != sequence:
            self._begin(sequence)
        assert self._memtable is not None
        return self._memtable.memtable

    def replayed_through(self, row: int) -> None:
        """Rows up to this one have been given. Under the lock."""
        self.next_row = max(self.next_row, row + 1)

    # Flushing

    def flush_due(self, rows: Callable[[M], bool]) -> bool:
        """Whether the memtable is large or old enough; `rows` says whether it has too many."""
        memtables, limits = self._catalog.live.memtables, self._limits
        if not memtables:
            return False
        if len(memtables) > 1:  # A flush has failed.
            return True
        memtable = memtables[0].memtable
        return (
            rows(memtable)
            # A request is in the WAL as a whole, however little of it was stored.
            or self.wal.size_bytes >= limits.wal_bytes
            or memtable.size_bytes >= limits.size_bytes
            or self._clock.now_ms() - self._since_ms >= limits.interval_ms
            or self._crowds_others(memtable.size_bytes)
        )

    def _crowds_others(self, size_bytes: int) -> bool:
        """Whether all memtables take half of what they may, and this one much of it."""
        if self._memory.total_bytes() < self._limits.max_memory_bytes // 2:
            return False
        return size_bytes >= self._memory.mean_bytes()

    def flush(
        self,
        before: Callable[[int], None] | None = None,
        rotated: Callable[[], Callable[[], None]] | None = None,
    ) -> None:
        """Turn what has been written so far into segments, and delete the WAL that they cover.

        `before` is called with the last row's number while the memtables are still there. `rotated`
        is called under the lock, between what is flushed and what is not; what it returns is called
        once the segments are durable, while the WAL is still there.

        Raises:
            StorageUnavailableError: the disk refuses. Nothing is lost: the memtable stays readable
                and its WAL stays on disk, and the next flush tries again.
        """
        with self.flush_lock:
            started_s = time.perf_counter()
            with self.lock:
                self._memtable = None
                covered = self.wal.rotate()
                flushed = rotated() if rotated is not None else None
                memtables, next_row = self._catalog.live.memtables, self.next_row
            try:
                if before is not None:
                    before(next_row - 1)
                for memtable in memtables:
                    self._flush_memtable(memtable, next_row)
                if flushed is not None:
                    flushed()
                self.wal.delete_through(covered)
            except OSError as error:
                raise StorageUnavailableError(
                    f"cannot flush the {self._noun} memtable: {error}"
                ) from error
            self.flushes += 1
            self.flush_s += time.perf_counter() - started_s

    def _flush_memtable(self, memtable: NumberedMemtable[M], next_row: int) -> None:
        sequence, catalog = memtable.sequence, self._catalog
        prefix = catalog.directory / SegmentName(sequence, sequence, 0, 0).prefix
        catalog.end_memtable(
            memtable, catalog.kind.write_segments(memtable.memtable, prefix), next_row
        )

    # Closing

    def refuse(self) -> None:
        """Refuse writes from now on."""
        with self.lock:
            self.is_closed = True

    def close(self) -> None:
        """After `refuse` and a last flush."""
        self.wal.close()
        self._memory.remove(id(self))
