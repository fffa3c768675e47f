"""`/api/v1/monitoring/traces`: lists, single traces, fields, and what they tell."""

from __future__ import annotations

from typing import Any

import pytest

from obsd.model.clock import ManualClock
from obsd.model.span import SpanEvent, SpanKind, SpanLink, StatusCode
from tests.api.running_app import running_app
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_NS, SECOND_NS, make_span

PATH = "/api/v1/monitoring/traces"
MS = 1_000_000


@pytest.fixture
def store() -> MemorySpans:
    return MemorySpans(NOW_NS)


@pytest.fixture
async def app(tmp_path, store):
    clock = ManualClock(NOW_NS // MS)
    async with running_app(tmp_path, clock=clock, open_traces=lambda _: store) as running:
        running.projects.trace_store("default")
        yield running


def call(trace: int, number: int, offset_ms: int, took_ms: int, **parts: Any):
    start_ns = NOW_NS - 60 * SECOND_NS * trace + offset_ms * MS
    return make_span(trace, number, start_ns=start_ns, end_ns=start_ns + took_ms * MS, **parts)


@pytest.fixture
def shop(store) -> None:
    """Trace 1: a checkout that failed in the database; 2: one that went well; 3: another route."""
    below = f"{1:016x}"
    failed = {"status": StatusCode.ERROR}
    exception = SpanEvent(
        NOW_NS - 60 * SECOND_NS + 300 * MS,
        "exception",
        {"exception.type": "Timeout", "exception.message": "no answer"},
    )
    store.add(
        [
            call(1, 1, 0, 900, name="checkout", attributes={"user": "ann", "n": 7}, **failed),
            call(
                1,
                2,
                100,
                700,
                name="SELECT",
                service="db",
                parent_id=below,
                kind=SpanKind.CLIENT,
                events=(exception,),
                status_message="down",
                links=(SpanLink("ab" * 16, "cd" * 8),),
                **failed,
            ),
            call(2, 1, 0, 100, name="checkout", attributes={"user": "bob"}),
            call(2, 2, 10, 50, name="SELECT", service="db", parent_id=below, kind=SpanKind.CLIENT),
            call(3, 1, 0, 300, name="home", attributes={"n": 7.5, "ok": True}),
        ]
    )


async def ids(app, **params: str) -> list[int]:
    answer = await app.get(PATH, params)
    assert answer.status == 200, answer.text
    return [int(trace["trace_id"], 16) for trace in answer.json["traces"]]


async def test_without_traces_there_are_none(app) -> None:
    assert (await app.get(PATH)).json == {"traces": [], "next_cursor": None}
    assert (await app.get(f"{PATH}/{1:032x}")).status == 404
    assert (await app.get(f"{PATH}/{1:032x}/analysis")).status == 404


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"sort": "slowest"}, [1, 3, 2]),
        ({"service": "db"}, [1, 2]),
        ({"service": "web", "operation": "home"}, [3]),
        ({"operation": "SELECT", "error": "true"}, [1]),
        ({"service": "web", "error": "false"}, [2, 3]),
        ({"min_duration": "200ms"}, [1, 3]),
        ({"max_duration": "0.3"}, [2, 3]),
        ({"service": "db", "min_span_duration": "700ms"}, [1]),
        ({"service": "db", "max_span_duration": "699ms"}, [2]),
        ({"tag": "user:bob"}, [2]),
        ({"tags": '{"n": 7}'}, [1]),
        ({"tag": "n:7"}, [1]),
        ({"tag": "n:7.5"}, [3]),
        ({"tag": "ok:true"}, [3]),
        ({"tags": '{"error": "true"}'}, [1]),
        ({"kind": "client"}, [1, 2]),
        ({"from": "-90s"}, [1]),
        ({"from": "-1h", "to": "-90s"}, [2, 3]),
        ({"limit": "1"}, [1]),
    ],
)
async def test_traces_are_found_by(app, params, expected) -> None:
    assert await ids(app, **params) == expected


