"""Log queries: the lines of streams."""

from __future__ import annotations

from typing import Literal

from obsd.logql.ast import LogQuery
from obsd.logql.result import LogStreams
from obsd.logql.storage import Storage
from obsd.model.budget import QueryBudget

Direction = Literal["forward", "backward"]


def run_log_query(
    expr: LogQuery,
    storage: Storage,
    start_ns: int,
    end_ns: int,
    limit: int,
    direction: Direction,
    budget: QueryBudget,
    interval_ns: int = 0,
) -> LogStreams:
    """The first `limit` lines from `start_ns` to before `end_ns` that the stages let through.

    Args:
        expr: the query.
        storage: where the lines are.
        start_ns: the first time.
        end_ns: the first time that is too late.
        limit: how many lines, over all streams.
        direction: `backward` begins with the newest.
        budget: what it may take; a line read is a sample.
        interval_ns: where not 0, each stream's lines are at least so far from one another.

    Raises:
        QueryError: the budget says so.
    """
    raise NotImplementedError
