"""Log records as OTLP protobuf: the one form in which they enter an engine.

Receivers of other protocols put their fields together here. Messages:
https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/logs/v1/logs.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from obsd.model.errors import TooLargeError
from obsd.model.log_record import LogRecord, Value
from obsd.services.protobuf import bytes_field, varint

_SERVICE_NAME: Final = "service.name"
_MIN_INT64: Final = -(1 << 63)
_MAX_INT64: Final = (1 << 63) - 1

MAX_REQUEST_MEMORY_BYTES: Final = 256 << 20
MAX_ATTRIBUTES: Final = 128
"""Of one record, as the log engine takes them."""
OTHER_FIELDS: Final = "other_fields"
"""The attribute that has those of a document's fields which would be too many."""

# A field's key: its number and its wire type.
_TIME: Final = varint(1 << 3 | 1)
_SEVERITY_NUMBER: Final = varint(2 << 3)
_FLAGS: Final = varint(8 << 3 | 5)
_OBSERVED: Final = varint(11 << 3 | 1)
_BOOL_TRUE, _BOOL_FALSE = b"\x10\x01", b"\x10\x00"
_INT: Final = varint(3 << 3)
_DOUBLE: Final = varint(4 << 3 | 1)


@dataclass(slots=True)
class RecordGroup:
    """Encoded records that one resource made."""

    resource: bytes
    records: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class RequestMemory:
    """What the pieces of a request that is being put together take."""

    size_bytes: int = 0

    def add(self, piece_bytes: int) -> None:
        """Count a piece, with what Python takes to hold one.

        Raises:
            TooLargeError: they take too much.
        """
        self.size_bytes += piece_bytes + 64
        if self.size_bytes > MAX_REQUEST_MEMORY_BYTES:
            raise TooLargeError("request in memory", MAX_REQUEST_MEMORY_BYTES)


def any_value(value: Value) -> bytes:
    """An `AnyValue`; a null is one without a value, and whole numbers beyond int64 are doubles."""
    match value:
        case str():
            return bytes_field(1, value.encode("utf-8", "surrogatepass"))
        case bool():
            return _BOOL_TRUE if value else _BOOL_FALSE
        case int() if _MIN_INT64 <= value <= _MAX_INT64:
            return _INT + varint(value)
        case int() | float():
            return _DOUBLE + struct.pack("<d", _as_double(value))
        case bytes():
            return bytes_field(7, value)
        case list():
            return bytes_field(5, b"".join(bytes_field(1, any_value(each)) for each in value))
        case dict():
            return bytes_field(6, key_values(value, 1))
        case None:
            return b""


def _as_double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def key_values(attributes: Mapping[str, Value], number: int) -> bytes:
    """Repeated `KeyValue` in a field."""
    return b"".join(
        bytes_field(
            number,
            bytes_field(1, name.encode("utf-8", "surrogatepass"))
            + bytes_field(2, any_value(value)),
        )
        for name, value in attributes.items()
    )


def resource(attributes: Mapping[str, Value]) -> bytes:
    """A `Resource`."""
    return key_values(attributes, 1)


def bounded(
    fields: Mapping[str, Value], first: str = "", limit: int = MAX_ATTRIBUTES
) -> Mapping[str, Value]:
    """A document's fields as attributes: of too many the last ones are in a map together.

    The field `first` is never among these.
    """
    if len(fields) <= limit:
        return fields
    kept: dict[str, Value] = {first: fields[first]} if first in fields else {}
    others: dict[str, Value] = {}
    for name, value in fields.items():
        if name == first:
            continue
        is_kept = len(kept) < limit - 1 and name != OTHER_FIELDS
        (kept if is_kept else others)[name] = value
    kept[OTHER_FIELDS] = others
    return kept


def log_record(
    *,
    time_ns: int,
    body: Value,
    observed_ns: int = 0,
    severity_number: int = 0,
    severity_text: str = "",
    attributes: Mapping[str, Value] | None = None,
    trace_id: bytes = b"",
    span_id: bytes = b"",
    flags: int = 0,
) -> bytes:
    """A `LogRecord`; what is 0 or empty is left out."""
    parts = []
    if time_ns:
        parts.append(_TIME + struct.pack("<Q", time_ns))
    if severity_number:
        parts.append(_SEVERITY_NUMBER + varint(severity_number))
    if severity_text:
        parts.append(bytes_field(3, severity_text.encode("utf-8", "surrogatepass")))
    if body is not None:
        parts.append(bytes_field(5, any_value(body)))
    if attributes:
        parts.append(key_values(attributes, 6))
    if flags:
        parts.append(_FLAGS + struct.pack("<I", flags))
    if trace_id:
        parts.append(bytes_field(9, trace_id))
    if span_id:
        parts.append(bytes_field(10, span_id))
    if observed_ns:
        parts.append(_OBSERVED + struct.pack("<Q", observed_ns))
    return b"".join(parts)


def request(groups: Iterable[RecordGroup]) -> bytes:
    """An `ExportLogsServiceRequest`."""
    return b"".join(
        bytes_field(
            1,
            bytes_field(1, group.resource)
            + bytes_field(2, b"".join(bytes_field(2, record) for record in group.records)),
        )
        for group in groups
    )


def encode_logs(records: Iterable[LogRecord]) -> bytes:
    """Records of the model; the service is among the resource's attributes then."""
    groups: dict[bytes, RecordGroup] = {}
    for each in records:
        attributes = dict(each.resource)
        if each.service:
            attributes[_SERVICE_NAME] = each.service
        key = resource(attributes)
        groups.setdefault(key, RecordGroup(key)).records.append(
            log_record(
                time_ns=each.time_ns,
                observed_ns=each.observed_ns,
                severity_number=each.severity_number,
                severity_text=each.severity_text,
                body=each.body,
                attributes=each.attributes,
                trace_id=bytes.fromhex(each.trace_id),
                span_id=bytes.fromhex(each.span_id),
            )
        )
    return request(groups.values())
