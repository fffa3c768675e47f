"""The traces that are deleted and may still be in files.

A deletion names its traces, since what they are deleted for may be in one span of many. What
arrives of such a trace before its erasure is done is deleted with it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from obsd import _native
from obsd.segments.deletions import Deletions, Encoded, Pending

MAX_TRACES: Final = 1_000_000
"""Of all deletions that are not done together: in memory, and in a file that each one replaces."""

_ID_BYTES: Final = 16


def encode_traces(trace_ids: Sequence[bytes]) -> Encoded:
    """What `Deletions` keeps of these traces."""
    return ("traces", base64.b64encode(b"".join(sorted(trace_ids))).decode())


def decode_traces(gone: Encoded) -> list[bytes]:
    """The traces of a deletion.

    Raises:
        ValueError: they are none.
    """
    kind, text = gone
    packed = base64.b64decode(str(text), validate=True)
    if kind != "traces" or len(packed) % _ID_BYTES:
        raise ValueError(f"a deletion of {kind!r}, {len(packed)} bytes")
    return [packed[at : at + _ID_BYTES] for at in range(0, len(packed), _ID_BYTES)]


def check_traces(gone: Encoded) -> None:
    """See whether a stored deletion is one of traces.

    Raises:
        ValueError: it is not.
    """
    decode_traces(gone)


def trace_set(pending: Sequence[Pending]) -> _native.SpanTraceSet:
    """The traces of some deletions."""
    ids = [trace_id for each in pending for trace_id in decode_traces(each.gone)]
    return _native.SpanTraceSet(ids)


class HiddenTraces:
    """Those of all deletions that are pending. Thread-safe."""

    def __init__(self, deletions: Deletions) -> None:
        self._deletions = deletions
        self._made: tuple[tuple[Pending, ...], _native.SpanTraceSet] = ((), trace_set(()))

    @property
    def traces(self) -> _native.SpanTraceSet | None:
        """None when there are none."""
        pending = self._deletions.pending
        if not pending:
            return None
        made_of, traces = self._made
        if made_of is not pending:
            traces = trace_set(pending)
            self._made = (pending, traces)
        return traces
