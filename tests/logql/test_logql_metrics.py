"""Numbers of metric queries, worked out by hand."""

from __future__ import annotations

import math

import pytest

from obsd.logql import (
    Limits,
    PipelineError,
    Scalar,
    SeriesLimitError,
    Vector,
    VectorMatchError,
    ast,
    parse,
    run_instant,
    run_range,
)
from obsd.model.budget import QueryBudget
from tests.logql.memory_storage import MemoryStorage, S, line

LINES = [
    line("took=1 who=a", 1),
    line("took=3 who=b", 2),
    line("took=2 who=a", 3),
    line("took=10 who=b", 4),
    line("took=4 who=a", 5, env="prod"),
]
STORAGE = MemoryStorage(LINES)


def metric(text: str) -> ast.MetricExpr:
    expr = parse(text)
    assert not isinstance(expr, ast.LogQuery)
    return expr


def instant(text: str, time_s: float = 5) -> dict[str, float]:
    """The result, its series by who and env."""
    result = run_instant(metric(text), STORAGE, int(time_s * S), QueryBudget())
    assert isinstance(result, Vector)
    return {
        "/".join(v for n, v in labels if n in ("app", "who", "env")): float(value)
        for labels, value in zip(result.labels, result.values, strict=True)
    }


def unwrapped(op: str, tail: str = "by (who)") -> str:
    return f'{op}{{app="api"}} | logfmt | unwrap took [10s]) {tail}'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('sum(count_over_time({app="api"}[10s]))', {"": 5}),
        ('sum(count_over_time({app="api"}[4s]))', {"": 4}),  # The window's start is not in it.
        ('sum(rate({app="api"}[10s]))', {"": 0.5}),
        ('sum(bytes_over_time({app="api"}[10s]))', {"": 61}),
        ('sum(bytes_rate({app="api"}[10s]))', {"": 6.1}),
        ('sum(count_over_time({app="api"}[10s] offset 2s))', {"": 3}),
        ('sum by (env) (count_over_time({app="api"}[10s]))', {"": 4, "prod": 1}),
        ('sum without (env, level, detected_level, service_name) (rate({app="api"}[10s]))',
         {"api": 0.5}),
        ('sum by (who) (count_over_time({app="api"} | logfmt [10s]))', {"a": 3, "b": 2}),
        ('sum by (who) (sum_over_time({app="api"} | logfmt | unwrap took [10s]))',
         {"a": 7, "b": 13}),
        ('sum(rate({app="api"} | logfmt | unwrap took [10s]))', {"": 2}),
        (unwrapped("max_over_time("), {"a": 4, "b": 10}),
        (unwrapped("min_over_time("), {"a": 1, "b": 3}),
        (unwrapped("avg_over_time("), {"a": 7 / 3, "b": 6.5}),
        (unwrapped("first_over_time("), {"a": 1, "b": 3}),
        (unwrapped("last_over_time("), {"a": 4, "b": 10}),
        (unwrapped("stdvar_over_time("), {"a": 14 / 9, "b": 12.25}),
        (unwrapped("stddev_over_time("), {"a": math.sqrt(14 / 9), "b": 3.5}),
        (unwrapped("quantile_over_time(0.5, "), {"a": 2, "b": 6.5}),
        (unwrapped("quantile_over_time(2, "), {"a": math.inf, "b": math.inf}),
        (unwrapped("max_over_time(", "by ()"), {"": 10}),
        ('max by (who) (max_over_time({app="api"} | logfmt | unwrap took [10s]))',
         {"a": 4, "b": 10}),
        ('count(max_over_time({app="api"} | logfmt | unwrap took [10s]))', {"": 3}),
        ('topk(1, sum by (who) (count_over_time({app="api"} | logfmt [10s])))', {"a": 3}),
        ('bottomk(1, sum by (who) (count_over_time({app="api"} | logfmt [10s])))', {"b": 2}),
        ('absent_over_time({app="web", env=~".+"}[10s])', {"web": 1}),
        ('absent_over_time({app="api"}[10s])', {}),
        ("vector(1)+vector(1)", {"": 2}),
        ("vector(1) / 0", {"": math.nan}),
        ('sum(count_over_time({app="api"}[10s])) > 4', {"": 5}),
        ('sum(count_over_time({app="api"}[10s])) > 5', {}),
        ('sum(count_over_time({app="api"}[10s])) > bool 5', {"": 0}),
        ('10 - sum(count_over_time({app="api"}[10s]))', {"": 5}),
        ('sum(count_over_time({app="web"}[10s])) or vector(0)', {"": 0}),
        ('vector(1) unless sum(count_over_time({app="api"}[10s]))', {}),
        ('sum by (who) (count_over_time({app="api"} | logfmt [10s])) '
         '* on () group_left vector(10)', {"a": 30, "b": 20}),
        ('sum by (who) (count_over_time({app="api"} | logfmt [10s])) '
         'and on (who) topk(1, sum by (who) (count_over_time({app="api"} | logfmt [10s])))',
         {"a": 3}),
        ('label_replace(vector(1), "who", "x-$1", "none", "(.*)")', {"x-": 1}),
        ('sum(sum_over_time({app="api"} | logfmt | unwrap duration(took) | __error__="" [10s]))',
         {}),
    ],
)  # fmt: skip
def test_instant_queries(text: str, value: dict[str, float]) -> None:
    assert instant(text) == pytest.approx(value, nan_ok=True)


