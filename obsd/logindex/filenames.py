"""Every name that the log engine puts on disk, below a project's `logs` directory."""

from __future__ import annotations

from typing import Final

from obsd.segments.filenames import (
    DELETIONS,
    MANIFEST,
    QUARANTINE_DIRECTORY,
    SEGMENTS_DIRECTORY,
    WAL_DIRECTORY,
    SegmentName,
)

__all__ = [
    "AGGREGATES_DIRECTORY",
    "AGGREGATE_SUFFIX",
    "DELETIONS",
    "MANIFEST",
    "PATTERNS",
    "QUARANTINE_DIRECTORY",
    "SEEN",
    "SEGMENTS_DIRECTORY",
    "SEGMENT_SUFFIX",
    "WAL_DIRECTORY",
    "SegmentName",
]

PATTERNS: Final = "patterns"
"""What the lines' templates are (docs/format/log-patterns.md)."""

SEEN: Final = "SEEN"
"""The records that came last (docs/format/log-seen.md)."""

SEGMENT_SUFFIX: Final = ".logs"

AGGREGATES_DIRECTORY: Final = "aggregates"
AGGREGATE_SUFFIX: Final = ".counts"
