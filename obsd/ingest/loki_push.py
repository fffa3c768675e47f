"""Loki's push API, `POST /loki/api/v1/push`: docs/api/logs.md.

API: https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs. A stream's labels
become the resource, an entry's structured metadata its attributes. What is wrong is left out and
named in a 400; the rest of the request is stored.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import web

from obsd import _native
from obsd.api.auth import project_of
from obsd.api.compression import content_coding, decompress, read_body
from obsd.api.errors import ErrorRenderer, render_text
from obsd.api.keys import LOGS
from obsd.ingest.body import read_compressed
from obsd.ingest.json_shown import NOT_JSON, shown
from obsd.ingest.media_type import parse_media_type
from obsd.ingest.record_hints import find_level, find_span, find_trace
from obsd.model.errors import BadInputError, TooLargeError, UndecodableError
from obsd.services import log_encoding
from obsd.services.log_aggregator import describe_rejected
from obsd.services.log_encoding import RecordGroup, RequestMemory, log_record, resource
from obsd.services.log_encoding import request as encode_request

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


def _json_labels(item: Any) -> dict[str, str]:  # noqa: ANN401 - any JSON
    match item:
        case {"stream": dict(labels), "values": list()}:
            for name, value in labels.items():
                if not isinstance(value, str):
                    raise BadInputError(f"the value of label {name!r} is no string")
            return labels
    raise BadInputError('a stream is not of the form {"stream": {…}, "values": […]}')


def _json_entry(entry: Any) -> tuple[int, str, dict[str, str]]:  # noqa: ANN401 - any JSON
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


def read_protobuf(body: bytes) -> tuple[Push, bytes]:
    """`PushRequest`, after its snappy is undone, and its records as an OTLP request.

    Raises:
        UndecodableError: it is no such message.
        TooLargeError: its records take too much.
    """
    limit_bytes = log_encoding.MAX_REQUEST_MEMORY_BYTES
    try:
        encoded, _, errors, error_count = _native.read_loki_protobuf(body, limit_bytes)
    except ValueError as error:
        raise UndecodableError(str(error)) from None
    except MemoryError:
        raise TooLargeError("request in memory", limit_bytes) from None
    return Push(errors=errors, error_count=error_count), encoded


async def push_logs(request: web.Request) -> web.Response:
    """Store the good entries; 204 if all are, else 400 that names the others."""
    project_id = project_of(request)
    logs = request.app[LOGS]
    loop = asyncio.get_running_loop()
    media_type, _ = parse_media_type(request.headers.get("Content-Type", ""))
    if media_type == "application/json":
        body = await read_body(
            request,
            max_compressed=MAX_COMPRESSED_BYTES,
            max_decompressed=MAX_DECOMPRESSED_BYTES,
            allowed=_JSON_CODINGS,
        )
        push, encoded = await loop.run_in_executor(logs.ingest_pool, _decode_json, body)
    else:
        content_coding(request, _PROTOBUF_CODINGS)  # It is snappy either way.
        raw = await read_compressed(request, MAX_COMPRESSED_BYTES)
        push, encoded = await loop.run_in_executor(logs.ingest_pool, _decode_protobuf, raw)
    errors = list(push.errors)
    if encoded:
        # Queries of this protocol parse lines themselves, and so have to find them whole.
        outcome = await logs.write(project_id, encoded, keep_bodies=True)
        if outcome.rejected:
            errors.append(describe_rejected(outcome))
    if not errors:
        return web.Response(status=204)
    if push.error_count > len(push.errors):
        errors.append(f"and {push.error_count - len(push.errors)} more")
    return web.Response(status=400, text="\n".join(errors) + "\n")


def _decode_json(body: bytes) -> tuple[Push, bytes]:
    push = read_json(body)
    return push, _encode(push)


def _decode_protobuf(raw: bytes) -> tuple[Push, bytes]:
    return read_protobuf(decompress("snappy", raw, MAX_DECOMPRESSED_BYTES))


def _encode(push: Push) -> bytes:
    return encode_request(group for group in push.groups if group.records)


def routes() -> list[web.RouteDef]:
    return [web.post(PATH, push_logs)]


def error_renderers() -> dict[str, ErrorRenderer]:
    return {PATH: render_text}
