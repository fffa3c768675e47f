"""The configuration: where values come from, what wins, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from obsd.app import is_loopback
from obsd.config import Config, ConfigError, config_to_dict, config_to_yaml, load_config
from obsd.config.machine import memory_bytes
from obsd.config.option import Address, iter_options, parse_address
from obsd.config.receivers import OTLP_HTTP, PLANNED, closed_in_vain, is_open
from obsd.config.units import format_duration, format_size, parse_duration_s, parse_size_bytes


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "obsd.yml"
    path.write_text(text)
    return path


def error_of(file: Path | None = None, environment=None, flags=None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(file, environment, flags)
    return str(caught.value)


def test_defaults_are_a_server_on_loopback_that_keeps_30_days() -> None:
    config = load_config()
    assert config == Config()
    assert str(config.server.listen) == "127.0.0.1:6273"
    assert config.server.listen.is_loopback
    assert config.storage.retention_s == 30 * 86_400


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "storage: {retention: 1d, max_labels: 10}\nquery: {threads: 3}\n")
    environment = {"OBSD_STORAGE__RETENTION": "2d", "OBSD_STORAGE__MAX_LABELS": "20"}
    config = load_config(file, environment, {"storage.retention": "3d", "query.threads": None})
    assert config.storage.retention_s == 3 * 86_400
    assert config.storage.max_labels == 20
    assert config.query.threads == 3


def test_an_unknown_key_names_its_line_and_the_nearest_known_one(tmp_path: Path) -> None:
    file = write(tmp_path, "storage:\n  data_dir: /tmp/x\n  retentoin: 30d\n")
    message = error_of(file)
    assert message == (
        f"{file}, line 3: unknown key 'storage.retentoin'; did you mean 'storage.retention'?"
    )


def test_an_unknown_section_is_an_error(tmp_path: Path) -> None:
    assert "did you mean 'storage'?" in error_of(write(tmp_path, "storge: {}\n"))


def test_a_key_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    message = error_of(write(tmp_path, "query:\n  threads: 1\n  threads: 2\n"))
    assert message.endswith("line 3: key 'threads' is there twice")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("storage: {retention: soon}", "line 1: storage.retention: 'soon' is not a duration"),
        ("storage: [1]", "line 1: storage must be a mapping"),
        ("- 1", "line 1: the configuration must be a mapping"),
        ("query: {threads: 0}", "expected a number above 0, found '0'"),
        ("query: {threads: yes}", "expected a number above 0, found True"),
        ("self_monitoring: {enabled: 7}", "expected true or false"),
        ("a: [", "is not YAML"),
        ("log: {level: loud}", "expected one of debug, info, warning, error, found 'loud'"),
        ("server: {listen: '::1:80'}", "brackets"),
        ("auth: {admin_token: ''}", "expected a non-empty text"),
        ("span_metrics: {latency_buckets: [0.2, 0.1]}", "expected a list of ascending numbers"),
        ("span_metrics: {latency_buckets: []}", "at most 50 of them"),
        ("span_metrics: {graph_buckets: [0, 1]}", "expected a list of ascending numbers above 0"),
        ("span_metrics: {graph_buckets: [a]}", "expected a list of ascending numbers above 0"),
        ("auth: {admin_token: <redacted>}", "put the secret there"),
        ("storage: {retention: 0s}", "or 'forever'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in error_of(write(tmp_path, text))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    assert "No such file" in error_of(tmp_path / "absent.yml")


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "obsd.yml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8" in error_of(path)


def test_an_empty_file_and_empty_sections_are_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")) == Config()
    assert load_config(write(tmp_path, "storage:\n#  retention: 1d\n")) == Config()


def test_a_key_with_nothing_behind_it_is_not_set(tmp_path: Path) -> None:
    file = write(tmp_path, "storage:\n  retention:\nauth:\n  admin_token: null\n")
    assert load_config(file) == Config()


def test_what_show_prints_loads_again(tmp_path: Path) -> None:
    config = load_config(None, {}, {"storage.retention": "3d", "server.listen": "[::1]:1"})
    assert load_config(write(tmp_path, config_to_yaml(config))) == config


def test_an_unknown_variable_names_the_nearest_known_one() -> None:
    message = error_of(environment={"OBSD_SERVER__LISTN": "127.0.0.1:1"})
    assert message == (
        "environment: unknown key 'OBSD_SERVER__LISTN'; did you mean 'OBSD_SERVER__LISTEN'?"
    )


def test_variables_of_others_are_left_alone() -> None:
    environment = {"PATH": "/bin", "OBSD_URL": "http://x", "OBSD_TOKEN": "t", "OBSD_PROJECT": "p"}
    assert load_config(environment=environment) == Config()


def test_every_option_has_a_variable_and_survives_its_own_output(tmp_path: Path) -> None:
    config = load_config(environment={"OBSD_STORAGE__RETENTION": "forever"})
    assert config.storage.retention_s is None
    shown = config_to_dict(config)
    del shown["auth"]  # Its token is not shown.
    assert load_config(write(tmp_path, yaml.safe_dump(shown))) == config
    names = [info.environment for info in iter_options(Config)]
    assert len(set(names)) == len(names)


def test_secrets_are_never_shown() -> None:
    config = load_config(environment={"OBSD_AUTH__ADMIN_TOKEN": "hunter2hunter2"})
    assert config.auth.admin_token == "hunter2hunter2"
    assert "hunter2" not in config_to_yaml(config)
    assert "<redacted>" in config_to_yaml(config)


@pytest.mark.parametrize("name", sorted(PLANNED))
def test_a_receiver_that_is_not_there_yet_is_a_clear_error(name: str) -> None:
    message = error_of(flags={"server.receivers": f"http,{name}"})
    assert f"receiver {name!r} is not in this version of obsd" in message


def test_an_unknown_receiver_names_the_nearest() -> None:
    message = error_of(flags={"server.receivers": "fluentd"})
    assert "unknown receiver 'fluentd'; did you mean 'fluent'?" in message


@pytest.mark.parametrize("names", ["http", "default", "all", "default, http"])
def test_receivers_that_are_there(names: str) -> None:
    config = load_config(flags={"server.receivers": names})
    assert config.server.receivers == tuple(n.strip() for n in names.split(","))


def test_lists_of_numbers() -> None:
    config = load_config(flags={"span_metrics.latency_buckets": "0.1, 0.5,2"})
    assert config.span_metrics.latency_buckets == (0.1, 0.5, 2.0)


def test_durations_and_sizes_as_people_write_them() -> None:
    assert parse_duration_s("1h30m") == 5400
    assert parse_duration_s("30d") == 30 * 86_400
    assert parse_duration_s("500ms") == 0.5
    assert parse_duration_s("1.5h") == 5400
    assert parse_size_bytes("64MiB") == 64 << 20
    assert parse_size_bytes("1.5GB") == 1_500_000_000
    assert parse_size_bytes("4096") == 4096


@pytest.mark.parametrize("text", ["", "30", "d", "-1h", "1h 30m", "1x", "٣d", "9999999y"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|1000 years"):
        parse_duration_s(text)


@given(st.integers(min_value=0, max_value=10**13))
def test_a_duration_survives_its_text(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration_s(format_duration(seconds)) == seconds


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_size_survives_its_text(size: int) -> None:
    assert parse_size_bytes(format_size(size)) == size


@given(st.integers(0, 65_535), st.sampled_from(["127.0.0.1", "::1", "obsd.example", "10.0.0.7"]))
def test_an_address_survives_its_text(port: int, host: str) -> None:
    address = Address(host, port)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "loopback"),
    [("127.8.0.1:1", True), ("[::1]:1", True), ("localhost:1", True), (":1", False)],
)
def test_which_addresses_are_loopback(text: str, loopback: bool) -> None:
    assert parse_address(text).is_loopback is loopback


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=6,
)
keys = st.sampled_from(["retention", "data_dir", "max_labels", "listen", "enabled", "cors_origins"])
documents = st.dictionaries(
    st.sampled_from(["storage", "server", "self_monitoring", "query", "x"]),
    values | st.dictionaries(keys, values, max_size=3),
)


def complaint(**arguments) -> str | None:
    """What is wrong with a configuration, None where nothing is."""
    try:
        load_config(**arguments)
    except ConfigError as error:
        return str(error)
    return None


@given(documents)
def test_any_yaml_loads_or_is_refused_with_its_place(tmp_path_factory, document) -> None:
    path = tmp_path_factory.mktemp("yaml") / "obsd.yml"
    path.write_text(yaml.safe_dump(document))
    text = complaint(file=path)
    assert text is None or text.startswith((f"{path}, line ", "server.receivers: "))


@given(st.binary(max_size=200))
def test_any_bytes_load_or_are_refused_with_their_place(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("yaml") / "obsd.yml"
    path.write_bytes(content)
    text = complaint(file=path)
    assert text is None or text.startswith(str(path))


@given(st.sampled_from(list(iter_options(Config))), st.text(max_size=20))
def test_any_variable_loads_or_names_itself(info, text: str) -> None:
    found = complaint(environment={info.environment: text})
    assert found is None or info.environment in found or "receiver" in found


def test_a_container_with_less_memory_than_its_machine_counts(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("536870912\n")
    assert memory_bytes((limit,)) == 512 << 20
    limit.write_text("max\n")
    assert memory_bytes((limit, tmp_path / "absent")) == memory_bytes(())


@pytest.mark.parametrize(
    ("names", "is_there"),
    [
        (("default",), True),
        (("all",), True),
        (("http",), False),
        (("http", OTLP_HTTP), True),
        ((OTLP_HTTP,), True),
    ],
)
def test_receivers_are_open_by_their_name_or_a_set(names, is_there: bool) -> None:
    assert is_open(OTLP_HTTP, names) == is_there


@pytest.mark.parametrize(
    ("listen", "otlp", "receivers", "expected"),
    [
        ("127.0.0.1:1", "127.0.0.1:2", "default", True),
        ("127.0.0.1:1", "0.0.0.0:2", "default", False),
        ("127.0.0.1:1", "0.0.0.0:2", "http", True),
        ("0.0.0.0:1", "127.0.0.1:2", "default", False),
    ],
)
def test_one_open_listener_beyond_loopback_asks_for_a_token(
    listen: str, otlp: str, receivers: str, expected: bool
) -> None:
    flags = {
        "server.listen": listen,
        "server.otlp_http_listen": otlp,
        "server.receivers": receivers,
    }
    assert is_loopback(load_config(flags=flags)) is expected


@pytest.mark.parametrize(
    ("receivers", "names"),
    [("default", []), ("http,files,journal", []), ("http", ["files", "journal"])],
)
def test_files_that_no_receiver_reads_are_told_of(receivers: str, names: list[str]) -> None:
    told = {"OBSD_FILES__PATHS": "/var/log/*.log", "OBSD_FILES__JOURNAL": "true"}
    environment = {"OBSD_SERVER__RECEIVERS": receivers}
    assert [name for name, _ in closed_in_vain(load_config(None, environment | told))] == names
    assert not list(closed_in_vain(load_config(None, environment)))
