"""Counts by the minute that outlive the records: what is kept of a segment when it is too old.

Each segment that retention deletes leaves a file of how many of its records each minute had, by
service and level, and by pattern. Of a pattern only its id is kept, so that no word of a record
stays behind. It is written before the segment goes, under the segment's name, so a crash
between the two leaves both, and the segment is the one that counts. Format:
docs/format/log-aggregates.md.

Concurrency: any thread; files are written by one at a time.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np

from obsd import _native
from obsd.durable.files import make_directory, replace_file, sync_directory
from obsd.durable.records import frame, iter_records
from obsd.logindex.catalog import LogFile
from obsd.logindex.filenames import AGGREGATE_SUFFIX, SEGMENT_SUFFIX, SegmentName
from obsd.logindex.patterns import PatternIndex
from obsd.model.errors import CorruptDataError
from obsd.model.samples import IntArray

log = logging.getLogger(__name__)

MAGIC: Final = b"OBSDLAG\x01"
MINUTE_NS: Final = 60_000_000_000
DAY_NS: Final = 86_400_000_000_000

MAX_MINUTES: Final = (1 << 63) // MINUTE_NS
"""As far as times in nanoseconds reach."""

MAX_COUNT: Final = 1 << 48
"""So that sums of them are never too large."""

MAX_BYTES: Final = 256 << 20
"""Of a file that is read, uncompressed."""

MAX_KEPT_BYTES: Final = 64 << 20
"""Of the counts by service and level of a segment, before they are compressed."""

Minutes = dict[int, int]
"""Records by minute."""

Keep = Callable[[str, str], bool]


Minute = Annotated[int, msgspec.Meta(ge=-MAX_MINUTES, le=MAX_MINUTES)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class GroupCounts(msgspec.Struct, array_like=True):
    """The records of one service and level.

    Attributes:
        minutes: since 1970, ascending.
        counts: records in each, above 0.
    """

    service: str
    level: str
    minutes: list[Minute]
    counts: list[Count]


class PatternCounts(msgspec.Struct, array_like=True):
    """The records of one pattern; minutes and counts as above."""

    id: str
    minutes: list[Minute]
    counts: list[Count]


class SegmentCounts(msgspec.Struct, array_like=True):
    """What is kept of a segment."""

    groups: list[GroupCounts] = msgspec.field(default_factory=list)
    patterns: list[PatternCounts] = msgspec.field(default_factory=list)


MAX_PATTERNS: Final = 1_000
"""Patterns of a segment that are counted, the most frequent ones."""


def pattern_counts(
    file: LogFile, predicate: tuple[object, ...], patterns: PatternIndex
) -> list[PatternCounts]:
    """How many records of a segment each minute has, by pattern; none where there are too many.

    Raises:
        _native.CorruptError: the segment is damaged.
    """
    start_ns, span = _span(file)
    try:
        found = patterns.search([file.segment], predicate, span, MINUTE_NS, 0, lambda: None)
    except OverflowError:
        log.warning("too many patterns to keep their counts", extra={"segment": str(file.path)})
        return []
    first = start_ns // MINUTE_NS
    kept = []
    for pattern in found[:MAX_PATTERNS]:
        at = np.flatnonzero(pattern.counts)
        kept.append(PatternCounts(pattern.id, (at + first).tolist(), pattern.counts[at].tolist()))
    return kept


def _span(file: LogFile) -> tuple[int, tuple[int, int]]:
    stats = file.segment.stats
    start_ns = stats.min_ns // MINUTE_NS * MINUTE_NS
    return start_ns, (start_ns, min(stats.max_ns + 1, (1 << 63) - 1))


def minute_counts(file: LogFile, predicate: tuple[object, ...]) -> list[GroupCounts]:
    """How many records of a segment each minute has, by service and level.

    Raises:
        _native.CorruptError: the segment is damaged.
    """
    totals: dict[tuple[str, str], Minutes] = {}
    _count_minutes(file, predicate, _span(file)[1], totals)
    return list(_within_bounds(totals))


def _count_minutes(
    file: LogFile,
    predicate: tuple[object, ...],
    span: tuple[int, int],
    totals: dict[tuple[str, str], Minutes],
) -> None:
    """Add what a span has. One with too many groups for its minutes is counted in halves."""
    start_ns, end_ns = span
    by = ["service", "level"]
    try:
        found = _native.log_histogram(
            [file.segment], predicate, span, MINUTE_NS, by, "records", lambda: None
        )
    except OverflowError:
        if end_ns - start_ns <= MINUTE_NS:
            log.warning("too many services to keep counts", extra={"segment": str(file.path)})
            return
        middle = start_ns + (end_ns - start_ns) // MINUTE_NS // 2 * MINUTE_NS
        middle = max(middle, start_ns + MINUTE_NS)
        _count_minutes(file, predicate, (start_ns, middle), totals)
        _count_minutes(file, predicate, (middle, end_ns), totals)
        return
    first = start_ns // MINUTE_NS
    for (service, level), counts in found:
        of_group = totals.setdefault((service, level), {})
        for at in np.flatnonzero(counts).tolist():
            of_group[at + first] = of_group.get(at + first, 0) + int(counts[at])


def _within_bounds(totals: dict[tuple[str, str], Minutes]) -> Iterator[GroupCounts]:
    """Groups, by name; beyond what a file may hold, those of few records go without a service."""
    by_size = sorted(totals.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    kept: dict[tuple[str, str], Minutes] = {}
    size_bytes = 0
    for (service, level), minutes in by_size:
        size_bytes += 4 * len(service) + 20 * len(minutes)
        if size_bytes <= MAX_KEPT_BYTES:
            kept[service, level] = minutes
            continue
        others = kept.setdefault(("", level), {})
        for minute, count in minutes.items():
            others[minute] = others.get(minute, 0) + count
    for (service, level), minutes in sorted(kept.items()):
        if minutes:
            ordered = sorted(minutes)
            yield GroupCounts(service, level, ordered, [minutes[minute] for minute in ordered])


class Aggregates:
    """The files of one project."""

    def __init__(self, directory: Path) -> None:
        make_directory(directory)
        self._directory = directory

    def write(self, segment: SegmentName, kept: SegmentCounts) -> None:
        """Keep the counts of a segment durably.

        Raises:
            OSError: the disk refuses.
        """
        payload = zlib.compress(msgspec.msgpack.encode(kept), 6)
        replace_file(self._path(segment), [MAGIC, *frame(payload)])

    def _path(self, segment: SegmentName) -> Path:
        return self._directory / (segment.stem + AGGREGATE_SUFFIX)

    def names(self) -> list[SegmentName]:
        """The segments whose counts are here."""
        paths = self._directory.glob(f"*{AGGREGATE_SUFFIX}")
        names = (SegmentName.parse(path.name.removesuffix(AGGREGATE_SUFFIX)) for path in paths)
        return sorted(name for name in names if name is not None)

    def read(self, segment: SegmentName) -> SegmentCounts:
        """The counts of a segment.

        Raises:
            CorruptDataError: the file is damaged.
        """
        path = self._path(segment)
        try:
            for record in iter_records(path, MAGIC):
                return _decode(record.payload)
        except (ValueError, zlib.error) as error:  # msgspec's errors are ValueErrors.
            raise CorruptDataError(str(path), str(error)) from error
        except FileNotFoundError:
            return SegmentCounts()  # Retention was faster.
        raise CorruptDataError(str(path), "the file ends early")

    def remove(self, segments: Iterable[SegmentName]) -> None:
        """Forget the counts of segments."""
        for segment in segments:
            self._path(segment).unlink(missing_ok=True)
        sync_directory(self._directory)

    def apply_retention(self, oldest_ns: int) -> int:
        """Remove files of days that are wholly older; returns how many."""
        old = [name for name in self.names() if (name.day + 1) * DAY_NS <= oldest_ns]
        if old:
            self.remove(old)
        return len(old)

    def add_counts(
        self,
        totals: dict[tuple[str, ...], IntArray],
        live: set[str],
        span: tuple[int, int],
        step_ns: int,
        by: Sequence[str],
        keep: Keep,
    ) -> None:
        """Add what is kept of segments that are gone.

        A minute counts where it begins, or at the start of the span if it begins before. Files that
        are damaged are reported and left out.

        `totals` are counts in each step by the values of `by`, which is of "service" and "level".
        The records of segment files in `live` are counted elsewhere. `keep` says whether those of a
        service and level count.
        """
        for kept in self._each(live, span):
            for group in kept.groups:
                if keep(group.service, group.level):
                    values = {"service": group.service, "level": group.level}
                    key = tuple(values[field] for field in by)
                    _add(totals, key, group.minutes, group.counts, span, step_ns)

    def add_patterns(
        self,
        totals: dict[tuple[str, ...], IntArray],
        live: set[str],
        span: tuple[int, int],
        step_ns: int,
    ) -> None:
        """The same by pattern, of whatever service and level."""
        for kept in self._each(live, span):
            for pattern in kept.patterns:
                _add(totals, (pattern.id,), pattern.minutes, pattern.counts, span, step_ns)

    def _each(self, live: set[str], span: tuple[int, int]) -> Iterator[SegmentCounts]:
        """What is kept of segments that are gone; damaged files are reported and left out."""
        for name in self.names():
            if name.stem + SEGMENT_SUFFIX in live or name.day * DAY_NS >= span[1]:
                continue
            try:
                yield self.read(name)
            except CorruptDataError as error:
                log.error("counts of old logs are left out", extra={"error": str(error)})


def _decode(payload: bytes) -> SegmentCounts:
    """What a file's record holds.

    Raises:
        ValueError, zlib.error: it is none of ours.
    """
    inflater = zlib.decompressobj()
    packed = inflater.decompress(payload, MAX_BYTES)
    if not inflater.eof:
        raise ValueError(f"it ends early, or is of more than {MAX_BYTES:,} bytes")
    kept = msgspec.msgpack.decode(packed, type=SegmentCounts)
    counted: list[GroupCounts | PatternCounts] = [*kept.groups, *kept.patterns]
    for each in counted:
        if len(each.minutes) != len(each.counts):
            raise ValueError(f"{len(each.minutes)} minutes have {len(each.counts)} counts")
    return kept


def _add(
    totals: dict[tuple[str, ...], IntArray],
    key: tuple[str, ...],
    minutes: Sequence[int],
    counts: Sequence[int],
    span: tuple[int, int],
    step_ns: int,
) -> None:
    start_ns, end_ns = span
    minutes_ns = np.array(minutes, np.int64) * MINUTE_NS
    inside = (minutes_ns > start_ns - MINUTE_NS) & (minutes_ns < end_ns)
    if inside.any():
        steps = -((start_ns - end_ns) // step_ns)
        total = totals.setdefault(key, np.zeros(steps, np.int64))
        at = np.maximum(minutes_ns[inside] - start_ns, 0) // step_ns
        np.add.at(total, at, np.array(counts, np.int64)[inside])
