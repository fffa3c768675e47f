"""Searches: what is planned finds what looking at every trace finds, in order and within limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obsd.model.budget import QueryBudget
from obsd.model.errors import QueryCanceledError, QueryTimeoutError
from obsd.model.span import Span
from obsd.model.span_predicate import AllSpans, Field, SpanPredicate
from obsd.traceql import (
    FoundTrace,
    NotTraceSearchError,
    TraceqlParseError,
    candidates,
    condition_of,
    parse,
    search,
)
from obsd.traceql.ast import Pipeline
from obsd.traceql.fields import test_of as truth_of
from obsd.traceql.pushdown import plan_field, plan_pipeline
from obsd.traceql.search import LOOK_BACK_NS
from obsd.traceql.spansets import pipeline_of, whole
from obsd.traceql.storage import Columns
from obsd.traceql.trace import Trace
from tests.oracles.span_predicate import matches
from tests.services.memory_spans import MemorySpans, in_order
from tests.traceql.queries import ORDER, STRINGS, conditions, one_of, pipelines, spaced
from tests.traceql.spans import MINUTE, T0, S, some_traces, span


def brute_force(
    spans: Sequence[Span], query: str, start_ns: int, end_ns: int
) -> dict[str, list[list[str]]]:
    """The ids of the spans of every set, of every trace that is found."""
    pipeline = parse(query).expr
    assert isinstance(pipeline, Pipeline)
    run = pipeline_of(pipeline)
    traces: dict[str, list[Span]] = {}
    for each in spans:
        traces.setdefault(each.trace_id, []).append(each)
    found = {}
    for trace_id, of_trace in traces.items():
        trace = Trace(in_order(of_trace))
        sets = run(trace, whole(trace))
        starts = [trace.spans[at].start_ns for each in sets for at in each.spans]
        in_range = any(start_ns - LOOK_BACK_NS <= start < end_ns for start in starts)
        if in_range and max(each.end_ns for each in of_trace) >= start_ns:
            found[trace_id] = [[trace.spans[at].span_id for at in each.spans] for each in sets]
    return found


ABOUT_ROOTS = st.one_of(
    spaced(one_of("rootName", "rootServiceName"), one_of(*ORDER), one_of(*STRINGS)),
    spaced(one_of(*STRINGS), one_of(*ORDER), one_of("rootName", "rootServiceName")),
    one_of("span.a", 'rootName =~ "x|GET.*"', 'rootServiceName !~ "x"'),
)


def ids(traces: Sequence[FoundTrace]) -> dict[str, list[list[str]]]:
    return {
        each.summary.trace_id: [[s.span_id for s in one.spans] for one in each.spansets]
        for each in traces
    }


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    some_traces(), pipelines() | pipelines(ABOUT_ROOTS), st.integers(0, 600), st.integers(1, 600)
)
def test_a_planned_search_finds_what_looking_at_every_trace_finds(
    monkeypatch: pytest.MonkeyPatch, spans: Sequence[Span], query: str, start: int, width: int
) -> None:
    monkeypatch.setattr(candidates, "_ROOT_BEFORE_NS", 60 * MINUTE)
    monkeypatch.setattr(candidates, "_ROOT_AFTER_NS", 60 * MINUTE)
    store = MemorySpans()
    store.add(spans)
    start_ns, end_ns = T0 + start * S, T0 + (start + width) * S
    result = search(store, parse(query), start_ns, end_ns, 100, 0, QueryBudget())
    assert ids(result.traces) == brute_force(store.kept, query, start_ns, end_ns)


@settings(max_examples=100, deadline=None)
@given(some_traces(), conditions())
def test_a_plan_takes_every_span_that_the_condition_takes(
    spans: Sequence[Span], condition: str
) -> None:
    expr = parse(f"{{ {condition} }}").expr
    assert isinstance(expr, Pipeline)
    plan = plan_pipeline(expr)
    test = truth_of(expr.stages[0].condition)  # type: ignore[union-attr]
    for trace_id in {each.trace_id for each in spans}:
        trace = Trace(in_order(each for each in spans if each.trace_id == trace_id))
        for at, each in enumerate(trace.spans):
            taken, planned = test(trace, at), matches(plan.predicate, each)
            assert planned or not taken
            if plan.exact:
                assert planned == taken


EXACT = {
    "true": True,
    '.a = "x"': True,
    ".a != 1": True,
    '.a !~ "x|y"': True,
    "!(.a = 1 || span.b > 2)": True,
    ".a": True,
    "!.a": True,
    ".a = nil && resource.b != nil": True,
    'name = "x" && statusMessage = "" && span:parentID != ""': True,
    "status = error && kind != server && duration > 1s / 2": True,
    'trace:id = "1" || span:id = "2"': True,
    "nestedSetParent < 0": True,
    "nestedSetParent >= 0": True,
    'event:name != "x" && link.l = 1 && instrumentation.i > 0': True,
    "2s < duration": True,
    ".a = error": True,
    "event.e != 1": False,  # Of a list in an event.
    "nestedSetParent < 5": False,
    "span:childCount > 1": False,
    'rootName = "x"': False,
    "traceDuration > 1s": False,
    "event:timeSinceStart > 1s": False,
    "parent.a = 1": False,
    ".a = .b": False,
    ".a + 1 = 2": False,
    "(.a = 1) = false": False,
}


@pytest.mark.parametrize(("condition", "exact"), EXACT.items())
def test_what_the_engine_can_say_is_not_looked_at_again(condition: str, exact: bool) -> None:
    expr = parse(f"{{ {condition} }}").expr
    assert isinstance(expr, Pipeline)
    assert plan_field(expr.stages[0].condition).exact is exact  # type: ignore[union-attr]


NARROWED = {
    '{ name = "x" } >> { name = "y" }': '{ name = "y" }',
    '{ name = "x" } &> { name = "y" }': '{ name = "y" || name = "x" }',
    '{ name = "x" } && { name = "y" }': '{ name = "x" || name = "y" }',
    '{ name = "x" } | count() > 1 | { name = "y" }': '{ name = "x" && name = "y" }',
    '{ name = "x" } | by(.a) | select(.b)': '{ name = "x" }',
    "{ span.a > resource.b }": "{ span.a != nil && resource.b != nil }",
    '{ name = "x" && traceDuration > 1s }': '{ name = "x" }',
}


@pytest.mark.parametrize(("query", "like"), NARROWED.items())
def test_the_engine_is_asked_for_candidates_alone(query: str, like: str) -> None:
    expr, simple = parse(query).expr, parse(like).expr
    assert isinstance(expr, Pipeline)
    assert isinstance(simple, Pipeline)
    assert plan_pipeline(expr).predicate == plan_pipeline(simple).predicate


class Watched(MemorySpans):
    """Tells what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.windows: list[tuple[int, int]] = []

    def trace(self, trace_id: str, budget: QueryBudget) -> list[Span]:
        self.loaded.append(trace_id)
        return super().trace(trace_id, budget)

    def scan(
        self,
        predicate: SpanPredicate,
        fields: Sequence[Field],
        start_ns: int,
        end_ns: int,
        budget: QueryBudget,
        *,
        trace_ids: bool = False,
    ) -> Iterator[Columns]:
        self.windows.append((start_ns, end_ns))
        return super().scan(predicate, fields, start_ns, end_ns, budget, trace_ids=trace_ids)


