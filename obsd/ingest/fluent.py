"""Fluent Forward over TCP and TLS, and its heartbeats over UDP: docs/receivers.md."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from obsd.config.option import Address
from obsd.ingest.fluent_connection import Connection, Hub
from obsd.ingest.fluent_handshake import Secrets
from obsd.ingest.sockets import listen_tcp, open_udp, server_tls

if TYPE_CHECKING:
    from obsd.ingest.receiver import ReceiverContext

log = logging.getLogger(__name__)

NAME: Final = "fluent"
HEARTBEAT: Final = b"\0"


class FluentReceiver:
    """Streams, and without TLS heartbeats too, at one address."""

    def __init__(self, name: str, context: ReceiverContext, *, is_tls: bool = False) -> None:
        assert context.address is not None
        self.name = name
        self._address: Address = context.address
        self._config = context.config.server
        self._is_tls = is_tls
        key = self._config.fluent_shared_key
        self._hub = Hub(
            name=name,
            logs=context.logs,
            counts=context.telemetry.receivers.of(name),
            secrets=None if key is None else Secrets.parse(key, self._config.fluent_users),
        )
        self._server: asyncio.Server | None = None
        self._heartbeats: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        tls = await loop.run_in_executor(None, server_tls, self._config) if self._is_tls else None
        listener = listen_tcp(self._address)
        heartbeats = None
        if not self._is_tls:
            try:
                heartbeats = open_udp(Address(self._address.host, listener.getsockname()[1]))
            except OSError:
                listener.close()
                raise
        self._server = await loop.create_server(
            lambda: Connection(self._hub), sock=listener, ssl=tls
        )
        if heartbeats is not None:
            transport, _ = await loop.create_datagram_endpoint(_Heartbeats, sock=heartbeats)
            self._heartbeats = transport
        if self._hub.secrets is None and not self._address.is_loopback:
            log.warning(
                "whoever reaches this receiver can write logs; server.fluent_shared_key asks"
                " senders for a key",
                extra={"receiver": self.name, "address": str(self._address)},
            )

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._heartbeats is not None:
            self._heartbeats.close()
        await asyncio.gather(*(each.finish() for each in list(self._hub.connections)))


class _Heartbeats(asyncio.DatagramProtocol):
    """Says that there is somebody."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(HEARTBEAT, addr)

    def error_received(self, exc: Exception) -> None:
        log.debug("error of heartbeats", extra={"receiver": NAME, "reason": str(exc)})


def open_receiver(context: ReceiverContext) -> FluentReceiver:
    return FluentReceiver(NAME, context)
