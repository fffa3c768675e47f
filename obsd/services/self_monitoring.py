"""This machine's metrics and obsd's own, stored every few seconds as if they were scraped.

The host's series carry job="node" and the host's name as instance, which is what dashboards for
node_exporter select by; obsd's own carry job="obsd". A series that a collection has no more ends
with a staleness marker, so that a container that is gone leaves queries at once and not after
their lookback.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from obsd.model.samples import STALE_NAN_BITS
from obsd.services.metric_encoding import Metric

if TYPE_CHECKING:
    from obsd.model.clock import Clock
    from obsd.services.metrics_collector import MetricsCollector
    from obsd.services.telemetry import Telemetry

log = logging.getLogger(__name__)

PROJECT: Final = "default"
STALE_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]


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
    seconds: float = 0.0
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
        # What the newest collection that was stored had, by job.
        self._series: dict[str, frozenset[bytes]] = {}

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
            await self._end_vanished(source.job, series_of(text), now_ms)
        except Exception as error:  # noqa: BLE001 - the edge: any failure means that it is down
            self._report(source.job, error)
            last.time_ms, last.seconds = now_ms, time.perf_counter() - begun_s
            last.is_up, last.error = False, f"{type(error).__name__}: {error}"
            await self._try_to_store_down(source.job, now_ms)
            return
        self._telemetry.collections.labels("success").inc()
        if last.error:
            log.info("self-monitoring works again", extra={"job": source.job})
        seconds = time.perf_counter() - begun_s
        self.last[source.job] = LastCollection(now_ms, count, seconds, is_up=True)
        await self._store(
            source.job, scrape_report(up=True, samples=count, seconds=seconds), now_ms
        )

    async def _store(self, job: str, text: bytes, now_ms: int) -> int:
        labels = [("instance", self._instance), ("job", job)]
        outcome, errors = await self._metrics.write_exposition(PROJECT, text, labels, now_ms)
        if errors:
            raise ValueError(f"{len(errors)} lines were refused, the first: {errors[0]}")
        return outcome.samples

    async def _end_vanished(self, job: str, series: frozenset[bytes], now_ms: int) -> None:
        """Mark as stale what the previous good collection had and this one has not.

        The previous one is kept until its markers are stored: a failure leaves them to the next.
        """
        vanished = self._series.get(job, frozenset()) - series
        if vanished:
            await self._metrics.collect_metrics(
                PROJECT, stale_markers(vanished, {"instance": self._instance, "job": job}, now_ms)
            )
        self._series[job] = series

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


def series_of(text: bytes) -> frozenset[bytes]:
    """The series of exposition text as they are written there: lines without their value.

    For collectors of our own, which write labels in one order and no timestamps.
    """
    return frozenset(
        line.rpartition(b" ")[0] for line in text.split(b"\n") if line and line[:1] != b"#"
    )


def stale_markers(series: Iterable[bytes], labels: Mapping[str, str], time_ms: int) -> list[Metric]:
    """One marker a series, which is given the labels on top of its own."""
    # Heavy, and seldom needed.
    from prometheus_client.parser import text_string_to_metric_families

    text = b"".join(line + b" 0\n" for line in sorted(series)).decode()
    return [
        Metric(sample.name, STALE_NAN, time_ms, {**sample.labels, **labels})
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def scrape_report(*, up: bool, samples: int, seconds: float) -> bytes:
    """What Prometheus stores about each scrape."""
    lines = [f"up {int(up)}"]
    if up:
        lines += [f"scrape_samples_scraped {samples}", f"scrape_duration_seconds {seconds:.6f}"]
    return ("\n".join(lines) + "\n").encode()
