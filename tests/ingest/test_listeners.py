"""Receivers of protocols of their own: started one by one, stopped together."""

from __future__ import annotations

import asyncio
import importlib
import logging

import pytest

from obsd.config.receivers import THERE_ARE
from obsd.config.tree import ServerConfig
from obsd.ingest.listeners import MODULES, Receivers


class Echo:
    """A receiver on a real socket, which keeps what it is sent."""

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self.port = port
        self.stopped = asyncio.Event()
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            lambda _reader, _writer: None, "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        await self.may_stop.wait()
        self.stopped.set()


async def test_a_port_in_use_is_reported_and_the_others_start(caplog) -> None:
    first = Echo("first")
    second, third = Receivers(), Receivers()
    await second.start([(first, "127.0.0.1:0")])
    taken, free = Echo("taken", first.port), Echo("free")
    with caplog.at_level(logging.WARNING):
        await third.start([(taken, f"127.0.0.1:{first.port}"), (free, "127.0.0.1:0")])
    [record] = caplog.records
    assert record.message == "receiver left out"
    assert record.receiver == "taken"
    assert record.reason.startswith(f"cannot listen on 127.0.0.1:{first.port}: ")
    await second.stop(5)
    await third.stop(5)
    assert first.stopped.is_set()
    assert free.stopped.is_set()
    assert not taken.stopped.is_set()


async def test_one_that_takes_too_long_holds_up_nobody(caplog) -> None:
    slow, quick = Echo("slow"), Echo("quick")
    slow.may_stop.clear()
    receivers = Receivers()
    await receivers.start([(slow, ""), (quick, "")])
    await receivers.stop(0.05)
    assert quick.stopped.is_set()
    assert not slow.stopped.is_set()
    assert [record.receiver for record in caplog.records] == ["slow"]


async def test_one_that_fails_to_stop_holds_up_nobody(caplog) -> None:
    class Broken(Echo):
        async def stop(self) -> None:
            await super().stop()
            raise RuntimeError("it broke")

    broken, whole = Broken("broken"), Echo("whole")
    receivers = Receivers()
    await receivers.start([(broken, ""), (whole, "")])
    await receivers.stop(5)
    assert whole.stopped.is_set()
    assert "it broke" in caplog.text


def test_every_receiver_has_its_module_and_its_option() -> None:
    own = {name for name, info in THERE_ARE.items() if not info.is_http}
    assert set(MODULES) == own
    for name, module in MODULES.items():
        assert callable(importlib.import_module(module).open_receiver), name
    options = [info.option for info in THERE_ARE.values() if info.option]
    assert len(options) == len(set(options))
    for option in options:
        assert option.endswith("_listen")
        assert getattr(ServerConfig(), option).is_loopback


@pytest.mark.parametrize("name", sorted(THERE_ARE))
def test_a_receiver_is_in_all(name: str) -> None:
    assert "all" in THERE_ARE[name].sets
