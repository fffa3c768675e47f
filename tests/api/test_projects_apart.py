"""Reading from a project that nobody has written to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import cramjam
import pytest
import pytest_asyncio

from tests.api.running_app import WRITE_1, RunningApp, running_app
from tests.ingest.test_remote_write import BODY_1
from tests.protobuf.prometheus_messages import ReadRequest, ReadResponse, compressed

ABSENT = {"X-Scope-OrgID": "absent"}
EMPTY_READS = [
    ("/api/v1/query?query=up", {"resultType": "vector", "result": []}),
    ("/api/v1/query_range?query=up&start=0&end=9&step=3", {"resultType": "matrix", "result": []}),
    ("/api/v1/series?match[]=up", []),
    ("/api/v1/labels", []),
    ("/api/v1/label/job/values", []),
    ("/api/v1/metadata", {}),
    ("/api/v1/query_exemplars?query=up", []),
]


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as running:
        yield running


@pytest.mark.parametrize(("path", "data"), EMPTY_READS)
async def test_reads_are_empty_and_make_no_project(app: RunningApp, path: str, data: object):
    answer = await app.get(path, headers=ABSENT)
    assert answer.status == 200
    assert answer.json["data"] == data
    assert app.projects.on_disk() == []


async def test_an_absent_project_has_no_cardinality_and_no_federation(app: RunningApp):
    answer = await app.get("/api/v1/status/tsdb", headers=ABSENT)
    assert answer.json["data"]["headStats"]["numSeries"] == 0
    answer = await app.get("/federate?match[]=up", headers=ABSENT)
    assert (answer.status, answer.body) == (200, b"")
    asked = ReadRequest()
    asked.queries.add(start_timestamp_ms=0, end_timestamp_ms=1 << 42).matchers.add(
        name="__name__", value="up"
    )
    answer = await app.post("/api/v1/read", compressed(asked), headers=ABSENT)
    response = ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(answer.body)))
    assert [len(result.timeseries) for result in response.results] == [0]
    assert app.projects.on_disk() == []


async def test_a_query_has_its_value_without_any_project(app: RunningApp):
    query = "/api/v1/query?time=600&query=sum_over_time(vector(2)[3m:1m])"
    answer = await app.get(query, headers=ABSENT)
    assert answer.json["data"]["result"] == [{"metric": {}, "value": [600, "6"]}]
    answer = await app.get('/api/v1/query?query=up{a=~"("}', headers=ABSENT)
    assert answer.status == 400


async def test_the_first_write_makes_the_project(app: RunningApp):
    assert (await app.get("/api/v1/labels", headers=ABSENT)).json["data"] == []
    answer = await app.post("/api/v1/write", BODY_1, headers=WRITE_1 | ABSENT)
    assert answer.status == 204
    answer = await app.get("/api/v1/labels", headers=ABSENT)
    assert answer.json["data"] == ["__name__", "job"]
    assert app.projects.on_disk() == ["absent"]
