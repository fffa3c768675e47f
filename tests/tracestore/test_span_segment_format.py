"""The documented segment, and files that earlier versions wrote, are what is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd import _native
from obsd.model.span import Scope, Span, SpanEvent, SpanKind, SpanLink, StatusCode
from obsd.services.span_encoding import encode_spans
from tests.oracles.otlp_spans import decode

FORMAT = Path(__file__).parents[2] / "docs" / "format"
RELEASED = Path(__file__).parents[1] / "data" / "span-segment"
LIMITS = (0, -(1 << 62), 1 << 20, 1024)

TRACE = "0af7651916cd43dd8448eb211c80319c"


def make(number: int, **parts: object) -> Span:
    fields: dict[str, object] = {
        "trace_id": TRACE,
        "span_id": f"{number:016x}",
        "parent_id": "",
        "name": "GET /",
        "kind": SpanKind.SERVER,
        "start_ns": 1_000_000_000,
        "end_ns": 1_500_000_000,
        "service": "api",
        "resource": {"service.name": "api"},
    }
    return Span(**(fields | parts))  # type: ignore[arg-type]


EXAMPLE = [
    make(1),
    make(
        2,
        parent_id=f"{1:016x}",
        name="read",
        kind=SpanKind.CLIENT,
        start_ns=1_100_000_000,
        attributes={"n": 7},
    ),
]
IN_RELEASED = [
    *EXAMPLE,
    make(
        3,
        parent_id=f"{9:016x}",
        start_ns=1_200_000_000,
        status=StatusCode.ERROR,
        status_message="down",
        attributes={
            "x": 7.5,
            "t": True,
            "list": [1, "a"],
            "map": {"a": None},
            "b": b"\1",
            "s": "é",
        },
        scope=Scope("http", "1", {"lib": "x"}, 2, "https://scope"),
        events=(SpanEvent(1_300_000_000, "exception", {"exception.type": "E"}, 1),),
        links=(SpanLink(TRACE, f"{1:016x}", "a=b", {"why": "retry"}, 3, 257),),
        trace_state="k=v",
        flags=257,
        dropped_attributes=1,
        dropped_events=2,
        dropped_links=3,
        resource_schema_url="https://resource",
    ),
]


def write_segment(prefix: Path, spans: Sequence[Span]) -> Path:
    memtable = _native.SpanMemtable(8192)
    memtable.append(_native.SpanBatch.decode(encode_spans(spans), LIMITS), 0)
    (path,) = memtable.write_segments(prefix)
    return Path(path)


def read_segment(path: Path) -> list[Span]:
    segment = _native.SpanSegment.open(path)
    segment.verify()
    body = _native.span_otlp([segment], bytes.fromhex(TRACE), lambda: None)
    assert body is not None
    return decode(body).spans


def test_the_documented_segment_is_what_is_written(tmp_path: Path) -> None:
    text = (FORMAT / "span-segment.md").read_text()
    (example,) = re.findall(r"```text\n([0-9a-f\n]{100,})```", text)
    documented = bytes.fromhex(example)
    assert write_segment(tmp_path / "x-", EXAMPLE).read_bytes() == documented
    (tmp_path / "y.spans").write_bytes(documented)
    assert read_segment(tmp_path / "y.spans") == EXAMPLE


@pytest.mark.parametrize("version", ["v1"])
def test_segments_of_released_versions_are_read(version: str) -> None:
    assert read_segment(RELEASED / version / "traces.spans") == IN_RELEASED


def test_a_trace_comes_back_as_tuples_of_the_model_s_fields() -> None:
    memtable = _native.SpanMemtable(2)
    memtable.append(_native.SpanBatch.decode(encode_spans(IN_RELEASED), LIMITS), 0)
    rows = _native.span_trace([memtable], bytes.fromhex(TRACE), lambda: None)
    found = []
    for row in rows:
        *first, attributes, resource, scope, events, links, state, flags, a, e, n, url = row
        found.append(
            Span(
                *first[:4],
                SpanKind(first[4]),
                *first[5:8],
                StatusCode(first[8]),
                first[9],
                attributes,
                resource,
                Scope(*scope),
                tuple(SpanEvent(*event) for event in events),
                tuple(SpanLink(*link) for link in links),
                state,
                flags,
                a,
                e,
                n,
                url,
            )
        )
    assert found == IN_RELEASED


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_an_error(body: bytes) -> None:
    try:
        batch = _native.SpanBatch.decode(body, LIMITS)
    except ValueError:
        return
    packed = batch.packed()
    again = _native.SpanBatch.unpack(packed, len(body), LIMITS)
    assert (again.spans, again.rejected) == (batch.spans, batch.rejected)
