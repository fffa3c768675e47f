"""The syslog receiver while the engine is slow or refuses: streams wait, datagrams are counted."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from obsd.app import open_logs
from obsd.config import Config
from obsd.config.option import Address
from obsd.ingest import syslog_batches
from obsd.ingest.syslog import MAX_CONNECTIONS, SyslogReceiver
from obsd.model.clock import SystemClock
from obsd.model.errors import BadInputError, OverloadedError, StorageUnavailableError
from obsd.model.head_memory import HeadMemory
from tests.api.running_app import RunningApp, running_app
from tests.ingest.held_logs import HeldLogs
from tests.ingest.receiver_contexts import receiver_context

TIMEOUT_S = 20.0
LINE = b"<14>1 - - app - - - " + b"x" * 1_000


class Running:
    """A receiver, the logs it writes to, and its counters."""

    def __init__(self, app: RunningApp) -> None:
        context = self.context = receiver_context(app.application)
        self.logs = HeldLogs(context.logs)
        self.telemetry = context.telemetry
        self.receiver = SyslogReceiver(
            "syslog",
            dataclasses.replace(context, logs=self.logs),  # type: ignore[arg-type]
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.receiver.port)

    def counter(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(name, {"receiver": "syslog"} | labels) or 0

    def messages(self) -> float:
        return self.counter("obsd_receiver_messages_total")

    def dropped(self, reason: str) -> float:
        return self.counter("obsd_receiver_dropped_total", reason=reason)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.005)


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    def engine(directory: Path) -> object:
        return open_logs(directory, Config(), SystemClock(), HeadMemory())

    async with running_app(tmp_path, open_logs=engine) as app:
        made = Running(app)
        await made.receiver.start()
        try:
            yield made
        finally:
            made.logs.gate.set()
            await made.receiver.stop()


async def test_a_stream_waits_while_the_engine_does(running: Running) -> None:
    count = 40_000
    running.logs.gate.clear()
    _, writer = await running.connect()
    writer.write(b"".join(LINE + b" %d\n" % number for number in range(count)))
    await until(lambda: running.logs.waiting)
    held = -1.0
    while held != running.messages():  # Until no more comes.
        held = running.messages()
        await asyncio.sleep(0.1)
    # Some is in the buffers of the sockets; what obsd has is bounded.
    assert held * len(LINE) < syslog_batches.FULL_BYTES + (1 << 20)
    assert held < count
    running.logs.gate.set()
    async with asyncio.timeout(TIMEOUT_S):
        await writer.drain()
    writer.close()
    await until(lambda: running.messages() == count)
    await running.receiver.stop()
    assert await running.logs.total("service:app") == count


async def test_datagrams_without_room_are_counted(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog_batches, "MAX_BYTES", 50_000)
    running.logs.gate.clear()
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", running.receiver.port))
        for number in range(100):
            sender.send(LINE)
            await until(lambda: running.messages() == number + 1)  # noqa: B023 - awaited here
    lost = running.dropped("overloaded")
    assert 40 < lost < 70
    running.logs.gate.set()
    await running.receiver.stop()
    assert await running.logs.total("service:app") == 100 - lost


@pytest.mark.parametrize("error", [OverloadedError("full"), StorageUnavailableError("no disk")])
async def test_what_the_engine_refuses_for_now_is_written_later(
    running: Running, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(syslog_batches, "_FIRST_RETRY_S", 0.01)
    running.logs.failures = [error, error]
    _, writer = await running.connect()
    writer.write(LINE + b"\n")
    await until(lambda: running.logs.waiting == 3)
    writer.close()
    await running.receiver.stop()
    assert await running.logs.total("service:app") == 1
    assert running.dropped("refused") == 0


async def test_at_the_end_a_refusal_is_the_last_word(running: Running) -> None:
    running.logs.gate.clear()
    running.logs.failures = [StorageUnavailableError("no disk")] * 2
    _, writer = await running.connect()
    writer.write(LINE + b"\n")
    await until(lambda: running.logs.waiting == 1)
    stopping = asyncio.create_task(running.receiver.stop())
    running.logs.gate.set()
    async with asyncio.timeout(TIMEOUT_S):
        await stopping
    writer.close()
    assert running.dropped("refused") == 1


@pytest.mark.parametrize("error", [BadInputError("what is this"), RuntimeError("a bug")])
async def test_a_batch_that_cannot_be_written_holds_up_no_other(
    running: Running, error: Exception
) -> None:
    running.logs.failures = [error]
    _, writer = await running.connect()
    writer.write(LINE + b"\n")
    await until(lambda: running.dropped("refused") == 1)
    writer.write(LINE + b"\n")
    await until(lambda: running.logs.waiting == 2)
    writer.close()
    await running.receiver.stop()
    assert await running.logs.total("service:app") == 1


async def test_messages_keep_their_order_across_batches(running: Running) -> None:
    _, writer = await running.connect()
    for number in range(300):
        writer.write(b"<14>Nov 24 12:00:00 h app: number %d\n" % number)
        if number % 50 == 0:
            waiting = running.logs.waiting
            await until(lambda: running.logs.waiting > waiting)  # noqa: B023 - awaited here
    writer.close()
    await until(lambda: running.messages() == 300)
    await running.receiver.stop()
    bodies = [record.body for record in await running.logs.find("service:app")]
    assert bodies == [f"number {number}" for number in range(300)]


async def test_messages_that_are_the_same_came_twice(running: Running) -> None:
    _, writer = await running.connect()
    writer.write(b"<14>Nov 24 12:00:00 h app: again\n" * 3)
    writer.close()
    await until(lambda: running.messages() == 3)
    await running.receiver.stop()
    assert await running.logs.total("service:app") == 3


async def test_connections_are_bounded(running: Running) -> None:
    opened = [await running.connect() for _ in range(MAX_CONNECTIONS)]
    await until(lambda: running.counter("obsd_receiver_connections") == MAX_CONNECTIONS)
    reader, writer = await running.connect()
    async with asyncio.timeout(TIMEOUT_S):
        assert await reader.read() == b""
    for _, each in [*opened, (reader, writer)]:
        each.close()
    await until(lambda: running.counter("obsd_receiver_connections") == 0)


async def test_a_port_that_is_taken_for_datagrams_is_not_half_taken(running: Running) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", taken.getsockname()[1])
        second = SyslogReceiver("syslog", dataclasses.replace(running.context, address=address))
        with pytest.raises(OSError, match="in use"):
            await second.start()
        with socket.socket() as probe:
            assert probe.connect_ex((address.host, address.port)) != 0
