"""Messages that we write, read by a decoder of the tests' own."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd import _native
from tests.wire.protobuf_fields import decode_series, decode_write_request, fields, uvarint

TIMES = st.integers(-(2**62), 2**62)
VALUES = st.floats(allow_nan=True, allow_infinity=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LABELS = st.dictionaries(TEXT, TEXT, max_size=4).map(lambda labels: list(labels.items()))


def test_no_samples_are_a_request_without_series() -> None:
    body = _native.encode_write_request([], np.array([], dtype=np.int64), np.array([]))
    assert decode_write_request(body).series == []


@given(st.lists(st.tuples(LABELS, TIMES, VALUES), max_size=6))
def test_write_request_reads_back(entries: list[tuple[list[tuple[str, str]], int, float]]) -> None:
    body = _native.encode_write_request(
        [labels for labels, _, _ in entries],
        np.array([time for _, time, _ in entries], dtype=np.int64),
        np.array([value for _, _, value in entries], dtype=np.float64),
    )
    request = decode_write_request(body)
    assert request.metadata == []
    assert len(request.series) == len(entries)
    for series, (labels, time, value) in zip(request.series, entries, strict=True):
        # Code points and UTF-8 bytes have the same order.
        assert series.labels == sorted(labels)
        assert [t for t, _ in series.samples] == [time]
        assert _bits([v for _, v in series.samples]) == _bits([value])


@given(st.lists(st.tuples(LABELS, st.lists(st.tuples(TIMES, VALUES), max_size=5)), max_size=5))
def test_read_result_reads_back(
    columns: list[tuple[list[tuple[str, str]], list[tuple[int, float]]]],
) -> None:
    samples = [sample for _, samples in columns for sample in samples]
    result = _native.encode_read_result(
        [labels for labels, _ in columns],
        np.cumsum([0, *(len(samples) for _, samples in columns)], dtype=np.int64),
        np.array([time for time, _ in samples], dtype=np.int64),
        np.array([value for _, value in samples], dtype=np.float64),
    )
    decoded = []
    for number, message in fields(result):
        assert number == 1
        assert isinstance(message, bytes)
        decoded.append(decode_series(message))
    assert [series.labels for series in decoded] == [labels for labels, _ in columns]
    for series, (_, expected) in zip(decoded, columns, strict=True):
        assert [time for time, _ in series.samples] == [time for time, _ in expected]
        got, want = ([value for _, value in pairs] for pairs in (series.samples, expected))
        assert _bits(got) == _bits(want)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(1, 100_000), st.just(15_000), st.integers(1, 2**40)),
            st.one_of(VALUES, st.integers(-5, 5).map(float)),
        ),
        max_size=400,
    ),
    st.integers(-(2**40), 2**41),
)
def test_xor_chunks_read_back(gaps: list[tuple[int, float]], start_ms: int) -> None:
    times = np.cumsum([start_ms, *(gap for gap, _ in gaps)], dtype=np.int64)[1:]
    values = np.array([value for _, value in gaps], dtype=np.float64)

    chunks = _native.encode_xor_chunks(times, values)

    assert len(chunks) == math.ceil(len(gaps) / 120)
    decoded: list[tuple[int, int]] = []
    for min_ms, max_ms, data in chunks:
        samples = _decode_xor_chunk(data)
        assert (samples[0][0], samples[-1][0]) == (min_ms, max_ms)
        decoded.extend(samples)
    assert [time for time, _ in decoded] == times.tolist()
    assert [bits for _, bits in decoded] == _bits(values.tolist())


def test_lengths_that_differ_are_value_errors() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        _native.encode_write_request([], np.array([1]), np.array([1.0]))
    with pytest.raises(ValueError, match="do not fit"):
        _native.encode_xor_chunks(np.array([1, 2]), np.array([1.0]))
    with pytest.raises(ValueError, match="do not fit"):
        _native.encode_read_result([[]], np.array([0, 2]), np.array([1]), np.array([1.0]))


def _bits(values: list[float]) -> list[int]:
    return [int(bits) for bits in np.array(values, dtype=np.float64).view(np.uint64)]


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.text = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def take(self, count: int) -> int:
        bits = self.text[self.at : self.at + count]
        assert len(bits) == count
        self.at += count
        return int(bits, 2) if bits else 0


def _decode_xor_chunk(data: bytes) -> list[tuple[int, int]]:
    """Timestamps and value bits, by the description of the format in Prometheus' docs."""
    (count,) = struct.unpack_from(">H", data)
    zigzag, at = uvarint(data, 2)
    time = (zigzag >> 1) ^ -(zigzag & 1)
    (bits,) = struct.unpack_from(">Q", data, at)
    samples = [(time, bits)]
    if count == 1:
        assert at + 8 == len(data)
        return samples
    delta, at = uvarint(data, at + 8)
    stream = _Bits(data[at:])
    leading = significant = 0
    for index in range(1, count):
        if index > 1:
            delta += _take_delta_of_delta(stream)
        time += delta
        if stream.take(1):
            if stream.take(1):
                leading, significant = stream.take(5), stream.take(6) or 64
            bits ^= stream.take(significant) << (64 - leading - significant)
        samples.append((time, bits))
    assert len(stream.text) - stream.at < 8
    return samples


def _take_delta_of_delta(stream: _Bits) -> int:
    for width in (0, 14, 17, 20):
        if stream.take(1) == 0:
            raw = stream.take(width)
            return raw - (1 << width) if width and raw > 1 << (width - 1) else raw
    raw = stream.take(64)
    return raw - (1 << 64) if raw >= 1 << 63 else raw
