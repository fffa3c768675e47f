"""What the product does with logs: take them in durably, search them, and count them.

Concurrency: called on the event loop. Engines block, so they run in the same two thread pools as
those of metrics, and queries of both kinds take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock, SystemClock
from obsd.model.errors import BadInputError
from obsd.model.log_record import LogRecord
from obsd.model.severity import LEVELS, level_name, severity_number
from obsd.services.absent_logs import AbsentLogs
from obsd.services.log_encoding import encode_logs
from obsd.services.log_followers import Follower, FollowLimits, LogFollowers, Render
from obsd.services.log_processors import LogProcessors
from obsd.services.log_store import LogEntries, LogPage, LogStore, LogWriteOutcome, Weight
from obsd.services.metrics_collector import Executors, QueryLimits
from obsd.services.pending_write import OnDurable, PendingWrite, WriteQueue
from obsd.services.projects import Projects
from obsd.services.query_deletions import QueryDeletions
from obsd.services.query_turns import QueryTurns

if TYPE_CHECKING:
    from obsd.model.field_statistics import FieldStatistics
    from obsd.model.log_predicate import Predicate
    from obsd.model.top_counts import TopCounts

T = TypeVar("T")

PATTERN: Final = "pattern"
"""What counts over time are by where they are by pattern; of everything alone."""

MAX_STEPS: Final = 11_000
"""Steps of a count over time; the same as for metrics."""

MAX_AT_ONE_TIME: Final = 1_000
"""Records of the very moment that a context is asked for; senders with coarse clocks have many."""

_FIRST_NS: Final = -(1 << 63) + 1
_LAST_NS: Final = (1 << 63) - 1
_CONTEXT_SPANS_NS: Final = (60_000_000_000, 3_600_000_000_000, 1 << 63)


class RejectedLogsError(BadInputError):
    """Some records were refused; `outcome` says how many were stored."""

    def __init__(self, outcome: LogWriteOutcome) -> None:
        super().__init__(describe_rejected(outcome))
        self.outcome = outcome


def describe_rejected(outcome: LogWriteOutcome) -> str:
    """What was refused, in counts and then in the first few cases."""
    counts = ", ".join(f"{reason}: {count}" for reason, count in sorted(outcome.rejected.items()))
    summary = f"stored {outcome.accepted} records, refused {sum(outcome.rejected.values())}"
    return "; ".join((f"{summary} ({counts})", *outcome.messages))


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which records: what a person wrote, narrowed by what they chose from lists.

    Attributes:
        text: in the search language; empty for all.
        levels: names of levels, one of which a record must have; empty for any.
        services: the same, of services.
    """

    text: str = ""
    levels: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    @property
    def is_kept(self) -> bool:
        """Whether counts by service and level are enough to answer it."""
        return not self.text.strip()

    def keeps(self, service: str, level: str) -> bool:
        """Whether records of a service and level count, where these are all that matters."""
        levels = {_level(name) for name in self.levels}
        services = {name.lower() for name in self.services}
        return (not levels or level in levels) and (not services or service.lower() in services)

    def to_predicate(self, now_ns: int) -> Predicate:
        """What the engine is to find.

        Raises:
            QueryParseError: the text is no query.
            BadInputError: there is no such level.
        """
        # The language is imported by the first search: at the start its time would be felt.
        from obsd.logsearch import compile_query
        from obsd.model.log_predicate import And, Equals, Or

        parts = [compile_query(self.text, now_ns)]
        if self.levels:
            parts.append(Or(tuple(Equals("level", _level(name)) for name in self.levels)))
        if self.services:
            parts.append(Or(tuple(Equals("service", name.lower()) for name in self.services)))
        return parts[0] if len(parts) == 1 else And(tuple(parts))


@dataclass(frozen=True, slots=True)
class LogSource:
    """Where a record came from.

    Attributes:
        service: "" for records without one; None for any.
        resource: fields with the values that they must have.
    """

    service: str | None = None
    resource: Mapping[str, str] = field(default_factory=dict)

    def to_predicate(self) -> Predicate:
        """What the engine is to find."""
        from obsd.model.log_predicate import And, Equals, Exists, Not

        parts: list[Predicate] = [Equals(_own_name(k), v) for k, v in self.resource.items()]
        if self.service:
            parts.append(Equals("service", self.service))
        elif self.service is not None:
            parts.append(Not(Exists("service")))
        return And(tuple(parts))


@dataclass(frozen=True, slots=True)
class LogContext:
    """Records of one source around a moment, each list in order of time.

    Attributes:
        at: those of that very moment.
    """

    before: Sequence[LogRecord]
    at: Sequence[LogRecord]
    after: Sequence[LogRecord]


def _own_name(field: str) -> str:
    from obsd.logsearch import own_name

    return own_name(field)


def _level(name: str) -> str:
    level = level_name(severity_number(name))
    if level is None:
        raise BadInputError(f"there is no level {name!r}: expected one of {', '.join(LEVELS)}")
    return level


