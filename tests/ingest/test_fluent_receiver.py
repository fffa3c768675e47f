"""The receiver of Fluent Forward while the engine is slow or refuses."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import pytest_asyncio

from obsd.app import open_logs
from obsd.config import Config
from obsd.config.option import Address
from obsd.ingest import fluent_connection
from obsd.ingest.fluent import FluentReceiver
from obsd.ingest.fluent_chunks import ChunkMemory
from obsd.model.clock import SystemClock
from obsd.model.errors import OverloadedError, StorageUnavailableError
from obsd.model.head_memory import HeadMemory
from obsd.services.log_store import LogStore
from tests.api.running_app import RunningApp, running_app
from tests.ingest.held_logs import HeldLogs
from tests.ingest.receiver_contexts import receiver_context

TIMEOUT_S = 20.0


class Peer:
    """A sender."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._unpacker = msgpack.Unpacker()

    def send(self, *message: Any) -> None:
        self.writer.write(msgpack.packb(list(message)))

    async def read(self) -> Any:
        """What comes next; None at the end of the stream."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                try:
                    return self._unpacker.unpack()
                except msgpack.OutOfData:
                    try:
                        data = await self.reader.read(65536)
                    except ConnectionResetError:
                        return None
                    if not data:
                        return None
                    self._unpacker.feed(data)

    def reset(self) -> None:
        """Go without a word, with what was not read."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: a reset, and no end.
        self.writer.transport.abort()


class Running:
    """A receiver, the logs it writes to, and its counters."""

    def __init__(self, app: RunningApp, config: Config | None = None) -> None:
        self.context = receiver_context(app.application, config=config)
        self.peers: list[Peer] = []
        self.logs = HeldLogs(self.context.logs)
        self.receiver = FluentReceiver(
            "fluent", dataclasses.replace(self.context, logs=self.logs)  # type: ignore[arg-type]
        )  # fmt: skip

    async def connect(self) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.receiver.port))
        self.peers.append(peer)
        return peer

    async def stop(self) -> None:
        self.logs.gate.set()
        await self.receiver.stop()
        for peer in self.peers:
            peer.writer.close()

    def counter(self, name: str, **labels: str) -> float:
        registry = self.context.telemetry.registry
        return registry.get_sample_value(name, {"receiver": "fluent"} | labels) or 0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.005)


def engine(directory: Path) -> LogStore:
    return open_logs(directory, Config(), SystemClock(), HeadMemory())


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_app(tmp_path, open_logs=engine) as app:
        made = Running(app)
        await made.receiver.start()
        try:
            yield made
        finally:
            await made.stop()


async def test_nothing_is_acknowledged_before_it_is_stored(running: Running) -> None:
    running.logs.gate.clear()
    peer = await running.connect()
    peer.send("t", 0, {"n": 1}, {"chunk": "a"})
    await until(lambda: running.logs.waiting == 1)
    reading = asyncio.create_task(peer.read())
    done, _ = await asyncio.wait([reading], timeout=0.1)
    assert not done
    running.logs.gate.set()
    assert await reading == {"ack": "a"}


async def test_what_comes_meanwhile_is_written_together(running: Running) -> None:
    running.logs.gate.clear()
    peer = await running.connect()
    peer.send("t", 0, {"n": 0}, {"chunk": "0"})
    await until(lambda: running.logs.waiting == 1)
    for number in range(1, 500):
        peer.send("t", 0, {"n": number}, {"chunk": str(number)})
    running.logs.gate.set()
    assert [await peer.read() for _ in range(500)] == [{"ack": str(n)} for n in range(500)]
    assert running.logs.waiting < 100
    assert await running.logs.total("") == 500


@pytest.mark.parametrize("error", [OverloadedError("full"), StorageUnavailableError("no disk")])
async def test_a_refusal_closes_and_the_chunk_can_come_again(
    running: Running, error: Exception
) -> None:
    running.logs.failures = [error]
    peer = await running.connect()
    peer.send("t", 0, {"n": 1}, {"chunk": "a"})
    assert await peer.read() is None
    assert running.counter("obsd_receiver_dropped_total", reason="overloaded") == 1
    peer = await running.connect()
    peer.send("t", 0, {"n": 1}, {"chunk": "a"})
    assert await peer.read() == {"ack": "a"}
    assert await running.logs.total("") == 1


