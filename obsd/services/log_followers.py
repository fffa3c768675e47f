"""Live tail: whoever follows a project's logs is shown what arrives, and never slows that down.

A project with followers has one task. At each tick it takes what has come, in the query pool and in
its turn among queries, and gives each follower the records that match, already rendered. What a
follower does not fetch in time, or what comes faster than it can be searched, is let go; the
follower is told how many, at the place where they would have been.

Concurrency: event loop only; what blocks runs in the pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from obsd.model.budget import QueryBudget
from obsd.model.errors import ObsdError, OverloadedError, QueryTimeoutError
from obsd.services.log_store import LogTail

if TYPE_CHECKING:
    from obsd.model.log_predicate import Predicate
    from obsd.model.log_record import LogRecord
    from obsd.services.query_turns import QueryTurns

log = logging.getLogger(__name__)

Render = Callable[["LogRecord"], bytes]


class Tailed(Protocol):
    """What can be followed. Thread-safe."""

    def open_tail(self, max_bytes: int) -> LogTail:
        """What is written from now on, until `close_tail`."""

    def close_tail(self, tail: Any) -> None:  # noqa: ANN401 - its own tail
        """Give no more to it."""


@dataclass(frozen=True, slots=True)
class FollowLimits:
    """How much following may take.

    Attributes:
        followers: of all projects together; one more is refused.
        interval_s: between two looks at what has come.
        tail_bytes: of requests, as they came, that wait for the next look.
        tick_records: that one follower is given at a tick.
        buffer_bytes: rendered and not yet fetched, of one follower.
    """

    followers: int = 32
    interval_s: float = 0.25
    tail_bytes: int = 8 << 20
    tick_records: int = 5_000
    buffer_bytes: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Followed:
    """What a follower is shown next.

    Attributes:
        events: rendered records, in order.
        lost: matching records after those that were let go.
        unsearched: records after those that nobody looked at, whether they match or not.
        has_ended: there will be nothing more.
        failure: why, where it is not that the server stops.
    """

    events: list[bytes]
    lost: int
    unsearched: int
    has_ended: bool
    failure: ObsdError | None


@dataclass(slots=True, eq=False)
class Follower:
    """One reader's part. Compared by identity."""

    predicate: Predicate
    render: Render
    buffer_bytes: int
    _events: list[bytes] = field(default_factory=list)
    _bytes: int = 0
    _lost: int = 0
    _unsearched: int = 0
    _has_ended: bool = False
    _failure: ObsdError | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self, timeout_s: float) -> Followed | None:
        """What has come, once there is anything; None when the time is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)
        if not self._news.is_set():
            return None
        found = Followed(self._events, self._lost, self._unsearched, self._has_ended, self._failure)
        self._events, self._bytes, self._lost, self._unsearched = [], 0, 0, 0
        if not self._has_ended:
            self._news.clear()
        return found

    def put(self, events: list[bytes], matched: int, unsearched: int) -> None:
        """Keep what there is room for.

        Once something is lost the rest is too, so that the gap is told where it is.
        """
        kept = 0
        if not self._lost and not self._unsearched:
            for event in events:
                if self._bytes + len(event) > self.buffer_bytes:
                    break
                self._events.append(event)
                self._bytes += len(event)
                kept += 1
        self._lost += matched - kept
        self._unsearched += unsearched
        if matched or unsearched:
            self._news.set()

    def end(self, failure: ObsdError | None = None) -> None:
        """Give it no more."""
        self._has_ended, self._failure = True, failure
        self._news.set()


Found = tuple[list[bytes], int] | ObsdError
"""What a follower gets of a tick: rendered records, and how many matched; or why it gets none."""


class _Project:
    """A project that somebody follows."""

    def __init__(self, project_id: str, store: Tailed, tail: LogTail) -> None:
        self.id = project_id
        self.store = store
        self.tail = tail
        self.followers: list[Follower] = []
        self.task: asyncio.Task[None] | None = None


class LogFollowers:
    """Everybody who follows logs."""

    def __init__(
        self,
        turns: QueryTurns,
        new_budget: Callable[[], QueryBudget],
        limits: FollowLimits | None = None,
    ) -> None:
        self.limits: Final = limits or FollowLimits()
        self._turns = turns
        self._new_budget = new_budget
        self._projects: dict[str, _Project] = {}
        self._admitted = 0
        self._stopped = False

    @property
    def count(self) -> int:
        """How many follow now."""
        return sum(len(project.followers) for project in self._projects.values())

    @asynccontextmanager
    async def follow(
        self,
        project_id: str,
        open_store: Callable[[], Tailed],
        predicate: Predicate,
        render: Render,
    ) -> AsyncIterator[Follower]:
        """Follow from when this is entered until it is left.

        `open_store` and `render` run in the pool.

        Raises:
            OverloadedError: there are too many followers, or the server stops.
        """
        if self._stopped:
            raise OverloadedError("the server is shutting down")
        if self._admitted >= self.limits.followers:
            raise OverloadedError(f"the limit of {self.limits.followers} log followers is reached")
        self._admitted += 1
        try:
            store = await self._turns.run(self._new_budget(), open_store)
            if self._stopped:
                raise OverloadedError("the server is shutting down")
            follower = Follower(predicate, render, self.limits.buffer_bytes)
            project = self._add(project_id, store, follower)
            try:
                yield follower
            finally:
                self._remove(project, follower)
        finally:
            self._admitted -= 1

    def stop(self) -> None:
        """End every stream; from now on nobody can follow."""
        self._stopped = True
        for project in self._projects.values():
            for follower in project.followers:
                follower.end()

    def _add(self, project_id: str, store: Tailed, follower: Follower) -> _Project:
        project = self._projects.get(project_id)
        if project is None:
            project = _Project(project_id, store, store.open_tail(self.limits.tail_bytes))
            self._projects[project_id] = project
            project.task = asyncio.create_task(self._run(project), name=f"follow {project_id}")
        project.followers.append(follower)
        return project

    def _remove(self, project: _Project, follower: Follower) -> None:
        project.followers.remove(follower)
        if not project.followers:
            self._forget(project)
            project.store.close_tail(project.tail)
            assert project.task is not None
            project.task.cancel()

    def _forget(self, project: _Project) -> None:
        if self._projects.get(project.id) is project:
            del self._projects[project.id]

    async def _run(self, project: _Project) -> None:
        try:
            while True:
                await asyncio.sleep(self.limits.interval_s)
                if not project.tail.is_empty:
                    await self._tick(project)
        except Exception:
            log.exception("following logs has failed", extra={"project": project.id})
            self._forget(project)  # The next to come begins anew.
            for follower in project.followers:
                follower.end(OverloadedError("following has failed; obsd's log says why"))

    async def _tick(self, project: _Project) -> None:
        budget = self._new_budget()
        # Who comes while this runs is shown what arrives after it.
        asked = list(project.followers)
        try:
            found, unsearched = await self._turns.run(
                budget, lambda: self._search(project.tail, asked, budget)
            )
        except (OverloadedError, QueryTimeoutError):
            return  # No turn was free. What has come waits, as far as there is room.
        for follower, result in zip(asked, found, strict=True):
            if isinstance(result, ObsdError):
                follower.end(result)
            else:
                follower.put(*result, unsearched)

    def _search(
        self, tail: LogTail, followers: list[Follower], budget: QueryBudget
    ) -> tuple[list[Found], int]:
        """In the pool."""
        arrivals = tail.take()
        found: list[Found] = []
        unsearched = arrivals.missed
        for follower in followers:
            try:
                records, total = arrivals.search(
                    follower.predicate, self.limits.tick_records, budget
                )
            except QueryTimeoutError:
                found.append(OverloadedError("following takes more time than a query may"))
            except ObsdError as error:
                found.append(error)
            else:
                found.append(([follower.render(record) for record in records], total))
        return found, unsearched
