"""Self-monitoring: labels, `up`, and one log line a streak of failures."""

from __future__ import annotations

import logging
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from obsd.model.clock import ManualClock
from obsd.model.samples import STALE_NAN_BITS
from obsd.services.metric_encoding import Metric
from obsd.services.metrics_collector import Executors, MetricsCollector, QueryLimits
from obsd.services.projects import Projects
from obsd.services.self_monitoring import SelfMonitoring, Source, series_of, stale_markers
from obsd.services.telemetry import Telemetry
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.write import WriteOutcome


@dataclass
class Store:
    """Takes what a collector takes; refuses when told to."""

    written: list[tuple[str, bytes, list[tuple[str, str]], int]] = field(default_factory=list)
    markers: list[Metric] = field(default_factory=list)
    line_errors: list[str] = field(default_factory=list)
    refuses_markers: bool = False
    is_broken: bool = False

    async def write_exposition(self, project_id, text, extra_labels, now_ms):
        if self.is_broken:
            raise OSError("disk full")
        self.written.append((project_id, text, extra_labels, now_ms))
        lines = [line for line in text.splitlines() if not line.startswith(b"#")]
        return WriteOutcome(len(lines), 0, 0, 0, {}, []), self.line_errors

    async def collect_metrics(self, project_id, metrics):
        if self.refuses_markers:
            raise OSError("disk full")
        self.markers += metrics
        return len(metrics)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as executor:
        yield executor


def monitoring(store: Store, pool, read) -> tuple[SelfMonitoring, Telemetry]:
    telemetry = Telemetry()
    made = SelfMonitoring(
        sources=[Source("node", read), Source("obsd", lambda: b"b 2\n")],
        instance="host-1",
        metrics=store,
        telemetry=telemetry,
        background=pool,
        clock=ManualClock(1000),
    )
    return made, telemetry


def count(telemetry: Telemetry, result: str) -> float:
    return telemetry.registry.get_sample_value(
        "obsd_self_monitoring_runs_total", {"result": result}
    )


async def test_sources_are_stored_under_their_job_with_up(pool) -> None:
    store = Store()
    made, telemetry = monitoring(store, pool, lambda: b"# TYPE a gauge\na 1\n")
    await made.collect()
    assert [(labels, now_ms) for _, _, labels, now_ms in store.written] == [
        ([("instance", "host-1"), ("job", job)], 1000) for job in ("node", "node", "obsd", "obsd")
    ]
    assert store.written[0][1] == b"# TYPE a gauge\na 1\n"
    assert store.written[1][1].startswith(b"up 1\nscrape_samples_scraped 1\n")
    assert made.last["node"].samples == 1
    assert count(telemetry, "success") == 2


async def test_a_failing_source_is_down_and_logged_once(pool, caplog) -> None:
    store = Store()
    texts = [None, None, b"a 1\n", None]

    def read() -> bytes:
        text = texts.pop(0)
        if text is None:
            raise OSError("no /proc")
        return text

    made, telemetry = monitoring(store, pool, read)
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            await made.collect()
    messages = [r.getMessage() for r in caplog.records if r.name.endswith("self_monitoring")]
    failed, recovered = "self-monitoring failed", "self-monitoring works again"
    assert messages == [failed, recovered, failed]
    assert count(telemetry, "failure") == 3
    downs = [text for _, text, labels, _ in store.written if text == b"up 0\n"]
    assert len(downs) == 3
    assert not made.last["node"].is_up
    assert made.last["obsd"].is_up


async def test_lines_that_are_refused_are_a_failure(pool) -> None:
    made, _ = monitoring(Store(line_errors=["line 1: bad"]), pool, lambda: b"a 1\n")
    await made.collect()
    assert "line 1: bad" in made.last["node"].error


async def test_a_store_that_fails_does_not_end_the_loop(pool) -> None:
    made, telemetry = monitoring(Store(is_broken=True), pool, lambda: b"a 1\n")
    await made.collect()
    assert count(telemetry, "failure") == 2


async def test_a_series_that_vanished_is_marked_as_stale_once(pool) -> None:
    store = Store()
    texts = [b'a{c="1"} 1\na{c="2"} 1\n', b'a{c="2"} 2\n', b'a{c="2"} 3\n']
    made, _ = monitoring(store, pool, lambda: texts.pop(0))
    for _ in range(3):
        await made.collect()
    assert [(m.name, m.labels, m.timestamp_ms) for m in store.markers] == [
        ("a", {"c": "1", "instance": "host-1", "job": "node"}, 1000)
    ]
    assert struct.pack("<d", store.markers[0].value) == struct.pack("<Q", STALE_NAN_BITS)
    assert made.last["node"].samples == 1  # A marker is no sample of the host.


async def test_markers_wait_for_the_next_good_collection(pool) -> None:
    store = Store()
    texts = [b"a 1\nb 1\n", None, b"a 2\n", b"a 3\n"]

    def read() -> bytes:
        text = texts.pop(0)
        if text is None:
            raise OSError("no /proc")
        return text

    made, _ = monitoring(store, pool, read)
    for _ in range(2):
        await made.collect()
    assert store.markers == []  # A failed collection says nothing about what is gone.
    store.refuses_markers = True
    await made.collect()
    assert not made.last["node"].is_up
    store.refuses_markers = False
    await made.collect()
    assert [m.name for m in store.markers] == ["b"]


def test_series_are_lines_without_their_value() -> None:
    text = b'# TYPE a gauge\na 1\nb{c="x y",d="}"} NaN\n'
    assert series_of(text) == {b"a", b'b{c="x y",d="}"}'}


def test_markers_have_the_labels_that_the_text_escaped() -> None:
    series = [rb'a{path="C:\\new\"x\"",z="\n"}', b"b_bucket"]
    markers = stale_markers(series, {"job": "node"}, 5)
    assert [(m.name, m.labels) for m in markers] == [
        ("a", {"path": 'C:\\new"x"', "z": "\n", "job": "node"}),
        ("b_bucket", {"job": "node"}),
    ]


async def test_a_gone_container_leaves_queries_at_once(pool, tmp_path) -> None:
    clock = ManualClock(1_700_000_000_000)
    projects = Projects(tmp_path, EngineOptions(), clock)
    collector = MetricsCollector(projects, Executors(pool, pool), QueryLimits(), clock)
    texts = [b'up_since{name="web\\\\1"} 1\nup_since{name="db"} 1\n', b'up_since{name="db"} 1\n']
    made = SelfMonitoring(
        sources=[Source("node", lambda: texts.pop(0))],
        instance="host-1",
        metrics=collector,
        telemetry=Telemetry(),
        background=pool,
        clock=clock,
    )
    await made.collect()
    first_ms = clock.now_ms()
    clock.advance_ms(15_000)
    await made.collect()

    async def names(time_ms: int) -> list[str | None]:
        result = await collector.query_instant("default", "up_since", time_ms)
        return [labels.get("name") for labels in result.value.labels]

    try:
        assert await names(first_ms) == ["db", "web\\1"]
        assert await names(clock.now_ms()) == ["db"]
    finally:
        projects.close()
