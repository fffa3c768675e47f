"""Errors that spans tell of, as records that are grouped like those of logs.

Each event `exception` is one. A span that failed without such an event is one where it says what
was wrong: in its status, or by `error.type`. One that says nothing is not, since mostly it only
passes on what a span below it has told; and neither is a call that was answered with a status of
HTTP, since that is the error of who answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from obsd.model.budget import QueryBudget
from obsd.model.log_record import LogRecord, Value
from obsd.model.span import Span, SpanEvent, SpanKind, StatusCode
from obsd.model.span_predicate import AllOf, AnyOf, CompareField, Field, HasField, SpanPredicate

EXCEPTION: Final = "exception"
ERROR_SPANS: Final[SpanPredicate] = AnyOf(
    (
        CompareField(Field("intrinsic", "event.name"), "=", EXCEPTION),
        AllOf(
            (
                CompareField(Field("intrinsic", "status"), "=", int(StatusCode.ERROR)),
                AnyOf(
                    (
                        HasField(Field("intrinsic", "status_message")),
                        HasField(Field("span", "error.type")),
                    )
                ),
            )
        ),
    )
)
"""The spans that may tell of errors; many more only say that they failed."""

_ERROR_LEVEL: Final = 17
_CALLS: Final = frozenset({SpanKind.CLIENT, SpanKind.PRODUCER})


class SpanErrorSource(Protocol):
    """What error tracking asks of a project's spans. Every method blocks; any thread."""

    def last_row(self) -> int:
        """The number of the span that arrived last; -1 before the first."""

    def arrived(
        self, after_row: int, limit: int, predicate: SpanPredicate, budget: QueryBudget
    ) -> tuple[Sequence[Span], int]:
        """Matching spans behind a number in order of arrival, and how far that looked."""

    def trace(self, trace_id: str, budget: QueryBudget) -> Sequence[Span]:
        """The spans of a trace."""

    @property
    def before_flush(self) -> list[Callable[[int], None]]:
        """Called before a flush ends the time in which spans are told by `arrived`."""


def error_records(span: Span) -> list[LogRecord]:
    """What a span tells of errors, as log records with its ids."""
    exceptions = [event for event in span.events if event.name == EXCEPTION]
    if exceptions:
        return [_of_event(span, event) for event in exceptions]
    record = _of_status(span) if span.is_error else None
    return [record] if record is not None else []


def _of_event(span: Span, event: SpanEvent) -> LogRecord:
    message = _text(event.attributes, "exception.message")
    body = message or _text(event.attributes, "exception.type") or span.status_message
    return _record(
        span, event.time_ns or span.end_ns, body or f"{span.name} failed", event.attributes
    )


def _of_status(span: Span) -> LogRecord | None:
    kind = _text(span.attributes, "error.type")
    message = span.status_message
    if not message and (not kind or (kind.isdecimal() and span.kind in _CALLS)):
        return None
    attributes: dict[str, Value] = {}
    if kind and not kind.isdecimal():
        attributes["exception.type"] = kind
    if message:
        attributes["exception.message"] = message
    return _record(span, span.end_ns, message or f"{span.name}: {kind}", attributes)


def _record(span: Span, time_ns: int, body: str, attributes: Mapping[str, Value]) -> LogRecord:
    return LogRecord(
        time_ns=time_ns,
        observed_ns=time_ns,
        severity_number=_ERROR_LEVEL,
        severity_text="ERROR",
        service=span.service,
        body=body,
        trace_id=span.trace_id,
        span_id=span.span_id,
        resource=span.resource,
        attributes={**attributes, "span.name": span.name},
    )


def _text(attributes: Mapping[str, Value], name: str) -> str:
    value = attributes.get(name)
    return value if isinstance(value, str) else ""
