"""Jaeger's Thrift over HTTP, written by Apache's library and read by obsd."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest.jaeger_batch import encode_batch
from obsd.ingest.thrift_binary import MAX_VALUES, ThriftReader
from obsd.model.errors import ObsdError, StorageUnavailableError, TooLargeError, UndecodableError
from obsd.model.span import Scope, SpanEvent, SpanKind, SpanLink, StatusCode
from tests.api.running_app import running_app
from tests.ingest import jaeger_messages
from tests.ingest.jaeger_messages import CHILD_OF, FOLLOWS_FROM, Struct, batch, log, reference, tag
from tests.oracles.otlp_spans import decode
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_NS, make_span

THRIFT = {"Content-Type": "application/x-thrift"}
PATH = "/jaeger-thrift/api/traces?format=jaeger.thrift"
NOW_US = NOW_NS // 1000


def jaeger_span(**parts: Any) -> Struct:
    return jaeger_messages.jaeger_span(NOW_US, **parts)


def only_span(body: bytes) -> Any:
    [each] = decode(encode_batch(body)).spans
    return each


def test_a_plain_span() -> None:
    assert only_span(batch(jaeger_span())) == make_span(flags=1)


def test_every_field() -> None:
    full = jaeger_span(
        trace_low=-2,
        trace_high=-1,
        span_id=-3,
        parent_id=7,
        references=[
            reference(CHILD_OF, -2, -1, 7),
            reference(FOLLOWS_FROM, -2, -1, 8),
            reference(CHILD_OF, 5, 0, 9),
        ],
        tags=[
            tag("span.kind", "client"),
            tag("error", True),
            tag("otel.status_description", "refused"),
            tag("otel.scope.name", "lib"),
            tag("w3c.tracestate", "a=b"),
            tag("s", "é"),
            tag("i", -5),
            tag("d", 2.5),
            tag("b", False),
            tag("y", b"\x00\xff"),
        ],
        logs=[
            log(NOW_US + 1, tag("event", "retry"), tag("n", 2)),
            log(NOW_US + 2, tag("event", "error"), tag("error.kind", "E"), tag("message", "no")),
            log(NOW_US + 3, tag("message", "hello")),
        ],
    )
    found = only_span(batch(full, tags=[tag("hostname", "a"), tag("ip", "10.0.0.1")]))
    trace_id = "ff" * 15 + "fe"
    assert found == make_span(
        trace_id=trace_id,
        span_id="ff" * 7 + "fd",
        parent_id="0" * 15 + "7",
        kind=SpanKind.CLIENT,
        status=StatusCode.ERROR,
        status_message="refused",
        scope=Scope("lib"),
        trace_state="a=b",
        flags=1,
        attributes={"s": "é", "i": -5, "d": 2.5, "b": False, "y": b"\x00\xff"},
        resource={"host.name": "a", "ip": "10.0.0.1", "service.name": "web"},
        events=(
            SpanEvent(NOW_NS + 1_000, "retry", {"n": 2}),
            SpanEvent(
                NOW_NS + 2_000,
                "exception",
                {"exception.type": "E", "exception.message": "no"},
            ),
            SpanEvent(NOW_NS + 3_000, "hello"),
        ),
        links=(
            SpanLink(trace_id, "0" * 15 + "8", "", {"opentracing.ref_type": "follows_from"}),
            SpanLink("0" * 31 + "5", "0" * 15 + "9", "", {"opentracing.ref_type": "child_of"}),
        ),
    )


def test_a_parent_may_be_a_reference_alone() -> None:
    parent = reference(CHILD_OF, 1, 0, 7)
    found = only_span(batch(jaeger_span(references=[parent])))
    assert (found.parent_id, found.links) == ("0" * 15 + "7", ())


@pytest.fixture
def store() -> MemorySpans:
    return MemorySpans(NOW_NS)


@pytest.fixture
async def app(tmp_path, store):
    async with running_app(tmp_path, open_traces=lambda _: store) as running:
        yield running


@pytest.mark.parametrize(
    "media_type", ["application/x-thrift", "application/vnd.apache.thrift.binary"]
)
async def test_a_batch_is_stored(app, store, media_type) -> None:
    headers = {"Content-Type": media_type, "Content-Encoding": "gzip"}
    answer = await app.post(PATH, gzip.compress(batch(jaeger_span())), headers=headers)
    assert (answer.status, answer.body) == (202, b"")
    assert store.kept == [make_span(flags=1)]
    assert (await app.post(PATH, batch(), headers=THRIFT)).status == 202


@pytest.mark.parametrize(
    ("path", "headers", "body", "reason"),
    [
        (PATH, {"Content-Type": "application/json"}, b"{}", "unsupported content type"),
        (PATH.replace("jaeger.thrift", "zipkin"), THRIFT, b"", "unsupported format"),
        (PATH, THRIFT, b"\xff", "invalid thrift at byte"),
        (PATH, THRIFT, batch(jaeger_span())[:-2], "invalid thrift"),
        (PATH, THRIFT, batch(jaeger_span()) * 2, "behind the batch"),
        (PATH, THRIFT, batch(jaeger_span(span_id=0)), "invalid_span_id: 1"),
    ],
)
async def test_what_is_wrong_is_a_400_in_text(app, path, headers, body, reason) -> None:
    answer = await app.post(path, body, headers=headers)
    assert answer.status == 400
    assert reason in answer.text


async def test_no_success_before_the_disk_has_it(app, store) -> None:
    store.sync_failure = StorageUnavailableError("fdatasync failed")
    assert (await app.post(PATH, batch(jaeger_span()), headers=THRIFT)).status == 503


@pytest.mark.parametrize("path", ["/jaeger-thrift/api/sampling", "/jaeger-thrift/sampling"])
async def test_clients_are_told_to_sample_everything(app, path) -> None:
    answer = await app.get(path, {"service": "web"})
    assert answer.json == {
        "strategyType": "PROBABILISTIC",
        "probabilisticSampling": {"samplingRate": 1.0},
    }
    assert (await app.get(path)).status == 400


def test_a_small_body_cannot_take_much_memory() -> None:
    empty_structs = b"\x0f\x00\x01\x0c" + struct.pack(">i", MAX_VALUES + 5) + bytes(MAX_VALUES + 5)
    with pytest.raises(TooLargeError):
        encode_batch(empty_structs + b"\0")
    endless = b"\x0f\x00\x01\x0c" + struct.pack(">i", 0x7FFFFFFF)
    with pytest.raises(UndecodableError, match="more than there is"):
        encode_batch(endless)
    with pytest.raises(UndecodableError, match="nested more than"):
        encode_batch(b"\x0c\x00\x01" * 100)


def test_what_is_not_known_is_passed_over() -> None:
    sets = b"\x0e\x00\x63\x03\x00\x00\x00\x01\x05"
    maps = b"\x0d\x00\x62\x0b\x08\x00\x00\x00\x01\x00\x00\x00\x01a\x00\x00\x00\x07"
    assert only_span(sets + maps + batch(jaeger_span())) == make_span(flags=1)
    [fields] = [dict(ThriftReader(maps + b"\0")._struct(0).items())]
    assert fields == {0x62: [(b"a", 7)]}


@given(body=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body) -> None:
    try:
        decode(encode_batch(body))
    except ObsdError:
        return


@given(data=st.data())
def test_a_damaged_batch_is_read_or_refused(data) -> None:
    body = bytearray(batch(jaeger_span(logs=[log(1, tag("a", 1))])))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(encode_batch(bytes(body)))
    except ObsdError:
        return
