"""Requests of lines of text, as receivers of raw lines make them, through the native pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from obsd._native import LogPipeline
from obsd.model.log_record import LogRecord
from obsd.services.log_encoding import RecordGroup, log_record, request, resource
from tests.services.memory_logs import decode

# 2027-01-15T08:00:00Z.
NOW_NS = 1_800_000_000_000_000_000
SECOND_NS = 1_000_000_000
PARSING = LogPipeline([], True)


def request_of(bodies: Sequence[Any], source: Any = None, **fields: Any) -> bytes:
    """A record for each body, without a time of its own."""
    fields = {"time_ns": 0, "observed_ns": NOW_NS} | fields
    records = [log_record(body=body, **fields) for body in bodies]
    return request([RecordGroup(resource(source or {}), records)])


def parsed(*bodies: Any, keep: bool = False, source: Any = None, **fields: Any) -> list[LogRecord]:
    """The records that these bodies become."""
    body = request_of(bodies, source, **fields)
    out, dropped, joined, _ = PARSING.apply(body, NOW_NS, 0, keep)
    records = decode(out)
    assert dropped == 0
    assert len(records) + joined == len(bodies)
    return records


def parse(body: Any, **options: Any) -> LogRecord:
    """The record that one body becomes."""
    [record] = parsed(body, **options)
    return record