@pytest.mark.usefixtures("shop")
async def test_pages_follow_each_other(app) -> None:
    seen, cursor = [], ""
    for _ in range(3):
        page = (await app.get(PATH, {"limit": "1", "cursor": cursor})).json
        seen += [trace["root_operation"] for trace in page["traces"]]
        cursor = page["next_cursor"] or ""
    assert seen == ["checkout", "checkout", "home"]


@pytest.mark.usefixtures("shop")
async def test_a_list_shows_what_each_trace_is(app) -> None:
    (entry, *_) = (await app.get(PATH)).json["traces"]
    assert entry == {
        "trace_id": f"{1:032x}",
        "root_service": "web",
        "root_operation": "checkout",
        "start": "2027-01-15T07:59:00.000Z",
        "start_ns": str(NOW_NS - 60 * SECOND_NS),
        "duration_ms": 900.0,
        "spans": 2,
        "errors": 2,
        "services": {"web": {"spans": 1, "errors": 1}, "db": {"spans": 1, "errors": 1}},
    }


@pytest.mark.usefixtures("shop")
async def test_a_trace_has_all_of_its_spans(app) -> None:
    trace = (await app.get(f"{PATH}/1")).json
    assert trace["trace_id"] == f"{1:032x}"
    root, query = trace["spans"]
    assert (root["operation"], root["kind"], root["status"]) == ("checkout", "server", "error")
    assert root["attributes"] == {"user": "ann", "n": 7}
    assert query["parent_id"] == root["span_id"]
    assert query["status_message"] == "down"
    assert query["events"][0]["attributes"]["exception.type"] == "Timeout"
    assert query["events"][0]["offset_ms"] == 200.0
    assert query["links"][0]["trace_id"] == "ab" * 16


@pytest.mark.usefixtures("shop")
async def test_services_operations_and_fields_are_listed(app) -> None:
    assert (await app.get(f"{PATH}/services")).json == {"services": ["db", "web"]}
    assert (await app.get(f"{PATH}/operations", {"service": "db"})).json == {
        "operations": [{"name": "SELECT", "kind": "client"}]
    }
    assert (await app.get(f"{PATH}/operations")).status == 400
    names = (await app.get(f"{PATH}/fields")).json["fields"]
    assert {"scope": "span", "name": "user"} in names
    values = (await app.get(f"{PATH}/fields", {"field": "span.user", "service": "web"})).json
    assert sorted(value["value"] for value in values["values"]) == ["ann", "bob"]
    services = (await app.get(f"{PATH}/fields", {"field": "intrinsic.service"})).json["values"]
    assert services == [{"value": "web", "spans": 3}, {"value": "db", "spans": 2}]


@pytest.mark.usefixtures("shop")
async def test_the_analysis_tells_where_the_time_went(app) -> None:
    found = (await app.get(f"{PATH}/1/analysis")).json
    assert found["duration_ms"] == 900.0
    assert [(s["operation"], s["offset_ms"], s["duration_ms"]) for s in found["critical_path"]] == [
        ("checkout", 0.0, 100.0),
        ("SELECT", 100.0, 700.0),
        ("checkout", 800.0, 100.0),
    ]
    assert [(s["key"], s["critical_ms"]) for s in found["services"]] == [("db", 700), ("web", 200)]
    assert [(s["depth"], s["self_ms"], s["critical_ms"]) for s in found["spans"]] == [
        (0, 200.0, 200.0),
        (1, 700.0, 700.0),
    ]
    (error,) = found["errors"]
    assert (error["type"], error["message"], error["reaches_root"]) == (
        "Timeout",
        "no answer",
        True,
    )
    assert [each["operation"] for each in error["path"]] == ["checkout"]
    assert found["bottlenecks"][0]["operation"] == "SELECT"


@pytest.mark.usefixtures("shop")
async def test_two_traces_are_compared(app) -> None:
    found = (await app.get(f"{PATH}/compare", {"before": "2", "after": "1"})).json
    assert [(s["operation"], s["change"], s["duration_change_ms"]) for s in found["spans"]] == [
        ("checkout", "changed", 800.0),
        ("SELECT", "changed", 650.0),
    ]
    assert found["spans"][0]["attributes"] == {"n": [None, 7], "user": ["bob", "ann"]}
    assert found["operations"][0]["operation"] == "SELECT"
    assert (await app.get(f"{PATH}/compare", {"before": "2", "after": "99"})).status == 404
    assert (await app.get(f"{PATH}/compare", {"before": "2"})).status == 400


async def test_what_sets_slow_spans_apart_is_found(app, store) -> None:
    store.add(
        call(1 + n % 50, 10 + n, n, 900 if slow else 10, attributes={"version": version, "id": n})
        for n in range(400)
        for slow, version in [(n % 10 == 0, "v2" if n % 10 == 0 or n % 97 == 0 else "v1")]
    )
    found = (await app.get(f"{PATH}/populations", {"select_min_span_duration": "500ms"})).json
    assert (found["selected"], found["others"]) == (40, 360)
    first = found["fields"][0]
    assert (first["scope"], first["name"]) == ("span", "version")
    assert (first["values"][0]["value"], first["values"][0]["selected"]) == ("v2", 40)
    assert (await app.get(f"{PATH}/populations")).status == 400


@pytest.mark.parametrize(
    ("path", "params", "named"),
    [
        ("", {"min_duration": "fast"}, "min_duration"),
        ("", {"min_duration": "-1s"}, "min_duration"),
        ("", {"limit": "0"}, "limit"),
        ("", {"limit": "100000"}, "limit"),
        ("", {"sort": "name"}, "sort"),
        ("", {"error": "maybe"}, "error"),
        ("", {"kind": "reader"}, "kind"),
        ("", {"from": "now", "to": "-1h"}, "to"),
        ("", {"from": "yesterday"}, "from"),
        ("", {"tag": "novalue"}, "tag"),
        ("", {"tags": "[1]"}, "tags"),
        ("", {"tags": '{"a": [1]}'}, "tags"),
        ("", {"tags": "[" * 20_000}, "tags"),
        ("/fields", {"field": "span."}, "field"),
    ],
)
async def test_what_cannot_be_read_is_named(app, path, params, named) -> None:
    answer = await app.get(PATH + path, params)
    assert answer.status == 400, answer.text
    assert f'"{named}"' in answer.json["error"]["message"]


async def test_a_wrong_id_is_refused(app) -> None:
    assert (await app.get(f"{PATH}/xyz")).status == 400
    assert (await app.get(f"{PATH}/{'a' * 33}")).status == 400


async def test_projects_are_apart(app, shop) -> None:
    answer = await app.get(PATH, headers={"X-Scope-OrgID": "other"})
    assert answer.json["traces"] == []


def doomed(query: str, **times: str) -> dict[str, str]:
    return {"query": query, "from": "-1h", "to": "now"} | times


@pytest.mark.usefixtures("shop")
async def test_traces_are_deleted_by_query(app) -> None:
    path = f"{PATH}/delete"
    by_user = doomed('{ span.user = "ann" }')
    counted = await app.request("POST", f"{path}?dry_run=1", json=by_user)
    assert (counted.status, counted.json["matched"] > 0) == (200, True)
    assert await ids(app) == [1, 2, 3]
    answer = await app.request("POST", path, json=by_user)
    assert answer.status == 202, answer.text
    assert await ids(app) == [2, 3]
    (listed,) = (await app.get(path)).json["deletions"]
    assert listed["id"] == answer.json["id"]
    assert (await app.get(f"{path}/{listed['id']}")).json["id"] == listed["id"]
    assert (await app.get(f"{path}/none")).status == 404


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    "body",
    [
        doomed("{} >> { .a = 1 }"),
        doomed("{} | count() > 3"),
        doomed("{ .a = }"),
        doomed(""),
        doomed("{}", to="-2h"),
        {"query": "{}"},
    ],
)
async def test_what_does_not_say_plainly_what_to_delete_deletes_nothing(app, body) -> None:
    assert (await app.request("POST", f"{PATH}/delete", json=body)).status == 400
    assert await ids(app) == [1, 2, 3]
