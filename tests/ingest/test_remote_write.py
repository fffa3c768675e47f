"""Remote write over a real socket: dispatch, answers, and what is stored."""

from __future__ import annotations

import asyncio
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.api.prometheus_routes import WRITE_PATHS
from obsd.ingest.media_type import parse_media_type
from obsd.ingest.remote_write import dispatch
from obsd.model.clock import ManualClock
from obsd.model.errors import OverloadedError, StorageUnavailableError
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.write import Wire
from tests.api.running_app import WRITE_1, WRITE_2, RunningApp, running_app
from tests.protobuf.prometheus_messages import (
    Symbols,
    WriteRequest,
    WriteRequest2,
    compressed,
    write_request,
    write_request_2,
)

T0 = 1_700_000_000_000
UP = {"__name__": "up", "job": "a"}
BODY_1 = compressed(write_request([(UP, [(T0, 1.5)])]))
BODY_2 = compressed(write_request_2([(UP, [(T0, 1.5)])]))
WRITTEN = [
    f"X-Prometheus-Remote-Write-{kind}-Written" for kind in ("Samples", "Histograms", "Exemplars")
]


async def value_of(app: RunningApp, query: str = "up", time_s: float = T0 / 1000) -> list:
    data = await app.data("/api/v1/query", {"query": query, "time": str(time_s)})
    return [(sample["metric"], sample["value"][1]) for sample in data["result"]]


@pytest.mark.parametrize("path", [p + path for path in WRITE_PATHS for p in ("", "/prometheus")])
async def test_every_path_stores_a_request(app: RunningApp, path: str):
    answer = await app.post(path, BODY_1, headers=WRITE_1)
    assert (answer.status, answer.body) == (204, b"")
    assert await value_of(app) == [(UP, "1.5")]


async def test_version_1_answers_have_no_written_headers(app: RunningApp):
    for body in (BODY_1, b"not snappy"):
        answer = await app.post("/api/v1/write", body, headers=WRITE_1)
        assert not set(WRITTEN) & set(answer.headers)


async def test_version_2_answers_count_what_is_written(app: RunningApp):
    answer = await app.post("/api/v1/write", BODY_2, headers=WRITE_2)
    assert answer.status == 204
    assert [answer.headers[name] for name in WRITTEN] == ["1", "0", "0"]
    assert await value_of(app) == [(UP, "1.5")]


def histogram(timestamp_ms: int) -> dict:
    return {
        "count_int": 3,
        "sum": 4.5,
        "schema": 0,
        "zero_count_int": 1,
        "positive_spans": [{"offset": 0, "length": 2}],
        "positive_deltas": [1, 0],
        "timestamp": timestamp_ms,
    }


async def test_version_2_counts_histograms_and_exemplars_apart(app: RunningApp):
    symbols = Symbols()
    request = WriteRequest2(
        timeseries=[
            {
                "labels_refs": symbols.refs({"__name__": "h"}),
                "histograms": [histogram(T0), histogram(T0 + 1)],
            },
            {
                "labels_refs": symbols.refs({"__name__": "c"}),
                "samples": [{"timestamp": T0, "value": 1}],
                "exemplars": [
                    {"labels_refs": symbols.refs({"trace_id": "abc"}), "value": 2, "timestamp": T0}
                ],
            },
        ]
    )
    request.symbols.extend(symbols.texts)
    answer = await app.post("/api/v1/write", compressed(request), headers=WRITE_2)
    assert answer.status == 204, answer.text
    assert [answer.headers[name] for name in WRITTEN] == ["1", "2", "1"]


async def test_a_partly_bad_request_stores_its_good_part(app: RunningApp):
    good, nameless = (UP, [(T0, 1.0)]), ({"job": "b"}, [(T0, 2.0)])
    for body, headers in (
        (compressed(write_request([nameless, good])), WRITE_1),
        (compressed(write_request_2([nameless, good])), WRITE_2),
    ):
        answer = await app.post("/api/v1/write", body, headers=headers)
        assert answer.status == 400
        assert answer.text.startswith("stored 1 samples, refused 1 (")
        assert "has no metric name" in answer.text
        assert await value_of(app) == [(UP, "1")]
    assert [answer.headers[name] for name in WRITTEN] == ["1", "0", "0"]


