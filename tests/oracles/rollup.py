"""Range functions of Prometheus 3 for one series: plain, slow, and written to be read.

The kernels in `native/src/tsdb/rollup` and the evaluator's tests are held against this twin. Each
function sees the samples of one left-open window, in time order and without staleness markers;
None means that the series has no value at that step.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from obsd.model.samples import STALE_NAN_BITS, RollupSpec


@dataclass(frozen=True, slots=True)
class Window:
    """What a range function sees at one step; `start_ms` is exclusive, `end_ms` inclusive."""

    step_ms: int
    start_ms: int
    end_ms: int
    timestamps: Sequence[int]
    values: Sequence[float]

    @property
    def range_s(self) -> float:
        return (self.end_ms - self.start_ms) / 1000


def rollup(
    function: str,
    args: tuple[float, ...],
    timestamps: Sequence[int],
    values: Sequence[float],
    spec: RollupSpec,
) -> list[float | None]:
    """The value of `function` at every step of `spec`, whose own `function` and `args` are ignored.

    `timestamps` are Unix milliseconds, strictly increasing; `values` may hold staleness markers.
    """
    if function in INSTANT:
        return _instant(function, timestamps, values, spec)
    fresh = [i for i, value in enumerate(values) if not is_stale(value)]
    timestamps = [timestamps[i] for i in fresh]
    values = [values[i] for i in fresh]
    results: list[float | None] = []
    for step_ms in _steps(spec):
        end_ms = step_ms - spec.offset_ms
        start_ms = end_ms - spec.window_ms
        low, high = bisect_right(timestamps, start_ms), bisect_right(timestamps, end_ms)
        window = Window(step_ms, start_ms, end_ms, timestamps[low:high], values[low:high])
        results.append(FUNCTIONS[function](window, args) if high > low else None)
    return results


def is_stale(value: float) -> bool:
    """Whether this is the staleness marker, one NaN among many."""
    return struct.unpack("<Q", struct.pack("<d", value))[0] == STALE_NAN_BITS


def _steps(spec: RollupSpec) -> range:
    return range(spec.start_ms, spec.end_ms + 1, spec.step_ms)


def _instant(
    function: str, timestamps: Sequence[int], values: Sequence[float], spec: RollupSpec
) -> list[float | None]:
    results: list[float | None] = []
    for step_ms in _steps(spec):
        end_ms = step_ms - spec.offset_ms
        newest = bisect_right(timestamps, end_ms) - 1
        in_window = newest >= 0 and timestamps[newest] > end_ms - spec.window_ms
        if not in_window or is_stale(values[newest]):
            results.append(None)
        elif function == "instant":
            results.append(values[newest])
        else:
            results.append(timestamps[newest] / 1000)
    return results


def divide(numerator: float, denominator: float) -> float:
    """IEEE 754 division, which Python's `/` is not."""
    if denominator != 0:
        return numerator / denominator
    if numerator == 0 or math.isnan(numerator):
        return math.nan
    return math.copysign(math.inf, numerator) * math.copysign(1.0, denominator)


@dataclass(slots=True)
class KahanSum:
    """Neumaier's compensated sum, kept as a sum and what rounding has cost so far."""

    total: float = 0.0
    lost: float = 0.0

    def add(self, value: float) -> None:
        total = self.total + value
        if math.isinf(total):
            self.lost = 0.0
        elif abs(self.total) >= abs(value):
            self.lost += (self.total - total) + value
        else:
            self.lost += (value - total) + self.total
        self.total = total

    def result(self) -> float:
        return self.total if math.isinf(self.total) else self.total + self.lost


