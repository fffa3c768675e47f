"""How far each file has been stored, so that a restart goes on where the last run ended.

A file is known by its device and inode and by its first bytes: inodes are given again, and a
rotated copy has another. The file is `followed_files.json` in the data directory; it is replaced as
a whole.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Final

import msgspec

from obsd.durable.files import replace_file

log = logging.getLogger(__name__)

FILE: Final = "followed_files.json"
HEAD_BYTES: Final = 1024
"""First bytes that tell one file's content from another's."""

KEPT_S: Final = 14 * 86_400.0
"""How long a file that is gone is remembered; its copy may come back compressed."""

MAX_PLACES: Final = 20_000


class Head(msgspec.Struct, frozen=True):
    """The first bytes of a content."""

    length: int
    digest: str

    @staticmethod
    def of(content: bytes) -> Head:
        head = content[:HEAD_BYTES]
        return Head(len(head), hashlib.blake2b(head, digest_size=16).hexdigest())

    @property
    def is_full(self) -> bool:
        """Whether it is long enough to say that two contents are one."""
        return self.length == HEAD_BYTES

    def begins(self, content: bytes) -> bool:
        """Whether a content begins with these bytes."""
        return len(content) >= self.length and Head.of(content[: self.length]) == self


class Place(msgspec.Struct):
    """How far a file was stored.

    Attributes:
        path: where the file was when it was last seen.
        offset: all before it is stored; of the uncompressed content.
        is_done: a compressed file that was read to its end.
        seen_s: when it was last seen, in Unix time.
    """

    path: str
    device: int
    inode: int
    head: Head
    offset: int
    is_done: bool
    seen_s: float


class _Document(msgspec.Struct):
    version: int
    places: list[Place]


class Checkpoint:
    """The places of all files. One thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[tuple[int, int], Place] = {}
        self._past: list[Place] = []  # Contents whose file has another content now.

    @staticmethod
    def open(path: Path) -> Checkpoint:
        """Read it; one that cannot be read is reported and begun anew."""
        checkpoint = Checkpoint(path)
        if not path.exists():
            return checkpoint
        try:
            document = msgspec.json.decode(path.read_bytes(), type=_Document)
        except (OSError, msgspec.DecodeError) as error:
            log.error(
                "cannot read how far files were followed; they are read from their beginning",
                extra={"path": str(path), "error": str(error)},
            )
            return checkpoint
        for place in document.places:
            key = place.device, place.inode
            if key in checkpoint._places:
                checkpoint._past.append(place)
            else:
                checkpoint._places[key] = place
        return checkpoint

    def find(self, device: int, inode: int, content: bytes, path: str) -> Place | None:
        """The place of a file, or of the file of which it is a copy."""
        own = self._places.get((device, inode))
        if own is not None and own.head.begins(content):
            return own
        directory = str(Path(path).parent)
        same = [
            place
            for place in (*self._places.values(), *self._past)
            if place.head.is_full
            and place.head.begins(content)
            and str(Path(place.path).parent) == directory
        ]
        return max(same, key=lambda place: place.offset, default=None)

    def put(self, place: Place) -> None:
        """Note a place; what the same inode held before is kept among the past."""
        key = place.device, place.inode
        before = self._places.get(key)
        if before is not None and before.offset > place.offset and before.head.is_full:
            self._past.append(before)
        self._places[key] = place

    def leave(self, place: Place) -> None:
        """Note a content that its file no longer has. It may change until the next `save`."""
        if place.head.is_full and not any(each is place for each in self._past):
            self._past.append(place)

    def save(self, now_s: float) -> None:
        """Write it durably.

        Raises:
            OSError: the disk refuses; the last one stays.
        """
        old_s = now_s - KEPT_S
        self._past = [place for place in self._past if place.seen_s > old_s][-MAX_PLACES:]
        kept = sorted(self._places.values(), key=lambda place: place.seen_s)[-MAX_PLACES:]
        self._places = {(p.device, p.inode): p for p in kept if p.seen_s > old_s}
        document = _Document(1, [*self._places.values(), *self._past])
        replace_file(self._path, [msgspec.json.encode(document)])
