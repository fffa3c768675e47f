"""What an engine reads from: its live segments, and the memtables that are not in any yet.

A segment is an immutable file. `MANIFEST` (docs/format/segment-manifest.md) lists those that count,
and tells which memtables they hold; it is replaced atomically, so that a crash leaves either the
inputs of a merge or its output, and either a memtable's WAL records or its segments. A segment file
that the manifest does not list is what a crash left over, and is removed.

A segment that is damaged is set aside. One that cannot be read, which may be over soon, is left out
and stays listed, so that the next start tries again. What the disk refuses meanwhile is done once
it does not: reads go on without.

Rows are counted, so none may be seen twice: segments and memtables are one snapshot, and a flush
replaces a memtable by its segments in one step. What a search has in its hands stays readable.

Concurrency: every method may be called from any thread.
"""

from __future__ import annotations

import errno
import json
import logging
import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Generic

from obsd import _native
from obsd.durable.files import make_directory, replace_file, sync_directory
from obsd.segments import filenames
from obsd.segments.filenames import SegmentName
from obsd.segments.kind import Kind, M, S

log = logging.getLogger(__name__)

_MANIFEST_VERSION: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class SegmentFile(Generic[S]):
    """An open segment. Compared by identity."""

    path: Path
    name: SegmentName
    segment: S
    size_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class NumberedMemtable(Generic[M]):
    """A memtable and its sequence. Compared by identity."""

    sequence: int
    memtable: M


@dataclass(frozen=True, slots=True)
class Live(Generic[S, M]):
    """A snapshot.

    Attributes:
        segments: by name.
        memtables: oldest first; the last one takes writes.
    """

    segments: tuple[SegmentFile[S], ...]
    memtables: tuple[NumberedMemtable[M], ...]

    @property
    def sources(self) -> list[S | M]:
        """All of it."""
        return [*(s.segment for s in self.segments), *(m.memtable for m in self.memtables)]

    @property
    def memtable_bytes(self) -> int:
        """What the memtables take."""
        return sum(m.memtable.size_bytes for m in self.memtables)