def extrapolated(window: Window, *, is_counter: bool, is_rate: bool) -> float | None:
    """The change over the window, stretched to its ends where samples come close enough to them."""
    times, values = window.timestamps, window.values
    if len(values) < 2:
        return None
    change = values[-1] - values[0]
    if is_counter:
        for before, after in pairwise(values):
            if after < before:
                change += before
    sampled_s = (times[-1] - times[0]) / 1000
    average_s = sampled_s / (len(values) - 1)
    to_start_s = (times[0] - window.start_ms) / 1000
    to_end_s = (window.end_ms - times[-1]) / 1000
    threshold_s = average_s * 1.1
    if to_start_s >= threshold_s:
        to_start_s = average_s / 2
    if is_counter and change > 0 and values[0] >= 0:
        # A counter starts at zero, so it cannot have existed before its line meets zero.
        to_start_s = min(to_start_s, sampled_s * (values[0] / change))
    if to_end_s >= threshold_s:
        to_end_s = average_s / 2
    factor = (sampled_s + to_start_s + to_end_s) / sampled_s
    if is_rate:
        factor /= window.range_s
    return change * factor


def last_two(window: Window, *, is_rate: bool) -> float | None:
    """The change between the newest two samples; per second and reset-aware as a rate."""
    if len(window.values) < 2:
        return None
    before, after = window.values[-2:]
    change = after if is_rate and after < before else after - before
    if not is_rate:
        return change
    return change / ((window.timestamps[-1] - window.timestamps[-2]) / 1000)


def average(values: Sequence[float]) -> float:
    """The mean by a compensated sum, or incrementally from where that sum overflows."""
    total = KahanSum(values[0])
    mean: KahanSum | None = None
    for count, value in enumerate(values[1:], start=2):
        if mean is None:
            longer = KahanSum(total.total, total.lost)
            longer.add(value)
            if not math.isinf(longer.total):
                total = longer
                continue
            mean = KahanSum(total.total / (count - 1), total.lost / (count - 1))
        share = (count - 1) / count
        mean = KahanSum(share * mean.total, share * mean.lost)
        mean.add(value / count)
    if mean is not None:
        return mean.total + mean.lost
    return total.total / len(values) + total.lost / len(values)


def variance(values: Sequence[float]) -> float:
    """Welford's population variance, with compensated sums."""
    mean, squares = KahanSum(), KahanSum()
    for count, value in enumerate(values, start=1):
        delta = value - (mean.total + mean.lost)
        mean.add(delta / count)
        squares.add(delta * (value - (mean.total + mean.lost)))
    return (squares.total + squares.lost) / len(values)


def quantile(q: float, values: Sequence[float]) -> float:
    """Between the two nearest ranks, linearly; NaN sorts before every number."""
    if not values or math.isnan(q):
        return math.nan
    if q < 0 or q > 1:
        return -math.inf if q < 0 else math.inf
    ordered = sorted(values, key=lambda v: (not math.isnan(v), 0.0 if math.isnan(v) else v))
    rank = q * (len(ordered) - 1)
    lower = max(0, math.floor(rank))
    upper = min(len(ordered) - 1, lower + 1)
    weight = rank - math.floor(rank)
    return ordered[lower] * (1 - weight) + ordered[upper] * weight


def median_deviation(values: Sequence[float]) -> float:
    if any(math.isnan(v) for v in values):
        return math.nan
    median = quantile(0.5, values)
    return quantile(0.5, [abs(v - median) for v in values])


def extreme(window: Window, beats: Callable[[float, float], bool]) -> int:
    """The index of the value that no later one beats; any number beats NaN."""
    best = 0
    for i, value in enumerate(window.values):
        if beats(value, window.values[best]) or math.isnan(window.values[best]):
            best = i
    return best


