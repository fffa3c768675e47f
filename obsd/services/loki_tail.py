"""Loki's live tail: the newest lines of a query, then what arrives, as its stages show it.

What a reader does not take in time is let go, and the reader is told which lines these were, as
far as there is room for that, too. So a reader's memory is bounded, and ingestion never waits.

Concurrency: event loop only, but `_Lines`, which works in the query pool.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from obsd.model.errors import ObsdError
from obsd.services.loki_queries import check_entries

if TYPE_CHECKING:
    from obsd.logql import LogEntry, LogQuery
    from obsd.model.budget import QueryBudget
    from obsd.model.log_record import LogRecord
    from obsd.services.log_aggregator import LogAggregator
    from obsd.services.log_followers import Follower
    from obsd.services.log_store import LogStore

FRAME_ENTRIES: Final = 100
MAX_DROPPED: Final = 1_000
BUFFER_BYTES: Final = 8 << 20

_OVERLAP_S: Final = 10.0
"""For so long what arrives may have been found among the newest lines already."""
_WAIT_S: Final = 3600.0

RenderStream = Callable[[dict[str, str], "LogEntry"], tuple[bytes, bytes]]
"""A line's labels as JSON, and the line as a stream of its own."""


@dataclass(frozen=True, slots=True)
class TailQuery:
    """What a reader asks for.

    Attributes:
        limit: lines from before it came, from `start_ns` on.
        delay_s: how long lines wait for earlier ones of slower senders.
    """

    text: str
    start_ns: int
    limit: int
    delay_s: float


class TailLine(NamedTuple):
    """One line; of a line that was let go the body is empty."""

    time_ns: int
    labels: bytes
    stream: bytes

    @property
    def size(self) -> int:
        return len(self.labels) + len(self.stream)

    def encode(self) -> bytes:
        """As followers keep it; JSON has no line breaks of its own."""
        return b"%d\n%b\n%b" % self

    @staticmethod
    def decode(event: bytes) -> TailLine:
        time_ns, labels, stream = event.split(b"\n", 2)
        return TailLine(int(time_ns), labels, stream)


@dataclass(frozen=True, slots=True)
class TailFrame:
    """What a reader is shown next.

    Attributes:
        dropped: lines that were let go before these.
        has_ended: there will be nothing more; `failure` says why, where the server does not stop.
    """

    lines: list[TailLine]
    dropped: list[TailLine]
    has_ended: bool
    failure: ObsdError | None


class _Lines:
    """A query's stages over records, rendered. In the pool, one thread at a time."""

    def __init__(self, query: LogQuery, render: RenderStream) -> None:
        from obsd.logql import LineProcessor

        self._processor = LineProcessor(query)
        self._render = render

    def follow(self, record: LogRecord) -> bytes:
        """A record's line; empty where the stages filter it out."""
        from obsd.logql import LogEntry

        shown = self._processor.process(record)
        if shown is None:
            return b""
        entry = LogEntry(shown.time_ns, shown.line, shown.structured_metadata, shown.parsed)
        return self.line(dict(shown.labels), entry).encode()

    def line(self, labels: dict[str, str], entry: LogEntry) -> TailLine:
        return TailLine(entry.time_ns, *self._render(labels, entry))


@dataclass(slots=True)
class TailReader:
    """One reader's buffer."""

    delay_s: float
    now_s: Callable[[], float]
    _waiting: deque[tuple[float, TailLine]] = field(default_factory=deque)
    _ready: deque[TailLine] = field(default_factory=deque)
    _dropped: list[TailLine] = field(default_factory=list)
    _bytes: int = 0
    _has_ended: bool = False
    _failure: ObsdError | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, line: TailLine, delay_s: float | None = None) -> None:
        """Keep a line that has arrived, if there is room.

        A shorter delay than the reader's is only for lines before all others.
        """
        if self._bytes and self._bytes + line.size > BUFFER_BYTES:
            self.drop(line)
            return
        self._bytes += line.size
        due_s = self.now_s() + (self.delay_s if delay_s is None else delay_s)
        self._waiting.append((due_s, line))
        self._news.set()

    def drop(self, line: TailLine) -> None:
        """Let a line go; of too many not even that is kept."""
        if len(self._dropped) < MAX_DROPPED:
            self._dropped.append(line._replace(stream=b""))
            self._news.set()

    def end(self, failure: ObsdError | None) -> None:
        self._has_ended, self._failure = True, failure
        self._news.set()

    async def next(self, timeout_s: float) -> TailFrame | None:
        """What there is to show, once there is anything; None when the time is over."""
        until_s = self.now_s() + timeout_s
        while True:
            self._news.clear()
            frame = self._take()
            if frame is not None:
                return frame
            due_s = self._waiting[0][0] if self._waiting else until_s
            left_s = min(until_s, due_s) - self.now_s()
            if left_s <= 0 and until_s <= due_s:
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(left_s, 0)):
                    await self._news.wait()

    def _take(self) -> TailFrame | None:
        self._settle()
        if not (self._ready or self._dropped or self._has_ended):
            return None
        lines = [self._ready.popleft() for _ in range(min(FRAME_ENTRIES, len(self._ready)))]
        self._bytes -= sum(line.size for line in lines)
        dropped, self._dropped = self._dropped, []
        # What still waits for earlier lines would only be waited for in vain.
        has_ended = self._has_ended and not self._ready
        return TailFrame(lines, dropped, has_ended, self._failure)

    def _settle(self) -> None:
        """Bring what has waited long enough into order."""
        now_s = self.now_s()
        due = []
        while self._waiting and (self._waiting[0][0] <= now_s or self._has_ended):
            due.append(self._waiting.popleft()[1])
        self._ready.extend(sorted(due, key=lambda line: line.time_ns))


