"""Every name that the span engine puts on disk, below a project's `traces` directory."""

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
    "DELETIONS",
    "MANIFEST",
    "QUARANTINE_DIRECTORY",
    "SAMPLED",
    "SEGMENTS_DIRECTORY",
    "SEGMENT_SUFFIX",
    "WAL_DIRECTORY",
    "SegmentName",
]

SAMPLED: Final = "SAMPLED"
"""Which segments have the traces alone that outlive others (docs/format/span-sampled.md)."""

SEGMENT_SUFFIX: Final = ".spans"
"""Of docs/format/span-segment.md."""
