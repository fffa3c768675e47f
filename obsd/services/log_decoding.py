"""OTLP protobuf back to log records, for the few that a person looks at."""

from __future__ import annotations

import struct
from typing import Final

from obsd.model.log_record import LogRecord, Value
from obsd.services.protobuf import BYTES, iter_fields, signed

_SERVICE_NAME: Final = "service.name"


def decode_logs(body: bytes) -> list[LogRecord]:
    """The records of an `ExportLogsServiceRequest`, in order.

    Raises:
        UndecodableError: it is none.
    """
    records: list[LogRecord] = []
    for group in _messages(body, 1):
        resource: dict[str, Value] = {}
        for message in _messages(group, 1):
            resource |= _key_values(message, 1)
        for scope in _messages(group, 2):
            records += (_record(message, resource) for message in _messages(scope, 2))
    return records


def _messages(message: bytes, number: int) -> list[bytes]:
    return [
        value
        for field, kind, value in iter_fields(message)
        if field == number and kind == BYTES and isinstance(value, bytes)
    ]


def _key_values(message: bytes, number: int) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for entry in _messages(message, number):
        name = "".join(key.decode("utf-8", "replace") for key in _messages(entry, 1))
        # Of equal names the first counts.
        found.setdefault(name, next(map(_value, _messages(entry, 2)), None))
    return found


def _value(message: bytes) -> Value:
    value: Value = None
    for number, _, raw in iter_fields(message):
        match number, raw:
            case 1, bytes():
                value = raw.decode("utf-8", "replace")
            case 2, int():
                value = raw != 0
            case 3, int():
                value = signed(raw)
            case 4, int():
                [value] = struct.unpack("<d", raw.to_bytes(8, "little"))
            case 5, bytes():
                value = [_value(each) for each in _messages(raw, 1)]
            case 6, bytes():
                value = _key_values(raw, 1)
            case 7, bytes():
                value = raw
    return value


def _record(message: bytes, resource: dict[str, Value]) -> LogRecord:
    fields = {number: value for number, _, value in iter_fields(message)}

    def number(field: int) -> int:
        value = fields.get(field, 0)
        return value if isinstance(value, int) else 0

    def raw(field: int) -> bytes:
        value = fields.get(field, b"")
        return value if isinstance(value, bytes) else b""

    service = resource.get(_SERVICE_NAME)
    return LogRecord(
        time_ns=number(1) or number(11),
        observed_ns=number(11),
        severity_number=number(2),
        severity_text=raw(3).decode("utf-8", "replace"),
        service=service if isinstance(service, str) else "",
        body=_value(raw(5)),
        trace_id=raw(9).hex(),
        span_id=raw(10).hex(),
        resource=resource,
        attributes=_key_values(message, 6),
    )
