"""Concurrent senders of OTLP logs that know what was acknowledged, and a search for all of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.crash.writers import Writer
from tests.e2e.processes import Server

LOGS_PATH = "/v1/logs"
LOGS_HEADERS = {"Content-Type": "application/x-protobuf"}
SEARCH_PATH = "/api/v1/monitoring/logs"
RECORDS_PER_BATCH = 20
DAY_MS = 86_400_000
PAGE = 10_000


def logs_body(service: str, records: Iterable[tuple[int, str]]) -> bytes:
    """An OTLP request of records with these times in Unix milliseconds and bodies."""
    message = ExportLogsServiceRequest()
    of_resource = message.resource_logs.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = service
    entries = of_resource.scope_logs.add().log_records
    for time_ms, body in records:
        entry = entries.add(time_unix_nano=time_ms * 1_000_000, severity_text="INFO")
        entry.body.string_value = body
    return message.SerializeToString()


def search(server: Server, query: str, around_ms: int, **parameters: str) -> Any:
    """One page of what matches within two days of a time."""
    times = {"from": str((around_ms - 2 * DAY_MS) // 1000), "to": str((around_ms + DAY_MS) // 1000)}
    answer = server.request(SEARCH_PATH, {"query": query, **times, **parameters})
    assert answer.status == 200, answer.text
    page = answer.json()
    assert page["total_exact"]
    return page


def messages(server: Server, query: str, around_ms: int) -> list[str]:
    """The bodies of all that matches, page by page; as many as the total says."""
    found: list[str] = []
    cursor = ""
    while True:
        page = search(server, query, around_ms, limit=str(PAGE), cursor=cursor)
        found += [entry["message"] for entry in page["logs"]]
        cursor = page["next_cursor"]
        if not cursor:
            assert len(found) == page["total"], f"{query!r}: the pages are not the total"
            return found


@dataclass(slots=True)
class LogWriter(Writer):
    """Sends one batch of records after the other; every id is in one record.

    Every fourth batch is of the day before, so that a flush makes segments for two days. A batch
    without an answer is not sent again: it may be there, and then it is there once.
    """

    path: ClassVar[str] = LOGS_PATH
    headers: ClassVar[dict[str, str]] = LOGS_HEADERS
    stored_status: ClassVar[int] = 200

    def ids(self, batch: int) -> list[str]:
        return [f"{self.number:04}{batch:08}{i:04}" for i in range(RECORDS_PER_BATCH)]

    def body(self, batch: int) -> bytes:
        first_ms = self.first_ms + batch - (DAY_MS if batch % 4 == 3 else 0)
        records = ((first_ms + i, self.message(id_)) for i, id_ in enumerate(self.ids(batch)))
        return logs_body(f"writer-{self.number}", records)

    @staticmethod
    def message(id_: str) -> str:
        return f"request {id_} was served"

    def run(self, port: int, stop: threading.Event) -> None:
        Writer.run(self, port, stop)
        if self.next_batch in self.unanswered:
            self.next_batch += 1

    def check(self, server: Server, end_ms: int) -> None:
        """Every acknowledged record is there once, and the others once or not at all."""
        query = f"service:writer-{self.number} served"
        found = Counter(messages(server, query, end_ms))
        twice = [message for message, count in found.items() if count > 1]
        assert not twice, f"{len(twice)} records are there twice, such as {twice[:5]}"
        lost = [id_ for id_ in self.acknowledged_ids() if self.message(id_) not in found]
        assert not lost, f"{len(lost)} records are acknowledged and lost, such as {lost[:5]}"
        unanswered = 0
        for batch in self.unanswered:
            present = sum(self.message(id_) in found for id_ in self.ids(batch))
            assert present in (0, RECORDS_PER_BATCH), f"{present} records of one request are there"
            unanswered += present
        assert found.total() == len(self.acknowledged) * RECORDS_PER_BATCH + unanswered

    def acknowledged_ids(self) -> Iterator[str]:
        for batch in sorted(self.acknowledged):
            yield from self.ids(batch)