async def test_a_chunk_that_comes_again_while_it_is_written_is_stored_once(
    running: Running,
) -> None:
    running.logs.gate.clear()
    first, second = await running.connect(), await running.connect()
    message = ("t", 0, {"n": 1}, {"chunk": "a"})
    first.send(*message)
    await until(lambda: running.logs.waiting == 1)
    first.reset()  # It did not wait.
    second.send(*message)
    second.send("t", 0, {"n": 2}, {"chunk": "b"})
    await until(lambda: running.logs.waiting == 2)  # The other chunk's alone.
    running.logs.gate.set()
    assert [await second.read(), await second.read()] == [{"ack": "a"}, {"ack": "b"}]
    assert await running.logs.total("") == 2


async def test_when_the_first_fails_the_second_is_not_acknowledged(running: Running) -> None:
    running.logs.gate.clear()
    running.logs.failures = [StorageUnavailableError("no disk")]
    first, second = await running.connect(), await running.connect()
    message = ("t", 0, {"n": 1}, {"chunk": "a"})
    first.send(*message)
    await until(lambda: running.logs.waiting == 1)
    second.send(*message)
    worked = running.receiver._hub.connections
    await until(lambda: sum(each._worker is not None for each in worked) == 2)
    running.logs.gate.set()
    assert await first.read() is await second.read() is None
    assert await running.logs.total("") == 0


async def test_the_same_id_with_other_events_is_another_chunk(running: Running) -> None:
    peer = await running.connect()
    for number in range(3):
        peer.send("t", 0, {"n": number}, {"chunk": "always the same"})
        assert await peer.read() == {"ack": "always the same"}
    assert await running.logs.total("") == 3


async def test_without_a_chunk_events_that_are_the_same_came_twice(running: Running) -> None:
    peer = await running.connect()
    now_s = running.logs.now_ns() // 1_000_000_000
    for _ in range(3):
        peer.send("t", now_s, {"message": "the same"})
    peer.send("other", now_s, {"message": "last"}, {"chunk": "c"})
    assert await peer.read() == {"ack": "c"}
    assert await running.logs.total('"the same"') == 3


async def test_messages_before_a_wrong_one_are_stored_and_acknowledged(running: Running) -> None:
    good = gzip.compress(msgpack.packb([0, {"n": 1}]))
    option = {"compressed": "gzip"}
    peer = await running.connect()
    peer.writer.write(
        msgpack.packb(["t", good, option | {"chunk": "1"}])
        + msgpack.packb(["t", good, option | {"chunk": "2"}])
        + msgpack.packb(["t", good[:-4], option | {"chunk": "3"}])
        + msgpack.packb(["t", good, option | {"chunk": "4"}])
    )
    assert [await peer.read() for _ in range(3)] == [{"ack": "1"}, {"ack": "2"}, None]
    assert await running.logs.total("") == 2


async def test_a_sender_waits_while_the_engine_does(running: Running) -> None:
    running.logs.gate.clear()
    peer = await running.connect()
    count, text = 400, "x" * 100_000
    for number in range(count):
        peer.send("t", 0, {"message": text, "n": number}, {"chunk": str(number)})
    hub = running.receiver._hub
    held = -1
    while held != hub.held_bytes or running.logs.waiting == 0:  # Until no more comes.
        held = hub.held_bytes
        await asyncio.sleep(0.1)
    assert held < fluent_connection.QUEUE_BYTES + (1 << 20)
    running.logs.gate.set()
    assert [await peer.read() for _ in range(count)] == [{"ack": str(n)} for n in range(count)]
    await until(lambda: hub.held_bytes == 0)


