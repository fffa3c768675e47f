"""A storage of LogQL that is a list of records, and whose predicates are read plainly."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from obsd.model.budget import QueryBudget
from obsd.model.log_labels import stream_labels, structured_metadata
from obsd.model.log_lines import LogLines
from obsd.model.log_predicate import Predicate
from obsd.model.log_record import LogRecord
from obsd.model.log_text import text_of
from tests.oracles.log_predicate import matches, values

S = 1_000_000_000


def record(body: Any = "", time_s: float = 1, **fields: Any) -> LogRecord:
    """A record in which most is left out."""
    given: dict[str, Any] = {
        "observed_ns": 0,
        "severity_number": 0,
        "severity_text": "",
        "service": "",
        "trace_id": "",
        "span_id": "",
        "resource": {},
        "attributes": {},
        **fields,
    }
    if given["service"]:
        given["resource"] = {"service.name": given["service"], **given["resource"]}
    return LogRecord(time_ns=int(time_s * S), body=body, **given)


def line(text: str, time_s: float = 1, **labels: str) -> LogRecord:
    """What a Loki client pushes."""
    return record(text, time_s, resource={"app": "api", **labels})


class MemoryStorage:
    def __init__(self, records: Sequence[LogRecord]) -> None:
        self.records = records
        self.predicates: list[Predicate] = []
        self.counted = 0

    def _found(self, predicate: Predicate, start_ns: int, end_ns: int) -> list[LogRecord]:
        self.predicates.append(predicate)
        return [r for r in self.records if start_ns <= r.time_ns < end_ns and matches(predicate, r)]

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
        found = sorted(self._found(predicate, start_ns, end_ns), key=lambda r: r.time_ns)
        if newest_first:
            found.reverse()
        for first in range(0, len(found), 3):
            some = found[first : first + 3]
            streams = [stream_labels(r) for r in some]
            metadata = [structured_metadata(r, s) for r, s in zip(some, streams, strict=True)]
            texts = [text_of(r.body) for r in some]
            yield LogLines(
                [r.time_ns for r in some],
                texts,
                streams,
                [{n: v for n, v in m.items() if names is None or n in names} for m in metadata],
                sum(len(text.encode()) for text in texts),
            )

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
        self.counted += 1
        steps = -(-(end_ns - start_ns) // step_ns)
        rows: dict[tuple[str, ...], Any] = {} if by else {(): np.zeros(steps, np.int64)}
        for each in self._found(predicate, start_ns, end_ns):
            group = tuple(next((text_of(v) for v in values(each, name)), "") for name in by)
            row = rows.setdefault(group, np.zeros(steps, np.int64))
            size = len(text_of(each.body).encode())
            row[(each.time_ns - start_ns) // step_ns] += size if weight == "bytes" else 1
        return sorted(rows.items())
