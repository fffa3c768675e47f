"""Metrics of spans over time: `{ … } | rate() by (resource.service.name)`.

Spans are counted by their start. Durations are seconds in every answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from obsd.model.budget import QueryBudget
from obsd.traceql import ast
from obsd.traceql.accumulate import COUNTED, Accumulator, SeriesTable
from obsd.traceql.batches import Batch, Column, Source
from obsd.traceql.buckets import bucket_of, buckets_of_durations, quantile
from obsd.traceql.compare import compare
from obsd.traceql.errors import NotMetricsError
from obsd.traceql.exemplars import with_exemplars
from obsd.traceql.grouping import BUCKETED, DURATION, NS_IN_S, QUANTILE, labels_of, number_of
from obsd.traceql.parser import parse
from obsd.traceql.result import MetricsResult, QueryStats
from obsd.traceql.second_stage import apply, combined
from obsd.traceql.series import Labels, Row, series_of
from obsd.traceql.steps import Steps
from obsd.traceql.storage import Storage

DEFAULT_MAX_SERIES: Final = 1000
_MAX_BUCKETS: Final = 32  # Powers of two that series have on average, at most.


def query_range(
    store: Storage,
    query: ast.Query | str,
    start_ns: int,
    end_ns: int,
    step_ns: int,
    budget: QueryBudget | None = None,
    max_series: int = DEFAULT_MAX_SERIES,
    exemplars: int = 0,
) -> MetricsResult:
    """The series of a metrics query over a range, at whole steps since 1970.

    Raises:
        TraceqlParseError: where and why a text is no query.
        NotMetricsError: the query is one for traces.
        BadInputError: there is no time in the range, or too many steps.
    """
    steps = Steps.over(start_ns, end_ns, step_ns)
    return _run(store, query, steps, budget, max_series, exemplars)


def query_instant(
    store: Storage,
    query: ast.Query | str,
    start_ns: int,
    end_ns: int,
    budget: QueryBudget | None = None,
    max_series: int = DEFAULT_MAX_SERIES,
) -> MetricsResult:
    """The series of a metrics query over a range taken as one step.

    Raises:
        TraceqlParseError: where and why a text is no query.
        NotMetricsError: the query is one for traces.
        BadInputError: there is no time in the range.
    """
    return _run(store, query, Steps.once(start_ns, end_ns), budget, max_series, 0)


def _run(
    store: Storage,
    query: ast.Query | str,
    steps: Steps,
    budget: QueryBudget | None,
    max_series: int,
    exemplars: int,
) -> MetricsResult:
    query = parse(query) if isinstance(query, str) else query
    if isinstance(query.expr, ast.Pipeline):
        raise NotMetricsError
    source = Source(store, budget or QueryBudget(), QueryStats())
    evaluator = _Evaluator(source, steps, max_series, exemplars)
    rows = evaluator.rows(query.expr)
    series = series_of(rows)
    truncated = evaluator.truncated
    if not _is_comparison(query.expr):
        truncated |= len(series) > max_series
        series = series[:max_series]
    return MetricsResult(series, steps.timestamps_ms, truncated, source.stats)


def _is_comparison(expr: ast.MetricsExpr) -> bool:
    """Whether it is a `compare()`, which has limits of its own."""
    return isinstance(expr, ast.MetricsPipeline) and isinstance(expr.aggregate, ast.Compare)


@dataclass(slots=True)
class _Evaluator:
    source: Source
    steps: Steps
    max_series: int
    exemplars: int
    truncated: bool = False

    def rows(self, expr: ast.MetricsExpr) -> Sequence[Row]:
        match expr:
            case ast.MetricsPipeline(pipeline, ast.Compare() as comparison):
                return compare(self.source, pipeline, comparison, self.steps)
            case ast.MetricsPipeline(pipeline, ast.MetricsAggregate() as aggregate):
                return self._aggregated(pipeline, aggregate)
            case ast.MetricsStages(of, stages):
                rows = self.rows(of)
                for stage in stages:
                    rows = apply(stage, rows)
                return rows
            case ast.MetricsMath(op, left, right):
                return combined(op, self._side(left), self._side(right))
        raise AssertionError(expr)

    def _side(self, side: ast.MetricsExpr | float) -> Sequence[Row] | float:
        return side if isinstance(side, float) else self.rows(side)

    def _aggregated(self, pipeline: ast.Pipeline, aggregate: ast.MetricsAggregate) -> Sequence[Row]:
        table, numbers = self._added_up(pipeline, aggregate)
        self.truncated |= table.truncated
        rows: Sequence[Row] = [
            Row(labels_of(aggregate, values), numbers[at]) for at, values in enumerate(table.values)
        ]
        if aggregate.op == "quantile_over_time":
            rows = _quantiles(aggregate, rows)
        if self.exemplars and not self.steps.instant:
            return with_exemplars(
                self.source, pipeline, aggregate, self.steps, self.exemplars, rows
            )
        return rows

    def _added_up(
        self, pipeline: ast.Pipeline, aggregate: ast.MetricsAggregate
    ) -> tuple[SeriesTable, NDArray[np.float64]]:
        op = aggregate.op
        fields = list(aggregate.by)
        if aggregate.of is not None and aggregate.of != DURATION:
            fields.append(aggregate.of)
        buckets = _MAX_BUCKETS if op in BUCKETED else 1
        table = SeriesTable(self.max_series * buckets)
        counted = op in COUNTED
        sums = Accumulator(op, self.steps.count, self.source.budget)
        if not aggregate.by and op not in BUCKETED:
            table.row(())
        first_ns, end_ns = self.steps.first_ns, self.steps.end_ns
        for batch in self.source.batches(pipeline, fields, first_ns, end_ns):
            columns = list(batch.columns[: len(aggregate.by)])
            starts_ns, numbers = batch.start_ns, None
            if op in BUCKETED:
                columns.append(_bucket_column(aggregate, batch))
                kept = columns[-1].codes >= 0
                columns = [Column(each.codes[kept], each.values) for each in columns]
                starts_ns = starts_ns[kept]
            elif not counted:
                numbers = _numbers(aggregate, batch)
            rows = table.rows(columns, len(starts_ns))
            sums.add(rows, self.steps.places(starts_ns), numbers)
        found = sums.counts(len(table.values)) if counted else sums.numbers(len(table.values))
        return table, found / self.steps.seconds if op == "rate" else found


def _bucket_column(aggregate: ast.MetricsAggregate, batch: Batch) -> Column:
    if aggregate.of == DURATION:
        buckets = buckets_of_durations(batch.duration_ns)
        bounds, codes = np.unique(buckets, return_inverse=True)
        codes = np.where(np.isnan(bounds)[codes], -1, codes) if len(bounds) else codes
        return Column(codes.astype(np.int32), bounds.tolist())
    column = batch.columns[-1]
    bounds_of_values = np.array([*map(bucket_of, column.values), math.nan])
    bounds, places = np.unique(bounds_of_values, return_inverse=True)
    places = np.where(np.isnan(bounds)[places], -1, places)
    return Column(places[column.codes].astype(np.int32), bounds.tolist())


def _numbers(aggregate: ast.MetricsAggregate, batch: Batch) -> NDArray[np.float64]:
    """What is aggregated of each span; NaN where that is no number."""
    if aggregate.of == DURATION:
        return batch.duration_ns / NS_IN_S
    column = batch.columns[-1]
    # A code of -1 takes the last one.
    numbers = np.array([*map(number_of, column.values), math.nan])
    return numbers[column.codes]


def _quantiles(aggregate: ast.MetricsAggregate, rows: Sequence[Row]) -> list[Row]:
    """A series for each quantile of each histogram."""
    histograms: dict[Labels, list[Row]] = {}
    for row in rows:
        histograms.setdefault(row.labels[:-1], []).append(row)
    found: list[Row] = []
    for labels, buckets in histograms.items():
        buckets.sort(key=lambda row: row.labels[-1][1])  # type: ignore[arg-type,return-value]
        bounds = np.array([row.labels[-1][1] for row in buckets], np.float64)
        counts = np.stack([row.values for row in buckets])
        for each in aggregate.quantiles:
            values = quantile(each, bounds, counts)
            found.append(replace(buckets[0], labels=(*labels, (QUANTILE, each)), values=values))
    return found
