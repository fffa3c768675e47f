"""This machine's metrics and obsd's own, stored every few seconds as if they were scraped.

The host's series carry job="node" and the host's name as instance, which is what dashboards for
node_exporter select by; obsd's own carry job="obsd".
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from obsd.model.clock import Clock
    from obsd.services.metrics_collector import MetricsCollector
    from obsd.services.telemetry import Telemetry

log = logging.getLogger(__name__)

PROJECT: Final = "default"


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to collect; `read` blocks and gives exposition text."""

    job: str
    read: Callable[[], bytes]


@dataclass(slots=True)
class LastCollection:
    """The newest collection of one source; event loop only."""

    time_ms: int = 0
    samples: int = 0
    is_up: bool = False
    error: str = ""


class SelfMonitoring:
    """Event loop only; sources are read in the background pool."""

    def __init__(
        self,
        *,
        sources: list[Source],
        instance: str,
        metrics: MetricsCollector,
        telemetry: Telemetry,
        background: Executor,
        clock: Clock,
    ) -> None:
        self._sources = sources
        self._instance = instance
        self._metrics = metrics
        self._telemetry = telemetry
        self._background = background
        self._clock = clock
        self.last = {source.job: LastCollection() for source in sources}

    async def collect(self) -> None:
        """Collect every source once; one that fails is reported as down, and the next goes on."""
        for source in self._sources:
            await self._collect_one(source)

    async def _collect_one(self, source: Source) -> None:
        now_ms = self._clock.now_ms()
        begun_s = time.perf_counter()
        loop = asyncio.get_running_loop()
        last = self.last[source.job]
        try:
            text = await loop.run_in_executor(self._background, source.read)
            count = await self._store(source.job, text, now_ms)
        except Exception as error:  # noqa: BLE001 - the edge: any failure means that it is down
            self._report(source.job, error)
            last.is_up, last.error = False, f"{type(error).__name__}: {error}"
            await self._try_to_store_down(source.job, now_ms)
            return
        self._telemetry.collections.labels("success").inc()
        if last.error:
            log.info("self-monitoring works again", extra={"job": source.job})
        self.last[source.job] = LastCollection(now_ms, count, is_up=True)
        seconds = time.perf_counter() - begun_s
        await self._store(
            source.job, scrape_report(up=True, samples=count, seconds=seconds), now_ms
        )

    async def _store(self, job: str, text: bytes, now_ms: int) -> int:
        labels = [("instance", self._instance), ("job", job)]
        outcome, errors = await self._metrics.write_exposition(PROJECT, text, labels, now_ms)
        if errors:
            raise ValueError(f"{len(errors)} lines were refused, the first: {errors[0]}")
        return outcome.samples

    async def _try_to_store_down(self, job: str, now_ms: int) -> None:
        try:
            await self._store(job, scrape_report(up=False, samples=0, seconds=0.0), now_ms)
        except Exception as error:
            log.debug("could not store up=0", exc_info=error, extra={"job": job})

    def _report(self, job: str, error: Exception) -> None:
        """Count each failure; log the first of a streak."""
        self._telemetry.collections.labels("failure").inc()
        if not self.last[job].error:
            log.warning("self-monitoring failed", exc_info=error, extra={"job": job})


def scrape_report(*, up: bool, samples: int, seconds: float) -> bytes:
    """What Prometheus stores about each scrape."""
    lines = [f"up {int(up)}"]
    if up:
        lines += [f"scrape_samples_scraped {samples}", f"scrape_duration_seconds {seconds:.6f}"]
    return ("\n".join(lines) + "\n").encode()
