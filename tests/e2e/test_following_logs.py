"""Following a real server: `obsd logs --follow` as a process, and a stop while somebody follows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.processes import Server, obsd_server, running, wait_until

LINES = 300
DEADLINE_S = 30.0


def send(server: Server, text: str) -> None:
    body = json.dumps({"msg": text}).encode()
    answer = server.request("/ingest/jsonline", method="POST", body=body)
    assert answer.status == 200, answer.text


def test_follow_shows_each_line_once_and_ends_with_the_server(tmp_path: Path) -> None:
    out, errors = tmp_path / "out", tmp_path / "errors"
    command = [sys.executable, "-m", "obsd.cli.main", "logs", "--follow", "--fields", "message"]
    with running(obsd_server(tmp_path, "--no-self-monitoring")) as server:
        with out.open("wb") as stdout, errors.open("wb") as stderr:
            follower = subprocess.Popen(
                [*command, "--url", server.url], stdout=stdout, stderr=stderr
            )
        try:
            # It follows from some moment on: what is sent until then need not be shown.
            deadline_s = time.monotonic() + DEADLINE_S
            while not out.stat().st_size:
                assert time.monotonic() < deadline_s, errors.read_text()
                send(server, "begin")
                time.sleep(0.1)
            for number in range(LINES):
                send(server, f"line {number}")
            send(server, "last")
            wait_until(lambda: out.read_text().endswith("last\n"), "all is shown", DEADLINE_S)
            begun_s = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - begun_s < 9
            assert follower.wait(DEADLINE_S) == 1
        finally:
            if follower.poll() is None:
                follower.kill()
                follower.wait()
    shown = [line for line in out.read_text().splitlines() if line != "begin"]
    assert shown == [*(f"line {number}" for number in range(LINES)), "last"]
    assert errors.read_text() == "obsd: the server is stopping\n"
