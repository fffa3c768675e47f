"""Searching for traces: candidates by what the engine can tell, then each one looked at whole.

A trace is found if the query leaves a span of it that starts before the range's end, and the trace
goes on into the range; as in Tempo it may have begun before, and is then looked for up to
`LOOK_BACK_NS` earlier. The newest span that may be such a one decides the order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from obsd.model.budget import QueryBudget
from obsd.model.log_record import Value
from obsd.model.span_predicate import AnyOf
from obsd.traceql import ast
from obsd.traceql.candidates import newest_first
from obsd.traceql.errors import NotTraceSearchError
from obsd.traceql.fields import Getter, first, getter_of
from obsd.traceql.named_fields import fields_of
from obsd.traceql.parser import parse
from obsd.traceql.pushdown import plan_pipeline
from obsd.traceql.result import FoundSpan, FoundSpans, FoundTrace, QueryStats, SearchResult
from obsd.traceql.roots import root_condition
from obsd.traceql.spansets import Spanset, pipeline_of, whole
from obsd.traceql.storage import Storage
from obsd.traceql.trace import Trace
from obsd.traceql.value import answer

LOOK_BACK_NS: Final = 5 * 60 * 1_000_000_000
DEFAULT_LIMIT: Final = 20
DEFAULT_SPANS: Final = 3
_ALWAYS_TOLD: Final = frozenset(  # What an answer has of every span, or of its trace.
    {
        "name",
        "duration",
        "traceDuration",
        "rootName",
        "rootServiceName",
        "trace:id",
        "span:id",
    }
)


def search(
    store: Storage,
    query: ast.Query | str,
    start_ns: int,
    end_ns: int,
    limit: int = DEFAULT_LIMIT,
    spss: int = DEFAULT_SPANS,
    budget: QueryBudget | None = None,
    on_trace: Callable[[FoundTrace], None] | None = None,
) -> SearchResult:
    """The newest traces that a query finds, `limit` at most, each with `spss` spans of a set.

    Of 0 spans a set there are all. `on_trace` is called with each trace at once, for whoever
    streams.

    Raises:
        TraceqlParseError: where and why a text is no query.
        NotTraceSearchError: the query is one for metrics.
    """
    query = parse(query) if isinstance(query, str) else query
    if not isinstance(query.expr, ast.Pipeline):
        raise NotTraceSearchError
    budget = budget or QueryBudget()
    stats = QueryStats()
    plan = plan_pipeline(query.expr)
    found: list[FoundTrace] = []
    if plan.predicate == AnyOf(()) or limit <= 0:
        return SearchResult((), stats)
    run = pipeline_of(query.expr)
    render = Renderer(query.expr, spss)
    first_ns = max(start_ns - LOOK_BACK_NS, 0)
    root = root_condition(query.expr)
    for trace_id in newest_first(store, plan.predicate, first_ns, end_ns, budget, stats, root):
        budget.check()
        spans = store.trace(trace_id, budget)
        if not spans:
            continue
        trace = Trace(spans)
        stats.traces += 1
        sets = run(trace, whole(trace))
        if not sets or not _is_in_range(trace, sets, start_ns, end_ns):
            continue
        found.append(render.trace(trace, sets))
        if on_trace is not None:
            on_trace(found[-1])
        if len(found) >= limit:
            break
    return SearchResult(tuple(found), stats)


def _is_in_range(trace: Trace, sets: Sequence[Spanset], start_ns: int, end_ns: int) -> bool:
    first_ns = max(start_ns - LOOK_BACK_NS, 0)
    return trace.end_ns >= start_ns and any(
        first_ns <= trace.spans[at].start_ns < end_ns for each in sets for at in each.spans
    )


class Renderer:
    """Makes results of traces; `spss` spans of each set at most, if it is not 0."""

    def __init__(self, pipeline: ast.Pipeline, spss: int) -> None:
        self._spss = spss
        self._fields: list[tuple[str, Getter]] = [
            (named.name, getter_of(named))
            for named in fields_of(pipeline)
            if not (isinstance(named, ast.Intrinsic) and named.name in _ALWAYS_TOLD)
        ]

    def trace(self, trace: Trace, sets: Sequence[Spanset]) -> FoundTrace:
        return FoundTrace(trace.summary(), tuple(self._spans(trace, each) for each in sets))

    def _spans(self, trace: Trace, each: Spanset) -> FoundSpans:
        shown = each.spans[: self._spss] if self._spss else each.spans
        attributes = tuple((name, answer(value)) for name, value in each.attributes)
        spans = tuple(self._span(trace, at) for at in shown)
        return FoundSpans(spans, len(each.spans), attributes)

    def _span(self, trace: Trace, at: int) -> FoundSpan:
        span = trace.spans[at]
        attributes: list[tuple[str, Value]] = []
        for name, get in self._fields:
            value = first(get(trace, at))
            if value is not None:
                attributes.append((name, answer(value)))
        return FoundSpan(
            span.span_id, span.name, span.start_ns, span.duration_ns, tuple(attributes)
        )
