from concurrent.futures import ThreadPoolExecutor

import pytest

from obsd.model.clock import ManualClock
from obsd.model.errors import (
    BadInputError,
    OverloadedError,
    QueryParseError,
    StorageUnavailableError,
)
from obsd.model.log_record import LogRecord
from obsd.services.log_aggregator import LogAggregator, LogQuery, RejectedLogsError
from obsd.services.log_encoding import encode_logs
from obsd.services.metrics_collector import Executors, MetricsCollector
from obsd.services.projects import AllEngines, InvalidProjectIdError, Projects
from obsd.tsdb.options import EngineOptions
from tests.services.memory_logs import MemoryLogs, decode

NOW_MS = 1_800_000_000_000
NOW_NS = NOW_MS * 1_000_000
MINUTE_NS = 60_000_000_000


def record(body="hello", **parts) -> LogRecord:
    fields = {
        "time_ns": NOW_NS,
        "observed_ns": NOW_NS,
        "severity_number": 9,
        "severity_text": "INFO",
        "service": "api",
        "trace_id": "",
        "span_id": "",
        "resource": {"service.name": "api"},
        "attributes": {},
    }
    return LogRecord(**(fields | {"body": body} | parts))


RICH = record(
    {"a": [1, 2.5, True, None, b"\x00"], "b": {"c": ""}},
    observed_ns=NOW_NS + 5,
    trace_id="5b8efff798038103d269b633813fc60c",
    span_id="eee19b7ec3c1b174",
    attributes={"big": -(1 << 63), "é": "日本", "none": None, "empty": []},
)


@pytest.fixture
def store() -> MemoryLogs:
    return MemoryLogs(NOW_NS)


@pytest.fixture
def projects(tmp_path, store):
    clock = ManualClock(NOW_MS)
    projects = Projects(tmp_path, EngineOptions(), clock, max_projects=2, open_logs=lambda _: store)
    yield projects
    projects.close()


@pytest.fixture
def logs(projects):
    clock = ManualClock(NOW_MS)
    with ThreadPoolExecutor(2) as ingest, ThreadPoolExecutor(2) as query:
        executors = Executors(ingest, query)
        metrics = MetricsCollector(projects, executors, clock=clock)
        yield LogAggregator(projects, executors, metrics.turns, clock=clock)


def test_encoding_loses_nothing() -> None:
    assert decode(encode_logs([record(), RICH, record("other")])) == [
        record(),
        RICH,
        record("other"),
    ]


def test_numbers_beyond_64_bits_become_doubles() -> None:
    [found] = decode(encode_logs([record(attributes={"n": 1 << 64, "huge": 10**400})]))
    assert found.attributes == {"n": float(1 << 64), "huge": float("inf")}


async def test_what_is_ingested_is_found(logs) -> None:
    assert await logs.ingest_logs("default", [record(), record("bye", severity_number=17)]) == 2
    page = await logs.search_logs("default", LogQuery("hello"), 0, NOW_NS + 1)
    assert (page.total, [r.body for r in page.records]) == (1, ["hello"])


@pytest.mark.parametrize(
    ("query", "bodies"),
    [
        (LogQuery(levels=("error",)), {"bye"}),
        (LogQuery(levels=("WARNING", "err")), {"bye"}),
        (LogQuery(services=("Web", "none")), {"web"}),
        (LogQuery("-web", ("info",), ("api",)), {"hello"}),
        (LogQuery(), {"hello", "bye", "web"}),
        (LogQuery("a OR bye", levels=("info",)), set()),
    ],
)
async def test_lists_narrow_the_query(logs, query, bodies) -> None:
    await logs.ingest_logs(
        "default",
        [record(), record("bye", severity_number=17), record("web", service="web")],
    )
    page = await logs.search_logs("default", query, 0, NOW_NS + 1)
    assert {r.body for r in page.records} == bodies


async def test_rejected_records_are_told(logs, store) -> None:
    store.too_old_ns = NOW_NS
    with pytest.raises(RejectedLogsError, match=r"stored 1 records, refused 1 \(too_old: 1\)"):
        await logs.ingest_logs("default", [record(), record(time_ns=5)])
    assert len(store.records) == 1


