"""Takes records out of files: segments are written anew without them.

What is in the quarantine is damaged, and nobody can prove what a damaged file does not hold: a
segment is kept only when each granule that could have such a record is whole and has none, and
copies of the WAL are removed.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from obsd import _native
from obsd.durable.files import sync_directory
from obsd.logindex import filenames
from obsd.logindex.catalog import Catalog, SegmentFile
from obsd.logindex.deletions import Encoded
from obsd.logindex.filenames import SegmentName

log = logging.getLogger(__name__)

_LEVEL: Final = 3
"""zstd's level, as for granules that a merge puts together."""


def erase_from_segment(catalog: Catalog, file: SegmentFile, gone: Encoded) -> bool:
    """Put a segment without these records in a segment's place; false where it has none of them.

    A damaged segment is set aside. Not while segments are merged.

    Raises:
        OSError: the disk refuses; the segment is as before.
    """
    name = file.name
    path = (
        catalog.directory
        / SegmentName(name.seq_min, name.seq_max, name.level + 1, name.day).file_name
    )
    try:
        erased = _native.erase_log_records(file.segment, gone, path, _LEVEL)
        if not erased:
            return False
        catalog.replace([file], [path] if erased < file.stats.records else [])
    except _native.CorruptError as error:
        damaged, detail = error.args
        if not catalog.quarantine(Path(damaged), detail):
            raise
    except ValueError:
        # A search has set it aside meanwhile.
        log.info("erasure given up: the segment is gone", extra={"path": str(file.path)})
    return True


def erase_from_quarantine(directory: Path, gone: Encoded) -> int:
    """Remove what may hold these records; returns how many files that were.

    Raises:
        OSError: the disk refuses.
    """
    if not directory.is_dir():
        return 0
    tainted = [path for path in directory.iterdir() if path.is_file() and not _is_clean(path, gone)]
    for path in tainted:
        path.unlink(missing_ok=True)
        log.warning("removed from the quarantine by a deletion", extra={"path": str(path)})
    if tainted:
        sync_directory(directory)
    return len(tainted)


def _is_clean(path: Path, gone: Encoded) -> bool:
    if path.suffix != filenames.SEGMENT_SUFFIX:
        return False
    try:
        return _native.LogSegment.open(path).count(gone) == 0
    except _native.CorruptError:
        return False
