"""Borders of messages of Fluent Forward: whole, byte by byte, in any pieces, and damaged."""

from __future__ import annotations

import itertools
import time

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest.fluent_frames import NIL, MessageReader
from obsd.model.errors import BadInputError, TooLargeError, UndecodableError

MESSAGES = [
    msgpack.packb(["tag", 1, {"a": 1}]),
    NIL,
    b'["tag", 1, {"a": "]}\\"[", "b": "\\\\"}]',
    msgpack.packb(["tag", msgpack.packb([1, {"x": 2}]) * 10, {"chunk": "c"}]),
    b'{"a": [1, 2, {}]}',
    msgpack.packb(["tag", [[1, {"ä": "ö"}]] * 3]),
    NIL,
]
STREAM = b"\n".join(MESSAGES[:3]) + b"\r\n\t " + b"".join(MESSAGES[3:])


def read(pieces: list[bytes]) -> list[bytes]:
    reader = MessageReader(1000)
    return [message for piece in pieces for message in reader.feed(piece)]


def test_messages_of_all_kinds() -> None:
    assert read([STREAM]) == MESSAGES


def test_byte_by_byte() -> None:
    assert read([bytes([byte]) for byte in STREAM]) == MESSAGES


@given(st.lists(st.integers(0, len(STREAM))).map(sorted))
def test_any_pieces_give_the_same(cuts: list[int]) -> None:
    pieces = [STREAM[a:b] for a, b in itertools.pairwise([0, *cuts, len(STREAM)])]
    assert read(pieces) == MESSAGES


@pytest.mark.parametrize("garbage", [b"\xc1", b"\x91\xc1", b"\x91" * 5000])
def test_what_is_no_msgpack_is_refused(garbage: bytes) -> None:
    reader = MessageReader()
    assert reader.feed(MESSAGES[0]) == [MESSAGES[0]]
    with pytest.raises(UndecodableError, match="no msgpack"):
        reader.feed(garbage)


@pytest.mark.parametrize(
    "begun", [msgpack.packb("x" * 2000), b'["' + b"x" * 2000, b"[" * 2000, b"\xdd\xff\xff\xff\xff"]
)
def test_a_message_over_the_limit_is_refused(begun: bytes) -> None:
    reader = MessageReader(1000)
    with pytest.raises(TooLargeError):  # noqa: PT012 - whichever piece it is
        for _ in range(3):
            reader.feed(begun)
            reader.feed(b"\x01" * 500)
    assert reader.buffered_bytes <= 3000


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_read_or_refused(pieces: list[bytes]) -> None:
    reader = MessageReader(100)
    found: list[bytes] = []
    try:
        for piece in pieces:
            found += reader.feed(piece)
    except (BadInputError, TooLargeError):
        return
    given_bytes = sum(map(len, pieces))
    assert sum(map(len, found)) + reader.buffered_bytes <= given_bytes
    assert all(found)


@pytest.mark.parametrize("message", [MESSAGES[0], MESSAGES[2] + b"\n"])
def test_many_small_messages_take_no_square_of_their_number(message: bytes) -> None:
    begun = time.process_time()
    assert len(MessageReader().feed(message * 20_000)) == 20_000
    large = msgpack.packb(["t", [[1, {"k": "v" * 100}]] * 20_000])
    reader = MessageReader()
    found = [m for at in range(0, len(large), 500) for m in reader.feed(large[at : at + 500])]
    assert found == [large]
    assert time.process_time() - begun < 2.0
