"""OTLP metrics in JSON to the protobuf that they stand for.

Messages: opentelemetry/proto/metrics/v1/metrics.proto; how JSON stands for them is in
`otlp_json_values`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from obsd.ingest.otlp_json_values import (
    MAX_UINT32,
    MAX_UINT64,
    Json,
    child,
    double,
    identifier,
    int64,
    integer,
    pairs,
    read_tree,
    repeated,
    resource,
    scope,
    text_field,
    wrong,
)
from obsd.services.protobuf import FIXED64, bytes_field, double_field, uint_field, varint

_TEMPORALITIES: Final = {
    "AGGREGATION_TEMPORALITY_UNSPECIFIED": 0,
    "AGGREGATION_TEMPORALITY_DELTA": 1,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": 2,
}
_MAX_INT32: Final = (1 << 31) - 1

Encode = Callable[[dict[str, Json], str], bytes]


def metrics_request_from_json(body: bytes) -> bytes:
    """An `ExportMetricsServiceRequest`.

    Raises:
        UndecodableError: where in the body something is not as it should be.
    """
    return repeated(1, read_tree(body), "resourceMetrics", "$", _resource_metrics)


def _resource_metrics(tree: dict[str, Json], at: str) -> bytes:
    metrics = repeated(2, tree, "scopeMetrics", at, _scope_metrics)
    return resource(tree, at) + metrics + text_field(3, tree, "schemaUrl", at)


def _scope_metrics(tree: dict[str, Json], at: str) -> bytes:
    metrics = repeated(2, tree, "metrics", at, _metric)
    return scope(tree, at) + metrics + text_field(3, tree, "schemaUrl", at)


def _metric(tree: dict[str, Json], at: str) -> bytes:
    parts = [
        text_field(1, tree, "name", at),
        text_field(2, tree, "description", at),
        text_field(3, tree, "unit", at),
    ]
    for number, key, point in _KINDS:
        if (data := child(tree, key, at)) is not None:
            parts.append(bytes_field(number, _data(data, f"{at}.{key}", point)))
    return b"".join(parts)


def _data(tree: dict[str, Json], at: str, point: Encode) -> bytes:
    is_monotonic = tree.get("isMonotonic")
    if is_monotonic is not None and not isinstance(is_monotonic, bool):
        raise wrong(f"{at}.isMonotonic", "true or false", is_monotonic)
    return (
        uint_field(2, _temporality(tree, at))
        + uint_field(3, int(is_monotonic or False))
        + repeated(1, tree, "dataPoints", at, point)
    )


def _temporality(tree: dict[str, Json], at: str) -> int:
    value = tree.get("aggregationTemporality")
    if isinstance(value, str) and value in _TEMPORALITIES:
        return _TEMPORALITIES[value]
    return integer(tree, "aggregationTemporality", at, _MAX_INT32)


def _number_point(tree: dict[str, Json], at: str) -> bytes:
    return (
        _times(tree, at)
        + _double_field(4, tree, "asDouble", at)
        + _signed_field(6, tree, "asInt", at)
        + pairs(7, tree, "attributes", at)
        + repeated(5, tree, "exemplars", at, _exemplar)
        + uint_field(8, integer(tree, "flags", at, MAX_UINT32))
    )


def _histogram_point(tree: dict[str, Json], at: str) -> bytes:
    bounds = [double({"": each}, "", f"{at}.explicitBounds") for each in _array(tree, _BOUNDS, at)]
    return (
        _times(tree, at)
        + _fixed_field(4, integer(tree, "count", at, MAX_UINT64))
        + _double_field(5, tree, "sum", at)
        + bytes_field(6, b"".join(count.to_bytes(8, "little") for count in _counts(tree, at)))
        + bytes_field(7, struct.pack(f"<{len(bounds)}d", *bounds))
        + repeated(8, tree, "exemplars", at, _exemplar)
        + pairs(9, tree, "attributes", at)
        + uint_field(10, integer(tree, "flags", at, MAX_UINT32))
    )


def _exponential_point(tree: dict[str, Json], at: str) -> bytes:
    return (
        pairs(1, tree, "attributes", at)
        + _times(tree, at)
        + _fixed_field(4, integer(tree, "count", at, MAX_UINT64))
        + _double_field(5, tree, "sum", at)
        + uint_field(6, _zigzag(integer(tree, "scale", at, _MAX_INT32, -_MAX_INT32 - 1)))
        + _fixed_field(7, integer(tree, "zeroCount", at, MAX_UINT64))
        + _buckets_field(8, tree, "positive", at)
        + _buckets_field(9, tree, "negative", at)
        + uint_field(10, integer(tree, "flags", at, MAX_UINT32))
        + repeated(11, tree, "exemplars", at, _exemplar)
        + _double_field(14, tree, "zeroThreshold", at)
    )


def _buckets_field(number: int, tree: dict[str, Json], key: str, at: str) -> bytes:
    if (buckets := child(tree, key, at)) is None:
        return b""
    where = f"{at}.{key}"
    offset = integer(buckets, "offset", where, _MAX_INT32, -_MAX_INT32 - 1)
    counts = b"".join(varint(count) for count in _counts(buckets, where))
    return bytes_field(number, uint_field(1, _zigzag(offset)) + bytes_field(2, counts))


def _summary_point(tree: dict[str, Json], at: str) -> bytes:
    return (
        _times(tree, at)
        + _fixed_field(4, integer(tree, "count", at, MAX_UINT64))
        + _double_field(5, tree, "sum", at)
        + repeated(6, tree, "quantileValues", at, _quantile)
        + pairs(7, tree, "attributes", at)
        + uint_field(8, integer(tree, "flags", at, MAX_UINT32))
    )


def _quantile(tree: dict[str, Json], at: str) -> bytes:
    return _double_field(1, tree, "quantile", at) + _double_field(2, tree, "value", at)


def _exemplar(tree: dict[str, Json], at: str) -> bytes:
    return (
        _fixed_field(2, integer(tree, "timeUnixNano", at, MAX_UINT64))
        + _double_field(3, tree, "asDouble", at)
        + bytes_field(4, identifier(tree, "spanId", at))
        + bytes_field(5, identifier(tree, "traceId", at))
        + _signed_field(6, tree, "asInt", at)
        + pairs(7, tree, "filteredAttributes", at)
    )


def _times(tree: dict[str, Json], at: str) -> bytes:
    start = integer(tree, "startTimeUnixNano", at, MAX_UINT64)
    return _fixed_field(2, start) + _fixed_field(3, integer(tree, "timeUnixNano", at, MAX_UINT64))


def _fixed_field(number: int, value: int) -> bytes:
    """A field of type fixed64; 0 is left out."""
    return varint(number << 3 | FIXED64) + value.to_bytes(8, "little") if value else b""


def _signed_field(number: int, tree: dict[str, Json], key: str, at: str) -> bytes:
    """A field of type sfixed64, even when it is 0."""
    if tree.get(key) is None:
        return b""
    value = int64(tree, key, at)
    return varint(number << 3 | FIXED64) + value.to_bytes(8, "little", signed=True)


def _double_field(number: int, tree: dict[str, Json], key: str, at: str) -> bytes:
    """A field of type double, even when it is 0."""
    return b"" if tree.get(key) is None else double_field(number, double(tree, key, at))


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _array(tree: dict[str, Json], key: str, at: str) -> list[Json]:
    value = tree.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(f"{at}.{key}", "an array", value)
    return value


def _counts(tree: dict[str, Json], at: str) -> list[int]:
    where = f"{at}.bucketCounts"
    counts = _array(tree, "bucketCounts", at)
    return [integer({"": each}, "", where, MAX_UINT64) for each in counts]


_BOUNDS: Final = "explicitBounds"
_KINDS: Final[tuple[tuple[int, str, Encode], ...]] = (
    (5, "gauge", _number_point),
    (7, "sum", _number_point),
    (9, "histogram", _histogram_point),
    (10, "exponentialHistogram", _exponential_point),
    (11, "summary", _summary_point),
)
