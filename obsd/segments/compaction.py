"""Merging segments, so that a search opens few of them.

Segments of one day are merged, those of like size, so that a row is copied few times. Once a day is
over, its segments become one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic

from obsd import _native
from obsd.model.clock import Clock
from obsd.model.errors import StorageUnavailableError
from obsd.segments.catalog import Catalog, SegmentFile
from obsd.segments.filenames import SegmentName
from obsd.segments.kind import M, S

log = logging.getLogger(__name__)

DAY_MS: Final = 86_400_000

_MAX_RUN: Final = 64
_SLACK_MS: Final = 600_000
"""How long after its end a day waits for what is late."""

MERGE_LEVEL: Final = 3
"""zstd's level for what a merge puts together."""


def choose_merge(
    files: Sequence[SegmentFile[S]], now_ms: int, merge_run: int, *, eager: bool = False
) -> tuple[SegmentFile[S], ...]:
    """Segments to merge, by sequence; none when nothing is due. `eager` makes one of every day."""
    days: defaultdict[int, list[SegmentFile[S]]] = defaultdict(list)
    for file in files:
        days[file.name.day].append(file)
    for day in sorted(days):
        segments = sorted(days[day], key=lambda file: file.name)
        over = (day + 1) * DAY_MS + _SLACK_MS <= now_ms
        if len(segments) > 1 and (eager or (over and is_worthwhile(segments, merge_run))):
            return tuple(segments[:_MAX_RUN])
        if run := _like_sized(segments, merge_run):
            return run
    return ()


def is_worthwhile(segments: Sequence[SegmentFile[S]], merge_run: int) -> bool:
    """Whether late segments are many or large: a trickle must not rewrite a day again and again."""
    sizes = sorted(file.size_bytes for file in segments)
    return len(segments) >= merge_run or 4 * sum(sizes[:-1]) > sizes[-1]


def _like_sized(segments: Sequence[SegmentFile[S]], merge_run: int) -> tuple[SegmentFile[S], ...]:
    """The longest run, newest first, in which no segment is more than half of all."""
    for length in range(min(len(segments), _MAX_RUN), merge_run - 1, -1):
        for first in range(len(segments) - length, -1, -1):
            run = segments[first : first + length]
            sizes = [file.size_bytes for file in run]
            if 2 * max(sizes) <= sum(sizes):
                return tuple(run)
    return ()


class Merger(Generic[S, M]):
    """The merges of one engine. Thread-safe."""

    def __init__(
        self,
        catalog: Catalog[S, M],
        clock: Clock,
        merge_run: int,
        merge_segments: Callable[[Sequence[S], Path], bool],
    ) -> None:
        """`merge_segments` writes the rows of segments to a file; false when there are none."""
        self._catalog = catalog
        self._clock = clock
        self._merge_run = merge_run
        self._merge_segments = merge_segments
        self.lock = threading.Lock()
        """Held by whoever replaces segments by others. Taken after a flush's."""
        # Under the lock.
        self.merges = 0
        self.merge_s = 0.0

    def compact(self, *, eager: bool) -> bool:
        """Do one merge that is due; false when none is.

        A damaged input is set aside, and the merge is left to the next call.

        Raises:
            StorageUnavailableError: the disk refuses; the segments are as before.
        """
        with self.lock:
            started_s = time.perf_counter()
            segments, now_ms = self._catalog.live.segments, self._clock.now_ms()
            inputs = choose_merge(segments, now_ms, self._merge_run, eager=eager)
            if not inputs:
                return False
            try:
                self._merge(inputs)
            except OSError as error:
                raise StorageUnavailableError(
                    f"cannot merge {self._catalog.kind.name} segments: {error}"
                ) from error
            self.merges += 1
            self.merge_s += time.perf_counter() - started_s
            return True

    def compact_unless(self, erase: Callable[[], bool]) -> bool:
        """Erase, or else do one merge that is due; false when there is nothing to do.

        What cannot be erased now keeps nothing from being merged.

        Raises:
            StorageUnavailableError: the disk refuses; the segments are as before.
        """
        try:
            if erase():
                return True
        except StorageUnavailableError:
            if self.compact(eager=False):
                return True
            raise
        return self.compact(eager=False)

    def _merge(self, inputs: Sequence[SegmentFile[S]]) -> None:
        path = self._catalog.path_of(
            SegmentName(
                seq_min=min(file.name.seq_min for file in inputs),
                seq_max=max(file.name.seq_max for file in inputs),
                level=max(file.name.level for file in inputs) + 1,
                day=inputs[0].name.day,
            )
        )
        try:
            written = self._merge_segments([file.segment for file in inputs], path)
        except _native.CorruptError as error:
            self._catalog.set_aside(error, inputs)
            return
        try:
            self._catalog.replace(inputs, [path] if written else [])
        except ValueError:
            # A search has set an input aside meanwhile; what that had is not to come back by this.
            log.info("merge given up: an input is gone", extra={"output": path.name})
