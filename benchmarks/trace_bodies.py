"""OTLP traces requests, and how many of their traces match which search.

A trace has eight spans in eight services, each with three attributes: a route, a status code and
one of 100,000 users. Requests are as a collector sends them: the spans of some traces, by service.

Some requests are made with OpenTelemetry's own classes; all others are these with other ids, times
and users in the same places, so that a request costs next to nothing to make.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SERVICES: Final = ("gateway", "orders", "carts", "users", "prices", "stock", "payments", "mail")
SPANS: Final = len(SERVICES)
"""Of a trace: one of each service."""

OPERATIONS: Final = tuple(
    tuple(
        f"{verb} /{service}/{what}"
        for verb, what in (("GET", "list"), ("GET", "one"), ("POST", "new"))
    )
    for service in SERVICES
)
ROUTES: Final = tuple(f"/api/v{v}/{name}" for v in (1, 2) for name in SERVICES)
STATUS_CODES: Final = (200, 201, 204, 404, 500)
STATUS_WEIGHTS: Final = (80, 8, 6, 4, 2)
USERS: Final = 100_000
TEMPLATES: Final = 64
"""So many requests are different in more than what is replaced."""

SLOW_NS: Final = 900_000_000

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Template:
    """A request, and where in it the things are that are replaced, span by span.

    Attributes:
        parents: for each span the place of its parent, or -1 for a root.
        traces: for each span the place of its trace.
        offsets_ns: from the trace's start to the span's; `durations_ns` of the spans.
        with_error: traces with a failed span of `payments`; `of_operation`: those with that of
            `OPERATIONS[1][2]`.
    """

    body: Bytes
    trace_ids: Ints
    span_ids: Ints
    parent_ids: Ints
    starts: Ints
    ends: Ints
    users: Ints
    parents: Ints
    traces: Ints
    offsets_ns: Ints
    durations_ns: Ints
    with_error: npt.NDArray[np.bool_]
    of_operation: npt.NDArray[np.bool_]


@dataclass(slots=True)
class TraceBodies:
    """Traces from `first_ns` on, one each `step_ns`; counted while `requests` makes them.

    Attributes:
        slow: traces of at least SLOW_NS.
        failed: with a failed span of `payments`.
        placed: with a span `OPERATIONS[1][2]`.
        users: how many traces each user has.
        ids: of some traces, spread over all.
    """

    spans: int
    spans_per_request: int
    first_ns: int
    step_ns: int
    seed: int = 1
    slow: int = 0
    failed: int = 0
    placed: int = 0
    users: Ints = field(default_factory=lambda: np.zeros(USERS, np.int64))
    ids: list[str] = field(default_factory=list)

    @property
    def traces(self) -> int:
        return self.spans // SPANS

    @property
    def count(self) -> int:
        """How many requests there are."""
        return self.spans // self.spans_per_request

    @staticmethod
    def user(number: int) -> str:
        return f"user-{number:06}"

    def requests(self) -> Iterator[bytes]:
        """All of them, in order."""
        rng = random.Random(self.seed)
        templates = [make_template(rng, self.spans_per_request // SPANS) for _ in range(TEMPLATES)]
        values = np.random.default_rng(self.seed)
        for number in range(self.count):
            yield self._request(number, templates[number % TEMPLATES], values)

    def _request(self, number: int, template: Template, rng: np.random.Generator) -> bytes:
        traces = self.spans_per_request // SPANS
        body = template.body.copy()
        trace_ids = rng.integers(0, 256, (traces, 16), np.uint8)
        span_ids = rng.integers(1, 256, (len(template.traces), 8), np.uint8)
        put(body, template.trace_ids, trace_ids[template.traces])
        put(body, template.span_ids, span_ids)
        has_parent = template.parents >= 0
        put(body, template.parent_ids[has_parent], span_ids[template.parents[has_parent]])
        first = self.first_ns + number * traces * self.step_ns
        trace_starts = first + np.arange(traces) * self.step_ns
        scale = rng.uniform(0.5, 1.5, traces)[template.traces]
        starts = trace_starts[template.traces] + (template.offsets_ns * scale).astype(np.int64)
        durations = (template.durations_ns * scale).astype(np.int64)
        put(body, template.starts, starts.astype("<i8").view(np.uint8).reshape(-1, 8))
        put(body, template.ends, (starts + durations).astype("<i8").view(np.uint8).reshape(-1, 8))
        users = rng.integers(0, USERS, traces)
        put(body, template.users, digits(users)[template.traces])
        self._count(number, template, trace_ids, starts + durations, trace_starts, users)
        return body.tobytes()

    def _count(
        self,
        number: int,
        template: Template,
        trace_ids: Bytes,
        ends: Ints,
        trace_starts: Ints,
        users: Ints,
    ) -> None:
        last = np.zeros(len(trace_starts), np.int64)
        np.maximum.at(last, template.traces, ends)
        self.slow += int((last - trace_starts >= SLOW_NS).sum())
        self.failed += int(template.with_error.sum())
        self.placed += int(template.of_operation.sum())
        self.users += np.bincount(users, minlength=USERS)
        if number % max(1, self.count // 500) == 0:
            self.ids.append(trace_ids[0].tobytes().hex())


def put(body: Bytes, places: Ints, values: Bytes) -> None:
    """Replace what is at each place by the row of values for it."""
    body[places[:, None] + np.arange(values.shape[1])] = values


def digits(numbers: Ints) -> Bytes:
    """Six decimal digits of each, as ASCII."""
    powers = 10 ** np.arange(5, -1, -1)
    return (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def make_template(rng: random.Random, traces: int) -> Template:
    """A request of so many traces, with a text that is nowhere else wherever one is replaced."""
    message = ExportTraceServiceRequest()
    groups = []
    for service in SERVICES:
        of_resource = message.resource_spans.add()
        resource = of_resource.resource.attributes
        resource.add(key="service.name").value.string_value = service
        resource.add(key="service.version").value.string_value = "1.4.2"
        resource.add(key="host.name").value.string_value = f"{service}-7d9f"
        scoped = of_resource.scope_spans.add()
        scoped.scope.name = "opentelemetry.instrumentation.http"
        groups.append(scoped.spans)
    spans: list[
        tuple[int, int, int, int, int]
    ] = []  # Group, trace, parent's group, offset, length.
    with_error, of_operation = np.zeros((2, traces), np.bool_)
    for trace in range(traces):
        total = min(int(rng.lognormvariate(18.5, 0.8)), 3_000_000_000)
        at = [(0, total)]
        for place in range(SPANS):
            parent = rng.randrange(max(0, place - 3), place) if place else -1
            if place:
                from_ns, length = at[parent]
                offset = from_ns + int(length * rng.uniform(0.02, 0.4))
                at.append((offset, int(length * rng.uniform(0.2, 0.55))))
            span = groups[place].add(
                name=rng.choice(OPERATIONS[place]),
                kind=Span.SPAN_KIND_SERVER
                if place == 0
                else rng.choice((Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL)),
            )
            fill(span, rng)
            with_error[trace] |= place == 6 and span.status.code == Status.STATUS_CODE_ERROR
            of_operation[trace] |= span.name == OPERATIONS[1][2]
            spans.append((place, trace, parent, *at[place]))
    return locate(message, spans, with_error, of_operation)


def fill(span: Span, rng: random.Random) -> None:
    status_code = rng.choices(STATUS_CODES, STATUS_WEIGHTS)[0]
    span.attributes.add(key="http.route").value.string_value = rng.choice(ROUTES)
    span.attributes.add(key="http.response.status_code").value.int_value = status_code
    span.attributes.add(key="user.id").value.string_value = f"user-{rng.randrange(USERS):06}"
    if status_code == 500:
        span.status.code = Status.STATUS_CODE_ERROR
        span.status.message = "upstream failed"
    span.flags = 257


def locate(
    message: ExportTraceServiceRequest,
    spans: list[tuple[int, int, int, int, int]],
    with_error: npt.NDArray[np.bool_],
    of_operation: npt.NDArray[np.bool_],
) -> Template:
    """Put marks where things are replaced, and find these in the request's bytes."""
    rng = random.Random(0)
    in_order = sorted(range(len(spans)), key=lambda n: spans[n][:2])
    number = {spans[n][:2]: at for at, n in enumerate(in_order)}
    marks: list[list[bytes]] = []
    every = [span for of in message.resource_spans for span in of.scope_spans[0].spans]
    for span, n in zip(every, in_order, strict=True):
        span.trace_id, span.span_id = rng.randbytes(16), rng.randbytes(8)
        span.parent_span_id = rng.randbytes(8) if spans[n][2] >= 0 else b""
        span.start_time_unix_nano, span.end_time_unix_nano = (
            rng.getrandbits(63),
            rng.getrandbits(63),
        )
        user = f"user-{rng.randrange(10**6):06}"
        span.attributes[2].value.string_value = user
        marks.append(
            [
                span.trace_id,
                span.span_id,
                span.parent_span_id,
                span.start_time_unix_nano.to_bytes(8, "little"),
                span.end_time_unix_nano.to_bytes(8, "little"),
                user.encode(),
            ]
        )
    body = message.SerializeToString()
    places: list[list[int]] = []
    at = 0
    for of_span in marks:
        at = body.index(of_span[0], at)
        found = [body.index(mark, at) for mark in of_span]
        places.append([*found[:5], found[5] + len("user-")])
    trace_ids, span_ids, parent_ids, starts, ends, users = np.array(places, np.int64).T
    ordered = [spans[n] for n in in_order]
    return Template(
        np.frombuffer(body, np.uint8),
        trace_ids,
        span_ids,
        parent_ids,
        starts,
        ends,
        users,
        parents=np.array([-1 if s[2] < 0 else number[s[2], s[1]] for s in ordered], np.int64),
        traces=np.array([s[1] for s in ordered], np.int64),
        offsets_ns=np.array([s[3] for s in ordered], np.int64),
        durations_ns=np.array([s[4] for s in ordered], np.int64),
        with_error=with_error,
        of_operation=of_operation,
    )
