"""Sums, means and quantiles over groups of rows, as exact as Prometheus' compensated ones."""

from __future__ import annotations

from typing import Final

import numpy as np

from obsd.model.samples import BoolArray, FloatArray, IntArray

_LARGE_GROUP: Final = 16  # Rows, on average; from there on one group at a time is faster.


def grouped_sum(values: FloatArray, starts: IntArray) -> FloatArray:
    """Sums of the stretches of rows that begin at `starts`, for every column.

    As good as exact, so that the order of series and what cancels out leave no trace.
    """
    if len(starts) == len(values):
        return values
    if len(starts) * _LARGE_GROUP > len(values):
        return _sum_by_rank(values, starts)
    ends = [*starts[1:].tolist(), len(values)]
    return np.array(
        [_exact_sum(values[low:high]) for low, high in zip(starts.tolist(), ends, strict=True)]
    )


def _exact_sum(rows: FloatArray) -> FloatArray:
    """Sum over axis 0 in two parts: the high bits, which add up without rounding, and the rest.

    A column's unit is chosen so that the sum of its high parts fits a float's 53 bits; see
    Rump, Ogita and Oishi, "Accurate floating-point summation", SIAM J. Sci. Comput. 2008, part I.
    """
    largest = np.maximum(rows.max(axis=0), -rows.min(axis=0)) * len(rows)
    unit = np.ldexp(1.5, np.frexp(largest)[1])
    high = rows + unit
    high -= unit
    total: FloatArray = high.sum(axis=0) + (rows - high).sum(axis=0)
    special = ~np.isfinite(unit) | ~np.isfinite(largest)
    if special.any():
        total[special] = rows[:, special].sum(axis=0)
    return total


def _sum_by_rank(values: FloatArray, starts: IntArray) -> FloatArray:
    """Sums of many small stretches: the first row of each, then the second, with what is lost."""
    sizes = np.diff(np.append(starts, len(values)))
    total = values[starts]
    lost = np.zeros_like(total)
    for rank in range(1, int(sizes.max())):
        groups = np.flatnonzero(sizes > rank)
        before, row = total[groups], values[starts[groups] + rank]
        longer = before + row
        virtual = longer - before
        lost[groups] += (before - (longer - virtual)) + (row - virtual)
        total[groups] = longer
    return np.where(np.isfinite(total), total + lost, total)


def grouped_mean(
    values: FloatArray, present: BoolArray, starts: IntArray, counts: IntArray
) -> FloatArray:
    """Means of what is present in each stretch; right where the sum alone would overflow."""
    if len(starts) == len(values):
        return values
    held = values if present.all() else np.where(present, values, 0.0)
    mean = grouped_sum(held, starts) / counts
    overflown = np.isinf(mean)
    if overflown.any():
        sizes = np.diff(np.append(starts, len(values)))
        shares = held / np.repeat(np.maximum(counts, 1), sizes, axis=0)
        mean = np.where(overflown, grouped_sum(shares, starts), mean)
    return mean


def sorted_quantile(q: FloatArray, values: FloatArray, present: BoolArray) -> FloatArray:
    """The quantile over axis 0 of what is present, for each column with its own `q`.

    Interpolates between the two nearest ranks; NaN sorts before every number.
    """
    counts = present.sum(axis=0)
    nan_counts = (present & np.isnan(values)).sum(axis=0)
    keys = np.where(present, np.where(np.isnan(values), -np.inf, values), np.inf)
    keys.sort(axis=0)
    rank = np.where(np.isnan(q), 0.0, np.clip(q, 0.0, 1.0)) * np.maximum(counts - 1, 0)
    lower = np.floor(rank).astype(np.int64)
    upper = np.minimum(np.maximum(counts - 1, 0), lower + 1)
    weight = rank - lower
    columns = np.arange(keys.shape[1])
    low = np.where(lower < nan_counts, np.nan, keys[lower, columns])
    high = np.where(upper < nan_counts, np.nan, keys[upper, columns])
    result = low * (1 - weight) + high * weight
    result = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, result))
    return np.where(np.isnan(q), np.nan, result)
