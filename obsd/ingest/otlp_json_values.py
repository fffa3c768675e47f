"""Parts that OTLP messages of all signals have, in JSON, to the protobuf that they stand for.

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
from obsd.services.log_encoding import any_value
from obsd.services.protobuf import bytes_field, uint_field

_MAX_DEPTH: Final = 100
MAX_UINT64: Final = (1 << 64) - 1
MAX_UINT32: Final = (1 << 32) - 1

Json = Any


def read_tree(body: bytes) -> dict[str, Json]:
    """The object that a request is; without a single byte an empty one, as in protobuf.

    Raises:
        UndecodableError: it is none.
    """
    if not body:
        return {}
    try:
        tree = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise UndecodableError(f"the body is no JSON: {error}") from None
    return expect_object(tree, "$")


def child(tree: dict[str, Json], key: str, at: str) -> dict[str, Json] | None:
    """An object, or None."""
    value = tree.get(key)
    return None if value is None else expect_object(value, f"{at}.{key}")


def repeated(
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
        raise wrong(f"{at}.{key}", "an array", items)
    out = []
    for index, item in enumerate(items):
        where = f"{at}.{key}[{index}]"
        out.append(
            bytes_field(number, encode({} if item is None else expect_object(item, where), where))
        )
    return b"".join(out)


def expect_object(value: Json, at: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise wrong(at, "an object", value)
    return cast(dict[str, Json], value)


def resource(tree: dict[str, Json], at: str) -> bytes:
    """The field 1 that a resource is in every signal."""
    if (found := child(tree, "resource", at)) is None:
        return b""
    return bytes_field(1, attributed(1, 2, found, f"{at}.resource"))


def scope(tree: dict[str, Json], at: str) -> bytes:
    """The field 1 that a scope is in every signal."""
    if (found := child(tree, "scope", at)) is None:
        return b""
    where = f"{at}.scope"
    return bytes_field(
        1,
        text_field(1, found, "name", where)
        + text_field(2, found, "version", where)
        + attributed(3, 4, found, where),
    )


def attributed(attributes: int, dropped: int, tree: dict[str, Json], at: str) -> bytes:
    """Attributes, and how many of them were dropped."""
    count = integer(tree, "droppedAttributesCount", at, MAX_UINT32)
    return pairs(attributes, tree, "attributes", at) + uint_field(dropped, count)


def pairs(number: int, tree: dict[str, Json], key: str, at: str, depth: int = 0) -> bytes:
    """`KeyValue`s."""

    def pair(each: dict[str, Json], where: str) -> bytes:
        value = each.get("value")
        encoded = b"" if value is None else encode_value(value, f"{where}.value", depth)
        return text_field(1, each, "key", where) + bytes_field(2, encoded)

    return repeated(number, tree, key, at, pair)


def encode_value(value: Json, at: str, depth: int) -> bytes:
    """The first key that is known and not null decides; without one it is an empty value."""
    if depth > _MAX_DEPTH:
        raise UndecodableError(f"{at}: nested more than {_MAX_DEPTH} deep")
    for key, inner in expect_object(value, at).items():
        if inner is None:
            continue
        where = f"{at}.{key}"
        match key:
            case "arrayValue":
                children = repeated(
                    1,
                    expect_object(inner, where),
                    "values",
                    where,
                    lambda each, place: encode_value(each, place, depth + 1),
                )
                return bytes_field(5, children)
            case "kvlistValue":
                return bytes_field(
                    6, pairs(1, expect_object(inner, where), "values", where, depth + 1)
                )
        if (read := _SCALARS.get(key)) is not None:
            return any_value(read(value, key, at))
    return b""


def text(tree: dict[str, Json], key: str, at: str) -> str:
    """A string; empty where there is none."""
    value = tree.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(f"{at}.{key}", "a string", value)
    return value


def text_field(number: int, tree: dict[str, Json], key: str, at: str) -> bytes:
    """A string's field; nothing for an empty one."""
    found = text(tree, key, at)
    return bytes_field(number, found.encode("utf-8", "surrogatepass")) if found else b""


def boolean(tree: dict[str, Json], key: str, at: str) -> bool:
    value = tree.get(key)
    if not isinstance(value, bool):
        raise wrong(f"{at}.{key}", "true or false", value)
    return value


def integer(tree: dict[str, Json], key: str, at: str, largest: int, smallest: int = 0) -> int:
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
        raise wrong(f"{at}.{key}", f"an integer from {smallest} to {largest}", value)
    return number


def int64(tree: dict[str, Json], key: str, at: str) -> int:
    return integer(tree, key, at, (1 << 63) - 1, -(1 << 63))


def double(tree: dict[str, Json], key: str, at: str) -> float:
    """A number, or a text of one."""
    value = tree.get(key)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise wrong(f"{at}.{key}", "a number", value)


def base64_bytes(tree: dict[str, Json], key: str, at: str) -> bytes:
    """Base 64, of either alphabet, with or without the padding."""
    found = text(tree, key, at).translate(_URL_ALPHABET)
    try:
        return base64.b64decode(
            found.rstrip("=") + "=" * (-len(found.rstrip("=")) % 4), validate=True
        )
    except ValueError as error:  # Of binascii, too.
        raise UndecodableError(f"{at}.{key}: expected base64: {error}") from None


_URL_ALPHABET: Final = str.maketrans("-_", "+/")
_SCALARS: Final[dict[str, Callable[[dict[str, Json], str, str], Value]]] = {
    "stringValue": text,
    "boolValue": boolean,
    "intValue": int64,
    "doubleValue": double,
    "bytesValue": base64_bytes,
}


def identifier(tree: dict[str, Json], key: str, at: str) -> bytes:
    """Bytes as hexadecimal digits."""
    found = text(tree, key, at)
    try:
        return binascii.unhexlify(found)
    except (binascii.Error, ValueError):
        raise wrong(f"{at}.{key}", "hexadecimal digits", found) from None


def wrong(at: str, expected: str, found: object) -> UndecodableError:
    return UndecodableError(f"{at}: expected {expected}, found {shown(found)}")
