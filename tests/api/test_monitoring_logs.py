import tracemalloc

import pytest

from obsd.api.log_entry import log_entry
from obsd.model.clock import ManualClock
from obsd.model.log_record import LogRecord
from obsd.services.log_encoding import encode_logs
from tests.api.running_app import running_app
from tests.services.memory_logs import MemoryLogs

PATH = "/api/v1/monitoring/logs"
NOW_MS = 1_800_000_000_000
NOW_NS = NOW_MS * 1_000_000
SECOND_NS = 1_000_000_000
OTLP = {"Content-Type": "application/x-protobuf"}


def record(number: int, **parts) -> LogRecord:
    fields = {
        "time_ns": NOW_NS - number * SECOND_NS,
        "observed_ns": NOW_NS,
        "severity_number": 17 if number % 2 else 9,
        "severity_text": "",
        "service": "api" if number < 6 else "web",
        "body": f"record {number}",
        "trace_id": "",
        "span_id": "",
        "resource": {"service.name": "api" if number < 6 else "web"},
        "attributes": {"n": number},
    }
    return LogRecord(**(fields | parts))


@pytest.fixture
async def app(tmp_path):
    store = MemoryLogs(NOW_NS)
    clock = ManualClock(NOW_MS)
    async with running_app(tmp_path, clock=clock, open_logs=lambda _: store) as running:
        body = encode_logs(record(number) for number in range(10))
        assert (await running.post("/v1/logs", body, headers=OTLP)).status == 200
        yield running


def numbers(answer) -> list[int]:
    assert answer.status == 200, answer.text
    return [entry["attributes"]["n"] for entry in answer.json["logs"]]


async def test_the_newest_come_first_with_the_total(app) -> None:
    answer = await app.get(PATH, {"limit": "3"})
    assert numbers(answer) == [0, 1, 2]
    assert (answer.json["total"], answer.json["total_exact"]) == (10, True)
    nothing = await app.get(PATH, {"limit": "0"})
    assert nothing.json == {"logs": [], "total": 10, "total_exact": True, "next_cursor": None}
    following = await app.get(PATH, {"limit": "8", "cursor": answer.json["next_cursor"]})
    assert numbers(following) == [3, 4, 5, 6, 7, 8, 9]
    assert following.json["next_cursor"] is None


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"query": "n:>7"}, [8, 9]),
        ({"query": "record level:error", "order": "asc"}, [9, 7, 5, 3, 1]),
        ({"level[]": "error", "query": "n:<4"}, [1, 3]),
        ([("level[]", "error"), ("level[]", "info"), ("query", "n:<2")], [0, 1]),
        ({"level": "error,info", "query": "n:<2"}, [0, 1]),
        ({"service[]": "web"}, [6, 7, 8, 9]),
        ({"service": "WEB", "level": "err"}, [7, 9]),
        ({"from": "-3s"}, [0, 1, 2, 3]),
        ({"from": "-3s", "to": "now"}, [1, 2, 3]),
        ({"from": "1799999995", "to": "1799999997.5"}, [3, 4, 5]),
        ({"from": "2027-01-15T07:59:57Z", "to": "2027-01-15T07:59:58.000000001Z"}, [2, 3]),
        ({"to": "-1h"}, []),
    ],
)
async def test_parameters_choose_records(app, params, found) -> None:
    assert numbers(await app.get(PATH, params)) == found


@pytest.mark.parametrize(
    ("params", "kind", "message"),
    [
        ({"query": "level:urgent"}, "query_parse", '1:7: parse error: there is no level "urgent"'),
        ({"query": "(a"}, "query_parse", '1:1: parse error: this "(" is not closed'),
        ({"limit": "-1"}, "bad_input", 'invalid parameter "limit"'),
        ({"limit": "10001"}, "bad_input", 'invalid parameter "limit": expected 0 to 10000'),
        ({"limit": "many"}, "bad_input", 'invalid parameter "limit"'),
        ({"from": "soon"}, "bad_input", 'invalid parameter "from": expected a time'),
        ({"from": "now", "to": "-1h"}, "bad_input", 'invalid parameter "to": it is before from'),
        ({"order": "up"}, "bad_input", "expected asc or desc"),
        ({"cursor": "?"}, "bad_input", "invalid cursor"),
        ({"level": "loud"}, "bad_input", "there is no level 'loud'"),
    ],
)
async def test_wrong_parameters_are_named(app, params, kind, message) -> None:
    answer = await app.get(PATH, params)
    assert (answer.status, answer.json["error"]["type"]) == (400, kind)
    assert message in answer.json["error"]["message"]


