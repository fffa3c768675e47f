"""Grouped sums, means and quantiles against exact arithmetic."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from obsd.promql.sums import grouped_mean, grouped_sum, sorted_quantile
from tests.oracles import rollup as oracle

FINITE = st.floats(-1e150, 1e150)


@given(
    values=npst.arrays(
        np.float64, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=FINITE
    ),
    group_count=st.integers(1, 40),
)
def test_sums_are_rounded_once(values: np.ndarray, group_count: int) -> None:
    starts = np.unique(np.linspace(0, len(values) - 1, group_count).astype(np.int64))
    sums = grouped_sum(values, starts)
    for i, (low, high) in enumerate(zip(starts, [*starts[1:], len(values)], strict=True)):
        for column in range(values.shape[1]):
            exact = math.fsum(values[low:high, column])
            largest = np.abs(values[low:high, column]).max()
            # Two parts in 2^100 of the largest term: what compensation in doubles can promise.
            assert abs(sums[i, column] - exact) <= max(math.ulp(exact), largest * 2.0**-95)


def test_infinities_and_nan_stay_in_their_column() -> None:
    rows = np.ones((40, 4))
    rows[3, 0] = np.inf
    rows[4, 1] = np.nan
    rows[5, 2], rows[6, 2] = np.inf, -np.inf
    for starts in ([0], list(range(20))):
        with np.errstate(all="ignore"):
            sums = grouped_sum(rows, np.array(starts))
        assert np.isposinf(sums[:, 0]).any()
        assert np.isnan(sums[:, 1]).any()
        assert np.isfinite(sums[:, 3]).all()
    with np.errstate(all="ignore"):
        whole = grouped_sum(rows, np.array([0]))
    assert np.isnan(whole[0, 2])
    assert whole[0, 3] == 40


def test_a_mean_survives_the_overflow_of_its_sum() -> None:
    values = np.full((3, 1), 1.5e308)
    with np.errstate(all="ignore"):
        mean = grouped_mean(values, np.ones((3, 1), np.bool_), np.array([0]), np.array([[3]]))
    assert mean[0, 0] == 1.5e308


@given(
    column=st.lists(
        st.tuples(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    q=st.one_of(st.floats(-0.5, 1.5), st.just(math.nan)),
)
def test_quantiles_agree_with_the_plain_one(column: list[tuple[float, bool]], q: float) -> None:
    values = np.array([[value] for value, _ in column])
    present = np.array([[there] for _, there in column])
    with np.errstate(all="ignore"):
        got = sorted_quantile(np.array([q]), values, present)[0]
    expected = oracle.quantile(q, [value for value, there in column if there])
    if present.any():
        np.testing.assert_equal(got, expected)
