"""JSON lines, `POST /ingest/jsonline`, and plain lines of text: docs/api/logs.md.

Each object is a record: its time, message, level, service and ids are looked for under the names
that loggers use, and every other field becomes an attribute with its type.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import ANY_CODING, read_body
from obsd.api.errors import ErrorRenderer, render_json
from obsd.api.keys import CONFIG, LOGS
from obsd.ingest.json_shown import NOT_JSON, shown
from obsd.ingest.media_type import parse_media_type
from obsd.ingest.record_hints import (
    MESSAGE_NAMES,
    SERVICE_NAMES,
    TIME_NAMES,
    find_level,
    find_span,
    find_text,
    find_trace,
)
from obsd.ingest.record_limits import RecordLimits
from obsd.model.errors import BadInputError
from obsd.model.log_record import Value
from obsd.model.rfc3339 import parse_rfc3339_ns
from obsd.services.log_encoding import RecordGroup, RequestMemory, bounded, log_record, resource
from obsd.services.log_encoding import request as encode_request

PATHS: Final = ("/ingest/jsonline", "/insert/jsonline", "/api/v1/import/jsonlines")
MAX_COMPRESSED_BYTES: Final = 32 << 20
MAX_DECOMPRESSED_BYTES: Final = 128 << 20
MAX_NAMED_ERRORS: Final = 20

_MAX_TIME_NS: Final = (1 << 63) - 1

FIRST_NS: Final = 1
"""The beginning of 1970, where 0 is no time."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Which fields are what, as the request's URL or headers say.

    Attributes:
        stream: fields that name the source, and become the resource.
        ignored: fields that are left out.
    """

    time: tuple[str, ...] = TIME_NAMES
    message: tuple[str, ...] = MESSAGE_NAMES
    stream: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @staticmethod
    def of(request: web.BaseRequest) -> Hints:
        def names(key: str, default: tuple[str, ...]) -> tuple[str, ...]:
            text = request.query.get(key) or request.headers.get(key) or ""
            return tuple(name.strip() for name in text.split(",") if name.strip()) or default

        return Hints(
            names("_time_field", TIME_NAMES),
            names("_msg_field", MESSAGE_NAMES),
            names("_stream_fields", ()),
            names("ignore_fields", ()),
        )


@dataclass(slots=True)
class Lines:
    """A request being put together.

    Attributes:
        errors: line and reason of the first few lines that are left out.
    """

    accepted: int = 0
    rejected: int = 0
    errors: list[dict[str, int | str]] = field(default_factory=list)
    groups: dict[bytes, RecordGroup] = field(default_factory=dict)
    memory: RequestMemory = field(default_factory=RequestMemory)

    def refuse(self, line: int, reason: str) -> None:
        self.rejected += 1
        if len(self.errors) < MAX_NAMED_ERRORS:
            self.errors.append({"line": line, "reason": reason})

    def add(self, source: bytes, record: bytes) -> None:
        """Take a record.

        Raises:
            TooLargeError: the request becomes too large.
        """
        self.accepted += 1
        self.memory.add(len(record))
        group = self.groups.get(source)
        if group is None:
            self.memory.add(len(source))
            group = self.groups[source] = RecordGroup(source)
        group.records.append(record)

    def encode(self) -> bytes:
        return encode_request(self.groups.values())


def read_lines(
    body: bytes, *, is_text: bool, hints: Hints, now_ns: int, limits: RecordLimits
) -> Lines:
    """Every record of a body; wrong lines, and those over a limit, are counted and named."""
    lines = Lines()
    if is_text:
        for line in io.BytesIO(body):
            text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")
            if text.strip():
                # Its time may be in the text. Without any, lines that are alike are all kept.
                lines.add(b"", log_record(time_ns=0, body=text))
        return lines
    for number, item in _items(body, lines):
        try:
            time_ns, source, record = encode_object(item, hints, now_ns)
            limits.check(time_ns, record)
            lines.add(source, record)
        except BadInputError as error:
            lines.refuse(number, str(error))
        except RecursionError:
            lines.refuse(number, "it is nested too deeply")
    return lines


def _items(body: bytes, lines: Lines) -> Iterator[tuple[int, Any]]:
    """Values with their line's number; one array, or one object over many lines, is understood."""
    decode = msgspec.json.Decoder().decode
    if (whole := _whole(body, decode)) is not None:
        yield from whole
        return
    for number, line in enumerate(io.BytesIO(body), 1):
        if not line.strip():
            continue
        try:
            item = decode(line)
        except NOT_JSON as error:
            lines.refuse(number, f"invalid JSON: {error}")
        except RecursionError:
            lines.refuse(number, "it is nested too deeply")
        else:
            yield number, item


def _whole(body: bytes, decode: Any) -> Iterable[tuple[int, Any]] | None:  # noqa: ANN401 - a method
    """The elements of the one array that the body is, or the one object; None if it is neither."""
    stripped = body.strip()
    first_line = stripped.partition(b"\n")[0].strip()
    is_many_lined_object = stripped[:1] == b"{" and not first_line.endswith(b"}")
    if stripped[:1] != b"[" and not is_many_lined_object:
        return None
    try:
        tree = decode(stripped)
    except NOT_JSON:
        return None
    return enumerate(tree, 1) if isinstance(tree, list) else [(1, tree)]


