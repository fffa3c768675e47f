"""`…/logs/context` over the real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.clock import ManualClock
from obsd.model.rfc3339 import format_rfc3339_ns
from tests.api.running_app import RunningApp, running_app
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, request

PATH = "/api/v1/monitoring/logs/context"
OTLP = {"Content-Type": "application/x-protobuf"}
HOUR_NS = 3_600_000_000_000


def line(number: int, service: str, host: str = "h1"):
    return record(
        f"{service} {number}", NOW_NS + number, service=service, resource={"host.name": host}
    )


@pytest.fixture
async def app(tmp_path) -> AsyncIterator[RunningApp]:
    clock = ManualClock(NOW_MS)

    def open_logs(directory: Path) -> LogEngine:
        return LogEngine.open(directory, LogOptions(), clock)

    records = [line(n, service) for n in range(-20, 20) for service in ("api", "web")]
    records += [line(0, "api", "h2"), record("nobody", NOW_NS)]
    records += [line(-20 - 2 * HOUR_NS, "api"), line(30 * 1_000_000_000, "api")]
    async with running_app(tmp_path, clock=clock, open_logs=open_logs) as running:
        answer = await running.post("/v1/logs", request(records), headers=OTLP)
        assert answer.status == 200
        yield running


async def around(app: RunningApp, *params: tuple[str, str]) -> list[list[str]]:
    answer = await app.get(PATH, [("time", format_rfc3339_ns(NOW_NS)), *params])
    assert answer.status == 200, answer.text
    assert list(answer.json) == ["before", "at", "after"]
    return [[entry["message"] for entry in entries] for entries in answer.json.values()]


async def test_the_lines_of_the_same_source_in_order(app) -> None:
    asked = (("service", "api"), ("before", "2"), ("after", "3"))
    before, at, after = await around(app, *asked)
    assert (before, after) == (["api -2", "api -1"], ["api 1", "api 2", "api 3"])
    assert at == ["api 0", "api 0"]
    _, at, _ = await around(app, *asked, ("resource[]", "host.name=h2"))
    assert at == ["api 0"]
    before, _, after = await around(app, ("resource", "host.name=h2"))
    assert before == after == []


async def test_lines_are_found_however_far_away_they_are(app) -> None:
    before, _, after = await around(app, ("service", "api"), ("before", "30"), ("after", "30"))
    assert before == [f"api {-20 - 2 * HOUR_NS}", *(f"api {n}" for n in range(-20, 0))]
    assert after == [*(f"api {n}" for n in range(1, 20)), f"api {30 * 1_000_000_000}"]


async def test_without_a_service_any_counts_and_an_empty_one_means_none(app) -> None:
    _, at, _ = await around(app, ("before", "0"), ("after", "0"))
    assert sorted(at) == ["api 0", "api 0", "nobody", "web 0"]
    assert await around(app, ("service", "")) == [[], ["nobody"], []]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, 'invalid parameter "time"'),
        ({"time": "soon"}, 'invalid parameter "time": expected a time'),
        ({"time": "now", "before": "1001"}, 'invalid parameter "before": expected 0 to 1000'),
        ({"time": "now", "after": "-1"}, 'invalid parameter "after"'),
        ({"time": "now", "resource[]": "host"}, 'invalid parameter "resource"'),
    ],
)
async def test_wrong_parameters_are_named(app, params, message) -> None:
    answer = await app.get(PATH, params)
    assert answer.status == 400
    assert message in answer.json["error"]["message"]


async def test_far_times_are_no_error(app) -> None:
    for time in ("0", "1e30", "9223372036"):
        assert (await app.get(PATH, {"time": time})).status in (200, 400)
