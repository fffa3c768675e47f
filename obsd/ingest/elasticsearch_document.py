"""Documents as records: which field is what, under the names that Elastic's agents use.

Objects are flattened, as Elasticsearch's own mapping has it: `{"log": {"level": "info"}}` is
`log.level`. What says where a document comes from becomes the resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from obsd.ingest.json_lines import FIRST_NS, time_of
from obsd.ingest.record_hints import SERVICE_NAMES, find_level, find_span, find_text, find_trace
from obsd.ingest.record_limits import MAX_DEPTH, RecordLimits, check_depth
from obsd.model.errors import BadInputError
from obsd.model.log_record import Value
from obsd.services.log_encoding import bounded, log_record, resource

TIME_FIELDS: Final = ("@timestamp", "timestamp", "time")
MESSAGE_FIELDS: Final = ("message", "log", "msg")
SOURCE_PREFIXES: Final = (
    "agent.",
    "cloud.",
    "container.",
    "data_stream.",
    "host.",
    "kubernetes.",
    "orchestrator.",
    "service.",
)


def encode_document(
    document: Mapping[str, Any], index: str, doc_id: str, now_ns: int, limits: RecordLimits
) -> tuple[bytes, bytes]:
    """The resource and the record that a document stands for.

    Args:
        document: as it was sent.
        index: where it was to be stored.
        doc_id: the id that the sender gave it; "" where it gave none.
        now_ns: its time, if it has none.
        limits: what the engine takes.

    Raises:
        BadInputError: it is over a limit.
    """
    fields: dict[str, Value] = {}
    flatten(document, "", fields, MAX_DEPTH)
    time_ns = _take_time(fields)
    body = _take_message(fields)
    source = _take_source(fields, index)
    level, number, text = find_level(fields)
    trace, trace_id = find_trace(fields)
    span, span_id = find_span(fields)
    for name in (level, trace, span):
        if name:
            del fields[name]
    if doc_id:
        fields["_id"] = doc_id
    record = log_record(
        # One that has no time is left without any: the engine gives it that of its arrival, and
        # does not take it for the same as another.
        time_ns=time_ns or 0,
        observed_ns=now_ns if time_ns else 0,
        body=msgspec.json.encode(document).decode() if body is None else body,
        severity_number=number,
        severity_text=text,
        attributes=bounded(fields, "_id"),
        trace_id=trace_id,
        span_id=span_id,
    )
    limits.check(time_ns or now_ns, record)
    return resource(source), record


def flatten(document: Mapping[str, Any], prefix: str, fields: dict[str, Value], depth: int) -> None:
    """Put a document's values under their dotted names; nulls are none.

    Raises:
        BadInputError: it is nested too deeply.
    """
    if depth == 0:
        raise BadInputError(f"the document is nested more than {MAX_DEPTH} deep")
    for key, value in document.items():
        if isinstance(value, dict):
            flatten(value, f"{prefix}{key}.", fields, depth - 1)
        elif value is not None:
            check_depth(value, depth)
            fields[prefix + key] = value


def _take_time(fields: dict[str, Value]) -> int | None:
    for name in TIME_FIELDS:
        value = fields.get(name)
        time_ns = FIRST_NS if _is_zero(value) else time_of(value)
        if time_ns is not None:
            del fields[name]
            return time_ns
    return None


def _is_zero(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0


def _take_message(fields: dict[str, Value]) -> str | None:
    for name in MESSAGE_FIELDS:
        value = fields.get(name)
        if isinstance(value, str):
            del fields[name]
            return value
    return None


def _take_source(fields: dict[str, Value], index: str) -> dict[str, Value]:
    """What becomes the resource: the index, the host, the service and what they run on."""
    source: dict[str, Value] = {"_index": index}
    for name in [name for name in fields if name.startswith(SOURCE_PREFIXES)]:
        source[name] = fields.pop(name)
    if isinstance(fields.get("host"), str):
        source.setdefault("host.name", fields.pop("host"))
    if "service.name" not in source and (name := find_text(fields, SERVICE_NAMES)):
        source["service.name"] = fields.pop(name)
    return source
