"""Jaeger's query API."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from obsd.model.clock import ManualClock
from obsd.model.span import Scope, SpanEvent, SpanKind, SpanLink, StatusCode
from tests.api.running_app import running_app
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_NS, SECOND_NS, make_span

API = "/jaeger/api"
MS = 1_000_000
ID = f"{0xAB:032x}"
START_NS = NOW_NS - 60 * SECOND_NS


@pytest.fixture
async def app(tmp_path):
    store = MemorySpans(NOW_NS)
    web = {
        "resource": {"service.name": "web", "host.name": "a"},
        "scope": Scope("lib", "1.2"),
    }
    store.add(
        [
            make_span(0xAB, 1, start_ns=START_NS, end_ns=START_NS + 900 * MS, name="GET /", **web),
            make_span(
                0xAB,
                2,
                parent_id=f"{1:016x}",
                start_ns=START_NS + 1_500,
                end_ns=START_NS + 500 * MS,
                name="query",
                service="db/main",
                kind=SpanKind.CLIENT,
                status=StatusCode.ERROR,
                status_message="down",
                attributes={"n": 7, "f": 0.5, "b": True, "raw": b"\x01", "list": ["x", 1]},
                events=(SpanEvent(START_NS + 2_000, "exception", {"exception.type": "E"}),),
                links=(SpanLink("cd" * 16, "ef" * 8),),
                trace_state="a=1",
                flags=0x101,
            ),
            make_span(2, 1, start_ns=START_NS - SECOND_NS, end_ns=START_NS, name="home", **web),
        ]
    )
    clock = ManualClock(NOW_NS // MS)
    async with running_app(tmp_path, clock=clock, open_traces=lambda _: store) as running:
        running.projects.trace_store("default")
        yield running


async def data(app, path: str, **params: str) -> Any:
    answer = await app.get(API + path, params)
    assert answer.status == 200, answer.text
    assert answer.json["errors"] is None
    return answer.json["data"]


async def test_services_and_operations(app) -> None:
    answer = (await app.get(f"{API}/services")).json
    expected = {"data": ["db/main", "web"], "total": 2, "limit": 0, "offset": 0, "errors": None}
    assert answer == expected
    assert await data(app, "/services/db%2Fmain/operations") == ["query"]
    assert await data(app, "/services/web/operations") == ["GET /", "home"]
    assert await data(app, "/operations", service="db/main") == [
        {"name": "query", "spanKind": "client"}
    ]
    assert await data(app, "/operations", service="web", spanKind="client") == []
    assert (await app.get(f"{API}/operations")).status == 400


async def test_a_trace_has_jaegers_form(app) -> None:
    (trace,) = await data(app, f"/traces/{ID.upper().lstrip('0')}")
    assert trace["traceID"] == ID
    root, query = trace["spans"]
    assert trace["processes"][root["processID"]] == {
        "serviceName": "web",
        "tags": [{"key": "host.name", "type": "string", "value": "a"}],
    }
    assert trace["processes"][query["processID"]]["serviceName"] == "db/main"
    assert root["references"] == []
    assert (query["startTime"], query["duration"]) == (START_NS // 1000 + 1, 499_998)
    assert query["references"] == [
        {"refType": "CHILD_OF", "traceID": ID, "spanID": root["spanID"]},
        {"refType": "FOLLOWS_FROM", "traceID": "cd" * 16, "spanID": "ef" * 8},
    ]
    tags = {tag["key"]: (tag["type"], tag["value"]) for tag in query["tags"]}
    assert tags == {
        "n": ("int64", 7),
        "f": ("float64", 0.5),
        "b": ("bool", True),
        "raw": ("binary", base64.b64encode(b"\x01").decode()),
        "list": ("string", '["x",1]'),
        "span.kind": ("string", "client"),
        "otel.status_code": ("string", "ERROR"),
        "otel.status_description": ("string", "down"),
        "error": ("bool", True),
        "w3c.tracestate": ("string", "a=1"),
    }
    scope = {tag["key"]: tag["value"] for tag in root["tags"]}
    assert (scope["otel.scope.name"], scope["otel.scope.version"]) == ("lib", "1.2")
    assert query["logs"] == [
        {
            "timestamp": START_NS // 1000 + 2,
            "fields": [
                {"key": "event", "type": "string", "value": "exception"},
                {"key": "exception.type", "type": "string", "value": "E"},
            ],
        }
    ]
    assert query["warnings"] is None


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"service": "web"}, [0xAB, 2]),
        ({"service": "web", "limit": "1"}, [0xAB]),
        ({"service": "web", "operation": "home"}, [2]),
        ({"service": "web", "operation": "all"}, [0xAB, 2]),
        ({"service": "web", "minDuration": "950ms"}, [2]),
        ({"service": "web", "maxDuration": "0.9s"}, [0xAB]),
        ({"service": "db/main", "minDuration": "500ms"}, []),
        ({"service": "db/main", "tags": '{"error":"true"}'}, [0xAB]),
        ({"service": "web", "tags": '{"error":"true"}'}, []),
        ({"service": "db/main", "tags": '{"n":"7","b":"true"}'}, [0xAB]),
        ({"service": "web", "tag": "host.name:a"}, [0xAB, 2]),
        ({"service": "db/main", "tags": '{"span.kind":"client"}'}, [0xAB]),
        ({"service": "web", "start": str(START_NS // 1000)}, [0xAB]),
        ({"service": "web", "end": str(START_NS // 1000 - 500_000)}, [2]),
        ({"service": "web", "lookback": "1h"}, [0xAB, 2]),
        ({"service": "web", "lookback": "60s"}, [0xAB]),
        ({"traceID": ID}, [0xAB]),
        ({"traceID": "ff"}, []),
        ({"service": "nobody"}, []),
    ],
)
async def test_traces_are_found_by(app, params, expected) -> None:
    found = await data(app, "/traces", **params)
    assert [int(trace["traceID"], 16) for trace in found] == expected


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/traces", 400),
        ("/traces?service=web&start=x", 400),
        ("/traces?service=web&minDuration=1", 400),
        ("/traces?service=web&tags=x", 400),
        ("/traces?service=web&tag=x", 400),
        ("/traces?traceID=xyz", 400),
        ("/traces/ff", 404),
        ("/nothing", 404),
    ],
)
async def test_errors_have_jaegers_form(app, path, status) -> None:
    answer = await app.get(API + path)
    assert answer.status == status
    assert answer.json["data"] is None
    (error,) = answer.json["errors"]
    assert error["code"] == status
    assert error["msg"]


async def test_an_unknown_trace_is_told_in_jaegers_words(app) -> None:
    answer = await app.get(f"{API}/traces/ff")
    assert answer.json["errors"] == [{"code": 404, "msg": "trace not found"}]


async def test_version_3_answers_in_otlp(app) -> None:
    assert (await app.get(f"{API}/v3/services")).json == {"services": ["db/main", "web"]}
    operations = (await app.get(f"{API}/v3/operations", {"service": "web"})).json["operations"]
    assert operations[0] == {"name": "GET /", "spanKind": "server"}
    times = {
        "query.startTimeMin": "2027-01-15T07:00:00Z",
        "query.start_time_max": "2027-01-15T09:00:00Z",
    }
    query = {"query.service_name": "db/main", "query.durationMin": "400ms", **times}
    found = (await app.get(f"{API}/v3/traces", query)).json["result"]["resourceSpans"]
    spans = [s for r in found for scope in r["scopeSpans"] for s in scope["spans"]]
    assert sorted(span["name"] for span in spans) == ["GET /", "query"]
    shown = (await app.get(f"{API}/v3/traces/{ID}")).json["result"]["resourceSpans"]
    assert shown == found
    (failed,) = [span for span in spans if span["name"] == "query"]
    assert failed["traceId"] == ID
    assert failed["kind"] == 3
    assert failed["status"] == {"message": "down", "code": 2}
    assert {"key": "n", "value": {"intValue": "7"}} in failed["attributes"]
    assert {
        "key": "list",
        "value": {"arrayValue": {"values": [{"stringValue": "x"}, {"intValue": "1"}]}},
    } in failed["attributes"]
    missing = await app.get(f"{API}/v3/traces/ff")
    assert (missing.status, missing.json) == (
        404,
        {"error": {"httpCode": 404, "message": "trace not found"}},
    )
    assert (await app.get(f"{API}/v3/traces", {"query.service_name": "web"})).status == 400
    by_attribute = {"query.attributes[n]": "7", **times}
    assert (await app.get(f"{API}/v3/traces", by_attribute)).json["result"]["resourceSpans"]


async def test_dependencies_are_counted(app) -> None:
    end_ms = str(NOW_NS // MS)
    found = await data(app, "/dependencies", endTs=end_ms, lookback="3600000")
    assert found == [{"parent": "web", "child": "db/main", "callCount": 1}]
    assert await data(app, "/dependencies", endTs=end_ms, lookback="1000") == []
    assert (await app.get(f"{API}/dependencies")).status == 400
    assert (await app.get(f"{API}/dependencies", {"endTs": "x"})).status == 400


async def test_dependencies_of_many_spans_come_from_their_metrics(app, monkeypatch) -> None:
    monkeypatch.setattr("obsd.services.trace_links.MAX_SPANS", 2)
    labels = 'client="web",server="db",connection_type=""'
    at_s = NOW_NS // SECOND_NS
    lines = [
        f"traces_service_graph_request_total{{{labels}}} {7 * (ago < 60)} {(at_s - ago) * 1000}"
        for ago in range(3600, -1, -15)
    ]
    sent = await app.post("/api/v1/import/prometheus", "\n".join(lines) + "\n")
    assert sent.status == 204, sent.text
    found = await data(app, "/dependencies", endTs=str(NOW_NS // MS), lookback="3600000")
    assert found == [{"parent": "web", "child": "db", "callCount": 7}]
