"""Deleting by query: hidden from every search at once, then erased from every file.

Concurrency: event loop only; what blocks runs in pools.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from obsd.model.budget import QueryBudget
from obsd.model.deletion import Deletion
from obsd.model.errors import BadInputError, StorageUnavailableError

log = logging.getLogger(__name__)

P = TypeVar("P", contravariant=True)
"""The predicates of an engine."""


class DeletingStore(Protocol[P]):
    """An engine that deletes by query."""

    def count_deletable(
        self, predicate: P, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> int: ...

    def delete(self, predicate: P, start_ns: int, end_ns: int, budget: QueryBudget) -> Deletion: ...

    def deletions(self) -> Sequence[Deletion]: ...

    def erase(self) -> bool: ...


Forget = Callable[[str, int, int], None]
"""Lets go of what was derived from a project's data between two times. Blocks."""

Read = Callable[[str, Callable[[Any, QueryBudget], Any]], Coroutine[Any, Any, Any]]
"""Runs work on a project's store, a `DeletingStore`, when it is its turn."""


class QueryDeletions(Generic[P]):
    """The deletions of all projects; times are nanoseconds since 1970, ranges exclude their end."""

    def __init__(self, read: Read, what: str) -> None:
        """`what` names in logs what is deleted."""
        self._read = read
        self._what = what
        self._erasing: set[asyncio.Task[None]] = set()
        self._forget: list[Forget] = []

    def also(self, forget: Forget) -> None:
        """Have it called after every deletion, before that is answered."""
        self._forget.append(forget)

    async def count(self, project_id: str, predicate: P, start_ns: int, end_ns: int) -> int:
        """How many rows `delete` would delete now.

        Raises:
            BadInputError: the range is none.
        """
        _check_range(start_ns, end_ns)

        def work(store: DeletingStore[P], budget: QueryBudget) -> int:
            return store.count_deletable(predicate, start_ns, end_ns, budget)

        found: int = await self._read(project_id, work)
        return found

    async def delete(self, project_id: str, predicate: P, start_ns: int, end_ns: int) -> Deletion:
        """Delete what matches and is there now.

        When this returns no search shows it any more, and its erasure from every file has begun. In
        a project without data there is nothing to delete, and the deletion has no id.

        Raises:
            BadInputError: the range is none.
            OverloadedError, StorageUnavailableError: nothing is deleted.
        """
        _check_range(start_ns, end_ns)

        def work(store: DeletingStore[P], budget: QueryBudget) -> Deletion:
            return store.delete(predicate, start_ns, end_ns, budget)

        deletion: Deletion = await self._read(project_id, work)
        # Not with its query: what is to be forgotten must not live on in a log.
        extra = {
            "project": project_id,
            "deletion": deletion.id,
            "matched": deletion.matched,
            "from_ns": start_ns,
            "to_ns": end_ns,
        }
        log.warning(f"{self._what} deleted by query", extra=extra)
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

    def _begin_to_erase(self, project_id: str, store: DeletingStore[P]) -> None:
        task = asyncio.create_task(self._erase(project_id, store), name=f"erase {project_id}")
        self._erasing.add(task)
        task.add_done_callback(self._erasing.discard)

    async def _erase(self, project_id: str, store: DeletingStore[P]) -> None:
        """Not in the pools of ingest or queries: it takes as long as it takes."""
        try:
            if await asyncio.get_running_loop().run_in_executor(None, store.erase):
                log.info(f"deleted {self._what} are erased", extra={"project": project_id})
        except StorageUnavailableError as error:
            # Background work tries again.
            extra = {"project": project_id, "error": str(error)}
            log.warning(f"deleted {self._what} are hidden, but not erased yet", extra=extra)


def _check_range(start_ns: int, end_ns: int) -> None:
    if end_ns <= start_ns:
        raise BadInputError("the end of what is to be deleted must be after its start")
