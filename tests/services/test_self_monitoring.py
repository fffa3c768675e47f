"""Self-monitoring: labels, `up`, and one log line a streak of failures."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from obsd.model.clock import ManualClock
from obsd.services.self_monitoring import SelfMonitoring, Source
from obsd.services.telemetry import Telemetry
from obsd.tsdb.engine import WriteOutcome


@dataclass
class Store:
    """Takes what a collector takes; refuses when told to."""

    written: list[tuple[str, bytes, list[tuple[str, str]], int]] = field(default_factory=list)
    line_errors: list[str] = field(default_factory=list)
    is_broken: bool = False

    async def write_exposition(self, project_id, text, extra_labels, now_ms):
        if self.is_broken:
            raise OSError("disk full")
        self.written.append((project_id, text, extra_labels, now_ms))
        lines = [line for line in text.splitlines() if not line.startswith(b"#")]
        return WriteOutcome(len(lines), 0, 0, 0, {}, []), self.line_errors


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
