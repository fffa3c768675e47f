"""Every function: its name, its signature, and what it does.

Implementations are pure on arrays; those that are more than a line stand in the modules below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from obsd.model.errors import QueryError
from obsd.model.labels import Labels
from obsd.model.samples import FloatArray
from obsd.promql import ast, dates, histogram, label_functions, range_functions
from obsd.promql.ast import ValueType
from obsd.promql.call_site import CallSite, Implementation
from obsd.promql.literals import format_general
from obsd.promql.range_functions import counter_rollup, plain_rollup
from obsd.promql.value import Grid, Steps

_SCALAR: Final = ValueType.SCALAR
_VECTOR: Final = ValueType.VECTOR
_MATRIX: Final = ValueType.MATRIX
_STRING: Final = ValueType.STRING


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language.

    Attributes:
        args: types of the arguments.
        variadic: 0 when all are needed; n when the last may be left out or come up to n times;
            -1 when it may come any number of times.
    """

    implementation: Implementation
    args: tuple[ValueType, ...]
    variadic: int = 0
    returns: ValueType = ValueType.VECTOR


def _elementwise(compute: Callable[[FloatArray], FloatArray]) -> Implementation:
    def implementation(site: CallSite) -> Grid:
        grid = site.vector(0)
        return grid.with_values(compute(grid.values))

    return implementation


def _date_part(compute: dates.DatePart) -> Implementation:
    """Of the values of a vector, or of the step's own time without one."""

    def implementation(site: CallSite) -> Grid:
        if site.arg_count == 0:
            seconds = np.floor_divide(site.scope.times_ms, 1000).astype(np.float64)
            return Grid.single(Labels(), compute(seconds))
        grid = site.vector(0)
        return grid.with_values(compute(grid.values))

    return implementation


def _clamped(site: CallSite, low: FloatArray | float, high: FloatArray | float) -> Grid:
    grid = site.vector(0)
    # As Go's math.Min and math.Max: NaN wins.
    clamped = grid.with_values(np.maximum(low, np.minimum(high, grid.values)))
    impossible = np.broadcast_to(np.less(high, low), grid.present.shape)
    return Grid(
        clamped.labels, clamped.values, clamped.present & ~impossible, clamped.drop_name
    ).without_empty()


def _clamp(site: CallSite) -> Grid:
    return _clamped(site, site.scalar(1), site.scalar(2))


def _clamp_max(site: CallSite) -> Grid:
    return _clamped(site, -np.inf, site.scalar(1))


def _clamp_min(site: CallSite) -> Grid:
    return _clamped(site, site.scalar(1), np.inf)


def _round(site: CallSite) -> Grid:
    """To a multiple, ties up; the inverse loses fewer digits than the multiple does."""
    grid = site.vector(0)
    inverse = 1.0 / (site.scalar(1) if site.arg_count > 1 else 1.0)
    return grid.with_values(np.floor(grid.values * inverse + 0.5) / inverse)


def _scalar(site: CallSite) -> Steps:
    """The value of the only series, or NaN where there is not exactly one."""
    grid = site.vector(0)
    count = grid.present.sum(axis=0)
    return Steps(np.where(count == 1, np.where(grid.present, grid.values, 0.0).sum(axis=0), np.nan))


def _sgn(values: FloatArray) -> FloatArray:
    """-1, 1, or the value itself, so that zero keeps its sign."""
    return np.where(values < 0, -1.0, np.where(values > 0, 1.0, values))


def _sort(site: CallSite) -> Grid:
    return _sorted(site, descending=False)


def _sort_desc(site: CallSite) -> Grid:
    return _sorted(site, descending=True)


def _sorted(site: CallSite, *, descending: bool) -> Grid:
    """By value, NaN last either way; over a range there is no one order."""
    label_functions.warn_of_range(site)
    grid = site.vector(0)
    if grid.step_count != 1:
        return grid
    keys = grid.values[:, 0]
    nan = np.isnan(keys)
    order = np.lexsort((-keys if descending else keys, nan))
    return grid.take(order)


def _time(site: CallSite) -> Steps:
    return Steps(site.scope.times_ms / 1000)


def _timestamp(site: CallSite) -> Grid:
    """The time of a selector's own samples; anything computed is as old as its step."""
    argument = ast.unwrap(site.arg(0))
    if isinstance(argument, ast.VectorSelector):
        return site.scope.rollup(argument, "instant_timestamp")
    grid = site.vector(0)
    times = np.broadcast_to(site.scope.times_ms / 1000, grid.values.shape)
    return grid.with_values(times)


def _vector(site: CallSite) -> Grid:
    return Grid.single(Labels(), site.scalar(0))


def _constant(compute: Callable[[tuple[int, int, int]], float]) -> Implementation:
    def implementation(site: CallSite) -> Steps:
        value = compute(site.scope.query_range_ms)
        return Steps(np.full(len(site.scope.times_ms), value))

    return implementation


