"""What arrives at a log engine from now on, for those who follow it.

A write only hands its decoded batch over: an append to a list. Whoever follows takes what has come,
and only then it is put together as granules, which are searched like any others. So no record is
shown twice or left out, whatever its time is, and whatever flushes and merges do meanwhile.

Concurrency: every method may be called from any thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from obsd import _native
from obsd.logindex.predicates import encode_predicate
from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError, CorruptDataError
from obsd.model.log_predicate import Predicate
from obsd.model.log_record import LogRecord

_ALWAYS: Final = (-(1 << 63) + 1, (1 << 63) - 1)


@dataclass(frozen=True, slots=True)
class LogArrivals:
    """The records that came between two calls of `take`.

    Attributes:
        count: how many there are.
        missed: how many more came, and were let go for want of room.
    """

    memtable: _native.LogMemtable
    count: int
    missed: int

    def search(
        self, predicate: Predicate, limit: int, budget: QueryBudget
    ) -> tuple[list[LogRecord], int]:
        """The first matching records by time, at most `limit`, and how many match in all.

        Raises:
            BadInputError: the predicate cannot be evaluated.
            QueryTimeoutError, QueryCanceledError: the budget says so.
        """
        try:
            total, rows, _ = _native.log_page(
                [self.memtable],
                encode_predicate(predicate),
                _ALWAYS,
                limit,
                False,
                None,
                budget.check,
            )
        except ValueError as error:
            raise BadInputError(str(error)) from error
        except _native.CorruptError as error:
            raise CorruptDataError(*error.args) from error
        return [LogRecord(*row) for row in rows], total


class LogTail:
    """Keeps what arrives until it is taken, as far as there is room."""

    def __init__(self, max_bytes: int, granule_rows: int) -> None:
        """Holds requests of `max_bytes` together, and at least one."""
        self._max_bytes = max_bytes
        self._granule_rows = granule_rows
        self._lock = threading.Lock()
        # Under the lock.
        self._batches: list[tuple[_native.LogBatch, int]] = []
        self._bytes = 0
        self._missed = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come since the last `take`."""
        return not self._batches and not self._missed

    def add(self, batch: _native.LogBatch, first_row: int, size_bytes: int) -> None:
        """Take in a batch; called in the order of its rows."""
        with self._lock:
            # Once something is let go the rest is too: a gap is then told where it is.
            if self._missed or (self._batches and self._bytes + size_bytes > self._max_bytes):
                self._missed += batch.records
                return
            self._batches.append((batch, first_row))
            self._bytes += size_bytes

    def take(self) -> LogArrivals:
        """What has come since the last call."""
        with self._lock:
            batches, self._batches = self._batches, []
            missed, self._missed = self._missed, 0
            self._bytes = 0
        memtable = _native.LogMemtable(self._granule_rows)
        for batch, first_row in batches:
            memtable.append(batch, first_row)
        return LogArrivals(memtable, memtable.records, missed)
