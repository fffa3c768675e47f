"""Quantiles of classic histograms against one that is computed bucket by bucket."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from obsd.model.labels import Labels
from obsd.promql import ast
from obsd.promql.annotations import Annotations
from obsd.promql.histogram import Fixes, fraction, per_histogram, quantile
from obsd.promql.value import Grid

BOUNDS = st.lists(
    st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.5, 10.0]), unique=True, max_size=5
).map(sorted)


def bucket_quantile(q: float, buckets: list[tuple[float, float]]) -> float:
    """Of cumulative buckets, sorted by bound; straight from the definition."""
    if math.isnan(q):
        return math.nan
    if q < 0 or q > 1:
        return -math.inf if q < 0 else math.inf
    if buckets[-1][0] != math.inf or len(buckets) < 2 or buckets[-1][1] == 0:
        return math.nan
    rank = q * buckets[-1][1]
    lower_bound, lower_count = 0.0, 0.0
    for i, (bound, count) in enumerate(buckets):
        if i == len(buckets) - 1:
            return buckets[-2][0]
        if count >= rank:
            if i == 0 and bound <= 0:
                return bound
            share = (
                (rank - lower_count) / (count - lower_count) if count > lower_count else math.nan
            )
            return lower_bound + (bound - lower_bound) * share
        lower_bound, lower_count = bound, count
    raise AssertionError("the last bucket holds every rank")


@given(
    bounds=BOUNDS,
    counts=st.lists(st.lists(st.integers(0, 20), min_size=6, max_size=6), min_size=1, max_size=4),
    q=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, -0.1, 1.1])),
)
def test_quantiles(bounds: list[float], counts: list[list[int]], q: float) -> None:
    le = [*bounds, math.inf]
    cumulative = np.array([np.cumsum(step[: len(le)]) for step in counts], dtype=float).T
    grid = buckets(le, cumulative)
    with np.errstate(all="ignore"):
        got = per_histogram(
            grid,
            ast.StringLiteral(""),
            Annotations(),
            lambda h: quantile(np.full(grid.step_count, q), h, np.arange(grid.step_count), Fixes()),
        )
    for step in range(grid.step_count):
        expected = bucket_quantile(q, list(zip(le, cumulative[:, step].tolist(), strict=True)))
        np.testing.assert_allclose(got.values[0, step], expected, rtol=1e-12)


def buckets(bounds: list[float], counts: np.ndarray) -> Grid:
    labels = tuple(Labels.of({"__name__": "h_bucket", "le": str(b)}) for b in bounds)
    return Grid(labels, counts, np.ones(counts.shape, np.bool_), np.zeros(len(labels), np.bool_))


def test_rounding_errors_are_no_falls_and_real_falls_are_told() -> None:
    counts = np.array([[10.0, 10.0], [10.0 - 1e-13, 8.0], [20.0, 20.0]])
    fixes: Fixes = {}
    per_histogram(
        buckets([1.0, 2.0, math.inf], counts),
        ast.StringLiteral(""),
        Annotations(),
        lambda h: quantile(np.array([0.5, 0.5]), h, np.array([0, 60_000]), fixes),
    )
    (fix,) = fixes.values()
    assert (fix.count, fix.first_ms, fix.lowest, fix.largest_diff) == (1, 60_000, 2.0, 2.0)


@given(lower=st.floats(-1, 12), width=st.floats(0, 5), middle=st.floats(0, 1))
def test_fractions_add_up(lower: float, width: float, middle: float) -> None:
    counts = np.array([[5.0], [7.0], [11.0], [20.0]])
    grid = buckets([1.0, 2.0, 8.0, math.inf], counts)

    def share(low: float, high: float) -> float:
        with np.errstate(all="ignore"):
            found = per_histogram(
                grid,
                ast.StringLiteral(""),
                Annotations(),
                lambda h: fraction(np.array([low]), np.array([high]), h),
            )
        return float(found.values[0, 0])

    split = lower + width * middle
    whole = share(lower, lower + width)
    np.testing.assert_allclose(share(lower, split) + share(split, lower + width), whole, atol=1e-12)
    assert share(-math.inf, math.inf) == 1.0
