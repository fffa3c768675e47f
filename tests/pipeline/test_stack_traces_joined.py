"""Stack traces that arrive line by line become one record each."""

from __future__ import annotations

import pytest

from obsd._native import LineJoiner
from obsd.model.log_record import LogRecord
from obsd.services.log_encoding import RecordGroup, log_record, request, resource
from tests.pipeline.requests_of_lines import NOW_NS, PARSING, SECOND_NS, parse, parsed
from tests.services.memory_logs import decode

JAVA = """\
2027-01-15 07:59:50,123 ERROR com.foo.Bar - it failed
java.lang.IllegalStateException: no: way
\tat com.foo.Bar.run(Bar.java:5)
\tat com.foo.Main.main(Main.java:9)
Caused by: java.io.IOException: disk
\tat com.foo.Disk.read(Disk.java:1)
\t... 2 more"""

PYTHON = """\
Traceback (most recent call last):
  File "a.py", line 1, in f
    g()
  File "a.py", line 2, in g
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in <module>
app.errors.BadThing: it is worse"""

GO = """\
panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.f(0xc000012345)
\t/src/main.go:5 +0x1d
main.main()
\t/src/main.go:9 +0x20
exit status 2"""

NODE = """\
TypeError: x is not a function
    at f (/app/a.js:1:2)
    at Object.<anonymous> (/app/b.js:3:4) {
  code: 'E'
}"""

TRACES = {
    JAVA: ("java.lang.IllegalStateException", "no: way"),
    PYTHON: ("app.errors.BadThing", "it is worse"),
    GO: ("panic", "runtime error: index out of range [5] with length 3"),
    NODE: ("TypeError", "x is not a function"),
}


def thrown(record: LogRecord) -> tuple[str, str]:
    return str(record.attributes["exception.type"]), str(record.attributes["exception.message"])


@pytest.mark.parametrize("trace", TRACES)
def test_the_lines_of_a_trace_are_one_record(trace: str) -> None:
    before, joined, after = parsed("before it", *trace.split("\n"), "after it")
    assert (before.body, joined.body, after.body) == ("before it", trace, "after it")
    assert thrown(joined) == TRACES[trace]
    assert trace.endswith(str(joined.attributes["exception.stacktrace"]))
    assert joined.severity_number == (21 if trace is GO else 17)
    assert (before.severity_number, after.severity_number) == (0, 0)


@pytest.mark.parametrize("trace", TRACES)
def test_a_trace_in_one_record_is_read_too(trace: str) -> None:
    record = parse(trace)
    assert (record.body, thrown(record)) == (trace, TRACES[trace])


def test_the_exception_of_a_json_field_is_named() -> None:
    import json

    line = json.dumps({"level": "error", "msg": "x", "stack_trace": PYTHON})
    assert thrown(parse(line)) == TRACES[PYTHON]


def test_what_differs_is_not_joined() -> None:
    head, frame = JAVA.split("\n")[1:3]

    def records_of(**of_frame: object) -> list[LogRecord]:
        records = [
            log_record(time_ns=NOW_NS, body=head, attributes={"a": 1}),
            log_record(**({"time_ns": NOW_NS, "body": frame, "attributes": {"a": 1}} | of_frame)),  # type: ignore[arg-type]
        ]
        out, *_ = PARSING.apply(request([RecordGroup(resource({}), records)]), NOW_NS, 0, False)
        return decode(out)

    assert len(records_of()) == 1
    assert len(records_of(attributes={})) == 1
    assert len(records_of(attributes={"a": 2})) == 2
    assert len(records_of(time_ns=NOW_NS + 6 * SECOND_NS)) == 2
    assert len(records_of(severity_number=9)) == 2
    assert len(records_of(trace_id=bytes(range(16)))) == 2
    assert len(records_of(body={"at": 1})) == 2


def test_a_joined_record_is_bounded() -> None:
    lines = ["a.B: x", *(f"\tat {'y' * 1000}({n})" for n in range(200))]
    records = parsed(*lines)
    assert "\n".join(str(record.body) for record in records) == "\n".join(lines)
    assert len(records) == 4
    assert all(len(str(record.body)) <= 64 << 10 for record in records)


@pytest.mark.parametrize("trace", TRACES)
def test_a_line_joiner_goes_on_across_reads(trace: str) -> None:
    joiner = LineJoiner()
    complete = [joiner.feed(line.encode()) for line in ("before", *trace.split("\n"))]
    assert [each for each in complete if each] == [(b"before", 1)]
    assert joiner.pending_lines == trace.count("\n") + 1
    assert joiner.pending_bytes == len(trace)
    assert joiner.feed(b"after") == (trace.encode(), trace.count("\n") + 1)
    assert joiner.flush() == (b"after", 1)
    assert joiner.flush() is None