def _extreme(compute: Callable[[FloatArray, FloatArray], FloatArray]) -> Implementation:
    def implementation(site: CallSite) -> Steps:
        return Steps(compute(site.scalar(0), site.scalar(1)))

    return implementation


def _histogram_quantile(site: CallSite) -> Grid:
    q = site.scalar(0)
    range_functions.warn_of_quantiles(site, 0, q)
    fixes: histogram.Fixes = {}
    grid = histogram.per_histogram(
        site.vector(1),
        site.arg(1),
        site.scope.annotations,
        lambda found: histogram.quantile(q, found, site.scope.times_ms, fixes),
    )
    for name, fix in fixes.items():
        site.scope.annotations.inform(fix.describe(name), site.arg(1).span)
    return grid


def _histogram_quantiles(site: CallSite) -> Grid:
    """Several quantiles at once, told apart by a label."""
    label = site.string(1)
    buckets, notes = site.vector(0), site.scope.annotations
    fixes: histogram.Fixes = {}
    grids = []
    for i in range(2, site.arg_count):
        q = site.scalar(i)
        range_functions.warn_of_quantiles(site, i, q)

        def compute(found: histogram.Histograms, q: FloatArray = q) -> FloatArray:
            return histogram.quantile(q, found, site.scope.times_ms, fixes)

        grid = histogram.per_histogram(buckets, site.arg(0), notes, compute)
        grids.append((_open_metrics_float(float(q[0])), grid))
    for name, fix in fixes.items():
        notes.inform(fix.describe(name), site.arg(0).span)
    return Grid(
        tuple(series.with_label(label, text) for text, grid in grids for series in grid.labels),
        np.concatenate([grid.values for _, grid in grids]),
        np.concatenate([grid.present for _, grid in grids]),
        np.concatenate([grid.drop_name for _, grid in grids]),
    )


def _open_metrics_float(value: float) -> str:
    text = format_general(value)
    return text if any(c in text for c in "eNI.") else f"{text}.0"


def _histogram_fraction(site: CallSite) -> Grid:
    lower, upper = site.scalar(0), site.scalar(1)
    return histogram.per_histogram(
        site.vector(2),
        site.arg(2),
        site.scope.annotations,
        lambda found: histogram.fraction(lower, upper, found),
    )


def _native_only(site: CallSite) -> Grid:
    """Floats are no native histograms, so nothing comes of them."""
    return Grid.empty(site.vector(0).step_count)


def _not_yet(name: str) -> Implementation:
    def implementation(_site: CallSite) -> Grid:
        raise QueryError(f"{name}() is not supported yet")

    return implementation


_V: Final = (_VECTOR,)
_M: Final = (_MATRIX,)