async def test_connections_together_are_bounded(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fluent_connection, "MAX_HELD_BYTES", 100_000)
    begun = msgpack.packb(["t", 0, {"x": "y" * 90_000}])[:60_000]
    first, second = await running.connect(), await running.connect()
    first.writer.write(begun)
    await until(lambda: running.receiver._hub.held_bytes == 60_000)
    second.writer.write(begun)
    assert await second.read() is None
    await until(lambda: running.receiver._hub.held_bytes == 60_000)
    first.writer.close()
    await until(lambda: running.receiver._hub.held_bytes == 0)
    assert running.counter("obsd_receiver_dropped_total", reason="overloaded") == 1


async def test_connections_are_bounded(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fluent_connection, "MAX_CONNECTIONS", 3)
    peers = [await running.connect() for _ in range(3)]
    await until(lambda: running.counter("obsd_receiver_connections") == 3)
    assert await (await running.connect()).read() is None
    peers[0].send("t", 0, {"n": 1}, {"chunk": "a"})
    assert await peers[0].read() == {"ack": "a"}
    for peer in peers:
        peer.writer.close()
    await until(lambda: running.counter("obsd_receiver_connections") == 0)
    assert not running.receiver._hub.connections


async def test_stopping_stores_and_acknowledges_what_has_come(running: Running) -> None:
    running.logs.gate.clear()
    peer = await running.connect()
    for number in range(10):
        peer.send("t", 0, {"n": number}, {"chunk": str(number)})
    await until(lambda: running.logs.waiting == 1)
    stopping = asyncio.create_task(running.receiver.stop())
    running.logs.gate.set()
    await stopping
    acks = []
    while (ack := await peer.read()) is not None:
        acks.append(ack)
    assert len(acks) == await running.logs.total("")
    assert acks[:1] == [{"ack": "0"}]


async def test_a_sender_that_says_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fluent_connection, "HANDSHAKE_S", 0.05)
    async with running_app(tmp_path, open_logs=engine) as app:
        made = Running(app, config_with(fluent_shared_key="key"))
        await made.receiver.start()
        peer = await made.connect()
        assert (await peer.read())[0] == "HELO"
        assert await peer.read() is None
        await made.stop()


def config_with(**server: Any) -> Config:
    base = Config()
    return dataclasses.replace(base, server=dataclasses.replace(base.server, **server))


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "fluent.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))  # By one that was killed.
    left.close()
    async with running_app(tmp_path, open_logs=engine) as app:
        made = Running(app, config_with(fluent_socket=path))
        await made.receiver.start()
        peer = Peer(*await asyncio.open_unix_connection(str(path)))
        made.peers.append(peer)
        peer.send("t", 0, {"n": 1}, {"chunk": "a"})
        assert await peer.read() == {"ack": "a"}
        second = Running(app, config_with(fluent_socket=path))
        with pytest.raises(OSError, match="in use"):
            await second.receiver.start()
        assert not second.receiver._servers
        await made.stop()
        assert await made.logs.total("") == 1
    assert not path.exists()


async def test_without_a_key_beyond_loopback_there_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_app(tmp_path, open_logs=engine) as app:
        context = receiver_context(app.application, Address("0.0.0.0", 0))
        receiver = FluentReceiver("fluent", context)
        with caplog.at_level(logging.WARNING):
            await receiver.start()
        await receiver.stop()
    assert "whoever reaches this receiver can write logs" in caplog.text


async def test_the_memory_of_chunks_is_bounded() -> None:
    memory = ChunkMemory(3)
    for number in range(5):
        key = bytes([number])
        memory.begin(key)
        assert not memory.is_stored(key)
        assert memory.writing(key) is not None
        memory.end(key, is_stored=True)
        assert memory.writing(key) is None
    assert [memory.is_stored(bytes([number])) for number in range(5)] == [False] * 2 + [True] * 3
    memory.begin(b"failed")
    waiting = memory.writing(b"failed")
    memory.end(b"failed", is_stored=False)
    assert not memory.is_stored(b"failed")
    assert waiting is not None
    assert await waiting is False
