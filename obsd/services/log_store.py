"""All that the log service asks of an engine; a test can answer it from a list of records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from obsd.model.budget import QueryBudget

if TYPE_CHECKING:
    from obsd.model.deletion import Deletion
    from obsd.model.field_statistics import FieldStatistics
    from obsd.model.log_lines import LogLines
    from obsd.model.log_pattern import LogPattern, PatternValues
    from obsd.model.log_predicate import Predicate
    from obsd.model.log_record import LogRecord
    from obsd.model.log_sighting import LogSighting
    from obsd.model.resource_logs import ResourceLogs
    from obsd.model.top_counts import TopCounts


Weight = Literal["records", "bytes"]
"""What a record counts for: one, or the UTF-8 bytes of its body's text (JSON of a map or list)."""


class LogWriteOutcome(Protocol):
    """What became of a request's records."""

    @property
    def accepted(self) -> int: ...

    @property
    def rejected(self) -> Mapping[str, int]:
        """How many were refused, by reason."""

    @property
    def messages(self) -> Sequence[str]:
        """The first few cases in words."""


class LogPage(Protocol):
    """One page of a search."""

    @property
    def records(self) -> Sequence[LogRecord]: ...

    @property
    def total(self) -> int:
        """How many match in all; at least so many, where `total_exact` is false."""

    @property
    def total_exact(self) -> bool: ...

    @property
    def next_cursor(self) -> str | None:
        """Where the next page begins; None at the end."""


class LogEntries(Protocol):
    """One page of a search, its records as the product's API shows them."""

    @property
    def entries(self) -> bytes:
        """A list in JSON; the form of its elements is in docs/api/logs.md."""

    @property
    def total(self) -> int: ...

    @property
    def total_exact(self) -> bool: ...

    @property
    def next_cursor(self) -> str | None: ...


class LogArrivals(Protocol):
    """The records that came between two calls of `LogTail.take`."""

    @property
    def count(self) -> int: ...

    @property
    def missed(self) -> int:
        """How many more came, and were let go for want of room."""

    def search(
        self, predicate: Predicate, limit: int, budget: QueryBudget
    ) -> tuple[Sequence[LogRecord], int]:
        """The first matching records by time, and how many match in all."""


class LogTail(Protocol):
    """Keeps what arrives until it is taken, as far as there is room. Thread-safe."""

    @property
    def is_empty(self) -> bool: ...

    def take(self) -> LogArrivals:
        """What has come since the last call. Blocks for as long as the records take."""


class LogStore(Protocol):
    """One project's logs. Every method blocks, and all are thread-safe.

    Times are nanoseconds since 1970; ranges have their start and not their end.
    """

    def write(
        self,
        body: bytes,
        on_durable: Callable[[Exception | None], None],
        *,
        distinct: bool = False,
    ) -> LogWriteOutcome:
        """Take in an OTLP `ExportLogsServiceRequest`; the callback tells when the disk has it.

        Records that came before are passed over; with `distinct` none is taken to have.
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
    ) -> LogPage: ...

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

    def last_row(self) -> int:
        """The number of the record that arrived last; -1 before the first."""

    def arrived(
        self, after_row: int, limit: int, predicate: Predicate, budget: QueryBudget
    ) -> tuple[Sequence[LogRecord], int]:
        """The first matching records numbered above `after_row`, in order of arrival.

        Records are numbered as they arrive. Returns the last number that was looked at, too: where
        the next call goes on.
        """

    def count_arrived(
        self,
        after_row: int,
        through_row: int,
        predicate: Predicate,
        by: Sequence[str],
        budget: QueryBudget,
    ) -> Sequence[tuple[tuple[str, ...], int]]:
        """Matching records numbered above `after_row`, up to `through_row`, by texts of fields."""

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
        """Matching records numbered above `after_row`, up to `through_row`, by kind.

        Records of one kind have the same texts of the fields `by`, the same texts but for their
        digits of `shapes`, and times of the same step. A kind may be told several times.
        """

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
        """As `count_over_time`, and further back: by the counts of records that are gone.

        `by` is of "service" and "level"; `keep` says of these what `predicate` does of records.
        """

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
    ) -> LogEntries:
        """The same as `search`; a page whose records take too much memory has fewer of them."""

    def count_patterns_kept(
        self, start_ns: int, end_ns: int, step_ns: int, budget: QueryBudget
    ) -> Sequence[tuple[tuple[str, ...], NDArray[np.int64]]]:
        """All records by the ids of their patterns, as far back as counts are kept."""

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
        """Matching records, or bytes of their bodies, in each step by the texts of fields.

        Sorted by these texts; a field that a record lacks is "". Without fields there is one row,
        of (), even when nothing matches.
        """

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
        """What produced the matching records; `weigh` counts the bytes of bodies, too."""

    def patterns(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        samples: int,
        budget: QueryBudget,
    ) -> Sequence[LogPattern]:
        """The matching records by the template of their bodies, the most frequent first."""

    def pattern_values(
        self,
        pattern_id: str,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> PatternValues | None:
        """What the newest matching records of a pattern have in its holes; None for no pattern."""

    def pattern_ids(self, bodies: Sequence[str]) -> Sequence[str]:
        """The id of each line's pattern, as searches find it; lines of a new one are learnt."""

    def pattern_template(self, pattern_id: str) -> tuple[str, str] | None:
        """What a pattern is called by now, and its template; None where it is not known."""

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
        """A field's values by the texts of others, in the steps that have any, by their number."""

    def field_values(
        self,
        predicate: Predicate,
        field: str,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> TopCounts: ...

    def field_names(
        self, predicate: Predicate, start_ns: int, end_ns: int, limit: int, budget: QueryBudget
    ) -> TopCounts: ...

    def count_deletable(
        self, predicate: Predicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> int:
        """How many records `delete` would delete now."""

    def delete(
        self, predicate: Predicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> Deletion:
        """Delete what matches and is there now: durable, and hidden, when this returns."""

    def deletions(self) -> Sequence[Deletion]:
        """Those that are not done, and the last ones that are; oldest first."""

    def erase(self) -> bool:
        """Take what is deleted out of every file; false when nothing is left to do."""

    def open_tail(self, max_bytes: int) -> LogTail:
        """What is written from now on, until `close_tail`."""

    def close_tail(self, tail: Any) -> None:  # noqa: ANN401 - the engine's own tail
        """Give no more to it."""

    def flush_due(self) -> bool: ...

    def flush(self) -> None: ...

    def compact(self) -> bool: ...

    def settle(self) -> None:
        """Flush, and merge as far as what is there now ever will be."""

    def apply_retention(self) -> int: ...

    def stats(self) -> Any:  # noqa: ANN401 - the engine's own numbers, for its own telemetry
        ...

    def close(self) -> None: ...
