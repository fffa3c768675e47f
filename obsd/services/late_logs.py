"""Logs of a project that has none yet, for whoever follows it: they come when the project does.

Following makes no project. Its tail is opened when the project's engine is, before anything is
written to that; so the first record is shown, too.

Concurrency: thread-safe.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obsd.model.budget import QueryBudget
from obsd.services.log_store import LogArrivals, LogStore, LogTail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obsd.model.log_predicate import Predicate
    from obsd.model.log_record import LogRecord


@dataclass(frozen=True, slots=True)
class NoArrivals:
    """Nothing has come."""

    count: int = 0
    missed: int = 0

    def search(
        self, predicate: Predicate, limit: int, budget: QueryBudget
    ) -> tuple[Sequence[LogRecord], int]:
        return [], 0


class LateTail:
    """A tail that is empty until there is an engine."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._inner: tuple[LogStore, LogTail] | None = None

    @property
    def is_empty(self) -> bool:
        return self._inner is None or self._inner[1].is_empty

    def take(self) -> LogArrivals:
        return NoArrivals() if self._inner is None else self._inner[1].take()

    def attach(self, store: LogStore) -> None:
        """Keep what arrives there from now on."""
        self._inner = (store, store.open_tail(self._max_bytes))

    def detach(self) -> None:
        """Keep no more."""
        if self._inner is not None:
            store, tail = self._inner
            store.close_tail(tail)


class LateLogs:
    """The tails of one project, before and after it has logs."""

    def __init__(self, project_id: str) -> None:
        """To be given to `Projects.await_logs`."""
        self.project_id = project_id
        self._lock = threading.Lock()
        # Under the lock.
        self._store: LogStore | None = None
        self._tails: list[LateTail] = []

    def opened(self, store: LogStore) -> None:
        """The project has logs now; nothing has been written since its engine was opened."""
        with self._lock:
            self._store = store
            for tail in self._tails:
                tail.attach(store)

    def open_tail(self, max_bytes: int) -> LateTail:
        """What is written from now on, until `close_tail`."""
        tail = LateTail(max_bytes)
        with self._lock:
            self._tails.append(tail)
            if self._store is not None:
                tail.attach(self._store)
        return tail

    def close_tail(self, tail: LateTail) -> None:
        """Give no more to it."""
        with self._lock:
            self._tails.remove(tail)
            tail.detach()
