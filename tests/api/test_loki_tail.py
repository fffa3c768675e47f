"""Loki's live tail over real sockets, with the real engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from obsd.api import loki_tail as api
from obsd.api.keys import LOGS
from obsd.model.errors import StorageUnavailableError
from obsd.services import loki_tail
from obsd.services.log_followers import FollowLimits
from tests.api.loki_app import API, CATEGORIZE, SHOP_LINES, WEB_LINES, at, fill, loki_app, push
from tests.api.running_app import RunningApp

DEADLINE_S = 20.0
FAST = FollowLimits(interval_s=0.02)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with loki_app(tmp_path) as running:
        set_limits(running, FAST)
        yield running


def set_limits(app: RunningApp, limits: FollowLimits) -> None:
    app.application[LOGS].followers.limits = limits  # type: ignore[misc]


class Tail:
    """A client's side."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.dropped: list[Any] = []
        self.frames = 0

    async def frame(self) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            message = await self.socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        self.frames += 1
        return json.loads(message.data)

    async def streams(self, count: int) -> list[Any]:
        """So many streams, of one line each."""
        found: list[Any] = []
        while len(found) < count:
            frame = await self.frame()
            self.dropped += frame.get("dropped_entries", [])
            found += frame["streams"]
        assert len(found) == count, "there is more than there should be"
        assert all(len(stream["values"]) == 1 for stream in found)
        return found

    async def lines(self, count: int) -> list[str]:
        return [stream["values"][0][1] for stream in await self.streams(count)]


@asynccontextmanager
async def tailing(
    app: RunningApp, query: str, *, headers: Any = None, **parameters: Any
) -> AsyncIterator[Tail]:
    chosen = {"query": query} | {name: str(value) for name, value in parameters.items()}
    async with app.session.ws_connect(
        f"{app.url}{API}/tail", params=chosen, headers=headers or {}
    ) as socket:
        yield Tail(socket)


