"""The documented examples, and files that earlier versions wrote, are what is read."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd import _native
from obsd.logindex.wal_record import WalRecord
from obsd.model.errors import CorruptDataError
from obsd.model.log_record import LogRecord
from tests.logindex.otlp_requests import record, request

FORMAT = Path(__file__).parents[2] / "docs" / "format"
RELEASED = Path(__file__).parents[1] / "data" / "log-segment"
LIMITS = (0, -(1 << 62), 1 << 62, 1 << 20, 1 << 16, 128)

EXAMPLE = [record("job 7 done", 1_000_000_000, attributes={"n": 7})]
IN_RELEASED = [
    record(
        body,
        1_000_000_000 - n,
        severity_number=9,
        severity_text="INFO",
        service="api",
        trace_id="0af7" * 8,
        span_id="8f" * 8,
        resource={"host": "a"},
        attributes={"n": n, "x": 7.5, "t": True, "list": [1, "a"], "map": {"a": None}, "b": b"\1"},
    )
    for n, body in enumerate(["user 7 logged in from 10.0.0.1", "user 8f left", {"a": [1]}, None])
]


def write_segment(prefix: Path, records: Sequence[LogRecord]) -> Path:
    memtable = _native.LogMemtable(3)
    memtable.append(_native.LogBatch.decode(request(records), LIMITS), 0)
    (path,) = memtable.write_segments(prefix)
    return Path(path)


def read_segment(path: Path) -> list[LogRecord]:
    segment = _native.LogSegment.open(path)
    segment.verify()
    span = (-(1 << 62), 1 << 62)
    _, rows, _ = _native.log_page([segment], ("everything",), span, 100, True, None, lambda: None)
    return [LogRecord(*row) for row in rows]


def test_the_documented_segment_is_what_is_written(tmp_path: Path) -> None:
    text = (FORMAT / "log-segment.md").read_text()
    (example,) = re.findall(r"```text\n([0-9a-f\n]{100,})```", text)
    documented = bytes.fromhex(example)
    path = tmp_path / "documented.logs"
    path.write_bytes(documented)
    assert read_segment(path) == EXAMPLE
    assert write_segment(tmp_path / "written-", EXAMPLE).read_bytes() == documented


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_segments_of_earlier_versions_are_read(version: str) -> None:
    found = read_segment(RELEASED / version / "released-0.logs")
    assert [replace(each, details={}) for each in found] == IN_RELEASED
    details = {"event_name": "login", "scope.name": "auth"} if version == "v2" else {}
    assert all(each.details == details for each in found)


def test_a_segment_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write_segment(tmp_path / "whole-", IN_RELEASED).read_bytes()
    path = tmp_path / "cut.logs"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises((_native.CorruptError, OSError)):
            _native.LogSegment.open(path)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_wal_record_or_an_error(data: bytes) -> None:
    try:
        found = WalRecord.decode(data)
    except CorruptDataError:
        return
    assert b"".join(found.encode()) == data


def test_a_wal_record_of_earlier_versions_has_no_limit_of_attributes() -> None:
    context = struct.pack("<QqqqqIII", 1, 5, 9, 0, 10, 20, 30, 4)
    old = WalRecord.decode(b"\x01" + context + b"body")
    assert (old.max_attributes, old.packed, old.dropped) == ((1 << 32) - 1, b"body", ())
    old = WalRecord.decode(b"\x02" + context + struct.pack("<II", 1, 2) + b"body")
    assert (old.max_attributes, old.packed, old.dropped) == ((1 << 32) - 1, b"body", (2,))
    for dropped in ((), (0, 7)):
        now = replace(old, max_attributes=128, dropped=dropped)
        assert WalRecord.decode(b"".join(now.encode())) == now


def test_the_documented_list_of_recent_records_is_what_is_written() -> None:
    text = (FORMAT / "log-seen.md").read_text()
    (example,) = re.findall(r"```text\n([0-9a-f\n]{40,})```", text)
    sent = "".join(re.findall(r"`([0-9a-f]{12,})`", text.split("## Example")[1]))
    seen = _native.LogSeen(10, 10, 10)
    assert seen.admit(_native.LogBatch.decode(bytes.fromhex(sent), LIMITS)) == []
    assert seen.encode() == bytes.fromhex(example)
