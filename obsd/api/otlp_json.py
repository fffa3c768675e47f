"""Spans as OTLP's JSON, for APIs that answer in it.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding has ids in hexadecimal digits;
Tempo's JSON is proto3's, where they are base64.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from obsd.api.log_entry import json_value
from obsd.model.span import SpanKind, StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from obsd.model.log_record import Value
    from obsd.model.span import Scope, Span, SpanEvent, SpanLink

Json = dict[str, object]
EncodeId = Callable[[str], str]


def hex_id(digits: str) -> str:
    return digits


def base64_id(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()


_KINDS: Final = {kind: f"SPAN_KIND_{kind.name}" for kind in SpanKind}
_STATUSES: Final = {code: f"STATUS_CODE_{code.name}" for code in StatusCode}


def resource_spans(spans: Iterable[Span], encode_id: EncodeId, *, names: bool) -> list[Json]:
    """`resourceSpans`; with `names`, enums are their names, as proto3's JSON has them."""
    groups: dict[bytes, dict[bytes, list[Json]]] = {}
    heads: dict[bytes, Json] = {}
    for span in spans:
        resource = _resource(span)
        scope = _scope_head(span.scope)
        resource_key, scope_key = msgspec.json.encode(resource), msgspec.json.encode(scope)
        heads[resource_key], heads[scope_key] = resource, scope
        scopes = groups.setdefault(resource_key, {})
        scopes.setdefault(scope_key, []).append(_span(span, encode_id, names=names))
    return [
        {
            **heads[resource],
            "scopeSpans": [{**heads[s], "spans": each} for s, each in scopes.items()],
        }
        for resource, scopes in groups.items()
    ]


def _resource(span: Span) -> Json:
    attributes = dict(span.resource)
    if span.service:
        attributes.setdefault("service.name", span.service)
    head: Json = {"resource": {"attributes": key_values(attributes)}}
    if span.resource_schema_url:
        head["schemaUrl"] = span.resource_schema_url
    return head


def _scope_head(scope: Scope) -> Json:
    inner: Json = {"name": scope.name}
    if scope.version:
        inner["version"] = scope.version
    if scope.attributes:
        inner["attributes"] = key_values(scope.attributes)
    if scope.dropped_attributes:
        inner["droppedAttributesCount"] = scope.dropped_attributes
    head: Json = {"scope": inner}
    if scope.schema_url:
        head["schemaUrl"] = scope.schema_url
    return head


def _span(span: Span, encode_id: EncodeId, *, names: bool) -> Json:
    shown: Json = {
        "traceId": encode_id(span.trace_id),
        "spanId": encode_id(span.span_id),
        "parentSpanId": encode_id(span.parent_id) if span.parent_id else None,
        "traceState": span.trace_state,
        "flags": span.flags,
        "name": span.name,
        "kind": _KINDS[span.kind] if names else int(span.kind),
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": key_values(span.attributes),
        "droppedAttributesCount": span.dropped_attributes,
        "events": [_event(event) for event in span.events],
        "droppedEventsCount": span.dropped_events,
        "links": [_link(link, encode_id) for link in span.links],
        "droppedLinksCount": span.dropped_links,
    }
    status: Json = {}
    if span.status_message:
        status["message"] = span.status_message
    if span.status is not StatusCode.UNSET:
        status["code"] = _STATUSES[span.status] if names else int(span.status)
    return {name: value for name, value in shown.items() if value} | {"status": status}


def _event(event: SpanEvent) -> Json:
    shown: Json = {"timeUnixNano": str(event.time_ns), "name": event.name}
    if event.attributes:
        shown["attributes"] = key_values(event.attributes)
    if event.dropped_attributes:
        shown["droppedAttributesCount"] = event.dropped_attributes
    return shown


def _link(link: SpanLink, encode_id: EncodeId) -> Json:
    shown: Json = {"traceId": encode_id(link.trace_id), "spanId": encode_id(link.span_id)}
    if link.trace_state:
        shown["traceState"] = link.trace_state
    if link.attributes:
        shown["attributes"] = key_values(link.attributes)
    if link.dropped_attributes:
        shown["droppedAttributesCount"] = link.dropped_attributes
    if link.flags:
        shown["flags"] = link.flags
    return shown


def key_values(values: Mapping[str, Value]) -> list[Json]:
    """`KeyValue`s."""
    return [{"key": name, "value": any_value(value)} for name, value in values.items()]


def any_value(value: Value) -> Json:
    """An `AnyValue`; 64-bit integers are texts."""
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": json_value(value)}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case str():
            return {"stringValue": value}
        case list():
            return {"arrayValue": {"values": [any_value(each) for each in value]}}
    return {"kvlistValue": {"values": key_values(value)}}
