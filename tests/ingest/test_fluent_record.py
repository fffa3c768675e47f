"""Events of Fluent Forward as records: which field becomes what."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from obsd.ingest.fluent_messages import Event, read_message
from obsd.ingest.fluent_record import encode_event, encode_messages
from obsd.model.errors import TooLargeError, UndecodableError
from obsd.model.log_record import Value
from obsd.services.log_encoding import log_record, resource

NOW_NS = 1_795_528_800_000_000_000
TIME_NS = NOW_NS - 5


def check(
    record: Value,
    body: Value,
    attributes: dict[str, Any],
    *,
    tag: str = "app.web",
    source: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    **fields: Any,
) -> None:
    """An event becomes exactly this record."""
    found = encode_event(Event(TIME_NS, record, metadata or {}), tag, NOW_NS)
    wanted = log_record(
        time_ns=TIME_NS, observed_ns=NOW_NS, body=body, attributes=attributes, **fields
    )
    assert found == (resource({"service.name": tag} if source is None else source), wanted)


@pytest.mark.parametrize("name", ["log", "message", "msg"])
def test_the_line(name: str) -> None:
    check({name: "hello\r\n", "n": 1}, "hello", {"n": 1, "fluent_tag": "app.web"})
    check({name: b"a\xff", "n": 1}, "a\ufffd", {"n": 1, "fluent_tag": "app.web"})


def test_the_first_field_with_a_text_is_the_line() -> None:
    record = {"msg": "third", "log": {"not": "a text"}, "message": "second"}
    rest = {"msg": "third", "log": {"not": "a text"}, "fluent_tag": "app.web"}
    check(record, "second", rest)


def test_without_a_line_the_record_is_json() -> None:
    record = {"n": 1, "list": [1.5, None], "bin": b"\xff"}
    found = encode_event(Event(TIME_NS, dict(record), {}), "t", NOW_NS)[1]
    body = json.dumps({"n": 1, "list": [1.5, None], "bin": "\ufffd"}, separators=(",", ":"),
                      ensure_ascii=False)  # fmt: skip
    assert found == log_record(
        time_ns=TIME_NS, observed_ns=NOW_NS, body=body, attributes=record | {"fluent_tag": "t"}
    )
    check({}, None, {"fluent_tag": "app.web"})
    check("a text", "a text", {"fluent_tag": "app.web"})
    check([1, "a"], [1, "a"], {"fluent_tag": "app.web"})


def test_level_and_ids() -> None:
    record = {
        "message": "m", "level": "WARN", "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
    }  # fmt: skip
    check(
        record, "m", {"fluent_tag": "app.web"},
        severity_number=13, severity_text="WARN",
        trace_id=bytes.fromhex("0af7651916cd43dd8448eb211c80319c"),
        span_id=bytes.fromhex("b7ad6b7169203331"),
    )  # fmt: skip


def test_the_service() -> None:
    rest = {"fluent_tag": "t"}
    check({"message": "m", "service": "shop"}, "m", rest, tag="t", source={"service.name": "shop"})
    check(
        {"message": "m", "service.name": "shop", "app": "x"}, "m", {"app": "x"} | rest, tag="t",
        source={"service.name": "shop"},
    )  # fmt: skip
    docker = {"log": "m", "container_name": "/web-1", "container_id": "abc", "source": "stderr"}
    check(
        docker, "m", {"container_id": "abc", "source": "stderr"} | rest, tag="t",
        source={"service.name": "web-1", "container_name": "web-1"},
    )  # fmt: skip
    check({"message": "m"}, "m", {}, tag="", source={})


def test_kubernetes() -> None:
    pod: dict[str, Any] = {
        "namespace_name": "prod", "pod_name": "shop-7c9", "container_name": "main",
        "labels": {"app.kubernetes.io/name": "shop"},
    }  # fmt: skip
    places = {
        "k8s.namespace.name": "prod", "k8s.pod.name": "shop-7c9", "k8s.container.name": "main"
    }  # fmt: skip
    for labels, service in ((pod["labels"], "shop"), ({}, "main"), (None, "main")):
        pod["labels"] = labels
        check(
            {"log": "m", "kubernetes": dict(pod)}, "m", {"kubernetes": pod, "fluent_tag": "kube"},
            tag="kube", source={"service.name": service} | places,
        )  # fmt: skip


def test_metadata_of_a_group_is_the_records_too() -> None:
    check(
        {"message": "m", "a": 1}, "m", {"a": 1, "b": 2, "fluent_tag": "app.web"},
        metadata={"a": "other", "b": 2},
    )  # fmt: skip


def message(tag: str, events: bytes) -> Any:
    return read_message(msgpack.packb([tag, events]))


GOOD = msgpack.packb([1, {"message": "m"}])


def test_messages_up_to_the_first_that_is_wrong() -> None:
    messages = [message("a", GOOD * 3), message("b", GOOD + b"\xc1"), message("c", GOOD)]
    encoding = encode_messages(messages, NOW_NS)
    assert encoding.messages == 1
    assert isinstance(encoding.error, UndecodableError)
    assert encoding.counted.received == 3
    assert encoding.request.count(b"fluent_tag") == 3
    assert encode_messages(messages[:1], NOW_NS).request == encoding.request


def test_messages_that_are_too_much_together_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obsd.services.log_encoding.MAX_REQUEST_MEMORY_BYTES", 700)
    messages = [message("a", GOOD * 4), message("b", GOOD * 4), message("c", GOOD * 100)]
    encoding = encode_messages(messages, NOW_NS)
    assert (encoding.messages, encoding.error) == (1, None)
    encoding = encode_messages(messages[1:], NOW_NS)
    assert (encoding.messages, encoding.error) == (1, None)
    encoding = encode_messages(messages[2:], NOW_NS)
    assert encoding.messages == 0
    assert isinstance(encoding.error, TooLargeError)


def test_what_is_left_out_is_counted() -> None:
    large = msgpack.packb([1, {"x": "y" * (2 << 20)}])
    metrics = read_message(msgpack.packb(["m", GOOD * 2, {"fluent_signal": 1}]))
    counted = encode_messages([message("a", GOOD + b"\x05" + large), metrics], NOW_NS).counted
    assert (counted.received, counted.malformed, counted.too_large, counted.unsupported) == (
        *(5, 1, 1, 2),
    )


def test_without_a_time_that_of_the_arrival_counts() -> None:
    found = encode_event(Event(0, {"message": "m"}, {}), "t", NOW_NS)[1]
    assert found == log_record(time_ns=0, body="m", attributes={"fluent_tag": "t"})
