"""Live tail over real sockets, with the real engine."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from obsd.api import log_follow
from obsd.api.keys import LOGS
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.clock import ManualClock
from obsd.services.log_followers import FollowLimits
from tests.api.running_app import RunningApp, running_app
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, request

PATH = "/api/v1/monitoring/logs"
OTLP = {"Content-Type": "application/x-protobuf"}
DEADLINE_S = 20.0
SECOND_NS = 1_000_000_000


@pytest.fixture
async def app(tmp_path) -> AsyncIterator[RunningApp]:
    clock = ManualClock(NOW_MS)

    def open_logs(directory: Path) -> LogEngine:
        return LogEngine.open(directory, LogOptions(granule_rows=64), clock)

    async with running_app(tmp_path, clock=clock, open_logs=open_logs) as running:
        yield running


def set_limits(app: RunningApp, **limits: Any) -> None:
    app.application[LOGS].followers.limits = FollowLimits(**({"interval_s": 0.02} | limits))  # type: ignore[misc]


async def send(app: RunningApp, records, project: str = "default") -> None:
    headers = OTLP | {"X-Scope-OrgID": project}
    answer = await app.post("/v1/logs", request(records), headers=headers)
    assert answer.status == 200, answer.text


class Stream:
    """The events of an answer."""

    def __init__(self, response) -> None:
        self.response = response
        self.comments = 0

    async def next(self) -> tuple[str, Any]:
        name = ""
        while True:
            async with asyncio.timeout(DEADLINE_S):
                line = await self.response.content.readline()
            assert line, "the stream has ended"
            if line.startswith(b":"):
                self.comments += 1
            elif line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                return name, json.loads(line[6:])

    async def messages(self, count: int) -> list[str]:
        found = [await self.next() for _ in range(count)]
        assert {name for name, _ in found} == {"log"}
        return [data["message"] for _, data in found]


@asynccontextmanager
async def following(app: RunningApp, project: str = "default", **filters: Any):
    headers = {"X-Scope-OrgID": project}
    body = {"follow": True, **filters}
    async with app.session.post(app.url + PATH, json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        assert (await response.content.readline()).startswith(b":")
        yield Stream(response)


async def until(holds) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_filters_are_those_of_a_search(app) -> None:
    await send(app, [record("before")])
    async with (
        following(app) as everything,
        following(app, query="order duration:>5") as words,
        following(app, level=["error", "fatal"]) as levels,
        following(app, service=["API"], level=["info"]) as services,
        following(app, "other") as others,
    ):
        await send(
            app,
            [
                record("order 1", severity_number=17, attributes={"duration": 9}),
                record("order 2", severity_number=9, service="api", attributes={"duration": 1}),
                record("late", time_ns=NOW_NS - 3600 * SECOND_NS, severity_number=21),
            ],
        )
        await send(app, [record("theirs")], "other")
        assert await everything.messages(3) == ["late", "order 1", "order 2"]
        assert await words.messages(1) == ["order 1"]
        assert await levels.messages(2) == ["late", "order 1"]
        name, entry = await services.next()
        assert (name, entry["service"], entry["attributes"]) == ("log", "api", {"duration": 1})
        assert await others.messages(1) == ["theirs"]
        # Nothing else was on its way: the next that each is shown is this one.
        await send(app, [record("order end", severity_number=21, attributes={"duration": 6})])
        for stream in (everything, words, levels):
            assert await stream.messages(1) == ["order end"]


async def test_each_record_is_seen_once_under_concurrent_ingest_and_flushes(app) -> None:
    set_limits(app)
    senders, requests, records_each = 4, 25, 40
    total = senders * requests * records_each

    async def ingest(sender: int) -> None:
        for number in range(requests):
            base = (sender * requests + number) * records_each
            # Times go to and fro over days: arrival, not time, decides what is new.
            await send(
                app,
                [
                    record(f"r{n}", time_ns=NOW_NS - (n * 7919 % 400_000) * SECOND_NS)
                    for n in range(base, base + records_each)
                ],
            )

    async def settle(done: asyncio.Event) -> int:
        rounds = 0
        while not done.is_set():
            await app.application[LOGS].flush("default")
            await asyncio.sleep(0)  # A project without logs has nothing to wait for.
            rounds += 1
        return rounds

    async with following(app) as first, following(app, query="r*") as second:
        done = asyncio.Event()
        flushing = asyncio.create_task(settle(done))
        sending = asyncio.gather(*(ingest(sender) for sender in range(senders)))
        seen = await asyncio.gather(first.messages(total), second.messages(total))
        await sending
        done.set()
        assert await flushing > 1
        await send(app, [record("rlast")])
        for stream, messages in zip((first, second), seen, strict=True):
            assert Counter(messages) == Counter(f"r{n}" for n in range(total))
            assert await stream.messages(1) == ["rlast"]


async def test_a_slow_reader_loses_records_and_is_told_how_many(app) -> None:
    set_limits(app, buffer_bytes=64 << 10)
    size, count, rounds = 1000, 100, 60
    async with following(app) as stream:
        follower = app.application[LOGS].followers
        assert follower.count == 1
        # Nobody reads: sockets and the buffer fill, and ingest goes on all the same.
        for number in range(rounds):
            bodies = [f"{number * count + n} {'x' * size}" for n in range(count)]
            await send(app, [record(body) for body in bodies])
        seen, lost = [], 0
        while len(seen) + lost < rounds * count:
            name, data = await stream.next()
            if name == "log":
                seen.append(int(data["message"].split()[0]))
            else:
                assert (name, data["unsearched"]) == ("lost", 0)
                lost += data["lost"]
        assert lost > 0
        assert len(set(seen)) == len(seen)
        assert len(seen) + lost == rounds * count


async def test_what_comes_too_fast_to_be_searched_is_counted(app) -> None:
    set_limits(app, tail_bytes=1, interval_s=0.5)
    async with following(app, query="a") as stream:
        await send(app, [record("a 1"), record("b 1")])
        await send(app, [record("a 2"), record("b 2")])
        await send(app, [record("b 3")])
        assert await stream.messages(1) == ["a 1"]
        assert await stream.next() == ("lost", {"lost": 0, "unsearched": 3})
        await send(app, [record("a 3")])
        assert await stream.messages(1) == ["a 3"]


async def test_followers_are_bounded_and_go_with_their_clients(app) -> None:
    set_limits(app, followers=2)
    followers = app.application[LOGS].followers
    async with following(app), following(app, "other"):
        answer = await app.post(PATH, json.dumps({"follow": True}))
        assert (answer.status, answer.json["error"]["type"]) == (503, "overloaded")
        assert "limit of 2 log followers" in answer.json["error"]["message"]
        assert "Retry-After" in answer.headers
    await until(lambda: followers.count == 0)
    engine = app.application[LOGS]._projects.log_store("default")
    assert engine._tails == ()
    async with following(app) as stream:
        await send(app, [record("again")])
        assert await stream.messages(1) == ["again"]


async def test_heartbeats_come_while_nothing_does(app, monkeypatch) -> None:
    monkeypatch.setattr(log_follow, "HEARTBEAT_S", 0.02)
    async with following(app) as stream:
        for _ in range(3):
            async with asyncio.timeout(DEADLINE_S):
                while not (await stream.response.content.readline()).startswith(b":"):
                    continue
        await send(app, [record("alive")])
        assert await stream.messages(1) == ["alive"]


async def test_streams_end_when_the_server_stops(app) -> None:
    followers = app.application[LOGS].followers
    async with following(app) as stream:
        followers.stop()
        assert await stream.next() == ("end", {"reason": "the server is stopping"})
        async with asyncio.timeout(DEADLINE_S):
            assert (await stream.response.content.read()).strip() == b""
    await until(lambda: followers.count == 0)
    assert (await app.post(PATH, json.dumps({"follow": True}))).status == 503


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "invalid body"),
        (b"[]", "invalid body"),
        (b'{"follow": false}', "to search, use GET"),
        (b'{"query": "a"}', "follow"),
        (b'{"follow": true, "filters": {}}', "filters"),
        (b'{"follow": true, "level": ["loud"]}', "there is no level 'loud'"),
        (b'{"follow": true, "query": "(a"}', 'this "(" is not closed'),
    ],
)
async def test_wrong_bodies_are_named(app, body, message) -> None:
    answer = await app.post(PATH, body)
    assert answer.status == 400
    assert message in answer.json["error"]["message"]
    assert app.application[LOGS].followers.count == 0


def directories(root: Path, name: str) -> list[Path]:
    return list(root.rglob(name))


async def test_following_makes_no_project_and_shows_its_first_record(
    app: RunningApp, tmp_path: Path
) -> None:
    set_limits(app)
    async with following(app, "late") as first, following(app, "late", query="two") as second:
        assert directories(tmp_path, "late") == []
        await send(app, [record("one", NOW_NS), record("two", NOW_NS + 1)], "late")
        assert await first.messages(2) == ["one", "two"]
        assert await second.messages(1) == ["two"]
        async with following(app, "late") as third:
            await send(app, [record("two again", NOW_NS + 2)], "late")
            assert await first.messages(1) == ["two again"]
            assert await second.messages(1) == ["two again"]
            assert await third.messages(1) == ["two again"]
    async with following(app, "never") as other:
        assert directories(tmp_path, "never") == []
        await send(app, [record("elsewhere")], "late")
    await until(lambda: app.application[LOGS].followers.count == 0)
    assert other.comments == 0
    assert directories(tmp_path, "never") == []


async def test_a_project_that_cannot_be_is_refused(app: RunningApp) -> None:
    headers = {"X-Scope-OrgID": "../x"}
    answer = await app.request("POST", PATH, json={"follow": True}, headers=headers)
    assert answer.status == 400
