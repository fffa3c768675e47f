"""Functions over range vectors: one rollup of the storage each, and what must be said about it."""

from __future__ import annotations

from typing import Final

import numpy as np

from obsd.model.errors import QueryError
from obsd.model.go_strings import quote
from obsd.model.labels import METRIC_NAME, Labels
from obsd.model.matcher import MatchOp
from obsd.model.samples import FloatArray
from obsd.promql import ast
from obsd.promql.call_site import CallSite, Implementation
from obsd.promql.literals import format_general
from obsd.promql.value import Grid

_COUNTER_SUFFIXES: Final = ("_total", "_sum", "_count", "_bucket")


def plain_rollup(function: str) -> Implementation:
    """A function whose only argument is the range vector."""

    def implementation(site: CallSite) -> Grid:
        return site.scope.rollup(site.arg(0), function)

    return implementation


def counter_rollup(function: str) -> Implementation:
    """A function that makes sense for counters, and says so when a name looks otherwise."""

    def implementation(site: CallSite) -> Grid:
        grid = site.scope.rollup(site.arg(0), function)
        for name in {labels.get(METRIC_NAME): None for labels in grid.labels}:
            if name and not name.endswith(_COUNTER_SUFFIXES):
                site.scope.annotations.inform(
                    "metric might not be a counter, name does not end in "
                    f"_total/_sum/_count/_bucket: {quote(name)}",
                    site.arg(0).span,
                )
        return grid

    return implementation


def quantile_over_time(site: CallSite) -> Grid:
    q = site.scalar(0)
    grid = _rollup_with(site, 1, "quantile_over_time", [q])
    if grid.labels:
        warn_of_quantiles(site, 0, q[grid.occupied])
    return grid


def warn_of_quantiles(site: CallSite, index: int, q: FloatArray) -> None:
    """Say which quantiles are no quantiles; `index` is the argument that they come from."""
    bad = np.unique(q[np.isnan(q) | (q < 0) | (q > 1)])
    for value in bad:
        site.scope.annotations.warn(
            f"quantile value should be between 0 and 1, got {format_general(float(value))}",
            site.arg(index).span,
        )


def double_exponential_smoothing(site: CallSite) -> Grid:
    smoothing, trend = site.scalar(1), site.scalar(2)
    for name, short, factors in (("smoothing", "sf", smoothing), ("trend", "tf", trend)):
        bad = factors[~((factors > 0) & (factors < 1))]
        if len(bad):
            raise QueryError(f"invalid {name} factor. Expected: 0 < {short} < 1, got: {bad[0]:f}")
    return _rollup_with(site, 0, "double_exponential_smoothing", [smoothing, trend])


def predict_linear(site: CallSite) -> Grid:
    """The regression line's value at the step's own time plus some seconds, even under `@`."""
    ahead = site.scalar(1)
    pinned_ms = site.scope.pinned_ms(site.arg(0))
    if pinned_ms is not None:
        ahead = ahead + (site.scope.times_ms - pinned_ms) / 1000
    if (ahead == ahead[0]).all():
        return site.scope.rollup(site.arg(0), "predict_linear", (float(ahead[0]),))
    now = site.scope.rollup(site.arg(0), "predict_linear", (0.0,))
    slope = site.scope.rollup(site.arg(0), "deriv")
    return now.with_values(now.values + slope.values * ahead)


def _rollup_with(site: CallSite, index: int, function: str, params: list[FloatArray]) -> Grid:
    """A rollup whose parameters may change from step to step: one call a run of equal ones."""
    table = np.stack(params)
    same = table[:, 1:] == table[:, :-1]
    same |= np.isnan(table[:, 1:]) & np.isnan(table[:, :-1])
    firsts = [0, *(np.flatnonzero(~same.all(axis=0)) + 1)]
    lasts = [*(first - 1 for first in firsts[1:]), table.shape[1] - 1]
    runs = []
    for first, last in zip(firsts, lasts, strict=True):
        args = tuple(float(v) for v in table[:, first])
        runs.append(site.scope.rollup(site.arg(index), function, args, (int(first), int(last))))
    return runs[0] if len(runs) == 1 else _side_by_side(runs)


def _side_by_side(runs: list[Grid]) -> Grid:
    """Stretches of steps, joined by labels."""
    drops = {
        labels: drop for run in runs for labels, drop in zip(run.labels, run.drop_name, strict=True)
    }
    rows = {labels: i for i, labels in enumerate(sorted(drops))}
    shape = (len(rows), sum(run.step_count for run in runs))
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    column = 0
    for run in runs:
        index = [rows[labels] for labels in run.labels]
        values[index, column : column + run.step_count] = run.values
        present[index, column : column + run.step_count] = run.present
        column += run.step_count
    return Grid(tuple(rows), values, present, np.array([drops[labels] for labels in rows]))


def absent(site: CallSite) -> Grid:
    return _absence(site, site.vector(0))


def absent_over_time(site: CallSite) -> Grid:
    return _absence(site, site.scope.rollup(site.arg(0), "present_over_time"))


def _absence(site: CallSite, grid: Grid) -> Grid:
    present = ~grid.occupied
    return Grid.single(_absent_labels(site.arg(0)), np.ones(len(present)), present).without_empty()


def _absent_labels(expr: ast.Expr) -> Labels:
    """What a series would have for certain: labels with exactly one condition, an equality."""
    expr = ast.unwrap(expr)
    selector = expr.selector if isinstance(expr, ast.MatrixSelector) else expr
    if not isinstance(selector, ast.VectorSelector):
        return Labels()
    values: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in selector.matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.op is MatchOp.EQUAL and matcher.name not in seen:
            values[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            values.pop(matcher.name, None)
    return Labels.of(values)
