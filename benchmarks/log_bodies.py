"""OTLP logs requests made while they are sent, and how many of their records match which search.

20 services, ten templates with variables, a level, a route, and one unique request id of 16 digits
a record. The templates take turns, so that one tenth of the records has each.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
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
PATTERNS: Final = 64
"""Bodies that are made beforehand: more than are ever stored together."""
_MARK: Final = 1_234_567_890_000_000
"""Where a pattern's first record has its times and its id."""
_DIGITS: Final = 10 ** np.arange(15, -1, -1)
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


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A body, the places of what every request has its own of, and what its records are."""

    body: npt.NDArray[np.uint8]
    times: npt.NDArray[np.int64]  # (2, records, 8): of the time and of the observed one.
    ids: npt.NDArray[np.int64]  # (records, 16)
    of_service_and_level: Counter[tuple[str, str]]
    of_template: Counter[int]


class LogBodies:
    """The records from `first_ns` on, one each `step_ns`.

    Requests are made when they are asked for, in any order and by any thread: times and ids of
    their own, put into the next of `PATTERNS` bodies. However many there are, they take no memory.
    """

    def __init__(
        self, records: int, records_per_request: int, first_ns: int, step_ns: int, seed: int = 1
    ) -> None:
        self.records = records
        self.requests = records // records_per_request
        self.first_ns = first_ns
        self._records_per_request = records_per_request
        self._step_ns = step_ns
        self._seed = seed
        rng = random.Random(seed)
        count = min(PATTERNS, self.requests)
        self._patterns = [_pattern(records_per_request, rng) for _ in range(count)]
        self.of_service_and_level: Counter[tuple[str, str]] = Counter()
        self.of_template: Counter[int] = Counter()
        for number, pattern in enumerate(self._patterns):
            uses = len(range(number, self.requests, count))
            for key, records in pattern.of_service_and_level.items():
                self.of_service_and_level[key] += uses * records
            for template, records in pattern.of_template.items():
                self.of_template[template] += uses * records

    def request_id(self, number: int) -> str:
        request, place = divmod(number, self._records_per_request)
        return str(self._ids(request)[place])

    def request(self, number: int) -> bytes:
        """A body as a collector sends it: the records of a batch by their service."""
        pattern = self._patterns[number % len(self._patterns)]
        body = pattern.body.copy()
        places = number * self._records_per_request + np.arange(self._records_per_request)
        times = (self.first_ns + places * self._step_ns).astype("<i8")
        body[pattern.times] = times.view(np.uint8).reshape(-1, 8)
        body[pattern.ids] = self._ids(number)[:, None] // _DIGITS % 10 + ord("0")
        return body.tobytes()

    def _ids(self, request: int) -> npt.NDArray[np.int64]:
        random_ = np.random.default_rng((self._seed, request))
        return random_.integers(10**15, 10**16, self._records_per_request)


def _pattern(records: int, rng: random.Random) -> _Pattern:
    message = ExportLogsServiceRequest()
    by_service = {}
    of_service_and_level: Counter[tuple[str, str]] = Counter()
    of_template: Counter[int] = Counter()
    levels = rng.choices(tuple(LEVELS), LEVEL_WEIGHTS, k=records)
    for number, level in enumerate(levels):
        service = rng.choice(SERVICES)
        if service not in by_service:
            of_resource = message.resource_logs.add()
            attribute = of_resource.resource.attributes.add(key="service.name")
            attribute.value.string_value = service
            by_service[service] = of_resource.scope_logs.add().log_records
        template = number % len(TEMPLATES)
        record = by_service[service].add(
            time_unix_nano=_MARK + number,
            observed_time_unix_nano=_MARK + number,
            severity_number=LEVELS[level],
            severity_text=level,
        )
        record.body.string_value = TEMPLATES[template](rng)
        record.attributes.add(key="route").value.string_value = rng.choice(ROUTES)
        record.attributes.add(key="request_id").value.string_value = str(_MARK + number)
        of_service_and_level[service, level] += 1
        of_template[template] += 1
    body = message.SerializeToString()
    times = np.empty((2, records, 8), np.int64)
    ids = np.empty((records, 16), np.int64)
    for number in range(records):
        mark = (_MARK + number).to_bytes(8, "little")
        first = body.index(mark)
        times[0, number] = first + np.arange(8)
        times[1, number] = body.index(mark, first + 1) + np.arange(8)
        ids[number] = body.index(str(_MARK + number).encode()) + np.arange(16)
    array = np.frombuffer(body, np.uint8)
    return _Pattern(array, times, ids, of_service_and_level, of_template)
