"""Metric queries: at one time, or at steps of a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from obsd.logql import ast
from obsd.logql.binary import binary
from obsd.logql.errors import SeriesLimitError
from obsd.logql.result import Matrix, QueryStats, Scalar, Vector
from obsd.logql.samples import COUNTED, Reader
from obsd.logql.series import Grid, ScalarSteps, Steps, Value, merged
from obsd.logql.storage import Storage
from obsd.logql.vector_aggregation import aggregate_series
from obsd.model.budget import QueryBudget
from obsd.model.labels import Labels
from obsd.model.matcher import MatchOp
from obsd.model.regex import compile_anchored

_ADDITIVE: Final = COUNTED | {"sum_over_time"}
"""Operations of which the sum over series is the same over all their samples."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a metric query may give.

    Attributes:
        max_series: series of the result, and of what it is computed from.
    """

    max_series: int = 5_000


def run_range(
    expr: ast.MetricExpr,
    storage: Storage,
    start_ns: int,
    end_ns: int,
    step_ns: int,
    budget: QueryBudget,
    limits: Limits | None = None,
) -> Matrix:
    """The query at `start_ns`, and every `step_ns` until `end_ns`, which is included.

    Raises:
        BadInputError: the query cannot be answered as it is: PipelineError, SeriesLimitError…
        QueryError: the budget says so.
    """
    assert step_ns > 0, "the caller has checked it"
    stats = QueryStats()
    if end_ns < start_ns:
        shape = (0, 0)
        return Matrix((), start_ns, step_ns, np.zeros(shape), np.zeros(shape, np.bool_), stats)
    steps = Steps(start_ns, step_ns, (end_ns - start_ns) // step_ns + 1)
    grid = _to_grid(_evaluate(expr, storage, steps, budget, limits, stats)).without_empty()
    grid = grid.sorted()
    return Matrix(grid.labels, start_ns, step_ns, grid.values, grid.present, stats)


def run_instant(
    expr: ast.MetricExpr,
    storage: Storage,
    time_ns: int,
    budget: QueryBudget,
    limits: Limits | None = None,
) -> Vector | Scalar:
    """The query at one time.

    Raises:
        BadInputError, QueryError: as `run_range`.
    """
    stats = QueryStats()
    value = _evaluate(expr, storage, Steps(time_ns, 1, 1), budget, limits, stats)
    if isinstance(value, ScalarSteps):
        return Scalar(time_ns, float(value.values[0]), stats)
    grid = value.without_empty().sorted()
    if isinstance(expr, ast.VectorAggregation) and expr.op in {"sort", "sort_desc"}:
        grid = _by_value(grid, descending=expr.op == "sort_desc")
    return Vector(grid.labels, time_ns, grid.values[:, 0], stats)


def _by_value(grid: Grid, *, descending: bool) -> Grid:
    values = grid.values[:, 0]
    keys = -values if descending else values
    return grid.take(np.lexsort((keys, np.isnan(values))))


def _to_grid(value: Value) -> Grid:
    if isinstance(value, Grid):
        return value
    present = np.ones((1, len(value.values)), np.bool_)
    return Grid((Labels(),), value.values[np.newaxis], present)


def _evaluate(
    expr: ast.MetricExpr,
    storage: Storage,
    steps: Steps,
    budget: QueryBudget,
    limits: Limits | None,
    stats: QueryStats,
) -> Value:
    budget.reserve(steps.count)
    max_series = (limits or Limits()).max_series
    value = _Evaluator(Reader(storage, steps, budget, max_series, stats)).value(expr)
    if isinstance(value, Grid) and len(value.labels) > max_series:
        raise SeriesLimitError(max_series)
    return value


class _Evaluator:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._count = reader.steps.count

    def value(self, expr: ast.MetricExpr) -> Value:
        """What an expression is at every step."""
        match expr:
            case ast.NumberLiteral(value):
                return ScalarSteps(np.full(self._count, value))
            case ast.VectorLiteral(value):
                return _to_grid(ScalarSteps(np.full(self._count, value)))
            case ast.Binary():
                return binary(expr, self.value(expr.left), self.value(expr.right))
            case ast.RangeAggregation():
                return self._range(expr, expr.grouping)
            case ast.VectorAggregation():
                return self._vector(expr)
            case ast.LabelReplace():
                return self._label_replace(expr)

    def _range(self, node: ast.RangeAggregation, grouping: ast.Grouping | None) -> Grid:
        if node.op == "absent_over_time":
            return self._absent(node)
        return self._reader.read(node, grouping)

    def _absent(self, node: ast.RangeAggregation) -> Grid:
        """1 where there is no sample, under the labels that the selector says."""
        is_counted = node.range.unwrap is None
        count = ast.RangeAggregation(
            "count_over_time" if is_counted else "absent_over_time", node.range
        )
        there = np.logical_or.reduce(self._reader.read(count, ast.Grouping(())).present, axis=0)
        equal = {m.name: m.value for m in node.range.query.matchers if m.op is MatchOp.EQUAL}
        for matcher in node.range.query.matchers:
            if matcher.op is not MatchOp.EQUAL:
                equal.pop(matcher.name, None)
        ones = np.ones((1, self._count))
        absent = np.logical_not(there).reshape(1, self._count)
        return Grid((Labels.of(equal),), ones, absent).without_empty()

    def _vector(self, node: ast.VectorAggregation) -> Grid:
        inner = node.expr
        if (
            node.op == "sum"
            and isinstance(inner, ast.RangeAggregation)
            and inner.op in _ADDITIVE
            and inner.grouping is None
        ):
            # The groups' samples at once: what would be added up need not be told apart.
            return self._range(inner, node.grouping or ast.Grouping(()))
        return aggregate_series(node, _to_grid(self.value(inner)))

    def _label_replace(self, node: ast.LabelReplace) -> Grid:
        grid = _to_grid(self.value(node.expr))
        expand = compile_anchored(node.regex).expander(node.replacement)
        labels = []
        for each in grid.labels:
            text = expand(each.get(node.source))
            labels.append(each if text is None else each.with_label(node.target, text))
        return merged(labels, grid.values, grid.present)
