"""`obsd logs --follow` and `--context`, against the real server's API."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from obsd.api.keys import LOGS
from obsd.cli.client import ClientError, read_events
from obsd.cli.logs import logs
from obsd.cli.logs_context import source_of
from obsd.cli.logs_follow import lost_line
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.clock import SystemClock
from tests.api.running_app import RunningApp, running_app
from tests.logindex.otlp_requests import record, request

OTLP = {"Content-Type": "application/x-protobuf"}
DEADLINE_S = 30.0
SECOND_NS = 1_000_000_000


@pytest.fixture
async def app(tmp_path) -> AsyncIterator[RunningApp]:
    clock = SystemClock()

    def open_logs(directory: Path) -> LogEngine:
        return LogEngine.open(directory, LogOptions(), clock)

    async with running_app(tmp_path, clock=clock, open_logs=open_logs) as running:
        yield running


async def send(app: RunningApp, records) -> None:
    assert (await app.post("/v1/logs", request(records), headers=OTLP)).status == 200


def now_ns() -> int:
    return SystemClock().now_ms() * 1_000_000


async def run(app: RunningApp, *arguments: str):
    return await asyncio.to_thread(CliRunner().invoke, logs, [*arguments, "--url", app.url])


async def test_follow_shows_what_arrives_until_interrupted(app) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "obsd.cli.main", "logs", "order", "-f", "--json"),
        *("--fields", "message,level", "--url", app.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not app.application[LOGS].followers.count:  # noqa: ASYNC110 - as it connects
                await asyncio.sleep(0.01)
            await send(app, [record("order 1", now_ns(), severity_number=9), record("x", now_ns())])
            line = await process.stdout.readline()
            assert json.loads(line) == {"message": "order 1", "level": "info"}
            await send(app, [record("order 2", now_ns())])
            assert json.loads(await process.stdout.readline())["message"] == "order 2"
            os.kill(process.pid, signal.SIGINT)
            rest, errors = await process.communicate()
        assert (process.returncode, rest, errors) == (0, b"", b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_follow_ends_with_the_server(app) -> None:
    running = asyncio.create_task(run(app, "--follow"))
    followers = app.application[LOGS].followers
    async with asyncio.timeout(DEADLINE_S):
        while not followers.count:  # noqa: ASYNC110 - as it connects
            await asyncio.sleep(0.01)
        followers.stop()
        result = await running
    assert (result.exit_code, result.stderr) == (1, "obsd: the server is stopping\n")
    result = await run(app, "--follow")
    assert (result.exit_code, result.stderr) == (1, "obsd: the server is shutting down\n")


async def test_follow_tells_wrong_queries_and_options(app) -> None:
    result = await run(app, "(a", "--follow")
    assert result.exit_code == 2
    assert "\n  (a\n  ^\n" in result.stderr
    for options in (("--since", "1h"), ("--limit", "100"), ("--context", "3"), ("--to", "now")):
        result = await run(app, "--follow", *options)
        assert result.exit_code == 2
        assert f"{options[0]} does not go with --follow" in result.stderr


def test_follow_of_what_is_not_there() -> None:
    result = CliRunner().invoke(logs, ["--follow", "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "cannot reach obsd at http://127.0.0.1:9: Connection refused" in result.stderr


def test_what_is_lost_is_told() -> None:
    assert lost_line({"lost": 3, "unsearched": 0}).startswith("3 records are left out here")
    both = lost_line({"lost": 1, "unsearched": 2})
    assert both.endswith("; 2 records came too fast to be searched")


def test_events_are_read_whatever_is_between_them() -> None:
    lines = [b": beat\n", b"\n", b"event: a\r\n", b'data: {"x":\r\n', b"data: 1}\r\n", b"\r\n"]
    assert list(read_events([*lines, b"data: 2\n", b"\n", b"data: cut"])) == [
        ("a", {"x": 1}),
        ("message", 2),
    ]
    with pytest.raises(ClientError):
        list(read_events([b"data: {\n", b"\n"]))


async def test_context_shows_hits_among_their_neighbours(app) -> None:
    base = now_ns() - 600 * SECOND_NS
    await send(
        app,
        [
            record(f"{service} {n}", base + n * SECOND_NS, service=service)
            for n in range(20)
            for service in ("api", "web")
        ],
    )
    result = await run(app, "api /api (5|7|15)$/", "--context", "2", "--fields", "message")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        *("  api 3", "  api 4", "> api 5", "  api 6", "> api 7", "  api 8", "  api 9"),
        *("--", "  api 13", "  api 14", "> api 15", "  api 16", "  api 17"),
    ]
    result = await run(app, "api /api 0$/", "-C", "1", "--json", "--fields", "message")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"message": "api 0", "match": True},
        {"message": "api 1", "match": False},
    ]
    result = await run(app, "api /api (0|1)$/", "-C", "0", "--fields", "message")
    assert click.unstyle(result.stdout).splitlines() == ["> api 0", "--", "> api 1"]


async def test_context_of_many_records_of_one_moment_shows_each_once(app) -> None:
    at = now_ns() - SECOND_NS
    await send(app, [record(f"n {n}", at, service="api") for n in range(9)])
    result = await run(app, "n", "--context", "2", "--fields", "message")
    assert sorted(result.stdout.split("\n")) == ["", *(f"> n {n}" for n in range(9))]


def test_the_source_is_the_service_and_its_instance() -> None:
    resource = {"host.name": "h1", "service.name": "api", "k8s.pod.name": "p", "container.id": 7}
    entry = {"service": "api", "resource": resource, "attributes": {"k8s.pod.name": "other"}}
    assert source_of(entry) == [("service", "api"), ("resource[]", "host.name=h1")]