class LokiTails:
    """Live tails of all projects."""

    def __init__(self, logs: LogAggregator) -> None:
        self._logs = logs

    @asynccontextmanager
    async def open(
        self, project_id: str, asked: TailQuery, render: RenderStream
    ) -> AsyncIterator[TailReader]:
        """Follow a query until this is left; `render` runs in the pool.

        Raises:
            BadInputError: it is no log query.
            OverloadedError: too many follow logs.
        """
        from obsd.logql import parse_log_query, stream_predicate

        check_entries(asked.limit)
        query = parse_log_query(asked.text)
        lines = _Lines(query, render)
        reader = TailReader(asked.delay_s, asyncio.get_running_loop().time)
        following = self._logs.follow_matching(project_id, stream_predicate(query), lines.follow)
        # The tail is open before the newest lines are read, so that none is in neither.
        async with following as follower:
            shown = await self._show_newest(project_id, query, asked, lines, reader)
            pull = _pull(follower, reader, shown, _known_labels(query), self._logs.now_ns)
            pulling = asyncio.create_task(pull, name="loki tail")
            try:
                yield reader
            finally:
                pulling.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pulling

    async def _show_newest(
        self,
        project_id: str,
        query: LogQuery,
        asked: TailQuery,
        lines: _Lines,
        reader: TailReader,
    ) -> Counter[bytes]:
        """Put the newest lines into the reader's buffer; returns them."""
        end_ns = self._logs.now_ns() + 1_000_000

        def read(store: LogStore, budget: QueryBudget) -> list[TailLine]:
            from obsd.logql import run_log_query

            if asked.start_ns >= end_ns:
                return []
            found = run_log_query(
                query, store, asked.start_ns, end_ns, asked.limit, "backward", budget
            )
            newest = [
                lines.line(stream.labels.as_dict(), entry)
                for stream in found.streams
                for entry in stream.entries
            ]
            newest.sort(key=lambda line: line.time_ns)
            return newest

        newest = await self._logs.read(project_id, read)
        room, first = BUFFER_BYTES, len(newest)
        while first and (room := room - newest[first - 1].size) >= 0:
            first -= 1
        for line in newest[:first]:
            reader.drop(line)
        for line in newest[first:]:
            reader.put(line, delay_s=0)
        return Counter(line.encode() for line in newest)


def _known_labels(query: LogQuery) -> bytes:
    """What a selector says of the labels of every line, as JSON."""
    from obsd.model.matcher import MatchOp

    equal = (each for each in query.matchers if each.op is MatchOp.EQUAL and each.value)
    return msgspec.json.encode({each.name: each.value for each in equal})


async def _pull(
    follower: Follower,
    reader: TailReader,
    shown: Counter[bytes],
    unseen: bytes,
    now_ns: Callable[[], int],
) -> None:
    """Move what arrives into the reader's buffer, always soon; `unseen` labels what nobody saw."""
    overlap_until_s = reader.now_s() + _OVERLAP_S
    while True:
        found = await follower.next(_WAIT_S)
        if found is None:
            continue
        if shown and reader.now_s() > overlap_until_s:
            shown.clear()
        for event in found.events:
            if shown[event] > 0:
                shown[event] -= 1
            elif event:
                reader.put(TailLine.decode(event))
        if found.lost or found.unsearched:
            # Matching lines that were never rendered, and perhaps more that nobody has looked at.
            for _ in range(min(found.lost + (found.unsearched > 0), MAX_DROPPED)):
                reader.drop(TailLine(now_ns(), unseen, b""))
        if found.has_ended:
            reader.end(found.failure)
            return
