"""What is asked of a project's spans: every read of the span engine.

How segments are read in general, `obsd.segments.reader` says. A trace may be in several segments
and memtables; whatever is read of it is joined first.

Concurrency: every method may be called from any thread.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from obsd import _native
from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.errors import BadInputError, CorruptDataError
from obsd.model.span import (
    Scope,
    ServiceSpans,
    Span,
    SpanEvent,
    SpanKind,
    SpanLink,
    StatusCode,
    TraceSummary,
)
from obsd.model.span_columns import SpanColumns
from obsd.model.span_predicate import (
    AllSpans,
    CompareField,
    Constant,
    Field,
    FieldScope,
    SpanPredicate,
)
from obsd.segments.deletions import Deletions
from obsd.segments.reader import FOREVER_NS, SegmentReader
from obsd.tracestore.catalog import Sources, SpanCatalog
from obsd.tracestore.hidden import HiddenTraces
from obsd.tracestore.predicates import Encoded, encode_predicate

ANY: Final = AllSpans()
SERVICE: Final = Field("intrinsic", "service")
NAME: Final = Field("intrinsic", "name")
KIND: Final = Field("intrinsic", "kind")
MANY: Final = 1_000_000

_ID_DIGITS: Final = 32


class Order(Protocol):
    """What comes first: "newest", "slowest" or "most_spans"."""

    @property
    def value(self) -> str: ...


class Search(Protocol):
    """Which traces: see `obsd.services.span_store.TraceSearch`."""

    @property
    def predicate(self) -> SpanPredicate: ...

    @property
    def start_ns(self) -> int: ...

    @property
    def end_ns(self) -> int: ...

    @property
    def limit(self) -> int: ...

    @property
    def order(self) -> Order: ...

    @property
    def min_duration_ns(self) -> int | None: ...

    @property
    def max_duration_ns(self) -> int | None: ...

    @property
    def cursor(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class TracesFound:
    """One page of a search.

    Attributes:
        next_cursor: where the next page begins; None at the end.
    """

    traces: list[TraceSummary]
    next_cursor: str | None


class SpanReader(SegmentReader[_native.SpanSegment, _native.SpanMemtable]):
    """Reads what a catalog has. The engine is one that writes, too."""

    def __init__(
        self,
        catalog: SpanCatalog,
        deletions: Deletions,
        clock: Clock,
        retention_ms: int | None,
    ) -> None:
        super().__init__(catalog, deletions, clock, retention_ms)
        self._hidden = HiddenTraces(deletions)

    def _encode(self, predicate: SpanPredicate) -> Encoded:
        """The predicate without what is deleted; to be made before the sources are read."""
        return self._visible(encode_predicate(predicate))

    def _visible(self, encoded: Encoded) -> Encoded:
        if (hidden := self._hidden.traces) is None:
            return encoded
        return ("and", [encoded, ("not", ("traces", hidden))])

    def _is_hidden(self, trace_id: bytes) -> bool:
        return (hidden := self._hidden.traces) is not None and trace_id in hidden

    def trace(self, trace_id: str, budget: QueryBudget) -> list[Span]:
        """The spans of a trace by start; none where it is not known.

        Raises:
            BadInputError: the id is not 32 hexadecimal digits.
            QueryTimeoutError, QueryCanceledError: the budget says so.
        """
        wanted = _parse_id(trace_id)
        if self._is_hidden(wanted):
            return []
        rows = self._read(lambda sources: _native.span_trace(sources, wanted, budget.check))
        return [_span(row) for row in rows]

    def otlp(self, trace_id: str, budget: QueryBudget) -> bytes | None:
        """A trace as OTLP `TracesData`; None where it is not known."""
        wanted = _parse_id(trace_id)
        if self._is_hidden(wanted):
            return None
        return self._read(lambda sources: _native.span_otlp(sources, wanted, budget.check))

    def search(self, search: Search, budget: QueryBudget) -> TracesFound:
        """The traces with a span that matches and starts in the range, and of this duration.

        Traces that are alike in what orders them are ordered by id.

        Raises:
            BadInputError: the cursor is none of this engine's, or the predicate cannot be read.
            QueryTimeoutError, QueryCanceledError: the budget says so.
        """
        after = _parse_cursor(search.cursor)
        encoded = self._encode(search.predicate)
        span = self._range(search.start_ns, search.end_ns)
        duration = search.min_duration_ns, search.max_duration_ns
        order, limit = str(search.order.value), search.limit
        rows, last = self._read(
            lambda sources: _native.span_search(
                sources, encoded, span, duration, order, limit, after, budget.check
            )
        )
        return TracesFound([_summary(row) for row in rows], _cursor(last))

    def spans(
        self,
        predicate: SpanPredicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> list[Span]:
        """Spans that match and start in the range, the newest first."""
        encoded, span = self._encode(predicate), self._range(start_ns, end_ns)
        rows = self._read(
            lambda sources: _native.span_find(sources, encoded, span, limit, budget.check)
        )
        return [_span(row) for row in rows]

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
        """Matching spans that start in the range as columns, in no order, some thousand a turn.

        Raises:
            BadInputError: the predicate cannot be read.
            CorruptDataError: damage was met after the first turn. What was damaged is set aside:
                the next scan goes without it.
            QueryTimeoutError, QueryCanceledError: the budget says so.
        """
        encoded, span = self._encode(predicate), self._range(start_ns, end_ns)
        named = [(field.scope, field.name) for field in fields]
        has_begun = False

        def begin(
            sources: Sources,
        ) -> _native.SpanScan:
            return _native.span_scan(sources, encoded, named, span, trace_ids)

        running = self._read(begin)
        while True:
            try:
                turn = running.next(budget.check)
            except _native.CorruptError as error:
                self._set_aside(error)
                if has_begun:  # What has been given is not to be given again.
                    raise CorruptDataError(*error.args) from error
                running = self._read(begin)
                continue
            if turn is None:
                return
            has_begun = True
            yield SpanColumns(*turn)

    def services(self, start_ns: int, end_ns: int, budget: QueryBudget) -> list[str]:
        """Names of services with spans in the range, sorted."""
        if self._hidden.traces is not None:
            counts = self.field_values(SERVICE, ANY, start_ns, end_ns, MANY, budget)
            return sorted(str(value) for value, _ in counts)
        span = self._range(start_ns, end_ns)
        return self._read(lambda sources: _native.span_services(sources, span, budget.check))

    def operations(
        self, service: str, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> list[tuple[str, SpanKind]]:
        """Names and kinds of a service's spans in the range, sorted."""
        if self._hidden.traces is not None:
            return self._visible_operations(service, start_ns, end_ns, budget)
        span = self._range(start_ns, end_ns)
        found = self._read(
            lambda sources: _native.span_operations(sources, service, span, budget.check)
        )
        return [(name, SpanKind(kind)) for name, kind in found]

    def _visible_operations(
        self, service: str, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> list[tuple[str, SpanKind]]:
        """While some traces are hidden: slower, since every span is looked at."""
        wanted = CompareField(SERVICE, "=", service)
        found: set[tuple[str, SpanKind]] = set()
        for turn in self.scan(wanted, [NAME, KIND], start_ns, end_ns, budget):
            names, kinds = turn.values
            pairs = set(zip(turn.codes[0].tolist(), turn.codes[1].tolist(), strict=True))
            found |= {
                ("" if name < 0 else str(names[name]), SpanKind(int(kinds[kind])))
                for name, kind in pairs
            }
        return sorted(found)

    def field_names(
        self, start_ns: int, end_ns: int, limit: int, budget: QueryBudget
    ) -> list[Field]:
        """Attributes of spans in the range; those of deleted traces until these are erased."""
        span = self._range(start_ns, end_ns)
        found = self._read(
            lambda sources: _native.span_field_names(sources, span, limit, budget.check)
        )
        return [Field(_SCOPES[scope], name) for scope, name in found]

    def field_values(
        self,
        field: Field,
        predicate: SpanPredicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> list[tuple[Constant, int]]:
        """The most frequent values of a field among matching spans, with their counts.

        Of a field with very many values (over 250,000) the counts are lower bounds.
        """
        encoded, span = self._encode(predicate), self._range(start_ns, end_ns)
        named = (field.scope, field.name)
        return self._read(
            lambda sources: _native.span_field_values(
                sources, named, encoded, span, limit, budget.check
            )
        )

    @abstractmethod
    def last_row(self) -> int:
        """The number of the span that arrived last; -1 before the first."""

    def arrived(
        self, after_row: int, limit: int, predicate: SpanPredicate, budget: QueryBudget
    ) -> tuple[list[Span], int]:
        """Matching spans behind a number in order of arrival, and how far that looked.

        Only spans that are not in segments yet. Numbers survive a restart, but those of spans that
        were never acknowledged may be given again after a crash; who keeps one on disk begins at
        `min(kept, last_row())`.
        """
        # Read before the memtables are: these have every span that is numbered by then.
        through = self.last_row()
        if through <= after_row:
            return [], after_row
        encoded = self._encode(predicate)
        memtables = [each.memtable for each in self._catalog.live.memtables]
        try:
            rows, last = _native.span_arrived(memtables, encoded, after_row, limit, budget.check)
        except ValueError as error:
            raise BadInputError(str(error)) from error
        # Behind what is in segments already nothing is left to look at.
        return [_span(row) for row in rows], last if len(rows) == limit else max(last, through)


_SCOPES: Final[dict[str, FieldScope]] = {
    "span": "span",
    "resource": "resource",
    "scope": "scope",
    "event": "event",
    "link": "link",
}
_KINDS: Final = tuple(SpanKind)
_STATUSES: Final = tuple(StatusCode)


def _span(row: tuple[Any, ...]) -> Span:
    """A span of the tuple that native code has for it."""
    trace_id, span_id, parent_id, name, kind, start_ns, end_ns, service, status, message = row[:10]
    attributes, resource, scope, events, links, *rest = row[10:]
    return Span(
        trace_id,
        span_id,
        parent_id,
        name,
        _KINDS[kind],
        start_ns,
        end_ns,
        service,
        _STATUSES[status],
        message,
        attributes,
        resource,
        Scope(*scope),
        tuple(SpanEvent(*event) for event in events),
        tuple(SpanLink(*link) for link in links),
        *rest,
    )


def _summary(row: tuple[Any, ...]) -> TraceSummary:
    trace_id, root_service, root_name, start_ns, duration_ns, spans, errors, services = row
    of_services = {name: ServiceSpans(*counts) for name, counts in services.items()}
    return TraceSummary(
        trace_id, root_service, root_name, start_ns, duration_ns, spans, errors, of_services
    )


def _parse_id(trace_id: str) -> bytes:
    try:
        wanted = bytes.fromhex(trace_id)
    except ValueError as error:
        raise BadInputError(f"invalid trace id {trace_id[:80]!r}") from error
    if len(trace_id) != _ID_DIGITS or len(wanted) != _ID_DIGITS // 2:
        raise BadInputError(f"invalid trace id {trace_id[:80]!r}")
    return wanted


def _cursor(last: tuple[int, bytes] | None) -> str | None:
    return None if last is None else f"{last[0]}_{last[1].hex()}"


def _parse_cursor(cursor: str | None) -> tuple[int, bytes] | None:
    if cursor is None:
        return None
    rank, _, trace_id = cursor.partition("_")
    try:
        place = int(rank)
        wanted = _parse_id(trace_id)
    except (ValueError, BadInputError) as error:
        raise BadInputError(f"invalid cursor {cursor[:80]!r}") from error
    if not 0 <= abs(place) <= FOREVER_NS:
        raise BadInputError(f"invalid cursor {cursor[:80]!r}")
    return place, wanted
