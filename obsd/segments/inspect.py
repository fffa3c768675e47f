"""Checks the files that engines of segments have in common, without changing them, for doctor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from obsd import _native
from obsd.durable import wal
from obsd.durable.check import check_records
from obsd.model.finding import Finding, Level
from obsd.segments import filenames


def inspect_engine(
    directory: Path,
    name: str,
    magic: bytes,
    decode: Callable[[bytes], object],
    suffix: str,
    verify: Callable[[Path], int],
    unit: str,
) -> Iterator[Finding]:
    """Read the WAL, the segments and the manifest of an engine, and check every checksum.

    A server may be running on it: files that it deletes meanwhile are passed over. `decode` reads a
    record of the WAL, `verify` a whole segment, and says how many rows it has; `name` is that of
    the engine's segments, and `unit` of their rows.
    """
    segments = directory / filenames.SEGMENTS_DIRECTORY
    yield from _wal(directory / filenames.WAL_DIRECTORY, name, magic, decode)
    yield from _segments(segments, name, suffix, verify, unit)
    yield from _listed(segments, name)
    yield from _quarantine(directory / filenames.QUARANTINE_DIRECTORY)


def _wal(
    directory: Path, name: str, magic: bytes, decode: Callable[[bytes], object]
) -> Iterator[Finding]:
    for path in _files(directory):
        if wal.segment_number(path.name) is not None:
            yield check_records(path, magic, f"{name} WAL segment {path.name}", decode)


def _segments(
    directory: Path, name: str, suffix: str, verify: Callable[[Path], int], unit: str
) -> Iterator[Finding]:
    whole = rows = 0
    for path in _files(directory):
        if path.suffix != suffix:
            continue
        try:
            found = verify(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Finding(Level.ERROR, f"{name} segment {path.name}", str(error))
        except _native.CorruptError as error:
            yield Finding(Level.ERROR, f"{name} segment {path.name}", str(error.args[-1]))
        else:
            whole, rows = whole + 1, rows + found
    yield Finding(Level.OK, f"{name} segments", f"{whole} whole segments with {rows} {unit}")


def _listed(directory: Path, name: str) -> Iterator[Finding]:
    """Segments that the manifest has and the disk has not.

    A running server may have replaced both since: the manifest is read again for what is missing.
    """
    path = directory / filenames.MANIFEST
    try:
        missing = {listed for listed in _names(path) if not (directory / listed).exists()}
        missing &= set(_names(path)) if missing else set()
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        message = f"{error}; obsd then takes every segment that is there"
        yield Finding(Level.ERROR, f"{name} manifest", message)
        return
    for file_name in sorted(missing):
        message = "listed in the manifest, but missing; restore it from a snapshot"
        yield Finding(Level.ERROR, f"{name} segment {file_name}", message)


def _names(manifest: Path) -> list[str]:
    return [str(name) for name in json.loads(manifest.read_bytes())["segments"]]


def _quarantine(directory: Path) -> Iterator[Finding]:
    for path in _files(directory):
        message = "damaged, and set aside; restore it from a snapshot, or delete it"
        yield Finding(Level.WARNING, str(path), message)


def _files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []
