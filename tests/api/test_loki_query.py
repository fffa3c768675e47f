"""Loki's query API over real sockets, with the real engine."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.loki_app import (
    API,
    API_LINES,
    CATEGORIZE,
    NOW_NS,
    NOW_S,
    SECOND_NS,
    SHOP_LINES,
    START_S,
    TRACE_ID,
    WEB_LINES,
    ask,
    at,
    fill,
    loki_app,
    push,
    send,
)
from tests.api.running_app import RunningApp


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with loki_app(tmp_path) as running:
        yield running


@pytest.fixture
async def app(empty: RunningApp) -> RunningApp:
    await fill(empty)
    return empty


async def streams(app: RunningApp, query: str, **parameters: Any) -> Any:
    answer = await ask(app, "/query_range", query=query, **parameters)
    assert answer["status"] == "success"
    assert answer["data"]["resultType"] == "streams"
    return answer["data"]["result"]


def lines(found: Any) -> list[str]:
    """Lines of all streams, by time."""
    values = [value for stream in found for value in stream["values"]]
    return [line for _, line, *_ in sorted(values, key=lambda value: int(value[0]))]


async def test_grafanas_health_test_is_two(empty: RunningApp) -> None:
    answer = await empty.get(
        f"{API}/query", params={"query": "vector(1)+vector(1)", "time": "4000000000"}
    )
    assert answer.status == 200
    data = answer.json["data"]
    assert data["resultType"] == "vector"
    assert data["result"] == [{"metric": {}, "value": [4000000000, "2"]}]


async def test_categorized_lines_have_their_labels_apart(app: RunningApp) -> None:
    answer = await ask(
        app,
        "/query_range",
        query='{app="api"} | logfmt | took="7ms"',
        categorized=True,
    )
    data = answer["data"]
    assert data["encodingFlags"] == ["categorize-labels"]
    # Grafana reads the type and the flags before the result.
    assert list(data) == ["resultType", "encodingFlags", "result", "stats"]
    [stream] = data["result"]
    assert stream["stream"] == {
        "app": "api",
        "env": "prod",
        "level": "info",
        "service_name": "api",
    }
    [[time, line, labels]] = stream["values"]
    assert (time, line) == (str(at(7)), API_LINES[7])
    assert labels == {
        # obsd has made fields of some when they came.
        "structuredMetadata": {
            "detected_level": "info",
            "ok": "true",
            "request_id": "r7",
            "severity_number": "9",
            "severity_text": "info",
            "size": "7KB",
            "status": "500",
            "took": "7ms",
        },
        "parsed": {"msg": "order 7"},
    }


async def test_without_the_flag_all_labels_are_the_streams(app: RunningApp) -> None:
    found = await streams(app, '{app="web"} | json | user_id=3', limit=2)
    assert [each["stream"] for each in found] == [
        {
            "app": "web",
            "detected_level": "unknown",
            "env": "dev",
            "level": "unknown",
            "path": "/x",
            "service_name": "web",
            "took": took,
            "user": '{"id":3,"name":"u1"}',
            "user_id": "3",
            "user_name": "u1",
        }
        for took in ("11.5", "13.5")
    ]
    assert [each["values"] for each in found] == [
        [[str(at(2 * n)), WEB_LINES[n]]] for n in (23, 27)
    ]


async def test_otlp_records_have_index_labels_and_metadata(app: RunningApp) -> None:
    found = await streams(app, '{service_name="shop"} | http_status=503', categorized=True)
    assert found == [
        {
            "stream": {"k8s_pod_name": "shop-1", "service_name": "shop"},
            "values": [
                [
                    str(at(18)),
                    "checkout 3",
                    {
                        "structuredMetadata": {
                            "detected_level": "info",
                            "host_name": "h1",
                            "http_status": "503",
                            "level": "info",
                            "severity_number": "9",
                            "trace_id": TRACE_ID,
                        }
                    },
                ]
            ],
        }
    ]
    assert await streams(app, '{host_name="h1"}') == []


async def test_the_newest_come_first_and_no_more_than_asked_for(app: RunningApp) -> None:
    for direction, expected in (
        ("backward", [55, 56, 57, 58, 59]),
        ("forward", [0, 1, 2, 3, 4]),
        ("FORWARD", [0, 1, 2, 3, 4]),
    ):
        found = await streams(app, '{app="api"}', limit=5, direction=direction)
        assert lines(found) == [API_LINES[n] for n in expected]
        for stream in found:
            times = [int(time) for time, _ in stream["values"]]
            assert times == sorted(times, reverse=direction == "backward")
    assert len(lines(await streams(app, '{env=~".+"}'))) == 90
    assert len(lines(await streams(app, '{service_name=~".+"}', limit=5000))) == 100


async def test_the_end_is_not_in_the_range(app: RunningApp) -> None:
    for start, end, expected in (
        (at(3), at(5), [3, 4]),
        (at(3), at(5) + 1, [3, 4, 5]),
        (at(3) + 1, at(5), [4]),
        (at(3), at(3), []),
    ):
        found = await streams(app, '{app="api"}', start=start, end=end)
        assert lines(found) == [API_LINES[n] for n in expected]
    # Seconds, with and without a fraction, and RFC 3339.
    fraction = await streams(app, '{app="api"}', start=f"{START_S}.5", end=f"{START_S + 2}.5")
    assert lines(fraction) == API_LINES[1:3]
    text = await streams(
        app, '{app="api"}', start="2023-11-14T22:12:00Z", end="2023-11-14T22:12:02.000000001Z"
    )
    assert lines(text) == API_LINES[:3]
    since = await app.get(
        f"{API}/query_range", params={"query": '{app="api"}', "since": "65s", "limit": "100"}
    )
    assert lines(since.json["data"]["result"]) == API_LINES[55:]


async def test_an_interval_thins_lines_out(app: RunningApp) -> None:
    found = await streams(app, '{app="web"}', interval="20s", direction="forward")
    assert lines(found) == [WEB_LINES[n] for n in (0, 10, 20)]


async def test_the_histogram_of_levels(app: RunningApp) -> None:
    query = 'sum by (level, detected_level) (count_over_time({service_name=~".+"}[1m]))'
    answer = await ask(app, "/query_range", query=query, step="60s")
    assert answer["data"]["resultType"] == "matrix"
    found = {
        (each["metric"]["level"], each["metric"]["detected_level"]): each["values"]
        for each in answer["data"]["result"]
    }
    # A window ends at its step, so what is at START_S is in the first, and the rest in the next.
    errors = [n for n in range(60) if n % 3 == 0]
    assert found == {
        ("error", "error"): [
            [START_S, "2"],
            [START_S + 60, str(len(errors) - 1 + 1)],
        ],
        ("info", "info"): [[START_S + 60, str(40 + 8)]],
        ("unknown", "unknown"): [[START_S, "1"], [START_S + 60, "29"]],
    }


async def test_metric_steps_are_aligned_as_in_loki(app: RunningApp) -> None:
    answer = await ask(
        app,
        "/query_range",
        query='sum(count_over_time({app="api"}[10s]))',
        start=START_S + 3,
        end=START_S + 28,
        step="10000ms",
    )
    [series] = answer["data"]["result"]
    assert series["values"] == [
        [START_S, "1"],
        [START_S + 10, "10"],
        [START_S + 20, "10"],
        [START_S + 30, "10"],
    ]


async def test_an_instant_query_is_at_its_time(app: RunningApp) -> None:
    query = 'sum by (level) (rate({app="api"}[30s]))'
    for time in (str(at(29)), str(START_S + 29), "2023-11-14T22:12:29Z"):
        answer = await ask(app, "/query", query=query, time=time)
        assert answer["data"]["resultType"] == "vector"
        assert answer["data"]["result"] == [
            {"metric": {"level": "error"}, "value": [START_S + 29, "0.3333333333333333"]},
            {"metric": {"level": "info"}, "value": [START_S + 29, "0.6666666666666666"]},
        ]
    scalar = await ask(app, "/query", query="1.5 * 2", time=START_S)
    assert scalar["data"]["resultType"] == "scalar"
    assert scalar["data"]["result"] == [START_S, "3"]


async def test_stats_say_what_a_query_took(app: RunningApp) -> None:
    answer = await ask(app, "/query_range", query='{app="api"} |= "order 5"')
    summary = answer["data"]["stats"]["summary"]
    assert summary["totalEntriesReturned"] == 11
    assert summary["totalLinesProcessed"] >= 11
    assert summary["totalBytesProcessed"] >= sum(len(API_LINES[n]) for n in range(50, 60))
    assert summary["execTime"] > 0
    assert summary["bytesProcessedPerSecond"] > 0
    for part in ("querier", "ingester", "cache", "index"):
        assert answer["data"]["stats"][part]


@pytest.mark.parametrize(
    ("path", "parameters", "text"),
    [
        ("/query_range", {"query": "{app="}, "parse error"),
        ("/query_range", {"query": ""}, "parse error"),
        ("/query_range", {"query": "{}"}, "at least one"),
        ("/query_range", {"query": '{app=~".*"}'}, "at least one"),
        ("/query_range", {"query": '{app="api"}', "limit": 5001}, "(5001 > 5000)"),
        ("/query_range", {"query": '{app="api"}', "limit": 0}, "limit must be a positive value"),
        ("/query_range", {"query": '{app="api"}', "end": START_S - 1}, "end timestamp must not"),
        ("/query_range", {"query": '{app="api"}', "step": "1ms"}, "exceeded maximum resolution"),
        ("/query_range", {"query": '{app="api"}', "start": "x"}, "could not parse 'start'"),
        ("/query", {"query": '{app="api"}'}, "log queries are not supported as an instant query"),
        ("/query", {"query": "rate("}, "parse error"),
        ("/labels", {"query": "{app="}, "parse error"),
        ("/label/app/values", {"query": "x"}, "parse error"),
        ("/series", {}, "0 matcher groups supplied"),
        ("/series", {"match[]": "{"}, "parse error"),
        ("/index/stats", {"query": "{"}, "parse error"),
        ("/index/volume", {"query": "{"}, "parse error"),
        ("/index/volume", {"query": "{}", "aggregateBy": "x"}, "invalid aggregation option"),
        ("/index/volume_range", {"query": "{}", "limit": -1}, "limit must be a positive value"),
        ("/detected_fields", {"query": "{"}, "parse error"),
        ("/detected_fields", {"query": '{app="api"}', "line_limit": 5001}, "(5001 > 5000)"),
        ("/tail", {"query": '{app="api"}'}, "WebSocket"),
        ("/tail", {"query": '{app="api"}', "delay_for": 6}, "delay_for can't be greater than 5"),
    ],
)
async def test_errors_are_plain_text(
    app: RunningApp, path: str, parameters: dict[str, Any], text: str
) -> None:
    answer = await send(app, path, **parameters)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert text in answer.text


async def test_a_parse_error_says_where(app: RunningApp) -> None:
    answer = await send(app, "/query_range", query='{app="api"} | nonsense >>')
    assert answer.status == 400
    assert answer.text.startswith("parse error at line 1, col ")


async def test_unknown_paths_and_methods_are_plain_text_too(app: RunningApp) -> None:
    missing = await app.get(f"{API}/nothing")
    assert (missing.status, missing.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    wrong = await app.request("DELETE", f"{API}/labels")
    assert wrong.status == 405
    assert set(wrong.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


async def test_forms_are_taken_and_head_has_no_body(app: RunningApp) -> None:
    form = {"query": '{app="web"}', "start": str(START_S), "end": str(NOW_S), "limit": "7"}
    posted = await app.post(f"{API}/query_range", data=form)
    assert len(lines(posted.json["data"]["result"])) == 7
    for path in ("/query_range", "/labels", "/index/stats"):
        head = await app.request("HEAD", API + path, params=form)
        assert (head.status, head.body) == (200, b"")


async def test_a_browser_may_ask(app: RunningApp) -> None:
    origin = "http://localhost:3000"
    preflight = await app.request(
        "OPTIONS",
        f"{API}/query_range",
        headers={"Origin": origin, "Access-Control-Request-Method": "GET"},
    )
    assert preflight.status == 204
    bare = await app.request("OPTIONS", f"{API}/query_range", headers={"Origin": origin})
    assert (bare.status, bare.body) == (204, b"")
    assert bare.headers["Access-Control-Allow-Origin"] == origin
    assert "GET" in bare.headers["Allow"]
    assert (await app.request("OPTIONS", f"{API}/nothing")).status == 404
    answer = await app.get(f"{API}/labels", headers={"Origin": origin})
    assert answer.headers["Access-Control-Allow-Origin"] == origin


async def test_answers_are_compressed(app: RunningApp) -> None:
    parameters = {"query": '{app="api"}', "start": str(START_S), "end": str(NOW_S)}
    async with app.session.get(
        f"{app.url}{API}/query_range",
        params=parameters,
        headers={"Accept-Encoding": "gzip"},
        auto_decompress=False,
    ) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        body = gzip.decompress(await response.read())
    assert len(lines(json.loads(body)["data"]["result"])) == 60


async def test_a_url_of_64_kib_is_a_query(app: RunningApp) -> None:
    query = '{app="api"} != "' + "x" * (64 << 10) + '" |= "order 1"'
    assert len(lines(await streams(app, query))) == 11


async def test_lines_come_back_as_they_were(empty: RunningApp) -> None:
    odd = [
        "",
        '"quoted" \\ back',
        "tab\t nul\0 line\nfeed",
        "<b>&amp;</b>",
        "日本語 \U0001f600 é",
        "x" * (256 << 10),
    ]
    await push(empty, ({"app": "odd"}, [[at(n), line] for n, line in enumerate(odd)]))
    assert lines(await streams(empty, '{app="odd"}')) == odd


async def test_a_project_without_logs_is_empty(app: RunningApp) -> None:
    headers = {"X-Scope-OrgID": "other"}
    parameters = {"query": '{app="api"}', "match[]": "{}"}
    expected: dict[str, Any] = {
        "/labels": {"status": "success", "data": []},
        "/label/app/values": {"status": "success", "data": []},
        "/series": {"status": "success", "data": []},
        "/index/stats": {"streams": 0, "chunks": 0, "bytes": 0, "entries": 0},
        "/detected_fields": {"fields": [], "limit": 1000},
        "/detected_field/x/values": {"values": [], "limit": 1000},
        "/detected_labels": {"detectedLabels": []},
    }
    for path, body in expected.items():
        answer = await app.get(API + path, params=parameters, headers=headers)
        assert answer.json == body
    for path in ("/query_range", "/index/volume", "/index/volume_range"):
        answer = await app.get(API + path, params=parameters, headers=headers)
        assert answer.json["data"]["result"] == []


async def test_a_query_is_formatted(empty: RunningApp) -> None:
    answer = await empty.get(
        f"{API}/format_query", params={"query": 'sum  by(a)(rate({app="x"}|="y"[5m]))'}
    )
    assert answer.status == 200
    assert answer.json["status"] == "success"
    text = answer.json["data"]
    again = await empty.get(f"{API}/format_query", params={"query": text})
    assert again.json["data"] == text
    wrong = await empty.get(f"{API}/format_query", params={"query": "sum("})
    assert wrong.status == 400
    assert wrong.json["status"] == "invalid-query"
    assert "parse error" in wrong.json["error"]


async def test_the_server_says_what_it_is(empty: RunningApp) -> None:
    build = await empty.get(f"{API}/status/buildinfo")
    assert build.json["version"].split(".")[0] == "3"
    assert build.json["revision"].startswith("obsd-")
    rules = await empty.get(f"{API}/rules")
    assert rules.headers["Content-Type"].startswith("application/yaml")
    assert rules.text == "{}\n"
    rules = await empty.get(f"{API}/rules", headers={"Accept": "application/json, */*"})
    assert rules.headers["Content-Type"].startswith("application/json")
    assert rules.json == {}


async def test_all_counts_agree(app: RunningApp) -> None:
    """Lines, metrics and stats tell the same."""
    found = await streams(app, '{service_name=~".+"}', limit=1000)
    by_service = Counter[str]()
    for stream in found:
        by_service[stream["stream"]["service_name"]] += len(stream["values"])
    assert by_service == {"api": 60, "web": 30, "shop": SHOP_LINES}
    counted = await ask(
        app,
        "/query",
        query='sum by (service_name) (count_over_time({service_name=~".+"}[10m]))',
        time=NOW_NS // SECOND_NS,
    )
    assert {
        each["metric"]["service_name"]: int(each["value"][1]) for each in counted["data"]["result"]
    } == by_service
    stats = await ask(app, "/index/stats", query='{service_name=~".+"}')
    assert stats["entries"] == by_service.total()


def test_the_flag_may_stand_among_others() -> None:
    from obsd.api.loki_json import wants_categories

    name = next(iter(CATEGORIZE))
    assert wants_categories({name: "other, categorize-labels"})
    assert not wants_categories({name: "categorize-labelsX"})
    assert not wants_categories({})
