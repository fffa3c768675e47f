"""The evaluator as its callers see it: shapes of results, limits, errors, and storage calls."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd.model.budget import QueryBudget
from obsd.model.errors import (
    BadInputError,
    QueryCanceledError,
    QueryError,
    QueryParseError,
    QueryTimeoutError,
    TooManySamplesError,
)
from obsd.model.labels import Labels
from obsd.model.matcher import Matcher, MatchOp
from obsd.model.samples import Columns, Matrix, RollupSpec
from obsd.promql import (
    ColumnsValue,
    Evaluator,
    MatrixValue,
    ScalarValue,
    StringValue,
    VectorValue,
    parse,
)
from tests.conformance.notation import STALE
from tests.promql.memory_storage import MemoryStorage

SECOND = 1000
MINUTE = 60 * SECOND


def labels(**pairs: str) -> Labels:
    return Labels.of(pairs)


def counters() -> MemoryStorage:
    storage = MemoryStorage()
    for i in range(4):
        job = "api" if i < 2 else "db"
        series = labels(__name__="hits_total", job=job, instance=str(i))
        storage.add(series, [(t * 15 * SECOND, float(t * (i + 1) % 40)) for t in range(80)])
    storage.add(labels(__name__="gauge", job="api"), [(0, 1.0), (MINUTE, 2.0), (2 * MINUTE, STALE)])
    return storage


@dataclass
class Recording:
    """A storage that remembers what it was asked."""

    inner: MemoryStorage
    rollups: list[tuple[Sequence[Matcher], RollupSpec]] = field(default_factory=list)
    selects: list[tuple[int, int]] = field(default_factory=list)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, budget: QueryBudget
    ) -> Columns:
        self.selects.append((start_ms, end_ms))
        return self.inner.select(matchers, start_ms, end_ms, budget)

    def rollup(self, matchers: Sequence[Matcher], spec: RollupSpec, budget: QueryBudget) -> Matrix:
        self.rollups.append((matchers, spec))
        return self.inner.rollup(matchers, spec, budget)

    def rollup_columns(self, columns: Columns, spec: RollupSpec, budget: QueryBudget) -> Matrix:
        self.rollups.append(((), spec))
        return self.inner.rollup_columns(columns, spec, budget)


def test_an_instant_query_has_the_type_of_its_expression() -> None:
    evaluator, budget = Evaluator(counters()), QueryBudget()
    assert evaluator.instant("1 + 1", 5000, budget).value == ScalarValue(5000, 2.0)
    assert evaluator.instant("('x')", 5000, budget).value == StringValue(5000, "x")
    vector = evaluator.instant("gauge", MINUTE, budget).value
    assert isinstance(vector, VectorValue)
    assert (vector.labels, vector.timestamp_ms) == ((labels(__name__="gauge", job="api"),), MINUTE)
    assert vector.values.tolist() == [2.0]
    columns = evaluator.instant("gauge[5m]", 3 * MINUTE, budget).value
    assert isinstance(columns, ColumnsValue)
    # The staleness marker is no sample.
    assert columns.columns.timestamps.tolist() == [0, MINUTE]
    subquery = evaluator.instant("gauge[2m:30s]", MINUTE, budget).value
    assert isinstance(subquery, ColumnsValue)
    assert subquery.columns.timestamps.tolist() == [0, 30 * SECOND, MINUTE]
    assert subquery.columns.values.tolist() == [1.0, 1.0, 2.0]


def test_a_range_query_is_a_matrix_sorted_by_labels() -> None:
    evaluator = Evaluator(counters())
    value = evaluator.range("sort_desc(hits_total)", 0, 3 * MINUTE, MINUTE, QueryBudget()).value
    assert isinstance(value, MatrixValue)
    assert list(value.labels) == sorted(value.labels)
    assert (value.start_ms, value.step_ms, value.values.shape) == (0, MINUTE, (4, 4))
    scalar = evaluator.range("time()", 0, 2 * MINUTE, MINUTE, QueryBudget()).value
    assert isinstance(scalar, MatrixValue)
    assert scalar.labels == (Labels(),)
    assert scalar.values.tolist() == [[0, 60, 120]]


@pytest.mark.parametrize("query", ["gauge[5m]", "'x'", "rate(gauge[5m])[5m:]"])
def test_a_range_query_needs_a_value_at_each_step(query: str) -> None:
    with pytest.raises(BadInputError, match="must be Scalar or instant Vector"):
        Evaluator(counters()).range(query, 0, MINUTE, MINUTE, QueryBudget())


def test_a_range_query_needs_a_grid() -> None:
    for start, end, step in ((0, MINUTE, 0), (MINUTE, 0, MINUTE), (0, 1, -1)):
        with pytest.raises(BadInputError, match="positive step"):
            Evaluator(counters()).range("1", start, end, step, QueryBudget())


def test_errors_of_the_text_are_parse_errors() -> None:
    with pytest.raises(QueryParseError):
        Evaluator(counters()).instant("sum(", 0, QueryBudget())


def test_a_selector_is_one_rollup_with_the_lookback_as_its_window() -> None:
    storage = Recording(counters())
    evaluator = Evaluator(storage, lookback_ms=2 * MINUTE)
    evaluator.range("gauge offset 1m", 0, 5 * MINUTE, MINUTE, QueryBudget())
    evaluator.range("gauge", 0, 5 * MINUTE, MINUTE, QueryBudget(), lookback_ms=MINUTE)
    name = (Matcher(MatchOp.EQUAL, "__name__", "gauge"),)
    spec = RollupSpec("instant", 0, 5 * MINUTE, MINUTE, 2 * MINUTE, MINUTE)
    assert storage.rollups == [
        (name, spec),
        (name, replace(spec, window_ms=MINUTE, offset_ms=0)),
    ]


def test_a_range_function_is_one_rollup() -> None:
    storage = Recording(counters())
    query = "sum by (job) (quantile_over_time(0.9, hits_total[5m]))"
    Evaluator(storage).range(query, 0, 5 * MINUTE, MINUTE, QueryBudget())
    spec = RollupSpec("quantile_over_time", 0, 5 * MINUTE, MINUTE, 5 * MINUTE, 0, (0.9,))
    assert [spec for _, spec in storage.rollups] == [spec]


def test_a_pinned_selector_is_read_once() -> None:
    storage = Recording(counters())
    query = "rate(hits_total[5m] @ end() offset 1m)"
    value = Evaluator(storage).range(query, 0, 10 * MINUTE, MINUTE, QueryBudget()).value
    ((_, spec),) = storage.rollups
    assert (spec.start_ms, spec.end_ms, spec.offset_ms) == (10 * MINUTE, 10 * MINUTE, MINUTE)
    assert isinstance(value, MatrixValue)
    assert value.values.shape == (4, 11)
    assert (value.values == value.values[:, :1]).all()


def test_a_subquery_is_evaluated_on_multiples_of_its_step() -> None:
    storage = Recording(counters())
    query = "max_over_time(rate(hits_total[1m])[5m:20s] offset 7s)"
    Evaluator(storage).range(query, 10 * MINUTE, 12 * MINUTE, MINUTE, QueryBudget())
    inner, outer = (spec for _, spec in storage.rollups)
    assert (inner.start_ms % (20 * SECOND), inner.step_ms) == (0, 20 * SECOND)
    # Left-open: the first step is after 10m - 7s - 5m.
    assert inner.start_ms == 300 * SECOND
    assert inner.end_ms == 700 * SECOND  # The last multiple before 12m - 7s.
    assert outer == RollupSpec(
        "max_over_time", 10 * MINUTE, 12 * MINUTE, MINUTE, 5 * MINUTE, 7 * SECOND
    )


def test_limits_stop_a_query() -> None:
    evaluator = Evaluator(counters())
    with pytest.raises(TooManySamplesError):
        evaluator.range("hits_total", 0, MINUTE, MINUTE, QueryBudget(max_samples=10))
    with pytest.raises(TooManySamplesError):
        evaluator.instant(
            "max_over_time(hits_total[1h:1s])", 60 * MINUTE, QueryBudget(max_samples=1000)
        )
    with pytest.raises(QueryTimeoutError):
        evaluator.instant("1 + 1", 0, QueryBudget(timeout_s=0.0))
    canceled = QueryBudget()
    canceled.cancel()
    with pytest.raises(QueryCanceledError):
        evaluator.instant("1 + 1", 0, canceled)
    # Before its steps take memory: as many here as a year has milliseconds.
    with pytest.raises(TooManySamplesError):
        evaluator.instant("sum_over_time(hits_total[1y:1ms])", 0, QueryBudget())


def test_a_tree_can_be_evaluated_without_its_text() -> None:
    result = Evaluator(counters()).instant(parse("rate(gauge[5m])"), MINUTE, QueryBudget())
    (info,) = result.infos
    assert info.endswith('"gauge"')


def test_annotations_point_into_the_query_and_come_once() -> None:
    query = "rate(gauge[5m])\n  + quantile(2, hits_total)\n  + rate(gauge[5m])"
    result = Evaluator(counters()).range(query, 0, 5 * MINUTE, MINUTE, QueryBudget())
    assert result.warnings == (
        "PromQL warning: quantile value should be between 0 and 1, got 2 (2:14)",
    )
    assert [info[info.rindex("(") :] for info in result.infos] == ["(1:6)", "(3:10)"]


@pytest.mark.parametrize("query", ["gauge smoothed", "rate(gauge[1m] anchored)", "info(gauge)"])
def test_what_is_not_built_yet_says_so(query: str) -> None:
    with pytest.raises(QueryError, match="not supported yet"):
        Evaluator(counters()).instant(query, 0, QueryBudget())


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("gauge offset (5m / step())", "division by zero"),
        ("gauge[5m ^ 99]", "duration is NaN or infinite|out of range"),
        ("sum_over_time(gauge[step() - 1m])", "must be greater than 0"),
        ("topk(1e30, gauge)", "Scalar value 1e[+]30 overflows int64"),
        ("limit_ratio(NaN, gauge)", "Ratio value is NaN"),
        ("count_values('', gauge)", "invalid label name"),
        ("{job='api'} * 0", "same labelset"),
    ],
)
def test_errors_of_evaluation(query: str, message: str) -> None:
    storage = counters()
    storage.add(labels(__name__="other", job="api"), [(0, 1.0)])
    with pytest.raises(QueryError, match=message):
        Evaluator(storage).instant(query, 0, QueryBudget())


@pytest.mark.parametrize(
    "query",
    [
        " + ".join(["gauge"] * 340),
        "(" * 340 + "gauge" + ")" * 340,
        "- " * 340 + "gauge",
        "abs(" * 135 + "gauge" + ")" * 135,
        "sum(" * 225 + "gauge" + ")" * 225,
        "max_over_time(" * 95 + "gauge" + "[1m:1m])" * 95,
    ],
)
def test_what_parses_is_not_too_deep_to_evaluate(query: str) -> None:
    Evaluator(counters()).instant(query, MINUTE, QueryBudget())


def test_queries_of_many_threads_do_not_meet() -> None:
    evaluator = Evaluator(counters())
    start = threading.Barrier(8)

    def ask(i: int) -> list[list[float]]:
        start.wait(timeout=10)
        value = evaluator.range(
            f"sum by (job) (rate(hits_total[{1 + i % 4}m]))", 0, 15 * MINUTE, MINUTE, QueryBudget()
        ).value
        assert isinstance(value, MatrixValue)
        return value.values.tolist()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert answers[:4] == answers[4:]


QUERIES = [
    "hits_total",
    "rate(hits_total[2m])",
    "sum by (job) (rate(hits_total[2m]))",
    "avg without (instance) (hits_total) > 10",
    "hits_total / on (instance, job) (hits_total offset 1m)",
    "topk by (job) (1, hits_total)",
    "bottomk(2, hits_total) or gauge",
    "quantile(0.3, hits_total)",
    "stddev by (job) (hits_total)",
    "count_values('v', hits_total)",
    "max_over_time(sum(hits_total)[3m:40s])",
    "hits_total and on (job) (gauge > 1)",
    "hits_total unless on (job) gauge",
    "absent(gauge)",
    "timestamp(hits_total)",
    "predict_linear(hits_total[2m], 60)",
    "clamp(hits_total, scalar(gauge) * 5, 20)",
    "quantile_over_time(time() / 2000, hits_total[2m])",
    "label_replace(rate(hits_total[1m]), '__name__', 'r', '', '')",
    "-gauge or hits_total{instance='1'} * 2",
]


@settings(max_examples=40)
@given(
    query=st.sampled_from(QUERIES),
    start=st.integers(0, 600),
    step=st.integers(1, 120),
    count=st.integers(1, 8),
)
def test_a_range_query_is_its_instant_queries(
    query: str, start: int, step: int, count: int
) -> None:
    evaluator = Evaluator(counters())
    start_ms, step_ms = start * SECOND, step * SECOND
    end_ms = start_ms + (count - 1) * step_ms
    matrix = evaluator.range(query, start_ms, end_ms, step_ms, QueryBudget()).value
    assert isinstance(matrix, MatrixValue)
    for i in range(count):
        vector = evaluator.instant(query, start_ms + i * step_ms, QueryBudget()).value
        assert isinstance(vector, VectorValue)
        present = matrix.present[:, i]
        at_step = dict(
            zip(
                [series for series, there in zip(matrix.labels, present, strict=True) if there],
                matrix.values[present, i].tolist(),
                strict=True,
            )
        )
        assert set(vector.labels) == set(at_step)
        for series, value in zip(vector.labels, vector.values, strict=True):
            np.testing.assert_allclose(at_step[series], value, rtol=1e-12)
