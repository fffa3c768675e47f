"""One file that is followed: its new lines, joined to records, with the places behind them.

A file that is renamed is read to its end under its new name or none. One that becomes shorter, or
begins with other bytes, was truncated or rewritten, and is read from its beginning. Compressed
files are read once.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections import deque
from dataclasses import dataclass
from typing import IO, Final, Protocol, cast

from obsd.ingest.files.checkpoint import HEAD_BYTES, Head, Place

MAX_LINE_BYTES: Final = 256 << 10
"""A longer line becomes several records: nothing is lost, and none takes all memory."""

READ_BYTES: Final = 256 << 10
JOIN_WAIT_S: Final = 1.0
"""How long a record waits for lines that continue it."""


class Joiner(Protocol):
    """Joins the lines of one source that are one record, as a stack trace's are."""

    def feed(self, line: bytes) -> tuple[bytes, int] | None:
        """Take a line; returns the record before it, and of how many lines it is, if it is over."""

    def flush(self) -> tuple[bytes, int] | None:
        """The record that waits for more lines."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A record, and the place in the file behind it."""

    text: str
    end: int


class FollowedFile:
    """One open file. One thread at a time."""

    def __init__(self, path: str, service: str, joiner: Joiner) -> None:
        """Open it.

        Raises:
            OSError: it cannot be read.
        """
        self.path = path
        self.service = service
        self._joiner = joiner
        self._raw = open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 - closed by `close`
        status = os.fstat(self._raw.fileno())
        self.key = status.st_dev, status.st_ino
        self.is_compressed = path.endswith(".gz")
        self._source: IO[bytes] = self._raw
        self.is_done = False  # A compressed file that was read to its end.
        self.is_broken = False  # It cannot be read, as far as one knows.
        self.generation = 0
        """Counts the contents that it has had, while it was open."""
        self._left: dict[int, Place] = {}
        self._start(0)
        self._head = b""

    def _start(self, offset: int) -> None:
        self.stored = offset  # What is before it is stored.
        self._read = offset
        self._rest = b""  # The beginning of a line.
        self._line_ends: deque[int] = deque()  # Of the lines that the joiner holds.
        self._waits_since_s: float | None = None

    def open_content(self) -> bytes:
        """Get ready to read; returns the first bytes of the content.

        Raises:
            OSError, EOFError, zlib.error: it cannot be read, or is not compressed as it says.
        """
        if self.is_compressed:
            self._raw.seek(0)
            self._source = cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw, mode="rb"))
            self._head = self._source.read(HEAD_BYTES)
            self._source.seek(0)
        else:
            self._head = os.pread(self._raw.fileno(), HEAD_BYTES, 0)
        return self._head

    def resume(self, place: Place) -> None:
        """Go on behind what is stored already."""
        self.is_done = place.is_done
        size = os.fstat(self._raw.fileno()).st_size
        offset = place.offset if self.is_compressed else min(place.offset, size)
        if self.is_compressed and not self.is_done:
            self._source.seek(offset)
        self._start(offset)

    def skip(self) -> None:
        """Leave out what is there now."""
        self.is_done = self.is_compressed
        self._start(0 if self.is_compressed else self.size_bytes)

    def rewind(self) -> None:
        """Go back to what is not stored yet."""
        self._joiner.flush()
        if self.is_compressed:
            self.is_done = False
            self._source.seek(self.stored)
        self._start(self.stored)

    @property
    def place(self) -> Place:
        """How far it is stored; `seen_s` is the caller's to set."""
        done = self.is_done and not self._line_ends and not self._rest
        head = Head.of(self._head)
        return Place(self.path, *self.key, head, self.stored, done, 0.0)

    @property
    def has_unstored(self) -> bool:
        """Whether lines were read that are not stored yet."""
        return self._read > self.stored

    def read(self, now_s: float) -> list[FileRecord]:
        """The records that new bytes complete; empty where there are none.

        Raises:
            OSError, EOFError, zlib.error: it cannot be read.
        """
        if self.is_broken:
            return []
        if self.is_done:
            return self._waited_enough(now_s)
        if not self.is_compressed:
            self._notice_truncation()
        chunk = self._chunk()
        if not chunk:
            return self._at_the_end(now_s)
        self._waits_since_s = now_s
        return self._lines(chunk)

    def _chunk(self) -> bytes:
        if self.is_compressed:
            return self._source.read(READ_BYTES)
        return os.pread(self._raw.fileno(), READ_BYTES, self._read)

    def _notice_truncation(self) -> None:
        fd = self._raw.fileno()
        size = os.fstat(fd).st_size
        if size == self._read:
            return
        begins = os.pread(fd, HEAD_BYTES, 0)
        if size < self._read or not begins.startswith(self._head):
            self._left[self.generation] = self.place
            self.generation += 1
            self._joiner.flush()  # What it holds of the old content is gone from the file.
            self._start(0)
        self._head = begins

    def _at_the_end(self, now_s: float) -> list[FileRecord]:
        if self.is_compressed:
            self.is_done = True
            return self.finish()
        return self._waited_enough(now_s)

    def _waited_enough(self, now_s: float) -> list[FileRecord]:
        since_s = self._waits_since_s
        if not self._line_ends or (since_s is not None and now_s - since_s < JOIN_WAIT_S):
            return []
        return self._records(self._joiner.flush())

    def finish(self) -> list[FileRecord]:
        """What is left once nothing more will come: a last line without its end, too."""
        records: list[FileRecord] = []
        if self._rest:
            rest, self._rest = self._rest, b""
            records += self._line(rest, self._read)
        return records + self._records(self._joiner.flush())

    def _lines(self, chunk: bytes) -> list[FileRecord]:
        records: list[FileRecord] = []
        end = self._read - len(self._rest)
        self._read += len(chunk)
        *lines, rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            records += self._line(line, end + len(line) + 1)
            end += len(line) + 1
        cut = len(rest) // MAX_LINE_BYTES * MAX_LINE_BYTES
        if cut:
            records += self._line(rest[:cut], end + cut)
        self._rest = rest[cut:]
        return records

    def _line(self, line: bytes, end: int) -> list[FileRecord]:
        """One line that ends at a place in the file, in pieces where it is too long."""
        records: list[FileRecord] = []
        pieces = range(0, max(len(line), 1), MAX_LINE_BYTES)
        line_end = end - len(line)
        for at in pieces:
            piece = line[at : at + MAX_LINE_BYTES]
            is_last = at == pieces[-1]
            # Before a piece's end by at most the line feed, so that no byte is left out.
            self._line_ends.append(end if is_last else line_end - 1 + at + len(piece))
            records += self._records(self._joiner.feed(piece.removesuffix(b"\r")))
        return records

    def _records(self, joined: tuple[bytes, int] | None) -> list[FileRecord]:
        if joined is None:
            return []
        text, line_count = joined
        for _ in range(line_count):
            end = self._line_ends.popleft()
        return [FileRecord(text.decode("utf-8", "replace"), end)]

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._raw.fileno()).st_size

    def note_stored(self, generation: int, end: int) -> None:
        """Of a content, all before a place is stored."""
        if generation == self.generation:
            self.stored = end
        elif generation in self._left:
            self._left[generation].offset = end

    def take_left(self) -> list[Place]:
        """How far contents were stored that it had: copies of them may be there.

        The last of them may still change.
        """
        left = list(self._left.values())
        self._left = {g: place for g, place in self._left.items() if g == self.generation - 1}
        return left

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost when it is closed until it changes."""
        return self.is_at_end and not self._line_ends

    @property
    def is_at_end(self) -> bool:
        """Whether all bytes that are there now have been read."""
        return (
            self.is_broken
            or self.is_done
            or (not self.is_compressed and self._read >= self.size_bytes)
        )

    def close(self) -> None:
        if self._source is not self._raw:
            self._source.close()
        self._raw.close()


READ_ERRORS: Final = (OSError, EOFError, zlib.error)
