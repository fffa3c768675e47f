"""Messages of Fluent Forward: modes, times, texts that are none, compression, any bytes."""

from __future__ import annotations

import gzip
import json
import struct
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest.fluent_messages import (
    MAX_EVENT_BYTES,
    Event,
    ForwardMessage,
    OversizedEventError,
    read_message,
)
from obsd.ingest.fluent_values import MAX_DEPTH, TOO_DEEP
from obsd.model.errors import BadInputError, TooLargeError, UndecodableError

T = 1_795_528_800
NS = 1_000_000_000


def read(*parts: Any) -> ForwardMessage:
    return read_message(msgpack.packb(list(parts)))


def events(message: ForwardMessage) -> list[Event]:
    found = list(message.iter_events())
    assert all(isinstance(each, Event) for each in found)
    return found  # type: ignore[return-value]


def packed(*items: Any) -> bytes:
    return b"".join(msgpack.packb(item) for item in items)


ITEMS = [[T, {"n": 1}], [T + 1, {"n": 2}]]
WANTED = [Event(T * NS, {"n": 1}, {}), Event((T + 1) * NS, {"n": 2}, {})]


def test_message_mode() -> None:
    message = read("app.web", T, {"n": 1}, {"chunk": "c", "size": 1})
    assert (message.tag, message.chunk, message.signal) == ("app.web", "c", 0)
    assert events(message) == WANTED[:1]
    assert events(read("t", T, {"n": 1})) == WANTED[:1]


@pytest.mark.parametrize(
    ("body", "option"),
    [
        (ITEMS, {}),
        (packed(*ITEMS), {}),
        (packed(*ITEMS), {"compressed": "text"}),
        (gzip.compress(packed(*ITEMS)), {"compressed": "gzip"}),
        (gzip.compress(packed(ITEMS[0])) + gzip.compress(packed(ITEMS[1])), {"compressed": "gzip"}),
        (zstandard.ZstdCompressor().compress(packed(*ITEMS)), {"compressed": "zstd"}),
    ],
)
def test_the_other_modes(body: Any, option: dict[str, str]) -> None:
    message = read("t", body, option | {"chunk": "c"})
    assert message.chunk == "c"
    assert events(message) == WANTED
    if not option:
        assert events(read("t", body)) == WANTED
        assert events(read("t", body, None)) == WANTED


def test_events_packed_as_an_old_text() -> None:
    body = packed([T, {"n": 1, "text": "ä\u20ac" * 50}])
    raw = msgpack.packb(["t", body], use_bin_type=False)
    assert [event.record["n"] for event in events(read_message(raw))] == [1]  # type: ignore[index,call-overload]


def test_no_events_are_no_events() -> None:
    assert events(read("t", [])) == events(read("t", b"")) == []


EVENT_TIME = struct.pack(">II", T, 123_456_789)


