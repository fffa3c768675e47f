"""Error tracking: errors among the records that arrive become groups that people work through.

Every few seconds the errors among the records that have arrived since the last look are grouped,
and groups and the place that was reached are written in one transaction: a crash neither loses nor
doubles a count. The engine tells many errors by kind, one record of each and how many there are, so
that a storm of errors costs little more than one.

Concurrency: called on the event loop; what blocks runs in the pool given.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.log_predicate import Equals, Exists, Or, Predicate
from obsd.model.log_record import LogRecord
from obsd.services.error_tracking.fingerprint import ErrorKeys
from obsd.services.error_tracking.group_store import ErrorGroups, GroupQuery
from obsd.services.error_tracking.groups import HOUR_NS, ErrorGroup, ErrorState, Sightings

if TYPE_CHECKING:
    from obsd.model.deletion import Deletion
    from obsd.model.log_sighting import LogSighting
    from obsd.services.log_store import LogPage

log = logging.getLogger(__name__)

T = TypeVar("T")

INTERVAL_S: Final = 2.0
PRUNE_INTERVAL_S: Final = 3600.0
BATCH: Final = 100_000
"""Records that are looked at in one go."""

MAX_BATCHES: Final = 50
"""Of one project at one look; a storm of errors must not keep the others waiting."""

EACH: Final = 500
"""So many errors are each told apart, for their traces; more of them by kind."""

_BY: Final = ("service", "service.version", "level", "exception.type", "exception.stacktrace")
_SHAPES: Final = ("body", "exception.message")

ERRORS: Final[Predicate] = Or(
    (
        Equals("level", "error"),
        Equals("level", "fatal"),
        Exists("exception.type"),
        Exists("exception.stacktrace"),
    )
)
_SAMPLES_LOOKED_AT: Final = 1_000


class ErrorSource(Protocol):
    """What error tracking asks of a project's logs. Every method blocks; any thread."""

    def last_row(self) -> int:
        """The number of the newest record; -1 where there is none."""

    def count_arrived(
        self,
        after_row: int,
        through_row: int,
        predicate: Predicate,
        by: Sequence[str],
        budget: QueryBudget,
    ) -> Sequence[tuple[tuple[str, ...], int]]:
        """Matching records numbered above `after_row`, up to `through_row`, by texts of fields."""

    def sightings(
        self,
        after_row: int,
        through_row: int,
        predicate: Predicate,
        by: Sequence[str],
        shapes: Sequence[str],
        step_ns: int,
        budget: QueryBudget,
    ) -> Sequence[LogSighting]:
        """The same records, by kind."""

    def deletions(self) -> Sequence[Deletion]:
        """Deletions by query, the last ones at least."""

    def search(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        cursor: str | None,
        budget: QueryBudget,
    ) -> LogPage: ...


