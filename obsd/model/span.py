"""Spans, as they are read back: what OpenTelemetry's data model has, field by field.

https://opentelemetry.io/docs/specs/otel/trace/api/#span
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from obsd.model.log_record import Value


class SpanKind(IntEnum):
    """OTLP's numbers."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class StatusCode(IntEnum):
    """OTLP's numbers."""

    UNSET = 0
    OK = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened during a span; an exception is the event `exception`."""

    time_ns: int
    name: str
    attributes: Mapping[str, Value] = field(default_factory=dict)
    dropped_attributes: int = 0


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that this one has to do with; ids are lower-case hexadecimal digits."""

    trace_id: str
    span_id: str
    trace_state: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    dropped_attributes: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """What made the span: an instrumentation library."""

    name: str = ""
    version: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    dropped_attributes: int = 0
    schema_url: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """One span.

    Attributes:
        trace_id: 32 lower-case hexadecimal digits.
        span_id: 16.
        parent_id: 16, or "" for a root.
        start_ns, end_ns: nanoseconds since 1970; the end is never before the start.
        service: the resource's `service.name`; "" without one.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: SpanKind
    start_ns: int
    end_ns: int
    service: str
    status: StatusCode = StatusCode.UNSET
    status_message: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    resource: Mapping[str, Value] = field(default_factory=dict)
    scope: Scope = field(default_factory=Scope)
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    trace_state: str = ""
    flags: int = 0
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    resource_schema_url: str = ""

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns

    @property
    def is_error(self) -> bool:
        return self.status is StatusCode.ERROR


@dataclass(frozen=True, slots=True)
class ServiceSpans:
    """A service's part in a trace."""

    spans: int
    errors: int


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """What a list of traces shows of each.

    Attributes:
        root_service, root_name: of the root span, or where that has not come, of the earliest one.
        start_ns, duration_ns: from the first start to the last end.
        services: by name.
    """

    trace_id: str
    root_service: str
    root_name: str
    start_ns: int
    duration_ns: int
    spans: int
    errors: int
    services: Mapping[str, ServiceSpans]
