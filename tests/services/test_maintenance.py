"""Flush, compaction and retention, on engines that only count."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from obsd.services.maintenance import Maintenance
from obsd.services.supervisor import Supervisor
from obsd.services.telemetry import Telemetry


class Engine:
    def __init__(self, *, merges: int = 0, due: bool = False) -> None:
        self.merges_due, self.is_due = merges, due
        self.flushes = self.merges = self.retentions = 0

    def flush_due(self) -> bool:
        return self.is_due

    def flush(self) -> None:
        self.flushes += 1

    def compact(self) -> bool:
        if self.merges == self.merges_due:
            return False
        self.merges += 1
        return True

    def apply_retention(self) -> int:
        self.retentions += 1
        return 1


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def test_only_what_is_due_is_flushed(pool) -> None:
    old, young = Engine(due=True), Engine()
    await Maintenance([("a", old), ("b", young)], pool, Telemetry()).flush_due()
    assert (old.flushes, young.flushes) == (1, 0)


async def test_merging_goes_on_until_nothing_is_due(pool) -> None:
    first, second = Engine(merges=3), Engine(merges=1)
    await Maintenance([("a", first), ("b", second)], pool, Telemetry()).compact()
    assert (first.merges, second.merges) == (3, 1)


async def test_retention_reaches_every_project(pool) -> None:
    engines = [Engine(), Engine()]
    await Maintenance(
        [(str(i), e) for i, e in enumerate(engines)], pool, Telemetry()
    ).apply_retention()
    assert [e.retentions for e in engines] == [1, 1]


async def test_the_tasks_run_and_the_loop_is_probed(pool) -> None:
    engine, telemetry, supervisor = Engine(due=True), Telemetry(), Supervisor()
    Maintenance([("a", engine)], pool, telemetry).start(supervisor)
    value = telemetry.registry.get_sample_value
    deadline_s = asyncio.get_running_loop().time() + 20
    while not (value("obsd_event_loop_lag_seconds_count") and engine.retentions):
        assert asyncio.get_running_loop().time() < deadline_s
        await asyncio.sleep(0.01)
    assert engine.flushes >= 1
    names = [report.name for report in supervisor.reports()]
    assert names == ["compaction", "event-loop-lag", "flush", "retention"]
    await supervisor.stop()


async def test_one_project_that_fails_keeps_no_other_from_its_turn(pool) -> None:
    failing, healthy = Engine(due=True), Engine(due=True)

    def refuse() -> None:
        raise OSError(28, "No space left on device")

    failing.flush = refuse
    with pytest.raises(OSError, match="No space left"):
        await Maintenance([("a", failing), ("b", healthy)], pool, Telemetry()).flush_due()
    assert healthy.flushes == 1