async def test_aggregate_counts_by_step_and_value(app) -> None:
    params = {"from": "-10s", "to": "now", "step": "5s", "by": "level"}
    answer = await app.get(PATH + "/aggregate", params)
    assert answer.json == {
        "by": ["level"],
        "step": 5.0,
        "timestamps": [NOW_MS / 1000 - 10, NOW_MS / 1000 - 5],
        "series": [
            {"value": "error", "values": ["error"], "total": 5, "counts": [2, 3]},
            {"value": "info", "values": ["info"], "total": 4, "counts": [2, 2]},
        ],
        "total": 9,
    }
    answer = await app.get(PATH + "/aggregate", {"query": "n:5"})
    assert answer.json["total"] == 1
    assert answer.json["step"] == 61.0
    [row] = answer.json["series"]
    assert len(row["counts"]) == len(answer.json["timestamps"])


async def test_aggregate_makes_numbers_of_a_field(app) -> None:
    params = {"from": "-10s", "to": "now", "step": "5s", "field": "n", "by": "service,level"}
    answer = await app.get(PATH + "/aggregate", params | {"function": "avg"})
    shown = answer.json
    assert (shown["function"], shown["field"], shown["exact"]) == ("avg", "n", True)
    assert {row["value"]: row["points"] for row in shown["series"]} == {
        "api, error": [None, 3.0],
        "api, info": [None, 3.0],
        "web, error": [8.0, None],
        "web, info": [7.0, None],
    }
    for function, number in {"p50": 5.0, "max": 9.0, "sum": 45.0, "unique": 9, "count": 9}.items():
        one_step = {"from": "-9500ms", "to": "now", "step": "1h", "field": "n"}
        answer = await app.get(PATH + "/aggregate", one_step | {"function": function})
        [row] = answer.json["series"]
        assert [point for point in row["points"] if point is not None] == [number], function


@pytest.mark.parametrize(
    "wrong",
    [
        {"function": "median", "field": "n"},
        {"function": "p50"},
        {"function": "quantile", "field": "n"},
        {"function": "quantile", "field": "n", "q": "2"},
    ],
)
async def test_aggregate_refuses_wrong_functions(app, wrong) -> None:
    assert (await app.get(PATH + "/aggregate", wrong)).status == 400


@pytest.mark.parametrize("function", [{}, {"function": "p50", "field": "n"}])
async def test_aggregate_refuses_too_many_steps_before_it_lists_them(app, function) -> None:
    params = {"from": "0", "to": "4000", "step": "1ms", **function}  # And not "now": see memory.
    tracemalloc.start()
    try:
        answer = await app.get(PATH + "/aggregate", params)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status == 400
    assert "steps" in answer.text
    assert most_bytes < 8 << 20


@pytest.mark.parametrize("step", ["-1s", "soon", "0", "1ms"])
async def test_aggregate_refuses_wrong_steps(app, step) -> None:
    assert (await app.get(PATH + "/aggregate", {"step": step})).status == 400


async def test_an_empty_range_is_no_error(app) -> None:
    params = {"from": "-1h", "to": "-1h"}
    for path in (PATH, PATH + "/fields"):
        assert (await app.get(path, params)).status == 200
    answer = await app.get(PATH + "/aggregate", params)
    assert answer.json["total"] == 0


async def test_fields(app) -> None:
    names = await app.get(PATH + "/fields", {"query": "level:error"})
    assert names.json == {"fields": [{"name": "n", "count": 5}], "max_error": 0}
    values = await app.get(PATH + "/fields", {"field": "service", "limit": "1"})
    assert values.json == {
        "field": "service",
        "values": [{"value": "api", "count": 6}],
        "max_error": 0,
        "records": 10,
        "unique": 2,
        "unique_exact": True,
        "type": "text",
        "numbers": None,
    }
    numeric = await app.get(PATH + "/fields", {"field": "n"})
    assert (numeric.json["type"], numeric.json["unique"]) == ("number", 10)
    assert {key: numeric.json["numbers"][key] for key in ("min", "max", "avg")} == {
        "min": 0.0,
        "max": 9.0,
        "avg": 4.5,
    }


async def test_head_has_no_body_and_wrong_methods_are_named(app) -> None:
    assert (await app.request("HEAD", PATH)).status == 200
    assert (await app.request("PUT", PATH)).status == 405


def test_every_value_has_a_place_in_json() -> None:
    odd = record(
        1,
        severity_number=0,
        severity_text="Warn",
        body={"a": [float("nan"), b"\x00\xff"], "b": float("-inf")},
        attributes={"inf": float("inf"), "deep": {"x": [1, None, True]}},
    )
    entry = log_entry(odd)
    assert entry.level == "warn"
    assert entry.body == {"a": ["NaN", "AP8="], "b": "-Infinity"}
    assert entry.message == '{"a":["NaN","AP8="],"b":"-Infinity"}'
    assert entry.attributes == {"inf": "Infinity", "deep": {"x": [1, None, True]}}
    assert log_entry(record(1, body=None)).message == ""
    assert log_entry(record(1)).body is None