FUNCTIONS: Final[dict[str, Function]] = {
    "abs": Function(_elementwise(np.abs), _V),
    "absent": Function(range_functions.absent, _V),
    "absent_over_time": Function(range_functions.absent_over_time, _M),
    "acos": Function(_elementwise(np.arccos), _V),
    "acosh": Function(_elementwise(np.arccosh), _V),
    "asin": Function(_elementwise(np.arcsin), _V),
    "asinh": Function(_elementwise(np.arcsinh), _V),
    "atan": Function(_elementwise(np.arctan), _V),
    "atanh": Function(_elementwise(np.arctanh), _V),
    "avg_over_time": Function(plain_rollup("avg_over_time"), _M),
    "ceil": Function(_elementwise(np.ceil), _V),
    "changes": Function(plain_rollup("changes"), _M),
    "clamp": Function(_clamp, (_VECTOR, _SCALAR, _SCALAR)),
    "clamp_max": Function(_clamp_max, (_VECTOR, _SCALAR)),
    "clamp_min": Function(_clamp_min, (_VECTOR, _SCALAR)),
    "cos": Function(_elementwise(np.cos), _V),
    "cosh": Function(_elementwise(np.cosh), _V),
    "count_over_time": Function(plain_rollup("count_over_time"), _M),
    "day_of_month": Function(_date_part(dates.day_of_month), _V, 1),
    "day_of_week": Function(_date_part(dates.day_of_week), _V, 1),
    "day_of_year": Function(_date_part(dates.day_of_year), _V, 1),
    "days_in_month": Function(_date_part(dates.days_in_month), _V, 1),
    "deg": Function(_elementwise(lambda values: values * 180 / np.pi), _V),
    "delta": Function(plain_rollup("delta"), _M),
    "deriv": Function(plain_rollup("deriv"), _M),
    "double_exponential_smoothing": Function(
        range_functions.double_exponential_smoothing, (_MATRIX, _SCALAR, _SCALAR)
    ),
    "end": Function(_constant(lambda r: r[1] / 1000), (), 0, _SCALAR),
    "exp": Function(_elementwise(np.exp), _V),
    "first_over_time": Function(plain_rollup("first_over_time"), _M),
    "floor": Function(_elementwise(np.floor), _V),
    "histogram_avg": Function(_native_only, _V),
    "histogram_count": Function(_native_only, _V),
    "histogram_fraction": Function(_histogram_fraction, (_SCALAR, _SCALAR, _VECTOR)),
    "histogram_quantile": Function(_histogram_quantile, (_SCALAR, _VECTOR)),
    "histogram_quantiles": Function(_histogram_quantiles, (_VECTOR, _STRING, _SCALAR, _SCALAR), 9),
    "histogram_stddev": Function(_native_only, _V),
    "histogram_stdvar": Function(_native_only, _V),
    "histogram_sum": Function(_native_only, _V),
    "holt_winters": Function(
        range_functions.double_exponential_smoothing, (_MATRIX, _SCALAR, _SCALAR)
    ),
    "hour": Function(_date_part(dates.hour), _V, 1),
    "idelta": Function(plain_rollup("idelta"), _M),
    "increase": Function(counter_rollup("increase"), _M),
    "info": Function(_not_yet("info"), (_VECTOR, _VECTOR), 1),
    "irate": Function(plain_rollup("irate"), _M),
    "label_join": Function(label_functions.label_join, (_VECTOR, _STRING, _STRING, _STRING), -1),
    "label_replace": Function(
        label_functions.label_replace, (_VECTOR, _STRING, _STRING, _STRING, _STRING)
    ),
    "last_over_time": Function(plain_rollup("last_over_time"), _M),
    "ln": Function(_elementwise(np.log), _V),
    "log10": Function(_elementwise(np.log10), _V),
    "log2": Function(_elementwise(np.log2), _V),
    "mad_over_time": Function(plain_rollup("mad_over_time"), _M),
    "max_of": Function(_extreme(np.maximum), (_SCALAR, _SCALAR), 0, _SCALAR),
    "max_over_time": Function(plain_rollup("max_over_time"), _M),
    "min_of": Function(_extreme(np.minimum), (_SCALAR, _SCALAR), 0, _SCALAR),
    "min_over_time": Function(plain_rollup("min_over_time"), _M),
    "minute": Function(_date_part(dates.minute), _V, 1),
    "month": Function(_date_part(dates.month), _V, 1),
    "pi": Function(_constant(lambda _: np.pi), (), 0, _SCALAR),
    "predict_linear": Function(range_functions.predict_linear, (_MATRIX, _SCALAR)),
    "present_over_time": Function(plain_rollup("present_over_time"), _M),
    "quantile_over_time": Function(range_functions.quantile_over_time, (_SCALAR, _MATRIX)),
    "rad": Function(_elementwise(lambda values: values * np.pi / 180), _V),
    "range": Function(_constant(lambda r: (r[1] - r[0]) / 1000), (), 0, _SCALAR),
    "rate": Function(counter_rollup("rate"), _M),
    "resets": Function(plain_rollup("resets"), _M),
    "round": Function(_round, (_VECTOR, _SCALAR), 1),
    "scalar": Function(_scalar, _V, 0, _SCALAR),
    "sgn": Function(_elementwise(_sgn), _V),
    "sin": Function(_elementwise(np.sin), _V),
    "sinh": Function(_elementwise(np.sinh), _V),
    "sort": Function(_sort, _V),
    "sort_by_label": Function(label_functions.sort_by_label, (_VECTOR, _STRING), -1),
    "sort_by_label_desc": Function(label_functions.sort_by_label_desc, (_VECTOR, _STRING), -1),
    "sort_desc": Function(_sort_desc, _V),
    "sqrt": Function(_elementwise(np.sqrt), _V),
    "start": Function(_constant(lambda r: r[0] / 1000), (), 0, _SCALAR),
    "start_timestamp": Function(_native_only, _V),
    "stddev_over_time": Function(plain_rollup("stddev_over_time"), _M),
    "stdvar_over_time": Function(plain_rollup("stdvar_over_time"), _M),
    "step": Function(_constant(lambda r: r[2] / 1000), (), 0, _SCALAR),
    "sum_over_time": Function(plain_rollup("sum_over_time"), _M),
    "tan": Function(_elementwise(np.tan), _V),
    "tanh": Function(_elementwise(np.tanh), _V),
    "time": Function(_time, (), 0, _SCALAR),
    "timestamp": Function(_timestamp, _V),
    "ts_of_first_over_time": Function(plain_rollup("ts_of_first_over_time"), _M),
    "ts_of_last_over_time": Function(plain_rollup("ts_of_last_over_time"), _M),
    "ts_of_max_over_time": Function(plain_rollup("ts_of_max_over_time"), _M),
    "ts_of_min_over_time": Function(plain_rollup("ts_of_min_over_time"), _M),
    "vector": Function(_vector, (_SCALAR,)),
    "year": Function(_date_part(dates.year), _V, 1),
}
