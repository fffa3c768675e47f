"""Traces that metrics refer to: sampling keeps what an exemplar leads to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from obsd.model.budget import QueryBudget
from obsd.model.errors import QueryError
from obsd.model.matcher import Matcher, MatchOp
from obsd.services.projects import Projects
from obsd.services.span_store import SpanStore

log = logging.getLogger(__name__)

MAX_PINNED: Final = 100_000
"""Of one day: an exemplar of each series every few minutes."""

_EVERY_SERIES: Final = [Matcher(MatchOp.NOT_EQUAL, "__name__", "")]
_LABELS: Final = ("trace_id", "traceID", "TraceID", "traceId")
_ID_DIGITS: Final = 32
_MS_NS: Final = 1_000_000


def pin_exemplars(projects: Projects, project_id: str, store: SpanStore) -> None:
    """Have sampling keep the traces of a project's exemplars. To be called before `store` is used.

    Where there are too many exemplars to look at none are kept for them: traces must not outlive
    their retention for that.
    """

    def pinned(start_ns: int, end_ns: int) -> Iterator[bytes]:
        engine = projects.existing(project_id)
        if engine is None:
            return
        try:
            found = engine.exemplars(
                [_EVERY_SERIES], start_ns // _MS_NS, -(-end_ns // _MS_NS), QueryBudget()
            )
        except QueryError as error:
            extra = {"project": project_id, "error": str(error)}
            log.warning("sampling does not know which traces exemplars name", extra=extra)
            return
        wanted = (each.labels for _, exemplars in found for each in exemplars)
        for count, labels in enumerate(wanted):
            if count >= MAX_PINNED:
                return
            named = dict(labels.pairs)
            for label in _LABELS:
                if (trace_id := named.get(label)) is not None:
                    yield from _parse(trace_id)

    store.pinned.append(pinned)


def _parse(trace_id: str) -> Iterator[bytes]:
    """The id's bytes; nothing where it is none."""
    try:
        parsed = bytes.fromhex(trace_id.rjust(_ID_DIGITS, "0"))
    except ValueError:
        return
    if len(parsed) == _ID_DIGITS // 2:
        yield parsed
