"""A log record as the product API shows it."""

from __future__ import annotations

import base64
import math

import msgspec

from obsd.model.log_record import LogRecord, Value
from obsd.model.rfc3339 import format_rfc3339_ns
from obsd.model.severity import level_of


class LogEntry(msgspec.Struct):
    """One record.

    Attributes:
        timestamp: RFC 3339, to the nanosecond.
        level: trace, debug, info, warn, error or fatal; "" where the sender told none.
        message: the body as text; one that is no text as JSON.
        body: the body itself, with its type; null where it is a text.
        attributes, resource, details: bytes are base64, and numbers that JSON has not are texts.
    """

    timestamp: str
    observed_timestamp: str
    level: str
    severity_number: int
    severity_text: str
    service: str
    message: str
    body: object
    trace_id: str
    span_id: str
    attributes: dict[str, object]
    resource: dict[str, object]
    details: dict[str, object]


def log_entry(record: LogRecord) -> LogEntry:
    """The entry of a record."""
    body = record.body
    is_text = isinstance(body, str)
    plain = None if is_text else json_value(body)
    return LogEntry(
        timestamp=format_rfc3339_ns(record.time_ns),
        observed_timestamp=format_rfc3339_ns(record.observed_ns),
        level=level_of(record.severity_number, record.severity_text) or "",
        severity_number=record.severity_number,
        severity_text=record.severity_text,
        service=record.service,
        message=_message(body, plain),
        body=plain,
        trace_id=record.trace_id,
        span_id=record.span_id,
        attributes={name: json_value(value) for name, value in record.attributes.items()},
        resource={name: json_value(value) for name, value in record.resource.items()},
        details={name: json_value(value) for name, value in record.details.items()},
    )


def _message(body: Value, plain: object) -> str:
    if isinstance(body, str):
        return body
    return "" if body is None else msgspec.json.encode(plain).decode()


def json_value(value: Value) -> object:
    """The value as JSON can have it."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case bytes():
            return base64.b64encode(value).decode()
        case list():
            return [json_value(each) for each in value]
        case dict():
            return {name: json_value(each) for name, each in value.items()}
    return value
