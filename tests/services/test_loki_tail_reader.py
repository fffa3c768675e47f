"""The buffer of one reader of a live tail."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.model.errors import OverloadedError
from obsd.services import loki_tail
from obsd.services.loki_tail import FRAME_ENTRIES, MAX_DROPPED, TailLine, TailReader


@dataclass
class HandClock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def line(time_ns: int, size: int = 10) -> TailLine:
    return TailLine(time_ns, b'{"a":"b"}', b"x" * size)


def times(lines: list[TailLine]) -> list[int]:
    return [each.time_ns for each in lines]


async def test_lines_come_in_frames_and_in_order_of_time() -> None:
    reader = TailReader(0.0, HandClock())
    assert await reader.next(0) is None
    for time_ns in (3, 1, 2):
        reader.put(line(time_ns))
    frame = await reader.next(0)
    assert frame is not None
    assert times(frame.lines) == [1, 2, 3]
    assert (frame.dropped, frame.has_ended) == ([], False)
    for time_ns in range(FRAME_ENTRIES + 1):
        reader.put(line(time_ns))
    sizes = []
    while (frame := await reader.next(0)) is not None:
        sizes.append(len(frame.lines))
    assert sizes == [FRAME_ENTRIES, 1]


async def test_a_delay_lets_earlier_lines_overtake() -> None:
    clock = HandClock()
    reader = TailReader(5.0, clock)
    reader.put(line(9), delay_s=0)
    frame = await reader.next(0)
    assert frame is not None
    assert times(frame.lines) == [9]
    reader.put(line(20))
    clock.now_s += 3
    reader.put(line(10))
    assert await reader.next(0) is None
    clock.now_s += 5
    frame = await reader.next(0)
    assert frame is not None
    assert times(frame.lines) == [10, 20]


async def test_a_waiting_reader_is_woken_by_a_line() -> None:
    reader = TailReader(0.0, asyncio.get_running_loop().time)
    waiting = asyncio.create_task(reader.next(60))
    await asyncio.sleep(0)
    reader.put(line(7))
    frame = await asyncio.wait_for(waiting, 10)
    assert frame is not None
    assert times(frame.lines) == [7]


async def test_a_slow_reader_is_told_what_it_has_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loki_tail, "BUFFER_BYTES", 100)
    reader = TailReader(0.0, HandClock())
    for time_ns in range(MAX_DROPPED + 50):
        reader.put(line(time_ns, 41))  # Two have room.
    frame = await reader.next(0)
    assert frame is not None
    assert times(frame.lines) == [0, 1]
    assert times(frame.dropped) == list(range(2, MAX_DROPPED + 2))
    assert {each.labels for each in frame.dropped} == {b'{"a":"b"}'}
    assert {each.stream for each in frame.dropped} == {b""}
    reader.put(line(5_000, 1_000))  # Larger than the buffer, but it is alone.
    frame = await reader.next(0)
    assert frame is not None
    assert (times(frame.lines), frame.dropped) == ([5_000], [])


async def test_the_end_comes_after_the_last_line() -> None:
    reader = TailReader(5.0, HandClock())
    for time_ns in range(FRAME_ENTRIES + 1):
        reader.put(line(time_ns))
    failure = OverloadedError("too much")
    reader.end(failure)
    first, last = await reader.next(0), await reader.next(0)
    assert first is not None
    assert last is not None
    assert (len(first.lines), first.has_ended) == (FRAME_ENTRIES, False)
    assert (len(last.lines), last.has_ended, last.failure) == (1, True, failure)


@given(time_ns=st.integers(0, 1 << 63), text=st.text())
def test_a_line_reads_back(time_ns: int, text: str) -> None:
    labels = msgspec.json.encode({"a": text})
    written = TailLine(time_ns, labels, b'{"stream":%b}' % labels)
    assert TailLine.decode(written.encode()) == written
