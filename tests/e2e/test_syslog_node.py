"""Syslog from the clients of Node.js into a real server."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import installed
from tests.e2e.syslog_lab import Syslog, syslog_server

CLIENTS = Path(__file__).parents[1] / "clients/syslog"
MESSAGES = 40


@pytest.fixture(scope="module")
def syslog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Syslog]:
    with syslog_server(tmp_path_factory.mktemp("syslog-node")) as server:
        yield server


def send(**options: Any) -> bytes:
    """What the client writes to standard output."""
    if not (CLIENTS / "node_modules").is_dir():
        pytest.fail("the clients of Node.js are not installed: make peers")
    command = [installed("node", "nodejs"), str(CLIENTS / "send.js"), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize(
    ("client", "protocol", "form", "app"),
    [
        ("syslog-client", "udp", "3164", ""),  # It says no app in this form.
        ("syslog-client", "tcp", "3164", ""),
        ("syslog-client", "tcp", "5424", "tag"),
        ("winston", "tcp", "BSD", "tag"),
        ("winston", "tcp", "5424", "tag"),
    ],
)
def test_clients_send(syslog: Syslog, client: str, protocol: str, form: str, app: str) -> None:
    tag = f"{client}-{protocol}-{form}".lower()
    send(client=client, port=syslog.port, protocol=protocol, form=form, tag=tag, count=MESSAGES)
    records = syslog.wait_for(f'"of {tag}"', MESSAGES)
    assert {record["message"] for record in records} == {
        f"Line {number} of {tag}" for number in range(MESSAGES)
    }
    assert len(syslog.logs(f'"of {tag}" level:error')) == MESSAGES // 10
    for record in records:
        assert record["resource"]["host"] == "node-1"
        assert record["resource"]["facility"] == "local1"
        assert record["service"] == (tag if app else "")
        assert ("procid" in record["attributes"]) == bool(app)


@pytest.mark.parametrize("is_modern", [True, False])
def test_pino_syslog_pipes_json_with_its_cookie(
    syslog: Syslog, tmp_path: Path, is_modern: bool
) -> None:
    tag = f"pino-{is_modern}".lower()
    settings = tmp_path / "pino-syslog.json"
    settings.write_text(
        json.dumps({"newline": True, "cee": True, "modern": is_modern, "appname": tag})
    )
    piped = subprocess.run(
        [str(CLIENTS / "node_modules/.bin/pino-syslog"), "-c", str(settings)],
        input=send(client="pino", tag=tag, count=MESSAGES),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert piped.stdout.count(b"@cee: {") == MESSAGES
    with socket.create_connection(("127.0.0.1", syslog.port)) as sender:
        sender.sendall(piped.stdout)
    records = syslog.wait_for(f"service:{tag}", MESSAGES)
    for record in records:
        assert record["resource"]["host"] == socket.gethostname()
    assert len(syslog.logs(f"service:{tag} level:error")) == MESSAGES // 10
