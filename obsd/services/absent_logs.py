"""What a project without logs answers; so that a question makes no project."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obsd.model.budget import QueryBudget
from obsd.model.deletion import Deletion
from obsd.model.top_counts import TopCounts

if TYPE_CHECKING:
    from obsd.model.field_statistics import FieldStatistics
    from obsd.model.log_lines import LogLines
    from obsd.model.log_pattern import LogPattern, PatternValues
    from obsd.model.log_predicate import Predicate
    from obsd.model.log_record import LogRecord
    from obsd.model.log_sighting import LogSighting
    from obsd.model.resource_logs import ResourceLogs
    from obsd.services.log_store import Weight


@dataclass(frozen=True, slots=True)
class EmptyPage:
    """No record matches."""

    records: Sequence[LogRecord] = ()
    entries: bytes = b"[]"
    total: int = 0
    total_exact: bool = True
    next_cursor: str | None = None


class AbsentLogs:
    """The reading half of `LogStore`."""

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
    ) -> EmptyPage:
        return EmptyPage()

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
        return iter(())

    def last_row(self) -> int:
        return -1

    def arrived(
        self, after_row: int, limit: int, predicate: Predicate, budget: QueryBudget
    ) -> tuple[Sequence[LogRecord], int]:
        return [], after_row

    def count_arrived(
        self,
        after_row: int,
        through_row: int,
        predicate: Predicate,
        by: Sequence[str],
        budget: QueryBudget,
    ) -> Sequence[tuple[tuple[str, ...], int]]:
        return []

    def sightings(
        self,
        after_row: int,
        through_row: int,
        predicate: Predicate,
        by: Sequence[str],
        shapes: Sequence[str],
        step_ns: int,
        budget: QueryBudget,
    ) -> Sequence[LogSighting]:
        return []

    def count_kept(
        self,
        predicate: Predicate,
        keep: Callable[[str, str], bool],
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str],
        budget: QueryBudget,
    ) -> Sequence[tuple[tuple[str, ...], NDArray[np.int64]]]:
        return self.count_over_time(predicate, start_ns, end_ns, step_ns, by, budget)

    def search_entries(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        cursor: str | None,
        budget: QueryBudget,
        *,
        newest_first: bool = True,
    ) -> EmptyPage:
        return EmptyPage()

    def count_patterns_kept(
        self, start_ns: int, end_ns: int, step_ns: int, budget: QueryBudget
    ) -> Sequence[tuple[tuple[str, ...], NDArray[np.int64]]]:
        return []

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
        if by:
            return []
        return [((), np.zeros(-((start_ns - end_ns) // step_ns), np.int64))]

    def resources(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        budget: QueryBudget,
        *,
        weigh: bool = False,
    ) -> Sequence[ResourceLogs]:
        return []

    def patterns(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        samples: int,
        budget: QueryBudget,
    ) -> Sequence[LogPattern]:
        return []

    def pattern_values(
        self,
        pattern_id: str,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> PatternValues | None:
        return None

    def pattern_ids(self, bodies: Sequence[str]) -> Sequence[str]:
        return [""] * len(bodies)

    def pattern_template(self, pattern_id: str) -> tuple[str, str] | None:
        return None

    def field_statistics(
        self,
        predicate: Predicate,
        field: str,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str],
        quantiles: Sequence[float],
        budget: QueryBudget,
    ) -> Sequence[tuple[tuple[str, ...], Mapping[int, FieldStatistics]]]:
        return []

    def field_values(
        self,
        predicate: Predicate,
        field: str,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> TopCounts:
        return TopCounts(())

    def field_names(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> TopCounts:
        return TopCounts(())

    def count_deletable(
        self, predicate: Predicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> int:
        return 0

    def delete(
        self, predicate: Predicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> Deletion:
        return Deletion("", 0, start_ns, end_ns, through_row=-1, matched=0, done_ms=0)

    def deletions(self) -> Sequence[Deletion]:
        return []
