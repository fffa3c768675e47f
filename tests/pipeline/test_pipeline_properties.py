"""Whatever comes: no crash, no record lost, nothing that is unknown forgotten."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from obsd._native import LogPipeline
from obsd.services.log_processors import ProcessorSet
from obsd.services.protobuf import bytes_field, uint_field
from tests.pipeline.requests_of_lines import NOW_NS, PARSING, request_of

ALL_RULES = ProcessorSet.of(
    {
        "processors": [
            {"type": "grok", "pattern": "%{WORD:a} %{NUMBER:b:int}"},
            {"type": "regex", "pattern": "(?P<level>error|warn)"},
            {"type": "mask", "kinds": ["email", "ip", "credit_card", "bearer", "jwt"]},
            {"type": "rename", "from": "a", "to": "message", "when": "level:error"},
            {"type": "drop_field", "fields": ["x*"]},
        ]
    }
).compile()

PIECES = st.sampled_from(
    [
        '{"', '":', "}", "{", "level", "=", '"', "\\", " ", "error", "2027-01-15T07:59:50Z", "[",
        "]", "\tat a.B(C.java:1)", "Traceback (most recent call last):", "\n", "panic: ",
        "goroutine 1 [running]:", "10.0.0.1 - - [15/Jan/2027:07:59:50 +0000] \"GET", "<34>1 ",
        "I0115 07:59:50.1 1 a.go:1] ", "trace_id=", "0" * 31 + "1", "\x1b[31m", "\x1b", "é", "😀",
        "stdout F ", "Jan 15 07:59:50 ", "msg=", "a@b.org", "4111111111111111", "::1", ": ",
        "java.lang.Error", "Caused by: ", "service", "log", "stream", ",", "1", "-", ".5e3",
    ]
)  # fmt: skip
LINES = st.lists(PIECES, max_size=12).map("".join)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        LINES, st.integers(-(1 << 63), (1 << 63) - 1), st.floats(), st.booleans(), st.none(),
        st.binary(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
PIPELINES = st.sampled_from([PARSING, ALL_RULES])


def records_of(request: bytes) -> list[Any]:
    message = ExportLogsServiceRequest.FromString(request)
    return [
        record
        for group in message.resource_logs
        for scope in group.scope_logs
        for record in scope.log_records
    ]


@given(
    bodies=st.lists(VALUES, max_size=8),
    attributes=st.dictionaries(LINES, VALUES, max_size=3),
    pipeline=PIPELINES,
    keep=st.booleans(),
    severity=st.integers(0, 24),
)
def test_every_record_comes_out(
    bodies: list[Any], attributes: dict[str, Any], pipeline: LogPipeline, keep: bool, severity: int
) -> None:
    body = request_of(bodies, attributes=attributes, severity_number=severity)
    out, dropped, joined, changed = pipeline.apply(body, NOW_NS, 3600, keep)
    found = records_of(out)
    assert dropped == 0
    assert len(found) + joined == len(bodies)
    if not changed:
        assert out is body
    if severity:
        assert all(record.severity_number == severity for record in found) or pipeline is ALL_RULES
    if keep and pipeline is PARSING:
        texts = [record.body.string_value for record in found]
        assert "\n".join(texts).count("\n") >= joined


@given(line=LINES, pipeline=PIPELINES)
def test_the_outcome_is_settled(line: str, pipeline: LogPipeline) -> None:
    """Coming again, the same bytes become the same record: so it is known as one that was there."""
    body = request_of([line])
    assert pipeline.apply(body, NOW_NS, 0, False)[0] == pipeline.apply(body, NOW_NS, 0, False)[0]


@given(data=st.binary(max_size=200), pipeline=PIPELINES)
def test_any_bytes_are_taken(data: bytes, pipeline: LogPipeline) -> None:
    for body in (
        data,
        bytes_field(1, bytes_field(2, bytes_field(2, data))),
        bytes_field(1, bytes_field(2, bytes_field(2, bytes_field(5, bytes_field(1, data))))),
        bytes_field(1, bytes_field(2, bytes_field(2, bytes_field(5, bytes_field(1, b"{" + data))))),
    ):
        out, *_ = pipeline.apply(body, NOW_NS, 0, False)
        try:
            ExportLogsServiceRequest.FromString(body)
        except DecodeError:
            continue  # What is no request, or has text that is none, need not become one.
        ExportLogsServiceRequest.FromString(out)


@given(line=LINES, number=st.integers(20, 1000), value=st.integers(1, 1 << 40))
def test_unknown_fields_stay(line: str, number: int, value: int) -> None:
    unknown = uint_field(number, value) + bytes_field(number + 1, b"x")
    text = bytes_field(
        5, bytes_field(1, ('{"level":"error","a":1,"msg":' + f'"x"}}{line}').encode())
    )
    scope = bytes_field(1, bytes_field(1, b"name")) + bytes_field(2, text + unknown) + unknown
    body = bytes_field(1, bytes_field(2, scope) + bytes_field(3, b"schema") + unknown) + unknown
    out, *_ = PARSING.apply(body, NOW_NS, 0, False)
    before, after = (ExportLogsServiceRequest.FromString(each) for each in (body, out))
    for each in (before, after):
        for group in each.resource_logs:
            for scope_logs in group.scope_logs:
                for record in scope_logs.log_records:
                    kept = record.SerializePartialToString()
                    record.Clear()
                    assert unknown in kept
    assert after == before


def test_services_in_records_keep_order_and_scopes() -> None:
    lines = [f'{{"service":"s{n // 3 % 3}","msg":"m{n}"}}' for n in range(20)] + ["plain"]
    out, *_ = PARSING.apply(request_of(lines, {"k": "v"}), NOW_NS, 0, False)
    message = ExportLogsServiceRequest.FromString(out)
    services = [
        (attribute.value.string_value, len(group.scope_logs[0].log_records))
        for group in message.resource_logs
        for attribute in group.resource.attributes
        if attribute.key == "service.name"
    ]
    assert services == [("s0", 3), ("s1", 3), ("s2", 3), ("s0", 3), ("s1", 3), ("s2", 3), ("s0", 2)]
    texts = [record.body.string_value for record in records_of(out)]
    assert texts == [*(f"m{n}" for n in range(20)), "plain"]


def test_copies_of_a_large_resource_are_bounded() -> None:
    lines = [f'{{"service":"s{n}","msg":"m{n}"}}' for n in range(1000)]
    out, *_ = PARSING.apply(request_of(lines, {"k": "v" * 30_000}), NOW_NS, 0, False)
    assert len(out) < 1 << 20
    found = records_of(out)
    assert len(found) == 1000
    assert [a.value.string_value for a in found[7].attributes if a.key == "service"] == ["s7"]
