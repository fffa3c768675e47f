"""What one project's spans were counted to, and its file: the counters that outlive a crash.

The file holds the counters with the row up to which they go, and the write-ahead log of spans all
rows behind it. It is written before samples of what it holds, and before a flush of spans lets go
of their log. So no sample shows what could be forgotten, and no span is counted twice.

Concurrency: every method may be called from any thread, and all but `take` block.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path
from typing import Final

from obsd import _native
from obsd.config.tree import SpanMetricsConfig
from obsd.durable.files import make_directory, replace_file
from obsd.services.span_metrics.options import native_options

log = logging.getLogger(__name__)

FILE: Final = "span_metrics.bin"
MAX_QUEUED_BYTES: Final = 8 << 20
"""Requests that wait to be counted; with more, whoever writes spans counts them."""
MAX_QUEUED: Final = 10_000
_LAST_ROW: Final = (1 << 63) - 2
_MS_NS: Final = 1_000_000


class ProjectCounters:
    """The counters of one project; they follow its span engine."""

    def __init__(self, path: Path, config: SpanMetricsConfig) -> None:
        """`path`: of the file."""
        self._path = path
        self._config = config
        self._queue: deque[tuple[_native.SpanBatch, int, int, int]] = deque()
        self._queued_bytes = 0  # Under the queue's lock.
        self._queue_lock = threading.Lock()
        """Held for moments; taken last."""
        self._lock = threading.Lock()
        self._has_described = False  # Under the lock.
        self._is_saved = True  # Under the lock.
        self._counters = _native.SpanCounters(*native_options(config))
        self._load()

    def _load(self) -> None:
        """Go on where the file ends."""
        try:
            self._counters.restore(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            fields = {"path": str(self._path), "error": str(error)}
            log.error("metrics of spans begin anew: what was counted cannot be read", extra=fields)
            self._counters = _native.SpanCounters(*native_options(self._config))
            self._counters.row = _LAST_ROW  # What is replayed was counted already, for the most.

    def opened(self, last_row: int) -> None:
        """The engine is open; its last span has this number, since after a loss they come again."""
        with self._lock:
            self._count()
            self._counters.row = min(self._counters.row, last_row)

    # Following

    def take(self, batch: _native.SpanBatch, first_row: int, now_ns: int, size_bytes: int) -> None:
        """Note a request; it is counted later."""
        with self._queue_lock:
            self._queue.append((batch, first_row, now_ns // _MS_NS, size_bytes))
            self._queued_bytes += size_bytes

    def relieve(self) -> None:
        """Count what waits, if it is much."""
        if self._queued_bytes > MAX_QUEUED_BYTES or len(self._queue) > MAX_QUEUED:
            with self._lock:
                self._count()

    def _count(self) -> None:
        """Under the lock."""
        while True:
            with self._queue_lock:
                if not self._queue:
                    return
                batch, first_row, now_ms, size_bytes = self._queue.popleft()
                self._queued_bytes -= size_bytes
            self._counters.count_batch(batch, first_row, now_ms)

    def follow(self, now_ms: int) -> None:
        """Count what has arrived, and the calls whose other side did not."""
        with self._lock:
            self._count()
            self._counters.expire(now_ms)

    def before_flush(self, _: int) -> None:
        """Count all that is in memory, durably.

        Raises:
            OSError: the disk refuses.
        """
        with self._lock:
            self._count()
            self._save()

    # Writing

    def samples(self, now_ms: int) -> list[bytes]:
        """What there is now as remote write requests, after it is durable.

        Raises:
            OSError: the disk refuses.
        """
        with self._lock:
            self._count()
            self._counters.expire(now_ms)
            self._counters.forget_idle(now_ms)
            self._save()
            return self._counters.samples(now_ms, not self._has_described)

    def confirm(self) -> None:
        """The samples are stored."""
        with self._lock:
            self._has_described = True
            self._counters.confirm()

    def _save(self) -> None:
        """Under the lock."""
        if self._counters.take_changes():
            self._is_saved = False
        if not self._is_saved:
            make_directory(self._path.parent)
            replace_file(self._path, [self._counters.encode()])
            self._is_saved = True

    def totals(self) -> dict[str, int]:
        """Spans, pairs and series by what became of them, for self-monitoring."""
        return self._counters.totals()