@pytest.mark.parametrize(
    ("time", "time_ns"),
    [
        (msgpack.packb(T), T * NS),
        (msgpack.packb(T + 0.25), T * NS + NS // 4),
        (b"\xd7\x00" + EVENT_TIME, T * NS + 123_456_789),
        (b"\xc7\x08\x00" + EVENT_TIME, T * NS + 123_456_789),
        (msgpack.packb(msgpack.Timestamp(T, 5)), T * NS + 5),
        (msgpack.packb(0), 0),
        (msgpack.packb(-5), 0),
        (msgpack.packb(True), 0),
        (msgpack.packb(None), 0),
        (msgpack.packb(float("nan")), 0),
        (msgpack.packb(float("inf")), 0),
        (msgpack.packb({}), 0),
        (msgpack.packb(msgpack.Timestamp(-5, 5)), 0),
        (b"\xd6\x07abcd", 0),
    ],
)
def test_times(time: bytes, time_ns: int) -> None:
    record = msgpack.packb({"n": 1})
    in_message = read_message(b"\x93\xa1t" + time + record)
    in_list = read_message(b"\x92\xa1t\x91\x92" + time + record)
    with_metadata = read_message(b"\x92\xa1t\x91\x92\x92" + time + b"\x80" + record)
    for message in (in_message, in_list, with_metadata):
        assert events(message) == [Event(time_ns, {"n": 1}, {})]


def test_metadata_of_a_group() -> None:
    [event] = events(read("t", [[[T, {"host": "h"}], {"n": 1}]]))
    assert event == Event(T * NS, {"n": 1}, {"host": "h"})


def test_texts_and_binaries() -> None:
    raw = msgpack.packb(["t", T, {"bin": b"\xff\x00", "text": b"ok", "ä": "€"}])
    raw = raw.replace(b"\xa2bin", b"\xa3bin")
    assert events(read_message(raw))[0].record == {"bin": b"\xff\x00", "text": "ok", "ä": "€"}
    old = b"\x93\xa2t\xff\x01\x81\xa2k\xff\xa3a\xfeb"
    message = read_message(old)
    assert message.tag == "t\ufffd"
    assert events(message)[0].record == {"k\ufffd": "a\ufffdb"}


def test_values_of_every_type() -> None:
    record = {
        "int": -5, "large": (1 << 64) - 1, "float": 1.5, "true": True, "none": None,
        "list": [1, "a", [2.5]], "map": {"a": {"b": [None]}}, 5: "key", True: 1,
        "time": msgpack.Timestamp(T, 0),
    }  # fmt: skip
    [event] = events(read_message(msgpack.packb(["t", T, record])))
    assert event.record == {
        "int": -5, "large": (1 << 64) - 1, "float": 1.5, "true": True, "none": None,
        "list": [1, "a", [2.5]], "map": {"a": {"b": [None]}}, "5": "key", "True": 1,
        "time": "2026-11-24T14:00:00.000Z",
    }  # fmt: skip


def test_what_is_nested_too_deeply_is_cut() -> None:
    value: Any = "bottom"
    for _ in range(200):
        value = [value]
    [event] = events(read("t", T, {"deep": value}))
    assert str(event.record).count("[") == MAX_DEPTH
    assert TOO_DEEP in str(event.record)


@pytest.mark.parametrize(("signal", "wanted"), [(1, 1), (2, 2), (0, 0), (None, 0), ("x", 0)])
def test_signals(signal: Any, wanted: int) -> None:
    assert read("t", [], {"fluent_signal": signal}).signal == wanted


@pytest.mark.parametrize(
    "raw",
    [
        *(b"\x05", b"\xa1a", b"\x80", b"\xc3", b"\x90", b"\x91\xa1t", b"\x92\xa1t\x01"),
        msgpack.packb(["t" * 70_000, T, {}]),
        msgpack.packb(["t", T, {}, {"x": "y" * 70_000}]),
        *(b"[]", b'["t"]', b'["t", 1]', b"[1, 2, 3]", b"[", b'["t", [[1]]]'),
        b"[" * 10_000,
        b'["t", 1, {"a": "' + b"x" * (1 << 20) + b'"}]',
    ],
)
def test_what_is_no_message(raw: bytes) -> None:
    with pytest.raises(UndecodableError):
        list(read_message(raw).iter_events())


@pytest.mark.parametrize(
    ("body", "option"),
    [
        (packed(*ITEMS)[:-1], {}),
        (packed(*ITEMS) + b"\xc1", {}),
        (b"no gzip", {"compressed": "gzip"}),
        (gzip.compress(packed(*ITEMS))[:-9], {"compressed": "gzip"}),
        (b"no zstd", {"compressed": "zstd"}),
        (b"\x91" * 3000, {}),
    ],
)
def test_events_that_are_damaged(body: bytes, option: dict[str, str]) -> None:
    with pytest.raises(UndecodableError):
        list(read("t", body, option).iter_events())


def test_what_decompresses_to_too_much_is_refused() -> None:
    bomb = gzip.compress(b"\0" * (129 << 20))
    with pytest.raises(TooLargeError):
        list(read("t", bomb, {"compressed": "gzip"}).iter_events())


def test_one_wrong_event_leaves_the_others() -> None:
    large = [T, {"x": "y" * MAX_EVENT_BYTES}]
    found = list(read("t", packed(ITEMS[0], 5, [1], large, {"a": 1}, ITEMS[1])).iter_events())
    assert [found[0], found[5]] == WANTED
    assert all(isinstance(each, BadInputError) for each in found[1:5])
    assert [isinstance(each, OversizedEventError) for each in found[1:5]] == [
        False, False, True, False
    ]  # fmt: skip


def test_a_key_that_is_a_list_is_a_wrong_event() -> None:
    raw = b"\x92\xa1t\x91\x92\x01\x81\x90\x01"
    assert [type(each) for each in read_message(raw).iter_events()] == [BadInputError]


def test_json() -> None:
    option = {"chunk": "c"}
    message = read_message(json.dumps(["t", T, {"a": [1.5, "x"]}, option]).encode())
    assert (message.tag, message.chunk) == ("t", "c")
    assert events(message) == [Event(T * NS, {"a": [1.5, "x"]}, {})]
    message = read_message(json.dumps(["t", ITEMS, option]).encode())
    assert (events(message), message.chunk) == (WANTED, "c")
    assert events(read_message(b'{"a": 1}')) == [Event(0, {"a": 1}, {})]
    [event] = events(read_message(b'["t", "2026-11-24T14:00:00Z", {"a": "\xff"}]'))
    assert event == Event(T * NS, {"a": "\ufffd"}, {})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=9)
    | st.floats(allow_nan=False) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)  # fmt: skip


def as_kept(value: Any) -> Any:
    match value:
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return value
        case list():
            return [as_kept(each) for each in value]
        case dict():
            return {name: as_kept(each) for name, each in value.items()}
    return value


@given(st.dictionaries(st.text(max_size=9), VALUES, max_size=5))
def test_records_come_back_as_they_were_sent(record: dict[str, Any]) -> None:
    wanted = [Event(T * NS, as_kept(record), {})]
    assert events(read("t", T, record)) == wanted
    assert events(read("t", [[T, record]])) == wanted
    assert events(read("t", packed([T, record]))) == wanted


@given(st.binary(max_size=200) | VALUES.map(msgpack.packb))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for message in (raw, msgpack.packb(["t", raw]), b"\x92\xa1t" + raw, b"[" + raw, b"\x93" + raw):
        try:
            found = list(read_message(message).iter_events())
        except (BadInputError, TooLargeError):
            continue
        assert all(isinstance(each, (Event, BadInputError)) for each in found)
