"""Takes what is deleted out of files: segments are written anew without it.

What is in the quarantine is damaged, and nobody can prove what a damaged file does not hold: a
segment is kept only when each granule that could have such a row is whole and has none, and copies
of the WAL are removed.

Concurrency: every method may be called from any thread.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from obsd import _native
from obsd.durable.files import sync_directory
from obsd.model.clock import Clock
from obsd.model.errors import StorageUnavailableError
from obsd.segments.catalog import Catalog, SegmentFile
from obsd.segments.compaction import Merger
from obsd.segments.deletions import Deletions, Pending
from obsd.segments.kind import M, S
from obsd.segments.writer import Writer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Erasing(Generic[S]):
    """How an engine's files lose what is deleted.

    Attributes:
        rewrite: writes a segment without it to a file, if it has any; says whether it had, and
            whether the file has anything.
        is_clean: whether a segment certainly has none of it.
        forget: called when no segment has any more.
    """

    rewrite: Callable[[S, tuple[Pending, ...], Path], tuple[bool, bool]]
    is_clean: Callable[[S, tuple[Pending, ...]], bool]
    forget: Callable[[], None]


class Eraser(Generic[S, M]):
    """The erasures of one engine."""

    def __init__(
        self,
        catalog: Catalog[S, M],
        writer: Writer[S, M],
        merger: Merger[S, M],
        deletions: Deletions,
        quarantine: Path,
        clock: Clock,
        erasing: Erasing[S],
    ) -> None:
        self._catalog = catalog
        self._writer = writer
        self._merger = merger
        self._deletions = deletions
        self._quarantine = quarantine
        self._clock = clock
        self._erasing = erasing
        self._lock = threading.Lock()  # Taken before all others.

    def erase(self, flush: Callable[[], None]) -> bool:
        """Take what is deleted out of every file, and prove it; false when nothing is to be done.

        Raises:
            StorageUnavailableError: the disk refuses; what is deleted stays hidden, and the next
                call goes on.
        """
        with self._lock:
            pending = self._deletions.pending
            if not pending or self._writer.is_closed:
                return False
            try:
                # Memtables and the WAL hold nothing that came before, then.
                flush()
                self._check_readable()
                files = self._erase_from_segments(pending)
                if files is None:
                    return False
                self._check_readable()
                files += self._erase_from_quarantine(pending)
                self._erasing.forget()
                with self._writer.flush_lock, self._merger.lock:
                    self._catalog.sweep()
                self._deletions.end(pending, self._clock.now_ms(), files)
            except OSError as error:
                self._deletions.note_failure(str(error))
                raise StorageUnavailableError(
                    f"cannot erase from {self._catalog.kind.name} segments: {error}"
                ) from error
            except StorageUnavailableError as error:
                self._deletions.note_failure(str(error))
                raise
            return True

    def wait(self) -> None:
        """Until an erasure that runs has ended; with its file, once the writer refuses writes."""
        with self._lock:
            pass

    def _check_readable(self) -> None:
        """See that no file is left out, whose rows would be back once it is read again.

        Raises:
            OSError: one is.
        """
        if names := sorted(self._catalog.unreadable):
            path = self._catalog.directory / names[0]
            raise OSError(errno.EIO, "the segment cannot be read", str(path))

    def _erase_from_segments(self, pending: tuple[Pending, ...]) -> int | None:
        """Until every live segment was seen to be without; returns how many were not.

        None when the engine is closed before that.
        """
        clean: set[SegmentFile[S]] = set()
        files = 0
        while not self._writer.is_closed:
            left = [file for file in self._catalog.live.segments if file not in clean]
            if not left:
                return files
            with self._merger.lock:
                if left[0] in self._catalog.live.segments:
                    if self._erase_from_segment(left[0], pending):
                        files += 1
                    else:
                        clean.add(left[0])
        return None

    def _erase_from_segment(self, file: SegmentFile[S], pending: tuple[Pending, ...]) -> bool:
        """Put a segment without these rows in a segment's place; false where it has none of them.

        A damaged segment is set aside. Under the merger's lock.
        """
        path = self._catalog.path_of(file.name.rewritten)
        try:
            had_some, has_more = self._erasing.rewrite(file.segment, pending, path)
            if not had_some:
                return False
            self._catalog.replace([file], [path] if has_more else [])
        except _native.CorruptError as error:
            self._catalog.set_aside(error, [file])
        except ValueError:
            # A search has set it aside meanwhile.
            log.info("erasure given up: the segment is gone", extra={"path": str(file.path)})
        return True

    def _erase_from_quarantine(self, pending: tuple[Pending, ...]) -> int:
        """Remove what may hold these rows; returns how many files that were."""
        directory = self._quarantine
        if not directory.is_dir():
            return 0
        tainted = [
            path
            for path in directory.iterdir()
            if path.is_file() and not self._is_clean(path, pending)
        ]
        for path in tainted:
            path.unlink(missing_ok=True)
            log.warning("removed from the quarantine by a deletion", extra={"path": str(path)})
        if tainted:
            sync_directory(directory)
        return len(tainted)

    def _is_clean(self, path: Path, pending: tuple[Pending, ...]) -> bool:
        kind = self._catalog.kind
        if path.suffix != kind.suffix:
            return False
        try:
            return self._erasing.is_clean(kind.open_segment(path), pending)
        except _native.CorruptError:
            return False
