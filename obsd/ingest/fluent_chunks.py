"""Chunks that were taken, so that one which is sent again is acknowledged and not stored again.

A sender that sees no acknowledgement in time sends a chunk again, often on another connection and
while the first is still being written.

Concurrency: event loop only.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import Final

MAX_CHUNKS: Final = 65_536
"""That are remembered once they are stored."""

ChunkKey = bytes


def chunk_key(message: bytes) -> ChunkKey:
    """What tells a chunk. All of its message does: ids are not unique where senders are simple."""
    return hashlib.blake2b(message, digest_size=16).digest()


class ChunkMemory:
    """Chunks that are stored, the latest, and those that are being written."""

    def __init__(self, max_chunks: int = MAX_CHUNKS) -> None:
        self._max_chunks = max_chunks
        self._stored: OrderedDict[ChunkKey, None] = OrderedDict()
        self._writing: dict[ChunkKey, asyncio.Future[bool]] = {}

    def is_stored(self, key: ChunkKey) -> bool:
        return key in self._stored

    def writing(self, key: ChunkKey) -> asyncio.Future[bool] | None:
        """Whether it is being written: what is given becomes true once it is stored."""
        return self._writing.get(key)

    def begin(self, key: ChunkKey) -> None:
        """It is being written from now on; `end` must follow."""
        assert key not in self._writing
        self._writing[key] = asyncio.get_running_loop().create_future()

    def end(self, key: ChunkKey, *, is_stored: bool) -> None:
        """It has been written, or could not be."""
        if is_stored:
            self._stored[key] = None
            self._stored.move_to_end(key)
            if len(self._stored) > self._max_chunks:
                self._stored.popitem(last=False)
        self._writing.pop(key).set_result(is_stored)
