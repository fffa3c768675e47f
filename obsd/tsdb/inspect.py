"""Checks a project's `metrics` directory without changing it: what `obsd doctor` says about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from obsd import _native
from obsd.durable import wal
from obsd.durable.check import check_records
from obsd.model.finding import Finding, Level
from obsd.tsdb import filenames, series_log, wal_record


def inspect(directory: Path) -> list[Finding]:
    """Read every file of a project's `metrics` directory and check every checksum.

    A server may be running on it: files that it deletes meanwhile are passed over.
    """
    return [
        *_series_log(directory / filenames.SERIES),
        *_wal(directory / filenames.WAL_DIRECTORY),
        *_parts(directory / filenames.PARTS_DIRECTORY),
        *_quarantine(directory / filenames.QUARANTINE_DIRECTORY),
    ]


def _series_log(path: Path) -> Iterator[Finding]:
    if path.exists():
        yield check_records(path, series_log.MAGIC, "series registry")


def _wal(directory: Path) -> Iterator[Finding]:
    for path in _files(directory):
        if wal.segment_number(path.name) is not None:
            subject = f"WAL segment {path.name}"
            yield check_records(path, wal_record.MAGIC, subject, wal_record.WalRecord.decode)


def _parts(directory: Path) -> Iterator[Finding]:
    whole = samples = 0
    for path in _files(directory):
        if path.suffix != filenames.PART_SUFFIX:
            continue
        try:
            part = _native.Part.open(path)
            part.verify()
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Finding(Level.ERROR, f"part {path.name}", str(error))
        except _native.CorruptError as error:
            yield Finding(Level.ERROR, f"part {path.name}", str(error.args[-1]))  # After its path.
        else:
            whole, samples = whole + 1, samples + part.stats.samples
    yield Finding(Level.OK, "parts", f"{whole} whole parts with {samples} samples")


def _quarantine(directory: Path) -> Iterator[Finding]:
    for path in _files(directory):
        message = "damaged, and set aside; restore it from a snapshot, or delete it"
        yield Finding(Level.WARNING, str(path), message)


def _files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []
