"""One sender of Fluent Forward: its messages are stored in order, and then acknowledged.

All that has come while a batch is written goes into the next one, so a sender of many small
messages has few writes. When storing fails the connection is closed, and nothing of it is
acknowledged: senders that ask for acknowledgements come again.

Concurrency: event loop only; messages are read in the ingest pool.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Final, cast

import msgpack

from obsd.ingest.fluent_chunks import ChunkKey, ChunkMemory, chunk_key
from obsd.ingest.fluent_frames import NIL, MessageReader
from obsd.ingest.fluent_handshake import Handshake, Secrets
from obsd.ingest.fluent_messages import ForwardMessage, read_message
from obsd.ingest.fluent_record import Encoding, encode_messages
from obsd.model.errors import (
    BadInputError,
    ObsdError,
    StorageUnavailableError,
    TooLargeError,
)
from obsd.services.log_aggregator import LogAggregator
from obsd.services.projects import DEFAULT_PROJECT
from obsd.services.receiver_telemetry import (
    OVERLOADED,
    REFUSED,
    TOO_LARGE,
    UNSUPPORTED,
    ReceiverCounts,
)

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 500
MAX_HELD_BYTES: Final = 256 << 20
"""Of all connections together; the one that would make it more is closed."""
BATCH_BYTES: Final = 4 << 20
BATCH_MESSAGES: Final = 2_000
QUEUE_BYTES: Final = 8 << 20
"""No more is read of a connection while this much of it waits."""
QUEUE_MESSAGES: Final = 10_000
HANDSHAKE_S: Final = 10.0
_MAX_UNREAD_BYTES: Final = 1 << 20  # Acknowledgements that a sender does not read.
_MESSAGE_BYTES: Final = 100  # What Python takes to hold one.


@dataclass(slots=True)
class Hub:
    """What the connections of one receiver share."""

    name: str
    logs: LogAggregator
    counts: ReceiverCounts
    secrets: Secrets | None
    chunks: ChunkMemory = field(default_factory=ChunkMemory)
    connections: set[Connection] = field(default_factory=set)
    held_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Read:
    """Messages whose form is known, up to the first that has none."""

    messages: list[ForwardMessage]
    keys: list[ChunkKey]
    error: BadInputError | None


class Connection(asyncio.Protocol):
    """One stream; lives until it is closed and what came of it is stored."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._reader = MessageReader()
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._held_bytes = 0
        self._handshake = Handshake(hub.secrets) if hub.secrets is not None else None
        self._timeout: asyncio.TimerHandle | None = None
        self._worker: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._is_open = False
        self._is_paused = False
        self._has_ended = False
        self._is_finishing = False

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._is_open = True
        self._hub.counts.connections.inc()
        self._hub.connections.add(self)
        address = transport.get_extra_info("peername")
        self._peer = str(address[0]) if isinstance(address, tuple) else ""
        if len(self._hub.connections) > MAX_CONNECTIONS:
            self._refuse("too many connections", OVERLOADED)
        elif self._handshake is not None:
            self._send(self._handshake.helo())
            loop = asyncio.get_running_loop()
            self._timeout = loop.call_later(HANDSHAKE_S, self._refuse, "no handshake in time")

    def data_received(self, data: bytes) -> None:
        if not self._is_open or self._is_finishing:
            return
        try:
            messages = self._reader.feed(data)
            if self._handshake is not None and messages:
                self._shake_hands(self._handshake, messages.pop(0))
        except BadInputError as error:
            self._hub.counts.malformed.inc()
            self._refuse(str(error))
            return
        except TooLargeError as error:
            self._refuse(str(error), TOO_LARGE)
            return
        self._enqueue([each for each in messages if each != NIL])
        if self._hub.held_bytes > MAX_HELD_BYTES:
            self._refuse("too much at one time", OVERLOADED)

    def eof_received(self) -> bool:
        """Stay open until what was sent is acknowledged; with TLS there is no such thing."""
        self._has_ended = True
        assert self._transport is not None
        return self._worker is not None and not self._transport.get_extra_info("sslcontext")

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_open = False
        self._hub.counts.connections.dec()
        if self._timeout is not None:
            self._timeout.cancel()
        self._reader = MessageReader()
        self._count_held()
        if self._worker is None:
            self._hub.connections.discard(self)

    # Beginning and end

    def _shake_hands(self, handshake: Handshake, message: bytes) -> None:
        """Take the first message for a PING.

        Raises:
            BadInputError: it is none, or of somebody who does not know what he should.
        """
        pong, reason = handshake.answer(message)
        self._send(pong)
        if reason:
            raise BadInputError(reason)
        self._handshake = None
        if self._timeout is not None:
            self._timeout.cancel()

    async def finish(self) -> None:
        """Read no more, store and acknowledge what has come, and close."""
        self._is_finishing = True
        self._pause()
        if self._worker is not None:
            await asyncio.wait([self._worker])
        self._close()

    def _refuse(self, reason: str, dropped: str | None = None) -> None:
        """Close, with nothing more of what waits stored."""
        if dropped is not None:
            self._hub.counts.drop(dropped, max(1, len(self._queue)))
        log.warning(
            "connection closed",
            extra={"receiver": self._hub.name, "peer": self._peer, "reason": reason},
        )
        self._queue.clear()
        self._queue_bytes = 0
        self._close()

    def _close(self) -> None:
        self._is_open = False
        if self._transport is not None:
            self._transport.close()

    # Storing

    def _enqueue(self, messages: list[bytes]) -> None:
        self._queue += messages
        self._queue_bytes += sum(map(len, messages)) + _MESSAGE_BYTES * len(messages)
        self._count_held()
        if self._queue_bytes >= QUEUE_BYTES or len(self._queue) >= QUEUE_MESSAGES:
            self._pause()
        if self._queue and self._worker is None:
            self._worker = asyncio.create_task(self._work(), name=self._hub.name)

    async def _work(self) -> None:
        """Until nothing waits."""
        try:
            while self._queue:
                batch = self._take()
                await self._store(batch)
                self._resume()
        except ObsdError as error:
            dropped = REFUSED if isinstance(error, BadInputError) else OVERLOADED
            self._refuse(str(error), dropped)
        except Exception as error:
            log.exception("messages lost", extra={"receiver": self._hub.name})
            self._refuse(str(error), REFUSED)
        finally:
            self._worker = None
            self._count_held()
            if not self._is_open:
                self._hub.connections.discard(self)
            if self._has_ended:
                self._close()

    def _take(self) -> list[bytes]:
        batch: list[bytes] = []
        size_bytes = 0
        while self._queue and len(batch) < BATCH_MESSAGES and size_bytes < BATCH_BYTES:
            batch.append(self._queue.popleft())
            size_bytes += len(batch[-1])
        self._queue_bytes -= size_bytes + _MESSAGE_BYTES * len(batch)
        return batch

    async def _store(self, batch: list[bytes]) -> None:
        """Store messages and acknowledge them.

        Raises:
            ObsdError: from here on nothing is stored, and nothing acknowledged.
        """
        loop = asyncio.get_running_loop()
        pool = self._hub.logs.ingest_pool
        read = await loop.run_in_executor(pool, _read_all, batch)
        messages, keys = read.messages, read.keys
        while messages:
            alike = _count_alike(messages)
            count = await self._store_some(messages[:alike], keys[:alike])
            messages, keys = messages[count:], keys[count:]
        if read.error is not None:
            self._hub.counts.malformed.inc()
            raise read.error

    async def _store_some(self, messages: list[ForwardMessage], keys: list[ChunkKey]) -> int:
        """Store and acknowledge the first messages; return how many."""
        chunks = self._hub.chunks
        new: list[ForwardMessage] = []
        positions: list[int] = []
        begun: set[ChunkKey] = set()
        others: list[asyncio.Future[bool]] = []
        for index, (message, key) in enumerate(zip(messages, keys, strict=True)):
            if message.chunk is not None:
                if chunks.is_stored(key) or key in begun:
                    continue
                if (elsewhere := chunks.writing(key)) is not None:
                    others.append(elsewhere)
                    continue
                chunks.begin(key)
                begun.add(key)
            new.append(message)
            positions.append(index)
        stored: set[ChunkKey] = set()
        try:
            done = len(messages)
            if new:
                encoding = await self._encode(new)
                if encoding.messages < len(new):
                    done = positions[encoding.messages]
                await self._write(encoding, distinct=not begun)
                stored = {keys[index] for index in positions[: encoding.messages]}
        finally:
            for key in begun:
                chunks.end(key, is_stored=key in stored)
        for each in others:
            if not await each:
                raise StorageUnavailableError("another connection could not store the same chunk")
        self._acknowledge(messages[:done])
        if new and encoding.error is not None:
            raise encoding.error
        return done

    async def _encode(self, messages: list[ForwardMessage]) -> Encoding:
        logs = self._hub.logs
        return await asyncio.get_running_loop().run_in_executor(
            logs.ingest_pool, encode_messages, messages, logs.now_ns()
        )

    async def _write(self, encoding: Encoding, *, distinct: bool) -> None:
        counts = self._hub.counts
        rejected = 0
        if encoding.request:
            outcome = await self._hub.logs.write(
                DEFAULT_PROJECT, encoding.request, distinct=distinct
            )
            rejected = sum(outcome.rejected.values())
        counts.messages.inc(encoding.counted.received)
        counts.malformed.inc(encoding.counted.malformed)
        counts.drop(TOO_LARGE, encoding.counted.too_large)
        counts.drop(UNSUPPORTED, encoding.counted.unsupported)
        counts.drop(REFUSED, rejected)

    def _acknowledge(self, messages: list[ForwardMessage]) -> None:
        acks = b"".join(
            msgpack.packb({"ack": each.chunk}, unicode_errors="surrogateescape")
            for each in messages
            if each.chunk is not None
        )
        if acks:
            self._send(acks)

    # The transport

    def _send(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            self._refuse("acknowledgements are not read")

    def _pause(self) -> None:
        if self._transport is not None and not self._is_paused and self._is_open:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        is_full = self._queue_bytes >= QUEUE_BYTES or len(self._queue) >= QUEUE_MESSAGES
        if not self._is_paused or not self._is_open or self._is_finishing or is_full:
            return
        if self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def _count_held(self) -> None:
        held = self._queue_bytes + self._reader.buffered_bytes
        self._hub.held_bytes += held - self._held_bytes
        self._held_bytes = held


def _read_all(batch: list[bytes]) -> _Read:
    messages: list[ForwardMessage] = []
    keys: list[ChunkKey] = []
    for raw in batch:
        try:
            message = read_message(raw)
        except BadInputError as error:
            return _Read(messages, keys, error)
        messages.append(message)
        keys.append(chunk_key(raw) if message.chunk is not None else b"")
    return _Read(messages, keys, None)


def _count_alike(messages: list[ForwardMessage]) -> int:
    """How many, from the first, all have a chunk, or all have none.

    They differ in the writing: without a chunk nothing is sent again, so records of such messages
    that are the same have come twice, and are kept twice.
    """
    has_chunk = messages[0].chunk is not None
    others = (at for at, each in enumerate(messages) if (each.chunk is not None) != has_chunk)
    return next(others, len(messages))
