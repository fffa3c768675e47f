"""The parts of one metrics engine: which there are, and how one set replaces another.

A part is an immutable file (docs/format/part.md). `MANIFEST` lists those that count; it is replaced
atomically, so that a crash leaves either the inputs of a merge or its outputs, never both and never
neither. A part file that the manifest does not list is what a crash left over, and is removed.

Queries hold a snapshot, and a part that was replaced meanwhile stays readable until they let go:
its file is unlinked, its memory map is not.

Invariants: of two parts with samples of the same time, the one later in a snapshot has the higher
sequence, and its sample wins. The sequences of parts that overlap in time never interleave.
Concurrency: every method may be called from any thread.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from obsd import _native
from obsd.durable.files import make_directory, replace_file, sync_directory
from obsd.tsdb import filenames

log = logging.getLogger(__name__)

_MANIFEST_VERSION: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class PartFile:
    """An open part. Compared by identity."""

    path: Path
    part: _native.Part
    stats: _native.PartStats

    @staticmethod
    def open(path: Path) -> PartFile:
        """Open a part file.

        Raises:
            _native.CorruptError: the file is no part, or its index is damaged.
            OSError: it cannot be read.
        """
        part = _native.Part.open(path)
        return PartFile(path, part, part.stats)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name


def _sequence(file: PartFile) -> tuple[int, int, int]:
    return (file.stats.seq_min, file.stats.seq_max, file.stats.min_ts)


class PartSet:
    """The live parts of a directory."""

    def __init__(self, directory: Path, quarantine: Path) -> None:
        """Use `open`."""
        self._directory = directory
        self._quarantine = quarantine
        self._lock = threading.Lock()
        self._files: tuple[PartFile, ...] = ()  # Replaced under the lock; read without.
        self._next_sequence = 1  # Under the lock.
        # Parts set aside, before or since the start, or missing. Under the lock.
        self.quarantined = len(list(quarantine.glob(f"*{filenames.PART_SUFFIX}")))

    @staticmethod
    def open(directory: Path, quarantine: Path) -> PartSet:
        """Open the parts of a directory, making it if need be.

        What a crash left over is removed, and damaged parts are set aside.
        """
        make_directory(directory)
        parts = PartSet(directory, quarantine)
        parts._load()
        return parts

    @property
    def directory(self) -> Path:
        """Where part files are written."""
        return self._directory

    @property
    def files(self) -> tuple[PartFile, ...]:
        """A snapshot in ascending sequence: of equal timestamps, later parts win."""
        return self._files

    def last_series_id(self) -> int:
        """The highest id of a series in any part; -1 when there is none."""
        ids = (file.part.last_id for file in self._files)
        return max((i for i in ids if i is not None), default=-1)

    def next_sequence(self) -> int:
        """The sequence of the next flush: above every one that was ever published."""
        with self._lock:
            return self._next_sequence

    def add(self, path: Path) -> PartFile:
        """Publish a complete part file of the directory, durably."""
        return self.replace((), (path,))[0]

    def replace(self, old: Collection[PartFile], paths: Sequence[Path]) -> list[PartFile]:
        """Let new part files take the place of old parts, in one durable step.

        Raises:
            ValueError: an old part is no longer there, because it was set aside meanwhile. The
                new files are removed.
            OSError: the disk refuses; everything is as before.
        """
        new = [PartFile.open(path) for path in paths]
        with self._lock:
            if not set(old) <= set(self._files):
                _unlink(paths)
                raise ValueError("a part to be replaced is not live")
            kept = [file for file in self._files if file not in old]
            self._publish([*kept, *new])
        _unlink(file.path for file in old)
        return new

    def remove(self, old: Collection[PartFile]) -> None:
        """Drop parts durably."""
        self.replace(old, ())

    def quarantine(self, path: Path, detail: str) -> bool:
        """Set a damaged part aside; false when it is no longer live.

        Its file is kept for whoever wants to rescue something from it. A full disk, which may keep
        it from being moved, does not keep the other parts from being read.
        """
        with self._lock:
            kept = [file for file in self._files if file.path != path]
            if len(kept) == len(self._files):
                return False
            try:
                # First: a file that no manifest names would be removed at the next start.
                self._set_aside(path, detail)
                self._publish(kept)
            except OSError as error:
                log.error(
                    "damaged part left out",
                    extra={"path": str(path), "error": f"{detail}; {error}"},
                )
                self._show(kept)
        return True

    def _publish(self, files: Iterable[PartFile]) -> None:
        """Write the manifest, then show the parts to queries. Under the lock."""
        ordered = sorted(files, key=_sequence)
        # The files' own names must be durable before the manifest relies on them.
        sync_directory(self._directory)
        names = [file.name for file in ordered]
        _write_manifest(self._directory, names, self._sequence_after(ordered))
        self._show(ordered)

    def _show(self, files: Iterable[PartFile]) -> None:
        """Let queries see these parts. Under the lock."""
        ordered = tuple(sorted(files, key=_sequence))
        self._next_sequence = self._sequence_after(ordered)
        self._files = ordered

    def _sequence_after(self, files: Iterable[PartFile]) -> int:
        last = max((file.stats.seq_max for file in files), default=0)
        return max(self._next_sequence, last + 1)

    def _set_aside(self, path: Path, detail: str) -> None:
        """Move a file into the quarantine and tell. Under the lock."""
        self.quarantined += 1
        make_directory(self._quarantine)
        target = self._quarantine / path.name
        path.replace(target)
        log.error("damaged part set aside", extra={"path": str(target), "error": detail})

    def _load(self) -> None:
        listed = self._read_manifest()
        present = {path.name for path in self._directory.glob(f"*{filenames.PART_SUFFIX}")}
        files = []
        names = sorted(present) if listed is None else listed
        with self._lock:
            for name in names:
                path = self._directory / name
                try:
                    files.append(PartFile.open(path))
                except FileNotFoundError:
                    self.quarantined += 1
                    log.error("part is missing", extra={"path": str(path)})
                except _native.CorruptError as error:
                    self._set_aside(path, str(error.args[1]))
            leftover = present - set(names)
            leftover |= {path.name for path in self._directory.glob("*.tmp")}
            _unlink(self._directory / name for name in leftover)
            if [file.name for file in files] == listed:
                self._files = tuple(files)
                return
            try:
                self._publish(files)
            except OSError as error:
                # A full disk: reads must go on. The next change of the parts publishes again.
                log.error("cannot write the manifest", extra={"error": str(error)})
                self._show(files)

    def _read_manifest(self) -> list[str] | None:
        """The names of the live parts; None when only the files themselves can tell.

        Without a manifest every part counts: a merge's outputs repeat what its inputs say, and
        doing so is harmless, while a part that is not read is a loss.
        """
        path = self._directory / filenames.MANIFEST
        try:
            manifest = json.loads(path.read_bytes())
            self._next_sequence = int(manifest["next_sequence"])
            return [str(name) for name in manifest["parts"]]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.error(
                "damaged manifest; taking every part",
                extra={"path": str(path), "error": str(error)},
            )
            return None


def _write_manifest(directory: Path, names: list[str], next_sequence: int) -> None:
    """Replace the manifest, durably."""
    manifest = {"version": _MANIFEST_VERSION, "next_sequence": next_sequence, "parts": names}
    replace_file(directory / filenames.MANIFEST, [json.dumps(manifest, indent=1).encode()])


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