class ErrorTracker:
    """Error groups of all projects."""

    def __init__(
        self,
        sources: Callable[[], Iterable[tuple[str, ErrorSource]]],
        groups: ErrorGroups,
        new_budget: Callable[[], QueryBudget],
        pool: Executor,
        clock: Clock,
    ) -> None:
        """`sources` gives the projects that have logs, as of now."""
        self._sources = sources
        self._groups = groups
        self._new_budget = new_budget
        self._pool = pool
        self._clock = clock
        self._keys = ErrorKeys()  # One look at a time.
        self._looked: dict[str, int] = {}
        self.seen = 0  # Records that were errors.
        self.lag_records = 0  # Records still to look at.

    # Looking

    async def look(self) -> None:
        """Group the errors that have come since the last look."""
        await self._run(self._look)

    def _look(self) -> None:
        behind = 0
        for project_id, source in self._sources():
            behind += self._look_at(project_id, source)
        self.lag_records = behind

    def _look_at(self, project_id: str, source: ErrorSource) -> int:
        """Returns how many records there are still to look at."""
        last = source.last_row()
        reached = self._looked.get(project_id)
        if reached is None:
            # After a crash the last numbers may be given again, and a deletion may have got no
            # further than to the records.
            reached = min(self._groups.progress(project_id), last)
            for deletion in source.deletions():
                self.forget_deleted(project_id, deletion.start_ns, deletion.end_ns)
        for _ in range(MAX_BATCHES):
            if reached >= last:
                break
            through = min(reached + BATCH, last)
            if found := self._sightings(source, reached, through):
                self._record(project_id, found, through)
            self._looked[project_id] = reached = through
        return max(0, last - reached)

    def _sightings(self, source: ErrorSource, after: int, through: int) -> Sequence[LogSighting]:
        """The errors among some records: each of a few, and else one of each kind."""
        budget = self._new_budget()
        by, shapes = list(_BY), list(_SHAPES)
        count = sum(n for _, n in source.count_arrived(after, through, ERRORS, (), budget))
        if not count:
            return ()
        if count <= EACH:
            by.append("trace_id")
        return source.sightings(after, through, ERRORS, by, shapes, HOUR_NS, budget)

    def _record(self, project_id: str, found: Sequence[LogSighting], reached: int) -> None:
        seen: dict[str, Sightings] = {}
        for sighting in found:
            key = self._keys.of(sighting.sample)
            seen.setdefault(key.fingerprint, Sightings(key)).add(sighting)
        news = self._groups.record(project_id, seen.values(), reached, self._now_ns())
        self.seen += sum(sighting.count for sighting in found)
        for fingerprint in news[:10]:
            key = seen[fingerprint].key
            log.info(
                "new or returned error",
                extra={"project": project_id, "error_id": fingerprint, "type": key.type},
            )

    async def prune(self) -> None:
        """Let go of what is too old."""
        await self._run(lambda: self._groups.prune(self._now_ns()))

    # Asking

    async def search(self, project_id: str, query: GroupQuery) -> tuple[list[ErrorGroup], int]:
        """One page of a project's groups, and how many match in all."""
        return await self._run(lambda: self._groups.search(project_id, query))

    async def get(self, project_id: str, fingerprint: str) -> ErrorGroup | None:
        """One group."""
        return await self._run(lambda: self._groups.get(project_id, fingerprint))

    async def sample(self, project_id: str, group: ErrorGroup) -> LogRecord | None:
        """The newest record of a group; None where logs no longer have it."""

        def find() -> LogRecord | None:
            source = dict(self._sources()).get(project_id)
            return None if source is None else self._find_sample(source, group)

        return await self._run(find)

    def _find_sample(self, source: ErrorSource, group: ErrorGroup) -> LogRecord | None:
        keys = ErrorKeys()  # The other is for one thread.
        page = source.search(
            ERRORS,
            group.sample_ns,
            group.sample_ns + 1,
            _SAMPLES_LOOKED_AT,
            None,
            self._new_budget(),
        )
        return next((r for r in page.records if keys.of(r).fingerprint == group.id), None)

    # Deciding

    async def set_state(
        self, project_id: str, fingerprints: Sequence[str], state: ErrorState
    ) -> int:
        """Set the state of groups; returns how many there are of them."""
        return await self._run(
            lambda: self._groups.set_state(project_id, fingerprints, state, self._now_ns())
        )

    def forget_deleted(self, project_id: str, start_ns: int, end_ns: int) -> None:
        """Forget the words of groups whose sample is no longer there. Blocks.

        To be called when records of this time have been deleted.
        """
        source = dict(self._sources()).get(project_id)
        if source is None:
            return
        groups = self._groups.sampled_between(project_id, start_ns, end_ns)
        gone = [group.id for group in groups if self._find_sample(source, group) is None]
        if gone:
            self._groups.forget_words(project_id, gone)

    def _now_ns(self) -> int:
        return self._clock.now_ms() * 1_000_000

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
