"""Loki's pushes read in plain Python: the oracle of the native reader."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from obsd.ingest.json_shown import NOT_JSON, shown
from obsd.ingest.loki_labels import parse_labels
from obsd.ingest.record_hints import find_level, find_span, find_trace
from obsd.model.errors import BadInputError, UndecodableError
from obsd.services.log_encoding import RecordGroup, RequestMemory, log_record, resource
from obsd.services.protobuf import BYTES, VARINT, iter_fields, signed

PATH: Final = "/loki/api/v1/push"
MAX_COMPRESSED_BYTES: Final = 32 << 20
MAX_DECOMPRESSED_BYTES: Final = 128 << 20

# Loki's own defaults.
MAX_LINE_BYTES: Final = 256 << 10
MAX_LABELS: Final = 15
MAX_LABEL_NAME_BYTES: Final = 1024
MAX_LABEL_VALUE_BYTES: Final = 2048
MAX_METADATA_ENTRIES: Final = 128
MAX_METADATA_BYTES: Final = 64 << 10

UNKNOWN_SERVICE: Final = "unknown_service"
SERVICE_LABELS: Final = (
    "service_name",
    "service",
    "app",
    "application",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "component",
    "workload",
    "job",
)
_JSON_CODINGS: Final = frozenset({"identity", "gzip", "deflate"})
_PROTOBUF_CODINGS: Final = frozenset({"identity", "snappy"})
_DIGITS: Final = re.compile(r"\d{1,19}", re.ASCII)
_MAX_TIME_NS: Final = (1 << 63) - 1
_NAMED_ERRORS: Final = 20


@dataclass(slots=True)
class Push:
    """A request being put together.

    Attributes:
        errors: what is wrong with entries and streams that are left out, the first few.
    """

    groups: list[RecordGroup] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    error_count: int = 0
    memory: RequestMemory = field(default_factory=RequestMemory)

    def refuse(self, reason: str) -> None:
        self.error_count += 1
        if len(self.errors) < _NAMED_ERRORS:
            self.errors.append(reason)

    def start_stream(self, labels: dict[str, str]) -> Stream:
        check_labels(labels)
        service = next((labels[n] for n in SERVICE_LABELS if labels.get(n)), UNKNOWN_SERVICE)
        group = RecordGroup(resource({**labels, "service.name": service}))
        self.memory.add(len(group.resource))
        self.groups.append(group)
        _, number, text = find_level(labels)
        return Stream(group, self.memory, number, text)


@dataclass(slots=True)
class Stream:
    """One set of labels, and the level that they tell."""

    group: RecordGroup
    memory: RequestMemory
    severity_number: int
    severity_text: str

    def add(self, time_ns: int, line: str, metadata: dict[str, str]) -> None:
        """Take an entry.

        Raises:
            BadInputError: it is over a limit.
            TooLargeError: the request becomes too large.
        """
        check_entry(time_ns, line, metadata)
        _, number, text = find_level(metadata)
        record = log_record(
            time_ns=time_ns,
            body=line,
            severity_number=number or self.severity_number,
            severity_text=text or self.severity_text,
            attributes=metadata,
            trace_id=find_trace(metadata)[1],
            span_id=find_span(metadata)[1],
        )
        self.memory.add(len(record))
        self.group.records.append(record)


def check_labels(labels: dict[str, str]) -> None:
    """Refuse a stream whose labels are none, or over Loki's limits.

    Raises:
        BadInputError: which limit.
    """
    if not labels:
        raise BadInputError("a stream needs at least one label")
    if len(labels) > MAX_LABELS:
        raise BadInputError(f"a stream has {len(labels)} labels; the limit is {MAX_LABELS}")
    for name, value in labels.items():
        if len(name.encode()) > MAX_LABEL_NAME_BYTES:
            raise BadInputError(f"label name {name[:60]!r}… is over {MAX_LABEL_NAME_BYTES} bytes")
        if len(value.encode("utf-8", "surrogatepass")) > MAX_LABEL_VALUE_BYTES:
            raise BadInputError(
                f"the value of label {name!r} is over {MAX_LABEL_VALUE_BYTES} bytes"
            )


def check_entry(time_ns: int, line: str, metadata: dict[str, str]) -> None:
    """Refuse an entry that is over Loki's limits.

    Raises:
        BadInputError: which limit.
    """
    if not 0 <= time_ns <= _MAX_TIME_NS:
        raise BadInputError(f"timestamp {time_ns} is out of range")
    if len(line) * 4 > MAX_LINE_BYTES and len(line.encode("utf-8", "surrogatepass")) > (
        MAX_LINE_BYTES
    ):
        raise BadInputError(f"a line is over the limit of {MAX_LINE_BYTES} bytes")
    if len(metadata) > MAX_METADATA_ENTRIES:
        raise BadInputError(f"an entry has more than {MAX_METADATA_ENTRIES} metadata entries")
    size = sum(
        len(k.encode()) + len(v.encode("utf-8", "surrogatepass")) for k, v in metadata.items()
    )
    if size > MAX_METADATA_BYTES:
        raise BadInputError(f"an entry's metadata is over the limit of {MAX_METADATA_BYTES} bytes")


def read_json(body: bytes) -> Push:
    """The JSON form.

    Raises:
        UndecodableError: it is no JSON, or not of this form.
    """
    try:
        tree = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise UndecodableError(f"the body is no JSON: {error}") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("streams"), list):
        raise UndecodableError('the body has no "streams" array')
    push = Push()
    for item in tree["streams"]:
        try:
            stream = push.start_stream(_json_labels(item))
        except BadInputError as error:
            push.refuse(str(error))
            continue
        for entry in item["values"]:
            try:
                stream.add(*_json_entry(entry))
            except BadInputError as error:
                push.refuse(str(error))
    return push


def _json_labels(item: Any) -> dict[str, str]:
    match item:
        case {"stream": dict(labels), "values": list()}:
            for name, value in labels.items():
                if not isinstance(value, str):
                    raise BadInputError(f"the value of label {name!r} is no string")
            return labels
    raise BadInputError('a stream is not of the form {"stream": {…}, "values": […]}')


def _json_entry(entry: Any) -> tuple[int, str, dict[str, str]]:
    match entry:
        case [str(time), str(line)] if _DIGITS.fullmatch(time):
            return int(time), line, {}
        case [str(time), str(line), dict(metadata)] if _DIGITS.fullmatch(time):
            for name, value in metadata.items():
                if not isinstance(value, str):
                    raise BadInputError(f"the value of metadata {name!r} is no string")
            return int(time), line, metadata
        case [time, *_] if not isinstance(time, str) or not _DIGITS.fullmatch(time):
            raise BadInputError(f"timestamp {shown(time)} is no string of nanoseconds")
    raise BadInputError('a value is not of the form ["<nanoseconds>", "<line>", {…}]')


def read_protobuf(body: bytes) -> Push:
    """`PushRequest`, after its snappy is undone.

    Raises:
        UndecodableError: it is no such message.
    """
    push = Push()
    for number, kind, value in iter_fields(body):
        if number == 1 and kind == BYTES:
            assert isinstance(value, bytes)
            _read_stream(push, value)
    return push


def _read_stream(push: Push, message: bytes) -> None:
    labels = ""
    for number, kind, value in iter_fields(message):
        if number == 1 and kind == BYTES and isinstance(value, bytes):
            labels = _text(value)
    try:
        stream = push.start_stream(parse_labels(labels))
    except BadInputError as error:
        push.refuse(str(error))
        stream = None
    # One by one: an entry is two bytes in the message and hundreds when it is read.
    for number, kind, value in iter_fields(message):
        if number != 2 or kind != BYTES or not isinstance(value, bytes):
            continue
        entry = _read_entry(value)
        try:
            if stream is not None:
                stream.add(*entry)
        except BadInputError as error:
            push.refuse(str(error))


def _read_entry(message: bytes) -> tuple[int, str, dict[str, str]]:
    time_ns, line = 0, ""
    metadata: dict[str, str] = {}
    for number, kind, value in iter_fields(message):
        if kind != BYTES or not isinstance(value, bytes):
            continue
        match number:
            case 1:
                time_ns = _read_timestamp(value)
            case 2:
                line = _text(value)
            case 3:
                pair = {n: _text(v) for n, _, v in iter_fields(value) if isinstance(v, bytes)}
                metadata[pair.get(1, "")] = pair.get(2, "")
    return time_ns, line, metadata


def _read_timestamp(message: bytes) -> int:
    """A `google.protobuf.Timestamp`."""
    parts = {n: v for n, kind, v in iter_fields(message) if kind == VARINT and isinstance(v, int)}
    return signed(parts.get(1, 0)) * 1_000_000_000 + signed(parts.get(2, 0))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