@pytest.fixture
def many() -> Watched:
    store = Watched()
    store.add([span(n, 1, 0, f"s{n % 10}", at=n) for n in range(1, 201)])
    return store


def test_the_newest_come_first_and_the_limit_ends_the_search(many: Watched) -> None:
    result = search(many, "{ }", T0, T0 + 60 * MINUTE, 5, 3, QueryBudget())
    newest = [f"{n:032x}" for n in (200, 199, 198, 197, 196)]
    assert [each.summary.trace_id for each in result.traces] == newest
    assert many.loaded == newest
    assert result.stats.traces == 5


def test_a_plain_filter_loads_what_it_finds_and_nothing_else(many: Watched) -> None:
    result = search(many, "{ name = `s3` }", T0, T0 + MINUTE, 20, 3, QueryBudget())
    assert [each.summary.start_ns for each in result.traces] == [
        T0 + at * S for at in (53, 43, 33, 23, 13, 3)
    ]
    assert len(many.loaded) == 6


ROOTS = (
    "{ rootName = `s3` }",
    "{ `s3` = rootName && .a = nil } >> { } || { rootName = `s3` }",
    '{ rootName =~ "s3|s[3]" && traceDuration > 0s }',
    "{ } | { rootName > `s2` && (rootName < `s4` || rootName = `x`) }",
)


@pytest.mark.parametrize("query", ROOTS)
def test_traces_with_another_root_are_not_loaded(many: Watched, query: str) -> None:
    result = search(many, query, T0, T0 + 60 * MINUTE, 100, 3, QueryBudget())
    assert {each.summary.root_name for each in result.traces} == {"s3"}
    assert len(result.traces) == len(many.loaded) == 20


def test_a_root_that_never_came_is_looked_for_in_the_trace() -> None:
    store = MemorySpans()
    store.add([span(1, 2, 1, "orphan", service=""), span(2, 1, 0, "root", service="a")])
    for query, name in (
        ("{ rootName = `orphan` }", "orphan"),
        ("{ rootServiceName = `` }", "orphan"),
        ("{ rootServiceName != `` }", "root"),
    ):
        result = search(store, query, T0, T0 + MINUTE, 20, 3, QueryBudget())
        assert [each.summary.root_name for each in result.traces] == [name]


def test_windows_grow_backwards_and_do_not_overlap(many: Watched) -> None:
    search(many, "{ name = `none` }", T0, T0 + 60 * MINUTE, 5, 3, QueryBudget())
    starts, ends = [w[0] for w in many.windows], [w[1] for w in many.windows]
    assert ends == [T0 + 60 * MINUTE, *starts[:-1]]
    assert starts[-1] == T0 - LOOK_BACK_NS
    assert len(many.windows) < 10


