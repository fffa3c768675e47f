"""Two traces side by side."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from obsd.services.trace_analysis.compare import TraceComparison, changed_attributes, compare_traces
from obsd.services.trace_analysis.tree import build_tree
from tests.services.trace_analysis.span_makers import failed, span


def changes(comparison: TraceComparison) -> list[tuple[str, str, int, int]]:
    return [
        (
            (pair.after or pair.before).span.name,  # type: ignore[union-attr]
            pair.change,
            pair.depth,
            pair.duration_change_ns // 1_000_000,
        )
        for pair in comparison.pairs
    ]


def test_spans_are_matched_by_what_they_are() -> None:
    before = build_tree(
        [
            span("1", "", 0, 100, name="GET /"),
            span("2", "1", 10, 30, name="query"),
            span("3", "1", 30, 50, name="query"),
            span("4", "1", 60, 80, name="cache"),
            span("5", "4", 61, 62, name="dial"),
        ]
    )
    after = build_tree(
        [
            span("a", "", 1000, 1200, name="GET /"),
            span("b", "a", 1010, 1110, name="query"),
            failed("c", "a", 1110, 1130, name="query"),
            span("d", "a", 1150, 1160, name="queue"),
        ]
    )
    comparison = compare_traces(before, after)
    assert changes(comparison) == [
        ("GET /", "same", 0, 100),
        ("query", "same", 1, 80),
        ("query", "changed", 1, 0),
        ("cache", "removed", 1, -20),
        ("dial", "removed", 2, -1),
        ("queue", "added", 1, 10),
    ]
    first = comparison.operations[0]
    assert (first.name, first.before_spans, first.after_spans) == ("query", 2, 2)
    assert (first.before_ns, first.after_ns) == (40_000_000, 120_000_000)
    assert (first.before_errors, first.after_errors) == (0, 1)


def test_attributes_that_differ_are_named() -> None:
    before = build_tree([span("1", "", 0, 9, name="x", attributes={"a": 1, "b": 1, "c": "same"})])
    after = build_tree([span("2", "", 0, 9, name="x", attributes={"b": True, "c": "same", "d": 2})])
    (pair,) = compare_traces(before, after).pairs
    assert pair.change == "changed"
    assert changed_attributes(pair) == {"a": (1, None), "b": (1, True), "d": (None, 2)}


def test_an_empty_trace_has_nothing_in_common() -> None:
    tree = build_tree([span("1", "", 0, 9)])
    assert [p.change for p in compare_traces(build_tree([]), tree).pairs] == ["added"]
    assert [p.change for p in compare_traces(tree, build_tree([])).pairs] == ["removed"]


TREES = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.integers(0, 50), st.integers(0, 50)),
    max_size=30,
).map(
    lambda rows: build_tree(
        [
            span(
                str(n),
                str(parent % n) if n and parent < n * 2 else "",
                start,
                start + took,
                name=name,
            )
            for n, (parent, name, start, took) in enumerate(rows)
        ]
    )
)


@given(TREES, TREES)
def test_every_span_is_in_one_pair(one, other) -> None:  # type: ignore[no-untyped-def]
    pairs = compare_traces(one, other).pairs
    assert sorted(id(p.before) for p in pairs if p.before) == sorted(id(n) for n in one.nodes())
    assert sorted(id(p.after) for p in pairs if p.after) == sorted(id(n) for n in other.nodes())
    matched = [p for p in pairs if p.before and p.after]
    assert all(p.before.span.name == p.after.span.name for p in matched)  # type: ignore[union-attr]


@given(TREES)
def test_a_trace_is_the_same_as_itself(tree) -> None:  # type: ignore[no-untyped-def]
    pairs = compare_traces(tree, tree).pairs
    assert all(p.before is p.after and p.change == "same" for p in pairs)
