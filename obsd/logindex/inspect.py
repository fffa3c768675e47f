"""Checks a project's `logs` directory without changing it: what `obsd doctor` says about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from obsd import _native
from obsd.logindex import filenames, wal_record
from obsd.logindex.wal_record import WalRecord
from obsd.model.finding import Finding, Level
from obsd.segments.inspect import inspect_engine


def inspect(directory: Path) -> list[Finding]:
    """Read every file of a project's `logs` directory and check every checksum.

    A server may be running on it: files that it deletes meanwhile are passed over.
    """
    return [
        *inspect_engine(
            directory,
            "log",
            wal_record.MAGIC,
            WalRecord.decode,
            filenames.SEGMENT_SUFFIX,
            _verify,
            unit="records",
        ),
        *_patterns(directory / filenames.PATTERNS),
    ]


def _verify(path: Path) -> int:
    segment = _native.LogSegment.open(path)
    segment.verify()
    return segment.stats.records


def _patterns(path: Path) -> Iterator[Finding]:
    try:
        _native.PatternMiner.load(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        yield Finding(Level.WARNING, "log patterns", f"{error}; obsd then learns them anew")
    else:
        yield Finding(Level.OK, "log patterns", "whole")
