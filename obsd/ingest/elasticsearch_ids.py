"""The ids of documents that were stored lately, so that one that is sent again is known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import Enum
from typing import Final

MAX_IDS: Final = 100_000  # About 15 MB; the retries of a sender come within seconds.


class Seen(Enum):
    """What is known of an id."""

    NEVER = 0
    SAME = 1
    OTHER = 2


class RecentIds:
    """Digests of ids, with those of what was stored under them. Changed on the event loop only."""

    def __init__(self, limit: int = MAX_IDS) -> None:
        self._limit = limit
        self._contents: dict[bytes, bytes] = {}

    def look_up(self, key: bytes, content: bytes) -> Seen:
        """Whether this content, or another, was stored under a key; from any thread."""
        known = self._contents.get(key)
        if known is None:
            return Seen.NEVER
        return Seen.SAME if known == content else Seen.OTHER

    def remember(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in what is durable; the oldest are forgotten."""
        for key, content in pairs:
            self._contents.pop(key, None)
            self._contents[key] = content
        while len(self._contents) > self._limit:
            del self._contents[next(iter(self._contents))]


def id_key(project_id: str, index: str, doc_id: str) -> bytes:
    """A key for an id, which is unique within its index."""
    text = "\0".join((project_id, index, doc_id))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def content_digest(source: bytes) -> bytes:
    return hashlib.blake2b(source, digest_size=8).digest()
