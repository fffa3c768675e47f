"""The write-ahead log of an engine: what came in, on disk before it is acknowledged.

Appends go to the newest segment; one thread syncs for everybody who waits (group commit). A
record is durable when its position is at most the synced position. Segments are deleted whole,
once a flush has put what they hold into a part.

Format: docs/format/wal.md.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from obsd.durable import records
from obsd.durable.files import make_directory, sync_directory
from obsd.model.errors import CorruptDataError, StorageUnavailableError

log = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 128 << 20

_SEGMENT_NAME = re.compile(r"[0-9]{10}\.wal")

OnDurable = Callable[[Exception | None], None]


class SyncTimes:
    """A histogram of how long syncs took."""

    BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        bucket = next((i for i, b in enumerate(self.BOUNDS_S) if seconds <= b), len(self.BOUNDS_S))
        self.counts[bucket] += 1
        self.sum_s += seconds


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    fd: int
    size_bytes: int
    # Bytes that a failed write or sync may have left in an unknown state: write no more here.
    broken: bool = False
    # What a failed sync left unsafe lies before everything that comes later: no more is safe.
    sync_failed: bool = False
    waiting: list[OnDurable] = field(default_factory=list)


class Wal:
    """The segments of one directory; one process at a time.

    `append` and `rotate` must be called under one lock of the caller's; the rest is thread-safe.
    """

    def __init__(self, directory: Path, magic: bytes) -> None:
        """Open a directory, making it if need be; `magic` begins each segment, 8 bytes."""
        self._directory = directory
        self._magic = magic
        make_directory(directory)
        self._older = sorted(self._existing())
        self._older_bytes = sum(self._path(n).stat().st_size for n in self._older)
        self._state = threading.Condition()
        # Guarded by _state: the segment being written, segments to close, and waiters.
        self._segment: _Segment | None = None
        self._retired: list[_Segment] = []
        self._next_number = self._older[-1] + 1 if self._older else 1
        self._closing = False
        self.sync_times = SyncTimes()
        # Places of replayed segments where acknowledged data was lost to damage.
        self.damage_count = 0
        self._syncer = threading.Thread(target=self._sync_forever, name="wal-sync", daemon=True)
        self._syncer.start()

    def _path(self, number: int) -> Path:
        return self._directory / segment_name(number)

    def _existing(self) -> list[int]:
        numbers = (segment_number(p.name) for p in self._directory.iterdir())
        return [n for n in numbers if n is not None]

    @property
    def size_bytes(self) -> int:
        with self._state:
            return self._older_bytes + (self._segment.size_bytes if self._segment else 0)

    @property
    def segment_count(self) -> int:
        with self._state:
            return len(self._older) + (self._segment is not None)

    def replay(self) -> Iterator[bytes]:
        """Every record of the segments that were there at the start, oldest first.

        A segment may end in a torn record, which nobody was told is safe. Damage is reported, and
        what it hit is left out: serving what is whole beats not starting.
        """
        for number in list(self._older):
            path = self._path(number)
            whole_bytes = records.MAGIC_BYTES
            for record in records.iter_records(path, self._magic, self._report_damage):
                whole_bytes = record.end_bytes
                yield record.payload
            torn_bytes = path.stat().st_size - whole_bytes
            if torn_bytes > 0:
                log.warning(
                    "WAL segment ends in a torn record",
                    extra={"segment": path.name, "torn_bytes": torn_bytes},
                )

    def keep_copies(self, directory: Path) -> None:
        """Link the segments that were there at the start into a directory, where they stay."""
        try:
            make_directory(directory)
            kept = {path.stat().st_ino for path in directory.iterdir()}
            for number in self._older:
                path = self._path(number)
                if path.stat().st_ino not in kept:  # Another start may have come before a flush.
                    # Numbers begin anew when all segments are gone; times do not.
                    (directory / f"{time.time_ns()}-{path.name}").hardlink_to(path)
        except OSError as error:
            log.error("cannot keep damaged WAL segments", extra={"error": str(error)})

    def _report_damage(self, error: CorruptDataError) -> None:
        self.damage_count += 1
        log.error("WAL is damaged", extra={"error": str(error)})

    def append(self, payload: Sequence[bytes], on_durable: OnDurable) -> None:
        """Write these bytes in a row as one record.

        `on_durable` is called from the syncing thread when the record is safe, or with the error
        that keeps it from being so.

        Raises:
            StorageUnavailableError: the disk refuses; nothing was kept.
        """
        pieces = records.frame(*payload)
        size_bytes = sum(map(len, pieces))
        segment = self._writable(size_bytes)
        try:
            written = os.writev(segment.fd, pieces)
            if written != size_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._take_back(segment)
            raise StorageUnavailableError(f"cannot write the WAL: {error.strerror}") from error
        with self._state:
            segment.size_bytes += size_bytes
            segment.waiting.append(on_durable)
            self._state.notify()

    def _writable(self, size_bytes: int) -> _Segment:
        with self._state:
            segment = self._segment
        if segment is None or segment.broken or segment.size_bytes + size_bytes > SEGMENT_BYTES:
            self.rotate()
            segment = self._open_segment()
        return segment

    def _open_segment(self) -> _Segment:
        number = self._next_number
        path = self._path(number)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        fd = -1
        try:
            fd = os.open(path, flags, 0o640)
            if os.write(fd, self._magic) != len(self._magic):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync_directory(self._directory)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
                path.unlink(missing_ok=True)
            raise StorageUnavailableError(f"cannot create a WAL segment: {error}") from error
        segment = _Segment(number, path, fd, len(self._magic))
        with self._state:
            self._next_number = number + 1
            self._segment = segment
        return segment

    def _take_back(self, segment: _Segment) -> None:
        """Cut off what a failed write left, or never write to this segment again."""
        try:
            os.ftruncate(segment.fd, segment.size_bytes)
        except OSError:
            segment.broken = True

    def rotate(self) -> int:
        """End the current segment; what is appended next goes to a new one.

        Returns:
            The number of the last segment that holds something appended before.
        """
        with self._state:
            segment, self._segment = self._segment, None
            if segment is not None:
                self._older.append(segment.number)
                self._older_bytes += segment.size_bytes
                self._retired.append(segment)
                self._state.notify()
            return self._next_number - 1

    def delete_through(self, number: int) -> None:
        """Delete the ended segments up to this one: parts hold what they held."""
        with self._state:
            gone = [n for n in self._older if n <= number]
        # Oldest first, and none before those it follows are gone: replayed without the later
        # ones, an older segment would undo what they overwrote.
        for n in gone:
            path = self._path(n)
            size_bytes = path.stat().st_size
            path.unlink()
            with self._state:
                self._older.remove(n)
                self._older_bytes -= size_bytes
        if gone:
            sync_directory(self._directory)

    def _sync_forever(self) -> None:
        while True:
            with self._state:
                while not (
                    self._retired or self._closing or (self._segment and self._segment.waiting)
                ):
                    self._state.wait()
                retired, self._retired = self._retired, []
                segments = [*retired, *([self._segment] if self._segment else [])]
                batches = [(s, s.waiting) for s in segments]
                for segment in segments:
                    segment.waiting = []
                stop = self._closing and not any(waiting for _, waiting in batches)
            for segment, waiting in batches:
                if waiting:
                    self._sync(segment, waiting)
            for segment in retired:
                _close(segment)
            if stop:
                return

    def _sync(self, segment: _Segment, waiting: list[OnDurable]) -> None:
        started_s = time.perf_counter()
        failure: Exception | None = None
        try:
            if segment.sync_failed:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            os.fdatasync(segment.fd)
        except OSError as error:
            # After a failed sync the kernel may have dropped the pages: nothing of this segment
            # that is not synced yet can be trusted, whatever a later sync says.
            segment.broken = segment.sync_failed = True
            failure = StorageUnavailableError(f"cannot sync the WAL: {error.strerror}")
            log.error("WAL sync failed", extra={"segment": segment.path.name})
        self.sync_times.observe(time.perf_counter() - started_s)
        for on_durable in waiting:
            on_durable(failure)

    def close(self) -> None:
        """Sync what is written and stop the syncing thread."""
        self.rotate()
        with self._state:
            self._closing = True
            self._state.notify()
        self._syncer.join()


def _close(segment: _Segment) -> None:
    try:
        os.close(segment.fd)
    except OSError as error:
        # What is synced is safe, and what is not was reported; other segments must be synced.
        extra = {"segment": segment.path.name, "error": str(error)}
        log.error("cannot close a WAL segment", extra=extra)


def segment_name(number: int) -> str:
    """The file name of a segment."""
    return f"{number:010d}.wal"


def segment_number(name: str) -> int | None:
    """The number of a segment's file name; None for any other file."""
    return int(name.split(".")[0]) if _SEGMENT_NAME.fullmatch(name) else None
