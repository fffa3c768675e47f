"""Query results as JSON: what a JSON parser reads back, and the text of numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd import _native

VALUES = st.floats(allow_nan=True, allow_infinity=True)
TIMES = st.integers(-(10**15), 10**15)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1e16, "10000000000000000"),
        (1.5e20, "150000000000000000000"),
        (1e21, "1e+21"),
        (1e-6, "0.000001"),
        (1e-7, "1e-07"),
        (-2.5e-300, "-2.5e-300"),
        (0.1 + 0.2, "0.30000000000000004"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_floats_are_written_as_go_writes_them(value: float, text: str) -> None:
    assert _native.format_float(value) == text


@given(VALUES)
def test_a_float_reads_back(value: float) -> None:
    assert _same(float(_native.format_float(value)), value)


@given(st.data())
def test_matrix_reads_back(data: st.DataObject) -> None:
    rows, steps = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 6))
    start_ms, step_ms = data.draw(TIMES), data.draw(st.integers(1, 10**6))
    cells = rows * steps
    numbers = data.draw(st.lists(VALUES, min_size=cells, max_size=cells))
    mask = data.draw(st.lists(st.booleans(), min_size=cells, max_size=cells))
    values = np.array(numbers, dtype=np.float64).reshape(rows, steps)
    present = np.array(mask, dtype=np.bool_).reshape(rows, steps)
    labels = [json.dumps({"n": str(row), "ü": '"'}).encode() for row in range(rows)]

    result = json.loads(_native.matrix_json(labels, start_ms, step_ms, values, present))

    kept = [row for row in range(rows) if present[row].any()]
    assert [entry["metric"] for entry in result] == [json.loads(labels[row]) for row in kept]
    for entry, row in zip(result, kept, strict=True):
        filled = np.flatnonzero(present[row]).tolist()
        times = [start_ms + step * step_ms for step in filled]
        _check_points(entry["values"], times, values[row][filled].tolist())


@given(st.lists(st.tuples(TIMES, VALUES), max_size=5))
def test_vector_reads_back(samples: list[tuple[int, float]]) -> None:
    times = np.array([time for time, _ in samples], dtype=np.int64)
    values = np.array([value for _, value in samples], dtype=np.float64)
    result = json.loads(_native.vector_json([b'{"a":"b"}'] * len(samples), times, values))
    assert [entry["metric"] for entry in result] == [{"a": "b"}] * len(samples)
    _check_points([entry["value"] for entry in result], times.tolist(), values.tolist())


@given(st.lists(st.lists(st.tuples(TIMES, VALUES), max_size=5), max_size=4))
def test_columns_read_back(columns: list[list[tuple[int, float]]]) -> None:
    offsets = np.cumsum([0, *map(len, columns)], dtype=np.int64)
    times = np.array([time for samples in columns for time, _ in samples], dtype=np.int64)
    values = np.array([value for samples in columns for _, value in samples], dtype=np.float64)
    labels = [f'{{"n":"{index}"}}'.encode() for index in range(len(columns))]

    result = json.loads(_native.columns_json(labels, offsets, times, values))

    kept = [(index, samples) for index, samples in enumerate(columns) if samples]
    assert [entry["metric"]["n"] for entry in result] == [str(index) for index, _ in kept]
    for entry, (_, samples) in zip(result, kept, strict=True):
        expected = [value for _, value in samples]
        _check_points(entry["values"], [time for time, _ in samples], expected)


def test_times_are_seconds_with_only_the_decimals_they_need() -> None:
    times = np.array([1_700_000_000_000, 1_700_000_000_120, 1_700_000_000_123, 7], dtype=np.int64)
    text = _native.columns_json([b"{}"], np.array([0, 4]), times, np.array([1.0, 2.5, 0.5, 3.0]))
    assert text == (
        b'[{"metric":{},"values":[[1700000000,"1"],[1700000000.12,"2.5"],'
        b'[1700000000.123,"0.5"],[0.007,"3"]]}]'
    )


def test_shapes_that_differ_are_value_errors() -> None:
    values, present = np.zeros((1, 2)), np.ones((2, 1), dtype=np.bool_)
    with pytest.raises(ValueError, match="differ in shape"):
        _native.matrix_json([b"{}"], 0, 1, values, present)
    with pytest.raises(ValueError, match="differ in length"):
        _native.vector_json([], np.array([1]), np.array([1.0]))
    with pytest.raises(ValueError, match="differ in length"):
        _native.columns_json([b"{}"], np.array([0, 1, 1]), np.array([1]), np.array([1.0]))


def _check_points(points: list[list[object]], times: list[int], values: list[float]) -> None:
    assert len(points) == len(times) == len(values)
    for (seconds, text), time, value in zip(points, times, values, strict=True):
        assert isinstance(seconds, int | float)
        assert isinstance(text, str)
        assert round(seconds * 1000) == time
        assert _same(float(text), value)


def _same(one: float, other: float) -> bool:
    signs = math.copysign(1, one) == math.copysign(1, other)
    return (math.isnan(one) and math.isnan(other)) or (one == other and signs)
