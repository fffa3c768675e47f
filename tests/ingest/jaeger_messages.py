"""Jaeger's messages, written with Apache's Thrift library."""

from __future__ import annotations

from typing import Any

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TType
from thrift.transport.TTransport import TMemoryBuffer

CHILD_OF, FOLLOWS_FROM = 0, 1

Struct = list[tuple[int, int, Any]]
"""Number, type and value of each field; a list has structs, and None is left out."""


def written(struct: Struct) -> bytes:
    buffer = TMemoryBuffer()
    _write_struct(TBinaryProtocol(buffer), struct)
    return buffer.getvalue()


def _write_struct(out: TBinaryProtocol, struct: Struct) -> None:
    out.writeStructBegin("")
    for number, kind, value in struct:
        if value is None:
            continue
        out.writeFieldBegin("", kind, number)
        match kind:
            case TType.STRING:
                out.writeBinary(value if isinstance(value, bytes) else value.encode())
            case TType.I32:
                out.writeI32(value)
            case TType.I64:
                out.writeI64(value)
            case TType.DOUBLE:
                out.writeDouble(value)
            case TType.BOOL:
                out.writeBool(value)
            case TType.STRUCT:
                _write_struct(out, value)
            case TType.LIST:
                out.writeListBegin(TType.STRUCT, len(value))
                for each in value:
                    _write_struct(out, each)
                out.writeListEnd()
        out.writeFieldEnd()
    out.writeFieldStop()
    out.writeStructEnd()


def tag(key: str, value: Any) -> Struct:
    kinds = {str: (0, 3, TType.STRING), float: (1, 4, TType.DOUBLE), bool: (2, 5, TType.BOOL)}
    kinds |= {int: (3, 6, TType.I64), bytes: (4, 7, TType.STRING)}
    number, field, kind = kinds[type(value)]
    return [(1, TType.STRING, key), (2, TType.I32, number), (field, kind, value)]


def log(time_us: int, *fields: Struct) -> Struct:
    return [(1, TType.I64, time_us), (2, TType.LIST, list(fields))]


def reference(kind: int, trace_low: int, trace_high: int, span_id: int) -> Struct:
    ids = (trace_low, trace_high, span_id)
    return [(1, TType.I32, kind), *((2 + at, TType.I64, value) for at, value in enumerate(ids))]


def jaeger_span(
    start_us: int,
    *,
    trace_low: int = 1,
    trace_high: int = 0,
    span_id: int = 1,
    parent_id: int = 0,
    name: str = "GET /",
    references: list[Struct] | None = None,
    tags: list[Struct] | None = None,
    logs: list[Struct] | None = None,
) -> Struct:
    """A server's span of a second."""
    return [
        (1, TType.I64, trace_low),
        (2, TType.I64, trace_high),
        (3, TType.I64, span_id),
        (4, TType.I64, parent_id),
        (5, TType.STRING, name),
        (6, TType.LIST, references),
        (7, TType.I32, 1),
        (8, TType.I64, start_us),
        (9, TType.I64, 1_000_000),
        (10, TType.LIST, [tag("span.kind", "server")] if tags is None else tags),
        (11, TType.LIST, logs),
    ]


def batch(*spans: Struct, tags: list[Struct] | None = None) -> bytes:
    process = [(1, TType.STRING, "web"), (2, TType.LIST, tags)]
    return written([(1, TType.STRUCT, process), (2, TType.LIST, list(spans))])
