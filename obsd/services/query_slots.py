"""Turns for queries: so many at one time, so many in line, and no longer in line than told."""

from __future__ import annotations

import asyncio
from collections import deque

from obsd.model.errors import OverloadedError


class QuerySlots:
    """A bounded number of turns, given in order of arrival. Event loop only."""

    def __init__(self, concurrent: int, queued: int, wait_s: float) -> None:
        assert concurrent > 0
        self._free = concurrent
        self._queued = queued
        self._wait_s = wait_s
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._line)

    async def acquire(self) -> None:
        """Wait for a turn; the caller gives it back with `release`.

        Raises:
            OverloadedError: too many wait already, or the wait took too long.
        """
        if self._free:
            self._free -= 1
            return
        if len(self._line) >= self._queued:
            raise OverloadedError(f"the limit of {self._queued} waiting queries is reached")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.release()  # The turn came at the same moment.
            elif turn in self._line:
                self._line.remove(turn)
            if isinstance(error, TimeoutError):
                raise OverloadedError(
                    f"no query finished within {self._wait_s:g} s; too many run at one time"
                ) from error
            raise

    def release(self) -> None:
        """Give a turn to who waits longest."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
