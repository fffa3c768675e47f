"""Range aggregations: the samples of each window as one number.

A window of a step at time t has the samples in (t - range, t].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from obsd.logql.series import Steps
from obsd.model.samples import BoolArray, FloatArray, IntArray

Window = Callable[[IntArray, FloatArray, int], float]


def window_bounds(times_ns: IntArray, steps: Steps, range_ns: int) -> tuple[IntArray, IntArray]:
    """Where each step's window begins and ends among times that are in order."""
    ends = steps.times_ns
    first = np.searchsorted(times_ns, ends - range_ns, side="right")
    last = np.searchsorted(times_ns, ends, side="right")
    return first.astype(np.int64), last.astype(np.int64)


def aggregate(
    op: str,
    times_ns: IntArray,
    values: FloatArray,
    steps: Steps,
    range_ns: int,
    param: float | None,
) -> tuple[FloatArray, BoolArray]:
    """One series' samples, in order of time, at every step, and at which steps there are some."""
    first, last = window_bounds(times_ns, steps, range_ns)
    present = last > first
    seconds = range_ns / 1e9
    match op:
        case "count_over_time":
            return (last - first).astype(np.float64), present
        case "bytes_over_time" | "sum_over_time":
            return _sums(values, first, last), present
        case "rate" | "bytes_rate":
            return _sums(values, first, last) / seconds, present
        case "first_over_time":
            return values[np.where(present, first, 0)], present
        case "last_over_time":
            return values[np.where(present, last - 1, 0)], present
        case "absent_over_time":
            return np.ones(steps.count), present
    function = _function(op, range_ns, param)
    out = np.zeros(steps.count)
    ends = steps.times_ns
    for step in np.flatnonzero(present):
        a, b = first[step], last[step]
        out[step] = function(times_ns[a:b], values[a:b], int(ends[step]))
    return out, present


def _sums(values: FloatArray, first: IntArray, last: IntArray) -> FloatArray:
    """The sum of each window; of whole numbers exact."""
    if not len(values):
        return np.zeros(len(first))
    if np.isfinite(values).all() and np.abs(values).sum() < 2**53 and (values % 1 == 0).all():
        running = np.concatenate(([0.0], np.cumsum(values)))
        sums: FloatArray = running[last] - running[first]
        return sums
    # Running totals would lose digits, and infinities stay in them.
    return np.array([values[a:b].sum() for a, b in zip(first, last, strict=True)], np.float64)


def _function(op: str, range_ns: int, param: float | None) -> Window:
    if op == "rate_counter":
        return lambda times, values, end: _counter_rate(times, values, end, range_ns)
    if op == "quantile_over_time":
        assert param is not None, "checked by the parser"
        q = param
        return lambda times, values, end: quantile(q, values)
    return _PLAIN[op]


def quantile(q: float, values: FloatArray) -> float:
    """Between two samples, in proportion; infinite for a `q` that is none."""
    if q < 0:
        return -math.inf
    if q > 1:
        return math.inf
    if math.isnan(q):
        return math.nan
    ordered = np.sort(values)
    rank = q * (len(ordered) - 1)
    lower = math.floor(rank)
    upper = min(lower + 1, len(ordered) - 1)
    weight = rank - lower
    return float(ordered[lower] * (1 - weight) + ordered[upper] * weight)


def _counter_rate(times_ns: IntArray, values: FloatArray, end_ns: int, range_ns: int) -> float:
    """A counter's increase per second, where a fall is a restart from zero.

    As in Prometheus: the increase is extrapolated to the window's ends where samples are near
    them, and not to before the counter's zero.
    """
    if len(values) < 2 or times_ns[0] == times_ns[-1]:
        return 0.0
    increase = float(values[-1] - values[0])
    falls = values[1:] < values[:-1]
    increase += float(values[:-1][falls].sum())
    to_start = (times_ns[0] - (end_ns - range_ns)) / 1e9
    to_end = (end_ns - times_ns[-1]) / 1e9
    sampled = (times_ns[-1] - times_ns[0]) / 1e9
    between = sampled / (len(values) - 1)
    threshold = between * 1.1
    if to_start >= threshold:
        to_start = between / 2
    if increase > 0 and values[0] >= 0:
        to_start = min(to_start, sampled * float(values[0] / increase))
    if to_end >= threshold:
        to_end = between / 2
    return float(increase * ((sampled + to_start + to_end) / sampled) / (range_ns / 1e9))


def _extreme(choose: Callable[[FloatArray], float]) -> Window:
    """NaN counts only where there is nothing else."""

    def function(times_ns: IntArray, values: FloatArray, end_ns: int) -> float:
        numbers = values[~np.isnan(values)]
        return float(choose(numbers)) if len(numbers) else math.nan

    return function


def _mean(times_ns: IntArray, values: FloatArray, end_ns: int) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        return float(values.mean())


def _variance(times_ns: IntArray, values: FloatArray, end_ns: int) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        return float(values.var())


_PLAIN: Final[dict[str, Window]] = {
    "avg_over_time": _mean,
    "max_over_time": _extreme(lambda values: values.max()),
    "min_over_time": _extreme(lambda values: values.min()),
    "stddev_over_time": lambda times, values, end: math.sqrt(_variance(times, values, end)),
    "stdvar_over_time": _variance,
}
