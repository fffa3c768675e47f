"""A project's own processors: what they do, and how wrong ones are told."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from obsd.model.errors import BadInputError
from obsd.model.log_record import LogRecord
from obsd.services.log_processor_rules import InvalidProcessorError
from obsd.services.log_processors import ProcessorSet
from tests.pipeline.requests_of_lines import NOW_NS, request_of
from tests.services.memory_logs import decode


def processed(
    *processors: dict[str, Any], body: Any = "hello", source: Any = None, **fields: Any
) -> list[LogRecord]:
    pipeline = ProcessorSet(parse=False, processors=processors).compile()
    out, *_ = pipeline.apply(request_of([body], source, **fields), NOW_NS, 0, False)
    return decode(out)


def process(*processors: dict[str, Any], **fields: Any) -> LogRecord:
    [record] = processed(*processors, **fields)
    return record


def test_groups_of_regular_expressions_become_fields() -> None:
    rule = {"type": "regex", "pattern": r"(?P<level>\w+) user=(?P<user>\w+)( in (?P<ms>\d+))?"}
    record = process(rule, body="warn user=ann")
    assert (record.attributes, record.severity_number) == ({"user": "ann"}, 13)
    other = process({**rule, "field": "text"}, attributes={"text": "info user=bob in 5"})
    assert other.attributes == {"text": "info user=bob in 5", "user": "bob", "ms": "5"}


def test_grok_has_types_and_own_patterns() -> None:
    rule = {
        "type": "grok",
        "pattern": "%{IPORHOST:client} %{WORD:verb} %{INT:size:int} %{NUMBER:took:float} %{ME:x}",
        "patterns": {"ME": "[a-z]{3}"},
    }
    record = process(rule, body="10.0.0.1 GET 512 0.25 abc")
    assert record.attributes == {
        "client": "10.0.0.1", "verb": "GET", "size": 512, "took": 0.25, "x": "abc",
    }  # fmt: skip
    combined = (
        '10.0.0.1 - - [15/Jan/2027:07:59:50 +0000] "GET /a HTTP/1.1" 200 5 "http://x/" "curl"'
    )
    record = process({"type": "grok", "pattern": "%{COMBINEDAPACHELOG}"}, body=combined)
    assert record.attributes["clientip"] == "10.0.0.1"
    assert (record.attributes["response"], record.attributes["agent"]) == (200, '"curl"')


def test_fields_are_renamed_set_dropped_and_kept() -> None:
    own = {"a": 1, "b.x": 2, "b.y": 3, "sev": "error"}
    assert process({"type": "rename", "from": "a", "to": "z"}, attributes=own).attributes == {
        "z": 1, "b.x": 2, "b.y": 3, "sev": "error",
    }  # fmt: skip
    renamed = process({"type": "rename", "from": "sev", "to": "level"}, attributes=own)
    assert (renamed.severity_number, "sev" in renamed.attributes) == (17, False)
    kept = process({"type": "keep", "fields": ["b.*"]}, attributes=own)
    assert kept.attributes == {"b.x": 2, "b.y": 3}
    left = process({"type": "drop_field", "fields": ["b.*", "sev"]}, attributes=own)
    assert left.attributes == {"a": 1}
    many = process(
        {"type": "set", "field": "env", "value": "prod"},
        {"type": "set", "field": "n", "value": 5},
        {"type": "set", "field": "service", "value": "api"},
        {"type": "set", "field": "message", "value": "bye"},
        source={"service.name": "old", "k": "v"},
    )
    assert (many.attributes, many.service, many.body) == ({"env": "prod", "n": 5}, "api", "bye")
    assert many.resource == {"k": "v", "service.name": "api"}


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        ("hello", True),
        ("bye", False),
        ("level:error", True),
        ("level:>=warn -path:/x", True),
        ("path:/health*", True),
        ("n:>4 AND n:[1 TO 5]", True),
        ("n:>5", False),
        ("service:api", True),
        ("host:h1", True),
        ("user.id:7", True),
        ("/he.lo/", True),
        ("missing:*", False),
        ("NOT missing:*", True),
    ],
)
def test_conditions_are_queries(when: str, matches: bool) -> None:
    found = processed(
        {"type": "drop", "when": when},
        severity_number=17,
        attributes={"path": "/health/live", "n": 5, "user": {"id": 7}},
        source={"service.name": "api", "host": "h1"},
    )
    assert (found == []) == matches


def test_masks_reach_into_values() -> None:
    record = process(
        {"type": "mask", "kinds": ["email", "credit_card"], "replacement": "#"},
        body="from a@b.example.org",
        attributes={
            "card": 4111111111111111,
            "list": ["x@y.org", 5, {"deep": "z@y.org"}],
            "map": {"k": ["q@y.org"]},
            "fine": "a@b",
            "ok": True,
        },
    )
    assert record.body == "from #"
    assert record.attributes == {
        "card": "#", "list": ["#", 5, {"deep": "#"}], "map": {"k": ["#"]}, "fine": "a@b",
        "ok": True,
    }  # fmt: skip


def test_masks_hash_and_stay_within_fields() -> None:
    rule = {"type": "mask", "patterns": ["user=(?P<secret>\\w+)"], "hash": True, "salt": "s"}
    record = process(rule, body="user=ann user=bob user=ann")
    first, second, third = (part.removeprefix("user=") for part in str(record.body).split())
    assert first == third != second
    assert len(first) == 16
    assert "ann" not in str(record.body)
    only = process(
        {"type": "mask", "patterns": ["x"], "fields": ["a"]},
        body="x",
        attributes={"a": "x", "b": "x"},
    )
    assert (only.body, only.attributes) == ("x", {"a": "***", "b": "x"})


def test_rules_run_in_order() -> None:
    record = process(
        {"type": "regex", "pattern": "(?P<a>h)"},
        {"type": "rename", "from": "a", "to": "b"},
        {"type": "set", "field": "c", "value": True, "when": "b:h"},
        {"type": "set", "field": "d", "value": True, "when": "a:h"},
    )
    assert record.attributes == {"b": "h", "c": True}


def test_what_matches_no_rule_is_not_copied() -> None:
    pipeline = ProcessorSet(
        parse=False, processors=({"type": "drop", "when": "level:debug"},)
    ).compile()
    body = request_of(["a", "b"])
    assert pipeline.apply(body, NOW_NS, 0, False)[0] is body


WRONG: list[tuple[Any, str, str]] = [
    (5, "type", "object"),
    ({}, "type", "expected one of"),
    ({"type": "fly"}, "type", "expected one of"),
    ({"type": "regex"}, "pattern", "missing"),
    ({"type": "regex", "pattern": "("}, "pattern", "parse error"),
    ({"type": "regex", "pattern": "a"}, "pattern", "named group"),
    ({"type": "regex", "pattern": "(?P<a>x{1000}{1000})"}, "pattern", "size limit"),
    ({"type": "regex", "pattern": "x" * 20_000}, "pattern", "too long"),
    ({"type": "regex", "pattern": "(?P<a>x)", "extra": 1}, "extra", "unknown"),
    ({"type": "grok", "pattern": "%{NOPE:x}"}, "pattern", "NOPE"),
    ({"type": "grok", "pattern": "%{A:x}", "patterns": {"A": "%{A}"}}, "pattern", "too large"),
    ({"type": "grok", "pattern": "%{INT:x}", "patterns": {"A": 5}}, "patterns", "object of texts"),
    ({"type": "drop"}, "when", "missing"),
    ({"type": "drop", "when": "level:urgent"}, "when", "urgent"),
    ({"type": "drop", "when": 5}, "when", "query"),
    ({"type": "rename", "from": "a"}, "to", "missing"),
    ({"type": "keep", "fields": "a"}, "fields", "list"),
    ({"type": "mask"}, "kinds", "expected kinds"),
    ({"type": "mask", "kinds": ["name"]}, "kinds", "no kind"),
    ({"type": "mask", "kinds": ["ip"], "hash": True}, "salt", "needs one"),
    ({"type": "set", "field": "a", "value": [1]}, "value", "a text"),
    ({"type": "set", "field": "a", "value": 1 << 70}, "value", "64 bits"),
    ({"type": "set", "field": "a", "value": "\ud800"}, "value", "Unicode"),
]


@pytest.mark.parametrize(("processor", "option", "reason"), WRONG)
def test_a_wrong_processor_is_told_by_place_and_option(
    processor: Any, option: str, reason: str
) -> None:
    fine = {"type": "drop", "when": "x"}
    with pytest.raises(InvalidProcessorError) as told:
        ProcessorSet.of({"processors": [fine, processor]}).compile()
    assert str(told.value).startswith(f"processors[1].{option}: ")
    assert reason in str(told.value)


@pytest.mark.parametrize(
    "document", [[], {"processors": {}}, {"parse": 1}, {"x": 1}, {"processors": [{}] * 101}]
)
def test_a_document_of_another_form_is_told(document: Any) -> None:
    with pytest.raises(BadInputError):
        ProcessorSet.of(document).compile()


def test_no_pattern_takes_longer_than_its_text() -> None:
    rules: list[dict[str, Any]] = [
        {"type": "regex", "pattern": "(?P<a>(x+x+)+y)"},
        {"type": "grok", "pattern": "(%{DATA}*)*%{URI:u}$"},
        {"type": "mask", "kinds": ["email", "ip", "credit_card", "bearer", "jwt"]},
    ]
    text = "x" * 100_000 + "@" * 100_000 + "1 " * 100_000
    begun_s = time.monotonic()
    process(*rules, body=text)
    process(*rules, body=json.dumps({"a": text}))
    assert time.monotonic() - begun_s < 5
