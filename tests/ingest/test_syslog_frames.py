"""Framing of syslog streams: whole, byte by byte, in any pieces, and damaged."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest.syslog_frames import FrameError, FrameReader

STREAM = (
    b"<14>first\n<14>second\r\n<14>third\0"
    b"11 <14>fourth\n"  # Its line feed is in the frame.
    b"14 <14>two\nlines\n<14>sixth\n\n\0\r\n<14>seventh\n"
)
MESSAGES = [
    b"<14>first",
    b"<14>second",
    b"<14>third",
    b"<14>fourth",
    b"<14>two\nlines",
    b"<14>sixth",
    b"<14>seventh",
]


def read(pieces: list[bytes], max_bytes: int = 100) -> tuple[list[bytes], FrameReader]:
    reader = FrameReader(max_bytes)
    messages: list[bytes] = []
    for piece in pieces:
        reader.feed(piece, messages)
    return messages, reader


def test_frames_of_both_kinds() -> None:
    assert read([STREAM])[0] == MESSAGES


def test_byte_by_byte() -> None:
    assert read([bytes([byte]) for byte in STREAM])[0] == MESSAGES


@given(st.lists(st.integers(0, len(STREAM))).map(sorted))
def test_any_pieces_give_the_same(cuts: list[int]) -> None:
    pieces = [STREAM[a:b] for a, b in itertools.pairwise([0, *cuts, len(STREAM)])]
    assert read(pieces)[0] == MESSAGES


def test_the_end_of_the_stream_ends_a_line_and_no_counted_message() -> None:
    messages, reader = read([b"<14>a\n<14>last"])
    assert (messages, reader.finish(), reader.finish()) == ([b"<14>a"], [b"<14>last"], [])
    messages, reader = read([b"<14>a\n20 <14>cut"])
    assert (messages, reader.finish()) == ([b"<14>a"], [])


@pytest.mark.parametrize("split", [1, 7, 1000])
def test_messages_over_the_limit_are_skipped(split: int) -> None:
    large = b"x" * 101
    stream = b"<14>a\n101 " + large + b"<14>b\n" + large + b"\n<14>c\n" + b"y" * 500 + b"\0<14>d\n"
    pieces = [stream[at : at + split] for at in range(0, len(stream), split)]
    messages, reader = read(pieces)
    assert messages == [b"<14>a", b"<14>b", b"<14>c", b"<14>d"]
    assert reader.too_large == 3


def test_messages_of_the_limit_are_whole() -> None:
    full = b"<" + b"x" * 99
    assert read([full + b"\n100 " + full])[0] == [full, full]


@pytest.mark.parametrize(
    "garbage", [b"12x <14>", b"1234567890 ", b"12345678901", b"1\n", b"1a", b"19\x00 x"]
)
def test_what_is_no_length_ends_the_stream(garbage: bytes) -> None:
    for pieces in ([b"<14>a\n" + garbage], [b"<14>a\n", garbage[:1], garbage[1:]]):
        reader = FrameReader()
        messages: list[bytes] = []
        for piece in pieces[:-1]:
            reader.feed(piece, messages)
        with pytest.raises(FrameError, match="expected the length of a message"):
            reader.feed(pieces[-1], messages)
        assert messages == [b"<14>a"]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_read_or_refused(pieces: list[bytes]) -> None:
    """The same whether in pieces or at once, and never more is held than the limit."""
    reader = FrameReader(50)
    messages: list[bytes] = []
    at_once: list[bytes] = []
    is_refused = False
    for piece in pieces:
        try:
            reader.feed(piece, messages)
        except FrameError:
            is_refused = True
            break
        assert len(reader._rest) <= 60
    whole = FrameReader(50)
    try:
        whole.feed(b"".join(pieces), at_once)
    except FrameError:
        assert is_refused
    assert at_once == messages or is_refused
    assert all(0 < len(message) <= 50 for message in messages)
