"""`obsd logs --delete` against a real server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.log_writers import LOGS_HEADERS, LOGS_PATH, logs_body
from tests.e2e.processes import Server, obsd_server, running
from tests.logindex.stored_bytes import files_with


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(obsd_server(tmp_path, "--no-self-monitoring")) as server:
        yield server


def obsd_logs(server: Server, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "obsd.cli.main", "logs", *arguments]
    return subprocess.run(
        [*command, "--url", f"http://127.0.0.1:{server.port}"],
        input=said,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_person_deletes_what_they_have_looked_at(server: Server, tmp_path: Path) -> None:
    now_ms = int(time.time() * 1000)
    users = ["alice7x", "bob8x"]
    texts = [(now_ms - n, f"{users[n % 2]} came in, {n}") for n in range(20)]
    body = logs_body("door", texts)
    answer = server.request(LOGS_PATH, method="POST", body=body, headers=LOGS_HEADERS)
    assert answer.status == 200
    data = tmp_path / "obsd"
    assert files_with(data, "alice7x")

    for arguments in (["--delete", "--since", "1h"], ["alice7x", "--delete"]):
        refused = obsd_logs(server, *arguments)
        assert refused.returncode == 2
        assert "--delete needs" in refused.stderr
    refused = obsd_logs(server, "alice7x", "--delete", "--since", "1h", "--limit", "1")
    assert refused.returncode == 2

    no = obsd_logs(server, "alice7x", "--delete", "--since", "1h", said="n\n")
    assert no.returncode == 1
    assert "Delete 10 records for good?" in no.stderr
    assert len(obsd_logs(server).stdout.splitlines()) == 20

    yes = obsd_logs(server, "alice7x", "--delete", "--since", "1h", said="y\n")
    assert yes.returncode == 0, yes.stderr
    assert yes.stdout.startswith("10 records deleted; ")
    assert files_with(data, "alice7x") == []
    left = obsd_logs(server).stdout.splitlines()
    assert len(left) == 10
    assert all("bob8x" in line for line in left)
    log = server.log.read_text()
    assert "log records deleted by query" in log
    assert "alice7x" not in log

    again = obsd_logs(server, "alice7x", "--delete", "--since", "1h")
    assert (again.returncode, again.stderr) == (0, "obsd: nothing matches\n")
    sure = obsd_logs(server, "bob8x", "--delete", "--since", "1h", "--yes")
    assert sure.stdout.startswith("10 records deleted; ")
    assert obsd_logs(server).stdout == ""
