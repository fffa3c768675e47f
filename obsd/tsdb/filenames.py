"""Every name that the metrics engine puts on disk, below a project's `metrics` directory."""

from __future__ import annotations

from typing import Final

SERIES: Final = "series"
"""The series registry's log (docs/format/series.md)."""

METADATA: Final = "metadata.json"
"""Types, help texts and units of metric families."""

WAL_DIRECTORY: Final = "wal"
PARTS_DIRECTORY: Final = "parts"
QUARANTINE_DIRECTORY: Final = "quarantine"

MANIFEST: Final = "MANIFEST"
"""Which parts are live (docs/format/part.md)."""

PART_SUFFIX: Final = ".part"


def part_prefix(seq_min: int, seq_max: int, level: int) -> str:
    """What the names of a merge's outputs begin with; the partition's start and suffix follow."""
    return f"{seq_min:016x}-{seq_max:016x}-{level}-"


def flushed_part(sequence: int) -> str:
    """The file name of a part that a flush writes, which holds any times."""
    return f"{part_prefix(sequence, sequence, 0)}flushed{PART_SUFFIX}"
