"""Writing spans to an engine, and asking it in few words."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock, ManualClock
from obsd.model.span import Span, TraceSummary
from obsd.model.span_predicate import AllSpans, SpanPredicate
from obsd.services.span_encoding import encode_spans
from obsd.services.span_store import TraceOrder, TraceSearch
from obsd.tracestore.engine import SpanEngine, SpanOutcome
from obsd.tracestore.options import SpanOptions
from tests.services.spans import NOW_MS

EVER = (0, 1 << 62)
ANY = AllSpans()
DAY_MS = 86_400_000
DAY_NS = DAY_MS * 1_000_000
MS_NS = 1_000_000
FOREVER = SpanOptions(retention_ms=None, granule_spans=16, merge_run=3)
WAIT_S = 10


def open_engine(
    directory: Path, options: SpanOptions = FOREVER, clock: Clock | None = None
) -> SpanEngine:
    return SpanEngine.open(directory, options, clock or ManualClock(NOW_MS))


def write(engine: SpanEngine, spans: Iterable[Span]) -> SpanOutcome:
    """Write spans, and wait until they are durable."""
    return write_body(engine, encode_spans(spans))


def write_body(engine: SpanEngine, body: bytes) -> SpanOutcome:
    """Write a request, and wait until it is durable."""
    durable = threading.Event()
    errors: list[Exception | None] = []

    def on_durable(error: Exception | None) -> None:
        errors.append(error)
        durable.set()

    outcome = engine.write(body, on_durable)
    assert durable.wait(timeout=WAIT_S)
    assert errors == [None]
    return outcome


def traces_of(
    engine: SpanEngine, predicate: SpanPredicate = ANY, limit: int = 1000
) -> list[TraceSummary]:
    """All traces with a span that matches, the newest first."""
    page = engine.search(TraceSearch(predicate, *EVER, limit=limit), QueryBudget())
    assert page.next_cursor is None
    return page.traces


def every_page(engine: SpanEngine, search: TraceSearch) -> list[TraceSummary]:
    """The traces of a search, page by page."""
    found: list[TraceSummary] = []
    cursor: str | None = None
    while True:
        asked = TraceSearch(
            search.predicate,
            search.start_ns,
            search.end_ns,
            search.limit,
            search.order,
            search.min_duration_ns,
            search.max_duration_ns,
            cursor,
        )
        page = engine.search(asked, QueryBudget())
        assert len(page.traces) <= search.limit
        found += page.traces
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(page.traces) == search.limit


RANKS = {
    TraceOrder.NEWEST: lambda trace: trace.start_ns,
    TraceOrder.SLOWEST: lambda trace: trace.duration_ns,
    TraceOrder.MOST_SPANS: lambda trace: trace.spans,
}
