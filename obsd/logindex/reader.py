"""What is asked of a project's log records: every read of the log engine.

How segments are read in general, `obsd.segments.reader` says.

Concurrency: every method may be called from any thread.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from obsd import _native
from obsd.logindex.aggregates import Aggregates, Keep
from obsd.logindex.catalog import LogCatalog
from obsd.logindex.options import LogOptions
from obsd.logindex.patterns import PatternIndex
from obsd.logindex.predicates import encode_predicate
from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.errors import BadInputError
from obsd.model.field_statistics import FieldStatistics
from obsd.model.log_lines import LogLines
from obsd.model.log_pattern import LogPattern, PatternValues
from obsd.model.log_predicate import Predicate
from obsd.model.log_record import LogRecord
from obsd.model.log_sighting import LogSighting
from obsd.model.resource_logs import LogAmount, ResourceLogs
from obsd.model.samples import IntArray
from obsd.model.top_counts import TopCounts
from obsd.segments.deletions import Deletions, Encoded
from obsd.segments.reader import FOREVER_NS, SegmentReader

Groups = list[tuple[tuple[str, ...], NDArray[np.uint64]]]
Weight = Literal["records", "bytes"]
Source = _native.LogSegment | _native.LogMemtable

FIRST_SCAN_LINES: Final = 128
SCAN_LINES: Final = 4096
"""Lines of a scan's batches: the first are small, since many a query needs no more."""

_NAN: Final = float("nan")


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


class LogReader(SegmentReader[_native.LogSegment, _native.LogMemtable]):
    """Reads what a catalog has. The engine is one that writes, too."""

    def __init__(
        self,
        catalog: LogCatalog,
        deletions: Deletions,
        aggregates: Aggregates,
        patterns: PatternIndex,
        options: LogOptions,
        clock: Clock,
    ) -> None:
        super().__init__(catalog, deletions, clock, options.retention_ms)
        self._aggregates = aggregates
        self._patterns = patterns
        self._options = options

    def _visible(self, encoded: Encoded) -> Encoded:
        """The predicate without what is deleted; to be made before the sources are read."""
        pending = self._deletions.pending
        if not pending:
            return encoded
        return ("and", [encoded, *(("not", each.gone) for each in pending)])

    def _encode(self, predicate: Predicate) -> Encoded:
        return self._visible(encode_predicate(predicate))

    @abstractmethod
    def last_row(self) -> int:
        """The number of the record that arrived last; -1 before the first."""

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

        def read(sources: list[Source]) -> _native.LogScan:
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
                self._set_aside(error)
                running = self._read(read)  # From behind the last line on, without the segment.
                continue
            if last is None:
                return
            after = last
            lines = min(2 * lines, SCAN_LINES)
            yield LogLines(times.tolist(), texts, streams, metadata, size_bytes)

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
                (-FOREVER_NS, FOREVER_NS),
                FOREVER_NS,
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

        def count(sources: list[Source]) -> Groups:
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

    def count_patterns_kept(
        self, start_ns: int, end_ns: int, step_ns: int, budget: QueryBudget
    ) -> list[tuple[tuple[str, ...], IntArray]]:
        """All records in each step by the ids of their patterns, as far back as counts are kept.

        Raises:
            QueryError: there are too many patterns for so many steps.
        """
        if step_ns <= 0 or end_ns <= start_ns:
            raise BadInputError("the step must be positive and the end after the start")
        encoded, span = self._visible(("everything",)), (start_ns, end_ns)
        there: set[str] = set()

        def count(sources: list[Source]) -> list[LogPattern]:
            there.clear()
            there.update(s.path.name for s in sources if isinstance(s, _native.LogSegment))
            return self._patterns.search(sources, encoded, span, step_ns, 0, budget.check)

        totals: dict[tuple[str, ...], IntArray] = {(p.id,): p.counts for p in self._read(count)}
        self._aggregates.add_patterns(totals, there, span, step_ns)
        return sorted(totals.items(), key=lambda item: (-int(item[1].sum()), item[0]))

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
    ) -> TopCounts:
        """The most frequent values of a field, as texts, with how many records have them."""
        return self._counts(predicate, field, start_ns, end_ns, limit, budget)

    def field_names(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> TopCounts:
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
    ) -> TopCounts:
        encoded, span = self._encode(predicate), self._range(start_ns, end_ns)
        return TopCounts(
            *self._read(
                lambda sources: _native.log_values(
                    sources, encoded, span, field, limit, budget.check
                )
            )
        )


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
    if max(map(abs, place)) > FOREVER_NS:
        raise BadInputError(f"invalid cursor {cursor[:80]!r}")
    return place
