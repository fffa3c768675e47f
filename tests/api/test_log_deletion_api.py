"""`…/logs/delete` over the real engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.clock import ManualClock
from obsd.model.rfc3339 import format_rfc3339_ns
from tests.api.running_app import Answer, RunningApp, running_app
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, request
from tests.logindex.stored_bytes import files_with

SEARCH = "/api/v1/monitoring/logs"
PATH = SEARCH + "/delete"
OTLP = {"Content-Type": "application/x-protobuf"}
RANGE = {"from": format_rfc3339_ns(NOW_NS - 1000), "to": format_rfc3339_ns(NOW_NS + 1000)}
WAIT_S = 10.0


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    clock = ManualClock(NOW_MS)

    def open_logs(directory: Path) -> LogEngine:
        return LogEngine.open(directory, LogOptions(), clock)

    records = [
        record(
            f"user alice7 did {n}", NOW_NS + n, service="api", severity_number=17 if n % 2 else 9
        )
        for n in range(10)
    ]
    records += [record(f"user bob8 did {n}", NOW_NS + n, service="web") for n in range(10)]
    async with running_app(tmp_path, clock=clock, open_logs=open_logs) as running:
        answer = await running.post("/v1/logs", request(records), headers=OTLP)
        assert answer.status == 200
        yield running


async def delete(app: RunningApp, query: str, path: str = PATH, **fields: Any) -> Answer:
    return await app.request("POST", path, json={"query": query, **RANGE, **fields})


async def total(app: RunningApp, query: str = "") -> int:
    answer = await app.get(SEARCH, {"query": query, **RANGE})
    assert answer.status == 200, answer.text
    return int(answer.json["total"])


def directories(root: Path, name: str) -> list[Path]:
    return list(root.rglob(name))


async def until_done(app: RunningApp, id_: str) -> Any:
    deadline = time.monotonic() + WAIT_S
    while True:
        answer = await app.get(f"{PATH}/{id_}")
        assert answer.status == 200, answer.text
        if answer.json["state"] == "done":
            return answer.json
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0)


async def test_from_the_count_to_the_proof(app: RunningApp, tmp_path: Path) -> None:
    counted = await delete(app, "alice7", PATH + "?dry_run=1")
    assert (counted.status, counted.json) == (200, {"matched": 10})
    assert await total(app) == 20
    assert files_with(tmp_path, "alice7")
    answer = await delete(app, "alice7")
    assert answer.status == 202, answer.text
    assert answer.json["matched"] == 10
    assert await total(app) == 10
    done = await until_done(app, answer.json["id"])
    assert files_with(tmp_path, "alice7") == []
    assert await total(app) == 10
    assert done | {"state": "", "done": "", "files_rewritten": 0} == answer.json | {
        "state": "",
        "done": "",
        "files_rewritten": 0,
    }
    assert done["files_rewritten"] > 0
    assert done["done"] == format_rfc3339_ns(NOW_NS)
    assert (await app.get(PATH)).json == {"deletions": [done]}


async def test_levels_and_services_narrow(app: RunningApp) -> None:
    answer = await delete(app, "", level=["error"], service=["api"])
    assert answer.json["matched"] == 5
    assert await total(app, "alice7") == 5


async def test_a_star_is_everything(app: RunningApp) -> None:
    answer = await delete(app, "*")
    assert answer.json["matched"] == 20
    assert await total(app) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"query": "a"}',
        b'{"query": "a", "from": "0"}',
        b'{"query": "", "from": 0, "to": "now"}',
        b'{"query": "(", "from": 0, "to": "now"}',
        b'{"query": "a", "from": "soon", "to": "now"}',
        b'{"query": "a", "from": "now", "to": "-1h"}',
        b'{"query": "a", "from": 0, "to": "now", "more": 1}',
        b'{"query": "a", "level": ["odd"], "from": 0, "to": "now"}',
    ],
)
async def test_what_says_nothing_deletes_nothing(app: RunningApp, body: bytes) -> None:
    answer = await app.post(PATH, body)
    assert answer.status == 400, answer.text
    assert answer.json["error"]["message"]
    assert (await app.get(PATH)).json == {"deletions": []}
    assert await total(app) == 20


async def test_an_unknown_deletion_is_not_found(app: RunningApp) -> None:
    answer = await app.get(PATH + "/abc")
    assert answer.status == 404


async def test_a_project_without_logs_has_nothing_to_delete(
    app: RunningApp, tmp_path: Path
) -> None:
    headers = {"X-Scope-OrgID": "nobody"}
    body = {"query": "*", **RANGE}
    answer = await app.request("POST", PATH, json=body, headers=headers)
    assert answer.status == 202
    assert (answer.json["id"], answer.json["matched"], answer.json["state"]) == ("", 0, "done")
    assert (await app.get(PATH, headers=headers)).json == {"deletions": []}
    assert directories(tmp_path, "nobody") == []


async def test_another_project_keeps_its_records(app: RunningApp) -> None:
    headers = {"X-Scope-OrgID": "other"}
    sent = await app.post(
        "/v1/logs", request([record("user alice7", NOW_NS)]), headers={**OTLP, **headers}
    )
    assert sent.status == 200
    await delete(app, "*")
    answer = await app.get(SEARCH, {"query": "alice7", **RANGE}, headers=headers)
    assert answer.json["total"] == 1