async def test_a_retried_partly_bad_request_is_answered_alike(app: RunningApp):
    body = compressed(write_request([({"job": "b"}, [(T0, 2.0)]), (UP, [(T0, 1.0)])]))
    answers = [await app.post("/api/v1/write", body, headers=WRITE_1) for _ in range(2)]
    assert answers[0].status == answers[1].status == 400
    assert answers[0].text == answers[1].text


async def test_undecodable_bodies_are_400_and_store_nothing(app: RunningApp):
    for body in (b"", b"\xff" * 20, BODY_1[:-3], b"\x05\x10hello"):
        for headers in (WRITE_1, WRITE_2):
            answer = await app.post("/api/v1/write", body, headers=headers)
            assert answer.status == 400, body
            assert answer.text.strip()
            if headers is WRITE_2:
                assert [answer.headers[name] for name in WRITTEN] == ["0", "0", "0"]


async def test_a_version_2_request_needs_the_empty_string_first(app: RunningApp):
    request = WriteRequest2(symbols=["x"])
    answer = await app.post("/api/v1/write", compressed(request), headers=WRITE_2)
    assert answer.status == 400
    assert [answer.headers[name] for name in WRITTEN] == ["0", "0", "0"]


async def test_metadata_alone_is_stored(app: RunningApp):
    request = WriteRequest(
        metadata=[{"type": 1, "metric_family_name": "up", "help": "Is it?", "unit": "s"}]
    )
    answer = await app.post("/api/v1/write", compressed(request), headers=WRITE_1)
    assert answer.status == 204
    assert await app.data("/api/v1/metadata") == {
        "up": [{"type": "counter", "help": "Is it?", "unit": "s"}]
    }


async def test_a_late_exemplar_fails_only_version_2(app: RunningApp):
    def one(timestamp_ms: int):
        return [
            {
                "labels": [{"name": n, "value": v} for n, v in UP.items()],
                "samples": [{"timestamp": T0, "value": 1}],
                "exemplars": [
                    {
                        "labels": [{"name": "trace_id", "value": str(timestamp_ms)}],
                        "value": 1,
                        "timestamp": timestamp_ms,
                    }
                ],
            }
        ]

    for timestamp_ms in (T0, T0 - 1000):
        request = WriteRequest(timeseries=one(timestamp_ms))
        assert (await app.post("/api/v1/write", compressed(request), headers=WRITE_1)).status == 204
    symbols = Symbols()
    late = WriteRequest2(
        timeseries=[
            {
                "labels_refs": symbols.refs(UP),
                "samples": [{"timestamp": T0, "value": 1}],
                "exemplars": [
                    {"labels_refs": symbols.refs({"a": "b"}), "value": 1, "timestamp": T0 - 2000}
                ],
            }
        ]
    )
    late.symbols.extend(symbols.texts)
    answer = await app.post("/api/v1/write", compressed(late), headers=WRITE_2)
    assert answer.status == 400
    assert [answer.headers[name] for name in WRITTEN] == ["1", "0", "0"]


async def test_the_stale_marker_ends_a_series(app: RunningApp):
    [stale] = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))
    await app.write([(UP, [(T0, 1.0), (T0 + 1000, stale)])])
    assert await value_of(app, time_s=T0 / 1000 + 0.9) == [(UP, "1")]
    assert await value_of(app, time_s=T0 / 1000 + 2) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "application/x-protobuf;proto=prometheus.Other"},
        {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"},
        {"Content-Type": "application/x-protobuf", "Content-Encoding": "zstd"},
        {"Content-Encoding": "deflate"},
    ],
)
async def test_unsupported_headers_are_415_before_the_body_is_read(
    app: RunningApp, headers: dict[str, str]
):
    """The body never ends, so an answer shows that nobody waits for it."""
    host, port = app.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["POST /api/v1/write HTTP/1.1", "Host: x", *lines, "Content-Length: 1000"])
    writer.write(head.encode() + b"\r\n\r\nbroken")
    await writer.drain()
    async with asyncio.timeout(10):
        status = await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert b" 415 " in status


