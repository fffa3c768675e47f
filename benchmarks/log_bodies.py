"""OTLP logs requests made beforehand, and how many of their records match which search.

20 services, ten templates with variables, a level, a route, and one unique request id of 16 digits
a record. The templates take turns, so that one tenth of the records has each.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

SERVICES: Final = tuple(f"service-{number:02}" for number in range(20))
LEVELS: Final = {
    "INFO": SeverityNumber.SEVERITY_NUMBER_INFO,
    "DEBUG": SeverityNumber.SEVERITY_NUMBER_DEBUG,
    "WARN": SeverityNumber.SEVERITY_NUMBER_WARN,
    "ERROR": SeverityNumber.SEVERITY_NUMBER_ERROR,
}
LEVEL_WEIGHTS: Final = (60, 16, 8, 16)
ROUTES: Final = tuple(
    f"/api/v{version}/{name}"
    for version in (1, 2)
    for name in ("orders", "carts", "users", "items", "search", "login", "prices", "stock")
)
PHRASE: Final = "connection pool exhausted"
"""Of one template alone."""

Template = Callable[[random.Random], str]
TEMPLATES: Final[tuple[Template, ...]] = (
    lambda r: f"{PHRASE} after {r.randrange(30_000)} ms, {r.randrange(200)} callers wait",
    lambda r: (
        f"user {r.randrange(100_000)} signed in from 10.{r.randrange(256)}.0.{r.randrange(256)}"
    ),
    lambda r: f"order {r.randrange(1_000_000)} placed with {r.randrange(1, 20)} items",
    lambda r: f"cache miss for key product:{r.randrange(50_000)}",
    lambda r: f"query took {r.randrange(5000)} ms and read {r.randrange(10_000)} rows",
    lambda r: f"retry {r.randrange(1, 6)} of 5 to backend-{r.randrange(40)}: timed out",
    lambda r: f"payment {r.getrandbits(32):08x} of {r.randrange(100_000) / 100:.2f} EUR authorised",
    lambda r: (
        f"message from partition {r.randrange(64)} at offset {r.randrange(10_000_000)} handled"
    ),
    lambda r: (
        f"response {r.choice((200, 201, 204, 404, 500))} with {r.randrange(100_000)} bytes sent"
    ),
    lambda r: f"worker {r.randrange(32)} finished job {r.randrange(1_000_000)}",
)


@dataclass(slots=True)
class LogBodies:
    """The records from `first_ns` on, one each `step_ns`; counted while `requests` makes them."""

    records: int
    records_per_request: int
    first_ns: int
    step_ns: int
    seed: int = 1
    of_service_and_level: Counter[tuple[str, str]] = field(default_factory=Counter)
    of_template: Counter[int] = field(default_factory=Counter)
    ids: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        random_ = np.random.default_rng(self.seed)
        ids = np.unique(random_.integers(10**15, 10**16, self.records))
        assert ids.size == self.records, "two ids are the same: take another seed"
        random_.shuffle(ids)
        self.ids = ids

    def request_id(self, number: int) -> str:
        return str(self.ids[number])

    def requests(self) -> Iterator[bytes]:
        """Bodies as a collector sends them: the records of a batch by their service."""
        rng = random.Random(self.seed)
        for first in range(0, self.records, self.records_per_request):
            yield self._request(range(first, first + self.records_per_request), rng)

    def _request(self, numbers: range, rng: random.Random) -> bytes:
        message = ExportLogsServiceRequest()
        by_service = {}
        levels = rng.choices(tuple(LEVELS), LEVEL_WEIGHTS, k=len(numbers))
        for number, level in zip(numbers, levels, strict=True):
            service = rng.choice(SERVICES)
            if service not in by_service:
                of_resource = message.resource_logs.add()
                attribute = of_resource.resource.attributes.add(key="service.name")
                attribute.value.string_value = service
                by_service[service] = of_resource.scope_logs.add().log_records
            template = number % len(TEMPLATES)
            time_ns = self.first_ns + number * self.step_ns
            record = by_service[service].add(
                time_unix_nano=time_ns,
                observed_time_unix_nano=time_ns,
                severity_number=LEVELS[level],
                severity_text=level,
            )
            record.body.string_value = TEMPLATES[template](rng)
            record.attributes.add(key="route").value.string_value = rng.choice(ROUTES)
            record.attributes.add(key="request_id").value.string_value = self.request_id(number)
            self.of_service_and_level[service, level] += 1
            self.of_template[template] += 1
        return message.SerializeToString()
