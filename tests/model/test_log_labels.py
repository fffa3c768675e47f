"""What of a record is its stream's label, and what metadata."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.model.log_labels import label_name, stream_labels, structured_metadata
from obsd.model.log_record import LogRecord


def make(service: str = "", **fields: Any) -> LogRecord:
    values: dict[str, Any] = {
        "time_ns": 1,
        "observed_ns": 1,
        "severity_number": 0,
        "severity_text": "",
        "body": "",
        "trace_id": "",
        "span_id": "",
        "resource": {},
        "attributes": {},
        **fields,
    }
    if service:
        values["resource"] = {"service.name": service, **values["resource"]}
    return LogRecord(service=service, **values)


def test_index_attributes_and_plain_names_are_labels() -> None:
    resource = {
        "k8s.pod.name": "api-1",
        "host": "web-1",
        "my-label": 7,
        "host.name": "web-1.example",
        "process.pid": 42,
    }
    record = make("api", resource=resource)
    assert stream_labels(record) == {
        "host": "web-1",
        "k8s_pod_name": "api-1",
        "my_label": "7",
        "service_name": "api",
    }
    assert structured_metadata(record, stream_labels(record)) == {
        "detected_level": "unknown",
        "host_name": "web-1.example",
        "level": "unknown",
        "process_pid": "42",
    }


def test_there_is_always_a_service() -> None:
    assert stream_labels(make()) == {"service_name": "unknown_service"}


def test_lists_and_maps_are_metadata_and_empty_texts_are_nothing() -> None:
    record = make("api", resource={"args": ["a", 1.5], "env": {"x": None}, "empty": ""})
    assert stream_labels(record) == {"service_name": "api"}
    metadata = structured_metadata(record, stream_labels(record))
    assert metadata["args"] == '["a",1.5]'
    assert metadata["env"] == '{"x":null}'
    assert "empty" not in metadata


def test_metadata_has_what_a_record_tells_of_itself() -> None:
    record = make(
        "api",
        severity_number=17,
        severity_text="ERR",
        trace_id="ab" * 16,
        span_id="cd" * 8,
        attributes={"http.status": 500, "ok": False, "raw": b"\xff"},
    )
    assert structured_metadata(record, {}) == {
        "detected_level": "error",
        "http_status": "500",
        "level": "error",
        "ok": "false",
        "raw": "ff",
        "severity_number": "17",
        "severity_text": "ERR",
        "span_id": "cd" * 8,
        "trace_id": "ab" * 16,
    }


def test_a_label_keeps_its_name_and_metadata_gets_another() -> None:
    record = make(
        "api", resource={"level": "warn", "app": "a"}, attributes={"app": "b"}, severity_number=13
    )
    labels = stream_labels(record)
    assert labels["level"] == "warn"
    metadata = structured_metadata(record, labels)
    assert metadata["app_extracted"] == "b"
    assert metadata["detected_level"] == "warn"
    assert "level" not in metadata
    assert "level_extracted" not in metadata


@pytest.mark.parametrize(
    ("attribute", "name"),
    [("a.b", "a_b"), ("9x", "_9x"), ("", "_"), ("naïve-x", "na_ve_x"), ("_ok", "_ok")],
)
def test_names_are_made_valid(attribute: str, name: str) -> None:
    assert label_name(attribute) == name


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
resources = st.dictionaries(
    st.text() | st.sampled_from(["a", "a.b", "a_b", "k8s.pod.name"]), values
)


@given(resource=resources, attributes=resources)
def test_any_record_has_valid_names_and_no_empty_values(
    resource: dict[str, Any], attributes: dict[str, Any]
) -> None:
    record = make(resource=resource, attributes=attributes)
    labels = stream_labels(record)
    metadata = structured_metadata(record, labels)
    assert not labels.keys() & metadata.keys()
    for found in (labels, metadata):
        assert list(found) == sorted(found)
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in found)
        assert all(found.values())