async def test_nothing_is_acknowledged_that_is_not_durable(logs, store) -> None:
    store.sync_failure = StorageUnavailableError("fdatasync failed")
    with pytest.raises(StorageUnavailableError):
        await logs.ingest_logs("default", [record()])


async def test_counts_are_by_step_and_value(logs) -> None:
    await logs.ingest_logs(
        "default", [record(time_ns=NOW_NS + i * MINUTE_NS, severity_number=9 + i) for i in range(6)]
    )
    end_ns = NOW_NS + 6 * MINUTE_NS
    span = (NOW_NS, end_ns, 2 * MINUTE_NS)
    rows = await logs.aggregate_logs("default", LogQuery(), *span, ["severity"])
    assert {value: counts.tolist() for (value,), counts in rows} == {
        "info": [2, 2, 0],
        "warn": [0, 0, 2],
    }
    rows = await logs.aggregate_logs("default", LogQuery(), *span, ["service.name", "severity"])
    assert [values for values, _ in rows] == [("api", "info"), ("api", "warn")]


@pytest.mark.parametrize("step_ns", [0, -1, 1])
async def test_too_many_steps_are_refused(logs, step_ns) -> None:
    with pytest.raises(BadInputError, match="11,000 steps"):
        await logs.aggregate_logs("default", LogQuery(), 0, NOW_NS, step_ns)


async def test_wrong_queries_are_refused_before_the_engine(logs, store) -> None:
    with pytest.raises(QueryParseError):
        await logs.search_logs("default", LogQuery("("), 0, NOW_NS)
    with pytest.raises(BadInputError, match="there is no level 'loud'"):
        await logs.field_names("default", LogQuery(levels=("loud",)), 0, NOW_NS, 5)


async def test_field_values_know_other_names(logs) -> None:
    await logs.ingest_logs("default", [record(), record(), record(service="web")])
    values = await logs.field_values("default", LogQuery(), "service.name", 0, NOW_NS + 1, 1)
    assert values.counts == [("api", 2)]


async def test_flush_leaves_projects_without_logs_alone(logs, store, projects) -> None:
    await logs.flush("default")
    assert store.calls == []
    await logs.ingest_logs("default", [record()])
    await logs.flush("default")
    assert store.calls == ["settle"]
    assert list(AllEngines(projects)) == [("default", store)]
    projects.close()
    assert store.calls == ["settle", "close"]
    with pytest.raises(OverloadedError, match="shutting down"):
        await logs.ingest_logs("default", [record()])


async def test_projects_are_as_many_as_they_may_be(logs, projects) -> None:
    projects.engine("a")
    projects.engine("b")
    assert await logs.ingest_logs("b", [record()]) == 1
    with pytest.raises(OverloadedError, match="limit of 2 projects"):
        await logs.ingest_logs("c", [record()])
    with pytest.raises(InvalidProjectIdError):
        await logs.ingest_logs("../c", [record()])


async def test_a_question_makes_no_project(logs, projects):
    span = (NOW_NS - MINUTE_NS, NOW_NS)
    page = await logs.search_logs("asked", LogQuery(), *span)
    assert (page.records, page.total, page.next_cursor) == ((), 0, None)
    ((label, counts),) = await logs.aggregate_logs("asked", LogQuery(), *span, MINUTE_NS // 4)
    assert (label, counts.tolist()) == ((), [0, 0, 0, 0])
    assert await logs.aggregate_logs("asked", LogQuery(), *span, MINUTE_NS, ["service"]) == []
    assert not (await logs.field_names("asked", LogQuery(), *span, 10)).counts
    assert not (await logs.field_values("asked", LogQuery(), "service", *span, 10)).counts
    assert projects.on_disk() == []
    assert projects.logs.get("asked") is None
    with pytest.raises(InvalidProjectIdError):
        await logs.search_logs("../x", LogQuery(), *span)
