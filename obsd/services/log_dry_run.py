"""What a project's processors would do with records; nothing is stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from obsd._native import LineJoiner, LogPipeline
from obsd.model.log_record import LogRecord
from obsd.services.log_decoding import decode_logs
from obsd.services.log_encoding import RecordGroup, log_record, request, resource
from obsd.services.log_processors import ProcessorSet, local_offset_s

PARSING: Final = -1


@dataclass(frozen=True, slots=True)
class Step:
    """What one processor made of a record.

    Attributes:
        index: the processor's; `PARSING` for the parsers.
        changed: names of what is another than before, in words of the API.
    """

    index: int
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DryRun:
    """One record's way.

    Attributes:
        lines: how many lines became this record.
        after: None when it is dropped, by the last of `steps`.
    """

    lines: int
    before: LogRecord
    after: LogRecord | None
    steps: tuple[Step, ...]


def records_of_lines(
    lines: Iterable[str], now_ns: int, *, join: bool
) -> list[tuple[LogRecord, int]]:
    """The records that a file with these lines would be, and of how many lines each is."""
    found: list[tuple[bytes, int]] = []
    joiner = LineJoiner()
    for line in lines:
        text = line.encode("utf-8", "replace")
        complete = joiner.feed(text) if join else (text, 1)
        found += [complete] if complete else []
    if last := joiner.flush():
        found.append(last)
    return [(_record(text.decode(), now_ns), count) for text, count in found]


def _record(body: str, now_ns: int) -> LogRecord:
    return LogRecord(0, now_ns, 0, "", "", body, "", "", {}, {})


def run(
    processors: ProcessorSet, records: Sequence[tuple[LogRecord, int]], now_ns: int
) -> list[DryRun]:
    """Every record's way through the parsers, and then through one processor after the other.

    Raises:
        BadInputError: a processor is wrong.
    """
    pipeline = processors.compile()
    steps = range(len(processors.processors) + 1)
    return [_run(pipeline, steps, record, lines, now_ns) for record, lines in records]


def _run(pipeline: LogPipeline, steps: range, record: LogRecord, lines: int, now_ns: int) -> DryRun:
    body = _encode(record)
    [before] = decode_logs(body)
    now: LogRecord | None = before
    found: list[Step] = []
    for count in steps:
        after, *_ = pipeline.apply(
            body, now_ns, local_offset_s(), keeps_bodies=False, rule_count=count
        )
        records = decode_logs(after)
        if not records:
            found.append(Step(count - 1, ("dropped",)))
            now = None
            break
        assert now is not None
        if changed := _changed(now, records[0]):
            found.append(Step(count - 1, changed))
        now = records[0]
    return DryRun(lines, before, now, tuple(found))


def _encode(record: LogRecord) -> bytes:
    source = dict(record.resource)
    if record.service:
        source["service.name"] = record.service
    encoded = log_record(
        time_ns=record.time_ns,
        observed_ns=record.observed_ns,
        severity_number=record.severity_number,
        severity_text=record.severity_text,
        body=record.body,
        attributes=record.attributes,
        trace_id=bytes.fromhex(record.trace_id),
        span_id=bytes.fromhex(record.span_id),
    )
    return request([RecordGroup(resource(source), [encoded])])


def _changed(before: LogRecord, after: LogRecord) -> tuple[str, ...]:
    own = (
        ("timestamp", before.time_ns != after.time_ns),
        ("level", _level(before) != _level(after)),
        ("service", before.service != after.service),
        ("message", before.body != after.body),
        ("trace_id", before.trace_id != after.trace_id),
        ("span_id", before.span_id != after.span_id),
    )
    missing = object()
    names = sorted({*before.attributes, *after.attributes})
    attributes = [
        f"attributes.{name}"
        for name in names
        if not _same(before.attributes.get(name, missing), after.attributes.get(name, missing))
    ]
    return (*(name for name, differs in own if differs), *attributes)


def _same(a: object, b: object) -> bool:
    """Also of one type: 1, 1.0 and true are equal, and yet not the same."""
    return type(a) is type(b) and a == b


def _level(record: LogRecord) -> tuple[int, str]:
    return record.severity_number, record.severity_text
