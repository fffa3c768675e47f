"""Errors that spans tell of: what counts, exactly, and what is linked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import StorageUnavailableError
from obsd.model.span import SpanEvent, SpanKind, StatusCode
from obsd.model.span_predicate import AllSpans
from obsd.services.error_tracking.group_store import ErrorGroups, GroupQuery
from obsd.services.error_tracking.span_errors import ERROR_SPANS, error_records
from obsd.services.error_tracking.tracker import ErrorTracker
from obsd.services.metadata_store import MetadataStore
from obsd.services.span_encoding import encode_spans
from tests.api.running_app import running_app
from tests.oracles.span_predicate import matches
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_MS, NOW_NS, make_span

FAILED = {"status": StatusCode.ERROR}
STACK = 'Traceback (most recent call last):\n  File "/app/shop.py", line 7, in buy\nKeyError: 17'


def exception(kind: str = "KeyError", message: str = "17", stack: str = STACK) -> SpanEvent:
    attributes = {
        "exception.type": kind,
        "exception.message": message,
        "exception.stacktrace": stack,
    }
    return SpanEvent(NOW_NS + 5, "exception", attributes)


def test_an_exception_is_a_record_with_the_ids_of_its_span() -> None:
    span = make_span(events=(exception(), SpanEvent(NOW_NS, "retry")), **FAILED)
    [record] = error_records(span)
    assert (record.body, record.time_ns, record.service) == ("17", NOW_NS + 5, "web")
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert record.attributes["exception.stacktrace"] == STACK
    assert record.attributes["span.name"] == "GET /"
    assert record.resource == {"service.name": "web"}


@pytest.mark.parametrize(
    ("parts", "bodies"),
    [
        ({"events": (exception(), exception("E", "x"))}, ["17", "x"]),
        ({"events": (exception("E", ""),)}, ["E"]),
        ({"events": (SpanEvent(0, "exception"),)}, ["GET / failed"]),
        ({**FAILED, "status_message": "refused"}, ["refused"]),
        ({**FAILED, "attributes": {"error.type": "timeout"}}, ["GET /: timeout"]),
        ({**FAILED, "attributes": {"error.type": "500"}}, ["GET /: 500"]),
        ({**FAILED, "attributes": {"error.type": "500"}, "kind": SpanKind.CLIENT}, []),
        (FAILED, []),
        ({"status_message": "fine"}, []),
        ({"events": (SpanEvent(0, "retry"),)}, []),
    ],
)
def test_what_a_span_tells(parts, bodies) -> None:
    span = make_span(**parts)
    assert [record.body for record in error_records(span)] == bodies
    assert matches(ERROR_SPANS, span) or not bodies
    assert not matches(ERROR_SPANS, make_span(**FAILED))


@pytest.fixture
def store() -> MemorySpans:
    return MemorySpans()


@pytest.fixture
def metadata(tmp_path):
    store = MetadataStore(tmp_path)
    yield store
    store.close()


@pytest.fixture
def new_tracker(store, metadata):
    with ThreadPoolExecutor(1) as pool:
        yield lambda: ErrorTracker(
            lambda: (),
            ErrorGroups(metadata),
            QueryBudget,
            pool,
            ManualClock(NOW_MS),
            lambda: [("default", store)],
        )


async def counts(tracker: ErrorTracker) -> dict[str, int]:
    groups, _ = await tracker.search("default", GroupQuery())
    return {group.type or group.template: group.count for group in groups}


async def test_each_error_counts_once(store, new_tracker) -> None:
    tracker = new_tracker()
    store.add(make_span(t, events=(exception(),), **FAILED) for t in range(1, 2_501))
    store.add([make_span(2_501, status_message="no user 5", **FAILED), make_span(2_502)])
    await tracker.look()
    expected = {"KeyError": 2_500, "no user <_>": 1}
    assert await counts(tracker) == expected
    # Looking again, and in a new run, counts nothing again; neither does a request sent again.
    await tracker.look()
    store.add([make_span(2_500, events=(exception(),), **FAILED)])
    await tracker.look()
    assert await counts(tracker) == expected
    after_a_crash = new_tracker()
    await after_a_crash.look()
    store.add([make_span(2_503, events=(exception(),), **FAILED)])
    await after_a_crash.look()
    assert await counts(after_a_crash) == {"KeyError": 2_501, "no user <_>": 1}
    assert tracker.lag_records == 0


async def test_a_flush_takes_nothing_away(store, new_tracker) -> None:
    tracker = new_tracker()
    store.add(make_span(t, events=(exception(),), **FAILED) for t in range(1, 6))
    tracker.opened("default", store)
    store.flush()
    store.add([make_span(6, events=(exception(),), **FAILED)])
    await tracker.look()
    assert await counts(tracker) == {"KeyError": 6}


async def test_a_disk_that_refuses_puts_the_flush_off(store, metadata, new_tracker) -> None:
    tracker = new_tracker()
    tracker.opened("default", store)
    store.add([make_span(events=(exception(),), **FAILED)])

    @contextmanager
    def refuse():
        raise StorageUnavailableError("no space left")
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata, "write", refuse)
        with pytest.raises(OSError, match="no space left"):
            store.flush()
    store.flush()
    assert await counts(tracker) == {"KeyError": 1}


async def test_groups_link_traces_and_show_a_sample_until_it_is_deleted(store, new_tracker) -> None:
    tracker = new_tracker()
    store.add([make_span(7, events=(exception(),), **FAILED)])
    await tracker.look()
    [group], _ = await tracker.search("default", GroupQuery())
    assert [trace.trace_id for trace in group.traces] == [f"{7:032x}"]
    assert group.services == {"web": 1}
    assert group.culprit.startswith("buy")
    sample = await tracker.sample("default", group)
    assert sample is not None
    assert sample.attributes["exception.message"] == "17"
    tracker.forget_deleted_spans("default", 0, 1 << 62)
    assert (await tracker.get("default", group.id)).template
    store.delete(AllSpans(), 0, 1 << 62, QueryBudget())
    tracker.forget_deleted_spans("default", 0, (1 << 63) - 1)
    forgotten = await tracker.get("default", group.id)
    assert (forgotten.template, forgotten.traces) == ("", [])
    assert await tracker.sample("default", group) is None


async def test_exceptions_of_spans_are_in_the_list_of_errors(tmp_path, store) -> None:
    async with running_app(tmp_path, open_traces=lambda _: store) as app:
        body = encode_spans([make_span(events=(exception(),), **FAILED)])
        headers = {"Content-Type": "application/x-protobuf"}
        assert (await app.post("/v1/traces", body, headers=headers)).status == 200
        await app.errors.look()
        [found] = (await app.get("/api/v1/monitoring/errors")).json["errors"]
        assert (found["type"], found["count"]) == ("KeyError", 1)
        assert found["traces"][0]["trace_id"] == f"{1:032x}"
        shown = (await app.get(f"/api/v1/monitoring/errors/{found['id']}")).json
        assert shown["sample"]["message"] == "17"
        assert shown["sample"]["trace_id"] == f"{1:032x}"
