"""Runs queries of every kind in one pool, as many at one time as there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import TypeVar

from obsd.model.budget import QueryBudget
from obsd.services.query_slots import QuerySlots

T = TypeVar("T")


class QueryTurns:
    """Event loop only; the work itself runs in the pool."""

    def __init__(self, pool: Executor, slots: QuerySlots) -> None:
        self._pool = pool
        self._slots = slots

    async def run(self, budget: QueryBudget, work: Callable[[], T]) -> T:
        """Run `work` when it is its turn.

        When the awaiting task is cancelled, the budget is, and the thread stops at its next check.

        Raises:
            OverloadedError: too many queries run or wait.
        """
        await self._slots.acquire()
        loop = asyncio.get_running_loop()

        def start() -> T:
            budget.check()
            return work()

        try:
            running = self._pool.submit(start)
        except BaseException:
            self._slots.release()
            raise
        # The turn ends with the thread's work, not with the client's patience.
        running.add_done_callback(lambda _: self._give_back_turn(loop))
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            budget.cancel()
            raise

    def _give_back_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the query's thread."""
        with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(self._slots.release)
