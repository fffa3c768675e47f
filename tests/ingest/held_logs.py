"""A log aggregator for receivers whose writes wait at a gate, and fail when they are told to."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from obsd.model.log_record import LogRecord
from obsd.services.log_aggregator import LogAggregator, LogQuery
from obsd.services.log_store import LogWriteOutcome

_LATEST_NS = 1 << 62


class HeldLogs:
    """What receivers ask of a `LogAggregator`, of a real one.

    Attributes:
        gate: open at first; writes wait for it.
        failures: errors that the next writes raise, first to last.
        waiting: writes that have come to the gate.
    """

    def __init__(self, logs: LogAggregator) -> None:
        self._logs = logs
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[Exception] = []
        self.waiting = 0

    @property
    def ingest_pool(self) -> Executor:
        return self._logs.ingest_pool

    def now_ns(self) -> int:
        return self._logs.now_ns()

    async def write(
        self, project_id: str, body: bytes, *, distinct: bool = False
    ) -> LogWriteOutcome:
        self.waiting += 1
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        return await self._logs.write(project_id, body, distinct=distinct)

    async def find(self, query: str) -> list[LogRecord]:
        """What is stored, in order of time and arrival."""
        page = await self._logs.search_logs(
            "default", LogQuery(query), 0, _LATEST_NS, 1000, newest_first=False
        )
        return list(page.records)

    async def total(self, query: str) -> int:
        page = await self._logs.search_logs("default", LogQuery(query), 0, _LATEST_NS, 1)
        return page.total
