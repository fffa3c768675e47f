"""Metric metadata on disk, as of the last flush: the WAL has what came since.

A JSON array of `[family, type, help, unit]`, the type being remote write 2.0's number.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from obsd import _native
from obsd.durable.files import replace_file

log = logging.getLogger(__name__)

_Entry = tuple[str, int, str, str]


class MetadataFile:
    """Keeps a registry's metadata; used under the engine's flush lock."""

    def __init__(self, path: Path, registry: _native.Registry) -> None:
        self._path = path
        self._registry = registry
        if path.exists():
            self._load()
        self._saved_version = registry.metadata_version

    def _load(self) -> None:
        try:
            entries = msgspec.json.decode(self._path.read_bytes(), type=list[_Entry])
        except msgspec.DecodeError as error:
            # Senders repeat metadata all the time: it is not worth a failed start.
            log.error("metric metadata is damaged", extra={"error": str(error)})
            return
        for entry in entries:
            self._registry.set_metadata(*entry)

    def sync(self) -> None:
        """Write what has changed since the last time, if anything has.

        Raises:
            OSError: the disk refuses; the file is as it was.
        """
        version = self._registry.metadata_version
        if version != self._saved_version:
            entries = sorted(self._registry.metadata())
            replace_file(self._path, [msgspec.json.encode(entries)])
            self._saved_version = version
