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

    def __init__(self, path: Path, last_id: int = -1) -> None:
        """Load the file, or make one with a new secret seed.

        `last_id` is the highest id that a part refers to.

        Raises:
            CorruptDataError: the file is damaged, and series that parts refer to are lost. It is
                left as it is: ids given out again would put samples under wrong labels.
        """
        self._path = path
        # The whole file where it is not what the registry's numbers count on.
        self._unwritten: list[bytes] | None = None
        if not path.exists():
            if last_id >= 0:
                raise CorruptDataError(str(path), "the file is gone, and parts refer to it")
            replace_file(path, [MAGIC, *records.frame(_SEED.pack(secrets.randbits(64)))])
        loaded = records.iter_records(path, MAGIC)
        first = next(loaded, None)
        if first is None or len(first.payload) != _SEED.size:
            raise CorruptDataError(str(path), "no seed record")
        (self._seed,) = _SEED.unpack(first.payload)
        self.registry = _native.Registry(self._seed)
        self._end_bytes = first.end_bytes
        try:
            for record in loaded:
                self.registry.load(record.payload)
                self._end_bytes = record.end_bytes
        except _native.CorruptError as error:
            raise CorruptDataError(str(path), str(error.args[1])) from error
        if last_id >= self.registry.id_end:
            raise CorruptDataError(
                str(path),
                f"damaged at byte {self._end_bytes}: parts refer to series up to {last_id},"
                f" it has those below {self.registry.id_end}",
            )
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        # A torn tail was never relied on: parts are written after the log is synced.
        os.ftruncate(self._fd, self._end_bytes)

    def sync(self) -> None:
        """Make every series registered so far durable.

        Raises:
            OSError: the disk refuses; the log stays as it was and can be tried again.
        """
        if self._unwritten is not None:
            self._replace(self._unwritten)
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
            OSError: the disk refuses. The next `sync` tries again, before it appends anything; a
                restart until then finds the forgotten series again, which is harmless.
        """
        self._unwritten = [
            MAGIC,
            *records.frame(_SEED.pack(self._seed)),
            *records.frame(self.registry.retain(ids)),
        ]
        self._replace(self._unwritten)

    def _replace(self, pieces: list[bytes]) -> None:
        replace_file(self._path, pieces)
        fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        os.close(self._fd)
        self._fd = fd
        self._end_bytes = sum(map(len, pieces))
        self._unwritten = None

    def close(self) -> None:
        """Let go of the file; a `sync` that comes later fails."""
        fd, self._fd = self._fd, -1
        os.close(fd)
