"""Deletions by query, of logs and of traces, as the product API has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from obsd.api.params import InvalidParameterError
from obsd.api.relative_time import parse_time_or_relative_ns
from obsd.model.rfc3339 import format_rfc3339_ns

if TYPE_CHECKING:
    from obsd.model.deletion import Deletion

_MAX_TIME_NS: Final = (1 << 63) - 1


class DeletionEntry(msgspec.Struct):
    """A deletion as the API shows it.

    Attributes:
        state: pending, then done.
        files_rewritten: files that were written anew, or removed.
        error: why the last attempt to write files anew failed; "" without one.
    """

    id: str
    created: str
    from_: str = msgspec.field(name="from")
    to: str
    matched: int
    state: str
    done: str | None
    files_rewritten: int
    error: str


def deletion_entry(deletion: Deletion) -> DeletionEntry:
    """The entry of a deletion."""
    done_ms = deletion.done_ms
    return DeletionEntry(
        id=deletion.id,
        created=format_rfc3339_ns(deletion.created_ms * 1_000_000),
        from_=format_rfc3339_ns(deletion.start_ns),
        to=format_rfc3339_ns(deletion.end_ns),
        matched=deletion.matched,
        state="pending" if done_ms is None else "done",
        done=None if done_ms is None else format_rfc3339_ns(done_ms * 1_000_000),
        files_rewritten=deletion.files,
        error=deletion.failure,
    )


def deletion_time(name: str, value: str | float, now_ns: int) -> int:
    """A time of a body.

    Raises:
        InvalidParameterError: it is none.
    """
    try:
        time_ns = parse_time_or_relative_ns(str(value), now_ns)
    except ValueError as error:
        raise InvalidParameterError(name, error) from error
    return min(max(time_ns, 0), _MAX_TIME_NS)
