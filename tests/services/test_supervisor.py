"""Background tasks: restarted, reported, and cancelled cleanly."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.services.supervisor import LONGEST_DELAY_S, Supervisor, TaskState, restart_delay_s


class ManualSleep:
    """Sleeps end when the test says so."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self._go = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self._go.acquire()

    def wake(self) -> None:
        self._go.release()


async def test_a_failed_task_runs_again_after_a_growing_while(caplog) -> None:
    sleep = ManualSleep()
    supervisor = Supervisor(sleep)
    runs, finished = 0, asyncio.Event()

    async def flaky() -> None:
        nonlocal runs
        runs += 1
        if runs <= 3:
            raise RuntimeError(f"failure {runs}")
        finished.set()

    supervisor.start("flaky", flaky)
    delays = []
    for _ in range(3):
        delays.append(await sleep.asked.get())
        [report] = supervisor.reports()
        assert report.state is TaskState.WAITING
        sleep.wake()
    await asyncio.wait_for(finished.wait(), 5)
    await asyncio.sleep(0)
    [report] = supervisor.reports()
    assert report.state is TaskState.FINISHED
    assert (report.failures, report.last_error) == (3, "RuntimeError: failure 3")
    assert 0.3 < delays[0] < delays[1] < delays[2]
    assert [r.task for r in caplog.records] == ["flaky"] * 3
    await supervisor.stop()


async def test_stop_cancels_and_waits_for_the_end() -> None:
    supervisor = Supervisor()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    supervisor.start("endless", endless)
    await begun.wait()
    await supervisor.stop()
    assert ended.is_set()
    assert supervisor.reports()[0].state is TaskState.CANCELLED


async def test_a_periodic_task_runs_at_once_and_then_every_interval() -> None:
    sleep = ManualSleep()
    supervisor = Supervisor(sleep)
    runs: asyncio.Queue[None] = asyncio.Queue()

    async def run() -> None:
        runs.put_nowait(None)

    supervisor.start_periodic("tick", 10.0, run)
    for run_count in (1, 2, 3):
        await asyncio.wait_for(runs.get(), 5)
        # The loop's clock stands almost still here, so the schedule moves ahead of it.
        assert await sleep.asked.get() == pytest.approx(10.0 * run_count, abs=5.0)
        sleep.wake()
    await supervisor.stop()


async def test_names_are_unique() -> None:
    supervisor = Supervisor()

    async def nothing() -> None:
        return

    supervisor.start("one", nothing)
    with pytest.raises(AssertionError, match="one"):
        supervisor.start("one", nothing)
    await supervisor.stop()


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_delays_are_bounded(streak: int, jitter: float) -> None:
    assert 0 < restart_delay_s(streak, lambda: jitter) <= LONGEST_DELAY_S