def test_a_window_with_too_many_traces_is_cut(
    many: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "MAX_HELD", 3)
    result = search(many, "{ }", T0, T0 + 2**20 * S, 1000, 3, QueryBudget())
    assert len(result.traces) == 200
    assert len(set(many.loaded)) == len(many.loaded) == 200


def test_a_trace_may_have_begun_before_the_range() -> None:
    store = MemorySpans()
    store.add([span(1, 1, 0, "long", takes=120), span(2, 1, 0, "short", takes=1)])
    result = search(store, "{ }", T0 + MINUTE, T0 + 2 * MINUTE, 20, 3, QueryBudget())
    assert [each.summary.root_name for each in result.traces] == ["long"]
    assert not search(store, "{ }", T0 - MINUTE, T0, 20, 3, QueryBudget()).traces


def test_of_a_set_the_first_spans_are_shown_and_all_are_counted() -> None:
    store = MemorySpans()
    store.add([span(1, n, 0, f"s{n}", at=n) for n in range(1, 8)])
    for spss, shown in ((3, 3), (100, 7), (0, 7)):
        (trace,) = search(store, "{ }", T0, T0 + MINUTE, 20, spss, QueryBudget()).traces
        assert trace.spansets[0].matched == 7
        assert [each.name for each in trace.spansets[0].spans] == [
            f"s{n}" for n in range(1, shown + 1)
        ]


def test_what_cannot_match_asks_nothing(many: Watched) -> None:
    for query in ("{ false }", "{ 1 = 2 } >> { 1 > 2 }", "{ .a = error }", "{ name = 2s - 1s }"):
        try:
            assert not search(many, query, T0, T0 + MINUTE, 20, 3, QueryBudget()).traces
        except TraceqlParseError:
            assert query.endswith("1s }")
    assert not search(many, "{ }", T0, T0 + MINUTE, 0, 3, QueryBudget()).traces
    assert not many.windows


def test_found_traces_are_told_at_once(many: Watched) -> None:
    told: list[tuple[str, int]] = []
    search(
        many, "{ }", T0, T0 + 60 * MINUTE, 2, 3, QueryBudget(),
        on_trace=lambda trace: told.append((trace.summary.trace_id, len(many.loaded))),
    )  # fmt: skip
    assert told == [(f"{200:032x}", 1), (f"{199:032x}", 2)]


def test_a_search_stops_with_its_budget(many: Watched) -> None:
    with pytest.raises(QueryTimeoutError):
        search(many, "{ }", T0, T0 + MINUTE, 20, 3, QueryBudget(timeout_s=-1))
    budget = QueryBudget()
    with pytest.raises(QueryCanceledError):
        search(
            many, "{ }", T0, T0 + 60 * MINUTE, 20, 3, budget,
            on_trace=lambda _: budget.cancel(),
        )  # fmt: skip
    assert len(many.loaded) == 1


def test_metrics_are_no_search(many: Watched) -> None:
    with pytest.raises(NotTraceSearchError):
        search(many, "{ } | rate()", T0, T0 + MINUTE, 20, 3, QueryBudget())


CONDITIONS = {
    '{ name = "x" }': '{ name = "x" }',
    '{ name = "x" } | rate()': '{ name = "x" }',
    '({ name = "x" } | rate()) * 2 > 1': '{ name = "x" }',
    '{ name = "x" } && { name = "y" }': '{ name = "x" || name = "y" }',
    # As it comes while it is typed.
    '{ name = "x" && ': '{ name = "x" }',
    '{ name = "x" && span.a = }': '{ name = "x" }',
    '{ name = "x" && span.http. }': '{ name = "x" }',
    '{ span.a=1&&name =~ "x.*" && status= }': '{ span.a = 1 && name =~ "x.*" }',
    '{ name = "x" && .a = "unfini': '{ name = "x" }',
    '{ name = "x" && resource.service.name = } | rate': '{ name = "x" }',
}


@pytest.mark.parametrize(("text", "like"), CONDITIONS.items())
def test_the_whole_parts_of_a_query_restrict_values(text: str, like: str) -> None:
    found, expected = condition_of(text), condition_of(like)
    assert found is not None
    store = MemorySpans()
    names = ["x", "y", "xy"]
    store.add([span(n, 1, 0, name, attributes={"a": 1}) for n, name in enumerate(names, 1)])
    assert expected is not None
    for each in store.kept:
        assert matches(found, each) == matches(expected, each)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "{ }", "{", "nonsense", '{ name = "x" || ', "{ !(name = `x`) && ", "{ .a = }",
        "{ traceDuration > 1s }", '({ name = "x" } | rate()) / ({ } | rate())',
    ],
)  # fmt: skip
def test_what_restricts_nothing_is_no_condition(text: str) -> None:
    assert condition_of(text) is None


@given(st.text(max_size=50) | st.text('{}()|.&=<>"`ab1 !', max_size=50))
def test_any_text_has_a_condition_or_none(text: str) -> None:
    condition = condition_of(text)
    assert condition is None or not isinstance(condition, AllSpans)
