"""TraceQL over the real engine, in memory and in segments, answers as over a list of spans."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd.model.budget import QueryBudget
from obsd.model.span import Span
from obsd.services.span_store import SpanStore
from obsd.traceql import FoundTrace, MetricsResult, parse, query_range, search
from tests.services.memory_spans import MemorySpans
from tests.traceql.queries import metrics, pipelines
from tests.traceql.spans import T0, S, some_traces
from tests.tracestore.spans_written import open_engine, write


def both(
    spans: Sequence[Span], cut: int, stored: str, directory: str
) -> tuple[SpanStore, SpanStore]:
    """The spans in a list, and in an engine that flushed after the first ones."""
    memory = MemorySpans()
    memory.add(spans)
    engine = open_engine(Path(directory))
    write(engine, spans[:cut])
    if stored != "memory":
        engine.flush()
    write(engine, spans[cut:])
    if stored == "merged":
        engine.settle()
    return memory, engine


def told(traces: Sequence[FoundTrace]) -> list[object]:
    """Traces without what is in no order."""
    return [(each.summary, each.spansets) for each in traces]


def numbers(result: MetricsResult) -> dict[tuple[object, ...], list[float]]:
    return {
        tuple((name, repr(value)) for name, value in series.labels): series.values.tolist()
        for series in result.series
    }


STORED = st.sampled_from(["memory", "flushed", "merged"])


@settings(max_examples=40, deadline=None)
@given(some_traces(), pipelines(), st.integers(0, 30), STORED, st.integers(1, 600))
def test_searches_find_the_same(
    spans: Sequence[Span], query: str, cut: int, stored: str, width: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        memory, engine = both(spans, cut, stored, directory)
        parsed = parse(query)
        expected = search(memory, parsed, T0, T0 + width * S, 100, 0, QueryBudget())
        found = search(engine, parsed, T0, T0 + width * S, 100, 0, QueryBudget())
        engine.close()
    assert told(found.traces) == told(expected.traces)


@settings(max_examples=40, deadline=None)
@given(some_traces(), metrics(), st.integers(0, 30), STORED)
def test_metrics_are_the_same(spans: Sequence[Span], query: str, cut: int, stored: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        memory, engine = both(spans, cut, stored, directory)
        expected = query_range(memory, query, T0, T0 + 600 * S, 60 * S, QueryBudget())
        found = query_range(engine, query, T0, T0 + 600 * S, 60 * S, QueryBudget())
        engine.close()
    assert found.timestamps_ms.tolist() == expected.timestamps_ms.tolist()
    left, right = numbers(found), numbers(expected)
    assert left.keys() == right.keys()
    for labels, values in right.items():
        np.testing.assert_allclose(left[labels], values, rtol=1e-9, err_msg=str(labels))