def test_dispatch_reads_headers_as_headers():
    two, one = Wire.REMOTE_WRITE_2, Wire.REMOTE_WRITE_1
    assert dispatch(None, None) is one
    assert dispatch("Application/X-Protobuf", "Snappy") is one
    assert dispatch("application/x-protobuf; charset=utf-8", None) is one
    assert dispatch('application/x-protobuf ; Proto="io.prometheus.write.v2.Request"', None) is two
    assert dispatch("application/x-protobuf;proto=prometheus.WriteRequest", "snappy") is one
    assert isinstance(dispatch("text/plain", None), str)


@given(st.text())
def test_any_header_is_parsed(header: str):
    media_type, parameters = parse_media_type(header)
    assert media_type == media_type.lower()
    assert all(name == name.lower() for name in parameters)


@given(st.dictionaries(st.from_regex(r"[a-z]+", fullmatch=True), st.text(), max_size=4))
def test_quoted_parameters_come_back(parameters: dict[str, str]):
    quoted = "".join(
        f';{n}="{v.translate({34: chr(92) + chr(34), 92: chr(92) * 2})}"'
        for n, v in parameters.items()
    )
    if "\n" in quoted:
        return
    assert parse_media_type("a/b" + quoted)[1] == parameters


async def test_bodies_over_the_limit_are_413(app: RunningApp):
    too_long = b"\0" * ((32 << 20) + 1)
    for headers in (WRITE_1, WRITE_2):
        answer = await app.post("/api/v1/write", io.BytesIO(too_long), headers=headers)
        assert answer.status == 413
    assert answer.headers[WRITTEN[0]] == "0"

    async def chunks():
        for _ in range(33):
            yield b"\0" * (1 << 20)

    assert (await app.post("/api/v1/write", chunks(), headers=WRITE_1)).status == 413
    bomb = b"\xff\xff\xff\xff\x07" + b"\0" * 100  # Declares 2 GiB.
    answer = await app.post("/api/v1/write", bomb, headers=WRITE_1)
    assert answer.status in (400, 413)


async def test_a_chunked_body_is_stored(app: RunningApp):
    async def chunks():
        for byte in BODY_1:
            yield bytes((byte,))

    answer = await app.post("/api/v1/write", chunks(), headers=WRITE_1)
    assert answer.status == 204
    assert await value_of(app) == [(UP, "1.5")]


