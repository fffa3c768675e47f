"""Checks a file of framed records without changing it, for `obsd doctor`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from obsd.durable import records
from obsd.model.errors import CorruptDataError
from obsd.model.finding import Finding, Level


def check_records(
    path: Path, magic: bytes, subject: str, decode: Callable[[bytes], object] | None = None
) -> Finding:
    """Read every record of a file, and decode its payload where `decode` is given.

    A file that a running server deletes meanwhile is passed over.
    """
    count, end_bytes = 0, records.MAGIC_BYTES
    try:
        for record in records.iter_records(path, magic):
            if decode is not None:
                decode(record.payload)
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
