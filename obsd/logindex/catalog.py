"""What log segments are to the machinery of segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from obsd import _native
from obsd.logindex.filenames import SEGMENT_SUFFIX
from obsd.segments.catalog import Catalog, SegmentFile
from obsd.segments.compaction import MERGE_LEVEL
from obsd.segments.kind import Kind

LogCatalog: TypeAlias = Catalog[_native.LogSegment, _native.LogMemtable]
LogFile: TypeAlias = SegmentFile[_native.LogSegment]

_ALWAYS_NS: Final = -(1 << 63)


def log_kind(granule_rows: int) -> Kind[_native.LogSegment, _native.LogMemtable]:
    """Log segments with granules of so many rows."""
    return Kind(
        name="log",
        suffix=SEGMENT_SUFFIX,
        open_segment=_native.LogSegment.open,
        new_memtable=lambda: _native.LogMemtable(granule_rows),
        write_segments=lambda memtable, prefix: memtable.write_segments(prefix),
    )


def merge_log_segments(
    segments: Sequence[_native.LogSegment], path: Path, granule_rows: int
) -> bool:
    """Write the records of segments to a file; a full granule is copied without being read."""
    # What is too old goes with its whole segment, once its counts are kept.
    return _native.merge_log_segments(segments, path, granule_rows, _ALWAYS_NS, MERGE_LEVEL)
