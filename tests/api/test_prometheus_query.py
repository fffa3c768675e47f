"""Queries over HTTP: values, envelopes, errors, limits."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import math
import threading
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from obsd.api.prometheus_envelope import envelope
from obsd.promql import Evaluator
from obsd.services.metrics_collector import QueryLimits
from tests.api.running_app import RunningApp, running_app

T0 = 1_700_000_000_000
T0_S = T0 // 1000


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as running:
        await running.write(
            [
                (
                    {"__name__": "requests_total", "job": job},
                    [(T0 + 10_000 * i, float(i * step)) for i in range(61)],
                )
                for job, step in (("a", 10), ("b", 20))
            ]
        )
        yield running


async def test_instant_vector(app: RunningApp):
    answer = await app.get("/api/v1/query", {"query": "requests_total", "time": str(T0_S + 600.5)})
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json == {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [
                {
                    "metric": {"__name__": "requests_total", "job": job},
                    "value": [T0_S + 600.5, value],
                }
                for job, value in (("a", "600"), ("b", "1200"))
            ],
        },
    }


@pytest.mark.parametrize(
    ("query", "result_type", "result"),
    [
        ("1+1", "scalar", [T0_S, "2"]),
        ("'x\"y'", "string", [T0_S, 'x"y']),
        ("vector(1)/0", "vector", [{"metric": {}, "value": [T0_S, "+Inf"]}]),
        ("-vector(1)/0", "vector", [{"metric": {}, "value": [T0_S, "-Inf"]}]),
        ("vector(0)/0", "vector", [{"metric": {}, "value": [T0_S, "NaN"]}]),
        ("1e16", "scalar", [T0_S, "10000000000000000"]),
        ("1e21", "scalar", [T0_S, "1e+21"]),
        ("1e-7", "scalar", [T0_S, "1e-07"]),
        ("absent_metric", "vector", []),
        ("absent_metric[5m]", "matrix", []),
    ],
)
async def test_result_types_and_values(app: RunningApp, query: str, result_type: str, result: list):
    data = await app.data("/api/v1/query", {"query": query, "time": str(T0_S)})
    assert data == {"resultType": result_type, "result": result}


async def test_range_vector_of_an_instant_query(app: RunningApp):
    data = await app.data(
        "/api/v1/query", {"query": 'requests_total{job="a"}[25s]', "time": str(T0_S + 30)}
    )
    assert data["resultType"] == "matrix"
    assert data["result"][0]["values"] == [[T0_S + 10, "10"], [T0_S + 20, "20"], [T0_S + 30, "30"]]


@pytest.mark.parametrize("prefix", ["", "/prometheus"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_range_query(app: RunningApp, prefix: str, method: str):
    values = {
        "query": "rate(requests_total[1m])",
        "start": str(T0_S + 120),
        "end": "2023-11-14T22:17:20Z",
        "step": "1m",
    }
    where = {"params": values} if method == "GET" else {"data": values}
    answer = await app.request(method, prefix + "/api/v1/query_range", **where)
    result = answer.json["data"]["result"]
    assert answer.json["data"]["resultType"] == "matrix"
    assert [series["metric"] for series in result] == [{"job": "a"}, {"job": "b"}]
    for series, rate in zip(result, (1.0, 2.0), strict=True):
        assert [time for time, _ in series["values"]] == [T0_S + 120, T0_S + 180, T0_S + 240]
        assert all(math.isclose(float(value), rate) for _, value in series["values"])


async def test_form_and_url_are_merged(app: RunningApp):
    answer = await app.post(
        "/api/v1/query", {"query": "requests_total"}, params={"time": str(T0_S), "query": "wrong("}
    )
    assert answer.status == 200
    assert len(answer.json["data"]["result"]) == 2


@pytest.mark.parametrize(
    ("path", "values", "status", "error_type", "message"),
    [
        ("query", {"query": "up("}, 400, "bad_data", 'invalid parameter "query": 1:4: parse error'),
        ("query", {}, 400, "bad_data", 'invalid parameter "query": '),
        (
            "query",
            {"query": "1", "time": "x"},
            400,
            "bad_data",
            'invalid parameter "time": cannot parse "x" to a valid timestamp',
        ),
        (
            "query_range",
            {"query": "1", "start": "5", "end": "1", "step": "1"},
            400,
            "bad_data",
            'invalid parameter "end": end timestamp must not be before start time',
        ),
        (
            "query_range",
            {"query": "1", "start": "1", "end": "5", "step": "0"},
            400,
            "bad_data",
            'invalid parameter "step": zero or negative query resolution step widths are not '
            "accepted. Try a positive integer",
        ),
        (
            "query_range",
            {"query": "1", "start": "0", "end": "11001", "step": "1"},
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)",
        ),
        (
            "query_range",
            {"query": "up[5m]", "start": "0", "end": "1", "step": "1"},
            400,
            "bad_data",
            'invalid parameter "query": invalid expression type "range vector" for range query, '
            "must be Scalar or instant Vector",
        ),
        (
            "query_range",
            {"query": "1"},
            400,
            "bad_data",
            'invalid parameter "start": cannot parse ""',
        ),
        (
            "query",
            {"query": "requests_total / ignoring(job) requests_total", "time": str(T0_S)},
            422,
            "execution",
            "found duplicate series for the match group",
        ),
        ("query", {"query": "1", "timeout": "x"}, 400, "bad_data", 'invalid parameter "timeout": '),
        ("query", {"query": "1", "limit": "x"}, 400, "bad_data", 'invalid parameter "limit": '),
        (
            "query",
            {"query": "1", "lookback_delta": "0"},
            400,
            "bad_data",
            'invalid parameter "lookback_delta": ',
        ),
    ],
)
async def test_errors(
    app: RunningApp, path: str, values: dict, status: int, error_type: str, message: str
):
    answer = await app.get("/api/v1/" + path, values)
    assert answer.status == status, answer.text
    assert answer.json["status"] == "error"
    assert answer.json["errorType"] == error_type
    assert answer.json["error"].startswith(message)


async def test_11_000_points_are_allowed(app: RunningApp):
    data = await app.data(
        "/api/v1/query_range", {"query": "1", "start": "0", "end": "11000", "step": "1"}
    )
    assert len(data["result"][0]["values"]) == 11_001


async def test_limit_truncates_with_a_warning(app: RunningApp):
    for path, more in (
        ("/api/v1/query", {"time": str(T0_S)}),
        ("/api/v1/query_range", {"start": str(T0_S), "end": str(T0_S), "step": "1"}),
    ):
        answer = await app.get(path, {"query": "requests_total", "limit": "1", **more})
        assert len(answer.json["data"]["result"]) == 1
        assert answer.json["warnings"] == ["results truncated due to limit"]
        answer = await app.get(path, {"query": "requests_total", "limit": "2", **more})
        assert "warnings" not in answer.json


async def test_lookback_delta(app: RunningApp):
    values = {"query": "requests_total", "time": str(T0_S + 605)}
    assert len((await app.data("/api/v1/query", values))["result"]) == 2
    assert (await app.data("/api/v1/query", values | {"lookback_delta": "5s"}))["result"] == []


async def test_stats_are_given_when_asked_for(app: RunningApp):
    values = {"query": "sum_over_time(requests_total[10m])", "time": str(T0_S + 600)}
    assert "stats" not in await app.data("/api/v1/query", values)
    stats = (await app.data("/api/v1/query", values | {"stats": "all"}))["stats"]
    assert stats["samples"]["totalQueryableSamples"] == 120
    assert stats["timings"]["execTotalTime"] >= stats["timings"]["innerEvalTime"] > 0


async def test_infos_come_with_the_result(app: RunningApp):
    await app.write([({"__name__": "temperature"}, [(T0, 1.0), (T0 + 1000, 2.0)])])
    answer = await app.get(
        "/api/v1/query", {"query": "rate(temperature[5m])", "time": str(T0_S + 1)}
    )
    assert answer.json["infos"] == [
        "PromQL info: metric might not be a counter, name does not end in "
        '_total/_sum/_count/_bucket: "temperature" (1:6)'
    ]


async def test_unknown_paths_and_methods_answer_in_the_envelope(app: RunningApp):
    answer = await app.get("/api/v1/nothing")
    assert (answer.status, answer.json["errorType"]) == (404, "not_found")
    answer = await app.request("DELETE", "/api/v1/query")
    assert (answer.status, answer.json["errorType"]) == (405, "bad_data")


async def test_a_form_that_is_too_large_is_413(app: RunningApp):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    form = io.BytesIO(b"query=1" + b"%2B1" * (2 << 20))
    answer = await app.post("/api/v1/query", form, headers=headers)
    assert answer.status == 413
    assert answer.json["status"] == "error"


async def test_a_form_that_is_no_utf8_is_400(app: RunningApp):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"query=\xff", b"query=%ff"):
        answer = await app.post("/api/v1/query", body, headers=headers)
        assert (answer.status, answer.json["errorType"]) == (400, "bad_data")


async def test_too_many_samples_is_422(tmp_path: Path):
    async with running_app(tmp_path, limits=QueryLimits(max_samples=10)) as app:
        await app.write([({"__name__": "m"}, [(T0 + i * 1000, 1.0) for i in range(20)])])
        answer = await app.get("/api/v1/query", {"query": "m[1m]", "time": str(T0_S + 20)})
        assert (answer.status, answer.json["errorType"]) == (422, "execution")
        assert "too many samples" in answer.json["error"]


async def test_a_timeout_is_503(app: RunningApp):
    answer = await app.get(
        "/api/v1/query", {"query": "requests_total", "time": str(T0_S), "timeout": "0"}
    )
    assert (answer.status, answer.json["errorType"]) == (503, "timeout")


class Blocked:
    """Queries that wait in the query pool until they are told to stop or to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.running = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.go_on = threading.Event()
        evaluate = Evaluator.instant

        def wait(evaluator, query, time_ms, budget, **options):
            self.running.release()
            try:
                while not self.go_on.wait(0.005):
                    budget.check()
            finally:
                self.stopped.release()
            return evaluate(evaluator, query, time_ms, budget, **options)

        monkeypatch.setattr(Evaluator, "instant", wait)

    @staticmethod
    async def taken(semaphore: threading.Semaphore) -> None:
        assert await asyncio.to_thread(semaphore.acquire, timeout=20)


