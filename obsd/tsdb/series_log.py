"""The series registry on disk: a log of records, appended to and synced before parts need it.

Only parts refer to series ids across a restart, so the log is brought up to date before a part is
written, not with every request: replaying the WAL registers again what was never logged.

Format: docs/format/series.md.
"""

from __future__ import annotations

import errno
import os
import secrets
import struct
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from obsd import _native
from obsd.durable import records
from obsd.durable.files import replace_file
from obsd.model.errors import CorruptDataError

MAGIC: Final = b"OBSDSER1"
_SEED = struct.Struct("<Q")


class SeriesLog:
    """A registry and the file that keeps it. Used under the engine's flush lock."""

    def __init__(self, path: Path) -> None:
        """Load the file, or make one with a new secret seed.

        Raises:
            CorruptDataError: the file is damaged before its last record.
        """
        self._path = path
        if not path.exists():
            replace_file(path, [MAGIC, *records.frame(_SEED.pack(secrets.randbits(64)))])
        loaded = records.iter_records(path, MAGIC)
        first = next(loaded, None)
        if first is None or len(first.payload) != _SEED.size:
            raise CorruptDataError(str(path), "no seed record")
        (self._seed,) = _SEED.unpack(first.payload)
        self.registry = _native.Registry(self._seed)
        self._end_bytes = first.end_bytes
        for record in loaded:
            self.registry.load(record.payload)
            self._end_bytes = record.end_bytes
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        # A torn tail was never relied on: parts are written after the log is synced.
        os.ftruncate(self._fd, self._end_bytes)

    def sync(self) -> None:
        """Make every series registered so far durable.

        Raises:
            OSError: the disk refuses; the log stays as it was and can be tried again.
        """
        record, mark = self.registry.log()
        if record:
            pieces = records.frame(record)
            try:
                written = os.pwritev(self._fd, pieces, self._end_bytes)
                size_bytes = sum(map(len, pieces))
                if written != size_bytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fdatasync(self._fd)
            except OSError:
                os.ftruncate(self._fd, self._end_bytes)
                raise
            self._end_bytes += size_bytes
        self.registry.confirm(mark)

    def forget_all_but(self, ids: npt.NDArray[np.uint32]) -> None:
        """Remove the other series from the registry and write the file anew.

        Their label sets get new ids when they come back. Under the engine's write lock as well:
        no batch may be on its way from the registry to the head.

        Raises:
            OSError: the disk refuses. The file is as it was: after a restart, the series that the
                registry has forgotten are there again, which is harmless.
        """
        pieces = [
            MAGIC,
            *records.frame(_SEED.pack(self._seed)),
            *records.frame(self.registry.retain(ids)),
        ]
        replace_file(self._path, pieces)
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        self._end_bytes = sum(map(len, pieces))

    def close(self) -> None:
        os.close(self._fd)
