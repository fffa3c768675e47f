"""Every name that the log engine puts on disk, below a project's `logs` directory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

WAL_DIRECTORY: Final = "wal"
SEGMENTS_DIRECTORY: Final = "segments"
QUARANTINE_DIRECTORY: Final = "quarantine"

PATTERNS: Final = "patterns"
"""What the lines' templates are (docs/format/log-patterns.md)."""

MANIFEST: Final = "MANIFEST"
"""Which segments are live (docs/format/log-segment.md)."""

DELETIONS: Final = "DELETIONS"
"""What has been deleted by query (docs/format/log-deletions.md)."""

SEEN: Final = "SEEN"
"""The records that came last (docs/format/log-seen.md)."""

SEGMENT_SUFFIX: Final = ".logs"

AGGREGATES_DIRECTORY: Final = "aggregates"
AGGREGATE_SUFFIX: Final = ".counts"

_STEM = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})-([0-9]+)-(-?[0-9]+)")


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """What a segment file's name tells.

    Attributes:
        seq_min, seq_max: the memtables whose records are in it.
        level: 0 as flushed; a merge's output is one above its highest input.
        day: its records are of this day, counted from 1970.
    """

    seq_min: int
    seq_max: int
    level: int
    day: int

    @property
    def prefix(self) -> str:
        """The name without its day."""
        return f"{self.seq_min:016x}-{self.seq_max:016x}-{self.level}-"

    @property
    def stem(self) -> str:
        """The name without what tells the kind of file."""
        return f"{self.prefix}{self.day}"

    @property
    def file_name(self) -> str:
        """The whole name."""
        return self.stem + SEGMENT_SUFFIX

    @staticmethod
    def parse(file_name: str) -> SegmentName | None:
        """Read a file's name; None when no segment is called so."""
        if not file_name.endswith(SEGMENT_SUFFIX):
            return None
        return SegmentName.parse_stem(file_name.removesuffix(SEGMENT_SUFFIX))

    @staticmethod
    def parse_stem(stem: str) -> SegmentName | None:
        """Read a name without its kind; None when no segment is called so."""
        found = _STEM.fullmatch(stem)
        if found is None:
            return None
        seq_min, seq_max, level, day = found.groups()
        return SegmentName(int(seq_min, 16), int(seq_max, 16), int(level), int(day))
