"""Indexer acknowledgement: what was sent on a channel, and is on disk.

A request is answered when it is durable, so that every id that was given is acknowledged. After a
restart the ids of before are unknown, and senders that still wait for them send again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_CHANNELS: Final = 10_000


class Acks:
    """The number of ids that each channel was given. Event loop only."""

    def __init__(self, limit: int = MAX_CHANNELS) -> None:
        self._limit = limit
        self._next: dict[tuple[str, str], int] = {}

    def give(self, project_id: str, channel: str) -> int:
        """The id of a request that is durable; channels unused for the longest are forgotten."""
        key = (project_id, channel)
        ack_id = self._next.pop(key, 0)
        self._next[key] = ack_id + 1
        while len(self._next) > self._limit:
            del self._next[next(iter(self._next))]
        return ack_id

    def are_durable(self, project_id: str, channel: str, ids: Iterable[int]) -> dict[str, bool]:
        """By id, whether it was given on this channel."""
        given = self._next.get((project_id, channel), 0)
        return {str(ack_id): 0 <= ack_id < given for ack_id in ids}
