"""The messages of Prometheus' remote read protocol.

Definition: https://github.com/prometheus/prometheus/blob/main/prompb/remote.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from obsd.api.xor_chunk import XorChunk, encode_chunks
from obsd.model.errors import UndecodableError
from obsd.model.labels import Labels
from obsd.model.matcher import Matcher, MatchOp
from obsd.model.samples import Columns, FloatArray, IntArray
from obsd.services.protobuf import (
    VARINT,
    bytes_field,
    double_field,
    iter_fields,
    read_varint,
    signed,
    uint_field,
    varint,
)

_OPS: Final = (MatchOp.EQUAL, MatchOp.NOT_EQUAL, MatchOp.REGEX, MatchOp.NOT_REGEX)
_XOR: Final = 1

# A timestamp from here to there takes 6 bytes as a varint: 1971 to 2109. Samples of only such times
# are all of one length, and are encoded at once.
_SIX_BYTES: Final = (1 << 35, 1 << 42)
_SAMPLE: Final = np.dtype(
    [
        ("head", "S3"),  # Field 2 of 16 bytes, whose field 1 is 8 bytes fixed.
        ("value", "<f8"),
        ("tag", "u1"),
        ("timestamp", "u1", (6,)),
    ]
)
_SHIFTS: Final = np.arange(0, 42, 7)


class ResponseType(IntEnum):
    """How the answer comes."""

    SAMPLES = 0
    STREAMED_XOR_CHUNKS = 1


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """Samples in [start_ms, end_ms] of the series that match."""

    start_ms: int
    end_ms: int
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Queries, and the response types that the client takes, best first; unknown ones are out.

    Attributes:
        names_types: whether it named any type at all, known or not.
    """

    queries: tuple[ReadQuery, ...]
    response_types: tuple[ResponseType, ...]
    names_types: bool


def decode_request(data: bytes) -> ReadRequest:
    """Read a `ReadRequest`.

    Raises:
        UndecodableError: it is not one.
    """
    queries: list[ReadQuery] = []
    accepted: list[int] = []
    for number, wire_type, value in iter_fields(data):
        match number, wire_type, value:
            case 1, 2, bytes():
                queries.append(_decode_query(value))
            case 2, 0, int():
                accepted.append(value)
            case 2, 2, bytes():
                accepted += _packed_numbers(value)
    known = tuple(ResponseType(t) for t in accepted if t in ResponseType.__members__.values())
    return ReadRequest(tuple(queries), known, bool(accepted))


def _packed_numbers(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = read_varint(data, at)
        yield value


def _decode_query(data: bytes) -> ReadQuery:
    start_ms = end_ms = 0
    matchers: list[Matcher] = []
    for number, wire_type, value in iter_fields(data):
        match number, wire_type, value:
            case 1, 0, int():
                start_ms = signed(value)
            case 2, 0, int():
                end_ms = signed(value)
            case 3, 2, bytes():
                matchers.append(_decode_matcher(value))
    return ReadQuery(start_ms, end_ms, tuple(matchers))


def _decode_matcher(data: bytes) -> Matcher:
    kind, name, value = 0, "", ""
    for number, wire_type, field in iter_fields(data):
        match number, wire_type, field:
            case 1, 0, int():
                kind = field
            case 2, 2, bytes():
                name = _text(field)
            case 3, 2, bytes():
                value = _text(field)
    if kind >= len(_OPS):
        raise UndecodableError(f"unknown matcher type {kind}")
    return Matcher(_OPS[kind], name, value)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UndecodableError(f"a matcher is not UTF-8: {error}") from error


def encode_result(columns: Columns) -> bytes:
    """A `QueryResult`: each series with all of its samples."""
    series = (
        bytes_field(1, _labels(labels) + encode_samples(ts, vs) + _histograms(columns, row))
        for row, (labels, ts, vs) in enumerate(iter_series(columns))
    )
    return b"".join(series)


def encode_response(results: list[bytes]) -> bytes:
    """A `ReadResponse` of one `QueryResult` a query."""
    return b"".join(bytes_field(1, result) for result in results)


def iter_series(columns: Columns) -> Iterator[tuple[Labels, IntArray, FloatArray]]:
    """Each series with its samples."""
    offsets = columns.offsets.tolist()
    for row, labels in enumerate(columns.labels):
        piece = slice(offsets[row], offsets[row + 1])
        yield labels, columns.timestamps[piece], columns.values[piece]


def _labels(labels: Labels) -> bytes:
    return b"".join(
        bytes_field(1, bytes_field(1, name.encode()) + bytes_field(2, value.encode()))
        for name, value in labels
    )


def encode_samples(timestamps: IntArray, values: FloatArray) -> bytes:
    """`Sample` messages as field 2."""
    if not len(timestamps):
        return b""
    if timestamps[0] >= _SIX_BYTES[0] and timestamps[-1] < _SIX_BYTES[1]:
        samples = np.empty(len(timestamps), _SAMPLE)
        samples["head"] = b"\x12\x10\x09"
        samples["value"] = values
        samples["tag"] = 2 << 3 | VARINT
        groups = timestamps[:, np.newaxis] >> _SHIFTS & 0x7F
        groups[:, :-1] |= 0x80
        samples["timestamp"] = groups
        return samples.tobytes()
    return b"".join(
        bytes_field(2, double_field(1, value) + uint_field(2, timestamp_ms))
        for timestamp_ms, value in zip(timestamps.tolist(), values.tolist(), strict=True)
    )


def _histograms(columns: Columns, row: int) -> bytes:
    """`Histogram` messages as field 4; their form is that of remote write 2.0, number by number."""
    histograms = columns.histograms
    if histograms is None:
        return b""
    start, end = int(histograms.offsets[row]), int(histograms.offsets[row + 1])
    return b"".join(bytes_field(4, encoded) for encoded in histograms.encoded[start:end])


def iter_chunked_series(columns: Columns, query_index: int, frame_bytes: int) -> Iterator[bytes]:
    """`ChunkedReadResponse` messages of one series each, about `frame_bytes` long at most."""
    for labels, timestamps, values in iter_series(columns):
        if not len(timestamps):
            continue
        head = _labels(labels)
        pieces, size = [head], len(head)
        for chunk in encode_chunks(timestamps, values):
            encoded = bytes_field(2, _chunk(chunk))
            if size + len(encoded) > frame_bytes and len(pieces) > 1:
                yield _chunked_response(pieces, query_index)
                pieces, size = [head], len(head)
            pieces.append(encoded)
            size += len(encoded)
        yield _chunked_response(pieces, query_index)


def _chunked_response(pieces: list[bytes], query_index: int) -> bytes:
    return bytes_field(1, b"".join(pieces)) + uint_field(2, query_index)


def _chunk(chunk: XorChunk) -> bytes:
    return b"".join(
        (
            uint_field(1, chunk.min_ms),
            uint_field(2, chunk.max_ms),
            uint_field(3, _XOR),
            bytes_field(4, chunk.data),
        )
    )


def frame(message: bytes, checksum: int) -> bytes:
    """A message as streamed: its length, its CRC-32C big-endian, itself."""
    return b"".join((varint(len(message)), checksum.to_bytes(4, "big"), message))
