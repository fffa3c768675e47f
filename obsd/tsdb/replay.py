"""Replay: what the WAL holds goes through the decoder once more, on every core."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from obsd import _native
from obsd.durable.wal import Wal
from obsd.model.errors import CorruptDataError, UndecodableError
from obsd.tsdb import filenames
from obsd.tsdb.wal_record import WalRecord
from obsd.tsdb.write import NO_LIMITS, decode

log = logging.getLogger(__name__)

_DECODED_AHEAD: Final = 32
"""Requests that are decoded before they are applied: the WAL is not in memory as a whole."""


def replay(
    wal: Wal,
    registry: _native.Registry,
    apply: Callable[[_native.Batch], object],
    directory: Path,
) -> None:
    """Call `apply` with each request of the WAL, decoded, in the order in which they came.

    What cannot be read or decoded is reported, and the segments stay in the quarantine for whoever
    wants to rescue something from them: the next flush deletes the WAL.
    """
    undecodable = 0

    def decode_payload(payload: bytes) -> _native.Batch:
        return decode(registry, WalRecord.decode(payload), NO_LIMITS)

    def finish(decoded: Future[_native.Batch]) -> None:
        nonlocal undecodable
        try:
            apply(decoded.result())
        except (UndecodableError, CorruptDataError) as error:
            undecodable += 1
            log.error("WAL record does not decode", extra={"error": str(error)})

    with ThreadPoolExecutor(2, thread_name_prefix="wal-replay") as pool:
        decoding: deque[Future[_native.Batch]] = deque()
        for payload in wal.replay():
            decoding.append(pool.submit(decode_payload, payload))
            if len(decoding) >= _DECODED_AHEAD:
                finish(decoding.popleft())
        while decoding:
            finish(decoding.popleft())
    if undecodable or wal.damage_count:
        wal.keep_copies(directory / filenames.QUARANTINE_DIRECTORY)
