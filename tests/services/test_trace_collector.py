from concurrent.futures import ThreadPoolExecutor

import pytest

from obsd.model.clock import ManualClock
from obsd.model.errors import BadInputError, OverloadedError, StorageUnavailableError
from obsd.model.span import SpanKind, StatusCode
from obsd.model.span_predicate import AllSpans, CompareField, Field
from obsd.services.metrics_collector import Executors, MetricsCollector
from obsd.services.projects import AllEngines, InvalidProjectIdError, Projects
from obsd.services.span_store import TraceSearch
from obsd.services.trace_collector import RejectedSpansError, TraceCollector, parse_trace_id
from obsd.tsdb.options import EngineOptions
from tests.oracles.otlp_spans import decode
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_MS, NOW_NS, SECOND_NS, make_span

EVER = (0, 1 << 62)
ANY = TraceSearch(AllSpans(), *EVER)


@pytest.fixture
def store() -> MemorySpans:
    return MemorySpans(NOW_NS)


@pytest.fixture
def projects(tmp_path, store):
    clock = ManualClock(NOW_MS)
    options = EngineOptions()
    projects = Projects(tmp_path, options, clock, max_projects=2, open_traces=lambda _: store)
    yield projects
    projects.close()


@pytest.fixture
def traces(projects):
    clock = ManualClock(NOW_MS)
    with ThreadPoolExecutor(2) as ingest, ThreadPoolExecutor(2) as query:
        executors = Executors(ingest, query)
        metrics = MetricsCollector(projects, executors, clock=clock)
        yield TraceCollector(projects, executors, metrics.turns, clock=clock)


async def test_what_is_collected_is_found(traces) -> None:
    call = make_span(number=2, parent_id=f"{1:016x}", kind=SpanKind.CLIENT, name="call")
    other = make_span(2, service="db", start_ns=NOW_NS + 5, end_ns=NOW_NS + 6)
    assert await traces.collect_traces("default", [make_span(), call, other]) == 3
    page = await traces.query_traces("default", ANY)
    assert [(t.root_service, t.spans) for t in page.traces] == [("db", 1), ("web", 2)]
    assert list(await traces.trace("default", "1")) == [make_span(), call]
    assert decode(await traces.otlp("default", "1")).spans == [make_span(), call]
    assert list(await traces.services("default", *EVER)) == ["db", "web"]
    assert list(await traces.operations("default", "web", *EVER)) == [
        ("GET /", SpanKind.SERVER),
        ("call", SpanKind.CLIENT),
    ]
    assert list(await traces.spans("default", AllSpans(), *EVER, 1)) == [other]
    assert list(await traces.field_names("default", *EVER, 9)) == [
        Field("resource", "service.name")
    ]
    name = Field("intrinsic", "name")
    values = await traces.field_values("default", name, AllSpans(), *EVER, 1)
    assert list(values) == [("GET /", 2)]


async def test_a_trace_is_analyzed_against_the_day_before(traces) -> None:
    usual = [make_span(t, start_ns=NOW_NS - t, end_ns=NOW_NS - t + 1_000) for t in range(2, 40)]
    failed = make_span(
        number=2, parent_id=f"{1:016x}", service="db", status=StatusCode.ERROR, status_message="no"
    )
    await traces.collect_traces(
        "default", [*usual, make_span(end_ns=NOW_NS + 2 * SECOND_NS), failed]
    )
    analysis = await traces.analyze_trace("default", "1")
    assert [share.key for share in analysis.services] == ["db", "web"]
    assert [origin.message for origin in analysis.errors] == ["no"]
    web = next(b for b in analysis.bottlenecks if b.node.span.service == "web")
    assert web.is_unusual
    assert web.baseline.p50_ns == 1_000
    assert await traces.analyze_trace("default", "ff") is None


@pytest.mark.parametrize("trace_id", ["", "x", "1" * 33, "0x1"])
async def test_what_is_no_trace_id_is_told(traces, trace_id) -> None:
    with pytest.raises(BadInputError, match="invalid trace id"):
        await traces.trace("default", trace_id)


def test_ids_are_of_one_form() -> None:
    assert parse_trace_id("ABCDEF0123456789") == "0" * 16 + "abcdef0123456789"


async def test_rejected_spans_are_told(traces, store) -> None:
    with pytest.raises(RejectedSpansError, match=r"stored 1 spans, refused 1 \(invalid_span_id: 1"):
        await traces.collect_traces("default", [make_span(), make_span(number=0)])
    assert len(store.kept) == 1


async def test_nothing_is_acknowledged_that_is_not_durable(traces, store) -> None:
    store.sync_failure = StorageUnavailableError("fdatasync failed")
    with pytest.raises(StorageUnavailableError):
        await traces.collect_traces("default", [make_span()])
    store.failure = OverloadedError("full")
    with pytest.raises(OverloadedError):
        await traces.collect_traces("default", [make_span()])


async def test_deleted_traces_are_gone_and_told_of(traces) -> None:
    await traces.collect_traces("default", [make_span(1, name="secret"), make_span(2)])
    told = []
    traces.deletions.also(lambda *of: told.append(of))
    secret = CompareField(Field("intrinsic", "name"), "=", "secret")
    assert await traces.deletions.count("default", secret, *EVER) == 1
    deletion = await traces.deletions.delete("default", secret, *EVER)
    assert deletion.matched == 1
    assert told == [("default", *EVER)]
    assert list(await traces.trace("default", "1")) == []
    assert list(await traces.deletions.list("default")) == [deletion]
    with pytest.raises(BadInputError, match="after its start"):
        await traces.deletions.delete("default", secret, 5, 5)


async def test_flush_leaves_projects_without_traces_alone(traces, store, projects) -> None:
    await traces.flush("default")
    assert store.calls == []
    await traces.collect_traces("default", [make_span()])
    await traces.flush("default")
    assert store.calls == ["settle"]
    assert list(AllEngines(projects)) == [("default", store)]
    projects.close()
    assert store.calls == ["settle", "close"]
    with pytest.raises(OverloadedError, match="shutting down"):
        await traces.collect_traces("default", [make_span()])


async def test_a_question_makes_no_project(traces, projects) -> None:
    page = await traces.query_traces("asked", ANY)
    assert (page.traces, page.next_cursor) == ((), None)
    assert await traces.trace("asked", "1") == []
    assert await traces.otlp("asked", "1") is None
    assert await traces.analyze_trace("asked", "1") is None
    assert await traces.services("asked", *EVER) == []
    assert await traces.operations("asked", "web", *EVER) == []
    assert await traces.spans("asked", AllSpans(), *EVER, 1) == []
    assert await traces.field_names("asked", *EVER, 1) == []
    assert await traces.field_values("asked", Field("any", "a"), AllSpans(), *EVER, 1) == []
    assert await traces.deletions.count("asked", AllSpans(), *EVER) == 0
    assert (await traces.deletions.delete("asked", AllSpans(), *EVER)).id == ""
    assert projects.on_disk() == []
    with pytest.raises(InvalidProjectIdError):
        await traces.query_traces("../x", ANY)
