"""Checks a project's `traces` directory without changing it: what `obsd doctor` says about it."""

from __future__ import annotations

from pathlib import Path

from obsd import _native
from obsd.model.finding import Finding
from obsd.segments.inspect import inspect_engine
from obsd.tracestore import filenames, wal_record
from obsd.tracestore.wal_record import WalRecord


def inspect(directory: Path) -> list[Finding]:
    """Read every file of a project's `traces` directory and check every checksum.

    A server may be running on it: files that it deletes meanwhile are passed over.
    """
    return list(
        inspect_engine(
            directory,
            "span",
            wal_record.MAGIC,
            WalRecord.decode,
            filenames.SEGMENT_SUFFIX,
            _verify,
            unit="spans",
        )
    )


def _verify(path: Path) -> int:
    segment = _native.SpanSegment.open(path)
    segment.verify()
    return segment.stats.spans
