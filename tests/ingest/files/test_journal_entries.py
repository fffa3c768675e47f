import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from obsd.ingest.files.journal import encode_entries


def decoded(*entries: dict[str, object]):
    body, cursor = encode_entries([msgspec.json.encode(entry) + b"\n" for entry in entries])
    return ExportLogsServiceRequest.FromString(body).resource_logs, cursor


def fields(key_values) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in key_values}


def test_an_entry_becomes_a_record() -> None:
    groups, cursor = decoded(
        {
            "__CURSOR": "s=1;i=2",
            "__REALTIME_TIMESTAMP": "1769860800000001",
            "_HOSTNAME": "h1",
            "_SYSTEMD_UNIT": "shop.service",
            "SYSLOG_IDENTIFIER": "python",
            "_PID": "42",
            "_CMDLINE": "left out",
            "PRIORITY": "3",
            "MESSAGE": "boom",
            "ORDER_ID": "17",
        }
    )
    assert cursor == "s=1;i=2"
    [group] = groups
    assert fields(group.resource.attributes) == {"service.name": "shop", "host.name": "h1"}
    [record] = group.scope_logs[0].log_records
    assert record.time_unix_nano == 1_769_860_800_000_001_000
    assert (record.severity_number, record.severity_text) == (17, "err")
    assert record.body.string_value == "boom"
    assert fields(record.attributes) == {
        "systemd.unit": "shop.service",
        "syslog.identifier": "python",
        "process.pid": 42,
        "order_id": "17",
    }


@pytest.mark.parametrize(
    ("entry", "service"),
    [
        ({"_SYSTEMD_UNIT": "ssh.service", "SYSLOG_IDENTIFIER": "sshd"}, "ssh"),
        ({"_SYSTEMD_UNIT": "session-3.scope", "SYSLOG_IDENTIFIER": "sudo"}, "sudo"),
        ({"_SYSTEMD_UNIT": "user@1000.service", "_SYSTEMD_USER_UNIT": "app.service"}, "app"),
        ({"CONTAINER_NAME": "web", "_SYSTEMD_UNIT": "docker.service"}, "web"),
        ({"_COMM": "bash"}, "bash"),
    ],
)
def test_services_are_found(entry: dict[str, object], service: str) -> None:
    groups, _ = decoded(entry)
    assert fields(groups[0].resource.attributes)["service.name"] == service


def test_bytes_and_several_values_are_understood() -> None:
    groups, _ = decoded({"MESSAGE": [99, 97, 102, 233, 10], "TAG": ["a", "b"], "PRIORITY": None})
    [record] = groups[0].scope_logs[0].log_records
    assert record.body.string_value == "caf\ufffd\n"
    [tag] = record.attributes
    assert [value.string_value for value in tag.value.array_value.values] == ["a", "b"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = st.sampled_from(["MESSAGE", "PRIORITY", "__REALTIME_TIMESTAMP", "_PID", "X", "__CURSOR"])


@given(st.lists(st.dictionaries(NAMES, JSON)))
def test_any_json_is_taken(entries: list[dict[str, object]]) -> None:
    groups, _ = decoded(*entries)
    records = [record for group in groups for record in group.scope_logs[0].log_records]
    assert len(records) == len(entries)


@given(st.lists(st.binary(max_size=50)))
def test_any_bytes_are_survived(lines: list[bytes]) -> None:
    encode_entries(lines)
