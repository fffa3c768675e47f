from __future__ import annotations

from obsd.model.span import Span, SpanEvent, SpanKind
from obsd.services.trace_analysis.critical_path import critical_path
from obsd.services.trace_analysis.errors import error_origins
from obsd.services.trace_analysis.findings import Finding, FindingKind, find_all
from obsd.services.trace_analysis.tree import build_tree
from tests.services.trace_analysis.span_makers import failed, span


def findings(*spans: Span) -> list[Finding]:
    tree = build_tree(spans)
    assert tree.main is not None
    return find_all(tree, critical_path(tree.main))


def queries(count: int, *, gap: int = 2) -> list[Span]:
    return [
        span(
            f"q{n}",
            "r",
            5 + n * (8 + gap),
            13 + n * (8 + gap),
            name="SELECT item",
            kind=SpanKind.CLIENT,
            attributes={
                "db.query.text": f"SELECT * FROM item WHERE id = {n} AND s IN ({n}, {n + 1})"
            },
        )
        for n in range(count)
    ]


def test_a_query_in_a_loop_is_found() -> None:
    [found] = findings(span("r", "", 0, 105), *queries(10))
    assert found.kind is FindingKind.REPEATED_CALLS
    assert (len(found.spans), found.cost_ns) == (10, 80_000_000)
    assert "10 times" in found.detail


def test_few_queries_and_those_side_by_side_are_none() -> None:
    assert findings(span("r", "", 4, 44), *queries(4)) == []
    together = [span(f"q{n}", "r", 0, 100, name="SELECT item") for n in range(10)]
    assert findings(span("r", "", 0, 101), *together) == []


def test_other_statements_are_other_calls() -> None:
    spans = [
        span(f"q{n}", "r", n * 10, n * 10 + 9, name="q", attributes={"db.statement": f"SELECT {c}"})
        for n, c in enumerate("abcdefgh")
    ]
    assert findings(span("r", "", 0, 80), *spans) == []


def test_retries_are_found_whether_they_helped_or_not() -> None:
    tries = [failed(f"t{n}", "r", n * 20, n * 20 + 15, name="charge") for n in range(4)]
    [never] = findings(failed("r", "", 0, 80), *tries)
    assert (never.kind, "never succeeded" in never.detail) == (FindingKind.RETRIES, True)
    [at_last] = findings(span("r", "", 0, 100), *tries, span("t4", "r", 80, 95, name="charge"))
    assert "succeeded at last" in at_last.detail


def test_calls_that_could_go_side_by_side_are_found() -> None:
    [found] = findings(
        span("r", "", 0, 100),
        span("a", "r", 0, 30, service="users"),
        span("b", "r", 30, 70, service="items"),
        span("c", "r", 71, 100, service="prices"),
    )
    assert found.kind is FindingKind.SEQUENTIAL
    assert found.cost_ns == 59_000_000


def test_time_that_no_span_covers_is_found() -> None:
    [found] = findings(span("r", "", 0, 100), span("a", "r", 0, 20), span("b", "r", 80, 100))
    assert (found.kind, found.cost_ns) == (FindingKind.GAP, 60_000_000)


def test_a_leaf_has_no_gap() -> None:
    assert findings(span("r", "", 0, 100)) == []


def test_clocks_that_differ_are_told() -> None:
    [found] = [
        f
        for f in findings(
            span("c", "", 0, 100, kind=SpanKind.CLIENT, service="web"),
            span("s", "c", 505, 595, kind=SpanKind.SERVER, service="api"),
        )
        if f.kind is FindingKind.CLOCK_SKEW
    ]
    assert "api is off by 500.0 ms" in found.detail


def test_errors_lead_back_to_where_they_began() -> None:
    raised = SpanEvent(5, "exception", {"exception.type": "Timeout", "exception.message": "30 s"})
    tree = build_tree(
        [
            failed("r", "", 0, 100),
            failed("a", "r", 0, 50, service="web"),
            failed("b", "a", 10, 40, service="db", events=(raised,), status_message="no"),
            span("c", "r", 60, 90),
            failed("d", "c", 70, 80, attributes={"error.type": "404"}, status_message="not found"),
        ]
    )
    first, second = error_origins(tree)
    assert first.node.span.span_id == "b"
    assert [node.span.span_id for node in first.path] == ["a", "r"]
    assert (first.type, first.message, first.reaches_root) == ("Timeout", "30 s", True)
    assert (second.node.span.span_id, second.path, second.reaches_root) == ("d", [], False)
    assert (second.type, second.message) == ("404", "not found")
