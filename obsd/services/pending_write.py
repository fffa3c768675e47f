"""A write on its way: one hop to the ingest pool, and one wake-up of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from obsd.tsdb.engine import MetricsEngine, Wire, WriteOutcome


class PendingWrite:
    """One write; `future` has its outcome once it has been applied and the disk has it.

    Both happen on other threads, in either order; the second to happen wakes the event loop.
    """

    __slots__ = ("_body", "_engine", "_error", "_loop", "_outcome", "_steps", "_wire", "future")

    def __init__(self, engine: Callable[[], MetricsEngine], body: bytes, wire: Wire) -> None:
        self._engine = engine
        self._body = body
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[WriteOutcome] = self._loop.create_future()
        self._outcome: WriteOutcome | None = None
        self._error: Exception | None = None
        # `pop` is atomic: it gives True to the first of the two threads and False to the second.
        self._steps = [False, True]

    def run(self) -> None:
        """In the ingest pool."""
        try:
            self._outcome = self._engine().write(self._body, self._wire, self._on_durable)
        except Exception as error:  # noqa: BLE001 - The edge of a task: it goes to the awaiting one.
            self._error = error
            self._wake()
        else:
            self._step()

    def _on_durable(self, error: Exception | None) -> None:
        self._error = error
        self._step()

    def _step(self) -> None:
        if not self._steps.pop():
            self._wake()

    def _wake(self) -> None:
        self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self.future.done():  # The client has gone.
            return
        if self._error is not None:
            self.future.set_exception(self._error)
        elif self._outcome is not None:
            self.future.set_result(self._outcome)
