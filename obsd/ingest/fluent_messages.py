"""Messages of Fluent Forward v1: what they say of themselves, and their events.

Specification: https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1. Its four
modes become one form, events of msgpack one after the other, which are then read one by one: what a
message takes in memory is little more than what was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgpack
import msgspec

from obsd.api.compression import decompress
from obsd.ingest.fluent_values import EventTime, clean, new_unpacker, raw_bytes, text
from obsd.ingest.json_lines import time_of
from obsd.model.errors import BadInputError, UndecodableError
from obsd.model.log_record import Value

MAX_DECOMPRESSED_BYTES: Final = 128 << 20
MAX_EVENT_BYTES: Final = 2 << 20
"""An event is read whole, and takes much more then; the log engine would refuse a larger one."""

LOGS: Final = 0
_NS: Final = 1_000_000_000
_MAX_TIME_NS: Final = (1 << 63) - 1
_MAX_PARTS: Final = 4
_MAX_SMALL_BYTES: Final = 64 << 10
_MAX_JSON_BYTES: Final = 1 << 20
_PAIR: Final = b"\x92"
_COMPRESSIONS: Final = frozenset({"gzip", "zstd"})


class OversizedEventError(BadInputError):
    """One event is over the limit; the others are not concerned."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        time_ns: 0 where the sender did not say.
        record: mostly a map.
        metadata: what the sender says of a group of events.
    """

    time_ns: int
    record: Value
    metadata: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class ForwardMessage:
    """One message.

    Attributes:
        events: events of msgpack one after the other, perhaps compressed; a JSON message's one.
        chunk: what the sender waits to have acknowledged, as it was sent; None if it does not.
        signal: whether these are logs (0), metrics (1) or traces (2).
    """

    tag: str
    events: bytes | Event
    compression: str
    chunk: str | bytes | None
    signal: int

    def iter_events(self) -> Iterator[Event | BadInputError]:
        """The events, and for each that cannot be read an error in its place.

        Raises:
            UndecodableError: what comes is no msgpack, or not what it is compressed as.
            TooLargeError: it decompresses to more than is allowed.
        """
        if isinstance(self.events, Event):
            yield self.events
            return
        data = self.events
        if self.compression:
            data = decompress(self.compression, data, MAX_DECOMPRESSED_BYTES)
        for raw in _iter_values(data):
            try:
                yield _event(raw)
            except BadInputError as error:
                yield error


def read_message(raw: bytes) -> ForwardMessage:
    """A message, of which its events are not read yet.

    Raises:
        UndecodableError: it is none.
    """
    if raw[:1] in (b"[", b"{"):
        return _read_json(raw)
    try:
        return _read_message(raw)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise UndecodableError(f"this is no message of Fluent Forward: {error!r}") from None


def _read_message(raw: bytes) -> ForwardMessage:
    borders = new_unpacker(raw)
    parts: list[bytes] = []
    for _ in range(borders.read_array_header()):
        begin = borders.tell()
        borders.skip()
        parts.append(raw[begin : borders.tell()])
        if len(parts) == _MAX_PARTS:
            break
    match parts:
        case [tag, entries, *rest] if _is_list(entries):  # Forward mode.
            listed = new_unpacker(entries)
            listed.read_array_header()
            events = entries[listed.tell() :]
        case [tag, entries, *rest] if _is_packed(entries):  # Perhaps compressed.
            events = raw_bytes(new_unpacker(entries).unpack())
        case [tag, time, record, *rest]:
            events = _PAIR + time + record
        case _:
            raise ValueError(f"an array of {len(parts)}")
    return _message(text(_unpack_small(tag)), events, _unpack_small(rest[0]) if rest else None)


def _is_list(value: bytes) -> bool:
    return 0x90 <= value[0] <= 0x9F or value[0] in (0xDC, 0xDD)


def _is_packed(value: bytes) -> bool:
    return 0xA0 <= value[0] <= 0xBF or value[0] in (0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB)


def _unpack_small(value: bytes) -> Any:  # noqa: ANN401 - any value of msgpack
    """What takes much more when it is read than as it was sent."""
    if len(value) > _MAX_SMALL_BYTES:
        raise ValueError(f"a tag or option of {len(value)} bytes")
    return new_unpacker(value).unpack()


def _message(tag: str, events: bytes | Event, option: object) -> ForwardMessage:
    options: Mapping[str, Any] = {}
    if isinstance(option, dict):
        options = {text(name): value for name, value in option.items()}
    chunk = options.get("chunk")
    compressed = options.get("compressed")
    compression = text(compressed).lower() if isinstance(compressed, (str, bytes)) else ""
    signal = options.get("fluent_signal")
    return ForwardMessage(
        tag=tag,
        events=events,
        compression=compression if compression in _COMPRESSIONS else "",
        chunk=chunk if isinstance(chunk, (str, bytes)) else None,
        signal=signal if isinstance(signal, int) else LOGS,
    )


def _read_json(raw: bytes) -> ForwardMessage:
    if len(raw) > _MAX_JSON_BYTES:
        raise UndecodableError(f"a message of JSON has {len(raw)} bytes")
    try:
        tree = msgspec.json.decode(raw.decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise UndecodableError(f"this is no JSON: {error}") from None
    match tree:
        case [str(tag), list(items), *rest]:
            option = rest[0] if rest else None
            events = b"".join(
                _PAIR + _packed(time) + _packed(record) for time, record in _pairs(items)
            )
            return _message(tag, events, option)
        case [str(tag), time, record, *rest]:
            event = Event(_time_ns(time), clean(record), {})
            return _message(tag, event, rest[0] if rest else None)
        case dict():
            return _message("", Event(0, clean(tree), {}), None)
    raise UndecodableError("this JSON is no [tag, time, record]")


def _pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    for item in items:
        if not isinstance(item, list) or len(item) < 2:
            raise UndecodableError("an event of JSON is no [time, record]")
        yield item[0], item[1]


def _packed(value: Any) -> bytes:  # noqa: ANN401 - any JSON
    try:
        return bytes(msgpack.packb(value))
    except (ValueError, OverflowError, RecursionError) as error:
        raise UndecodableError(f"a value of JSON has no place in a record: {error}") from None


def _iter_values(data: bytes) -> Iterator[bytes]:
    """Values of msgpack, each as its bytes.

    Raises:
        UndecodableError: it is none, or ends early.
    """
    border = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=max(1, len(data)))
    border.feed(data)
    begin = 0
    while begin < len(data):
        try:
            border.skip()
        except (ValueError, msgpack.UnpackException) as error:
            raise UndecodableError(f"events that are no msgpack: {error!r}") from None
        end = border.tell()
        yield data[begin:end]
        begin = end


def _event(raw: bytes) -> Event:
    """An event.

    Raises:
        OversizedEventError: it is too large to be read.
        BadInputError: it is none.
    """
    if len(raw) > MAX_EVENT_BYTES:
        raise OversizedEventError(f"an event of {len(raw)} bytes")
    try:
        value = new_unpacker(raw).unpack()
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise BadInputError(f"an event cannot be read: {error!r}") from None
    match value:
        case [[time, dict(metadata)], record, *_]:
            named = {text(name): clean(each, 1) for name, each in metadata.items()}
            return Event(_time_ns(time), clean(record), named)
        case [time, record, *_]:
            return Event(_time_ns(time), clean(record), {})
    raise BadInputError("an event is no [time, record]")


def _time_ns(value: Any) -> int:  # noqa: ANN401 - any value
    """0 for what is no time, or none that is wanted."""
    match value:
        case EventTime():
            return value.time_ns
        case msgpack.Timestamp():
            time_ns = value.to_unix_nano()
            return time_ns if 0 < time_ns <= _MAX_TIME_NS else 0
        case bool():
            return 0
        case int() | float() | str():
            return time_of(value) or 0
    return 0
