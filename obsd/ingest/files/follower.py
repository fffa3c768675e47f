"""The receiver `files`: follows the files that the configuration names, for as long as obsd runs.

Each turn reads what is new in every file, up to a batch, stores it, and notes the places; a place
is noted after its records are durable, so a crash repeats a few lines rather than losing one. While
obsd cannot store, files wait where they are.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from obsd.ingest.files.checkpoint import FILE, Checkpoint, Head
from obsd.ingest.files.followed import READ_ERRORS, FileRecord, FollowedFile, Joiner
from obsd.ingest.files.paths import PathSpec, iter_files, parse_spec
from obsd.model.errors import BadInputError, ObsdError
from obsd.services.log_encoding import RecordGroup, log_record, resource
from obsd.services.log_encoding import request as encode_request
from obsd.services.receiver_telemetry import REFUSED, ReceiverCounts

if TYPE_CHECKING:
    from obsd.ingest.receiver import ReceiverContext
    from obsd.services.log_aggregator import LogAggregator

log = logging.getLogger(__name__)

DISCOVERY_S: Final = 1.0
POLL_S: Final = 0.25
SAVE_S: Final = 1.0
BATCH_BYTES: Final = 4 << 20
MAX_OPEN: Final = 2_000
ROTATED_S: Final = 5.0
"""How long a file that is gone from its path is still read; writers reopen late."""

PARKED_S: Final = 3_600.0
"""A file without news for so long is closed, and opened again by its next line."""

_RETRY_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(slots=True)
class _Entry:
    """A file that is known.

    Attributes:
        key: device and inode.
        file: None while it is closed for want of news.
    """

    key: tuple[int, int]
    spec: PathSpec
    path: str
    size_bytes: int
    changed_s: float
    gone_s: float | None = None
    file: FollowedFile | None = None


@dataclass(slots=True)
class Batch:
    """Records to store, and the places behind them: file, generation of its content, and byte."""

    groups: list[RecordGroup] = field(default_factory=list)
    ends: list[tuple[FollowedFile, int, int]] = field(default_factory=list)
    size_bytes: int = 0
    records: int = 0

    def add(self, file: FollowedFile, records: list[FileRecord], host: str, now_ns: int) -> None:
        group = RecordGroup(
            resource({"service.name": file.service, "host.name": host, "log.file.path": file.path})
        )
        for record in records:
            if record.text.strip():
                encoded = log_record(time_ns=0, observed_ns=now_ns, body=record.text)
                group.records.append(encoded)
                self.size_bytes += len(encoded)
        self.records += len(group.records)
        if group.records:
            self.groups.append(group)
        self.ends.append((file, file.generation, records[-1].end))


class FileSet:
    """The files that are followed. Every method blocks; one thread at a time."""

    def __init__(
        self,
        specs: list[PathSpec],
        excluded: list[str],
        checkpoint: Checkpoint,
        new_joiner: Callable[[], Joiner],
        *,
        from_end: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """With `from_end`, what is in files before they are first seen is left out."""
        self._specs = specs
        self._excluded = excluded
        self._checkpoint = checkpoint
        self._new_joiner = new_joiner
        self._from_end = from_end
        self._clock = clock
        self._entries: dict[tuple[int, int], _Entry] = {}
        self._discovered_s = 0.0
        self._saved_s = 0.0
        self._is_noted = True  # Whether the checkpoint has what is stored.
        self._are_places_known = False  # Whether the checkpoint's are those of now.
        self._waiting: dict[tuple[int, int], _Entry] = {}  # For room among the open files.
        self._unreadable: set[str] = set()
        self._open_count = 0
        self._host = socket.gethostname()
        self._turn = 0

    @property
    def open_files(self) -> int:
        return self._open_count

    def discover(self) -> None:
        """Look which files there are."""
        now_s = self._clock()
        if now_s - self._discovered_s < DISCOVERY_S:
            return
        self._discovered_s = now_s
        self._are_places_known = False
        self._make_room()
        there = set()
        for path, spec in iter_files(self._specs, self._excluded):
            try:
                status = os.stat(path)  # noqa: PTH116 - a text, of which there are many
            except OSError:
                continue  # It went between the listing and now.
            key = status.st_dev, status.st_ino
            if not stat.S_ISREG(status.st_mode) or key in there:
                continue
            there.add(key)
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry(key, spec, path, -1, now_s)
            self._look(entry, path, status.st_size, now_s)
        for key, entry in list(self._entries.items()):
            if key not in there:
                self._leave(key, entry, now_s)
        self._from_end = False  # What comes later is news from its beginning.

    def _look(self, entry: _Entry, path: str, size_bytes: int, now_s: float) -> None:
        entry.gone_s = None
        if entry.path != path:
            entry.path = path
            if entry.file is not None:
                entry.file.path = path
        if entry.file is not None and entry.file.is_broken:
            self._close(entry)  # Until it changes: it may be in the middle of being written.
        if size_bytes != entry.size_bytes:
            entry.size_bytes, entry.changed_s = size_bytes, now_s
            self._follow(entry)
        elif entry.file is not None and now_s - entry.changed_s > PARKED_S and entry.file.is_idle:
            self._close(entry)

    def _follow(self, entry: _Entry) -> None:
        """Open a file, or let it wait for room."""
        if entry.file is not None:
            return
        if self._open_count < MAX_OPEN:
            entry.file = self._open(entry)
            self._open_count += entry.file is not None
        else:
            self._waiting[entry.key] = entry

    def _make_room(self) -> None:
        """Close files without news, the longest first, for those that wait."""
        if not self._waiting:
            return
        idle = [e for e in self._entries.values() if e.file is not None and e.file.is_idle]
        idle.sort(key=lambda entry: entry.changed_s)
        for entry in idle[: len(self._waiting)]:
            self._close(entry)
        waiting, self._waiting = self._waiting, {}
        for key, entry in waiting.items():
            if self._entries.get(key) is entry:
                self._follow(entry)

    def _leave(self, key: tuple[int, int], entry: _Entry, now_s: float) -> None:
        """A file that is no longer at a path that was named."""
        if entry.gone_s is None:
            entry.gone_s = now_s
        if entry.file is None or (now_s - entry.gone_s > ROTATED_S and not entry.file.has_unstored):
            self._close(entry)
            del self._entries[key]

    def _open(self, entry: _Entry) -> FollowedFile | None:
        path = entry.path
        try:
            file = FollowedFile(path, entry.spec.service_of(path), self._new_joiner())
        except OSError as error:
            self._report(path, error)
            return None
        if file.key != entry.key:  # It was renamed meanwhile: this is another file.
            file.close()
            entry.size_bytes = -1
            return None
        try:
            content = file.open_content()
            self._learn_places()
            place = self._checkpoint.find(*file.key, content, path)
            if place is not None:
                file.resume(place)
            elif self._from_end:
                file.skip()
        except READ_ERRORS as error:
            self._report(path, error)
            file.close()
            entry.size_bytes = -1  # Another look at the next discovery.
            return None
        self._unreadable.discard(path)
        log.info("following a file", extra={"path": path, "from_byte": file.stored})
        return file

    def _learn_places(self) -> None:
        """Tell the checkpoint how far files are stored, of which a new one may be a copy."""
        if not self._are_places_known:
            self._are_places_known = True
            for entry in self._entries.values():
                if entry.file is not None:
                    self._note(entry.file)

    def _report(self, path: str, error: Exception) -> None:
        """Once, until it can be read again."""
        if path not in self._unreadable:
            self._unreadable.add(path)
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            log.warning("cannot read a file", extra={"path": path, "reason": reason})

    def _close(self, entry: _Entry) -> None:
        if entry.file is not None:
            self._note(entry.file)
            entry.file.close()
            entry.file = None
            self._open_count -= 1

    def read(self) -> Batch:
        """What is new, from all files in turn, up to a batch."""
        batch, now_s = Batch(), self._clock()
        now_ns = int(now_s * 1e9)
        entries = [e for e in self._entries.values() if e.file is not None]
        self._turn += 1
        begin = self._turn % max(len(entries), 1)  # Who was last comes first some time.
        for entry in entries[begin:] + entries[:begin]:
            file = entry.file
            assert file is not None
            while batch.size_bytes < BATCH_BYTES:
                records = self._read_some(entry, file, now_s)
                if not records:
                    break
                batch.add(file, records, self._host, now_ns)
        return batch

    def _read_some(self, entry: _Entry, file: FollowedFile, now_s: float) -> list[FileRecord]:
        try:
            before = file.stored
            records = file.read(now_s)
            while not records and not file.is_at_end:  # A long line has no record yet.
                records = file.read(now_s)
            is_over = entry.gone_s is not None and now_s - entry.gone_s > ROTATED_S
            if not records and is_over and before == file.stored:
                records = file.finish()
        except READ_ERRORS as error:
            self._report(entry.path, error)
            file.is_broken = True
            return []
        return records

    def stored(self, batch: Batch) -> None:
        """Note the places of a batch, which is durable now."""
        for file, generation, end in batch.ends:
            file.note_stored(generation, end)
        self._is_noted = False
        self.save_due()

    def save_due(self) -> None:
        """Write the places of all files, if they changed a while ago."""
        if not self._is_noted and self._clock() - self._saved_s >= SAVE_S:
            self.save()

    def rewind(self) -> None:
        """Read again what was read and not stored."""
        for entry in self._entries.values():
            if entry.file is not None:
                entry.file.rewind()

    def save(self) -> None:
        """Write the places of all files."""
        for entry in self._entries.values():
            if entry.file is not None:
                self._note(entry.file)
        self._saved_s = self._clock()
        try:
            self._checkpoint.save(self._saved_s)
            self._is_noted = True
        except OSError as error:
            log.warning("cannot note how far files were followed", extra={"reason": str(error)})

    def _note(self, file: FollowedFile) -> None:
        for left in file.take_left():
            left.seen_s = self._clock()
            self._checkpoint.leave(left)
        place = file.place
        place.seen_s = self._clock()
        if place.head != Head.of(b"") or place.offset:
            self._checkpoint.put(place)

    def close(self) -> None:
        """Note everything, and close the files."""
        self.save()
        for entry in self._entries.values():
            if entry.file is not None:
                entry.file.close()
                entry.file = None
        self._open_count = 0


class FileFollower:
    """The receiver. Event loop only."""

    name = "files"

    def __init__(
        self, files: FileSet, logs: LogAggregator, project_id: str, counts: ReceiverCounts
    ) -> None:
        self._files = files
        self._logs = logs
        self._project_id = project_id
        self._counts = counts
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="files")

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            try:
                batch = await loop.run_in_executor(None, self._next)
                if batch.ends and await self._store(batch):
                    await loop.run_in_executor(None, self._files.stored, batch)
            except Exception:
                # What is wrong with one turn must not end all following.
                log.exception("following files failed")
                await loop.run_in_executor(None, self._files.rewind)
                batch = Batch()
            self._counts.connections.set(self._files.open_files)
            if not batch.ends:
                await self._wait(POLL_S)
        await loop.run_in_executor(None, self._files.close)

    def _next(self) -> Batch:
        self._files.discover()
        self._files.save_due()
        return self._files.read()

    async def _store(self, batch: Batch) -> bool:
        """Store a batch, however long it takes; false where obsd stops before."""
        if not batch.groups:
            return True
        body = encode_request(batch.groups)
        for attempt in range(1 << 30):
            try:
                outcome = await self._logs.write(self._project_id, body)
            except BadInputError as error:
                log.error("lines of files were refused", extra={"reason": str(error)})
                self._counts.drop(REFUSED, batch.records)
                return True
            except ObsdError as error:
                delay_s = _RETRY_S[min(attempt, len(_RETRY_S) - 1)]
                if attempt == 0:
                    log.warning("followed files have to wait", extra={"reason": str(error)})
                if await self._wait(delay_s):
                    return False
            else:
                self._counts.messages.inc(batch.records)
                self._counts.drop(REFUSED, sum(outcome.rejected.values()))
                return True
        return False

    async def _wait(self, seconds: float) -> bool:
        """Wait, or less when told to stop; whether that was so."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True


def open_receiver(context: ReceiverContext) -> FileFollower | None:
    """The receiver; None where the configuration names no files."""
    options = context.config.files
    if not options.paths:
        return None
    from obsd import _native

    checkpoint = Checkpoint.open(context.config.storage.data_dir / FILE)
    files = FileSet(
        [parse_spec(text) for text in options.paths],
        list(options.exclude),
        checkpoint,
        _native.LineJoiner,
        from_end=options.start == "end",
    )
    return FileFollower(
        files, context.logs, options.project, context.telemetry.receivers.of("files")
    )
