import pytest

from obsd.api.keys import LOGS
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.log_predicate import Token
from obsd.services.log_aggregator import LogQuery
from obsd.services.log_encoding import encode_logs
from obsd.services.metadata_store import FILE
from tests.api.running_app import running_app
from tests.services.error_tracking.errors import NOW_NS, error_record
from tests.services.memory_logs import MemoryLogs

PATH = "/api/v1/monitoring/errors"
OTLP = {"Content-Type": "application/x-protobuf"}


async def send(app, *records, look: bool = True) -> None:
    assert (await app.post("/v1/logs", encode_logs(records), headers=OTLP)).status == 200
    if look:
        await app.errors.look()


@pytest.fixture
async def app(tmp_path):
    store = MemoryLogs(NOW_NS)
    clock = ManualClock(NOW_NS // 1_000_000)
    async with running_app(tmp_path, clock=clock, open_logs=lambda _: store) as running:
        yield running


async def errors(app, **params) -> list:
    answer = await app.get(PATH, params)
    assert answer.status == 200, answer.text
    return answer.json["errors"]


async def test_without_errors_there_are_none(app) -> None:
    assert (await app.get(PATH)).json == {"errors": [], "total": 0}
    await send(app, error_record("fine", severity_number=9))
    assert (await app.get(PATH)).json == {"errors": [], "total": 0}


async def test_errors_become_groups_with_a_sample(app) -> None:
    await send(
        app,
        error_record("no user 1", time_ns=NOW_NS - 5, service="web"),
        error_record("no user 2", version="2.0", trace_id="ab" * 16),
        error_record("fine", severity_number=9),
        error_record("handled", severity_number=13, attributes={"exception.type": "KeyError"}),
    )
    found = await errors(app, sort="count")
    assert [(group["message"], group["count"]) for group in found] == [
        ("no user <_>", 2),
        ("handled", 1),
    ]
    shown = (await app.get(f"{PATH}/{found[0]['id']}")).json
    assert shown["sample"]["message"] == "no user 2"
    assert shown["services"] == {"web": 1, "api": 1}
    assert shown["versions"] == {"2.0": 1}
    assert shown["traces"] == [
        {"trace_id": "ab" * 16, "service": "api", "timestamp": "2026-01-31T12:00:00.000Z"}
    ]
    assert shown["hours"][-1] == {"timestamp": "2026-01-31T12:00:00.000Z", "count": 1}
    assert (shown["first_seen"], shown["last_seen"]) == (
        "2026-01-31T11:59:59.999999995Z",
        "2026-01-31T12:00:00.000Z",
    )


async def test_each_record_counts_once_however_often_one_looks(app) -> None:
    await send(app, error_record("boom"))
    await app.errors.look()
    await send(app, error_record("boom", time_ns=NOW_NS - 1))
    assert [group["count"] for group in await errors(app)] == [2]


async def test_states_are_set_and_errors_come_back(app) -> None:
    await send(app, error_record("boom", time_ns=NOW_NS - 1))
    [group] = await errors(app)
    answer = await app.request("PATCH", f"{PATH}/{group['id']}", data=b'{"state":"resolved"}')
    assert (answer.status, answer.json["state"]) == (200, "resolved")
    assert await errors(app, state="open") == []
    await send(app, error_record("boom", time_ns=NOW_NS + 1))
    [group] = await errors(app, state="open")
    assert (group["regressed"], group["regressions"]) == (True, 1)


async def test_several_states_are_set_at_one_time(app) -> None:
    await send(app, error_record("one"), error_record("two"), error_record("three"))
    ids = [group["id"] for group in await errors(app)][:2]
    answer = await app.post(PATH, f'{{"ids": {ids}, "state": "ignored"}}'.replace("'", '"'))
    assert answer.json == {"changed": 2}
    assert {group["id"] for group in await errors(app, state="ignored")} == set(ids)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "?state=closed", None, 400, "expected one of open, resolved, ignored"),
        ("GET", "?sort=name", None, 400, "expected one of last_seen"),
        ("GET", "?limit=5000", None, 400, "expected 0 to 1000"),
        ("GET", "?from=yesterday", None, 400, "from"),
        ("GET", "/nothing", None, 404, "there is no error"),
        ("PATCH", "/nothing", b'{"state":"open"}', 404, "there is no error"),
        ("POST", "", b'{"state":"open"}', 400, "expected 1 to 10000 ids"),
        ("POST", "", b'{"ids":["x"],"state":"gone"}', 400, "expected one of"),
        ("POST", "", b'{"ids":"x","state":"open"}', 400, "ids"),
        ("POST", "", b'{"ids":["x"],"state":"open","more":1}', 400, "more"),
        ("POST", "", b"{", 400, "no JSON"),
    ],
)
async def test_what_is_wrong_is_said(app, method, path, body, status, says) -> None:
    await send(app, error_record("boom"))
    answer = await app.request(method, PATH + path, data=body)
    assert answer.status == status
    assert says in answer.json["error"]["message"]


async def test_a_time_before_all_times_is_the_first_one(app) -> None:
    await send(app, error_record("boom"))
    answer = await app.request("GET", f"{PATH}?from=-99999999999d&to=2200-01-01T00:00:00Z")
    assert answer.status == 200
    assert answer.json["total"] == 1


async def test_deleting_a_record_takes_its_words_out_of_its_group(app, tmp_path) -> None:
    await send(app, error_record("payment of janedoe failed"), error_record("disk is full"))
    before = app.application[LOGS].deletions
    predicate = LogQuery("janedoe").to_predicate(NOW_NS)
    await before.delete("default", predicate, NOW_NS - 10, NOW_NS + 10)
    assert {group["message"] for group in await errors(app)} == {"", "disk is full"}
    for path in tmp_path.glob(FILE + "*"):
        assert b"janedoe" not in path.read_bytes()


async def test_a_deletion_that_was_cut_short_is_made_good_at_the_next_start(app) -> None:
    await send(app, error_record("payment of janedoe failed"))
    store = app.projects.log_store("default")
    store.delete(Token(None, "janedoe"), NOW_NS - 10, NOW_NS + 10, QueryBudget())
    app.errors._looked.clear()  # As in a new process.
    await app.errors.look()
    assert [group["message"] for group in await errors(app)] == [""]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", PATH),
        ("POST", "/api/v1/monitoring/logs/metrics"),
        ("POST", "/api/v1/monitoring/logs/metrics/preview"),
        ("POST", "/api/v1/monitoring/logs/delete"),
        ("PUT", "/api/v1/monitoring/logs/processors"),
        ("POST", "/api/v1/monitoring/logs/processors/test"),
    ],
)
@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"state": "\xff"}', b"[" * 100_000, b"", b"1"])
async def test_bodies_that_are_no_json_are_refused(app, method, path, body) -> None:
    answer = await app.request(method, path, data=body)
    assert answer.status == 400, answer.text
    assert answer.json["error"]["message"]
