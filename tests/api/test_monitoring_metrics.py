"""Metrics as plain JSON."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict, MultiDictProxy

from obsd.api.monitoring_metrics import time_range
from obsd.api.params import Params
from obsd.model.errors import BadInputError
from obsd.services.metrics_collector import MAX_POINTS
from tests.api.running_app import RunningApp, running_app

PATH = "/api/v1/monitoring/metrics"
T0_S = 1_700_000_000


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as running:
        yield running


async def store(app: RunningApp, *metrics: dict[str, Any]) -> Any:
    return await app.post(PATH, json.dumps({"metrics": metrics}).encode())


async def test_what_is_posted_is_read_back(app: RunningApp):
    answer = await store(
        app,
        {
            "name": "queue_depth",
            "value": 7,
            "timestamp": T0_S,
            "labels": {"queue": "mail"},
            "type": "gauge",
            "help": "Messages that wait.",
        },
        {"name": "queue_depth", "value": 8, "timestamp": "2023-11-14T23:13:30+01:00", "labels": {}},
        {"name": "queue_depth", "value": 9, "timestamp": (T0_S + 20) * 1000, "labels": {}},
    )
    assert (answer.status, answer.json) == (200, {"accepted": 3})
    answer = await app.get(
        PATH, {"query": "queue_depth", "start": T0_S, "end": T0_S + 20, "step": "10s"}
    )
    assert answer.json == {
        "data": [
            {
                "name": "queue_depth",
                "labels": {},
                "timestamps": [T0_S + 10, T0_S + 20],
                "values": [8.0, 9.0],
            },
            {
                "name": "queue_depth",
                "labels": {"queue": "mail"},
                "timestamps": [T0_S, T0_S + 10, T0_S + 20],
                "values": [7.0, 7.0, 7.0],
            },
        ],
        "warnings": [],
    }
    assert await app.data("/api/v1/metadata") == {
        "queue_depth": [{"type": "gauge", "help": "Messages that wait.", "unit": ""}]
    }


async def test_a_metric_without_a_time_is_of_now(app: RunningApp):
    before_s = time.time()
    await store(app, {"name": "m", "value": 1.5})
    [series] = (await app.get(PATH, {"query": "timestamp(m)", "start": "-5m"})).json["data"]
    assert before_s - 1 <= series["values"][-1] <= time.time() + 1


async def test_values_that_are_no_number_are_null(app: RunningApp):
    answer = await app.get(PATH, {"query": "vector(1)/0", "start": "0", "end": "1", "step": "1"})
    assert answer.json["data"] == [
        {"name": "", "labels": {}, "timestamps": [0, 1], "values": [None, None]}
    ]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({"value": 1}, "missing required field `name` - at `$.metrics[0]`"),
        ({"name": "m"}, "missing required field `value` - at `$.metrics[0]`"),
        ({"name": "m", "value": "x"}, "got `str` - at `$.metrics[0].value`"),
        ({"name": "", "value": 1}, "at `$.metrics[0].name`"),
        ({"name": "m", "value": 1, "labels": {"a": 1}}, "at `$.metrics[0].labels[...]`"),
        ({"name": "m", "value": 1, "type": "x"}, "at `$.metrics[0].type`"),
        ({"name": "m", "value": 1, "tags": {}}, "unknown field `tags` - at `$.metrics[0]`"),
        ({"name": "m", "value": 1, "timestamp": "x"}, "at `$.metrics[0].timestamp`"),
        ({"name": "m", "value": 1, "timestamp": "2023-01-01T00:00:00"}, "without a time zone"),
        ({"name": "m", "value": 1, "timestamp": 1e300}, "out of range"),
    ],
)
async def test_errors_name_the_field(app: RunningApp, metric: dict[str, Any], message: str):
    answer = await store(app, metric)
    assert answer.status == 400
    assert answer.json["error"]["type"] == "bad_input"
    assert message in answer.json["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"metrics": 1}', b"\xff"])
async def test_other_bodies_are_400(app: RunningApp, body: bytes):
    answer = await app.post(PATH, body)
    assert (answer.status, answer.json["error"]["type"]) == (400, "bad_input")


async def test_refused_samples_are_told_and_the_others_stored(app: RunningApp):
    answer = await store(
        app,
        {"name": "good", "value": 1, "timestamp": T0_S},
        {"name": "bad", "value": 1, "timestamp": time.time() + 86_400},
    )
    assert answer.status == 400
    assert answer.json["accepted"] == 1
    assert answer.json["error"]["type"] == "rejected_metrics"
    assert sum(answer.json["error"]["rejected"].values()) == 1
    assert "out of bounds" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, 'invalid parameter "query"'),
        ({"query": "up("}, 'invalid parameter "query": 1:4: parse error'),
        ({"query": "1", "start": "x"}, 'invalid parameter "start"'),
        ({"query": "1", "end": "-1x"}, 'invalid parameter "end"'),
        ({"query": "1", "step": "0"}, 'invalid parameter "step"'),
        ({"query": "1", "step": "x"}, 'invalid parameter "step"'),
        ({"query": "1", "start": "2", "end": "1"}, 'invalid parameter "end"'),
        ({"query": "1", "start": "-10d", "step": "1s"}, "11,000 points"),
    ],
)
async def test_bad_queries_are_400(app: RunningApp, values: dict[str, str], message: str):
    answer = await app.get(PATH, values)
    assert answer.status == 400
    assert message in answer.json["error"]["message"]


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_the_default_step_suits_any_range(start_s: int, length_s: int):
    values = {"start": str(start_s), "end": str(start_s + length_s)}
    start_ms, end_ms, step_ms = time_range(Params(MultiDictProxy(MultiDict(values))), 0)
    assert step_ms >= 1000
    assert start_ms % step_ms == 0
    assert start_s * 1000 - step_ms < start_ms <= start_s * 1000
    assert (end_ms - start_ms) // step_ms <= MAX_POINTS


def test_the_last_hour_is_the_default():
    start_ms, end_ms, step_ms = time_range(Params(MultiDictProxy(MultiDict())), 7_200_000)
    assert (start_ms, end_ms, step_ms) == (3_600_000, 7_200_000, 15_000)
    start_ms, end_ms, step_ms = time_range(Params(MultiDictProxy(MultiDict())), 7_200_001)
    assert (start_ms, end_ms, step_ms) == (3_600_000, 7_215_000, 15_000)
    with pytest.raises(BadInputError):
        time_range(Params(MultiDictProxy(MultiDict({"step": "-1"}))), 0)
