import gzip
import json
import zlib

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest.loki_labels import InvalidLabelsError, parse_labels
from obsd.model.errors import OverloadedError
from obsd.services.protobuf import bytes_field, uint_field
from tests.api.running_app import running_app
from tests.services.memory_logs import MemoryLogs

PATH = "/loki/api/v1/push"
JSON = {"Content-Type": "application/json"}
NOW_NS = 1_800_000_000_123_456_789
TRACE = "5b8efff798038103d269b633813fc60c"


@pytest.fixture
def store() -> MemoryLogs:
    return MemoryLogs(NOW_NS)


@pytest.fixture
async def app(tmp_path, store):
    async with running_app(tmp_path, open_logs=lambda _: store) as running:
        yield running


def push(*values, **labels: str) -> bytes:
    return json.dumps({"streams": [{"stream": labels, "values": values}]}).encode()


def entry(time_ns: int, line: str, metadata: dict[str, str] | None = None) -> bytes:
    time = uint_field(1, time_ns // 10**9) + uint_field(2, time_ns % 10**9)
    pairs = [
        bytes_field(1, k.encode()) + bytes_field(2, v.encode()) for k, v in (metadata or {}).items()
    ]
    return b"".join(
        [bytes_field(1, time), bytes_field(2, line.encode()), *(bytes_field(3, p) for p in pairs)]
    )


def push_request(labels: str, *entries: bytes) -> bytes:
    stream = bytes_field(1, labels.encode()) + b"".join(bytes_field(2, each) for each in entries)
    return bytes(cramjam.snappy.compress_raw(bytes_field(1, stream + uint_field(3, 77))))


async def test_json_is_stored(app, store) -> None:
    body = push(
        [str(NOW_NS), "first"],
        [str(NOW_NS + 1), "second", {"trace_id": TRACE, "user": "u1"}],
        app="api",
        level="warn",
    )
    answer = await app.post(PATH, body, headers=JSON)
    assert (answer.status, answer.body) == (204, b"")
    first, second = store.records
    assert (first.time_ns, first.body, first.service) == (NOW_NS, "first", "api")
    assert (first.severity_number, first.severity_text) == (13, "warn")
    assert first.resource == {"app": "api", "level": "warn", "service.name": "api"}
    assert second.attributes == {"trace_id": TRACE, "user": "u1"}
    assert second.trace_id == TRACE


@pytest.mark.parametrize("content_type", ["application/x-protobuf", "application/octet-stream"])
@pytest.mark.parametrize("coding", [{}, {"Content-Encoding": "snappy"}])
async def test_protobuf_is_snappy_whatever_the_headers_say(
    app, store, content_type, coding
) -> None:
    body = push_request(
        '{job="nightly", path="a,\\"b\\""}', entry(NOW_NS, "line", {"level": "err", "k": "v"})
    )
    headers = {"Content-Type": content_type, **coding}
    assert (await app.post(PATH, body, headers=headers)).status == 204
    [record] = store.records
    assert (record.time_ns, record.body, record.service) == (NOW_NS, "line", "nightly")
    assert record.resource["path"] == 'a,"b"'
    assert record.severity_number == 17
    assert record.attributes == {"level": "err", "k": "v"}


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body)[2:-4]),
    ],
    ids=["gzip", "zlib", "deflate"],
)
async def test_json_codings(app, store, coding, compress) -> None:
    body = compress(push([str(NOW_NS), "x"], a="b"))
    answer = await app.post(PATH, body, headers={**JSON, "Content-Encoding": coding})
    assert answer.status == 204
    assert store.records[0].service == "unknown_service"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([NOW_NS, "line"], "no string of nanoseconds"),
        (["soon", "line"], "no string of nanoseconds"),
        ([str(1 << 63), "line"], "out of range"),
        ([str(NOW_NS), "line", {"a": {"b": "c"}}], "the value of metadata 'a' is no string"),
        ([str(NOW_NS), "line", {"a": 1}], "the value of metadata 'a' is no string"),
        ([str(NOW_NS)], "not of the form"),
        ([str(NOW_NS), "x" * ((256 << 10) + 1)], "over the limit of 262144 bytes"),
        ([str(NOW_NS), "x", {str(i): "" for i in range(129)}], "more than 128 metadata"),
        ([str(NOW_NS), "x", {"a": "x" * (64 << 10)}], "metadata is over the limit"),
    ],
)
async def test_wrong_entry_is_named_and_the_others_are_stored(app, store, value, reason) -> None:
    answer = await app.post(PATH, push(value, [str(NOW_NS), "good"], a="b"), headers=JSON)
    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert reason in answer.text
    assert [record.body for record in store.records] == ["good"]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({}, "at least one label"),
        ({f"l{i}": "x" for i in range(16)}, "16 labels; the limit is 15"),
        ({"n" * 1025: "x"}, "over 1024 bytes"),
        ({"n": "x" * 2049}, "over 2048 bytes"),
    ],
)
async def test_wrong_labels_refuse_their_stream_only(app, store, labels, reason) -> None:
    good = {"stream": {"a": "b"}, "values": [[str(NOW_NS), "good"]]}
    bad = {"stream": labels, "values": [[str(NOW_NS), "bad"]]}
    body = json.dumps({"streams": [bad, good]}).encode()
    answer = await app.post(PATH, body, headers=JSON)
    assert answer.status == 400
    assert reason in answer.text
    assert [record.body for record in store.records] == ["good"]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (JSON, b"{", 400),
        (JSON, b"[]", 400),
        (JSON, b'{"streams":5}', 400),
        (JSON, b'{"streams":[5]}', 400),
        ({**JSON, "Content-Encoding": "zstd"}, b"{}", 415),
        ({}, b"no snappy", 400),
        ({}, bytes(cramjam.snappy.compress_raw(b"\xff\xff")), 400),
        ({"Content-Encoding": "gzip"}, b"", 415),
        ({}, push_request("{a=b}", entry(NOW_NS, "x")), 400),
        ({}, b"\xff\xff\xff\xff\x0f", 413),
    ],
)
async def test_refusals(app, store, headers, body, status) -> None:
    assert (await app.post(PATH, body, headers=headers)).status == status
    assert store.records == []


