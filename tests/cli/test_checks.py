"""`obsd doctor`: each check finds what is wrong, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import socket

import pytest
from click.testing import CliRunner

from obsd.cli import checks
from obsd.cli.checks import Level
from obsd.cli.doctor import doctor
from obsd.config.option import Address
from obsd.durable.wal import segment_name
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.clock import SystemClock
from obsd.services.data_dir import DataDirLock
from obsd.services.projects import Projects
from obsd.tsdb.options import EngineOptions
from tests.api.running_app import running_app
from tests.logindex.otlp_requests import record, write
from tests.services.spans import make_span
from tests.tracestore.spans_written import open_engine
from tests.tracestore.spans_written import write as write_spans


def one(findings):
    [finding] = findings
    return finding


def test_a_free_port_and_one_that_another_program_has() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", listener.getsockname()[1])
        # Bound and not listening: whoever connects is refused at once.
        found = one(checks.check_port(address))
        assert (found.level, found.message) == (Level.PROBLEM, "another program listens there")
    assert one(checks.check_port(address)).message == "free"


async def test_a_port_that_obsd_answers_on(tmp_path) -> None:
    import asyncio

    async with running_app(tmp_path) as app:
        host, port = app.url.removeprefix("http://").split(":")
        found = await asyncio.to_thread(lambda: one(checks.check_port(Address(host, int(port)))))
    assert (found.level, found.message) == (Level.OK, "an obsd answers there")


def test_an_address_that_is_not_of_this_machine() -> None:
    assert one(checks.check_port(Address("192.0.2.1", 6273))).level is Level.PROBLEM


def test_a_receiver_without_its_port_is_a_warning() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", listener.getsockname()[1])
        found = one(checks.check_receiver("otlp-http", address))
        assert found.level is Level.WARNING
        assert found.message == (
            "another program listens there; obsd then starts without its receiver otlp-http"
        )
    found = one(checks.check_receiver("otlp-http", address))
    assert (found.level, found.message) == (Level.OK, "free (otlp-http)")


def test_few_open_files_are_a_warning() -> None:
    assert one(checks.check_open_files(1024)).level is Level.WARNING
    assert one(checks.check_open_files(65_536)).level is Level.OK
    assert one(checks.check_open_files(resource.RLIM_INFINITY)).level is Level.OK


def test_the_clock_of_this_machine_is_set() -> None:
    assert one(checks.check_clock(wait_s=0.01)).level < Level.PROBLEM
    assert checks.is_clock_synchronised() in {True, False, None}


def test_a_clock_that_was_never_set(monkeypatch) -> None:
    monkeypatch.setattr(checks.time, "time", lambda: 946_684_800.0)
    assert one(checks.check_clock(wait_s=0.0)).level is Level.PROBLEM


def test_the_disk_is_measured_and_left_as_it_was(tmp_path) -> None:
    write_bytes_s, sync_s = checks.measure_disk(tmp_path, 1 << 20)
    assert write_bytes_s > 0
    assert sync_s > 0
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_yet_is_measured_where_it_would_be(tmp_path) -> None:
    room, speed = checks.check_disk(tmp_path / "a" / "b")
    assert room.level is Level.OK
    assert "MiB/s" in speed.message
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_a_problem(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checks, "MIN_FREE_BYTES", 1 << 60)
    assert one(checks.check_disk(tmp_path)).level is Level.PROBLEM


def test_whoever_uses_the_data_is_named(tmp_path) -> None:
    assert checks.lock_holder(tmp_path) is None
    lock = DataDirLock.acquire(tmp_path)
    assert checks.lock_holder(tmp_path) == str(os.getpid())
    lock.release()
    assert checks.lock_holder(tmp_path) is None


@pytest.fixture
def data_dir(tmp_path):
    projects = Projects(tmp_path / "data", EngineOptions(), SystemClock())
    projects.engine("team")
    projects.close()
    return tmp_path / "data"


def test_healthy_data(data_dir) -> None:
    assert {f.level for f in checks.check_data(data_dir)} == {Level.OK}


def test_a_damaged_part_is_told_in_words(data_dir) -> None:
    parts = data_dir / "projects" / "team" / "metrics" / "parts"
    parts.mkdir(exist_ok=True)
    (parts / "0000000000000001-0000000000000001-0-flushed.part").write_bytes(b"x" * 4096)
    [problem] = [f for f in checks.check_data(data_dir) if f.level is Level.PROBLEM]
    assert "flushed.part" in problem.subject
    assert "(" not in problem.message


def test_a_file_where_the_data_directory_should_be_is_a_problem(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        finding = one(checks.check_data(path))
        assert finding.level is Level.PROBLEM
        assert f"{tmp_path / 'file'} is not a directory" in finding.message
        assert list(checks.check_disk(path)) == []


def test_files_of_others_are_a_warning(data_dir) -> None:
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (data_dir / name).write_text("x")
    [warning] = [f for f in checks.check_data(data_dir) if f.level is Level.WARNING]
    assert warning.message.startswith("a.txt, b.txt, c.txt and 1 more: not of obsd")


def test_a_directory_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checks.os, "access", lambda _path, _mode: False)
    for path in (tmp_path, tmp_path / "new"):
        finding = one(checks.check_data(path))
        assert finding.level is Level.PROBLEM
        assert f"this user cannot read and write {tmp_path}" in finding.message


def test_doctor_exits_1_where_something_is_wrong(data_dir) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    arguments = ["--data-dir", str(data_dir), "--listen", f"127.0.0.1:{port}"]
    good = CliRunner().invoke(doctor, arguments)
    assert good.exit_code == 0, good.output
    assert "project team, parts" in good.output
    wal = data_dir / "projects" / "team" / "metrics" / "wal"
    (wal / segment_name(1)).write_bytes(b"not a log at all")
    bad = CliRunner().invoke(doctor, arguments)
    assert bad.exit_code == 1
    assert "problem  project team, WAL segment" in bad.output


def test_doctor_looks_at_logs_and_at_the_port_of_otlp(data_dir) -> None:
    logs = data_dir / "projects" / "team" / "logs"
    engine = LogEngine.open(logs, LogOptions(retention_ms=None), SystemClock())
    write(engine, [record("a"), record("b")])
    engine.close()
    with socket.socket() as first, socket.socket() as second:
        for listener in (first, second):
            listener.bind(("127.0.0.1", 0))
        port, otlp_port = (each.getsockname()[1] for each in (first, second))
    arguments = ["--data-dir", str(data_dir), "--listen", f"127.0.0.1:{port}"]
    environment = {"OBSD_SERVER__OTLP_HTTP_LISTEN": f"127.0.0.1:{otlp_port}"}
    good = CliRunner(env=environment).invoke(doctor, arguments)
    assert good.exit_code == 0, good.output
    assert f"ok       port 127.0.0.1:{otlp_port}: free (otlp-http)" in good.output
    assert "project team, log segments: 1 whole segments with 2 records" in good.output
    closed = CliRunner(env=environment).invoke(doctor, [*arguments, "--receivers", "http"])
    assert str(otlp_port) not in closed.output
    [segment] = (logs / "segments").glob("*.logs")
    segment.write_bytes(segment.read_bytes()[:-9])
    bad = CliRunner(env=environment).invoke(doctor, arguments)
    assert bad.exit_code == 1
    assert f"problem  project team, log segment {segment.name}" in bad.output


def test_doctor_looks_at_traces(data_dir) -> None:
    traces = data_dir / "projects" / "team" / "traces"
    engine = open_engine(traces, clock=SystemClock())
    write_spans(engine, [make_span(1, 1), make_span(2, 1)])
    engine.close()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    arguments = ["--data-dir", str(data_dir), "--listen", f"127.0.0.1:{port}", "--receivers=http"]
    good = CliRunner().invoke(doctor, arguments)
    assert good.exit_code == 0, good.output
    assert "project team, span segments: 1 whole segments with 2 spans" in good.output
    [segment] = (traces / "segments").glob("*.spans")
    segment.write_bytes(segment.read_bytes()[:-9])
    bad = CliRunner().invoke(doctor, arguments)
    assert bad.exit_code == 1
    assert f"problem  project team, span segment {segment.name}" in bad.output
