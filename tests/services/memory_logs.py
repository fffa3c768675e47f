"""A log store that is a list of records; it fits what the service asks of an engine."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from obsd.api.log_entry import log_entry
from obsd.model.budget import QueryBudget
from obsd.model.deletion import Deletion
from obsd.model.errors import BadInputError, UndecodableError
from obsd.model.field_statistics import FieldStatistics
from obsd.model.log_labels import stream_labels, structured_metadata
from obsd.model.log_lines import LogLines
from obsd.model.log_pattern import LogPattern, PatternValues
from obsd.model.log_predicate import Predicate
from obsd.model.log_record import LogRecord
from obsd.model.log_sighting import LogSighting
from obsd.model.log_text import text_of as body_text
from obsd.model.resource_logs import LogAmount, ResourceLogs
from obsd.model.severity import level_of
from obsd.model.top_counts import TopCounts
from tests.oracles.log_predicate import matches, text_of, values


@dataclass
class Outcome:
    accepted: int
    rejected: dict[str, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


@dataclass
class Page:
    records: list[LogRecord]
    total: int
    total_exact: bool
    next_cursor: str | None


@dataclass
class EntriesPage:
    entries: bytes
    total: int
    total_exact: bool
    next_cursor: str | None


@dataclass
class Stats:
    records: int
    wal_bytes: int = 0
    segment_bytes: int = 0


def plain(value: Any) -> Any:
    """An `AnyValue` as its Python value."""
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "array_value":
            return [plain(each) for each in value.array_value.values]
        case "kvlist_value":
            return pairs(value.kvlist_value.values)
    return getattr(value, kind)


def statistics_of(texts: Sequence[str], quantiles: Sequence[float]) -> FieldStatistics:
    """Of all the values of a field in a step."""
    numbers = sorted(n for text in texts if (n := number(text)) is not None)
    shares = [round(share * (len(numbers) - 1)) for share in quantiles]
    nan = float("nan")
    of_numbers = (sum(numbers), numbers[0], numbers[-1]) if numbers else (nan, nan, nan)
    found = tuple(float(numbers[rank]) if numbers else nan for rank in shares)
    return FieldStatistics(
        len(texts), len(set(texts)), True, len(numbers), *map(float, of_numbers), found, True
    )


def number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def pairs(key_values: Any) -> dict[str, Any]:
    return {each.key: plain(each.value) for each in key_values}


def decode(body: bytes, now_ns: int = 0) -> list[LogRecord]:
    try:
        request = ExportLogsServiceRequest.FromString(body)
    except DecodeError as error:
        raise UndecodableError(f"invalid protobuf: {error}") from None
    records = []
    for group in request.resource_logs:
        resource = pairs(group.resource.attributes)
        for scope in group.scope_logs:
            for each in scope.log_records:
                observed_ns = each.observed_time_unix_nano or now_ns
                records.append(
                    LogRecord(
                        time_ns=each.time_unix_nano or observed_ns,
                        observed_ns=observed_ns,
                        severity_number=each.severity_number,
                        severity_text=each.severity_text,
                        service=str(resource.get("service.name", "")),
                        body=plain(each.body),
                        trace_id=each.trace_id.hex(),
                        span_id=each.span_id.hex(),
                        resource=resource,
                        attributes=pairs(each.attributes),
                    )
                )
    return records


def lines_of(records: Sequence[LogRecord], names: Collection[str] | None = None) -> LogLines:
    streams = [stream_labels(record) for record in records]
    texts = [body_text(record.body) for record in records]
    return LogLines(
        [record.time_ns for record in records],
        texts,
        streams,
        [
            {
                name: value
                for name, value in structured_metadata(record, labels).items()
                if names is None or name in names
            }
            for record, labels in zip(records, streams, strict=True)
        ],
        sum(len(text.encode()) for text in texts),
    )


class MemoryLogs:
    def __init__(self, now_ns: int = 0, too_old_ns: int = 0) -> None:
        self.records: list[LogRecord] = []
        self.now_ns = now_ns
        self.too_old_ns = too_old_ns
        self.failure: Exception | None = None
        self.sync_failure: Exception | None = None
        self.calls: list[str] = []
        self.deleted: list[Deletion] = []

    def write(
        self,
        body: bytes,
        on_durable: Callable[[Exception | None], None],
        *,
        distinct: bool = False,
    ) -> Outcome:
        if self.failure is not None:
            raise self.failure
        records = decode(body, self.now_ns)
        kept = [record for record in records if record.time_ns >= self.too_old_ns]
        self.records += kept
        threading.Thread(target=on_durable, args=(self.sync_failure,)).start()
        refused = len(records) - len(kept)
        rejected = {"too_old": refused} if refused else {}
        return Outcome(len(kept), rejected, ["1 record is too old"] if refused else [])

    def _found(self, predicate: Predicate, start_ns: int, end_ns: int) -> list[LogRecord]:
        return [r for r in self.records if start_ns <= r.time_ns < end_ns and matches(predicate, r)]

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
        if cursor is not None and not cursor.isdecimal():
            raise BadInputError("invalid cursor")
        found = self._found(predicate, start_ns, end_ns)
        found.sort(key=lambda record: record.time_ns, reverse=newest_first)
        first = int(cursor or 0)
        end = first + limit
        following = str(end) if limit and end < len(found) else None
        return Page(found[first:end], len(found), True, following)

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
        found = self._found(predicate, start_ns, end_ns)
        found.sort(key=lambda record: record.time_ns, reverse=newest_first)
        for first in range(0, len(found), 3):
            yield lines_of(found[first : first + 3], names)

    def last_row(self) -> int:
        return len(self.records) - 1

    def arrived(
        self, after_row: int, limit: int, predicate: Predicate, budget: QueryBudget
    ) -> tuple[list[LogRecord], int]:
        found: list[LogRecord] = []
        for row in range(after_row + 1, len(self.records)):
            if matches(predicate, self.records[row]):
                found.append(self.records[row])
                if len(found) == limit:
                    return found, row
        return found, max(after_row, len(self.records) - 1)

    def count_arrived(
        self,
        after_row: int,
        through_row: int,
        predicate: Predicate,
        by: Sequence[str],
        budget: QueryBudget,
    ) -> list[tuple[tuple[str, ...], int]]:
        counts = Counter(
            tuple(next((text_of(v) for v in values(record, name)), "") or "" for name in by)
            for record in self.records[after_row + 1 : through_row + 1]
            if matches(predicate, record)
        )
        return sorted(counts.items())

    def sightings(
        self,
        after_row: int,
        through_row: int,
        predicate: Predicate,
        by: list[str],
        shapes: list[str],
        step_ns: int,
        budget: QueryBudget,
    ) -> list[LogSighting]:
        """Each record is a kind of its own."""
        found = []
        for record in self.records[after_row + 1 : through_row + 1]:
            if matches(predicate, record):
                texts = [next((text_of(v) for v in values(record, n)), "") or "" for n in by]
                step_ns_ = record.time_ns // step_ns * step_ns
                found.append(
                    LogSighting(texts, step_ns_, 1, record.time_ns, record.time_ns, record)
                )
        return found

    def count_kept(
        self,
        predicate: Predicate,
        keep: Callable[[str, str], bool],
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str],
        budget: QueryBudget,
    ) -> list[tuple[tuple[str, ...], Any]]:
        return self.count_over_time(predicate, start_ns, end_ns, step_ns, by, budget)

    def search_entries(self, *asked: Any, **how: Any) -> EntriesPage:
        page = self.search(*asked, **how)
        entries = msgspec.json.encode([log_entry(record) for record in page.records])
        return EntriesPage(entries, page.total, page.total_exact, page.next_cursor)

    def count_over_time(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str],
        budget: QueryBudget,
        weight: str = "records",
    ) -> list[tuple[tuple[str, ...], Any]]:
        steps = -(-(end_ns - start_ns) // step_ns)
        rows: dict[tuple[str, ...], Any] = {} if by else {(): np.zeros(steps, np.int64)}
        for record in self._found(predicate, start_ns, end_ns):
            group = tuple(next((text_of(v) for v in values(record, name)), "") or "" for name in by)
            row = rows.setdefault(group, np.zeros(steps, np.int64))
            size = len((text_of(record.body) or "").encode())
            row[(record.time_ns - start_ns) // step_ns] += size if weight == "bytes" else 1
        return sorted(rows.items())

    def resources(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        budget: QueryBudget,
        *,
        weigh: bool = False,
    ) -> list[ResourceLogs]:
        found: dict[str, tuple[Any, dict[int, LogAmount]]] = {}
        for record in self._found(predicate, start_ns, end_ns):
            _, amounts = found.setdefault(repr(record.resource), (record.resource, {}))
            step = (record.time_ns - start_ns) // step_ns
            of = amounts.get(step, LogAmount(step, 0, 0))
            size = len(body_text(record.body).encode()) if weigh else 0
            amounts[step] = LogAmount(step, of.records + 1, of.bytes + size)
        return [
            ResourceLogs(resource, [amounts[step] for step in sorted(amounts)])
            for resource, amounts in found.values()
        ]

    def patterns(
        self,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        samples: int,
        budget: QueryBudget,
    ) -> list[LogPattern]:
        """Each body that is not the same as another is a pattern of its own."""
        found: dict[str, list[LogRecord]] = {}
        for record in self._found(predicate, start_ns, end_ns):
            found.setdefault(body_text(record.body), []).append(record)
        patterns = [
            self._pattern(body, records, start_ns, end_ns, step_ns)
            for body, records in found.items()
        ]
        return sorted(patterns, key=lambda pattern: -pattern.count)

    def _pattern(
        self, body: str, records: list[LogRecord], start_ns: int, end_ns: int, step_ns: int
    ) -> LogPattern:
        counts = np.zeros(-((start_ns - end_ns) // step_ns), np.int64)
        for record in records:
            counts[(record.time_ns - start_ns) // step_ns] += 1
        newest = max(records, key=lambda record: record.time_ns)
        return LogPattern(
            self.pattern_ids([body])[0],
            body,
            counts,
            min(record.time_ns for record in records),
            newest.time_ns,
            Counter(level_of(r.severity_number, r.severity_text) or "unknown" for r in records),
            Counter(record.service for record in records),
            newest,
            (),
        )

    def pattern_values(
        self,
        pattern_id: str,
        predicate: Predicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> PatternValues | None:
        found = self.pattern_template(pattern_id)
        if found is None:
            return None
        records = self._found(predicate, start_ns, end_ns)
        count = sum(body_text(record.body) == found[1] for record in records)
        return PatternValues(*found, min(limit, count), ())

    def pattern_ids(self, bodies: Sequence[str]) -> list[str]:
        return [hashlib.sha256(body.encode()).hexdigest()[:16] for body in bodies]

    def pattern_template(self, pattern_id: str) -> tuple[str, str] | None:
        bodies = [body_text(record.body) for record in self.records]
        return dict(
            zip(
                self.pattern_ids(bodies),
                zip(self.pattern_ids(bodies), bodies, strict=True),
                strict=True,
            )
        ).get(pattern_id)

    def field_statistics(
        self,
        predicate: Predicate,
        name: str,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        by: Sequence[str],
        quantiles: Sequence[float],
        budget: QueryBudget,
    ) -> list[tuple[tuple[str, ...], dict[int, FieldStatistics]]]:
        groups: dict[tuple[str, ...], dict[int, list[str]]] = {}
        for record in self._found(predicate, start_ns, end_ns):
            group = tuple(next((text_of(v) for v in values(record, each)), "") or "" for each in by)
            own = next((text_of(v) for v in values(record, name)), None)
            if own is not None:
                steps = groups.setdefault(group, {})
                steps.setdefault((record.time_ns - start_ns) // step_ns, []).append(own)
        return [
            (group, {step: statistics_of(texts, quantiles) for step, texts in steps.items()})
            for group, steps in sorted(groups.items())
        ]

    def field_values(
        self,
        predicate: Predicate,
        name: str,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> TopCounts:
        counts: Counter[str] = Counter()
        for record in self._found(predicate, start_ns, end_ns):
            counts.update({text_of(v) or "" for v in values(record, name)})
        return TopCounts(counts.most_common(limit))

    def field_names(
        self, predicate: Predicate, start_ns: int, end_ns: int, limit: int, budget: QueryBudget
    ) -> TopCounts:
        counts: Counter[str] = Counter()
        for record in self._found(predicate, start_ns, end_ns):
            counts.update(record.attributes.keys())
        return TopCounts(counts.most_common(limit))

    def count_deletable(
        self, predicate: Predicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> int:
        return len(self._found(predicate, start_ns, end_ns))

    def delete(
        self, predicate: Predicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> Deletion:
        gone = self._found(predicate, start_ns, end_ns)
        self.records = [each for each in self.records if each not in gone]
        deleted = len(self.deleted)
        self.deleted.append(
            Deletion(str(deleted), 0, start_ns, end_ns, len(self.records), len(gone), done_ms=0)
        )
        return self.deleted[-1]

    def deletions(self) -> list[Deletion]:
        return self.deleted

    def erase(self) -> bool:
        return False

    def flush_due(self) -> bool:
        return False

    def flush(self) -> None:
        self.calls.append("flush")

    def compact(self) -> bool:
        self.calls.append("compact")
        return False

    def settle(self) -> None:
        self.calls.append("settle")

    def apply_retention(self) -> int:
        return 0

    def stats(self) -> Stats:
        return Stats(len(self.records))

    def close(self) -> None:
        self.calls.append("close")
