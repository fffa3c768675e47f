"""Real-looking lines of every format, and what is found in them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from obsd.model.severity import _NUMBERS
from tests.pipeline.requests_of_lines import NOW_NS, SECOND_NS, parse

TRACE = "0123456789abcdef0123456789abcdef"
SPAN = "0123456789abcdef"
NO_LEVEL = 0

# line: (level's number, seconds from now or None, the attributes that it has at least)
Expected = tuple[int, float | None, dict[str, Any]]
HEADERS: dict[str, Expected] = {
    "I0115 07:59:50.678901       1 file.go:12] synced": (
        9, -9.321099, {"code.file.path": "file.go", "code.line.number": 12, "thread.id": 1},
    ),
    "2027-01-15 07:59:50,123 - my.logger - WARNING - low": (13, -9.877, {"logger": "my.logger"}),
    "2027-01-15 07:59:50,123 ERROR my.logger: low": (17, -9.877, {"logger": "my.logger"}),
    "WARNING:root:low": (13, None, {"logger": "root"}),
    "2027-01-15 07:59:50.123  INFO 12 --- [main] c.e.App         : Started": (
        9, -9.877, {"process.pid": 12, "thread.name": "main", "logger": "c.e.App"},
    ),
    "2027-01-15T07:59:50.123+00:00  WARN 1 --- [app] [nio-1] c.e.App : Slow": (
        13, -9.877, {"process.pid": 1, "thread.name": "nio-1", "logger": "c.e.App"},
    ),
    "2027-01-15 07:59:50,123 [main] DEBUG com.foo.Bar - done": (
        5, -9.877, {"thread.name": "main", "logger": "com.foo.Bar"},
    ),
    "07:59:50.123 [main] ERROR com.foo.Bar - done": (
        17, None, {"thread.name": "main", "logger": "com.foo.Bar"},
    ),
    "2027/01/15 07:59:50 main.go:12: listening": (
        NO_LEVEL, -10, {"code.file.path": "main.go", "code.line.number": 12},
    ),
    "[2027-01-15T07:59:50Z INFO  my_crate::module] ready": (
        9, -10, {"logger": "my_crate::module"},
    ),
    "2027-01-15T07:59:50.123456Z  WARN my_crate::module: slow": (
        13, -9.876544, {"logger": "my_crate::module"},
    ),
    "\x1b[2m2027-01-15T07:59:50.5Z\x1b[0m \x1b[33m WARN\x1b[0m \x1b[2ma::b\x1b[0m: slow": (
        13, -9.5, {"logger": "a::b"},
    ),
    "E, [2027-01-15T07:59:50.123456 #123] ERROR -- prog: no": (
        17, -9.876544, {"process.pid": 123, "logger": "prog"},
    ),
    "2027-01-15 07:59:50.123 UTC [123] LOG:  ready": (9, -9.877, {"process.pid": 123}),
    "2027-01-15 07:59:50.123 UTC [123] me@db ERROR:  no": (17, -9.877, {"process.pid": 123}),
    "123:M 15 Jan 2027 07:59:50.123 # low on memory": (13, -9.877, {"process.pid": 123}),
    "2027/01/15 07:59:50 [error] 12#34: *5 open() failed, client: 1.2.3.4, server: x": (
        17, -10, {"process.pid": 12, "client.address": "1.2.3.4"},
    ),
    "[Fri Jan 15 07:59:50.5 2027] [core:error] [pid 12:tid 34] [client 1.2.3.4] no file": (
        17, -9.5, {"process.pid": 12, "client.address": "1.2.3.4"},
    ),
    "[2027-01-15 07:59:50 +0000] [123] [INFO] Booting worker": (9, -10, {"process.pid": 123}),
    "[2027-01-15 07:59:50,123: INFO/MainProcess] Task received": (9, -9.877, {}),
    "Jan 15 07:59:50 web-1 sshd[123]: Accepted": (
        NO_LEVEL, -10, {"host.name": "web-1", "process.pid": 123},
    ),
    "<34>1 2027-01-15T07:59:50.5Z web-1 su 7 ID47 [e@1 k=\"a\\\"b\"] failed": (
        18, -9.5, {"host.name": "web-1", "process.pid": 7, "syslog.msgid": "ID47",
                   "syslog.e@1.k": 'a"b', "syslog.facility": "auth"},
    ),
    "<13>Jan 15 07:59:50 web-1 app[9]: hello": (
        10, -10, {"host.name": "web-1", "process.pid": 9, "syslog.facility": "user"},
    ),
    "[ERROR] it broke": (17, None, {}),
    "error: it broke": (17, None, {}),
    " WARN it may break": (13, None, {}),
    "fail: Microsoft.Hosting.Lifetime[0]": (17, None, {}),
    "INFO:     10.0.0.1:5 - \"GET / HTTP/1.1\" 200 OK": (9, None, {}),
    "app | level=error it broke": (17, None, {}),
    "it was an error of mine": (NO_LEVEL, None, {}),
    "Error handling is good": (NO_LEVEL, None, {}),
    "information about x": (NO_LEVEL, None, {}),
}  # fmt: skip


@pytest.mark.parametrize("line", HEADERS)
def test_headers_tell_level_time_and_names(line: str) -> None:
    number, seconds, attributes = HEADERS[line]
    record = parse(line)
    assert record.body == line
    assert record.severity_number == number
    offset_ns = round((seconds or 0) * SECOND_NS)
    assert record.time_ns == NOW_NS + offset_ns
    assert attributes.items() <= record.attributes.items()
    if not attributes:
        assert record.attributes == {}


def test_a_syslog_line_names_its_service() -> None:
    record = parse("Jan 15 07:59:50 web-1 sshd[123]: Accepted")
    assert record.service == "sshd"
    told = parse("Jan 15 07:59:50 web-1 sshd[1]: x", source={"service.name": "own"})
    assert told.service == "own"
    assert told.attributes["syslog.appname"] == "sshd"


ACCESS = (
    '10.0.0.1 - frank [15/Jan/2027:07:59:50 +0000] "GET /a/b?c=d HTTP/1.1" %d 2326'
    ' "http://from/" "Mozilla/5.0 (X11)"'
)


@pytest.mark.parametrize(("status", "number"), [(200, 9), (301, 9), (404, 13), (500, 17)])
def test_access_logs_have_opentelemetrys_names(status: int, number: int) -> None:
    line = ACCESS % status
    record = parse(line)
    assert (record.body, record.severity_number) == (line, number)
    assert record.time_ns == NOW_NS - 10 * SECOND_NS
    assert record.attributes == {
        "client.address": "10.0.0.1",
        "user.name": "frank",
        "http.request.method": "GET",
        "url.path": "/a/b",
        "url.query": "c=d",
        "network.protocol.version": "1.1",
        "http.response.status_code": status,
        "http.response.body.size": 2326,
        "http.request.header.referer": "http://from/",
        "user_agent.original": "Mozilla/5.0 (X11)",
    }


def test_access_logs_of_odd_requests() -> None:
    common = parse('::1 - - [15/Jan/2027:07:59:50 +0000] "-" 408 -')
    assert common.attributes == {
        "client.address": "::1",
        "http.request.line": "-",
        "http.response.status_code": 408,
    }
    vhost = parse('a.org:80 10.0.0.1 - - [15/Jan/2027:07:59:50 +0000] "GET / HTTP/1.0" 200 5')
    assert vhost.attributes["server.address"] == "a.org:80"
    assert vhost.attributes["client.address"] == "10.0.0.1"


JSON_LINES: dict[str, tuple[str, int, float | None, dict[str, Any]]] = {
    # zap
    '{"level":"warn","ts":1799999990.5,"logger":"a.b","caller":"x.go:5","msg":"hi","n":5}': (
        "hi", 13, -9.5, {"logger": "a.b", "caller": "x.go:5", "n": 5},
    ),
    # logrus
    '{"level":"info","msg":"hi","time":"2027-01-15T07:59:50Z","ok":true,"x":1.5}': (
        "hi", 9, -10, {"ok": True, "x": 1.5},
    ),
    # pino
    '{"level":50,"time":1799999990123,"pid":1,"hostname":"h","msg":"hi"}': (
        "hi", 17, -9.877, {"pid": 1, "hostname": "h"},
    ),
    # ECS, with dots and nested
    '{"@timestamp":"2027-01-15T07:59:50.500Z","log.level":"ERROR","message":"hi","ecs":"1"}': (
        "hi", 17, -9.5, {"ecs": "1"},
    ),
    '{"@timestamp":"2027-01-15T07:59:50Z","log":{"level":"error","logger":"a"},"message":"hi"}': (
        "hi", 17, -10, {"log": {"level": "error", "logger": "a"}},
    ),
    # Serilog CLEF, GELF, Google, structlog
    '{"@t":"2027-01-15T07:59:50Z","@mt":"User {Name}","@l":"Warning","Name":"x"}': (
        "User {Name}", 13, -10, {"Name": "x"},
    ),
    '{"@t":"2027-01-15T07:59:50Z","@m":"User x","@mt":"User {Name}"}': (
        "User x", 9, -10, {"@mt": "User {Name}"},
    ),
    '{"version":"1.1","host":"h","short_message":"hi","level":3,"timestamp":1799999990.5}': (
        "hi", 17, -9.5, {"version": "1.1", "host": "h"},
    ),
    '{"severity":"CRITICAL","message":"hi","time":"2027-01-15T07:59:50Z"}': ("hi", 21, -10, {}),
    '{"event":"hi","level":"debug","timestamp":"2027-01-15T07:59:50Z","user":{"id":7}}': (
        "hi", 5, -10, {"user": {"id": 7}},
    ),
    # Docker's files, whose lines may be anything again
    '{"log":"plain\\n","stream":"stdout","time":"2027-01-15T07:59:50.5Z"}': (
        "plain", 0, -9.5, {"stream": "stdout"},
    ),
    '{"log":"{\\"level\\":\\"error\\",\\"msg\\":\\"hi\\",\\"n\\":1}\\n","stream":"stderr"'
    ',"time":"2027-01-15T07:59:50.5Z"}': (
        "hi", 17, -9.5, {"stream": "stderr", "n": 1},
    ),
    # CRI's
    '2027-01-15T07:59:50.500000000Z stderr F {"level":"error","msg":"hi"}': (
        "hi", 17, -9.5, {"log.iostream": "stderr"},
    ),
    # Nothing that is known, and a level in the message
    '{"a":1,"b":null,"c":[1,"x",{}]}': (
        '{"a":1,"b":null,"c":[1,"x",{}]}', 0, None, {"a": 1, "b": None, "c": [1, "x", {}]},
    ),
    '{"message":"ERROR: no","n":18446744073709551616}': (
        "ERROR: no", 17, None, {"n": "18446744073709551616"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", JSON_LINES)
def test_json_becomes_fields_with_their_types(line: str) -> None:
    body, number, seconds, attributes = JSON_LINES[line]
    record = parse(line)
    assert (record.body, record.severity_number) == (body, number)
    assert record.time_ns == NOW_NS + round((seconds or 0) * SECOND_NS)
    assert record.attributes == attributes


@pytest.mark.parametrize(
    "line", ["[1,2]", "{", '{"a":1}x', "5", '{"a":01}', "{}", '{"a":' + "[" * 40]
)
def test_what_is_no_object_stays_as_it_is(line: str) -> None:
    record = parse(line)
    assert (record.body, record.attributes) == (line, {})


@pytest.mark.parametrize("word", sorted(_NUMBERS))
def test_levels_are_those_of_the_model(word: str) -> None:
    assert parse(json.dumps({"level": word.upper()})).severity_number == _NUMBERS[word]


def test_logfmt_becomes_fields() -> None:
    record = parse(f'time=2027-01-15T07:59:50Z level=warn msg="it \\"is\\"" n=5 trace_id={TRACE}')
    assert (record.body, record.severity_number) == ('it "is"', 13)
    assert (record.attributes, record.trace_id) == ({"n": 5}, TRACE)
    router = "at=info method=GET path=/x dyno=web.1 connect=1ms service=18ms status=200"
    found = parse(router)
    assert (found.body, found.severity_number, found.service) == (router, 9, "")
    assert found.attributes == {
        "method": "GET", "path": "/x", "dyno": "web.1", "connect": "1ms", "service": "18ms",
        "status": 200,
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        f"failed, trace_id={TRACE} span_id={SPAN}",
        f"failed (traceId: {TRACE}, spanId: {SPAN})",
        f'x "dd.trace_id":"{TRACE}" "dd.span_id":"{SPAN}"',
    ],
)
def test_ids_are_found_in_texts(line: str) -> None:
    record = parse(line)
    assert (record.trace_id, record.span_id, record.body) == (TRACE, SPAN, line)


def test_what_is_no_id_is_left_alone() -> None:
    for value in (TRACE[:-1], TRACE + "0", "0" * 32, "x" * 32):
        assert parse(f"failed trace_id={value}").trace_id == ""
    found = parse(json.dumps({"traceparent": f"00-{TRACE}-{SPAN}-01", "message": "hi"}))
    assert (found.trace_id, found.span_id) == (TRACE, SPAN)


def test_what_the_sender_says_wins() -> None:
    own = {
        "time_ns": NOW_NS - 1, "severity_number": 9, "severity_text": "INFO",
        "trace_id": bytes(range(16)), "attributes": {"n": 1, "m": 2},
    }  # fmt: skip
    said = {"level": "error", "time": "2027-01-15T07:00:00Z", "trace_id": TRACE, "n": 7, "m": 2}
    line = json.dumps(said | {"msg": "x"})
    record = parse(line, source={"service.name": "api"}, **own)
    assert record.time_ns == NOW_NS - 1
    assert (record.severity_number, record.severity_text) == (9, "INFO")
    assert record.trace_id == bytes(range(16)).hex()
    # Nothing is lost: what was not taken is an attribute.
    assert record.attributes == {
        "n": 1, "m": 2, "n_extracted": 7, "level": "error", "time": "2027-01-15T07:00:00Z",
        "trace_id": TRACE,
    }  # fmt: skip


def test_a_service_in_a_record_gets_a_resource() -> None:
    assert parse('{"service":"shop","msg":"x"}').service == "shop"
    unknown = parse('{"service":"shop","msg":"x"}', source={"service.name": "unknown_service"})
    assert unknown.service == "shop"
    told = parse('{"service":"shop","msg":"x"}', source={"service.name": "api", "a": 1})
    assert (told.service, told.attributes) == ("api", {"service": "shop"})


def test_a_body_is_kept_whole_for_who_wants_it_back() -> None:
    line = '{"level":"error","msg":"x","n":5}'
    record = parse(line, keep=True)
    assert (record.body, record.severity_number, record.attributes) == (line, 17, {"n": 5})


def test_a_time_that_cannot_be_is_not_taken() -> None:
    for time in ("2031-01-15T07:00:00Z", "yesterday", "12"):
        record = parse(json.dumps({"time": time, "msg": "x"}))
        assert (record.time_ns, record.attributes) == (NOW_NS, {"time": time})


def test_an_object_that_is_too_large_stays_whole() -> None:
    line = json.dumps({"level": "error", "msg": "x", "big": "y" * 60_000})
    record = parse(line)
    assert (record.body, record.severity_number, record.attributes) == (line, 17, {})


def test_an_object_with_too_many_fields_gives_the_first_and_stays_whole() -> None:
    wide = {f"f{n}": n for n in range(200)}
    line = json.dumps({"level": "error", "msg": "x"} | wide)
    record = parse(line, attributes={"own": True})
    assert (record.body, record.severity_number) == (line, 17)
    assert 100 < len(record.attributes) <= 128
    assert {k: v for k, v in record.attributes.items() if k != "own"}.items() <= wide.items()
    # A record that has its fill already keeps its own.
    full = {f"own{n}": n for n in range(128)}
    record = parse('{"level":"error","a":1,"b":2}', attributes=full)
    assert (record.severity_number, record.attributes) == (17, full)
