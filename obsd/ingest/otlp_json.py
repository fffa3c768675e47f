"""OTLP logs in JSON to the protobuf that they stand for.

Encoding: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. It is lenient where
senders differ: numbers of 64 bits may be texts, enumerations names, arrays null or missing; keys
that are not known are left out.
"""

from __future__ import annotations

from typing import Final

from obsd.ingest.otlp_json_values import (
    MAX_UINT32,
    MAX_UINT64,
    Json,
    attributed,
    encode_value,
    identifier,
    integer,
    read_tree,
    repeated,
    resource,
    scope,
    text,
    text_field,
    wrong,
)
from obsd.model.severity import severity_number
from obsd.services.log_encoding import log_record
from obsd.services.protobuf import bytes_field

_SEVERITY_PREFIX: Final = "SEVERITY_NUMBER_"


def logs_request_from_json(body: bytes) -> bytes:
    """An `ExportLogsServiceRequest`.

    Raises:
        UndecodableError: where in the body something is not as it should be.
    """
    return repeated(1, read_tree(body), "resourceLogs", "$", _resource_logs)


def _resource_logs(tree: dict[str, Json], at: str) -> bytes:
    logs = repeated(2, tree, "scopeLogs", at, _scope_logs)
    return resource(tree, at) + logs + text_field(3, tree, "schemaUrl", at)


def _scope_logs(tree: dict[str, Json], at: str) -> bytes:
    records = repeated(2, tree, "logRecords", at, _log_record)
    return scope(tree, at) + records + text_field(3, tree, "schemaUrl", at)


def _log_record(tree: dict[str, Json], at: str) -> bytes:
    parts = [
        log_record(
            time_ns=integer(tree, "timeUnixNano", at, MAX_UINT64),
            observed_ns=integer(tree, "observedTimeUnixNano", at, MAX_UINT64),
            severity_number=_severity(tree, at),
            severity_text=text(tree, "severityText", at),
            body=None,
            flags=integer(tree, "flags", at, MAX_UINT32),
            trace_id=identifier(tree, "traceId", at),
            span_id=identifier(tree, "spanId", at),
        )
    ]
    if tree.get("body") is not None:
        parts.append(bytes_field(5, encode_value(tree["body"], f"{at}.body", 0)))
    parts.append(attributed(6, 7, tree, at))
    parts.append(text_field(12, tree, "eventName", at))
    return b"".join(parts)


def _severity(tree: dict[str, Json], at: str) -> int:
    """A number, or a name such as `SEVERITY_NUMBER_WARN2`."""
    value = tree.get("severityNumber")
    if isinstance(value, str) and not value.lstrip("-").isdecimal():
        name = value.removeprefix(_SEVERITY_PREFIX)
        if (number := severity_number(name)) == 0 and name != "UNSPECIFIED":
            raise wrong(f"{at}.severityNumber", "a severity number", value)
        return number
    return integer(tree, "severityNumber", at, (1 << 31) - 1)
