"""All that LogQL asks of an engine; a test can answer it from a list of records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from obsd.model.budget import QueryBudget

if TYPE_CHECKING:
    from obsd.model.log_lines import LogLines
    from obsd.model.log_predicate import Predicate

Weight = Literal["records", "bytes"]


class Storage(Protocol):
    """One project's records. Every method blocks, and all are thread-safe.

    Times are nanoseconds since 1970; ranges have their start and not their end.
    """

    def scan(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        budget: QueryBudget,
        *,
        newest_first: bool = True,
        names: Collection[str] | None = None,
    ) -> Iterator[LogLines]:
        """The lines of all matching records in order of time, a batch at a time.

        Of structured metadata there is what `names` has, or everything.
        """

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
