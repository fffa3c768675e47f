"""OTLP logs in JSON to the protobuf that they stand for.

Encoding: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. It is lenient where
senders differ: numbers of 64 bits may be texts, enumerations names, arrays null or missing; keys
that are not known are left out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from obsd.ingest.json_shown import NOT_JSON, shown
from obsd.model.errors import UndecodableError
from obsd.model.log_record import Value
from obsd.model.severity import severity_number
from obsd.services.log_encoding import any_value, log_record
from obsd.services.protobuf import bytes_field, uint_field

_MAX_DEPTH: Final = 100
_SEVERITY_PREFIX: Final = "SEVERITY_NUMBER_"
_MAX_UINT64: Final = (1 << 64) - 1
_MAX_UINT32: Final = (1 << 32) - 1

Json = Any


def logs_request_from_json(body: bytes) -> bytes:
    """An `ExportLogsServiceRequest`.

    Raises:
        UndecodableError: where in the body something is not as it should be.
    """
    try:
        tree = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise UndecodableError(f"the body is no JSON: {error}") from None
    return _repeated(1, _object(tree, "$"), "resourceLogs", "$", _resource_logs)


def _resource_logs(tree: dict[str, Json], at: str) -> bytes:
    parts = []
    if (resource := _child(tree, "resource", at)) is not None:
        parts.append(bytes_field(1, _attributed(1, 2, resource, f"{at}.resource")))
    parts.append(_repeated(2, tree, "scopeLogs", at, _scope_logs))
    parts.append(_text_field(3, tree, "schemaUrl", at))
    return b"".join(parts)


def _attributed(attributes: int, dropped: int, tree: dict[str, Json], at: str) -> bytes:
    count = _integer(tree, "droppedAttributesCount", at, _MAX_UINT32)
    return _pairs(attributes, tree, "attributes", at) + uint_field(dropped, count)


def _scope_logs(tree: dict[str, Json], at: str) -> bytes:
    parts = []
    if (scope := _child(tree, "scope", at)) is not None:
        where = f"{at}.scope"
        parts.append(
            bytes_field(
                1,
                _text_field(1, scope, "name", where)
                + _text_field(2, scope, "version", where)
                + _attributed(3, 4, scope, where),
            )
        )
    parts.append(_repeated(2, tree, "logRecords", at, _log_record))
    parts.append(_text_field(3, tree, "schemaUrl", at))
    return b"".join(parts)


def _log_record(tree: dict[str, Json], at: str) -> bytes:
    parts = [
        log_record(
            time_ns=_integer(tree, "timeUnixNano", at, _MAX_UINT64),
            observed_ns=_integer(tree, "observedTimeUnixNano", at, _MAX_UINT64),
            severity_number=_severity(tree, at),
            severity_text=_text(tree, "severityText", at),
            body=None,
            flags=_integer(tree, "flags", at, _MAX_UINT32),
            trace_id=_id(tree, "traceId", at),
            span_id=_id(tree, "spanId", at),
        )
    ]
    if tree.get("body") is not None:
        parts.append(bytes_field(5, _any_value(tree["body"], f"{at}.body", 0)))
    parts.append(_attributed(6, 7, tree, at))
    parts.append(_text_field(12, tree, "eventName", at))
    return b"".join(parts)


def _pairs(number: int, tree: dict[str, Json], key: str, at: str, depth: int = 0) -> bytes:
    """`KeyValue`s."""

    def pair(each: dict[str, Json], where: str) -> bytes:
        value = each.get("value")
        encoded = b"" if value is None else _any_value(value, f"{where}.value", depth)
        return _text_field(1, each, "key", where) + bytes_field(2, encoded)

    return _repeated(number, tree, key, at, pair)


def _any_value(value: Json, at: str, depth: int) -> bytes:
    """The first key that is known and not null decides; without one it is an empty value."""
    if depth > _MAX_DEPTH:
        raise UndecodableError(f"{at}: nested more than {_MAX_DEPTH} deep")
    for key, inner in _object(value, at).items():
        if inner is None:
            continue
        where = f"{at}.{key}"
        match key:
            case "arrayValue":
                children = _repeated(
                    1,
                    _object(inner, where),
                    "values",
                    where,
                    lambda each, place: _any_value(each, place, depth + 1),
                )
                return bytes_field(5, children)
            case "kvlistValue":
                return bytes_field(6, _pairs(1, _object(inner, where), "values", where, depth + 1))
        if (read := _SCALARS.get(key)) is not None:
            return any_value(read(value, key, at))
    return b""


def _text(tree: dict[str, Json], key: str, at: str) -> str:
    value = tree.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(f"{at}.{key}", "a string", value)
    return value


def _text_field(number: int, tree: dict[str, Json], key: str, at: str) -> bytes:
    text = _text(tree, key, at)
    return bytes_field(number, text.encode("utf-8", "surrogatepass")) if text else b""


def _bool(tree: dict[str, Json], key: str, at: str) -> bool:
    value = tree.get(key)
    if not isinstance(value, bool):
        raise _wrong(f"{at}.{key}", "true or false", value)
    return value


def _integer(tree: dict[str, Json], key: str, at: str, largest: int, smallest: int = 0) -> int:
    """A number, or a text of one; 0 where there is none."""
    value = tree.get(key)
    if value is None:
        return 0
    if isinstance(value, str):
        digits = value.removeprefix("-")
        number = int(value) if digits.isascii() and digits.isdecimal() and len(value) < 21 else None
    elif isinstance(value, float):
        number = int(value) if value.is_integer() else None
    else:
        number = value if type(value) is int else None
    if number is None or not smallest <= number <= largest:
        raise _wrong(f"{at}.{key}", f"an integer from {smallest} to {largest}", value)
    return number


def _int64(tree: dict[str, Json], key: str, at: str) -> int:
    return _integer(tree, key, at, (1 << 63) - 1, -(1 << 63))


def _double(tree: dict[str, Json], key: str, at: str) -> float:
    value = tree.get(key)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise _wrong(f"{at}.{key}", "a number", value)


def _bytes(tree: dict[str, Json], key: str, at: str) -> bytes:
    """Base 64, of either alphabet, with or without the padding."""
    text = _text(tree, key, at).translate(_URL_ALPHABET)
    try:
        return base64.b64decode(
            text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True
        )
    except ValueError as error:  # Of binascii, too.
        raise UndecodableError(f"{at}.{key}: expected base64: {error}") from None


_URL_ALPHABET: Final = str.maketrans("-_", "+/")
_SCALARS: Final[dict[str, Callable[[dict[str, Json], str, str], Value]]] = {
    "stringValue": _text,
    "boolValue": _bool,
    "intValue": _int64,
    "doubleValue": _double,
    "bytesValue": _bytes,
}


def _id(tree: dict[str, Json], key: str, at: str) -> bytes:
    text = _text(tree, key, at)
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        raise _wrong(f"{at}.{key}", "hexadecimal digits", text) from None


def _severity(tree: dict[str, Json], at: str) -> int:
    """A number, or a name such as `SEVERITY_NUMBER_WARN2`."""
    value = tree.get("severityNumber")
    if isinstance(value, str) and not value.lstrip("-").isdecimal():
        name = value.removeprefix(_SEVERITY_PREFIX)
        if (number := severity_number(name)) == 0 and name != "UNSPECIFIED":
            raise _wrong(f"{at}.severityNumber", "a severity number", value)
        return number
    return _integer(tree, "severityNumber", at, (1 << 31) - 1)


def _child(tree: dict[str, Json], key: str, at: str) -> dict[str, Json] | None:
    value = tree.get(key)
    return None if value is None else _object(value, f"{at}.{key}")


def _repeated(
    number: int,
    tree: dict[str, Json],
    key: str,
    at: str,
    encode: Callable[[dict[str, Json], str], bytes],
) -> bytes:
    """A field for each element of an array; nulls among them stand for empty ones."""
    items = tree.get(key)
    if items is None:
        return b""
    if not isinstance(items, list):
        raise _wrong(f"{at}.{key}", "an array", items)
    out = []
    for index, item in enumerate(items):
        where = f"{at}.{key}[{index}]"
        out.append(bytes_field(number, encode({} if item is None else _object(item, where), where)))
    return b"".join(out)


def _object(value: Json, at: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _wrong(at, "an object", value)
    return cast(dict[str, Json], value)


def _wrong(at: str, expected: str, found: object) -> UndecodableError:
    return UndecodableError(f"{at}: expected {expected}, found {shown(found)}")
