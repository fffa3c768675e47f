"""What of a query the engine can decide: predicates that rule out records before the stages."""

from __future__ import annotations

from collections.abc import Iterable

from obsd.logql.ast import LogQuery
from obsd.model.log_predicate import Predicate
from obsd.model.matcher import Matcher


def matchers_predicate(matchers: Iterable[Matcher]) -> Predicate:
    """The records of the streams that a selector means, exactly."""
    raise NotImplementedError


def stream_predicate(query: LogQuery) -> Predicate:
    """The records that a query's stages have to look at: its streams, and more that is certain.

    No record is left out that the stages would let through; the stages are still to be applied.
    """
    raise NotImplementedError
