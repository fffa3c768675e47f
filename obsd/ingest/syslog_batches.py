"""Syslog messages on their way to the log engine: collected for a moment, written in order.

One batch is read while the one before it is written, so that neither waits for the other. Nobody is
answered: when the engine refuses for now, a batch waits here, streams are read no further, and
datagrams that find no room are dropped and counted.

Concurrency: event loop only; messages are read in the ingest pool.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from obsd.ingest.syslog_record import Encoded, Received, SyslogEncoder
from obsd.model.errors import ObsdError, OverloadedError, StorageUnavailableError
from obsd.services.log_aggregator import LogAggregator
from obsd.services.projects import DEFAULT_PROJECT
from obsd.services.receiver_telemetry import OVERLOADED, REFUSED, ReceiverCounts

log = logging.getLogger(__name__)

COLLECT_S: Final = 0.05
COLLECT_MESSAGES: Final = 1_000
COLLECT_BYTES: Final = 1 << 20
MAX_BATCH_MESSAGES: Final = 5_000
FULL_BYTES: Final = 8 << 20
"""Streams are read no further while this much waits."""
MAX_BYTES: Final = 24 << 20
"""Datagrams are dropped while this much waits."""
_MESSAGE_BYTES: Final = 200  # What Python takes to hold one.
_FIRST_RETRY_S: Final = 0.25
_LONGEST_RETRY_S: Final = 5.0


class Source(Protocol):
    """A stream that can be told to wait."""

    def resume(self) -> None:
        """There is room again."""


class SyslogBatches:
    """What was received and is not stored yet; bounded."""

    def __init__(self, logs: LogAggregator, encoder: SyslogEncoder, counts: ReceiverCounts) -> None:
        self._logs = logs
        self._encoder = encoder
        self._counts = counts
        self._pending: list[Received] = []
        self._pending_bytes = 0
        self._writing_bytes = 0
        self._waiting: set[Source] = set()
        self._has_some = asyncio.Event()
        self._has_enough = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="syslog-batches")

    async def stop(self) -> None:
        """Write what has come; while the engine refuses, once more and then no more."""
        self._stopping.set()
        self._has_some.set()
        self._has_enough.set()
        if self._task is not None:
            await self._task

    @property
    def is_full(self) -> bool:
        """Whether streams should wait."""
        return self._pending_bytes + self._writing_bytes >= FULL_BYTES

    def wait(self, source: Source) -> None:
        """Have a stream resumed once there is room."""
        self._waiting.add(source)

    def forget(self, source: Source) -> None:
        """It is closed."""
        self._waiting.discard(source)

    def put(self, messages: list[bytes], peer: str) -> None:
        """Take messages of a stream."""
        now_ns = self._logs.now_ns()
        self._counts.messages.inc(len(messages))
        self._pending += [Received(raw, peer, now_ns) for raw in messages]
        self._pending_bytes += sum(map(len, messages)) + _MESSAGE_BYTES * len(messages)
        self._wake()

    def put_datagram(self, raw: bytes, peer: str) -> None:
        """Take a datagram, or drop it."""
        self._counts.messages.inc()
        if self._pending_bytes + self._writing_bytes >= MAX_BYTES:
            self._counts.drop(OVERLOADED)
            return
        self._pending.append(Received(raw, peer, self._logs.now_ns()))
        self._pending_bytes += len(raw) + _MESSAGE_BYTES
        self._wake()

    def _wake(self) -> None:
        if len(self._pending) >= COLLECT_MESSAGES or self._pending_bytes >= COLLECT_BYTES:
            self._has_enough.set()
        self._has_some.set()

    async def _run(self) -> None:
        write: asyncio.Task[None] | None = None
        while True:
            await self._has_some.wait()
            if not self._pending:
                break  # It is told to stop.
            if not self._has_enough.is_set():
                await _wait(self._has_enough, COLLECT_S)
            batch, size_bytes = self._take()
            try:
                encoded = await self._encode(batch)
            except Exception:
                log.exception("syslog messages lost", extra={"messages": len(batch)})
                self._release(len(batch), size_bytes)
                continue
            if write is not None:
                await write
            write = asyncio.create_task(self._write(encoded, size_bytes))
        if write is not None:
            await write

    def _take(self) -> tuple[list[Received], int]:
        batch, self._pending = (
            self._pending[:MAX_BATCH_MESSAGES],
            self._pending[MAX_BATCH_MESSAGES:],
        )
        size_bytes = sum(len(each.raw) for each in batch) + _MESSAGE_BYTES * len(batch)
        self._pending_bytes -= size_bytes
        self._writing_bytes += size_bytes
        if not self._stopping.is_set():
            if len(self._pending) < COLLECT_MESSAGES and self._pending_bytes < COLLECT_BYTES:
                self._has_enough.clear()
            if not self._pending:
                self._has_some.clear()
        return batch, size_bytes

    async def _encode(self, batch: list[Received]) -> Encoded:
        loop = asyncio.get_running_loop()
        encoded = await loop.run_in_executor(self._logs.ingest_pool, self._encoder.encode, batch)
        self._counts.malformed.inc(encoded.malformed)
        return encoded

    async def _write(self, encoded: Encoded, size_bytes: int) -> None:
        lost = encoded.records
        try:
            lost = await self._store(encoded)
        except ObsdError as error:
            fields = {"messages": encoded.records, "reason": str(error)}
            log.error("syslog messages lost", extra=fields)
        except Exception:
            log.exception("syslog messages lost", extra={"messages": encoded.records})
        finally:
            self._release(lost, size_bytes)

    def _release(self, lost: int, size_bytes: int) -> None:
        """A batch is done with, and so many messages of it are not stored."""
        self._counts.drop(REFUSED, lost)
        self._writing_bytes -= size_bytes
        if not self.is_full:
            waiting, self._waiting = self._waiting, set()
            for source in waiting:
                source.resume()

    async def _store(self, encoded: Encoded) -> int:
        """Until it is stored, or can never be; return how many messages the engine refused.

        Raises:
            ObsdError: it cannot be stored.
        """
        delay_s = _FIRST_RETRY_S
        while True:
            is_last = self._stopping.is_set()
            try:
                # Nobody sends again, and many clocks tell no more than the second: messages that
                # are the same have come twice.
                outcome = await self._logs.write(DEFAULT_PROJECT, encoded.request, distinct=True)
            except (OverloadedError, StorageUnavailableError) as error:
                if is_last:
                    raise
                log.warning(
                    "syslog messages wait",
                    extra={"messages": encoded.records, "reason": str(error), "retry_s": delay_s},
                )
                await _wait(self._stopping, delay_s)
                delay_s = min(delay_s * 2, _LONGEST_RETRY_S)
            else:
                return sum(outcome.rejected.values())


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    """For the event, but not for long."""
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return
