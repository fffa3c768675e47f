"""Jaeger's `Batch` of spans, in Thrift's binary protocol, to OTLP.

Model: https://github.com/jaegertracing/jaeger-idl/blob/main/thrift/jaeger.thrift
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from obsd.ingest.thrift_binary import LIST, STRUCT, Struct, ThriftReader
from obsd.model.errors import UndecodableError
from obsd.model.log_record import Value
from obsd.model.log_text import text_of
from obsd.model.span import Scope, SpanEvent, SpanKind, SpanLink, StatusCode
from obsd.services.log_encoding import RequestMemory, resource
from obsd.services.span_encoding import SpanGroup, request, scope, span

T = TypeVar("T")

UNKNOWN_SERVICE: Final = "unknown_service"
_KINDS: Final = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}
_REFERENCES: Final = ("child_of", "follows_from")
_STATUSES: Final = {"OK": StatusCode.OK, "ERROR": StatusCode.ERROR}
_RESOURCE_NAMES: Final = {"hostname": "host.name"}
# How OpenTracing tells of an exception, and OpenTelemetry.
_EXCEPTION: Final = {
    "error.kind": "exception.type",
    "message": "exception.message",
    "stack": "exception.stacktrace",
}
_MAX_US: Final = ((1 << 63) - 1) // 1000


def encode_batch(body: bytes) -> bytes:
    """An `ExportTraceServiceRequest`.

    Raises:
        UndecodableError: the body is no batch.
        TooLargeError: it takes too much memory.
    """
    reader = ThriftReader(body)
    process: Struct = {}
    groups: dict[bytes, SpanGroup] = {}
    memory = RequestMemory()
    for number, kind in reader.iter_fields():
        if number == 1 and kind == STRUCT:
            process = reader.read(kind)
        elif number == 2 and kind == LIST:
            for each in reader.iter_structs():
                own_scope, encoded = _encode_span(each)
                memory.add(len(encoded))
                groups.setdefault(own_scope, SpanGroup(b"", own_scope)).spans.append(encoded)
        else:
            reader.read(kind)
    if not reader.is_at_end:
        raise UndecodableError("there is something behind the batch")
    own_resource = _resource(process)
    for group in groups.values():
        group.resource = own_resource
    return request(groups.values())


def _resource(process: Struct) -> bytes:
    tags = _tags(_list(process, 2))
    attributes = {_RESOURCE_NAMES.get(name, name): value for name, value in tags.items()}
    return resource({**attributes, "service.name": _text(process, 1) or UNKNOWN_SERVICE})


def _encode_span(fields: Struct) -> tuple[bytes, bytes]:
    """Its scope, and the span."""
    trace_id = _id(fields, 2) + _id(fields, 1)
    tags = _tags(_list(fields, 10))
    kind = _KINDS.get(_taken(tags, "span.kind").lower(), SpanKind.UNSPECIFIED)
    message = _taken(tags, "otel.status_description")
    status = _STATUSES.get(_taken(tags, "otel.status_code"), StatusCode.UNSET)
    if tags.get("error") in (True, "true"):
        status = StatusCode.ERROR
        del tags["error"]
    own_scope = Scope(
        _taken(tags, "otel.scope.name") or _taken(tags, "otel.library.name"),
        _taken(tags, "otel.scope.version") or _taken(tags, "otel.library.version"),
    )
    parent_id, links = _references(fields, trace_id)
    start_us = _us(fields, 8)
    encoded = span(
        trace_id=trace_id,
        span_id=_id(fields, 3),
        parent_id=parent_id,
        name=_text(fields, 5),
        kind=kind,
        start_ns=start_us * 1000,
        end_ns=min(start_us + _us(fields, 9), _MAX_US) * 1000,
        attributes=tags,
        events=[_event(each) for each in _structs(fields, 11)],
        links=links,
        status=status,
        status_message=message,
        trace_state=_taken(tags, "w3c.tracestate"),
        flags=_number(fields, 7) & 0xFF,
    )
    return scope(own_scope), encoded


def _references(fields: Struct, trace_id: bytes) -> tuple[bytes, list[SpanLink]]:
    """The parent's id, and what else the span refers to."""
    parent_id = _id(fields, 4).strip(b"\0") and _id(fields, 4)
    links = []
    for each in _structs(fields, 6):
        kind = _number(each, 1)
        other_trace, other_span = _id(each, 3) + _id(each, 2), _id(each, 4)
        is_parent = kind == 0 and other_trace == trace_id and parent_id in (b"", other_span)
        if is_parent:
            parent_id = other_span
            continue
        name = _REFERENCES[kind] if kind in (0, 1) else str(kind)
        attributes: dict[str, Value] = {"opentracing.ref_type": name}
        links.append(SpanLink(other_trace.hex(), other_span.hex(), attributes=attributes))
    return parent_id, links


def _event(log: Struct) -> SpanEvent:
    """A log; its field `event` is the name, and what OpenTracing says of errors an exception."""
    fields = _tags(_list(log, 2))
    time_ns = _us(log, 1) * 1000
    name = _taken(fields, "event")
    if name == "error" and any(field in fields for field in _EXCEPTION):
        renamed = {_EXCEPTION.get(field, field): value for field, value in fields.items()}
        return SpanEvent(time_ns, "exception", renamed)
    return SpanEvent(time_ns, name or _taken(fields, "message"), fields)


def _tags(tags: Iterable[object]) -> dict[str, Value]:
    return {_text(tag, 1): _tag_value(tag) for tag in _only_structs(tags)}


def _tag_value(tag: Struct) -> Value:
    match _number(tag, 2):
        case 0:
            return _text(tag, 3)
        case 1:
            return _typed(tag, 4, float, 0.0)
        case 2:
            return _typed(tag, 5, bool, default=False)
        case 3:
            return _number(tag, 6)
        case 4:
            return _typed(tag, 7, bytes, b"")
    return None


def _taken(tags: dict[str, Value], name: str) -> str:
    """The text of a tag that becomes something else; "" without it."""
    return text_of(tags.pop(name, None))


def _structs(fields: Struct, number: int) -> Iterator[Struct]:
    return _only_structs(_list(fields, number))


def _only_structs(values: Iterable[object]) -> Iterator[Struct]:
    for value in values:
        if not isinstance(value, dict):
            raise UndecodableError("a list has something else than structs")
        yield value


def _list(fields: Struct, number: int) -> list[object]:
    return _typed(fields, number, list, [])


def _text(fields: Struct, number: int) -> str:
    """What is no UTF-8 is replaced: old clients cut texts at a number of bytes."""
    return _typed(fields, number, bytes, b"").decode(errors="replace")


def _number(fields: Struct, number: int) -> int:
    return _typed(fields, number, int, 0)


def _us(fields: Struct, number: int) -> int:
    return min(max(0, _number(fields, number)), _MAX_US)


def _id(fields: Struct, number: int) -> bytes:
    """Ids are signed numbers here."""
    return _number(fields, number).to_bytes(8, "big", signed=True)


def _typed(fields: Struct, number: int, kind: type[T], default: T) -> T:
    value = fields.get(number, default)
    if type(value) is not kind:
        raise UndecodableError(
            f"field {number} is {type(value).__name__}, and should be {kind.__name__}"
        )
    return value
