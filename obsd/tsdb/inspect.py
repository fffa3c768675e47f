"""Checks a project's `metrics` directory without changing it: what `obsd doctor` says about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from obsd import _native
from obsd.durable import records, wal
from obsd.model.errors import CorruptDataError
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
        yield _records(path, series_log.MAGIC, "series registry")


def _wal(directory: Path) -> Iterator[Finding]:
    for path in _files(directory):
        if wal.segment_number(path.name) is not None:
            yield _records(path, wal_record.MAGIC, f"WAL segment {path.name}")


def _records(path: Path, magic: bytes, subject: str) -> Finding:
    count, end_bytes = 0, records.MAGIC_BYTES
    try:
        for record in records.iter_records(path, magic):
            count, end_bytes = count + 1, record.end_bytes
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        return Finding(Level.OK, subject, "deleted meanwhile")
    except (CorruptDataError, OSError) as error:
        return Finding(Level.ERROR, subject, str(error))
    torn_bytes = size_bytes - end_bytes
    if torn_bytes > 0:
        message = f"{count} whole records, then {torn_bytes} bytes that are none"
        return Finding(Level.WARNING, subject, message)
    return Finding(Level.OK, subject, f"{count} records")


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