async def test_a_client_that_goes_away_stops_its_query(
    app: RunningApp, monkeypatch: pytest.MonkeyPatch
):
    blocked = Blocked(monkeypatch)
    host, port = app.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /api/v1/query?query=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    await blocked.taken(blocked.running)
    writer.close()
    await writer.wait_closed()
    await blocked.taken(blocked.stopped)
    assert not blocked.go_on.is_set()


async def test_queries_wait_for_a_turn_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    limits = QueryLimits(concurrent=1, queued=1, queue_wait_s=0.2)
    async with running_app(tmp_path, limits=limits) as app:
        blocked = Blocked(monkeypatch)
        first = asyncio.create_task(app.get("/api/v1/query", {"query": "1"}))
        await blocked.taken(blocked.running)
        late = await app.get("/api/v1/query", {"query": "1"})
        assert (late.status, late.json["errorType"]) == (503, "unavailable")
        assert int(late.headers["Retry-After"]) > 0
        blocked.go_on.set()
        assert (await first).status == 200
        assert (await app.get("/api/v1/query", {"query": "1"})).status == 200


async def test_head_has_no_body(app: RunningApp):
    answer = await app.request("HEAD", "/api/v1/query", params={"query": "1"})
    assert (answer.status, answer.body) == (200, b"")


async def test_long_queries_fit_in_the_url(app: RunningApp):
    query = "+".join(["1"] * 20_000)
    data = await app.data("/api/v1/query", {"query": f'"{query}"', "time": "0"})
    assert data["result"] == [0, query]


def test_envelopes_are_plain_json():
    """What is joined by hand is what a JSON parser reads."""
    body = envelope((b"[", b"1]"), ['a "quoted" warning'], ["info"])
    assert json.loads(body) == {
        "status": "success",
        "data": [1],
        "warnings": ['a "quoted" warning'],
        "infos": ["info"],
    }
    assert json.loads(envelope((b"[]",))) == {"status": "success", "data": []}


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_form_may_be_compressed(app: RunningApp, coding: str):
    form = b"query=1%2B1&time=4"
    body = gzip.compress(form) if coding == "gzip" else zlib.compress(form)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Encoding": coding,
    }
    answer = await app.post("/api/v1/query", body, headers=headers)
    assert answer.json["data"]["result"] == [4, "2"]


async def test_a_form_in_an_unknown_coding_is_415(app: RunningApp):
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "br"}
    answer = await app.post("/api/v1/query", b"query=1", headers=headers)
    assert (answer.status, answer.json["errorType"]) == (415, "bad_data")
