"""Metrics of spans: every few seconds, what has arrived is counted, and samples are written.

Concurrency: called on the event loop; what blocks runs in the pool given.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from obsd.config.tree import SpanMetricsConfig
from obsd.model.clock import Clock
from obsd.model.errors import ObsdError
from obsd.services.metrics_collector import MetricsCollector
from obsd.services.span_metrics.project_counters import FILE, ProjectCounters
from obsd.tsdb.write import Wire

log = logging.getLogger(__name__)

T = TypeVar("T")

FOLLOWS_AN_INTERVAL: Final = 3
"""So many times arrivals are read between two samples: calls are paired while they are new."""


class FollowedSpans(Protocol):
    """What following asks of a project's spans."""

    def last_row(self) -> int:
        """The number of the newest span; -1 where there is none."""

    @property
    def before_flush(self) -> list[Callable[[int], None]]:
        """Called before a flush lets go of the log of spans."""


class SpanMetrics:
    """The metrics of all projects' spans."""

    def __init__(
        self,
        metrics: MetricsCollector,
        config: SpanMetricsConfig,
        pool: Executor,
        clock: Clock,
    ) -> None:
        self._metrics = metrics
        self._config = config
        self._pool = pool
        self._clock = clock
        self._projects: dict[str, ProjectCounters] = {}
        self._counting = asyncio.Lock()
        self._follows = 0
        self._failing: set[str] = set()

    @property
    def follow_interval_s(self) -> float:
        """How often `count` is to be called."""
        return self._config.interval_s / FOLLOWS_AN_INTERVAL

    def follower(self, project_id: str, directory: Path) -> ProjectCounters | None:
        """What is to follow a project's span engine; None where nothing is. Any thread.

        `directory` is the project's.
        """
        if not self._config.enabled:
            return None
        counters = self._projects[project_id] = ProjectCounters(directory / FILE, self._config)
        return counters

    def opened(self, project_id: str, spans: FollowedSpans) -> None:
        """A project's span engine is open. Before anybody writes to it; any thread."""
        if (counters := self._projects.get(project_id)) is not None:
            counters.opened(spans.last_row())
            spans.before_flush.append(counters.before_flush)

    async def count(self) -> None:
        """Count what has arrived since the last time; every third time, write samples."""
        async with self._counting:
            self._follows += 1
            is_due = self._follows % FOLLOWS_AN_INTERVAL == 0
            for project_id, counters in list(self._projects.items()):
                if is_due:
                    await self._write(project_id, counters)
                else:
                    await self._run(partial(counters.follow, self._clock.now_ms()))

    async def write_now(self) -> None:
        """Count what has arrived, and write samples."""
        async with self._counting:
            for project_id, counters in list(self._projects.items()):
                await self._write(project_id, counters)

    async def _write(self, project_id: str, counters: ProjectCounters) -> None:
        try:
            bodies = await self._run(partial(counters.samples, self._clock.now_ms()))
            refused = [await self._send(project_id, body) for body in bodies]
        except (OSError, ObsdError) as error:
            # What was not written is in the next samples, too: they are cumulative.
            self._report(project_id, str(error))
            return
        if not bodies:
            return
        await self._run(counters.confirm)
        reasons = [reason for reason in refused if reason]
        if reasons:
            self._report(project_id, reasons[0])
        else:
            self._failing.discard(project_id)

    async def _send(self, project_id: str, body: bytes) -> str:
        """Returns what was refused of it, in words."""
        outcome = await self._metrics.write(project_id, body, Wire.REMOTE_WRITE_1)
        return "; ".join(outcome.messages) if outcome.rejected else ""

    def _report(self, project_id: str, reason: str) -> None:
        if project_id not in self._failing:
            self._failing.add(project_id)
            fields = {"project": project_id, "reason": reason}
            log.warning("metrics of spans are not written", extra=fields)

    def totals(self) -> Iterator[tuple[str, dict[str, int]]]:
        """What was counted of each project, for self-monitoring. Any thread."""
        for project_id, counters in list(self._projects.items()):
            yield project_id, counters.totals()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