class Catalog(Generic[S, M]):
    """The segments and memtables of one engine."""

    def __init__(self, directory: Path, quarantine: Path, kind: Kind[S, M]) -> None:
        """Use `open`."""
        self._directory = directory
        self._quarantine = quarantine
        self._kind = kind
        self._lock = threading.Lock()
        self._live: Live[S, M] = Live((), ())  # Replaced under the lock; read without.
        # Of the manifest. Under the lock.
        self._flushed_through = 0
        self._next_row = 0
        # Segments set aside, before or since the start, or missing. Under the lock.
        self.lost = 0  # Segments that turned out to be damaged or missing in this run.
        self.quarantined = len(list(quarantine.glob(f"*{kind.suffix}")))
        # Names of files that are not live, and yet listed. Replaced under the lock.
        self._unreadable: frozenset[str] = frozenset()
        self._not_moved: frozenset[str] = frozenset()  # Into the quarantine.

    @staticmethod
    def open(directory: Path, quarantine: Path, kind: Kind[S, M]) -> Catalog[S, M]:
        """Open the segments of a directory, making it if need be.

        What a crash left over is removed, damaged segments are set aside, and those that cannot be
        read are left out.
        """
        make_directory(directory)
        catalog = Catalog(directory, quarantine, kind)
        catalog._load()
        return catalog

    @property
    def kind(self) -> Kind[S, M]:
        """What is in it."""
        return self._kind

    @property
    def directory(self) -> Path:
        """Where segment files are written."""
        return self._directory

    def file_name(self, name: SegmentName) -> str:
        """The whole name of a segment's file."""
        return name.stem + self._kind.suffix

    def path_of(self, name: SegmentName) -> Path:
        """Where a segment's file is, or is to be."""
        return self._directory / self.file_name(name)

    @property
    def live(self) -> Live[S, M]:
        """A snapshot."""
        return self._live

    @property
    def flushed_through(self) -> int:
        """The last memtable whose rows are in segments: what the WAL says of it is past."""
        return self._flushed_through

    @property
    def next_row(self) -> int:
        """The number that no row in segments has, nor any that was."""
        return self._next_row

    @property
    def unreadable(self) -> frozenset[str]:
        """Files beside the live ones that may have rows, whatever becomes of these."""
        return self._unreadable | self._not_moved

    def begin_memtable(self, sequence: int | None = None) -> NumberedMemtable[M]:
        """Give writes an empty memtable; without a sequence, of the next one."""
        with self._lock:
            last = max([self._flushed_through, *(m.sequence for m in self._live.memtables)])
            memtable = NumberedMemtable(
                last + 1 if sequence is None else sequence,
                self._kind.new_memtable(),
            )
            self._live = replace(self._live, memtables=(*self._live.memtables, memtable))
            return memtable

    def end_memtable(
        self, memtable: NumberedMemtable[M], paths: Sequence[Path], next_row: int
    ) -> None:
        """Let segment files take the place of the oldest memtable, in one durable step.

        Raises:
            OSError: the disk refuses, or gives something else back; everything is as before.
        """
        new = self._open_new(paths)
        with self._lock:
            rest = tuple(m for m in self._live.memtables if m is not memtable)
            live = Live((*self._live.segments, *new), rest)
            self._publish(live, memtable.sequence, next_row)

    def replace(self, old: Collection[SegmentFile[S]], paths: Sequence[Path]) -> None:
        """Let new segment files take the place of old segments, in one durable step.

        Raises:
            ValueError: an old segment is no longer there, because it was set aside meanwhile. The
                new files are removed.
            OSError: the disk refuses, or gives something else back; everything is as before.
        """
        new = self._open_new(paths)
        with self._lock:
            if not set(old) <= set(self._live.segments):
                _unlink(paths)
                raise ValueError("a segment to be replaced is not live")
            kept = [file for file in self._live.segments if file not in old]
            self._publish(replace(self._live, segments=(*kept, *new)))
        _unlink(file.path for file in old)

    def sweep(self) -> None:
        """Remove files of segments that are not live; not during a flush or a merge.

        Raises:
            OSError: the disk refuses.
        """
        with self._lock:
            names = {file.path.name for file in self._live.segments}
            names |= {filenames.MANIFEST} | self.unreadable
            _unlink(
                path
                for path in self._directory.iterdir()
                if path.name not in names and not path.is_dir()
            )
        sync_directory(self._directory)

    def set_aside(self, error: _native.CorruptError, files: Collection[SegmentFile[S]]) -> None:
        """Set the segment aside that an error is of, one of these; a read may have done so already.

        Raises:
            _native.CorruptError: it is none of these.
        """
        path, detail = error.args
        if not self.quarantine(Path(path), detail) and all(str(f.path) != path for f in files):
            raise error

    def quarantine(self, path: Path, detail: str) -> bool:
        """Set a damaged segment aside; false when it is no longer live.

        Its file is kept for whoever wants to rescue something from it. Where the disk refuses, the
        segment is no longer live all the same.
        """
        with self._lock:
            kept = tuple(file for file in self._live.segments if file.path != path)
            if len(kept) == len(self._live.segments):
                return False
            self._set_aside(path, detail)
            self._live = replace(self._live, segments=kept)
            self._try_to_publish(self._live)
        return True

    def _try_to_publish(self, live: Live[S, M]) -> None:
        """Show a snapshot, though the disk may refuse the manifest: the next one catches up."""
        try:
            self._publish(live)
        except OSError as error:
            log.warning(
                f"cannot write the manifest of {self._kind.name} segments", extra=_told(error)
            )
            self._live = replace(live, segments=_ordered(live.segments))

    def _publish(
        self, live: Live[S, M], flushed_through: int | None = None, next_row: int | None = None
    ) -> None:
        """Write the manifest, then show the snapshot to searches. Under the lock."""
        self._not_moved -= {name for name in self._not_moved if self._move(name)}
        ordered = _ordered(live.segments)
        flushed_through = self._flushed_through if flushed_through is None else flushed_through
        next_row = max(self._next_row, next_row or 0)
        # The files' own names must be durable before the manifest relies on them.
        sync_directory(self._directory)
        manifest = {
            "version": _MANIFEST_VERSION,
            "flushed_through": flushed_through,
            "next_row": next_row,
            "segments": [*(file.path.name for file in ordered), *sorted(self.unreadable)],
        }
        replace_file(
            self._directory / filenames.MANIFEST, [json.dumps(manifest, indent=1).encode()]
        )
        self._flushed_through, self._next_row = flushed_through, next_row
        self._live = replace(live, segments=ordered)

    def _set_aside(self, path: Path, detail: str) -> None:
        """Move a file into the quarantine and tell. Under the lock."""
        self.quarantined += 1
        self.lost += 1
        log.error(
            f"damaged {self._kind.name} segment set aside",
            extra={"path": str(self._quarantine / path.name), "error": detail},
        )
        if not self._move(path.name):
            self._not_moved |= {path.name}

    def _move(self, name: str) -> bool:
        """Move a file into the quarantine; false where the disk refuses."""
        try:
            make_directory(self._quarantine)
            (self._directory / name).replace(self._quarantine / name)
        except FileNotFoundError:  # Somebody has removed it.
            return True
        except OSError as error:
            log.warning("cannot move a damaged segment", extra={"segment": name, **_told(error)})
            return False
        return True

    def _load(self) -> None:
        present = {
            path.name for path in self._directory.glob(f"*{self._kind.suffix}") if not path.is_dir()
        }
        with self._lock:
            listed = self._read_manifest()
            names = self._uncovered(present) if listed is None else listed
            files = [file for name in names if (file := self._open_listed(name)) is not None]
            if listed is None:
                numbers = [name.seq_max for name in map(self._parse, names) if name]
                self._flushed_through = max(numbers, default=0)
                self._next_row = max((f.segment.stats.last_row + 1 for f in files), default=0)
            leftover = present - set(names)
            leftover |= {path.name for path in self._directory.glob("*.tmp") if not path.is_dir()}
            _unlink(self._directory / name for name in leftover)
            self._try_to_publish(Live(tuple(files), ()))

    def _parse(self, file_name: str) -> SegmentName | None:
        if not file_name.endswith(self._kind.suffix):
            return None
        return SegmentName.parse(file_name.removesuffix(self._kind.suffix))

    def _open(self, path: Path) -> SegmentFile[S]:
        """Open a segment file.

        Raises:
            _native.CorruptError: the file is no segment, or the heads of its granules are damaged.
            OSError: it cannot be read.
        """
        name = self._parse(path.name)
        if name is None:
            raise _native.CorruptError(str(path), "no segment is called so")
        segment = self._kind.open_segment(path)
        return SegmentFile(path, name, segment, segment.stats.size_bytes)

    def _open_new(self, paths: Sequence[Path]) -> list[SegmentFile[S]]:
        """Open what has just been written.

        Raises:
            OSError: that does not work; the files are removed.
        """
        try:
            return [self._open(path) for path in paths]
        except _native.CorruptError as error:
            _unlink(paths)
            raise OSError(
                errno.EIO, f"{error.args[1]}, just after it was written", error.args[0]
            ) from error

    def _uncovered(self, file_names: Iterable[str]) -> list[str]:
        """Segments without those whose rows a merge has put into another one that is there."""
        names = [name for name in map(self._parse, file_names) if name is not None]

        def covered(name: SegmentName) -> bool:
            return any(
                other.day == name.day
                and other.level > name.level
                and other.seq_min <= name.seq_min
                and name.seq_max <= other.seq_max
                for other in names
            )

        return sorted(self.file_name(name) for name in names if not covered(name))

    def _open_listed(self, name: str) -> SegmentFile[S] | None:
        path = self._directory / name
        try:
            return self._open(path)
        except FileNotFoundError:
            self.lost += 1
            # A crash may have come between setting it aside and the manifest.
            if not (self._quarantine / name).exists():
                self.quarantined += 1
                log.error(f"{self._kind.name} segment is missing", extra={"path": str(path)})
        except _native.CorruptError as error:
            self._set_aside(path, str(error.args[1]))
        except OSError as error:
            self.lost += 1
            self._unreadable |= {name}
            log.error(
                f"{self._kind.name} segment cannot be read; it is left out until the next start",
                extra={"path": str(path), **_told(error)},
            )
        return None

    def _read_manifest(self) -> list[str] | None:
        """The names of the live segments; None when only the files themselves can tell."""
        path = self._directory / filenames.MANIFEST
        try:
            manifest = json.loads(path.read_bytes())
            self._flushed_through = int(manifest["flushed_through"])
            self._next_row = int(manifest["next_row"])
            return [str(name) for name in manifest["segments"]]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.error(
                f"damaged manifest; taking every {self._kind.name} segment",
                extra={"path": str(path), "error": str(error)},
            )
            return None


def _ordered(segments: Iterable[SegmentFile[S]]) -> tuple[SegmentFile[S], ...]:
    return tuple(sorted(segments, key=lambda file: file.name))


def _told(error: OSError) -> dict[str, str]:
    return {"error": str(error)}


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
