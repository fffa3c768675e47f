"""Metrics: columns of the engine, whole traces, and a loop over spans give the same numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError, QueryTimeoutError, TooManySamplesError
from obsd.model.span import Span, SpanKind, StatusCode
from obsd.traceql import (
    MetricsResult,
    NotMetricsError,
    parse,
    query_instant,
    query_range,
)
from obsd.traceql.buckets import bucket_of, buckets_of_durations, quantile
from obsd.traceql.value import Duration
from tests.services.memory_spans import MemorySpans
from tests.traceql.queries import metrics
from tests.traceql.spans import MINUTE, T0, S, some_traces, span

# Calls of two services: (second, service, seconds, status).
CALLS = [
    (0, "a", 1, "ok"), (10, "a", 2, "error"), (10, "b", 0.25, "ok"), (11, "b", 0.5, "ok"),
    (25, "a", 4, "ok"), (30, "b", 8, "error"), (59, "a", 0.125, "ok"),
]  # fmt: skip
STATUS = {"ok": StatusCode.OK, "error": StatusCode.ERROR}


@pytest.fixture
def store() -> MemorySpans:
    store = MemorySpans()
    store.add(
        span(
            n, 1, 0, f"call {n % 2}", at=at, takes=takes, service=service, status=STATUS[status],
            attributes={"n": n, "half": n / 2, "odd": n % 2 == 1} | ({"k": "v"} if n == 3 else {}),
        )
        for n, (at, service, takes, status) in enumerate(CALLS, 1)
    )  # fmt: skip
    return store


def shown(result: MetricsResult) -> dict[str, list[float | None]]:
    """Each series by its labels; None where there is no point."""
    return {
        ",".join(f"{name}={value}" for name, value in series.labels): [
            None if math.isnan(value) else round(value, 6) for value in series.values.tolist()
        ]
        for series in result.series
    }


def ask(store: MemorySpans, query: str, **options: Any) -> MetricsResult:
    """Half a minute a step; the first point is of the step that ends with T0."""
    step_ns = options.pop("step_ns", 30 * S)
    return query_range(store, query, T0, T0 + MINUTE, step_ns, QueryBudget(), **options)


# The steps are up to 0 s, to 30 s and to 60 s, each with its end.
TABLE: dict[str, dict[str, list[float | None]]] = {
    "{ } | count_over_time()": {"__name__=count_over_time": [1, 5, 1]},
    "{ } | rate()": {"__name__=rate": [0.033333, 0.166667, 0.033333]},
    "{ name = `none` } | rate()": {"__name__=rate": [0, 0, 0]},
    "{ name = `none` } | max_over_time(duration)": {},
    "{ name = `none` } | rate() by(name)": {},
    "{ } | count_over_time() by(resource.service.name)": {
        "resource.service.name=a": [1, 2, 1],
        "resource.service.name=b": [0, 3, 0],
    },
    "{ } | count_over_time() by(span:status, .odd)": {
        "status=error,.odd=False": [0, 2, 0],
        "status=ok,.odd=False": [0, 1, 0],
        "status=ok,.odd=True": [1, 2, 1],
    },
    "{ } | count_over_time() by(.k)": {".k=nil": [1, 4, 1], ".k=v": [0, 1, 0]},
    "{ } | count_over_time() by(.k, kind)": {
        "kind=internal": [1, 4, 1],
        ".k=v,kind=internal": [0, 1, 0],
    },
    "{ } | min_over_time(duration)": {"__name__=min_over_time": [1, 0.25, 0.125]},
    "{ } | max_over_time(span:duration)": {"__name__=max_over_time": [1, 8, 0.125]},
    "{ } | sum_over_time(duration)": {"__name__=sum_over_time": [1, 14.75, 0.125]},
    "{ } | avg_over_time(duration)": {"__name__=avg_over_time": [1, 2.95, 0.125]},
    "{ } | avg_over_time(traceDuration)": {"__name__=avg_over_time": [1, 2.95, 0.125]},
    "{ } | sum_over_time(.n) by(resource.service.name)": {
        "resource.service.name=a": [1, 7, 7],
        "resource.service.name=b": [None, 13, None],
    },
    "{ } | max_over_time(.half)": {"__name__=max_over_time": [0.5, 3, 3.5]},
    "{ } | max_over_time(.k)": {},
    "{ resource.service.name = `b` } | histogram_over_time(duration)": {
        "__bucket=0.268435456": [0, 1, 0],
        "__bucket=0.536870912": [0, 1, 0],
        "__bucket=8.589934592": [0, 1, 0],
    },
    "{ } | histogram_over_time(.n) by(.odd)": {
        ".odd=False,__bucket=2.0": [0, 1, 0],
        ".odd=False,__bucket=4.0": [0, 1, 0],
        ".odd=False,__bucket=8.0": [0, 1, 0],
        ".odd=True,__bucket=4.0": [0, 1, 0],
        ".odd=True,__bucket=8.0": [0, 1, 1],
    },
    "{ } | quantile_over_time(.n, 0, 1) by(.odd)": {
        ".odd=False,p=0.0": [0, 2, 0],
        ".odd=False,p=1.0": [0, 8, 0],
        ".odd=True,p=0.0": [0, 4, 8],
        ".odd=True,p=1.0": [0, 8, 8],
    },
    # What the engine cannot say.
    "{ nestedSetLeft = 1 } | count_over_time()": {"__name__=count_over_time": [1, 5, 1]},
    "{ .n = .half * 2 } | count_over_time() by(rootServiceName)": {
        "rootServiceName=a": [1, 2, 1],
        "rootServiceName=b": [0, 3, 0],
    },
    "{ } | { .n > 3 } | by(name) | count_over_time()": {"__name__=count_over_time": [0, 3, 1]},
    "{ } > { } | rate()": {"__name__=rate": [0, 0, 0]},
    # Behind a metric.
    "{ } | count_over_time() > 1": {"__name__=count_over_time": [None, 5, None]},
    "{ } | count_over_time() > 9": {},
    "{ } | max_over_time(duration) >= 1000ms": {"__name__=max_over_time": [1, 8, None]},
    "{ } | count_over_time() by(resource.service.name) | topk(1)": {
        "resource.service.name=a": [1, None, 1],
        "resource.service.name=b": [None, 3, None],
    },
    "{ } | count_over_time() by(resource.service.name) | bottomk(1)": {
        "resource.service.name=a": [None, 2, None],
        "resource.service.name=b": [0, None, 0],
    },
    "{ } | count_over_time() by(resource.service.name) | topk(2)": {
        "resource.service.name=a": [1, 2, 1],
        "resource.service.name=b": [0, 3, 0],
    },
    "{ } | count_over_time() by(resource.service.name) | topk(1) > 2": {
        "resource.service.name=b": [None, 3, None],
    },
    "{ } | count_over_time() by(name) | topk(1)": {
        "name=call 0": [None, 3, None],
        "name=call 1": [1, None, 1],
    },
    "({ status = error } | count_over_time()) / ({ } | count_over_time())": {
        "__name__=(count_over_time / count_over_time)": [0, 0.4, 0],
    },
    "({ } | count_over_time() by(name)) / ({ } | count_over_time())": {
        "name=call 0": [0, 0.6, 0],
        "name=call 1": [1, 0.4, 1],
    },
    "({ } | count_over_time()) - ({ } | count_over_time() by(name))": {
        "name=call 0": [1, 2, 1],
        "name=call 1": [0, 3, 0],
    },
    "({ .odd } | count_over_time() by(name)) / ({ } | count_over_time() by(name))": {
        "name=call 1": [1, 1, 1],
    },
    "({ } | count_over_time()) / ({ status = error } | count_over_time())": {
        "__name__=(count_over_time / count_over_time)": [None, 2.5, None],
    },
    "({ } | count_over_time()) * 100 - 1": {"__name__=count_over_time": [99, 499, 99]},
    "10 / ({ status = error } | count_over_time())": {"__name__=count_over_time": [None, 5, None]},
    "({ } | rate()) / 0": {},
    "1 - ({ } | count_over_time()) | topk(3) < 0": {"__name__=count_over_time": [None, -4, None]},
}


@pytest.mark.parametrize(("query", "expected"), TABLE.items())
def test_a_metric_has_these_points(
    store: MemorySpans, query: str, expected: dict[str, list[float | None]]
) -> None:
    result = ask(store, query)
    assert shown(result) == expected
    assert result.timestamps_ms.tolist() == [T0 // 10**6 + at for at in (0, 30_000, 60_000)]
    assert not result.truncated


def test_steps_are_whole_since_1970_and_open_to_the_left(store: MemorySpans) -> None:
    result = query_range(
        store, "{ } | count_over_time()", T0 + 9 * S, T0 + 31 * S, 10 * S, QueryBudget()
    )
    ends = [(at - T0 // 10**6) // 1000 for at in result.timestamps_ms.tolist()]
    assert ends == [0, 10, 20, 30, 40]
    assert result.series[0].values.tolist() == [1, 2, 1, 2, 0]


def test_an_instant_query_is_one_step_with_both_ends(store: MemorySpans) -> None:
    result = query_instant(store, "{ } | count_over_time()", T0, T0 + 30 * S, QueryBudget())
    assert shown(result) == {"__name__=count_over_time": [6]}
    assert result.timestamps_ms.tolist() == [T0 // 10**6 + 30_000]
    result = query_instant(store, "{ } | rate()", T0, T0 + 30 * S, QueryBudget())
    assert shown(result) == {"__name__=rate": [0.2]}


@pytest.mark.parametrize(
    ("start", "end", "step"), [(0, 0, 1), (5, 0, 1), (0, 60, 0), (0, 60, -1), (0, 20_000, 1)]
)
def test_a_range_has_time_in_it_and_not_too_many_steps(
    store: MemorySpans, start: int, end: int, step: int
) -> None:
    with pytest.raises(BadInputError):
        query_range(store, "{ } | rate()", T0 + start * S, T0 + end * S, step * S, QueryBudget())


def test_of_too_many_series_some_are_answered(store: MemorySpans) -> None:
    result = ask(store, "{ } | rate() by(.n)", max_series=3)
    assert len(result.series) == 3
    assert result.truncated


def test_traces_are_no_metric(store: MemorySpans) -> None:
    with pytest.raises(NotMetricsError):
        ask(store, "{ } | by(name)")


def test_metrics_stop_with_their_budget(store: MemorySpans) -> None:
    for query in ("{ } | rate()", "{ } > { } | rate()", "{ } | compare({ status = error })"):
        with pytest.raises(QueryTimeoutError):
            query_range(store, query, T0, T0 + MINUTE, 30 * S, QueryBudget(timeout_s=-1))
    with pytest.raises(TooManySamplesError):
        query_range(store, "{ } | rate() by(.n)", T0, T0 + MINUTE, S, QueryBudget(max_samples=100))


# Brute force


def brute_force(
    spans: Iterable[Span],
    by: Callable[[Span], object],
    aggregate: Callable[[list[float]], float],
    edges_ns: Sequence[int],
) -> dict[object, list[float | None]]:
    """A number for each group and step, of durations in seconds."""
    groups: dict[object, list[list[float]]] = defaultdict(lambda: [[] for _ in edges_ns[1:]])
    for each in spans:
        for step, (low, high) in enumerate(pairwise(edges_ns)):
            if low < each.start_ns <= high:
                groups[by(each)][step].append(each.duration_ns / S)
    return {
        key: [round(aggregate(values), 6) if values else None for values in steps]
        for key, steps in groups.items()
    }


@settings(max_examples=60, deadline=None)
@given(
    some_traces(),
    st.sampled_from(["name", "status", "kind", "resource.service.name"]),
    st.sampled_from(["min", "max", "sum", "avg"]),
    st.integers(0, 500),
    st.integers(1, 500),
    st.sampled_from([7, 30, 100]),
    st.sampled_from(["{ }", "{ nestedSetLeft >= 0 }"]),  # One of columns, one of traces.
)
def test_metrics_are_those_of_a_loop_over_spans(
    spans: Sequence[Span], by: str, op: str, start: int, width: int, step: int, taken: str
) -> None:
    store = MemorySpans()
    store.add(spans)
    start_ns, end_ns, step_ns = T0 + start * S, T0 + (start + width) * S, step * S
    result = query_range(
        store, f"{taken} | {op}_over_time(duration) by({by})", start_ns, end_ns, step_ns,
        QueryBudget(),
    )  # fmt: skip
    first_ns = start_ns - start_ns % step_ns - step_ns
    edges = [*range(first_ns, end_ns + step_ns, step_ns)]
    edges = [edge for edge in edges if edge - step_ns < end_ns]
    keys: dict[str, Callable[[Span], object]] = {
        "name": lambda each: each.name,
        "status": lambda each: each.status.name.lower(),
        "kind": lambda each: each.kind.name.lower(),
        "resource.service.name": lambda each: each.service or "nil",
    }
    aggregates: dict[str, Callable[[list[float]], float]] = {
        "min": min, "max": max, "sum": math.fsum, "avg": lambda v: math.fsum(v) / len(v),
    }  # fmt: skip
    expected = brute_force(store.kept, keys[by], aggregates[op], edges)
    assert {key.partition("=")[2]: values for key, values in shown(result).items()} == expected


@settings(max_examples=80, deadline=None)
@given(some_traces(), metrics())
def test_any_metric_is_answered(spans: Sequence[Span], query: str) -> None:
    store = MemorySpans()
    store.add(spans)
    result = query_range(store, parse(query), T0, T0 + 10 * MINUTE, 100 * S, QueryBudget(), 50, 10)
    for series in result.series:
        assert series.values.shape == result.timestamps_ms.shape
        assert not np.isnan(series.values).all()
        assert all(isinstance(name, str) for name, _ in series.labels)


# Buckets


@given(st.integers(-5, 2**53))  # Above, not every number is a float.
def test_a_bucket_is_the_next_power_of_two(value: int) -> None:
    bucket, of_duration = bucket_of(value), bucket_of(Duration(value))
    if value < 2:
        assert math.isnan(bucket)
        assert math.isnan(of_duration)
    else:
        assert math.frexp(bucket)[0] == 0.5
        assert bucket / 2 < value <= bucket
        assert of_duration == bucket / 1e9
    array = buckets_of_durations(np.array([value], np.int64))
    assert np.array_equal(array, [of_duration], equal_nan=True)


@given(st.floats())
def test_a_float_is_in_a_bucket_if_it_is_above_zero(value: float) -> None:
    bucket = bucket_of(value)
    assert math.isnan(bucket) or value <= bucket or value > 2.0**1023
    assert math.isnan(bucket) == (not 0 < value < math.inf)


QUANTILES = [
    # Quantile, buckets, counts, result.
    (0.5, [], [], 0),
    (0.5, [1, 2], [0, 0], 0),
    (0.5, [2], [4], math.sqrt(2)),  # Half way from 1 to 2, by exponents.
    (1, [2], [4], 2),
    (0, [4], [4], 2 * 2**0.25),  # One of four samples at least.
    (0.5, [1, 2, 4], [1, 1, 2], 2),
    (0.75, [1, 2, 4], [1, 1, 2], 2 * math.sqrt(2)),
    (0.75, [1, 2, 4], [2, 0, 2], 2),  # From 1 on, since nothing is in the bucket 2.
    (0.9, [8], [10], 4 * 2**0.9),
]


@pytest.mark.parametrize(("of", "bounds", "counts", "expected"), QUANTILES)
def test_quantiles_are_interpolated_by_exponents(
    of: float, bounds: list[float], counts: list[float], expected: float
) -> None:
    table = np.array([[each, 0] for each in counts], np.float64).reshape(-1, 2)
    found = quantile(of, np.array(bounds, np.float64), table)
    assert found.tolist() == pytest.approx([expected, 0])


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_quantiles_rise_and_stay_in_their_bucket(
    counts: list[int], one: float, other: float
) -> None:
    bounds = 2.0 ** np.arange(len(counts))
    table = np.array(counts, np.float64)[:, None]
    low, high = (float(quantile(q, bounds, table)[0]) for q in sorted((one, other)))
    assert low <= high * (1 + 1e-12)
    if sum(counts):
        filled = [float(b) for b, count in zip(bounds, counts, strict=True) if count]
        assert filled[0] / 2 <= low
        assert high <= filled[-1] * (1 + 1e-12)


# Exemplars


def test_exemplars_are_spans_of_their_series(store: MemorySpans) -> None:
    spans = {each.trace_id: each for each in store.kept}
    queries = (
        "{ } | rate() by(resource.service.name)",
        "{ } | max_over_time(duration) by(resource.service.name)",
        "{ .n = .half * 2 } | avg_over_time(duration) by(rootServiceName)",
    )
    for query in queries:
        result = ask(store, query, exemplars=10)
        total = 0
        for series in result.series:
            for exemplar in series.exemplars:
                labels = dict(exemplar.labels)
                of = spans[str(labels["trace:id"])]
                total += 1
                assert labels["resource.service.name"] == of.service == series.labels[0][1]
                assert exemplar.timestamp_ms == of.start_ns // 10**6
                step = int(np.searchsorted(result.timestamps_ms, exemplar.timestamp_ms))
                expected = series.values[step] if "rate" in query else of.duration_ns / S
                assert exemplar.value == expected
        assert 4 <= total <= 10, query
    assert not any(s.exemplars for s in ask(store, queries[0]).series)
    assert sum(len(s.exemplars) for s in ask(store, queries[0], exemplars=1).series) == 1


def test_exemplars_of_buckets_and_quantiles_are_where_they_belong(store: MemorySpans) -> None:
    result = ask(store, "{ } | histogram_over_time(duration)", exemplars=20)
    for series in result.series:
        for exemplar in series.exemplars:
            takes = {
                "1s": 1,
                "2s": 2,
                "250ms": 0.25,
                "500ms": 0.5,
                "4s": 4,
                "8s": 8,
                "125ms": 0.125,
            }
            of = takes[str(dict(exemplar.labels)["duration"])]
            assert series.labels[-1][1] == bucket_of(Duration(of * S))
    result = ask(store, "{ } | quantile_over_time(duration, .1, 1)", exemplars=20)
    low, high = ([e.value for e in series.exemplars] for series in result.series)
    assert 8 in high
    assert 0.125 in low


# compare()


def of_type(result: MetricsResult, kind: str) -> dict[str, list[float | None]]:
    prefix = f"__meta_type={kind},"
    found = shown(result)
    return {key.removeprefix(prefix): found[key] for key in found if key.startswith(prefix)}


SELECTIONS = (
    "{ } | compare({ status = error })",
    "{ nestedSetLeft > 0 } | compare({ status = error })",
    "{ } | compare({ span:childCount = 0 && status = error })",
)


@pytest.mark.parametrize("query", SELECTIONS)
def test_compare_tells_the_selection_from_the_others(store: MemorySpans, query: str) -> None:
    result = ask(store, query)
    selection, baseline = of_type(result, "selection"), of_type(result, "baseline")
    assert selection["status=error"] == [0, 2, 0]
    assert "status=error" not in baseline
    assert baseline["status=ok"] == [1, 3, 1]
    assert selection["resource.service.name=a"] == [0, 1, 0]
    assert baseline["resource.service.name=a"] == [1, 1, 1]
    assert baseline["span.k=v"] == [0, 1, 0]
    assert of_type(result, "selection_total")["resource.service.name=nil"] == [0, 2, 0]
    assert of_type(result, "baseline_total")["resource.service.name=nil"] == [1, 3, 1]
    assert of_type(result, "baseline_total")["span.k=nil"] == [0, 1, 0]
    assert "span.k=nil" not in of_type(result, "selection_total")


def test_compare_shows_the_most_frequent_values(store: MemorySpans) -> None:
    store.add(span(50 + n, 1, 0, "often", at=40, attributes={"n": 77}) for n in range(3))
    baseline = of_type(ask(store, "{ } | compare({ status = error }, 1)"), "baseline")
    assert [key for key in baseline if key.startswith("span.n=")] == ["span.n=77"]
    assert baseline["span.n=77"] == [0, 0, 3]


def test_compare_takes_a_selection_of_some_time(store: MemorySpans) -> None:
    times = f"{T0 + 10 * S}, {T0 + 30 * S}"  # Open to the left: not those of second 10.
    result = ask(store, f"{{ }} | compare({{ .n > 0 }}, 10, {times})")
    assert of_type(result, "selection")["kind=internal"] == [0, 3, 0]
    assert of_type(result, "baseline")["kind=internal"] == [1, 2, 1]


def test_compare_of_a_boolean_attribute_has_all_others_as_its_baseline(store: MemorySpans) -> None:
    store.add([span(60, 1, 0, "bare", at=40, kind=SpanKind.SERVER)])
    result = ask(store, "{ } | compare({ .odd })")
    assert of_type(result, "baseline")["kind=server"] == [0, 0, 1]
    assert of_type(result, "selection")["name=call 1"] == [1, 2, 1]
