"""The range-function kernels against their plain twin, `tests/oracles/rollup.py`."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd import _native
from obsd.model.samples import STALE_NAN_BITS, RollupSpec
from tests.oracles import rollup as oracle

STALE_NAN = float(np.array([STALE_NAN_BITS], dtype=np.uint64).view(np.float64)[0])

ARGS: dict[str, tuple[float, ...]] = {
    "instant": (),
    "instant_timestamp": (),
    "rate": (),
    "increase": (),
    "delta": (),
    "irate": (),
    "idelta": (),
    "deriv": (),
    "predict_linear": (7.5,),
    "resets": (),
    "changes": (),
    "avg_over_time": (),
    "sum_over_time": (),
    "min_over_time": (),
    "max_over_time": (),
    "count_over_time": (),
    "last_over_time": (),
    "first_over_time": (),
    "present_over_time": (),
    "stddev_over_time": (),
    "stdvar_over_time": (),
    "quantile_over_time": (0.8,),
    "mad_over_time": (),
    "ts_of_min_over_time": (),
    "ts_of_max_over_time": (),
    "ts_of_first_over_time": (),
    "ts_of_last_over_time": (),
    "double_exponential_smoothing": (0.4, 0.7),
}

Series = list[tuple[int, float]]


def values() -> st.SearchStrategy[float]:
    special = st.sampled_from([math.nan, STALE_NAN, math.inf, -math.inf, -0.0, 1.7e308, 5e-324])
    return st.one_of(st.integers(-20, 20).map(float), st.floats(-1e6, 1e6), special)


@st.composite
def series(draw: st.DrawFn) -> Series:
    gaps = draw(st.lists(st.tuples(st.integers(1, 60_000), values()), max_size=60))
    start_ms = draw(st.integers(-100_000, 1_700_000_000_000))
    times = np.cumsum([start_ms, *(gap for gap, _ in gaps)])[1:]
    return [(int(time), value) for time, (_, value) in zip(times, gaps, strict=True)]


@st.composite
def specs(draw: st.DrawFn, function: str, around_ms: int) -> RollupSpec:
    start_ms = around_ms + draw(st.integers(-100_000, 400_000))
    return RollupSpec(
        function=function,
        start_ms=start_ms,
        end_ms=start_ms + draw(st.integers(0, 600_000)),
        step_ms=draw(st.integers(5_000, 200_000)),
        window_ms=draw(st.integers(1, 400_000)),
        offset_ms=draw(st.integers(-50_000, 50_000)),
        args=ARGS[function],
    )


def roll(columns: list[Series], spec: RollupSpec) -> list[list[float | None]]:
    values, present = _native.rollup_columns(
        spec.function,
        list(spec.args),
        np.cumsum([0, *map(len, columns)], dtype=np.int64),
        np.array([time for samples in columns for time, _ in samples], dtype=np.int64),
        np.array([value for samples in columns for _, value in samples], dtype=np.float64),
        spec.start_ms,
        spec.end_ms,
        spec.step_ms,
        spec.window_ms,
        spec.offset_ms,
    )
    assert values.shape == present.shape == (len(columns), spec.step_count)
    return [
        [value if is_present else None for value, is_present in zip(row, mask, strict=True)]
        for row, mask in zip(values.tolist(), present.tolist(), strict=True)
    ]


def agree(got: float | None, want: float | None) -> bool:
    if got is None or want is None:
        return got is want
    if math.isnan(got) or math.isnan(want):
        return math.isnan(got) and math.isnan(want)
    return math.isclose(got, want, rel_tol=1e-12, abs_tol=0.0)


@pytest.mark.parametrize("function", ARGS)
@given(data=st.data())
def test_kernel_agrees_with_the_plain_twin(function: str, data: st.DataObject) -> None:
    columns = data.draw(st.lists(series(), min_size=1, max_size=3))
    around_ms = next((samples[0][0] for samples in columns if samples), 0)
    spec = data.draw(specs(function, around_ms))
    for samples, got in zip(columns, roll(columns, spec), strict=True):
        times, numbers = [time for time, _ in samples], [value for _, value in samples]
        want = oracle.rollup(function, spec.args, times, numbers, spec)
        assert len(got) == len(want)
        for step, (one, other) in enumerate(zip(got, want, strict=True)):
            assert agree(one, other), (step, one, other)


@pytest.mark.parametrize("function", ["rate", "max_over_time", "instant"])
def test_many_series_keep_their_rows(function: str) -> None:
    """Enough work that the rows are spread over threads."""
    columns: list[Series] = [
        [(15_000 * tick, float(index * tick)) for tick in range(200)] for index in range(400)
    ]
    spec = RollupSpec(function, 0, 3_000_000, 15_000, 300_000)
    rows = roll(columns, spec)
    for index in (0, 1, 199, 399):
        assert rows[index] == roll([columns[index]], spec)[0]


@pytest.mark.parametrize(
    ("function", "args", "offsets", "step_ms"),
    [
        ("no_such_function", [], [0, 2], 1),
        ("rate", [1.0], [0, 2], 1),
        ("quantile_over_time", [], [0, 2], 1),
        ("double_exponential_smoothing", [0.0, 0.5], [0, 2], 1),
        ("double_exponential_smoothing", [0.5, 1.0], [0, 2], 1),
        ("rate", [], [0, 3], 1),
        ("rate", [], [0, 2, 1, 2], 1),
        ("rate", [], [], 1),
        ("rate", [], [0, 2], 0),
    ],
)
def test_bad_arguments_are_value_errors(
    function: str, args: list[float], offsets: list[int], step_ms: int
) -> None:
    times, numbers = np.array([1, 2], dtype=np.int64), np.array([1.0, 2.0])
    cuts = np.array(offsets, dtype=np.int64)
    with pytest.raises(ValueError, match=r".+"):
        _native.rollup_columns(function, args, cuts, times, numbers, 0, 10, step_ms, 5, 0)
