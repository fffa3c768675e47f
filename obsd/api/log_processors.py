"""`/api/v1/monitoring/logs/processors`: what is done with records before they are stored."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import ANY_CODING, read_body
from obsd.api.errors import ErrorRenderer, render_json
from obsd.api.json_body import decode_json, json_response
from obsd.api.keys import LOGS
from obsd.api.log_entry import log_entry
from obsd.api.relative_time import parse_time_or_relative_ns
from obsd.model.errors import BadInputError
from obsd.model.log_record import LogRecord, Value
from obsd.model.severity import severity_number
from obsd.services.log_dry_run import PARSING, DryRun, records_of_lines, run
from obsd.services.log_processors import ProcessorSet

PATH: Final = "/api/v1/monitoring/logs/processors"
TEST_PATH: Final = f"{PATH}/test"
MAX_TESTED: Final = 100
_MAX_BODY_BYTES: Final = 1 << 20


class TestRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A record to try processors on, as the search API shows one."""

    message: str = ""
    body: Any = None
    timestamp: str = ""
    level: str = ""
    service: str = ""
    trace_id: str = ""
    span_id: str = ""
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    resource: dict[str, Any] = msgspec.field(default_factory=dict)

    def to_record(self, now_ns: int) -> LogRecord:
        """The record of the model.

        Raises:
            BadInputError: a field is not what its name says.
        """
        body: Value = self.message if self.body is None else self.body
        return LogRecord(
            time_ns=_time(self.timestamp, now_ns) if self.timestamp else 0,
            observed_ns=now_ns,
            severity_number=severity_number(self.level),
            severity_text=self.level,
            service=self.service,
            body=body,
            trace_id=_id(self.trace_id, 32),
            span_id=_id(self.span_id, 16),
            resource=self.resource,
            attributes=self.attributes,
        )


class Test(msgspec.Struct, forbid_unknown_fields=True):
    """What to try: processors, or else those that the project has, on lines or records."""

    processors: list[Any] | None = None
    parse: bool | None = None
    lines: list[str] = msgspec.field(default_factory=list)
    records: list[TestRecord] = msgspec.field(default_factory=list)


def _time(text: str, now_ns: int) -> int:
    try:
        return parse_time_or_relative_ns(text, now_ns)
    except ValueError as error:
        raise BadInputError(f"timestamp: {error}") from error


def _id(text: str, digits: int) -> str:
    is_id = len(text) in (0, digits) and all(c in "0123456789abcdefABCDEF" for c in text)
    if not is_id:
        raise BadInputError(f"expected {digits} hexadecimal digits as an id, found {text[:40]!r}")
    return text.lower()


async def _read(request: web.Request) -> bytes:
    return await read_body(
        request,
        max_compressed=_MAX_BODY_BYTES,
        max_decompressed=_MAX_BODY_BYTES,
        allowed=ANY_CODING,
    )


async def show(request: web.Request) -> web.Response:
    """`GET`: the project's processors."""
    project_id = project_of(request)
    processors = request.app[LOGS].processors
    found = await asyncio.get_running_loop().run_in_executor(None, processors.get, project_id)
    return json_response(found.to_json())


async def replace(request: web.Request) -> web.Response:
    """`PUT`: have these from now on, in place of all that were there."""
    project_id = project_of(request)
    logs = request.app[LOGS]
    body = await _read(request)

    def work() -> ProcessorSet:
        processors = ProcessorSet.of(decode_json(body, Any))
        logs.processors.replace(project_id, processors)
        return processors

    found = await asyncio.get_running_loop().run_in_executor(None, work)
    return json_response(found.to_json())


async def test(request: web.Request) -> web.Response:
    """`POST …/test`: what would become of lines or records; nothing is stored."""
    project_id = project_of(request)
    logs = request.app[LOGS]
    asked: Test = decode_json(await _read(request), Test)
    if len(asked.lines) + len(asked.records) > MAX_TESTED:
        raise BadInputError(f"more than {MAX_TESTED} lines and records")
    now_ns = logs.now_ns()

    def work() -> list[DryRun]:
        own = logs.processors.get(project_id)
        chosen = ProcessorSet.of(
            {
                "parse": own.parse if asked.parse is None else asked.parse,
                "processors": list(own.processors)
                if asked.processors is None
                else asked.processors,
            }
        )
        records = records_of_lines(asked.lines, now_ns, join=chosen.parse)
        records += [(each.to_record(now_ns), 1) for each in asked.records]
        return run(chosen, records, now_ns)

    found = await asyncio.get_running_loop().run_in_executor(logs.ingest_pool, work)
    return json_response({"results": [_shown(each) for each in found]})


def _shown(found: DryRun) -> dict[str, object]:
    return {
        "lines": found.lines,
        "dropped": found.after is None,
        "before": log_entry(found.before),
        "after": None if found.after is None else log_entry(found.after),
        "steps": [
            {
                "processor": None if step.index == PARSING else step.index,
                "changed": step.changed,
            }
            for step in found.steps
        ],
    }


def routes() -> list[web.RouteDef]:
    return [
        web.get(PATH, show),
        web.put(PATH, replace),
        web.post(TEST_PATH, test),
    ]


def error_renderers() -> dict[str, ErrorRenderer]:
    return dict.fromkeys((PATH, TEST_PATH), render_json)
