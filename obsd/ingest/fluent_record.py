"""Events of Fluent Forward as log records: docs/receivers.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import msgspec

from obsd.ingest.fluent_messages import LOGS, Event, ForwardMessage, OversizedEventError
from obsd.ingest.record_hints import SERVICE_NAMES, find_level, find_span, find_text, find_trace
from obsd.model.errors import BadInputError, TooLargeError
from obsd.model.log_record import Value
from obsd.services.log_encoding import (
    RecordGroup,
    RequestMemory,
    bounded,
    log_record,
    request,
    resource,
)

TAG: Final = "fluent_tag"
MESSAGE_FIELDS: Final = ("log", "message", "msg")
CONTAINER: Final = "container_name"
_APP_LABELS: Final = ("app.kubernetes.io/name", "app_kubernetes_io/name", "k8s-app", "app")
_KUBERNETES: Final = (
    ("namespace_name", "k8s.namespace.name"),
    ("pod_name", "k8s.pod.name"),
    ("container_name", "k8s.container.name"),
)


@dataclass(slots=True)
class Counted:
    """What became of events.

    Attributes:
        received: all of them.
        malformed: those that are none, and are left out.
        too_large: those that are left out for their size.
        unsupported: those of metrics or traces, which are left out.
    """

    received: int = 0
    malformed: int = 0
    too_large: int = 0
    unsupported: int = 0

    def add(self, other: Counted) -> None:
        self.received += other.received
        self.malformed += other.malformed
        self.too_large += other.too_large
        self.unsupported += other.unsupported


@dataclass(slots=True)
class ForwardEncoder:
    """Puts one request to the log engine together."""

    now_ns: int
    counted: Counted = field(default_factory=Counted)
    _groups: dict[bytes, RecordGroup] = field(default_factory=dict)
    _memory: RequestMemory = field(default_factory=RequestMemory)

    def add(self, message: ForwardMessage) -> None:
        """Take all of a message's events.

        Raises:
            UndecodableError: they are no msgpack. The message is not to be acknowledged.
            TooLargeError: it is all too much. Either way nothing of the message is taken.
        """
        counted = Counted()
        begun_bytes = self._memory.size_bytes
        records: list[tuple[bytes, bytes]] = []
        try:
            for event in message.iter_events():
                counted.received += 1
                if message.signal != LOGS:
                    counted.unsupported += 1
                elif isinstance(event, OversizedEventError):
                    counted.too_large += 1
                elif isinstance(event, BadInputError):
                    counted.malformed += 1
                else:
                    encoded = encode_event(event, message.tag, self.now_ns)
                    self._memory.add(len(encoded[1]))
                    records.append(encoded)
        except (BadInputError, TooLargeError):
            self._memory.size_bytes = begun_bytes
            raise
        self.counted.add(counted)
        for source, record in records:
            group = self._groups.get(source)
            if group is None:
                group = self._groups[source] = RecordGroup(source)
            group.records.append(record)

    def encode(self) -> bytes:
        """The request; empty without records."""
        return request(self._groups.values())


@dataclass(slots=True)
class Encoding:
    """Messages put together.

    Attributes:
        request: to the log engine; empty without records.
        messages: how many, from the first, are in it.
        error: why the next one is not; None where it can come with a later request.
    """

    request: bytes
    counted: Counted
    messages: int
    error: BadInputError | TooLargeError | None


def encode_messages(messages: Sequence[ForwardMessage], now_ns: int) -> Encoding:
    """As many messages as go into one request, up to the first that is wrong."""
    encoder = ForwardEncoder(now_ns)
    for index, message in enumerate(messages):
        try:
            encoder.add(message)
        except BadInputError as error:
            return Encoding(encoder.encode(), encoder.counted, index, error)
        except TooLargeError as error:
            return Encoding(encoder.encode(), encoder.counted, index, None if index else error)
    return Encoding(encoder.encode(), encoder.counted, len(messages), None)


def encode_event(event: Event, tag: str, now_ns: int) -> tuple[bytes, bytes]:
    """The resource and the record that an event stands for."""
    if not isinstance(event.record, dict):
        body: Value = event.record
        fields: dict[str, Value] = {}
    else:
        fields = event.record
        body = _take_message(fields)
    container = _container(fields)
    service_field = find_text(fields, SERVICE_NAMES)
    kubernetes = fields.get("kubernetes")
    places = _places(kubernetes) if isinstance(kubernetes, dict) else ()
    service = (
        str(fields.pop(service_field))
        if service_field
        else _app(kubernetes) or container or dict(places).get("k8s.container.name") or tag
    )
    level, number, severity = find_level(fields)
    trace, trace_id = find_trace(fields)
    span, span_id = find_span(fields)
    for name in (level, trace, span):
        if name:
            del fields[name]
    for name, value in event.metadata.items():
        fields.setdefault(name, value)
    if tag:
        fields[TAG] = tag
    record = log_record(
        # Without any time the engine takes that of the arrival, and never takes the record for one
        # that is sent again.
        time_ns=event.time_ns,
        observed_ns=now_ns if event.time_ns else 0,
        body=body,
        severity_number=number,
        severity_text=severity,
        attributes=bounded(fields, TAG),
        trace_id=trace_id,
        span_id=span_id,
    )
    return _resource(service, container, places), record


def _take_message(fields: dict[str, Value]) -> Value:
    """The line; all of the record as JSON where no field has it."""
    for name in MESSAGE_FIELDS:
        value = fields.get(name)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            del fields[name]
            return value.rstrip("\r\n")
    return msgspec.json.encode(_plain(fields)).decode() if fields else None


def _plain(value: Value) -> Value:
    """Without bytes, which JSON has no place for."""
    match value:
        case bytes():
            return value.decode("utf-8", "replace")
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
    return value


def _container(fields: dict[str, Value]) -> str:
    """The container's name, taken out; docker has a slash in front of it."""
    value = fields.get(CONTAINER)
    if not isinstance(value, str) or not value.strip("/"):
        return ""
    del fields[CONTAINER]
    return value.lstrip("/")


def _places(kubernetes: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    found = ((ours, kubernetes.get(theirs)) for theirs, ours in _KUBERNETES)
    return tuple((ours, value) for ours, value in found if isinstance(value, str) and value)


def _app(kubernetes: Value) -> str:
    """What the labels of a pod call it; "" without them."""
    labels = kubernetes.get("labels") if isinstance(kubernetes, dict) else None
    if not isinstance(labels, dict):
        return ""
    name = find_text(labels, _APP_LABELS)
    return str(labels[name]) if name else ""


@lru_cache(maxsize=4096)
def _resource(service: str, container: str, places: tuple[tuple[str, str], ...]) -> bytes:
    attributes: dict[str, Value] = {"service.name": service} if service else {}
    if container:
        attributes[CONTAINER] = container
    return resource(attributes | dict(places))
