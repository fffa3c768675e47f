"""Deleting logs by query: hidden from every search at once, then erased from every file.

Concurrency: event loop only; what blocks runs in pools.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from obsd.model.budget import QueryBudget
from obsd.model.deletion import Deletion
from obsd.model.errors import BadInputError, StorageUnavailableError
from obsd.services.log_store import LogStore

if TYPE_CHECKING:
    from obsd.model.log_predicate import Predicate

log = logging.getLogger(__name__)

T = TypeVar("T")


class Query(Protocol):
    """Which records."""

    def to_predicate(self, now_ns: int) -> Predicate: ...


Forget = Callable[[str, int, int], None]
"""Lets go of what was derived from records of a project between two times. Blocks."""

Read = Callable[[str, Callable[[LogStore, QueryBudget], Any]], Coroutine[Any, Any, Any]]
"""Runs work on a project's store when it is its turn."""


class LogDeletions:
    """The deletions of all projects; times are nanoseconds since 1970, ranges exclude their end."""

    def __init__(self, read: Read, now_ns: Callable[[], int]) -> None:
        self._read = read
        self._now_ns = now_ns
        self._erasing: set[asyncio.Task[None]] = set()
        self._forget: list[Forget] = []

    def also(self, forget: Forget) -> None:
        """Have it called after every deletion, before that is answered."""
        self._forget.append(forget)

    async def count(self, project_id: str, query: Query, start_ns: int, end_ns: int) -> int:
        """How many records `delete` would delete now."""
        predicate = self._predicate(query, start_ns, end_ns)
        found: int = await self._read(
            project_id,
            lambda store, budget: store.count_deletable(predicate, start_ns, end_ns, budget),
        )
        return found

    async def delete(self, project_id: str, query: Query, start_ns: int, end_ns: int) -> Deletion:
        """Delete what matches and is there now.

        When this returns no search shows it any more, and its erasure from every file has begun. In
        a project without logs there is nothing to delete, and the deletion has no id.

        Raises:
            BadInputError: the query is none.
            OverloadedError, StorageUnavailableError: nothing is deleted.
        """
        predicate = self._predicate(query, start_ns, end_ns)
        deletion: Deletion = await self._read(
            project_id, lambda store, budget: store.delete(predicate, start_ns, end_ns, budget)
        )
        # Not with its query: what is to be forgotten must not live on in a log.
        extra = {
            "project": project_id,
            "deletion": deletion.id,
            "records": deletion.matched,
            "from_ns": start_ns,
            "to_ns": end_ns,
        }
        log.warning("log records deleted by query", extra=extra)
        loop = asyncio.get_running_loop()
        for forget in self._forget:
            await loop.run_in_executor(None, forget, project_id, start_ns, end_ns)
        if deletion.done_ms is None:
            self._begin_to_erase(project_id, await self._read(project_id, lambda store, _: store))
        return deletion

    async def list(self, project_id: str) -> Sequence[Deletion]:
        """Those that are not done, and the last ones that are; oldest first."""
        found: Sequence[Deletion] = await self._read(project_id, lambda store, _: store.deletions())
        return found

    def _predicate(self, query: Query, start_ns: int, end_ns: int) -> Predicate:
        if end_ns <= start_ns:
            raise BadInputError("the end of what is to be deleted must be after its start")
        return query.to_predicate(self._now_ns())

    def _begin_to_erase(self, project_id: str, store: LogStore) -> None:
        task = asyncio.create_task(self._erase(project_id, store), name=f"erase {project_id}")
        self._erasing.add(task)
        task.add_done_callback(self._erasing.discard)

    async def _erase(self, project_id: str, store: LogStore) -> None:
        """Not in the pools of ingest or queries: it takes as long as it takes."""
        try:
            if await asyncio.get_running_loop().run_in_executor(None, store.erase):
                log.info("deleted log records are erased", extra={"project": project_id})
        except StorageUnavailableError as error:
            # Background work tries again.
            extra = {"project": project_id, "error": str(error)}
            log.warning("deleted log records are hidden, but not erased yet", extra=extra)
