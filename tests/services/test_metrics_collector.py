"""The metrics service: durable writes, bounded and cancellable reads, projects."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_asyncio

from obsd.model.clock import ManualClock
from obsd.model.errors import (
    BadInputError,
    OverloadedError,
    QueryCanceledError,
    StorageUnavailableError,
)
from obsd.model.matcher import Matcher, MatchOp
from obsd.model.metadata import Metadata
from obsd.promql import ScalarValue, VectorValue
from obsd.services.metric_encoding import Metric, RejectedMetricsError
from obsd.services.metrics_collector import Executors, MetricsCollector, QueryLimits
from obsd.services.projects import InvalidProjectIdError, Projects
from obsd.services.query_slots import QuerySlots
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.write import Wire
from tests.protobuf.prometheus_messages import compressed, write_request

T0 = 1_700_000_000_000
UP = {"__name__": "up", "job": "a"}
BODY = compressed(write_request([(UP, [(T0, 1.0)])]))
SELECTOR = (Matcher(MatchOp.EQUAL, "__name__", "up"),)


@pytest.fixture
def projects(tmp_path: Path):
    opened = Projects(tmp_path, EngineOptions(), ManualClock(T0), max_projects=3)
    yield opened
    opened.close()


@pytest_asyncio.fixture
async def metrics(projects: Projects) -> AsyncIterator[MetricsCollector]:
    with ThreadPoolExecutor(2) as ingest, ThreadPoolExecutor(2) as query:
        limits = QueryLimits(concurrent=1, queued=1, queue_wait_s=20)
        yield MetricsCollector(projects, Executors(ingest, query), limits, ManualClock(T0))


async def test_a_write_is_over_when_it_is_durable(
    metrics: MetricsCollector, monkeypatch: pytest.MonkeyPatch
):
    held: list = []
    applied = threading.Event()
    write = MetricsEngine.write

    def hold(engine, body, wire, on_durable):
        outcome = write(engine, body, wire, lambda error: None)
        held.append(on_durable)
        applied.set()
        return outcome

    monkeypatch.setattr(MetricsEngine, "write", hold)
    task = asyncio.create_task(metrics.write("default", BODY, Wire.REMOTE_WRITE_1))
    assert await asyncio.to_thread(applied.wait, 20)
    assert (
        len(await metrics.series("default", [SELECTOR], 0, T0)) == 1
    )  # Visible, but not yet safe.
    assert not task.done()
    held[0](None)
    assert (await task).samples == 1
    assert metrics.totals.samples == 1


@pytest.mark.parametrize("is_early", [True, False])
async def test_the_sync_may_end_before_or_after_the_write(
    metrics: MetricsCollector, monkeypatch: pytest.MonkeyPatch, is_early: bool
):
    write = MetricsEngine.write

    def order(engine, body, wire, on_durable):
        synced = threading.Event()
        outcome = write(engine, body, wire, lambda error: synced.set())
        if is_early:
            on_durable(None)
        else:
            threading.Thread(target=lambda: synced.wait(20) and on_durable(None)).start()
        return outcome

    monkeypatch.setattr(MetricsEngine, "write", order)
    outcomes = await asyncio.gather(
        *(metrics.write("default", BODY, Wire.REMOTE_WRITE_1) for _ in range(50))
    )
    assert sum(outcome.samples for outcome in outcomes) == 50


def test_a_loop_that_is_gone_harms_no_thread(projects: Projects, monkeypatch: pytest.MonkeyPatch):
    """The engine's sync thread reports to a loop that has been closed meanwhile."""
    reports: list = []
    write = MetricsEngine.write

    def keep(engine, body, wire, on_durable):
        reports.append(on_durable)
        return write(engine, body, wire, lambda error: None)

    monkeypatch.setattr(MetricsEngine, "write", keep)
    with ThreadPoolExecutor(1) as pool:
        metrics = MetricsCollector(projects, Executors(pool, pool, 1), None, ManualClock(T0))

        async def give_up() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(metrics.write("default", BODY, Wire.REMOTE_WRITE_1), 0.05)

        asyncio.run(give_up())
    [report] = reports
    report(None)


