"""One log record, as it is read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

Value = Union[str, int, float, bool, bytes, list["Value"], dict[str, "Value"], None]  # noqa: UP007
"""What a body or an attribute holds: the type that was sent is the type that comes back."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One log record.

    Attributes:
        time_ns: when it happened: nanoseconds since 1970. Where the sender did not say, when it
            was observed, or else when it arrived.
        observed_ns: when it was observed, or else when it arrived.
        severity_number: OpenTelemetry's, 1 to 24; 0 where the sender did not say.
        severity_text: the sender's word for it.
        service: the resource's `service.name`; "" without one.
        body: mostly text.
        trace_id, span_id: lower-case hexadecimal digits; "" without one.
        resource: what produced it.
        attributes: its own fields.
        details: what else was sent, as far as it was: `event_name`, `flags` and
            `dropped_attributes` of the record; `scope.name`, `scope.version`, `scope.schema_url`,
            `scope.dropped_attributes` and, under `scope`, the attributes of the instrumentation
            scope; `resource.schema_url` and `resource.dropped_attributes`.
    """

    time_ns: int
    observed_ns: int
    severity_number: int
    severity_text: str
    service: str
    body: Value
    trace_id: str
    span_id: str
    resource: Mapping[str, Value]
    attributes: Mapping[str, Value]
    details: Mapping[str, Value] = field(default_factory=dict)
