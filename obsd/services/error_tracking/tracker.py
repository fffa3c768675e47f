"""Error tracking: errors among what arrives become groups that people work through.

Every few seconds the errors among the records and spans that have arrived since the last look are
grouped, and groups and the place that was reached are written in one transaction: a crash neither
loses nor doubles a count. The log engine tells many errors by kind, one record of each and how many
there are, so that a storm of errors costs little more than one.

Spans can be looked at until they are flushed, so they are looked at before that, too.

Concurrency: called on the event loop; what blocks runs in the pool given.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.errors import StorageUnavailableError
from obsd.model.log_predicate import Equals, Exists, Or, Predicate
from obsd.model.log_record import LogRecord
from obsd.model.log_sighting import LogSighting
from obsd.services.error_tracking.fingerprint import ErrorKeys
from obsd.services.error_tracking.group_store import ErrorGroups, GroupQuery
from obsd.services.error_tracking.groups import HOUR_NS, ErrorGroup, ErrorState, Sightings
from obsd.services.error_tracking.span_errors import (
    ERROR_SPANS,
    SpanErrorSource,
    error_records,
)

if TYPE_CHECKING:
    from obsd.model.deletion import Deletion
    from obsd.model.span import Span
    from obsd.services.log_store import LogPage

log = logging.getLogger(__name__)

T = TypeVar("T")

SpanSources = Callable[[], Iterable[tuple[str, SpanErrorSource]]]

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
_SPANS: Final = 1_000
"""Failed spans that are in memory at one time; with their stack traces they may be large."""

MAX_TOLD: Final = 50_000
"""Errors of spans that are known again."""

_DAY_NS: Final = 24 * HOUR_NS
_FIRST_NS: Final = -(1 << 63) + 1
_LAST_NS: Final = (1 << 63) - 1


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
        spans: SpanSources = lambda: (),
    ) -> None:
        """`sources` gives the projects that have logs, as of now, and `spans` those with traces."""
        self._sources = sources
        self._spans = spans
        self._groups = groups
        self._new_budget = new_budget
        self._pool = pool
        self._clock = clock
        self._looking = threading.Lock()  # One look at a time.
        self._keys = ErrorKeys()
        self._looked: dict[str, int] = {}
        self._told: dict[int, None] = {}  # The last errors of spans, by hash.
        self.seen = 0  # Errors that were counted.
        self.lag_records = 0  # Records and spans still to look at.

    # Looking

    async def look(self) -> None:
        """Group the errors that have come since the last look."""
        await self._run(self._look)

    def _look(self) -> None:
        behind = 0
        for project_id, source in self._sources():
            with self._looking:
                behind += self._look_at(project_id, source)
        for project_id, spans in self._spans():
            with self._looking:
                behind += self._look_at_spans(project_id, spans, MAX_BATCHES)
        self.lag_records = behind

    def opened(self, project_id: str, spans: SpanErrorSource) -> None:
        """Have a project's spans looked at before they are flushed. Before anybody writes them."""

        def look(_: int) -> None:
            try:
                with self._looking:
                    self._look_at_spans(project_id, spans, None)
            except StorageUnavailableError as error:
                # Which puts the flush off: an error that is not counted by then never is.
                raise OSError(errno.EIO, str(error)) from error

        spans.before_flush.append(look)

    def _look_at_spans(self, project_id: str, source: SpanErrorSource, batches: int | None) -> int:
        """Returns how many spans there are still to look at."""
        key = f"{project_id}/spans"
        last = source.last_row()
        reached = self._looked.get(key)
        if reached is None:
            # After a crash the last numbers may be given again.
            reached = min(self._groups.progress(key), last)
        while reached < last and batches != 0:
            found, through = source.arrived(reached, _SPANS, ERROR_SPANS, self._new_budget())
            if errors := _errors(project_id, found):
                new = {name: each for name, each in errors.items() if name not in self._told}
                self._record(project_id, [_sighting(each) for each in new.values()], through, key)
                self._remember(new)
            self._looked[key] = reached = through
            batches = None if batches is None else batches - 1
        return max(0, last - reached)

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

    def _remember(self, told: Iterable[int]) -> None:
        """Senders may send a request again."""
        self._told |= dict.fromkeys(told)
        while len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]

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

    def _record(
        self,
        project_id: str,
        found: Sequence[LogSighting],
        reached: int,
        read_from: str | None = None,
    ) -> None:
        seen: dict[str, Sightings] = {}
        for sighting in found:
            key = self._keys.of(sighting.sample)
            seen.setdefault(key.fingerprint, Sightings(key)).add(sighting)
        news = self._groups.record(project_id, seen.values(), reached, self._now_ns(), read_from)
        self.seen += sum(sighting.count for sighting in found)
        for fingerprint in news[:10]:
            kind = seen[fingerprint].key.type
            log.info(
                "new or returned error",
                extra={"project": project_id, "error_id": fingerprint, "type": kind},
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
        """The newest record of a group; None where neither logs nor traces have one any more."""
        return await self._run(lambda: self._find_sample(project_id, group))

    def _find_sample(self, project_id: str, group: ErrorGroup) -> LogRecord | None:
        source = dict(self._sources()).get(project_id)
        found = None if source is None else self._find_in_logs(source, group)
        if found is None:
            spans = dict(self._spans()).get(project_id)
            found = None if spans is None else self._find_in_traces(spans, group)
        return found

    def _find_in_traces(self, source: SpanErrorSource, group: ErrorGroup) -> LogRecord | None:
        keys = ErrorKeys()
        for trace in group.traces:
            spans = source.trace(trace.trace_id, self._new_budget())
            records = [each for span in spans for each in error_records(span)]
            for record in sorted(records, key=lambda record: -record.time_ns):
                if keys.of(record).fingerprint == group.id:
                    return record
        return None

    def _find_in_logs(self, source: ErrorSource, group: ErrorGroup) -> LogRecord | None:
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
        groups = self._groups.sampled_between(project_id, start_ns, end_ns)
        gone = [group.id for group in groups if self._find_sample(project_id, group) is None]
        if gone:
            self._groups.forget_words(project_id, gone)

    def forget_deleted_spans(self, project_id: str, start_ns: int, end_ns: int) -> None:
        """The same when traces have been deleted that have a span of this time. Blocks."""
        # Traces are deleted as a whole, and the errors of one may be of other times.
        first_ns, last_ns = max(start_ns - _DAY_NS, _FIRST_NS), min(end_ns + _DAY_NS, _LAST_NS)
        self.forget_deleted(project_id, first_ns, last_ns)

    def _now_ns(self) -> int:
        return self._clock.now_ms() * 1_000_000

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _errors(project_id: str, spans: Iterable[Span]) -> dict[int, LogRecord]:
    """The errors that spans tell of, by what tells one from another."""
    return {
        hash((project_id, span.trace_id, span.span_id, span.kind, number)): record
        for span in spans
        for number, record in enumerate(error_records(span))
    }


def _sighting(record: LogRecord) -> LogSighting:
    """Of this one record."""
    step_ns = record.time_ns // HOUR_NS * HOUR_NS
    return LogSighting((), step_ns, 1, record.time_ns, record.time_ns, record)