@pytest.mark.parametrize("threads", [1, 3])
async def test_every_write_of_a_crowd_runs(projects: Projects, threads: int):
    with ThreadPoolExecutor(4) as pool:
        metrics = MetricsCollector(projects, Executors(pool, pool, threads), None, ManualClock(T0))
        for _ in range(40):
            outcomes = await asyncio.wait_for(
                asyncio.gather(
                    *(metrics.write("default", BODY, Wire.REMOTE_WRITE_1) for _ in range(25))
                ),
                60,
            )
            assert len(outcomes) == 25


async def test_a_closed_pool_refuses_writes_and_does_not_hang(projects: Projects):
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    metrics = MetricsCollector(projects, Executors(pool, pool, 1))
    for _ in range(3):
        with pytest.raises(RuntimeError):
            await metrics.write("default", BODY, Wire.REMOTE_WRITE_1)


async def test_a_failed_sync_fails_the_write(
    metrics: MetricsCollector, monkeypatch: pytest.MonkeyPatch
):
    write = MetricsEngine.write
    error = StorageUnavailableError("no space")
    monkeypatch.setattr(
        MetricsEngine,
        "write",
        lambda engine, body, wire, on_durable: write(
            engine, body, wire, lambda _: on_durable(error)
        ),
    )
    with pytest.raises(StorageUnavailableError):
        await metrics.write("default", BODY, Wire.REMOTE_WRITE_1)


async def test_errors_reach_the_writer(metrics: MetricsCollector):
    with pytest.raises(BadInputError):
        await metrics.write("default", b"\xff\xff", Wire.REMOTE_WRITE_1)
    with pytest.raises(InvalidProjectIdError):
        await metrics.write("../up", BODY, Wire.REMOTE_WRITE_1)


async def test_a_writer_that_gives_up_harms_nobody(metrics: MetricsCollector):
    tasks = [
        asyncio.create_task(metrics.write("default", BODY, Wire.REMOTE_WRITE_1)) for _ in range(20)
    ]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert all(not isinstance(result, BaseException) for result in results[1::2])


async def test_queries(metrics: MetricsCollector):
    await metrics.write("default", BODY, Wire.REMOTE_WRITE_1)
    result = await metrics.query_instant("default", "up", T0)
    assert isinstance(result.value, VectorValue)
    assert result.value.values.tolist() == [1.0]
    ranged = await metrics.query_metrics("default", "up", T0, T0 + 2000, 1000)
    assert ranged.value.values.tolist() == [[1.0, 1.0, 1.0]]
    assert await metrics.label_names("default", [], 0, T0) == ["__name__", "job"]
    assert await metrics.label_values("default", "job", [SELECTOR], 0, T0) == ["a"]
    assert [s.as_dict() for s in await metrics.series("default", [SELECTOR], 0, T0)] == [UP]
    assert await metrics.exemplars("default", [SELECTOR], 0, T0) == []