async def test_rejected_by_the_store_is_a_400_and_overload_a_503(app, store) -> None:
    store.too_old_ns = NOW_NS + 1
    answer = await app.post(PATH, push([str(NOW_NS), "x"], a="b"), headers=JSON)
    assert answer.status == 400
    assert "too_old: 1" in answer.text
    store.failure = OverloadedError("full")
    assert (await app.post(PATH, push([str(NOW_NS), "x"], a="b"), headers=JSON)).status == 503


async def test_empty_push_is_a_success(app) -> None:
    assert (await app.post(PATH, b'{"streams":[]}', headers=JSON)).status == 204


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("{}", {}),
        ('{a="b"}', {"a": "b"}),
        (' { a = "b" , c = `d\\"` , } ', {"a": "b", "c": 'd\\"'}),
        (r'{a="\x41\u00e9\U0001F600\101\n\\\""}', {"a": 'Aé😀A\n\\"'}),
        (r'{a="\xc3\xa9"}', {"a": "é"}),
        ('{a="},b=\\"c\\""}', {"a": '},b="c"'}),
    ],
)
def test_labels_parse(text, labels) -> None:
    assert parse_labels(text) == labels


@pytest.mark.parametrize(
    "text",
    ["", "a", "{", "{a}", "{a=}", '{a="b"', '{a="b"} x', '{a!="b"}', '{1="b"}', '{a="\\q"}',
     '{a="b" c="d"}', '{a="b",a="c"}', '{a="\\777"}', '{a="\\ud800"}', '{a="b\n"}'],
)  # fmt: skip
def test_wrong_labels_are_refused(text) -> None:
    with pytest.raises(InvalidLabelsError, match="invalid labels"):
        parse_labels(text)


@given(
    st.dictionaries(
        st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"])),
        min_size=1,
    )
)
def test_labels_parse_back(labels) -> None:
    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'

    text = "{" + ", ".join(f"{k}={quoted(v)}" for k, v in labels.items()) + "}"
    assert parse_labels(text) == labels
