"""Checks a project's `logs` directory without changing it: what `obsd doctor` says about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from obsd import _native
from obsd.durable import wal
from obsd.durable.check import check_records
from obsd.logindex import filenames, wal_record
from obsd.logindex.wal_record import WalRecord
from obsd.model.finding import Finding, Level


def inspect(directory: Path) -> list[Finding]:
    """Read every file of a project's `logs` directory and check every checksum.

    A server may be running on it: files that it deletes meanwhile are passed over.
    """
    segments = directory / filenames.SEGMENTS_DIRECTORY
    return [
        *_wal(directory / filenames.WAL_DIRECTORY),
        *_segments(segments),
        *_listed(segments),
        *_patterns(directory / filenames.PATTERNS),
        *_quarantine(directory / filenames.QUARANTINE_DIRECTORY),
    ]


def _wal(directory: Path) -> Iterator[Finding]:
    for path in _files(directory):
        if wal.segment_number(path.name) is not None:
            subject = f"log WAL segment {path.name}"
            yield check_records(path, wal_record.MAGIC, subject, WalRecord.decode)


def _segments(directory: Path) -> Iterator[Finding]:
    whole = count = 0
    for path in _files(directory):
        if path.suffix != filenames.SEGMENT_SUFFIX:
            continue
        try:
            segment = _native.LogSegment.open(path)
            segment.verify()
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Finding(Level.ERROR, f"log segment {path.name}", str(error))
        except _native.CorruptError as error:
            yield Finding(Level.ERROR, f"log segment {path.name}", str(error.args[-1]))
        else:
            whole, count = whole + 1, count + segment.stats.records
    yield Finding(Level.OK, "log segments", f"{whole} whole segments with {count} records")


def _listed(directory: Path) -> Iterator[Finding]:
    """Segments that the manifest has and the disk has not.

    A running server may have replaced both since: the manifest is read again for what is missing.
    """
    path = directory / filenames.MANIFEST
    try:
        missing = {name for name in _names(path) if not (directory / name).exists()}
        missing &= set(_names(path)) if missing else set()
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        message = f"{error}; obsd then takes every segment that is there"
        yield Finding(Level.ERROR, "log manifest", message)
        return
    for name in sorted(missing):
        message = "listed in the manifest, but missing; restore it from a snapshot"
        yield Finding(Level.ERROR, f"log segment {name}", message)


def _names(manifest: Path) -> list[str]:
    return [str(name) for name in json.loads(manifest.read_bytes())["segments"]]


def _patterns(path: Path) -> Iterator[Finding]:
    try:
        _native.PatternMiner.load(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        yield Finding(Level.WARNING, "log patterns", f"{error}; obsd then learns them anew")
    else:
        yield Finding(Level.OK, "log patterns", "whole")


def _quarantine(directory: Path) -> Iterator[Finding]:
    for path in _files(directory):
        message = "damaged, and set aside; restore it from a snapshot, or delete it"
        yield Finding(Level.WARNING, str(path), message)


def _files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []
