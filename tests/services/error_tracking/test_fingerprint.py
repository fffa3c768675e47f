import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.services.error_tracking.fingerprint import ErrorKeys, key_of, message_template
from tests.services.error_tracking.errors import error_record
from tests.services.error_tracking.traces import TRACES


@pytest.mark.parametrize("runtime", TRACES)
def test_lines_and_messages_do_not_tell_errors_with_a_stack_apart(runtime: str) -> None:
    stack = TRACES[runtime][0]
    key = key_of("", "", stack, "")
    line = str(TRACES[runtime][2][2])
    moved = stack
    for form in (":{}", "line {}", "({})"):
        moved = moved.replace(form.format(line), form.format(line + "9"))
    assert moved != stack
    assert key_of("", "", moved, "").fingerprint == key.fingerprint


def test_another_cause_is_another_error() -> None:
    stack = TRACES["java"][0]
    other = stack.replace("com.acme.Db.open", "com.acme.Cache.open")
    assert key_of("", "", other, "").fingerprint != key_of("", "", stack, "").fingerprint


def test_another_type_is_another_error() -> None:
    stack = TRACES["node"][0]
    other = stack.replace("TypeError", "RangeError")
    assert key_of("", "", other, "").fingerprint != key_of("", "", stack, "").fingerprint


def test_without_a_stack_the_type_and_the_template_decide() -> None:
    one = key_of("ValueError", "no user 17", "", "")
    assert one.fingerprint == key_of("ValueError", "no user 18", "", "").fingerprint
    assert one.fingerprint != key_of("KeyError", "no user 17", "", "").fingerprint
    assert (one.type, one.template, one.culprit) == ("ValueError", "no user <_>", "")


def test_the_attributes_of_opentelemetry_decide_before_the_body() -> None:
    stack = TRACES["python"][0]
    record = error_record(
        "request failed",
        attributes={
            "exception.type": "DbError",
            "exception.message": "x",
            "exception.stacktrace": stack,
        },
    )
    key = ErrorKeys().of(record)
    assert (key.type, key.template, key.culprit) == ("DbError", "x", "connect (/app/db.py:10)")
    assert [frame.function for frame in key.frames] == ["connect"]


def test_attributes_in_a_map_are_understood_too() -> None:
    record = error_record(
        "failed", attributes={"exception": {"type": "DbError", "message": "gone"}}
    )
    assert ErrorKeys().of(record).type == "DbError"


def test_a_body_with_a_trace_in_it_is_read() -> None:
    key = ErrorKeys().of(error_record(TRACES["go"][0]))
    assert (key.type, key.culprit) == ("panic", "main.(*Server).handle (/app/server.go:42)")


@pytest.mark.parametrize(
    ("message", "template"),
    [
        (
            "user 12 not found in 'orders' at 2026-01-01T10:00:00Z",
            "user <_> not found in <_> at <_>",
        ),
        ("conn to 10.0.0.1:5432 failed", "conn to <_> failed"),
        ("id=4bf92f3577b34da6a3ce929d0e0e4736", "id=<_>"),
        ("GET /api/users/12 took 35ms", "GET <_> took <_>"),
        ("don't panic: it's fine", "don't panic: it's fine"),
        ("mail bob@example.com about https://x.io/a?b=1", "mail <_> about <_>"),
        ("\n  \nsecond line\nthird", "second line"),
        ("", ""),
    ],
)
def test_templates_leave_out_what_varies(message: str, template: str) -> None:
    assert message_template(message) == template


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_any_error_has_a_key(kind: str, message: str, stack: str, body: str) -> None:
    key = key_of(kind, message, stack, body)
    assert key == key_of(kind, message, stack, body)
    assert len(key.fingerprint) == 32
    assert len(key.template) <= 300


def test_what_is_remembered_is_bounded() -> None:
    keys = ErrorKeys()
    found = [keys.of(error_record(f"boom {'x' * n}")) for n in range(ErrorKeys.MAX_KNOWN + 10)]
    assert len({key.fingerprint for key in found}) > 200
    assert len(keys._known) <= ErrorKeys.MAX_KNOWN