def encode_object(item: Any, hints: Hints, now_ns: int) -> tuple[int, bytes, bytes]:  # noqa: ANN401 - any JSON
    """The time of the record that an object stands for, its resource, and itself.

    Raises:
        BadInputError: it is no object.
    """
    if not isinstance(item, dict):
        raise BadInputError(f"expected an object, found {shown(item)}")
    fields: dict[str, Value] = item
    for name in hints.ignored:
        fields.pop(name, None)
    source: dict[str, Value] = {n: fields.pop(n) for n in hints.stream if n in fields}
    if name := find_text(fields, SERVICE_NAMES):
        source.setdefault("service.name", fields.pop(name))
    elif name := find_text(source, SERVICE_NAMES):
        source.setdefault("service.name", source[name])
    time_ns = _take_time(fields, hints.time)
    body = _take_message(fields, hints.message)
    level, number, text = find_level(fields)
    trace, trace_id = find_trace(fields)
    span, span_id = find_span(fields)
    for name in (level, trace, span):
        if name:
            del fields[name]
    record = log_record(
        time_ns=time_ns or 0,
        observed_ns=now_ns if time_ns else 0,
        body=body,
        severity_number=number,
        severity_text=text,
        attributes=bounded(fields),
        trace_id=trace_id,
        span_id=span_id,
    )
    return time_ns or now_ns, resource(source), record


def _take_message(fields: dict[str, Value], names: tuple[str, ...]) -> Value:
    """The first of these fields that is a text, or else is there at all."""
    for name in names:
        if isinstance(fields.get(name), str):
            return fields.pop(name)
    for name in names:
        if fields.get(name) is not None:
            return fields.pop(name)
    return None


def _take_time(fields: dict[str, Value], names: tuple[str, ...]) -> int | None:
    """The first of these fields that is a time; one that is none stays an attribute."""
    for name in names:
        time_ns = time_of(fields.get(name))
        if time_ns is not None:
            del fields[name]
            return time_ns
    return None


def time_of(value: Value) -> int | None:
    """Nanoseconds of an RFC 3339 text, or of a number in s, ms, µs or ns by its size."""
    time_ns: int | None = None
    match value:
        case bool():
            pass
        case int():
            time_ns = value * _unit_ns(value)
        case float() if 0 <= value < _MAX_TIME_NS:
            # Two steps, since a double has no room for nanoseconds since 1970.
            whole = int(value)
            unit_ns = _unit_ns(whole)
            time_ns = whole * unit_ns + round((value - whole) * unit_ns)
        case str() if value.isascii() and value.isdecimal() and len(value) < 20:
            time_ns = int(value) * _unit_ns(int(value))
        case str():
            try:
                time_ns = parse_rfc3339_ns(value.strip())
            except ValueError:
                return None
            if time_ns == 0:
                return FIRST_NS
    return time_ns if time_ns is not None and 0 < time_ns <= _MAX_TIME_NS else None


def _unit_ns(number: int) -> int:
    """Seconds until the year 5138, milliseconds from 1973 on, and so forth."""
    if number < 10**11:
        return 1_000_000_000
    if number < 10**14:
        return 1_000_000
    return 1_000 if number < 10**17 else 1


async def import_lines(request: web.Request) -> web.Response:
    """Store the good lines; 400 only if there is no good one."""
    project_id = project_of(request)
    hints = Hints.of(request)
    media_type, _ = parse_media_type(request.headers.get("Content-Type", ""))
    body = await read_body(
        request,
        max_compressed=MAX_COMPRESSED_BYTES,
        max_decompressed=MAX_DECOMPRESSED_BYTES,
        allowed=ANY_CODING,
    )
    logs = request.app[LOGS]
    now_ns = logs.now_ns()
    is_text = media_type == "text/plain"
    limits = RecordLimits.of(request.app[CONFIG].storage, now_ns)

    def read() -> tuple[Lines, bytes]:
        lines = read_lines(body, is_text=is_text, hints=hints, now_ns=now_ns, limits=limits)
        return lines, lines.encode()

    loop = asyncio.get_running_loop()
    lines, encoded = await loop.run_in_executor(logs.ingest_pool, read)
    if encoded:
        outcome = await logs.write(project_id, encoded)
        lines.accepted = outcome.accepted
        lines.rejected += sum(outcome.rejected.values())
        lines.errors += [{"reason": message} for message in outcome.messages]
    status = 400 if lines.rejected and not lines.accepted else 200
    answer = {
        "accepted": lines.accepted,
        "rejected": lines.rejected,
        "errors": lines.errors[:MAX_NAMED_ERRORS],
    }
    return web.Response(
        status=status, body=msgspec.json.encode(answer), content_type="application/json"
    )


def routes() -> list[web.RouteDef]:
    return [web.route(method, path, import_lines) for path in PATHS for method in ("POST", "PUT")]


def error_renderers() -> dict[str, ErrorRenderer]:
    return dict.fromkeys(PATHS, render_json)
