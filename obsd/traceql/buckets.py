"""Histograms in powers of two, and quantiles of them, as Tempo has them.

A bucket is named by its upper bound, which belongs to it: 3 is in the bucket 4, and so is 4.
Between two bounds a quantile is interpolated exponentially.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from obsd.traceql.value import Duration, Value

_NS_IN_S: Final = 1e9
_LEAST: Final = 2  # Whole numbers and nanoseconds below are in no bucket.


def bucket_of(value: Value) -> float:
    """The bucket of a number; NaN where it has none. Of durations it is in seconds."""
    match value:
        case Duration():
            return _power(float(value)) / _NS_IN_S if value >= _LEAST else math.nan
        case bool():
            return math.nan
        case int() if type(value) is int:
            return _power(float(value)) if value >= _LEAST else math.nan
        case float():
            return _power(value) if 0 < value < math.inf else math.nan
    return math.nan


def _power(value: float) -> float:
    mantissa, exponent = math.frexp(value)
    return value if mantissa == 0.5 else math.ldexp(1.0, min(exponent, 1023))


def buckets_of_durations(durations_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """The bucket of each duration, in seconds."""
    mantissas, exponents = np.frexp(durations_ns.astype(np.float64))
    powers = np.where(mantissas == 0.5, durations_ns, np.ldexp(1.0, exponents))
    return np.where(durations_ns >= _LEAST, powers / _NS_IN_S, np.nan)


def quantile(
    of: float, bounds: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The quantile `of`, from 0 to 1, at each step; 0 where there is nothing in any bucket.

    `bounds` are ascending, shape (buckets,); `counts` have the shape (buckets, steps).
    """
    if not len(bounds):
        return np.zeros(counts.shape[1])
    reached = np.cumsum(counts, axis=0)
    totals = reached[-1]
    # At least one sample is looked at, and of few samples rather one too many.
    wanted = np.maximum(np.ceil(of * totals), 1)
    at = np.argmax(reached >= wanted, axis=0)
    steps = np.arange(counts.shape[1])
    here, upto = counts[at, steps], reached[at, steps]
    upper = np.log2(bounds[at])
    below = _filled_below(counts, at)
    lower = np.where(below < at, np.log2(bounds[below]), upper - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (wanted - (upto - here)) / here
    between = np.exp2(lower + (upper - lower) * share)
    return np.where(totals == 0, 0.0, np.where(upto == wanted, bounds[at], between))


def _filled_below(counts: NDArray[np.float64], at: NDArray[np.intp]) -> NDArray[np.intp]:
    """The next bucket below `at` that is not empty, at each step; `at` itself without one."""
    places = np.arange(len(counts))[:, None]
    below = np.where((counts > 0) & (places < at), places, -1).max(axis=0)
    return np.where(below < 0, at, below)
