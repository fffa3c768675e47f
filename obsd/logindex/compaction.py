"""Merging segments, so that a search opens few of them.

Segments of one day are merged, those of like size, so that a record is copied few times; a full
granule is copied as it is, without being read. Once a day is over, its segments become one.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from obsd import _native
from obsd.logindex.catalog import Catalog, SegmentFile
from obsd.logindex.filenames import SegmentName

log = logging.getLogger(__name__)

DAY_MS: Final = 86_400_000

_MAX_RUN: Final = 64
_SLACK_MS: Final = 600_000
"""How long after its end a day waits for late records."""

_ALWAYS_NS: Final = -(1 << 63)

_LEVEL: Final = 3
"""zstd's level for granules that a merge puts together."""


def choose_merge(
    files: Sequence[SegmentFile], now_ms: int, merge_run: int, *, eager: bool = False
) -> tuple[SegmentFile, ...]:
    """Segments to merge, by sequence; none when nothing is due. `eager` makes one of every day."""
    days: defaultdict[int, list[SegmentFile]] = defaultdict(list)
    for file in files:
        days[file.name.day].append(file)
    for day in sorted(days):
        segments = sorted(days[day], key=lambda file: file.name)
        over = (day + 1) * DAY_MS + _SLACK_MS <= now_ms
        if len(segments) > 1 and (eager or (over and _worthwhile(segments, merge_run))):
            return tuple(segments[:_MAX_RUN])
        if run := _like_sized(segments, merge_run):
            return run
    return ()


def _worthwhile(segments: Sequence[SegmentFile], merge_run: int) -> bool:
    """Whether late segments are many or large: a trickle must not rewrite a day again and again."""
    sizes = sorted(file.stats.size_bytes for file in segments)
    return len(segments) >= merge_run or 4 * sum(sizes[:-1]) > sizes[-1]


def _like_sized(segments: Sequence[SegmentFile], merge_run: int) -> tuple[SegmentFile, ...]:
    """The longest run, newest first, in which no segment is more than half of all."""
    for length in range(min(len(segments), _MAX_RUN), merge_run - 1, -1):
        for first in range(len(segments) - length, -1, -1):
            run = segments[first : first + length]
            sizes = [file.stats.size_bytes for file in run]
            if 2 * max(sizes) <= sum(sizes):
                return tuple(run)
    return ()


def merge(catalog: Catalog, inputs: Sequence[SegmentFile], granule_rows: int) -> None:
    """Merge segments of a day and publish the output in their place.

    A damaged input is set aside, and the merge is left to the next call. Not to be called from two
    threads at once.

    Raises:
        OSError: the disk refuses; the segments are as before.
    """
    name = SegmentName(
        seq_min=min(file.name.seq_min for file in inputs),
        seq_max=max(file.name.seq_max for file in inputs),
        level=max(file.name.level for file in inputs) + 1,
        day=inputs[0].name.day,
    )
    path = catalog.directory / name.file_name
    segments = [file.segment for file in inputs]
    try:
        # What is too old goes with its whole segment, once its counts are kept.
        written = _native.merge_log_segments(segments, path, granule_rows, _ALWAYS_NS, _LEVEL)
    except _native.CorruptError as error:
        damaged, detail = error.args
        if not catalog.quarantine(Path(damaged), detail):
            raise
        return
    try:
        catalog.replace(inputs, [path] if written else [])
    except ValueError:
        # A search has set an input aside meanwhile; what it had to say is not to come back by this.
        log.info("merge given up: an input is gone", extra={"output": path.name})
