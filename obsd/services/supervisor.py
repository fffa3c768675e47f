"""Background tasks by name: restarted with backoff when they fail, and cancelled cleanly.

Concurrency: event loop only.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

log = logging.getLogger(__name__)

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 60.0
# A run that lasted this long was healthy; its failure begins a new streak.
_HEALTHY_S: Final = 60.0


class TaskState(Enum):
    """The value is for people."""

    RUNNING = "running"
    WAITING = "waiting to restart"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class TaskReport:
    """What is known of one task."""

    name: str
    state: TaskState = TaskState.RUNNING
    failures: int = 0
    last_error: str = ""


class Supervisor:
    """Owns every background task of the process."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reports: dict[str, TaskReport] = {}

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a task until it returns; when it raises, run it again after a while."""
        assert name not in self._tasks, f"there is a task {name} already"
        report = self._reports[name] = TaskReport(name)
        self._tasks[name] = asyncio.create_task(self._supervise(report, run), name=name)

    def start_periodic(
        self, name: str, interval_s: float, run: Callable[[], Awaitable[None]]
    ) -> None:
        """Run a task at once and then every so often; slow runs do not pile up."""

        async def forever() -> None:
            loop = asyncio.get_running_loop()
            due_s = loop.time()
            while True:
                await run()
                due_s = max(due_s + interval_s, loop.time())
                await self._sleep(due_s - loop.time())

        self.start(name, forever)

    def reports(self) -> list[TaskReport]:
        """Every task that was ever started, by name."""
        return [self._reports[name] for name in sorted(self._reports)]

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    async def _supervise(self, report: TaskReport, run: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        streak = 0
        try:
            while True:
                report.state = TaskState.RUNNING
                begun_s = loop.time()
                try:
                    await run()
                except Exception as error:  # noqa: BLE001 - the edge of a task
                    streak = 1 if loop.time() - begun_s > _HEALTHY_S else streak + 1
                    await self._back_off(report, streak, error)
                else:
                    report.state = TaskState.FINISHED
                    return
        except asyncio.CancelledError:
            report.state = TaskState.CANCELLED
            raise

    async def _back_off(self, report: TaskReport, streak: int, error: Exception) -> None:
        report.failures += 1
        report.last_error = f"{type(error).__name__}: {error}"
        report.state = TaskState.WAITING
        delay_s = restart_delay_s(streak)
        log.error(
            "background task failed",
            exc_info=error,
            extra={"task": report.name, "failures": report.failures, "restart_in_s": delay_s},
        )
        await self._sleep(delay_s)


def restart_delay_s(streak: int, jitter: Callable[[], float] = random.random) -> float:
    """How long to wait after the `streak`-th failure in a row; a little random, never too long."""
    delay_s: float = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(streak - 1, 30))
    return delay_s * (0.75 + 0.25 * jitter())
