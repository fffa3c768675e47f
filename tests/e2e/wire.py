"""Remote write 1.0 and remote read messages, independent of obsd's own coders."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import cramjam

from tests.e2e.processes import Server

WRITE_PATH = "/api/v1/write"
WRITE_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
READ_HEADERS = WRITE_HEADERS | {"X-Prometheus-Remote-Read-Version": "0.1.0"}

Labels = dict[str, str]
LabelSet = tuple[tuple[str, str], ...]
Sample = tuple[int, float]
"""Unix milliseconds and value."""


@dataclass(slots=True)
class Stored:
    """What remote read gives of one series."""

    samples: list[Sample] = field(default_factory=list)
    histograms: list[dict[int, list[int | bytes]]] = field(default_factory=list)  # By field number.


def write_body(series: Iterable[tuple[Labels, Iterable[Sample]]]) -> bytes:
    """A snappy-compressed `WriteRequest`."""
    message = b"".join(
        _bytes_field(1, _labels(labels) + b"".join(_bytes_field(2, _sample(s)) for s in samples))
        for labels, samples in series
    )
    return bytes(cramjam.snappy.compress_raw(message))


def rich_body(name: str, time_ms: int) -> bytes:
    """A request with one of everything else: a native histogram, an exemplar and metadata."""
    span = _bytes_field(11, _varint_field(1, 0) + _varint_field(2, 1))
    buckets = span + _bytes_field(12, _varint(2 << 1))  # One bucket of two; deltas are zigzag.
    histogram = _varint_field(1, 2) + b"\x19" + struct.pack("<d", 3.5) + buckets
    trace = _bytes_field(1, _bytes_field(1, b"trace_id") + _bytes_field(2, b"abc"))
    exemplar = trace + b"\x11" + struct.pack("<d", 1.75) + _varint_field(3, time_ms)
    series = _labels({"__name__": name})
    series += _bytes_field(3, exemplar)
    series += _bytes_field(4, histogram + _varint_field(15, time_ms))
    metadata = _varint_field(1, 3) + _bytes_field(2, name.encode()) + _bytes_field(4, b"Help.")
    message = _bytes_field(1, series) + _bytes_field(3, metadata)
    return bytes(cramjam.snappy.compress_raw(message))


def remote_read(
    server: Server, matchers: Labels, start_ms: int, end_ms: int
) -> dict[LabelSet, Stored]:
    """Every sample of the series whose labels equal the given ones, both ends included."""
    query = _varint_field(1, start_ms) + _varint_field(2, end_ms)
    for name, value in matchers.items():
        query += _bytes_field(3, _bytes_field(2, name.encode()) + _bytes_field(3, value.encode()))
    body = bytes(cramjam.snappy.compress_raw(_bytes_field(1, query)))
    answer = server.request("/api/v1/read", method="POST", body=body, headers=READ_HEADERS)
    assert answer.status == 200, answer.text
    response = fields(bytes(cramjam.snappy.decompress_raw(answer.body)))
    found: dict[LabelSet, Stored] = {}
    for result in response.get(1, []):
        for encoded in fields(result).get(1, []):
            labels, stored = _decode_series(encoded)
            assert labels not in found, f"{labels} is there twice"
            found[labels] = stored
    return found


def fields(message: int | bytes) -> dict[int, list[int | bytes]]:
    """A protobuf message as its fields' values; fixed-width ones are bytes."""
    assert isinstance(message, bytes)
    found: dict[int, list[int | bytes]] = {}
    for number, value in _iter_fields(message):
        found.setdefault(number, []).append(value)
    return found


def as_double(value: int | bytes) -> float:
    assert isinstance(value, bytes)
    return struct.unpack("<d", value)[0]


def as_int64(value: int | bytes) -> int:
    assert isinstance(value, int)
    return value - (1 << 64) if value >> 63 else value


def _decode_series(encoded: int | bytes) -> tuple[LabelSet, Stored]:
    parts = fields(encoded)
    labels = [
        tuple(bytes(label[number][0]).decode() for number in (1, 2))
        for label in map(fields, parts.get(1, []))
    ]
    stored = Stored(histograms=[fields(histogram) for histogram in parts.get(4, [])])
    for sample in map(fields, parts.get(2, [])):
        value = as_double(sample[1][0]) if 1 in sample else 0.0
        stored.samples.append((as_int64(sample.get(2, [0])[0]), value))
    return tuple(labels), stored


def _iter_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        match key & 7:
            case 0:
                value, at = _read_varint(message, at)
                yield key >> 3, value
            case 1:
                yield key >> 3, message[at : at + 8]
                at += 8
            case 2:
                size, at = _read_varint(message, at)
                yield key >> 3, message[at : at + size]
                at += size
            case wire_type:
                raise AssertionError(f"wire type {wire_type} at byte {at}")


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _labels(labels: Labels) -> bytes:
    return b"".join(
        _bytes_field(1, _bytes_field(1, name.encode()) + _bytes_field(2, value.encode()))
        for name, value in sorted(labels.items())
    )


def _sample(sample: Sample) -> bytes:
    time_ms, value = sample
    return b"\x09" + struct.pack("<d", value) + _varint_field(2, time_ms)


def _bytes_field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
