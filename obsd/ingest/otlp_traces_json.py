"""OTLP traces in JSON to the protobuf that they stand for.

Encoding: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. It is lenient where
senders differ: numbers of 64 bits may be texts, enumerations names, arrays null or missing; keys
that are not known are left out. A span whose ids cannot be read has none, so that the engine
refuses it and keeps the others.
"""

from __future__ import annotations

import binascii
import struct
from typing import Final

from obsd.ingest.otlp_json_values import (
    MAX_UINT32,
    MAX_UINT64,
    Json,
    attributed,
    child,
    integer,
    read_tree,
    repeated,
    resource,
    scope,
    text_field,
    wrong,
)
from obsd.services.protobuf import FIXED32, FIXED64, bytes_field, uint_field, varint

_KINDS: Final = {
    "SPAN_KIND_UNSPECIFIED": 0,
    "SPAN_KIND_INTERNAL": 1,
    "SPAN_KIND_SERVER": 2,
    "SPAN_KIND_CLIENT": 3,
    "SPAN_KIND_PRODUCER": 4,
    "SPAN_KIND_CONSUMER": 5,
}
_STATUSES: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_MAX_ENUM: Final = (1 << 31) - 1


def traces_request_from_json(body: bytes) -> bytes:
    """An `ExportTraceServiceRequest`.

    Raises:
        UndecodableError: where in the body something is not as it should be.
    """
    return repeated(1, read_tree(body), "resourceSpans", "$", _resource_spans)


def _resource_spans(tree: dict[str, Json], at: str) -> bytes:
    spans = repeated(2, tree, "scopeSpans", at, _scope_spans)
    return resource(tree, at) + spans + text_field(3, tree, "schemaUrl", at)


def _scope_spans(tree: dict[str, Json], at: str) -> bytes:
    spans = repeated(2, tree, "spans", at, _span)
    return scope(tree, at) + spans + text_field(3, tree, "schemaUrl", at)


def _span(tree: dict[str, Json], at: str) -> bytes:
    parts = [
        _id_field(1, tree, "traceId"),
        _id_field(2, tree, "spanId"),
        text_field(3, tree, "traceState", at),
        _id_field(4, tree, "parentSpanId"),
        text_field(5, tree, "name", at),
        uint_field(6, _enum(tree, "kind", at, _KINDS)),
        _time_field(7, tree, "startTimeUnixNano", at),
        _time_field(8, tree, "endTimeUnixNano", at),
        attributed(9, 10, tree, at),
        repeated(11, tree, "events", at, _event),
        uint_field(12, integer(tree, "droppedEventsCount", at, MAX_UINT32)),
        repeated(13, tree, "links", at, _link),
        uint_field(14, integer(tree, "droppedLinksCount", at, MAX_UINT32)),
    ]
    if (status := child(tree, "status", at)) is not None:
        where = f"{at}.status"
        message = text_field(2, status, "message", where)
        code = uint_field(3, _enum(status, "code", where, _STATUSES))
        parts.append(bytes_field(15, message + code))
    parts.append(_flags_field(16, tree, at))
    return b"".join(parts)


def _event(tree: dict[str, Json], at: str) -> bytes:
    time = _time_field(1, tree, "timeUnixNano", at)
    return time + text_field(2, tree, "name", at) + attributed(3, 4, tree, at)


def _link(tree: dict[str, Json], at: str) -> bytes:
    return (
        _id_field(1, tree, "traceId")
        + _id_field(2, tree, "spanId")
        + text_field(3, tree, "traceState", at)
        + attributed(4, 5, tree, at)
        + _flags_field(6, tree, at)
    )


def _id_field(number: int, tree: dict[str, Json], key: str) -> bytes:
    """Hexadecimal digits in either case; nothing where they are none."""
    found = tree.get(key)
    if not isinstance(found, str) or not found:
        return b""
    try:
        return bytes_field(number, binascii.unhexlify(found))
    except ValueError:  # Of binascii, too.
        return b""


def _time_field(number: int, tree: dict[str, Json], key: str, at: str) -> bytes:
    time_ns = integer(tree, key, at, MAX_UINT64)
    return varint(number << 3 | FIXED64) + struct.pack("<Q", time_ns) if time_ns else b""


def _flags_field(number: int, tree: dict[str, Json], at: str) -> bytes:
    flags = integer(tree, "flags", at, MAX_UINT32)
    return varint(number << 3 | FIXED32) + struct.pack("<I", flags) if flags else b""


def _enum(tree: dict[str, Json], key: str, at: str, names: dict[str, int]) -> int:
    """A number or its name."""
    value = tree.get(key)
    if isinstance(value, str) and not value.isdecimal():
        if value not in names:
            raise wrong(f"{at}.{key}", f"one of {', '.join(names)}", value)
        return names[value]
    return integer(tree, key, at, _MAX_ENUM)
