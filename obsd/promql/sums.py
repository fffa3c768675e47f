"""Sums, means and quantiles over groups of rows, as exact as Prometheus' compensated ones."""

from __future__ import annotations

from typing import Final

import numpy as np

from obsd.model.samples import BoolArray, FloatArray, IntArray

_CANCELLATION: Final = 1e-3
"""A sum this much smaller than its largest term has lost digits that only compensation keeps."""


def grouped_sum(values: FloatArray, starts: IntArray) -> FloatArray:
    """Sums of the stretches of rows that begin at `starts`, for every column."""
    if len(starts) == len(values):
        return values
    wide = np.add.reduceat(values, starts, axis=0, dtype=np.longdouble)
    total = wide.astype(np.float64)
    if (values >= 0).all():
        return total
    largest = np.maximum.reduceat(np.abs(values), starts, axis=0)
    doubtful = (np.abs(total) < largest * _CANCELLATION) & np.isfinite(largest)
    for group in np.flatnonzero(doubtful.any(axis=1)):
        end = starts[group + 1] if group + 1 < len(starts) else len(values)
        total[group] = _compensated(values[starts[group] : end])
    return total


def _compensated(rows: FloatArray) -> FloatArray:
    """Neumaier's sum over axis 0."""
    total, lost = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for row in rows:
        longer = total + row
        larger = np.abs(total) >= np.abs(row)
        lost += np.where(larger, (total - longer) + row, (row - longer) + total)
        lost[np.isinf(longer)] = 0.0
        total = longer
    return total + lost


def grouped_mean(
    values: FloatArray, present: BoolArray, starts: IntArray, counts: IntArray
) -> FloatArray:
    """Means of what is present in each stretch; right where the sum alone would overflow."""
    held = np.where(present, values, 0.0)
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
