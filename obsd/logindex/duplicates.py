"""Recognises records that have come before, so that a request that is sent again does no harm.

A record is the same as another when resource, scope, time, body, attributes and all its other
fields but the observed time are, as they were encoded. One without a time of its own is never the
same. What is known is bounded: see the constants below; and docs/decisions, 0021.

What is stored of it are records that segments have, and no others: a power failure may take those
that are in the WAL alone, and what is sent again then must not be taken for known.

Concurrency: `admit`, `forget`, `notice_damage` and `snapshot` under the engine's write lock; the
rest from any thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from obsd import _native
from obsd.durable.files import replace_file
from obsd.model.errors import StorageUnavailableError
from obsd.model.head_memory import HeadMemory

log = logging.getLogger(__name__)

OnDurable = Callable[[Exception | None], None]

RECORDS: Final = 262_144
"""At least so many of the last records are known, and twice as many at most; in up to 8 MiB."""

REQUESTS: Final = 32_768
"""The same of whole requests: one that is sent again as it was is known for longer than its records
alone; in up to 1 MiB."""

MAX_ALL_BYTES: Final = 48 << 20
"""All engines of the process together: those that take most let go early."""

ROTATE_MS: Final = 300_000
"""A generation that is not full is let go of once the next one is as old as this."""

KEPT: Final = 65_536
"""So many of the last records are known after a restart, beside those that the WAL has."""


_ALL: Final = HeadMemory()


class Duplicates:
    """The records of one engine that came of late."""

    def __init__(self, path: Path, now_ms: int) -> None:
        """Reads the file that `store` writes, if it is there."""
        self._path = path
        self._seen = _native.LogSeen(RECORDS, REQUESTS, KEPT)
        self._rotated_ms = now_ms
        self._lost = 0  # Segments, and logs, as far as one was told.
        self._file_lock = threading.Lock()  # Of what is on disk, and whether it counts.
        self._failures = 0  # Of syncs. Written by the syncing thread alone.
        self._failures_seen = 0  # Those after which everything was forgotten.
        _ALL.add(id(self), lambda: self.size_bytes)
        try:
            if not self._seen.restore(path.read_bytes()):
                log.warning("list of recent log records is damaged", extra={"path": str(path)})
        except FileNotFoundError:
            pass
        except OSError as error:
            extra = {"path": str(path), "error": str(error)}
            log.warning("list of recent log records cannot be read", extra=extra)

    def admit(self, batch: _native.LogBatch) -> Sequence[int]:
        """Take in a batch; returns the places of the records that are known."""
        if self._failures_seen != self._failures:
            # What was refused for want of a sync is sent again, and must not be taken for known.
            self._failures_seen = self._failures
            self._seen.clear()
        return self._seen.admit(batch)

    def notice_damage(self, lost: int) -> None:
        """Forget everything, for the next start too, if more was lost than when it was last told.

        What is sent again to make good for it must not be taken for known.
        """
        if lost == self._lost:
            return
        self._seen.clear()
        with self._file_lock:
            self._lost = lost
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                # The next flush replaces it; a search must not fail for it.
                extra = {"path": str(self._path), "error": str(error)}
                log.warning("cannot forget recent log records on disk", extra=extra)

    def forget(self) -> None:
        """Forget everything: what was taken in last has not been stored."""
        self._seen.clear()

    def watch(self, on_durable: OnDurable, *, relies: bool) -> OnDurable:
        """Learn of failed syncs.

        Whoever `relies` on records that are known is told of a sync that failed meanwhile: theirs
        may have been among it.
        """
        failures = self._failures

        def on_synced(error: Exception | None) -> None:
            if error is not None:
                self._failures += 1
            elif relies and self._failures != failures:
                error = StorageUnavailableError("records that came before are not on disk")
            on_durable(error)

        return on_synced

    def rotate_due(self, now_ms: int) -> None:
        """Let go of what is old, or takes too much."""
        total_bytes, size_bytes = _ALL.total_bytes(), self.size_bytes
        is_crowded = total_bytes > MAX_ALL_BYTES and size_bytes >= _ALL.mean_bytes()
        if is_crowded or now_ms - self._rotated_ms >= ROTATE_MS:
            self._rotated_ms = now_ms
            self._seen.rotate()

    @property
    def size_bytes(self) -> int:
        """In memory."""
        return self._seen.size_bytes

    def snapshot(self) -> Callable[[], None]:
        """What came last; calling it writes that for the next start.

        To be called once segments have all of it. It raises an OSError where the disk refuses; the
        file is as it was then.
        """
        encoded, lost = self._seen.encode(), self._lost

        def store() -> None:
            with self._file_lock:
                if self._lost == lost:  # Else some of it may be what was lost.
                    replace_file(self._path, [encoded])

        return store

    def close(self) -> None:
        """Count no more among those of the process."""
        _ALL.remove(id(self))