def test_a_number_is_a_scalar_and_over_a_range_a_series() -> None:
    assert run_instant(metric("1 + 2 * 3 > 6"), STORAGE, S, QueryBudget()) == Scalar(S, 1.0)
    matrix = run_range(metric("7"), STORAGE, 0, 2 * S, S, QueryBudget())
    assert matrix.values.tolist() == [[7.0, 7.0, 7.0]]


def test_series_have_all_labels_without_a_grouping() -> None:
    expr = metric('count_over_time({app="api", env="prod"} | logfmt [10s])')
    result = run_instant(expr, STORAGE, 5 * S, QueryBudget())
    assert isinstance(result, Vector)
    assert [labels.as_dict() for labels in result.labels] == [
        {
            "app": "api",
            "detected_level": "unknown",
            "env": "prod",
            "level": "unknown",
            "service_name": "unknown_service",
            "took": "4",
            "who": "a",
        }
    ]


def test_sorts_order_an_instant_result() -> None:
    inner = 'sum by (who) (count_over_time({app="api"} | logfmt [10s]))'
    for op, order in (("sort", [2, 3]), ("sort_desc", [3, 2])):
        result = run_instant(metric(f"{op}({inner})"), STORAGE, 5 * S, QueryBudget())
        assert isinstance(result, Vector)
        assert result.values.tolist() == order


def test_steps_slide_over_the_range() -> None:
    expr = metric('sum(count_over_time({app="api"}[2s]))')
    matrix = run_range(expr, STORAGE, 0, 8 * S, 2 * S, QueryBudget())
    assert matrix.present.tolist() == [[False, True, True, True, False]]
    assert matrix.values[0, 1:4].tolist() == [2, 2, 1]


def test_a_counter_starts_again_from_zero() -> None:
    counter = [line(f"n={n}", t) for t, n in enumerate([1, 5, 9, 2, 6], start=1)]
    expr = metric('sum(rate_counter({app="api"} | logfmt | unwrap n [5s]))')
    result = run_instant(expr, MemoryStorage(counter), 5 * S, QueryBudget())
    assert isinstance(result, Vector)
    # 14 in the 4 s between samples; before these there is a quarter of a second to zero.
    assert result.values.tolist() == pytest.approx([14 * (4 + 4 / 14) / 4 / 5])


def test_errors_of_lines_fail_a_metric_query_unless_they_are_left_out() -> None:
    text = 'sum(count_over_time({{app="api"}} | json {} [10s]))'
    with pytest.raises(PipelineError, match="pipeline error: 'JSONParserErr' for series"):
        instant(text.format(""))
    assert instant(text.format('| __error__=""')) == {}
    assert instant(text.format("| drop __error__, __error_details__")) == {"": 5}


def test_too_many_series_are_refused() -> None:
    expr = metric('count_over_time({app="api"} | logfmt [10s])')
    with pytest.raises(SeriesLimitError, match=r"maximum number of series \(3\) reached"):
        run_instant(expr, STORAGE, 5 * S, QueryBudget(), Limits(max_series=3))


def test_vectors_that_do_not_match_one_to_one_are_refused() -> None:
    inner = 'sum by (who) (count_over_time({app="api"} | logfmt [10s]))'
    for text in (f"{inner} + on () {inner}", f"vector(1) + on () {inner}"):
        with pytest.raises(VectorMatchError):
            instant(text)
