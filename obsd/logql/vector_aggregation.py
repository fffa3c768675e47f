"""Aggregations over series: `sum by (label) (…)` and its like, at every step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from obsd.logql import ast
from obsd.logql.series import Grid
from obsd.model.labels import Labels
from obsd.model.samples import BoolArray, FloatArray


def aggregate_series(node: ast.VectorAggregation, grid: Grid) -> Grid:
    """The aggregation of an instant vector at every step."""
    op = node.op
    if op in {"sort", "sort_desc"}:
        return grid  # The order is that of an instant query's result.
    if op in {"topk", "bottomk", "approx_topk"}:
        assert node.param is not None, "checked by the parser"
        return _ranked(grid, node.grouping, node.param, largest=op != "bottomk")
    groups = grouped_rows(grid.labels, node.grouping)
    steps = grid.values.shape[1]
    values, present = np.zeros((len(groups), steps)), np.zeros((len(groups), steps), np.bool_)
    reduce = _REDUCTIONS[op]
    for place, rows in enumerate(groups.values()):
        own = grid.present[rows]
        present[place] = own.any(axis=0)
        with np.errstate(all="ignore"):
            values[place] = reduce(grid.values[rows], own)
    return Grid(tuple(groups), values, present)


def group_labels(labels: Labels, grouping: ast.Grouping | None) -> Labels:
    """The labels of the group that a series is in; without a grouping, none."""
    if grouping is None:
        return Labels()
    names = frozenset(grouping.labels)
    return labels.drop(names) if grouping.without else labels.keep(names)


def grouped_rows(
    labels: tuple[Labels, ...], grouping: ast.Grouping | None
) -> dict[Labels, list[int]]:
    """Places of series by the labels of their groups."""
    groups: dict[Labels, list[int]] = {}
    for row, each in enumerate(labels):
        groups.setdefault(group_labels(each, grouping), []).append(row)
    return groups


def _ranked(grid: Grid, grouping: ast.Grouping | None, count: int, *, largest: bool) -> Grid:
    """The series with the largest or smallest values at each step; a NaN is behind all of them."""
    kept = np.zeros_like(grid.present)
    for rows in grouped_rows(grid.labels, grouping).values():
        values, present = grid.values[rows], grid.present[rows]
        keys = -values if largest else values
        # Absent ones last, and before them what is no number.
        keys = np.where(np.isnan(keys), math.inf, keys)
        order = np.lexsort((keys, np.isnan(values), ~present), axis=0)[:count]
        chosen = np.zeros_like(present)
        np.put_along_axis(chosen, order, values=True, axis=0)
        kept[rows] = chosen & present
    return Grid(grid.labels, grid.values, kept).without_empty()


def _sum(values: FloatArray, present: BoolArray) -> FloatArray:
    total: FloatArray = np.where(present, values, 0.0).sum(axis=0)
    return total


def _count(values: FloatArray, present: BoolArray) -> FloatArray:
    count: FloatArray = present.sum(axis=0).astype(np.float64)
    return count


def _average(values: FloatArray, present: BoolArray) -> FloatArray:
    mean: FloatArray = _sum(values, present) / np.maximum(_count(values, present), 1)
    return mean


def _variance(values: FloatArray, present: BoolArray) -> FloatArray:
    away = np.where(present, values - _average(values, present), 0.0)
    variance: FloatArray = (away * away).sum(axis=0) / np.maximum(_count(values, present), 1)
    return variance


def _deviation(values: FloatArray, present: BoolArray) -> FloatArray:
    deviation: FloatArray = np.sqrt(_variance(values, present))
    return deviation


def _largest(values: FloatArray, present: BoolArray) -> FloatArray:
    found: FloatArray = np.fmax.reduce(np.where(present, values, math.nan), axis=0)
    return found


def _smallest(values: FloatArray, present: BoolArray) -> FloatArray:
    found: FloatArray = np.fmin.reduce(np.where(present, values, math.nan), axis=0)
    return found


_REDUCTIONS: Final[dict[str, Callable[[FloatArray, BoolArray], FloatArray]]] = {
    "avg": _average,
    "count": _count,
    "max": _largest,
    "min": _smallest,
    "stddev": _deviation,
    "stdvar": _variance,
    "sum": _sum,
}
