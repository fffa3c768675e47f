"""Classic histograms: quantiles and fractions from cumulative buckets by their `le` label.

A histogram's buckets are matrices of [buckets x steps], and histograms with the same bounds are
computed together, whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from obsd.model.go_strings import quote
from obsd.model.labels import METRIC_NAME, Labels
from obsd.model.samples import BoolArray, FloatArray, IntArray
from obsd.promql import ast
from obsd.promql.annotations import Annotations
from obsd.promql.literals import format_general
from obsd.promql.value import Grid

BUCKET_LABEL: Final = "le"
_NOISE: Final = 1e-12
"""Relative difference of neighbouring buckets below which it is a rounding error, not a count."""


@dataclass(frozen=True, slots=True)
class Histograms:
    """Histograms with the same bounds.

    Attributes:
        labels: one entry a histogram, without `le`.
        bounds: float64, shape (buckets,), strictly increasing.
        counts: float64, cumulative, shape (histograms, buckets, steps).
        present: bool, shape (histograms, steps): where all of these buckets exist, and no others.
    """

    labels: tuple[Labels, ...]
    bounds: FloatArray
    counts: FloatArray
    present: BoolArray


def classic_histograms(grid: Grid, argument: ast.Expr, notes: Annotations) -> Iterator[Histograms]:
    """The histograms in a vector of buckets; one whose buckets come and go appears repeatedly."""
    by_bounds: dict[tuple[float, ...], list[tuple[Labels, FloatArray, BoolArray]]] = {}
    for labels, rows in _series_of_histograms(grid, argument, notes).items():
        for bounds, counts, present in _by_presence(grid, rows):
            by_bounds.setdefault(bounds, []).append((labels, counts, present))
    for bounds, found in by_bounds.items():
        yield Histograms(
            tuple(labels for labels, _, _ in found),
            np.array(bounds),
            np.array([counts for _, counts, _ in found]),
            np.array([present for _, _, present in found]),
        )


def _series_of_histograms(
    grid: Grid, argument: ast.Expr, notes: Annotations
) -> dict[Labels, list[tuple[float, int]]]:
    """Bounds and rows of every histogram, sorted by bound."""
    found: dict[Labels, list[tuple[float, int]]] = {}
    bounds: dict[str, float | None] = {}
    le = frozenset({BUCKET_LABEL})
    for row, labels in enumerate(grid.labels):
        text = labels.get(BUCKET_LABEL)
        if text not in bounds:
            bounds[text] = _bound(text)
        bound = bounds[text]
        if bound is None:
            name = labels.get(METRIC_NAME)
            suffix = f" for metric name {quote(name)}" if name else ""
            notes.warn(
                f"bucket label {quote(BUCKET_LABEL)} is missing or has a malformed value of "
                f"{quote(text)}{suffix}",
                argument.span,
            )
            continue
        found.setdefault(labels.drop(le), []).append((bound, row))
    for rows in found.values():
        rows.sort()
    return found


def _bound(text: str) -> float | None:
    if not text or "_" in text or text != text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _by_presence(
    grid: Grid, rows: list[tuple[float, int]]
) -> Iterator[tuple[tuple[float, ...], FloatArray, BoolArray]]:
    """Split the steps by which buckets exist, and add up buckets with the same bound."""
    index = [row for _, row in rows]
    present = grid.present[index]
    everywhere: BoolArray = np.logical_and.reduce(present, axis=1)
    if everywhere.all():
        patterns = [(everywhere, np.ones(grid.step_count, np.bool_))]
    else:
        unique, which = np.unique(present, axis=1, return_inverse=True)
        patterns = [(unique[:, i], which.ravel() == i) for i in range(unique.shape[1])]
    for chosen, steps in patterns:
        if not chosen.any():
            continue
        bounds = np.array([bound for (bound, _), there in zip(rows, chosen, strict=True) if there])
        counts = grid.values[np.array(index)[chosen]]
        starts = np.flatnonzero(np.concatenate(([True], np.diff(bounds) > 0)))
        if len(starts) < len(bounds):
            counts = np.add.reduceat(counts, starts, axis=0)
        yield tuple(float(b) for b in bounds[starts]), counts, steps


@dataclass(slots=True)
class MonotonicityFixes:
    """What had to be repaired in one query, for the info that tells about it."""

    count: int = 0
    first_ms: int = 0
    last_ms: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    largest_diff: float = 0.0

    def add(self, fixed: BoolArray, diffs: FloatArray, bounds: FloatArray, times: IntArray) -> None:
        """Buckets that were repaired in one histogram: shape (buckets, steps)."""
        steps = np.flatnonzero(fixed.any(axis=0))
        buckets = np.flatnonzero(fixed.any(axis=1))
        first, last = int(times[steps[0]]), int(times[steps[-1]])
        self.first_ms = first if not self.count else min(self.first_ms, first)
        self.last_ms = last if not self.count else max(self.last_ms, last)
        self.count += len(steps)
        self.lowest = min(self.lowest, float(bounds[buckets[0]]))
        self.highest = max(self.highest, float(bounds[buckets[-1]]))
        self.largest_diff = max(self.largest_diff, float(diffs[fixed].max()))

    def describe(self, name: str) -> str:
        metric = f" for metric name {quote(name)}" if name else ""
        start, end = (
            datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for ms in (self.first_ms, self.last_ms)
        )
        return (
            "input to histogram_quantile needed to be fixed for monotonicity (see "
            "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
            f"{metric}, from buckets {format_general(self.lowest)} to "
            f"{format_general(self.highest)}, with a max diff of {self.largest_diff:.2g}, "
            f"over {self.count} samples from {start} to {end}"
        )


Fixes = dict[str, MonotonicityFixes]
"""By metric name."""


def quantile(q: FloatArray, histograms: Histograms, times_ms: IntArray, fixes: Fixes) -> FloatArray:
    """The quantile of every histogram at every step; `q` has one value a step."""
    bounds = histograms.bounds
    shape = histograms.present.shape
    if bounds[-1] != np.inf or len(bounds) < 2:
        values = np.full(shape, np.nan)
    else:
        counts = _monotonic(histograms, q, times_ms, fixes)
        values = _interpolated(q, bounds, counts)
    values = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, values))
    return np.where(np.isnan(q), np.nan, values)


def _monotonic(
    histograms: Histograms, q: FloatArray, times_ms: IntArray, fixes: Fixes
) -> FloatArray:
    """Counts that never fall from one bucket to the next, and ignore rounding errors."""
    counts = histograms.counts.copy()
    fixed = np.zeros(counts.shape, np.bool_)
    diffs = np.zeros(counts.shape)
    previous = counts[:, 0].copy()
    for i in range(1, counts.shape[1]):
        current = counts[:, i]
        noise = _almost_equal(previous, current)
        falls = (current < previous) & ~noise
        fixed[:, i] = falls
        diffs[:, i] = previous - current
        previous = np.where(noise | falls, previous, current)
        counts[:, i] = previous
    fixed &= (histograms.present & (q >= 0) & (q <= 1))[:, np.newaxis, :]
    for row in np.flatnonzero(fixed.any(axis=(1, 2))):
        name = histograms.labels[row].get(METRIC_NAME)
        fix = fixes.setdefault(name, MonotonicityFixes())
        fix.add(fixed[row], diffs[row], histograms.bounds, times_ms)
    return counts


def _almost_equal(a: FloatArray, b: FloatArray) -> BoolArray:
    diff, size = np.abs(a - b), np.abs(a) + np.abs(b)
    tiny = np.finfo(np.float64).tiny
    near: BoolArray = np.where(
        (a == 0) | (b == 0) | (size < tiny),
        diff < _NOISE * tiny,
        diff / np.minimum(size, np.finfo(np.float64).max) < _NOISE,
    )
    near |= a == b
    return near


def _interpolated(q: FloatArray, bounds: FloatArray, counts: FloatArray) -> FloatArray:
    """Linear within the bucket that holds the rank; counts are (histograms, buckets, steps)."""
    last = len(bounds) - 1
    total = counts[:, last]
    rank = q * total
    # NaN ranks compare false, and land in no bucket but the last.
    reached = counts[:, :last] >= rank[:, np.newaxis]
    bucket = np.where(reached.any(axis=1), np.argmax(reached, axis=1), last)
    lower = np.concatenate(([0.0], bounds[:-1]))[bucket]
    upper = bounds[bucket]
    in_bucket = np.take_along_axis(counts, bucket[:, np.newaxis], axis=1)[:, 0]
    before = np.take_along_axis(counts, np.maximum(bucket - 1, 0)[:, np.newaxis], axis=1)[:, 0]
    before = np.where(bucket > 0, before, 0.0)
    value = lower + (upper - lower) * ((rank - before) / (in_bucket - before))
    value = np.where((bucket == 0) & (bounds[0] <= 0), bounds[0], value)
    value = np.where(bucket == last, bounds[last - 1], value)
    return np.where(total == 0, np.nan, value)


def fraction(lower: FloatArray, upper: FloatArray, histograms: Histograms) -> FloatArray:
    """The share of observations between two values, which are given for each step."""
    bounds, counts = histograms.bounds, histograms.counts
    if bounds[-1] != np.inf:
        return np.full(histograms.present.shape, np.nan)
    total = counts[:, -1]
    share = (_rank_at(upper, bounds, counts) - _rank_at(lower, bounds, counts)) / total
    share = np.where(lower >= upper, 0.0, share)
    return np.where((total == 0) | np.isnan(lower) | np.isnan(upper), np.nan, share)


def _rank_at(value: FloatArray, bounds: FloatArray, counts: FloatArray) -> FloatArray:
    """How many observations lie below a value: shape (histograms, steps)."""
    total = counts[:, -1]
    floor = -np.inf if bounds[0] <= 0 else 0.0
    lows = np.concatenate(([floor], bounds[:-1]))
    rank = total.copy()
    settled = np.zeros(total.shape, np.bool_)
    before = np.zeros(total.shape)
    for i, (low, high) in enumerate(zip(lows, bounds, strict=True)):
        at_low = ~settled & (low >= value)
        rank = np.where(at_low, before, rank)
        settled |= at_low
        inside = ~settled & (low < value) & (high > value)
        if low == -np.inf:
            inner = counts[:, i]
        else:
            inner = before + (counts[:, i] - before) * (value - low) / (high - low)
        rank = np.where(inside, inner, rank)
        settled |= inside
        before = counts[:, i]
    return np.minimum(rank, total)


def per_histogram(
    grid: Grid,
    argument: ast.Expr,
    notes: Annotations,
    compute: Callable[[Histograms], FloatArray],
) -> Grid:
    """One series for each classic histogram, with what `compute` makes of it."""
    results = [(h, compute(h)) for h in classic_histograms(grid, argument, notes)]
    if not results:
        return Grid.empty(grid.step_count)
    labels = tuple(series for h, _ in results for series in h.labels)
    return Grid(
        labels,
        np.concatenate([values for _, values in results]),
        np.concatenate([h.present for h, _ in results]),
        np.ones(len(labels), np.bool_),
    )
