"""The data directory: made when missing, and one server at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

LOCK_FILE: Final = "lock"


class DataDirError(Exception):
    """The directory cannot be used; the text says why and what to do."""


class DataDirLock:
    """An exclusive lock on a data directory, held for as long as the process lives."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @staticmethod
    def acquire(data_dir: Path) -> DataDirLock:
        """Make the directory where needed and lock it.

        Raises:
            DataDirError: another server has it, or it cannot be written.
        """
        try:
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
            descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise DataDirError(
                f"cannot use the data directory {data_dir}: {error.strerror}; name another one with"
                " --data-dir"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f" (process {holder})" if holder.isdecimal() else ""
            raise DataDirError(
                f"another obsd{who} uses the data directory {data_dir}; stop it, or name another"
                " directory with --data-dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return DataDirLock(descriptor)

    def release(self) -> None:
        """Let go; the file stays, since removing it would race with the next server."""
        os.close(self._descriptor)
