"""A span store that is a list of spans; it fits what the service asks of an engine."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from obsd.model.budget import QueryBudget
from obsd.model.deletion import Deletion
from obsd.model.errors import BadInputError
from obsd.model.span import ServiceSpans, Span, SpanKind, TraceSummary
from obsd.model.span_predicate import Constant, Field, SpanPredicate
from obsd.services.span_encoding import encode_spans
from obsd.services.span_store import SpanColumns, TraceOrder, TraceSearch
from tests.oracles.otlp_spans import decode
from tests.oracles.span_predicate import matches, values


@dataclass
class Outcome:
    accepted: int
    rejected: dict[str, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


@dataclass
class Page:
    traces: list[TraceSummary]
    next_cursor: str | None


@dataclass
class Stats:
    spans: int
    wal_bytes: int = 0
    segment_bytes: int = 0


def summarize(spans: Sequence[Span]) -> TraceSummary:
    """What a list of traces shows of one; `spans` are all of it."""
    spans = in_order(spans)
    root = next((span for span in spans if not span.parent_id), spans[0])
    start_ns = spans[0].start_ns
    services: dict[str, ServiceSpans] = {}
    for span in spans:
        before = services.get(span.service, ServiceSpans(0, 0))
        services[span.service] = ServiceSpans(before.spans + 1, before.errors + int(span.is_error))
    return TraceSummary(
        trace_id=spans[0].trace_id,
        root_service=root.service,
        root_name=root.name,
        start_ns=start_ns,
        duration_ns=max(span.end_ns for span in spans) - start_ns,
        spans=len(spans),
        errors=sum(span.is_error for span in spans),
        services=services,
    )


def in_order(spans: Iterable[Span]) -> list[Span]:
    """By start; of the same start, as they came."""
    return sorted(spans, key=lambda span: span.start_ns)


_ORDERS: dict[TraceOrder, Callable[[TraceSummary], int]] = {
    TraceOrder.NEWEST: lambda summary: summary.start_ns,
    TraceOrder.SLOWEST: lambda summary: summary.duration_ns,
    TraceOrder.MOST_SPANS: lambda summary: summary.spans,
}


class MemorySpans:
    """Every answer is made of the whole list, anew."""

    def __init__(self, now_ns: int = 0) -> None:
        self.arrivals: list[Span] = []
        self.now_ns = now_ns
        self.failure: Exception | None = None
        self.sync_failure: Exception | None = None
        self.calls: list[str] = []
        self.deleted: list[Deletion] = []
        self.gone: set[int] = set()  # Rows that are deleted.
        self.flushed_row = -1
        self.before_flush: list[Callable[[int], None]] = []
        self.pinned: list[Callable[[int, int], Iterable[bytes]]] = []

    # Writing

    def write(self, body: bytes, on_durable: Callable[[Exception | None], None]) -> Outcome:
        if self.failure is not None:
            raise self.failure
        decoded = decode(body, self.now_ns)
        self.arrivals += decoded.spans
        threading.Thread(target=on_durable, args=(self.sync_failure,)).start()
        return Outcome(len(decoded.spans), decoded.rejected, decoded.messages)

    def add(self, spans: Iterable[Span]) -> None:
        """Take in spans of the model."""
        self.write(encode_spans(spans), lambda _: None)

    # Asking

    @property
    def kept(self) -> list[Span]:
        """Of the same trace, id and kind only the last."""
        last = {
            (span.trace_id, span.span_id, span.kind): row for row, span in enumerate(self.arrivals)
        }
        return [self.arrivals[row] for row in sorted(last.values()) if row not in self.gone]

    def _found(self, predicate: SpanPredicate, start_ns: int, end_ns: int) -> list[Span]:
        return [s for s in self.kept if start_ns <= s.start_ns < end_ns and matches(predicate, s)]

    def trace(self, trace_id: str, budget: QueryBudget) -> list[Span]:
        return in_order(span for span in self.kept if span.trace_id == trace_id)

    def search(self, search: TraceSearch, budget: QueryBudget) -> Page:
        traces: dict[str, list[Span]] = {}
        for span in self.kept:
            traces.setdefault(span.trace_id, []).append(span)
        wanted = {s.trace_id for s in self._found(search.predicate, search.start_ns, search.end_ns)}
        least = search.min_duration_ns or 0
        found = [
            summary
            for trace_id in wanted
            if (summary := summarize(traces[trace_id])).duration_ns >= least
            and (search.max_duration_ns is None or summary.duration_ns <= search.max_duration_ns)
        ]
        rank = _ORDERS[search.order]
        places = sorted((-rank(summary), summary.trace_id, summary) for summary in found)
        if search.cursor is not None:
            after = _place(search.cursor)
            places = [place for place in places if place[:2] > after]
        page, more = places[: search.limit], len(places) > search.limit
        following = f"{page[-1][0]}:{page[-1][1]}" if more and page else None
        return Page([summary for *_, summary in page], following)

    def spans(
        self,
        predicate: SpanPredicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> list[Span]:
        found = self._found(predicate, start_ns, end_ns)
        return sorted(found, key=lambda span: -span.start_ns)[:limit]

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
        found = self._found(predicate, start_ns, end_ns)
        for first in range(0, len(found), 3):
            yield _columns(found[first : first + 3], fields, trace_ids=trace_ids)

    def services(self, start_ns: int, end_ns: int, budget: QueryBudget) -> list[str]:
        found = {span.service for span in self.kept if start_ns <= span.start_ns < end_ns}
        return sorted(found - {""})

    def operations(
        self, service: str, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> list[tuple[str, SpanKind]]:
        return sorted(
            {
                (span.name, span.kind)
                for span in self.kept
                if span.service == service and start_ns <= span.start_ns < end_ns
            }
        )

    def field_names(
        self, start_ns: int, end_ns: int, limit: int, budget: QueryBudget
    ) -> list[Field]:
        found: set[tuple[str, str]] = set()
        for span in self.kept:
            if not start_ns <= span.start_ns < end_ns:
                continue
            found |= {("span", name) for name in span.attributes}
            found |= {("resource", name) for name in span.resource}
            found |= {("scope", name) for name in span.scope.attributes}
            found |= {("event", name) for event in span.events for name in event.attributes}
            found |= {("link", name) for link in span.links for name in link.attributes}
        return [Field(scope, name) for scope, name in sorted(found)][:limit]  # type: ignore[arg-type]

    def field_values(
        self,
        field: Field,
        predicate: SpanPredicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> list[tuple[Constant, int]]:
        counts: Counter[tuple[str, Constant]] = Counter()
        for span in self._found(predicate, start_ns, end_ns):
            counts.update({_typed(v) for v in values(span, field) if _is_constant(v)})
        ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0][1])))
        return [(value, count) for (_, value), count in ranked[:limit]]

    def otlp(self, trace_id: str, budget: QueryBudget) -> bytes | None:
        spans = self.trace(trace_id, budget)
        return encode_spans(spans) if spans else None

    # Arrivals

    def last_row(self) -> int:
        return len(self.arrivals) - 1

    def arrived(
        self, after_row: int, limit: int, predicate: SpanPredicate, budget: QueryBudget
    ) -> tuple[list[Span], int]:
        found: list[Span] = []
        for row in range(max(after_row, self.flushed_row) + 1, len(self.arrivals)):
            if matches(predicate, self.arrivals[row]):
                found.append(self.arrivals[row])
                if len(found) == limit:
                    return found, row
        return found, max(after_row, len(self.arrivals) - 1)

    # Deleting

    def _deletable(self, predicate: SpanPredicate, start_ns: int, end_ns: int) -> set[int]:
        wanted = {span.trace_id for span in self._found(predicate, start_ns, end_ns)}
        return {
            row
            for row, span in enumerate(self.arrivals)
            if row not in self.gone and span.trace_id in wanted
        }

    def count_deletable(
        self, predicate: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> int:
        return len(self._deletable(predicate, start_ns, end_ns))

    def delete(
        self, predicate: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> Deletion:
        gone = self._deletable(predicate, start_ns, end_ns)
        self.gone |= gone
        number = str(len(self.deleted))
        self.deleted.append(
            Deletion(number, 0, start_ns, end_ns, self.last_row(), len(gone), done_ms=0)
        )
        return self.deleted[-1]

    def deletions(self) -> list[Deletion]:
        return self.deleted

    def erase(self) -> bool:
        return False

    # Background work

    def flush_due(self) -> bool:
        return False

    def flush(self) -> None:
        self.calls.append("flush")
        for follow in self.before_flush:
            follow(self.last_row())
        self.flushed_row = self.last_row()

    def compact(self) -> bool:
        self.calls.append("compact")
        return False

    def apply_retention(self) -> int:
        return 0

    def settle(self) -> None:
        self.calls.append("settle")

    def stats(self) -> Stats:
        return Stats(len(self.arrivals))

    def close(self) -> None:
        self.calls.append("close")


def _place(cursor: str) -> tuple[int, str]:
    rank, _, trace_id = cursor.partition(":")
    try:
        return int(rank), trace_id
    except ValueError:
        raise BadInputError("invalid cursor") from None


def _is_constant(value: object) -> bool:
    return isinstance(value, str | int | float)


def _typed(value: Constant) -> tuple[str, Constant]:
    """So that true is not 1."""
    return type(value).__name__, value


def _columns(spans: Sequence[Span], fields: Sequence[Field], *, trace_ids: bool) -> SpanColumns:
    codes, distinct = [], []
    for each in fields:
        places: dict[tuple[str, Constant], int] = {}
        column = np.full(len(spans), -1, np.int32)
        for at, span in enumerate(spans):
            first = next(filter(_is_constant, values(span, each)), None)
            if first is not None:
                column[at] = places.setdefault(_typed(first), len(places))
        codes.append(column)
        distinct.append([value for _, value in places])
    return SpanColumns(
        np.array([span.start_ns for span in spans], np.int64),
        np.array([span.duration_ns for span in spans], np.int64),
        codes,
        distinct,
        [span.trace_id for span in spans] if trace_ids else None,
    )
