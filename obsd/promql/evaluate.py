"""The evaluator: a checked tree to matrices of [series x steps], one storage call a selector.

Every node is computed for all steps at once, so nothing here loops over steps. `@` pins a selector
to one time, whose values then stand for every step. A subquery is an evaluation of its own on a
grid of its own, whose result is what the range function sees as samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError, QueryError
from obsd.model.go_strings import to_valid_text
from obsd.model.labels import Labels
from obsd.model.samples import STALE_NAN_BITS, BoolArray, Columns, IntArray, RollupSpec
from obsd.promql import ast
from obsd.promql.aggregate import aggregate
from obsd.promql.annotations import Annotations
from obsd.promql.binary import scalar_binary, vector_binary, vector_scalar_binary
from obsd.promql.call_site import CallSite
from obsd.promql.check import type_of
from obsd.promql.duration import evaluate_duration_ms
from obsd.promql.functions import FUNCTIONS
from obsd.promql.parser import parse
from obsd.promql.storage import Storage
from obsd.promql.value import (
    ColumnsValue,
    Grid,
    MatrixValue,
    Result,
    ScalarValue,
    Steps,
    StringValue,
    Value,
    VectorValue,
    merge_series,
    remove_names,
)

DEFAULT_SUBQUERY_STEP_MS: Final = 60_000
DEFAULT_LOOKBACK_MS: Final = 300_000
_KEEPS_NAME: Final = frozenset({"first_over_time", "last_over_time"})
_KEEPS_ORDER: Final = frozenset({"sort", "sort_desc", "sort_by_label", "sort_by_label_desc"})


class Evaluator:
    """Answers queries from a storage. Blocking and thread-safe: each query has its own state."""

    def __init__(self, storage: Storage, *, lookback_ms: int = DEFAULT_LOOKBACK_MS) -> None:
        self._storage = storage
        self._lookback_ms = lookback_ms

    def instant(
        self,
        query: str | ast.Expr,
        time_ms: int,
        budget: QueryBudget,
        *,
        lookback_ms: int | None = None,
    ) -> Result:
        """The value of a query at one time.

        Raises:
            QueryParseError: the text is no PromQL.
            QueryError: it cannot be answered, or not within its budget.
        """
        expr, text = _parsed(query)
        scope = self._scope(time_ms, time_ms, 0, budget, lookback_ms)
        with np.errstate(all="ignore"):
            value = _instant_value(scope, expr, time_ms)
        return scope.result(value, text)

    def range(
        self,
        query: str | ast.Expr,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        budget: QueryBudget,
        *,
        lookback_ms: int | None = None,
    ) -> Result:
        """The values of a query at `start_ms`, every `step_ms` after it, up to `end_ms`.

        Raises:
            BadInputError: the query is not of a type that has a value at every step.
            QueryParseError: the text is no PromQL.
            QueryError: it cannot be answered, or not within its budget.
        """
        expr, text = _parsed(query)
        kind = type_of(expr)
        if kind not in {ast.ValueType.SCALAR, ast.ValueType.VECTOR}:
            raise BadInputError(
                f'invalid expression type "{kind.value}" for range query, '
                "must be Scalar or instant Vector"
            )
        if step_ms <= 0 or end_ms < start_ms:
            raise BadInputError("a range query needs a positive step and an end after its start")
        scope = self._scope(start_ms, end_ms, step_ms, budget, lookback_ms)
        with np.errstate(all="ignore"):
            value = _range_value(scope, expr)
        return scope.result(value, text)

    def _scope(
        self, start_ms: int, end_ms: int, step_ms: int, budget: QueryBudget, lookback_ms: int | None
    ) -> Evaluation:
        lookback = self._lookback_ms if lookback_ms is None else lookback_ms
        whole = (start_ms, end_ms, step_ms)
        step_ms = max(step_ms, 1)  # An instant query has one step, and `step()` is zero in it.
        return Evaluation(
            self._storage, budget, start_ms, end_ms, step_ms, lookback, whole, Annotations()
        )


def _parsed(query: str | ast.Expr) -> tuple[ast.Expr, str | None]:
    return (parse(query), query) if isinstance(query, str) else (query, None)


def _instant_value(scope: Evaluation, expr: ast.Expr, time_ms: int) -> Value:
    match type_of(expr):
        case ast.ValueType.SCALAR:
            return ScalarValue(time_ms, float(scope.scalar(expr).values[0]))
        case ast.ValueType.STRING:
            literal = ast.unwrap(expr)
            assert isinstance(literal, ast.StringLiteral)
            return StringValue(time_ms, to_valid_text(literal.value))
        case ast.ValueType.MATRIX:
            return ColumnsValue(scope.columns(expr))
        case ast.ValueType.VECTOR:
            grid = remove_names(scope.vector(expr)).without_empty()
            if not _has_own_order(expr):
                grid = _sorted_by_labels(grid)
            return VectorValue(grid.labels, time_ms, grid.values[:, 0])


def _has_own_order(expr: ast.Expr) -> bool:
    expr = ast.unwrap(expr)
    if isinstance(expr, ast.Call):
        return expr.function in _KEEPS_ORDER
    return isinstance(expr, ast.Aggregate) and expr.op in {"topk", "bottomk"}


def _range_value(scope: Evaluation, expr: ast.Expr) -> MatrixValue:
    if type_of(expr) is ast.ValueType.SCALAR:
        values = scope.scalar(expr).values
        present = np.ones((1, len(values)), np.bool_)
        labels = (Labels(),)
        return MatrixValue(labels, scope.start_ms, scope.step_ms, values[np.newaxis], present)
    grid = remove_names(scope.vector(expr)).without_empty()
    grid = _sorted_by_labels(grid)
    return MatrixValue(grid.labels, scope.start_ms, scope.step_ms, grid.values, grid.present)


def _sorted_by_labels(grid: Grid) -> Grid:
    order = sorted(range(len(grid.labels)), key=lambda i: grid.labels[i].pairs)
    return grid if order == list(range(len(order))) else grid.take(order)


@dataclass(eq=False)
class Evaluation:
    """One query, or one subquery of it, on its own grid of steps."""

    storage: Storage
    budget: QueryBudget
    start_ms: int
    end_ms: int
    step_ms: int
    lookback_ms: int
    query_range_ms: tuple[int, int, int]
    annotations: Annotations
    _subqueries: dict[int, tuple[Columns, BoolArray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A subquery chooses its own number of steps.
        self.budget.reserve((self.end_ms - self.start_ms) // self.step_ms + 1)

    @cached_property
    def times_ms(self) -> IntArray:
        return np.arange(self.start_ms, self.end_ms + 1, self.step_ms, dtype=np.int64)

    @property
    def is_range_query(self) -> bool:
        return self.start_ms != self.end_ms

    def result(self, value: Value, text: str | None) -> Result:
        return Result(value, self.annotations.warnings(text), self.annotations.infos(text))

    def vector(self, expr: ast.Expr) -> Grid:
        """Evaluate an instant vector."""
        value = self._evaluate(expr)
        assert isinstance(value, Grid), "checked when the query was parsed"
        return value

    def scalar(self, expr: ast.Expr) -> Steps:
        """Evaluate a scalar."""
        value = self._evaluate(expr)
        assert isinstance(value, Steps), "checked when the query was parsed"
        return value

    def _evaluate(self, expr: ast.Expr) -> Grid | Steps:
        self.budget.check()
        match expr:
            case ast.NumberLiteral(value=value):
                return Steps(np.full(len(self.times_ms), value))
            case ast.Paren(expr=inner):
                return self._evaluate(inner)
            case ast.VectorSelector():
                return self.rollup(expr, "instant")
            case ast.Unary():
                return self._unary(expr)
            case ast.Binary():
                return self._binary(expr)
            case ast.Aggregate():
                return self._aggregate(expr)
            case ast.Call(function=function):
                return FUNCTIONS[function].implementation(CallSite(expr, self))
            case ast.StringLiteral() | ast.MatrixSelector() | ast.Subquery():
                raise AssertionError("checked when the query was parsed")

    def _unary(self, node: ast.Unary) -> Grid | Steps:
        value = self._evaluate(node.expr)
        if node.op == "+":
            return value
        if isinstance(value, Steps):
            return Steps(-value.values)
        return value.with_values(-value.values)

    def _binary(self, node: ast.Binary) -> Grid | Steps:
        left, right = self._evaluate(node.left), self._evaluate(node.right)
        if isinstance(left, Grid) and isinstance(right, Grid):
            return vector_binary(node, left, right, self.annotations)
        if isinstance(left, Grid):
            assert isinstance(right, Steps)
            return vector_scalar_binary(node, left, right, self.annotations)
        if isinstance(right, Grid):
            return vector_scalar_binary(node, right, left, self.annotations, swapped=True)
        return scalar_binary(node, left, right)

    def _aggregate(self, node: ast.Aggregate) -> Grid:
        param: Steps | str | None = None
        if node.param is not None:
            literal = ast.unwrap(node.param)
            if isinstance(literal, ast.StringLiteral):
                param = literal.value
            else:
                param = self.scalar(node.param)
        return aggregate(node, self.vector(node.expr), param, self.annotations)

    # Selectors and range vectors.

    def rollup(
        self,
        expr: ast.Expr,
        function: str,
        args: tuple[float, ...] = (),
        steps: tuple[int, int] | None = None,
    ) -> Grid:
        """A range function at all steps, or from the first to the last of `steps`, inclusive."""
        expr = ast.unwrap(expr)
        first, last = steps or (0, len(self.times_ms) - 1)
        selector = expr.selector if isinstance(expr, ast.MatrixSelector) else expr
        assert isinstance(selector, ast.VectorSelector | ast.Subquery)
        _refuse_boundaries(selector)
        at_ms = self.pinned_ms(selector)
        start_ms = int(self.times_ms[first]) if at_ms is None else at_ms
        spec = RollupSpec(
            function,
            start_ms,
            int(self.times_ms[last]) if at_ms is None else at_ms,
            self.step_ms,
            self._window_ms(expr),
            self._duration_ms(selector.offset, signed=True),
            args,
        )
        if isinstance(selector, ast.Subquery):
            columns, drops = self._subquery_columns(selector)
            matrix = self.storage.rollup_columns(columns, spec, self.budget)
            grid = Grid.of_matrix(matrix, drop_name=False)
            by_labels = dict(zip(columns.labels, drops, strict=True))
            grid.drop_name[:] = [by_labels[labels] for labels in grid.labels]
        else:
            matrix = self.storage.rollup(selector.matchers, spec, self.budget)
            grid = Grid.of_matrix(matrix, drop_name=False)
        if function != "instant" and function not in _KEEPS_NAME:
            grid.drop_name[:] = True
        return grid if at_ms is None else _repeated(grid, last - first + 1)

    def pinned_ms(self, expr: ast.Expr) -> int | None:
        """The time that `@` fixes a selector, range vector or subquery to."""
        expr = ast.unwrap(expr)
        carrier = expr.selector if isinstance(expr, ast.MatrixSelector) else expr
        assert isinstance(carrier, ast.VectorSelector | ast.Subquery)
        match carrier.at:
            case ast.AtAnchor.START:
                return self.query_range_ms[0]
            case ast.AtAnchor.END:
                return self.query_range_ms[1]
            case at:
                return at

    def _duration_ms(self, duration: ast.Duration, *, signed: bool = False) -> int:
        return evaluate_duration_ms(duration, self.query_range_ms, signed=signed)

    def _window_ms(self, expr: ast.Expr) -> int:
        if isinstance(expr, ast.VectorSelector):
            return self.lookback_ms
        assert isinstance(expr, ast.MatrixSelector | ast.Subquery)
        return self._duration_ms(expr.range)

    def columns(self, expr: ast.Expr) -> Columns:
        """The samples of a range vector at the first step, without staleness markers."""
        expr = ast.unwrap(expr)
        assert isinstance(expr, ast.MatrixSelector | ast.Subquery)
        if isinstance(expr, ast.Subquery):
            columns, _ = self._subquery_columns(expr)
            return columns
        _refuse_boundaries(expr.selector)
        at_ms = self.pinned_ms(expr)
        end_ms = self.start_ms if at_ms is None else at_ms
        end_ms -= self._duration_ms(expr.selector.offset, signed=True)
        start_ms = end_ms - self._window_ms(expr)
        columns = self.storage.select(expr.selector.matchers, start_ms + 1, end_ms, self.budget)
        return _without_stale(columns)

    def _subquery_columns(self, node: ast.Subquery) -> tuple[Columns, BoolArray]:
        """What a subquery's range function sees as samples, and whose names are due to go."""
        found = self._subqueries.get(id(node))
        if found is not None:
            return found
        at_ms = self.pinned_ms(node)
        offset_ms = self._duration_ms(node.offset, signed=True)
        start_ms = (self.start_ms if at_ms is None else at_ms) - offset_ms
        end_ms = (int(self.times_ms[-1]) if at_ms is None else at_ms) - offset_ms
        step_ms = DEFAULT_SUBQUERY_STEP_MS if node.step is None else self._duration_ms(node.step)
        # Steps are multiples of the step since 1970, so that neighbouring queries agree.
        first_ms = ((start_ms - self._duration_ms(node.range)) // step_ms + 1) * step_ms
        if first_ms > end_ms:
            grid = Grid.empty(0)
            inner_times = np.zeros(0, np.int64)
        else:
            inner = Evaluation(
                self.storage,
                self.budget,
                first_ms,
                end_ms,
                step_ms,
                self.lookback_ms,
                self.query_range_ms,
                self.annotations,
            )
            grid = merge_series(inner.vector(node.expr))
            grid = _sorted_by_labels(grid)
            inner_times = inner.times_ms
        self.budget.charge(int(grid.present.sum()))
        counts = grid.present.sum(axis=1)
        columns = Columns(
            grid.labels,
            np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            np.broadcast_to(inner_times, grid.present.shape)[grid.present],
            grid.values[grid.present],
        )
        self._subqueries[id(node)] = columns, grid.drop_name
        return columns, grid.drop_name


def _refuse_boundaries(selector: ast.VectorSelector | ast.Subquery) -> None:
    if isinstance(selector, ast.VectorSelector) and (selector.anchored or selector.smoothed):
        name = "anchored" if selector.anchored else "smoothed"
        raise QueryError(f"the {name} modifier is not supported yet")


def _repeated(grid: Grid, step_count: int) -> Grid:
    """The values of the only step, at every step."""
    shape = (len(grid.labels), step_count)
    return Grid(
        grid.labels,
        np.broadcast_to(grid.values, shape),
        np.broadcast_to(grid.present, shape),
        grid.drop_name,
    )


def _without_stale(columns: Columns) -> Columns:
    keep = columns.values.view(np.int64) != STALE_NAN_BITS
    series = np.repeat(np.arange(len(columns.labels)), np.diff(columns.offsets))
    counts = np.bincount(series[keep], minlength=len(columns.labels))
    # A series may have histograms only.
    exists = np.flatnonzero(counts if columns.histograms is None else np.ones_like(counts))
    return Columns(
        tuple(columns.labels[i] for i in exists),
        np.concatenate(([0], np.cumsum(counts[exists]))).astype(np.int64),
        columns.timestamps[keep],
        columns.values[keep],
        columns.histograms,
    )
