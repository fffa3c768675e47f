"""A write on its way: one hop to the ingest pool, and one wake-up of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Generic, TypeVar

Outcome = TypeVar("Outcome")
OnDurable = Callable[[Exception | None], None]


class PendingWrite(Generic[Outcome]):
    """One write; `future` has its outcome once it has been applied and the disk has it.

    Both happen on other threads, in either order; the second to happen wakes the event loop.
    """

    __slots__ = ("_apply", "_error", "_loop", "_outcome", "_steps", "future")

    def __init__(self, apply: Callable[[OnDurable], Outcome]) -> None:
        """`apply` writes, and has its argument called once the disk has what was written."""
        self._apply = apply
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Outcome] = self._loop.create_future()
        self._outcome: Outcome | None = None
        self._error: Exception | None = None
        # `pop` is atomic: it gives True to the first of the two threads and False to the second.
        self._steps = [False, True]

    def run(self) -> None:
        """In the ingest pool."""
        try:
            self._outcome = self._apply(self._on_durable)
        except Exception as error:  # noqa: BLE001 - The edge of a task: it goes to the awaiting one.
            self._error = error
            self._wake()
        except BaseException as error:  # noqa: BLE001 - A panic of the native module is one.
            # Raised here it would end the thread, and leave writers waiting for ever.
            self._error = RuntimeError(f"{type(error).__name__}: {error}")
            self._wake()
        else:
            self._step()

    def _on_durable(self, error: Exception | None) -> None:
        if error is not None:
            self._error = error
        self._step()

    def _step(self) -> None:
        if not self._steps.pop():
            self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self.future.done():  # The client has gone.
            return
        if self._error is not None:
            self.future.set_exception(self._error)
        elif self._outcome is not None:
            self.future.set_result(self._outcome)


class WriteQueue:
    """Runs writes on a few threads of a pool; `put` is called on event loops.

    Handing work to a pool costs more than a small write. Here a thread that is at work takes all
    writes that have come meanwhile, so under load few need a hand-over of their own.
    """

    def __init__(self, pool: Executor, threads: int) -> None:
        self._pool = pool
        self._pending: deque[PendingWrite[Any]] = deque()
        # One for each thread that may still be started; `pop` and `append` are atomic.
        self._idle = [None] * threads

    def put(self, write: PendingWrite[Any]) -> None:
        """Have the write run soon."""
        self._pending.append(write)
        if self._take_thread():
            try:
                self._pool.submit(self._drain)
            except BaseException:
                self._idle.append(None)
                raise

    def _take_thread(self) -> bool:
        try:
            self._idle.pop()
        except IndexError:
            return False
        return True

    def _drain(self) -> None:
        while True:
            while self._pending:
                try:
                    write = self._pending.popleft()
                except IndexError:  # Another thread was faster.
                    break
                write.run()
            self._idle.append(None)
            # What came before that line found all threads busy, so it is looked for once more.
            if not self._pending or not self._take_thread():
                return
