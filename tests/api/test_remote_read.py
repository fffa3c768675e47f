"""Remote read: chunks, messages, and the endpoint."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cramjam
import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from obsd import _native
from obsd.api import remote_read
from obsd.api.remote_read_messages import decode_request, encode_samples
from obsd.api.xor_chunk import encode_chunk, encode_chunks
from obsd.model.errors import UndecodableError
from obsd.services import protobuf
from obsd.services.metrics_collector import QueryLimits
from tests.api.running_app import WRITE_1, RunningApp, running_app
from tests.api.xor_chunk_reader import read_chunk
from tests.protobuf.prometheus_messages import (
    ChunkedReadResponse,
    ReadRequest,
    ReadResponse,
    WriteRequest,
    compressed,
)

T0 = 1_700_000_000_000
STALE_BYTES = (0x7FF0000000000002).to_bytes(8, "big")
[STALE] = struct.unpack(">d", STALE_BYTES)
A, B = {"__name__": "up", "job": "a"}, {"__name__": "up", "job": "b"}
HEADERS = WRITE_1 | {"X-Prometheus-Remote-Read-Version": "0.1.0"}

float_bits = st.binary(min_size=8, max_size=8)
timestamps = st.lists(
    st.one_of(st.integers(0, 1 << 45), st.integers(T0, T0 + 10_000)),
    min_size=1,
    max_size=130,
    unique=True,
).map(sorted)


@st.composite
def sample_lists(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    times = draw(timestamps)
    values = st.one_of(float_bits, st.sampled_from([STALE_BYTES, struct.pack(">d", 1.5)]))
    return [(time, draw(values)) for time in times]


@given(sample_lists())
def test_chunks_hold_the_samples_bit_for_bit(samples: list[tuple[int, bytes]]):
    times = np.array([time for time, _ in samples], dtype=np.int64)
    bits = np.array([int.from_bytes(v, "big") for _, v in samples], dtype=np.uint64)
    chunks = encode_chunks(times, bits.view(np.float64))
    read = [sample for chunk in chunks for sample in read_chunk(chunk.data)]
    assert read == samples
    assert [c.min_ms for c in chunks] == [read_chunk(c.data)[0][0] for c in chunks]
    assert [c.max_ms for c in chunks] == [read_chunk(c.data)[-1][0] for c in chunks]


@pytest.mark.parametrize("bits", [14, 17, 20])
@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("sign", [-1, 1])
def test_deltas_of_deltas_at_the_edges_of_their_widths(bits: int, off: int, sign: int):
    jump = sign * (1 << bits - 1) + off
    times = np.array([0, 1 << 25, (2 << 25) + jump, (3 << 25) + jump], dtype=np.int64)
    data = encode_chunk(times, np.zeros(4))
    assert [time for time, _ in read_chunk(data)] == times.tolist()


@given(sample_lists())
def test_samples_are_read_back_by_another_decoder(samples: list[tuple[int, bytes]]):
    times = np.array([time for time, _ in samples], dtype=np.int64)
    bits = np.array([int.from_bytes(v, "big") for _, v in samples], dtype=np.uint64)
    encoded = encode_samples(times, bits.view(np.float64))
    series = (
        ReadResponse.FromString(protobuf.bytes_field(1, protobuf.bytes_field(1, encoded)))
        .results[0]
        .timeseries[0]
    )
    assert [s.timestamp for s in series.samples] == times.tolist()
    read = np.array([s.value for s in series.samples])
    assert np.array_equal(read, bits.view(np.float64), equal_nan=True)


def test_negative_times_are_read_back():
    encoded = encode_samples(np.array([-5, 3], dtype=np.int64), np.array([1.0, 0.0]))
    series = (
        ReadResponse.FromString(protobuf.bytes_field(1, protobuf.bytes_field(1, encoded)))
        .results[0]
        .timeseries[0]
    )
    assert [(s.timestamp, s.value) for s in series.samples] == [(-5, 1.0), (3, 0.0)]


@given(st.binary())
def test_any_bytes_are_a_request_or_an_error(data: bytes):
    with suppress(UndecodableError):
        decode_request(data)


@given(st.data())
def test_damaged_requests_are_requests_or_errors(data: st.DataObject):
    whole = bytearray(request(A, T0, T0 + 1, [1, 0]).SerializeToString())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(UndecodableError):
        decode_request(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_varints(value: int):
    encoded = protobuf.varint(value)
    assert protobuf.read_varint(encoded, 0) == (value & (1 << 64) - 1, len(encoded))
    for end in range(len(encoded)):
        with pytest.raises(UndecodableError):
            protobuf.read_varint(encoded[:end], 0)


def request(
    labels: dict[str, str], start_ms: int, end_ms: int, types: list[int], kind: int = 0
) -> Any:
    matchers = [{"type": kind, "name": n, "value": v} for n, v in labels.items()]
    query = {"start_timestamp_ms": start_ms, "end_timestamp_ms": end_ms, "matchers": matchers}
    return ReadRequest(queries=[query], accepted_response_types=types)


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as running:
        await running.write(
            [
                (B, [(T0 + i * 1000, float(i)) for i in range(300)]),
                (A, [(T0, 1.0), (T0 + 1000, 2.5), (T0 + 2000, STALE)]),
            ]
        )
        yield running


async def read_samples(app: RunningApp, message: Any) -> list[dict]:
    answer = await app.post("/api/v1/read", compressed(message), headers=HEADERS)
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-protobuf"
    assert answer.headers["Content-Encoding"] == "snappy"
    response = ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(answer.body)))
    return [
        {
            tuple((label.name, label.value) for label in series.labels): [
                (s.timestamp, struct.pack(">d", s.value)) for s in series.samples
            ]
            for series in result.timeseries
        }
        for result in response.results
    ]


def plain(samples: list[tuple[int, float]]) -> list[tuple[int, bytes]]:
    return [(time, struct.pack(">d", value)) for time, value in samples]


@pytest.mark.parametrize("types", [[], [0], [0, 1], [7, 0]])
async def test_samples(app: RunningApp, types: list[int]):
    [result] = await read_samples(app, request({"__name__": "up"}, T0, T0 + 2000, types))
    assert result == {
        tuple(A.items()): [*plain([(T0, 1.0), (T0 + 1000, 2.5)]), (T0 + 2000, STALE_BYTES)],
        tuple(B.items()): plain([(T0, 0.0), (T0 + 1000, 1.0), (T0 + 2000, 2.0)]),
    }
    assert list(result) == [tuple(A.items()), tuple(B.items())]


async def test_one_result_a_query_in_order(app: RunningApp):
    message = request(B, T0, T0, [])
    message.queries.extend(request({"job": "nothing"}, T0, T0, []).queries)
    message.queries.extend(request({"job": "a|x"}, T0, T0, [], kind=2).queries)
    assert [sorted(result) for result in await read_samples(app, message)] == [
        [tuple(B.items())],
        [],
        [tuple(A.items())],
    ]


def frames(data: bytes) -> list[Any]:
    messages, at = [], 0
    while at < len(data):
        length, at = protobuf.read_varint(data, at)
        payload = data[at + 4 : at + 4 + length]
        assert len(payload) == length <= remote_read.FRAME_BYTES
        assert int.from_bytes(data[at : at + 4], "big") == _native.crc32c(payload)
        messages.append(ChunkedReadResponse.FromString(payload))
        at += 4 + length
    return messages


async def streamed(app: RunningApp, message: Any) -> list[Any]:
    answer = await app.post("/api/v1/read", compressed(message), headers=HEADERS)
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == (
        "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    )
    assert "Content-Encoding" not in answer.headers
    return frames(answer.body)


async def test_streamed_chunks(app: RunningApp):
    found = await streamed(app, request({"__name__": "up"}, T0, T0 + 299_000, [1, 0]))
    assert [m.query_index for m in found] == [0, 0]
    a, b = (m.chunked_series[0] for m in found)
    assert [(label.name, label.value) for label in b.labels] == list(B.items())
    assert [len(read_chunk(c.data)) for c in b.chunks] == [120, 120, 60]
    samples = [sample for c in b.chunks for sample in read_chunk(c.data)]
    assert samples == plain([(T0 + i * 1000, float(i)) for i in range(300)])
    assert (b.chunks[0].min_time_ms, b.chunks[0].max_time_ms) == (T0, T0 + 119_000)
    assert {c.type for c in b.chunks} == {1}
    assert read_chunk(a.chunks[0].data)[-1] == (T0 + 2000, STALE_BYTES)


async def test_long_series_take_several_frames(app: RunningApp, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote_read, "FRAME_BYTES", 1000)
    monkeypatch.setattr(remote_read, "_PIECE_BYTES", 1500)
    values = [(T0 + i * 1000, i / 7) for i in range(1000)]
    await app.write([({"__name__": "wide", "job": "c"}, values)])
    found = await streamed(app, request({"__name__": "up|wide"}, T0, T0 + 10**7, [1], kind=2))
    names = [m.chunked_series[0].labels[-1].value for m in found]
    assert len(names) > 4
    assert names == sorted(names, key=["a", "b", "c"].index)
    samples = [
        sample
        for m in found
        for series in m.chunked_series
        if series.labels[-1].value == "c"
        for c in series.chunks
        for sample in read_chunk(c.data)
    ]
    assert samples == plain(values)


async def test_an_empty_stream_has_no_frames(app: RunningApp):
    assert await streamed(app, request({"job": "nothing"}, T0, T0, [1])) == []


async def test_native_histograms_come_as_samples(app: RunningApp):
    histogram = {
        "count_int": 3,
        "sum": 4.5,
        "zero_count_int": 1,
        "positive_spans": [{"offset": 0, "length": 2}],
        "positive_deltas": [1, 0],
        "timestamp": T0,
    }
    labels = [{"name": "__name__", "value": "h"}]
    write = WriteRequest(timeseries=[{"labels": labels, "histograms": [histogram]}])
    assert (await app.post("/api/v1/write", compressed(write), headers=WRITE_1)).status == 204
    message = request({"__name__": "h"}, T0, T0, [1, 0])
    answer = await app.post("/api/v1/read", compressed(message), headers=HEADERS)
    response = ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(answer.body)))
    [read] = response.results[0].timeseries[0].histograms
    assert (read.count_int, read.sum, read.timestamp) == (3, 4.5, T0)
    assert list(read.positive_deltas) == [1, 0]


async def test_refusals(app: RunningApp):
    good = compressed(request(A, T0, T0, []))
    cases = [
        (good, HEADERS | {"Content-Encoding": "gzip"}, 415),
        (b"\xff" * 9, HEADERS, 400),
        (bytes(cramjam.snappy.compress_raw(b"\x0a\xff")), HEADERS, 400),
        (compressed(request(A, T0, T0, [7])), HEADERS, 400),
        (compressed(request(A, T0, T0, [], kind=9)), HEADERS, 400),
        (compressed(request({"job": "("}, T0, T0, [], kind=2)), HEADERS, 400),
    ]
    for body, headers, status in cases:
        answer = await app.post("/api/v1/read", body, headers=headers)
        assert answer.status == status, answer.text
        assert answer.headers["Content-Type"].startswith("text/plain")


async def test_too_many_samples_is_400(tmp_path: Path):
    async with running_app(tmp_path, limits=QueryLimits(max_samples=10)) as app:
        await app.write([(A, [(T0 + i, 1.0) for i in range(20)])])
        body = compressed(request(A, T0, T0 + 100, [1]))
        answer = await app.post("/api/v1/read", body, headers=HEADERS)
        assert answer.status == 400
        assert "too many samples" in answer.text
