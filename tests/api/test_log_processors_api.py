"""`/api/v1/monitoring/logs/processors`, against the real application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.api.running_app import RunningApp, running_app
from tests.services.memory_logs import MemoryLogs

PATH = "/api/v1/monitoring/logs/processors"
DROP = {"type": "drop", "when": "level:debug"}
MASK = {"type": "mask", "kinds": ["email"]}


@pytest.fixture
def store() -> MemoryLogs:
    return MemoryLogs()


@pytest_asyncio.fixture
async def app(tmp_path: Path, store: MemoryLogs) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path, open_logs=lambda _: store) as app:
        yield app


async def put(app: RunningApp, document: Any, **options: Any) -> Any:
    return await app.request("PUT", PATH, data=json.dumps(document), **options)


async def send(app: RunningApp, *lines: str, project: str = "default") -> None:
    answer = await app.post(
        "/ingest/jsonline",
        "\n".join(lines),
        headers={"Content-Type": "text/plain", "X-Scope-OrgID": project},
    )
    assert answer.status == 200, answer.text


async def test_a_list_replaces_the_one_before(app: RunningApp, store: MemoryLogs) -> None:
    assert (await app.get(PATH)).json == {"parse": True, "processors": []}
    await send(app, "level=debug msg=a@b.org")
    document = {"parse": True, "processors": [DROP, MASK]}
    assert (await put(app, document)).json == document
    assert (await app.get(PATH)).json == document
    await send(app, "level=debug msg=gone", "level=info msg=a@b.org")
    assert [record.body for record in store.records] == ["a@b.org", "***"]
    await put(app, {"parse": False})
    await send(app, "level=info msg=whole")
    assert (store.records[-1].body, store.records[-1].severity_number) == (
        "level=info msg=whole",
        0,
    )


async def test_processors_are_their_projects_own(app: RunningApp, store: MemoryLogs) -> None:
    await put(app, {"processors": [MASK]}, headers={"X-Scope-OrgID": "a"})
    assert (await app.get(PATH)).json["processors"] == []
    await send(app, "a@b.org", project="a")
    await send(app, "a@b.org", project="b")
    assert [record.body for record in store.records] == ["***", "a@b.org"]


async def test_a_wrong_list_changes_nothing(app: RunningApp) -> None:
    await put(app, {"processors": [DROP]})
    answer = await put(app, {"processors": [DROP, {"type": "regex", "pattern": "("}]})
    assert answer.status == 400
    assert "processors[1].pattern: " in answer.text
    for body in (b"{", b"[]", b'{"processors": 5}', b"\xff"):
        assert (await app.request("PUT", PATH, data=body)).status == 400
    assert (await app.get(PATH)).json["processors"] == [DROP]


async def test_processors_survive_a_restart(tmp_path: Path) -> None:
    store = MemoryLogs()
    async with running_app(tmp_path, open_logs=lambda _: store) as app:
        await put(app, {"processors": [MASK]})
    async with running_app(tmp_path, open_logs=lambda _: store) as app:
        await send(app, "a@b.org")
        assert (await app.get(PATH)).json["processors"] == [MASK]
    assert [record.body for record in store.records] == ["***"]


async def test_logs_are_refused_while_their_masks_are_unknown(tmp_path: Path) -> None:
    store = MemoryLogs()
    path = tmp_path / "projects" / "default" / "log-processors.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"processors": [{"type": "mask"')
    async with running_app(tmp_path, open_logs=lambda _: store) as app:
        answer = await app.post(
            "/ingest/jsonline", "a@b.org", headers={"Content-Type": "text/plain"}
        )
        assert answer.status == 503
        assert (await app.get(PATH)).status == 503
        path.write_text(json.dumps({"processors": [MASK]}))
        await send(app, "a@b.org")
    assert [record.body for record in store.records] == ["***"]


async def test_a_dry_run_shows_every_step(app: RunningApp, store: MemoryLogs) -> None:
    lines = [
        "level=debug msg=x",
        'level=warn msg="to a@b.org" n=5',
        "java.lang.Error: no",
        "\tat a.B.c(B.java:1)",
        "plain",
    ]
    asked = {"processors": [DROP, MASK], "lines": lines}
    answer = await app.post(f"{PATH}/test", json.dumps(asked))
    assert answer.status == 200, answer.text
    debug, warn, trace, plain = answer.json["results"]
    assert (debug["dropped"], debug["after"]) == (True, None)
    assert debug["steps"][-1] == {"processor": 0, "changed": ["dropped"]}
    assert warn["before"]["message"] == lines[1]
    assert (warn["after"]["message"], warn["after"]["level"]) == ("to ***", "warn")
    assert warn["after"]["attributes"] == {"n": 5}
    assert warn["steps"] == [
        {"processor": None, "changed": ["level", "message", "attributes.n"]},
        {"processor": 1, "changed": ["message"]},
    ]
    assert (trace["lines"], trace["after"]["attributes"]["exception.type"]) == (
        2,
        "java.lang.Error",
    )
    assert (plain["lines"], plain["steps"]) == (1, [])
    assert plain["before"] == plain["after"]
    assert store.records == []
    assert (await app.get(PATH)).json["processors"] == []


async def test_a_dry_run_takes_records_and_the_projects_processors(app: RunningApp) -> None:
    await put(app, {"parse": False, "processors": [MASK]})
    record = {
        "message": "level=warn a@b.org",
        "level": "error",
        "service": "api",
        "trace_id": "AB" * 16,
        "timestamp": "2026-01-31T12:00:00Z",
        "attributes": {"to": ["x@y.org"], "n": 1.0},
    }
    answer = await app.post(f"{PATH}/test", json.dumps({"records": [record]}))
    [result] = answer.json["results"]
    after = result["after"]
    assert (after["message"], after["level"], after["service"]) == (
        "level=warn ***",
        "error",
        "api",
    )
    assert after["attributes"] == {"to": ["***"], "n": 1.0}
    assert after["timestamp"] == "2026-01-31T12:00:00.000Z"
    assert after["trace_id"] == "ab" * 16


@pytest.mark.parametrize(
    "asked",
    [
        {"lines": ["x"] * 101},
        {"lines": "x"},
        {"lines": [5]},
        {"x": 1},
        {"processors": [{"type": "fly"}], "lines": ["x"]},
        {"records": [{"trace_id": "xyz"}]},
        {"records": [{"timestamp": "soon"}]},
    ],
)
async def test_a_wrong_dry_run_is_told(app: RunningApp, asked: Any) -> None:
    assert (await app.post(f"{PATH}/test", json.dumps(asked))).status == 400
