"""Writes on their way through the pool."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from obsd.services.pending_write import OnDurable, PendingWrite, WriteQueue


class Panic(BaseException):
    """As those of the native module: no Exception."""


async def test_a_panic_is_told_and_the_thread_lives_on() -> None:
    def panic(_: OnDurable) -> int:
        raise Panic("index out of bounds")

    def succeed(on_durable: OnDurable) -> int:
        on_durable(None)
        return 7

    with ThreadPoolExecutor(1) as pool:
        queue = WriteQueue(pool, 1)
        first, second = PendingWrite(panic), PendingWrite(succeed)
        queue.put(first)
        queue.put(second)
        with pytest.raises(RuntimeError, match="Panic: index out of bounds"):
            await asyncio.wait_for(first.future, 10)
        assert await asyncio.wait_for(second.future, 10) == 7