@pytest.mark.parametrize(
    "error",
    [OverloadedError("the head is full", 7), StorageUnavailableError("no space left", 7)],
)
async def test_overload_and_storage_faults_ask_for_a_retry(
    app: RunningApp, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def refuse(*_args: object) -> None:
        raise error

    monkeypatch.setattr(MetricsEngine, "write", refuse)
    for headers, body in ((WRITE_1, BODY_1), (WRITE_2, BODY_2)):
        answer = await app.post("/api/v1/write", body, headers=headers)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
        assert str(error) in answer.text
    assert [answer.headers[name] for name in WRITTEN] == ["0", "0", "0"]


async def test_a_disk_that_fails_the_sync_is_not_acknowledged(
    app: RunningApp, monkeypatch: pytest.MonkeyPatch
):
    write = MetricsEngine.write

    def fail_to_sync(engine, body, wire, on_durable):
        error = StorageUnavailableError("sync failed")
        return write(engine, body, wire, lambda _: on_durable(error))

    monkeypatch.setattr(MetricsEngine, "write", fail_to_sync)
    answer = await app.post("/api/v1/write", BODY_2, headers=WRITE_2)
    assert answer.status == 503
    assert answer.headers[WRITTEN[0]] == "0"


async def test_projects_are_apart(app: RunningApp):
    headers = WRITE_1 | {"X-Scope-OrgID": "team-a"}
    assert (await app.post("/api/v1/write", BODY_1, headers=headers)).status == 204
    assert await value_of(app) == []
    answer = await app.get(
        "/api/v1/query", {"query": "up", "time": "1700000000"}, headers={"X-Scope-OrgID": "team-a"}
    )
    assert len(answer.json["data"]["result"]) == 1
    for bad in ("../x", "a/b", "x" * 65, "ä"):
        answer = await app.post("/api/v1/write", BODY_1, headers=WRITE_1 | {"X-Scope-OrgID": bad})
        assert answer.status == 400


async def test_samples_outside_the_time_limits_are_named(tmp_path: Path):
    options = EngineOptions(retention_ms=86_400_000)
    async with running_app(tmp_path, options=options, clock=ManualClock(T0)) as app:
        body = compressed(
            write_request([(UP, [(T0 - 2 * 86_400_000, 1.0), (T0, 2.0), (T0 + 3_600_000, 3.0)])])
        )
        answer = await app.post("/api/v1/write", body, headers=WRITE_1)
        assert answer.status == 400
        assert "refused 2 (" in answer.text
        assert await value_of(app) == [(UP, "2")]


async def test_wrong_methods_are_405(app: RunningApp):
    answer = await app.get("/api/v1/write")
    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]


async def test_messages_name_the_series(tmp_path: Path):
    clock = ManualClock(T0)
    options = EngineOptions(retention_ms=3_600_000, max_future_ms=600_000)
    async with running_app(tmp_path, options=options, clock=clock) as app:
        body = compressed(write_request([(UP, [(T0 - 7_200_000, 1.0), (T0 + 700_000, 1.0)])]))
        answer = await app.post("/api/v1/write", body, headers=WRITE_1)
        assert answer.status == 400
        old, future = answer.text.splitlines()[1:]
        assert old.startswith('too old sample: up{job="a"} at ')
        assert future.startswith('out of bounds: up{job="a"} at ')


async def test_messages_name_the_series_of_labels_histograms_and_exemplars(app: RunningApp):
    request = WriteRequest()
    for labels in ([("job", "a"), ("job", "b")], [("", "x")]):
        series = request.timeseries.add()
        for name, value in [("__name__", "twice"), *labels]:
            series.labels.add(name=name, value=value)
        series.samples.add(value=1, timestamp=T0)
    series = request.timeseries.add()
    series.labels.add(name="__name__", value="shape")
    series.histograms.add(count_int=5, schema=0, timestamp=T0)
    series.exemplars.add(value=1, timestamp=T0).labels.add(name="trace_id", value="x" * 128)
    answer = await app.post("/api/v1/write", compressed(request), headers=WRITE_1)
    assert answer.status == 400
    assert [line.split(": ")[0] for line in answer.text.splitlines()[1:]] == [
        'twice{job="a", job="b"}',
        'twice{="x"}',
        "shape{}",
        "shape{}",
    ]


async def test_version_2_metadata_outside_of_the_symbols_refuses_its_series(app: RunningApp):
    for _ in range(2):  # A new series, and then one that is known.
        request = write_request_2([(UP, [(T0, 1.5)])])
        request.timeseries[0].metadata.help_ref = 1 << 20
        answer = await app.post("/api/v1/write", compressed(request), headers=WRITE_2)
        assert answer.status == 400
        assert [answer.headers[name] for name in WRITTEN] == ["0", "0", "0"]
        assert "metadata reference 1048576 is outside of the symbol table" in answer.text
        answer = await app.post("/api/v1/write", BODY_2, headers=WRITE_2)
        assert answer.status == 204
