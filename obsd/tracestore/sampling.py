"""Which traces outlive the retention of all: those that tell most, and a share of the rest.

Of a day's segments that are wholly past `SpanOptions.retention_ms` those traces stay that have an
error, that are among the slowest of their root operation, that somebody has pinned (an exemplar
names them), and a share that follows from their ids alone. The day's segments become one by that.
`SAMPLED` lists the segments that are done (docs/format/span-sampled.md); where it is lost they are
sampled again, which keeps the same traces.

Concurrency: under the merger's lock.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from obsd import _native
from obsd.durable.files import replace_file
from obsd.segments.compaction import MERGE_LEVEL, is_worthwhile
from obsd.segments.filenames import SegmentName
from obsd.tracestore.catalog import SpanCatalog, SpanFile
from obsd.tracestore.options import SpanOptions

log = logging.getLogger(__name__)

Pinned = Callable[[int, int], Iterable[bytes]]
"""Ids of traces between two times that somebody refers to. Blocks."""

_VERSION: Final = 1


class Sampling:
    """The sampling of one engine."""

    def __init__(self, path: Path, catalog: SpanCatalog, options: SpanOptions) -> None:
        """Reads the file that `sample` writes, if it is there."""
        self._path = path
        self._catalog = catalog
        self._options = options
        self._done = self._load()
        self.pinned: list[Pinned] = []
        self.sampled_out = 0
        """Spans that were not kept, since the start."""

    def due(self, before_ns: int) -> list[SpanFile]:
        """The segments of one day that are to be sampled, by sequence; none when none are.

        What comes late to a day that has been sampled waits until it is worth a rewrite.
        """
        days: defaultdict[int, list[SpanFile]] = defaultdict(list)
        for file in self._catalog.live.segments:
            days[file.name.day].append(file)
        for files in days.values():
            is_over = all(file.segment.stats.max_ns < before_ns for file in files)
            late = sum(file.path.name not in self._done for file in files)
            is_first = late == len(files)
            if is_over and late and (is_first or is_worthwhile(files, self._options.merge_run)):
                return files
        return []

    def sample(self, files: Sequence[SpanFile], before_ns: int, oldest_ns: int) -> None:
        """Make one segment of these, of what is kept of them.

        Raises:
            OSError: the disk refuses; the segments are as before.
            _native.CorruptError: one of them is damaged.
        """
        options = self._options
        stats = [file.segment.stats for file in files]
        first_ns, last_ns = min(s.min_ns for s in stats), max(s.max_ns for s in stats)
        pinned = {trace_id for read in self.pinned for trace_id in read(first_ns, last_ns)}
        keep = (
            before_ns,
            options.sampled_slowest,
            options.sampled_share,
            _native.SpanTraceSet(sorted(pinned)),
        )
        name = SegmentName(
            seq_min=min(file.name.seq_min for file in files),
            seq_max=max(file.name.seq_max for file in files),
            level=max(file.name.level for file in files) + 1,
            day=files[0].name.day,
        )
        path = self._catalog.path_of(name)
        kept, dropped = _native.merge_span_segments(
            [file.segment for file in files],
            path,
            options.granule_spans,
            oldest_ns,
            keep,
            MERGE_LEVEL,
        )
        self._catalog.replace(files, [path] if kept else [])
        self.sampled_out += dropped
        live = {file.path.name for file in self._catalog.live.segments}
        self._done = (self._done | {path.name}) & live
        stored = {"version": _VERSION, "segments": sorted(self._done)}
        replace_file(self._path, [json.dumps(stored, indent=1).encode()])
        log.info("traces sampled", extra={"day": name.day, "kept": kept, "dropped": dropped})

    def _load(self) -> frozenset[str]:
        try:
            stored = json.loads(self._path.read_bytes())
            if stored["version"] != _VERSION:
                raise ValueError(f"unknown version {stored['version']}")
            return frozenset(str(name) for name in stored["segments"])
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            extra = {"path": str(self._path), "error": str(error)}
            log.warning("list of sampled segments is damaged; sampling again", extra=extra)
            return frozenset()