def regression(window: Window, intercept_ms: int) -> tuple[float, float] | None:
    """Least squares: slope per second, and the line's value at `intercept_ms`."""
    values = window.values
    if len(values) < 2:
        return None
    if all(v == values[0] for v in values[1:]):
        return (math.nan, math.nan) if math.isinf(values[0]) else (0.0, values[0])
    sum_x, sum_y, sum_xy, sum_xx = KahanSum(), KahanSum(), KahanSum(), KahanSum()
    for time, y in zip(window.timestamps, values, strict=True):
        x = (time - intercept_ms) / 1000
        sum_x.add(x)
        sum_y.add(y)
        sum_xy.add(x * y)
        sum_xx.add(x * x)
    n = float(len(values))
    x, y = sum_x.total + sum_x.lost, sum_y.total + sum_y.lost
    covariance = sum_xy.total + sum_xy.lost - x * y / n
    spread = sum_xx.total + sum_xx.lost - x * x / n
    slope = divide(covariance, spread)
    return slope, y / n - slope * x / n


def predict_linear(window: Window, args: tuple[float, ...]) -> float | None:
    line = regression(window, window.step_ms)
    return None if line is None else line[0] * args[0] + line[1]


def deriv(window: Window) -> float | None:
    line = regression(window, window.timestamps[0])
    return None if line is None else line[0]


def double_exponential_smoothing(window: Window, args: tuple[float, ...]) -> float | None:
    """Holt's linear method; `args` are the smoothing and the trend factor, both in (0, 1)."""
    smoothing, trend_factor = args
    values = window.values
    if len(values) < 2:
        return None
    previous, level, trend = 0.0, values[0], values[1] - values[0]
    for i, value in enumerate(values[1:]):
        if i > 0:
            trend = trend_factor * (level - previous) + (1 - trend_factor) * trend
        previous, level = level, smoothing * value + (1 - smoothing) * (level + trend)
    return level


def resets(values: Sequence[float]) -> float:
    return float(sum(b < a for a, b in pairwise(values)))


def changes(values: Sequence[float]) -> float:
    pairs = pairwise(values)
    return float(sum(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in pairs))


def compensated_sum(values: Sequence[float]) -> float:
    total = KahanSum()
    for value in values:
        total.add(value)
    return total.result()


INSTANT = frozenset({"instant", "instant_timestamp"})

FUNCTIONS: dict[str, Callable[[Window, tuple[float, ...]], float | None]] = {
    "avg_over_time": lambda w, _: average(w.values),
    "changes": lambda w, _: changes(w.values),
    "count_over_time": lambda w, _: float(len(w.values)),
    "delta": lambda w, _: extrapolated(w, is_counter=False, is_rate=False),
    "deriv": lambda w, _: deriv(w),
    "double_exponential_smoothing": double_exponential_smoothing,
    "first_over_time": lambda w, _: w.values[0],
    "idelta": lambda w, _: last_two(w, is_rate=False),
    "increase": lambda w, _: extrapolated(w, is_counter=True, is_rate=False),
    "irate": lambda w, _: last_two(w, is_rate=True),
    "last_over_time": lambda w, _: w.values[-1],
    "mad_over_time": lambda w, _: median_deviation(w.values),
    "max_over_time": lambda w, _: w.values[extreme(w, lambda a, b: a > b)],
    "min_over_time": lambda w, _: w.values[extreme(w, lambda a, b: a < b)],
    "predict_linear": predict_linear,
    "present_over_time": lambda _w, _a: 1.0,
    "quantile_over_time": lambda w, args: quantile(args[0], w.values),
    "rate": lambda w, _: extrapolated(w, is_counter=True, is_rate=True),
    "resets": lambda w, _: resets(w.values),
    "stddev_over_time": lambda w, _: math.sqrt(variance(w.values)),
    "stdvar_over_time": lambda w, _: variance(w.values),
    "sum_over_time": lambda w, _: compensated_sum(w.values),
    "ts_of_first_over_time": lambda w, _: w.timestamps[0] / 1000,
    "ts_of_last_over_time": lambda w, _: w.timestamps[-1] / 1000,
    "ts_of_max_over_time": lambda w, _: w.timestamps[extreme(w, lambda a, b: a >= b)] / 1000,
    "ts_of_min_over_time": lambda w, _: w.timestamps[extreme(w, lambda a, b: a <= b)] / 1000,
}
