"""Prometheus' own programs as clients of the API: promtool, and a server with remote_read."""

from __future__ import annotations

import asyncio
import json
import math
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest_asyncio

from tests.api.running_app import RunningApp, running_app
from tests.e2e.processes import Server, prometheus_server, running

NOW_S = int(time.time()) - 60
[STALE] = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))
HOUR_S = 3600


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path / "data") as running:
        await running.write(
            [
                (
                    {"__name__": "requests_total", "job": job},
                    [((NOW_S - HOUR_S + 15 * i) * 1000, i * step) for i in range(241)],
                )
                for job, step in (("a", 3.0), ("b", 0.1))
            ]
            + [({"__name__": "ended"}, [((NOW_S - 20) * 1000, 1.0), ((NOW_S - 10) * 1000, STALE)])]
        )
        yield running


async def promtool(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "promtool", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_promtool_query_instant(app: RunningApp):
    code, output = await promtool(
        "query", "instant", "--time", str(NOW_S), app.url, "requests_total"
    )
    assert code == 0, output
    assert output.splitlines() == [
        f'requests_total{{job="a"}} => 720 @[{NOW_S}]',
        f'requests_total{{job="b"}} => 24 @[{NOW_S}]',
    ]


async def test_promtool_query_range(app: RunningApp):
    code, output = await promtool(
        "query", "range", "--start", str(NOW_S - 30), "--end", str(NOW_S), "--step", "15s",
        app.url + "/prometheus", 'requests_total{job="a"}',
    )  # fmt: skip
    assert code == 0, output
    assert output.splitlines() == [
        'requests_total{job="a"} =>',
        f"714 @[{NOW_S - 30}]",
        f"717 @[{NOW_S - 15}]",
        f"720 @[{NOW_S}]",
    ]


async def test_promtool_query_series_and_labels(app: RunningApp):
    code, output = await promtool("query", "series", "--match", "requests_total", app.url)
    assert code == 0, output
    assert output.splitlines() == [
        '{__name__="requests_total", job="a"}',
        '{__name__="requests_total", job="b"}',
    ]
    code, output = await promtool("query", "labels", app.url, "job")
    assert (code, output.split()) == (0, ["a", "b"])


async def test_promtool_shows_our_errors(app: RunningApp):
    code, output = await promtool("query", "instant", app.url, "sum(")
    assert code == 1
    assert 'bad_data: invalid parameter "query": 1:5: parse error' in output


async def test_a_prometheus_reads_what_obsd_has(app: RunningApp, tmp_path: Path):
    """Both give the same answers to the same queries, one reading chunks from the other."""
    times = {"start": str(NOW_S - HOUR_S), "end": str(NOW_S + 30), "step": "15"}
    queries = ["requests_total", "sum(requests_total) by (job) * 2", "ended", "absent(nothing)"]

    def ask(prometheus: Server, query: str) -> dict:
        path = f"/api/v1/query_range?{urlencode({'query': query} | times)}"
        answer = prometheus.request(path)
        assert answer.status == 200, answer.text
        assert "warnings" not in answer.json(), answer.text
        return answer.json()["data"]["result"]

    def ask_all() -> list[dict]:
        # JSON is YAML.
        config = json.dumps(
            {"remote_read": [{"url": f"{app.url}/api/v1/read", "read_recent": True}]}
        )
        with running(prometheus_server(tmp_path, config)) as prometheus:
            return [ask(prometheus, query) for query in queries]

    theirs = await asyncio.to_thread(ask_all)
    for query, their_result in zip(queries, theirs, strict=True):
        our_result = (await app.data("/api/v1/query_range", {"query": query} | times))["result"]
        assert our_result, query
        assert [s["metric"] for s in our_result] == [s["metric"] for s in their_result]
        for ours, other in zip(our_result, their_result, strict=True):
            assert [t for t, _ in ours["values"]] == [t for t, _ in other["values"]]
            for (_, value), (_, their_value) in zip(ours["values"], other["values"], strict=True):
                assert math.isclose(float(value), float(their_value), rel_tol=1e-12)
