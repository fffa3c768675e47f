"""The names on disk that engines of segments share; each has more in its own `filenames`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

WAL_DIRECTORY: Final = "wal"
SEGMENTS_DIRECTORY: Final = "segments"
QUARANTINE_DIRECTORY: Final = "quarantine"

MANIFEST: Final = "MANIFEST"
"""Which segments are live (docs/format/segment-manifest.md)."""

DELETIONS: Final = "DELETIONS"
"""What has been deleted by query (docs/format/deletions.md)."""

_STEM = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})-([0-9]+)-(-?[0-9]+)")


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """What a segment file's name tells.

    Attributes:
        seq_min, seq_max: the memtables whose rows are in it.
        level: 0 as flushed; a merge's output is one above its highest input.
        day: its rows are of this day, counted from 1970.
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
    def rewritten(self) -> SegmentName:
        """The name of what takes its place, of the same rows."""
        return SegmentName(self.seq_min, self.seq_max, self.level + 1, self.day)

    @staticmethod
    def parse(stem: str) -> SegmentName | None:
        """Read a name without its kind; None when no segment is called so."""
        found = _STEM.fullmatch(stem)
        if found is None:
            return None
        seq_min, seq_max, level, day = found.groups()
        return SegmentName(int(seq_min, 16), int(seq_max, 16), int(level), int(day))