class LogAggregator:
    """Logs of all projects; times are nanoseconds since 1970, ranges exclude their end."""

    def __init__(
        self,
        projects: Projects,
        executors: Executors,
        turns: QueryTurns,
        limits: QueryLimits | None = None,
        clock: Clock | None = None,
        follow_limits: FollowLimits | None = None,
    ) -> None:
        self._projects = projects
        self._ingest = executors.ingest
        self._writes = WriteQueue(executors.ingest, executors.write_threads)
        self._turns = turns
        self._limits = limits or QueryLimits()
        self._clock = clock or SystemClock()
        self._absent = AbsentLogs()
        self.deletions: Final = QueryDeletions["Predicate"](self.read, "log records")
        self.processors: Final = LogProcessors(projects, self.now_ns)
        self.followers: Final = LogFollowers(turns, self.new_budget, follow_limits)

    @property
    def ingest_pool(self) -> Executor:
        """Where receivers decode what is too much for the event loop."""
        return self._ingest

    def now_ns(self) -> int:
        return self._clock.now_ms() * 1_000_000

    # Writing

    async def write(
        self,
        project_id: str,
        body: bytes,
        *,
        distinct: bool = False,
        keep_bodies: bool = False,
    ) -> LogWriteOutcome:
        """Store an OTLP `ExportLogsServiceRequest`; return once it is durable.

        What its texts say becomes fields first, and the project's processors run; with
        `keep_bodies` texts stay whole, whatever is found in them. Records that have come before
        are passed over: a request may be sent again. `distinct` is for what comes from senders
        that never send anything again and whose clocks are coarse, such as syslog's: records are
        then kept even if they are the same.

        Raises:
            BadInputError, TooLargeError, OverloadedError, StorageUnavailableError: nothing of it
                is acknowledged.
        """
        store = self._projects.logs.get(project_id)

        def apply(on_durable: OnDurable) -> LogWriteOutcome:
            engine = store or self._projects.log_store(project_id)
            prepared = self.processors.prepare(project_id, body, keep_bodies=keep_bodies)
            return engine.write(prepared, on_durable, distinct=distinct)

        write = PendingWrite(apply)
        self._writes.put(write)
        return await write.future

    async def ingest_logs(self, project_id: str, records: Sequence[LogRecord]) -> int:
        """Store records; return how many were, once they are durable.

        Raises:
            RejectedLogsError: some were refused; the others are stored.
        """
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._ingest, encode_logs, list(records))
        outcome = await self.write(project_id, body)
        if outcome.rejected:
            raise RejectedLogsError(outcome)
        return outcome.accepted

    async def flush(self, project_id: str) -> None:
        """Make segments of what is in memory, and merge what is due.

        Raises:
            StorageUnavailableError: the disk refuses; nothing is lost.
        """
        if self._projects.logs.get(project_id) is None and not self._projects.logs.is_on_disk(
            project_id
        ):
            return

        def settle() -> None:
            self._projects.log_store(project_id).settle()

        # Not in the pools of ingest or queries: it takes as long as it takes.
        await asyncio.get_running_loop().run_in_executor(None, settle)

    # Asking

    def new_budget(self) -> QueryBudget:
        """What one query may spend."""
        return QueryBudget(max_samples=self._limits.max_samples, timeout_s=self._limits.timeout_s)

    async def read(self, project_id: str, work: Callable[[LogStore, QueryBudget], T]) -> T:
        """Run `work` on the project's engine in the query pool, when it is its turn."""
        budget = self.new_budget()
        return await self._turns.run(budget, lambda: work(self._readable(project_id), budget))

    def _readable(self, project_id: str) -> LogStore:
        """Blocks where the project has to be opened; only to be read from."""
        return self._projects.existing_logs(project_id) or cast("LogStore", self._absent)

    async def search_logs(
        self,
        project_id: str,
        query: LogQuery,
        start_ns: int,
        end_ns: int,
        limit: int = 100,
        cursor: str | None = None,
        *,
        newest_first: bool = True,
    ) -> LogPage:
        """One page of the records that match, and how many match in all."""
        predicate = query.to_predicate(self.now_ns())
        return await self.read(
            project_id,
            lambda store, budget: store.search(
                predicate, start_ns, end_ns, limit, cursor, budget, newest_first=newest_first
            ),
        )

    async def search_entries(
        self,
        project_id: str,
        query: LogQuery,
        start_ns: int,
        end_ns: int,
        limit: int = 100,
        cursor: str | None = None,
        *,
        newest_first: bool = True,
    ) -> LogEntries:
        """The same as `search_logs`, the records in JSON."""
        predicate = query.to_predicate(self.now_ns())
        return await self.read(
            project_id,
            lambda store, budget: store.search_entries(
                predicate, start_ns, end_ns, limit, cursor, budget, newest_first=newest_first
            ),
        )

    async def aggregate_logs(
        self,
        project_id: str,
        query: LogQuery,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str] = (),
        weight: Weight = "records",
    ) -> Sequence[tuple[tuple[str, ...], NDArray[np.int64]]]:
        """How many match in each step from `start_ns` on, by the values of fields.

        Without fields there is one row, of (); with `weight` "bytes" it has their bodies' bytes.

        Raises:
            BadInputError: there would be too many steps.
        """
        if step_ns <= 0 or end_ns - start_ns > step_ns * MAX_STEPS:
            raise BadInputError(f"more than {MAX_STEPS:,} steps; make them longer")
        predicate = query.to_predicate(self.now_ns())
        if end_ns <= start_ns:
            return []
        own_names = [_own_name(name) for name in by]
        if list(by) == [PATTERN] and query == LogQuery():
            return await self.read(
                project_id,
                lambda store, budget: store.count_patterns_kept(start_ns, end_ns, step_ns, budget),
            )
        if query.is_kept and weight == "records" and set(own_names) <= {"service", "level"}:
            return await self.read(
                project_id,
                lambda store, budget: store.count_kept(
                    predicate, query.keeps, start_ns, end_ns, step_ns, own_names, budget
                ),
            )
        return await self.read(
            project_id,
            lambda store, budget: store.count_over_time(
                predicate, start_ns, end_ns, step_ns, own_names, budget, weight
            ),
        )

    async def logs_around(
        self, project_id: str, source: LogSource, time_ns: int, before: int, after: int
    ) -> LogContext:
        """The records of a source at a moment, and so many before and after it."""
        predicate = source.to_predicate()

        def look(store: LogStore, budget: QueryBudget) -> LogContext:
            def page(start_ns: int, end_ns: int, limit: int, *, newest_first: bool) -> LogPage:
                return store.search(
                    predicate, start_ns, end_ns, limit, None, budget, newest_first=newest_first
                )

            earlier: Sequence[LogRecord] = []
            later: Sequence[LogRecord] = []
            # Mostly what is asked for is near, and a search of little time is soon done.
            for span_ns in _CONTEXT_SPANS_NS:
                if len(earlier) < before:
                    start_ns = max(time_ns - span_ns, _FIRST_NS)
                    earlier = page(start_ns, time_ns, before, newest_first=True).records
                if len(later) < after:
                    end_ns = min(time_ns + span_ns, _LAST_NS)
                    later = page(time_ns + 1, end_ns, after, newest_first=False).records
            at = page(time_ns, time_ns + 1, MAX_AT_ONE_TIME, newest_first=False).records
            return LogContext(list(reversed(earlier)), at, later)

        return await self.read(project_id, look)

    def follow(
        self, project_id: str, query: LogQuery, render: Render
    ) -> AbstractAsyncContextManager[Follower]:
        """What arrives from now on and matches; see `LogFollowers.follow`.

        Raises:
            BadInputError: the query is none.
        """
        return self.follow_matching(project_id, query.to_predicate(self.now_ns()), render)

    def follow_matching(
        self, project_id: str, predicate: Predicate, render: Render
    ) -> AbstractAsyncContextManager[Follower]:
        """What arrives from now on and matches; see `LogFollowers.follow`."""
        return self.followers.follow(
            project_id, lambda: self._projects.followable_logs(project_id), predicate, render
        )

    async def field_names(
        self, project_id: str, query: LogQuery, start_ns: int, end_ns: int, limit: int
    ) -> TopCounts:
        """Fields of the records that match, with the number of records that have them."""
        predicate = query.to_predicate(self.now_ns())
        return await self.read(
            project_id,
            lambda store, budget: store.field_names(predicate, start_ns, end_ns, limit, budget),
        )

    async def field_statistics(
        self,
        project_id: str,
        query: LogQuery,
        field: str,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str] = (),
        quantiles: Sequence[float] = (),
    ) -> Sequence[tuple[tuple[str, ...], Mapping[int, FieldStatistics]]]:
        """What a field's values come to by those of others, in each step that has any.

        Raises:
            BadInputError: there would be too many steps.
        """
        if step_ns <= 0 or end_ns - start_ns > step_ns * MAX_STEPS:
            raise BadInputError(f"more than {MAX_STEPS:,} steps; make them longer")
        predicate = query.to_predicate(self.now_ns())
        if end_ns <= start_ns:
            return []
        name, own_names = _own_name(field), [_own_name(name) for name in by]
        return await self.read(
            project_id,
            lambda store, budget: store.field_statistics(
                predicate, name, start_ns, end_ns, step_ns, own_names, quantiles, budget
            ),
        )

    async def field_values(
        self, project_id: str, query: LogQuery, field: str, start_ns: int, end_ns: int, limit: int
    ) -> TopCounts:
        """A field's most frequent values among the records that match, with their counts."""
        predicate = query.to_predicate(self.now_ns())
        return await self.read(
            project_id,
            lambda store, budget: store.field_values(
                predicate, _own_name(field), start_ns, end_ns, limit, budget
            ),
        )
