"""Elasticsearch's ingest API: what is stored, what each item is told, what clients ask before."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.config import Config
from obsd.config.tree import StorageConfig
from obsd.ingest.elasticsearch_bulk import Target, read_bulk
from obsd.ingest.elasticsearch_filter import EVERYTHING, FilterPath, matches_name
from obsd.ingest.elasticsearch_ids import RecentIds
from obsd.ingest.elasticsearch_remembered import Remembered
from obsd.ingest.record_limits import RecordLimits
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.clock import ManualClock, SystemClock
from obsd.model.errors import BadInputError, OverloadedError, TooLargeError
from obsd.services import log_encoding
from tests.api.running_app import RunningApp, running_app
from tests.services.memory_logs import MemoryLogs, decode

NDJSON = {"Content-Type": "application/x-ndjson"}
NOW_NS = 1_800_000_000_123_456_789
PRODUCT = "X-Elastic-Product"


def lines(*objects: Any) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in objects).encode()


@pytest.fixture
def store() -> MemoryLogs:
    return MemoryLogs(NOW_NS)


@pytest.fixture
async def app(tmp_path, store):
    clock = ManualClock(NOW_NS // 1_000_000)
    async with running_app(tmp_path, open_logs=lambda _: store, clock=clock) as running:
        yield running


@pytest.fixture
async def indexed_app(tmp_path):
    """Over the real engine."""

    def open_logs(directory: Path) -> LogEngine:
        return LogEngine.open(directory, LogOptions(), SystemClock())

    async with running_app(tmp_path, open_logs=open_logs) as running:
        yield running


async def bulk(app: RunningApp, body: bytes, path: str = "/es/_bulk", method: str = "POST") -> Any:
    answer = await app.request(method, path, data=body, headers=NDJSON)
    assert answer.status == 200, answer.text
    assert answer.headers[PRODUCT] == "Elasticsearch"
    return json.loads(answer.body)


@pytest.mark.parametrize("path", ["/_bulk", "/es/_bulk", "/web/_bulk", "/es/web/_bulk"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_items_are_answered_in_order_under_their_actions_names(app, store, path, method):
    body = lines({"create": {"_index": "a"}}, {"message": "one"}, {"index": {"_index": "b"}}) + (
        b'{"message": "two"}\r\n\n{"delete": {"_index": "a", "_id": "7"}}\n\n'
    )
    answer = await bulk(app, body, path, method)
    assert answer["errors"] is True
    assert [list(item) for item in answer["items"]] == [["create"], ["index"], ["delete"]]
    first, second, third = (next(iter(item.values())) for item in answer["items"])
    assert (first["_index"], first["status"], first["result"]) == ("a", 201, "created")
    assert first["_shards"] == {"total": 1, "successful": 1, "failed": 0}
    assert first["_id"] != second["_id"]
    assert third["status"] == 400
    assert third["error"]["type"] == "illegal_argument_exception"
    assert [record.body for record in store.records] == ["one", "two"]
    assert [record.resource["_index"] for record in store.records] == ["a", "b"]


async def test_the_fields_of_elastics_agents_are_recognised(app, store) -> None:
    document = {
        "@timestamp": "2027-01-15T08:00:00.123456789Z",
        "message": "card declined",
        "log": {"level": "error", "file": {"path": "/var/log/pay.log"}},
        "service": {"name": "pay"},
        "host": {"name": "h1", "ip": ["10.0.0.7"]},
        "trace": {"id": "4bf92f3577b34da6a3ce929d0e0e4736"},
        "span": {"id": "00f067aa0ba902b7"},
        "http": {"response": {"status_code": 402, "ok": False}},
        "tags": ["a", "b"],
        "nothing": None,
        "empty": {},
    }
    await bulk(app, lines({"create": {}}, document), "/logs-pay/_bulk")
    [record] = store.records
    assert record.body == "card declined"
    assert record.time_ns == 1_800_000_000_123_456_789
    assert (record.severity_number, record.severity_text) == (17, "error")
    assert record.service == "pay"
    assert record.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert record.span_id == "00f067aa0ba902b7"
    assert record.resource == {
        "_index": "logs-pay",
        "service.name": "pay",
        "host.name": "h1",
        "host.ip": ["10.0.0.7"],
    }
    assert record.attributes == {
        "log.file.path": "/var/log/pay.log",
        "http.response.status_code": 402,
        "http.response.ok": False,
        "tags": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("fields", "time_ns"),
    [
        ({"@timestamp": 1_800_000_000_123}, 1_800_000_000_123_000_000),
        ({"@timestamp": "1800000000123"}, 1_800_000_000_123_000_000),
        ({"@timestamp": "2027-01-15"}, 1_799_971_200_000_000_000),
        ({"@timestamp": "2027-01-15T09:00:00+0100"}, 1_800_000_000_000_000_000),
        ({"timestamp": "2027-01-15T08:00:00Z"}, 1_800_000_000_000_000_000),
        ({"time": "2027-01-15T08:00:00Z"}, 1_800_000_000_000_000_000),
        ({"time": "soon"}, None),
    ],
)
async def test_times_as_documents_have_them(app, store, fields, time_ns) -> None:
    await bulk(app, lines({"index": {"_index": "t"}}, {"msg": "m", **fields}))
    [record] = store.records
    if time_ns is None:
        assert record.attributes == {"time": "soon"}
        assert record.time_ns == record.observed_ns == NOW_NS
    else:
        assert record.time_ns == time_ns
        assert "@timestamp" not in record.attributes


@pytest.mark.parametrize("time", ["1970-01-01", "1970-01-01T00:00:00.000Z", 0, 0.0])
@pytest.mark.parametrize("retention_s", [None, 7 * 86_400.0])
async def test_the_beginning_of_1970_is_a_time(tmp_path, store, time, retention_s) -> None:
    config = Config(storage=StorageConfig(log_retention_s=retention_s))
    clock = ManualClock(NOW_NS // 1_000_000)
    body = lines({"index": {"_index": "t"}}, {"msg": "m", "@timestamp": time})
    async with running_app(
        tmp_path, open_logs=lambda _: store, clock=clock, config=config
    ) as running:
        [item] = (await bulk(running, body))["items"]
    if retention_s is None:
        assert item["index"]["status"] == 201
        assert [record.time_ns for record in store.records] == [1]  # 0 is no time.
    else:
        assert item["index"]["status"] == 400
        assert "older than" in item["index"]["error"]["reason"]
        assert store.records == []


async def test_a_document_without_a_message_is_its_json(app, store) -> None:
    await bulk(app, lines({"index": {"_index": "t"}}, {"a": {"b": 1}, "host": "h9"}))
    [record] = store.records
    assert json.loads(record.body) == {"a": {"b": 1}, "host": "h9"}
    assert record.attributes == {"a.b": 1}
    assert record.resource["host.name"] == "h9"


async def test_a_document_that_is_wrong_fails_alone(app, store) -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = {"d": deep}
    body = (
        b'{"index":{"_index":"w"}}\n{"message": "broken"\n'
        b'{"index":{"_index":"w"}}\n{"message": "\xff"}\n'
        b'{"create":{"_index":"w"}}\n[1]\n'
        + lines({"index": {"_index": "w"}}, deep)
        + lines({"index": {"_index": "w"}}, {"message": "m", "@timestamp": "1999-01-01T00:00:00Z"})
        + lines({"index": {"_index": "w"}}, {"message": "x" * (2 << 20)})
        + lines({"index": {"_index": "w", "_id": "i" * 600}}, {"message": "m"})
        + lines({"index": {"_index": "w"}}, {"message": "good"})
        + b'{"index":{"_index":"w"}}\n'
    )
    headers = {**NDJSON, "Content-Encoding": "gzip"}
    answer = (await app.post("/_bulk", gzip.compress(body), headers=headers)).json
    items = [next(iter(item.values())) for item in answer["items"]]
    assert [item["status"] for item in items] == [400, 400, 400, 400, 400, 400, 400, 201, 400]
    kinds = {item["error"]["type"] for item in items if "error" in item}
    assert kinds == {"document_parsing_exception", "illegal_argument_exception"}
    assert "older than the log retention" in items[4]["error"]["reason"]
    assert "larger than the limit" in items[5]["error"]["reason"]
    assert [record.body for record in store.records] == ["good"]


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"", "parse_exception", "request body is required"),
        (b"\n \n", "parse_exception", "request body is required"),
        (b'{"index":{}}\n{"m":1}\n', "action_request_validation_exception", "index is missing"),
        (b'{"explode":{"_index":"a"}}\n{}\n', "illegal_argument_exception", "found [explode]"),
        (b"[1]\n", "illegal_argument_exception", "Malformed action/metadata line [3]"),
        (b'{"index":{"_index":"a","_id":{}}}\n{}\n', "illegal_argument_exception", "an _id is"),
        (b'{"index":{"_index":"%s"}}\n{}\n' % (b"i" * 300), "invalid_index_name_exception", "255"),
    ],
)
async def test_what_is_wrong_with_the_whole_request_stores_nothing(app, store, body, kind, reason):
    good = lines({"index": {"_index": "a"}}, {"message": "good"})
    answer = await app.post("/_bulk", (good + body) if body.strip() else body, headers=NDJSON)
    assert answer.status == answer.json["status"] == 400
    assert answer.json["error"]["type"] == kind
    assert answer.json["error"]["root_cause"][0]["type"] == kind
    assert reason in answer.json["error"]["reason"]
    assert store.records == []


async def test_an_id_that_comes_again_is_stored_once(app, store) -> None:
    one = lines({"create": {"_index": "a", "_id": "1"}}, {"message": "one"})
    assert (await bulk(app, one))["items"][0]["create"]["status"] == 201
    again = (await bulk(app, one))["items"][0]["create"]
    assert again["status"] == 409
    assert again["error"]["type"] == "version_conflict_engine_exception"
    index = lines({"index": {"_index": "a", "_id": "1"}}, {"message": "one"})
    item = (await bulk(app, index))["items"][0]["index"]
    assert (item["status"], item["result"], item["_id"]) == (200, "updated", "1")
    assert len(store.records) == 1
    # The same id elsewhere, or with another content, is another record.
    await bulk(app, lines({"create": {"_index": "b", "_id": "1"}}, {"message": "one"}))
    await bulk(app, lines({"index": {"_index": "a", "_id": "1"}}, {"message": "two"}))
    assert [record.body for record in store.records] == ["one", "one", "two"]
    assert store.records[0].attributes == {"_id": "1"}


async def test_an_id_that_comes_twice_in_a_request_is_stored_once(app, store) -> None:
    both = lines({"create": {"_index": "a", "_id": "1"}}, {"message": "one"}) * 2
    items = (await bulk(app, both))["items"]
    assert [item["create"]["status"] for item in items] == [201, 409]
    assert len(store.records) == 1


async def test_an_id_that_was_not_stored_is_not_remembered(app, store) -> None:
    store.failure = OverloadedError("full", 7)
    body = lines({"create": {"_index": "a", "_id": "1"}}, {"message": "one"})
    answer = await app.post("/_bulk", body, headers=NDJSON)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "7"
    assert answer.json["error"]["type"] == "es_rejected_execution_exception"
    store.failure = None
    assert (await bulk(app, body))["items"][0]["create"]["status"] == 201


async def test_an_update_that_makes_a_document_is_stored(app, store) -> None:
    body = lines(
        {"update": {"_index": "a", "_id": "1"}},
        {"doc": {"message": "made"}, "doc_as_upsert": True},
        {"update": {"_index": "a", "_id": "2"}},
        {"doc": {"message": "changed"}},
    )
    items = [item["update"]["status"] for item in (await bulk(app, body))["items"]]
    assert items == [201, 400]
    assert [record.body for record in store.records] == ["made"]


async def test_a_filter_of_beats_keeps_errors_and_statuses(app) -> None:
    body = lines({"create": {"_index": "a"}}, {"message": "one"}, {"create": {"_index": "a"}}, 3)
    path = "/_bulk?filter_path=errors,items.*.error,items.*.status"
    answer = await bulk(app, body, path)
    assert answer["errors"] is True
    first, second = answer["items"]
    assert first == {"create": {"status": 201}}
    assert set(second["create"]) == {"error", "status"}
    assert set(await bulk(app, body, "/_bulk?filter_path=took")) == {"took"}
    assert await bulk(app, body, "/_bulk?filter_path=nothing") == {}


@pytest.mark.parametrize("coding", ["gzip", "identity"])
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/vnd.elasticsearch+x-ndjson; compatible-with=8",
    ],
)
async def test_content_types_and_codings(app, store, coding, content_type) -> None:
    body = lines({"index": {"_index": "a"}}, {"message": "one"})
    headers = {"Content-Type": content_type, "Content-Encoding": coding}
    data = gzip.compress(body) if coding == "gzip" else body
    answer = await app.post("/_bulk", data, headers=headers)
    assert answer.status == 200
    assert len(store.records) == 1


@pytest.mark.parametrize("version", ["7", "8", "9"])
async def test_the_compatible_media_type_comes_back(app, version) -> None:
    wanted = f"application/vnd.elasticsearch+json; compatible-with={version}"
    answer = await app.get("/es/", headers={"Accept": wanted})
    assert answer.headers["Content-Type"] == wanted
    plain = await app.get("/es/", headers={"Accept": "*/*"})
    assert plain.headers["Content-Type"] == "application/json"


async def test_single_documents(app, store) -> None:
    made = await app.post("/es/web/_doc", json={"message": "one"})
    assert (made.status, made.json["result"], made.json["_index"]) == (201, "created", "web")
    assert (await app.request("PUT", "/es/web/_doc/7", json={"message": "two"})).status == 201
    again = await app.request("PUT", "/es/web/_doc/7", json={"message": "two"})
    assert (again.status, again.json["result"]) == (200, "updated")
    assert (await app.post("/es/web/_create/8", json={"message": "three"})).status == 201
    conflict = await app.post("/es/web/_create/8", json={"message": "three"})
    assert conflict.status == conflict.json["status"] == 409
    assert conflict.json["error"]["type"] == "version_conflict_engine_exception"
    wrong = await app.post("/es/web/_doc", data=b"{")
    assert (wrong.status, wrong.json["error"]["type"]) == (400, "document_parsing_exception")
    assert [record.body for record in store.records] == ["one", "two", "three"]


async def test_what_clients_ask_first(app) -> None:
    info = await app.get("/es")
    assert info.json["tagline"] == "You Know, for Search"
    assert info.json["version"]["number"] == "9.0.0"
    assert info.json["version"]["build_flavor"] == "default"
    assert len(info.json["cluster_uuid"]) == 22
    licence = (await app.get("/es/_license?human=false")).json["license"]
    assert (licence["type"], licence["status"]) == ("basic", "active")
    assert (await app.get("/es/_cluster/health")).json["status"] == "green"
    assert "green" in (await app.get("/es/_cat/health")).text
    nodes = (await app.get("/es/_nodes/http")).json["nodes"]
    [node] = nodes.values()
    assert node["http"]["publish_address"] in app.url
    assert (await app.get("/es/_xpack")).json["features"]["ilm"]["available"]
    for path in ("/es", "/es/_license", "/es/_xpack", "/es/_cluster/health", "/es/_cat/indices"):
        for method in ("GET", "HEAD"):
            answer = await app.request(method, path)
            assert (answer.status, answer.headers[PRODUCT]) == (200, "Elasticsearch"), path


@pytest.mark.parametrize(
    ("path", "lookup"),
    [
        ("/_index_template/t", lambda tree: tree["index_templates"][0]["index_template"]),
        (
            "/_component_template/t",
            lambda tree: tree["component_templates"][0]["component_template"],
        ),
        ("/_template/t", lambda tree: tree["t"]),
        ("/_ilm/policy/t", lambda tree: tree["t"]),
        ("/_ingest/pipeline/t", lambda tree: tree["t"]),
        ("/_data_stream/t", lambda tree: tree["data_streams"][0]["template"]),
    ],
)
async def test_what_agents_set_up_is_there_afterwards(app, path, lookup) -> None:
    path, text = f"/es{path}", {"index_patterns": ["logs-*"], "priority": 150}
    for method in ("GET", "HEAD"):
        assert (await app.request(method, path)).status == 404
    done = await app.request("PUT", path, json=text)
    assert done.json == {"acknowledged": True}
    assert (await app.request("HEAD", path)).status == 200
    assert lookup((await app.get(path)).json) == text
    other = {"X-Scope-OrgID": "other"}
    assert (await app.get(path, headers=other)).status == 404
    assert (await app.request("PUT", path, data=b"[1]")).status == 400
    assert (await app.request("DELETE", path)).json == {"acknowledged": True}
    assert (await app.get(path)).status == 404


async def test_indices_are_there_once_they_are_made_or_written_to(app) -> None:
    assert (await app.request("HEAD", "/es/web")).status == 404
    made = await app.request("PUT", "/es/web", json={"settings": {}})
    assert made.json == {"acknowledged": True, "shards_acknowledged": True, "index": "web"}
    assert (await app.request("HEAD", "/es/web")).status == 200
    again = await app.request("PUT", "/es/web")
    assert again.json["error"]["type"] == "resource_already_exists_exception"
    await bulk(app, lines({"index": {"_index": "shop"}}, {"message": "one"}))
    assert (await app.get("/es/shop")).json["shop"]["mappings"] == {}
    assert (await app.get("/es/_cat/indices")).text.split("\n")[0].split()[:3] == [
        *("green", "open", "shop")
    ]
    rows = (await app.get("/es/_cat/indices/w*?format=json")).json
    assert [row["index"] for row in rows] == ["web"]


async def test_documents_are_counted(indexed_app) -> None:
    app = indexed_app
    for index, level in (("web-1", "error"), ("web-1", "info"), ("web-2", "error"), ("db", "info")):
        document = {"message": f"of {index}", "log": {"level": level}}
        await bulk(app, lines({"index": {"_index": index}}, document))
    # What came otherwise is in no index.
    await app.post("/ingest/jsonline", b'{"message": "elsewhere"}')

    async def count(path: str, **options: Any) -> int:
        answer = await app.request("POST", f"/es{path}", **options)
        assert answer.status == 200, answer.text
        return answer.json["count"]

    assert await count("/_count") == 4
    assert await count("/_all/_count") == 4
    assert await count("/web-1/_count") == 2
    assert await count("/web-*/_count", json={"query": {"match_all": {}}}) == 3
    assert await count("/db,web-2/_count") == 2
    query = {"query": {"query_string": {"query": "level:error"}}}
    assert await count("/web-*/_count", json=query) == 2
    assert await count("/_count?q=level:info") == 2
    missing = await app.get("/es/absent/_count")
    assert (missing.status, missing.json["error"]["type"]) == (404, "index_not_found_exception")
    other = await app.post("/es/_count", json={"query": {"term": {"a": 1}}})
    assert (other.status, other.json["error"]["type"]) == (400, "parsing_exception")


async def test_documents_without_a_time_that_are_alike_are_all_kept(indexed_app) -> None:
    await bulk(indexed_app, lines({"index": {"_index": "a"}}, {"message": "same"}) * 3)
    assert (await indexed_app.get("/es/a/_count")).json["count"] == 3


async def test_unknown_paths_and_methods_have_elasticsearchs_form(app) -> None:
    missing = await app.get("/es/_nonsense/x")
    assert missing.json["status"] == 404
    assert missing.headers[PRODUCT] == "Elasticsearch"
    wrong = await app.get("/web/_bulk")
    assert wrong.json["status"] == 405
    assert wrong.headers["Allow"] == "POST, PUT"


def target(index: str = "i", ids: RecentIds | None = None) -> Target:
    return Target("default", index, NOW_NS, RecordLimits(), ids or RecentIds())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
documents = st.dictionaries(
    st.text(max_size=8)
    | st.sampled_from(["@timestamp", "message", "log", "host", "level", "service"]),
    json_values,
    max_size=5,
)


@given(st.lists(documents, min_size=1, max_size=4))
def test_any_document_becomes_a_record(sent: list[dict[str, Any]]) -> None:
    batch = read_bulk(b"".join(lines({"index": {}}, each) for each in sent), target())
    assert len(batch.items) == len(sent)
    records = decode(batch.encode())
    assert len(records) == sum(item.error is None for item in batch.items)
    answer = json.loads(batch.render(1, EVERYTHING))
    assert [item["index"]["status"] for item in answer["items"]] == [
        item.status for item in batch.items
    ]


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=30)).map(b"\n".join))
def test_arbitrary_bytes_are_items_or_an_error(body: bytes) -> None:
    try:
        batch = read_bulk(body, target())
    except BadInputError:
        return
    json.loads(batch.render(0, FilterPath.parse("items.*.status")))


@given(
    st.lists(st.sampled_from([b'{"index":{}}', b'{"delete":{"_id":1}}', b"{}", b"", b"[", b"3"]))
)
def test_any_order_of_lines_gives_an_item_for_each_action(parts: list[bytes]) -> None:
    try:
        batch = read_bulk(b"\n".join(parts), target())
    except BadInputError:
        return
    actions = json.loads(batch.render(0, EVERYTHING))["items"]
    assert [next(iter(item)) for item in actions] == [item.action for item in batch.items]


def test_many_small_actions_are_too_much_before_they_fill_the_memory(monkeypatch) -> None:
    monkeypatch.setattr(log_encoding, "MAX_REQUEST_MEMORY_BYTES", 1 << 20)
    with pytest.raises(TooLargeError):
        read_bulk(b'{"delete":{}}\n' * 3_000, target())


def test_ids_are_forgotten_beyond_the_limit() -> None:
    ids = RecentIds(limit=3)
    for number in range(5):
        ids.remember([(b"%d" % number, b"c")])
    assert [ids.look_up(b"%d" % number, b"c").name for number in range(5)] == [
        *("NEVER", "NEVER", "SAME", "SAME", "SAME")
    ]


def test_what_is_remembered_stays_within_its_limit() -> None:
    remembered = Remembered(max_bytes=1000, max_entries=3)
    for number in range(5):
        remembered.put("p", "k", f"n{number}", b"x" * 100)
    assert [name for name, _ in remembered.names("p", "k")] == ["n2", "n3", "n4"]
    with pytest.raises(TooLargeError):
        remembered.put("p", "k", "big", b"x" * 1000)
    remembered.put("p", "k", "n4", b"x" * 700)
    assert [name for name, _ in remembered.names("p", "k")] == ["n4"]


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "", True),
        ("a*", "ab", True),
        ("*b", "ab", True),
        ("a*b*c", "a1b2c", True),
        ("a*a", "a", False),
        ("a*b", "a", False),
        ("ab", "abc", False),
        ("*b*", "abc", True),
    ],
)
def test_patterns_of_names(pattern: str, name: str, expected: bool) -> None:
    assert matches_name(pattern, name) is expected


TREE = {"took": 1, "items": [{"a": {"x": 1, "y": {"z": 2}}}, {"b": {"x": 3}}], "none": {}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("took", {"took": 1}),
        ("items.*.x", {"items": [{"a": {"x": 1}}, {"b": {"x": 3}}]}),
        ("items.a.y.z", {"items": [{"a": {"y": {"z": 2}}}]}),
        ("**.x", {"items": [{"a": {"x": 1}}, {"b": {"x": 3}}]}),
        ("**.z,took", {"took": 1, "items": [{"a": {"y": {"z": 2}}}]}),
        ("i*.b", {"items": [{"b": {"x": 3}}]}),
        ("-took", TREE),
        ("", TREE),
    ],
)
def test_filters(text: str, expected: Any) -> None:
    assert FilterPath.parse(text).apply(TREE) == expected


@given(st.text(alphabet="ab*.,", max_size=12), json_values)
def test_any_filter_gives_a_part_of_the_answer(text: str, tree: Any) -> None:
    part = FilterPath.parse(text).apply(tree)
    assert part is None or isinstance(part, type(tree))
