"""Tempo's query API, as Grafana's data source calls it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from obsd.model.clock import ManualClock
from obsd.model.span import SpanKind, StatusCode
from tests.api.running_app import running_app
from tests.oracles.otlp_spans import decode
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_NS, SECOND_NS, make_span

API = "/tempo/api"
MS = 1_000_000
ID = f"{0xAB:032x}"
START_NS = NOW_NS - 60 * SECOND_NS
PROTOBUF = {"Accept": "application/protobuf"}
RANGE = {"start": str(NOW_NS // SECOND_NS - 3600), "end": str(NOW_NS // SECOND_NS)}

SPANS = [
    make_span(
        0xAB,
        1,
        start_ns=START_NS,
        end_ns=START_NS + 900 * MS,
        attributes={"http.route": "/cart", "n": 7},
        resource={"service.name": "web", "host.name": "a"},
    ),
    make_span(
        0xAB,
        2,
        parent_id=f"{1:016x}",
        start_ns=START_NS + 1,
        end_ns=START_NS + 500 * MS,
        name="query",
        service="db",
        kind=SpanKind.CLIENT,
        status=StatusCode.ERROR,
        attributes={"db.system": "postgresql"},
    ),
]
OTHER = make_span(2, 1, start_ns=START_NS - SECOND_NS, end_ns=START_NS, name="home")


@pytest.fixture
async def app(tmp_path):
    store = MemorySpans(NOW_NS)
    store.add([*SPANS, OTHER])
    clock = ManualClock(NOW_NS // MS)
    async with running_app(tmp_path, clock=clock, open_traces=lambda _: store) as running:
        running.projects.trace_store("default")
        yield running


async def answer(app, path: str, **params: str) -> Any:
    found = await app.get(API + path, params)
    assert found.status == 200, found.text
    return found.json


async def test_grafana_tests_the_data_source(app) -> None:
    echo = await app.get(f"{API}/echo")
    assert (echo.status, echo.text) == (200, "echo")
    assert (await answer(app, "/status/buildinfo"))["version"].startswith("2.")
    assert (await app.get("/tempo/ready")).status == 200


async def test_a_trace_comes_as_protobuf(app) -> None:
    first = await app.get(f"{API}/v2/traces/{ID}", headers=PROTOBUF)
    assert first.headers["Content-Type"].startswith("application/protobuf")
    assert first.body[0] == 0x0A  # Field 1 of TraceByIDResponse: the trace.
    whole = await app.get(f"{API}/traces/ab", headers=PROTOBUF)
    assert first.body.endswith(whole.body)
    assert len(TracesData.FromString(whole.body).resource_spans) == 2
    assert decode(whole.body).spans == SPANS


async def test_a_trace_comes_as_json_with_base64_ids(app) -> None:
    batches = (await answer(app, f"/traces/{ID}"))["batches"]
    found = (await answer(app, f"/v2/traces/{ID}"))["trace"]["resourceSpans"]
    assert found == batches
    (query,) = [
        span
        for batch in batches
        for scope in batch["scopeSpans"]
        for span in scope["spans"]
        if span["name"] == "query"
    ]
    assert base64.b64decode(query["traceId"]).hex() == ID
    assert base64.b64decode(query["parentSpanId"]).hex() == f"{1:016x}"
    assert query["kind"] == "SPAN_KIND_CLIENT"
    assert query["status"] == {"code": "STATUS_CODE_ERROR"}


@pytest.mark.parametrize("path", ["/traces/ff", "/v2/traces/ff", "/nothing"])
async def test_what_is_unknown_is_404(app, path) -> None:
    missing = await app.get(API + path, headers=PROTOBUF)
    assert missing.status == 404
    assert missing.headers["Content-Type"].startswith("text/plain")


async def test_a_search_by_traceql(app) -> None:
    query = '{ resource.service.name = "web" && .http.route =~ "/c.*" } | select(span.n)'
    found = await answer(app, "/search", q=query, **RANGE)
    (trace,) = found["traces"]
    (span,) = trace["spanSets"][0]["spans"]
    assert trace["spanSets"][0]["matched"] == 1
    assert trace["spanSet"] == trace["spanSets"][0]
    assert span["spanID"] == f"{1:016x}"
    assert (span["startTimeUnixNano"], span["durationNanos"]) == (str(START_NS), str(900 * MS))
    assert {"key": "n", "value": {"intValue": "7"}} in span["attributes"]
    del trace["spanSet"], trace["spanSets"]
    assert trace == {
        "traceID": ID,
        "rootServiceName": "web",
        "rootTraceName": "GET /",
        "startTimeUnixNano": str(START_NS),
        "durationMs": 900,
        "serviceStats": {
            "web": {"spanCount": 1, "errorCount": 0},
            "db": {"spanCount": 1, "errorCount": 1},
        },
    }


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [0xAB, 2]),
        ({"q": "{}"}, [0xAB, 2]),
        ({"q": "{}", "limit": "1"}, [0xAB]),
        ({"q": "{ status = error }"}, [0xAB]),
        ({"q": '{ name = "GET /" } > { kind = client }'}, [0xAB]),
        ({"q": "{ duration >= 1s }"}, [2]),
        ({"tags": 'service.name=web http.route="/cart"'}, [0xAB]),
        ({"tags": "error=true"}, [0xAB]),
        ({"minDuration": "950ms"}, [2]),
        ({"maxDuration": "950ms"}, [0xAB]),
        ({"q": "{ .none = 1 }"}, []),
    ],
)
async def test_traces_are_found_by(app, params, expected) -> None:
    found = await answer(app, "/search", **params, **RANGE)
    assert [int(trace["traceID"], 16) for trace in found["traces"]] == expected


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/search", {"q": "{ .a = }"}),
        ("/search", {"q": "{} | rate()"}),
        ("/search", {"limit": "x"}),
        ("/search", {"start": "x"}),
        ("/search", {"start": "10", "end": "5"}),
        ("/search", {"minDuration": "x"}),
        ("/search", {"tags": 'a="b'}),
        ("/search/tags", {"scope": "nothing"}),
        ("/metrics/query_range", {}),
        ("/metrics/query_range", {"q": "{}"}),
        ("/metrics/query_range", {"q": "{} | rate()", "step": "1ns"}),
        ("/traces/xyz", {}),
    ],
)
async def test_what_cannot_be_read_is_400_in_plain_text(app, path, params) -> None:
    found = await app.get(API + path, params)
    assert found.status == 400, found.text
    assert found.headers["Content-Type"].startswith("text/plain")
    assert found.text


async def test_names_of_tags(app) -> None:
    names = (await answer(app, "/search/tags"))["tagNames"]
    assert {"http.route", "host.name", "status"} <= set(names)
    scopes = {s["name"]: s["tags"] for s in (await answer(app, "/v2/search/tags"))["scopes"]}
    assert scopes["span"] == ["db.system", "http.route", "n"]
    assert scopes["resource"] == ["host.name", "service.name"]
    assert "rootServiceName" in scopes["intrinsic"]
    only = (await answer(app, "/v2/search/tags", scope="span"))["scopes"]
    assert [each["name"] for each in only] == ["span"]


@pytest.mark.parametrize(
    ("tag", "query", "expected"),
    [
        ("resource.service.name", "", [("string", "web"), ("string", "db")]),
        (".service.name", "{ kind = client }", [("string", "db")]),
        ("span.n", "", [("int", "7")]),
        ("span.n", '{ .http.route = "/cart" && ', [("int", "7")]),
        ("status", "", [("keyword", "unset"), ("keyword", "ok"), ("keyword", "error")]),
        ("rootName", "", [("string", "GET /"), ("string", "home")]),
        ("rootServiceName", "", [("string", "web")]),
        ("name", "{ status = error }", [("string", "query")]),
        ("name", "not a query", [("string", "GET /"), ("string", "home"), ("string", "query")]),
        ("duration", "", []),
        ("span.none", "", []),
    ],
)
async def test_values_of_tags(app, tag, query, expected) -> None:
    found = await answer(app, f"/v2/search/tag/{tag}/values", q=query)
    values = [(each["type"], each["value"]) for each in found["tagValues"]]
    assert sorted(values) == sorted(expected)


async def test_a_tag_may_be_encoded_twice(app) -> None:
    found = await app.get(f"{API}/v2/search/tag/resource%252Eservice.name/values")
    assert {each["value"] for each in found.json["tagValues"]} == {"web", "db"}


async def test_values_of_the_first_api_are_texts(app) -> None:
    assert (await answer(app, "/search/tag/service.name/values"))["tagValues"] == ["db", "web"]
    assert (await answer(app, "/search/tag/n/values"))["tagValues"] == ["7"]


async def test_metrics_over_time(app) -> None:
    query = "{} | count_over_time() by (resource.service.name)"
    found = await answer(app, "/metrics/query_range", q=query, step="60s", **RANGE)
    series = {s["labels"][0]["value"]["stringValue"]: s for s in found["series"]}
    assert set(series) == {"web", "db"}
    assert series["web"]["labels"][0]["key"] == "resource.service.name"
    counts = {name: sum(p["value"] for p in s["samples"]) for name, s in series.items()}
    assert counts == {"web": 2, "db": 1}
    assert all(isinstance(p["timestampMs"], str) for p in series["web"]["samples"])
    exemplars = [e for each in found["series"] for e in each["exemplars"]]
    assert any(label["value"].get("stringValue") == ID for e in exemplars for label in e["labels"])
    assert series["web"]["promLabels"] == '{resource.service.name="web"}'


async def test_metrics_of_a_moment(app) -> None:
    found = await answer(app, "/metrics/query", q="{} | count_over_time()", **RANGE)
    assert [series["value"] for series in found["series"]] == [3.0]
