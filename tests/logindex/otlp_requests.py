"""OTLP logs requests from records, through the protocol's own generated code."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from obsd.logindex.engine import LogEngine, LogWriteOutcome
from obsd.model.log_record import LogRecord, Value

NOW_MS = 1_700_000_000_000
NOW_NS = NOW_MS * 1_000_000


def record(body: Value = "", time_ns: int = NOW_NS, **fields: Any) -> LogRecord:
    """A record in which most is left out."""
    values: dict[str, Any] = {
        "observed_ns": time_ns,
        "severity_number": 0,
        "severity_text": "",
        "service": "",
        "trace_id": "",
        "span_id": "",
        "resource": {},
        "attributes": {},
        **fields,
    }
    if values["service"]:
        values["resource"] = {"service.name": values["service"], **values["resource"]}
    return LogRecord(time_ns=time_ns, body=body, **values)


def set_value(target: AnyValue, value: Value) -> None:
    """Put a Python value into an AnyValue, its type kept."""
    match value:
        case None:
            pass
        case bool():
            target.bool_value = value
        case int():
            target.int_value = value
        case float():
            target.double_value = value
        case str():
            target.string_value = value
        case bytes():
            target.bytes_value = value
        case list():
            target.array_value.SetInParent()
            for item in value:
                set_value(target.array_value.values.add(), item)
        case dict():
            target.kvlist_value.SetInParent()
            for key, item in value.items():
                entry = target.kvlist_value.values.add(key=key)
                set_value(entry.value, item)


def request(records: Iterable[LogRecord]) -> bytes:
    """The request with these records, each in a resource of its own."""
    message = ExportLogsServiceRequest()
    for item in records:
        of_resource = message.resource_logs.add()
        for key, value in item.resource.items():
            set_value(of_resource.resource.attributes.add(key=key).value, value)
        entry = of_resource.scope_logs.add().log_records.add(
            time_unix_nano=item.time_ns,
            observed_time_unix_nano=item.observed_ns,
            severity_number=item.severity_number,  # type: ignore[arg-type]
            severity_text=item.severity_text,
            trace_id=bytes.fromhex(item.trace_id),
            span_id=bytes.fromhex(item.span_id),
        )
        set_value(entry.body, item.body)
        for key, value in item.attributes.items():
            set_value(entry.attributes.add(key=key).value, value)
    return message.SerializeToString()


def write(
    engine: LogEngine, records: Iterable[LogRecord], *, distinct: bool = False
) -> LogWriteOutcome:
    """Write records, and wait until they are durable."""
    return write_body(engine, request(records), distinct=distinct)


def write_body(engine: LogEngine, body: bytes, *, distinct: bool = False) -> LogWriteOutcome:
    """Write a request, and wait until it is durable."""
    durable = threading.Event()
    errors: list[Exception | None] = []

    def on_durable(error: Exception | None) -> None:
        errors.append(error)
        durable.set()

    outcome = engine.write(body, on_durable, distinct=distinct)
    assert durable.wait(timeout=10)
    assert errors == [None]
    return outcome