class Blocker:
    """Work that holds a query thread until its budget ends it, or the test does."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.go_on = threading.Event()
        self.ended: list[BaseException | None] = []

    def __call__(self, _engine: object, budget) -> str:
        self.running.set()
        try:
            while not self.go_on.wait(0.002):
                budget.check()
        except BaseException as error:
            self.ended.append(error)
            raise
        self.ended.append(None)
        return "done"

    async def started(self) -> None:
        assert await asyncio.to_thread(self.running.wait, 20)


async def test_a_cancelled_query_stops_and_gives_its_turn_back(metrics: MetricsCollector):
    blocker = Blocker()
    task = asyncio.create_task(metrics.read("default", blocker))
    await blocker.started()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    result = await metrics.query_instant("default", "1", T0)  # Has to wait for the turn.
    assert result.value == ScalarValue(T0, 1.0)
    assert [type(error) for error in blocker.ended] == [QueryCanceledError]


async def test_one_waiting_query_too_many_is_refused_at_once(metrics: MetricsCollector):
    blocker = Blocker()
    running = asyncio.create_task(metrics.read("default", blocker))
    await blocker.started()
    waiting = asyncio.create_task(metrics.query_instant("default", "1", T0))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="waiting queries"):
        await metrics.query_instant("default", "1", T0)
    blocker.go_on.set()
    assert await running == "done"
    assert (await waiting).value == ScalarValue(T0, 1.0)


async def test_turns_are_given_in_order_and_never_lost():
    slots = QuerySlots(concurrent=1, queued=10, wait_s=20)
    order: list[int] = []

    async def take(number: int) -> None:
        await slots.acquire()
        order.append(number)
        slots.release()

    await slots.acquire()
    tasks = [asyncio.create_task(take(number)) for number in range(6)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    slots.release()
    tasks[0].cancel()  # At the moment at which its turn comes.
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order[-4:] == [2, 3, 4, 5]
    await asyncio.wait_for(slots.acquire(), 20)
    assert slots.waiting == 0


async def test_waiting_for_a_turn_ends():
    slots = QuerySlots(concurrent=1, queued=1, wait_s=0.01)
    await slots.acquire()
    with pytest.raises(OverloadedError, match="no query finished within"):
        await slots.acquire()
    slots.release()
    await asyncio.wait_for(slots.acquire(), 20)


async def test_collected_metrics_are_stored_with_what_they_are(metrics: MetricsCollector):
    accepted = await metrics.collect_metrics(
        "default",
        [
            Metric("a", 1.5, T0 - 1000, {"x": "1"}, Metadata("gauge", "An a", "bytes")),
            Metric("b", 2.5),
        ],
    )
    assert accepted == 2
    result = await metrics.query_instant("default", '{__name__=~"a|b"}', T0)
    assert dict(
        zip(
            [s.as_dict()["__name__"] for s in result.value.labels],
            result.value.values.tolist(),
            strict=True,
        )
    ) == {"a": 1.5, "b": 2.5}
    assert await metrics.metadata("default") == {"a": Metadata("gauge", "An a", "bytes")}
    assert await metrics.collect_metrics("default", []) == 0


async def test_refused_metrics_are_told_and_the_others_stored(metrics: MetricsCollector):
    with pytest.raises(RejectedMetricsError) as caught:
        await metrics.collect_metrics("default", [Metric("a", 1.0, T0 + 10**9), Metric("b", 1.0)])
    assert caught.value.outcome.samples == 1
    assert sum(caught.value.outcome.rejected.values()) == 1


async def test_metrics_can_be_registered(metrics: MetricsCollector):
    await metrics.register_metric("default", "a_total", "counter", "How many", "")
    assert await metrics.metadata("default", "a_total") == {
        "a_total": Metadata("counter", "How many", "")
    }
    with pytest.raises(BadInputError, match="invalid metric type 'x'"):
        await metrics.register_metric("default", "a", "x")


async def test_exposition_text_is_stored(metrics: MetricsCollector):
    text = b'# TYPE a gauge\na 1\nb{ 2\na{x="1"} 3 %d\n' % (T0 - 1000)
    outcome, errors = await metrics.write_exposition("default", text, [("job", "j")], T0)
    assert outcome.samples == 2
    assert len(errors) == 1
    assert errors[0].startswith("line 3: ")
    assert await metrics.label_values("default", "job", [], 0, T0) == ["j"]


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a" * 65, "ä", "a\n", "a b"])
def test_project_ids_are_names_of_directories(projects: Projects, bad: str):
    with pytest.raises(InvalidProjectIdError):
        projects.engine(bad)
    assert projects.on_disk() == []


def test_projects_are_bounded_and_open_once(projects: Projects, tmp_path: Path):
    engines = [projects.engine(name) for name in ("a", "b-1", "C_2")]
    assert projects.engine("a") is engines[0] is projects.opened("a")
    with pytest.raises(OverloadedError, match="limit of 3 projects"):
        projects.engine("d")
    assert projects.on_disk() == ["C_2", "a", "b-1"]
    assert dict(projects) == {"a": engines[0], "b-1": engines[1], "C_2": engines[2]}
    assert (tmp_path / "projects" / "a" / "metrics").is_dir()


def test_projects_on_disk_are_opened_again(projects: Projects, tmp_path: Path):
    projects.engine("a")
    projects.engine("b")
    projects.close()
    with pytest.raises(OverloadedError, match="shutting down"):
        projects.engine("a")
    again = Projects(tmp_path, EngineOptions(), ManualClock(T0))
    again.open_all()
    assert sorted(name for name, _ in again) == ["a", "b"]
    again.close()


def test_many_threads_open_a_project_once(projects: Projects):
    with ThreadPoolExecutor(8) as pool:
        engines = set(pool.map(lambda _: id(projects.engine("a")), range(32)))
    assert len(engines) == 1