async def status(app: RunningApp, query: str, *, headers: Any = None, **parameters: Any) -> int:
    """Of a handshake that fails."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        async with tailing(app, query, headers=headers, **parameters):
            pytest.fail("the handshake succeeded")
    return raised.value.status


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(int(DEADLINE_S / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("waited in vain")


async def test_the_newest_lines_and_then_what_arrives(app: RunningApp) -> None:
    await fill(app)
    async with tailing(app, '{app="web"} | json | user_id="3"', limit=3) as tail:
        assert await tail.lines(3) == [WEB_LINES[n] for n in (19, 23, 27)]
        more = [json.dumps({"user": {"id": n % 4}, "n": n}) for n in range(200)]
        for first in range(0, 200, 50):
            rows = [[at(60) + n, more[n]] for n in range(first, first + 50)]
            await push(app, ({"app": "web"}, rows), ({"app": "other"}, rows))
        assert await tail.lines(50) == more[3::4]
        assert tail.dropped == []
    await until(lambda: app.application[LOGS].followers.count == 0)


async def test_labels_are_apart_where_that_is_asked_for(app: RunningApp) -> None:
    row = [at(1), '{"a":{"b":"c"}}', {"request_id": "r1"}]
    async with (
        tailing(app, '{app="x"} | json', headers=CATEGORIZE) as apart,
        tailing(app, '{app="x"} | json') as together,
    ):
        await push(app, ({"app": "x", "level": "warn"}, [row]))
        labels = {"app": "x", "level": "warn", "service_name": "x"}
        frame = await apart.frame()
        assert frame["encodingFlags"] == ["categorize-labels"]
        metadata = {
            "a": '{"b":"c"}',  # obsd makes fields of JSON when it comes.
            "detected_level": "warn",
            "request_id": "r1",
            "severity_number": "13",
            "severity_text": "warn",
        }
        parsed = {"a_b": "c"}
        assert frame["streams"] == [
            {
                "stream": labels,
                "values": [
                    [
                        str(at(1)),
                        '{"a":{"b":"c"}}',
                        {"structuredMetadata": metadata, "parsed": parsed},
                    ]
                ],
            }
        ]
        assert await together.frame() == {
            "streams": [
                {"stream": labels | metadata | parsed, "values": [[str(at(1)), '{"a":{"b":"c"}}']]}
            ]
        }


async def test_records_of_opentelemetry_are_followed_too(app: RunningApp) -> None:
    async with tailing(app, '{service_name="shop"} |= "checkout"') as tail:
        await fill(app)
        streams = await tail.streams(SHOP_LINES)
    assert [each["values"][0][1] for each in streams] == [
        f"checkout {n}" for n in range(SHOP_LINES)
    ]
    assert {each["stream"]["k8s_pod_name"] for each in streams} == {"shop-1"}


async def test_start_and_limit_choose_the_lines_before(app: RunningApp) -> None:
    await fill(app)
    async with tailing(app, '{app="web"}', start=at(50), limit=100) as tail:
        assert await tail.lines(5) == WEB_LINES[25:]
    async with tailing(app, '{app="web"}', limit=2) as tail:
        assert await tail.lines(2) == WEB_LINES[28:]


async def test_a_slow_reader_is_told_what_it_has_lost(
    app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loki_tail, "BUFFER_BYTES", 64 << 10)
    line = "x" * 1000
    async with tailing(app, '{app="x"}', headers=CATEGORIZE) as tail:
        await push(app, ({"app": "x"}, [[at(1) + n, line] for n in range(500)]))
        shown = 0
        dropped: list[Any] = []
        while shown + len(dropped) < 500:
            frame = await tail.frame()
            shown += len(frame["streams"])
            dropped += frame.get("dropped_entries", [])
        # Lines are lost from one on, since they came all at once.
        assert 50 < shown < 65
        assert [each["timestamp"] for each in dropped] == [
            str(at(1) + n) for n in range(shown, 500)
        ]
        assert {json.dumps(each["labels"]) for each in dropped} == {
            '{"app": "x", "service_name": "x"}'
        }
        # It goes on.
        await push(app, ({"app": "x"}, [[at(2), "last"]]))
        assert await tail.lines(1) == ["last"]


async def test_what_nobody_could_look_at_is_told(app: RunningApp) -> None:
    set_limits(app, FollowLimits(interval_s=0.2, tail_bytes=1000))
    async with tailing(app, '{app="x", env=~".*"}') as tail:
        time_ns = at(1)
        while not tail.dropped:
            time_ns += 3
            # Of what comes between two looks, one request has room.
            requests = (({"app": "x"}, [[time_ns + n, "y" * 1000]]) for n in range(3))
            await asyncio.gather(*(push(app, each) for each in requests))
            tail.dropped += (await tail.frame()).get("dropped_entries", [])
    assert [each["labels"] for each in tail.dropped] == [{"app": "x"}]


async def test_a_delay_brings_lines_into_order(app: RunningApp) -> None:
    async with tailing(app, '{app="x"}', delay_for=1) as tail:
        await push(app, ({"app": "x"}, [[at(2), "second"]]))
        await push(app, ({"app": "x"}, [[at(1), "first"]]))
        found = await tail.lines(2)
    # Unless the machine was so slow that they came in two frames, and then each in its time.
    assert found == ["first", "second"] or tail.frames == 2


async def test_a_silent_connection_is_pinged(
    app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PING_S", 0.02)
    async with app.session.ws_connect(
        f"{app.url}{API}/tail", params={"query": '{app="x"}'}, autoping=False
    ) as socket:
        async with asyncio.timeout(DEADLINE_S):
            assert (await socket.receive()).type is aiohttp.WSMsgType.PING
        await socket.ping(b"hello")
        async with asyncio.timeout(DEADLINE_S):
            while (message := await socket.receive()).type is aiohttp.WSMsgType.PING:
                continue
        assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"hello")


async def test_pages_of_foreign_origins_may_not_follow(app: RunningApp) -> None:
    assert await status(app, '{app="x"}', headers={"Origin": "http://evil.example"}) == 403
    for number, origin in enumerate((app.url, "http://localhost:3000")):
        name = f"x{number}"
        async with tailing(app, f'{{app="{name}"}}', headers={"Origin": origin}) as tail:
            await push(app, ({"app": name}, [[at(1), origin]]))
            assert await tail.lines(1) == [origin]


async def test_what_cannot_be_followed_is_refused_before_the_upgrade(app: RunningApp) -> None:
    assert await status(app, "{app=") == 400
    assert await status(app, 'rate({app="x"}[1m])') == 400
    assert await status(app, '{app="x"}', delay_for=6) == 400
    assert await status(app, '{app="x"}', limit=5001) == 400
    set_limits(app, FollowLimits(followers=1, interval_s=0.02))
    async with tailing(app, '{app="x"}'):
        assert await status(app, '{app="x"}') == 503


async def test_the_end_of_the_server_is_an_end(app: RunningApp) -> None:
    async with tailing(app, '{app="x"}') as tail:
        app.application[LOGS].followers.stop()
        async with asyncio.timeout(DEADLINE_S):
            message = await tail.socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert (message.data, message.extra) == (1001, "the server is stopping")


async def test_a_failure_is_told(app: RunningApp) -> None:
    async with tailing(app, '{app="x"}') as tail:
        [project] = app.application[LOGS].followers._projects.values()
        project.followers[0].end(StorageUnavailableError("the disk is gone"))
        async with asyncio.timeout(DEADLINE_S):
            message = await tail.socket.receive()
        assert (message.data, message.extra) == (1011, "the disk is gone")
