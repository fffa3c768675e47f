"""Counters of projects: written in time, kept through crashes, and never ahead of their file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_asyncio

from obsd.config.tree import SpanMetricsConfig
from obsd.model.clock import ManualClock
from obsd.model.metadata import Metadata
from obsd.model.span import Span
from obsd.promql import VectorValue
from obsd.services.metrics_collector import Executors, MetricsCollector
from obsd.services.projects import Projects
from obsd.services.span_metrics import project_counters
from obsd.services.span_metrics.project_counters import FILE
from obsd.services.span_metrics.span_metrics import FOLLOWS_AN_INTERVAL, SpanMetrics
from obsd.tsdb.options import EngineOptions
from tests.services.span_metrics.counted import NOW_MS, batch, span


@pytest.fixture
def projects(tmp_path: Path) -> Iterator[Projects]:
    opened = Projects(tmp_path, EngineOptions(retention_ms=None), ManualClock(NOW_MS))
    yield opened
    opened.close()


@pytest_asyncio.fixture
async def obsd(tmp_path: Path, projects: Projects) -> AsyncIterator[Obsd]:
    with ThreadPoolExecutor(2) as ingest, ThreadPoolExecutor(2) as query:
        clock = ManualClock(NOW_MS)
        metrics = MetricsCollector(projects, Executors(ingest, query), clock=clock)
        yield Obsd(tmp_path / "shop", metrics, clock, query)


class Obsd:
    """A project's write-ahead log of spans, and whoever follows it."""

    def __init__(
        self, path: Path, metrics: MetricsCollector, clock: ManualClock, pool: ThreadPoolExecutor
    ) -> None:
        self._new = lambda: SpanMetrics(metrics, SpanMetricsConfig(target_info=False), pool, clock)
        self.path = path
        self.metrics = metrics
        self.clock = clock
        self.log: list[tuple[list[Span], int]] = []
        self.before_flush: list[Callable[[int], None]] = []
        self.start()

    def last_row(self) -> int:
        return sum(len(spans) for spans, _ in self.log) - 1

    def start(self) -> None:
        """Begin with what is on disk, and replay."""
        self.spans = self._new()
        follower = self.spans.follower("shop", self.path)
        assert follower is not None
        self._follower = follower
        row = 0
        for spans, now_ns in self.log:
            follower.take(batch(spans), row, now_ns, 100)
            row += len(spans)
        self.before_flush = []
        self.spans.opened("shop", self)

    def send(self, *spans: Span) -> None:
        now_ns = self.clock.now_ms() * 1_000_000
        first_row = self.last_row() + 1
        self.log.append((list(spans), now_ns))
        self._follower.take(batch(spans), first_row, now_ns, 100)
        self._follower.relieve()

    async def pass_interval(self) -> None:
        for _ in range(FOLLOWS_AN_INTERVAL):
            self.clock.advance_ms(5_000)
            await self.spans.count()

    async def calls(self, query: str = "sum(traces_spanmetrics_calls_total)") -> float:
        result = await self.metrics.query_instant("shop", query, self.clock.now_ms())
        assert isinstance(result.value, VectorValue)
        return sum(result.value.values.tolist())


async def test_spans_become_series_within_an_interval(obsd: Obsd) -> None:
    obsd.send(span(1), span(2), span(3, name="other"))
    await obsd.pass_interval()
    assert await obsd.calls() == 3
    assert await obsd.calls("sum(increase(traces_spanmetrics_calls_total[1m]))") >= 3
    assert await obsd.calls('traces_spanmetrics_latency_bucket{le="0.008",span_name="other"}') == 1
    found = await obsd.metrics.metadata("shop", "traces_spanmetrics_latency")
    assert found == {
        "traces_spanmetrics_latency": Metadata("histogram", "How long spans took.", "seconds")
    }


async def test_a_crash_changes_no_counter(obsd: Obsd) -> None:
    obsd.send(span(1), span(2))
    await obsd.pass_interval()
    obsd.send(span(3))
    obsd.start()
    obsd.send(span(4), span(2))
    await obsd.pass_interval()
    assert await obsd.calls() == 4
    obsd.start()
    await obsd.pass_interval()
    assert await obsd.calls() == 4
    assert dict(obsd.spans.totals())["shop"]["repeated"] == 1


async def test_a_flush_ends_with_what_it_takes_away_on_disk(obsd: Obsd) -> None:
    obsd.send(span(1), span(2))
    obsd.before_flush[0](1)
    last = obsd.last_row()
    obsd.log = [([], 0)]
    obsd.last_row = lambda: last  # type: ignore[method-assign]
    obsd.start()
    await obsd.pass_interval()
    assert await obsd.calls() == 2


async def test_rows_that_were_lost_come_again(obsd: Obsd) -> None:
    obsd.send(span(1), span(2), span(3))
    await obsd.pass_interval()
    obsd.log = [(obsd.log[0][0][:1], 0)]
    obsd.start()
    obsd.send(span(2), span(4))
    await obsd.pass_interval()
    assert await obsd.calls() == 4


async def test_a_file_that_is_damaged_makes_counters_begin_anew(obsd: Obsd) -> None:
    obsd.send(span(1), span(2))
    await obsd.pass_interval()
    file = obsd.path / FILE
    file.write_bytes(file.read_bytes()[:-1])
    obsd.start()
    obsd.send(span(3))
    await obsd.pass_interval()
    assert await obsd.calls() == 1


async def test_no_sample_is_ahead_of_the_file(obsd: Obsd, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, pieces: object) -> None:
        raise OSError(28, "No space left on device")

    obsd.send(span(1))
    with monkeypatch.context() as patch:
        patch.setattr(project_counters, "replace_file", refuse)
        await obsd.pass_interval()
    assert await obsd.calls() == 0
    await obsd.pass_interval()
    assert await obsd.calls() == 1


async def test_nothing_is_written_to_disk_when_nothing_comes(obsd: Obsd) -> None:
    obsd.send(span(1, 9))
    for _ in range(3):
        await obsd.pass_interval()
    file = obsd.path / FILE
    before = file.stat().st_ino
    await obsd.pass_interval()
    assert file.stat().st_ino == before
    assert await obsd.calls() == 1


async def test_who_writes_counts_what_waits_too_long(obsd: Obsd) -> None:
    for number in range(1, project_counters.MAX_QUEUED + 2):
        obsd._follower.take(batch([]), 0, 0, 0) if number > 1 else obsd.send(span(1))
    assert dict(obsd.spans.totals())["shop"]["spans"] == 0
    obsd.send(span(2))
    assert dict(obsd.spans.totals())["shop"]["spans"] == 2


async def test_where_it_is_turned_off_nothing_follows(obsd: Obsd) -> None:
    spans = SpanMetrics(
        obsd.metrics, SpanMetricsConfig(enabled=False), ThreadPoolExecutor(1), obsd.clock
    )
    assert spans.follower("shop", obsd.path) is None
    spans.opened("shop", obsd)
    assert list(spans.totals()) == []
