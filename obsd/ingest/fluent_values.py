"""Values of msgpack as obsd's: texts that are none are mended, times have a type of their own.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md, and for times the extension 0 of
https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from obsd.model.errors import UndecodableError
from obsd.model.log_record import Value
from obsd.model.rfc3339 import format_rfc3339_ns

MAX_DEPTH: Final = 24
"""Of maps and lists in a record; the log engine keeps a little more."""

TOO_DEEP: Final = "[nested too deeply]"
_EVENT_TIME: Final = 0
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class EventTime:
    """A time to the nanosecond."""

    time_ns: int


def new_unpacker(data: bytes) -> msgpack.Unpacker:
    """Reads values of `data`; texts that are no UTF-8 come with surrogates for their bytes."""
    unpacker = msgpack.Unpacker(
        raw=False,
        unicode_errors="surrogateescape",
        strict_map_key=False,
        ext_hook=_extension,
        timestamp=0,
        max_buffer_size=max(1, len(data)),
    )
    unpacker.feed(data)
    return unpacker


def _extension(code: int, data: bytes) -> EventTime | bytes:
    if code == _EVENT_TIME and len(data) == 8:
        seconds, nanoseconds = struct.unpack(">II", data)
        return EventTime(seconds * _NS + nanoseconds)
    return data


def raw_bytes(value: object) -> bytes:
    """A binary that old senders send as a text.

    Raises:
        UndecodableError: it is neither.
    """
    match value:
        case bytes():
            return value
        case str():
            return value.encode("utf-8", "surrogateescape")
    raise UndecodableError(f"expected bytes, found {type(value).__name__}")


def text(value: object) -> str:
    """A text, whatever it was sent as; bytes that are no UTF-8 are replaced."""
    match value:
        case str():
            return clean_text(value)
        case bytes():
            return value.decode("utf-8", "replace")
    return str(value)


def clean_text(value: str) -> str:
    """A text that can be UTF-8."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value


def clean(value: Any, depth: int = 0) -> Value:  # noqa: ANN401 - any value of msgpack
    """A value that a record can hold; a binary that is UTF-8, as Ruby may send texts, is a text."""
    match value:
        case str():
            return clean_text(value)
        case bool() | int() | float() | None:
            return value
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return value
        case EventTime():
            return format_rfc3339_ns(value.time_ns)
        case msgpack.Timestamp():
            return timestamp_text(value)
    if depth >= MAX_DEPTH:
        return TOO_DEEP
    match value:
        case list() | tuple():
            return [clean(each, depth + 1) for each in value]
        case dict():
            return {text(name): clean(each, depth + 1) for name, each in value.items()}
    return str(value)


def timestamp_text(value: msgpack.Timestamp) -> str:
    """RFC 3339, or the number of its seconds where no calendar has it."""
    try:
        return format_rfc3339_ns(value.to_unix_nano())
    except OverflowError:
        return str(value.to_unix_nano() / _NS)
