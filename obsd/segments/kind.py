"""What a log segment and a span segment have in common, and what tells their engines apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar


class SegmentStats(Protocol):
    """What a segment holds."""

    @property
    def max_ns(self) -> int:
        """The time of its newest row."""

    @property
    def last_row(self) -> int: ...

    @property
    def size_bytes(self) -> int: ...


class Segment(Protocol):
    """An open, immutable file of rows."""

    @property
    def stats(self) -> SegmentStats: ...


class Memtable(Protocol):
    """The newest rows, in memory."""

    @property
    def size_bytes(self) -> int: ...


S = TypeVar("S", bound=Segment)
M = TypeVar("M", bound=Memtable)


@dataclass(frozen=True, slots=True)
class Kind(Generic[S, M]):
    """One engine's segments and memtables.

    Attributes:
        name: what they are of, in messages: "log".
        suffix: of the files' names.
        open_segment: opens a file; raises `_native.CorruptError` where it is damaged.
        new_memtable: makes an empty one.
        write_segments: writes a memtable's rows to files, a day's to each, whose names begin so.
    """

    name: str
    suffix: str
    open_segment: Callable[[Path], S]
    new_memtable: Callable[[], M]
    write_segments: Callable[[M, Path], list[Path]]
