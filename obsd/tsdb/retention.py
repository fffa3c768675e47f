"""Dropping parts that are wholly older than the limit."""

from __future__ import annotations

from collections.abc import Sequence

from obsd.tsdb.parts import PartFile, PartSet


def drop_before_ms(now_ms: int, retention_ms: int | None) -> int | None:
    """Samples before this time are past the limit; None when everything is kept for ever."""
    return None if retention_ms is None else now_ms - retention_ms


def expired(files: Sequence[PartFile], now_ms: int, retention_ms: int | None) -> list[PartFile]:
    """The parts without any sample that is still to be kept."""
    limit_ms = drop_before_ms(now_ms, retention_ms)
    if limit_ms is None:
        return []
    return [file for file in files if file.stats.max_ts < limit_ms]


def apply_retention(parts: PartSet, now_ms: int, retention_ms: int | None) -> int:
    """Drop what is past the limit; the number of parts dropped."""
    old = expired(parts.files, now_ms, retention_ms)
    if old:
        parts.remove(old)
    return len(old)
