"""Events of Splunk's HTTP Event Collector as log records and metrics.

Format: https://help.splunk.com/en/splunk-enterprise/get-data-in (Format events for HEC). Metadata
says where an event comes from, and becomes the resource; `fields` and what an event that is an
object has become attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from obsd.ingest.elasticsearch_document import flatten
from obsd.ingest.json_lines import FIRST_NS, time_of
from obsd.ingest.json_shown import NOT_JSON
from obsd.ingest.json_stream import iter_objects
from obsd.ingest.record_hints import SERVICE_NAMES, find_level, find_span, find_text, find_trace
from obsd.ingest.record_limits import MAX_DEPTH, RecordLimits, check_depth
from obsd.ingest.splunk_answers import Code
from obsd.model.errors import BadInputError
from obsd.model.log_record import Value
from obsd.services.log_encoding import RecordGroup, RequestMemory, bounded, log_record, resource
from obsd.services.log_encoding import request as encode_request
from obsd.services.metric_encoding import Metric

METADATA: Final = ("source", "sourcetype", "index")
MESSAGE_FIELDS: Final = ("message", "msg", "log")

_METRIC: Final = "metric"
_NAME_PREFIX: Final = "metric_name:"
_SECONDS: Final = re.compile(r"(\d{1,10})(?:\.(\d{1,9})\d*)?", re.ASCII)
_INVALID_IN_NAME: Final = re.compile(r"[^a-zA-Z0-9_:]")
_EVENT_BYTES: Final = 128  # Reading a small one takes longer than its size tells.
_METRIC_BYTES: Final = 500  # What Python takes for one with a few labels.


class EventError(BadInputError):
    """What is wrong with one event."""

    def __init__(self, code: Code, number: int) -> None:
        super().__init__(code.text)
        self.code = code
        self.number = number


@dataclass(slots=True)
class Events:
    """A request being put together.

    Attributes:
        error: the first event that is wrong; it ends the request, and those before it are stored.
        refused: number of the first one that the engine would not take, and why; those after it are
            stored, too.
    """

    groups: dict[bytes, RecordGroup] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    count: int = 0
    error: EventError | None = None
    refused: tuple[int, str] | None = None
    memory: RequestMemory = field(default_factory=RequestMemory)

    def add(self, source: bytes, record: bytes) -> None:
        self.memory.add(len(record) + _EVENT_BYTES)
        group = self.groups.get(source)
        if group is None:
            self.memory.add(len(source))
            group = self.groups[source] = RecordGroup(source)
        group.records.append(record)

    def encode(self) -> bytes:
        """The log records as OTLP; empty when there are none."""
        return encode_request(self.groups.values())


def read_events(body: bytes, now_ns: int, limits: RecordLimits) -> Events:
    """Every event of a body, up to the first that is wrong.

    Raises:
        TooLargeError: they take too much memory.
    """
    events = Events()
    decode = msgspec.json.Decoder().decode
    objects = iter_objects(body)
    try:
        for text in objects:
            _read_event(events, decode(text), now_ns, limits)
            events.count += 1
    except EventError as error:
        events.error = error
    except (BadInputError, *NOT_JSON):
        events.error = EventError(Code.INVALID_FORMAT, events.count)
    return events


def _read_event(events: Events, tree: Mapping[str, Any], now_ns: int, limits: RecordLimits) -> None:
    number = events.count
    event = tree.get("event")
    if event is None:
        raise EventError(Code.EVENT_REQUIRED, number)
    if event == "" or event == {}:
        raise EventError(Code.EVENT_BLANK, number)
    # Without a time it is 0: the engine then takes that of arrival, and keeps what is alike.
    time_ns = 0 if tree.get("time") in (None, "") else parse_time(tree["time"])
    if time_ns is None:
        raise EventError(Code.INVALID_FORMAT, number)
    fields = _read_fields(tree.get("fields"), number)
    if not isinstance(tree.get("index", ""), str | None):
        raise EventError(Code.INCORRECT_INDEX, number)
    source = _read_source(tree)
    if event == _METRIC:
        metrics = list(_read_metrics(fields, source, time_ns or now_ns, number))
        events.memory.add(len(metrics) * _METRIC_BYTES)
        events.metrics += metrics
        if metrics:
            return
    resource, record = encode_event(event, fields, source, time_ns, now_ns)
    try:
        limits.check(time_ns or now_ns, record)
    except BadInputError as error:
        events.refused = events.refused or (number, str(error))
    else:
        events.add(resource, record)


def _read_fields(fields: Any, number: int) -> dict[str, Value]:  # noqa: ANN401 - any JSON
    """`fields`: flat, but for lists of values.

    Raises:
        EventError: they are not.
    """
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise EventError(Code.INDEXED_FIELDS, number)
    for value in fields.values():
        inner = value if isinstance(value, list) else (value,)
        if any(isinstance(each, (dict, list)) for each in inner):
            raise EventError(Code.INDEXED_FIELDS, number)
    return {name: value for name, value in fields.items() if value is not None}


def _read_source(tree: Mapping[str, Any]) -> dict[str, Value]:
    source: dict[str, Value] = {}
    if host := _text(tree.get("host")):
        source["host.name"] = host
    for name in METADATA:
        if text := _text(tree.get(name)):
            source[name] = text
    return source


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    return value if isinstance(value, str) else "" if value is None else str(value)


def encode_event(
    event: Any,  # noqa: ANN401 - any JSON
    fields: dict[str, Value],
    source: dict[str, Value],
    time_ns: int,
    now_ns: int,
) -> tuple[bytes, bytes]:
    """The resource and the record of an event; an object's values become attributes.

    Raises:
        BadInputError: it is nested too deeply.
    """
    attributes: dict[str, Value] = {}
    body: Value = event
    if isinstance(event, dict):
        flatten(event, "", attributes, MAX_DEPTH)
        name = find_text(attributes, MESSAGE_FIELDS)
        body = attributes.pop(name) if name else msgspec.json.encode(event).decode()
    elif not isinstance(event, str):
        check_depth(event)
        body = msgspec.json.encode(event).decode()
    attributes |= fields
    if name := find_text(attributes, SERVICE_NAMES):
        source = {**source, "service.name": attributes.pop(name)}
    level, number, text = find_level(attributes)
    trace, trace_id = find_trace(attributes)
    span, span_id = find_span(attributes)
    for name in (level, trace, span):
        if name:
            del attributes[name]
    record = log_record(
        time_ns=time_ns,
        observed_ns=now_ns if time_ns else 0,
        body=body,
        severity_number=number,
        severity_text=text,
        attributes=bounded(attributes),
        trace_id=trace_id,
        span_id=span_id,
    )
    return resource(source), record


def _read_metrics(
    fields: dict[str, Value], source: Mapping[str, Value], time_ns: int, number: int
) -> Iterator[Metric]:
    """The values of a metric event, of either form; none where it has no values.

    Raises:
        EventError: a value is no number.
    """
    values: dict[str, Value] = {
        name.removeprefix(_NAME_PREFIX): value
        for name, value in fields.items()
        if name.startswith(_NAME_PREFIX)
    }
    if isinstance(name := fields.get("metric_name"), str) and "_value" in fields:
        values[name] = fields["_value"]
    if not values:
        return
    dimensions = {"host" if name == "host.name" else name: _text(v) for name, v in source.items()}
    for name, value in fields.items():
        if not name.startswith(_NAME_PREFIX) and name not in ("metric_name", "_value"):
            dimensions[name] = _text(value)
    labels = {metric_name(name): text for name, text in dimensions.items() if text}
    for name, value in values.items():
        yield Metric(metric_name(name), _number(value, number), time_ns // 1_000_000, labels)


def metric_name(name: str) -> str:
    """A name as Prometheus has them: `cpu.usr` is `cpu_usr`."""
    sanitised = _INVALID_IN_NAME.sub("_", name)
    return f"_{sanitised}" if not sanitised or sanitised[0].isdigit() else sanitised


def _number(value: Value, number: int) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    raise EventError(Code.INDEXED_FIELDS, number)


def parse_time(value: Any) -> int | None:  # noqa: ANN401 - any JSON
    """Nanoseconds of seconds since 1970, as a number or a text; None where it is neither."""
    if isinstance(value, str):
        found = _SECONDS.fullmatch(value.strip())
        if found is None:
            return time_of(value)
        time_ns = int(found[1]) * 1_000_000_000 + int((found[2] or "0").ljust(9, "0"))
        return max(time_ns, FIRST_NS)
    if isinstance(value, float) and 0 <= value < 1e10:
        # A double of today's seconds is good to a quarter of a microsecond.
        return max(round(value * 1e6) * 1000, FIRST_NS)
    if value == 0 and not isinstance(value, bool):
        return FIRST_NS
    return time_of(value)


def read_lines(body: bytes, source: dict[str, Value], time_ns: int, now_ns: int) -> Events:
    """Each line as an event; of those with a given time, each is a nanosecond later than the last.

    Lines may be alike, and two records that are alike at one time are one record sent twice.

    Raises:
        TooLargeError: they take too much memory.
    """
    events = Events()
    encoded = resource(source)
    for line in body.splitlines():
        text = line.decode("utf-8", "replace")
        if text.strip():
            line_ns, observed_ns = (time_ns + events.count, now_ns) if time_ns else (0, 0)
            record = log_record(time_ns=line_ns, observed_ns=observed_ns, body=text)
            events.add(encoded, record)
            events.count += 1
    return events
