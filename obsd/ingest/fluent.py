"""Fluent Forward over TCP, TLS and Unix sockets; its heartbeats over UDP: docs/receivers.md."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final, cast

from obsd.config.option import Address
from obsd.ingest.fluent_connection import Connection, Hub
from obsd.ingest.fluent_handshake import Secrets
from obsd.ingest.sockets import listen_tcp, listen_unix, open_udp, server_tls

if TYPE_CHECKING:
    from obsd.ingest.receiver import ReceiverContext

log = logging.getLogger(__name__)

NAME: Final = "fluent"
HEARTBEAT: Final = b"\0"


class FluentReceiver:
    """Streams at one address; without TLS heartbeats, and streams at a path, too."""

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
        self._servers: list[asyncio.Server] = []
        self._heartbeats: asyncio.DatagramTransport | None = None

    @property
    def port(self) -> int:
        """The one that it really has."""
        return int(self._servers[0].sockets[0].getsockname()[1])

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._is_tls:
            tls = await loop.run_in_executor(None, server_tls, self._config)
            listener = listen_tcp(self._address)
            self._servers.append(await loop.create_server(self._connect, sock=listener, ssl=tls))
            return
        with contextlib.ExitStack() as opened:
            listener = opened.enter_context(contextlib.closing(listen_tcp(self._address)))
            udp = open_udp(Address(self._address.host, listener.getsockname()[1]))
            opened.enter_context(contextlib.closing(udp))
            path = self._config.fluent_socket
            local = None if path is None else listen_unix(path)
            opened.pop_all()  # Nothing can fail any more.
        self._servers.append(await loop.create_server(self._connect, sock=listener))
        if local is not None:
            self._servers.append(await loop.create_unix_server(self._connect, sock=local))
        self._heartbeats, _ = await loop.create_datagram_endpoint(_Heartbeats, sock=udp)
        if self._hub.secrets is None and not self._address.is_loopback:
            log.warning(
                "whoever reaches this receiver can write logs; server.fluent_shared_key asks"
                " senders for a key",
                extra={"receiver": self.name, "address": str(self._address)},
            )

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        if self._heartbeats is not None:
            self._heartbeats.close()
        if len(self._servers) > 1 and self._config.fluent_socket is not None:
            self._config.fluent_socket.unlink(missing_ok=True)
        await asyncio.gather(*(each.finish() for each in list(self._hub.connections)))

    def _connect(self) -> Connection:
        return Connection(self._hub)


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
