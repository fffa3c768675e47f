"""Syslog over UDP, TCP and TLS: docs/receivers.md.

Nothing is ever answered. A stream whose messages cannot be stored as fast as they come is read more
slowly, so its sender keeps them; a datagram without room is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from obsd.ingest.sockets import listen_tcp, open_udp, server_tls
from obsd.ingest.syslog_batches import SyslogBatches
from obsd.ingest.syslog_frames import FrameError, FrameReader
from obsd.ingest.syslog_record import SyslogEncoder
from obsd.model.time_zone import parse_time_zone
from obsd.services.receiver_telemetry import OVERLOADED, TOO_LARGE, ReceiverCounts

if TYPE_CHECKING:
    from obsd.config.option import Address
    from obsd.ingest.receiver import ReceiverContext

log = logging.getLogger(__name__)

NAME: Final = "syslog"
MAX_CONNECTIONS: Final = 500
"""Each may hold an unfinished message."""


class SyslogReceiver:
    """Streams, and without TLS datagrams too, at one address."""

    def __init__(self, name: str, context: ReceiverContext, *, is_tls: bool = False) -> None:
        assert context.address is not None
        self.name = name
        self._address: Address = context.address
        self._server_config = context.config.server
        self._is_tls = is_tls
        self._counts = context.telemetry.receivers.of(name)
        storage = context.config.storage
        retention_s = storage.log_retention_s
        encoder = SyslogEncoder(
            zone=parse_time_zone(context.config.server.syslog_zone),
            max_past_ns=None if retention_s is None else int(retention_s * 1e9),
            max_future_ns=int(storage.max_future_s * 1e9),
        )
        self._batches = SyslogBatches(context.logs, encoder, self._counts)
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._datagrams: asyncio.DatagramTransport | None = None

    @property
    def port(self) -> int:
        """The one that it really has."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        tls = None
        if self._is_tls:
            tls = await loop.run_in_executor(None, server_tls, self._server_config)
        listener = listen_tcp(self._address)
        datagrams = None
        if not self._is_tls:
            try:
                datagrams = open_udp(
                    type(self._address)(self._address.host, listener.getsockname()[1])
                )
            except OSError:
                listener.close()
                raise
        self._batches.start()
        self._server = await loop.create_server(self._connect, sock=listener, ssl=tls)
        if datagrams is not None:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._batches), sock=datagrams
            )
            self._datagrams = transport

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._datagrams is not None:
            self._datagrams.close()
        for connection in list(self._connections):
            connection.finish()
            connection.close()
        await self._batches.stop()

    def _connect(self) -> asyncio.Protocol:
        return _Connection(self._batches, self._counts, self._connections)


class _Datagrams(asyncio.DatagramProtocol):
    """One message each."""

    def __init__(self, batches: SyslogBatches) -> None:
        self._batches = batches

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data:
            self._batches.put_datagram(data, addr[0])

    def error_received(self, exc: Exception) -> None:
        log.debug("error of datagrams", extra={"receiver": NAME, "reason": str(exc)})


class _Connection(asyncio.Protocol):
    """A stream of messages."""

    def __init__(
        self,
        batches: SyslogBatches,
        counts: ReceiverCounts,
        connections: set[_Connection],
    ) -> None:
        self._batches = batches
        self._counts = counts
        self._connections = connections
        self._frames = FrameReader()
        self._peer = ""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._counts.connections.inc()
        self._connections.add(self)
        address = transport.get_extra_info("peername")
        self._peer = str(address[0]) if isinstance(address, tuple) else ""
        if len(self._connections) > MAX_CONNECTIONS:
            self._counts.drop(OVERLOADED)
            self._refuse("too many connections")

    def data_received(self, data: bytes) -> None:
        messages: list[bytes] = []
        too_large = self._frames.too_large
        try:
            self._frames.feed(data, messages)
        except FrameError as error:
            self._counts.malformed.inc()
            self._refuse(str(error))
        self._count_too_large(self._frames.too_large - too_large)
        if messages:
            self._batches.put(messages, self._peer)
            if self._batches.is_full and self._transport is not None:
                self._transport.pause_reading()
                self._batches.wait(self)

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._counts.connections.dec()
        self._connections.discard(self)
        self._batches.forget(self)
        self.finish()

    def finish(self) -> None:
        """Take what the stream has begun; no more will come."""
        if rest := self._frames.finish():
            self._batches.put(rest, self._peer)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _count_too_large(self, count: int) -> None:
        if count:
            self._counts.messages.inc(count)
            self._counts.drop(TOO_LARGE, count)

    def _refuse(self, reason: str) -> None:
        log.warning(
            "connection closed", extra={"receiver": NAME, "peer": self._peer, "reason": reason}
        )
        self.close()


def open_receiver(context: ReceiverContext) -> SyslogReceiver:
    return SyslogReceiver(NAME, context)
