"""All that LogQL asks of an engine; a test can answer it from a list of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from obsd.model.budget import QueryBudget

if TYPE_CHECKING:
    from obsd.model.log_predicate import Predicate
    from obsd.model.log_record import LogRecord

Weight = Literal["records", "bytes"]


class Page(Protocol):
    """One page of a search."""

    @property
    def records(self) -> Sequence[LogRecord]: ...

    @property
    def next_cursor(self) -> str | None:
        """Where the next page begins; None at the end."""


class Storage(Protocol):
    """One project's records. Every method blocks, and all are thread-safe.

    Times are nanoseconds since 1970; ranges have their start and not their end.
    """

    def search(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        cursor: str | None,
        budget: QueryBudget,
        *,
        newest_first: bool = True,
    ) -> Page:
        """Matching records in order of time and, of one time, of arrival; or the reverse."""

    def count_over_time(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str],
        budget: QueryBudget,
        weight: Weight = "records",
    ) -> Sequence[tuple[tuple[str, ...], NDArray[np.int64]]]:
        """Matching records in each step from `start_ns` on, or the bytes of their bodies.

        In all, or by the values of fields; records without a field are of "".
        """
