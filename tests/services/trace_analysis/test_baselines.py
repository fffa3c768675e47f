"""Spans against what is normal for their operations."""

from __future__ import annotations

import numpy as np

from obsd.services.span_store import SpanColumns
from obsd.services.trace_analysis.analysis import analyze
from obsd.services.trace_analysis.baselines import (
    MIN_SPANS,
    Baseline,
    baselines,
    operations_of,
    predicate_of,
)
from tests.oracles.span_predicate import matches
from tests.services.trace_analysis.span_makers import span

MS = 1_000_000


def spans_of(service: str, name: str, durations_ms: list[int]) -> SpanColumns:
    rows = len(durations_ms)
    ids = np.zeros(rows, dtype=np.int32)
    durations = np.array(durations_ms, dtype=np.int64) * MS
    return SpanColumns(durations * 0, durations, [ids, ids], [[service], [name]])


def test_percentiles_are_of_each_operation() -> None:
    both = SpanColumns(
        np.zeros(4, dtype=np.int64),
        np.array([1, 2, 3, 4], dtype=np.int64),
        [np.array([0, 1, 0, -1], dtype=np.int32), np.array([0, 0, 0, 0], dtype=np.int32)],
        [["a", "b"], ["get"]],
    )
    known = baselines([both, spans_of("a", "put", list(range(1, 101)))])
    assert known["a", "get"] == Baseline(2, 3, 3, 3)
    assert known["b", "get"] == Baseline(1, 2, 2, 2)
    assert known["", "get"] == Baseline(1, 4, 4, 4)
    assert known["a", "put"] == Baseline(100, 51 * MS, 96 * MS, 100 * MS)


def test_what_is_slower_than_usual_comes_before_what_is_long() -> None:
    spans = [
        span("1", "", 0, 1000, name="GET /"),
        span("2", "1", 0, 600, name="report"),
        span("3", "1", 600, 900, name="lookup"),
    ]
    columns = [
        spans_of("api", "report", [600] * MIN_SPANS),
        spans_of("api", "lookup", [10] * MIN_SPANS),
        spans_of("api", "GET /", [2] * (MIN_SPANS - 1)),
    ]
    found = analyze(spans, lambda _: baselines(columns)).bottlenecks
    assert [b.node.span.name for b in found] == ["lookup", "report", "GET /"]
    assert [b.is_unusual for b in found] == [True, False, False]
    assert found[0].factor == 30.0
    assert found[0].critical_ns == 300 * MS
    assert found[2].baseline is None


def test_the_predicate_is_of_the_operations_on_the_path() -> None:
    spans = [
        span("1", "", 0, 100, name="GET /"),
        span("2", "1", 10, 90, name="work", service="db"),
        span("3", "1", 20, 30, name="aside", service="db"),
    ]
    operations = operations_of(analyze(spans).critical_path)
    assert operations == [("db", "work"), ("api", "GET /")]
    predicate = predicate_of(operations)
    assert [matches(predicate, each) for each in spans] == [True, True, False]
