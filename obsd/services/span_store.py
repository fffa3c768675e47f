"""All that the trace service asks of an engine; a test can answer it from a list of spans."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from obsd.model.budget import QueryBudget
from obsd.model.span_columns import SpanColumns as SpanColumns

if TYPE_CHECKING:
    from obsd.model.deletion import Deletion
    from obsd.model.span import Span, SpanKind, TraceSummary
    from obsd.model.span_predicate import Field, SpanPredicate


class TraceOrder(Enum):
    """What comes first in a list of traces."""

    NEWEST = "newest"
    SLOWEST = "slowest"
    MOST_SPANS = "most_spans"


@dataclass(frozen=True, slots=True)
class TraceSearch:
    """Which traces: those with a span that matches, and of this duration.

    Attributes:
        predicate: of one span of the trace.
        start_ns, end_ns: a matching span starts from `start_ns` to before `end_ns`.
        min_duration_ns, max_duration_ns: of the whole trace; None for any.
        cursor: the `next_cursor` of the page before.
    """

    predicate: SpanPredicate
    start_ns: int
    end_ns: int
    limit: int = 20
    order: TraceOrder = TraceOrder.NEWEST
    min_duration_ns: int | None = None
    max_duration_ns: int | None = None
    cursor: str | None = None


class SpanWriteOutcome(Protocol):
    """What became of a request's spans."""

    @property
    def accepted(self) -> int: ...

    @property
    def rejected(self) -> Mapping[str, int]:
        """How many were refused, by reason."""

    @property
    def messages(self) -> Sequence[str]:
        """The first few cases in words."""


class TracePage(Protocol):
    """One page of a search."""

    @property
    def traces(self) -> Sequence[TraceSummary]: ...

    @property
    def next_cursor(self) -> str | None:
        """Where the next page begins; None at the end."""


class SpanStore(Protocol):
    """One project's spans. Every method blocks, and all are thread-safe.

    Times are nanoseconds since 1970; ranges have their start and not their end. Of spans with the
    same trace, id and kind the last one that was written counts.
    """

    def write(
        self, body: bytes, on_durable: Callable[[Exception | None], None]
    ) -> SpanWriteOutcome:
        """Take an OTLP `ExportTraceServiceRequest`; the callback tells when the disk has it."""

    def trace(self, trace_id: str, budget: QueryBudget) -> Sequence[Span]:
        """The spans of a trace by start; none where it is not known."""

    def search(self, search: TraceSearch, budget: QueryBudget) -> TracePage: ...

    def spans(
        self,
        predicate: SpanPredicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> Sequence[Span]:
        """Spans that match and start in the range, the newest first."""

    def scan(
        self,
        predicate: SpanPredicate,
        fields: Sequence[Field],
        start_ns: int,
        end_ns: int,
        budget: QueryBudget,
        *,
        trace_ids: bool = False,
    ) -> Iterator[SpanColumns]:
        """Matching spans that start in the range as columns, in no order, some thousand a turn."""

    def services(self, start_ns: int, end_ns: int, budget: QueryBudget) -> Sequence[str]:
        """Names of services with spans in the range, sorted."""

    def operations(
        self, service: str, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> Sequence[tuple[str, SpanKind]]:
        """Names and kinds of a service's spans in the range, sorted."""

    def field_names(
        self, start_ns: int, end_ns: int, limit: int, budget: QueryBudget
    ) -> Sequence[Field]:
        """Attributes of spans in the range."""

    def field_values(
        self,
        field: Field,
        predicate: SpanPredicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> Sequence[tuple[str | int | float | bool, int]]:
        """The most frequent values of a field among matching spans, with their counts."""

    def otlp(self, trace_id: str, budget: QueryBudget) -> bytes | None:
        """A trace as OTLP `TracesData`; None where it is not known."""

    def last_row(self) -> int:
        """The number of the span that arrived last; -1 before the first."""

    def arrived(
        self, after_row: int, limit: int, predicate: SpanPredicate, budget: QueryBudget
    ) -> tuple[Sequence[Span], int]:
        """Matching spans behind a number in order of arrival, and how far that looked.

        Only spans that are not in segments yet: who follows arrivals is called before a flush.
        """

    # Deleting

    def count_deletable(
        self, predicate: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> int:
        """How many spans `delete` would delete now."""

    def delete(
        self, predicate: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> Deletion:
        """Delete the traces that have a matching span in the range, as far as they are there now.

        Whole: no other span of theirs stays. Durable, and hidden, when this returns.
        """

    def deletions(self) -> Sequence[Deletion]:
        """Those that are not done, and the last ones that are; oldest first."""

    def erase(self) -> bool:
        """Take what is deleted out of every file; false when nothing is left to do."""

    # Background work

    before_flush: list[Callable[[int], None]]
    """Called with the last span's number before a flush takes spans up to it out of memory. To be
    added to before the store is used, by `EngineSet.before_use`."""

    @property
    def pinned(self) -> list[Callable[[int, int], Iterable[bytes]]]:
        """What is called with a range of times for the ids of traces that sampling must keep.

        To be added to as `before_flush`.
        """

    def flush_due(self) -> bool: ...

    def flush(self) -> None: ...

    def compact(self) -> bool: ...

    def apply_retention(self) -> int: ...

    def settle(self) -> None:
        """Flush, and merge as far as what is there now ever will be."""

    def stats(self) -> Any:  # noqa: ANN401 - the engine's own numbers, for its own telemetry
        """Has `spans`: how many arrived since the start."""

    def close(self) -> None: ...
