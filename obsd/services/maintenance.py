"""Background work on the engines: flush, compaction, retention; and a probe of the event loop.

Engine calls block, so they run in the background pool: two threads, since a flush must not wait
for a long merge while the head grows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from typing import Final, Protocol, TypeVar

from obsd.services.supervisor import Supervisor
from obsd.services.telemetry import Telemetry

log = logging.getLogger(__name__)

T = TypeVar("T")


class Engine(Protocol):
    """What an engine of any kind needs done now and then."""

    def flush_due(self) -> bool:
        """Whether what is in memory is old or large enough; does not block."""

    def flush(self) -> None: ...

    def compact(self) -> bool:
        """One merge; false when none is due."""

    def apply_retention(self) -> int:
        """How many files' worth of data was removed."""


Engines = Iterable[tuple[str, Engine]]

FLUSH_CHECK_S: Final = 0.25  # How far a head may grow past its limit before it is noticed.
COMPACTION_CHECK_S: Final = 15.0
RETENTION_CHECK_S: Final = 300.0
LAG_PROBE_S: Final = 0.1


class Maintenance:
    """Event loop only."""

    def __init__(self, engines: Engines, background: Executor, telemetry: Telemetry) -> None:
        self._engines = engines
        self._background = background
        self._telemetry = telemetry

    def start(self, supervisor: Supervisor) -> None:
        """Start the tasks."""
        supervisor.start_periodic("flush", FLUSH_CHECK_S, self.flush_due)
        supervisor.start_periodic("compaction", COMPACTION_CHECK_S, self.compact)
        supervisor.start_periodic("retention", RETENTION_CHECK_S, self.apply_retention)
        supervisor.start("event-loop-lag", self.probe_lag)

    async def flush_due(self) -> None:
        """Flush the engines whose head is old or large enough."""

        async def flush(project: str, engine: Engine) -> None:
            if engine.flush_due():
                await self._run(engine.flush)
                log.debug("flushed", extra={"project": project})

        await self._for_each(flush)

    async def compact(self) -> None:
        """Merge until nothing is due; flushes get their turn between two merges."""

        async def merge(project: str, engine: Engine) -> None:
            while await self._run(engine.compact):
                log.debug("merged parts", extra={"project": project})

        await self._for_each(merge)

    async def apply_retention(self) -> None:
        """Remove what is older than it may be."""

        async def remove(project: str, engine: Engine) -> None:
            removed = await self._run(engine.apply_retention)
            if removed:
                log.info("retention", extra={"project": project, "removed_parts": removed})

        await self._for_each(remove)

    async def _for_each(self, work: Callable[[str, Engine], Awaitable[None]]) -> None:
        """Do the work for every project; one that fails keeps no other from its turn."""
        failure: Exception | None = None
        for project, engine in self._engines:
            try:
                await work(project, engine)
            except Exception as error:
                log.exception("background work failed", extra={"project": project})
                failure = error
        if failure is not None:
            raise failure

    async def probe_lag(self) -> None:
        """Measure how late the loop runs timers."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LAG_PROBE_S
            await asyncio.sleep(LAG_PROBE_S)
            self._telemetry.event_loop_lag.observe(max(0.0, loop.time() - due_s))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._background, work)
